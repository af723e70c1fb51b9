//! Small graphs for the tests of rewrites.

use super::{OPTIMIZE, Observed, Params};
use crate::hub::{AttrValue, DType, Dim, Graph, Tensor, Type, ValueId};

/// A graph of an operator set with inputs of those types: axes are numbers or names.
pub(super) fn graph(opset: i64, inputs: &[(&str, DType, &[&str])]) -> Graph {
    let mut g = Graph::new("g", 8, opset);
    for (name, dtype, dims) in inputs {
        let id = g.body.intern(name).unwrap();
        let dims = dims.iter().map(|d| d.parse().map_or_else(|_| Dim::symbol(d), Dim::Fixed));
        g.body.value_mut(id).ty = Some(Type::tensor(*dtype, dims));
        g.body.add_input(id);
    }
    g
}

/// A node with one output of that name; gives the output.
pub(super) fn op(
    g: &mut Graph,
    op: &str,
    name: &str,
    inputs: &[&str],
    attrs: &[(&str, AttrValue)],
) -> ValueId {
    let inputs: Vec<ValueId> = inputs.iter().map(|n| g.body.intern(n).unwrap()).collect();
    let mut edit = g.edit();
    let out = edit.op(op, name, &inputs, attrs).unwrap();
    // Unfinished on purpose: a swept value would be missing in the next call.
    drop(edit);
    out
}

/// An integer constant: `[n]`.
pub(super) fn ints(g: &mut Graph, name: &str, values: &[i64]) {
    constant(g, name, Tensor::from_i64(vec![values.len() as u64], values).unwrap());
}

/// A constant of f32.
pub(super) fn floats(g: &mut Graph, name: &str, shape: &[u64], values: &[f32]) {
    constant(g, name, Tensor::from_f32(shape.to_vec(), values).unwrap());
}

/// A constant.
pub(super) fn constant(g: &mut Graph, name: &str, tensor: Tensor) {
    let id = g.body.intern(name).unwrap();
    g.edit().set_constant(id, tensor);
}

/// Makes values outputs of the graph.
pub(super) fn outputs(g: &mut Graph, names: &[&str]) {
    for name in names {
        let id = g.body.find(name).unwrap();
        g.body.add_output(id);
    }
}

/// What is left of a graph that was optimized: `out = Op(inputs)` for each node, in order.
pub(super) fn optimized(g: &mut Graph, params: &[(&str, &str)]) -> Vec<String> {
    let params = params.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    (OPTIMIZE.run)(g, &Params(params), &Observed::default()).unwrap();
    nodes(&g.body)
}

/// The nodes of a body: `out = Op(inputs)`.
pub(super) fn nodes(body: &crate::hub::Body) -> Vec<String> {
    let name = |id: &Option<ValueId>| id.map_or("", |id| body.value(id).name.as_str()).to_owned();
    let list = |ids: &[Option<ValueId>]| ids.iter().map(name).collect::<Vec<_>>().join(", ");
    body.nodes()
        .map(|(_, n)| format!("{} = {}({})", list(&n.outputs), n.op, list(&n.inputs)))
        .collect()
}

/// The elements of an integer constant.
pub(super) fn int_values(g: &Graph, name: &str) -> Vec<i64> {
    g.body.constant(g.body.find(name).unwrap()).unwrap().to_i64().unwrap().to_vec()
}

/// The elements of a floating-point constant.
pub(super) fn float_values(g: &Graph, name: &str) -> Vec<f32> {
    g.body.constant(g.body.find(name).unwrap()).unwrap().to_f32().unwrap()
}

/// Only what keeps the numbers.
pub(super) const GRAPH: &[(&str, &str)] = &[("graph", "true")];
/// Fusions too.
pub(super) const FUSED: &[(&str, &str)] = &[("graph", "true"), ("fusion", "standard")];
