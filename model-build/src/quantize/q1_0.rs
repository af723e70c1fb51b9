//! Q1_0: blocks of 128 signs and their mean magnitude.
//!
//! A block is the magnitude (f16), then a bit per weight, the first in the lowest bit: set for
//! weights of zero and above.

use super::simd::float::{f16_bits_to_f32, f32_to_f16_bits};
use super::simd::{Job, Lanes, MOST_LANES, dispatch};
use crate::hub::{BlockDef, Importance, Kernel};

const LEN: usize = 128;
const BYTES: usize = 2 + LEN / 8;
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

    /// A lane per block: the magnitudes are summed in order.
    #[inline(always)]
    fn run<L: Lanes>(self, l: L) {
        let blocks = self.values.as_chunks::<LEN>().0.chunks(L::N);
        for (blocks, out) in blocks.zip(self.out.as_chunks_mut::<BYTES>().0.chunks_mut(L::N)) {
            let mut rows: [&[f32]; MOST_LANES] = [&[]; MOST_LANES];
            rows.iter_mut().zip(blocks).for_each(|(row, block)| *row = block);
            let mut columns = [l.splat(0.0); LEN];
            l.transpose(&rows[..blocks.len()], &mut columns);
            let mut sum = l.splat(0.0);
            for x in &columns {
                sum = l.add(sum, l.abs(*x));
            }
            let mut means = [0.0; MOST_LANES];
            l.store(l.mul(sum, l.splat(1.0 / 128.0)), &mut means);
            for ((block, out), d) in blocks.iter().zip(out).zip(means) {
                out[..2].copy_from_slice(&f32_to_f16_bits(d).to_le_bytes());
                for (x, out) in block.as_chunks::<8>().0.iter().zip(&mut out[2..]) {
                    *out = (0..8).fold(0, |bits, j| bits | u8::from(x[j] >= 0.0) << j);
                }
            }
        }
    }
}

fn decode(blocks: &[u8], out: &mut [f32]) {
    let blocks = blocks.as_chunks::<BYTES>().0;
    for (block, out) in blocks.iter().zip(out.as_chunks_mut::<LEN>().0) {
        let d = f16_bits_to_f32(u16::from_le_bytes([block[0], block[1]]));
        for (out, byte) in out.as_chunks_mut::<8>().0.iter_mut().zip(&block[2..]) {
            for (j, out) in out.iter_mut().enumerate() {
                *out = if byte >> j & 1 == 1 { d } else { -d };
            }
        }
    }
}

pub(super) static DEF: BlockDef = BlockDef {
    name: "q1_0",
    ggml_id: 41,
    revision: 1,
    block_len: LEN,
    block_bytes: BYTES,
    importance: Importance::Ignored,
    slow: false,
    encode,
    decode,
};
