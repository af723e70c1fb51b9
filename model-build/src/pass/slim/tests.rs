//! Each rewrite on the smallest graph that has it, and on one that must not.

use super::super::testing::{
    GRAPH, constant, floats, graph, int_values, ints, nodes, op, optimized, outputs,
};
use crate::hub::{AttrValue, Body, DType, Graph, Node, Tensor, Type};

const F32: DType = DType::F32;

fn int(v: i64) -> AttrValue {
    AttrValue::Int(v)
}

fn perm(v: &[i64]) -> [(&'static str, AttrValue); 1] {
    [("perm", AttrValue::Ints(v.to_vec()))]
}

/// `x [n, 4]`, what `make` adds, and the outputs of those names.
fn run(make: impl FnOnce(&mut Graph), out: &[&str]) -> Vec<String> {
    let mut g = graph(17, &[("x", F32, &["n", "4"])]);
    make(&mut g);
    outputs(&mut g, out);
    optimized(&mut g, GRAPH)
}

#[test]
fn constant_nodes_become_initializers_but_for_outputs() {
    let left = run(
        |g| {
            let one = |v| AttrValue::Tensor(Tensor::from_f32(vec![1], &[v]).unwrap());
            op(g, "Constant", "c", &[], &[("value", one(2.0))]);
            op(g, "Constant", "d", &[], &[("value", one(3.0))]);
            op(g, "Mul", "y", &["x", "c"], &[]);
        },
        &["y", "d"],
    );
    assert_eq!(left, ["d = Constant()", "y = Mul(x, c)"]);
}

#[test]
fn what_is_made_of_constants_is_computed_and_an_output_of_it_stays_a_node() {
    let left = run(
        |g| {
            floats(g, "a", &[1], &[2.0]);
            op(g, "Neg", "b", &["a"], &[]);
            op(g, "Add", "c", &["a", "b"], &[]);
            op(g, "Exp", "e", &["a"], &[]);
            op(g, "Max", "y", &["x", "b", "e"], &[]);
        },
        &["y", "c"],
    );
    assert_eq!(left, ["e = Exp(a)", "y = Max(x, b, e)", "c = Constant()"]);
}

#[test]
fn an_initializer_that_a_caller_may_override_is_no_constant() {
    for (version, want) in [(8, vec!["b = Neg(a)", "y = Mul(x, b)"]), (3, vec!["y = Mul(x, b)"])] {
        let mut g = graph(9, &[("x", F32, &["n", "4"])]);
        g.ir_version = version;
        floats(&mut g, "a", &[1], &[2.0]);
        let a = g.body.find("a").unwrap();
        g.body.add_input(a);
        op(&mut g, "Neg", "b", &["a"], &[]);
        op(&mut g, "Mul", "y", &["x", "b"], &[]);
        outputs(&mut g, &["y"]);
        assert_eq!(optimized(&mut g, GRAPH), want);
        assert_eq!(g.body.inputs().len(), if version == 8 { 2 } else { 1 });
        assert!(g.ir_version >= 4);
    }
}

#[test]
fn identities_dropouts_and_joins_of_one_are_removed() {
    let left = run(
        |g| {
            op(g, "Identity", "a", &["x"], &[]);
            op(g, "Dropout", "b", &["a"], &[]);
            op(g, "Concat", "c", &["b"], &[("axis", int(0))]);
            op(g, "Sum", "d", &["c"], &[]);
            op(g, "Relu", "e", &["d"], &[]);
            op(g, "Identity", "y", &["e"], &[]);
            op(g, "Identity", "z", &["x"], &[]);
        },
        &["y", "z"],
    );
    assert_eq!(left, ["y = Relu(x)", "z = Identity(x)"], "an input keeps its name and so does z");
}

#[test]
fn a_dropout_that_trains_or_whose_mask_is_used_stays() {
    let mut g = graph(17, &[("x", F32, &["n", "4"]), ("training", DType::Bool, &[])]);
    floats(&mut g, "ratio", &[], &[0.5]);
    op(&mut g, "Dropout", "a", &["x", "ratio", "training"], &[]);
    op(&mut g, "Relu", "y", &["a"], &[]);
    outputs(&mut g, &["y"]);
    assert_eq!(optimized(&mut g, GRAPH).len(), 2);
}

#[test]
fn casts_that_lose_nothing_are_merged() {
    let to = |dtype: DType| [("to", int(dtype.number()))];
    let left = run(
        |g| {
            op(g, "Cast", "a", &["x"], &to(F32));
            op(g, "Cast", "b", &["a"], &to(DType::F64));
            op(g, "Cast", "y", &["b"], &to(DType::F16));
            op(g, "Cast", "c", &["x"], &to(DType::F16));
            op(g, "Cast", "z", &["c"], &to(F32));
        },
        &["y", "z"],
    );
    assert_eq!(left, ["y = Cast(x)", "z = Cast(y)"], "what is lost on the way stays lost");
}

#[test]
fn a_cast_like_of_a_known_type_is_a_cast() {
    let mut g = graph(17, &[("x", F32, &["n"]), ("i", DType::I64, &["n"])]);
    op(&mut g, "CastLike", "y", &["x", "i"], &[]);
    outputs(&mut g, &["y"]);
    assert_eq!(optimized(&mut g, GRAPH), ["y = Cast(x)"]);
}

#[test]
fn a_neutral_element_is_removed_where_the_shape_stays() {
    let left = run(
        |g| {
            floats(g, "zero", &[], &[0.0]);
            floats(g, "ones", &[4], &[1.0; 4]);
            floats(g, "wide", &[1, 1, 1], &[0.0]);
            op(g, "Add", "a", &["zero", "x"], &[]);
            op(g, "Mul", "b", &["a", "ones"], &[]);
            op(g, "Div", "c", &["b", "ones"], &[]);
            op(g, "Sub", "d", &["c", "zero"], &[]);
            op(g, "Relu", "y", &["d"], &[]);
            op(g, "Sub", "z", &["zero", "x"], &[]);
            op(g, "Add", "w", &["x", "wide"], &[]);
        },
        &["y", "z", "w"],
    );
    assert_eq!(left, ["y = Relu(x)", "z = Sub(zero, x)", "w = Add(x, wide)"]);
}

#[test]
fn functions_applied_twice_are_applied_once_or_never() {
    let left = run(
        |g| {
            op(g, "Relu", "a", &["x"], &[]);
            op(g, "Relu", "b", &["a"], &[]);
            op(g, "Neg", "c", &["b"], &[]);
            op(g, "Neg", "d", &["c"], &[]);
            op(g, "Exp", "y", &["d"], &[]);
        },
        &["y"],
    );
    assert_eq!(left, ["a = Relu(x)", "y = Exp(a)"]);
}

#[test]
fn bounds_in_a_row_are_one_pair() {
    let mut g = graph(17, &[("x", F32, &["n", "4"])]);
    for (name, value) in [("low", -1.0), ("high", 6.0), ("zero", 0.5), ("eight", 8.0)] {
        floats(&mut g, name, &[], &[value]);
    }
    op(&mut g, "Relu", "a", &["x"], &[]);
    op(&mut g, "Clip", "b", &["a", "low", "high"], &[]);
    op(&mut g, "Clip", "y", &["b", "zero", "eight"], &[]);
    outputs(&mut g, &["y"]);
    let left = optimized(&mut g, GRAPH);
    assert_eq!(left.len(), 1, "{left:?}");
    let clip = g.body.nodes().next().unwrap().1;
    let bound = |i: usize| g.body.constant(clip.input(i).unwrap()).unwrap().to_f32().unwrap();
    assert_eq!((bound(1), bound(2)), (vec![0.5], vec![6.0]));
}

#[test]
fn changes_of_shape_that_change_nothing_are_removed() {
    let left = run(
        |g| {
            ints(g, "same", &[-1, 4]);
            ints(g, "from", &[0]);
            ints(g, "to", &[i64::MAX]);
            ints(g, "pads", &[0, 0, 0, 0]);
            ints(g, "ones", &[1, 1]);
            op(g, "Reshape", "a", &["x", "same"], &[]);
            op(g, "Slice", "b", &["a", "from", "to"], &[]);
            op(g, "Pad", "c", &["b", "pads"], &[]);
            op(g, "Expand", "d", &["c", "ones"], &[]);
            op(g, "Tile", "e", &["d", "ones"], &[]);
            op(g, "Flatten", "f", &["e"], &[]);
            op(g, "Relu", "y", &["f"], &[]);
        },
        &["y"],
    );
    assert_eq!(left, ["y = Relu(x)"]);
}

#[test]
fn a_slice_backwards_and_a_pad_that_shifts_stay() {
    let left = run(
        |g| {
            ints(g, "last", &[-1]);
            ints(g, "before", &[i64::MIN]);
            ints(g, "axis", &[0]);
            ints(g, "back", &[-1]);
            ints(g, "pads", &[1, 0, -1, 0]);
            op(g, "Slice", "y", &["x", "last", "before", "axis", "back"], &[]);
            op(g, "Pad", "z", &["x", "pads"], &[]);
        },
        &["y", "z"],
    );
    assert_eq!(left.len(), 2);
}

#[test]
fn the_arithmetic_of_shapes_becomes_one_target() {
    let mut g = graph(17, &[("x", F32, &["batch", "sequence", "384"])]);
    ints(&mut g, "zero", &[0]);
    ints(&mut g, "one", &[1]);
    ints(&mut g, "heads", &[12, 32]);
    op(&mut g, "Shape", "shape", &["x"], &[]);
    op(&mut g, "Gather", "batch", &["shape", "zero"], &[]);
    op(&mut g, "Gather", "sequence", &["shape", "one"], &[]);
    op(&mut g, "Concat", "target", &["batch", "sequence", "heads"], &[("axis", int(0))]);
    op(&mut g, "Reshape", "y", &["x", "target"], &[]);
    outputs(&mut g, &["y"]);
    assert_eq!(optimized(&mut g, GRAPH), ["y = Reshape(x, y_target)"]);
    assert_eq!(int_values(&g, "y_target"), [0, 0, 12, 32]);
}

#[test]
fn a_target_of_two_open_axes_stays_computed() {
    let mut g = graph(17, &[("x", F32, &["n", "4"]), ("s", DType::I64, &["2"])]);
    op(&mut g, "Reshape", "y", &["x", "s"], &[]);
    outputs(&mut g, &["y"]);
    assert_eq!(optimized(&mut g, GRAPH), ["y = Reshape(x, s)"]);
}

#[test]
fn integers_that_inference_knows_become_constants() {
    let mut g = graph(17, &[("x", F32, &["2", "3", "n"])]);
    ints(&mut g, "from", &[0]);
    ints(&mut g, "to", &[2]);
    op(&mut g, "Shape", "shape", &["x"], &[]);
    op(&mut g, "Slice", "head", &["shape", "from", "to"], &[]);
    op(&mut g, "Shape", "whole", &["x"], &[]);
    op(&mut g, "ConstantOfShape", "z", &["head"], &[]);
    op(&mut g, "Identity", "w", &["whole"], &[]);
    outputs(&mut g, &["z", "w"]);
    assert_eq!(optimized(&mut g, GRAPH), ["w = Shape(x)", "z = Constant()"]);
}

#[test]
fn changes_of_shape_in_a_row_are_one() {
    let left = run(
        |g| {
            ints(g, "axis", &[1]);
            ints(g, "target", &[-1, 2, 2]);
            op(g, "Unsqueeze", "a", &["x", "axis"], &[]);
            op(g, "Reshape", "y", &["a", "target"], &[]);
        },
        &["y"],
    );
    assert_eq!(left, ["y = Reshape(x, y_target)"]);
}

#[test]
fn slices_of_different_axes_are_one_and_of_the_same_axis_stay() {
    let make = |second: i64| {
        move |g: &mut Graph| {
            ints(g, "one", &[1]);
            ints(g, "three", &[3]);
            ints(g, "first", &[0]);
            ints(g, "second", &[second]);
            op(g, "Slice", "a", &["x", "one", "three", "first"], &[]);
            op(g, "Slice", "y", &["a", "one", "three", "second"], &[]);
        }
    };
    assert_eq!(run(make(1), &["y"]).len(), 1);
    assert_eq!(run(make(-1), &["y"]).len(), 1);
    assert_eq!(run(make(0), &["y"]).len(), 2);
}

#[test]
fn an_expansion_that_broadcasting_does_anyway_is_removed() {
    let left = run(
        |g| {
            floats(g, "c", &[1, 4], &[1.0, 2.0, 3.0, 4.0]);
            op(g, "Shape", "s", &["x"], &[]);
            op(g, "Expand", "e", &["c", "s"], &[]);
            op(g, "Add", "y", &["x", "e"], &[]);
        },
        &["y"],
    );
    assert_eq!(left, ["y = Add(x, c)"]);
}

#[test]
fn transposes_in_a_row_are_one_or_none() {
    let mut g = graph(17, &[("x", F32, &["a", "b", "c"])]);
    op(&mut g, "Transpose", "t", &["x"], &perm(&[0, 2, 1]));
    op(&mut g, "Transpose", "y", &["t"], &perm(&[1, 0, 2]));
    op(&mut g, "Transpose", "u", &["t"], &perm(&[0, 2, 1]));
    op(&mut g, "Relu", "z", &["u"], &[]);
    op(&mut g, "Transpose", "v", &["x"], &perm(&[0, 1, 2]));
    op(&mut g, "Exp", "w", &["v"], &[]);
    outputs(&mut g, &["y", "z", "w"]);
    assert_eq!(optimized(&mut g, GRAPH), ["y = Transpose(x)", "z = Relu(x)", "w = Exp(x)"]);
    let y = g.body.nodes().next().unwrap().1;
    assert_eq!(y.attr("perm").unwrap().as_ints().unwrap(), [2, 0, 1]);
}

#[test]
fn equal_constants_and_equal_nodes_become_one_but_random_ones() {
    let left = run(
        |g| {
            floats(g, "a", &[1], &[2.0]);
            floats(g, "b", &[1], &[2.0]);
            op(g, "Mul", "c", &["x", "a"], &[]);
            op(g, "Mul", "d", &["x", "b"], &[]);
            op(g, "Sub", "y", &["c", "d"], &[]);
            op(g, "RandomNormalLike", "r", &["x"], &[]);
            op(g, "RandomNormalLike", "s", &["x"], &[]);
            op(g, "Sub", "z", &["r", "s"], &[]);
        },
        &["y", "z"],
    );
    assert_eq!(left.iter().filter(|n| n.contains("Mul")).count(), 1, "{left:?}");
    assert_eq!(left.iter().filter(|n| n.contains("Random")).count(), 2, "{left:?}");
}

#[test]
fn what_nothing_uses_is_removed_but_in_domains_that_may_do_more() {
    let left = run(
        |g| {
            op(g, "Exp", "a", &["x"], &[]);
            op(g, "Neg", "b", &["a"], &[]);
            op(g, "Relu", "y", &["x"], &[]);
            let x = g.body.find("x").unwrap();
            let p = g.body.intern("p").unwrap();
            let node = Node { domain: "other".to_owned(), ..Node::new("Print", &[x], &[p]) };
            g.body.add_node(node).unwrap();
        },
        &["y"],
    );
    assert_eq!(left, ["y = Relu(x)", "p = Print(x)"]);
}

/// A branch that gives `op` of a value captured by that name.
fn branch(op: &str, captured: &str) -> AttrValue {
    let mut b = Body::default();
    let x = b.intern(captured).unwrap();
    let a = b.intern("inner").unwrap();
    let y = b.intern(&format!("inner_{op}")).unwrap();
    b.add_node(Node::new("Identity", &[x], &[a])).unwrap();
    b.add_node(Node::new(op, &[a], &[y])).unwrap();
    b.add_output(y);
    AttrValue::Graph(Box::new(b))
}

#[test]
fn an_if_of_a_known_condition_is_the_branch_it_takes() {
    let mut g = graph(17, &[("x", F32, &["n", "4"])]);
    op(&mut g, "Exp", "captured", &["x"], &[]);
    op(&mut g, "Relu", "inner", &["x"], &[]);
    ints(&mut g, "two", &[2]);
    op(&mut g, "Shape", "shape", &["x"], &[]);
    op(&mut g, "Size", "rank", &["shape"], &[]);
    op(&mut g, "Equal", "is_matrix", &["rank", "two"], &[]);
    let branches =
        [("then_branch", branch("Neg", "captured")), ("else_branch", branch("Abs", "x"))];
    op(&mut g, "If", "y", &["is_matrix"], &branches);
    outputs(&mut g, &["y", "inner"]);
    let left = optimized(&mut g, GRAPH);
    assert_eq!(left, ["captured = Exp(x)", "inner = Relu(x)", "y = Neg(captured)"]);
}

#[test]
fn subgraphs_are_rewritten_and_what_they_capture_counts_as_used() {
    let mut g = graph(17, &[("x", F32, &["n", "4"]), ("c", DType::Bool, &[])]);
    op(&mut g, "Identity", "captured", &["x"], &[]);
    op(&mut g, "Exp", "other", &["x"], &[]);
    op(&mut g, "Identity", "same", &["other"], &[]);
    let branches =
        [("then_branch", branch("Neg", "captured")), ("else_branch", branch("Abs", "same"))];
    op(&mut g, "If", "y", &["c"], &branches);
    outputs(&mut g, &["y"]);
    assert_eq!(optimized(&mut g, GRAPH), ["other = Exp(x)", "y = If(c)"]);
    let node = g.body.nodes().last().unwrap().1;
    let inner: Vec<Vec<String>> = node.subgraphs().map(nodes).collect();
    assert_eq!(inner, [["inner_Neg = Neg(x)"], ["inner_Abs = Abs(other)"]]);
}

#[test]
fn constants_of_the_enclosing_graph_are_constants_inside() {
    let mut g = graph(17, &[("x", F32, &["n", "4"]), ("c", DType::Bool, &[])]);
    floats(&mut g, "k", &[1], &[3.0]);
    let mut b = Body::default();
    let (k, x) = (b.intern("k").unwrap(), b.intern("x").unwrap());
    let (n, y) = (b.intern("n").unwrap(), b.intern("inner_y").unwrap());
    b.add_node(Node::new("Neg", &[k], &[n])).unwrap();
    b.add_node(Node::new("Mul", &[x, n], &[y])).unwrap();
    b.add_output(y);
    let branches =
        [("then_branch", AttrValue::Graph(Box::new(b))), ("else_branch", branch("Abs", "x"))];
    op(&mut g, "If", "y", &["c"], &branches);
    outputs(&mut g, &["y"]);
    optimized(&mut g, GRAPH);
    let node = g.body.nodes().last().unwrap().1;
    let inner = node.subgraphs().next().unwrap();
    assert_eq!(nodes(inner), ["inner_y = Mul(x, n)"]);
    let n = inner.constant(inner.find("n").unwrap()).unwrap();
    assert_eq!(n.to_f32().unwrap(), [-3.0]);
    assert!(g.body.find("k").is_none(), "nothing uses it");
}

#[test]
fn large_equal_weights_are_shared_with_the_memory_set_only() {
    for (params, left) in [(GRAPH, 2), (&[("memory", "true")][..], 1)] {
        let mut g = graph(17, &[("x", F32, &["200"])]);
        for name in ["v", "w"] {
            floats(&mut g, name, &[200, 200], &vec![0.5; 40_000]);
        }
        op(&mut g, "Mul", "a", &["x", "v"], &[]);
        op(&mut g, "Sub", "y", &["a", "w"], &[]);
        outputs(&mut g, &["y"]);
        optimized(&mut g, params);
        assert_eq!(g.body.initializers().count(), left);
    }
}

#[test]
fn a_function_of_the_standard_domain_is_refused() {
    let mut g = graph(17, &[("x", F32, &["n"])]);
    g.functions.push(crate::hub::Function { body: Body::new("Relu"), ..Default::default() });
    let params = super::super::Params::new([("graph", "true")]);
    let run = super::super::OPTIMIZE.run;
    let error = run(&mut g, &params, &super::super::Observed::default()).unwrap_err();
    assert!(error.report().contains("Relu"), "{error:?}");
}

#[test]
fn optimizing_twice_changes_nothing_more() {
    let mut g = graph(17, &[("x", F32, &["n", "4"])]);
    constant(&mut g, "k", Tensor::from_f32(vec![4], &[1.0, 2.0, 3.0, 4.0]).unwrap());
    op(&mut g, "Mul", "a", &["x", "k"], &[]);
    op(&mut g, "Softmax", "y", &["a"], &[]);
    outputs(&mut g, &["y"]);
    let once = optimized(&mut g, GRAPH);
    let ty = |g: &Graph| g.body.value(g.body.find("y").unwrap()).ty.clone();
    let first = ty(&g);
    assert_eq!(
        first,
        Some(Type::tensor(F32, [crate::hub::Dim::symbol("n"), crate::hub::Dim::Fixed(4)]))
    );
    assert_eq!(optimized(&mut g, GRAPH), once);
    assert_eq!(ty(&g), first);
}

#[test]
fn a_large_weight_is_transposed_while_it_is_read() {
    let (n, k) = (2100u64, 2001u64); // above what folding reads
    let values: Vec<f32> =
        (0..n * k).map(|i| f32::from(u16::try_from(i % 65521).unwrap())).collect();
    let mut g = graph(17, &[("x", F32, &["m", "2001"])]);
    floats(&mut g, "w", &[n, k], &values);
    op(&mut g, "Transpose", "t", &["w"], &perm(&[1, 0]));
    op(&mut g, "MatMul", "y", &["x", "t"], &[]);
    outputs(&mut g, &["y"]);
    assert_eq!(optimized(&mut g, GRAPH), ["y = MatMul(x, t)"]);
    let turned = g.body.constant(g.body.find("t").unwrap()).unwrap();
    assert_eq!(turned.shape(), [k, n]);
    assert!(turned.ready_bytes().is_none());
    let turned = turned.to_f32().unwrap();
    assert_eq!(turned[1], f32::from(u16::try_from(k).unwrap()));
}
