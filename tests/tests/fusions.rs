//! Fusions of layers on graphs that torch exported (`fixtures/fusions`, made by its gen.py): which operators they
//! become, and that ONNX Runtime computes the same before and after.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::panic)] // a test suite

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use model_build::format::{self, WriteOptions};
use model_build::hub::{DType, Graph, Hub, write_blob};
use model_build::pass::{self, Observed, Params};
use model_build_tests::arrays::{Array, Arrays, Data};
use model_build_tests::onnxruntime::{self, Level};

/// A fixture; `onnxruntime` or `standard`; the most nodes of the result; what it is made of.
type Case = (&'static str, &'static str, usize, &'static [(&'static str, usize)]);

const ENCODER: &[(&str, usize)] = &[
    ("Attention", 1),
    ("BiasGelu", 1),
    ("EmbedLayerNormalization", 1),
    ("SkipLayerNormalization", 2),
];
const DECODER: &[(&str, usize)] = &[
    ("GroupQueryAttention", 1),
    ("QuickGelu", 1),
    ("RotaryEmbedding", 2),
    ("SimplifiedLayerNormalization", 1),
    ("SkipSimplifiedLayerNormalization", 2),
];

const CASES: &[Case] = &[
    ("bert-eager-script", "onnxruntime", 11, ENCODER),
    ("bert-sdpa-script", "onnxruntime", 13, ENCODER),
    ("bert-eager-dynamo", "onnxruntime", 11, ENCODER),
    ("bert-eager-dynamo-23", "onnxruntime", 11, ENCODER),
    (
        "vit-eager-dynamo-23",
        "standard",
        33,
        &[("Attention", 1), ("Gelu", 1), ("LayerNormalization", 3)],
    ),
    ("roberta-eager-script", "onnxruntime", 26, ENCODER),
    ("mpnet-sdpa-script", "onnxruntime", 45, ENCODER),
    (
        "vit-sdpa-script",
        "onnxruntime",
        19,
        &[
            ("Attention", 1),
            ("BiasGelu", 1),
            ("LayerNormalization", 1),
            ("SkipLayerNormalization", 2),
        ],
    ),
    (
        "clip-eager-dynamo",
        "onnxruntime",
        35,
        &[
            ("Attention", 1),
            ("LayerNormalization", 1),
            ("QuickGelu", 1),
            ("SkipLayerNormalization", 2),
        ],
    ),
    (
        "gpt2-eager-script",
        "onnxruntime",
        68,
        &[("FastGelu", 1), ("MultiHeadAttention", 1), ("SkipLayerNormalization", 2)],
    ),
    ("llama-sdpa-script", "onnxruntime", 53, DECODER),
    ("llama-eager-dynamo", "onnxruntime", 51, DECODER),
    ("llama-unpadded-eager-dynamo", "onnxruntime", 76, DECODER),
    (
        "whisper-sdpa-dynamo",
        "onnxruntime",
        20,
        &[("Gelu", 2), ("MultiHeadAttention", 1), ("SkipLayerNormalization", 2)],
    ),
];

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/fusions").join(format!("{name}.onnx"))
}

fn load(path: &Path) -> Graph {
    let source = format::resolve(path).unwrap();
    match (source.format.read.unwrap())(&source.files).unwrap() {
        Hub::Graph(graph) => graph,
        _ => panic!("an ONNX file is a graph"),
    }
}

fn optimized(name: &str, fusion: &str, more: &[(&str, &str)]) -> Graph {
    let mut graph = load(&fixture(name));
    let mut params = Params::new([("graph", "true"), ("fusion", fusion)]);
    params.0.extend(more.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())));
    (pass::OPTIMIZE.run)(&mut graph, &params, &Observed::default()).unwrap();
    graph
}

fn save(graph: &Graph, to: &Path) {
    let def = format::by_name("onnx").unwrap();
    let options = WriteOptions { file_name: "model.onnx".into(), ..Default::default() };
    let blobs = (def.write.unwrap())(&Hub::Graph(graph.clone()), &options).unwrap();
    let mut bytes = Vec::new();
    write_blob(&blobs[0].segments, &mut bytes, &mut |_| {}).unwrap();
    fs::write(to, bytes).unwrap();
}

fn operators(graph: &Graph) -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    for (_, node) in graph.body.nodes() {
        *found.entry(node.op.clone()).or_default() += 1;
    }
    found
}

/// Inputs of two samples, of which the second has two tokens of padding.
fn inputs(graph: &Graph, sequence: usize) -> Arrays {
    let mut seed = 1u32;
    let mut next = move |n: u32| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 16) % n
    };
    let ports = graph.body.inputs().iter().map(|id| {
        let value = graph.body.value(*id);
        let (dtype, shape) = value.ty.as_ref().unwrap().as_tensor().unwrap();
        let shape: Vec<usize> = shape
            .unwrap()
            .iter()
            .enumerate()
            .map(|(i, d)| match d.fixed() {
                Some(n) => usize::try_from(n).unwrap(),
                None if i == 0 => 2,
                None if dtype == DType::F32 => 8,
                None => sequence,
            })
            .collect();
        let count: usize = shape.iter().product();
        let data = match dtype {
            DType::F32 => Data::F32((0..count).map(|_| next(2000) as f32 / 1000.0 - 1.0).collect()),
            _ if value.name == "attention_mask" => {
                Data::I64((0..count).map(|i| i64::from(i < count - 2)).collect())
            }
            _ if value.name == "token_type_ids" => {
                Data::I64((0..count).map(|_| i64::from(next(2))).collect())
            }
            _ => Data::I64((0..count).map(|_| i64::from(3 + next(17))).collect()),
        };
        (value.name.clone(), Array { shape, data })
    });
    ports.collect()
}

#[test]
fn exported_layers_become_the_operators_that_onnx_runtime_has_for_them() {
    for (name, fusion, most, wanted) in CASES {
        let graph = optimized(name, fusion, &[]);
        let found = operators(&graph);
        for (op, count) in *wanted {
            assert_eq!(found.get(*op), Some(count), "{name}, {fusion}: {op} in {found:?}");
        }
        let nodes = graph.body.nodes().count();
        assert!(nodes <= *most, "{name}, {fusion}: {nodes} nodes, {found:?}");
        assert_eq!(found.get("Softmax"), None, "{name}, {fusion}");
        let contrib = graph.body.nodes().any(|(_, n)| n.domain == "com.microsoft");
        assert_eq!(contrib, *fusion == "onnxruntime", "{name}");
        assert_eq!(graph.opsets.contains_key("com.microsoft"), contrib, "{name}");
    }
}

#[test]
fn every_value_of_a_fused_graph_has_a_type() {
    for (name, fusion, ..) in CASES {
        let graph = optimized(name, fusion, &[]);
        for (_, node) in graph.body.nodes() {
            let output = node.output(0).unwrap();
            assert!(
                graph.body.tensor_type(output).is_some_and(|t| t.1.is_some()),
                "{name}: {node:?}"
            );
        }
    }
}

#[test]
fn weights_stay_in_the_open_for_a_quantization_that_follows() {
    let found = operators(&optimized("bert-eager-script", "onnxruntime", &[("open", "true")]));
    assert_eq!(found.get("MultiHeadAttention"), Some(&1), "{found:?}");
    assert_eq!(found.get("MatMul"), Some(&6), "{found:?}");
    assert_eq!(found.get("EmbedLayerNormalization"), None);
}

#[test]
fn onnx_runtime_computes_the_same_from_a_fused_graph() {
    let Some(ort) = onnxruntime::find() else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    for (name, fusion, ..) in CASES {
        let graph = optimized(name, fusion, &[]);
        save(&graph, &path);
        for sequence in [3, 9] {
            let feed = inputs(&graph, sequence);
            let want = ort.run(&fixture(name), Level::None, &feed);
            for level in [Level::None, Level::All] {
                let got = ort.run(&path, level, &feed);
                compare(&format!("{name} {fusion} {level:?} {sequence}"), &want, &got, 1e-5);
            }
        }
    }
}

#[test]
fn a_fused_graph_computes_in_half_precision_and_in_int8() {
    let Some(ort) = onnxruntime::find() else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    for name in ["bert-eager-script", "llama-eager-dynamo", "vit-sdpa-script"] {
        let feed = inputs(&load(&fixture(name)), 7);
        let want = ort.run(&fixture(name), Level::None, &feed);
        let mut graph = optimized(name, "onnxruntime", &[]);
        let half = Params::new([("dtype", "f16")]);
        (pass::HALF.run)(&mut graph, &half, &Observed::default()).unwrap();
        save(&graph, &path);
        compare(name, &want, &ort.run(&path, Level::None, &feed), 2e-2);
        let mut graph = optimized(name, "onnxruntime", &[("open", "true")]);
        (pass::DYNAMIC_INT8.run)(&mut graph, &Params::default(), &Observed::default()).unwrap();
        save(&graph, &path);
        compare(name, &want, &ort.run(&path, Level::None, &feed), 0.2);
    }
}

fn compare(name: &str, want: &Arrays, got: &Arrays, bound: f32) {
    assert_eq!(want.keys().collect::<Vec<_>>(), got.keys().collect::<Vec<_>>(), "{name}");
    for (want, got) in want.values().zip(got.values()) {
        assert_eq!(want.shape, got.shape, "{name}");
        for (a, b) in want.f32().iter().zip(got.f32()) {
            assert!((a - b).abs() <= bound, "{name}: {a} and {b}");
        }
    }
}
