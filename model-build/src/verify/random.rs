//! Seeded numbers that are the same on every platform: SplitMix64, and a normal made by addition.

/// SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014): a
/// counter in steps of the golden ratio, mixed by two multiplications.
pub(super) struct Random(u64);

impl Random {
    /// A stream for a seed and a few words that tell what is drawn (sample number, input name).
    pub(super) fn new(seed: u64, words: &[&[u8]]) -> Self {
        let mut random = Self(seed);
        for word in words {
            for byte in *word {
                let next = random.next() ^ u64::from(*byte);
                random.0 = next;
            }
            random.0 = random.next();
        }
        random
    }

    /// 64 random bits.
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `bound` (0 when that is 0), by the high half of a product.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        let product = u128::from(self.next()) * u128::from(bound);
        u64::try_from(product >> 64).unwrap_or(0)
    }

    /// A number from 0 to 1, a multiple of 2^-24.
    fn unit(&mut self) -> f32 {
        #[allow(clippy::cast_precision_loss)] // 24 bits fit
        let bits = (self.next() >> 40) as f32;
        bits / 16_777_216.0
    }

    /// Nearly normal with mean 0 and variance 1: the sum of twelve uniform numbers less six. Needs
    /// only additions, which round alike everywhere, where `ln` and `cos` differ by platform.
    pub(super) fn normal(&mut self) -> f32 {
        (0..12).map(|_| self.unit()).fold(-6.0, |sum, u| sum + u)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stream_is_the_published_one() {
        // The first numbers of the reference implementation for seed 1234567.
        let mut random = Random(1_234_567);
        let first: Vec<u64> = (0..3).map(|_| random.next()).collect();
        assert_eq!(
            first,
            [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]
        );
    }

    #[test]
    fn normal_numbers_have_mean_0_and_variance_1() {
        let mut random = Random::new(0, &[b"x"]);
        let v: Vec<f64> = (0..20_000).map(|_| f64::from(random.normal())).collect();
        let mean = v.iter().sum::<f64>() / 20_000.0;
        let variance = v.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 20_000.0;
        assert!(mean.abs() < 0.02 && (variance - 1.0).abs() < 0.03, "{mean} {variance}");
    }

    #[test]
    fn below_stays_below_and_reaches_every_value() {
        let mut random = Random::new(7, &[]);
        let mut seen = [false; 5];
        for _ in 0..200 {
            seen[usize::try_from(random.below(5)).unwrap()] = true;
        }
        assert_eq!(seen, [true; 5]);
        assert_eq!(random.below(0), 0);
    }

    #[test]
    fn words_give_streams_of_their_own() {
        assert_ne!(Random::new(0, &[b"a"]).next(), Random::new(0, &[b"b"]).next());
        assert_ne!(Random::new(0, &[b"ab", b"c"]).next(), Random::new(0, &[b"a", b"bc"]).next());
    }
}
