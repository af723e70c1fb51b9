//! The grid that weights are rounded to, and the two ways to round to it.

use super::super::read;
use super::matrix::{LINES, Matrix};
use crate::error::{Error, Result};
use bytes::Bytes;
use rayon::prelude::*;

/// The integers that weights become.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Grid {
    /// 4 or 8.
    pub(super) bits: u8,
    /// Whether zero is the middle of the integers in every block.
    pub(super) symmetric: bool,
    /// Number of weights along an output that share a scale.
    pub(super) block: usize,
}

impl Grid {
    /// The greatest integer, counted from 0.
    pub(super) fn top(self) -> f32 {
        if self.bits == 8 { 255.0 } else { 15.0 }
    }
    /// The integer in the middle, counted from 0.
    pub(super) fn middle(self) -> u8 {
        if self.bits == 8 { 128 } else { 8 }
    }
    /// Blocks of a line of `k` weights.
    pub(super) fn blocks(self, k: usize) -> usize {
        k.div_ceil(self.block.max(1))
    }
}

/// How a block of weights is told by integers: `weight ≈ (integer - zero) · scale`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Code {
    pub(super) scale: f32,
    /// Counted from 0.
    pub(super) zero: u8,
}

/// Where the zero point joins a rounding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rounding {
    /// Before it, as ONNX Runtime's quantizer for `MatMulNBits` does.
    WithZero,
    /// After it, as ONNX Runtime's quantizer for `DequantizeLinear` does.
    BeforeZero,
}

impl Code {
    /// The integer nearest to a weight, halves away from zero, counted from 0.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // clamped
    pub(super) fn encode(self, grid: Grid, rounding: Rounding, weight: f32) -> u8 {
        let inverse = if self.scale == 0.0 { 0.0 } else { 1.0 / self.scale };
        let zero = f32::from(self.zero);
        let steps = match rounding {
            Rounding::WithZero => (weight * inverse + zero).round(),
            Rounding::BeforeZero => (weight * inverse).round() + zero,
        };
        steps.clamp(0.0, grid.top()) as u8
    }
    /// The weight that an integer stands for.
    pub(super) fn decode(self, integer: u8) -> f32 {
        (f32::from(integer) - f32::from(self.zero)) * self.scale
    }
}

/// The order of a matrix's blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// Line by line.
    ByLine,
    /// The first block of every line, then the second.
    ByBlock,
}

/// The codes of all blocks of a matrix.
#[derive(Clone)]
pub(super) struct Codes {
    pub(super) grid: Grid,
    pub(super) order: Order,
    lines: usize,
    blocks: usize,
    /// f32, in the order.
    pub(super) scales: Bytes,
    /// Counted from 0, in the order; empty where the grid is symmetric.
    pub(super) zeros: Bytes,
}

impl Codes {
    /// Fits the code of every block; `of` is given a line's weights of the block. Lines are
    /// independent, so that the codes do not depend on the number of threads.
    pub(super) fn fit(
        matrix: &Matrix,
        grid: Grid,
        order: Order,
        of: impl Fn(Grid, &[f32]) -> Code + Sync,
    ) -> Result<Self> {
        let blocks = grid.blocks(matrix.k);
        let parts: Vec<(Vec<u8>, Vec<u8>)> = (0..matrix.n.div_ceil(LINES))
            .into_par_iter()
            .map(|group| {
                let first = group * LINES;
                let count = LINES.min(matrix.n - first);
                let mut weights = vec![0.0; count * matrix.k];
                matrix.lines(first, &mut weights)?;
                let mut scales = Vec::with_capacity(count * blocks * 4);
                let mut zeros = Vec::new();
                for line in weights.chunks(matrix.k) {
                    for block in line.chunks(grid.block) {
                        let code = of(grid, block);
                        scales.extend_from_slice(&code.scale.to_le_bytes());
                        if !grid.symmetric {
                            zeros.push(code.zero);
                        }
                    }
                }
                Ok((scales, zeros))
            })
            .collect::<Result<_>>()?;
        Ok(Self::of_lines(matrix.n, grid, order, blocks, &parts))
    }

    /// The codes of groups of lines: scales as bytes, and zero points.
    pub(super) fn of_lines(
        lines: usize,
        grid: Grid,
        order: Order,
        blocks: usize,
        parts: &[(Vec<u8>, Vec<u8>)],
    ) -> Self {
        let mut scales = Vec::with_capacity(lines * blocks * 4);
        let mut zeros = Vec::with_capacity(if grid.symmetric { 0 } else { lines * blocks });
        for (s, z) in parts {
            scales.extend_from_slice(s);
            zeros.extend_from_slice(z);
        }
        if order == Order::ByBlock {
            scales = turned::<4>(&scales, lines, blocks);
            zeros = if grid.symmetric { zeros } else { turned::<1>(&zeros, lines, blocks) };
        }
        Self { grid, order, lines, blocks, scales: scales.into(), zeros: zeros.into() }
    }

    /// The code of a line's block.
    pub(super) fn at(&self, line: usize, block: usize) -> Code {
        let i = match self.order {
            Order::ByLine => line * self.blocks + block,
            Order::ByBlock => block * self.lines + line,
        };
        let scale = self.scales.get(i * 4..i * 4 + 4).and_then(|b| b.first_chunk());
        Code {
            scale: scale.map_or(0.0, |b| f32::from_le_bytes(*b)),
            zero: self.zeros.get(i).copied().unwrap_or(self.grid.middle()),
        }
    }
}

/// A matrix of `rows` by `columns` elements of `N` bytes, transposed.
fn turned<const N: usize>(from: &[u8], rows: usize, columns: usize) -> Vec<u8> {
    let (from, _) = from.as_chunks::<N>();
    let mut out = Vec::with_capacity(from.len() * N);
    for column in 0..columns {
        for row in 0..rows {
            out.extend_from_slice(from.get(row * columns + column).unwrap_or(&[0; N]));
        }
    }
    out
}

/// An error if the lines of a matrix are too many to count in bytes.
pub(super) fn check_len(matrix: &Matrix, grid: Grid) -> Result<()> {
    let blocks = grid.blocks(matrix.k);
    let padded = blocks.checked_mul(grid.block).and_then(|k| k.checked_mul(matrix.n));
    padded.and_then(|n| n.checked_mul(4)).map(|_| ()).ok_or_else(|| {
        Error::unsupported("a tensor larger than this machine's memory").item(matrix.name())
    })
}

/// The number of elements that a tensor computed from `matrix`'s tensor is cut at.
pub(super) fn step(source: &crate::hub::Tensor, per_byte: u64) -> u64 {
    let elements = read::elements_per_step(source);
    if elements.is_multiple_of(per_byte) { elements / per_byte } else { elements }
}
