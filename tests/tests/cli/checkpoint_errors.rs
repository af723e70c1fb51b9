//! What is said of checkpoints and GGUF files that are damaged, hostile or of no use for a target.

use model_build_tests::pickles::{self, Pickle};
use model_build_tests::project::repository;

use crate::checkpoint::{IMPORTANCE, llama, read_gguf};
use crate::tool::Folder;

fn fixture(name: &str) -> String {
    repository().join("tests/fixtures").join(name).to_str().unwrap().to_owned()
}

#[test]
fn keys_that_do_not_fit_the_route_say_where_they_do() {
    let folder = llama();
    folder.succeed(&["convert", "llama", "a.gguf"]);
    for (code, args, words) in [
        (
            2,
            &["a.onnx", "--quantization", "q4_0"][..],
            &["block types of GGUF files", "\"int8\""][..],
        ),
        (2, &["b.gguf", "--quantization", "int8"], &["`int8` is for graphs", "q8_0"]),
        (2, &["a.safetensors", "--quantization", "q8_0"], &["plain tensors", "set `precision`"]),
        (2, &["b.gguf", "--verify.cosine", "0.9"], &["`verify` has no place", "runs the graph"]),
        (2, &["b.gguf", "--verify", "{}"], &["`verify` has no place"]),
        (2, &["b.gguf", "--task", "fill-mask"], &["`task` has no place", "remove `task`"]),
        (2, &["b.gguf", "--opset-version", "17"], &["`opset-version` has no place"]),
        (2, &["b.gguf", "--shapes", "batch=1"], &["`shapes` has no place"]),
        (2, &["a.onnx", "--split-max-size", "1GB"], &["this format is not split"]),
        (2, &["a.safetensors", "--pre-tokenizer", "gpt-2"], &["`pre-tokenizer` has no place"]),
        (2, &["b.gguf", "--precision", "fp16", "--quantization", "q4_0"], &["are both given"]),
        (2, &["b.gguf", "--state-dict", "model"], &["`state-dict` is for PyTorch files"]),
        (2, &["b.gguf", "--quantization", "q4_k_n"], &["did you mean \"q4_k_m\"?"]),
        (2, &["b.gguf", "--split-max-size", "many"], &["`many` is no size", "4.5GiB"]),
        (2, &["b.gguf", "--split-max-size", "1kB"], &["this tensor alone has 524288", "at least"]),
        (2, &["b.gguf", "--no-cache", "--verify", "{}"], &["`verify` has no place"]),
    ] {
        folder.fail(code, words, &[&["convert", "llama"][..], args].concat());
    }
    let bloom = fixture("gguf_arch/bloom");
    let words = ["no graph is made of the architecture `bloom`", "gguf"];
    folder.fail(5, &words, &["convert", &bloom, "c.onnx"]);
    folder.succeed(&["convert", &bloom, "bloom.gguf"]);
    folder.fail(5, &["architecture `bloom`"], &["convert", "bloom.gguf", "c.onnx"]);
    folder.fail(5, &["measured on ONNX files, and this is gguf"], &["verify", "llama", "a.gguf"]);
    let graph = fixture("onnx/test_if.onnx");
    for dst in ["x.gguf", "x.safetensors", "x.bin"] {
        let words = ["is made of a finished graph", "name the checkpoint"];
        folder.fail(5, &words, &["convert", &graph, dst]);
    }
    folder.fail(5, &["from `hf:` is not supported yet"], &["convert", "hf:org/repo", "b.gguf"]);
    let vit = repository().join("examples/digits/model");
    let words = ["the architecture `vit` has no place in GGUF files", "safetensors"];
    folder.fail(5, &words, &["convert", vit.to_str().unwrap(), "b.gguf"]);
    assert!(!folder.at("b.gguf").exists());
}

#[test]
fn recipes_that_cannot_be_carried_out_name_the_tensor_or_the_number() {
    let folder = llama();
    folder.write("notes.txt", "no matrix at all, but some text");
    let matrix = fixture("gguf/llama-k256.imatrix.gguf");
    assert!(matrix.ends_with(IMPORTANCE));
    let q = "--quantization";
    for (code, args, words) in [
        (
            2,
            &[q, "iq2_xxs"][..],
            &["unusable weights without importance (blk.0.", "`importance` in `quantization`"][..],
        ),
        (
            2,
            &["--quantization.target-size", "10kB"],
            &["target-size of 10000 bytes: the smallest possible is 2", "importance"],
        ),
        (2, &["--quantization.target-bpw", "0.6"], &["the smallest possible is 2."]),
        (3, &[q, "q4_0", "--quantization.importance", "none.dat"], &["no such file", "none.dat"]),
        (
            4,
            &[q, "q4_0", "--quantization.importance", "notes.txt"],
            &["(notes.txt)", "that `llama-imatrix` wrote"],
        ),
        (
            2,
            &[q, "q4_0", "--quantization.overrides", "ffn_dwn=q8_0"],
            &["override `ffn_dwn` matches no tensor", "--dry-run"],
        ),
        (2, &["--pre-tokenizer", "llama-bpe"], &["`pre-tokenizer` has no effect", "remove"]),
        (2, &["--pre-tokenizer", "lama-bpe"], &["`lama-bpe`", "did you mean `llama-bpe`?"]),
    ] {
        folder.fail(code, words, &[&["convert", "llama", "b.gguf"][..], args].concat());
    }
    folder.copy("tests/fixtures/gguf_arch/llama", "other");
    let flags = [q, "q4_0", "--quantization.importance", &matrix];
    let words = ["for a tensor of", "measured on another model"];
    folder.fail(4, &words, &[&["convert", "other", "b.gguf"][..], &flags].concat());
    assert!(!folder.at("b.gguf").exists());
}

#[test]
fn an_unknown_tokenizer_names_the_key_that_sets_it() {
    let folder = Folder::empty();
    folder.copy("tests/fixtures/gguf_arch/gpt2", "gpt2");
    let text = folder.read("gpt2/tokenizer.json");
    let mut tokenizer: serde_json::Value = serde_json::from_str(&text).unwrap();
    tokenizer["pre_tokenizer"] = serde_json::json!({ "type": "Sequence", "pretokenizers": [
        { "type": "Split", "pattern": { "Regex": "[a-z]{7}" }, "behavior": "Isolated", "invert": false },
        { "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false },
    ] });
    folder.write("gpt2/tokenizer.json", tokenizer.to_string());
    let words = ["[a-z]{7}", "pre-tokenizer"];
    let said = folder.fail(5, &words, &["convert", "gpt2", "a.gguf"]);
    assert!(said.contains("hint: ") && said.contains("`pre-tokenizer"), "{said}");
    folder.succeed(&["convert", "gpt2", "a.gguf", "--pre-tokenizer", "gpt-2"]);
}

#[test]
fn folders_that_lack_something_say_what_to_put_there() {
    let folder = llama();
    let broken = |name: &str, file: &str, content: Option<&str>| {
        folder.copy(crate::checkpoint::LLAMA, name);
        match content {
            None => std::fs::remove_file(folder.at(name).join(file)).unwrap(),
            Some(text) => folder.write(&format!("{name}/{file}"), text),
        }
        name.to_owned()
    };
    let config = folder.read("llama/config.json");
    let other = config.replace("\"model_type\": \"llama\"", "\"model_type\": \"lama\"");
    assert_ne!(other, config);
    for (code, name, words) in [
        (3, broken("a", "config.json", None), &["no config.json", "beside its weights"][..]),
        (4, broken("b", "config.json", Some("{}")), &["no `model_type`", "(config.json)"]),
        (4, broken("c", "config.json", Some("{ ")), &["not valid JSON", "c/config.json", "hint"]),
        (5, broken("d", "config.json", Some(&other)), &["model_type `lama`", "is `llama`"]),
        (3, broken("e", "model.safetensors", None), &["no model found among", "looked for"]),
    ] {
        folder.fail(code, words, &["convert", &name, "x.gguf"]);
    }
    let words = ["no config.json", "name their folder as the source"];
    folder.fail(3, &words, &["convert", "llama/model.safetensors", "x.gguf"]);
    for file in ["tokenizer.json", "tokenizer.model", "tokenizer_config.json"] {
        std::fs::remove_file(folder.at("llama").join(file)).unwrap();
    }
    folder.fail(3, &["no tokenizer files", "beside config.json"], &["convert", "llama", "x.gguf"]);
    std::fs::create_dir(folder.at("empty")).unwrap();
    folder.fail(3, &["no file in this folder", "looked for"], &["convert", "empty", "x.gguf"]);
}

/// Changes the bytes of a file that were found behind others.
fn patch(bytes: &[u8], after: &[u8], skip: usize, with: &[u8]) -> Vec<u8> {
    let mut out = bytes.to_vec();
    let found = bytes.windows(after.len()).position(|w| w == after).unwrap();
    let at = found + after.len() + skip;
    out[at..at + with.len()].copy_from_slice(with);
    out
}

#[test]
fn damaged_gguf_files_are_refused_with_the_place_and_nothing_is_written() {
    let folder = llama();
    folder.succeed(&["convert", "llama", "good.gguf", "--precision", "fp16"]);
    let good = std::fs::read(folder.at("good.gguf")).unwrap();
    assert!(read_gguf(&folder.at("good.gguf")).architecture() == Some("llama"));
    // A tensor's name, then 4 bytes of rank, 8 for each of two axes, 4 of type, 8 of offset.
    let tensor = b"token_embd.weight";
    for (code, bytes, words) in [
        (4, good[..good.len() / 2].to_vec(), &["truncated or damaged", "tensor `", "offset"][..]),
        (4, good[..20].to_vec(), &["truncated", "the header"]),
        (5, patch(&good, tensor, 20, &77_u32.to_le_bytes()), &["no element type of number 77"]),
        (4, patch(&good, tensor, 24, &12345_u64.to_le_bytes()), &["alignment 32", "hint: "]),
        (4, patch(&good, tensor, 4, &(1_u64 << 62).to_le_bytes()), &["token_embd.weight"]),
        (4, patch(&good, b"GGUF", 12, &(1_u64 << 62).to_le_bytes()), &["4611686018427387904"]),
        (5, patch(&good, b"GGUF", 0, &[9]), &["GGUF version 9", "versions 1 to 3"]),
        (5, patch(&good, b"general.architecture", 12, b"lamma"), &["`lamma`", "known ones are"]),
    ] {
        folder.write("bad.gguf", bytes);
        let said = folder.fail(code, words, &["convert", "bad.gguf", "x.safetensors"]);
        assert!(said.contains("bad.gguf") && said.contains("hint: "), "{said}");
        assert!(!folder.at("x.safetensors").exists());
    }
}

#[test]
fn a_weight_that_is_no_number_is_named_before_anything_is_there() {
    let folder = llama();
    let mut bytes = std::fs::read(folder.at("llama/model.safetensors")).unwrap();
    let header = usize::try_from(u64::from_le_bytes(bytes[..8].try_into().unwrap())).unwrap();
    let table: serde_json::Value = serde_json::from_slice(&bytes[8..8 + header]).unwrap();
    let start = &table["model.layers.0.mlp.up_proj.weight"]["data_offsets"][0];
    let at = 8 + header + usize::try_from(start.as_u64().unwrap()).unwrap() + 40;
    bytes[at..at + 4].copy_from_slice(&f32::NAN.to_le_bytes());
    folder.write("llama/model.safetensors", bytes);
    for more in [&[][..], &["--no-cache"]] {
        let args = ["convert", "llama", "x.gguf", "--quantization", "q4_k_m"];
        let words = ["[0, 10] is NaN", "as q4_k (", "blk.0.ffn_up.weight", "damaged or diverged"];
        folder.fail(4, &words, &[&args[..], more].concat());
        assert!(!folder.at("x.gguf").exists());
    }
    folder.succeed(&["convert", "llama", "x.gguf", "--precision", "fp16"]);
}

#[test]
fn a_pickle_that_calls_something_is_refused_and_runs_nothing() {
    let folder = Folder::empty();
    let call = Pickle::new().global("posix", "system").raw(b"(").text("touch pwned").raw(b"tR");
    folder.write("evil.pt", pickles::file(&call.end()));
    let words = ["`posix.system`", "nothing was run", "torch.save(model.state_dict()"];
    folder.fail(5, &words, &["convert", "evil.pt", "x.safetensors"]);
    folder.fail(5, &words, &["inspect", "evil.pt"]);
    folder.write("text.pt", "no model");
    folder.fail(3, &["of no format known here (text.pt)"], &["inspect", "text.pt"]);
    assert!(!folder.at("pwned").exists() && !folder.at("x.safetensors").exists());
}
