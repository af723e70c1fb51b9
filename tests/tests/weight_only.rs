//! Weight-only quantization against ONNX Runtime: the bytes its own quantizer makes, and what its
//! kernels compute of ours.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::panic)] // a test suite

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use model_build::format::onnx;
use model_build::hub::{AttrValue, DType, Dim, Graph, Tensor, Type};
use model_build::pass::{Moments, Observed, Params, WEIGHT_ONLY, wanted};
use model_build_tests::arrays::{self, Array, Arrays, Data, cosine, max_abs_diff};
use model_build_tests::onnxruntime::{self, Level, OnnxRuntime};

fn fixture(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/weight_only").join(path)
}

fn compute(runtime: &OnnxRuntime, level: Level, graph: &Graph, inputs: &Arrays) -> Arrays {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    fs::write(&path, onnx::to_bytes(graph).unwrap()).unwrap();
    runtime.run(&path, level, inputs)
}

fn quantized(graph: &Graph, params: &Params, observed: &Observed) -> Graph {
    let mut out = graph.clone();
    (WEIGHT_ONLY.run)(&mut out, params, observed).unwrap();
    out
}

fn bytes(graph: &Graph, name: &str) -> Vec<u8> {
    let id = graph.body.find(name).unwrap_or_else(|| panic!("{name} is there"));
    graph.body.constant(id).unwrap().bytes().unwrap().to_vec()
}

#[test]
fn rounding_to_nearest_is_what_matmul_nbits_quantizer_makes_byte_for_byte() {
    let graph = onnx::from_file(&fixture("model.onnx")).unwrap();
    let reference = arrays::read(&fixture("reference.safetensors"));
    let runtime = onnxruntime::find();
    let inputs = Arrays::from([("x".to_owned(), reference["x"].clone())]);
    let cases = [("matmulnbits", 4), ("matmulnbits", 8), ("qdq", 4)];
    for ((form, bits), (kind, sign), block) in cases.iter().flat_map(|case| {
        [("sym", ""), ("asym", "u")].into_iter().flat_map(move |k| [16, 32].map(|b| (case, k, b)))
    }) {
        let prefix = format!("{form}.{bits}.{kind}.{block}.");
        let (ty, size) = (format!("{sign}int{bits}"), block.to_string());
        let params = Params::new([("type", &ty), ("block-size", &size), ("form", form)]);
        let made = quantized(&graph, &params, &Observed::default());
        for weight in ["w1", "w2"] {
            let want = |end: &str| reference.get(&format!("{prefix}{weight}.{end}"));
            let Data::U8(values) = &want("values").unwrap().data else { panic!("bytes") };
            let name = format!("{weight}_Q{bits}");
            assert!(bytes(&made, &name) == *values, "{prefix}{name}");
            let scales: Vec<u8> =
                want("scales").unwrap().f32().iter().flat_map(|v| v.to_le_bytes()).collect();
            assert_eq!(bytes(&made, &format!("{weight}_scales")), scales, "{prefix}{weight}");
            if let Some(zeros) = want("zeros") {
                let Data::U8(zeros) = &zeros.data else { panic!("bytes") };
                assert_eq!(bytes(&made, &format!("{weight}_zero_points")), *zeros, "{prefix}");
            } else {
                assert!(made.body.find(&format!("{weight}_zero_points")).is_none());
            }
        }
        if let Some(runtime) = &runtime {
            let y = &compute(runtime, Level::None, &made, &inputs)["y"];
            assert_eq!(*y, reference[&format!("{prefix}y")], "{prefix} bit for bit");
        }
    }
}

/// Numbers the same on every machine, from -1 to 1.
fn noise(n: usize, mut state: u32) -> Vec<f32> {
    let mut draw = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 24) as f32 - 0.5
    };
    (0..n).map(|_| draw() + draw()).collect()
}

const K: usize = 72;

/// x f32 [batch, 72] through every kind of product: a MatMul, Gemms of both orientations, one that
/// scales, and a tied weight that is looked up and multiplied with.
fn graph() -> Graph {
    let mut g = Graph::new("g", 10, 21);
    for (name, dtype, dims) in [
        ("x", DType::F32, vec![Dim::symbol("batch"), Dim::Fixed(K as u64)]),
        ("ids", DType::I64, vec![Dim::symbol("batch")]),
    ] {
        let id = g.body.intern(name).unwrap();
        g.body.value_mut(id).ty = Some(Type::tensor(dtype, dims));
        g.body.add_input(id);
    }
    let (x, ids) = (g.body.find("x").unwrap(), g.body.find("ids").unwrap());
    let mut e = g.edit();
    let mut weight = |name: &str, shape: [u64; 2], seed| {
        let n = usize::try_from(shape[0] * shape[1]).unwrap();
        let values = noise(n, seed);
        e.constant(name, Tensor::from_f32(shape.to_vec(), &values).unwrap()).unwrap()
    };
    let (k, n) = (K as u64, 40);
    let w = weight("w", [k, n], 1);
    let turned = weight("turned", [k, n], 2); // [n of the Gemm, k]
    let straight = weight("straight", [n, k], 3);
    let table = weight("table", [90, k], 4);
    let bias = Tensor::from_f32(vec![k], &noise(K, 5)).unwrap();
    let bias = e.constant("bias", bias).unwrap();
    let a = e.op("MatMul", "a", &[x, w], &[]).unwrap();
    let a = e.op("Tanh", "tanh", &[a], &[]).unwrap();
    let t = [("transB", AttrValue::Int(1))];
    let b = e.op("Gemm", "b", &[a, turned, bias], &t).unwrap();
    let half = [("alpha", AttrValue::Float(0.5))];
    let c = e.op("Gemm", "c", &[a, straight, bias], &half).unwrap();
    let d = e.op("Add", "d", &[b, c], &[]).unwrap();
    let found = e.op("Gather", "found", &[table, ids], &[]).unwrap();
    let d = e.op("Add", "sum", &[d, found], &[]).unwrap();
    let perm = [("perm", AttrValue::Ints(vec![1, 0]))];
    let across = e.op("Transpose", "across", &[table], &perm).unwrap();
    let y = e.op("MatMul", "y", &[d, across], &[]).unwrap();
    let name = e.body().value(y).name.clone();
    e.finish().unwrap();
    let y = g.body.find(&name).unwrap();
    g.body.add_output(y);
    model_build::op::infer(&mut g).unwrap();
    g
}

fn inputs(rows: usize) -> Arrays {
    let ids: Vec<i64> = (0..rows).map(|i| i64::try_from(i * 7 % 90).unwrap()).collect();
    let x = Array { shape: vec![rows, K], data: Data::F32(noise(rows * K, 9)) };
    let ids = Array { shape: vec![rows], data: Data::I64(ids) };
    Arrays::from([("x".to_owned(), x), ("ids".to_owned(), ids)])
}

/// The moments of the values that are wanted, as ONNX Runtime computes them.
fn observed(runtime: &OnnxRuntime, graph: &Graph, params: &Params, inputs: &Arrays) -> Observed {
    let mut tapped = graph.clone();
    let names = wanted(graph, params).unwrap();
    let inner: Vec<&String> = names.iter().filter(|n| !inputs.contains_key(*n)).collect();
    for name in &inner {
        let id = tapped.body.find(name).unwrap();
        tapped.body.add_output(id);
    }
    let seen = compute(runtime, Level::None, &tapped, inputs);
    let mut out = Observed::default();
    for name in &names {
        let array = seen.get(name).or_else(|| inputs.get(name)).unwrap();
        let mut moments = Moments::new(*array.shape.last().unwrap());
        moments.add(array.f32());
        out.moments.insert(name.clone(), Arc::new(moments));
    }
    out
}

#[test]
fn every_algorithm_type_and_form_stays_near_f32_in_onnx_runtime() {
    let Some(runtime) = onnxruntime::find() else { return };
    let graph = graph();
    let inputs = inputs(64);
    let want = compute(&runtime, Level::None, &graph, &inputs)["y"].clone();
    for form in ["matmulnbits", "qdq"] {
        for (algorithm, ty) in ["rtn", "gptq", "awq"]
            .iter()
            .flat_map(|a| ["int4", "uint4", "int8", "uint8"].map(|t| (*a, t)))
            .chain([("hqq", "uint4"), ("hqq", "int4"), ("hqq", "uint8")])
        {
            for block in ["16", "32", "128"] {
                let params = Params::new([
                    ("type", ty),
                    ("block-size", block),
                    ("form", form),
                    ("algorithm", algorithm),
                ]);
                let observed = observed(&runtime, &graph, &params, &inputs);
                let made = quantized(&graph, &params, &observed);
                let op = if form == "qdq" { "DequantizeLinear" } else { "MatMulNBits" };
                let count = made.body.nodes().filter(|(_, n)| n.op == op).count();
                assert_eq!(count, if form == "qdq" { 4 } else { 3 }, "the Gemm that scales stays");
                let least = if ty.ends_with('4') { 0.985 } else { 0.9999 };
                for level in [Level::None, Level::All] {
                    let y = &compute(&runtime, level, &made, &inputs)["y"];
                    let near = cosine(y.f32(), want.f32());
                    assert!(near > least, "{params:?} {level:?}: {near}");
                }
            }
        }
    }
}

#[test]
fn channels_of_8_bits_need_no_new_operator_set() {
    let Some(runtime) = onnxruntime::find() else { return };
    let inputs = inputs(5);
    for opset in [13, 17, 21] {
        let mut graph = graph();
        graph.opsets.insert(String::new(), opset);
        graph.ir_version = 8;
        let want = compute(&runtime, Level::None, &graph, &inputs)["y"].clone();
        for ty in ["int8", "uint8"] {
            let params = Params::new([("type", ty), ("block-size", "channel")]);
            let made = quantized(&graph, &params, &Observed::default());
            for level in [Level::None, Level::All] {
                let y = &compute(&runtime, level, &made, &inputs)["y"];
                let most = want.f32().iter().fold(0f32, |m, v| m.max(v.abs()));
                let diff = max_abs_diff(y.f32(), want.f32());
                assert!(diff < 0.02 * most, "{ty} {opset} {level:?}: {diff} of {most}");
            }
        }
    }
}

#[test]
fn the_bytes_do_not_depend_on_the_number_of_threads() {
    let graph = graph();
    let mut observed = Observed::default();
    for (name, k) in [("x", K), ("tanh", 40), ("sum", K)] {
        let mut moments = Moments::new(k);
        moments.add(&noise(k * 50, 8));
        observed.moments.insert(name.to_owned(), Arc::new(moments));
    }
    for algorithm in ["rtn", "hqq", "gptq", "awq"] {
        for form in ["matmulnbits", "qdq"] {
            let params = Params::new([
                ("type", "uint4"),
                ("block-size", "32"),
                ("form", form),
                ("algorithm", algorithm),
            ]);
            let files = [1, 3].map(|threads| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                pool.install(|| onnx::to_bytes(&quantized(&graph, &params, &observed)).unwrap())
            });
            assert!(files[0] == files[1], "{algorithm} {form}");
        }
    }
}
