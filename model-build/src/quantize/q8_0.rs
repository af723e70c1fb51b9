//! Q8_0: blocks of 32 weights on a grid of 255 steps around zero.
//!
//! A block is the step (f16), then a signed byte per weight.

use super::reduce::{inverse, magnitude, round_away};
use super::simd::float::{f16_bits_to_f32, f32_to_f16_bits};
use super::simd::{Job, Lanes, dispatch};
use crate::hub::{BlockDef, Importance, Kernel};

const LEN: usize = 32;
const BYTES: usize = 2 + LEN;
const _: () = assert!(BYTES == 34);

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
            let d = magnitude(l, x) / 127.0;
            let scale = inverse(d);
            // The inverse of the smallest steps is infinite, which ggml's conversion makes zeros of.
            let scale = l.splat(if scale.is_finite() { scale } else { 0.0 });
            out[..2].copy_from_slice(&f32_to_f16_bits(d).to_le_bytes());
            for (x, codes) in x.chunks_exact(L::N).zip(out[2..].chunks_exact_mut(L::N)) {
                l.store_bytes(round_away(l, l.mul(l.load(x), scale)), codes);
            }
        }
    }
}

fn decode(blocks: &[u8], out: &mut [f32]) {
    let blocks = blocks.as_chunks::<BYTES>().0;
    for (block, out) in blocks.iter().zip(out.as_chunks_mut::<LEN>().0) {
        let d = f16_bits_to_f32(u16::from_le_bytes([block[0], block[1]]));
        for (out, code) in out.iter_mut().zip(&block[2..]) {
            *out = f32::from(code.cast_signed()) * d;
        }
    }
}

pub(super) static DEF: BlockDef = BlockDef {
    name: "q8_0",
    ggml_id: 8,
    revision: 1,
    block_len: LEN,
    block_bytes: BYTES,
    importance: Importance::Ignored,
    slow: false,
    encode,
    decode,
};
