//! Picking elements: `TopK`, `ArgMax`, `ArgMin`, `OneHot`, `Scatter`, `Trilu`.
//!
//! ```text
//! before (opset 14): x [n, n] ─▶ Trilu(upper = 0) ─▶ y
//! after  (opset 13): positions ─▶ LessOrEqual ─▶ Where (x, 0) ─▶ y
//! ```

use super::site::Site;
use super::{Refusal, Step, casting, keep};
use crate::error::Result;
use crate::hub::{AttrValue, DType, Tensor, ValueId};

fn top_k_10_up(site: &mut Site<'_, '_>) -> Result<()> {
    let k = site.int_or("k", 1)?;
    site.unset("k");
    let k = site.list(&[k])?;
    site.set_input(1, Some(k));
    site.put();
    Ok(())
}

fn top_k_10_down(site: &mut Site<'_, '_>) -> Result<()> {
    let k = site.ints(1, "K")?.and_then(|v| v.first().copied());
    let k = k.ok_or_else(|| site.not_constant("K"))?;
    site.set("k", AttrValue::Int(k));
    site.cut_inputs(1);
    site.put();
    Ok(())
}

/// The least are the greatest of the opposite numbers.
fn top_k_11_down(site: &mut Site<'_, '_>) -> Result<()> {
    let largest = site.int_or("largest", 1)? != 0;
    site.unset("largest");
    site.unset("sorted");
    if largest {
        site.put();
        return Ok(());
    }
    if !site.dtype(0)?.is_float() {
        return Err(site.refuse(Refusal::ElementType, "`TopK` takes floats only"));
    }
    let x = site.input(0)?;
    let opposite = site.op("Neg", &[x], &[])?;
    site.set_input(0, Some(opposite));
    if let Some(out) = site.node.output(0) {
        let inner = site.fresh("opposite")?;
        site.node.outputs[0] = Some(inner);
        site.put();
        site.op_into(out, "Neg", &[inner], &[])?;
    }
    site.put();
    Ok(())
}

/// The last of equals is the first of them from the other end.
fn arg_12_down(site: &mut Site<'_, '_>) -> Result<()> {
    let last = site.int_or("select_last_index", 0)? != 0;
    site.unset("select_last_index");
    if !last {
        site.put();
        return Ok(());
    }
    let (op, x, axis) = (site.node.op.clone(), site.input(0)?, site.int_or("axis", 0)?);
    let keep = site.int_or("keepdims", 1)?;
    let axis = if axis < 0 { axis + site.signed_rank(0)? } else { axis };
    let inputs =
        [x, site.list(&[-1])?, site.list(&[i64::MIN + 1])?, site.list(&[axis])?, site.list(&[-1])?];
    let turned = site.op("Slice", &inputs, &[])?;
    let attrs = [("axis", AttrValue::Int(axis)), ("keepdims", AttrValue::Int(keep))];
    let from_end = site.op(&op, &[turned], &attrs)?;
    let count = site.length(x, axis)?;
    let count = site.with_axes("Squeeze", count, &[0])?;
    let one = site.int_scalar(1)?;
    let most = site.op("Sub", &[count, one], &[])?;
    site.become_op("Sub", &[most, from_end], &[]);
    Ok(())
}

fn scatter_up(site: &mut Site<'_, '_>) -> Result<()> {
    "ScatterElements".clone_into(&mut site.node.op);
    site.put();
    Ok(())
}

fn scatter_down(site: &mut Site<'_, '_>) -> Result<()> {
    super::axis::wrap_indices(site, 1)?;
    "Scatter".clone_into(&mut site.node.op);
    site.put();
    Ok(())
}

/// Compares every index with every position, then picks off or on.
fn one_hot_down(site: &mut Site<'_, '_>) -> Result<()> {
    let depth = match site.constant(1) {
        Some(t) if t.dtype().is_float() => t.to_f32()?.first().map(|d| f64::from(*d)),
        #[allow(clippy::cast_precision_loss)] // a depth of 2^53 fits no memory
        Some(t) => t.to_i64()?.first().map(|d| *d as f64),
        None => None,
    };
    let depth = depth.ok_or_else(|| site.not_constant("depth"))?;
    #[allow(clippy::cast_possible_truncation)]
    let depth = depth as i64;
    if !(0..=1 << 20).contains(&depth) {
        return Err(site.lacks("`OneHot` of a large depth"));
    }
    let rank = site.signed_rank(0)?;
    let axis = site.int_or("axis", -1)?;
    let axis = if axis < 0 { axis + rank + 1 } else { axis };
    let (indices, values) = (site.input(0)?, site.input(2)?);
    let indices = site.cast(indices, DType::I64)?;
    let indices = site.with_axes("Unsqueeze", indices, &[axis])?;
    let positions: Vec<i64> = (0..depth).collect();
    let mut dims = vec![1; usize::try_from(rank - axis + 1).unwrap_or(1)];
    if let Some(first) = dims.first_mut() {
        *first = u64::try_from(depth).unwrap_or(0);
    }
    let positions = site.tensor(Tensor::from_i64(dims, &positions)?)?;
    let hot = site.op("Equal", &[indices, positions], &[])?;
    let hot = site.cast(hot, DType::I64)?;
    site.become_op("Gather", &[values, hot], &[("axis", AttrValue::Int(0))]);
    Ok(())
}

fn positions(site: &mut Site<'_, '_>, x: ValueId, axis: i64) -> Result<ValueId> {
    let rank = site.signed_rank(0)?;
    let count = site.length(x, rank + axis)?;
    let count = site.with_axes("Squeeze", count, &[0])?;
    let (zero, one) = (site.int_scalar(0)?, site.int_scalar(1)?);
    site.op("Range", &[zero, count, one], &[])
}

/// Columns from the row's own on (plus `k`) are above, those up to it below.
fn trilu_down(site: &mut Site<'_, '_>) -> Result<()> {
    let (x, dtype) = (site.input(0)?, site.dtype(0)?);
    let zero = casting::number(dtype, Vec::new(), &[0.0])
        .ok_or_else(|| site.refuse(Refusal::ElementType, format!("zeros of {dtype}")))?;
    let upper = site.int_or("upper", 1)? != 0;
    let (rows, columns) = (positions(site, x, -2)?, positions(site, x, -1)?);
    let mut rows = site.with_axes("Unsqueeze", rows, &[1])?;
    if let Some(k) = site.node.input(1) {
        rows = site.op("Add", &[rows, k], &[])?;
    }
    let op = if upper { "GreaterOrEqual" } else { "LessOrEqual" };
    let kept = site.op(op, &[columns, rows], &[])?;
    let zero = site.tensor(zero)?;
    site.become_op("Where", &[kept, x, zero], &[]);
    Ok(())
}

pub(super) static STEPS: &[Step] = &[
    Step { op: "ArgMax", version: 12, up: keep, down: arg_12_down },
    Step { op: "ArgMin", version: 12, up: keep, down: arg_12_down },
    Step { op: "OneHot", version: 9, up: keep, down: one_hot_down },
    Step { op: "Scatter", version: 11, up: scatter_up, down: keep },
    Step { op: "ScatterElements", version: 11, up: keep, down: scatter_down },
    Step { op: "TopK", version: 10, up: top_k_10_up, down: top_k_10_down },
    Step { op: "TopK", version: 11, up: keep, down: top_k_11_down },
    Step { op: "Trilu", version: 14, up: keep, down: trilu_down },
];
