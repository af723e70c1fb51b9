//! `Slice`: a range with a step along some axes.

use super::cx::{Cx, Fact};
use super::len::Len;
use crate::error::Result;

/// Starts, ends, axes and steps are attributes before opset 10 (no steps there), inputs from it on.
fn slice(cx: &Cx<'_>) -> Result<Vec<Fact>> {
    let Some(shape) = cx.shape(0) else { return Ok(vec![Fact::new(cx.dtype(0), None)]) };
    let blank = || Ok(vec![Fact::new(cx.dtype(0), Some(vec![Len::UNKNOWN; shape.len()]))]);
    let attr = |name| -> Result<Option<Vec<Len>>> {
        Ok(cx.int_list(name)?.map(|v| v.iter().copied().map(Len::fixed).collect()))
    };
    let (starts, ends, axes, steps) = if cx.opset() < 10 {
        (attr("starts")?, attr("ends")?, cx.int_list("axes")?.map(<[_]>::to_vec), None)
    } else {
        let own = |i: usize| cx.data(i).map(<[_]>::to_vec);
        if (cx.has(3) && cx.ints(3).is_none()) || (cx.has(4) && cx.ints(4).is_none()) {
            return match cx.ints(3) {
                Some(axes) => some_unknown(cx, shape, &axes),
                None => blank(),
            };
        }
        (own(1), own(2), cx.ints(3), cx.ints(4))
    };
    let count = |i: usize| cx.shape(i).and_then(|s| s.first()).and_then(Len::as_fixed);
    let axes = match (axes, &starts, &ends) {
        (Some(axes), ..) => axes,
        (None, Some(v), _) | (None, _, Some(v)) => (0i64..).take(v.len()).collect(),
        (None, None, None) => match count(1).or(count(2)) {
            Some(n) => (0..n.clamp(0, i64::try_from(shape.len()).unwrap_or(0))).collect(),
            None => return blank(),
        },
    };
    let (Some(starts), Some(ends)) = (starts, ends) else {
        return some_unknown(cx, shape, &axes);
    };
    let steps = steps.unwrap_or_else(|| vec![1; axes.len()]);
    if [starts.len(), ends.len(), steps.len()].iter().any(|n| *n != axes.len()) {
        return Err(cx.fail("starts, ends, axes and steps are not equally many"));
    }
    let mut out = shape.to_vec();
    let mut data = cx.data(0).map(<[_]>::to_vec);
    for (((axis, start), end), step) in axes.iter().zip(&starts).zip(&ends).zip(&steps) {
        let at = cx.axis(*axis, shape.len())?;
        if *step == 0 {
            return Err(cx.fail("a step of 0"));
        }
        out[at] = range_len(&shape[at], start, end, *step);
        data = data.and_then(|d| cut(&d, start.as_fixed()?, end.as_fixed()?, *step));
    }
    Ok(vec![Fact { dtype: cx.dtype(0), shape: Some(out), data }])
}

/// The named axes are of unknown length, the others as they are.
fn some_unknown(cx: &Cx<'_>, shape: &[Len], axes: &[i64]) -> Result<Vec<Fact>> {
    let mut out = shape.to_vec();
    for axis in axes {
        out[cx.axis(*axis, shape.len())?] = Len::UNKNOWN;
    }
    Ok(vec![Fact::new(cx.dtype(0), Some(out))])
}

/// Start and end of a slice of an axis of `n` elements, as ONNX clamps them.
fn clamp(n: i64, start: i64, end: i64, step: i64) -> (i64, i64) {
    let from_end = |v: i64| if v < 0 { v.saturating_add(n) } else { v };
    let (start, end) = (from_end(start), from_end(end));
    if step > 0 {
        (start.clamp(0, n), end.clamp(0, n))
    } else {
        (start.clamp(0, (n - 1).max(0)), end.clamp(-1, (n - 1).max(-1)))
    }
}

fn range_len(n: &Len, start: &Len, end: &Len, step: i64) -> Len {
    if let (Some(n), Some(start), Some(end)) = (n.as_fixed(), start.as_fixed(), end.as_fixed()) {
        let (start, end) = clamp(n, start, end, step);
        let span = if step > 0 { end - start } else { start - end };
        let step = step.saturating_abs();
        return Len::fixed(span.max(0).div_euclid(step) + i64::from(span.max(0) % step != 0));
    }
    if step == -1 {
        // The whole axis reversed.
        let to_start = end.as_fixed().is_some_and(|e| e < -i64::from(i32::MAX));
        return if start.is(-1) && to_start { n.clone() } else { Len::UNKNOWN };
    }
    if step < 0 {
        return Len::UNKNOWN;
    }
    let open_end = end.as_fixed().is_some_and(|e| e >= i64::from(i32::MAX)) || end.same(n);
    match (start.as_fixed(), end.as_fixed()) {
        (Some(0), _) if open_end => n.div_ceil(step),
        // A length is taken to be no smaller than the fixed prefix that is cut from it.
        (Some(s), _) if open_end && s > 0 => at_least(n, s, &n.plus(-s)).div_ceil(step),
        (Some(s), Some(e)) if s < 0 && e < 0 && s > e => Len::fixed(0),
        _ if end.same(start) => Len::fixed(0),
        // `[:k]`: all of a shorter axis.
        (Some(0), None) if end.is_non_negative() => n.min(end).div_ceil(step),
        _ => Len::UNKNOWN,
    }
}

/// `then` where `n` is known to be `least` or more, else unknown.
fn at_least(n: &Len, least: i64, then: &Len) -> Len {
    if n.plus(-least).is_non_negative() { then.clone() } else { Len::UNKNOWN }
}

/// The elements a slice keeps.
fn cut(data: &[Len], start: i64, end: i64, step: i64) -> Option<Vec<Len>> {
    let n = i64::try_from(data.len()).ok()?;
    let (start, end) = clamp(n, start, end, step);
    let mut out = Vec::new();
    let mut at = start;
    while if step > 0 { at < end } else { at > end } {
        match usize::try_from(at).ok().and_then(|i| data.get(i)) {
            Some(d) => out.push(d.clone()),
            None => break,
        }
        at = at.checked_add(step)?;
    }
    Some(out)
}

defs! {
    SLICE = "Slice", 1, slice;
}
