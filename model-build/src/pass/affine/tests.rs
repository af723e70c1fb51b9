//! Each fusion on the smallest graph that has it: the constants it leaves, worked out by hand.

use super::super::testing::{FUSED, float_values, floats, graph, op, optimized, outputs};
use crate::hub::{AttrValue, DType, Graph, Node, ValueId};

const F32: DType = DType::F32;

/// `x [n, 2, 5]` through a convolution of width 1 to three channels.
fn conv() -> Graph {
    let mut g = graph(17, &[("x", F32, &["n", "2", "5"])]);
    floats(&mut g, "w", &[3, 2, 1], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    floats(&mut g, "b", &[3], &[10.0, 20.0, 30.0]);
    op(&mut g, "Conv", "c", &["x", "w", "b"], &[]);
    g
}

#[test]
fn a_normalization_becomes_part_of_the_weights_before_it() {
    let mut g = conv();
    floats(&mut g, "gamma", &[3], &[1.0, 2.0, 4.0]);
    floats(&mut g, "beta", &[3], &[0.5, 0.5, 0.5]);
    floats(&mut g, "mean", &[3], &[10.0, 0.0, 2.0]);
    floats(&mut g, "var", &[3], &[0.75, 3.75, 15.75]);
    let attrs = [("epsilon", AttrValue::Float(0.25))];
    op(&mut g, "BatchNormalization", "y", &["c", "gamma", "beta", "mean", "var"], &attrs);
    outputs(&mut g, &["y"]);
    assert_eq!(optimized(&mut g, FUSED), ["y = Conv(x, w, b)"]);
    assert_eq!(float_values(&g, "w"), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    assert_eq!(float_values(&g, "b"), [0.5, 20.5, 28.5]);
}

#[test]
fn scales_and_shifts_by_channel_become_part_of_a_layer() {
    let mut g = conv();
    floats(&mut g, "s", &[3, 1], &[2.0, 4.0, 8.0]);
    floats(&mut g, "t", &[1, 3, 1], &[1.0, 2.0, 3.0]);
    floats(&mut g, "h", &[], &[2.0]);
    op(&mut g, "Mul", "d", &["s", "c"], &[]);
    op(&mut g, "Add", "e", &["d", "t"], &[]);
    op(&mut g, "Sub", "f", &["e", "h"], &[]);
    op(&mut g, "Div", "y", &["f", "h"], &[]);
    outputs(&mut g, &["y"]);
    assert_eq!(optimized(&mut g, FUSED), ["y = Conv(x, w, b)"]);
    assert_eq!(float_values(&g, "w"), [1.0, 2.0, 6.0, 8.0, 20.0, 24.0]);
    assert_eq!(float_values(&g, "b"), [9.5, 40.0, 120.5]);
}

#[test]
fn what_does_not_follow_the_channels_or_is_used_elsewhere_stays() {
    for (shape, values) in [(&[5][..], [1.0; 5].as_slice()), (&[2, 1, 1, 1], &[1.5, 1.5])] {
        let mut g = conv();
        floats(&mut g, "s", shape, values);
        op(&mut g, "Mul", "y", &["c", "s"], &[]);
        op(&mut g, "Add", "z", &["y", "s"], &[]);
        outputs(&mut g, &["z"]);
        assert!(optimized(&mut g, FUSED).iter().any(|n| n.contains("Add")), "{shape:?}");
    }
    let mut g = conv();
    floats(&mut g, "s", &[], &[2.0]);
    op(&mut g, "Mul", "y", &["c", "s"], &[]);
    outputs(&mut g, &["y", "c"]);
    assert_eq!(optimized(&mut g, FUSED).len(), 2);
}

#[test]
fn a_weight_that_another_layer_uses_keeps_its_values_there() {
    let mut g = conv();
    floats(&mut g, "s", &[], &[2.0]);
    op(&mut g, "Mul", "y", &["c", "s"], &[]);
    op(&mut g, "Conv", "z", &["x", "w"], &[]);
    outputs(&mut g, &["y", "z"]);
    assert_eq!(optimized(&mut g, FUSED).len(), 2);
    assert_eq!(float_values(&g, "w"), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    assert_eq!(float_values(&g, "w_weight"), [2.0, 4.0, 6.0, 8.0, 10.0, 12.0]);
}

#[test]
fn a_transposed_convolution_has_its_channels_by_group() {
    let mut g = graph(17, &[("x", F32, &["n", "2", "5"])]);
    floats(&mut g, "w", &[2, 2, 1], &[1.0, 2.0, 3.0, 4.0]);
    floats(&mut g, "s", &[4, 1], &[1.0, 10.0, 100.0, 1000.0]);
    let group = [("group", AttrValue::Int(2))];
    op(&mut g, "ConvTranspose", "c", &["x", "w"], &group);
    op(&mut g, "Mul", "y", &["c", "s"], &[]);
    outputs(&mut g, &["y"]);
    assert_eq!(optimized(&mut g, FUSED), ["y = ConvTranspose(x, w, y_bias)"]);
    assert_eq!(float_values(&g, "w"), [1.0, 20.0, 300.0, 4000.0]);
    assert_eq!(float_values(&g, "y_bias"), [0.0; 4]);
}

#[test]
fn a_product_of_matrices_and_a_sum_become_one_and_take_what_follows() {
    let mut g = graph(17, &[("x", F32, &["n", "2"])]);
    floats(&mut g, "w", &[2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    floats(&mut g, "b", &[3], &[1.0, 2.0, 3.0]);
    floats(&mut g, "s", &[3], &[1.0, 2.0, 4.0]);
    op(&mut g, "MatMul", "m", &["x", "w"], &[]);
    op(&mut g, "Add", "a", &["b", "m"], &[]);
    op(&mut g, "Mul", "y", &["a", "s"], &[]);
    outputs(&mut g, &["y"]);
    assert_eq!(optimized(&mut g, FUSED), ["y = Gemm(x, w, b)"]);
    assert_eq!(float_values(&g, "w"), [1.0, 4.0, 12.0, 4.0, 10.0, 24.0]);
    assert_eq!(float_values(&g, "b"), [1.0, 4.0, 12.0]);
}

#[test]
fn before_a_quantization_a_product_of_matrices_stays() {
    let mut g = graph(17, &[("x", F32, &["n", "2"])]);
    floats(&mut g, "w", &[2, 3], &[1.0; 6]);
    floats(&mut g, "b", &[3], &[1.0, 2.0, 3.0]);
    op(&mut g, "MatMul", "m", &["x", "w"], &[]);
    op(&mut g, "Add", "y", &["b", "m"], &[]);
    outputs(&mut g, &["y"]);
    let params = [FUSED, &[("open", "true")]].concat();
    assert_eq!(optimized(&mut g, &params), ["m = MatMul(x, w)", "y = Add(b, m)"]);
}

#[test]
fn a_product_of_more_axes_stays_a_product() {
    let mut g = graph(17, &[("x", F32, &["n", "s", "2"])]);
    floats(&mut g, "w", &[2, 3], &[1.0; 6]);
    floats(&mut g, "b", &[3], &[1.0, 2.0, 3.0]);
    op(&mut g, "MatMul", "m", &["x", "w"], &[]);
    op(&mut g, "Add", "y", &["b", "m"], &[]);
    outputs(&mut g, &["y"]);
    assert_eq!(optimized(&mut g, FUSED).len(), 2);
}

#[test]
fn a_transposed_factor_is_read_as_it_was_and_scaled_by_its_rows() {
    let mut g = graph(17, &[("x", F32, &["n", "2"]), ("v", F32, &["3", "2"])]);
    floats(&mut g, "b", &[3], &[1.0, 2.0, 3.0]);
    op(&mut g, "Transpose", "t", &["v"], &[("perm", AttrValue::Ints(vec![1, 0]))]);
    op(&mut g, "Gemm", "y", &["x", "t", "b"], &[]);
    outputs(&mut g, &["y"]);
    assert_eq!(optimized(&mut g, FUSED), ["y = Gemm(x, v, b)"]);
    let int = |n: &Node| n.attr("transB").and_then(AttrValue::as_int);
    assert_eq!(int(g.body.nodes().next().unwrap().1), Some(1));
}

#[test]
fn a_gemm_keeps_its_factors_when_it_takes_a_scale() {
    let mut g = graph(17, &[("x", F32, &["n", "2"])]);
    floats(&mut g, "w", &[3, 2], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    floats(&mut g, "b", &[1, 3], &[1.0, 2.0, 3.0]);
    floats(&mut g, "s", &[3], &[1.0, 2.0, 4.0]);
    let attrs = [
        ("transB", AttrValue::Int(1)),
        ("alpha", AttrValue::Float(0.5)),
        ("beta", AttrValue::Float(3.0)),
    ];
    op(&mut g, "Gemm", "m", &["x", "w", "b"], &attrs);
    op(&mut g, "Mul", "y", &["m", "s"], &[]);
    outputs(&mut g, &["y"]);
    assert_eq!(optimized(&mut g, FUSED), ["y = Gemm(x, w, b)"]);
    assert_eq!(float_values(&g, "w"), [1.0, 2.0, 6.0, 8.0, 20.0, 24.0]);
    assert_eq!(float_values(&g, "b"), [3.0, 12.0, 36.0]);
    let gemm = g.body.nodes().next().unwrap().1;
    assert_eq!(gemm.attr("alpha").and_then(AttrValue::as_float), Some(0.5));
    assert!(gemm.attr("beta").is_none());
}

#[test]
fn zeros_around_the_input_become_padding_and_other_numbers_do_not() {
    for (fill, left) in [(0.0, 1), (1.0, 2)] {
        let mut g = conv();
        floats(&mut g, "fill", &[], &[fill]);
        super::super::testing::ints(&mut g, "pads", &[0, 0, 1, 0, 0, 2]);
        op(&mut g, "Pad", "p", &["x", "pads", "fill"], &[]);
        let attrs = [("pads", AttrValue::Ints(vec![3, 3]))];
        op(&mut g, "Conv", "y", &["p", "w"], &attrs);
        outputs(&mut g, &["y"]);
        assert_eq!(optimized(&mut g, FUSED).len(), left);
        if left == 1 {
            let conv = g.body.nodes().next().unwrap().1;
            assert_eq!(conv.attr("pads").unwrap().as_ints().unwrap(), [4, 5]);
        }
    }
}

#[test]
#[allow(clippy::cast_possible_truncation)] // the rounding is the point
fn a_large_weight_is_scaled_while_it_is_read_in_any_chunks() {
    let (k, n) = (130usize, 257usize);
    let values: Vec<f32> = (0..k * n).map(|i| i as f32 * 0.5 - 999.0).collect();
    let factors: Vec<f32> = (0..n).map(|i| i as f32 + 0.25).collect();
    let mut g = graph(17, &[("x", F32, &["m", "130"])]);
    floats(&mut g, "w", &[k as u64, n as u64], &values);
    floats(&mut g, "s", &[n as u64], &factors);
    op(&mut g, "Gemm", "a", &["x", "w"], &[]);
    op(&mut g, "Mul", "y", &["a", "s"], &[]);
    outputs(&mut g, &["y"]);
    assert_eq!(optimized(&mut g, FUSED), ["y = Gemm(x, w, y_bias)"]);
    let id: ValueId = g.body.find("w").unwrap();
    let scaled = g.body.constant(id).unwrap();
    assert!(scaled.ready_bytes().is_none() && scaled.recipe().is_some());
    let whole = scaled.bytes().unwrap();
    let want: Vec<u8> = (values.iter().enumerate())
        .flat_map(|(i, v)| ((f64::from(*v) * f64::from(factors[i % n])) as f32).to_le_bytes())
        .collect();
    assert_eq!(whole, want);
    let mut pieces = vec![0; want.len()];
    let mut offset = 0;
    for piece in pieces.chunks_mut(996) {
        scaled.read_at(offset, piece).unwrap();
        offset += piece.len() as u64;
    }
    assert_eq!(pieces, want);
}
