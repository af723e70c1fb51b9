//! Normalizations: made of means where they do not exist, and what their definitions changed.
//!
//! ```text
//! before (opset 17): x ─▶ LayerNormalization ─▶ y
//! after  (opset 16): x ─▶ ReduceMean ─▶ Sub ─▶ Mul ─▶ ReduceMean ─▶ Add (ε) ─▶ Sqrt ─▶ Reciprocal
//!                    … ─▶ Mul ─▶ Mul (scale) ─▶ Add (bias) ─▶ y
//! ```

use super::site::Site;
use super::{Step, keep};
use crate::error::Result;
use crate::hub::{AttrValue, DType, ValueId};

/// The axes from `axis` to the last, counted from the end where the rank is not known.
fn trailing(site: &Site<'_, '_>) -> Result<Vec<i64>> {
    let axis = site.int_or("axis", -1)?;
    match site.signed_rank(0) {
        Ok(rank) => Ok((if axis < 0 { axis + rank } else { axis }..rank).collect()),
        Err(_) if axis < 0 => Ok((axis..0).collect()),
        Err(e) => Err(e),
    }
}

/// The type that means are computed in.
fn stash(site: &Site<'_, '_>) -> Result<(DType, DType)> {
    let dtype = site.dtype(0)?;
    let stash = DType::of_number(site.int_or("stash_type", 1)?);
    let stash = stash.ok_or_else(|| site.unknown("`stash_type`"))?;
    Ok((dtype, if dtype == DType::F64 { DType::F64 } else { stash }))
}

fn cast_if(site: &mut Site<'_, '_>, x: ValueId, from: DType, to: DType) -> Result<ValueId> {
    if from == to { Ok(x) } else { site.cast(x, to) }
}

/// `1 / √(mean(x²) + ε)` along axes.
fn inverse_deviation(
    site: &mut Site<'_, '_>,
    x: ValueId,
    axes: &[i64],
    dtype: DType,
) -> Result<ValueId> {
    let epsilon = site.float_or("epsilon", 1e-5)?;
    let epsilon = site.number(dtype, f64::from(epsilon))?;
    let square = site.op("Mul", &[x, x], &[])?;
    let variance = site.reduce("ReduceMean", square, Some(axes), true)?;
    let variance = site.op("Add", &[variance, epsilon], &[])?;
    let deviation = site.op("Sqrt", &[variance], &[])?;
    site.op("Reciprocal", &[deviation], &[])
}

fn layer_norm(site: &mut Site<'_, '_>) -> Result<()> {
    let (dtype, stash) = stash(site)?;
    let axes = trailing(site)?;
    let x = site.input(0)?;
    let x = cast_if(site, x, dtype, stash)?;
    let mean = site.reduce("ReduceMean", x, Some(&axes), true)?;
    let centred = site.op("Sub", &[x, mean], &[])?;
    let inverse = inverse_deviation(site, centred, &axes, stash)?;
    let normal = site.op("Mul", &[centred, inverse], &[])?;
    let normal = cast_if(site, normal, stash, dtype)?;
    for (i, value) in [(1, mean), (2, inverse)] {
        if let Some(out) = site.node.output(i) {
            site.op_into(out, "Identity", &[value], &[])?;
        }
    }
    scaled(site, normal)
}

/// The node becomes the product of a value and input 1, plus input 2 if there is one.
fn scaled(site: &mut Site<'_, '_>, normal: ValueId) -> Result<()> {
    let (scale, bias) = (site.input(1)?, site.node.input(2));
    let Some(bias) = bias else {
        site.become_single("Mul", &[normal, scale], &[]);
        return Ok(());
    };
    let product = site.op("Mul", &[normal, scale], &[])?;
    site.become_single("Add", &[product, bias], &[]);
    Ok(())
}

fn rms_norm(site: &mut Site<'_, '_>) -> Result<()> {
    let (dtype, stash) = stash(site)?;
    let axes = trailing(site)?;
    let x = site.input(0)?;
    let x = cast_if(site, x, dtype, stash)?;
    let inverse = inverse_deviation(site, x, &axes, stash)?;
    let normal = site.op("Mul", &[x, inverse], &[])?;
    let normal = cast_if(site, normal, stash, dtype)?;
    scaled(site, normal)
}

/// `x [n, c, …]` as `[n, groups, -1]`, normalized along the last axis.
fn grouped(site: &mut Site<'_, '_>, stash: DType) -> Result<ValueId> {
    let (x, dtype) = (site.input(0)?, site.dtype(0)?);
    let groups = site.int_or("num_groups", 1)?;
    let shape = site.list(&[0, groups, -1])?;
    let x = cast_if(site, x, dtype, stash)?;
    let x = site.op("Reshape", &[x, shape], &[])?;
    let mean = site.reduce("ReduceMean", x, Some(&[2]), true)?;
    let centred = site.op("Sub", &[x, mean], &[])?;
    let inverse = inverse_deviation(site, centred, &[2], stash)?;
    let normal = site.op("Mul", &[centred, inverse], &[])?;
    cast_if(site, normal, stash, dtype)
}

/// With a scale for every channel (opset 21).
fn group_norm_channels(site: &mut Site<'_, '_>) -> Result<()> {
    let (_, stash) = stash(site)?;
    let (x, rank) = (site.input(0)?, site.signed_rank(0)?);
    let normal = grouped(site, stash)?;
    let shape = site.op("Shape", &[x], &[])?;
    let normal = site.op("Reshape", &[normal, shape], &[])?;
    let axes: Vec<i64> = (1..rank - 1).collect();
    for i in [1, 2] {
        let per_channel = site.input(i)?;
        let wide = if axes.is_empty() {
            per_channel
        } else {
            site.with_axes("Unsqueeze", per_channel, &axes)?
        };
        site.set_input(i, Some(wide));
    }
    scaled(site, normal)
}

/// With a scale for every group (opset 18).
fn group_norm_groups(site: &mut Site<'_, '_>) -> Result<()> {
    let dtype = site.dtype(0)?;
    let stash = if dtype == DType::F64 { DType::F64 } else { DType::F32 };
    let x = site.input(0)?;
    let normal = grouped(site, stash)?;
    let (scale, bias) = (site.input(1)?, site.input(2)?);
    let scale = site.with_axes("Unsqueeze", scale, &[1])?;
    let bias = site.with_axes("Unsqueeze", bias, &[1])?;
    let product = site.op("Mul", &[normal, scale], &[])?;
    let sum = site.op("Add", &[product, bias], &[])?;
    let shape = site.op("Shape", &[x], &[])?;
    site.become_op("Reshape", &[sum, shape], &[]);
    Ok(())
}

/// The scale of a group becomes that of each of its channels.
fn group_norm_up(site: &mut Site<'_, '_>) -> Result<()> {
    let x = site.input(0)?;
    let groups = site.int_or("num_groups", 1)?;
    let count = site.list(&[groups])?;
    let channels = site.length(x, 1)?;
    let each = site.op("Div", &[channels, count], &[])?;
    let target = site.op("Concat", &[count, each], &[("axis", AttrValue::Int(0))])?;
    let flat = site.list(&[-1])?;
    for i in [1, 2] {
        let value = site.input(i)?;
        let value = site.with_axes("Unsqueeze", value, &[1])?;
        let value = site.op("Expand", &[value, target], &[])?;
        let value = site.op("Reshape", &[value, flat], &[])?;
        site.set_input(i, Some(value));
    }
    site.put();
    Ok(())
}

/// `(x - mean) / (√(mean(x²) - mean²) + 10⁻⁹)`, as ONNX defines it.
fn mean_variance(site: &mut Site<'_, '_>) -> Result<()> {
    let (x, dtype) = (site.input(0)?, site.dtype(0)?);
    let axes = site.int_list("axes")?.unwrap_or_else(|| vec![0, 2, 3]);
    let mean = site.reduce("ReduceMean", x, Some(&axes), true)?;
    let square = site.op("Mul", &[x, x], &[])?;
    let mean_square = site.reduce("ReduceMean", square, Some(&axes), true)?;
    let square_mean = site.op("Mul", &[mean, mean], &[])?;
    let variance = site.op("Sub", &[mean_square, square_mean], &[])?;
    let deviation = site.op("Sqrt", &[variance], &[])?;
    let least = site.number(dtype, 1e-9)?;
    let divisor = site.op("Add", &[deviation, least], &[])?;
    let centred = site.op("Sub", &[x, mean], &[])?;
    site.become_op("Div", &[centred, divisor], &[]);
    Ok(())
}

fn batch_9_up(site: &mut Site<'_, '_>) -> Result<()> {
    if site.int_or("spatial", 1)? == 0 {
        return Err(site.lacks("`BatchNormalization` is always spatial"));
    }
    site.unset("spatial");
    site.put();
    Ok(())
}

fn one_output(site: &mut Site<'_, '_>) -> Result<()> {
    if (1..site.node.outputs.len()).any(|i| site.is_used(i)) {
        return Err(site.lacks("`BatchNormalization` is there for inference only"));
    }
    site.node.outputs.truncate(1);
    site.put();
    Ok(())
}

fn batch_14_up(site: &mut Site<'_, '_>) -> Result<()> {
    one_output(site)
}

fn batch_14_down(site: &mut Site<'_, '_>) -> Result<()> {
    if site.int_or("training_mode", 0)? != 0 {
        return Err(site.lacks("`BatchNormalization` has no training mode"));
    }
    site.unset("training_mode");
    one_output(site)
}

pub(super) static STEPS: &[Step] = &[
    Step { op: "BatchNormalization", version: 9, up: batch_9_up, down: keep },
    Step { op: "BatchNormalization", version: 14, up: batch_14_up, down: batch_14_down },
    Step { op: "GroupNormalization", version: 18, up: keep, down: group_norm_groups },
    Step { op: "GroupNormalization", version: 21, up: group_norm_up, down: group_norm_channels },
    Step { op: "LayerNormalization", version: 17, up: keep, down: layer_norm },
    Step { op: "MeanVarianceNormalization", version: 9, up: keep, down: mean_variance },
    Step { op: "RMSNormalization", version: 23, up: keep, down: rms_norm },
];
