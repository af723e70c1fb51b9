//! Attributes that became inputs, or whose values changed their names or defaults: `Clip`, `Dropout`,
//! `Gemm`, `GridSample`, `RoiAlign`, `DFT`, `Cast`, scatters.
//!
//! ```text
//! before (opset 11): x, min 0, max 6 ─▶ Clip ─▶ y
//! after  (opset 10): x ─▶ Clip(min = 0, max = 6) ─▶ y
//! ```

use super::site::Site;
use super::{Step, casting, keep};
use crate::error::Result;
use crate::hub::{AttrValue, DType};

fn clip_up(site: &mut Site<'_, '_>) -> Result<()> {
    let bounds = [("min", f32::MIN, 1), ("max", f32::MAX, 2)];
    for (name, open, i) in bounds {
        let value = site.float_or(name, open)?;
        site.unset(name);
        #[allow(clippy::float_cmp)] // the very default
        if value != open {
            let dtype = site.dtype(0)?;
            let value = site.number(dtype, f64::from(value))?;
            site.set_input(i, Some(value));
        }
    }
    site.put();
    Ok(())
}

/// Bounds that are no constants are applied by `Max` and `Min`.
fn clip_down(site: &mut Site<'_, '_>) -> Result<()> {
    let (low, high) = (site.node.input(1), site.node.input(2));
    let known = |site: &Site<'_, '_>, i: usize, there: bool| {
        !there || site.constant(i).is_some_and(|t| t.dtype().is_float() && t.dtype() != DType::F64)
    };
    if known(site, 1, low.is_some()) && known(site, 2, high.is_some()) {
        for (i, name) in [(1, "min"), (2, "max")] {
            if let Some(value) = site.floats(i, name)?.and_then(|v| v.first().copied()) {
                site.set(name, AttrValue::Float(value));
            }
        }
        site.cut_inputs(1);
        site.put();
        return Ok(());
    }
    let x = site.input(0)?;
    match (low, high) {
        (Some(low), Some(high)) => {
            let above = site.op("Max", &[x, low], &[])?;
            site.become_op("Min", &[above, high], &[]);
        }
        (Some(low), None) => site.become_op("Max", &[x, low], &[]),
        (None, Some(high)) => site.become_op("Min", &[x, high], &[]),
        (None, None) => site.become_op("Identity", &[x], &[]),
    }
    Ok(())
}

/// The mask is of the data's type before opset 10, a truth value from it on.
fn mask(site: &mut Site<'_, '_>, to: DType) -> Result<()> {
    let Some(out) = site.node.output(1).filter(|_| site.is_used(1)) else {
        site.node.outputs.truncate(1);
        site.put();
        return Ok(());
    };
    let inner = site.fresh("mask")?;
    site.node.outputs[1] = Some(inner);
    site.put();
    site.op_into(out, "Cast", &[inner], &[casting::to(to)])
}

fn dropout_10_up(site: &mut Site<'_, '_>) -> Result<()> {
    if !site.is_used(1) {
        return Ok(());
    }
    let dtype = site.dtype(0)?;
    mask(site, dtype)
}

fn dropout_10_down(site: &mut Site<'_, '_>) -> Result<()> {
    mask(site, DType::Bool)
}

fn dropout_12_up(site: &mut Site<'_, '_>) -> Result<()> {
    let Some(ratio) = site.node.attr("ratio").and_then(AttrValue::as_float) else {
        return Ok(());
    };
    site.unset("ratio");
    let ratio = site.number(DType::F32, f64::from(ratio))?;
    site.set_input(1, Some(ratio));
    site.put();
    Ok(())
}

/// Outside of training the data passes, and the mask is true everywhere.
fn dropout_12_down(site: &mut Site<'_, '_>) -> Result<()> {
    if site.node.input(2).is_some() {
        let training = site.constant(2).ok_or_else(|| site.not_constant("training_mode"))?;
        if training.bytes()?.iter().any(|b| *b != 0) {
            return Err(site.lacks("`Dropout` has no training mode"));
        }
    }
    if site.is_used(1) {
        let (x, y) = (site.input(0)?, site.node.output(0));
        let bit = site.cast(x, DType::Bool)?;
        let other = site.op("Not", &[bit], &[])?;
        if let Some(y) = y {
            site.op_into(y, "Identity", &[x], &[])?;
        }
        site.node.outputs.remove(0);
        site.become_op("Or", &[bit, other], &[]);
        return Ok(());
    }
    site.node.outputs.truncate(1);
    if let Some(ratio) = site.constant(1).and_then(|t| t.to_f32().ok()?.first().copied()) {
        site.set("ratio", AttrValue::Float(ratio));
    }
    site.unset("seed");
    site.cut_inputs(1);
    site.put();
    Ok(())
}

fn gemm_down(site: &mut Site<'_, '_>) -> Result<()> {
    if site.node.input(2).is_none() {
        let dtype = site.dtype(0)?;
        let zero = site.number(dtype, 0.0)?;
        site.set_input(2, Some(zero));
        site.put();
    }
    Ok(())
}

fn string(value: &str) -> AttrValue {
    AttrValue::String(value.to_owned().into())
}

const SAMPLES: [(&str, &str); 2] = [("bilinear", "linear"), ("bicubic", "cubic")];

fn grid_up(site: &mut Site<'_, '_>) -> Result<()> {
    let mode = site.str_or("mode", "bilinear")?;
    if let Some((_, new)) = SAMPLES.iter().find(|(old, _)| *old == mode) {
        site.set("mode", string(new));
        site.put();
    }
    Ok(())
}

fn grid_down(site: &mut Site<'_, '_>) -> Result<()> {
    if site.rank(0)? != 4 {
        return Err(site.lacks("`GridSample` takes images only"));
    }
    let mode = site.str_or("mode", "linear")?;
    if let Some((old, _)) = SAMPLES.iter().find(|(_, new)| *new == mode) {
        site.set("mode", string(old));
        site.put();
    }
    Ok(())
}

fn roi_align_up(site: &mut Site<'_, '_>) -> Result<()> {
    site.set("coordinate_transformation_mode", string("output_half_pixel"));
    site.put();
    Ok(())
}

fn roi_align_down(site: &mut Site<'_, '_>) -> Result<()> {
    if site.str_or("coordinate_transformation_mode", "half_pixel")? != "output_half_pixel" {
        return Err(site.lacks("`RoiAlign` has no half_pixel coordinates"));
    }
    site.unset("coordinate_transformation_mode");
    site.put();
    Ok(())
}

fn dft_up(site: &mut Site<'_, '_>) -> Result<()> {
    let axis = site.int_or("axis", 1)?;
    site.unset("axis");
    let axis = site.int_scalar(axis)?;
    site.set_input(2, Some(axis));
    site.put();
    Ok(())
}

fn dft_down(site: &mut Site<'_, '_>) -> Result<()> {
    let axis = site.ints(2, "axis")?.and_then(|v| v.first().copied()).unwrap_or(-2);
    let axis = if axis < 0 { axis + site.signed_rank(0)? } else { axis };
    site.set("axis", AttrValue::Int(axis));
    site.cut_inputs(2);
    site.put();
    Ok(())
}

/// Only 8-bit floats saturate, which older sets do not have.
fn cast_down(site: &mut Site<'_, '_>) -> Result<()> {
    site.unset("saturate");
    site.put();
    Ok(())
}

fn scatter_18_down(site: &mut Site<'_, '_>) -> Result<()> {
    let reduction = site.str_or("reduction", "none")?;
    if ["max", "min"].contains(&reduction.as_str()) {
        let op = site.node.op.clone();
        return Err(site.lacks(format!("`{op}` has no reduction `{reduction}`")));
    }
    Ok(())
}

pub(super) static STEPS: &[Step] = &[
    Step { op: "Cast", version: 19, up: keep, down: cast_down },
    Step { op: "Clip", version: 11, up: clip_up, down: clip_down },
    Step { op: "DFT", version: 20, up: dft_up, down: dft_down },
    Step { op: "Dropout", version: 10, up: dropout_10_up, down: dropout_10_down },
    Step { op: "Dropout", version: 12, up: dropout_12_up, down: dropout_12_down },
    Step { op: "Gemm", version: 11, up: keep, down: gemm_down },
    Step { op: "GridSample", version: 20, up: grid_up, down: grid_down },
    Step { op: "RoiAlign", version: 16, up: roi_align_up, down: roi_align_down },
    Step { op: "ScatterElements", version: 18, up: keep, down: scatter_18_down },
    Step { op: "ScatterND", version: 18, up: keep, down: scatter_18_down },
];
