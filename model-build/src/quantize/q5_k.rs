//! Q5_K: quants of 5 bits in sub-blocks of 32, whose scales and minima have 6 bits.
//!
//! A block: the scale of the scales and that of the minima (f16), 12 bytes of scales and minima,
//! 32 bytes of the quants' highest bits (bit `j` of byte `e` is that of element `e` of sub-block
//! `j`), then for each pair of sub-blocks 32 bytes, the first one's low bits in the low halves.

use super::affine_search::Affine;
use super::simd::Lanes;
use super::six_bit_scales;
use super::super_block::{Decoder, Elements, Encoder, LEN, Words, decode, encode, field, pack};
use crate::hub::{BlockDef, Importance};

const BYTES: usize = 176;
const _: () = assert!(BYTES == 2 + 2 + 12 + LEN / 8 + LEN / 2);

const PLAIN: Affine = Affine { most: 31, first: -0.5, step: 0.1, steps: 15, absolute: false };
const WEIGHED: Affine = Affine { most: 31, first: -0.9, step: 0.05, steps: 36, absolute: false };

struct Q5K;

impl Encoder for Q5K {
    const BYTES: usize = BYTES;

    #[inline(always)]
    fn encode<L: Lanes>(
        s: L,
        x: &Elements<L>,
        importance: Option<&Elements<L>>,
        words: &mut Words<L>,
    ) {
        let mut quants = [s.splat_i(0); LEN];
        let head = six_bit_scales::encode(s, (PLAIN, WEIGHED, true), x, importance, &mut quants);
        words[..4].copy_from_slice(&head);
        let mut high = [s.splat_i(0); 32];
        for (j, sub_block) in (0..).zip(quants.as_chunks::<32>().0) {
            for (high, quant) in high.iter_mut().zip(sub_block) {
                *high = s.or_i(*high, s.shl(s.shr(*quant, 4), j));
            }
        }
        pack(s, [&high], 0, |v| v, &mut words[4..12]);
        let (pairs, _) = quants.as_chunks::<64>();
        for (pair, words) in pairs.iter().zip(words[12..].as_chunks_mut::<8>().0) {
            pack(s, [&pair[..32], &pair[32..]], 4, |v| s.and_i(v, s.splat_i(15)), words);
        }
    }
}

impl Decoder for Q5K {
    const BYTES: usize = BYTES;

    #[inline(always)]
    fn decode<L: Lanes>(s: L, block: &[u8], out: &mut [f32; LEN]) {
        let Some((head, rest)) = block.split_first_chunk::<16>() else { return };
        let Some((high, packed)) = rest.split_first_chunk::<32>() else { return };
        let (packed, _) = packed.as_chunks::<32>();
        let (scales, mins) = six_bit_scales::decode(head);
        for (j, out) in (0_u8..).zip(out.as_chunks_mut::<32>().0) {
            let row = usize::from(j);
            for e in (0..32).step_by(L::N) {
                let low = field(s, &packed[row / 2][e..], j % 2 * 4, 15);
                let quant = s.or_i(low, s.shl(field(s, &high[e..], j, 1), 4));
                let product = s.mul(s.splat(scales[row]), s.to_f32(quant));
                s.store(s.sub(product, s.splat(mins[row])), &mut out[e..]);
            }
        }
    }
}

pub(super) static DEF: BlockDef = BlockDef {
    name: "q5_k",
    ggml_id: 13,
    revision: 1,
    block_len: LEN,
    block_bytes: BYTES,
    importance: Importance::Optional,
    slow: true,
    encode: |kernel, rows, importance, _, out| encode::<Q5K>(kernel, rows, importance, out),
    decode: decode::<Q5K>,
};
