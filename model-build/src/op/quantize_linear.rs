//! `QuantizeLinear`, `DequantizeLinear`, `DynamicQuantizeLinear`.

use super::cx::{Cx, Fact};
use crate::error::Result;
use crate::hub::DType;

/// The type of the zero point, of `output_dtype` (opset 21), else u8.
fn quantize(cx: &Cx<'_>) -> Result<Vec<Fact>> {
    let dtype = if cx.has(2) {
        cx.dtype(2)
    } else {
        match cx.int_or("output_dtype", 0)? {
            0 => Some(DType::U8),
            _ => cx.dtype_attr("output_dtype")?,
        }
    };
    Ok(vec![Fact::new(dtype, cx.shape(0).map(<[_]>::to_vec))])
}

/// The type of the scale, or of `output_dtype` (opset 23).
fn dequantize(cx: &Cx<'_>) -> Result<Vec<Fact>> {
    let dtype = match cx.int_or("output_dtype", 0)? {
        0 => cx.dtype(1),
        _ => cx.dtype_attr("output_dtype")?,
    };
    Ok(vec![Fact::new(dtype, cx.shape(0).map(<[_]>::to_vec))])
}

/// u8 values, a scale and a zero point.
fn dynamic(cx: &Cx<'_>) -> Result<Vec<Fact>> {
    Ok(vec![
        Fact::new(Some(DType::U8), cx.shape(0).map(<[_]>::to_vec)),
        Fact::new(Some(DType::F32), Some(Vec::new())),
        Fact::new(Some(DType::U8), Some(Vec::new())),
    ])
}

defs! {
    DEQUANTIZE_LINEAR = "DequantizeLinear", 10, dequantize;
    DYNAMIC_QUANTIZE_LINEAR = "DynamicQuantizeLinear", 11, dynamic;
    QUANTIZE_LINEAR = "QuantizeLinear", 10, quantize;
}
