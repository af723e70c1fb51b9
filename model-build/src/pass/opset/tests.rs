//! Adapters on small graphs: what nodes become, and what is refused.

use super::*;
use crate::error::ErrorKind;
use crate::hub::{DType, Dim, Node, Tensor, Type, ValueId};

/// A graph of one node: inputs `(name, type, shape)`, then constants, then the node's output `y`.
fn graph(
    opset: i64,
    op: &str,
    inputs: &[(&str, DType, &[u64])],
    constants: &[Tensor],
    attrs: &[(&str, AttrValue)],
) -> Graph {
    let mut g = Graph::new("g", 8, opset);
    let mut ids: Vec<ValueId> = Vec::new();
    for (name, dtype, shape) in inputs {
        let id = g.body.intern(name).unwrap();
        g.body.value_mut(id).ty = Some(Type::tensor(*dtype, shape.iter().map(|d| Dim::Fixed(*d))));
        g.body.add_input(id);
        ids.push(id);
    }
    let mut edit = g.edit();
    for tensor in constants {
        ids.push(edit.constant("c", tensor.clone()).unwrap());
    }
    edit.op(op, "y", &ids, attrs).unwrap();
    edit.finish().unwrap();
    let y = g.body.find("y").unwrap();
    g.body.add_output(y);
    g
}

fn ops(g: &Graph) -> Vec<String> {
    g.body.nodes().map(|(_, n)| n.op.clone()).collect()
}

fn converted(g: &Graph, to: i64) -> Graph {
    let mut out = g.clone();
    convert(&mut out, to).unwrap();
    assert_eq!(out.opset(), to);
    let last = out.body.outputs()[0];
    assert_eq!(out.body.value(last).name, "y", "outputs keep their names");
    out
}

fn refused(g: &Graph, to: i64) -> (Refusal, String) {
    let mut out = g.clone();
    let error = convert(&mut out, to).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert_eq!(out.opset(), g.opset(), "a refused graph stays as it was");
    (refusal(&error).unwrap(), error.report())
}

fn list(values: &[i64]) -> Tensor {
    Tensor::from_i64(vec![values.len() as u64], values).unwrap()
}

fn only(g: &Graph) -> &Node {
    let nodes: Vec<&Node> = g.body.nodes().map(|(_, n)| n).collect();
    assert_eq!(nodes.len(), 1, "{:?}", ops(g));
    nodes[0]
}

const X: (&str, DType, &[u64]) = ("x", DType::F32, &[2, 3, 4]);

#[test]
fn axes_move_between_attribute_and_input() {
    let g = graph(13, "Unsqueeze", &[X], &[list(&[-1])], &[]);
    let old = converted(&g, 12);
    assert_eq!(only(&old).attr("axes").unwrap().as_ints(), Some(&[-1][..]));
    let older = converted(&g, 10);
    assert_eq!(only(&older).attr("axes").unwrap().as_ints(), Some(&[3][..]));
    let back = converted(&older, 18);
    assert!(only(&back).attr("axes").is_none());
    let axes = only(&back).input(1).unwrap();
    assert_eq!(back.body.constant(axes).unwrap().to_i64().unwrap()[..], [3]);
}

#[test]
fn an_axis_that_is_computed_is_refused_with_node_and_way_out() {
    let g = graph(18, "ReduceMean", &[X, ("axes", DType::I64, &[1])], &[], &[]);
    let (kind, report) = refused(&g, 17);
    assert_eq!(kind, Refusal::NotConstant);
    assert!(report.contains("`y` (ReduceMean)"), "{report}");
    assert!(report.contains("`opset-version = 18` or newer"), "{report}");
}

#[test]
fn a_reduction_over_no_axis_is_the_tensor_itself() {
    let noop = [("noop_with_empty_axes", AttrValue::Int(1))];
    let g = graph(18, "ReduceSum", &[X], &[], &noop);
    assert_eq!(ops(&converted(&g, 12)), ["Identity"]);
}

#[test]
fn a_softmax_of_an_inner_axis_turns_it_to_the_end() {
    let g = graph(13, "Softmax", &[X], &[], &[("axis", AttrValue::Int(1))]);
    assert_eq!(ops(&converted(&g, 12)), ["Transpose", "Softmax", "Transpose"]);
    let last = graph(13, "Softmax", &[X], &[], &[]);
    assert_eq!(only(&converted(&last, 7)).attr("axis").unwrap().as_int(), Some(2));
    // The other way around the old one is over all axes from 1 on.
    let old = graph(12, "Softmax", &[X], &[], &[]);
    assert_eq!(ops(&converted(&old, 13)), ["Flatten", "Softmax", "Shape", "Reshape"]);
}

#[test]
fn bounds_of_a_clip_become_attributes_or_nodes() {
    let number = Tensor::from_f32(vec![], &[0.5]).unwrap();
    let g = graph(13, "Clip", &[X], std::slice::from_ref(&number), &[]);
    assert_eq!(only(&converted(&g, 7)).attr("min").unwrap().as_float(), Some(0.5));
    let open = graph(13, "Clip", &[X, ("low", DType::F32, &[])], &[], &[]);
    assert_eq!(ops(&converted(&open, 10)), ["Max"]);
}

#[test]
fn steps_of_a_slice_become_positions() {
    let inputs = [list(&[0]), list(&[100]), list(&[2]), list(&[2])];
    let g = graph(13, "Slice", &[X], &inputs, &[]);
    let old = converted(&g, 9);
    assert_eq!(ops(&old), ["Gather"]);
    let at = only(&old).input(1).unwrap();
    assert_eq!(old.body.constant(at).unwrap().to_i64().unwrap()[..], [0, 2]);
}

#[test]
fn a_layer_normalization_is_made_of_means() {
    let scale = Tensor::from_f32(vec![4], &[1.0; 4]).unwrap();
    let g = graph(17, "LayerNormalization", &[X], &[scale.clone(), scale], &[]);
    let old = converted(&g, 7);
    assert!(!ops(&old).contains(&"LayerNormalization".to_owned()));
    assert_eq!(ops(&old).iter().filter(|op| *op == "ReduceMean").count(), 2);
    assert_eq!(old.ir_version, 3);
    let inputs = old.body.inputs();
    assert!(old.body.initializers().all(|(id, ..)| inputs.contains(&id)), "as IR version 3 asks");
    let again = converted(&old, 17);
    assert_eq!(again.body.inputs().len(), 1, "initializers are inputs no longer");
    assert_eq!(again.ir_version, 8);
}

#[test]
fn a_type_that_an_old_definition_lacks_is_cast_around_where_that_is_exact() {
    let bytes: [(&str, DType, &[u64]); 2] = [("a", DType::I8, &[3]), ("b", DType::I8, &[3])];
    let g = graph(13, "Max", &bytes, &[], &[]);
    assert_eq!(ops(&converted(&g, 11)), ["Cast", "Cast", "Max", "Cast"]);
    let long: [(&str, DType, &[u64]); 2] = [("a", DType::I64, &[3]), ("b", DType::I64, &[3])];
    let (kind, report) = refused(&graph(13, "Max", &long, &[], &[]), 11);
    assert_eq!(kind, Refusal::ElementType);
    assert!(report.contains("`Max` does not take i64"), "{report}");
}

#[test]
fn attributes_that_say_nothing_go_and_others_are_refused() {
    let attr = |v: i64| [("axis", AttrValue::Int(1)), ("batch_dims", AttrValue::Int(v))];
    let inputs = [X, ("at", DType::I64, &[2, 1])];
    let g = graph(13, "GatherND", &inputs, &[], &attr(0)[1..]);
    assert!(only(&converted(&g, 11)).attrs.is_empty());
    let (kind, report) = refused(&graph(13, "GatherND", &inputs, &[], &attr(1)[1..]), 11);
    assert_eq!(kind, Refusal::Feature);
    assert!(report.contains("`batch_dims`"), "{report}");
}

#[test]
fn an_operator_that_is_made_of_no_others_is_refused() {
    let g = graph(17, "DFT", &[("x", DType::F32, &[1, 8, 1])], &[], &[]);
    let (kind, report) = refused(&g, 16);
    assert_eq!(kind, Refusal::NoOperator);
    assert!(report.contains("`DFT` does not exist before opset 17"), "{report}");
}

#[test]
fn nodes_of_subgraphs_are_converted_with_what_they_capture() {
    let mut inner = Body::default();
    let x = inner.intern("x").unwrap();
    let y = inner.intern("inner").unwrap();
    let axis = ("axis", AttrValue::Int(1));
    inner.add_node(Node::new("Softmax", &[x], &[y]).with(axis.0, axis.1)).unwrap();
    inner.add_output(y);
    let branch = AttrValue::Graph(Box::new(inner));
    let branches = [("then_branch", branch.clone()), ("else_branch", branch)];
    let mut g = graph(13, "If", &[("cond", DType::Bool, &[])], &[], &branches);
    let x = g.body.intern("x").unwrap();
    g.body.value_mut(x).ty = Some(Type::tensor(DType::F32, [2, 3, 4].map(Dim::Fixed)));
    g.body.add_input(x);
    let old = converted(&g, 12);
    for inner in only(&old).subgraphs() {
        let ops: Vec<&str> = inner.nodes().map(|(_, n)| n.op.as_str()).collect();
        assert_eq!(ops, ["Transpose", "Softmax", "Transpose"]);
    }
}

#[test]
fn axes_computed_from_known_shapes_count_as_constants() {
    let mut g = graph(18, "Shape", &[X], &[], &[]);
    let (x, shape) = (g.body.inputs()[0], g.body.find("y").unwrap());
    let mut edit = g.edit();
    edit.rename(shape, "shape").unwrap();
    let two = edit.constant("two", list(&[0])).unwrap();
    let axes = edit.op("Gather", "axes", &[shape, two], &[]).unwrap();
    let mean = edit.op("ReduceMean", "y", &[x, axes], &[]).unwrap();
    edit.replace_uses(shape, mean).unwrap();
    let gather = edit.producer(axes).unwrap();
    edit.set_input(gather, 0, Some(shape));
    edit.finish().unwrap();
    let mut old = g.clone();
    convert(&mut old, 17).unwrap();
    let mean = old.body.nodes().find(|(_, n)| n.is("ReduceMean")).unwrap().1;
    assert_eq!(mean.attr("axes").unwrap().as_ints(), Some(&[2][..]));
}

#[test]
fn versions_out_of_range_are_refused_with_the_range() {
    let mut g = graph(17, "Relu", &[X], &[], &[]);
    for to in [6, 29] {
        let error = convert(&mut g, to).unwrap_err();
        assert!(error.to_string().contains("between 7 and 28"), "{error}");
    }
    g.opsets.insert(String::new(), 6);
    assert!(convert(&mut g, 17).unwrap_err().to_string().contains("the graph is of opset 6"));
}

#[test]
fn every_step_names_an_operator_and_a_version_of_the_table_once() {
    let mut seen = std::collections::BTreeSet::new();
    for step in STEPS.iter().copied().flatten() {
        assert!(table::changes(step.op, step.version), "{}@{}", step.op, step.version);
        assert!(seen.insert((step.op, step.version)), "{}@{} twice", step.op, step.version);
    }
}

#[test]
fn every_operator_that_shapes_are_inferred_of_is_in_the_table() {
    // ONNX Runtime's own, which it keeps in the standard domain.
    let foreign = |op: &str| op == "SimplifiedLayerNormalization";
    for def in op::ALL.iter().filter(|def| def.domain.is_empty() && !foreign(def.op)) {
        assert!(table::first(def.op).is_some(), "{}", def.op);
    }
}
