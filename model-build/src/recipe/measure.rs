//! The error that a type makes on a tensor, on rows at fixed distances.

use std::sync::Arc;

use half::{bf16, f16};

use crate::error::{Error, Result};
use crate::hub::{BlockDef, DType, Kernel, Tensor};

/// Elements that are looked at of a tensor, if it has as many; at least [`ROWS`] rows.
const ELEMENTS: u64 = 1 << 15;
/// Rows that are looked at, if a tensor has as many.
const ROWS: u64 = 8;

/// Rows of a tensor with the weights of their columns.
pub(super) struct Sample {
    columns: usize,
    rows: Vec<f32>,
    /// For each row, where its weights start.
    weights_at: Vec<usize>,
    /// The importance of columns, of one stacked matrix after the other.
    weights: Option<Arc<[f32]>>,
    /// The weight of every column where there is no importance.
    even: f64,
    /// Rows of the tensor for each row here.
    scale: f64,
}

impl Sample {
    /// Rows of a tensor of floats that has elements. `weights` has one for each column of each
    /// stacked matrix; `even` stands in where there are none.
    pub(super) fn of(tensor: &Tensor, weights: Option<Arc<[f32]>>, even: f64) -> Result<Self> {
        let columns = tensor.shape().last().copied().unwrap_or(1).max(1);
        let total = tensor.len() / columns;
        let wanted = (ELEMENTS / columns).max(ROWS).min(total);
        let per_matrix = tensor.shape().iter().rev().nth(1).copied().unwrap_or(1).max(1);
        let len = |n: u64| {
            usize::try_from(n)
                .map_err(|_| Error::unsupported("rows larger than this machine's memory"))
        };
        let columns_here = len(columns)?;
        let mut window = Window::default();
        let mut rows = Vec::with_capacity(columns_here.saturating_mul(len(wanted)?));
        let mut weights_at = Vec::with_capacity(len(wanted)?);
        for i in 0..wanted {
            // The middle of the i-th of as many parts.
            let row = u128::from(total) * u128::from(2 * i + 1) / u128::from(2 * wanted);
            let row = u64::try_from(row).map_err(|_| Error::bug("a row past the end"))?;
            window.row(tensor, row, columns, &mut rows)?;
            let matrices = weights.as_ref().map_or(1, |w| w.len() / columns_here).max(1);
            weights_at.push(len(row / per_matrix)? % matrices * columns_here);
        }
        if let Some(bad) = rows.iter().find(|v| !v.is_finite()) {
            return Err(Error::malformed(format!("a weight is {bad}")));
        }
        #[allow(clippy::cast_precision_loss)] // a ratio
        let scale = total as f64 / wanted.max(1) as f64;
        Ok(Self { columns: columns_here, rows, weights_at, weights, even, scale })
    }

    /// The weights of a row's columns.
    fn weights_of(&self, row: usize) -> Option<&[f32]> {
        let at = *self.weights_at.get(row)?;
        self.weights.as_ref()?.get(at..at + self.columns)
    }

    /// The weighted sum of squares of `value(x, x')` over all rows of the tensor, by the sampled ones.
    fn sum(&self, other: &[f32], value: fn(f64, f64) -> f64) -> f64 {
        let mut sum = 0.0;
        let pairs = self.rows.chunks_exact(self.columns).zip(other.chunks_exact(self.columns));
        for (row, (a, b)) in pairs.enumerate() {
            let squares = a.iter().zip(b).map(|(a, b)| value(f64::from(*a), f64::from(*b)).powi(2));
            sum += match self.weights_of(row) {
                Some(w) => squares.zip(w).map(|(s, w)| s * f64::from(*w)).sum::<f64>(),
                None => squares.sum::<f64>() * self.even,
            };
        }
        sum * self.scale
    }

    /// The weighted sum of squares of the weights.
    pub(super) fn energy(&self) -> f64 {
        self.sum(&self.rows, |a, _| a)
    }
}

/// The last bytes that were read: rows of a tensor that is made in large pieces share them.
#[derive(Default)]
struct Window {
    start: u64,
    bytes: Vec<u8>,
}

impl Window {
    /// Appends a row's values.
    fn row(&mut self, tensor: &Tensor, row: u64, columns: u64, out: &mut Vec<f32>) -> Result<()> {
        let overflow = || Error::bug("a row past the end of a tensor");
        let dtype = tensor.dtype();
        let len = dtype.bytes_for(columns).ok_or_else(overflow)?;
        let from = row.checked_mul(len).ok_or_else(overflow)?;
        let to = from.checked_add(len).ok_or_else(overflow)?;
        let have = self.start + self.bytes.len() as u64;
        if self.bytes.is_empty() || from < self.start || to > have {
            let granularity = tensor.granularity();
            let start = from / granularity * granularity;
            let end = to.checked_next_multiple_of(granularity).unwrap_or(u64::MAX);
            let end = end.min(tensor.byte_len());
            let size = usize::try_from(end.saturating_sub(start)).map_err(|_| overflow())?;
            self.bytes.resize(size, 0);
            self.start = start;
            tensor.read_at(start, &mut self.bytes)?;
        }
        let at = usize::try_from(from - self.start).map_err(|_| overflow())?;
        let len = usize::try_from(len).map_err(|_| overflow())?;
        let bytes = self.bytes.get(at..at + len).ok_or_else(overflow)?;
        let row = Tensor::new(dtype, vec![columns], bytes::Bytes::copy_from_slice(bytes))?;
        out.extend_from_slice(&row.to_f32()?);
        Ok(())
    }
}

/// The weighted sum of squared errors of a tensor in a type.
pub(super) fn measure(sample: &Sample, to: DType) -> Result<f64> {
    let back: Vec<f32> = match to {
        DType::F32 => return Ok(0.0),
        DType::F16 => sample.rows.iter().map(|v| f16::from_f32(*v).to_f32()).collect(),
        DType::BF16 => sample.rows.iter().map(|v| bf16::from_f32(*v).to_f32()).collect(),
        DType::Block(def) => there_and_back(sample, def)?,
        other => return Err(Error::bug(format!("{other} is no type of weights"))),
    };
    let error = sample.sum(&back, |a, b| a - b);
    // Values above the range of 16 bits come back infinite.
    Ok(if error.is_nan() { f64::INFINITY } else { error })
}

/// Encodes and decodes: runs of rows with the same weights at a time.
fn there_and_back(sample: &Sample, def: &'static BlockDef) -> Result<Vec<f32>> {
    let kernel = Kernel::best();
    let misfit = || Error::bug(format!("rows of {} do not go into {}", sample.columns, def.name));
    if !sample.columns.is_multiple_of(def.block_len) {
        return Err(misfit());
    }
    let row_bytes = sample.columns / def.block_len * def.block_bytes;
    let mut back = vec![0.0; sample.rows.len()];
    let mut encoded = Vec::new();
    let mut first = 0;
    for run in sample.weights_at.chunk_by(|a, b| a == b) {
        let range = first * sample.columns..(first + run.len()) * sample.columns;
        let rows = sample.rows.get(range.clone()).ok_or_else(misfit)?;
        encoded.clear();
        encoded.resize(run.len() * row_bytes, 0);
        (def.encode)(kernel, rows, sample.weights_of(first), sample.columns, &mut encoded);
        (def.decode)(&encoded, back.get_mut(range).ok_or_else(misfit)?);
        first += run.len();
    }
    Ok(back)
}
