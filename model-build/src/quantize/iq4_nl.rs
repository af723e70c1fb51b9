//! `IQ4_NL`: 4.5 bits per weight. Sixteen uneven levels, a scale per 32.

use super::nonlinear::{Batch, SUB, decode_levels, fit, inverse, put_levels};
use super::numeric::{half_at, half_bytes};
use super::simd::{Job, Lanes, MOST_LANES, dispatch};
use crate::hub::{BlockDef, Importance, Kernel};

/// The scale (f16), four-bit levels.
const BYTES: usize = 18;
const _: () = assert!(BYTES == 2 + SUB / 2);

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
        let mut starts = (0..self.columns).step_by(SUB).cycle();
        let outs = self.out.as_chunks_mut::<BYTES>().0.chunks_mut(L::N);
        for (values, outs) in self.rows.as_chunks::<SUB>().0.chunks(L::N).zip(outs) {
            let mut rows: [&[f32]; MOST_LANES] = [&[]; MOST_LANES];
            let mut importance: [&[f32]; MOST_LANES] = [&[]; MOST_LANES];
            for (row, values) in rows.iter_mut().zip(values) {
                *row = values;
            }
            let given = self.importance.map_or(0, |all| {
                for (slot, start) in importance.iter_mut().zip(starts.by_ref().take(outs.len())) {
                    *slot = &all[start..start + SUB];
                }
                outs.len()
            });
            let batch = Batch {
                values: &rows[..values.len()],
                importance: &importance[..given],
                spread: None,
            };
            let scales = fit(s, &batch);
            for ((values, out), scale) in values.iter().zip(outs).zip(scales) {
                let [a, b, levels @ ..] = out;
                [*a, *b] = half_bytes(scale);
                put_levels(s, values, inverse(scale), levels);
            }
        }
    }
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
    for (block, out) in blocks.as_chunks::<BYTES>().0.iter().zip(out.as_chunks_mut::<SUB>().0) {
        let [_, _, levels @ ..] = block;
        decode_levels(half_at(block), levels, out);
    }
}

/// `IQ4_NL`.
pub(super) static DEF: BlockDef = BlockDef {
    name: "iq4_nl",
    ggml_id: 20,
    revision: 1,
    block_len: SUB,
    block_bytes: BYTES,
    importance: Importance::Optional,
    slow: true,
    encode,
    decode,
};
