//! Transposes that move nothing are removed, two in a row become one.

use super::super::pipeline::{Cx, Rewrite, Set, made_by, nodes_of};
use super::bypass;
use crate::error::Result;
use crate::hub::{AttrValue, Edit, Node};

/// ```text
/// before: x ─▶ Transpose(0, 2, 1) ─▶ Transpose(1, 0, 2) ─▶ y
/// after:  x ─▶ Transpose(2, 0, 1) ─▶ y
/// ```
pub(in super::super) static TRANSPOSE: Rewrite =
    Rewrite { name: "transpose", set: Set::Graph, run };

fn run(edit: &mut Edit<'_>, cx: &Cx<'_>) -> Result<bool> {
    let mut changed = false;
    for id in nodes_of(edit, "Transpose") {
        let Some(node) = edit.body().node(id) else { continue };
        let Some(input) = node.input(0) else { continue };
        let Some(perm) = perm(cx, node) else { continue };
        if perm.iter().copied().eq(0..perm.len()) {
            changed |= bypass(edit, id, input)?;
            continue;
        }
        let Some((_, before)) = made_by(edit, input, "Transpose") else { continue };
        let (Some(source), Some(first)) = (before.input(0), self::perm(cx, before)) else {
            continue;
        };
        if first.len() != perm.len() {
            continue;
        }
        let both: Vec<usize> = perm.iter().map(|i| first[*i]).collect();
        if both.iter().copied().eq(0..both.len()) && bypass(edit, id, source)? {
            changed = true;
            continue;
        }
        if let Some(node) = node_with_perm(edit, id, &both) {
            edit.replace(id, node);
            edit.set_input(id, 0, Some(source));
            changed = true;
        }
    }
    Ok(changed)
}

fn node_with_perm(edit: &Edit<'_>, id: crate::hub::NodeId, perm: &[usize]) -> Option<Node> {
    let mut node = edit.body().node(id)?.clone();
    node.attrs.retain(|a| a.name != "perm");
    let perm = perm.iter().map(|i| i64::try_from(*i).ok()).collect::<Option<Vec<_>>>()?;
    Some(node.with("perm", AttrValue::Ints(perm)))
}

/// Where each axis comes from; without the attribute the order is reversed.
pub(in super::super) fn perm(cx: &Cx<'_>, node: &Node) -> Option<Vec<usize>> {
    let perm: Vec<usize> = match node.attr("perm") {
        Some(value) => {
            value.as_ints()?.iter().map(|i| usize::try_from(*i).ok()).collect::<Option<_>>()?
        }
        None => (0..cx.rank(node.input(0)?)?).rev().collect(),
    };
    let mut sorted = perm.clone();
    sorted.sort_unstable();
    sorted.iter().copied().eq(0..perm.len()).then_some(perm)
}
