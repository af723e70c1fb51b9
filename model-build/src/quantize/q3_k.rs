//! Q3_K: quants of 3 bits in sub-blocks of 16, whose scales have 6 bits.
//!
//! A block: 32 bytes of the quants' highest bits (bit `i` of byte `e` is that of element
//! `32 · i + e`), 64 bytes of their low 2 bits, where elements 32 apart, four in each half of the
//! elements, share a byte, 12 bytes of scales, their scale (f16).

use super::simd::Lanes;
use super::super_block::{
    Decoder, Elements, Encoder, LEN, Words, decode, encode, field, from_half, half, pack,
    sum_of_squares, to_half,
};
use super::symmetric_search::{
    SymmetricFound, descent, extreme, requantize, symmetric, symmetric_of_any,
};
use crate::hub::{BlockDef, Importance};

const BYTES: usize = 110;
const _: () = assert!(BYTES == LEN / 8 + LEN / 4 + 12 + 2);

/// Sub-blocks of a super-block.
const COUNT: usize = 16;
/// Quants are `-MOST` to `MOST - 1`.
const MOST: i32 = 4;
/// Scales are `-FULL` to `FULL - 1`.
const FULL: i32 = 32;

struct Q3K;

/// The scale of the scales, and these plus [`FULL`].
type Scales<L> = (<L as Lanes>::F, [<L as Lanes>::I; COUNT]);

impl Encoder for Q3K {
    const BYTES: usize = BYTES;

    #[inline(always)]
    fn encode<L: Lanes>(
        s: L,
        x: &Elements<L>,
        importance: Option<&Elements<L>>,
        words: &mut Words<L>,
    ) {
        let mut quants = [s.splat_i(0); LEN];
        let (by_sub_block, _) = quants.as_chunks_mut::<16>();
        let (sub_blocks, _) = x.as_chunks::<16>();
        let (d_bits, scales) = if let Some(importance) = importance {
            let mut found = [SymmetricFound::none(s); COUNT];
            let (d, scales) = weighted(s, x, importance, &mut found);
            let d_bits = to_half(s, d);
            let d = from_half(s, d_bits);
            for j in 0..COUNT {
                let scale = s.mul(d, s.to_f32(s.sub_i(scales[j], s.splat_i(FULL))));
                let x = &sub_blocks[j];
                requantize(s, MOST, scale, x, &mut by_sub_block[j], |e| {
                    found[j].quant(s, MOST, x[e])
                });
            }
            (d_bits, scales)
        } else {
            let mut found = [[s.splat_i(0); 16]; COUNT];
            let (d, scales) = plainly(s, sub_blocks, &mut found);
            let d_bits = to_half(s, d);
            let d = from_half(s, d_bits);
            for j in 0..COUNT {
                let scale = s.mul(d, s.to_f32(s.sub_i(scales[j], s.splat_i(FULL))));
                let x = &sub_blocks[j];
                requantize(s, MOST, scale, x, &mut by_sub_block[j], |e| found[j][e]);
            }
            (d_bits, scales)
        };
        layout(s, &quants, &scales, d_bits, words);
    }
}

#[inline(always)]
fn plainly<L: Lanes>(s: L, x: &[[L::F; 16]], quants: &mut [[L::I; 16]; COUNT]) -> Scales<L> {
    let zero = s.splat(0.0);
    let mut found = [zero; COUNT];
    if L::N == 16 {
        descend::<L, 8>(s, x, quants, &mut found);
    } else {
        descend::<L, 4>(s, x, quants, &mut found);
    }
    let (most, _) = extreme(s, found);
    let nothing = s.eq(most, zero);
    let inverse = s.div(s.splat(-FULL as f32), most);
    let mut scales = [s.splat_i(0); COUNT];
    for (scale, found) in scales.iter_mut().zip(found) {
        // The sign of a byte.
        let byte = s.and_i(s.nearest(s.mul(inverse, found)), s.splat_i(0xff));
        let signed = s.sub_i(s.xor_i(byte, s.splat_i(0x80)), s.splat_i(0x80));
        let l = s.add_i(s.clamp_i(signed, -FULL, FULL - 1), s.splat_i(FULL));
        *scale = s.select_i(nothing, s.splat_i(0), l);
    }
    (s.select(nothing, zero, s.div(s.splat(1.0), inverse)), scales)
}

/// Searches `G` sub-blocks at once.
#[inline(always)]
fn descend<L: Lanes, const G: usize>(
    s: L,
    x: &[[L::F; 16]],
    quants: &mut [[L::I; 16]; COUNT],
    scales: &mut [L::F; COUNT],
) {
    let groups = x.as_chunks::<G>().0.iter().zip(quants.as_chunks_mut::<G>().0);
    for ((x, quants), scales) in groups.zip(scales.as_chunks_mut::<G>().0) {
        *scales = descent(s, MOST, x, quants);
    }
}

#[inline(always)]
fn weighted<L: Lanes>(
    s: L,
    x: &Elements<L>,
    importance: &Elements<L>,
    found: &mut [SymmetricFound<L>; COUNT],
) -> Scales<L> {
    let zero = s.splat(0.0);
    let variance = s.div(s.mul(s.splat(2.0), sum_of_squares(s, x)), s.splat(256.0));
    let (x, _) = x.as_chunks::<16>();
    let (importance, _) = importance.as_chunks::<16>();
    let (mut scale, mut sum_w) = ([zero; COUNT], [zero; COUNT]);
    for j in 0..COUNT {
        let mut w = [zero; 16];
        for e in 0..16 {
            let v = x[j][e];
            w[e] = s.mul(importance[j][e], s.sqrt(s.add(variance, s.mul(v, v))));
            sum_w[j] = s.add(sum_w[j], w[e]);
        }
        found[j] = symmetric(s, MOST, &x[j], Some(&w));
        scale[j] = found[j].scale;
    }
    let of_scales = symmetric_of_any(s, FULL, &scale, &sum_w);
    let mut scales = [s.splat_i(0); COUNT];
    for (quant, scale) in scales.iter_mut().zip(scale) {
        *quant = of_scales.quant(s, FULL, scale);
    }
    (of_scales.scale, scales)
}

#[inline(always)]
fn layout<L: Lanes>(
    s: L,
    quants: &[L::I; LEN],
    scales: &[L::I; COUNT],
    d_bits: L::I,
    words: &mut Words<L>,
) {
    let mut high = [s.splat_i(0); 32];
    for (i, quants) in (0..).zip(quants.as_chunks::<32>().0) {
        for (high, quant) in high.iter_mut().zip(quants) {
            *high = s.or_i(*high, s.shl(s.shr(*quant, 2), i));
        }
    }
    pack(s, [&high], 0, |v| v, &mut words[..8]);
    for (q, words) in quants.as_chunks::<128>().0.iter().zip(words[8..].as_chunks_mut::<8>().0) {
        let parts = [&q[..32], &q[32..64], &q[64..96], &q[96..]];
        pack(s, parts, 2, |v| s.and_i(v, s.splat_i(3)), words);
    }
    pack(s, [&scales[..8], &scales[8..]], 4, |v| s.and_i(v, s.splat_i(15)), &mut words[24..26]);
    let parts = [&scales[..4], &scales[4..8], &scales[8..12], &scales[12..]];
    pack(s, parts, 2, |v| s.shr(v, 4), &mut words[26..27]);
    words[27] = d_bits;
}

impl Decoder for Q3K {
    const BYTES: usize = BYTES;

    #[inline(always)]
    fn decode<L: Lanes>(s: L, block: &[u8], out: &mut [f32; LEN]) {
        let Some((high, rest)) = block.split_first_chunk::<32>() else { return };
        let Some((packed, rest)) = rest.split_first_chunk::<64>() else { return };
        let Some((bytes, rest)) = rest.split_first_chunk::<12>() else { return };
        let Some(d) = rest.first_chunk::<2>() else { return };
        let d = half(*d);
        let (packed, _) = packed.as_chunks::<32>();
        let mut scales = [0.0; COUNT];
        for (j, scale) in scales.iter_mut().enumerate() {
            let low = (bytes[j % 8] >> (j / 8 * 4)) & 15;
            let top = (bytes[8 + j % 4] >> (j / 4 * 2)) & 3;
            *scale = d * f32::from((low | top << 4).cast_signed() - 32);
        }
        for (j, out) in (0_u8..).zip(out.as_chunks_mut::<32>().0) {
            let row = usize::from(j);
            for e in (0..32).step_by(L::N) {
                let low = field(s, &packed[row / 4][e..], j % 4 * 2, 3);
                let quant = s.or_i(low, s.shl(field(s, &high[e..], j, 1), 2));
                let signed = s.to_f32(s.sub_i(quant, s.splat_i(MOST)));
                s.store(s.mul(s.splat(scales[2 * row + e / 16]), signed), &mut out[e..]);
            }
        }
    }
}

pub(super) static DEF: BlockDef = BlockDef {
    name: "q3_k",
    ggml_id: 11,
    revision: 1,
    block_len: LEN,
    block_bytes: BYTES,
    importance: Importance::Optional,
    slow: true,
    encode: |kernel, rows, importance, _, out| encode::<Q3K>(kernel, rows, importance, out),
    decode: decode::<Q3K>,
};
