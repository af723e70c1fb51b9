//! What Q4_K and Q5_K share: 8 sub-blocks of 32, each with a scale and a minimum of 6 bits.

use super::affine_search::{Affine, AffineFound, Weighed, affine, positive};
use super::simd::Lanes;
use super::super_block::{Elements, from_half, sum_of_squares, to_half};

/// Sub-blocks of a super-block.
const COUNT: usize = 8;

/// Encodes a batch: the first four words of a block (the scales of the scales and of the minima,
/// then both, 6 bits each) and the quants.
///
/// `plain` and `weighed` are the searches without and with importance; with it, scales above 63 are
/// lowered to that where `lower`.
#[inline(always)]
pub(super) fn encode<L: Lanes>(
    s: L,
    (plain, weighed, lower): (Affine, Affine, bool),
    x: &Elements<L>,
    importance: Option<&Elements<L>>,
    quants: &mut [L::I; 256],
) -> [L::I; 4] {
    let most = plain.most;
    let mut found = [AffineFound::none(s); COUNT];
    let (d, min_d, scales, mins) = match importance {
        None => plainly(s, plain, x, &mut found),
        Some(importance) => weighted(s, weighed, lower, x, importance, &mut found),
    };
    let bytes = pack_scales(s, &scales, &mins);
    let d_bits = to_half(s, d);
    let min_d_bits = to_half(s, min_d);
    let (d, min_d) = (from_half(s, d_bits), from_half(s, min_d_bits));
    let zero = s.splat(0.0);
    let (x, _) = x.as_chunks::<32>();
    let (quants, _) = quants.as_chunks_mut::<32>();
    for j in 0..COUNT {
        let (scale, min) = unpack_scale(s, &bytes, j);
        let scale = s.mul(d, s.to_f32(scale));
        let min = s.mul(min_d, s.to_f32(min));
        for (quant, &x) in quants[j].iter_mut().zip(&x[j]) {
            *quant = s.clamp_i(s.nearest(s.div(s.add(x, min), scale)), 0, most);
        }
        // Where the scale was rounded to nothing, the quants of the search stay.
        let stays = s.eq(scale, zero);
        if s.any(stays) {
            for (quant, &x) in quants[j].iter_mut().zip(&x[j]) {
                *quant = s.select_i(stays, found[j].quant(s, x, most), *quant);
            }
        }
    }
    let word = |i: usize| {
        let high = s.or_i(s.shl(bytes[4 * i + 2], 16), s.shl(bytes[4 * i + 3], 24));
        s.or_i(s.or_i(bytes[4 * i], s.shl(bytes[4 * i + 1], 8)), high)
    };
    [s.or_i(d_bits, s.shl(min_d_bits, 16)), word(0), word(1), word(2)]
}

/// The two scales of the super-block, then the scales and the minima as 6-bit numbers.
type Scales<L> =
    (<L as Lanes>::F, <L as Lanes>::F, [<L as Lanes>::I; COUNT], [<L as Lanes>::I; COUNT]);

#[inline(always)]
fn plainly<L: Lanes>(
    s: L,
    search: Affine,
    x: &Elements<L>,
    found: &mut [AffineFound<L>; COUNT],
) -> Scales<L> {
    let zero = s.splat(0.0);
    if L::N == 16 {
        search_plainly::<L, 4>(s, search, x, found);
    } else {
        search_plainly::<L, 2>(s, search, x, found);
    }
    let (mut most_scale, mut most_min) = (zero, zero);
    for found in found.iter() {
        most_scale = s.max(found.scale, most_scale);
        most_min = s.max(found.min, most_min);
    }
    let full = s.splat(63.0);
    let inverse = s.select(s.gt(most_scale, zero), s.div(full, most_scale), zero);
    let inverse_min = s.select(s.gt(most_min, zero), s.div(full, most_min), zero);
    let mut scales = [s.splat_i(0); COUNT];
    let mut mins = scales;
    let six_bits = |v| s.min_i(s.and_i(s.nearest(v), s.splat_i(0xff)), s.splat_i(63));
    for j in 0..COUNT {
        scales[j] = six_bits(s.mul(inverse, found[j].scale));
        mins[j] = six_bits(s.mul(inverse_min, found[j].min));
    }
    (s.div(most_scale, full), s.div(most_min, full), scales, mins)
}

#[inline(always)]
fn weighted<L: Lanes>(
    s: L,
    search: Affine,
    lower: bool,
    x: &Elements<L>,
    importance: &Elements<L>,
    found: &mut [AffineFound<L>; COUNT],
) -> Scales<L> {
    let zero = s.splat(0.0);
    let variance = s.div(s.mul(s.splat(2.0), sum_of_squares(s, x)), s.splat(256.0));
    let mut sum_w = [zero; COUNT];
    if L::N == 16 {
        search_weighted::<L, 4>(s, search, variance, x, importance, found, &mut sum_w);
    } else {
        search_weighted::<L, 2>(s, search, variance, x, importance, found, &mut sum_w);
    }
    let (mut scale, mut min) = ([zero; COUNT], [zero; COUNT]);
    for j in 0..COUNT {
        scale[j] = found[j].scale;
        min[j] = found[j].min;
    }
    let mut scales = [s.splat_i(0); COUNT];
    let mut mins = scales;
    let d = positive(s, 63, &scale, &sum_w, &mut scales);
    let min_d = positive(s, 63, &min, &sum_w, &mut mins);
    if lower {
        for j in 0..COUNT {
            scales[j] = s.min_i(scales[j], s.splat_i(63));
            mins[j] = s.min_i(mins[j], s.splat_i(63));
        }
    }
    (d, min_d, scales, mins)
}

/// Searches `G` sub-blocks at once, each element weighed by the sum of its magnitude and the root
/// of the mean square.
#[inline(always)]
fn search_plainly<L: Lanes, const G: usize>(
    s: L,
    search: Affine,
    x: &Elements<L>,
    found: &mut [AffineFound<L>; COUNT],
) {
    let zero = s.splat(0.0);
    let mut elements = [[Weighed::new(s, zero, zero); G]; 32];
    let (x, _) = x.as_chunks::<32>();
    for (found, x) in found.as_chunks_mut::<G>().0.iter_mut().zip(x.as_chunks::<G>().0) {
        for g in 0..G {
            let mean = s.sqrt(s.div(sum_of_squares(s, &x[g]), s.splat(32.0)));
            for e in 0..32 {
                elements[e][g] = Weighed::new(s, x[g][e], s.add(mean, s.abs(x[g][e])));
            }
        }
        *found = affine(s, search, &mut elements);
    }
}

/// Searches `G` sub-blocks at once, each element weighed by its importance times the root of its
/// square plus the variance of the super-block. Sums up the weights of each sub-block.
#[inline(always)]
fn search_weighted<L: Lanes, const G: usize>(
    s: L,
    search: Affine,
    variance: L::F,
    x: &Elements<L>,
    importance: &Elements<L>,
    found: &mut [AffineFound<L>; COUNT],
    sum_w: &mut [L::F; COUNT],
) {
    let zero = s.splat(0.0);
    let mut elements = [[Weighed::new(s, zero, zero); G]; 32];
    let (x, _) = x.as_chunks::<32>();
    let (importance, _) = importance.as_chunks::<32>();
    for at in (0..COUNT).step_by(G) {
        for g in 0..G {
            for e in 0..32 {
                let v = x[at + g][e];
                let spread = s.sqrt(s.add(variance, s.mul(v, v)));
                let w = s.mul(importance[at + g][e], spread);
                elements[e][g] = Weighed::new(s, v, w);
                sum_w[at + g] = s.add(sum_w[at + g], w);
            }
        }
        found[at..at + G].copy_from_slice(&affine(s, search, &mut elements));
    }
}

/// The twelve bytes of the scales and the minima: four of each whole in the low 6 bits, then the
/// low 4 bits of the other four pairs, whose high bits fill up the first eight bytes.
#[inline(always)]
fn pack_scales<L: Lanes>(s: L, scales: &[L::I; COUNT], mins: &[L::I; COUNT]) -> [L::I; 12] {
    let mut bytes = [s.splat_i(0); 12];
    let top = |v| s.and_i(s.shl(s.shr(v, 4), 6), s.splat_i(0xff));
    for j in 0..4 {
        bytes[j] = s.or_i(scales[j], top(scales[j + 4]));
        bytes[j + 4] = s.or_i(mins[j], top(mins[j + 4]));
        let low = s.and_i(scales[j + 4], s.splat_i(15));
        let high = s.shl(s.and_i(mins[j + 4], s.splat_i(15)), 4);
        bytes[j + 8] = s.or_i(low, high);
    }
    bytes
}

/// The scale and the minimum of sub-block `j`.
#[inline(always)]
fn unpack_scale<L: Lanes>(s: L, bytes: &[L::I; 12], j: usize) -> (L::I, L::I) {
    if j < 4 {
        return (s.and_i(bytes[j], s.splat_i(63)), s.and_i(bytes[j + 4], s.splat_i(63)));
    }
    let scale_top = s.shl(s.shr(bytes[j - 4], 6), 4);
    let min_top = s.shl(s.shr(bytes[j], 6), 4);
    let scale = s.or_i(s.and_i(bytes[j + 4], s.splat_i(15)), scale_top);
    (scale, s.or_i(s.shr(bytes[j + 4], 4), min_top))
}

/// The scales and the minima of the sub-blocks of a block, from its first 16 bytes.
#[inline(always)]
pub(super) fn decode(head: &[u8; 16]) -> ([f32; COUNT], [f32; COUNT]) {
    use super::super_block::half;
    let (d, min_d) = (half([head[0], head[1]]), half([head[2], head[3]]));
    let bytes = &head[4..];
    let (mut scales, mut mins) = ([0.0; COUNT], [0.0; COUNT]);
    for j in 0..4 {
        scales[j] = d * f32::from(bytes[j] & 63);
        mins[j] = min_d * f32::from(bytes[j + 4] & 63);
        scales[j + 4] = d * f32::from((bytes[j + 8] & 15) | (bytes[j] >> 6 << 4));
        mins[j + 4] = min_d * f32::from((bytes[j + 8] >> 4) | (bytes[j + 4] >> 6 << 4));
    }
    (scales, mins)
}
