//! Elements as f32 and back: what every encoder reads from and every decoder writes to.

use super::simd::float;
use crate::error::{Error, Result};
use crate::hub::{DType, Kernel};

/// Whether [`widen`] reads a type.
pub(super) fn is_readable(dtype: DType) -> bool {
    dtype.is_float() || matches!(dtype, DType::Block(_))
}

/// The elements in `bytes` as f32, rounded to nearest even from f64; as many as `to` holds.
pub(super) fn widen(kernel: Kernel, dtype: DType, bytes: &[u8], to: &mut [f32]) -> Result<()> {
    match dtype {
        DType::F32 => {
            to.iter_mut().zip(chunks(bytes)).for_each(|(t, b)| *t = f32::from_le_bytes(*b));
        }
        DType::F16 => float::f16_to_f32(kernel, chunks(bytes), to),
        DType::BF16 => float::bf16_to_f32(kernel, chunks(bytes), to),
        #[allow(clippy::cast_possible_truncation)] // the rounding is the point
        DType::F64 => {
            let values = chunks(bytes).iter().map(|b| f64::from_le_bytes(*b) as f32);
            to.iter_mut().zip(values).for_each(|(t, v)| *t = v);
        }
        DType::Block(def) => (def.decode)(bytes, to),
        other => return Err(Error::bug(format!("{other} elements asked for as f32"))),
    }
    Ok(())
}

/// The values in a floating-point type, rounded to nearest even; as many as `to` has room for.
pub(super) fn narrow(kernel: Kernel, dtype: DType, from: &[f32], to: &mut [u8]) -> Result<()> {
    match dtype {
        DType::F32 => {
            let to = to.as_chunks_mut().0;
            to.iter_mut().zip(from).for_each(|(t, v)| *t = v.to_le_bytes());
        }
        DType::F16 => float::f32_to_f16(kernel, from, to.as_chunks_mut().0),
        DType::BF16 => float::f32_to_bf16(kernel, from, to.as_chunks_mut().0),
        DType::F64 => {
            let to = to.as_chunks_mut().0;
            to.iter_mut().zip(from).for_each(|(t, v)| *t = f64::from(*v).to_le_bytes());
        }
        other => return Err(Error::bug(format!("f32 values asked for as {other}"))),
    }
    Ok(())
}

fn chunks<const N: usize>(bytes: &[u8]) -> &[[u8; N]] {
    bytes.as_chunks().0
}
