//! The constant factor of a product, read output by output.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use super::super::read;
use crate::error::{Error, Result};
use crate::hub::{DType, Tensor};

/// Lines that are read together: 16 f32 are a cache line of a matrix whose lines are columns.
pub(super) const LINES: usize = 16;

/// Computed matrices whose pieces are longer than this are computed whole.
const LONGEST_PIECE: u64 = 1 << 16;

/// A matrix of f32 as the `n` lines of `k` weights that make one output each.
#[derive(Clone)]
pub(super) struct Matrix {
    name: Arc<str>,
    tensor: Tensor,
    /// Whether a line is a row of the tensor (`[n, k]`) and not a column (`[k, n]`).
    rows: bool,
    /// What the weights of each input are multiplied with: `[k]`.
    factors: Option<Arc<[f32]>>,
    /// The bytes of a tensor that is computed in long pieces, made once.
    whole: Arc<OnceLock<Bytes>>,
    /// Number of lines.
    pub(super) n: usize,
    /// Length of a line.
    pub(super) k: usize,
}

fn past() -> Error {
    Error::bug("a read past the end of a matrix")
}

impl Matrix {
    /// The lines of a matrix: its rows, or its columns. A matrix that is computed by a transposition
    /// is read from what is transposed.
    pub(super) fn new(name: &str, tensor: &Tensor, rows: bool) -> Result<Self> {
        let (tensor, rows) = match (rows, tensor.transpose_of()) {
            (false, Some(source)) => (source, true),
            _ => (tensor.clone(), rows),
        };
        let &[height, width] = tensor.shape() else {
            return Err(Error::bug("only a matrix has lines").item(name));
        };
        if tensor.dtype() != DType::F32 {
            return Err(Error::bug("lines of other numbers than f32").item(name));
        }
        let fits = |n: u64| {
            usize::try_from(n).map_err(|_| {
                Error::unsupported("a tensor larger than this machine's memory").item(name)
            })
        };
        let (height, width) = (fits(height)?, fits(width)?);
        let (n, k) = if rows { (height, width) } else { (width, height) };
        let whole = Arc::default();
        Ok(Self { name: name.into(), tensor, rows, factors: None, whole, n, k })
    }

    /// The matrix with the weights of each input multiplied with its factor.
    #[must_use]
    pub(super) fn scaled(mut self, factors: Arc<[f32]>) -> Self {
        self.factors = Some(factors);
        self
    }

    /// The weight's name, for messages.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// What the weights of each input are multiplied with.
    pub(super) fn factors(&self) -> Option<&Arc<[f32]>> {
        self.factors.as_ref()
    }

    /// Fills `out` with whole lines, from line `first` on. An error names a weight that is not
    /// finite.
    pub(super) fn lines(&self, first: usize, out: &mut [f32]) -> Result<()> {
        if self.rows {
            self.bytes_at(first.checked_mul(self.k).ok_or_else(past)?, out.len(), |bytes| {
                for (to, from) in out.iter_mut().zip(bytes.as_chunks().0) {
                    *to = f32::from_le_bytes(*from);
                }
            })?;
        } else {
            self.columns(first, out)?;
        }
        if let Some(at) = out.iter().position(|v| !v.is_finite()) {
            return Err(self.not_finite(first + at / self.k.max(1), at % self.k.max(1)));
        }
        if let Some(factors) = &self.factors {
            for line in out.chunks_mut(self.k.max(1)) {
                line.iter_mut().zip(factors.iter()).for_each(|(v, f)| *v *= f);
            }
        }
        Ok(())
    }

    fn not_finite(&self, line: usize, at: usize) -> Error {
        let (row, column) = if self.rows { (line, at) } else { (at, line) };
        Error::malformed(format!("the weight is not a finite number at [{row}, {column}]"))
            .item(&*self.name)
            .hint("a model with such a weight cannot be quantized: check the checkpoint")
    }

    /// Columns from number `first` on, one after the other.
    fn columns(&self, first: usize, out: &mut [f32]) -> Result<()> {
        let (n, k) = (self.n, self.k.max(1));
        for (group, lines) in out.chunks_mut(k * LINES).enumerate() {
            let column = first + group * LINES;
            let width = lines.len() / k;
            for row in 0..self.k {
                let at = row.checked_mul(n).and_then(|r| r.checked_add(column)).ok_or_else(past)?;
                self.bytes_at(at, width, |bytes| {
                    for (j, from) in bytes.as_chunks().0.iter().enumerate() {
                        if let Some(to) = lines.get_mut(j * k + row) {
                            *to = f32::from_le_bytes(*from);
                        }
                    }
                })?;
            }
        }
        Ok(())
    }

    /// Calls `of` with the bytes of `len` elements from element `first` on.
    fn bytes_at<T>(&self, first: usize, len: usize, of: impl FnOnce(&[u8]) -> T) -> Result<T> {
        let (Some(from), Some(bytes)) = (first.checked_mul(4), len.checked_mul(4)) else {
            return Err(past());
        };
        let step = self.tensor.granularity();
        let ready = match self.tensor.ready_bytes() {
            Some(bytes) => Some(bytes),
            None if step > LONGEST_PIECE => Some(self.whole()?),
            None => None,
        };
        if let Some(all) = ready {
            let end = from.checked_add(bytes).ok_or_else(past)?;
            return Ok(of(all.get(from..end).ok_or_else(past)?));
        }
        read::with_span(&self.tensor, from as u64, bytes, of)
    }

    fn whole(&self) -> Result<&Bytes> {
        if let Some(bytes) = self.whole.get() {
            return Ok(bytes);
        }
        let bytes = self.tensor.bytes()?;
        Ok(self.whole.get_or_init(|| bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_and_rows_are_the_same_lines_of_a_matrix_and_its_transpose() {
        let (n, k) = (37u16, 21u16);
        let value = |line: u16, at: u16| f32::from(line) * 100.0 + f32::from(at);
        let rows: Vec<f32> = (0..n).flat_map(|l| (0..k).map(move |i| value(l, i))).collect();
        let columns: Vec<f32> = (0..k).flat_map(|i| (0..n).map(move |l| value(l, i))).collect();
        let rows_tensor = Tensor::from_f32(vec![n.into(), k.into()], &rows).unwrap();
        let columns_tensor = Tensor::from_f32(vec![k.into(), n.into()], &columns).unwrap();
        let by_rows = Matrix::new("w", &rows_tensor, true).unwrap();
        let by_columns = Matrix::new("w", &columns_tensor, false).unwrap();
        for (first, count) in [(0, 37), (5, 17), (36, 1)] {
            let mut a = vec![0.0; count * 21];
            let mut b = a.clone();
            by_rows.lines(first, &mut a).unwrap();
            by_columns.lines(first, &mut b).unwrap();
            assert_eq!(a, b);
            assert_eq!(a, rows[first * 21..(first + count) * 21]);
        }
    }

    #[test]
    fn a_weight_that_is_no_number_is_named_with_its_place_in_the_tensor() {
        let mut values = vec![1.0; 12];
        values[7] = f32::NAN; // [1, 3] of [3, 4]
        let tensor = Tensor::from_f32(vec![3, 4], &values).unwrap();
        for rows in [true, false] {
            let matrix = Matrix::new("layer.weight", &tensor, rows).unwrap();
            let mut out = vec![0.0; 12];
            let error = matrix.lines(0, &mut out).unwrap_err().to_string();
            assert!(error.contains("[1, 3]") && error.contains("layer.weight"), "{error}");
        }
    }
}
