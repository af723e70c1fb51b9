//! Graphs that torch exported at one length, freed, against what torch computes at other lengths: the
//! fixtures of `fixtures/free_axes` (made by its gen.py).
#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::panic)] // a test suite

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use model_build::format::onnx;
use model_build::hub::Graph;
use model_build::pass::{FIX_SHAPES, Observed, Params};
use model_build_tests::arrays::{self, Arrays, max_abs_diff};
use model_build_tests::onnxruntime::{self, Level};
use model_build_tests::rten;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/free_axes").join(name)
}

fn shaped(name: &str, params: &[(&str, &str)]) -> model_build::error::Result<Graph> {
    let mut graph = onnx::from_file(&fixture(&format!("{name}.onnx"))).unwrap();
    let params = params.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    (FIX_SHAPES.run)(&mut graph, &Params(params.collect()), &Observed::default())?;
    Ok(graph)
}

/// Runs every case of a fixture's arrays; gives how many there were.
fn compare(name: &str, params: &[(&str, &str)]) -> usize {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    std::fs::write(&path, onnx::to_bytes(&shaped(name, params).unwrap()).unwrap()).unwrap();
    let all = arrays::read(&fixture(&format!("{name}.safetensors")));
    let cases: BTreeSet<&str> = all.keys().map(|key| key.split('.').nth(1).unwrap()).collect();
    for case in &cases {
        let start = format!("in.{case}.");
        let inputs: Arrays = all
            .iter()
            .filter_map(|(key, array)| Some((key.strip_prefix(&start)?.to_owned(), array.clone())))
            .collect();
        let want = &all[&format!("out.{case}")];
        let mut outputs = vec![rten::run(&path, &inputs)];
        outputs.extend(onnxruntime::find().map(|runtime| runtime.run(&path, Level::All, &inputs)));
        for output in outputs {
            assert_eq!(output["y"].shape, want.shape, "{name} {case}");
            let error = max_abs_diff(output["y"].f32(), want.f32());
            assert!(error < 2e-6, "{name} {case}: {error}");
        }
    }
    cases.len()
}

#[test]
fn a_freed_graph_computes_what_torch_does_at_other_lengths() {
    let batch = [("ids[0]", "name:batch"), ("mask[0]", "name:batch")];
    assert_eq!(compare("bert", &batch), 2);
    assert_eq!(compare("heads", &[("x[0]", "dynamic"), ("x[1]", "1..=8")]), 4);
    assert_eq!(compare("convolutions", &[("image[0]", "dynamic")]), 3);
}

#[test]
fn an_axis_that_the_graph_was_built_for_is_refused_by_the_node_that_holds_it() {
    let length = [("ids[1]", "name:length"), ("mask[1]", "name:length")];
    let error = shaped("bert", &length).unwrap_err().report();
    assert!(error.contains("(Add)") || error.contains("(Gather)"), "{error}");
    assert!(error.contains("export it with `length` dynamic"), "{error}");
    // The pooling was exported as a global one, so the sides are free; the batch is not asked for.
    let graph =
        shaped("convolutions", &[("image[2]", "dynamic"), ("image[3]", "dynamic")]).unwrap();
    let y = graph.body.tensor_type(graph.body.outputs()[0]).unwrap().1.unwrap();
    assert_eq!(y.iter().map(ToString::to_string).collect::<Vec<_>>(), ["2", "5"]);
}
