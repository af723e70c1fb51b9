//! What `IQ4_NL` and `IQ4_XS` share: sixteen levels at uneven distances, a scale per 32 elements found
//! by trying fifteen. A lane of the search is a sub-block.

use super::simd::{Lanes, MOST_LANES};

/// Elements in a sub-block.
pub(super) const SUB: usize = 32;

/// The values of the levels.
pub(super) const VALUES: [f32; 16] = [
    -127.0, -104.0, -83.0, -65.0, -49.0, -35.0, -22.0, -10.0, 1.0, 13.0, 25.0, 38.0, 53.0, 69.0,
    89.0, 113.0,
];

/// The lowest value, which the element of the largest magnitude takes in the middle of the search.
const LOWEST: f32 = VALUES[0];

/// A sub-block whose largest magnitude is below this has the scale 0.
const SMALLEST: f32 = 1e-15;

/// Halfway from each value to the next; from there on the upper one is nearest. The reference
/// compares the distances: near the middle of two small integers these are exact.
const MIDDLES: [f32; 15] = {
    let mut middles = [0.0; 15];
    let mut i = 0;
    while i < 15 {
        middles[i] = (VALUES[i] + VALUES[i + 1]) / 2.0;
        i += 1;
    }
    middles
};

/// The middles that the third step of a binary search compares with, by the two bits found.
const THIRD: [f32; 4] = [MIDDLES[1], MIDDLES[5], MIDDLES[9], MIDDLES[13]];
/// Those of the fourth step.
const FOURTH: [f32; 8] = [
    MIDDLES[0],
    MIDDLES[2],
    MIDDLES[4],
    MIDDLES[6],
    MIDDLES[8],
    MIDDLES[10],
    MIDDLES[12],
    MIDDLES[14],
];

/// The level nearest to `x`, the upper one of two; the highest where `x` is a NaN.
#[inline(always)]
fn level<L: Lanes>(s: L, x: L::F) -> L::I {
    let low = s.lt(x, s.splat(MIDDLES[7]));
    let high_bit = s.select_i(low, s.splat_i(0), s.splat_i(2));
    let second = s.select(low, s.splat(MIDDLES[3]), s.splat(MIDDLES[11]));
    let low = s.lt(x, second);
    let bits = s.select_i(low, high_bit, s.add_i(high_bit, s.splat_i(1)));
    let low = s.lt(x, s.lookup_4(&THIRD, bits));
    let bits = s.add_i(bits, bits);
    let bits = s.select_i(low, bits, s.add_i(bits, s.splat_i(1)));
    let low = s.lt(x, s.lookup_8(&FOURTH, bits));
    let bits = s.add_i(bits, bits);
    s.select_i(low, bits, s.add_i(bits, s.splat_i(1)))
}

/// Sub-blocks that are fitted side by side.
pub(super) struct Batch<'a> {
    /// Their elements.
    pub(super) values: &'a [&'a [f32]],
    /// The importance of their columns; empty where none is given.
    pub(super) importance: &'a [&'a [f32]],
    /// By sub-block, what is added to squares before their roots become weights; `None` where a
    /// sub-block adds twice its own mean square.
    pub(super) spread: Option<&'a [f32; MOST_LANES]>,
}

/// The best scale of each of at most `L::N` sub-blocks.
#[inline(always)]
pub(super) fn fit<L: Lanes>(s: L, batch: &Batch<'_>) -> [f32; MOST_LANES] {
    let zero = s.splat(0.0);
    let mut values = [zero; SUB];
    s.transpose(batch.values, &mut values);
    let weights = weigh(s, batch, &values);
    let (mut magnitude, mut largest) = (zero, zero);
    for value in values {
        let larger = s.gt(s.abs(value), magnitude);
        magnitude = s.select(larger, s.abs(value), magnitude);
        largest = s.select(larger, value, largest);
    }
    let plain = s.div(s.neg(largest), s.splat(LOWEST));
    let (along, squares) = sums(s, &values, &weights, s.div(s.splat(1.0), plain));
    let positive = s.gt(squares, zero);
    let mut scale = s.select(positive, s.div(along, squares), zero);
    let mut best = s.mul(scale, along);
    for step in -7i8..=7 {
        let inverse = s.div(s.splat(f32::from(step) + LOWEST), largest);
        let (along, squares) = sums(s, &values, &weights, inverse);
        let better = s.gt(s.mul(along, along), s.mul(best, squares));
        let better = s.and(s.gt(squares, zero), better);
        let this = s.div(along, squares);
        scale = s.select(better, this, scale);
        best = s.select(better, s.mul(this, along), best);
    }
    let scale = s.select(s.lt(magnitude, s.splat(SMALLEST)), zero, scale);
    let mut scales = [0.0; MOST_LANES];
    s.store(scale, &mut scales);
    scales
}

#[inline(always)]
fn weigh<L: Lanes>(s: L, batch: &Batch<'_>, values: &[L::F; SUB]) -> [L::F; SUB] {
    let mut weights = [s.splat(0.0); SUB];
    if batch.importance.is_empty() {
        for (weight, value) in weights.iter_mut().zip(values) {
            *weight = s.mul(*value, *value);
        }
        return weights;
    }
    let spread = if let Some(spread) = batch.spread {
        s.load(spread)
    } else {
        let sum = values.iter().fold(s.splat(0.0), |sum, v| s.add(sum, s.mul(*v, *v)));
        s.mul(sum, s.splat(2.0 / 32.0))
    };
    s.transpose(batch.importance, &mut weights);
    for (weight, value) in weights.iter_mut().zip(values) {
        *weight = s.mul(*weight, s.sqrt(s.add(spread, s.mul(*value, *value))));
    }
    weights
}

/// The weighted products of elements and their levels' values at the inverse of a scale, and those
/// of values with themselves.
#[inline(always)]
fn sums<L: Lanes>(
    s: L,
    values: &[L::F; SUB],
    weights: &[L::F; SUB],
    inverse: L::F,
) -> (L::F, L::F) {
    let (mut along, mut squares) = (s.splat(0.0), s.splat(0.0));
    for (value, weight) in values.iter().zip(weights) {
        let near = s.lookup(&VALUES, level(s, s.mul(inverse, *value)));
        let weighted = s.mul(*weight, near);
        along = s.add(along, s.mul(weighted, *value));
        squares = s.add(squares, s.mul(weighted, near));
    }
    (along, squares)
}

/// Stores the levels of 32 elements at the inverse of a scale: element `j` in the low half of byte
/// `j`, element `j + 16` in the high one.
#[inline(always)]
pub(super) fn put_levels<L: Lanes>(s: L, values: &[f32; SUB], inverse: f32, out: &mut [u8; 16]) {
    let mut bytes = [0i32; 16];
    let inverse = s.splat(inverse);
    for at in (0..16).step_by(L::N) {
        let low = level(s, s.mul(inverse, s.load(&values[at..])));
        let high = level(s, s.mul(inverse, s.load(&values[at + 16..])));
        s.store_i(s.or_i(low, s.shl(high, 4)), &mut bytes[at..]);
    }
    for (out, byte) in out.iter_mut().zip(bytes) {
        *out = byte.to_le_bytes()[0];
    }
}

/// The inverse of a scale, 0 for 0.
#[inline(always)]
pub(super) fn inverse(scale: f32) -> f32 {
    if scale == 0.0 { 0.0 } else { 1.0 / scale }
}

/// Decodes what [`put_levels`] stores.
pub(super) fn decode_levels(scale: f32, bytes: &[u8; 16], out: &mut [f32; SUB]) {
    let (low, high) = out.split_at_mut(16);
    for ((low, high), byte) in low.iter_mut().zip(high).zip(bytes) {
        *low = scale * VALUES[usize::from(byte & 15)];
        *high = scale * VALUES[usize::from(byte >> 4)];
    }
}
