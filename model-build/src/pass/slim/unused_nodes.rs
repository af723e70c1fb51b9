//! Nodes whose results nothing uses are removed.

use super::super::pipeline::{Cx, Rewrite, Set};
use crate::error::Result;
use crate::hub::{Edit, Node, NodeId};

/// A node none of whose outputs is used is removed, and those that only it used.
///
/// ```text
/// before: x ─▶ Shape ─▶ Gather ─▶ (nothing)
///         x ─▶ Relu ─▶ y
/// after:  x ─▶ Relu ─▶ y
/// ```
///
/// Operators of domains other than ONNX's and `com.microsoft` may do more than compute and stay.
pub(in super::super) static UNUSED_NODES: Rewrite =
    Rewrite { name: "unused-nodes", set: Set::Graph, run };

fn run(edit: &mut Edit<'_>, _: &Cx<'_>) -> Result<bool> {
    let mut ids: Vec<NodeId> = edit.body().nodes().map(|(id, _)| id).collect();
    // Users stand behind what they use, so one way back finds all but what an edit put at the end.
    ids.reverse();
    let mut changed = false;
    loop {
        let before = changed;
        let mut again = false;
        for id in &ids {
            let Some(node) = edit.body().node(*id) else { continue };
            if is_pure(node) && node.outputs.iter().flatten().all(|v| edit.uses(*v).is_empty()) {
                edit.remove(*id);
                again = true;
            }
        }
        changed = before || again;
        if !again {
            return Ok(changed);
        }
    }
}

/// Whether a node does nothing but compute its outputs.
pub(in super::super) fn is_pure(node: &Node) -> bool {
    matches!(node.domain.as_str(), "" | "ai.onnx" | "ai.onnx.ml" | "com.microsoft")
        && node.subgraphs().all(|g| g.nodes().all(|(_, n)| is_pure(n)))
}
