//! Q6_K: quants of 6 bits in sub-blocks of 16, whose scales have 8 bits.
//!
//! A block: the quants' low 4 bits (128 bytes), their high 2 bits (64 bytes), 16 scales (i8), the
//! scale of the scales (f16). Each half of the elements takes half of the first two: elements 0–31
//! and 64–95 share 32 bytes, 32–63 and 96–127 the next 32, and all four share bytes of high bits.

use super::simd::Lanes;
use super::super_block::{
    Decoder, Elements, Encoder, LEN, Words, decode, encode, field, from_half, half, pack, to_half,
};
use super::symmetric_search::{NOTHING, SymmetricFound, extreme, requantize, symmetric};
use crate::hub::{BlockDef, Importance};

const BYTES: usize = 210;
const _: () = assert!(BYTES == LEN / 2 + LEN / 4 + LEN / 16 + 2);

/// Sub-blocks of a super-block.
const COUNT: usize = 16;

struct Q6K;

impl Encoder for Q6K {
    const BYTES: usize = BYTES;

    #[inline(always)]
    fn encode<L: Lanes>(
        s: L,
        x: &Elements<L>,
        importance: Option<&Elements<L>>,
        words: &mut Words<L>,
    ) {
        let (x, _) = x.as_chunks::<16>();
        let mut found = [SymmetricFound::none(s); COUNT];
        for (j, found) in found.iter_mut().enumerate() {
            let weights = importance.map(|i| &i.as_chunks::<16>().0[j]);
            *found = symmetric(s, 32, &x[j], weights);
        }
        let (most, most_abs) = extreme(s, found.iter().map(|found| found.scale));
        let nothing = s.lt(most_abs, s.splat(NOTHING));
        let inverse = s.div(s.splat(-128.0), most);
        let d_bits = to_half(s, s.div(s.splat(1.0), inverse));
        let d = from_half(s, d_bits);
        let mut quants = [s.splat_i(0); LEN];
        let mut scales = [s.splat_i(0); COUNT];
        let (by_sub_block, _) = quants.as_chunks_mut::<16>();
        for j in 0..COUNT {
            let scale = s.nearest(s.mul(inverse, found[j].scale));
            scales[j] = s.and_i(s.min_i(scale, s.splat_i(127)), s.splat_i(0xff));
            // The sign of a byte.
            let signed = s.sub_i(s.xor_i(scales[j], s.splat_i(0x80)), s.splat_i(0x80));
            let scale = s.mul(d, s.to_f32(signed));
            requantize(s, 32, scale, &x[j], &mut by_sub_block[j], |e| {
                found[j].quant(s, 32, x[j][e])
            });
        }
        layout(s, &quants, &scales, d_bits, words);
        for word in words {
            *word = s.select_i(nothing, s.splat_i(0), *word);
        }
    }
}

#[inline(always)]
fn layout<L: Lanes>(
    s: L,
    quants: &[L::I; LEN],
    scales: &[L::I; COUNT],
    d_bits: L::I,
    words: &mut Words<L>,
) {
    let low = |v| s.and_i(v, s.splat_i(15));
    let high = |v| s.shr(v, 4);
    for (half, q) in quants.as_chunks::<128>().0.iter().enumerate() {
        let [a, b, c, d] = [&q[..32], &q[32..64], &q[64..96], &q[96..]];
        pack(s, [a, c], 4, low, &mut words[16 * half..][..8]);
        pack(s, [b, d], 4, low, &mut words[16 * half + 8..][..8]);
        pack(s, [a, b, c, d], 2, high, &mut words[32 + 8 * half..][..8]);
    }
    pack(s, [scales], 0, |v| v, &mut words[48..52]);
    words[52] = d_bits;
}

impl Decoder for Q6K {
    const BYTES: usize = BYTES;

    #[inline(always)]
    fn decode<L: Lanes>(s: L, block: &[u8], out: &mut [f32; LEN]) {
        let Some((block, d)) = block.split_last_chunk::<2>() else { return };
        let d = half(*d);
        let (bytes, _) = block.as_chunks::<32>();
        let Some(scales) = block.last_chunk::<16>() else { return };
        let scales = scales.map(|scale| d * f32::from(scale.cast_signed()));
        for (j, out) in (0_u8..).zip(out.as_chunks_mut::<32>().0) {
            let row = usize::from(j);
            for e in (0..32).step_by(L::N) {
                let (half, quarter) = (row / 4, row % 4);
                let low = &bytes[2 * half + quarter % 2][e..];
                let low = field(s, low, j % 4 / 2 * 4, 15);
                let high = field(s, &bytes[4 + half][e..], j % 4 * 2, 3);
                let quant = s.sub_i(s.or_i(low, s.shl(high, 4)), s.splat_i(32));
                let scale = s.splat(scales[2 * row + e / 16]);
                s.store(s.mul(scale, s.to_f32(quant)), &mut out[e..]);
            }
        }
    }
}

pub(super) static DEF: BlockDef = BlockDef {
    name: "q6_k",
    ggml_id: 14,
    revision: 1,
    block_len: LEN,
    block_bytes: BYTES,
    importance: Importance::Optional,
    slow: true,
    encode: |kernel, rows, importance, _, out| encode::<Q6K>(kernel, rows, importance, out),
    decode: decode::<Q6K>,
};
