//! Ops with statistics or masks beside their main output: `BatchNormalization`,
//! `LayerNormalization`, `Dropout`.

use super::cx::{Cx, Fact};
use super::len::Len;
use crate::error::Result;
use crate::hub::DType;

/// The output is like the input; mean and inverse deviation keep the axes before `axis`.
fn layer_normalization(cx: &Cx<'_>) -> Result<Vec<Fact>> {
    let shape = cx.shape(0).map(<[_]>::to_vec);
    let stats = match &shape {
        Some(dims) => {
            let axis = cx.axis(cx.int_or("axis", -1)?, dims.len())?;
            let mut out = dims.clone();
            out[axis..].fill(Len::fixed(1));
            Some(out)
        }
        None => None,
    };
    let wide = match cx.int_or("stash_type", 1)? {
        1 => Some(DType::F32),
        _ => cx.dtype_attr("stash_type")?,
    };
    Ok(vec![Fact::new(cx.dtype(0), shape), Fact::new(wide, stats.clone()), Fact::new(wide, stats)])
}

/// The output is like the input; running statistics have one element per channel.
fn batch_normalization(cx: &Cx<'_>) -> Result<Vec<Fact>> {
    let channels = cx.shape(0).and_then(|s| s.get(1)).cloned().unwrap_or(Len::UNKNOWN);
    let stats = Fact::new(cx.dtype(3).or(cx.dtype(0)), Some(vec![channels]));
    let mut out = vec![Fact::new(cx.dtype(0), cx.shape(0).map(<[_]>::to_vec))];
    out.resize(cx.output_count().max(1), stats);
    Ok(out)
}

/// The output is like the input; the mask is boolean from opset 10 on.
fn dropout(cx: &Cx<'_>) -> Result<Vec<Fact>> {
    let shape = cx.shape(0).map(<[_]>::to_vec);
    let mask = if cx.opset() < 10 { cx.dtype(0) } else { Some(DType::Bool) };
    Ok(vec![Fact::new(cx.dtype(0), shape.clone()), Fact::new(mask, shape)])
}

defs! {
    BATCH_NORMALIZATION = "BatchNormalization", 1, batch_normalization;
    DROPOUT = "Dropout", 1, dropout;
    LAYER_NORMALIZATION = "LayerNormalization", 17, layer_normalization;
}
