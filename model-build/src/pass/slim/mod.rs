//! Rewrites that fold constants and remove what does nothing.
#![allow(clippy::unnecessary_wraps)] // every rewrite has one signature, whether it can fail or not

mod cast;
mod clip;
mod common_subexpressions;
mod constant_if;
mod constant_nodes;
mod dropout;
mod expand_shape;
mod fold_constants;
mod idempotent;
mod identity;
mod known_values;
mod neutral;
mod reshape_chain;
mod reshape_target;
mod same_shape;
mod shared_constants;
mod single_input;
mod slice_chain;
mod transpose;
mod transposed_weight;
mod unused_nodes;

pub(super) use cast::CAST;
pub(super) use clip::CLIP;
pub(super) use common_subexpressions::COMMON_SUBEXPRESSIONS;
pub(super) use constant_if::CONSTANT_IF;
pub(super) use constant_nodes::CONSTANT_NODES;
pub(super) use dropout::DROPOUT;
pub(super) use expand_shape::EXPAND_SHAPE;
pub(super) use fold_constants::FOLD_CONSTANTS;
pub(super) use idempotent::IDEMPOTENT;
pub(super) use identity::IDENTITY;
pub(super) use known_values::KNOWN_VALUES;
pub(super) use neutral::NEUTRAL;
pub(super) use reshape_chain::RESHAPE_CHAIN;
pub(super) use reshape_target::RESHAPE_TARGET;
pub(super) use same_shape::SAME_SHAPE;
pub(super) use shared_constants::{SHARED_CONSTANTS, SHARED_WEIGHTS};
pub(super) use single_input::SINGLE_INPUT;
pub(super) use slice_chain::SLICE_CHAIN;
pub(super) use transpose::{TRANSPOSE, perm};
pub(super) use transposed_weight::TRANSPOSED_WEIGHT;
pub(super) use unused_nodes::UNUSED_NODES;

use super::pipeline::Cx;
use crate::error::Result;
use crate::hub::{Edit, Node, NodeId, Use, ValueId};

/// Removes a node that gives what `value` already is: its first output's users use that. Says whether
/// it could be done: an output of the graph keeps its name.
fn bypass(edit: &mut Edit<'_>, id: NodeId, value: ValueId) -> Result<bool> {
    let Some(output) = edit.body().node(id).and_then(|n| n.output(0)) else { return Ok(false) };
    if output == value || !edit.can_replace(output, value) {
        return Ok(false);
    }
    edit.replace_uses(output, value)?;
    edit.remove(id);
    Ok(true)
}

/// Runs `of` over the nodes of some operators of the standard domain; it gives the value that a node's
/// output already is.
fn bypass_each(
    edit: &mut Edit<'_>,
    ops: &[&str],
    of: impl Fn(&Edit<'_>, &Node) -> Option<ValueId>,
) -> Result<bool> {
    let ids: Vec<NodeId> = edit
        .body()
        .nodes()
        .filter(|(_, n)| ops.iter().any(|op| n.is(op)))
        .map(|(id, _)| id)
        .collect();
    let mut changed = false;
    for id in ids {
        let Some(node) = edit.body().node(id) else { continue };
        if let Some(value) = of(edit, node) {
            changed |= bypass(edit, id, value)?;
        }
    }
    Ok(changed)
}

/// Whether a value is an output of the graph.
fn is_output(edit: &Edit<'_>, value: ValueId) -> bool {
    edit.uses(value).iter().any(|u| matches!(u, Use::Output(_)))
}

/// Whether two values have one known shape.
fn same_shape(cx: &Cx<'_>, a: ValueId, b: ValueId) -> bool {
    match (cx.shape(a), cx.shape(b)) {
        (Some(x), Some(y)) => x.len() == y.len() && x.iter().zip(y).all(|(x, y)| x.same(y)),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
