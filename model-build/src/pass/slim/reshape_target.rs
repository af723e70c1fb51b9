//! The computed target of a `Reshape` becomes a constant.

use super::super::pipeline::{Cx, Rewrite, Set, nodes_of};
use crate::error::Result;
use crate::hub::{AttrValue, Edit, Tensor};
use crate::op::len::Len;

/// ```text
/// before: x [batch, seq, 384] ─▶ Shape ─▶ Gather(0) ─▶ Concat(·, seq, [12, 32]) ─▶ Reshape(x, ·) ─▶ y
/// after:  x [batch, seq, 384] ─▶ Reshape(x, [0, 0, 12, 32]) ─▶ y
/// ```
///
/// 0 stands for an axis that is copied, -1 for the one axis that is neither known nor copied.
pub(in super::super) static RESHAPE_TARGET: Rewrite =
    Rewrite { name: "reshape-target", set: Set::Graph, run };

fn run(edit: &mut Edit<'_>, cx: &Cx<'_>) -> Result<bool> {
    if cx.opset() < 5 {
        return Ok(false);
    }
    let mut changed = false;
    for id in nodes_of(edit, "Reshape") {
        let Some(node) = edit.body().node(id) else { continue };
        let (Some(x), Some(to), Some(y)) = (node.input(0), node.input(1), node.output(0)) else {
            continue;
        };
        let keeps_zero = node.attr("allowzero").and_then(AttrValue::as_int).unwrap_or(0) != 0;
        if cx.constant(edit, to).is_some() || keeps_zero {
            continue;
        }
        let Some(target) = cx.shape(y).and_then(|out| target(cx.shape(x), out)) else { continue };
        let hint = format!("{}_target", edit.body().value(y).name);
        let tensor = Tensor::from_i64(vec![target.len() as u64], &target)?;
        let target = edit.constant(&hint, tensor)?;
        edit.set_input(id, 1, Some(target));
        changed = true;
    }
    Ok(changed)
}

/// The target that reshapes a tensor of shape `from` to `to`, with `allowzero` unset.
pub(super) fn target(from: Option<&[Len]>, to: &[Len]) -> Option<Vec<i64>> {
    let mut open = false;
    to.iter()
        .enumerate()
        .map(|(i, want)| match want.as_fixed() {
            Some(n) => (n > 0).then_some(n),
            None if from.and_then(|f| f.get(i)).is_some_and(|have| have.same(want)) => Some(0),
            None if !std::mem::replace(&mut open, true) => Some(-1),
            None => None,
        })
        .collect()
}
