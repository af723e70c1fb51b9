//! What Q2_0, TQ1_0 and TQ2_0 share: weights as -1, 0 or 1 times the block's greatest magnitude.

use super::reduce::{inverse, magnitude, round_away};
use super::simd::Lanes;

/// The greatest magnitude, and each weight over it, rounded to -1, 0 or 1, plus one. `lost` is what
/// stands for all weights where one over the magnitude is infinite.
#[inline(always)]
pub(super) fn trits<L: Lanes, const N: usize>(l: L, x: &[f32; N], lost: u8) -> (f32, [u8; N]) {
    let d = magnitude(l, x);
    let scale = inverse(d);
    if !scale.is_finite() {
        return (d, [lost; N]);
    }
    let scale = l.splat(scale);
    let mut codes = [0; N];
    for (x, codes) in x.chunks_exact(L::N).zip(codes.chunks_exact_mut(L::N)) {
        let code = round_away(l, l.mul(l.load(x), scale));
        l.store_bytes(l.add_i(code, l.splat_i(1)), codes);
    }
    (d, codes)
}
