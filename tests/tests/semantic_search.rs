//! all-MiniLM-L6-v2, really trained, from the checkpoint to the program: the numbers of
//! transformers, int8 near them in both runtimes, and the example that ships it.
//!
//! The model is fetched by `examples/semantic-search/fetch.sh`; without it these tests say that they
//! are skipped.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::panic)] // a test suite

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use model_build::arch::{self, LowerOptions};
use model_build::format::{self, WriteOptions};
use model_build::hub::{Graph, Hub, write_blob};
use model_build::pass::{DYNAMIC_INT8, Observed, Params};
use model_build_tests::arrays::{self, Array, Arrays, Data};
use model_build_tests::onnxruntime::{self, Level};
use model_build_tests::rten;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn example() -> PathBuf {
    root().join("examples/semantic-search")
}

fn fetched() -> bool {
    let there = example().join("models/all-MiniLM-L6-v2/model.safetensors").is_file();
    if !there {
        eprintln!("skipped: the model is not here; see examples/semantic-search/fetch.sh");
    }
    there
}

/// The tokenized sentences and what transformers makes of them.
fn reference() -> (Arrays, Array) {
    let mut inputs = arrays::read(&root().join("tests/fixtures/minilm/reference.safetensors"));
    let embeddings = inputs.remove("embeddings").unwrap();
    assert_eq!(embeddings.shape, [20, 384]);
    (inputs, embeddings)
}

/// The artifacts, made once for all tests of this file.
struct Artifacts {
    fp32: PathBuf,
    int8: PathBuf,
    /// With activations quantized per tensor.
    int8_tensor: PathBuf,
    _folder: tempfile::TempDir,
}

static ARTIFACTS: LazyLock<Artifacts> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    let source = format::resolve(&example().join("models/all-MiniLM-L6-v2")).unwrap();
    let Hub::Checkpoint(checkpoint) = (source.format.read.unwrap())(&source.files).unwrap() else {
        panic!("a safetensors folder is a checkpoint")
    };
    let graph = arch::lower(&checkpoint, &LowerOptions::default()).unwrap();
    let write = |graph: &Graph, name: &str| {
        let def = format::by_name("onnx").unwrap();
        let options = WriteOptions { file_name: name.to_owned(), ..Default::default() };
        let blobs = (def.write.unwrap())(&Hub::Graph(graph.clone()), &options).unwrap();
        let path = folder.path().join(name);
        let mut file = std::io::BufWriter::new(std::fs::File::create(&path).unwrap());
        write_blob(&blobs[0].segments, &mut file, &mut |_| {}).unwrap();
        path
    };
    let fp32 = write(&graph, "fp32.onnx");
    let quantized = |params: &Params, name: &str| {
        let mut graph = graph.clone();
        (DYNAMIC_INT8.run)(&mut graph, params, &Observed::default()).unwrap();
        write(&graph, name)
    };
    let int8 = quantized(&Params::default(), "int8.onnx");
    let int8_tensor = quantized(&Params::new([("activations", "tensor")]), "int8_tensor.onnx");
    Artifacts { fp32, int8, int8_tensor, _folder: folder }
});

/// The least and the mean cosine of the sentences' embeddings with the expected ones.
fn cosines(embeddings: &[f32], expected: &[f32]) -> (f64, f64) {
    assert_eq!(embeddings.len(), expected.len());
    let rows = embeddings.chunks(384).zip(expected.chunks(384));
    let all: Vec<f64> = rows.map(|(a, b)| arrays::cosine(a, b)).collect();
    (all.iter().copied().fold(f64::INFINITY, f64::min), all.iter().sum::<f64>() / all.len() as f64)
}

#[test]
fn the_fp32_artifact_gives_the_embeddings_of_transformers() {
    let Some(oracle) = onnxruntime::find() else { return };
    if !fetched() {
        return;
    }
    let (inputs, expected) = reference();
    for level in [Level::None, Level::All] {
        let out = oracle.run(&ARTIFACTS.fp32, level, &inputs);
        let diff = arrays::max_abs_diff(out["sentence_embedding"].f32(), expected.f32());
        println!("fp32, {level:?}: max-abs {diff:.2e}");
        assert!(diff <= 1e-4, "{diff:e} at {level:?}");
    }
}

#[test]
fn the_int8_artifact_stays_near_transformers_in_onnxruntime() {
    let Some(oracle) = onnxruntime::find() else { return };
    if !fetched() {
        return;
    }
    let (inputs, expected) = reference();
    for level in [Level::None, Level::All] {
        let out = oracle.run(&ARTIFACTS.int8, level, &inputs);
        let (least, mean) = cosines(out["sentence_embedding"].f32(), expected.f32());
        println!("int8, {level:?}: least cosine {least:.4}, mean {mean:.4}");
        assert!(least >= 0.98, "{least} at {level:?}");
    }
}

#[test]
fn the_int8_artifact_stays_near_transformers_in_rten() {
    if !fetched() {
        return;
    }
    let (inputs, expected) = reference();
    let out = rten::run(&ARTIFACTS.int8, &inputs);
    let (least, mean) = cosines(out["sentence_embedding"].f32(), expected.f32());
    println!("int8, rten: least cosine {least:.4}, mean {mean:.4}");
    assert!(least >= 0.98, "{least}");
}

#[test]
fn a_scale_per_row_of_activations_costs_a_third_of_the_error_of_one_per_tensor() {
    let Some(oracle) = onnxruntime::find() else { return };
    if !fetched() {
        return;
    }
    let (inputs, expected) = reference();
    let mean = |model: &Path| {
        let out = oracle.run(model, Level::All, &inputs);
        cosines(out["sentence_embedding"].f32(), expected.f32())
    };
    let (row, tensor) = (mean(&ARTIFACTS.int8), mean(&ARTIFACTS.int8_tensor));
    println!("int8, least and mean cosine per row {row:.4?}, per tensor {tensor:.4?}");
    assert!((1.0 - row.1) * 3.0 < 1.0 - tensor.1, "{row:?} {tensor:?}");
}

#[test]
fn an_int8_embedding_hardly_depends_on_the_rest_of_the_batch() {
    let Some(oracle) = onnxruntime::find() else { return };
    if !fetched() {
        return;
    }
    let (inputs, _) = reference();
    let batch = oracle.run(&ARTIFACTS.int8, Level::All, &inputs);
    let Data::I64(mask) = inputs["attention_mask"].data.clone() else { panic!("the mask is i64") };
    for (i, mask) in mask.chunks(inputs["attention_mask"].shape[1]).enumerate() {
        let len = mask.iter().filter(|m| **m == 1).count();
        let alone: Arrays = inputs
            .iter()
            .map(|(name, array)| {
                let Data::I64(data) = &array.data else { panic!("{name} is i64") };
                let data = data.chunks(mask.len()).nth(i).unwrap()[..len].to_vec();
                (name.clone(), Array { shape: vec![1, len], data: Data::I64(data) })
            })
            .collect();
        let alone = oracle.run(&ARTIFACTS.int8, Level::All, &alone);
        let together = &batch["sentence_embedding"].f32()[i * 384..(i + 1) * 384];
        let cosine = arrays::cosine(alone["sentence_embedding"].f32(), together);
        assert!(cosine >= 0.9999, "sentence {i}: {cosine}");
    }
}

#[test]
fn the_int8_artifact_is_less_than_a_third_of_the_checkpoint() {
    if !fetched() {
        return;
    }
    let len = |path: &Path| std::fs::metadata(path).unwrap().len();
    let checkpoint = len(&example().join("models/all-MiniLM-L6-v2/model.safetensors"));
    assert!(len(&ARTIFACTS.int8) * 3 < checkpoint, "{} bytes", len(&ARTIFACTS.int8));
}

/// Builds the example as a user does and gives the path of the program.
fn program() -> PathBuf {
    let target = example().join("target");
    let status = Command::new(env!("CARGO"))
        .args(["build", "--release", "--locked"])
        .current_dir(example())
        .env("CARGO_TARGET_DIR", &target)
        .status()
        .unwrap();
    assert!(status.success());
    target.join("release/semantic-search")
}

#[test]
fn the_example_answers_from_an_empty_folder_as_transformers_does() {
    if !fetched() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let search = folder.path().join("search");
    std::fs::copy(program(), &search).unwrap();
    let notes = std::fs::read_to_string(example().join("notes.txt")).unwrap();
    let lines: Vec<&str> = notes.lines().collect();
    std::fs::write(folder.path().join("notes.txt"), &notes).unwrap();

    let ranking = std::fs::read(root().join("tests/fixtures/minilm/ranking.json")).unwrap();
    let ranking: serde_json::Value = serde_json::from_slice(&ranking).unwrap();
    for (query, scores) in ranking.as_object().unwrap() {
        let scores: Vec<f64> =
            scores.as_array().unwrap().iter().map(|s| s.as_f64().unwrap()).collect();
        let best = (0..scores.len()).max_by(|a, b| scores[*a].total_cmp(&scores[*b])).unwrap();
        let out = Command::new(&search)
            .args([query, "notes.txt", "--top", "1000"])
            .current_dir(folder.path())
            .env_clear()
            .output()
            .unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        let text = String::from_utf8(out.stdout).unwrap();
        assert_eq!(text.lines().count(), lines.len());
        for (rank, printed) in text.lines().enumerate() {
            let mut words = printed.split_whitespace();
            let score: f64 = words.next().unwrap().parse().unwrap();
            let line = words.next().unwrap().parse::<usize>().unwrap() - 1;
            assert!(printed.ends_with(lines[line]), "{printed}");
            assert!((score - scores[line]).abs() < 0.05, "{query}: {printed}: {}", scores[line]);
            assert!(rank != 0 || line == best, "{query}: {printed}");
        }
    }
}

#[test]
fn the_example_explains_bad_arguments() {
    if !fetched() {
        return;
    }
    let program = program();
    let run = |args: &[&str]| {
        let out = Command::new(&program).args(args).output().unwrap();
        (out.status.code(), String::from_utf8(out.stderr).unwrap())
    };
    for (args, code, part) in [
        (&["only one"][..], 2, "usage: semantic-search QUERY FILE"),
        (&["a", "b", "--top", "many"], 2, "`many` is not a number"),
        (&["a", "b", "--topp"], 2, "unknown option `--topp`"),
        (&["", "notes.txt"], 2, "QUERY is empty"),
        (&["a", "no-such-file"], 1, "no-such-file"),
    ] {
        let (found, stderr) = run(args);
        assert_eq!(found, Some(code), "{args:?}");
        assert!(stderr.contains(part), "{args:?}: {stderr}");
    }
}
