//! Changes of shape that give the shape there was are removed.

use super::super::pipeline::{Cx, Rewrite, Set};
use super::bypass_each;
use crate::error::Result;
use crate::hub::{Edit, Node, ValueId};
use crate::op::len::Len;

/// ```text
/// before: x [batch, 384] ─▶ Reshape([0, 384]) ─▶ Slice(0 ..) ─▶ Pad(0) ─▶ Expand(·) ─▶ y [batch, 384]
/// after:  x [batch, 384] ─▶ y
/// ```
///
/// A slice that steps backwards and a pad that cuts at one end what it adds at the other keep the shape
/// and change the elements: they stay.
pub(in super::super) static SAME_SHAPE: Rewrite =
    Rewrite { name: "same-shape", set: Set::Graph, run };

const OPS: &[&str] =
    &["Reshape", "Flatten", "Squeeze", "Unsqueeze", "Expand", "Tile", "Slice", "Pad"];

fn run(edit: &mut Edit<'_>, cx: &Cx<'_>) -> Result<bool> {
    bypass_each(edit, OPS, |edit, node| {
        let (input, output) = (node.input(0)?, node.output(0)?);
        (unchanged(cx, node, input, output) && moves_nothing(edit, cx, node)).then_some(input)
    })
}

fn unchanged(cx: &Cx<'_>, node: &Node, input: ValueId, output: ValueId) -> bool {
    let (Some(x), Some(y)) = (cx.shape(input), cx.shape(output)) else { return false };
    if x.len() != y.len() {
        return false;
    }
    let differ = x.iter().zip(y).filter(|(x, y)| !x.same(y)).collect::<Vec<_>>();
    match differ.as_slice() {
        [] => true,
        // As many elements before and after: the one axis left is the same too.
        [(a, b)] => {
            let others = x.iter().zip(y).filter(|(x, y)| x.same(y)).all(|(x, _)| !x.is(0));
            let free = |l: &Len| l.as_fixed().is_none();
            matches!(node.op.as_str(), "Reshape" | "Flatten") && others && free(a) && free(b)
        }
        _ => false,
    }
}

/// Whether the node keeps every element in its place, given that the shape stays.
fn moves_nothing(edit: &Edit<'_>, cx: &Cx<'_>, node: &Node) -> bool {
    let ints = |i: usize| node.input(i).and_then(|v| cx.ints(edit, v));
    match node.op.as_str() {
        "Slice" if node.input(4).is_some() => {
            ints(4).is_some_and(|steps| steps.iter().all(|s| *s > 0))
        }
        "Pad" if cx.opset() < 11 => {
            let pads = node.attr("pads").or(node.attr("paddings")).and_then(|a| a.as_ints());
            pads.is_some_and(|p| p.iter().all(|n| *n == 0))
        }
        "Pad" => ints(1).is_some_and(|p| p.iter().all(|n| *n == 0)),
        _ => true,
    }
}
