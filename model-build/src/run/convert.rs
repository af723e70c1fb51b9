//! Numbers in another element type, for inputs of graphs.

use crate::error::{Error, Result};
use crate::hub::{DType, Tensor};

/// The same numbers in another element type: floats are rounded, integers must fit.
pub(crate) fn converted(tensor: &Tensor, to: DType) -> Result<Tensor> {
    let cannot = || Error::unsupported(format!("{} cannot be converted to {to}", tensor.dtype()));
    let shape = tensor.shape().to_vec();
    let bytes: Vec<u8> = match (tensor.dtype(), to) {
        (from, to) if from == to => return Ok(tensor.clone()),
        (
            DType::F32 | DType::F16 | DType::BF16,
            DType::F32 | DType::F16 | DType::BF16 | DType::F64,
        ) => {
            let values = tensor.to_f32()?.into_iter();
            match to {
                DType::F64 => values.flat_map(|v| f64::from(v).to_le_bytes()).collect(),
                DType::F16 => values.flat_map(|v| half::f16::from_f32(v).to_le_bytes()).collect(),
                DType::BF16 => values.flat_map(|v| half::bf16::from_f32(v).to_le_bytes()).collect(),
                _ => values.flat_map(f32::to_le_bytes).collect(),
            }
        }
        (DType::I64 | DType::I32, DType::I64 | DType::I32) => {
            let mut out = Vec::new();
            for v in tensor.to_i64()?.iter() {
                if to == DType::I64 {
                    out.extend(v.to_le_bytes());
                } else {
                    out.extend(i32::try_from(*v).map_err(|_| cannot())?.to_le_bytes());
                }
            }
            out
        }
        _ => return Err(cannot()),
    };
    Tensor::new(to, shape, bytes.into())
}
