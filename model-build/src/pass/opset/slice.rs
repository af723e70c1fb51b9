//! `Slice`, `Split`: attributes that became inputs.
//!
//! ```text
//! before (opset 10): x, starts [0], ends [9], axes [1], steps [2] ─▶ Slice ─▶ y
//! after  (opset 9):  x, [0, 2, 4, 6, 8] ─▶ Gather(axis = 1) ─▶ y
//! ```

use super::Step;
use super::site::Site;
use crate::error::Result;
use crate::hub::{AttrValue, ValueId};

fn slice_up(site: &mut Site<'_, '_>) -> Result<()> {
    for (i, name) in ["starts", "ends", "axes"].into_iter().enumerate() {
        if let Some(list) = site.int_list(name)? {
            let input = site.list(&list)?;
            site.set_input(i + 1, Some(input));
            site.unset(name);
        }
    }
    site.put();
    Ok(())
}

/// The positions that a start, an end and a step pick of an axis of `n` elements.
fn positions(start: i64, end: i64, step: i64, n: i64) -> Vec<i64> {
    let from_start = |at: i64| if at < 0 { at.saturating_add(n) } else { at };
    let (mut at, end) = if step > 0 {
        (from_start(start).clamp(0, n), from_start(end).clamp(0, n))
    } else {
        (from_start(start).clamp(-1, n - 1), from_start(end).clamp(-1, n - 1))
    };
    let mut out = Vec::new();
    while (step > 0 && at < end) || (step < 0 && at > end) {
        out.push(at);
        at = at.saturating_add(step);
    }
    out
}

/// Axes longer than this are not listed element by element.
const LONGEST: i64 = 1 << 20;

fn slice_down(site: &mut Site<'_, '_>) -> Result<()> {
    let starts = site.ints(1, "starts")?.unwrap_or_default();
    let ends = site.ints(2, "ends")?.unwrap_or_default();
    let axes = match site.ints(3, "axes")? {
        Some(axes) => axes,
        None => (0..i64::try_from(starts.len()).unwrap_or(0)).collect(),
    };
    let steps = site.ints(4, "steps")?.unwrap_or_else(|| vec![1; starts.len()]);
    let mut x = site.input(0)?;
    let mut plain: [Vec<i64>; 3] = Default::default();
    let mut picked: Vec<(i64, Vec<i64>)> = Vec::new();
    for (((start, end), axis), step) in starts.iter().zip(&ends).zip(&axes).zip(&steps) {
        if *step == 1 {
            plain[0].push(*start);
            plain[1].push(*end);
            plain[2].push(*axis);
            continue;
        }
        let n = usize::try_from(*axis)
            .ok()
            .and_then(|a| site.try_shape(0)?.get(a)?.fixed())
            .and_then(|n| i64::try_from(n).ok())
            .filter(|n| *n <= LONGEST)
            .ok_or_else(|| site.lacks("`Slice` has no steps, and the axis' length is not known"))?;
        picked.push((*axis, positions(*start, *end, *step, n)));
    }
    if picked.is_empty() {
        for (list, name) in plain.into_iter().zip(["starts", "ends", "axes"]) {
            site.set(name, AttrValue::Ints(list));
        }
        site.cut_inputs(1);
        site.put();
        return Ok(());
    }
    let [starts, ends, axes] = plain.map(AttrValue::Ints);
    if !matches!(&starts, AttrValue::Ints(v) if v.is_empty()) {
        x = site.op("Slice", &[x], &[("starts", starts), ("ends", ends), ("axes", axes)])?;
    }
    let last = picked.pop();
    let gather = |site: &mut Site<'_, '_>, axis: i64, at: &[i64]| -> Result<(ValueId, [_; 1])> {
        Ok((site.list(at)?, [("axis", AttrValue::Int(axis))]))
    };
    for (axis, at) in &picked {
        let (at, attrs) = gather(site, *axis, at)?;
        x = site.op("Gather", &[x, at], &attrs)?;
    }
    if let Some((axis, at)) = last {
        let (at, attrs) = gather(site, axis, &at)?;
        site.become_op("Gather", &[x, at], &attrs);
    }
    Ok(())
}

fn split_up(site: &mut Site<'_, '_>) -> Result<()> {
    if let Some(split) = site.int_list("split")? {
        let input = site.list(&split)?;
        site.set_input(1, Some(input));
        site.unset("split");
        site.put();
    }
    Ok(())
}

fn split_down(site: &mut Site<'_, '_>) -> Result<()> {
    if let Some(split) = site.ints(1, "split")? {
        site.set("split", AttrValue::Ints(split));
    }
    site.cut_inputs(1);
    site.put();
    Ok(())
}

/// From opset 18 on the number of parts is said, where their lengths are not.
fn parts_up(site: &mut Site<'_, '_>) -> Result<()> {
    if site.node.input(1).is_none() {
        let count = i64::try_from(site.node.outputs.len()).unwrap_or(i64::MAX);
        site.set("num_outputs", AttrValue::Int(count));
        site.put();
    }
    Ok(())
}

fn parts_down(site: &mut Site<'_, '_>) -> Result<()> {
    let Some(count) = site.int("num_outputs")? else { return Ok(()) };
    site.unset("num_outputs");
    let rank = site.try_shape(0).map(<[_]>::len);
    let axis = site.int_or("axis", 0)?;
    let axis = match rank {
        Some(rank) if axis < 0 => axis + i64::try_from(rank).unwrap_or(0),
        _ => axis,
    };
    let n = usize::try_from(axis).ok().and_then(|a| site.try_shape(0)?.get(a)?.fixed());
    let n = n.and_then(|n| i64::try_from(n).ok());
    let n = n.ok_or_else(|| site.unknown("the length of the axis"))?;
    if count > 0 && n % count != 0 {
        let part = (n + count - 1) / count;
        let split: Vec<i64> =
            (0..count).map(|i| part.min((n - i.saturating_mul(part)).max(0))).collect();
        let split = site.list(&split)?;
        site.set_input(1, Some(split));
    }
    site.put();
    Ok(())
}

pub(super) static STEPS: &[Step] = &[
    Step { op: "Slice", version: 10, up: slice_up, down: slice_down },
    Step { op: "Split", version: 13, up: split_up, down: split_down },
    Step { op: "Split", version: 18, up: parts_up, down: parts_down },
];

#[cfg(test)]
mod tests {
    use super::positions;

    #[test]
    fn positions_follow_numpy() {
        assert_eq!(positions(0, 9, 2, 5), [0, 2, 4]);
        assert_eq!(positions(-1, i64::MIN, -2, 5), [4, 2, 0]);
        assert_eq!(positions(3, 0, -1, 5), [3, 2, 1]);
        assert_eq!(positions(20, -1, 1, 5), [0i64; 0]);
        assert_eq!(positions(20, 0, -4, 5), [4]);
    }
}
