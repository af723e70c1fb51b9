//! Tensors of big-endian files, made little-endian when they are read.
//!
//! Which fields of a block are wider than a byte is what `gguf_convert_endian.py` of llama.cpp
//! says; a type that it does not convert is refused here too.

use std::sync::Arc;

use bytes::Bytes;

use crate::error::{Error, Result};
use crate::hub::{DType, Produce, Tensor};

/// Fields of two bytes in a block, by the type's number: their offsets.
const FIELDS: &[(u32, &[usize])] = &[
    (2, &[0]),     // Q4_0
    (8, &[0]),     // Q8_0
    (12, &[0, 2]), // Q4_K
    (14, &[208]),  // Q6_K
    (35, &[64]),   // TQ2_0
    (39, &[]),     // MXFP4
    (40, &[]),     // NVFP4
    (41, &[0]),    // Q1_0
];

/// Bytes of a big-endian file.
struct Swapped {
    bytes: Bytes,
    /// Bytes of an element or block.
    unit: usize,
    /// Ranges of a unit whose bytes are reversed, by offset and width.
    fields: Vec<(usize, usize)>,
}

impl Produce for Swapped {
    fn granularity(&self) -> u64 {
        self.unit as u64
    }
    fn produce(&self, offset: u64, out: &mut [u8]) -> Result<()> {
        let from = usize::try_from(offset)
            .ok()
            .and_then(|o| self.bytes.get(o..o.checked_add(out.len())?))
            .ok_or_else(|| Error::bug("a read past the end of a tensor"))?;
        out.copy_from_slice(from);
        for unit in out.chunks_exact_mut(self.unit) {
            for &(at, width) in &self.fields {
                if let Some(field) = unit.get_mut(at..at + width) {
                    field.reverse();
                }
            }
        }
        Ok(())
    }
}

/// A tensor over bytes of a big-endian file.
///
/// # Errors
/// The length is not the shape's, or the fields of the block type are not known.
pub(super) fn tensor(dtype: DType, shape: Vec<u64>, bytes: Bytes) -> Result<Tensor> {
    let plain = Tensor::new(dtype, shape, bytes.clone())?;
    let (unit, fields) = match dtype {
        DType::Block(def) => {
            let (_, fields) =
                FIELDS.iter().find(|(id, _)| *id == def.ggml_id).ok_or_else(|| {
                    Error::unsupported(format!(
                        "the byte order of {} blocks is not defined",
                        def.name
                    ))
                    .hint("fetch the little-endian file of the model")
                })?;
            (def.block_bytes, fields.iter().map(|at| (*at, 2)).collect::<Vec<_>>())
        }
        dtype => {
            let width = usize::try_from(dtype.bits() / 8).unwrap_or(1);
            (width, vec![(0, width)])
        }
    };
    if unit == 1 || fields.is_empty() {
        return Ok(plain);
    }
    Tensor::lazy(dtype, plain.shape().to_vec(), Arc::new(Swapped { bytes, unit, fields }))
}
