//! Block layouts of 2023 that ggml has since changed, read exactly.
//!
//! Files say by their version in which era their blocks were made:
//!
//! | era | files | Q4_0, Q4_1, Q8_0 | Q5_0, Q5_1 | Q4_2, Q4_3 |
//! |---|---|---|---|---|
//! | 1 | ggmf v1, ggjt v1, whisper 0 | `f32` scales, neighbours share a byte | `f16` scales, neighbours share a byte | blocks of 16, `f16` scales |
//! | 2 | ggjt v2, whisper 1 | `f32` scales, halves share a byte | as today | – |
//! | 3 | ggjt v3, whisper 2 | as today | as today | – |
//!
//! "Neighbours" means that elements 2i and 2i+1 stand in byte i; "halves", that elements i and i+16
//! do, as in today's blocks. Blocks with `f32` scales do not fit into today's, whose scales are
//! `f16`: they are decoded to `f32`, each element with one multiplication and, where there is a
//! minimum, one addition, as ggml's scalar code did. Q5_0 and Q5_1 of era 1 are repacked, which
//! loses nothing.

use std::sync::Arc;

use bytes::Bytes;

use crate::error::{Error, Result};
use crate::format::gguf;
use crate::hub::{DType, Produce, Tensor};

/// Which layouts a file's blocks have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Era {
    /// Not known: the file has no version.
    Unknown,
    First,
    Second,
    /// Today's.
    Third,
}

/// How a tensor is stored in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stored {
    /// As we have it.
    Same(DType),
    /// An old type that is decoded to `f32`.
    Decoded(Old),
    /// Q5_0 or Q5_1 whose neighbours share a byte; this many bytes of scales stand before the bits.
    Repacked(DType, usize),
}

/// An old block type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Old {
    len: usize,
    bytes: usize,
    /// Scales of 4 bytes, not 2.
    wide: bool,
    /// A minimum stands after the scale.
    minimum: bool,
    /// Elements of 8 bits, not 4.
    whole: bool,
    /// Neighbours share a byte.
    neighbours: bool,
}

impl Old {
    const Q4_0: Self =
        Self { len: 32, bytes: 20, wide: true, minimum: false, whole: false, neighbours: false };
    const Q4_1: Self = Self { bytes: 24, minimum: true, ..Self::Q4_0 };
    const Q8_0: Self = Self { bytes: 36, whole: true, ..Self::Q4_0 };
    const Q4_2: Self = Self { len: 16, bytes: 10, wide: false, ..Self::Q4_0 };
    const Q4_3: Self = Self { bytes: 12, minimum: true, ..Self::Q4_2 };

    fn of(kind: u32, era: Era) -> Option<Self> {
        let neighbours = era == Era::First;
        let old = match kind {
            2 => Self::Q4_0,
            3 => Self::Q4_1,
            8 => Self::Q8_0,
            4 if neighbours => Self::Q4_2,
            5 if neighbours => Self::Q4_3,
            _ => return None,
        };
        Some(Self { neighbours, ..old })
    }

    /// Decodes a block.
    fn decode(self, block: &[u8], out: &mut [f32]) {
        let width = if self.wide { 4 } else { 2 };
        let scale = |at: usize| match block.get(at..at + width) {
            Some(&[a, b, c, d]) => f32::from_le_bytes([a, b, c, d]),
            Some(&[a, b]) => half::f16::from_le_bytes([a, b]).to_f32(),
            _ => 0.0,
        };
        let d = scale(0);
        let minimum = self.minimum.then(|| scale(width));
        let head = if self.minimum { 2 * width } else { width };
        let quants = block.get(head..).unwrap_or_default();
        for (i, out) in out.iter_mut().enumerate() {
            let q = if self.whole {
                quants.get(i).map_or(0, |q| i16::from(q.cast_signed()))
            } else {
                i16::from(nibble(quants, i, self.len, self.neighbours))
            };
            *out = match minimum {
                Some(m) => f32::from(q) * d + m,
                None if self.whole => f32::from(q) * d,
                None => f32::from(q - 8) * d,
            };
        }
    }
}

/// Element `i` of `len` elements of 4 bits.
fn nibble(quants: &[u8], i: usize, len: usize, neighbours: bool) -> u8 {
    let (byte, high) = if neighbours { (i / 2, i % 2 == 1) } else { (i % (len / 2), i >= len / 2) };
    let byte = quants.get(byte).copied().unwrap_or_default();
    if high { byte >> 4 } else { byte & 15 }
}

/// Blocks decoded to `f32` when they are read.
struct Decode {
    bytes: Bytes,
    old: Old,
}

impl Produce for Decode {
    fn granularity(&self) -> u64 {
        (self.old.len * 4) as u64
    }
    fn produce(&self, offset: u64, out: &mut [u8]) -> Result<()> {
        let unit = self.old.len * 4;
        let first = usize::try_from(offset / unit as u64).unwrap_or(usize::MAX);
        let blocks = first
            .checked_mul(self.old.bytes)
            .and_then(|from| self.bytes.get(from..))
            .ok_or_else(|| Error::bug("a read past the end of a tensor"))?;
        let mut values = [0f32; 32];
        for (block, out) in blocks.chunks_exact(self.old.bytes).zip(out.chunks_exact_mut(unit)) {
            let values = values.get_mut(..self.old.len).unwrap_or_default();
            self.old.decode(block, values);
            for (value, out) in values.iter().zip(out.as_chunks_mut::<4>().0) {
                *out = value.to_le_bytes();
            }
        }
        Ok(())
    }
}

/// Q5_0 or Q5_1 blocks repacked when they are read.
struct Repack {
    bytes: Bytes,
    block: usize,
    /// Bytes of scales, which stay.
    head: usize,
}

impl Produce for Repack {
    fn granularity(&self) -> u64 {
        self.block as u64
    }
    fn produce(&self, offset: u64, out: &mut [u8]) -> Result<()> {
        let from = usize::try_from(offset)
            .ok()
            .and_then(|o| self.bytes.get(o..o.checked_add(out.len())?))
            .ok_or_else(|| Error::bug("a read past the end of a tensor"))?;
        for (block, out) in from.chunks_exact(self.block).zip(out.chunks_exact_mut(self.block)) {
            out.copy_from_slice(block);
            // The fifth bits stand in the order of the elements, then as now.
            let quants = block.get(self.head + 4..).unwrap_or_default();
            for (i, out) in out.iter_mut().skip(self.head + 4).enumerate() {
                *out = nibble(quants, i, 32, true) | nibble(quants, i + 16, 32, true) << 4;
            }
        }
        Ok(())
    }
}

impl Stored {
    /// What a type's number means in an era.
    ///
    /// # Errors
    /// The layout is not known, or there was no such type.
    pub(super) fn of(kind: u32, era: Era) -> Result<Self> {
        if let (0 | 1, _) | (_, Era::Third) = (kind, era) {
            return Ok(Self::Same(gguf::of_id(kind)?));
        }
        match (kind, era) {
            (_, Era::Unknown) => Err(Error::unsupported(format!(
                "quantized blocks (type {kind}) of a file without a version, whose layout changed unmarked"
            ))
            .hint("convert from the f16 or f32 file of the model, or from its original weights")),
            (6 | 7, Era::First) => {
                Ok(Self::Repacked(gguf::of_id(kind)?, if kind == 6 { 2 } else { 4 }))
            }
            (6 | 7, _) => Ok(Self::Same(gguf::of_id(kind)?)),
            _ => Old::of(kind, era).map(Self::Decoded).ok_or_else(|| {
                Error::malformed(format!("files of this version have no element type {kind}"))
            }),
        }
    }

    /// Bytes in the file of a tensor of that shape, outermost first.
    pub(super) fn bytes_for(self, shape: &[u64]) -> Result<u64> {
        let (name, len, bytes) = match self {
            Self::Same(dtype) | Self::Repacked(dtype, _) => match dtype {
                DType::Block(def) => (def.name, def.block_len as u64, def.block_bytes as u64),
                plain => (plain.name(), 1, plain.bits() / 8),
            },
            Self::Decoded(old) => ("old", old.len as u64, old.bytes as u64),
        };
        let row = shape.last().copied().unwrap_or(1);
        let elements = shape.iter().try_fold(1u64, |n, d| n.checked_mul(*d));
        elements
            .filter(|_| row.is_multiple_of(len))
            // The tensor may be decoded to 4 bytes an element.
            .filter(|n| n.checked_mul(4).is_some())
            .and_then(|n| (n / len).checked_mul(bytes))
            .ok_or_else(|| {
                Error::malformed(format!(
                    "shape {shape:?} is impossible for {name} blocks of {len}"
                ))
            })
    }

    /// The tensor over its bytes in the file.
    pub(super) fn tensor(self, shape: Vec<u64>, bytes: Bytes) -> Result<Tensor> {
        match self {
            Self::Same(dtype) => Tensor::new(dtype, shape, bytes),
            Self::Decoded(old) => Tensor::lazy(DType::F32, shape, Arc::new(Decode { bytes, old })),
            Self::Repacked(dtype, head) => {
                let block = head + 4 + 16;
                Tensor::lazy(dtype, shape, Arc::new(Repack { bytes, block, head }))
            }
        }
    }
}
