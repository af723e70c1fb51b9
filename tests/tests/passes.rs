//! Passes against ONNX Runtime: what a changed graph computes, and the bytes its own quantizer makes.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::panic)] // a test suite

use std::fs;
use std::path::{Path, PathBuf};

use model_build::arch::{self, LowerOptions};
use model_build::format::{self, onnx};
use model_build::hub::{DType, Graph, Hub, Tensor, Type};
use model_build::pass::{self, Observed, Params, PassDef};
use model_build_tests::arrays::{self, Arrays, Data, cosine, max_abs_diff};
use model_build_tests::onnxruntime::{self, Level, OnnxRuntime};
use model_build_tests::rten;

fn fixture(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(path)
}

fn run(def: &PassDef, graph: &Graph, params: &Params) -> Graph {
    let mut out = graph.clone();
    (def.run)(&mut out, params, &Observed::default()).unwrap();
    out
}

/// What a graph gives in ONNX Runtime.
fn compute(runtime: &OnnxRuntime, level: Level, graph: &Graph, inputs: &Arrays) -> Arrays {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    fs::write(&path, onnx::to_bytes(graph).unwrap()).unwrap();
    runtime.run(&path, level, inputs)
}

fn pick(all: &Arrays, start: &str) -> Arrays {
    all.iter()
        .filter_map(|(name, array)| Some((name.strip_prefix(start)?.to_owned(), array.clone())))
        .collect()
}

/// A lowered checkpoint of `fixtures/arch` with its reference inputs and outputs.
fn lowered(case: &str) -> (Graph, Arrays, Arrays) {
    let folder = fixture("arch").join(case);
    let source = format::resolve(&folder).unwrap();
    let Hub::Checkpoint(checkpoint) = (source.format.read.unwrap())(&source.files).unwrap() else {
        panic!("a safetensors folder is a checkpoint")
    };
    let all = arrays::read(&folder.join("reference.safetensors"));
    let graph = arch::lower(&checkpoint, &LowerOptions::default()).unwrap();
    (graph, pick(&all, "in."), pick(&all, "out."))
}

const CASES: [&str; 7] = [
    "bert-mlm",
    "roberta-model",
    "distilbert-seqcls",
    "mpnet-tokcls",
    "sentence-mean-normalize",
    "vit-image",
    "vit-model",
];

fn bytes(graph: &Graph, name: &str) -> Vec<u8> {
    let id = graph.body.find(name).unwrap_or_else(|| panic!("{name} is there"));
    graph.body.constant(id).unwrap().bytes().unwrap().to_vec()
}

#[test]
fn full_range_int8_is_what_quantize_dynamic_makes_byte_for_byte() {
    let graph = onnx::from_file(&fixture("int8/model.onnx")).unwrap();
    let reference = arrays::read(&fixture("int8/reference.safetensors"));
    let quantized = run(
        &pass::DYNAMIC_INT8,
        &graph,
        &Params::new([("range", "full"), ("activations", "tensor")]),
    );
    for weight in ["w1", "shared", "w3", "w4"] {
        let name = format!("{weight}_quantized");
        let Data::U8(want) = &reference[&name].data else { panic!("bytes") };
        assert!(bytes(&quantized, &name) == *want, "{name}");
        let name = format!("{weight}_scale");
        let want: Vec<u8> = reference[&name].f32().iter().flat_map(|v| v.to_le_bytes()).collect();
        assert!(bytes(&quantized, &name) == want, "{name}");
    }
    let Some(runtime) = onnxruntime::find() else { return };
    let inputs = Arrays::from([("x".to_owned(), reference["x"].clone())]);
    let ours = compute(&runtime, Level::None, &quantized, &inputs);
    assert_eq!(ours["y"], reference["y"], "bit for bit");
    let theirs = runtime.run(&fixture("int8/reference.onnx"), Level::All, &inputs);
    let ours = compute(&runtime, Level::All, &quantized, &inputs);
    assert_eq!(ours["y"], theirs["y"], "bit for bit when optimized");
}

#[test]
fn uint8_is_what_quantize_dynamic_makes_byte_for_byte() {
    let graph = onnx::from_file(&fixture("int8/model.onnx")).unwrap();
    let reference = arrays::read(&fixture("int8/reference.safetensors"));
    let params = Params::new([("type", "uint8"), ("activations", "tensor")]);
    let quantized = run(&pass::DYNAMIC_INT8, &graph, &params);
    let of = |name: &str| match &reference[name].data {
        Data::U8(bytes) => bytes.clone(),
        _ => reference[name].f32().iter().flat_map(|v| v.to_le_bytes()).collect(),
    };
    for weight in ["w1", "shared", "w3", "w4"] {
        for (ours, theirs) in
            [("quantized", "u8"), ("scale", "u8_scale"), ("zero_point", "u8_zero")]
        {
            let ours = bytes(&quantized, &format!("{weight}_{ours}"));
            assert!(ours == of(&format!("{weight}_{theirs}")), "{weight} {theirs}");
        }
    }
    let Some(runtime) = onnxruntime::find() else { return };
    let inputs = Arrays::from([("x".to_owned(), reference["x"].clone())]);
    let ours = compute(&runtime, Level::None, &quantized, &inputs);
    assert_eq!(ours["y"], reference["y_u8"], "bit for bit");
}

#[test]
fn int8_stays_near_f32_in_onnx_runtime_and_rten() {
    let Some(runtime) = onnxruntime::find() else { return };
    for case in CASES {
        let (graph, inputs, want) = lowered(case);
        for params in [
            Params::default(),
            Params::new([("range", "full"), ("activations", "tensor")]),
            Params::new([("type", "uint8")]),
        ] {
            let quantized = run(&pass::DYNAMIC_INT8, &graph, &params);
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("model.onnx");
            fs::write(&path, onnx::to_bytes(&quantized).unwrap()).unwrap();
            let plain = runtime.run(&path, Level::None, &inputs);
            let optimized = runtime.run(&path, Level::All, &inputs);
            let other = rten::run(&path, &inputs);
            for (name, want) in &want {
                let [a, b, c] =
                    [&plain, &optimized, &other].map(|o| cosine(o[name].f32(), want.f32()));
                println!("{case} {name} {params:?}: {a:.5} {b:.5} {c:.5}");
                assert!(a > 0.99 && b > 0.99 && c > 0.99, "{case} {name}: {a} {b} {c}");
            }
        }
    }
}

#[test]
fn f16_graphs_stay_near_f32_and_keep_their_inputs_and_outputs() {
    let Some(runtime) = onnxruntime::find() else { return };
    for case in CASES {
        let (graph, inputs, want) = lowered(case);
        let half = run(&pass::HALF, &graph, &Params::new([("dtype", "f16")]));
        assert_same_ports(&graph, &half);
        assert!(half.body.initializers().all(|(_, _, t)| t.dtype() != DType::F32), "{case}");
        for level in [Level::None, Level::All] {
            let got = compute(&runtime, level, &half, &inputs);
            for (name, want) in &want {
                let diff = max_abs_diff(got[name].f32(), want.f32());
                let most = want.f32().iter().fold(1f32, |m, v| m.max(v.abs()));
                println!("{case} {name} {level:?}: {diff:e}");
                assert!(diff < 5e-3 * most, "{case} {name} {level:?}: {diff}");
            }
        }
    }
}

fn assert_same_ports(a: &Graph, b: &Graph) {
    let ports = |g: &Graph| -> Vec<(String, Option<Type>)> {
        let all = g.body.inputs().iter().chain(g.body.outputs());
        all.map(|id| g.body.value(*id)).map(|v| (v.name.clone(), v.ty.clone())).collect()
    };
    assert_eq!(ports(a), ports(b));
}

/// The graph with every bf16 tensor widened to f32, which is exact, and every Cast to bf16 a Cast to
/// f32: what the bf16 graph computes but for the rounding of activations.
fn widened(graph: &Graph) -> Graph {
    let mut out = graph.clone();
    let constants: Vec<_> = out.body.initializers().map(|(id, _, t)| (id, t.clone())).collect();
    let nodes: Vec<_> = out.body.nodes().map(|(id, n)| (id, n.clone())).collect();
    let values: Vec<_> = out.body.value_ids().collect();
    let mut edit = out.edit();
    for (id, tensor) in constants.into_iter().filter(|(_, t)| t.dtype() == DType::BF16) {
        let wide = Tensor::from_f32(tensor.shape().to_vec(), &tensor.to_f32().unwrap()).unwrap();
        edit.set_constant(id, wide);
    }
    for (id, mut node) in nodes {
        for attr in &mut node.attrs {
            if attr.value.as_int() == Some(DType::BF16.number()) && attr.name == "to" {
                attr.value = model_build::hub::AttrValue::Int(DType::F32.number());
            }
        }
        edit.replace(id, node);
    }
    for id in values {
        let is_bf16 = edit.body().tensor_type(id).is_some_and(|(d, _)| d == DType::BF16);
        if is_bf16 {
            edit.set_dtype(id, DType::F32);
        }
    }
    edit.finish().unwrap();
    out
}

#[test]
fn bf16_graphs_hold_rounded_weights_in_the_same_graph() {
    let Some(runtime) = onnxruntime::find() else { return };
    for case in CASES {
        let (graph, inputs, want) = lowered(case);
        let half = run(&pass::HALF, &graph, &Params::new([("dtype", "bf16")]));
        assert_same_ports(&graph, &half);
        // Convolutions take bf16 from operator set 22 on.
        let wide: Vec<&str> = half
            .body
            .initializers()
            .filter(|(_, _, t)| t.dtype() == DType::F32)
            .map(|(_, v, _)| v.name.as_str())
            .collect();
        assert_eq!(wide.is_empty(), !case.starts_with("vit"), "{case}: {wide:?}");
        assert!(wide.iter().all(|n| n.contains("patch_embeddings.projection")), "{wide:?}");
        let got = compute(&runtime, Level::None, &widened(&half), &inputs);
        for (name, want) in &want {
            let similar = cosine(got[name].f32(), want.f32());
            println!("{case} {name}: {similar:.6}");
            assert!(similar > 0.999, "{case} {name}: {similar}");
        }
    }
}

#[test]
fn masks_and_guards_that_f16_cannot_hold_give_what_f32_gives() {
    let Some(runtime) = onnxruntime::find() else { return };
    let all = arrays::read(&fixture("half/masks.safetensors"));
    let (inputs, want) = (pick(&all, "in."), pick(&all, "out."));
    let graph = onnx::from_file(&fixture("half/masks.onnx")).unwrap();
    let f16 = run(&pass::HALF, &graph, &Params::new([("dtype", "f16")]));
    let bf16 = run(&pass::HALF, &graph, &Params::new([("dtype", "bf16")]));
    for (half, bound) in [(&f16, 4e-3), (&widened(&bf16), 1e-2)] {
        for level in [Level::None, Level::All] {
            let got = compute(&runtime, level, half, &inputs);
            for (name, want) in &want {
                let (got, want) = (got[name].f32(), want.f32());
                assert!(got.iter().all(|v| v.is_finite()), "{name} {level:?}: {got:?}");
                for (row, (got, want)) in got.chunks(6).zip(want.chunks(6)).enumerate() {
                    // A row all masked by an added number keeps what f16 resolves beside it.
                    let hidden = row == 2 || row == 3;
                    if name == "added" && hidden {
                        let sum: f32 = got.iter().sum();
                        assert!((sum - 1.0).abs() < 4e-3, "{name} row {row}: {got:?}");
                        continue;
                    }
                    let most = want.iter().fold(1f32, |m, v| m.max(v.abs()));
                    let diff = max_abs_diff(got, want);
                    assert!(diff <= bound * most, "{name} row {row} {level:?}: {got:?} {want:?}");
                }
            }
        }
    }
}

#[test]
fn exported_transformers_run_in_f16() {
    let Some(runtime) = onnxruntime::find() else { return };
    let file = fs::read(fixture("shapes/exports.safetensors")).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&file).unwrap();
    for (name, inputs) in [("bert", bert_inputs()), ("vit", vit_inputs())] {
        let model = bytes::Bytes::copy_from_slice(tensors.tensor(name).unwrap().data());
        let graph = onnx::from_bytes(&model).unwrap();
        let want = compute(&runtime, Level::None, &graph, &inputs);
        let half = run(&pass::HALF, &graph, &Params::new([("dtype", "f16")]));
        let got = compute(&runtime, Level::None, &half, &inputs);
        for (output, want) in &want {
            let diff = max_abs_diff(got[output].f32(), want.f32());
            println!("{name} {output}: {diff:e}");
            assert!(diff < 1e-2, "{name} {output}: {diff}");
        }
    }
}

fn bert_inputs() -> Arrays {
    let ids = |data: Vec<i64>| arrays::Array { shape: vec![2, 5], data: Data::I64(data) };
    Arrays::from([
        ("input_ids".to_owned(), ids(vec![3, 9, 11, 2, 1, 3, 30, 2, 0, 0])),
        ("attention_mask".to_owned(), ids(vec![1, 1, 1, 1, 1, 1, 1, 1, 0, 0])),
        ("token_type_ids".to_owned(), ids(vec![0, 0, 1, 1, 1, 0, 0, 0, 0, 0])),
    ])
}

fn vit_inputs() -> Arrays {
    let data = (0..2 * 3 * 64).map(|i| (i % 17) as f32 / 8.0 - 1.0).collect();
    let pixels = arrays::Array { shape: vec![2, 3, 8, 8], data: Data::F32(data) };
    Arrays::from([("pixel_values".to_owned(), pixels)])
}

#[test]
fn a_graph_with_fixed_axes_computes_the_same() {
    let Some(runtime) = onnxruntime::find() else { return };
    let (graph, inputs, want) = lowered("bert-mlm");
    let [batch, sequence] = inputs["input_ids"].shape[..] else { panic!("a matrix") };
    let lengths = [("batch", &*batch.to_string()), ("sequence", &*sequence.to_string())];
    let fixed = run(&pass::FIX_SHAPES, &graph, &Params::new(lengths));
    for id in fixed.body.value_ids() {
        let ty = fixed.body.value(id).ty.as_ref().unwrap();
        let dims = ty.as_tensor().unwrap().1.unwrap();
        assert!(dims.iter().all(|d| d.fixed().is_some()), "{} {ty}", fixed.body.value(id).name);
    }
    let got = compute(&runtime, Level::All, &fixed, &inputs);
    for (name, want) in &want {
        assert!(max_abs_diff(got[name].f32(), want.f32()) < 1e-4);
    }
}
