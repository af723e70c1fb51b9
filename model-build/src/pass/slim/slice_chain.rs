//! Slices of different axes in a row become one.

use super::super::pipeline::{Cx, Rewrite, Set, made_by, nodes_of, only_use};
use crate::error::Result;
use crate::hub::{Edit, Node, Tensor, ValueId};

/// ```text
/// before: x ─▶ Slice(axis 0, 1 .. 3) ─▶ Slice(axis 1, 0 .. 9, every 2nd) ─▶ y
/// after:  x ─▶ Slice(axes 0 and 1) ─▶ y
/// ```
pub(in super::super) static SLICE_CHAIN: Rewrite =
    Rewrite { name: "slice-chain", set: Set::Graph, run };

/// What a slice takes of one axis: axis, start, end, step.
type Cut = [i64; 4];

fn run(edit: &mut Edit<'_>, cx: &Cx<'_>) -> Result<bool> {
    let mut changed = false;
    if cx.opset() < 10 {
        return Ok(false);
    }
    for id in nodes_of(edit, "Slice") {
        let Some(node) = edit.body().node(id) else { continue };
        let (Some(between), Some(y)) = (node.input(0), node.output(0)) else { continue };
        if only_use(edit, between).is_none() {
            continue;
        }
        let Some((before, first)) = made_by(edit, between, "Slice") else { continue };
        let Some(rank) = cx.rank(between).and_then(|r| i64::try_from(r).ok()) else { continue };
        let Some(x) = first.input(0) else { continue };
        let (Some(mut all), Some(more)) = (cuts(edit, cx, first, rank), cuts(edit, cx, node, rank))
        else {
            continue;
        };
        if more.iter().any(|[axis, ..]| all.iter().any(|[other, ..]| axis == other)) {
            continue;
        }
        all.extend(more);
        let name = node.name.clone();
        let mut inputs = vec![x];
        // In the order of the operator's inputs: starts, ends, axes, steps.
        for (at, part) in [(1, "starts"), (2, "ends"), (0, "axes"), (3, "steps")] {
            inputs.push(list(edit, y, part, all.iter().map(|cut| cut[at]))?);
        }
        edit.remove(before);
        edit.replace(id, Node { name, ..Node::new("Slice", &inputs, &[y]) });
        changed = true;
    }
    Ok(changed)
}

fn list(
    edit: &mut Edit<'_>,
    y: ValueId,
    part: &str,
    values: impl Iterator<Item = i64>,
) -> Result<ValueId> {
    let values: Vec<i64> = values.collect();
    let hint = format!("{}_{part}", edit.body().value(y).name);
    edit.constant(&hint, Tensor::from_i64(vec![values.len() as u64], &values)?)
}

fn cuts(edit: &Edit<'_>, cx: &Cx<'_>, node: &Node, rank: i64) -> Option<Vec<Cut>> {
    let ints = |i: usize| node.input(i).map(|v| cx.ints(edit, v));
    let (starts, ends) = (ints(1)??, ints(2)??);
    let axes = ints(3).unwrap_or_else(|| Some((0i64..).take(starts.len()).collect()))?;
    let steps = ints(4).unwrap_or_else(|| Some(vec![1; starts.len()]))?;
    if [ends.len(), axes.len(), steps.len()].iter().any(|n| *n != starts.len()) {
        return None;
    }
    let axes = axes.iter().map(|a| if *a < 0 { a + rank } else { *a });
    let rest = starts.iter().zip(ends.iter().zip(&steps));
    Some(axes.zip(rest).map(|(axis, (start, (end, step)))| [axis, *start, *end, *step]).collect())
}
