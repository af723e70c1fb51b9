//! Scales of plots: from numbers to places, with round numbers for ticks.

/// A linear scale from 0.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Linear {
    /// Round numbers from 0 on; the last is at least the greatest value.
    pub(super) ticks: Vec<f64>,
}

impl Linear {
    /// A scale for values up to `most`, with about four ticks.
    pub(super) fn to(most: f64) -> Self {
        let most = if most.is_finite() && most > 0.0 { most } else { 1.0 };
        let rough = most / 4.0;
        let power = 10f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 2.5, 5.0, 10.0]
            .into_iter()
            .map(|s| s * power)
            .find(|step| step * 4.0 >= most * 0.999_999)
            .unwrap_or(power * 10.0);
        let count = (1..=4u8).find(|n| f64::from(*n) * step >= most * 0.999_999).unwrap_or(4);
        Self { ticks: (0..=count).map(|i| f64::from(i) * step).collect() }
    }

    /// The greatest number of the scale.
    pub(super) fn top(&self) -> f64 {
        self.ticks.last().copied().unwrap_or(1.0)
    }

    /// Where a value is, from 0 to 1.
    pub(super) fn at(&self, value: f64) -> f64 {
        (value / self.top()).clamp(0.0, 1.0)
    }
}

/// A logarithmic scale between powers of ten.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Log {
    low: i32,
    high: i32,
}

impl Log {
    /// A scale for positive values, at least a power of ten long.
    pub(super) fn of(values: impl Iterator<Item = f64>) -> Option<Self> {
        let (mut low, mut high) = (i32::MAX, i32::MIN);
        for value in values.filter(|v| v.is_finite() && *v > 0.0) {
            #[allow(clippy::cast_possible_truncation)] // exponents of f64
            let (down, up) = (value.log10().floor() as i32, value.log10().ceil() as i32);
            (low, high) = (low.min(down), high.max(up));
        }
        (low <= high).then(|| Self { low, high: high.max(low + 1) })
    }

    /// Powers of ten, at most about six.
    pub(super) fn ticks(&self) -> Vec<f64> {
        let step = usize::try_from((self.high - self.low).div_euclid(6).max(1)).unwrap_or(1);
        (self.low..=self.high).rev().step_by(step).map(|e| 10f64.powi(e)).collect()
    }

    /// Where a positive value is, from 0 at the bottom to 1.
    pub(super) fn at(&self, value: f64) -> f64 {
        let length = f64::from(self.high - self.low);
        ((value.log10() - f64::from(self.low)) / length).clamp(0.0, 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_start_at_zero_and_cover_the_greatest_value() {
        assert_eq!(Linear::to(90.3).ticks, [0.0, 25.0, 50.0, 75.0, 100.0]);
        assert_eq!(Linear::to(0.04).ticks, [0.0, 0.01, 0.02, 0.03, 0.04]);
        assert_eq!(Linear::to(4.2).ticks, [0.0, 2.0, 4.0, 6.0]);
        assert_eq!(Linear::to(0.0).top(), 1.0);
        for most in [1e-300, 3.0, 7.7, 1e12, f64::NAN, f64::INFINITY] {
            let scale = Linear::to(most);
            assert!(scale.ticks.len() >= 3 && scale.ticks.len() <= 5, "{most}: {scale:?}");
            assert!(!most.is_finite() || scale.top() >= most * 0.999, "{most}: {scale:?}");
        }
    }

    #[test]
    fn a_logarithmic_scale_ends_at_powers_of_ten() {
        let scale = Log::of([0.0, 0.003, 0.02, f64::NAN].into_iter()).unwrap();
        assert_eq!((scale.low, scale.high), (-3, -1));
        assert!((scale.at(0.01) - 0.5).abs() < 1e-12);
        assert_eq!(Log::of([0.0].into_iter()), None);
        let wide = Log::of([1e-30, 1.0].into_iter()).unwrap().ticks();
        assert!(wide.len() <= 8, "{wide:?}");
        assert_eq!(Log::of([1.0].into_iter()).unwrap().high, 1);
    }
}
