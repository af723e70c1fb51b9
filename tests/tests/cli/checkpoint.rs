//! Checkpoint ↔ GGUF ↔ safetensors, PyTorch and Ollama on the command line.

use std::collections::BTreeMap;
use std::path::Path;

use model_build::format::{self, gguf};
use model_build::hub::{Checkpoint, Gguf, Hub};
use model_build_tests::project::repository;

use crate::tool::{Folder, Run, digest};

pub(crate) const LLAMA: &str = "tests/fixtures/gguf_arch/llama-k256";
pub(crate) const IMPORTANCE: &str = "tests/fixtures/gguf/llama-k256.imatrix.gguf";

/// A folder with a checkpoint of the architecture llama as `llama`; its rows are whole super-blocks.
pub(crate) fn llama() -> Folder {
    let folder = Folder::empty();
    folder.copy(LLAMA, "llama");
    folder
}

pub(crate) fn read_gguf(path: &Path) -> Gguf {
    gguf::from_bytes(&std::fs::read(path).unwrap().into()).unwrap()
}

/// Tensors by type: how many there are of each.
fn types(model: &Gguf) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    for (_, tensor) in &model.tensors {
        *counts.entry(tensor.dtype().name()).or_default() += 1;
    }
    counts
}

fn checkpoint(path: &Path) -> Checkpoint {
    let found = format::resolve(path).unwrap();
    match format::read(found.format, &found.files, None).unwrap() {
        Hub::Checkpoint(checkpoint) => checkpoint,
        _ => panic!("not a checkpoint"),
    }
}

/// The names in a folder, sorted.
fn names(folder: &Folder, path: &str) -> Vec<String> {
    let entries = std::fs::read_dir(folder.at(path)).unwrap();
    let mut names: Vec<_> =
        entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort_unstable();
    names
}

#[test]
fn a_checkpoint_becomes_a_gguf_file_of_every_kind_of_type() {
    let folder = llama();
    for (flags, want) in [
        (&["--precision", "fp16"][..], &[("f16", 9), ("f32", 3)][..]),
        (&["--quantization", "q8_0"], &[("f32", 3), ("q8_0", 9)]),
        (&["--quantization", "q4_k_m"], &[("f32", 3), ("q4_k", 6), ("q6_k", 3)]),
        (&["--quantization", "iq4_xs"], &[("f32", 3), ("iq4_xs", 7), ("q5_k", 1), ("q6_k", 1)]),
        (&["--quantization", "q4_0", "--quantization.pure", "true"], &[("f32", 3), ("q4_0", 9)]),
        (
            &["--quantization", "q4_0", "--quantization.overrides", "attn=q8_0,output=f16"],
            &[("f16", 1), ("f32", 3), ("q4_0", 4), ("q8_0", 4)],
        ),
    ] {
        let to = |dst| [&["convert", "llama", dst, "-f"][..], flags].concat();
        let out = folder.succeed(&to("out.gguf"));
        assert!(out.trim_end().ends_with(&digest(&folder.at("out.gguf"))), "{out}");
        let model = read_gguf(&folder.at("out.gguf"));
        let want: BTreeMap<_, _> = want.iter().copied().collect();
        assert_eq!(types(&model), want, "{flags:?}");
        // Without the cache the same bytes are written.
        folder.succeed(&[&to("direct.gguf")[..], &["--no-cache"]].concat());
        assert_eq!(digest(&folder.at("out.gguf")), digest(&folder.at("direct.gguf")), "{flags:?}");
    }
}

#[test]
fn a_target_size_is_kept_and_one_that_cannot_be_used_up_is_warned_of() {
    let folder = llama();
    let flag = "--quantization.target-size";
    folder.succeed(&["convert", "llama", "a.gguf", flag, "500kB"]);
    let len = folder.at("a.gguf").metadata().unwrap().len();
    assert!((450_000..=500_000).contains(&len), "{len}");
    for args in [
        &["convert", "llama", "b.gguf", flag, "1GB"][..],
        &["convert", "llama", "c.gguf", flag, "1GB", "--no-cache"],
    ] {
        let run = folder.run(args);
        assert_eq!(run.code, 0, "{run}");
        let words = "warning: b.gguf: a target-size of 1000000000 bytes is more than there is";
        assert!(run.err.contains(&words.replace("b.gguf", args[2])), "{run}");
    }
    let again = folder.run(&["convert", "llama", "b.gguf", flag, "1GB", "-f"]);
    assert!(again.err.contains("is more than there is to spend on"), "when reused too: {again}");
    folder.succeed(&["convert", "llama", "d.gguf", "--quantization.target-bpw", "4.5"]);
    let model = read_gguf(&folder.at("d.gguf"));
    let bits: u64 = model.tensors.iter().map(|(_, t)| t.byte_len() * 8).sum();
    let weights: u64 = model.tensors.iter().map(|(_, t)| t.len()).sum();
    assert!(bits <= weights * 9 / 2 && bits > weights * 4, "{bits} of {weights}");
}

#[test]
fn importance_changes_bytes_and_is_named_in_the_file() {
    let folder = llama();
    folder.succeed(&["convert", "llama", "plain.gguf", "--quantization", "q4_k_m"]);
    let matrix = repository().join(IMPORTANCE);
    let args = ["convert", "llama", "weighted.gguf", "--quantization", "q4_k_m"];
    let flag = ["--quantization.importance", matrix.to_str().unwrap()];
    folder.succeed(&[&args[..], &flag].concat());
    let (plain, weighted) =
        (read_gguf(&folder.at("plain.gguf")), read_gguf(&folder.at("weighted.gguf")));
    let named = weighted.get("quantize.imatrix.file").and_then(|v| v.as_text());
    assert_eq!(named, Some("llama-k256.imatrix.gguf"));
    assert!(plain.get("quantize.imatrix.file").is_none());
    assert_eq!(types(&plain), types(&weighted));
    assert_ne!(digest(&folder.at("plain.gguf")), digest(&folder.at("weighted.gguf")));
}

#[test]
fn a_dry_run_tells_types_reasons_and_the_size_to_the_byte_and_writes_nothing() {
    let folder = llama();
    let args = ["convert", "llama", "a.gguf", "--quantization", "q4_k_m"];
    let out = folder.succeed(&[&args[..], &["--dry-run"]].concat());
    let line = |name: &str| out.lines().find(|l| l.starts_with(name)).unwrap().to_owned();
    let words: Vec<_> = line("output.weight").split_whitespace().map(str::to_owned).collect();
    assert_eq!(words[..4], ["output.weight", "[512,", "256]", "f32"], "{out}");
    assert!(line("output.weight").ends_with("q6_k  107.5 kB  output layer"), "{out}");
    assert!(line("output_norm.weight").ends_with("kept: a vector"), "{out}");
    assert!(out.trim_end().ends_with("in all, 5.24 bits per weight"), "{out}");
    assert!(!folder.at("a.gguf").exists() && !folder.path("cache").join("objects").exists());
    let (code, lines) = folder.json(&[&args[..], &["--dry-run"]].concat());
    let last = lines.last().unwrap();
    assert_eq!((code, last["event"].as_str()), (0, Some("dry-run")));
    assert_eq!(last["tensors"].as_array().unwrap().len(), 12);
    folder.succeed(&args);
    assert_eq!(last["bytes"].as_u64().unwrap(), folder.at("a.gguf").metadata().unwrap().len());
    // Where nothing is quantized, and where the source is a GGUF file.
    let kept = folder.succeed(&["convert", "llama", "a.gguf", "--dry-run"]);
    assert!(kept.contains("kept: no type is asked for"), "{kept}");
    let from = ["convert", "a.gguf", "b.gguf", "--dry-run"];
    assert!(folder.succeed(&from).contains("q6_k"));
    let words = ["only the way to a GGUF model", "--dry-run"];
    folder.fail(5, &words, &["convert", "llama", "a.safetensors", "--dry-run"]);
}

#[test]
fn a_split_file_is_named_part_by_part_replaced_when_forced_and_read_by_any_part() {
    let folder = llama();
    let args = ["convert", "llama", "out/m.gguf", "--split-max-size", "600kB"];
    let out = folder.succeed(&args);
    let parts: Vec<String> = (1..=5).map(|n| format!("m-0000{n}-of-00005.gguf")).collect();
    assert_eq!(names(&folder, "out"), parts, "and nothing else");
    for (line, part) in out.lines().zip(&parts) {
        assert!(line.starts_with(&format!("out/{part}  ")), "{out}");
        assert!(line.ends_with(&digest(&folder.at("out").join(part))), "{out}");
    }
    let whole: Vec<_> = parts.iter().map(|p| digest(&folder.at("out").join(p))).collect();
    // Any part that is there is in the way, with and without the cache.
    for part in [&parts[0], &parts[3]] {
        for other in parts.iter().filter(|p| *p != part) {
            std::fs::remove_file(folder.at("out").join(other)).unwrap();
        }
        folder.write(&format!("out/{part}"), "mine");
        for more in [&[][..], &["--no-cache"]] {
            let words = ["there already", part.as_str(), "--force"];
            folder.fail(2, &words, &[&args[..], more].concat());
            assert_eq!(names(&folder, "out"), [part.as_str()], "{more:?}");
        }
        for more in ["--no-cache", "--verbose"] {
            folder.succeed(&[&args[..], &["-f", more]].concat());
            let now: Vec<_> = parts.iter().map(|p| digest(&folder.at("out").join(p))).collect();
            assert_eq!(now, whole);
        }
    }
    folder.succeed(&["convert", "llama", "one.gguf"]);
    let want = read_gguf(&folder.at("one.gguf")).tensors.len();
    for part in [&parts[0], &parts[4]] {
        folder.succeed(&["convert", &format!("out/{part}"), "again.gguf", "-f"]);
        assert_eq!(read_gguf(&folder.at("again.gguf")).tensors.len(), want);
    }
    folder.succeed(&["convert", "out", "again.gguf", "-f"]);
    std::fs::remove_file(folder.at("out").join(&parts[2])).unwrap();
    let words = ["part 3 of 5 is missing: m-00003-of-00005.gguf", "fetch the missing part"];
    folder.fail(3, &words, &["convert", &format!("out/{}", parts[0]), "again.gguf", "-f"]);
}

#[test]
fn checkpoints_are_written_as_folders_that_are_read_back_the_same() {
    let folder = llama();
    let want = checkpoint(&folder.at("llama"));
    for (dst, more) in [
        ("st/model.safetensors", &[][..]),
        ("st-split/model.safetensors", &["--split-max-size", "600kB"]),
        ("pt/pytorch_model.bin", &[]),
        ("pt-split/pytorch_model.bin", &["--split-max-size", "600kB"]),
        ("direct/model.safetensors", &["--no-cache"]),
    ] {
        let out = folder.succeed(&[&["convert", "llama", dst][..], more].concat());
        let dir = dst.split('/').next().unwrap();
        let made = names(&folder, dir);
        assert_eq!(out.lines().count(), made.len(), "{out}");
        for asset in ["config.json", "tokenizer.json", "tokenizer.model"] {
            assert!(made.iter().any(|n| n == asset), "{dst}: {made:?}");
        }
        let read = checkpoint(&folder.at(dir));
        assert_eq!(read.config, want.config);
        assert!(read.tensors.keys().eq(want.tensors.keys()), "{dst}");
        for (name, tensor) in &read.tensors {
            assert_eq!(tensor.bytes().unwrap(), want.tensors[name].bytes().unwrap(), "{name}");
        }
        let words = ["there already", "--force"];
        folder.fail(2, &words, &[&["convert", "llama", dst][..], more].concat());
    }
    folder.succeed(&["convert", "llama", "half/model.safetensors", "--precision", "bf16"]);
    let half = checkpoint(&folder.at("half"));
    assert!(half.tensors.values().all(|t| t.dtype().name() == "bf16"));
}

#[test]
fn a_gguf_file_becomes_a_checkpoint_again() {
    let folder = llama();
    folder.succeed(&["convert", "llama", "f32.gguf", "--precision", "fp32"]);
    folder.succeed(&["convert", "f32.gguf", "back/model.safetensors"]);
    let (want, back) = (checkpoint(&folder.at("llama")), checkpoint(&folder.at("back")));
    assert!(back.tensors.keys().eq(want.tensors.keys()));
    for (name, tensor) in &back.tensors {
        assert_eq!(tensor.bytes().unwrap(), want.tensors[name].bytes().unwrap(), "{name}");
    }
    folder.succeed(&["convert", "back", "again.gguf"]);
    let (a, b) = (read_gguf(&folder.at("f32.gguf")), read_gguf(&folder.at("again.gguf")));
    assert!(a.tensors.iter().zip(&b.tensors).all(|(a, b)| a.0 == b.0));
    // Blocks are decoded, to the precision that is asked for.
    folder.succeed(&["convert", "llama", "q.gguf", "--quantization", "q4_k_m"]);
    folder.succeed(&["convert", "q.gguf", "q/pytorch_model.bin", "--precision", "fp16"]);
    let q = checkpoint(&folder.at("q"));
    assert!(q.tensors.values().all(|t| t.dtype().name() == "f16"));
}

#[test]
fn blocks_are_encoded_again_only_when_asked_for() {
    let folder = llama();
    folder.succeed(&["convert", "llama", "q4.gguf", "--quantization", "q4_k_m"]);
    let args = ["convert", "q4.gguf", "q8.gguf", "--quantization", "q8_0"];
    let words = ["is q6_k already", "(output.weight)", "`requantize = true` in `quantization`"];
    folder.fail(5, &words, &args);
    folder.fail(5, &words, &[&args[..], &["--dry-run"]].concat());
    assert!(!folder.at("q8.gguf").exists());
    folder.succeed(&[&args[..], &["--quantization.requantize", "true"]].concat());
    assert_eq!(types(&read_gguf(&folder.at("q8.gguf")))["q8_0"], 9);
    folder.succeed(&["convert", "q4.gguf", "same.gguf"]);
    assert_eq!(types(&read_gguf(&folder.at("same.gguf")))["q4_k"], 6);
}

/// A store with the model `me/tiny:1b`; gives its root.
fn ollama(folder: &Folder, model: &[u8]) -> std::path::PathBuf {
    let blob = |n: u8| format!("{n:064x}");
    let layers = [("model", model), ("template", b"{{ .Prompt }}"), ("license", b"as you like")];
    let mut list = Vec::new();
    for (n, (kind, content)) in (0..).zip(layers) {
        folder.write(&format!("store/blobs/sha256-{}", blob(n)), content);
        list.push(serde_json::json!({
            "mediaType": format!("application/vnd.ollama.image.{kind}"),
            "digest": format!("sha256:{}", blob(n)), "size": content.len(),
        }));
    }
    let manifest = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
        "config": {"mediaType": "x", "digest": "sha256:0", "size": 0}, "layers": list,
    });
    let path = "store/manifests/registry.ollama.ai/me/tiny/1b";
    folder.write(path, manifest.to_string());
    folder.at("store")
}

#[test]
fn a_model_comes_from_the_store_of_ollama_by_its_name() {
    let folder = llama();
    folder.succeed(&["convert", "llama", "f16.gguf", "--precision", "fp16"]);
    let store = ollama(&folder, &std::fs::read(folder.at("f16.gguf")).unwrap());
    let run = |args: &[&str]| Run::of(folder.command(args).env("OLLAMA_MODELS", &store));
    let made = run(&["convert", "ollama:me/tiny:1b", "q.gguf", "--quantization", "q4_0"]);
    assert_eq!(made.code, 0, "{made}");
    assert_eq!(types(&read_gguf(&folder.at("q.gguf")))["q4_0"], 8);
    let made = run(&["convert", "ollama:me/tiny:1b", "st/model.safetensors"]);
    assert_eq!(made.code, 0, "{made}");
    assert_eq!(checkpoint(&folder.at("st")).tensors.len(), 12);
    let shown = run(&["inspect", "ollama:me/tiny:1b"]);
    assert!(shown.out.contains("format") && shown.out.contains("ollama"), "{shown}");
    folder
        .write("models.toml", "[m]\nsource = \"ollama:me/tiny:1b\"\ntargets.t.format = \"gguf\"\n");
    let built = run(&["build"]);
    assert!(built.code == 0 && built.out.starts_with("m.t  "), "{built}");
    let none = run(&["convert", "ollama:me/other", "x.gguf"]);
    assert_eq!(none.code, 3, "{none}");
    for word in ["no model `me/other:latest`", "`ollama pull me/other:latest`", "OLLAMA_MODELS"] {
        assert!(none.err.contains(word), "{none}");
    }
    let wrong = run(&["convert", "ollama:../../etc", "x.gguf"]);
    assert!(wrong.code == 2 && wrong.err.contains("is no name of an Ollama model"), "{wrong}");
    // And back into a folder that `ollama create` takes.
    let made = run(&["convert", "llama", "o/model.gguf", "--format", "ollama"]);
    assert_eq!(made.code, 0, "{made}");
    assert_eq!(names(&folder, "o"), ["Modelfile", "model.gguf"]);
}

#[test]
fn one_of_several_state_dicts_is_chosen_by_name() {
    let folder = Folder::empty();
    let file = repository().join("tests/fixtures/pytorch/several.pt.bin");
    folder.write("several.pt", std::fs::read(file).unwrap());
    let words = ["several state dicts: `model`, `ema`", "--state-dict model"];
    folder.fail(3, &words, &["convert", "several.pt", "a.safetensors"]);
    folder.fail(3, &words, &["inspect", "several.pt"]);
    let args = ["convert", "several.pt", "a.safetensors", "--state-dict"];
    folder.succeed(&[&args[..], &["ema"]].concat());
    assert_eq!(checkpoint(&folder.at("a.safetensors")).tensors.len(), 2);
    folder.fail(2, &["nothing under `emma`", "\"ema\""], &[&args[..], &["emma", "-f"]].concat());
    assert!(folder.succeed(&["inspect", "several.pt", "--state-dict", "ema"]).contains("12"));
    let toml = "[m]\nsource = \"several.pt\"\nstate-dict = \"ema\"\n\
                targets.t.format = \"safetensors\"\n";
    folder.write("models.toml", toml);
    folder.succeed(&["build"]);
    folder.write("models.toml", toml.replace("\"ema\"", "\"steps.0\""));
    assert!(folder.succeed(&["why"]).contains("to do; since its last build this changed:"));
}

#[test]
fn a_gguf_file_becomes_the_graph_that_its_checkpoint_becomes() {
    let folder = Folder::empty();
    folder.copy("tests/fixtures/gguf_arch/bert-base-model", "bert");
    let pre = ["--pre-tokenizer", "jina-v2-en"];
    folder.succeed(&[&["convert", "bert", "bert.gguf", "--precision", "fp32"][..], &pre].concat());
    folder.succeed(&["convert", "bert.gguf", "a.onnx"]);
    let bounds = ["--runner", "rten", "--samples", "2", "--max-abs", "0"];
    folder.succeed(&[&["verify", "bert.gguf", "a.onnx"][..], &bounds].concat());
    // Against the checkpoint without the pooler, which GGUF files do not have.
    let flags = ["--pooling", "mean", "--normalize", "true"];
    folder.succeed(&[&["convert", "bert.gguf", "pooled.onnx"][..], &flags].concat());
    folder.succeed(&[&["convert", "bert", "want.onnx"][..], &flags].concat());
    let bounds = ["--runner", "rten", "--samples", "4", "--max-abs", "0"];
    folder.succeed(&[&["verify", "want.onnx", "pooled.onnx"][..], &bounds].concat());
    // Blocks are decoded.
    let q8 = ["convert", "bert", "q8.gguf", "--quantization", "q8_0"];
    folder.succeed(&[&q8[..], &pre].concat());
    folder.succeed(&[&["convert", "q8.gguf", "q8.onnx"][..], &flags].concat());
    let bounds = ["--runner", "rten", "--samples", "4", "--cosine", "0.999"];
    folder.succeed(&[&["verify", "want.onnx", "q8.onnx"][..], &bounds].concat());
    folder.write(
        "models.toml",
        "[m]\nsource = \"q8.gguf\"\n[m.targets.t]\nformat = \"onnx\"\n\
         verify = { cosine = 0.999, runner = \"rten\", samples = 1 }\n",
    );
    assert!(folder.succeed(&["plan"]).contains("read gguf → unpack → cast f32 → lower bert"));
    folder.succeed(&["build"]);
}

#[test]
fn inspect_shows_key_values_short_and_tensors_on_request() {
    let folder = llama();
    folder.succeed(&["convert", "llama", "a.gguf", "--quantization", "q4_k_m"]);
    let out = folder.succeed(&["inspect", "a.gguf"]);
    let value = |key: &str| {
        let line = out.lines().find(|l| l.split("  ").next() == Some(key));
        line.unwrap_or_else(|| panic!("{key}\n{out}")).rsplit("  ").next().unwrap().to_owned()
    };
    for (key, want) in [
        ("architecture", "llama"),
        ("tensors", "3 f32 (3.1 kB), 6 q4_k (230.4 kB), 3 q6_k (174.7 kB)"),
        ("llama.block_count", "1"),
        ("llama.rope.freq_base", "10000.0"),
        ("llama.attention.layer_norm_rms_epsilon", "1e-6"),
        ("tokenizer.ggml.tokens", "[512 strings]"),
        ("tokenizer.ggml.scores", "[512 f32]"),
        ("tokenizer.ggml.token_type", "[512 i32]"),
        ("tokenizer.ggml.add_bos_token", "true"),
    ] {
        assert_eq!(value(key), want);
    }
    assert!(!out.contains("U32(") && !out.contains("Array("), "{out}");
    assert!(!out.contains("[512, 256]"), "{out}");
    let all = folder.succeed(&["inspect", "a.gguf", "--tensors"]);
    assert!(all.contains("  token_embd.weight") && all.contains("q4_k[512, 256]"), "{all}");
    let (_, lines) = folder.json(&["inspect", "a.gguf"]);
    assert_eq!(lines[0]["metadata"]["tokenizer.ggml.tokens"], "[512 strings]");
    assert_eq!(lines[0]["kind"], "gguf");
    let file = repository().join("tests/fixtures/pytorch/module.pt");
    let out = folder.succeed(&["inspect", file.to_str().unwrap()]);
    assert!(out.contains("format      pytorch") && out.contains("2 i64 (32 B)"), "{out}");
    assert!(!out.contains("assets"), "{out}");
    let file = repository().join("tests/fixtures/ggml/whisper-f16.bin");
    let out = folder.succeed(&["inspect", file.to_str().unwrap()]);
    assert!(out.contains("[\"!\", \"\", \"\u{fffd}\", \" a\"]"), "{out}");
}
