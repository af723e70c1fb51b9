//! Reductions over axes: `ReduceSum` and its like, `ArgMax`, `ArgMin`, `TopK`.

use super::cx::{Cx, Fact};
use super::len::Len;
use crate::error::Result;
use crate::hub::DType;

fn reduced(cx: &Cx<'_>, axes: Option<Option<Vec<i64>>>) -> Result<Option<Vec<Len>>> {
    let Some(shape) = cx.shape(0) else { return Ok(None) };
    let keep = cx.int_or("keepdims", 1)? != 0;
    let axes = match axes {
        Some(Some(axes)) if !axes.is_empty() => cx.axes(&axes, shape.len())?,
        Some(None) => return Ok(keep.then(|| vec![Len::UNKNOWN; shape.len()])),
        // Without axes all are reduced, or none where the node says so.
        _ if cx.int_or("noop_with_empty_axes", 0)? != 0 => return Ok(Some(shape.to_vec())),
        _ => (0..shape.len()).collect(),
    };
    Ok(Some(
        shape
            .iter()
            .enumerate()
            .filter_map(|(i, d)| match (axes.contains(&i), keep) {
                (false, _) => Some(d.clone()),
                (true, true) => Some(Len::fixed(1)),
                (true, false) => None,
            })
            .collect(),
    ))
}

/// Axes are an attribute before opset 18 and an input from it on.
fn reduce(cx: &Cx<'_>) -> Result<Vec<Fact>> {
    let axes = cx.axes_arg(1, 18)?;
    let shape = reduced(cx, axes)?;
    // The product of a shape is what exporters flatten with.
    let all = shape.as_ref().is_some_and(|s| s.iter().all(|d| d.is(1)));
    let data =
        cx.data(0).filter(|_| all && cx.node().op == "ReduceProd").map(|d| vec![Len::product(d)]);
    Ok(vec![Fact { dtype: cx.dtype(0), shape, data }])
}

/// `ReduceSum` takes its axes as an input from opset 13 on.
fn reduce_sum(cx: &Cx<'_>) -> Result<Vec<Fact>> {
    let axes = cx.axes_arg(1, 13)?;
    Ok(vec![Fact::new(cx.dtype(0), reduced(cx, axes)?)])
}

/// `ArgMax`, `ArgMin`: one axis, indices.
fn arg(cx: &Cx<'_>) -> Result<Vec<Fact>> {
    let axes = vec![cx.int_or("axis", 0)?];
    Ok(vec![Fact::new(Some(DType::I64), reduced(cx, Some(Some(axes)))?)])
}

/// `k` elements of an axis and their indices; `k` is an attribute before opset 10.
fn top_k(cx: &Cx<'_>) -> Result<Vec<Fact>> {
    let shape = match cx.shape(0) {
        Some(shape) => {
            let axis = cx.axis(cx.int_or("axis", -1)?, shape.len())?;
            let k = if cx.opset() < 10 {
                cx.int("k")?.map_or(Len::UNKNOWN, Len::fixed)
            } else {
                cx.data(1).and_then(|d| d.first()).cloned().unwrap_or(Len::UNKNOWN)
            };
            if let (Some(k), Some(n)) = (k.as_fixed(), shape[axis].as_fixed())
                && (k < 0 || k > n)
            {
                return Err(cx.fail(format!(
                    "the top {k} of axis {axis} of shape {}",
                    cx.fact(0).shape_text()
                )));
            }
            let mut out = shape.to_vec();
            out[axis] = k;
            Some(out)
        }
        None => None,
    };
    Ok(vec![Fact::new(cx.dtype(0), shape.clone()), Fact::new(Some(DType::I64), shape)])
}

defs! {
    ARG_MAX = "ArgMax", 1, arg;
    ARG_MIN = "ArgMin", 1, arg;
    REDUCE_L1 = "ReduceL1", 1, reduce;
    REDUCE_L2 = "ReduceL2", 1, reduce;
    REDUCE_LOG_SUM = "ReduceLogSum", 1, reduce;
    REDUCE_LOG_SUM_EXP = "ReduceLogSumExp", 1, reduce;
    REDUCE_MAX = "ReduceMax", 1, reduce;
    REDUCE_MEAN = "ReduceMean", 1, reduce;
    REDUCE_MIN = "ReduceMin", 1, reduce;
    REDUCE_PROD = "ReduceProd", 1, reduce;
    REDUCE_SUM = "ReduceSum", 1, reduce_sum;
    REDUCE_SUM_SQUARE = "ReduceSumSquare", 1, reduce;
    TOP_K = "TopK", 1, top_k;
}
