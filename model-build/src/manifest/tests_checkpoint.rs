//! The keys of checkpoints and GGUF models: what they are read as, and what is said of mistakes.

use std::path::{Path, PathBuf};

use super::*;
use crate::recipe::{TensorType, file_type};

/// A models.toml with one model with these lines, and a GGUF target.
fn model(lines: &str) -> Result<Model> {
    let text = format!("[m]\n{lines}\n[m.targets.t]\nformat = \"gguf\"\n");
    parse(&text, Path::new("app/models.toml"), None).map(|mut m| m.models.remove(0))
}

/// A GGUF target with these lines.
fn target(lines: &str) -> Result<Target> {
    let text = format!("[m]\nsource = 's'\n[m.targets.t]\nformat = \"gguf\"\n{lines}\n");
    parse(&text, Path::new("app/models.toml"), None)
        .map(|mut m| m.models.remove(0).targets.remove(0))
}

/// The block types that a target's quantization asks for.
fn weights(lines: &str) -> BlockWeights {
    let quantization = target(lines).unwrap().quantization.unwrap();
    assert_eq!(quantization.method, QuantizationMethod::WeightOnly);
    assert_eq!((quantization.activations, quantization.range), (None, None));
    quantization.weights.unwrap()
}

fn plain(name: &str) -> BlockWeights {
    BlockWeights::plain(file_type::by_name(name).unwrap())
}

fn assert_report(error: &Error, want: &str) {
    assert_eq!(error.report(), want.trim_matches('\n'), "\n{}\n", error.report());
}

#[test]
fn every_file_type_is_a_word_and_so_are_its_other_spellings() {
    for file in file_type::ALL {
        assert_eq!(weights(&format!("quantization = '{}'", file.name)), plain(file.name));
        let upper = format!("quantization = {{ type = '{}' }}", file.name.to_uppercase());
        assert_eq!(weights(&upper), plain(file.name));
    }
    for short in ["q3_k", "q4_k", "q5_k"] {
        assert_eq!(weights(&format!("quantization = '{short}'")), plain(&format!("{short}_m")));
    }
    assert_eq!(weights("quantization = { type = 'q4_0', method = 'weight-only' }"), plain("q4_0"));
}

#[test]
fn every_key_of_a_block_quantization_is_read() {
    let read = weights(
        "[m.targets.t.quantization]\ntype = 'q4_k_m'\npure = true\noutput-type = 'q8_0'\n\
         embedding-type = 'Q6_K'\nimportance = 'data/imatrix.gguf'\nrequantize = true\n\
         overrides = { 'ffn_down' = 'q6_k', '^blk\\.0\\.' = 'f16', attn_v = 'BF16' }\n",
    );
    let override_ = |pattern: &str, to| (pattern.to_owned(), to);
    let want = BlockWeights {
        pure: true,
        output: Some(TensorType::Q8_0),
        embedding: Some(TensorType::Q6K),
        importance: Some(PathBuf::from("app/data/imatrix.gguf")),
        requantize: true,
        // In the order of the text: the first that matches decides.
        overrides: vec![
            override_("ffn_down", TensorType::Q6K),
            override_("^blk\\.0\\.", TensorType::F16),
            override_("attn_v", TensorType::Bf16),
        ],
        ..plain("q4_k_m")
    };
    assert_eq!(read, want);
    let off = weights("quantization = { type = 'q4_k_m', pure = false, requantize = false }");
    assert_eq!(off, plain("q4_k_m"));
}

#[test]
fn a_target_size_stands_in_the_place_of_a_type() {
    for (lines, goal) in [
        ("target-size = '4.5GiB'", Goal::Size(4_831_838_208)),
        ("target-size = '700 MB'", Goal::Size(700_000_000)),
        ("target-size = '123456B'", Goal::Size(123_456)),
        ("target-bpw = 4.25", Goal::Bpw(4.25)),
        ("target-bpw = 5", Goal::Bpw(5.0)),
    ] {
        assert_eq!(weights(&format!("quantization = {{ {lines} }}")).goal, goal, "{lines}");
    }
    let with = weights("quantization = { target-bpw = 4, overrides = { a = 'q8_0' } }");
    assert_eq!(with.overrides, [("a".to_owned(), TensorType::Q8_0)]);
}

#[test]
fn sizes_of_splits_and_pre_tokenizers_are_read() {
    assert_eq!(target("split-max-size = '2GB'").unwrap().split_max_size, Some(2_000_000_000));
    assert_eq!(target("split-max-size = '512MiB'").unwrap().split_max_size, Some(512 << 20));
    let read = target("pre-tokenizer = 'llama-bpe'").unwrap();
    assert_eq!(read.pre_tokenizer.as_deref(), Some("llama-bpe"));
}

#[test]
fn a_state_dict_is_named_at_the_model() {
    let read = model("source = 'm.pt'\nstate-dict = 'ema.state_dict'").unwrap();
    assert_eq!(read.state_dict.as_deref(), Some("ema.state_dict"));
    assert_eq!(model("source = 'm.pt'").unwrap().state_dict, None);
}

#[test]
fn a_source_in_the_store_of_ollama_is_its_manifest_there() {
    let Ok(found) = model("source = 'ollama:llama3.2:1b'") else {
        return; // neither a store nor a home folder is named in the environment
    };
    let end = Path::new("manifests/registry.ollama.ai/library/llama3.2/1b");
    assert!(found.source.ends_with(end), "{}", found.source.display());
    let latest = model("source = 'ollama:me/model'").unwrap().source;
    assert!(latest.ends_with("manifests/registry.ollama.ai/me/model/latest"), "{latest:?}");
}

#[test]
fn formats_of_checkpoints_are_words() {
    for format in ["gguf", "safetensors", "pytorch"] {
        let text = format!("[m]\nsource = 's'\ntargets.t.format = '{format}'\n");
        let read = parse(&text, Path::new("models.toml"), None).unwrap();
        assert_eq!(read.models[0].targets[0].format.name, format);
    }
}

#[test]
fn mistakes_are_underlined_with_the_way_out() {
    let want = r#"
error: `quantization` has no value `q4_k_n`
 --> app/models.toml:5:16
  |
3 | [m.targets.t]
  | ------------- in this target
4 | format = "gguf"
5 | quantization = "q4_k_n"
  |                ^^^^^^^^ unknown word
hint: did you mean "q4_k_m"?
"#;
    assert_report(&target("quantization = \"q4_k_n\"").unwrap_err(), want);
    let want = r#"
error: there is no tensor type `q6k`
 --> app/models.toml:5:62
  |
5 | quantization = { type = "q4_k_m", overrides = { "ffn_down" = "q6k" } }
  |                                                              ^^^^^ unknown type
hint: did you mean `q6_k`?
"#;
    let lines = "quantization = { type = \"q4_k_m\", overrides = { \"ffn_down\" = \"q6k\" } }";
    assert_report(&target(lines).unwrap_err(), want);
    let want = r#"
error: `4.5` is no size: it has no unit
 --> app/models.toml:5:18
  |
3 | [m.targets.t]
  | ------------- in this target
4 | format = "gguf"
5 | split-max-size = "4.5"
  |                  ^^^^^ not a size
hint: write a number and a unit: `"4.5GiB"`
"#;
    assert_report(&target("split-max-size = \"4.5\"").unwrap_err(), want);
}

/// Each line of a GGUF target, and what its report must hold.
#[test]
fn each_mistake_gets_the_advice_that_mends_it() {
    let q4 = |rest: &str| format!("quantization = {{ type = 'q4_k_m', {rest} }}");
    for (lines, parts) in [
        ("quantization = 'nvfp5'".to_owned(), &["has no value `nvfp5`"][..]),
        ("quantization = {}".to_owned(), &["the key `type` is missing", "`type = \"q4_k_m\"`"]),
        ("precision = 'q8_0'".to_owned(), &["write `quantization = \"q8_0\"`"]),
        (q4("overides = {}"), &["unknown key `overides`", "did you mean `overrides`?"]),
        (q4("overrides = 'q6_k'"), &["`overrides` must be a table, not a string"]),
        (q4("overrides = { a = 6 }"), &["`a` must be a string"]),
        (q4("overrides = { a = 'int8' }"), &["there is no tensor type `int8`", "types are: f32"]),
        (q4("overrides = { '(a' = 'q6_k' }"), &["is no regular expression", "not a pattern"]),
        (q4("overrides = { '(?=a)' = 'q6_k' }"), &["look-around"]),
        (q4("pure = 'true'"), &["leave out the quotes: `pure = true`"]),
        (q4("output-type = 'q4_k_m'"), &["no tensor type `q4_k_m`", "did you mean `q4_k`?"]),
        (q4("embedding-type = 8"), &["`embedding-type` must be a string"]),
        (q4("importance = ''"), &["`importance` is empty"]),
        (q4("importance = '~/i.dat'"), &["`~` is not expanded"]),
        (q4("requantize = 1"), &["must be `true` or `false`"]),
        (q4("method = 'dynamic'"), &["block types hold weights only", "\"weight-only\""]),
        (q4("activations = 'row'"), &["`activations` is for graphs", "remove"]),
        (q4("range = 'full'"), &["`range` is for graphs"]),
        (q4("block-size = 32"), &["`block-size` is for graphs"]),
        (q4("target-size = '1GiB'"), &["`type` and a target size are both given", "remove `type`"]),
        (
            "quantization = { target-size = '1GiB', target-bpw = 4 }".to_owned(),
            &["`target-size` and `target-bpw` are both given", "remove one"],
        ),
        (
            "quantization = { target-size = '4.5G' }".to_owned(),
            &["the unit is unknown", "`\"4.5GiB\"`", "not a size"],
        ),
        ("quantization = { target-size = 4 }".to_owned(), &["`target-size` must be a string"]),
        (
            "quantization = { target-size = '99999999TiB' }".to_owned(),
            &["it is too large", "not a size"],
        ),
        ("quantization = { target-bpw = 0.4 }".to_owned(), &["must be from 0.5 to 32"]),
        ("quantization = { target-bpw = '4' }".to_owned(), &["must be a number, not a string"]),
        (
            "quantization = { target-bpw = 4, pure = true }".to_owned(),
            &["`pure` does not go with a target size", "remove `pure`"],
        ),
        (
            "quantization = { target-bpw = 4, output-type = 'q6_k' }".to_owned(),
            &["`output-type` does not go with a target size"],
        ),
        (
            "quantization = { target-bpw = 4, requantize = true }".to_owned(),
            &["`requantize` does not go with a target size"],
        ),
        ("quantization = 'int8'".to_owned(), &["`int8` is for graphs", "\"q8_0\""]),
        (
            "quantization = 'q4_0'\nprecision = 'fp16'".to_owned(),
            &["are both given", "remove `precision`", "`quantization.overrides`"],
        ),
        ("task = 'fill-mask'".to_owned(), &["`task` has no place", "remove `task`"]),
        ("verify = {}".to_owned(), &["`verify` has no place", "it runs the graph"]),
        ("opset-version = 17".to_owned(), &["`opset-version` has no place"]),
        ("shapes = { batch = 1 }".to_owned(), &["`shapes` has no place"]),
        (
            "quantization = { type = 'int8', importance = 'x' }".to_owned(),
            &["`importance` is for block types of GGUF models", "remove `importance`"],
        ),
        ("quantization = { type = 'int8', pure = true }".to_owned(), &["has no effect"]),
        (
            "quantization = { type = 'int8', method = 'weight-only' }".to_owned(),
            &["`int8` is for graphs, and this target is a GGUF model"],
        ),
        ("split-max-size = 2".to_owned(), &["`split-max-size` must be a string"]),
        ("split-max-size = 'big'".to_owned(), &["`big` is no size"]),
        ("split_max_size = '2GB'".to_owned(), &["did you mean `split-max-size`?"]),
        ("pre-tokenizer = ''".to_owned(), &["`pre-tokenizer` is empty"]),
        ("pre-tokenizer = true".to_owned(), &["`pre-tokenizer` must be a string"]),
        ("state-dict = 'x'".to_owned(), &["is a key of the model: put it one table up"]),
        ("overrides = {}".to_owned(), &["`overrides` is a key of `quantization`"]),
        ("target-size = '1GiB'".to_owned(), &["`target-size` is a key of `quantization`"]),
        ("importance = 'x'".to_owned(), &["`importance` is a key of `quantization`"]),
    ] {
        let report = target(&lines).unwrap_err().report();
        for part in parts {
            assert!(report.contains(part), "`{lines}` should say `{part}`:\n{report}");
        }
        let way_out = report.contains("hint: ") || report.contains("must be");
        assert!(report.contains('^') && way_out, "`{lines}`:\n{report}");
        assert!(report.lines().all(|l| l.len() < 400), "`{lines}`:\n{report}");
    }
}

#[test]
fn a_file_type_as_a_flag_may_stand_beside_keys_of_its_table() {
    let read = |flags: &[(&str, &str)]| {
        let flags = [&[("format", "gguf")], flags].concat();
        target_from_flags("t", &flags)
    };
    let weights = |flags: &[(&str, &str)]| read(flags).unwrap().quantization.unwrap().weights;
    let word = weights(&[("quantization", "q4_k_m"), ("quantization.pure", "true")]);
    let after = weights(&[("quantization.pure", "true"), ("quantization", "q4_k_m")]);
    let table = weights(&[("quantization", "{ type = \"q4_k_m\", pure = true }")]);
    let pairs = weights(&[("quantization", "type=q4_k_m,pure=true")]);
    assert!(word == after && word == table && word == pairs, "{word:?}");
    assert!(word.unwrap().pure);
    let size = weights(&[("quantization.target-size", "4.5GiB")]).unwrap();
    assert_eq!(size.goal, Goal::Size(4_831_838_208));
    let one = weights(&[
        ("quantization", "q4_k_m"),
        ("quantization.overrides", "ffn_down=q6_k,attn_v=q8_0"),
    ]);
    assert_eq!(one.unwrap().overrides.len(), 2);
    for (flags, part) in [
        (&[("quantization", "q4_k_m"), ("quantization.type", "q8_0")][..], "contradict"),
        (&[("quantization", "q4_k_m"), ("quantization.target-bpw", "4")], "both given"),
        (&[("quantization", "type=q4_0"), ("quantization.pure", "true")], "twice"),
        (&[("split-max-size", "many")], "`many` is no size"),
        (&[("quantization.overides", "a=q6_k")], "did you mean `--quantization.overrides`?"),
    ] {
        let report = read(flags).unwrap_err().report();
        assert!(report.contains(part), "{flags:?}\n{report}");
    }
}
