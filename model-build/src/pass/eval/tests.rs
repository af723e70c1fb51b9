//! Kernels against numbers worked out by hand, at the edges where languages and runtimes differ.

use super::eval;
use crate::hub::{AttrValue, DType, Node, Tensor};

const CAP: u64 = 1 << 20;

fn run(
    op: &str,
    attrs: &[(&str, AttrValue)],
    inputs: &[Tensor],
    outputs: usize,
) -> Option<Vec<Tensor>> {
    run_at(17, op, attrs, inputs, outputs)
}

fn run_at(
    opset: i64,
    op: &str,
    attrs: &[(&str, AttrValue)],
    inputs: &[Tensor],
    outputs: usize,
) -> Option<Vec<Tensor>> {
    let mut node = Node { outputs: vec![None; outputs], ..Node::new(op, &[], &[]) };
    for (name, value) in attrs {
        node = node.with(name, value.clone());
    }
    let inputs: Vec<Option<Tensor>> = inputs.iter().cloned().map(Some).collect();
    eval(&node, opset, &inputs, CAP)
}

fn i64s(shape: &[u64], values: &[i64]) -> Tensor {
    Tensor::from_i64(shape.to_vec(), values).unwrap()
}

fn f32s(values: &[f32]) -> Tensor {
    Tensor::from_f32(vec![values.len() as u64], values).unwrap()
}

fn ints(result: Option<Vec<Tensor>>) -> Vec<i64> {
    result.unwrap()[0].to_i64().unwrap().to_vec()
}

fn floats(result: Option<Vec<Tensor>>) -> Vec<f32> {
    result.unwrap()[0].to_f32().unwrap()
}

#[test]
fn integers_wrap_divide_towards_zero_and_never_by_zero() {
    let list = |v: &[i64]| i64s(&[v.len() as u64], v);
    let (a, b) = (list(&[i64::MAX, -7, 7]), list(&[1, 2, -2]));
    let both = [a.clone(), b];
    assert_eq!(ints(run("Add", &[], &both, 1)), [i64::MIN, -5, 5]);
    assert_eq!(ints(run("Div", &[], &both, 1)), [i64::MAX, -3, -3]);
    assert_eq!(ints(run("Mod", &[], &both, 1)), [0, 1, -1]);
    let truncated = [("fmod", AttrValue::Int(1))];
    assert_eq!(ints(run("Mod", &truncated, &both, 1)), [0, -1, 1]);
    for op in ["Div", "Mod"] {
        assert!(run(op, &[], &[a.clone(), list(&[0])], 1).is_none(), "{op}");
        assert!(run(op, &[], &[list(&[i64::MIN]), list(&[-1])], 1).is_none(), "{op}");
    }
    assert_eq!(ints(run("Pow", &[], &[list(&[3, -2]), list(&[3])], 1)), [27, -8]);
    assert!(run("Pow", &[], &[list(&[10]), list(&[18])], 1).is_none(), "not exact in f64");
}

#[test]
fn shapes_broadcast_and_those_that_do_not_fit_are_left_to_the_runtime() {
    let column = i64s(&[2, 1], &[10, 20]);
    let row = i64s(&[3], &[1, 2, 3]);
    let sum = run("Add", &[], &[column, row.clone()], 1).unwrap();
    assert_eq!(sum[0].shape(), [2, 3]);
    assert_eq!(ints(Some(sum)), [11, 12, 13, 21, 22, 23]);
    assert!(run("Add", &[], &[row, i64s(&[2], &[1, 2])], 1).is_none());
}

#[test]
fn casts_cut_towards_zero_and_leave_what_is_out_of_range() {
    let to = |d: DType| [("to", AttrValue::Int(d.number()))];
    assert_eq!(ints(run("Cast", &to(DType::I64), &[f32s(&[-1.9, 1.9, 0.0])], 1)), [-1, 1, 0]);
    for bad in [f32::NAN, f32::INFINITY, 9.3e18] {
        assert!(run("Cast", &to(DType::I64), &[f32s(&[bad])], 1).is_none(), "{bad}");
    }
    assert!(run("Cast", &to(DType::U8), &[f32s(&[256.0])], 1).is_none());
    assert_eq!(ints(run("Cast", &to(DType::I32), &[i64s(&[1], &[(1 << 32) + 5])], 1)), [5]);
    let narrow = run("Cast", &to(DType::F16), &[f32s(&[1.0 + 1.0 / 2048.0, 65520.0])], 1);
    assert_eq!(floats(narrow), [1.0, f32::INFINITY], "to nearest even");
    let truth = run("Cast", &to(DType::Bool), &[f32s(&[0.0, -0.0, f32::NAN, 0.5])], 1).unwrap();
    assert_eq!(truth[0].bytes().unwrap().as_ref(), [0, 0, 1, 1]);
}

#[test]
fn functions_without_one_answer_are_left_to_the_runtime() {
    for op in ["Exp", "Erf", "Tanh", "Softmax", "MatMul", "ReduceMean"] {
        assert!(run(op, &[], &[f32s(&[1.0])], 1).is_none(), "{op}");
    }
    assert!(run("ReduceSum", &[], &[f32s(&[1.0, 2.0])], 1).is_none(), "a sum of floats");
    assert!(run("Max", &[], &[f32s(&[1.0]), f32s(&[f32::NAN])], 1).is_none());
    assert_eq!(floats(run("Sqrt", &[], &[f32s(&[2.0])], 1)), [2f32.sqrt()]);
    assert_eq!(floats(run("Round", &[], &[f32s(&[0.5, 1.5, -2.5])], 1)), [0.0, 2.0, -2.0]);
}

#[test]
fn slices_clamp_and_step_backwards() {
    let x = i64s(&[5], &[0, 1, 2, 3, 4]);
    let slice = |start, end, step| {
        let one = |v| i64s(&[1], &[v]);
        ints(run("Slice", &[], &[x.clone(), one(start), one(end), one(0), one(step)], 1))
    };
    assert_eq!(slice(-3, i64::MAX, 1), [2, 3, 4]);
    assert_eq!(slice(1, 100, 2), [1, 3]);
    assert_eq!(slice(-1, i64::MIN, -2), [4, 2, 0]);
    assert_eq!(slice(100, -100, -1), [4, 3, 2, 1, 0]);
    assert_eq!(slice(3, 1, 1), [0i64; 0]);
}

#[test]
fn indices_count_from_the_end_and_past_it_are_left_to_the_runtime() {
    let x = i64s(&[2, 3], &[1, 2, 3, 4, 5, 6]);
    let axis = [("axis", AttrValue::Int(-1))];
    let picked = run("Gather", &axis, &[x.clone(), i64s(&[2], &[-1, 0])], 1);
    assert_eq!(ints(picked), [3, 1, 6, 4]);
    assert!(run("Gather", &axis, &[x.clone(), i64s(&[1], &[3])], 1).is_none());
    let by_index = run("GatherND", &[], &[x.clone(), i64s(&[2, 1], &[1, -2])], 1);
    assert_eq!(ints(by_index), [4, 5, 6, 1, 2, 3]);
    let at = i64s(&[1, 2], &[1, 0]);
    let set = run("ScatterND", &[], &[x.clone(), at, i64s(&[1], &[9])], 1);
    assert_eq!(ints(set), [1, 2, 3, 9, 5, 6]);
    let elements =
        run("GatherElements", &[("axis", AttrValue::Int(1))], &[x, i64s(&[2, 1], &[2, -3])], 1);
    assert_eq!(ints(elements), [3, 4]);
}

#[test]
fn parts_of_a_split_cover_the_axis() {
    let x = i64s(&[5], &[0, 1, 2, 3, 4]);
    let parts =
        run_at(18, "Split", &[("num_outputs", AttrValue::Int(2))], std::slice::from_ref(&x), 2)
            .unwrap();
    assert_eq!(parts.iter().map(Tensor::len).collect::<Vec<_>>(), [3, 2]);
    let parts = run("Split", &[], &[x.clone(), i64s(&[2], &[1, 4])], 2).unwrap();
    assert_eq!(parts[1].to_i64().unwrap().as_ref(), [1, 2, 3, 4]);
    assert!(run("Split", &[], std::slice::from_ref(&x), 2).is_none(), "5 by 2 before opset 18");
    assert!(run("Split", &[], &[x, i64s(&[2], &[1, 3])], 2).is_none());
}

#[test]
fn integers_are_summed_multiplied_and_accumulated() {
    let x = i64s(&[2, 3], &[1, 2, 3, 4, 5, 6]);
    let over = |axis: i64| [x.clone(), i64s(&[1], &[axis])];
    let flat = [("keepdims", AttrValue::Int(0))];
    let sum = run("ReduceSum", &flat, &over(-1), 1).unwrap();
    assert_eq!(sum[0].shape(), [2]);
    assert_eq!(ints(Some(sum)), [6, 15]);
    assert_eq!(ints(run("ReduceProd", &[], std::slice::from_ref(&x), 1)), [720]);
    let axis = i64s(&[], &[1]);
    assert_eq!(ints(run("CumSum", &[], &[x.clone(), axis.clone()], 1)), [1, 3, 6, 4, 9, 15]);
    let attrs = [("exclusive", AttrValue::Int(1)), ("reverse", AttrValue::Int(1))];
    assert_eq!(ints(run("CumSum", &attrs, &[x, axis], 1)), [5, 3, 0, 11, 6, 0]);
}

#[test]
fn ranges_padding_and_one_hot_vectors() {
    let one = |v| i64s(&[], &[v]);
    assert_eq!(ints(run("Range", &[], &[one(5), one(-2), one(-3)], 1)), [5, 2, -1]);
    assert!(run("Range", &[], &[one(0), one(i64::MAX), one(1)], 1).is_none(), "too large");
    assert!(run("Range", &[], &[one(0), one(1), one(0)], 1).is_none());
    let padded = run("Pad", &[], &[i64s(&[2], &[1, 2]), i64s(&[2], &[1, 2]), one(7)], 1);
    assert_eq!(ints(padded), [7, 1, 2, 7, 7]);
    let hot = run("OneHot", &[], &[i64s(&[3], &[1, -1, 9]), one(3), i64s(&[2], &[0, 5])], 1);
    assert_eq!(ints(hot), [0, 5, 0, 0, 0, 5, 0, 0, 0]);
}

#[test]
fn results_that_are_too_large_are_not_made() {
    let huge = i64s(&[2], &[1 << 40, 1 << 40]);
    for (op, inputs) in [
        ("ConstantOfShape", vec![huge.clone()]),
        ("Expand", vec![i64s(&[1], &[1]), i64s(&[1], &[1 << 40])]),
        ("Tile", vec![i64s(&[1, 1], &[1]), huge]),
        ("Pad", vec![i64s(&[1], &[1]), i64s(&[2], &[0, i64::MAX])]),
        ("OneHot", vec![i64s(&[1], &[1]), i64s(&[], &[1 << 50]), i64s(&[2], &[0, 1])]),
    ] {
        assert!(run(op, &[], &inputs, 1).is_none(), "{op}");
    }
}

#[test]
fn empty_tensors_and_attributes_of_the_wrong_kind_do_no_harm() {
    let empty = i64s(&[0, 3], &[]);
    assert_eq!(run("Transpose", &[], std::slice::from_ref(&empty), 1).unwrap()[0].shape(), [3, 0]);
    assert_eq!(ints(run("NonZero", &[], std::slice::from_ref(&empty), 1)), [0i64; 0]);
    assert!(run("ReduceMax", &[], std::slice::from_ref(&empty), 1).is_none());
    let vast = Tensor::from_i64(vec![0, 1 << 40, 1 << 40], &[]).unwrap();
    for op in super::KERNELS.iter().map(|(op, _)| op) {
        let _ = run(op, &[("axis", AttrValue::Int(0))], &[vast.clone(), i64s(&[1], &[0])], 1);
        let _ = run(op, &[("axis", AttrValue::Int(0))], &[i64s(&[1], &[0]), vast.clone()], 1);
    }
    let wrong = [("axis", AttrValue::Float(1.0)), ("perm", AttrValue::Ints(vec![0, 0]))];
    for op in super::KERNELS.iter().map(|(op, _)| op) {
        for inputs in [vec![], vec![empty.clone()], vec![f32s(&[1.0]), empty.clone()]] {
            for opset in [1, 6, 11, 13, 21] {
                let _ = run_at(opset, op, &wrong, &inputs, 1);
                let _ = run_at(opset, op, &[], &inputs, 0);
            }
        }
    }
}

#[test]
fn the_list_is_in_alphabetical_order_so_that_each_kernel_is_found() {
    assert!(super::KERNELS.is_sorted_by(|a, b| a.0 < b.0));
}
