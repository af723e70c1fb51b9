//! `Expand` to a shape that need not be computed.

use super::super::pipeline::{Cx, Rewrite, Set, nodes_of};
use crate::error::Result;
use crate::hub::{Edit, Use};

/// Where every user of an `Expand` broadcasts its operands, and the other operand of each already has
/// the shape that is expanded to, the `Expand` is removed.
///
/// ```text
/// before: c [1, 1, 8] ─▶ Expand(shape of x) ─▶ Add(x [batch, seq, 8], ·) ─▶ y
/// after:  c [1, 1, 8] ─▶ Add(x, ·) ─▶ y
/// ```
pub(in super::super) static EXPAND_SHAPE: Rewrite =
    Rewrite { name: "expand-shape", set: Set::Graph, run };

const BROADCAST: &[&str] = &[
    "Add",
    "Sub",
    "Mul",
    "Div",
    "And",
    "Or",
    "Xor",
    "Equal",
    "Less",
    "Greater",
    "LessOrEqual",
    "GreaterOrEqual",
    "Max",
    "Min",
    "Pow",
    "Where",
];

fn run(edit: &mut Edit<'_>, cx: &Cx<'_>) -> Result<bool> {
    if cx.opset() < 8 {
        return Ok(false);
    }
    let mut changed = false;
    for id in nodes_of(edit, "Expand") {
        let Some(node) = edit.body().node(id) else { continue };
        let (Some(x), Some(y)) = (node.input(0), node.output(0)) else { continue };
        let fits = !edit.uses(y).is_empty()
            && edit.uses(y).iter().all(|u| {
                let Use::Input(user, at) = u else { return false };
                let Some(user) = edit.body().node(*user) else { return false };
                BROADCAST.iter().any(|op| user.is(op))
                    && user.inputs.iter().enumerate().any(|(i, other)| {
                        i != *at && other.is_some_and(|o| o != y && super::same_shape(cx, o, y))
                    })
            });
        if fits {
            edit.replace_uses(y, x)?;
            edit.remove(id);
            changed = true;
        }
    }
    Ok(changed)
}
