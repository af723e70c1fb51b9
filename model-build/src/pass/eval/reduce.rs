//! Kernels over axes: reductions of integers, extremes, indices, running sums.

use super::Args;
use super::array::{Element, bools, lengths, strides, tensor, values};
use super::numeric::by_type;
use crate::hub::{DType, Tensor};

/// The axes to reduce and the shape that is left, with the reduced ones as 1.
fn axes(args: &Args<'_>, since: i64) -> Option<(Vec<usize>, Vec<u64>)> {
    let shape = args.input(0)?.shape();
    let given = args.list("axes", 1, since)?.filter(|a| !a.is_empty());
    let axes: Vec<usize> = match given {
        Some(axes) => axes.iter().map(|a| args.axis(*a, shape.len())).collect::<Option<_>>()?,
        None if args.int("noop_with_empty_axes", 0)? != 0 => return None,
        None => (0..shape.len()).collect(),
    };
    let mut left = shape.to_vec();
    axes.iter().for_each(|i| left[*i] = 1);
    Some((axes, left))
}

/// For each element of a tensor of `shape` the number of the element of `left` that it goes to.
fn targets(shape: &[u64], left: &[u64]) -> Option<super::array::Walk> {
    let mut steps = strides(&lengths(left)?);
    for (step, length) in steps.iter_mut().zip(left) {
        if *length == 1 {
            *step = 0;
        }
    }
    Some(super::array::Walk::new(lengths(shape)?, steps, 0))
}

/// The shape without the reduced axes, if they are not kept.
fn kept(args: &Args<'_>, axes: &[usize], left: &[u64]) -> Option<Vec<u64>> {
    match args.int("keepdims", 1)? {
        1 => return Some(left.to_vec()),
        0 => {}
        _ => return None,
    }
    Some(left.iter().enumerate().filter(|(i, _)| !axes.contains(i)).map(|(_, d)| *d).collect())
}

/// `ReduceSum` and `ReduceProd` of 64-bit integers, `ReduceMin` and `ReduceMax` of any numbers.
pub(super) fn reduce(args: &Args<'_>) -> Option<Vec<Tensor>> {
    let x = args.input(0)?;
    let op = args.node.op.as_str();
    let (axes, left) = axes(args, if op == "ReduceSum" { 13 } else { 18 })?;
    args.room(x.dtype(), x.shape())?;
    let out = match op {
        "ReduceSum" | "ReduceProd" => {
            let start = i64::from(op == "ReduceProd");
            let mut out = vec![start; usize::try_from(left.iter().product::<u64>()).ok()?];
            for (to, v) in targets(x.shape(), &left)?.zip(values::<i64>(x)?) {
                let sum = out.get_mut(to)?;
                *sum = if op == "ReduceSum" { sum.wrapping_add(v) } else { sum.wrapping_mul(v) };
            }
            tensor(left.clone(), &out)?
        }
        _ => by_type!(x.dtype(), extreme(x, &left, op == "ReduceMax"))?,
    };
    Some(vec![out.reshaped(kept(args, &axes, &left)?).ok()?])
}

fn extreme<T: Element>(x: &Tensor, left: &[u64], most: bool) -> Option<Tensor> {
    let mut out: Vec<Option<T>> = vec![None; usize::try_from(left.iter().product::<u64>()).ok()?];
    for (to, v) in targets(x.shape(), left)?.zip(values::<T>(x)?) {
        let have = out.get_mut(to)?;
        let order = v.partial_cmp(&have.unwrap_or(v))?;
        if have.is_none() || (if most { order.is_gt() } else { order.is_lt() }) {
            *have = Some(v);
        }
    }
    tensor(left.to_vec(), &out.into_iter().collect::<Option<Vec<T>>>()?)
}

/// `ArgMax`, `ArgMin`.
pub(super) fn arg(args: &Args<'_>) -> Option<Vec<Tensor>> {
    fn run<T: Element>(x: &Tensor, axis: usize, most: bool, last: bool) -> Option<Vec<i64>> {
        let own = lengths(x.shape())?;
        let (n, line) = (own[axis], own[axis + 1..].iter().product::<usize>());
        let all = values::<T>(x)?;
        let mut out = Vec::new();
        for i in 0..own[..axis].iter().product::<usize>() {
            for j in 0..line {
                let mut best: Option<(usize, T)> = None;
                for k in 0..n {
                    let v = *all.get((i * n + k) * line + j)?;
                    let order = v.partial_cmp(&best.map_or(v, |(_, b)| b))?;
                    let better = if most { order.is_gt() } else { order.is_lt() };
                    if best.is_none() || better || (last && order.is_eq()) {
                        best = Some((k, v));
                    }
                }
                out.push(i64::try_from(best?.0).ok()?);
            }
        }
        Some(out)
    }
    let x = args.input(0)?;
    let axis = args.axis(args.int("axis", 0)?, x.shape().len())?;
    args.room(DType::I64, x.shape())?;
    let (most, last) = (args.node.op == "ArgMax", args.int("select_last_index", 0)? != 0);
    let out = by_type!(x.dtype(), run(x, axis, most, last))?;
    let mut left = x.shape().to_vec();
    left[axis] = 1;
    Some(vec![Tensor::from_i64(kept(args, &[axis], &left)?, &out).ok()?])
}

/// `CumSum` of integers.
pub(super) fn cumulative_sum(args: &Args<'_>) -> Option<Vec<Tensor>> {
    let x = args.input(0)?;
    let axis = match args.input(1)?.len() {
        1 => args.axis(*args.ints(1)?.first()?, x.shape().len())?,
        _ => return None,
    };
    args.room(x.dtype(), x.shape())?;
    let (exclusive, reverse) = (args.int("exclusive", 0)? != 0, args.int("reverse", 0)? != 0);
    let own = lengths(x.shape())?;
    let (n, line) = (own[axis], own[axis + 1..].iter().product::<usize>());
    let all = values::<i64>(x)?;
    let mut out = vec![0i64; all.len()];
    for i in 0..own[..axis].iter().product::<usize>() {
        for j in 0..line {
            let mut sum = 0i64;
            for k in 0..n {
                let at = (i * n + if reverse { n - 1 - k } else { k }) * line + j;
                let v = *all.get(at)?;
                *out.get_mut(at)? = if exclusive { sum } else { sum.wrapping_add(v) };
                sum = sum.wrapping_add(v);
            }
        }
    }
    Some(vec![Tensor::from_i64(x.shape().to_vec(), &out).ok()?])
}

/// `NonZero`.
pub(super) fn non_zero(args: &Args<'_>) -> Option<Vec<Tensor>> {
    let x = args.input(0)?;
    args.room(DType::I64, x.shape())?;
    let set: Vec<bool> = match x.dtype() {
        DType::Bool => bools(x)?,
        DType::I64 => values::<i64>(x)?.into_iter().map(|v| v != 0).collect(),
        DType::I32 => values::<i32>(x)?.into_iter().map(|v| v != 0).collect(),
        DType::F32 => values::<f32>(x)?.into_iter().map(|v| v != 0.0).collect(),
        _ => return None,
    };
    let own = lengths(x.shape())?;
    let found: Vec<usize> = (0..set.len()).filter(|i| set[*i]).collect();
    let mut out = Vec::new();
    for (length, step) in own.iter().zip(strides(&own)) {
        for at in &found {
            out.push(i64::try_from(at / step.max(1) % length.max(&1)).ok()?);
        }
    }
    let shape = vec![own.len() as u64, found.len() as u64];
    args.room(DType::I64, &shape)?;
    // A scalar counts as one element of one axis.
    (!own.is_empty()).then(|| Tensor::from_i64(shape, &out).ok()).flatten().map(|t| vec![t])
}
