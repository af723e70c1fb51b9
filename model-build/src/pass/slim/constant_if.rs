//! An `If` whose condition is known becomes the branch it takes.

use super::super::pipeline::{Cx, Rewrite, Set, nodes_of};
use crate::error::Result;
use crate::hub::{AttrValue, Edit, Node};

/// ```text
/// before: If(true, then = { Relu(x) }, else = { Neg(x) }) ─▶ y
/// after:  Relu(x) ─▶ y
/// ```
pub(in super::super) static CONSTANT_IF: Rewrite =
    Rewrite { name: "constant-if", set: Set::Graph, run };

fn run(edit: &mut Edit<'_>, cx: &Cx<'_>) -> Result<bool> {
    let mut changed = false;
    for id in nodes_of(edit, "If") {
        let Some(node) = edit.body().node(id) else { continue };
        let Some(condition) = node.input(0).and_then(|v| cx.constant(edit, v)) else { continue };
        let holds = match condition.bytes()?.as_ref() {
            [v] => *v != 0,
            _ => continue,
        };
        let branch = if holds { "then_branch" } else { "else_branch" };
        let Some(AttrValue::Graph(inner)) = node.attr(branch) else { continue };
        if inner.outputs().len() < node.outputs.len() || !inner.inputs().is_empty() {
            continue;
        }
        let (inner, outputs) = (inner.as_ref().clone(), node.outputs.clone());
        edit.remove(id);
        let results = edit.inline(inner)?;
        for (output, result) in outputs.iter().zip(results) {
            let Some(output) = *output else { continue };
            if edit.can_replace(output, result) {
                edit.replace_uses(output, result)?;
            } else {
                edit.add(Node::new("Identity", &[result], &[output]))?;
            }
        }
        changed = true;
    }
    Ok(changed)
}
