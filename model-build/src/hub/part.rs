//! A part of a graph as a graph of its own.

use std::collections::{BTreeMap, BTreeSet};

use super::{Body, Dim, Edit, Graph, NodeId, Type, Value, ValueId};
use crate::error::{Error, Result};

/// The part of a graph that computes some of its values from others.
#[derive(Clone, Debug)]
pub struct Part {
    /// The part. Its inputs are those inputs of the whole that it needs, then the given values, each
    /// under its own name.
    pub graph: Graph,
    /// The given values that it needs, in the order of the graph.
    pub given: Vec<String>,
    /// For each wanted value, what the part calls it: another name where the value is given too,
    /// since then it is computed anew from what is before it.
    pub outputs: BTreeMap<String, String>,
}

/// Takes the nodes that compute the values `wanted` from graph inputs, constants and those values
/// that `given` says are given. A given value is not computed, unless it is wanted.
///
/// ```text
/// whole:                          x ─ A ─ a ─ B ─ b ─ C ─ c
/// wanted b and c, given a and b:  a ─ B ─ b_1    b ─ C ─ c
/// ```
///
/// # Errors
/// No node computes a wanted value.
pub fn part(whole: &Graph, wanted: &[&str], given: &dyn Fn(&str) -> bool) -> Result<Part> {
    let body = &whole.body;
    let mut producer: BTreeMap<ValueId, NodeId> = BTreeMap::new();
    for (id, node) in body.nodes() {
        producer.extend(node.outputs.iter().flatten().map(|value| (*value, id)));
    }
    let mut stack = Vec::new();
    for name in wanted {
        let made = body.find(name).and_then(|id| producer.get(&id));
        stack.push(*made.ok_or_else(|| Error::bug("no node computes this value").item(*name))?);
    }
    let (mut kept, mut fed) = (BTreeSet::new(), BTreeSet::new());
    while let Some(id) = stack.pop() {
        if !kept.insert(id) {
            continue;
        }
        for value in reads(body, id) {
            let Some(made) = producer.get(&value) else { continue };
            if given(&body.value(value).name) {
                fed.insert(value);
            } else {
                stack.push(*made);
            }
        }
    }
    cut(whole, &kept, &fed, wanted)
}

/// The values of the graph that a node reads, in its subgraphs too.
fn reads(body: &Body, id: NodeId) -> Vec<ValueId> {
    let Some(node) = body.node(id) else { return Vec::new() };
    let captured = node.subgraphs().flat_map(Body::captures).filter_map(|name| body.find(name));
    node.inputs.iter().flatten().copied().chain(captured).collect()
}

fn cut(
    whole: &Graph,
    kept: &BTreeSet<NodeId>,
    fed: &BTreeSet<ValueId>,
    wanted: &[&str],
) -> Result<Part> {
    let mut graph = whole.clone();
    let body = &mut graph.body;
    let read: BTreeSet<ValueId> = kept.iter().flat_map(|id| reads(body, *id)).collect();
    for (i, slot) in body.nodes.iter_mut().enumerate() {
        let id = u32::try_from(i).map(NodeId);
        if !id.is_ok_and(|id| kept.contains(&id)) {
            *slot = None;
        }
    }
    let mut outputs = BTreeMap::new();
    let mut results = Vec::new();
    for name in wanted {
        let Some(id) = body.find(name) else { continue };
        let own = if fed.contains(&id) { recomputed(body, id)? } else { id };
        if outputs.insert((*name).to_owned(), body.value(own).name.clone()).is_none() {
            results.push(own);
        }
    }
    for id in fed
        .iter()
        .filter(|id| !wanted.contains(&body.value(**id).name.as_str()))
        .copied()
        .collect::<Vec<_>>()
    {
        recomputed(body, id)?;
    }
    body.outputs = results;
    body.inputs.retain(|id| read.contains(id));
    for id in fed {
        let value = body.value_mut(*id);
        // The axes' names are facts about the whole; lengths of a part are what it is fed with.
        if let Some(Type::Tensor { shape: Some(shape), .. }) = &mut value.ty {
            shape.fill(Dim::Unknown);
        }
        value.exact_type = None;
        body.inputs.push(*id);
    }
    let given = fed.iter().map(|id| body.value(*id).name.clone()).collect();
    Edit::new(body).finish()?;
    Ok(Part { graph, given, outputs })
}

/// Gives what a node computes as `id` another name, so that `id` can be an input; gives the value
/// that the node computes.
fn recomputed(body: &mut Body, id: ValueId) -> Result<ValueId> {
    let Value { name, ty, .. } = body.value(id).clone();
    let name = (1..).map(|n: u64| format!("{name}_{n}")).find(|name| body.find(name).is_none());
    let own = body.add_value(Value { name: name.unwrap_or_default(), ty, ..Value::default() })?;
    for node in body.nodes.iter_mut().flatten() {
        for output in node.outputs.iter_mut().filter(|output| **output == Some(id)) {
            *output = Some(own);
        }
    }
    Ok(own)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::{DType, Node, Tensor};

    /// x ─ A(w) ─ a ─ B ─ b ─ C(w) ─ c
    fn chain() -> Graph {
        let mut graph = Graph::new("g", 8, 17);
        let body = &mut graph.body;
        let [x, w, a, b, c] = ["x", "w", "a", "b", "c"].map(|name| body.intern(name).unwrap());
        body.value_mut(x).ty = Some(Type::tensor(DType::F32, [Dim::symbol("n")]));
        body.value_mut(w).init = Some(Tensor::from_f32(vec![1], &[2.0]).unwrap());
        body.add_input(x);
        body.add_output(c);
        body.add_node(Node::new("Mul", &[x, w], &[a])).unwrap();
        body.add_node(Node::new("Relu", &[a], &[b])).unwrap();
        body.add_node(Node::new("Add", &[b, w], &[c])).unwrap();
        graph
    }

    fn names(body: &Body, ids: &[ValueId]) -> Vec<String> {
        ids.iter().map(|id| body.value(*id).name.clone()).collect()
    }

    #[test]
    fn a_value_that_is_given_and_wanted_is_computed_under_another_name() {
        let part = part(&chain(), &["b", "c"], &|name| name == "a" || name == "b").unwrap();
        let body = &part.graph.body;
        assert_eq!(part.given, ["a", "b"]);
        assert_eq!(names(body, body.inputs()), ["a", "b"]);
        assert_eq!(names(body, body.outputs()), ["b_1", "c"]);
        assert_eq!(part.outputs["b"], "b_1");
        let ops: Vec<&str> = body.nodes().map(|(_, n)| n.op.as_str()).collect();
        assert_eq!(ops, ["Relu", "Add"]);
    }

    #[test]
    fn what_nothing_wanted_needs_is_left_out() {
        let part = part(&chain(), &["b"], &|_| false).unwrap();
        let body = &part.graph.body;
        assert_eq!(names(body, body.inputs()), ["x"]);
        assert_eq!((names(body, body.outputs()), part.given.len()), (vec!["b".to_owned()], 0));
        assert_eq!(body.nodes().count(), 2);
        assert!(body.find("c").is_none());
        assert!(super::part(&chain(), &["x"], &|_| false).is_err(), "no node computes an input");
    }

    #[test]
    fn a_given_value_whose_node_has_another_wanted_output_is_still_given() {
        let mut graph = chain();
        let body = &mut graph.body;
        let (c, d, e) =
            (body.find("c").unwrap(), body.intern("d").unwrap(), body.intern("e").unwrap());
        body.add_node(Node::new("Split", &[c], &[d, e])).unwrap();
        let f = body.intern("f").unwrap();
        body.add_node(Node::new("Relu", &[d], &[f])).unwrap();
        let part = part(&graph, &["e", "f"], &|name| name == "d").unwrap();
        let body = &part.graph.body;
        assert_eq!(names(body, body.inputs()), ["x", "d"]);
        assert_eq!(names(body, body.outputs()), ["e", "f"]);
    }
}
