//! Axes and indices that count from the end, which definitions before opset 11 do not take.
//!
//! ```text
//! before (opset 11): x [n, 4] ─▶ Concat(axis = -1) ─▶ y
//! after  (opset 10): x [n, 4] ─▶ Concat(axis = 1) ─▶ y
//! ```

use super::site::Site;
use super::{Step, keep};
use crate::error::Result;
use crate::hub::{AttrValue, DType, Tensor, Type, ValueId};

fn from_start(axis: i64, rank: i64) -> i64 {
    if axis < 0 { axis.saturating_add(rank) } else { axis }
}

/// The attribute `axis` of input 0.
fn axis(site: &mut Site<'_, '_>) -> Result<()> {
    let Some(axis) = site.int("axis")?.filter(|a| *a < 0) else { return Ok(()) };
    let rank = site.signed_rank(0)?;
    site.set("axis", AttrValue::Int(from_start(axis, rank)));
    site.put();
    Ok(())
}

/// The attribute `axes`; `extra` is how many axes the tensor they count in has besides input 0's.
fn axes_of(site: &mut Site<'_, '_>, extra: fn(&[i64]) -> usize) -> Result<()> {
    let Some(axes) = site.int_list("axes")?.filter(|a| a.iter().any(|a| *a < 0)) else {
        return Ok(());
    };
    let more = i64::try_from(extra(&axes)).unwrap_or(0);
    let rank = site.signed_rank(0)?.saturating_add(more);
    let mut axes: Vec<i64> = axes.into_iter().map(|a| from_start(a, rank)).collect();
    axes.sort_unstable();
    site.set("axes", AttrValue::Ints(axes));
    site.put();
    Ok(())
}

fn axes(site: &mut Site<'_, '_>) -> Result<()> {
    axes_of(site, |_| 0)
}

fn unsqueeze(site: &mut Site<'_, '_>) -> Result<()> {
    axes_of(site, <[i64]>::len)
}

fn slice(site: &mut Site<'_, '_>) -> Result<()> {
    let Some(axes) = site.ints(3, "axes")?.filter(|a| a.iter().any(|a| *a < 0)) else {
        return Ok(());
    };
    let rank = site.signed_rank(0)?;
    let axes: Vec<i64> = axes.into_iter().map(|a| from_start(a, rank)).collect();
    let starts = site.node.input(1).and_then(|v| site.ty_of(v)).and_then(Type::as_tensor);
    let axes = match starts {
        Some((DType::I32, _)) => {
            let bytes: Vec<u8> = axes
                .iter()
                .flat_map(|a| i32::try_from(*a).unwrap_or(i32::MAX).to_le_bytes())
                .collect();
            site.tensor(Tensor::new(DType::I32, vec![axes.len() as u64], bytes.into())?)?
        }
        _ => site.list(&axes)?,
    };
    site.set_input(3, Some(axes));
    site.put();
    Ok(())
}

/// Indices `i` of input `at` below zero become `i + n`: `t = (i + n) / n` is 0 for them and 1 for the
/// others, and `i + n - n * t` is what is wanted, in integers that every opset computes with.
pub(super) fn wrap_indices(site: &mut Site<'_, '_>, at: usize) -> Result<()> {
    axis(site)?;
    if let Some(constant) = site.constant(at)
        && constant.to_i64()?.iter().all(|i| *i >= 0)
    {
        return Ok(());
    }
    let axis = site.int_or("axis", 0)?;
    let (data, indices) = (site.input(0)?, site.input(at)?);
    let dtype = site.try_dtype(at).unwrap_or(DType::I64);
    let fixed = usize::try_from(axis).ok().and_then(|a| site.try_shape(0)?.get(a)?.fixed());
    let n = match fixed {
        #[allow(clippy::cast_precision_loss)] // an axis of 2^53 elements is no tensor's
        Some(n) => site.number(dtype, n as f64)?,
        None => {
            let n = site.length(data, axis)?;
            let n = site.with_axes("Squeeze", n, &[0])?;
            if dtype == DType::I64 { n } else { site.cast(n, dtype)? }
        }
    };
    let sum = site.op("Add", &[indices, n], &[])?;
    let t = site.op("Div", &[sum, n], &[])?;
    let over = site.op("Mul", &[t, n], &[])?;
    let wrapped = site.op("Sub", &[sum, over], &[])?;
    site.set_input(at, Some(wrapped));
    site.put();
    Ok(())
}

fn gather(site: &mut Site<'_, '_>) -> Result<()> {
    wrap_indices(site, 1)
}

/// A depth may come as a list of one.
fn flat_scalar(site: &mut Site<'_, '_>, value: ValueId) -> Result<ValueId> {
    let shape = site.list(&[])?;
    site.op("Reshape", &[value, shape], &[])
}

/// Indices from the end count as such only from opset 11 on; before, they select nothing.
fn one_hot(site: &mut Site<'_, '_>) -> Result<()> {
    if let Some(a) = site.int("axis")?.filter(|a| *a < -1) {
        let rank = site.signed_rank(0)?;
        site.set("axis", AttrValue::Int(from_start(a, rank.saturating_add(1))));
        site.put();
    }
    if let Some(constant) = site.constant(0)
        && constant.to_i64().is_ok_and(|v| v.iter().all(|i| *i >= 0))
    {
        return Ok(());
    }
    let dtype = site.dtype(0)?;
    if matches!(dtype, DType::U8 | DType::U16 | DType::U32 | DType::U64) {
        return Ok(());
    }
    let (indices, depth) = (site.input(0)?, site.input(1)?);
    let zero = site.number(dtype, 0.0)?;
    let negative = site.op("Less", &[indices, zero], &[])?;
    let depth = site.cast(depth, dtype)?;
    let depth = flat_scalar(site, depth)?;
    let wrapped = site.op("Add", &[indices, depth], &[])?;
    // What is below the first position even so is past the last one, as before opset 11.
    let outside = site.op("Less", &[wrapped, zero], &[])?;
    let wrapped = site.op("Where", &[outside, depth, wrapped], &[])?;
    let wrapped = site.op("Where", &[negative, wrapped, indices], &[])?;
    site.set_input(0, Some(wrapped));
    site.put();
    Ok(())
}

const fn at_11(op: &'static str, down: super::Adapt) -> Step {
    Step { op, version: 11, up: keep, down }
}

pub(super) static STEPS: &[Step] = &[
    at_11("ArgMax", axis),
    at_11("ArgMin", axis),
    at_11("Compress", axis),
    at_11("Concat", axis),
    at_11("Flatten", axis),
    at_11("Gather", gather),
    at_11("Hardmax", axis),
    at_11("LogSoftmax", axis),
    at_11("OneHot", one_hot),
    at_11("ReduceL1", axes),
    at_11("ReduceL2", axes),
    at_11("ReduceLogSum", axes),
    at_11("ReduceLogSumExp", axes),
    at_11("ReduceMax", axes),
    at_11("ReduceMean", axes),
    at_11("ReduceMin", axes),
    at_11("ReduceProd", axes),
    at_11("ReduceSum", axes),
    at_11("ReduceSumSquare", axes),
    at_11("Slice", slice),
    at_11("Softmax", axis),
    at_11("Split", axis),
    at_11("Squeeze", axes),
    at_11("Unsqueeze", unsqueeze),
];
