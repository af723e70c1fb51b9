//! What Q4_0, Q4_1, Q5_0, Q5_1 share: 32 weights on an even grid of 16 or 32 points.
//!
//! A block is the step `d` (f16), the least point `m` (f16, types with [`Grid::min`]), the fifth
//! bits of all codes (32 bits, types of 5 bits), then the low four bits: element `j` in the lower
//! half of byte `j`, element `j + 16` in the upper one.

use super::affine_search::{Affine, Weighed, affine};
use super::reduce::{farthest, inverse, range};
use super::simd::float::{f16_bits_to_f32, f32_to_f16_bits};
use super::simd::{Job, Lanes, MOST_LANES, dispatch};
use super::symmetric_search::symmetric;
use crate::hub::Kernel;

/// Elements of a block.
pub(super) const LEN: usize = 32;

/// A grid: points `(code - 2^(bits-1)) · d`, or `code · d + m`.
#[derive(Clone, Copy)]
pub(super) struct Grid {
    /// Bits of a code: 4 or 5.
    pub(super) bits: u32,
    /// Whether the block keeps its least point.
    pub(super) min: bool,
}

impl Grid {
    /// Bytes of a block.
    pub(super) const fn block_bytes(self) -> usize {
        let scales = if self.min { 4 } else { 2 };
        let high = if self.bits == 5 { 4 } else { 0 };
        scales + high + LEN / 2
    }

    /// The point that stands for zero in grids without a least point; also the number of codes
    /// below it.
    const fn middle(self) -> u8 {
        1 << (self.bits - 1)
    }

    /// Writes a block: `m` only where the grid has it.
    #[inline(always)]
    fn pack(self, d: f32, m: f32, codes: &[u8; LEN], out: &mut [u8]) {
        let (scales, rest) = out.split_at_mut(if self.min { 4 } else { 2 });
        scales[..2].copy_from_slice(&f32_to_f16_bits(d).to_le_bytes());
        if self.min {
            scales[2..4].copy_from_slice(&f32_to_f16_bits(m).to_le_bytes());
        }
        let (high, low) = rest.split_at_mut(if self.bits == 5 { 4 } else { 0 });
        if self.bits == 5 {
            let bits = (0..LEN).fold(0, |all, j| all | (u32::from(codes[j] >> 4) & 1) << j);
            high.copy_from_slice(&bits.to_le_bytes());
        }
        for (j, low) in low[..LEN / 2].iter_mut().enumerate() {
            *low = (codes[j] & 15) | codes[j + LEN / 2] << 4;
        }
    }

    /// Encodes rows of whole blocks.
    pub(super) fn encode(
        self,
        kernel: Kernel,
        values: &[f32],
        importance: Option<&[f32]>,
        columns: usize,
        out: &mut [u8],
    ) {
        match importance {
            None => dispatch(kernel, Plain { grid: self, values, out }),
            Some(importance) => {
                dispatch(kernel, Weighted { grid: self, values, importance, columns, out });
            }
        }
    }

    /// Decodes whole blocks.
    #[inline(always)]
    pub(super) fn decode(self, blocks: &[u8], out: &mut [f32]) {
        let blocks = blocks.chunks_exact(self.block_bytes());
        for (block, out) in blocks.zip(out.as_chunks_mut::<LEN>().0) {
            let (scales, rest) = block.split_at(if self.min { 4 } else { 2 });
            let (high, low) = rest.split_at(if self.bits == 5 { 4 } else { 0 });
            let high = high.first_chunk().map_or(0, |high| u32::from_le_bytes(*high));
            let half =
                |at: usize| f16_bits_to_f32(u16::from_le_bytes([scales[at], scales[at + 1]]));
            let d = half(0);
            for j in 0..LEN {
                let byte = low[j % (LEN / 2)];
                let code = if j < LEN / 2 { byte & 15 } else { byte >> 4 };
                let code = i32::from(code) | (((high >> j) & 1) << 4).cast_signed();
                out[j] = if self.min {
                    code as f32 * d + half(2)
                } else {
                    (code - i32::from(self.middle())) as f32 * d
                };
            }
        }
    }
}

/// Encodes without importance: the block's extremes decide the grid.
struct Plain<'a> {
    grid: Grid,
    values: &'a [f32],
    out: &'a mut [u8],
}

impl Job for Plain<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, l: L) {
        let Self { grid, values, out } = self;
        // With known grids the loops below have no branches left.
        match (grid.bits, grid.min) {
            (4, false) => plain(l, Grid { bits: 4, min: false }, values, out),
            (4, true) => plain(l, Grid { bits: 4, min: true }, values, out),
            (_, false) => plain(l, Grid { bits: 5, min: false }, values, out),
            (_, true) => plain(l, Grid { bits: 5, min: true }, values, out),
        }
    }
}

#[inline(always)]
fn plain<L: Lanes>(l: L, grid: Grid, values: &[f32], out: &mut [u8]) {
    let out = out.chunks_exact_mut(grid.block_bytes());
    for (values, out) in values.as_chunks::<LEN>().0.iter().zip(out) {
        let middle = f32::from(grid.middle());
        let (d, m, shift) = if grid.min {
            let (min, max) = range(l, values);
            ((max - min) / (2.0 * middle - 1.0), min, 0.5)
        } else {
            (farthest(l, values) / -middle, 0.0, middle + 0.5)
        };
        let scale = inverse(d);
        // ggml's conversion of what no integer can hold gives zeros.
        let codes = if scale.is_finite() && d.is_finite() {
            codes(l, grid, values, [scale, m, shift])
        } else {
            [0; LEN]
        };
        grid.pack(d, m, &codes, out);
    }
}

/// `(x - m) · scale + shift`, cut to an integer, at most the last code.
#[inline(always)]
fn codes<L: Lanes>(
    l: L,
    grid: Grid,
    values: &[f32; LEN],
    [scale, m, shift]: [f32; 3],
) -> [u8; LEN] {
    let (scale, m, shift) = (l.splat(scale), l.splat(m), l.splat(shift));
    let last = l.splat_i(2 * i32::from(grid.middle()) - 1);
    let mut out = [0; LEN];
    for (values, codes) in values.chunks_exact(L::N).zip(out.chunks_exact_mut(L::N)) {
        let mut v = l.load(values);
        if grid.min {
            v = l.sub(v, m);
        }
        let code = l.to_i32(l.add(l.mul(v, scale), shift));
        l.store_bytes(l.min_i(code, last), codes);
    }
    out
}

/// Encodes with importance: a search for the grid of least weighted error.
struct Weighted<'a> {
    grid: Grid,
    values: &'a [f32],
    importance: &'a [f32],
    columns: usize,
    out: &'a mut [u8],
}

impl Job for Weighted<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, l: L) {
        let Self { grid, values, importance, columns, out } = self;
        let spreads = mean_squares(l, values, columns);
        let blocks = values.as_chunks::<LEN>().0;
        let per_row = columns / LEN;
        let weights = importance.as_chunks::<LEN>().0;
        let mut first = 0;
        for (blocks, out) in blocks.chunks(L::N).zip(out.chunks_mut(L::N * grid.block_bytes())) {
            let place = |i: usize| ((first + i) / per_row, (first + i) % per_row);
            let mut x = [l.splat(0.0); LEN];
            let mut w = [l.splat(0.0); LEN];
            let mut rows: [&[f32]; MOST_LANES] = [&[]; MOST_LANES];
            let mut spread = [0.0; MOST_LANES];
            rows.iter_mut().zip(blocks).for_each(|(row, block)| *row = block);
            l.transpose(&rows[..blocks.len()], &mut x);
            for (i, row) in rows.iter_mut().enumerate().take(blocks.len()) {
                *row = &weights[place(i).1];
                spread[i] = spreads[place(i).0];
            }
            l.transpose(&rows[..blocks.len()], &mut w);
            let spread = l.load(&spread);
            for (w, x) in w.iter_mut().zip(&x) {
                *w = l.mul(*w, l.sqrt(l.add(spread, l.mul(*x, *x))));
            }
            let mut codes = [l.splat_i(0); LEN];
            let [d, m] = search(l, grid, &x, &w, &mut codes);
            write(l, grid, [d, m], &codes, out);
            first += blocks.len();
        }
    }
}

/// The grid of least error of each lane's block, as step and least point, and the codes.
#[inline(always)]
fn search<L: Lanes>(
    l: L,
    grid: Grid,
    x: &[L::F; LEN],
    w: &[L::F; LEN],
    codes: &mut [L::I; LEN],
) -> [L::F; 2] {
    let middle = i32::from(grid.middle());
    if grid.min {
        let most = 2 * middle - 1;
        let how = Affine { most, first: -0.9, step: 0.05, steps: 36, absolute: false };
        let mut elements = [[Weighed::new(l, x[0], w[0])]; LEN];
        for j in 0..LEN {
            elements[j] = [Weighed::new(l, x[j], w[j])];
        }
        let [found] = affine(l, how, &mut elements);
        for j in 0..LEN {
            codes[j] = found.quant(l, x[j], most);
        }
        [found.scale, l.neg(found.min)]
    } else {
        let found = symmetric(l, middle, x, Some(w));
        for j in 0..LEN {
            codes[j] = found.quant(l, middle, x[j]);
        }
        [found.scale, l.splat(0.0)]
    }
}

/// The mean square of each row, summed in order; rows are whole blocks of 32.
#[inline(always)]
fn mean_squares<L: Lanes>(l: L, values: &[f32], columns: usize) -> Vec<f32> {
    let mut means = Vec::with_capacity(values.len() / columns);
    for rows in values.chunks(columns * L::N) {
        let mut sums = l.splat(0.0);
        let mut tile = [l.splat(0.0); 32];
        let count = rows.len() / columns;
        for at in (0..columns).step_by(32) {
            let mut cut: [&[f32]; MOST_LANES] = [&[]; MOST_LANES];
            for (cut, row) in cut.iter_mut().zip(rows.chunks_exact(columns)) {
                *cut = &row[at..at + 32];
            }
            l.transpose(&cut[..count], &mut tile);
            for x in &tile {
                sums = l.add(sums, l.mul(*x, *x));
            }
        }
        let mut lanes = [0.0; MOST_LANES];
        l.store(sums, &mut lanes);
        #[allow(clippy::cast_precision_loss)] // ggml divides by the nearest float, too
        means.extend(lanes.iter().take(count).map(|sum| sum / columns as f32));
    }
    means
}

/// Writes one block per lane.
#[inline(always)]
fn write<L: Lanes>(l: L, grid: Grid, scales: [L::F; 2], codes: &[L::I; LEN], out: &mut [u8]) {
    let mut columns = [[0; MOST_LANES]; LEN];
    for (to, codes) in columns.iter_mut().zip(codes) {
        l.store_bytes(*codes, to);
    }
    let [mut d, mut m] = [[0.0; MOST_LANES]; 2];
    l.store(scales[0], &mut d);
    l.store(scales[1], &mut m);
    for (lane, out) in out.chunks_exact_mut(grid.block_bytes()).enumerate() {
        let mut own = [0; LEN];
        own.iter_mut().zip(&columns).for_each(|(to, column)| *to = column[lane]);
        grid.pack(d[lane], m[lane], &own, out);
    }
}
