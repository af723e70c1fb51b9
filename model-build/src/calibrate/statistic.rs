//! What is kept of a value: extremes and a histogram whose bins are powers of two apart, so that
//! statistics of parts can be merged in any order and give the same numbers.

use crate::error::{Error, Result};

/// Bins of each sign.
pub(super) const BINS: usize = 1 << 13;

/// The least exponent of a histogram's reach: numbers below its bins count as zero.
const LEAST: i32 = -100;

/// The extremes of a value and, if asked for, its histogram.
///
/// Memory does not depend on how much was seen: 128 KiB with a histogram.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Statistic {
    /// The least number; `+∞` before anything was seen.
    pub min: f32,
    /// The greatest number; `-∞` before anything was seen.
    pub max: f32,
    /// The least magnitude.
    pub nearest: f32,
    /// How often numbers fall into each bin.
    pub histogram: Option<Histogram>,
}

impl Statistic {
    pub(super) fn new(histogram: bool) -> Self {
        Self {
            min: f32::INFINITY,
            max: f32::NEG_INFINITY,
            nearest: f32::INFINITY,
            histogram: histogram.then(Histogram::new),
        }
    }

    /// Takes numbers in.
    ///
    /// # Errors
    /// The index of the first that is not finite.
    pub(super) fn add(&mut self, values: &[f32]) -> std::result::Result<(), usize> {
        let (mut min, mut max) = (self.min, self.max);
        let mut odd = false;
        for v in values {
            min = min.min(*v);
            max = max.max(*v);
            odd |= !v.is_finite();
        }
        if odd {
            return Err(values.iter().position(|v| !v.is_finite()).unwrap_or_default());
        }
        (self.min, self.max) = (min, max);
        if let Some(histogram) = &mut self.histogram {
            self.nearest = values.iter().fold(self.nearest, |near, v| near.min(v.abs()));
            histogram.reach(max.max(-min));
            histogram.add(values);
        }
        Ok(())
    }

    /// Takes in what was seen elsewhere.
    pub(super) fn merge(&mut self, other: &Self) -> Result<()> {
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        self.nearest = self.nearest.min(other.nearest);
        match (&mut self.histogram, &other.histogram) {
            (Some(own), Some(other)) => own.merge(other),
            (None, None) => {}
            _ => return Err(Error::bug("statistics of two kinds are merged")),
        }
        Ok(())
    }
}

/// Counts by bins of equal width around zero: bin `i` of a sign holds magnitudes from
/// `i · 2^exponent / BINS` up to the next. When a number lies beyond, the reach doubles and bins
/// become one with their neighbour, which is what they would have held all along.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Histogram {
    exponent: i32,
    positive: Vec<u64>,
    negative: Vec<u64>,
}

/// The least exponent of two that lies above a magnitude.
fn above(magnitude: f32) -> i32 {
    let bits = i32::try_from((magnitude.to_bits() >> 23) & 0xff).unwrap_or(0);
    (bits - 126).max(LEAST)
}

impl Histogram {
    fn new() -> Self {
        Self { exponent: LEAST, positive: vec![0; BINS], negative: vec![0; BINS] }
    }

    /// Widens the bins until a magnitude has one.
    fn reach(&mut self, magnitude: f32) {
        self.widen(above(magnitude));
    }

    fn widen(&mut self, exponent: i32) {
        let doublings = u32::try_from(exponent - self.exponent).unwrap_or(0);
        if doublings == 0 {
            return;
        }
        for counts in [&mut self.positive, &mut self.negative] {
            for at in 1..BINS {
                let to = at.checked_shr(doublings).unwrap_or(0);
                let moved = std::mem::take(&mut counts[at]);
                counts[to] += moved;
            }
        }
        self.exponent = exponent;
    }

    /// Counts numbers within reach.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // not negative, and below BINS
    fn add(&mut self, values: &[f32]) {
        // A power of two: the product is exact, and 2^(13 + 100) at most.
        let scale = f32::powi(2.0, 13 - self.exponent);
        for v in values {
            let at = ((v.abs() * scale) as usize).min(BINS - 1);
            let counts = if *v < 0.0 { &mut self.negative } else { &mut self.positive };
            counts[at] += 1;
        }
    }

    fn merge(&mut self, other: &Self) {
        self.widen(other.exponent);
        let shift = u32::try_from(self.exponent - other.exponent).unwrap_or(0);
        let sides = [(&mut self.positive, &other.positive), (&mut self.negative, &other.negative)];
        for (own, other) in sides {
            for (at, count) in other.iter().enumerate() {
                own[at.checked_shr(shift).unwrap_or(0)] += count;
            }
        }
    }

    /// The width of a bin.
    pub(super) fn width(&self) -> f64 {
        f64::powi(2.0, self.exponent - 13)
    }

    /// How many numbers were counted.
    pub(super) fn total(&self) -> u64 {
        self.positive.iter().chain(&self.negative).sum()
    }

    /// The counts of magnitudes, from zero on.
    pub(super) fn magnitudes(&self) -> impl Iterator<Item = u64> {
        self.positive.iter().zip(&self.negative).map(|(p, n)| p + n)
    }

    /// The bins that hold something, from the least number on: the middle of each, and its count.
    #[allow(clippy::cast_precision_loss)] // below BINS
    pub(super) fn middles(&self) -> impl Iterator<Item = (f64, u64)> {
        let width = self.width();
        let middle = move |at: usize| (at as f64 + 0.5) * width;
        let below = self.negative.iter().enumerate().rev().map(move |(at, n)| (-middle(at), *n));
        let above = self.positive.iter().enumerate().map(move |(at, n)| (middle(at), *n));
        below.chain(above).filter(|(_, n)| *n > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(n: i32) -> Vec<f32> {
        let mut state = 7u32;
        (0..n)
            .map(|i| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                ((state >> 8) as f32 / (1 << 23) as f32 - 1.0) * 2f32.powi(i % 17 - 8)
            })
            .collect()
    }

    fn of(values: &[f32], parts: usize) -> Statistic {
        let mut out = Statistic::new(true);
        for part in values.chunks(parts) {
            out.add(part).unwrap();
        }
        out
    }

    #[test]
    fn any_parts_in_any_order_give_the_same_statistic() {
        let values = noise(5000);
        let whole = of(&values, values.len());
        assert_eq!(of(&values, 7), whole);
        let mut halves = [of(&values[..1234], 10), of(&values[1234..], 100)];
        let [a, b] = &mut halves;
        let mut ab = a.clone();
        ab.merge(b).unwrap();
        b.merge(a).unwrap();
        assert_eq!(&ab, b);
        assert_eq!(ab, whole);
        assert_eq!(whole.histogram.as_ref().unwrap().total(), 5000);
    }

    #[test]
    fn a_number_is_in_the_bin_that_holds_it() {
        for v in [0.0, 1.0, -1.0, 0.999_999_94, 3e38, 1e-30, -7.25, f32::MIN_POSITIVE, f32::MAX] {
            let s = of(&[v], 1);
            let h = s.histogram.unwrap();
            let (middle, count) = h.middles().next().unwrap();
            assert_eq!(count, 1);
            assert!((middle - f64::from(v)).abs() <= h.width() * 0.5, "{v} {middle} {}", h.width());
        }
    }

    #[test]
    fn what_is_not_finite_is_found() {
        let mut s = Statistic::new(true);
        assert_eq!(s.add(&[1.0, 2.0, f32::NAN, f32::INFINITY]), Err(2));
        assert_eq!(s, Statistic::new(true), "nothing of it is taken in");
    }
}
