//! What the pass makes of small graphs, by structure.

use super::*;
use crate::hub::{Dim, Edit, Tensor, Type};
use crate::pass::Range;

/// x ─▶ Conv ─▶ Relu ─▶ Flatten ─▶ Gemm ─▶ Softmax ─▶ y
fn graph() -> Graph {
    let mut g = Graph::new("g", 8, 17);
    let x = g.body.intern("x").unwrap();
    g.body.value_mut(x).ty = Some(Type::tensor(
        DType::F32,
        [Dim::symbol("batch"), Dim::Fixed(2), Dim::Fixed(4), Dim::Fixed(4)],
    ));
    g.body.add_input(x);
    let ramp = |n: u16| (0..n).map(|i| f32::from(i) / f32::from(n) - 0.4).collect::<Vec<_>>();
    let mut e = g.edit();
    let constant = |e: &mut Edit<'_>, name: &str, shape: Vec<u64>| {
        let n = u16::try_from(shape.iter().product::<u64>()).unwrap();
        e.constant(name, Tensor::from_f32(shape, &ramp(n)).unwrap()).unwrap()
    };
    let w = constant(&mut e, "conv.weight", vec![3, 2, 3, 3]);
    let b = constant(&mut e, "conv.bias", vec![3]);
    let conv = e.op("Conv", "conv", &[x, w, b], &[]).unwrap();
    let relu = e.op("Relu", "relu", &[conv], &[]).unwrap();
    let flat = e.op("Flatten", "flat", &[relu], &[]).unwrap();
    let w = constant(&mut e, "fc.weight", vec![12, 5]);
    let b = constant(&mut e, "fc.bias", vec![5]);
    let fc = e.op("Gemm", "fc", &[flat, w, b], &[]).unwrap();
    let y = e.op("Softmax", "y", &[fc], &[]).unwrap();
    let _ = y;
    e.finish().unwrap();
    let y = g.body.find("y").unwrap();
    g.body.add_output(y);
    op::infer(&mut g).unwrap();
    g
}

fn observed(names: &[String]) -> Observed {
    let range = Range { min: -1.0, max: 1.0 };
    Observed {
        ranges: names.iter().map(|name| (name.clone(), range)).collect(),
        ..Observed::default()
    }
}

fn quantized(params: &[(&str, &str)]) -> Graph {
    let mut g = graph();
    let params = Params(params.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect());
    let seen = observed(&wanted(&g, &params).unwrap());
    (STATIC_INT8.run)(&mut g, &params, &seen).unwrap();
    g
}

fn ops(g: &Graph) -> Vec<&str> {
    g.body.nodes().map(|(_, n)| n.op.as_str()).filter(|op| !op.ends_with("tizeLinear")).collect()
}

fn count(g: &Graph, op: &str) -> usize {
    g.body.nodes().filter(|(_, n)| n.op == op).count()
}

#[test]
fn only_values_with_ranges_of_their_own_are_asked_for() {
    let names = wanted(&graph(), &Params::default()).unwrap();
    // Conv's output has the range of Relu's, Flatten's that of its input, Softmax's is known.
    assert_eq!(names, ["fc", "relu", "x"]);
}

#[test]
fn relu_goes_and_every_value_has_one_pair() {
    let g = quantized(&[]);
    assert_eq!(ops(&g), ["Conv", "Flatten", "Gemm", "Softmax"]);
    // x, relu, flat, fc, y
    assert_eq!(count(&g, "QuantizeLinear"), 5);
    assert_eq!(count(&g, "DequantizeLinear"), 5 + 4);
    let y = g.body.outputs()[0];
    assert_eq!(g.body.value(y).name, "y");
    let i32s = g
        .body
        .initializers()
        .filter(|(_, v, t)| t.dtype() == DType::I32 && !v.name.ends_with("zero_point"));
    assert_eq!(i32s.count(), 2);
}

#[test]
fn relu_stays_where_activations_are_symmetric() {
    let g = quantized(&[("symmetric", "true")]);
    assert_eq!(ops(&g), ["Conv", "Relu", "Flatten", "Gemm", "Softmax"]);
}

#[test]
fn integer_operators_take_the_place_of_pairs() {
    let g = quantized(&[("form", "qoperator"), ("per-channel", "true")]);
    assert_eq!(ops(&g), ["QLinearConv", "Flatten", "QGemm", "QLinearSoftmax"]);
    assert_eq!((count(&g, "QuantizeLinear"), count(&g, "DequantizeLinear")), (1, 1));
    assert_eq!(g.opsets["com.microsoft"], 1);
    let scales = g.body.find("conv.weight_scale").unwrap();
    assert_eq!(g.body.constant(scales).unwrap().shape(), [3]);
}

#[test]
fn excluded_nodes_keep_their_weights() {
    let g = quantized(&[("exclude", "^fc$")]);
    assert!(g.body.find("fc.weight").is_some() && g.body.find("conv.weight").is_none());
    assert_eq!(count(&g, "QuantizeLinear"), 5);
}

#[test]
fn sixteen_bits_before_opset_21_are_of_the_microsoft_domain() {
    let g = quantized(&[("activations", "uint16")]);
    let pairs = g.body.nodes().filter(|(_, n)| n.op == "QuantizeLinear");
    assert!(pairs.into_iter().all(|(_, n)| n.domain == "com.microsoft"));
    let params = Params::new([("activations", "int16"), ("form", "qoperator")]);
    assert!(wanted(&graph(), &params).unwrap_err().to_string().contains("16 bits"));
}

#[test]
fn a_value_that_was_not_observed_is_an_error_that_names_it() {
    let mut g = graph();
    let error = (STATIC_INT8.run)(&mut g, &Params::default(), &Observed::default()).unwrap_err();
    assert!(error.to_string().contains("not observed"), "{error}");
}

#[test]
fn scales_of_the_source_are_kept_and_its_weights_folded() {
    let mut g = graph();
    // What training leaves: a pair on the input and one on the weight of the convolution.
    let (x, w) = (g.body.find("x").unwrap(), g.body.find("conv.weight").unwrap());
    let mut e = g.edit();
    let scale = e.constant("s", Tensor::from_f32(vec![], &[0.02]).unwrap()).unwrap();
    let zero = Tensor::new(DType::I8, vec![], vec![0].into()).unwrap();
    let zero = e.constant("z", zero).unwrap();
    for value in [x, w] {
        let users = e.uses(value).to_vec();
        let q = e.op("QuantizeLinear", "q", &[value, scale, zero], &[]).unwrap();
        let d = e.op("DequantizeLinear", "d", &[q, scale, zero], &[]).unwrap();
        for u in users {
            if let crate::hub::Use::Input(id, at) = u {
                e.set_input(id, at, Some(d));
            }
        }
    }
    e.finish().unwrap();
    let qat = Params::new([("method", "qat")]);
    let mut folded = g.clone();
    (STATIC_INT8.run)(&mut folded, &qat, &Observed::default()).unwrap();
    assert_eq!(count(&folded, "QuantizeLinear"), 1);
    assert!(folded.body.find("conv.weight").is_none());
    assert!(folded.body.find("fc.weight").is_some());
    // The rest can be quantized from observations; what has scales is not asked for.
    let names = wanted(&g, &Params::default()).unwrap();
    assert_eq!(names, ["fc", "relu"]);
    (STATIC_INT8.run)(&mut g, &Params::default(), &observed(&names)).unwrap();
    assert_eq!((count(&g, "QuantizeLinear"), count(&g, "DequantizeLinear")), (5, 8));
    let mut plain = graph();
    let error = (STATIC_INT8.run)(&mut plain, &qat, &Observed::default()).unwrap_err();
    assert!(error.to_string().contains("no scales"), "{error}");
}
