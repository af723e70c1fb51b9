//! Checkpoint tensors as a graph wants them: widened to f32 and transposed while they are written.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use crate::error::{Error, Result};
use crate::hub::{DType, Produce, Tensor};

/// The tensor in f32: the tensor itself, or one that is widened when it is read. Exact from `f16`
/// and `bf16`, rounded to nearest even from `f64`; any other type is an error that names `name`.
pub(super) fn widened(name: &str, tensor: &Tensor) -> Result<Tensor> {
    if tensor.dtype() == DType::F32 {
        return Ok(tensor.clone());
    }
    check(name, tensor)?;
    let data = Arc::new(Widened { source: tensor.clone() });
    Tensor::lazy(DType::F32, tensor.shape().to_vec(), data)
}

/// A matrix `[rows, columns]` as `[columns, rows]` in f32, transposed when it is read.
pub(crate) fn transposed(name: &str, tensor: &Tensor) -> Result<Tensor> {
    check(name, tensor)?;
    let &[rows, columns] = tensor.shape() else {
        return Err(Error::bug("only a matrix is transposed").item(name));
    };
    let fits = |n: u64| usize::try_from(n).ok();
    let (Some(r), Some(c)) = (fits(rows), fits(columns)) else {
        return Err(Error::unsupported("a tensor larger than this machine's memory").item(name));
    };
    let data = Transposed { source: tensor.clone(), bytes: OnceLock::new(), rows: r, columns: c };
    Tensor::lazy(DType::F32, vec![columns, rows], Arc::new(data))
}

fn check(name: &str, tensor: &Tensor) -> Result<()> {
    if tensor.dtype().is_float() {
        return Ok(());
    }
    Err(Error::unsupported(format!(
        "a weight of type {}: the weights of a checkpoint must be f32, f16, bf16 or f64",
        tensor.dtype()
    ))
    .item(name)
    .hint("take the unquantized checkpoint and quantize it in the manifest"))
}

struct Widened {
    source: Tensor,
}

impl Produce for Widened {
    fn granularity(&self) -> u64 {
        // Of the source, brought to whole elements and counted in bytes of f32.
        let size = self.source.dtype().bits() / 8;
        let source = self.source.granularity();
        let elements = if source.is_multiple_of(size) { source / size } else { source };
        elements.saturating_mul(4)
    }

    fn produce(&self, offset: u64, out: &mut [u8]) -> Result<()> {
        let size = self.source.dtype().bits() / 8;
        let from = offset / 4 * size;
        let len = usize::try_from(size).map_err(|_| Error::bug("an element larger than memory"))?;
        let mut scratch = Vec::new();
        let source = match self.source.ready_bytes() {
            Some(bytes) => usize::try_from(from)
                .ok()
                .and_then(|from| bytes.get(from..from.checked_add(out.len() / 4 * len)?))
                .ok_or_else(|| Error::bug("a read past the end of a tensor"))?,
            None => {
                scratch.resize(out.len() / 4 * len, 0);
                self.source.read_at(from, &mut scratch)?;
                &scratch
            }
        };
        match self.source.dtype() {
            DType::F16 => widen(source, out, f16),
            DType::BF16 => widen(source, out, bf16),
            DType::F64 => widen(source, out, f64),
            _ => widen(source, out, |v: [u8; 4]| v),
        }
        Ok(())
    }
}

fn widen<const N: usize>(source: &[u8], out: &mut [u8], to_f32: impl Fn([u8; N]) -> [u8; 4]) {
    let (out, _) = out.as_chunks_mut::<4>();
    for (to, from) in out.iter_mut().zip(source.as_chunks::<N>().0) {
        *to = to_f32(*from);
    }
}

/// The same number in f32, without a branch, so that the compiler widens many at a time: the bits
/// move to f32's places, and a product with 2^112 makes up for the other bias of the exponent,
/// subnormal numbers included. Infinities and NaN have an exponent of their own.
fn f16(v: [u8; 2]) -> [u8; 4] {
    let bits = u32::from(u16::from_le_bytes(v));
    let sign = (bits & 0x8000) << 16;
    let magnitude = (bits & 0x7fff) << 13;
    let finite = (f32::from_bits(magnitude) * f32::from_bits((112 + 127) << 23)).to_bits();
    let quiet = if magnitude > 0x7c00 << 13 { 0x0040_0000 } else { 0 };
    let special = magnitude | 0x7f80_0000 | quiet;
    let value = if magnitude < 0x7c00 << 13 { finite } else { special };
    (sign | value).to_le_bytes()
}

fn bf16([low, high]: [u8; 2]) -> [u8; 4] {
    [0, 0, low, high]
}

#[allow(clippy::cast_possible_truncation)] // the rounding is the point
fn f64(v: [u8; 8]) -> [u8; 4] {
    (f64::from_le_bytes(v) as f32).to_le_bytes()
}

/// `[rows, columns]` of the source as `[columns, rows]`.
struct Transposed {
    source: Tensor,
    /// The source's bytes, made once where they are not mapped.
    bytes: OnceLock<Bytes>,
    rows: usize,
    columns: usize,
}

/// Side of the square that is turned in one go: 16 f32 are a cache line.
const TILE: usize = 16;

impl Transposed {
    fn source(&self) -> Result<&Bytes> {
        if let Some(bytes) = self.source.ready_bytes() {
            return Ok(bytes);
        }
        if let Some(bytes) = self.bytes.get() {
            return Ok(bytes);
        }
        let bytes = self.source.bytes()?;
        Ok(self.bytes.get_or_init(|| bytes))
    }
}

impl Produce for Transposed {
    fn granularity(&self) -> u64 {
        // Whole cache lines of the source's rows: each is read once for a tile of output rows.
        let row = (self.rows as u64).saturating_mul(4).max(1);
        let lines = 512 / self.source.dtype().bits().max(1);
        row.saturating_mul(lines.min(self.columns as u64).max(1))
    }

    fn transpose_of(&self) -> Option<Tensor> {
        widened("", &self.source).ok()
    }

    fn produce(&self, offset: u64, out: &mut [u8]) -> Result<()> {
        let source = self.source()?;
        let first = usize::try_from(offset)
            .ok()
            .and_then(|o| o.checked_div(self.rows.checked_mul(4)?))
            .ok_or_else(|| Error::bug("a read past the end of a tensor"))?;
        let (rows, columns) = (self.rows, self.columns);
        match self.source.dtype() {
            DType::F16 => turn(source, rows, columns, first, out, f16),
            DType::BF16 => turn(source, rows, columns, first, out, bf16),
            DType::F64 => turn(source, rows, columns, first, out, f64),
            _ => turn(source, rows, columns, first, out, |v: [u8; 4]| v),
        }
        Ok(())
    }
}

/// Fills `out` with the columns of `source` from number `first` on, each as a row of f32.
fn turn<const N: usize>(
    source: &[u8],
    rows: usize,
    columns: usize,
    first: usize,
    out: &mut [u8],
    to_f32: impl Fn([u8; N]) -> [u8; 4],
) {
    let (source, _) = source.as_chunks::<N>();
    let (out, _) = out.as_chunks_mut::<4>();
    let mut tile = [[[0u8; 4]; TILE]; TILE];
    for (block, group) in source.chunks(columns * TILE).enumerate() {
        let row = block * TILE;
        for (strip, lines) in out.chunks_mut(rows * TILE).enumerate() {
            let column = first + strip * TILE;
            let width = lines.len() / rows;
            let mut height = 0;
            for (i, from) in group.chunks_exact(columns).enumerate() {
                for (j, value) in from[column..column + width].iter().enumerate() {
                    tile[j][i] = to_f32(*value);
                }
                height = i + 1;
            }
            for (line, turned) in lines.chunks_exact_mut(rows).zip(&tile) {
                line[row..row + height].copy_from_slice(&turned[..height]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matrix(dtype: DType, rows: u64, columns: u64) -> (Tensor, Vec<f32>) {
        let values: Vec<f32> = (0..rows * columns).map(|i| i as f32 * 0.25 - 9.0).collect();
        let bytes: Vec<u8> = match dtype {
            DType::F32 => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
            DType::F64 => values.iter().flat_map(|v| f64::from(*v).to_le_bytes()).collect(),
            DType::F16 => {
                values.iter().flat_map(|v| half::f16::from_f32(*v).to_le_bytes()).collect()
            }
            _ => values.iter().flat_map(|v| half::bf16::from_f32(*v).to_le_bytes()).collect(),
        };
        let tensor = Tensor::new(dtype, vec![rows, columns], bytes.into()).unwrap();
        let rounded = tensor.to_f32().unwrap();
        (tensor, rounded)
    }

    #[test]
    fn a_transposed_tensor_is_the_transpose_in_chunks_of_any_multiple_of_its_granularity() {
        for dtype in [DType::F32, DType::F16, DType::BF16, DType::F64] {
            for (rows, columns) in [(1, 1), (3, 50), (50, 3), (16, 16), (17, 33), (40, 100)] {
                let (source, values) = matrix(dtype, rows, columns);
                let turned = transposed("w", &source).unwrap();
                assert_eq!((turned.dtype(), turned.shape()), (DType::F32, &[columns, rows][..]));
                let mut want = Vec::new();
                for j in 0..columns {
                    for i in 0..rows {
                        want.extend(
                            values[usize::try_from(i * columns + j).unwrap()].to_le_bytes(),
                        );
                    }
                }
                assert_eq!(turned.bytes().unwrap(), want);
                let step = usize::try_from(turned.granularity()).unwrap();
                for chunk in [step, 2 * step] {
                    let mut pieces = Vec::new();
                    while pieces.len() < want.len() {
                        let mut piece = vec![0; chunk.min(want.len() - pieces.len())];
                        turned.read_at(pieces.len() as u64, &mut piece).unwrap();
                        pieces.extend(piece);
                    }
                    assert_eq!(pieces, want);
                }
            }
        }
    }

    #[test]
    fn a_widened_tensor_holds_the_same_numbers() {
        for dtype in [DType::F16, DType::BF16, DType::F64] {
            let (source, values) = matrix(dtype, 5, 7);
            let wide = widened("w", &source).unwrap();
            assert_eq!(wide.to_f32().unwrap(), values);
            let mut third = [0; 4];
            wide.read_at(8, &mut third).unwrap();
            assert_eq!(f32::from_le_bytes(third), values[2]);
        }
    }

    #[test]
    fn every_half_precision_number_widens_to_itself() {
        for bits in 0..=u16::MAX {
            let want = half::f16::from_bits(bits).to_f32().to_bits();
            assert_eq!(u32::from_le_bytes(f16(bits.to_le_bytes())), want, "{bits:#06x}");
            let want = half::bf16::from_bits(bits).to_f32();
            let got = f32::from_le_bytes(bf16(bits.to_le_bytes()));
            assert!(
                got.to_bits() == want.to_bits() || got.is_nan() && want.is_nan(),
                "{bits:#06x}"
            );
        }
    }

    #[test]
    fn a_weight_that_is_no_float_is_refused_by_name() {
        let packed = Tensor::new(DType::I8, vec![2, 2], vec![0; 4].into()).unwrap();
        for result in [widened("q.weight", &packed), transposed("q.weight", &packed)] {
            let error = result.unwrap_err();
            assert!(error.to_string().contains("q.weight"), "{error}");
        }
    }

    #[test]
    fn a_lazy_source_is_turned_too() {
        let (source, values) = matrix(DType::F16, 4, 6);
        let lazy = widened("w", &source).unwrap();
        let turned = transposed("w", &lazy).unwrap().to_f32().unwrap();
        assert_eq!(turned[1], values[6]);
        assert_eq!(turned[23], values[23]);
    }
}
