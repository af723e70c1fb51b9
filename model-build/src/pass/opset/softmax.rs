//! `Softmax`, `LogSoftmax`, `Hardmax`: along one axis from opset 13 on; before, over all axes from
//! `axis` on, as rows of a matrix.
//!
//! ```text
//! before (opset 13): x [a, b, c] ─▶ Softmax(axis = 1) ─▶ y
//! after  (opset 12): x ─▶ Transpose(0, 2, 1) ─▶ Softmax(axis = 2) ─▶ Transpose(0, 2, 1) ─▶ y
//!
//! before (opset 12): x [a, b, c] ─▶ Softmax(axis = 1) ─▶ y
//! after  (opset 13): x ─▶ Flatten(axis = 1) ─▶ Softmax(axis = 1) ─▶ Reshape(shape of x) ─▶ y
//! ```

use super::Step;
use super::site::Site;
use crate::error::Result;
use crate::hub::AttrValue;

fn up(site: &mut Site<'_, '_>) -> Result<()> {
    let axis = site.int_or("axis", 1)?;
    let rank = site.signed_rank(0).ok();
    if axis == -1 || rank.is_some_and(|r| axis == r - 1) {
        site.set("axis", AttrValue::Int(axis));
        site.put();
        return Ok(());
    }
    let (op, x) = (site.node.op.clone(), site.input(0)?);
    let rows = site.op("Flatten", &[x], &[("axis", AttrValue::Int(axis))])?;
    let y = site.op(&op, &[rows], &[("axis", AttrValue::Int(1))])?;
    let shape = site.op("Shape", &[x], &[])?;
    site.become_op("Reshape", &[y, shape], &[]);
    Ok(())
}

fn down(site: &mut Site<'_, '_>) -> Result<()> {
    let axis = site.int_or("axis", -1)?;
    if axis == -1 {
        site.set("axis", AttrValue::Int(-1));
        site.put();
        return Ok(());
    }
    let rank = site.signed_rank(0)?;
    let axis = if axis < 0 { axis + rank } else { axis };
    if axis == rank - 1 {
        site.set("axis", AttrValue::Int(axis));
        site.put();
        return Ok(());
    }
    let mut perm: Vec<i64> = (0..rank).collect();
    let (Ok(a), Ok(last)) = (usize::try_from(axis), usize::try_from(rank - 1)) else {
        return Err(site.unknown("the axis"));
    };
    perm.swap(a, last);
    let perm = ("perm", AttrValue::Ints(perm));
    let (op, x) = (site.node.op.clone(), site.input(0)?);
    let turned = site.op("Transpose", &[x], std::slice::from_ref(&perm))?;
    let y = site.op(&op, &[turned], &[("axis", AttrValue::Int(rank - 1))])?;
    site.become_op("Transpose", &[y], &[perm]);
    Ok(())
}

const fn at_13(op: &'static str) -> Step {
    Step { op, version: 13, up, down }
}

pub(super) static STEPS: &[Step] = &[at_13("Hardmax"), at_13("LogSoftmax"), at_13("Softmax")];
