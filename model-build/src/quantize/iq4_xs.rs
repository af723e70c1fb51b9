//! `IQ4_XS`: 4.25 bits per weight. Sixteen uneven levels, six-bit scales per 32.

use super::nonlinear::{Batch, SUB, decode_levels, fit, inverse, put_levels};
use super::numeric::{half_at, half_bytes, nearest};
use super::simd::{Job, Lanes, MOST_LANES, dispatch};
use crate::hub::{BlockDef, Importance, Kernel};

/// Elements in a block.
const BLOCK: usize = 256;
/// Sub-blocks in a block.
const SUBS: usize = BLOCK / SUB;
/// The scale (f16), the high two bits of the sub-blocks' scales, their low four bits, levels.
const BYTES: usize = 136;
const _: () = assert!(BYTES == LEVELS + BLOCK / 2);
const LOW: usize = 4;
const LEVELS: usize = LOW + SUBS / 2;

/// Blocks that are encoded at a time: their sub-blocks fill all lanes.
const TOGETHER: usize = MOST_LANES / SUBS;

struct Encode<'a> {
    rows: &'a [f32],
    importance: Option<&'a [f32]>,
    columns: usize,
    out: &'a mut [u8],
}

impl Job for Encode<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, s: L) {
        let mut starts = (0..self.columns).step_by(BLOCK).cycle();
        let outs = self.out.as_chunks_mut::<BYTES>().0.chunks_mut(TOGETHER);
        for (blocks, outs) in self.rows.as_chunks::<BLOCK>().0.chunks(TOGETHER).zip(outs) {
            let mut importance: [&[f32]; MOST_LANES] = [&[]; MOST_LANES];
            let mut spread = [0f32; MOST_LANES];
            let mut given = 0;
            if let Some(all) = self.importance {
                for (index, (block, start)) in blocks.iter().zip(starts.by_ref()).enumerate() {
                    let of_block = SUBS * index..SUBS * (index + 1);
                    let rows = all[start..start + BLOCK].chunks_exact(SUB);
                    for (slot, row) in importance[of_block.clone()].iter_mut().zip(rows) {
                        *slot = row;
                    }
                    let sum = block.iter().fold(0f32, |sum, x| sum + x * x);
                    spread[of_block].fill(sum * (2.0 / 256.0));
                    given += SUBS;
                }
            }
            encode_blocks(s, blocks, &importance[..given], &spread, outs);
        }
    }
}

/// Encodes at most [`TOGETHER`] blocks.
#[inline(always)]
fn encode_blocks<L: Lanes>(
    s: L,
    blocks: &[[f32; BLOCK]],
    importance: &[&[f32]],
    spread: &[f32; MOST_LANES],
    outs: &mut [[u8; BYTES]],
) {
    let subs = blocks.as_flattened().as_chunks::<SUB>().0;
    let mut scales = [0f32; MOST_LANES];
    for at in (0..subs.len()).step_by(L::N) {
        let mut rows: [&[f32]; MOST_LANES] = [&[]; MOST_LANES];
        for (row, sub) in rows.iter_mut().zip(&subs[at..]) {
            *row = sub;
        }
        let end = (at + L::N).min(subs.len());
        let mut lanes = [0f32; MOST_LANES];
        lanes[..end - at].copy_from_slice(&spread[at..end]);
        let importance = importance.get(at..end).unwrap_or(&[]);
        let batch = Batch { values: &rows[..end - at], importance, spread: Some(&lanes) };
        scales[at..end].copy_from_slice(&fit(s, &batch)[..end - at]);
    }
    for ((block, scales), out) in blocks.iter().zip(scales.as_chunks().0).zip(outs) {
        encode_block(s, block, scales, out);
    }
}

#[inline(always)]
fn encode_block<L: Lanes>(s: L, block: &[f32; BLOCK], scales: &[f32; SUBS], out: &mut [u8; BYTES]) {
    let (mut largest, mut magnitude) = (0f32, 0f32);
    for scale in scales {
        if scale.abs() > magnitude {
            (largest, magnitude) = (*scale, scale.abs());
        }
    }
    let d = -largest / 32.0;
    let inverse_d = inverse(d);
    out[..2].copy_from_slice(&half_bytes(d));
    out[2..LEVELS].fill(0);
    let mut high = 0u16;
    let subs = block.as_chunks().0.iter().zip(scales);
    for (index, (values, scale)) in subs.enumerate() {
        let rounded = nearest(inverse_d * scale).clamp(-32, 31);
        let [biased, ..] = (rounded + 32).to_le_bytes();
        out[LOW + index / 2] |= (biased & 15) << (4 * (index % 2));
        high |= u16::from(biased >> 4) << (2 * index);
        let levels = &mut out[LEVELS..].as_chunks_mut().0[index];
        put_levels(s, values, inverse(d * rounded as f32), levels);
    }
    out[2..4].copy_from_slice(&high.to_le_bytes());
}

fn encode(
    kernel: Kernel,
    rows: &[f32],
    importance: Option<&[f32]>,
    columns: usize,
    out: &mut [u8],
) {
    dispatch(kernel, Encode { rows, importance, columns, out });
}

fn decode(blocks: &[u8], out: &mut [f32]) {
    for (block, out) in blocks.as_chunks::<BYTES>().0.iter().zip(out.as_chunks_mut::<BLOCK>().0) {
        let d = half_at(block);
        let high = u16::from_le_bytes([block[2], block[3]]);
        let subs = block[LEVELS..].as_chunks().0.iter().zip(out.as_chunks_mut().0);
        for (index, (levels, out)) in subs.enumerate() {
            let low = block[LOW + index / 2] >> (4 * (index % 2)) & 15;
            let scale = u16::from(low) | (high >> (2 * index) & 3) << 4;
            decode_levels(d * (f32::from(scale) - 32.0), levels, out);
        }
    }
}

/// `IQ4_XS`.
pub(super) static DEF: BlockDef = BlockDef {
    name: "iq4_xs",
    ggml_id: 23,
    revision: 1,
    block_len: BLOCK,
    block_bytes: BYTES,
    importance: Importance::Optional,
    slow: true,
    encode,
    decode,
};
