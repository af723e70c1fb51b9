//! Changes of shape in a row become one.

use super::super::pipeline::{Cx, Rewrite, Set, only_use};
use super::reshape_target::target;
use crate::error::Result;
use crate::hub::{Edit, Node, NodeId, Tensor};

/// ```text
/// before: x ─▶ Unsqueeze(1) ─▶ Reshape([0, 12, -1]) ─▶ Squeeze(0) ─▶ y
/// after:  x ─▶ Reshape(·) ─▶ y
/// ```
///
/// Where what lies between is used only there, and the last shape can be said with at most one axis
/// left open.
pub(in super::super) static RESHAPE_CHAIN: Rewrite =
    Rewrite { name: "reshape-chain", set: Set::Graph, run };

const OPS: &[&str] = &["Reshape", "Flatten", "Squeeze", "Unsqueeze"];

fn run(edit: &mut Edit<'_>, cx: &Cx<'_>) -> Result<bool> {
    if cx.opset() < 5 {
        return Ok(false);
    }
    let is_one = |node: &Node| OPS.iter().any(|op| node.is(op));
    let ids: Vec<NodeId> =
        edit.body().nodes().filter(|(_, n)| is_one(n)).map(|(id, _)| id).collect();
    let mut changed = false;
    for id in ids {
        let Some(node) = edit.body().node(id) else { continue };
        let (Some(between), Some(y)) = (node.input(0), node.output(0)) else { continue };
        let Some(before) = edit.producer(between) else { continue };
        let Some(first) = edit.body().node(before).filter(|n| is_one(n)) else { continue };
        let Some(x) = first.input(0) else { continue };
        if only_use(edit, between).is_none() {
            continue;
        }
        let Some(target) = cx.shape(y).and_then(|to| target(cx.shape(x), to)) else { continue };
        let hint = format!("{}_target", edit.body().value(y).name);
        let tensor = Tensor::from_i64(vec![target.len() as u64], &target)?;
        let target = edit.constant(&hint, tensor)?;
        let name = edit.body().node(id).map(|n| n.name.clone()).unwrap_or_default();
        edit.remove(before);
        edit.replace(id, Node { name, ..Node::new("Reshape", &[x, target], &[y]) });
        changed = true;
    }
    Ok(changed)
}
