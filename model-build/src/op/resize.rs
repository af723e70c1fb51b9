//! `Resize`: interpolation to given sizes or by given scales.

use super::cx::{Cx, Fact};
use super::len::Len;
use crate::error::Result;

/// Opset 10 takes scales as input 1; from 11 on they are input 2, sizes input 3; `axes` and
/// `keep_aspect_ratio_policy` come with 18.
#[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss)] // checked to be small
fn resize(cx: &Cx<'_>) -> Result<Vec<Fact>> {
    let Some(shape) = cx.shape(0) else { return Ok(vec![Fact::new(cx.dtype(0), None)]) };
    let rank = shape.len();
    let blank = || Ok(vec![Fact::new(cx.dtype(0), Some(vec![Len::UNKNOWN; rank]))]);
    let axes = match cx.int_list("axes")? {
        Some(axes) => axes.iter().map(|a| cx.axis(*a, rank)).collect::<Result<Vec<_>>>()?,
        None => (0..rank).collect(),
    };
    if !matches!(cx.str("keep_aspect_ratio_policy")?, None | Some("stretch")) {
        return blank();
    }
    let mut out = shape.to_vec();
    let (scales_at, sizes_at) = if cx.opset() < 11 { (1, usize::MAX) } else { (2, 3) };
    if cx.has(sizes_at) {
        let Some(sizes) = cx.data(sizes_at) else { return blank() };
        if sizes.len() != axes.len() {
            return Err(cx.fail(format!("{} sizes for {} axes", sizes.len(), axes.len())));
        }
        for (axis, size) in axes.iter().zip(sizes) {
            out[*axis] = size.clone();
        }
        return Ok(vec![Fact::new(cx.dtype(0), Some(out))]);
    }
    let Some(scales) = cx.constant(scales_at).filter(|t| t.len() <= 16) else { return blank() };
    let scales = scales.to_f32()?;
    if scales.len() != axes.len() {
        return Err(cx.fail(format!("{} scales for {} axes", scales.len(), axes.len())));
    }
    for (axis, scale) in axes.iter().zip(&scales) {
        let whole = scale.fract() == 0.0 && (1.0..1e6).contains(scale);
        out[*axis] = match out[*axis].as_fixed() {
            Some(n) if (0..1 << 24).contains(&n) && scale.abs() < 1e6 => {
                Len::fixed((n as f32 * scale).floor() as i64)
            }
            _ if whole => out[*axis].mul(&Len::fixed(*scale as i64)),
            _ => Len::UNKNOWN,
        };
    }
    Ok(vec![Fact::new(cx.dtype(0), Some(out))])
}

defs! {
    RESIZE = "Resize", 10, resize;
}
