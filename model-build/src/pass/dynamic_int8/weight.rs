//! A matrix as int8 with one scale per row or column: scales found in one parallel pass, values
//! made when they are written.

use std::sync::Arc;

use super::super::read;
use crate::error::{Error, Result};
use crate::hub::{DType, Produce, Tensor};

/// Which elements of a matrix share a scale.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(in super::super) enum Channel {
    /// Those of a column: the right factor of a product, `[k, n]`.
    Column,
    /// Those of a row: a table that is looked up, or a right factor stored transposed, `[n, k]`.
    Row,
}

/// How far a channel's values may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Range {
    /// As far as no pair of neighbours in a product can pass 16 bits: see the pass.
    Portable,
    /// All of -127 ..= 127.
    Full,
}

/// A quantized matrix: `weight ≈ (values - zeros) · scales`.
pub(in super::super) struct Quantized {
    /// `i8` or, with zero points, `u8`; the shape of the weight.
    pub(in super::super) values: Tensor,
    /// `f32`, one per channel.
    pub(in super::super) scales: Vec<f32>,
    /// One per channel; `None` where all are 0.
    pub(in super::super) zeros: Option<Arc<[u8]>>,
}

/// Quantizes a matrix of f32.
///
/// The scale of a channel is `range / 127`, computed in f64 and rounded to f32, where `range` is the
/// greatest magnitude in it (with [`Range::Portable`] the greatest sum of two neighbours of one
/// sign); 1 where that is below the least normal f32. A value is `weight / scale` in f32, rounded
/// to nearest, ties to even. That is what `onnxruntime.quantization` computes with
/// `per_channel=True, weight_type=QInt8`.
pub(in super::super) fn quantize(
    name: &str,
    weight: &Tensor,
    channel: Channel,
    range: Range,
) -> Result<Quantized> {
    let &[_, columns] = weight.shape() else {
        return Err(Error::bug("only a matrix is quantized").item(name));
    };
    let width = usize::try_from(columns)
        .map_err(|_| Error::unsupported("a tensor larger than this machine's memory").item(name))?;
    let ranges = match channel {
        Channel::Column => column_ranges(name, weight, width, range)?,
        Channel::Row => row_ranges(name, weight, width, range)?,
    };
    let scales: Vec<f32> = ranges.into_iter().map(scale).collect();
    let shape = weight.shape().to_vec();
    let values = Arc::new(Values {
        source: weight.clone(),
        scales: scales.clone().into(),
        zeros: None,
        channel,
        columns: width,
    });
    Ok(Quantized { values: Tensor::lazy(DType::I8, shape, values)?, scales, zeros: None })
}

/// Quantizes a matrix of f32 to `u8` with zero points.
///
/// The range of a channel, zero included, is divided evenly: `scale = (most - least) / 255` and
/// `zero = -least / scale`, in f64, the scale rounded to f32 and the zero point to the nearest integer,
/// ties to even; scale 1 and zero point 0 where the scale is below the least normal f32. A value is
/// `weight / scale` in f32, rounded in the same way, plus the zero point. That is what
/// `onnxruntime.quantization` computes with `per_channel=True, weight_type=QUInt8`.
pub(super) fn quantize_unsigned(
    name: &str,
    weight: &Tensor,
    channel: Channel,
) -> Result<Quantized> {
    let &[rows, columns] = weight.shape() else {
        return Err(Error::bug("only a matrix is quantized").item(name));
    };
    let too_large = || Error::unsupported("a tensor larger than this machine's memory").item(name);
    let fits = |n: u64| usize::try_from(n).map_err(|_| too_large());
    let (height, width) = (fits(rows)?, fits(columns)?);
    let channels = if channel == Channel::Row { height } else { width };
    let line = (width as u64).saturating_mul(4);
    let parts = read::map_blocks(weight, line, |offset, bytes| {
        check(name, bytes, offset / 4, width)?;
        let rows = bytes.chunks(width * 4);
        let of = |row: &[u8]| floats(row).fold((0f32, 0f32), |(a, b), v| (a.min(v), b.max(v)));
        Ok(match channel {
            Channel::Row => rows.map(of).collect::<Vec<_>>(),
            Channel::Column => rows.fold(vec![(0f32, 0f32); width], |mut have, row| {
                for ((least, most), v) in have.iter_mut().zip(floats(row)) {
                    (*least, *most) = (least.min(v), most.max(v));
                }
                have
            }),
        })
    })?;
    let ranges = match channel {
        Channel::Row => parts.concat(),
        Channel::Column => {
            parts.into_iter().fold(vec![(0f32, 0f32); channels], |mut have, part| {
                for (to, (least, most)) in have.iter_mut().zip(part) {
                    *to = (to.0.min(least), to.1.max(most));
                }
                have
            })
        }
    };
    let codes: Vec<(f32, u8)> = ranges.into_iter().map(unsigned_code).collect();
    let scales: Vec<f32> = codes.iter().map(|(scale, _)| *scale).collect();
    let zeros: Arc<[u8]> = codes.iter().map(|(_, zero)| *zero).collect();
    let values = Arc::new(Values {
        source: weight.clone(),
        scales: scales.clone().into(),
        zeros: Some(zeros.clone()),
        channel,
        columns: width,
    });
    let values = Tensor::lazy(DType::U8, weight.shape().to_vec(), values)?;
    Ok(Quantized { values, scales, zeros: Some(zeros) })
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // the rounding is the point; clamped
fn unsigned_code((least, most): (f32, f32)) -> (f32, u8) {
    let scale = (f64::from(most) - f64::from(least)) / 255.0;
    if scale < f64::from(f32::MIN_POSITIVE) {
        return (1.0, 0);
    }
    let zero = (-f64::from(least) / scale).round_ties_even().clamp(0.0, 255.0);
    (scale as f32, zero as u8)
}

#[allow(clippy::cast_possible_truncation)] // the rounding is the point
fn scale(range: f64) -> f32 {
    let scale = range / 127.0;
    if scale < f64::from(f32::MIN_POSITIVE) { 1.0 } else { scale as f32 }
}

fn floats(bytes: &[u8]) -> impl Iterator<Item = f32> {
    bytes.as_chunks().0.iter().map(|c| f32::from_le_bytes(*c))
}

/// An error if a value is not finite; `first` is the number of the first element.
fn check(name: &str, bytes: &[u8], first: u64, columns: usize) -> Result<()> {
    match floats(bytes).position(|v| !v.is_finite()) {
        None => Ok(()),
        Some(at) => {
            let at = first + at as u64;
            let (row, column) = (at / columns as u64, at % columns as u64);
            Err(Error::malformed(format!("the weight is not a finite number at [{row}, {column}]"))
                .item(name)
                .hint("a model with such a weight cannot be quantized: check the checkpoint"))
        }
    }
}

/// The greatest of `a`, `b` and, of values of one sign, their sum.
fn pair(a: f32, b: f32, range: Range) -> f64 {
    let (a, b) = (f64::from(a), f64::from(b));
    if range == Range::Portable && (a > 0.0) == (b > 0.0) {
        (a + b).abs()
    } else {
        a.abs().max(b.abs())
    }
}

fn column_ranges(name: &str, weight: &Tensor, width: usize, range: Range) -> Result<Vec<f64>> {
    let row = (width as u64).saturating_mul(4);
    let parts = read::map_blocks(weight, row.saturating_mul(2), |offset, bytes| {
        check(name, bytes, offset / 4, width)?;
        let mut ranges = vec![0f64; width];
        for rows in bytes.chunks(width * 8) {
            let (top, bottom) = rows.split_at(rows.len().min(width * 4));
            let below = floats(bottom).chain(std::iter::repeat(0.0));
            for (have, (a, b)) in ranges.iter_mut().zip(floats(top).zip(below)) {
                *have = have.max(pair(a, b, range));
            }
        }
        Ok(ranges)
    })?;
    let mut out = vec![0f64; width];
    for part in parts {
        for (have, r) in out.iter_mut().zip(part) {
            *have = have.max(r);
        }
    }
    Ok(out)
}

fn row_ranges(name: &str, weight: &Tensor, width: usize, range: Range) -> Result<Vec<f64>> {
    let row = (width as u64).saturating_mul(4);
    let parts = read::map_blocks(weight, row, |offset, bytes| {
        check(name, bytes, offset / 4, width)?;
        Ok(bytes
            .chunks(width * 4)
            .map(|row| {
                row.chunks(8)
                    .map(|two| {
                        let mut values = floats(two);
                        let (a, b) = (values.next().unwrap_or(0.0), values.next().unwrap_or(0.0));
                        pair(a, b, range)
                    })
                    .fold(0.0, f64::max)
            })
            .collect::<Vec<_>>())
    })?;
    Ok(parts.concat())
}

/// The sum of each channel's dequantized values.
#[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss)] // the rounding is the point
pub(super) fn sums(quantized: &Quantized, channel: Channel) -> Result<Vec<f32>> {
    let Quantized { values, scales, zeros } = quantized;
    let &[rows, columns] = values.shape() else {
        return Err(Error::bug("only a matrix has sums"));
    };
    let width = usize::try_from(columns)
        .map_err(|_| Error::unsupported("a tensor larger than this machine's memory"))?;
    let signed = zeros.is_none();
    let value = |b: &u8| if signed { i64::from(b.cast_signed()) } else { i64::from(*b) };
    let parts = read::map_blocks(values, columns, |_, bytes| {
        let rows = bytes.chunks(width.max(1));
        Ok(match channel {
            Channel::Row => rows.map(|row| row.iter().map(value).sum()).collect::<Vec<i64>>(),
            Channel::Column => rows.fold(vec![0; width], |mut sums, row| {
                sums.iter_mut().zip(row).for_each(|(sum, b)| *sum += value(b));
                sums
            }),
        })
    })?;
    let mut sums = match channel {
        Channel::Row => parts.concat(),
        Channel::Column => parts.into_iter().fold(vec![0; width], |mut sums, part| {
            sums.iter_mut().zip(part).for_each(|(sum, more)| *sum += more);
            sums
        }),
    };
    if let Some(zeros) = zeros {
        let count = if channel == Channel::Row { columns } else { rows };
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        for (sum, zero) in sums.iter_mut().zip(zeros.iter()) {
            *sum = sum.saturating_sub(count.saturating_mul(i64::from(*zero)));
        }
    }
    Ok(sums.iter().zip(scales).map(|(sum, s)| (*sum as f64 * f64::from(*s)) as f32).collect())
}

struct Values {
    source: Tensor,
    scales: Arc<[f32]>,
    zeros: Option<Arc<[u8]>>,
    channel: Channel,
    columns: usize,
}

impl Values {
    /// Quantizes what comes next of a row; scales and zero points are those from its channel on.
    fn line(
        &self,
        scales: &[f32],
        zeros: Option<&[u8]>,
        values: &mut impl Iterator<Item = f32>,
        out: &mut [u8],
    ) {
        let scale = scales.first().copied().unwrap_or(1.0);
        match (self.channel, zeros) {
            (Channel::Row, None) => {
                out.iter_mut().zip(values).for_each(|(q, v)| *q = quantized(v, scale));
            }
            (Channel::Row, Some(zeros)) => {
                let zero = zeros.first().copied().unwrap_or(0);
                out.iter_mut().zip(values).for_each(|(q, v)| *q = unsigned(v, scale, zero));
            }
            (Channel::Column, None) => {
                for ((q, scale), v) in out.iter_mut().zip(scales).zip(values) {
                    *q = quantized(v, *scale);
                }
            }
            (Channel::Column, Some(zeros)) => {
                for ((q, (scale, zero)), v) in
                    out.iter_mut().zip(scales.iter().zip(zeros)).zip(values)
                {
                    *q = unsigned(v, *scale, *zero);
                }
            }
        }
    }
}

impl Produce for Values {
    fn granularity(&self) -> u64 {
        read::elements_per_step(&self.source)
    }

    fn produce(&self, offset: u64, out: &mut [u8]) -> Result<()> {
        read::with_elements(&self.source, offset, out.len(), |source| {
            let columns = self.columns as u64;
            let mut at = offset;
            let mut values = floats(source);
            let mut rest = out;
            while !rest.is_empty() {
                // The rest of a row, or of what is asked for.
                let (row, column) = (at / columns, at % columns);
                let left = usize::try_from(columns - column).unwrap_or(usize::MAX);
                let (line, tail) = rest.split_at_mut(left.min(rest.len()));
                at += line.len() as u64;
                let from = match self.channel {
                    Channel::Row => usize::try_from(row),
                    Channel::Column => usize::try_from(column),
                };
                let from = from.unwrap_or(usize::MAX);
                let scales = self.scales.get(from..).unwrap_or_default();
                let zeros = self.zeros.as_ref().map(|z| z.get(from..).unwrap_or_default());
                self.line(scales, zeros, &mut values, line);
                rest = tail;
            }
        })
    }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // clamped; the sign is a bit
fn quantized(value: f32, scale: f32) -> u8 {
    (value / scale).round_ties_even().clamp(-128.0, 127.0) as i8 as u8
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // clamped
fn unsigned(value: f32, scale: f32, zero: u8) -> u8 {
    ((value / scale).round_ties_even() + f32::from(zero)).clamp(0.0, 255.0) as u8
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::{Segment, write_blob};

    /// Numbers of a normal-like distribution, the same on every machine.
    fn noise(n: usize) -> Vec<f32> {
        let mut state = 0x9e37_79b9_u32;
        let mut draw = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 24) as f32 - 0.5
        };
        (0..n).map(|_| draw() + draw() + draw() + draw()).collect()
    }

    fn values(q: &Quantized) -> Vec<i8> {
        q.values.bytes().unwrap().iter().map(|b| b.cast_signed()).collect()
    }

    #[test]
    fn sums_are_those_of_the_dequantized_channels() {
        let (k, n) = (700, 900); // of several blocks
        let weight = Tensor::from_f32(vec![k, n], &noise(700 * 900)).unwrap();
        let n = usize::try_from(n).unwrap();
        for channel in [Channel::Column, Channel::Row] {
            let q = quantize("w", &weight, channel, Range::Portable).unwrap();
            let mut expected = vec![0.0; q.scales.len()];
            for (i, v) in values(&q).into_iter().enumerate() {
                let at = if channel == Channel::Row { i / n } else { i % n };
                expected[at] += f64::from(v) * f64::from(q.scales[at]);
            }
            let found = sums(&q, channel).unwrap();
            assert_eq!(found.len(), expected.len());
            for (a, b) in found.iter().zip(&expected) {
                assert!((f64::from(*a) - b).abs() <= 1e-5 * b.abs().max(1.0), "{a} {b}");
            }
        }
    }

    #[test]
    fn in_the_portable_range_no_pair_of_neighbours_passes_16_bits() {
        let (k, n) = (193, 37);
        let weight = Tensor::from_f32(vec![k, n], &noise(193 * 37)).unwrap();
        let over = |range| {
            let q = quantize("w", &weight, Channel::Column, range).unwrap();
            let v = values(&q);
            let row = usize::try_from(n).unwrap();
            v.chunks_exact(row * 2)
                .flat_map(|rows| rows[..row].iter().zip(&rows[row..]))
                .filter(|(a, b)| {
                    let (a, b) = (i32::from(**a), i32::from(**b));
                    let most = 255 * (a.max(0) + b.max(0));
                    let least = 255 * (a.min(0) + b.min(0));
                    most > i32::from(i16::MAX) || least < i32::from(i16::MIN)
                })
                .count()
        };
        assert!(over(Range::Full) > 100);
        assert_eq!(over(Range::Portable), 0);
    }

    #[test]
    fn a_matrix_and_its_transpose_have_the_same_scales_by_column_and_by_row() {
        let (k, n) = (65usize, 33usize);
        let a = noise(k * n);
        let b: Vec<f32> = (0..n * k).map(|i| a[(i % k) * n + i / k]).collect();
        let a = Tensor::from_f32(vec![k as u64, n as u64], &a).unwrap();
        let b = Tensor::from_f32(vec![n as u64, k as u64], &b).unwrap();
        for range in [Range::Full, Range::Portable] {
            let a = quantize("w", &a, Channel::Column, range).unwrap();
            let b = quantize("w", &b, Channel::Row, range).unwrap();
            assert_eq!(a.scales, b.scales);
            let (va, vb) = (values(&a), values(&b));
            assert!((0..n * k).all(|i| vb[i] == va[(i % k) * n + i / k]));
        }
    }

    #[test]
    fn the_same_bytes_on_any_number_of_threads_and_in_any_chunks() {
        let (rows, columns) = (1031u64, 517u64);
        let weight = Tensor::from_f32(vec![rows, columns], &noise(1031 * 517)).unwrap();
        for channel in [Channel::Row, Channel::Column] {
            let mut seen: Option<(Vec<f32>, Vec<u8>)> = None;
            for threads in [1, 2, 5] {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                let got = pool.install(|| {
                    let q = quantize("w", &weight, channel, Range::Portable).unwrap();
                    let mut file = Vec::new();
                    write_blob(&[Segment::Tensor(q.values)], &mut file, &mut |_| {}).unwrap();
                    (q.scales, file)
                });
                assert!(seen.as_ref().is_none_or(|s| *s == got));
                seen = Some(got);
            }
            let (_, whole) = seen.unwrap();
            let q = quantize("w", &weight, channel, Range::Portable).unwrap();
            let mut pieces = vec![0; whole.len()];
            let mut offset = 0;
            for piece in pieces.chunks_mut(999) {
                q.values.read_at(offset, piece).unwrap();
                offset += piece.len() as u64;
            }
            assert_eq!(pieces, whole);
        }
    }

    #[test]
    fn an_all_zero_channel_has_the_scale_one() {
        let weight = Tensor::from_f32(vec![2, 2], &[0.0, 1.0, -0.0, 1e-44]).unwrap();
        let q = quantize("w", &weight, Channel::Column, Range::Full).unwrap();
        assert_eq!(q.scales, [1.0, 1.0 / 127.0]);
        assert_eq!(values(&q), [0, 127, 0, 0]);
        let q = quantize("w", &weight, Channel::Row, Range::Full).unwrap();
        assert_eq!(q.scales, [1.0 / 127.0, 1.0]);
    }

    #[test]
    fn a_weight_that_is_no_number_is_named_with_its_index() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut v = noise(6 * 4);
            v[4 * 4 + 3] = bad;
            let weight = Tensor::from_f32(vec![6, 4], &v).unwrap();
            for channel in [Channel::Row, Channel::Column] {
                let result = quantize("layer.weight", &weight, channel, Range::Full);
                let error = result.err().unwrap().to_string();
                assert!(error.contains("[4, 3]") && error.contains("layer.weight"), "{error}");
            }
        }
    }

    #[test]
    fn the_dtype_of_the_values_is_i8() {
        let weight = Tensor::from_f32(vec![1, 1], &[3.0]).unwrap();
        let q = quantize("w", &weight, Channel::Row, Range::Full).unwrap();
        assert_eq!(q.values.dtype(), DType::I8);
        assert_eq!(values(&q), [127]);
    }
}
