//! Q2_0: blocks of 64 weights as -1, 0 or 1 times the greatest magnitude.
//!
//! A block is the magnitude (f16), then two bits per weight, the first in the lowest: the weight
//! plus one. Decoders know 2 as well, which encoders do not write.

use super::simd::float::{f16_bits_to_f32, f32_to_f16_bits};
use super::simd::{Job, Lanes, dispatch};
use super::trit::trits;
use crate::hub::{BlockDef, Importance, Kernel};

const LEN: usize = 64;
const BYTES: usize = 2 + LEN / 4;
const _: () = assert!(BYTES == 18);

fn encode(kernel: Kernel, values: &[f32], _: Option<&[f32]>, _: usize, out: &mut [u8]) {
    dispatch(kernel, Encode { values, out });
}

struct Encode<'a> {
    values: &'a [f32],
    out: &'a mut [u8],
}

impl Job for Encode<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, l: L) {
        let blocks = self.values.as_chunks::<LEN>().0;
        for (x, out) in blocks.iter().zip(self.out.as_chunks_mut::<BYTES>().0) {
            let (d, codes) = trits(l, x, 0);
            out[..2].copy_from_slice(&f32_to_f16_bits(d).to_le_bytes());
            for (q, out) in codes.as_chunks::<4>().0.iter().zip(&mut out[2..]) {
                *out = q[0] | q[1] << 2 | q[2] << 4 | q[3] << 6;
            }
        }
    }
}

fn decode(blocks: &[u8], out: &mut [f32]) {
    let blocks = blocks.as_chunks::<BYTES>().0;
    for (block, out) in blocks.iter().zip(out.as_chunks_mut::<LEN>().0) {
        let d = f16_bits_to_f32(u16::from_le_bytes([block[0], block[1]]));
        for (out, byte) in out.as_chunks_mut::<4>().0.iter_mut().zip(&block[2..]) {
            for (j, out) in out.iter_mut().enumerate() {
                *out = (f32::from(byte >> (2 * j) & 3) - 1.0) * d;
            }
        }
    }
}

pub(super) static DEF: BlockDef = BlockDef {
    name: "q2_0",
    ggml_id: 42,
    revision: 1,
    block_len: LEN,
    block_bytes: BYTES,
    importance: Importance::Ignored,
    slow: false,
    encode,
    decode,
};
