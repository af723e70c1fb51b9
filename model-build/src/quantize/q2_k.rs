//! Q2_K: quants of 2 bits in sub-blocks of 16, whose scales and minima have 4 bits.
//!
//! A block: 16 bytes of scales (low half) and minima, 64 bytes of quants, the scale of the scales
//! and that of the minima (f16). Elements 32 apart, four in each half of the elements, share a byte
//! of quants.

use super::affine_search::{Affine, AffineFound, Weighed, affine, positive};
use super::simd::Lanes;
use super::super_block::{
    Decoder, Elements, Encoder, LEN, Words, decode, encode, field, from_half, half, pack,
    sum_of_squares, to_half,
};
use crate::hub::{BlockDef, Importance};

const BYTES: usize = 84;
const _: () = assert!(BYTES == LEN / 16 + LEN / 4 + 2 + 2);

/// Sub-blocks of a super-block.
const COUNT: usize = 16;
const MOST: i32 = 3;
/// Sub-blocks that are searched at once.
const GROUP: usize = 4;

const PLAIN: Affine = Affine { most: MOST, first: -0.5, step: 0.1, steps: 15, absolute: true };
const WEIGHED: Affine = Affine { most: MOST, first: -0.9, step: 0.05, steps: 36, absolute: false };

struct Q2K;

/// The scale of the scales, that of the minima, and the bytes of both.
type Scales<L> = (<L as Lanes>::F, <L as Lanes>::F, [<L as Lanes>::I; COUNT]);

impl Encoder for Q2K {
    const BYTES: usize = BYTES;

    #[inline(always)]
    fn encode<L: Lanes>(
        s: L,
        x: &Elements<L>,
        importance: Option<&Elements<L>>,
        words: &mut Words<L>,
    ) {
        let mut found = [AffineFound::none(s); COUNT];
        let (d, min_d, bytes) = match importance {
            None => plainly(s, x, &mut found),
            Some(importance) => weighted(s, x, importance, &mut found),
        };
        let (d_bits, min_d_bits) = (to_half(s, d), to_half(s, min_d));
        let (d, min_d) = (from_half(s, d_bits), from_half(s, min_d_bits));
        let zero = s.splat(0.0);
        let mut quants = [s.splat_i(0); LEN];
        let (x, _) = x.as_chunks::<16>();
        for (j, quants) in quants.as_chunks_mut::<16>().0.iter_mut().enumerate() {
            let scale = s.mul(d, s.to_f32(s.and_i(bytes[j], s.splat_i(15))));
            let min = s.mul(min_d, s.to_f32(s.shr(bytes[j], 4)));
            for (quant, &x) in quants.iter_mut().zip(&x[j]) {
                *quant = s.clamp_i(s.nearest(s.div(s.add(x, min), scale)), 0, MOST);
            }
            // Where the scale was rounded to nothing, the quants of the search stay.
            let stays = s.eq(scale, zero);
            if s.any(stays) {
                for (quant, &x) in quants.iter_mut().zip(&x[j]) {
                    *quant = s.select_i(stays, found[j].quant(s, x, MOST), *quant);
                }
            }
        }
        pack(s, [&bytes], 0, |v| v, &mut words[..4]);
        let (halves, _) = quants.as_chunks::<128>();
        for (q, words) in halves.iter().zip(words[4..].as_chunks_mut::<8>().0) {
            pack(s, [&q[..32], &q[32..64], &q[64..96], &q[96..]], 2, |v| v, words);
        }
        words[20] = s.or_i(d_bits, s.shl(min_d_bits, 16));
    }
}

#[inline(always)]
fn plainly<L: Lanes>(s: L, x: &Elements<L>, found: &mut [AffineFound<L>; COUNT]) -> Scales<L> {
    let zero = s.splat(0.0);
    let (x, _) = x.as_chunks::<16>();
    let mut elements = [[Weighed::new(s, zero, zero); GROUP]; 16];
    for (found, x) in found.as_chunks_mut::<GROUP>().0.iter_mut().zip(x.as_chunks::<GROUP>().0) {
        for g in 0..GROUP {
            for e in 0..16 {
                elements[e][g] = Weighed::new(s, x[g][e], s.abs(x[g][e]));
            }
        }
        *found = affine(s, PLAIN, &mut elements);
    }
    let (mut most_scale, mut most_min) = (zero, zero);
    for found in found.iter() {
        most_scale = s.max(found.scale, most_scale);
        most_min = s.max(found.min, most_min);
    }
    let full = s.splat(15.0);
    let (some, some_min) = (s.gt(most_scale, zero), s.gt(most_min, zero));
    let (inverse, inverse_min) = (s.div(full, most_scale), s.div(full, most_min));
    let mut bytes = [s.splat_i(0); COUNT];
    for (byte, found) in bytes.iter_mut().zip(found) {
        let scale = s.nearest(s.mul(inverse, found.scale));
        let scale = s.select_i(some, scale, s.splat_i(0));
        let min = s.nearest(s.mul(inverse_min, found.min));
        let min = s.select_i(some_min, min, s.splat_i(0));
        *byte = s.and_i(s.or_i(scale, s.shl(min, 4)), s.splat_i(0xff));
    }
    (s.div(most_scale, full), s.div(most_min, full), bytes)
}

#[inline(always)]
fn weighted<L: Lanes>(
    s: L,
    x: &Elements<L>,
    importance: &Elements<L>,
    found: &mut [AffineFound<L>; COUNT],
) -> Scales<L> {
    let zero = s.splat(0.0);
    let variance = s.div(sum_of_squares(s, x), s.splat(256.0));
    let (x, _) = x.as_chunks::<16>();
    let (importance, _) = importance.as_chunks::<16>();
    let mut elements = [[Weighed::new(s, zero, zero); GROUP]; 16];
    let mut sum_w = [zero; COUNT];
    for at in (0..COUNT).step_by(GROUP) {
        for g in 0..GROUP {
            for e in 0..16 {
                let v = x[at + g][e];
                let spread = s.sqrt(s.add(variance, s.mul(v, v)));
                let w = s.mul(importance[at + g][e], spread);
                elements[e][g] = Weighed::new(s, v, w);
                sum_w[at + g] = s.add(sum_w[at + g], w);
            }
        }
        found[at..at + GROUP].copy_from_slice(&affine(s, WEIGHED, &mut elements));
    }
    let (mut scale, mut min) = ([zero; COUNT], [zero; COUNT]);
    for j in 0..COUNT {
        scale[j] = found[j].scale;
        min[j] = found[j].min;
    }
    let mut scales = [s.splat_i(0); COUNT];
    let mut mins = scales;
    let d = positive(s, 15, &scale, &sum_w, &mut scales);
    let min_d = positive(s, 15, &min, &sum_w, &mut mins);
    for (byte, min) in scales.iter_mut().zip(mins) {
        *byte = s.and_i(s.or_i(*byte, s.shl(min, 4)), s.splat_i(0xff));
    }
    (d, min_d, scales)
}

impl Decoder for Q2K {
    const BYTES: usize = BYTES;

    #[inline(always)]
    fn decode<L: Lanes>(s: L, block: &[u8], out: &mut [f32; LEN]) {
        let Some((bytes, rest)) = block.split_first_chunk::<COUNT>() else { return };
        let Some((packed, &[a, b, c, d])) = rest.split_last_chunk::<4>() else { return };
        let (d, min_d) = (half([a, b]), half([c, d]));
        let (packed, _) = packed.as_chunks::<32>();
        for (j, out) in (0_u8..).zip(out.as_chunks_mut::<32>().0) {
            let row = usize::from(j);
            for e in (0..32).step_by(L::N) {
                let quant = field(s, &packed[row / 4][e..], j % 4 * 2, 3);
                let byte = bytes[2 * row + e / 16];
                let (scale, min) = (d * f32::from(byte & 15), min_d * f32::from(byte >> 4));
                let product = s.mul(s.splat(scale), s.to_f32(quant));
                s.store(s.sub(product, s.splat(min)), &mut out[e..]);
            }
        }
    }
}

pub(super) static DEF: BlockDef = BlockDef {
    name: "q2_k",
    ggml_id: 10,
    revision: 1,
    block_len: LEN,
    block_bytes: BYTES,
    importance: Importance::Optional,
    slow: true,
    encode: |kernel, rows, importance, _, out| encode::<Q2K>(kernel, rows, importance, out),
    decode: decode::<Q2K>,
};
