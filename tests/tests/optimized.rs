//! Graphs that ONNX Runtime itself optimized: what they compute, and that they are made the same twice.
//!
//! Needs ONNX Runtime's library in `ORT_DYLIB_PATH`, and says so when it skips. Of one process only one
//! part may start that library, which here is the crate under test.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::panic)] // a test suite

use std::path::Path;

use model_build::arch::{self, LowerOptions};
use model_build::format::{self, onnx};
use model_build::hub::{Graph, Hub};
use model_build::run::{self, Files, Level, RunnerChoice};
use model_build::verify::{InputSpec, measure};

const CASES: &[&str] = &["bert-mlm", "distilbert-seqcls", "sentence-mean-normalize", "vit-image"];

fn lowered(case: &str) -> Graph {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/arch").join(case);
    let source = format::resolve(&folder).unwrap();
    let Hub::Checkpoint(checkpoint) = (source.format.read.unwrap())(&source.files).unwrap() else {
        panic!("a safetensors folder is a checkpoint")
    };
    arch::lower(&checkpoint, &LowerOptions::default()).unwrap()
}

#[test]
fn a_graph_that_onnx_runtime_optimized_computes_the_same_and_says_whose_operators_it_needs() {
    if std::env::var_os("ORT_DYLIB_PATH").is_none() {
        println!("skipped: ORT_DYLIB_PATH is not set; see scripts/fetch-oracles.sh");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, graph: &Graph| {
        let path = folder.path().join(name);
        std::fs::write(&path, onnx::to_bytes(graph).unwrap()).unwrap();
        Files::single(path)
    };
    for case in CASES {
        let graph = lowered(case);
        let source = write("source.onnx", &graph);
        let nodes = graph.body.nodes().count();
        for level in [Level::Basic, Level::Extended, Level::All] {
            let optimized = run::optimized(&graph, level).unwrap();
            assert!(optimized.body.nodes().count() <= nodes, "{case}");
            assert_eq!(optimized.metadata, graph.metadata);
            let domains = optimized.domains();
            assert!(optimized.opsets.keys().eq(domains.iter()), "{case}: {domains:?}");
            assert_eq!(domains.len() == 1, level == Level::Basic, "{case}: {domains:?}");
            let inputs = InputSpec::Synthetic { samples: 3, seed: 1 };
            let target = write("optimized.onnx", &optimized);
            let measured = measure(RunnerChoice::OnnxRuntime, &source, &target, &inputs).unwrap();
            for output in &measured.outputs {
                assert!(output.max_abs < 1e-5, "{case} {level:?}: {output:?}");
            }
            let again = run::optimized(&graph, level).unwrap();
            assert_eq!(onnx::to_bytes(&again).unwrap(), onnx::to_bytes(&optimized).unwrap());
        }
    }
}
