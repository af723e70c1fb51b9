//! The integers of a matrix, rounded when they are written.

use std::sync::Arc;

use super::super::read;
use super::grid::{Codes, Grid, Order, Rounding, step};
use super::matrix::{LINES, Matrix};
use crate::error::{Error, Result};
use crate::hub::{DType, Produce, Tensor};

/// Bytes of a line in the layout of `MatMulNBits`.
fn line_bytes(grid: Grid, k: usize) -> usize {
    grid.blocks(k) * grid.block * usize::from(grid.bits) / 8
}

/// Integers in the layout of `MatMulNBits`: `u8 [n, blocks, bytes of a block]`, the first of two
/// 4-bit integers in the lower bits, the rest of the last block 0.
pub(super) fn packed(matrix: &Matrix, codes: &Codes) -> Result<Tensor> {
    let shape = packed_shape(matrix, codes.grid);
    let data = Packed { matrix: matrix.clone(), codes: codes.clone() };
    Ok(Tensor::lazy(DType::U8, shape, Arc::new(data))?.named(matrix.name()))
}

pub(super) fn packed_shape(matrix: &Matrix, grid: Grid) -> Vec<u64> {
    let bytes = grid.block * usize::from(grid.bits) / 8;
    vec![matrix.n as u64, grid.blocks(matrix.k) as u64, bytes as u64]
}

struct Packed {
    matrix: Matrix,
    codes: Codes,
}

impl Produce for Packed {
    fn granularity(&self) -> u64 {
        (line_bytes(self.codes.grid, self.matrix.k) * LINES.min(self.matrix.n)) as u64
    }

    fn produce(&self, offset: u64, out: &mut [u8]) -> Result<()> {
        let grid = self.codes.grid;
        let bytes = line_bytes(grid, self.matrix.k).max(1);
        let first = usize::try_from(offset).map_err(|_| Error::bug("an offset past memory"))?;
        let mut weights = Vec::new();
        for (group, out) in out.chunks_mut(bytes * LINES).enumerate() {
            let line = first / bytes + group * LINES;
            weights.resize(out.len() / bytes * self.matrix.k, 0.0);
            self.matrix.lines(line, &mut weights)?;
            let mut integers = vec![0; self.matrix.k];
            for (i, (out, weights)) in
                out.chunks_mut(bytes).zip(weights.chunks(self.matrix.k)).enumerate()
            {
                for (block, (to, from)) in
                    integers.chunks_mut(grid.block).zip(weights.chunks(grid.block)).enumerate()
                {
                    let code = self.codes.at(line + i, block);
                    for (q, w) in to.iter_mut().zip(from) {
                        *q = code.encode(grid, Rounding::WithZero, *w);
                    }
                }
                pack(grid, &integers, out);
            }
        }
        Ok(())
    }
}

/// Packs integers counted from 0; what is left of `out` becomes 0.
pub(super) fn pack(grid: Grid, integers: &[u8], out: &mut [u8]) {
    let used = if grid.bits == 8 {
        out.iter_mut().zip(integers).for_each(|(to, q)| *to = *q);
        integers.len()
    } else {
        for (to, two) in out.iter_mut().zip(integers.chunks(2)) {
            *to = two.first().copied().unwrap_or(0) | two.get(1).copied().unwrap_or(0) << 4;
        }
        integers.len().div_ceil(2)
    };
    out.iter_mut().skip(used).for_each(|rest| *rest = 0);
}

/// The element type of integers that `DequantizeLinear` reads: signed where the grid is symmetric.
pub(super) fn dtype(grid: Grid) -> DType {
    match (grid.bits, grid.symmetric) {
        (8, true) => DType::I8,
        (8, false) => DType::U8,
        (_, true) => DType::I4,
        (_, false) => DType::U4,
    }
}

/// Integers for `DequantizeLinear`, of `source`'s shape: the tensor of the matrix's weights. `rows`
/// says whether a line is a row.
pub(super) fn flat(source: &Tensor, rows: bool, matrix: &Matrix, codes: &Codes) -> Result<Tensor> {
    let width = source.shape().last().copied().unwrap_or(1);
    let width = usize::try_from(width).map_err(|_| Error::bug("a row past memory"))?;
    let factors = matrix.factors().cloned();
    let data = Flat { source: source.clone(), rows, factors, codes: codes.clone(), width };
    let tensor = Tensor::lazy(dtype(codes.grid), source.shape().to_vec(), Arc::new(data))?;
    Ok(tensor.named(matrix.name()))
}

/// The scales, and where the grid has them the zero points, that `DequantizeLinear` reads.
pub(super) fn flat_codes(codes: &Codes, shape: Vec<u64>) -> Result<(Tensor, Option<Tensor>)> {
    let scales = Tensor::new(DType::F32, shape.clone(), codes.scales.clone())?;
    if codes.grid.symmetric {
        return Ok((scales, None));
    }
    let per_byte = if codes.grid.bits == 8 { 1 } else { 2 };
    let mut zeros = vec![0; codes.zeros.len().div_ceil(per_byte)];
    pack(codes.grid, &codes.zeros, &mut zeros);
    Ok((scales, Some(Tensor::new(dtype(codes.grid), shape, zeros.into())?)))
}

/// The scales, and where the grid has them the zero points, that `MatMulNBits` reads: of each line
/// a whole number of bytes, an unused half byte holding the middle.
pub(super) fn packed_codes(codes: &Codes, lines: usize) -> Result<(Tensor, Option<Tensor>)> {
    debug_assert_eq!(codes.order, Order::ByLine);
    let blocks = codes.scales.len() / 4 / lines.max(1);
    let scales = vec![lines as u64, blocks as u64];
    let scales = Tensor::new(DType::F32, scales, codes.scales.clone())?;
    if codes.grid.symmetric {
        return Ok((scales, None));
    }
    let bytes = (blocks * usize::from(codes.grid.bits)).div_ceil(8);
    let mut zeros = vec![0; lines * bytes];
    let mut padded = Vec::new();
    for (out, line) in zeros.chunks_mut(bytes.max(1)).zip(codes.zeros.chunks(blocks.max(1))) {
        padded.clear();
        padded.extend_from_slice(line);
        padded.resize(bytes * 8 / usize::from(codes.grid.bits), codes.grid.middle());
        pack(codes.grid, &padded, out);
    }
    let zeros = Tensor::new(DType::U8, vec![lines as u64, bytes as u64], zeros.into())?;
    Ok((scales, Some(zeros)))
}

/// [`packed`] of integers that are there, line by line.
pub(super) fn packed_now(matrix: &Matrix, grid: Grid, integers: &[u8]) -> Result<Tensor> {
    let bytes = line_bytes(grid, matrix.k);
    let mut out = vec![0; matrix.n * bytes];
    let lines = integers.chunks(matrix.k.max(1));
    out.chunks_mut(bytes.max(1)).zip(lines).for_each(|(out, line)| pack(grid, line, out));
    Tensor::new(DType::U8, packed_shape(matrix, grid), out.into())
}

/// [`flat`] of integers that are there, line by line.
pub(super) fn flat_now(
    source: &Tensor,
    rows: bool,
    matrix: &Matrix,
    grid: Grid,
    integers: &[u8],
) -> Result<Tensor> {
    let signed = |q: u8| if grid.symmetric { q ^ grid.middle() } else { q };
    let (n, k) = (matrix.n, matrix.k);
    let order = |i: usize| if rows { i } else { i % n * k + i / n };
    let turned: Vec<u8> = (0..integers.len())
        .map(|i| signed(integers.get(order(i)).copied().unwrap_or_default()))
        .collect();
    let mut out = vec![0; turned.len().div_ceil(if grid.bits == 8 { 1 } else { 2 })];
    pack(grid, &turned, &mut out);
    Tensor::new(dtype(grid), source.shape().to_vec(), out.into())
}

struct Flat {
    source: Tensor,
    rows: bool,
    factors: Option<Arc<[f32]>>,
    codes: Codes,
    width: usize,
}

impl Flat {
    fn per_byte(&self) -> usize {
        if self.codes.grid.bits == 8 { 1 } else { 2 }
    }

    /// The bits of the element of that number.
    fn integer(&self, at: usize, weight: f32) -> u8 {
        let grid = self.codes.grid;
        let (row, column) = (at / self.width.max(1), at % self.width.max(1));
        let (line, k) = if self.rows { (row, column) } else { (column, row) };
        let factor = self.factors.as_ref().and_then(|f| f.get(k)).copied();
        let weight = factor.map_or(weight, |f| weight * f);
        let code = self.codes.at(line, k / grid.block.max(1));
        let q = code.encode(grid, Rounding::BeforeZero, weight);
        // The two's complement of `q - middle` has the middle's bit turned.
        if grid.symmetric { q ^ grid.middle() } else { q }
    }
}

impl Produce for Flat {
    fn granularity(&self) -> u64 {
        step(&self.source, self.per_byte() as u64)
    }

    fn produce(&self, offset: u64, out: &mut [u8]) -> Result<()> {
        let past = || Error::bug("a read past the end of a tensor");
        let per_byte = self.per_byte();
        let total = usize::try_from(self.source.len()).map_err(|_| past())?;
        let first =
            usize::try_from(offset).ok().and_then(|o| o.checked_mul(per_byte)).ok_or_else(past)?;
        let count = out.len().checked_mul(per_byte).ok_or_else(past)?;
        let count = count.min(total.saturating_sub(first));
        read::with_elements(&self.source, first as u64, count, |source| {
            let weights = source.as_chunks().0.iter().map(|c| f32::from_le_bytes(*c));
            if per_byte == 1 {
                for (i, (to, w)) in out.iter_mut().zip(weights).enumerate() {
                    *to = self.integer(first + i, w);
                }
                return;
            }
            out.fill(0);
            for (i, w) in weights.enumerate() {
                if let Some(to) = out.get_mut(i / 2) {
                    *to |= self.integer(first + i, w) << (4 * (i % 2));
                }
            }
        })
    }
}
