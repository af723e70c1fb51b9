//! Checkpoint → GGUF → checkpoint as people do it: through a manifest, the store and back, held to
//! the tables that `fixtures/gguf_arch/digests.py` made of llama.cpp's own files.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::panic)] // a test suite

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use model_build::format::{self, gguf};
use model_build::hub::{Checkpoint, Gguf, Hub, Tensor};
use model_build_tests::gguf_table::{meta_line, tensor_line};
use model_build_tests::project::Project;

/// Checkpoints whose files of every type stand in tables; the second word is the pre-tokenizer that
/// was given to llama.cpp's converter, which knows none of these tokenizers.
const CASES: &[(&str, &str)] = &[
    ("bert-base-model", "jina-v2-en"),
    ("distilbert-model", "jina-v2-en"),
    ("gemma2", ""),
    ("gemma3", ""),
    ("gpt2", "gpt-2"),
    ("llama", ""),
    ("llama-k256", ""),
    ("mistral", ""),
    ("mixtral", ""),
    ("phi3", ""),
    ("qwen2", "gpt-2"),
    ("qwen3", "gpt-2"),
    ("qwen3_moe", "gpt-2"),
    ("roberta-model", "gpt-2"),
    ("t5", ""),
];

/// Types: what the manifest says, and the ending of the table.
const TYPES: &[(&str, &str)] = &[
    ("precision = \"fp16\"", ""),
    ("quantization = \"q8_0\"", "-q8_0"),
    ("quantization = \"q4_k_m\"", "-Q4_K_M"),
];

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/gguf_arch")
}

/// The main file of a project's one artifact, read.
fn build(project: &Project) -> (Gguf, Vec<u8>) {
    let (artifacts, _) = project.build();
    let file = &artifacts[0].record.files[0];
    let bytes = fs::read(project.store().object_path(&file.digest)).unwrap();
    (gguf::from_bytes(&bytes.clone().into()).unwrap(), bytes)
}

fn manifest(keys: &str, pre: &str) -> String {
    let pre = match pre {
        "" => String::new(),
        pre => format!("pre-tokenizer = \"{pre}\"\n"),
    };
    format!("[m]\nsource = \"model\"\n[m.targets.t]\nformat = \"gguf\"\n{keys}\n{pre}")
}

/// Keys that are stamps of who made the file, or of whom.
fn stamp(line: &str) -> bool {
    ["general.name", "model_build.", "general.quantized_by"]
        .iter()
        .any(|key| line.starts_with(&format!("meta {key}")))
}

/// What differs between a model and its table: tensors must be the same ones, key/values must hold
/// what the table has, at least.
fn differences(model: &Gguf, table: &str) -> Vec<String> {
    let text = fs::read_to_string(fixtures().join(table)).unwrap();
    let want: BTreeSet<&str> = text.lines().filter(|l| !stamp(l)).collect();
    let keys = model.metadata.iter().map(|(key, value)| meta_line(key, value));
    let tensors = model.tensors.iter().map(|(name, tensor)| tensor_line(name, tensor));
    let got: BTreeSet<String> = keys.chain(tensors).filter(|l| !stamp(l)).collect();
    let missing = want.iter().filter(|l| !got.contains(**l)).map(|l| format!("lacks {l}"));
    let more = got.iter().filter(|l| l.starts_with("tensor ") && !want.contains(l.as_str()));
    missing.chain(more.map(|l| format!("has {l}"))).collect()
}

#[test]
fn every_checkpoint_becomes_what_llama_cpp_makes_of_it_in_every_type() {
    let mut wrong = Vec::new();
    for (case, pre) in CASES {
        let project = Project::new(&fixtures().join(case), &manifest("", pre));
        for (keys, ending) in TYPES {
            project.write("models.toml", manifest(keys, pre));
            let (model, _) = build(&project);
            for difference in differences(&model, &format!("{case}{ending}.txt")) {
                wrong.push(format!("{case}{ending}: {difference}"));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

fn tensors(model: &Gguf) -> BTreeMap<String, (String, Vec<u64>, blake3::Hash)> {
    let each = |(name, t): &(String, Tensor)| {
        let digest = blake3::hash(&t.bytes().unwrap());
        (name.clone(), (t.dtype().name().to_owned(), t.shape().to_vec(), digest))
    };
    model.tensors.iter().map(each).collect()
}

fn checkpoint_of(folder: &Path) -> Checkpoint {
    let source = format::resolve(folder).unwrap();
    match format::read(source.format, &source.files, None).unwrap() {
        Hub::Checkpoint(checkpoint) => checkpoint,
        _ => panic!("not a checkpoint"),
    }
}

#[test]
fn gguf_to_safetensors_to_gguf_gives_the_same_tensors_in_every_unquantized_type() {
    for (case, pre) in CASES {
        for precision in ["fp32", "fp16", "bf16"] {
            let keys = format!("precision = \"{precision}\"");
            let project = Project::new(&fixtures().join(case), &manifest(&keys, pre));
            let (first, bytes) = build(&project);
            // Back to a folder …
            project.write("model.gguf", bytes);
            let back = "[m]\nsource = \"model.gguf\"\n[m.targets.t]\nformat = \"safetensors\"\n";
            project.write("models.toml", back);
            let (artifacts, _) = project.build();
            fs::create_dir(project.path("back")).unwrap();
            for file in &artifacts[0].record.files {
                let from = project.store().object_path(&file.digest);
                fs::copy(from, project.path("back").join(&file.name)).unwrap();
            }
            let folder = checkpoint_of(&project.path("back"));
            assert!(folder.config.get("model_type").is_some(), "{case}");
            assert!(folder.assets.contains_key("tokenizer.json"), "{case}");
            // … and to GGUF again.
            let again = manifest("", pre).replace("\"model\"", "\"back\"");
            project.write("models.toml", again);
            let (second, _) = build(&project);
            assert_eq!(tensors(&first), tensors(&second), "{case} {precision}");
        }
    }
}

/// Flips bits of one tensor of a safetensors file.
fn fine_tune(project: &Project, tensor: &str) {
    let path = project.path("model/model.safetensors");
    let mut bytes = fs::read(&path).unwrap();
    let header = usize::try_from(u64::from_le_bytes(bytes[..8].try_into().unwrap())).unwrap();
    let table: serde_json::Value = serde_json::from_slice(&bytes[8..8 + header]).unwrap();
    let offsets = &table[tensor]["data_offsets"];
    let at = |i: usize| 8 + header + usize::try_from(offsets[i].as_u64().unwrap()).unwrap();
    for byte in bytes[at(0)..at(1)].iter_mut().step_by(4) {
        *byte ^= 0x55; // the least bits of an f32
    }
    project.write("model/model.safetensors", bytes);
}

#[test]
fn a_fine_tuned_layer_is_encoded_and_the_others_are_taken_over() {
    let project =
        Project::new(&fixtures().join("llama-k256"), &manifest("quantization = \"q4_k_m\"", ""));
    let encoded = |log: &model_build_tests::project::Log| -> (u64, u64) {
        let line = log.of("encoding").pop().unwrap().to_owned();
        let mut numbers = line.split(' ').skip(1).map(|n| n.parse().unwrap());
        (numbers.next().unwrap(), numbers.next().unwrap())
    };
    let (first, log) = project.build();
    let (all, none) = encoded(&log);
    assert!(all > 0 && none == 0);
    fine_tune(&project, "model.layers.0.mlp.up_proj.weight");
    let (second, log) = project.build();
    let (changed, reused) = encoded(&log);
    let layer = changed * 100 / all;
    assert!(changed > 0 && reused + changed == all && layer < 20, "{changed} of {all} bytes");
    // The same bytes as without an earlier build.
    let fresh = Project::new(&project.path("model"), &manifest("quantization = \"q4_k_m\"", ""));
    let (third, _) = fresh.build();
    let digest = |a: &[model_build::execute::Artifact]| a[0].record.files[0].digest;
    assert_ne!(digest(&first), digest(&second));
    assert_eq!(digest(&second), digest(&third));
}
