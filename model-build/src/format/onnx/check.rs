//! What must hold of a graph's names: every value is produced once, every use has a producer that
//! comes before it.

use std::collections::HashSet;

use crate::error::{Error, Result};
use crate::hub::{Body, Edit, Node, ValueId};

/// Checks a main graph or a function's body with all its subgraphs, and sorts the nodes of each if
/// they are not in topological order (ONNX asks for the order; ONNX Runtime accepts any).
pub(super) fn model_body(body: &mut Body) -> Result<()> {
    names(body, &mut Vec::new())?;
    sort(body)
}

/// The names a graph defines: inputs, constants and outputs of nodes.
fn defined(body: &Body) -> Result<HashSet<&str>> {
    let mut names: HashSet<&str> = HashSet::new();
    let mut add = |id: ValueId, by: &dyn Fn() -> String| {
        let name = body.value(id).name.as_str();
        if name.is_empty() {
            return Err(Error::malformed("a value without a name").item(by()));
        }
        if !names.insert(name) {
            return Err(
                Error::malformed(format!("the value `{name}` is produced twice")).item(by())
            );
        }
        Ok(())
    };
    for id in body.inputs() {
        add(*id, &|| "a graph input".to_owned())?;
    }
    for (_, node) in body.nodes() {
        for id in node.outputs.iter().flatten() {
            if body.constant(*id).is_some() || body.value(*id).sparse.is_some() {
                return Err(Error::malformed("an initializer is also a node's output")
                    .item(format!("tensor `{}`", body.value(*id).name)));
            }
            add(*id, &|| node.label())?;
        }
    }
    // With IR version 3 an initializer is an input too.
    for id in body.value_ids() {
        let value = body.value(id);
        if value.init.is_some() || value.sparse.is_some() {
            names.insert(&value.name);
        }
    }
    Ok(names)
}

fn names<'b>(body: &'b Body, outer: &mut Vec<HashSet<&'b str>>) -> Result<()> {
    outer.push(defined(body)?);
    let known = |id: ValueId| {
        let name = body.value(id).name.as_str();
        outer.iter().rev().any(|names| names.contains(name))
    };
    let dangling = |id: ValueId, item: String| {
        Error::malformed(format!(
            "the value `{}` is used, and nothing produces it",
            body.value(id).name
        ))
        .item(item)
    };
    for (_, node) in body.nodes() {
        if let Some(id) = node.inputs.iter().flatten().find(|id| !known(**id)) {
            return Err(dangling(*id, node.label()));
        }
    }
    if let Some(id) = body.outputs().iter().find(|id| !known(**id)) {
        return Err(dangling(*id, format!("output of graph `{}`", body.name)));
    }
    for (_, node) in body.nodes() {
        for inner in node.subgraphs() {
            names(inner, outer).map_err(|e| e.item(node.label()))?;
        }
    }
    outer.pop();
    Ok(())
}

fn sort(body: &mut Body) -> Result<()> {
    body.subgraphs_mut().try_for_each(sort)?;
    if is_sorted(body) { Ok(()) } else { Edit::new(body).finish() }
}

fn is_sorted(body: &Body) -> bool {
    // Values that a node of this graph produces later; what comes from outside is always there.
    let mut later: HashSet<ValueId> =
        body.nodes().flat_map(|(_, n)| n.outputs.iter().flatten().copied()).collect();
    body.nodes().all(|(_, node)| {
        let waits = |id: ValueId| later.contains(&id);
        let early = uses(body, node).into_iter().any(waits);
        for id in node.outputs.iter().flatten() {
            later.remove(id);
        }
        !early
    })
}

/// What a node needs: its inputs and what its subgraphs capture.
fn uses(body: &Body, node: &Node) -> Vec<ValueId> {
    let captured = node.subgraphs().flat_map(Body::captures).filter_map(|name| body.find(name));
    node.inputs.iter().flatten().copied().chain(captured).collect()
}
