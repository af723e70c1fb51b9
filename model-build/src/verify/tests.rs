//! The accuracy check as a whole, against numbers of numpy and torch and between the runners.
//!
//! Tests of ONNX Runtime need its library in `ORT_DYLIB_PATH` and say so when they skip.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::*;
use crate::ErrorKind;
use crate::fsx;
use crate::hub::Tensor;
use crate::run::{Model, Setup, choose, identity};

fn fixture(name: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/verify")).join(name)
}

fn mlp(tag: &str) -> Files {
    Files::single(fixture(&format!("mlp-{tag}.onnx")))
}

fn synthetic(samples: u32, seed: u64) -> InputSpec {
    InputSpec::Synthetic { samples, seed }
}

/// The runners of this machine.
fn runners() -> Vec<RunnerChoice> {
    let mut out = Vec::new();
    if cfg!(feature = "rten") {
        out.push(RunnerChoice::Rten);
    }
    if cfg!(feature = "ort") && crate::env::is_set("ORT_DYLIB_PATH") {
        out.push(RunnerChoice::OnnxRuntime);
    } else {
        println!("skipped: ONNX Runtime, as ORT_DYLIB_PATH or the feature `ort` is not set");
    }
    out
}

#[test]
fn the_numbers_are_those_of_numpy() {
    let pairs = inputs::read(&fixture("metrics.safetensors")).unwrap();
    let text = fsx::read_text(&fixture("metrics.json"), 1 << 20).unwrap();
    let numbers: BTreeMap<String, BTreeMap<String, Option<f64>>> =
        serde_json::from_str(&text).unwrap();
    assert_eq!(numbers.len(), 9);
    for (name, want) in numbers {
        let side = |side: &str| &pairs[&format!("{name}|{side}")];
        let got = Comparison::of(&name, 0, side("reference"), side("artifact")).unwrap().finish();
        let near = |key: &str, got: f64| {
            let want = want[key].unwrap();
            assert!(
                (got - want).abs() <= 1e-12 * want.abs().max(1.0),
                "{name} {key}: {got} {want}"
            );
        };
        near("cosine", got.cosine);
        near("cosine_all", got.cosine_all);
        near("max_abs", got.max_abs);
        near("mean_abs", got.mean_abs);
        near("relative", got.relative.unwrap());
        let both = [("kl", got.kl), ("topk", got.topk)].map(|(key, got)| (key, got.zip(want[key])));
        for (key, pair) in both {
            assert!(pair.is_none_or(|(a, b)| (a - b).abs() <= 1e-12), "{name} {key}: {pair:?}");
        }
        let known = (got.kl.is_some(), got.topk.is_some());
        assert_eq!(known, (want["kl"].is_some(), want["topk"].is_some()), "{name}");
        assert_eq!(got.top1, want["top1"], "{name}");
    }
}

fn run_once(choice: RunnerChoice, files: &Files, feed: &BTreeMap<String, Tensor>) -> Vec<f32> {
    let runner = choose(choice).unwrap();
    let mut session = runner.load(&Model::open(files).unwrap(), &Setup::default()).unwrap();
    session.run(feed).unwrap()["y"].to_f32().unwrap()
}

#[test]
fn every_precision_gives_the_numbers_of_torch_on_every_runner() {
    let tensors = inputs::read(&fixture("mlp.safetensors")).unwrap();
    let feed = BTreeMap::from([("x".to_owned(), tensors["x"].clone())]);
    let f32_wanted = tensors["y-f32"].to_f32().unwrap();
    for choice in runners() {
        for (tag, ulp) in [("f32", 1e-6), ("bf16", 1.0 / 128.0), ("f16", 1.0 / 1024.0)] {
            let want = tensors[&format!("y-{tag}")].to_f32().unwrap();
            let got = run_once(choice, &mlp(tag), &feed);
            let off = |other: &[f32]| {
                let far = got.iter().zip(other).map(|(g, w)| f64::from((g - w).abs() / w.abs()));
                far.fold(0.0, f64::max)
            };
            // One rounding of an intermediate value may fall on the other side of a tie.
            assert!(off(&want) <= 2.0 * ulp, "{choice:?} {tag}: off by {} of torch", off(&want));
            let same = got.iter().zip(&want).filter(|(g, w)| g == w).count();
            if tag == "bf16" || (tag == "f16" && choice == RunnerChoice::Rten) {
                assert!(same * 10 >= want.len() * 9, "{choice:?} {tag}: {same} of {}", want.len());
                assert!(off(&f32_wanted) > ulp / 4.0, "{choice:?} {tag}: nothing was rounded");
            }
        }
    }
}

#[test]
fn a_check_says_what_ran_and_on_what() {
    for choice in runners() {
        let inputs = InputSpec::File(fixture("mlp-inputs.safetensors"));
        let m = measure(choice, &mlp("f32"), &mlp("bf16"), &inputs).unwrap();
        assert_eq!(m.samples, 1);
        assert_eq!(m.inputs, "the inputs of `mlp-inputs.safetensors`");
        assert_eq!(identity(choice).unwrap(), format!("{}, all graph optimizations", m.runner));
        assert!(m.level.contains("artifact: "), "{}", m.level);
        let out = &m.outputs[0];
        assert!(out.cosine > 0.9999 && out.cosine < 1.0 && out.max_abs > 1e-4, "{out:?}");
        let e = check(&m, &Bounds { max_abs: Some(1e-5), ..Bounds::default() }).unwrap_err();
        println!("{}", e.report());
        assert_eq!(e.kind(), ErrorKind::Accuracy);
    }
}

#[test]
fn the_same_seed_gives_the_same_numbers_and_another_seed_others() {
    for choice in runners() {
        let run = |seed| measure(choice, &mlp("f32"), &mlp("f16"), &synthetic(3, seed)).unwrap();
        assert_eq!(run(1), run(1));
        assert_ne!(run(1).outputs, run(2).outputs);
        assert_eq!(run(1).inputs, "3 synthetic samples, seed 1");
    }
}

#[test]
fn a_model_against_itself_is_exact() {
    for choice in runners() {
        for tag in ["f32", "bf16", "f16"] {
            let m = measure(choice, &mlp(tag), &mlp(tag), &synthetic(2, 0)).unwrap();
            assert_eq!(
                (m.outputs[0].max_abs, m.outputs[0].top1),
                (0.0, Some(1.0)),
                "{choice:?} {tag}"
            );
        }
    }
}

#[test]
fn external_data_is_found_wherever_the_files_lie() {
    let apart = tempfile::tempdir().unwrap();
    let digest = apart.path().join("0123abcd");
    let data = apart.path().join("4567ef01");
    fsx::link_or_copy(&fixture("external/model.onnx"), &digest).unwrap();
    fsx::link_or_copy(&fixture("external/weights.data"), &data).unwrap();
    let objects =
        Files { files: vec![("model.onnx".to_owned(), digest), ("weights.data".to_owned(), data)] };
    let beside = Files {
        files: vec![
            ("model.onnx".to_owned(), fixture("external/model.onnx")),
            ("weights.data".to_owned(), fixture("external/weights.data")),
        ],
    };
    for choice in runners() {
        let m = measure(choice, &beside, &objects, &synthetic(1, 0)).unwrap();
        assert_eq!(m.outputs[0].max_abs, 0.0);
    }
    assert_eq!(fsx::list_dir(apart.path()).unwrap().len(), 2, "nothing is left behind");
}

#[test]
fn a_name_of_external_data_that_leads_out_of_the_folder_is_refused() {
    let files = Files {
        files: vec![
            ("model.onnx".to_owned(), fixture("external/model.onnx")),
            ("../weights.data".to_owned(), fixture("external/weights.data")),
        ],
    };
    let e = measure(RunnerChoice::Rten, &files, &files, &synthetic(1, 0)).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Malformed, "{e:?}");
}

#[test]
#[cfg(feature = "rten")]
fn outputs_and_inputs_are_matched_by_name() {
    let e = measure(
        RunnerChoice::Rten,
        &Files::single(fixture("mlp-f32.onnx")),
        &Files {
            files: vec![
                ("model.onnx".to_owned(), fixture("external/model.onnx")),
                ("weights.data".to_owned(), fixture("external/weights.data")),
            ],
        },
        &synthetic(1, 0),
    )
    .unwrap_err();
    assert_eq!(
        e.message(),
        "input `x` is f32[batch, 16] in the reference graph and f32[batch, 4] in the artifact"
    );
}

#[test]
#[cfg(not(any(feature = "rten", feature = "ort")))]
fn without_runners_the_error_names_the_feature() {
    let e = identity(RunnerChoice::Rten).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Unsupported);
    assert!(e.report().contains("features = [\"rten\"]"), "{e:?}");
}

#[test]
fn an_output_that_is_an_input_keeps_its_numbers() {
    use crate::hub::{DType, Dim, Graph, Type};
    let mut graph = Graph::new("g", 8, 17);
    let x = graph.body.intern("x").unwrap();
    let dims = [Dim::symbol("n"), Dim::Fixed(4)];
    graph.body.value_mut(x).ty = Some(Type::tensor(DType::F32, dims));
    graph.body.add_input(x);
    graph.body.add_output(x);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    fsx::write_atomic(&path, &crate::format::onnx::to_bytes(&graph).unwrap()).unwrap();
    let values: Vec<f32> = (1..=24u16).map(f32::from).collect();
    let fed = Tensor::from_f32(vec![6, 4], &values).unwrap();
    let feed = BTreeMap::from([("x".to_owned(), fed)]);
    for choice in runners() {
        let runner = choose(choice).unwrap();
        let mut session =
            runner.load(&Model::open(&Files::single(&path)).unwrap(), &Setup::default()).unwrap();
        for _ in 0..20 {
            let got = session.run(&feed).unwrap();
            assert_eq!(got["x"].to_f32().unwrap(), values, "{choice:?}");
        }
    }
}

#[test]
#[cfg(feature = "ort")]
fn onnx_runtime_gives_through_this_runner_what_it_gives_in_python() {
    if !crate::env::is_set("ORT_DYLIB_PATH") {
        println!("skipped: ORT_DYLIB_PATH is not set");
        return;
    }
    let path = fixture("../rten-gate/cases.safetensors");
    let tensors = inputs::read(&path).unwrap();
    let models = tensors.iter().filter_map(|(k, t)| Some((k.strip_suffix("|model")?, t)));
    let (folder, mut count) = (tempfile::tempdir().unwrap(), 0);
    let file = folder.path().join("model.onnx");
    let runner = choose(RunnerChoice::OnnxRuntime).unwrap();
    for (name, model) in models.filter(|(name, _)| name.starts_with("own/")) {
        let side = |side: &str| -> BTreeMap<String, Tensor> {
            let prefix = format!("{name}|{side}|");
            let of = tensors.iter();
            of.filter_map(|(k, t)| Some((k.strip_prefix(&prefix)?.to_owned(), t.clone()))).collect()
        };
        fsx::write_atomic(&file, &model.bytes().unwrap()).unwrap();
        let mut session =
            runner.load(&Model::open(&Files::single(&file)).unwrap(), &Setup::default()).unwrap();
        let got = session.run(&side("in")).unwrap_or_else(|e| panic!("{name}: {e:?}"));
        for (output, want) in side("out") {
            let m = Comparison::of(&output, 0, &want, &got[&output]).unwrap().finish();
            assert_eq!(want.dtype(), got[&output].dtype(), "{name}");
            assert_eq!(m.nonfinite.differing, 0, "{name}: {m:?}");
            // Quantized results may fall to the other side of a half; the rest is rounding.
            let bound = if name.contains("qdq") { 0.11 } else { 2e-5 };
            assert!(m.max_abs <= bound, "{name}: {m:?}");
        }
        count += 1;
    }
    assert!(count > 400, "{count}");
}
