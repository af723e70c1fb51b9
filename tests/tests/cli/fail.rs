//! Exit codes, and what stands on standard error with them.

use crate::tool::{Folder, MANIFEST, Run};

#[test]
fn wrong_command_lines_are_code_2_and_name_what_was_meant() {
    let folder = Folder::project(MANIFEST);
    let cases: &[(&[&str], &[&str])] = &[
        (&["bild"], &["'bild'", "'build'"]),
        (&["build", "--mesage-format", "json"], &["--message-format"]),
        (&["build", "--message-format", "xml"], &["human", "json"]),
        (&["build", "-q", "-v"], &["--quiet", "--verbose"]),
        (&["build", "--color", "sometimes"], &["auto", "always", "never"]),
        (&["convert"], &["<SRC>", "<DST>"]),
        (&["convert", "model"], &["<DST>"]),
        (&["verify", "a.onnx"], &["<ARTIFACT>"]),
        (&["cache", "gcc"], &["'gc'"]),
        (&["init"], &["--source"]),
        (&["convert", "model", "o.onnx", "--opset-version", "many"], &["opset-version", "many"]),
        (&["convert", "model", "o.onnx", "--shapes", "batch"], &["--shapes"]),
        (&["convert", "model", "o.onnx", "--verify", "cosin=1"], &["`cosin`", "`cosine`"]),
        (&["convert", "model", "o.onnx", "--precision", "fp61"], &["fp16"]),
    ];
    for (args, words) in cases {
        folder.fail(2, words, args);
    }
    let run = folder.run::<&str>(&[]);
    assert_eq!(run.code, 2);
    assert!(run.err.contains("Usage: model-build [OPTIONS] <COMMAND>"), "{run}");
}

#[test]
fn manifests_that_are_missing_empty_or_wrong_are_code_2_with_the_line_underlined() {
    let folder = Folder::empty();
    let words = ["no Cargo.toml or models.toml here or above", "model-build init", "convert"];
    for command in ["build", "plan", "why"] {
        folder.fail(2, &words, &[command]);
    }
    folder.write("models.toml", "");
    folder.fail(2, &["no models are declared (models.toml)", "[my-model]"], &["build"]);
    folder.write("models.toml", "[digits]\nsourc = \"model\"\n");
    let err = folder.fail(2, &["unknown key `sourc`", "--> models.toml:2:1", "^^^^^"], &["build"]);
    assert!(err.ends_with("hint: did you mean `source`?\n"), "{err}");
    folder.write("models.toml", "[digits\n");
    folder.fail(2, &["not valid TOML", "--> models.toml:1"], &["build"]);
    let err = Run::of(folder.command(&["build", "--color", "always"]).arg("-q"));
    assert!(err.err.contains('\u{1b}'), "excerpts have colours where they are wanted");
    let (code, lines) = folder.json(&["build"]);
    assert_eq!(code, 2);
    let rendered = lines[0]["rendered"].as_str().unwrap();
    assert!(rendered.contains("--> models.toml:1") && !rendered.contains('\u{1b}'), "{rendered}");
}

#[test]
fn every_class_of_errors_has_its_code() {
    let folder = Folder::project(MANIFEST);
    folder.write("models.toml", MANIFEST.replace("\"model\"", "\"models\""));
    folder.fail(3, &["model `digits`", "(models)"], &["build"]);
    folder.write("models.toml", MANIFEST);
    let weights = std::fs::read(folder.at("model/model.safetensors")).unwrap();
    folder.write("model/model.safetensors", &weights[..weights.len() / 2]);
    folder.fail(4, &["model.safetensors"], &["build"]);
    folder.write("model/model.safetensors", weights);
    folder.write("models.toml", MANIFEST.replace("\"int8\"", "\"fp8\""));
    folder.fail(5, &["fp8", "not supported yet"], &["build"]);
    folder.write("models.toml", MANIFEST.replace("cosine = 0.9,", "cosine = 0.999999,"));
    let err = folder.run(&["build"]);
    assert_eq!(err.code, 6, "{err}");
    let line = err.err.lines().find(|l| l.starts_with("error: ")).unwrap();
    for word in
        ["model `digits`, target `int8`", "output `logits`", "`cosine`", "0.999", "< 0.999999"]
    {
        assert!(line.contains(word), "{word}: {line}");
    }
    assert!(err.err.contains("2 synthetic samples, seed 0 by rten"), "{err}");
    let fresh = folder.run(&["build"]);
    assert_eq!(fresh.code, 6, "the verdict is not forgotten");
    assert!(!fresh.err.contains("Verifying"), "and measuring again is not needed: {fresh}");
    folder.write("models.toml", MANIFEST.replace("\"rten\"", "\"onnxruntime\""));
    let none = folder.at("libonnxruntime.so");
    let run = Run::of(folder.command(&["build"]).env("ORT_DYLIB_PATH", none));
    assert_eq!(run.code, 7, "{run}");
    assert!(run.err.contains("ORT_DYLIB_PATH") && run.err.contains("libonnxruntime.so"), "{run}");
    folder.write("file", "");
    let file = folder.at("file");
    folder.fail(8, &["hint: "], &["build", "--cache-dir", file.to_str().unwrap()]);
}
