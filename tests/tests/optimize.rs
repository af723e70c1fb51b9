//! The optimizer against what graphs computed before: checkpoints of every architecture, and a graph with
//! what exporters leave behind.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::panic)] // a test suite

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use model_build::arch::{self, LowerOptions};
use model_build::format::{self, WriteOptions, onnx};
use model_build::hub::{Body, Graph, Hub, Segment};
use model_build::pass::{self, Observed, Params, lifetime};
use model_build_tests::arrays::{self, Arrays, max_abs_diff};
use model_build_tests::onnxruntime::{self, Level};
use model_build_tests::rten;

fn fixture(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(path)
}

fn optimized(graph: &Graph, params: &[(&str, &str)]) -> Graph {
    let mut out = graph.clone();
    let params = params.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    (pass::OPTIMIZE.run)(&mut out, &Params(params), &Observed::default()).unwrap();
    out
}

const ALL: &[(&str, &str)] = &[("graph", "true"), ("fusion", "standard"), ("memory", "true")];

fn pick(all: &Arrays, start: &str) -> Arrays {
    all.iter()
        .filter_map(|(name, array)| Some((name.strip_prefix(start)?.to_owned(), array.clone())))
        .collect()
}

fn saved(folder: &Path, graph: &Graph) -> PathBuf {
    let path = folder.join("model.onnx");
    fs::write(&path, onnx::to_bytes(graph).unwrap()).unwrap();
    path
}

fn assert_close(what: &str, found: &Arrays, want: &Arrays) {
    for (name, want) in want {
        let found = found.get(name).unwrap_or_else(|| panic!("{what}: {name} is missing"));
        assert_eq!(found.shape, want.shape, "{what}: {name}");
        let difference = max_abs_diff(found.f32(), want.f32());
        assert!(difference <= 1e-5, "{what}: {name} differs by {difference}");
    }
}

fn count(body: &Body) -> usize {
    body.nodes().map(|(_, n)| 1 + n.subgraphs().map(count).sum::<usize>()).sum()
}

#[test]
fn lowered_checkpoints_compute_what_they_did() {
    let mut cases: Vec<PathBuf> =
        fs::read_dir(fixture("arch")).unwrap().map(|e| e.unwrap().path()).collect();
    cases.retain(|p| p.join("reference.safetensors").is_file());
    cases.sort();
    let mut seen = 0;
    for folder in cases {
        let name = folder.file_name().unwrap().to_string_lossy().into_owned();
        let source = format::resolve(&folder).unwrap();
        let Hub::Checkpoint(checkpoint) = (source.format.read.unwrap())(&source.files).unwrap()
        else {
            continue;
        };
        let Ok(graph) = arch::lower(&checkpoint, &LowerOptions::default()) else { continue };
        let slim = optimized(&graph, ALL);
        assert!(count(&slim.body) <= count(&graph.body), "{name}");
        let all = arrays::read(&folder.join("reference.safetensors"));
        let scratch = tempfile::tempdir().unwrap();
        let (before, after) = (scratch.path().join("before"), scratch.path().join("after"));
        fs::create_dir_all(&before).unwrap();
        fs::create_dir_all(&after).unwrap();
        let inputs = pick(&all, "in.");
        let want = rten::run(&saved(&before, &graph), &inputs);
        assert_close(&name, &rten::run(&saved(&after, &slim), &inputs), &want);
        seen += 1;
    }
    assert!(seen >= 5, "{seen} cases");
}

#[test]
fn what_exporters_leave_behind_is_gone_and_the_results_are_the_same() {
    let graph = onnx::from_file(&fixture("slim/model.onnx")).unwrap();
    let all = arrays::read(&fixture("slim/reference.safetensors"));
    let slim = optimized(&graph, ALL);
    let ops: Vec<&str> = slim.body.nodes().map(|(_, n)| n.op.as_str()).collect();
    let want = [
        "Conv",
        "Clip",
        "ConvTranspose",
        "Tanh",
        "Transpose",
        "Reshape",
        "ReduceMean",
        "Gemm",
        "ReduceMean",
        "Loop",
    ];
    assert_eq!(ops, want);
    let Some(runtime) = onnxruntime::find() else { return };
    for level in [Level::None, Level::All] {
        for case in ["one", "three"] {
            let scratch = tempfile::tempdir().unwrap();
            let arrays = pick(&all, &format!("{case}."));
            let inputs = Arrays::from([("x".to_owned(), arrays["x"].clone())]);
            let found = runtime.run(&saved(scratch.path(), &slim), level, &inputs);
            let mut want = arrays.clone();
            want.remove("x");
            assert_close(case, &found, &want);
        }
    }
}

#[test]
fn an_optimized_graph_is_the_same_on_any_number_of_threads_and_stays_as_it_is() {
    let graph = onnx::from_file(&fixture("slim/model.onnx")).unwrap();
    let once = onnx::to_bytes(&optimized(&graph, ALL)).unwrap();
    for threads in [1, 3] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        assert!(pool.install(|| onnx::to_bytes(&optimized(&graph, ALL)).unwrap()) == once);
    }
    let twice = onnx::to_bytes(&optimized(&optimized(&graph, ALL), ALL)).unwrap();
    assert!(twice == once);
}

#[test]
fn external_weights_start_at_pages() {
    let graph = onnx::from_file(&fixture("int8/model.onnx")).unwrap();
    let options =
        WriteOptions { file_name: "m.onnx".to_owned(), external: true, ..Default::default() };
    let blobs = (format::by_name("onnx").unwrap().write.unwrap())(&Hub::Graph(graph), &options);
    let blobs = blobs.unwrap();
    assert_eq!(
        blobs.iter().map(|b| b.name.as_str()).collect::<Vec<_>>(),
        ["m.onnx", "m.onnx.data"]
    );
    let mut at = 0;
    for segment in &blobs[1].segments {
        if matches!(segment, Segment::Tensor(_)) {
            assert_eq!(at % 4096, 0);
        }
        at += segment.len();
    }
}

#[test]
fn the_peak_of_activations_is_reported_and_not_raised() {
    let graph = onnx::from_file(&fixture("slim/model.onnx")).unwrap();
    let dims = BTreeMap::from([("batch".to_owned(), 2), ("height".to_owned(), 32)]);
    let before = lifetime::peak(&graph, &dims).unwrap();
    let after = lifetime::peak(&optimized(&graph, ALL), &dims).unwrap();
    assert!(after.peak <= before.peak && after.peak > 0, "{before:?} {after:?}");
}
