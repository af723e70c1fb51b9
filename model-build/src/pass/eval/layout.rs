//! Kernels that move, repeat, join or cut elements.

use super::Args;
use super::array::{Walk, broadcast, lengths, picked, strides, width};
use crate::hub::{AttrValue, Tensor};

/// `Identity`.
pub(super) fn identity(args: &Args<'_>) -> Option<Vec<Tensor>> {
    Some(vec![args.input(0)?.clone()])
}

/// `Reshape`.
pub(super) fn reshape(args: &Args<'_>) -> Option<Vec<Tensor>> {
    let x = args.input(0)?;
    let target = args.list("shape", 1, 5)??;
    let keep_zero = args.int("allowzero", 0)? != 0;
    let mut shape = Vec::new();
    let mut open = None;
    for (i, want) in target.iter().enumerate() {
        shape.push(match *want {
            0 if !keep_zero => *x.shape().get(i)?,
            -1 if open.is_none() => {
                open = Some(i);
                1
            }
            n => u64::try_from(n).ok()?,
        });
    }
    if let Some(at) = open {
        let rest = shape.iter().try_fold(1u64, |n, d| n.checked_mul(*d))?;
        *shape.get_mut(at)? = x.len().checked_div(rest)?;
    }
    Some(vec![x.reshaped(shape).ok()?])
}

/// `Flatten`.
pub(super) fn flatten(args: &Args<'_>) -> Option<Vec<Tensor>> {
    let x = args.input(0)?;
    let axis = args.int("axis", 1)?;
    let at = match usize::try_from(axis) {
        Ok(at) if at == x.shape().len() => at,
        _ => args.axis(axis, x.shape().len())?,
    };
    let (before, after) = x.shape().split_at(at);
    Some(vec![x.reshaped(vec![before.iter().product(), after.iter().product()]).ok()?])
}

/// `Squeeze`: axes are an attribute before opset 13.
pub(super) fn squeeze(args: &Args<'_>) -> Option<Vec<Tensor>> {
    let x = args.input(0)?;
    let rank = x.shape().len();
    let drop: Vec<usize> = match args.list("axes", 1, 13)? {
        Some(axes) => axes.iter().map(|a| args.axis(*a, rank)).collect::<Option<_>>()?,
        None => (0..rank).filter(|i| x.shape()[*i] == 1).collect(),
    };
    if drop.iter().any(|i| x.shape()[*i] != 1) {
        return None;
    }
    let kept = x.shape().iter().enumerate().filter(|(i, _)| !drop.contains(i)).map(|(_, d)| *d);
    Some(vec![x.reshaped(kept.collect()).ok()?])
}

/// `Unsqueeze`.
pub(super) fn unsqueeze(args: &Args<'_>) -> Option<Vec<Tensor>> {
    let x = args.input(0)?;
    let axes = args.list("axes", 1, 13)??;
    let rank = x.shape().len().checked_add(axes.len())?;
    let added: Vec<usize> = axes.iter().map(|a| args.axis(*a, rank)).collect::<Option<Vec<_>>>()?;
    let mut rest = x.shape().iter().copied();
    let shape: Option<Vec<u64>> =
        (0..rank).map(|i| if added.contains(&i) { Some(1) } else { rest.next() }).collect();
    if rest.next().is_some() {
        return None;
    }
    Some(vec![x.reshaped(shape?).ok()?])
}

/// `Transpose`.
pub(super) fn transpose(args: &Args<'_>) -> Option<Vec<Tensor>> {
    let x = args.input(0)?;
    let rank = x.shape().len();
    let perm: Vec<usize> = match args.node.attr("perm") {
        None => (0..rank).rev().collect(),
        Some(perm) => perm.as_ints()?.iter().map(|a| args.axis(*a, rank)).collect::<Option<_>>()?,
    };
    let mut sorted = perm.clone();
    sorted.sort_unstable();
    if !sorted.iter().copied().eq(0..rank) {
        return None;
    }
    let shape: Vec<u64> = perm.iter().map(|i| x.shape()[*i]).collect();
    args.room(x.dtype(), &shape)?;
    let own = strides(&lengths(x.shape())?);
    let steps = perm.iter().map(|i| own[*i]).collect();
    Some(vec![picked(x, shape.clone(), Walk::new(lengths(&shape)?, steps, 0))?])
}

/// `Expand`.
pub(super) fn expand(args: &Args<'_>) -> Option<Vec<Tensor>> {
    let x = args.input(0)?;
    let to: Vec<u64> =
        args.ints(1)?.iter().map(|d| u64::try_from(*d).ok()).collect::<Option<_>>()?;
    let shape = broadcast(x.shape(), &to)?;
    args.room(x.dtype(), &shape)?;
    Some(vec![picked(x, shape.clone(), Walk::spread(&shape, x.shape())?)?])
}

/// `Tile` from opset 6 on.
pub(super) fn tile(args: &Args<'_>) -> Option<Vec<Tensor>> {
    let x = args.input(0)?;
    let repeats = args.ints(1).filter(|r| args.opset >= 6 && r.len() == x.shape().len())?;
    let mut shape = Vec::new();
    let mut spread = Vec::new();
    let mut steps = Vec::new();
    for ((length, repeat), step) in
        x.shape().iter().zip(&repeats).zip(strides(&lengths(x.shape())?))
    {
        let repeat = u64::try_from(*repeat).ok()?;
        shape.push(length.checked_mul(repeat)?);
        spread.extend([usize::try_from(repeat).ok()?, usize::try_from(*length).ok()?]);
        steps.extend([0, step]);
    }
    args.room(x.dtype(), &shape)?;
    Some(vec![picked(x, shape, Walk::new(spread, steps, 0))?])
}

/// `Concat`.
pub(super) fn concat(args: &Args<'_>) -> Option<Vec<Tensor>> {
    let first = args.input(0)?;
    let rank = first.shape().len();
    let axis = args.axis(args.int("axis", if args.opset < 4 { 1 } else { 0 })?, rank)?;
    let width = width(first.dtype())?;
    let mut shape = first.shape().to_vec();
    shape[axis] = 0;
    let mut parts = Vec::new();
    for x in args.inputs {
        let x = x.as_ref()?;
        let fits = x.dtype() == first.dtype()
            && x.shape().len() == rank
            && (0..rank).all(|i| i == axis || x.shape()[i] == shape[i]);
        shape[axis] = shape[axis].checked_add(*x.shape().get(axis).filter(|_| fits)?)?;
        let line = x.shape()[axis..].iter().product::<u64>();
        parts.push((x.bytes().ok()?, usize::try_from(line).ok()?.checked_mul(width)?));
    }
    args.room(first.dtype(), &shape)?;
    let lines = usize::try_from(shape[..axis].iter().product::<u64>()).ok()?;
    let mut out = Vec::new();
    for i in 0..lines {
        for (bytes, line) in &parts {
            out.extend_from_slice(bytes.get(i * line..(i + 1) * line)?);
        }
    }
    Some(vec![Tensor::new(first.dtype(), shape, out.into()).ok()?])
}

/// `Split`: sizes are an attribute before opset 13; without sizes the parts are equal, and from opset
/// 18 on the last one may be smaller.
pub(super) fn split(args: &Args<'_>) -> Option<Vec<Tensor>> {
    let x = args.input(0)?;
    let axis = args.axis(args.int("axis", 0)?, x.shape().len())?;
    let count = u64::try_from(args.node.outputs.len()).ok().filter(|n| *n > 0)?;
    let whole = x.shape()[axis];
    let sizes: Vec<u64> = match args.list("split", 1, 13)? {
        Some(sizes) => sizes.iter().map(|n| u64::try_from(*n).ok()).collect::<Option<_>>()?,
        None => {
            let each = whole.div_ceil(count);
            if !whole.is_multiple_of(count) && args.opset < 18 {
                return None;
            }
            (0..count).map(|i| each.min(whole.saturating_sub(i * each))).collect()
        }
    };
    if sizes.iter().try_fold(0u64, |n, s| n.checked_add(*s))? != whole
        || sizes.len() != args.node.outputs.len()
    {
        return None;
    }
    let mut from = 0;
    let mut out = Vec::new();
    for size in sizes {
        out.push(cut(x, axis, from, 1, size)?);
        from += i64::try_from(size).ok()?;
    }
    Some(out)
}

/// `count` elements of an axis from `start` on, every `step`-th.
fn cut(x: &Tensor, axis: usize, start: i64, step: i64, count: u64) -> Option<Tensor> {
    let mut shape = x.shape().to_vec();
    let own = lengths(&shape)?;
    shape[axis] = count;
    let line: usize = own[axis + 1..].iter().product();
    let lines: usize = own[..axis].iter().product();
    let mut at = Vec::new();
    for i in 0..lines {
        for k in 0..i64::try_from(count).ok()? {
            let index = usize::try_from(start.checked_add(step.checked_mul(k)?)?).ok()?;
            let from = i.checked_mul(own[axis])?.checked_add(index)?.checked_mul(line)?;
            at.extend(from..from.checked_add(line)?);
        }
    }
    picked(x, shape, at.into_iter())
}

/// `Slice`: attributes before opset 10, inputs from it on.
pub(super) fn slice(args: &Args<'_>) -> Option<Vec<Tensor>> {
    let mut x = args.input(0)?.clone();
    args.room(x.dtype(), x.shape())?;
    let starts = args.list("starts", 1, 10)??;
    let ends = args.list("ends", 2, 10)??;
    let axes = match args.list("axes", 3, 10)? {
        Some(axes) => axes,
        None => (0i64..).take(starts.len()).collect(),
    };
    let steps = match args.has(4) {
        true => args.ints(4)?,
        false => vec![1; starts.len()],
    };
    if [ends.len(), axes.len(), steps.len()].iter().any(|n| *n != starts.len()) {
        return None;
    }
    for (((axis, start), end), step) in axes.iter().zip(&starts).zip(&ends).zip(&steps) {
        let axis = args.axis(*axis, x.shape().len())?;
        let n = i64::try_from(x.shape()[axis]).ok()?;
        let from_end = |v: i64| if v < 0 { v.saturating_add(n) } else { v };
        let (start, end) = (from_end(*start), from_end(*end));
        let (start, span) = match *step {
            0 => return None,
            1.. => {
                let start = start.clamp(0, n);
                (start, end.clamp(0, n) - start)
            }
            _ => {
                let start = start.clamp(0, (n - 1).max(0));
                (start, start - end.clamp(-1, (n - 1).max(-1)))
            }
        };
        let span = span.max(0).unsigned_abs();
        let count = if n == 0 { 0 } else { span.div_ceil(step.unsigned_abs()) };
        x = cut(&x, axis, start, *step, count)?;
    }
    Some(vec![x])
}

/// `Gather`.
pub(super) fn gather(args: &Args<'_>) -> Option<Vec<Tensor>> {
    let (x, indices) = (args.input(0)?, args.input(1)?);
    let rank = x.shape().len();
    let axis = args.axis(args.int("axis", 0)?, rank)?;
    let own = lengths(x.shape())?;
    let shape: Vec<u64> = [&x.shape()[..axis], indices.shape(), &x.shape()[axis + 1..]].concat();
    args.room(x.dtype(), &shape)?;
    let line: usize = own[axis + 1..].iter().product();
    let chosen: Vec<usize> =
        args.ints(1)?.iter().map(|i| args.axis(*i, own[axis])).collect::<Option<_>>()?;
    let mut at = Vec::new();
    for i in 0..own[..axis].iter().product::<usize>() {
        for index in &chosen {
            let from = (i * own[axis] + index) * line;
            at.extend(from..from + line);
        }
    }
    Some(vec![picked(x, shape, at.into_iter())?])
}

/// `GatherElements`.
pub(super) fn gather_elements(args: &Args<'_>) -> Option<Vec<Tensor>> {
    let (x, indices) = (args.input(0)?, args.input(1)?);
    let rank = x.shape().len();
    let axis = args.axis(args.int("axis", 0)?, rank)?;
    if indices.shape().len() != rank {
        return None;
    }
    let fits = (0..rank).all(|i| i == axis || indices.shape()[i] <= x.shape()[i]);
    args.room(x.dtype(), indices.shape()).filter(|_| fits)?;
    let own = lengths(x.shape())?;
    let mut steps = strides(&own);
    let step = std::mem::take(&mut steps[axis]);
    let walk = Walk::new(lengths(indices.shape())?, steps, 0);
    let at: Vec<usize> = walk
        .zip(args.ints(1)?)
        .map(|(base, index)| Some(base + args.axis(index, own[axis])? * step))
        .collect::<Option<_>>()?;
    Some(vec![picked(x, indices.shape().to_vec(), at.into_iter())?])
}

/// The first element of each slice that an index of `depth` axes names.
fn named(args: &Args<'_>, shape: &[u64], depth: usize) -> Option<Vec<usize>> {
    let own = lengths(shape)?;
    let steps = strides(&own);
    let indices = args.ints(1)?;
    if depth == 0 || depth > own.len() {
        return None;
    }
    indices
        .chunks_exact(depth)
        .map(|index| {
            index.iter().enumerate().try_fold(0usize, |at, (i, n)| {
                at.checked_add(args.axis(*n, own[i])?.checked_mul(steps[i])?)
            })
        })
        .collect()
}

/// `GatherND` without batch axes.
pub(super) fn gather_nd(args: &Args<'_>) -> Option<Vec<Tensor>> {
    let (x, indices) = (args.input(0)?, args.input(1)?);
    let (depth, lead) = indices.shape().split_last()?;
    let depth = usize::try_from(*depth).ok()?;
    if args.int("batch_dims", 0)? != 0 {
        return None;
    }
    let rest = x.shape().get(depth..)?;
    let shape = [lead, rest].concat();
    args.room(x.dtype(), &shape)?;
    let line = usize::try_from(rest.iter().product::<u64>()).ok()?;
    let at: Vec<usize> =
        named(args, x.shape(), depth)?.into_iter().flat_map(|from| from..from + line).collect();
    Some(vec![picked(x, shape, at.into_iter())?])
}

/// `ScatterND` without a reduction.
pub(super) fn scatter_nd(args: &Args<'_>) -> Option<Vec<Tensor>> {
    let (x, indices, updates) = (args.input(0)?, args.input(1)?, args.input(2)?);
    let none = |v: &AttrValue| v.as_str() == Some("none");
    if !args.node.attr("reduction").is_none_or(none) || x.dtype() != updates.dtype() {
        return None;
    }
    args.room(x.dtype(), x.shape())?;
    let (depth, lead) = indices.shape().split_last()?;
    let depth = usize::try_from(*depth).ok()?;
    let rest = x.shape().get(depth..)?;
    if updates.shape() != [lead, rest].concat() {
        return None;
    }
    let line =
        usize::try_from(rest.iter().product::<u64>()).ok()?.checked_mul(width(x.dtype())?)?;
    let mut out = x.bytes().ok()?.to_vec();
    let updates = updates.bytes().ok()?;
    for (i, from) in named(args, x.shape(), depth)?.into_iter().enumerate() {
        let from = from.checked_mul(width(x.dtype())?)?;
        out.get_mut(from..from.checked_add(line)?)?
            .copy_from_slice(updates.get(i * line..(i + 1) * line)?);
    }
    Some(vec![Tensor::new(x.dtype(), x.shape().to_vec(), out.into()).ok()?])
}

/// `Pad` with a constant, and no axis cut.
pub(super) fn pad(args: &Args<'_>) -> Option<Vec<Tensor>> {
    let x = args.input(0)?;
    let constant = |v: &AttrValue| v.as_str() == Some("constant");
    if args.opset < 11 || !args.node.attr("mode").is_none_or(constant) {
        return None;
    }
    let rank = x.shape().len();
    let axes: Vec<usize> = match args.has(3) {
        true => args.ints(3)?.iter().map(|a| args.axis(*a, rank)).collect::<Option<_>>()?,
        false => (0..rank).collect(),
    };
    let pads: Vec<u64> =
        args.ints(1)?.iter().map(|n| u64::try_from(*n).ok()).collect::<Option<_>>()?;
    if pads.len() != axes.len() * 2 {
        return None;
    }
    let width = width(x.dtype())?;
    let fill = match args.input(2) {
        Some(t) if t.len() == 1 && t.dtype() == x.dtype() => t.bytes().ok()?.to_vec(),
        Some(_) => return None,
        None => vec![0; width],
    };
    let mut shape = x.shape().to_vec();
    let mut before = vec![0u64; rank];
    for (i, axis) in axes.iter().enumerate() {
        before[*axis] = pads[i];
        shape[*axis] = shape[*axis].checked_add(pads[i])?.checked_add(pads[i + axes.len()])?;
    }
    let count = args.room(x.dtype(), &shape)?;
    let mut out = fill.repeat(count);
    let steps = strides(&lengths(&shape)?);
    let start = lengths(&before)?.iter().zip(&steps).map(|(b, s)| b * s).sum();
    let walk = Walk::new(lengths(x.shape())?, steps, start);
    for (to, element) in walk.zip(x.bytes().ok()?.chunks_exact(width)) {
        out.get_mut(to * width..(to + 1) * width)?.copy_from_slice(element);
    }
    Some(vec![Tensor::new(x.dtype(), shape, out.into()).ok()?])
}
