//! What two outputs have in common: cosine, absolute and relative differences, agreement of rows,
//! non-finite values.
//!
//! Everything is accumulated in `f64`, in the order of the elements and of the samples, so the
//! same outputs give the same numbers on any number of threads.

use serde::{Deserialize, Serialize};

use super::rows::{Accuracy, Looks, Rows};
use crate::error::{Error, Result};
use crate::hub::{DType, Tensor};

/// The outcome of a comparison over all samples.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// One entry per output of the reference, in its order.
    pub outputs: Vec<OutputMetrics>,
    /// What ran both graphs: name and version.
    pub runner: String,
    /// How it ran them: optimization level, emulations.
    pub level: String,
    /// Number of samples.
    pub samples: u32,
    /// What the inputs were, as "8 synthetic samples, seed 0".
    pub inputs: String,
}

/// The comparison of one output over all samples.
///
/// A place where both sides hold the same non-finite value (NaN and NaN, or infinities of one sign)
/// is counted in [`nonfinite`](Self::nonfinite) and takes part in nothing else; a place where they
/// differ and one is not finite is a failure whatever the bounds are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OutputMetrics {
    /// The output's name.
    pub name: String,
    /// The least cosine similarity of a row, where a row is one index of the first axis (of a
    /// batch: one sample); outputs of fewer than two axes are one row. This is what is gated.
    /// Two zero rows have 1, a zero row and another have 0.
    pub cosine: f64,
    /// Where that row is, as "sample 3, row 1".
    pub cosine_at: String,
    /// The cosine similarity of all elements of all samples as one vector.
    pub cosine_all: f64,
    /// The greatest absolute difference.
    pub max_abs: f64,
    /// Where it is, as "sample 0, element [1, 5, 31]".
    pub max_abs_at: String,
    /// The mean absolute difference.
    pub mean_abs: f64,
    /// The share of rows along the last axis whose greatest element is at the same place, the
    /// first one among equals; `None` when the last axis has fewer than two elements.
    pub top1: Option<f64>,
    /// The length of the difference over the length of the reference, all elements of all samples
    /// as one vector. `None` when the reference is zero and the artifact is not, when the lengths
    /// overflow, or in numbers that an earlier version measured.
    #[serde(default)]
    pub relative: Option<f64>,
    /// The mean over rows along the last axis of the divergence, in nats, of the artifact's
    /// distribution from the reference's: of the rows' softmax, or of the rows themselves where
    /// they are distributions. `None` without a row of two finite elements or more.
    #[serde(default)]
    pub kl: Option<f64>,
    /// The greatest divergence of a row, and where, as "sample 0, row 3".
    #[serde(default)]
    pub kl_worst: Option<(f64, String)>,
    /// The mean share of the `k` greatest elements of a row that are among the artifact's `k`
    /// greatest; `None` when no row along the last axis is longer than `k`.
    #[serde(default)]
    pub topk: Option<f64>,
    /// Against labels, for outputs that have as many rows as there are labels.
    #[serde(default)]
    pub accuracy: Option<Accuracy>,
    /// Number of elements on each side.
    pub elements: u64,
    /// Number of elements that are finite on both sides: what the numbers above are made from.
    pub compared: u64,
    /// NaN and infinities.
    pub nonfinite: NonFinite,
}

impl OutputMetrics {
    /// The signal-to-noise ratio in dB, `20 · log10(1 / relative)`: infinite for equal outputs.
    pub fn snr(&self) -> Option<f64> {
        self.relative.map(snr)
    }
}

/// The signal-to-noise ratio, in dB, of a relative error.
pub(crate) fn snr(relative: f64) -> f64 {
    if relative == 0.0 { f64::INFINITY } else { -20.0 * relative.log10() }
}

/// The length of a difference over that of the reference, from their squares.
pub(super) fn relative(difference: f64, reference: f64) -> Option<f64> {
    if difference == 0.0 {
        return Some(0.0);
    }
    let relative = (difference / reference).sqrt();
    relative.is_finite().then_some(relative)
}

/// How many elements of an output are not finite.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NonFinite {
    /// NaN in the reference.
    pub reference_nan: u64,
    /// Infinities in the reference.
    pub reference_inf: u64,
    /// NaN in the artifact.
    pub artifact_nan: u64,
    /// Infinities in the artifact.
    pub artifact_inf: u64,
    /// Places where both sides hold the same one.
    pub same: u64,
    /// Places where the sides differ and one of them is not finite.
    pub differing: u64,
    /// The first of these, as "sample 0, element [1, 5]: 0.25 became NaN".
    pub first_differing: Option<String>,
}

impl NonFinite {
    fn count(&mut self, reference: f64, artifact: f64) {
        self.reference_nan += u64::from(reference.is_nan());
        self.reference_inf += u64::from(reference.is_infinite());
        self.artifact_nan += u64::from(artifact.is_nan());
        self.artifact_inf += u64::from(artifact.is_infinite());
    }
    fn merge(&mut self, later: &Self) {
        self.reference_nan += later.reference_nan;
        self.reference_inf += later.reference_inf;
        self.artifact_nan += later.artifact_nan;
        self.artifact_inf += later.artifact_inf;
        self.same += later.same;
        self.differing += later.differing;
        if self.first_differing.is_none() {
            self.first_differing.clone_from(&later.first_differing);
        }
    }
}

/// Sums over one output; made per sample by [`Comparison::of`] and merged in the samples' order.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    name: String,
    worst: Option<(f64, String)>,
    dot: f64,
    reference_squares: f64,
    artifact_squares: f64,
    greatest: Option<(f64, String)>,
    sum_abs: f64,
    difference_squares: f64,
    elements: u64,
    compared: u64,
    rows: Rows,
    nonfinite: NonFinite,
}

impl Comparison {
    /// Compares an output of one sample. An error when the shapes differ or the elements are no
    /// numbers.
    pub fn of(name: &str, sample: u32, reference: &Tensor, artifact: &Tensor) -> Result<Self> {
        Self::looking(name, sample, reference, artifact, &Looks::default())
    }

    /// [`of`](Self::of), where `looks` says what rows are looked at for.
    pub fn looking(
        name: &str,
        sample: u32,
        reference: &Tensor,
        artifact: &Tensor,
        looks: &Looks<'_>,
    ) -> Result<Self> {
        if reference.shape() != artifact.shape() {
            return Err(Error::accuracy(format!(
                "output `{name}` has another shape: the reference gives {:?}, the artifact {:?}",
                reference.shape(),
                artifact.shape()
            )));
        }
        let (a, b) = (values(name, reference)?, values(name, artifact)?);
        let mut all = Self {
            name: name.to_owned(),
            worst: None,
            dot: 0.0,
            reference_squares: 0.0,
            artifact_squares: 0.0,
            greatest: None,
            sum_abs: 0.0,
            difference_squares: 0.0,
            elements: a.len() as u64,
            compared: 0,
            rows: Rows::default(),
            nonfinite: NonFinite::default(),
        };
        let shape = reference.shape();
        let rows = match shape {
            [rows, _, ..] => usize::try_from(*rows).unwrap_or(usize::MAX),
            _ => 1,
        };
        if a.is_empty() {
            return Ok(all);
        }
        let row_len = a.len() / rows;
        for (row, (x, y)) in a.chunks(row_len).zip(b.chunks(row_len)).enumerate() {
            all.add_row(sample, row, row_len, shape, x, y);
        }
        if let Some(last) = shape.last().and_then(|n| usize::try_from(*n).ok()).filter(|n| *n > 1) {
            all.rows.add(sample, last, &a, &b, looks);
        }
        Ok(all)
    }

    fn add_row(
        &mut self,
        sample: u32,
        row: usize,
        row_len: usize,
        shape: &[u64],
        reference: &[f64],
        artifact: &[f64],
    ) {
        let place = |i: usize| {
            format!("sample {sample}, element {:?}", coordinates(row * row_len + i, shape))
        };
        let (mut dot, mut xx, mut yy, mut compared) = (0.0, 0.0, 0.0, 0u64);
        for (i, (&x, &y)) in reference.iter().zip(artifact).enumerate() {
            if !(x.is_finite() && y.is_finite()) {
                self.nonfinite.count(x, y);
                if x == y || (x.is_nan() && y.is_nan()) {
                    self.nonfinite.same += 1;
                } else {
                    self.nonfinite.differing += 1;
                    self.nonfinite
                        .first_differing
                        .get_or_insert_with(|| format!("{}: {x} became {y}", place(i)));
                }
                continue;
            }
            compared += 1;
            dot += x * y;
            xx += x * x;
            yy += y * y;
            let difference = (x - y).abs();
            self.sum_abs += difference;
            self.difference_squares += difference * difference;
            if self.greatest.as_ref().is_none_or(|(most, _)| difference > *most) {
                self.greatest = Some((difference, place(i)));
            }
        }
        if compared > 0 {
            let similarity = cosine(dot, xx, yy);
            if self.worst.as_ref().is_none_or(|(least, _)| similarity < *least) {
                self.worst = Some((similarity, format!("sample {sample}, row {row}")));
            }
        }
        self.compared += compared;
        self.dot += dot;
        self.reference_squares += xx;
        self.artifact_squares += yy;
    }

    /// Adds what comes after this in the samples' order.
    pub fn merge(&mut self, later: &Self) {
        if let Some((value, _)) = &later.worst
            && self.worst.as_ref().is_none_or(|(least, _)| value < least)
        {
            self.worst.clone_from(&later.worst);
        }
        if let Some((value, _)) = &later.greatest
            && self.greatest.as_ref().is_none_or(|(most, _)| value > most)
        {
            self.greatest.clone_from(&later.greatest);
        }
        self.dot += later.dot;
        self.reference_squares += later.reference_squares;
        self.artifact_squares += later.artifact_squares;
        self.sum_abs += later.sum_abs;
        self.difference_squares += later.difference_squares;
        self.elements += later.elements;
        self.compared += later.compared;
        self.rows.merge(&later.rows);
        self.nonfinite.merge(&later.nonfinite);
    }

    /// The numbers.
    #[allow(clippy::cast_precision_loss)] // counts far below 2^53
    pub fn finish(self) -> OutputMetrics {
        let (cosine_worst, cosine_at) = self.worst.unwrap_or((1.0, String::new()));
        let (max_abs, max_abs_at) = self.greatest.unwrap_or((0.0, String::new()));
        OutputMetrics {
            name: self.name,
            cosine: cosine_worst,
            cosine_at,
            cosine_all: cosine(self.dot, self.reference_squares, self.artifact_squares),
            max_abs,
            max_abs_at,
            mean_abs: if self.compared == 0 { 0.0 } else { self.sum_abs / self.compared as f64 },
            top1: self.rows.top1(),
            relative: relative(self.difference_squares, self.reference_squares),
            kl: self.rows.kl(),
            kl_worst: self.rows.kl_worst(),
            topk: self.rows.topk(),
            accuracy: self.rows.accuracy(),
            elements: self.elements,
            compared: self.compared,
            nonfinite: self.nonfinite,
        }
    }
}

/// Cosine similarity from the sums; never NaN: sums that overflow (elements beyond 1e150) count
/// as no similarity.
pub(super) fn cosine(dot: f64, xx: f64, yy: f64) -> f64 {
    if xx == 0.0 && yy == 0.0 {
        return 1.0;
    }
    let similarity = dot / (xx.sqrt() * yy.sqrt());
    if similarity.is_finite() { similarity.clamp(-1.0, 1.0) } else { 0.0 }
}

/// The index along each axis of a flat index.
fn coordinates(flat: usize, shape: &[u64]) -> Vec<u64> {
    let mut rest = flat as u64;
    let mut out: Vec<u64> = shape
        .iter()
        .rev()
        .map(|n| {
            let at = rest % n.max(&1);
            rest /= n.max(&1);
            at
        })
        .collect();
    out.reverse();
    out
}

/// The elements as `f64`: exact for every type but 64-bit integers beyond 2^53.
pub(crate) fn values(name: &str, tensor: &Tensor) -> Result<Vec<f64>> {
    let bytes = tensor.bytes()?;
    macro_rules! all {
        ($ty:ty) => {
            bytes.as_chunks().0.iter().map(|c| f64::from(<$ty>::from_le_bytes(*c))).collect()
        };
    }
    #[allow(clippy::cast_precision_loss)] // said above
    Ok(match tensor.dtype() {
        DType::F64 => all!(f64),
        DType::F32 => all!(f32),
        DType::F16 => all!(half::f16),
        DType::BF16 => all!(half::bf16),
        DType::I32 => all!(i32),
        DType::I16 => all!(i16),
        DType::I8 => all!(i8),
        DType::U32 => all!(u32),
        DType::U16 => all!(u16),
        DType::U8 | DType::Bool => all!(u8),
        DType::I64 => bytes.as_chunks().0.iter().map(|c| i64::from_le_bytes(*c) as f64).collect(),
        DType::U64 => bytes.as_chunks().0.iter().map(|c| u64::from_le_bytes(*c) as f64).collect(),
        other => {
            return Err(Error::unsupported(format!(
                "output `{name}` holds {other} elements, which cannot be compared"
            ))
            .hint("drop `verify` from this target, or give the model a numeric output"));
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compare(shape: &[u64], a: &[f32], b: &[f32]) -> OutputMetrics {
        let t = |v| Tensor::from_f32(shape.to_vec(), v).unwrap();
        Comparison::of("y", 0, &t(a), &t(b)).unwrap().finish()
    }

    #[test]
    fn a_bad_row_shows_in_the_gated_cosine_and_hardly_in_the_whole() {
        let a: Vec<f32> = (0..200).map(|i| if i < 100 { 100.0 } else { 1.0 }).collect();
        let b: Vec<f32> = (0..200).map(|i| if i < 100 { 100.0 } else { -1.0 }).collect();
        let m = compare(&[2, 100], &a, &b);
        assert_eq!((m.cosine, m.cosine_at.as_str()), (-1.0, "sample 0, row 1"));
        assert!(m.cosine_all > 0.999);
        assert_eq!((m.max_abs, m.max_abs_at.as_str()), (2.0, "sample 0, element [1, 0]"));
    }

    #[test]
    fn zero_rows_agree_with_zero_rows_only() {
        assert_eq!(compare(&[2, 2], &[0.0; 4], &[0.0; 4]).cosine, 1.0);
        assert_eq!(compare(&[1, 2], &[0.0; 2], &[1.0, 0.0]).cosine, 0.0);
    }

    #[test]
    fn the_first_of_equal_maxima_counts_for_top_1() {
        let m = compare(&[2, 3], &[5.0, 5.0, 1.0, 0.0, 1.0, 2.0], &[5.0, 4.0, 1.0, 0.0, 2.0, 2.0]);
        assert_eq!(m.top1, Some(0.5));
        assert_eq!(compare(&[3, 1], &[1.0, 2.0, 3.0], &[1.0, 2.0, 3.0]).top1, None);
    }

    #[test]
    fn non_finite_values_are_counted_by_side_and_agreement() {
        let (nan, inf) = (f32::NAN, f32::INFINITY);
        let m = compare(&[1, 6], &[nan, inf, 1.0, nan, -inf, 1.0], &[nan, inf, nan, 1.0, inf, 1.0]);
        assert_eq!(
            m.nonfinite,
            NonFinite {
                reference_nan: 2,
                reference_inf: 2,
                artifact_nan: 2,
                artifact_inf: 2,
                same: 2,
                differing: 3,
                first_differing: Some("sample 0, element [0, 2]: 1 became NaN".to_owned()),
            }
        );
        assert_eq!((m.elements, m.compared, m.max_abs, m.cosine), (6, 1, 0.0, 1.0));
    }

    #[test]
    fn samples_merged_in_order_give_what_each_order_of_merging_gives() {
        let sample = |s: u32| {
            let v = |k: f32| {
                let v: Vec<f32> = (0..12).map(|i| (i as f32 * k + s as f32).sin()).collect();
                Tensor::from_f32(vec![3, 4], &v).unwrap()
            };
            Comparison::of("y", s, &v(1.0), &v(1.01)).unwrap()
        };
        let mut left = sample(0);
        left.merge(&sample(1));
        let mut all = left.clone();
        all.merge(&sample(2));
        let m = all.finish();
        assert_eq!((m.elements, m.compared), (36, 36));
        assert!(m.cosine <= left.finish().cosine);
        assert!(m.cosine < m.cosine_all && m.mean_abs < m.max_abs);
    }

    #[test]
    fn shapes_that_differ_are_an_accuracy_error_that_shows_both() {
        let t = |shape: Vec<u64>| Tensor::from_f32(shape, &[0.0; 6]).unwrap();
        let e = Comparison::of("y", 0, &t(vec![2, 3]), &t(vec![3, 2])).unwrap_err();
        assert_eq!(e.kind(), crate::ErrorKind::Accuracy);
        assert!(e.message().contains("[2, 3]") && e.message().contains("[3, 2]"), "{e}");
    }

    #[test]
    fn measured_survives_json() {
        let m = Measured {
            outputs: vec![OutputMetrics {
                mean_abs: -0.946_153_163_909_912_1, // a parser that rounds twice loses its last digit
                ..compare(&[1, 2], &[1.0, f32::NAN], &[1.5, 2.0])
            }],
            runner: "r".into(),
            level: "l".into(),
            samples: 1,
            inputs: "i".into(),
        };
        let text = serde_json::to_string(&m).unwrap();
        assert_eq!(serde_json::from_str::<Measured>(&text).unwrap(), m);
    }
}
