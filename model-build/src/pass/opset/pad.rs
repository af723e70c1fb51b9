//! `Pad`: attributes that became inputs, and axes.
//!
//! ```text
//! before (opset 18): x [a, b, c], pads [1, 1], value, axes [2] ─▶ Pad ─▶ y
//! after  (opset 13): x [a, b, c], pads [0, 0, 1, 0, 0, 1], value ─▶ Pad ─▶ y
//! ```

use super::Step;
use super::keep;
use super::site::Site;
use crate::error::Result;
use crate::hub::{AttrValue, DType};

fn up(site: &mut Site<'_, '_>) -> Result<()> {
    let pads = site.int_list("pads")?.unwrap_or_default();
    let value = site.float_or("value", 0.0)?;
    site.unset("pads");
    site.unset("value");
    let pads = site.list(&pads)?;
    site.set_input(1, Some(pads));
    if value != 0.0 {
        let dtype = site.dtype(0)?;
        let value = site.number(dtype, f64::from(value))?;
        site.set_input(2, Some(value));
    }
    site.put();
    Ok(())
}

fn down(site: &mut Site<'_, '_>) -> Result<()> {
    let pads = site.ints(1, "pads")?.unwrap_or_default();
    site.set("pads", AttrValue::Ints(pads));
    if site.node.input(2).is_some() {
        let tensor = site.constant(2).ok_or_else(|| site.not_constant("constant_value"))?;
        let zero = tensor.bytes()?.iter().all(|b| *b == 0);
        if !zero {
            if tensor.dtype() == DType::F64 || !tensor.dtype().is_float() {
                return Err(site.lacks("`Pad` fills with an f32 number"));
            }
            let value = tensor.to_f32()?.first().copied().unwrap_or(0.0);
            site.set("value", AttrValue::Float(value));
        }
    }
    site.cut_inputs(1);
    site.put();
    Ok(())
}

/// Pads of all axes are picked out of those given and a zero.
fn axes_down(site: &mut Site<'_, '_>) -> Result<()> {
    let Some(axes) = site.ints(3, "axes")? else { return Ok(()) };
    let rank = site.signed_rank(0)?;
    let given = i64::try_from(axes.len()).unwrap_or(0);
    let mut pick = vec![2 * given; usize::try_from(2 * rank).unwrap_or(0)];
    for (i, axis) in (0i64..).zip(&axes) {
        let axis = if *axis < 0 { axis + rank } else { *axis };
        for (at, from) in [(axis, i), (axis + rank, i + given)] {
            if let Some(slot) = usize::try_from(at).ok().and_then(|at| pick.get_mut(at)) {
                *slot = from;
            }
        }
    }
    let all = match site.ints(1, "pads") {
        Ok(Some(pads)) => {
            let of = |i: &i64| usize::try_from(*i).ok().and_then(|i| pads.get(i)).copied();
            let all: Vec<i64> = pick.iter().map(|i| of(i).unwrap_or(0)).collect();
            site.list(&all)?
        }
        _ => {
            let (pads, zero, pick) = (site.input(1)?, site.list(&[0])?, site.list(&pick)?);
            let axis = [("axis", AttrValue::Int(0))];
            let more = site.op("Concat", &[pads, zero], &axis)?;
            site.op("Gather", &[more, pick], &axis)?
        }
    };
    site.set_input(1, Some(all));
    site.cut_inputs(3);
    site.put();
    Ok(())
}

fn wrap_down(site: &mut Site<'_, '_>) -> Result<()> {
    if site.str_or("mode", "constant")? == "wrap" {
        return Err(site.lacks("`Pad` has no mode `wrap`"));
    }
    Ok(())
}

pub(super) static STEPS: &[Step] = &[
    Step { op: "Pad", version: 11, up, down },
    Step { op: "Pad", version: 18, up: keep, down: axes_down },
    Step { op: "Pad", version: 19, up: keep, down: wrap_down },
];
