//! The errors as people see them.

use std::path::Path;

use super::*;
use crate::error::ErrorKind;

fn error(text: &str) -> Error {
    parse(text, Path::new("Cargo.toml"), None).unwrap_err()
}

/// The error for a target with these lines.
fn target(lines: &str) -> Error {
    error(&format!(
        "[package]\nname = \"app\"\n\n[package.metadata.models.embedder]\nsource = \"mini\"\n\n\
         [package.metadata.models.embedder.targets.server]\nformat = \"onnx\"\n{lines}\n"
    ))
}

/// The error for a package with these models.
fn models(lines: &str) -> Error {
    error(&format!("[package]\nname = \"app\"\n\n{lines}"))
}

fn assert_report(error: &Error, want: &str) {
    assert_eq!(error.report(), want.trim_matches('\n'), "\n{}\n", error.report());
}

#[test]
fn an_unknown_key_is_underlined_in_its_target() {
    let error = target("presicion = \"fp16\"");
    let want = r#"
error: unknown key `presicion`
 --> Cargo.toml:9:1
  |
7 | [package.metadata.models.embedder.targets.server]
  | ------------------------------------------------- in this target
8 | format = "onnx"
9 | presicion = "fp16"
  | ^^^^^^^^^ unknown key
hint: did you mean `precision`?
"#;
    assert_report(&error, want);
    assert_eq!(error.kind(), ErrorKind::Manifest);
    assert_eq!(error.place().model.as_deref(), Some("embedder"));
    assert_eq!(error.place().target.as_deref(), Some("server"));
    assert_eq!(error.place().file.as_deref(), Some(Path::new("Cargo.toml")));
    let item = "package.metadata.models.embedder.targets.server.presicion";
    assert_eq!(error.place().item.as_deref(), Some(item));
}

#[test]
fn an_unknown_word_is_underlined_with_the_nearest_one() {
    let want = r#"
error: `precision` has no value `fp61`
 --> Cargo.toml:9:13
  |
7 | [package.metadata.models.embedder.targets.server]
  | ------------------------------------------------- in this target
8 | format = "onnx"
9 | precision = "fp61"
  |             ^^^^^^ unknown word
hint: did you mean "fp16"?
"#;
    assert_report(&target("precision = \"fp61\""), want);
}

#[test]
fn a_wrong_type_says_what_was_wanted_and_what_is_there() {
    let want = r#"
error: `opset-version` must be an integer, not a string
 --> Cargo.toml:9:17
  |
7 | [package.metadata.models.embedder.targets.server]
  | ------------------------------------------------- in this target
8 | format = "onnx"
9 | opset-version = "17"
  |                 ^^^^ expected an integer, found a string
hint: leave out the quotes: `opset-version = 17`
"#;
    assert_report(&target("opset-version = \"17\""), want);
}

#[test]
fn what_does_not_work_yet_says_so_and_what_does() {
    let want = r#"
error: `precision = "fp8"` is not supported yet
 --> Cargo.toml:9:13
  |
7 | [package.metadata.models.embedder.targets.server]
  | ------------------------------------------------- in this target
8 | format = "onnx"
9 | precision = "fp8"
  |             ^^^^^ not supported yet
hint: what works: fp32, fp16, bf16
"#;
    assert_report(&target("precision = \"fp8\""), want);
}

#[test]
fn a_missing_key_points_at_its_table() {
    let want = r#"
error: the key `format` is missing
 --> Cargo.toml:6:1
  |
6 | [package.metadata.models.e.targets.t]
  | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ has no `format`
hint: add a line such as `format = "onnx"`
"#;
    let text = "[package.metadata.models.e]\nsource = 's'\n\
                [package.metadata.models.e.targets.t]\nprecision = 'fp16'\n";
    assert_report(&models(text), want);
}

#[test]
fn a_duplicate_is_underlined() {
    let want = r#"
error: not valid TOML: duplicate key
 --> Cargo.toml:9:1
  |
9 | format = "onnx"
  | ^^^^^^ given before
"#;
    assert_report(&target("format = \"onnx\""), want);
}

#[test]
fn names_that_would_be_the_same_identifier_are_refused() {
    let want = r#"
error: the names `my_model` and `my-model` are too alike
 --> Cargo.toml:6:1
  |
4 | [package.metadata.models]
  | ------------------------- the models
5 | my-model = {}
6 | my_model = {}
  | ^^^^^^^^ the same Rust identifier or file
hint: rename one: names differ in more than case, `-` and `_`
"#;
    assert_report(&models("[package.metadata.models]\nmy-model = {}\nmy_model = {}\n"), want);
}

#[test]
fn a_manifest_without_models_is_told_which_lines_to_add() {
    let want = r#"
error: no models are declared (Cargo.toml)
hint: add these lines, with the folder or file of your model:

    [package.metadata.models.my-model]
    source = "models/my-model"

    [package.metadata.models.my-model.targets.app]
    format = "onnx"
"#;
    assert_report(&models(""), want);
    let hint = models("").hints()[0].clone();
    let (_, lines) = hint.split_once(":\n").unwrap();
    parse(&format!("[package]\n{lines}"), Path::new("Cargo.toml"), None).unwrap();
    let error = parse("", Path::new("models.toml"), None).unwrap_err();
    let (_, lines) = error.hints()[0].split_once(":\n").unwrap();
    parse(lines, Path::new("models.toml"), None).unwrap();
}

#[test]
fn characters_wider_than_a_byte_are_underlined_where_they_stand() {
    let want = r#"
error: `日本` is neither a length nor "dynamic"
 --> Cargo.toml:9:19
  |
9 | shapes = { "日本" = "日本語テキスト" }
  |                     ^^^^^^^^^^^^^^^^ unknown word
hint: write `日本 = "dynamic"`, `日本 = 128` or `日本 = { min = 1, max = 128 }`
"#;
    assert_report(&target("shapes = { \"日本\" = \"日本語テキスト\" }"), want);
}

/// Each line of a target, and what its report must hold.
#[test]
fn each_mistake_in_a_target_gets_the_advice_that_mends_it() {
    for (lines, parts) in [
        ("opset = 17", &["unknown key `opset`", "did you mean `opset-version`?"][..]),
        ("opset-version = 29", &["must be from 7 to 28", "^^ out of range"]),
        ("opset-version = 99999999999999999999999", &["must be from 7 to 28"]),
        ("opset-version = 17.0", &["must be an integer, not a float"]),
        ("precision = 16", &["must be a string", "it may be: fp32, fp16, bf16"]),
        ("precision = \"int8\"", &["no floating-point type", "write `quantization = \"int8\"`"]),
        ("precision = \"fp8\"", &["not supported yet", "what works: fp32, fp16, bf16"]),
        ("precision = { a = \"fp16\" }", &["precision per tensor pattern is not supported yet"]),
        ("quantization = \"int9\"", &["has no value `int9`", "did you mean \"int"]),
        ("quantization = {}", &["the key `type` is missing", "`type = \"q4_k_m\"`"]),
        ("quantization = { type = \"fp8\" }", &["`type = \"fp8\"` is not supported yet"]),
        ("quantization = { type = \"int8\", method = \"static\" }", &["needs `calibration`"]),
        (
            "quantization = \"q4_k_m\"",
            &["block types of GGUF files", "not for graphs", "`format = \"gguf\"`"],
        ),
        (
            "split-max-size = \"1GB\"",
            &["`split-max-size` has no place where `format` is \"onnx\"", "is not split"],
        ),
        ("pre-tokenizer = \"gpt-2\"", &["`pre-tokenizer` has no place", "GGUF models"]),
        ("optimization = 1", &["must be `true` or `false`, not an integer"]),
        ("optimization = { layer-fusion = \"onnx\" }", &["has no value `onnx`", "onnxruntime"]),
        ("optimization = { layer-fusion = 1 }", &["must be `true` or `false`"]),
        ("optimization = { fusion = true }", &["`fusion`", "layer-fusion"]),
        ("layer-fusion = true", &["is a key of `optimization`"]),
        ("shapes = { batch = [1, 8] }", &["`batch` must be an integer, not an array"]),
        ("shapes = { batch = { min = 1 } }", &["a range without `max`", "is \"dynamic\""]),
        ("shapes = { batch = { min = 9, max = 8 } }", &["`max` is below its `min`"]),
        ("shapes = { batch = { opt = 8 } }", &["a range has no such key", "`min`"]),
        ("shapes = { \"x[0]\" = \"a b\" }", &["neither a length nor \"dynamic\""]),
        ("shapes = { batch = 0 }", &["`batch` must be from 1 to 2^63 - 1"]),
        ("shapes = { batch = -1 }", &["`batch` must be from 1"]),
        ("shapes = { batch = \"8\" }", &["leave out the quotes: `batch = 8`"]),
        ("shapes = { batch = \"free\" }", &["write `batch = \"dynamic\"`"]),
        ("shapes = { \"\" = 1 }", &["an axis has no name"]),
        ("shapes = 128", &["`shapes` must be a table, not an integer"]),
        ("part = \"decoder_with_past\"", &["did you mean \"decoder-with-past\"?"]),
        ("part = \"tail\"", &["it may be: encoder, decoder, decoder-with-past, text, vision"]),
        ("task = \"fill_mask\"", &["did you mean \"fill-mask\"?"]),
        ("task = \"embedding\"", &["it may be: feature-extraction, text-classification"]),
        ("task = \"fill-mask\"\npooling = \"mean\"", &["the task `fill-mask` has no `pooling`"]),
        ("task = \"fill-mask\"\nnormalize = true", &["has no `normalize`"]),
        ("pooling = \"none\"\nnormalize = true", &["without pooling there is nothing"]),
        ("pooling = \"max\"", &["it may be: mean, cls, none"]),
        ("normalize = \"true\"", &["leave out the quotes: `normalize = true`"]),
        ("normalize = 1", &["must be `true` or `false`, not an integer"]),
        ("embed = true", &["must be a string, not a boolean", "it may be: auto, binary, file"]),
        ("verify = 0.9", &["`verify` must be a table, not a float"]),
        ("verify = { cosine = 1.01 }", &["`cosine` must be from -1 to 1", "^^^^ out of range"]),
        ("verify = { cosine = \"0.9\" }", &["`cosine` must be a number, not a string"]),
        ("verify = { top1 = -0.1 }", &["`top1` must be from 0 to 1"]),
        ("verify = { snr = 1001 }", &["`snr` must be from -1000 to 1000"]),
        ("verify = { k = 0 }", &["`k` must be from 1 to 1000"]),
        ("verify = { labels = \"y\" }", &["`labels` names a tensor in the file of `inputs`"]),
        (
            "verify = { inputs = \"a\", accuracy-drop = 0.1 }",
            &["`accuracy-drop` is counted against `labels`"],
        ),
        ("verify = { max-abs = -1 }", &["`max-abs` must be a finite number and at least 0"]),
        ("verify = { max-abs = nan }", &["must be a finite number"]),
        ("verify = { mean-abs = inf }", &["must be a finite number"]),
        ("verify = { max_abs = 1 }", &["unknown key `max_abs`", "did you mean `max-abs`?"]),
        ("verify = { samples = 0 }", &["`samples` must be from 1 to 4096"]),
        ("verify = { seed = -1 }", &["`seed` must be from 0 to 2^63 - 1"]),
        ("verify = { runner = \"tract\" }", &["it may be: auto, onnxruntime, rten"]),
        ("verify = { inputs = \"a\", seed = 1 }", &["`seed` is for synthetic inputs"]),
        ("verify = { inputs = \"~/a\" }", &["`~` is not expanded"]),
        ("max_abs = 1", &["`max-abs` is a key of `verify`"]),
        ("block-size = 32", &["`block-size` is a key of `quantization`"]),
        ("source = 'x'", &["`source` is a key of the model: put it one table up"]),
        ("when = \"linux\"", &["no target triple", "write `when = 'cfg(target_os = \"linux\")'`"]),
        ("when = \"windows\"", &["write `when = \"cfg(windows)\"`"]),
        ("when = 'cfg(unix'", &["it does not end with `)`"]),
        ("when = 'cfg(target_os = linux)'", &["expected a string, found an identifier"]),
        ("when = 'cfg()'", &["`when` holds no valid condition"]),
        ("when = ''", &["`when` is empty"]),
        ("foo = 1", &["the keys here are: format, opset-version"]),
        ("x =", &["not valid TOML", "Cargo.toml:9:4"]),
    ] {
        let report = target(lines).report();
        for part in parts {
            assert!(report.contains(part), "`{lines}` should say `{part}`:\n{report}");
        }
        assert!(report.contains('^'), "`{lines}` is not underlined:\n{report}");
        assert!(!report.contains('\u{1b}'), "colour nobody asked for");
    }
}

#[test]
fn each_mistake_around_a_model_gets_the_advice_that_mends_it() {
    let e = "[package.metadata.models.e]\n";
    for (lines, parts) in [
        (format!("{e}targets.t.format = 'onnx'"), &["`source` is missing", "`source = \""][..]),
        (
            format!("{e}source = 's'"),
            &["`e` has no targets", "[package.metadata.models.e.targets.app]"],
        ),
        (format!("{e}source = 's'\ntargets = {{}}"), &["`e` has no targets"]),
        (format!("{e}source = ''"), &["`source` is empty"]),
        (format!("{e}source = \"a\\u0000b\""), &["control character"]),
        (format!("{e}source = 'hf:org/repo@main'"), &["a source from `hf:` is not supported yet"]),
        (format!("{e}source = 'https://x/y'"), &["a source from `https:` is not supported yet"]),
        (format!("{e}source = 'ollama:'"), &["is no name of an Ollama model", "user/model:tag"]),
        (format!("{e}source = 'ollama:../x:y'"), &["is no name of an Ollama model"]),
        (format!("{e}source = 's'\nstate-dict = 3"), &["`state-dict` must be a string"]),
        (format!("{e}source = 's'\nstate-dict = ''"), &["`state-dict` is empty"]),
        (format!("{e}source = 's'\nstate_dict = 'x'"), &["did you mean `state-dict`?"]),
        (format!("{e}source = 's3://x'"), &["there is no source scheme `s3`"]),
        (format!("{e}source = ['s']"), &["`source` must be a string, not an array"]),
        (format!("{e}sorce = 's'"), &["did you mean `source`?"]),
        (
            format!("{e}format = 'onnx'"),
            &["put it under `[package.metadata.models.e.targets.NAME]`"],
        ),
        (
            format!("{e}server.format = 'onnx'"),
            &["write `[package.metadata.models.e.targets.server]`"],
        ),
        (format!("{e}target.t.format = 'onnx'"), &["did you mean `targets`?"]),
        (format!("{e}source = 's'\ntargets.t = 1"), &["`t` must be a table"]),
        (
            format!("{e}source = 's'\ntargets.t.format = 'coreml'"),
            &["`format = \"coreml\"` is not supported yet", "what works: gguf", "onnx"],
        ),
        (format!("{e}source = 's'\ntargets.t.format = 'onxx'"), &["did you mean \"onnx\"?"]),
        (
            format!("{e}source = 's'\ntargets.'a b'.format = 'onnx'"),
            &["`a b` cannot be the name of a target"],
        ),
        (format!("{e}workspace = false"), &["`workspace` cannot be `false`"]),
        (
            format!("{e}workspace = true\nsource = 's'"),
            &["an inherited model has no `source` of its own"],
        ),
        (format!("{e}workspace = true"), &["this package is in no workspace"]),
        ("[package.metadata.models]\ne = 3".to_owned(), &["`e` must be a table"]),
        (
            "[package.metadata.models]\nworkspace = true".to_owned(),
            &["`embedder.workspace = true`"],
        ),
        ("[package.metadata.models.1st]".to_owned(), &["does not start with a letter"]),
        ("[package.metadata.models.\"\"]".to_owned(), &["does not start with a letter"]),
        ("[package.metadata.models.\"../x\"]".to_owned(), &["does not start with a letter"]),
        ("[package.metadata.models.\"a/b\"]".to_owned(), &["`/` is not allowed"]),
        ("[package.metadata.models.\"mod\u{e8}le\"]".to_owned(), &["is not allowed"]),
        ("[package.metadata.models.self]".to_owned(), &["reserved by Rust or by Windows"]),
        ("[package.metadata.models.Com1]".to_owned(), &["reserved by Rust or by Windows"]),
        (format!("[package.metadata.models.a{}]", "b".repeat(64)), &["too long"]),
        ("[package.metadata.model.e]".to_owned(), &["did you mean `[package.metadata.models]`?"]),
        ("[models.e]".to_owned(), &["did you mean `[package.metadata.models]`?"]),
        ("[package.metadata]\nmodels = 3".to_owned(), &["`models` must be a table"]),
        ("[workspace.metadata.models.e]".to_owned(), &["only its workspace does"]),
    ] {
        let report = models(&lines).report();
        for part in parts {
            assert!(report.contains(part), "`{lines}` should say `{part}`:\n{report}");
        }
        assert!(report.contains('^'), "`{lines}` is not underlined:\n{report}");
    }
}

#[test]
fn a_models_toml_with_the_tables_of_a_cargo_toml_is_told_where_they_go() {
    for (text, part) in [
        ("[package.metadata.models.e]\nsource = 's'\n", "only a file named Cargo.toml"),
        ("[models.e]\nsource = 's'\n", "a model's table stands at the root"),
        ("[e]\nworkspace = true\n", "can be inherited from the workspace"),
    ] {
        let report = parse(text, Path::new("models.toml"), None).unwrap_err().report();
        assert!(report.contains(part) && report.contains('^'), "{report}");
    }
    // These are names like any other where they are models.
    let text = "[models]\nsource = 's'\ntargets.t.format = 'onnx'\n";
    parse(text, Path::new("models.toml"), None).unwrap();
}

#[test]
fn an_error_in_an_inherited_model_shows_the_workspace_file() {
    let member = "[package]\n[package.metadata.models]\ntagger.workspace = true\n";
    let parse = |workspace: &str| {
        let root = Path::new("/ws/Cargo.toml");
        parse(member, Path::new("/ws/app/Cargo.toml"), Some((workspace, root))).unwrap_err()
    };
    let error = parse("[workspace.metadata.models.tagger]\nsurce = 's'\n");
    let want = r#"
error: unknown key `surce`
 --> /ws/Cargo.toml:2:1
  |
1 | [workspace.metadata.models.tagger]
  | ---------------------------------- in this model
2 | surce = 's'
  | ^^^^^ unknown key
hint: did you mean `source`?
"#;
    assert_report(&error, want);
    let error = parse("[workspace.metadata.models.tager]\nsource = 's'\n");
    let want = r#"
error: the workspace declares no model `tagger`
 --> /ws/app/Cargo.toml:3:20
  |
3 | tagger.workspace = true
  |                    ^^^^ not in /ws/Cargo.toml
hint: did you mean `tager.workspace = true`?
"#;
    assert_report(&error, want);
    let error = parse("[workspace]\n");
    assert!(error.report().contains("add a table `[workspace.metadata.models.tagger]`"));
    let error = parse("[workspace.metadata.models.tagger]\nworkspace = true\n");
    assert!(error.report().contains("`workspace` does not belong here"), "{error:?}");
}

#[test]
fn own_targets_may_not_look_like_inherited_ones() {
    let workspace = "[workspace.metadata.models.m]\nsource = 's'\ntargets.my-app.format = 'onnx'\n";
    let member = "[package]\n[package.metadata.models.m]\nworkspace = true\n\
                  targets.my_app.format = 'onnx'\n";
    let root = Some((workspace, Path::new("/ws/Cargo.toml")));
    let error = parse(member, Path::new("/ws/app/Cargo.toml"), root).unwrap_err();
    assert!(error.message().contains("`my_app` and `my-app` are too alike"), "{error:?}");
}

#[test]
fn colour_is_there_when_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("models.toml");
    fsx::write_atomic(&path, b"[e]\nsurce = 's'\n").unwrap();
    let plain = load(&path).unwrap_err().report();
    let color = load_with(&path, Options { color: true }).unwrap_err().report();
    assert!(color.contains("\u{1b}[") && !plain.contains("\u{1b}["));
}

#[test]
fn each_mistake_in_a_flag_names_the_flag() {
    for (flags, parts) in [
        (
            &[("format", "onnx"), ("precision", "fp61")][..],
            &["precision = \"fp61\"", "\"fp16\"?"][..],
        ),
        (&[("format", "onnx"), ("opset", "17")], &["`--opset`", "did you mean `--opset-version`?"]),
        (
            &[("format", "onnx"), ("opset-version", "x")],
            &["`--opset-version` takes an integer, not `x`"],
        ),
        (&[("format", "onnx"), ("opset-version", "99")], &["must be from 7 to 28"]),
        (&[("precision", "fp16")], &["`--format` is missing"]),
        (&[("format", "onnx"), ("format", "onnx")], &["`--format` is given twice"]),
        (&[("format", "onnx"), ("verify", "0.9")], &["`verify` must be a table"]),
        (&[("format", "onnx"), ("verify", "{ cosine = }")], &["`--verify` has no valid value"]),
        (&[("format", "onnx"), ("verify.cosin", "1")], &["did you mean `--verify.cosine`?"]),
        (&[("format", "onnx"), ("embed.x", "1")], &["`embed` takes one value"]),
        (
            &[("format", "onnx"), ("verify.cosine", "1"), ("verify", "top1=1")],
            &["flags contradict each other"],
        ),
        (
            &[("format", "onnx"), ("normalize", "true\nembed = 'file'")],
            &["`--normalize` takes `true` or `false`"],
        ),
        (&[("format", "onnx"), ("calibration", "dataset=d")], &["`calibration` has no effect"]),
        (
            &[("format", "onnx"), ("quantization", "type=int8,method=static")],
            &["needs `calibration`", "add `calibration = { dataset"],
        ),
    ] {
        let report = target_from_flags("t", flags).unwrap_err().report();
        for part in parts {
            assert!(report.contains(part), "{flags:?} should say `{part}`:\n{report}");
        }
    }
}
