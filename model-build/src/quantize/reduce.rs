//! Extremes of a block, exact on every kernel, and rounding of halves away from zero.
//!
//! Floats of one sign are ordered as their bits are, and the order in which integers are compared
//! does not matter, so a block's extremes are found in vectors. What does depend on the order of
//! elements (which of `x` and `-x` came first, the sign of a zero) is looked up in order.

use super::simd::{Lanes, MOST_LANES};

const SIGN: i32 = i32::MIN;

/// The greatest magnitude; `values` are whole vectors.
#[inline(always)]
pub(super) fn magnitude<L: Lanes>(l: L, values: &[f32]) -> f32 {
    let mut most = l.splat_i(0);
    for at in values.chunks_exact(L::N) {
        most = l.max_i(most, l.to_bits(l.abs(l.load(at))));
    }
    f32::from_bits(greatest(l, most).cast_unsigned())
}

/// The first value of the greatest magnitude; a positive zero where all are zeros.
#[inline(always)]
pub(super) fn farthest<L: Lanes>(l: L, values: &[f32]) -> f32 {
    let (mut positive, mut negative) = (l.splat_i(0), l.splat_i(0));
    let sign = l.splat_i(SIGN);
    for at in values.chunks_exact(L::N) {
        let bits = l.to_bits(l.load(at));
        positive = l.max_i(positive, bits);
        negative = l.max_i(negative, l.xor_i(bits, sign));
    }
    let (positive, negative) = (greatest(l, positive), greatest(l, negative));
    let magnitude = f32::from_bits(positive.max(negative).cast_unsigned());
    if positive > negative {
        magnitude
    } else if negative > positive {
        -magnitude
    } else {
        let first = values.iter().copied().find(|v| v.abs() == magnitude);
        first.filter(|_| magnitude > 0.0).unwrap_or(0.0)
    }
}

/// The least and the greatest value, each the first of its equals.
#[inline(always)]
pub(super) fn range<L: Lanes>(l: L, values: &[f32]) -> (f32, f32) {
    let sign = l.splat_i(SIGN);
    let (mut most, mut least, mut negative) =
        (l.splat_i(i32::MIN), l.splat_i(i32::MAX), l.splat_i(i32::MIN));
    for at in values.chunks_exact(L::N) {
        let bits = l.to_bits(l.load(at));
        most = l.max_i(most, bits);
        least = l.min_i(least, bits);
        negative = l.max_i(negative, l.xor_i(bits, sign));
    }
    let (most, negative) = (greatest(l, most), greatest(l, negative));
    // Of values that are all negative, the greatest has the least bits; so has the least of values
    // that are all positive.
    let inner = lowest(l, least);
    let min = f32::from_bits(if negative >= 0 { negative ^ SIGN } else { inner }.cast_unsigned());
    let max = f32::from_bits(if most >= 0 { most } else { inner }.cast_unsigned());
    if min == 0.0 {
        let zero = values.iter().copied().find(|v| *v == 0.0).unwrap_or(min);
        return (zero, if max == 0.0 { zero } else { max });
    }
    (min, max)
}

#[inline(always)]
fn greatest<L: Lanes>(l: L, v: L::I) -> i32 {
    let mut lanes = [i32::MIN; MOST_LANES];
    l.store_i(v, &mut lanes);
    lanes.into_iter().fold(i32::MIN, i32::max)
}

#[inline(always)]
fn lowest<L: Lanes>(l: L, v: L::I) -> i32 {
    let mut lanes = [i32::MAX; MOST_LANES];
    l.store_i(v, &mut lanes);
    lanes.into_iter().fold(i32::MAX, i32::min)
}

/// The nearest integer, halves away from zero, of values below 2^23.
#[inline(always)]
pub(super) fn round_away<L: Lanes>(l: L, v: L::F) -> L::I {
    // The greatest float below one half: it carries halves over and nothing less.
    let half = l.splat_i(0x3eff_ffff);
    let half = l.or_i(half, l.and_i(l.to_bits(v), l.splat_i(SIGN)));
    l.to_i32(l.add(v, l.with_bits(half)))
}

/// One over `d`; zero for zero.
#[inline(always)]
pub(super) fn inverse(d: f32) -> f32 {
    if d == 0.0 { 0.0 } else { 1.0 / d }
}
