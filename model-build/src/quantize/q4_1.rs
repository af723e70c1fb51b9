//! Q4_1: blocks of 32 weights on a grid of 16 steps above the least weight.

use super::grid::{Grid, LEN};
use crate::hub::{BlockDef, Importance, Kernel};

const GRID: Grid = Grid { bits: 4, min: true };
const _: () = assert!(GRID.block_bytes() == 20);

fn encode(kernel: Kernel, x: &[f32], importance: Option<&[f32]>, columns: usize, out: &mut [u8]) {
    GRID.encode(kernel, x, importance, columns, out);
}

fn decode(blocks: &[u8], out: &mut [f32]) {
    GRID.decode(blocks, out);
}

pub(super) static DEF: BlockDef = BlockDef {
    name: "q4_1",
    ggml_id: 3,
    revision: 1,
    block_len: LEN,
    block_bytes: GRID.block_bytes(),
    importance: Importance::Optional,
    slow: false,
    encode,
    decode,
};
