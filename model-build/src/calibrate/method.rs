//! From statistics to the range that is worth representing.

use super::statistic::{Histogram, Statistic};
use crate::pass::Range;

/// How a range is chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Method {
    /// Everything that was seen.
    MinMax,
    /// The cut whose distribution after quantization is nearest to the one that was seen, by
    /// Kullback-Leibler divergence (Migacz, "8-bit inference with TensorRT", 2017), on that many bins.
    Entropy {
        /// Bins from the least to the greatest number; at least 128.
        bins: u32,
    },
    /// All but the greatest magnitudes.
    Percentile {
        /// How many of a hundred numbers are to be within the range.
        percent: f64,
    },
    /// The cut with the least mean squared error after rounding to so many levels.
    Mse {
        /// Integers that a range is laid over.
        levels: u32,
    },
}

impl Method {
    /// Whether extremes are not enough.
    pub(super) fn needs_histogram(self) -> bool {
        self != Self::MinMax
    }

    /// Name and parameters, for a cache key.
    pub(super) fn canonical(self) -> String {
        match self {
            Self::MinMax => "minmax".to_owned(),
            Self::Entropy { bins } => format!("entropy {bins}"),
            Self::Percentile { percent } => format!("percentile {percent}"),
            Self::Mse { levels } => format!("mse {levels}"),
        }
    }

    /// The range; `None` where nothing was seen.
    pub(super) fn range(self, seen: &Statistic) -> Option<Range> {
        let all = Range { min: seen.min, max: seen.max };
        if all.min > all.max {
            return None;
        }
        let Some(histogram) = &seen.histogram else { return Some(all) };
        Some(match self {
            Self::MinMax => all,
            Self::Percentile { percent } => cut(all, percentile(seen, histogram, percent)),
            Self::Entropy { bins } => cut(all, entropy(all, histogram, bins)),
            Self::Mse { levels } => mse(all, histogram, levels),
        })
    }
}

/// A range without what lies beyond a magnitude.
#[allow(clippy::cast_possible_truncation)] // the rounding is the point
fn cut(all: Range, threshold: f64) -> Range {
    let threshold = threshold as f32;
    Range { min: all.min.max(-threshold), max: all.max.min(threshold) }
}

/// Bins between the least and the greatest magnitude.
const PERCENTILE_BINS: u32 = 2048;

/// The lower edge of the bin of magnitudes in which the share of numbers below reaches `percent`, with
/// 2048 bins between the least and the greatest magnitude: what `onnxruntime.quantization` finds.
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn percentile(seen: &Statistic, histogram: &Histogram, percent: f64) -> f64 {
    let most = f64::from(seen.max.max(-seen.min));
    let least = f64::from(seen.nearest);
    if most <= least {
        return most;
    }
    let wanted = percent / 100.0 * histogram.total() as f64;
    let (mut below, mut edge) = (0.0, 0.0);
    for count in histogram.magnitudes() {
        let count = count as f64;
        if count > 0.0 && below + count >= wanted {
            // The share of the bin that is needed.
            edge += histogram.width() * ((wanted - below) / count).clamp(0.0, 1.0);
            break;
        }
        below += count;
        edge += histogram.width();
    }
    let step = (most - least) / f64::from(PERCENTILE_BINS);
    let at = ((edge - least) / step).ceil() - 1.0;
    least + step * at.clamp(0.0, f64::from(PERCENTILE_BINS - 1))
}

/// Bins that a distribution is squeezed into: as many as 7 bits and a sign have.
const QUANTIZED: usize = 128;

/// The magnitude with the least divergence.
///
/// Candidates cut at every bin from [`QUANTIZED`] / 2 bins from the middle on. With as many bins as
/// [`QUANTIZED`] there is one candidate, the whole range, as in `onnxruntime.quantization` by default.
#[allow(clippy::cast_precision_loss)] // bins are few
fn entropy(all: Range, histogram: &Histogram, bins: u32) -> f64 {
    let most = f64::from(all.max.max(-all.min));
    let bins = usize::try_from(bins).unwrap_or(QUANTIZED).max(QUANTIZED);
    if most <= 0.0 {
        return most;
    }
    let counts = spread(histogram, most, bins);
    let middle = bins / 2;
    let mut best = (f64::INFINITY, middle);
    for half in QUANTIZED / 2..=middle {
        let divergence = divergence(&counts, middle - half, (middle + half + 1).min(bins));
        if divergence < best.0 {
            best = (divergence, half);
        }
    }
    let step = 2.0 * most / bins as f64;
    (best.1 as f64 + 1.0).min(middle as f64) * step
}

/// The counts of `bins` bins from `-most` to `most`.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
fn spread(histogram: &Histogram, most: f64, bins: usize) -> Vec<u64> {
    let mut counts = vec![0; bins];
    let scale = bins as f64 / (2.0 * most);
    for (value, count) in histogram.middles() {
        let at = ((value + most) * scale).clamp(0.0, bins as f64 - 1.0) as usize;
        if let Some(have) = counts.get_mut(at) {
            *have += count;
        }
    }
    counts
}

/// How far the counts from `from` to `to`, what lies outside added to the ends, are from the same
/// squeezed into [`QUANTIZED`] bins and spread again over the bins that hold something.
#[allow(clippy::cast_precision_loss)] // counts are compared, not summed, as floats
fn divergence(counts: &[u64], from: usize, to: usize) -> f64 {
    let (Some(inside), Some(left), Some(right)) =
        (counts.get(from..to), counts.get(..from), counts.get(to..))
    else {
        return f64::INFINITY;
    };
    let mut p = inside.to_vec();
    if let Some(first) = p.first_mut() {
        *first += left.iter().sum::<u64>();
    }
    if let Some(last) = p.last_mut() {
        *last += right.iter().sum::<u64>();
    }
    let merged = inside.len() / QUANTIZED;
    let mut q = vec![0u64; p.len()];
    for index in 0..QUANTIZED {
        let start = index * merged;
        let end = start + merged;
        // The last one takes what is left over.
        let until = if index + 1 == QUANTIZED { inside.len() } else { end };
        let sum: u64 = inside.get(start..until).unwrap_or_default().iter().sum();
        let full = p.get(start..end).unwrap_or_default().iter().filter(|n| **n > 0).count() as u64;
        if let Some(mean) = sum.checked_div(full) {
            q.get_mut(start..end).unwrap_or_default().fill(mean);
        }
    }
    match (smooth(&p), smooth(&q)) {
        (Some(p), Some(q)) => kullback_leibler(&p, &q),
        _ => f64::INFINITY,
    }
}

/// What an empty bin gets at the cost of the full ones.
const SMOOTHING: f64 = 1e-4;

#[allow(clippy::cast_precision_loss)] // counts
fn smooth(counts: &[u64]) -> Option<Vec<f64>> {
    let empty = counts.iter().filter(|n| **n == 0).count() as f64;
    let full = counts.len() as f64 - empty;
    let taken = SMOOTHING * empty / full;
    (full > 0.0).then(|| {
        counts.iter().map(|n| if *n == 0 { SMOOTHING } else { *n as f64 - taken }).collect()
    })
}

fn kullback_leibler(p: &[f64], q: &[f64]) -> f64 {
    let (sum_p, sum_q): (f64, f64) = (p.iter().sum(), q.iter().sum());
    p.iter().zip(q).map(|(p, q)| p / sum_p * ((p / sum_p) / (q / sum_q)).ln()).sum()
}

/// In how many steps the range is narrowed to nothing.
const STEPS: u32 = 100;

/// The share of the range with the least error; both ends move together.
#[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss)] // the rounding is the point
fn mse(all: Range, histogram: &Histogram, levels: u32) -> Range {
    let bins: Vec<(f64, f64)> = histogram.middles().map(|(v, n)| (v, n as f64)).collect();
    let (low, high) = (f64::from(all.min.min(0.0)), f64::from(all.max.max(0.0)));
    let mut best = (f64::INFINITY, 1.0);
    for step in (1..=STEPS).rev() {
        let share = f64::from(step) / f64::from(STEPS);
        let (low, high) = (low * share, high * share);
        let scale = (high - low) / f64::from(levels.max(2) - 1);
        if scale <= 0.0 {
            break;
        }
        let zero = (-low / scale).round();
        let most = f64::from(levels.max(2) - 1);
        let error: f64 = bins
            .iter()
            .map(|(v, n)| {
                let q = ((v / scale).round() + zero).clamp(0.0, most);
                let off = (q - zero) * scale - v;
                off * off * n
            })
            .sum();
        if error < best.0 {
            best = (error, share);
        }
    }
    Range { min: (f64::from(all.min) * best.1) as f32, max: (f64::from(all.max) * best.1) as f32 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(values: &[f32]) -> Statistic {
        let mut s = Statistic::new(true);
        s.add(values).unwrap();
        s
    }

    /// Mostly within ±1, and one far out.
    fn heavy() -> Vec<f32> {
        let mut v: Vec<f32> = (0..100_000u32).map(|i| (i as f32 / 50_000.0) - 1.0).collect();
        v.push(50.0);
        v
    }

    #[test]
    fn extremes_are_kept_by_minmax_and_cut_by_the_others() {
        let s = seen(&heavy());
        let range = |method: Method| method.range(&s).unwrap();
        assert_eq!(range(Method::MinMax), Range { min: -1.0, max: 50.0 });
        assert!(range(Method::Percentile { percent: 99.9 }).max < 1.1);
        assert!(range(Method::Mse { levels: 256 }).max < 49.0);
        assert!(range(Method::Entropy { bins: 2048 }).max < 10.0);
        assert_eq!(range(Method::Entropy { bins: 128 }), range(Method::MinMax));
    }

    #[test]
    fn nothing_and_one_number_have_ranges() {
        for method in [
            Method::MinMax,
            Method::Percentile { percent: 99.999 },
            Method::Entropy { bins: 2048 },
            Method::Mse { levels: 256 },
        ] {
            assert_eq!(method.range(&Statistic::new(true)), None);
            assert_eq!(method.range(&seen(&[0.0; 9])), Some(Range { min: 0.0, max: 0.0 }));
            let one = method.range(&seen(&[2.5; 9])).unwrap();
            assert!(one.min <= 2.5 && one.max > 2.4, "{method:?} {one:?}");
        }
    }

    /// As `tests/fixtures/calibrate/gen.py` draws them.
    #[allow(clippy::cast_possible_truncation)] // the rounding is the point
    fn drawn(shape: &str) -> Vec<f32> {
        let mut state = 0x9e37_79b9_u32;
        let mut draw = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            f64::from(state >> 8) / f64::from(1 << 24) - 0.5
        };
        (0..20_000)
            .map(|_| {
                let x = draw() + draw() + draw() + draw();
                let y = match shape {
                    "bell" => x,
                    "heavy" => x * x * x * 8.0,
                    _ => x.max(0.0) * 3.0,
                };
                y as f32
            })
            .collect()
    }

    #[test]
    fn ranges_are_those_of_onnxruntime_quantization_up_to_the_width_of_a_bin() {
        let expected = include_str!("../../../tests/fixtures/calibrate/thresholds.txt");
        for line in expected.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            let number = |at: usize| words[at].parse::<f64>().unwrap();
            let s = seen(&drawn(words[0]));
            let bins = words[3].parse().unwrap();
            let span = f64::from(s.max.max(-s.min));
            let (method, width) = match words[1] {
                "minmax" => (Method::MinMax, 0.0),
                "percentile" => (Method::Percentile { percent: number(2) }, span / 2048.0),
                _ => (Method::Entropy { bins }, 2.0 * span / f64::from(bins)),
            };
            let range = method.range(&s).unwrap();
            for (found, want) in [(range.min, number(4)), (range.max, number(5))] {
                let off = (f64::from(found) - want).abs();
                assert!(off <= width * 1.001, "{line}: {range:?}, {} bins off", off / width);
            }
        }
    }
}
