//! TQ2_0: blocks of 256 weights as -1, 0 or 1 times the greatest magnitude, two bits each.
//!
//! A block is two runs of 32 bytes for 128 weights each, then the magnitude (f16). The bits `2n` and
//! `2n + 1` of byte `m` of a run hold the weight `32n + m` of it, plus one.

use super::simd::float::{f16_bits_to_f32, f32_to_f16_bits};
use super::simd::{Job, Lanes, dispatch};
use super::trit::trits;
use crate::hub::{BlockDef, Importance, Kernel};

const LEN: usize = 256;
const BYTES: usize = LEN / 4 + 2;
const _: () = assert!(BYTES == 66);

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
            let (d, codes) = trits(l, x, 1);
            for (q, out) in codes.as_chunks::<128>().0.iter().zip(out.as_chunks_mut::<32>().0) {
                for (m, out) in out.iter_mut().enumerate() {
                    *out = q[m] | q[m + 32] << 2 | q[m + 64] << 4 | q[m + 96] << 6;
                }
            }
            out[LEN / 4..].copy_from_slice(&f32_to_f16_bits(d).to_le_bytes());
        }
    }
}

fn decode(blocks: &[u8], out: &mut [f32]) {
    let blocks = blocks.as_chunks::<BYTES>().0;
    for (block, out) in blocks.iter().zip(out.as_chunks_mut::<LEN>().0) {
        let d = f16_bits_to_f32(u16::from_le_bytes([block[LEN / 4], block[LEN / 4 + 1]]));
        for (out, bytes) in out.as_chunks_mut::<128>().0.iter_mut().zip(block.as_chunks::<32>().0) {
            for (n, out) in out.as_chunks_mut::<32>().0.iter_mut().enumerate() {
                for (out, byte) in out.iter_mut().zip(bytes) {
                    *out = (f32::from(byte >> (2 * n) & 3) - 1.0) * d;
                }
            }
        }
    }
}

pub(super) static DEF: BlockDef = BlockDef {
    name: "tq2_0",
    ggml_id: 35,
    revision: 1,
    block_len: LEN,
    block_bytes: BYTES,
    importance: Importance::Ignored,
    slow: false,
    encode,
    decode,
};
