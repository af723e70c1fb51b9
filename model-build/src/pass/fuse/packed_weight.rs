//! Matrices side by side as one, put together when they are written.

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::hub::{DType, Produce, Tensor};

/// Matrices `[rows, columns]` of one type side by side: `[rows, sum of columns]`. `None` when their
/// types or numbers of rows differ, or when an element is no whole number of bytes.
pub(super) fn side_by_side(parts: &[Tensor]) -> Result<Option<Tensor>> {
    let Some(first) = parts.first() else { return Ok(None) };
    let dtype = first.dtype();
    let &[rows, _] = first.shape() else { return Ok(None) };
    let mut columns = 0u64;
    for part in parts {
        match *part.shape() {
            [r, c] if r == rows && part.dtype() == dtype => columns = columns.saturating_add(c),
            _ => return Ok(None),
        }
    }
    if !matches!(dtype, DType::F32 | DType::F16 | DType::BF16 | DType::F64) {
        return Ok(None);
    }
    let widths = parts.iter().map(|p| dtype.bytes_for(*p.shape().last()?)).collect::<Option<_>>();
    let Some(widths) = widths else { return Ok(None) };
    let data = SideBySide { parts: parts.to_vec(), widths };
    Tensor::lazy(dtype, vec![rows, columns], Arc::new(data)).map(Some)
}

struct SideBySide {
    parts: Vec<Tensor>,
    /// Bytes of a row of each part.
    widths: Vec<u64>,
}

/// Rows that are read from every part at once.
fn rows_at_once(parts: &[Tensor], widths: &[u64]) -> u64 {
    // A number of rows of a part is a whole number of its granules.
    parts.iter().zip(widths).fold(1, |rows, (part, width)| {
        let granule = part.granularity();
        let least = granule / gcd(granule, *width).max(1);
        rows / gcd(rows, least).max(1) * least.max(1)
    })
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

impl Produce for SideBySide {
    fn granularity(&self) -> u64 {
        let row: u64 = self.widths.iter().sum();
        row.max(1).saturating_mul(rows_at_once(&self.parts, &self.widths))
    }

    fn produce(&self, offset: u64, out: &mut [u8]) -> Result<()> {
        let fits = |n: u64| usize::try_from(n).map_err(|_| Error::bug("a row larger than memory"));
        let row: u64 = self.widths.iter().sum();
        let (first, length) = (offset / row.max(1), fits(row.max(1))?);
        let rows = out.len() / length;
        let mut start = 0;
        for (part, width) in self.parts.iter().zip(&self.widths) {
            let bytes = fits(*width)?;
            let mut piece = vec![0; rows * bytes];
            part.read_at(first * width, &mut piece)?;
            if bytes > 0 {
                for (to, from) in out.chunks_exact_mut(length).zip(piece.chunks_exact(bytes)) {
                    to[start..start + bytes].copy_from_slice(from);
                }
            }
            start += bytes;
        }
        Ok(())
    }

    fn recipe(&self) -> Option<(String, Vec<Tensor>)> {
        Some(("side by side".to_owned(), self.parts.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matrices_stand_side_by_side_in_every_chunk() {
        let a = Tensor::from_f32(vec![3, 2], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]).unwrap();
        let b = Tensor::from_f32(vec![3, 1], &[7.0, 8.0, 9.0]).unwrap();
        let both = side_by_side(&[a.clone(), b]).unwrap().unwrap();
        assert_eq!(both.shape(), [3, 3]);
        let want = [1.0, 2.0, 7.0, 3.0, 4.0, 8.0, 5.0, 6.0, 9.0];
        assert_eq!(both.to_f32().unwrap(), want);
        let mut row = [0; 12];
        both.read_at(12, &mut row).unwrap();
        assert_eq!(f32::from_le_bytes([row[8], row[9], row[10], row[11]]), 8.0);
        let other = Tensor::from_f32(vec![2, 3], &[0.0; 6]).unwrap();
        assert!(side_by_side(&[a, other]).unwrap().is_none());
    }

    #[test]
    fn chunks_are_whole_granules_of_every_part() {
        struct Slow;
        impl Produce for Slow {
            fn granularity(&self) -> u64 {
                24
            }
            fn produce(&self, offset: u64, out: &mut [u8]) -> Result<()> {
                assert!(offset.is_multiple_of(24) && out.len().is_multiple_of(24));
                out.fill(0);
                Ok(())
            }
        }
        let slow = Tensor::lazy(DType::F32, vec![6, 4], Arc::new(Slow)).unwrap();
        let plain = Tensor::from_f32(vec![6, 1], &[0.0; 6]).unwrap();
        let both = side_by_side(&[slow, plain]).unwrap().unwrap();
        assert_eq!(both.granularity(), 20 * 3);
        let mut chunk = [0; 60];
        both.read_at(60, &mut chunk).unwrap();
    }
}
