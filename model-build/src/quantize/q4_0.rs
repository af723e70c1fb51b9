//! Q4_0: blocks of 32 weights on a grid of 16 steps with zero among them.

use super::grid::{Grid, LEN};
use crate::hub::{BlockDef, Importance, Kernel};

const GRID: Grid = Grid { bits: 4, min: false };
const _: () = assert!(GRID.block_bytes() == 18);

fn encode(kernel: Kernel, x: &[f32], importance: Option<&[f32]>, columns: usize, out: &mut [u8]) {
    GRID.encode(kernel, x, importance, columns, out);
}

fn decode(blocks: &[u8], out: &mut [f32]) {
    GRID.decode(blocks, out);
}

pub(super) static DEF: BlockDef = BlockDef {
    name: "q4_0",
    ggml_id: 2,
    revision: 1,
    block_len: LEN,
    block_bytes: GRID.block_bytes(),
    importance: Importance::Optional,
    slow: false,
    encode,
    decode,
};
