//! Four-bit weights with a scale per 32: a checkpoint's codes and scales in two tensors, ggml's in
//! one. Only bits move.
//!
//! In a checkpoint, byte `k` of a block's 16 holds element `2k` in its low half and `2k + 1` in its
//! high half. In GGUF a block is its scale and then 16 bytes, of which byte `j` holds elements `j`
//! and `j + 16`.

use std::sync::Arc;

use super::rows::{RowMap, read_span};
use super::table::{Kind, Line, Part, Post, Table};
use crate::error::{Error, Result};
use crate::hub::{DType, Produce, Tensor};

const CODES: usize = 16;
const BLOCK: usize = CODES + 1;

impl Table {
    /// Codes `[experts, rows, blocks, 16]` and scales `[experts, rows, blocks]` of a checkpoint; in
    /// GGUF tensors `(name, rows)` of `[experts, rows, blocks · 32]`, row `i` of each expert being row
    /// `i · parts + part` of the checkpoint's.
    pub(in crate::arch) fn blocks(
        &mut self,
        codes: String,
        scales: String,
        [experts, rows, blocks]: [u64; 3],
        gguf: &[String],
    ) -> &mut Line {
        let parts = (gguf.len() as u64).max(1);
        let each = rows / parts;
        let all = experts.saturating_mul(each);
        let hf_rows = RowMap::new(0, &[(all, 1), (parts, all)]);
        let shape = vec![experts, rows, blocks];
        let mut code_shape = shape.clone();
        code_shape.push(CODES as u64);
        let hf = vec![
            (codes, code_shape, hf_rows.clone(), Post::Same),
            (scales, shape, hf_rows, Post::Same),
        ];
        let gguf = (0..).zip(gguf).map(|(i, name)| {
            let map = RowMap::new(i, &[(all, parts)]);
            (name.clone(), vec![experts, each, blocks.saturating_mul(32)], map, Post::Same)
        });
        let line = self.mapped(hf, gguf.collect(), blocks);
        line.kind = Kind::Mxfp4;
        line
    }
}

fn blocks_of_row(line: &Line) -> Result<usize> {
    usize::try_from(line.width).map_err(|_| Error::unsupported("a row larger than memory"))
}

/// The GGUF tensors of a checkpoint's codes and scales.
pub(super) fn pack(line: &Line, sources: &[Tensor]) -> Result<Vec<(String, Tensor)>> {
    let [codes, scales] = sources else {
        return Err(Error::bug("codes and scales are two tensors"));
    };
    for (part, tensor) in line.hf.iter().zip(sources) {
        if tensor.dtype() != DType::U8 {
            let what = format!("packed four-bit weights are bytes, these are {}", tensor.dtype());
            return Err(Error::malformed(what).item(part.name.clone()));
        }
    }
    let dtype = DType::Block(crate::quantize::by_name("mxfp4")?);
    let blocks = blocks_of_row(line)?;
    let parts = line.gguf.iter().map(|part: &Part| {
        let data =
            Pack { codes: codes.clone(), scales: scales.clone(), rows: part.rows.clone(), blocks };
        let tensor = Tensor::lazy(dtype, part.shape.clone(), Arc::new(data))?;
        Ok((part.name.clone(), tensor))
    });
    parts.collect()
}

/// A checkpoint's codes and scales of GGUF tensors.
pub(super) fn unpack(line: &Line, sources: &[Tensor]) -> Result<Vec<(String, Tensor)>> {
    let blocks = blocks_of_row(line)?;
    let parts = line.hf.iter().map(|part| {
        let data = Unpack {
            sources: sources.to_vec(),
            rows: part.rows.clone(),
            blocks,
            codes: part.shape.len() == 4,
        };
        let tensor = Tensor::lazy(DType::U8, part.shape.clone(), Arc::new(data))?;
        Ok((part.name.clone(), tensor))
    });
    parts.collect()
}

struct Pack {
    codes: Tensor,
    scales: Tensor,
    rows: RowMap,
    /// Blocks in a row.
    blocks: usize,
}

fn row_and_len(offset: u64, row: usize, out: &[u8]) -> Result<u64> {
    if row == 0 || !out.len().is_multiple_of(row) {
        return Err(Error::bug("a read that does not end with a row"));
    }
    Ok(offset / row as u64)
}

impl Produce for Pack {
    fn granularity(&self) -> u64 {
        (self.blocks * BLOCK).max(1) as u64
    }

    fn produce(&self, offset: u64, out: &mut [u8]) -> Result<()> {
        let row = self.blocks * BLOCK;
        let first = row_and_len(offset, row, out)?;
        let mut codes = vec![0; self.blocks * CODES];
        let mut scales = vec![0; self.blocks];
        for (i, line) in (first..).zip(out.chunks_exact_mut(row)) {
            let (from, _) = self.rows.at(i);
            read_span(&self.codes, from * codes.len() as u64, &mut codes)?;
            read_span(&self.scales, from * scales.len() as u64, &mut scales)?;
            let blocks = line.as_chunks_mut::<BLOCK>().0.iter_mut();
            for ((block, scale), codes) in blocks.zip(&scales).zip(codes.as_chunks::<CODES>().0) {
                block[0] = *scale;
                for k in 0..CODES / 2 {
                    let (low, high) = (codes[k], codes[k + CODES / 2]);
                    block[1 + 2 * k] = low & 15 | high << 4;
                    block[2 + 2 * k] = low >> 4 | high & 0xf0;
                }
            }
        }
        Ok(())
    }

    fn recipe(&self) -> Option<(String, Vec<Tensor>)> {
        let text = format!("mxfp4 of codes: {} {}", self.blocks, self.rows.text());
        Some((text, vec![self.codes.clone(), self.scales.clone()]))
    }
}

struct Unpack {
    sources: Vec<Tensor>,
    rows: RowMap,
    /// Blocks in a row.
    blocks: usize,
    /// Codes, or else scales.
    codes: bool,
}

impl Unpack {
    fn width(&self) -> usize {
        self.blocks * if self.codes { CODES } else { 1 }
    }

    fn read(&self, mut from: u64, row: &mut [u8]) -> Result<()> {
        let len = row.len() as u64;
        for tensor in &self.sources {
            let rows = tensor.byte_len() / len.max(1);
            if from < rows {
                return read_span(tensor, from * len, row);
            }
            from -= rows;
        }
        Err(Error::bug("a row past the end of the tensors"))
    }
}

impl Produce for Unpack {
    fn granularity(&self) -> u64 {
        self.width().max(1) as u64
    }

    fn produce(&self, offset: u64, out: &mut [u8]) -> Result<()> {
        let width = self.width();
        let first = row_and_len(offset, width, out)?;
        let mut row = vec![0; self.blocks * BLOCK];
        for (i, line) in (first..).zip(out.chunks_exact_mut(width)) {
            self.read(self.rows.at(i).0, &mut row)?;
            let blocks = row.as_chunks::<BLOCK>().0;
            if !self.codes {
                for (to, block) in line.iter_mut().zip(blocks) {
                    *to = block[0];
                }
                continue;
            }
            for (codes, block) in line.as_chunks_mut::<CODES>().0.iter_mut().zip(blocks) {
                for k in 0..CODES / 2 {
                    let (even, odd) = (block[1 + 2 * k], block[2 + 2 * k]);
                    codes[k] = even & 15 | odd << 4;
                    codes[k + CODES / 2] = even >> 4 | odd & 0xf0;
                }
            }
        }
        Ok(())
    }

    fn recipe(&self) -> Option<(String, Vec<Tensor>)> {
        let what = if self.codes { "codes" } else { "scales" };
        let text = format!("{what} of mxfp4: {} {}", self.blocks, self.rows.text());
        Some((text, self.sources.clone()))
    }
}
