//! `build`: what it prints where, what it runs, and which targets it takes.

use std::process::Stdio;

use crate::tool::{Folder, MANIFEST, Run, digest, events};

#[test]
fn results_go_to_standard_output_and_progress_to_standard_error() {
    let folder = Folder::project(MANIFEST);
    let run = folder.run(&["build"]);
    assert_eq!(run.code, 0, "{run}");
    let lines: Vec<Vec<&str>> = run.out.lines().map(|l| l.split_whitespace().collect()).collect();
    let [fp32, int8] = &lines[..] else { panic!("{run}") };
    assert_eq!((fp32[0], int8[0]), ("digits.fp32", "digits.int8"));
    for line in [fp32, int8] {
        assert_eq!(line.len(), 4, "name, size, unit, digest: {line:?}");
        assert_eq!(line[3].len(), 64);
    }
    for word in ["Converted digits.fp32 to ", "Verifying digits.int8 in rten", "Finished 2 targets"]
    {
        assert!(run.err.contains(word), "{word}\n{run}");
    }
    assert!(!run.err.contains('\u{1b}') && !run.out.contains('\u{1b}'), "no colours in a pipe");
    let measured = run.err.split("Measured ").nth(1).unwrap();
    let line = measured.lines().next().unwrap();
    assert!(line.starts_with("digits.int8 on 2 synthetic samples, seed 0, in rten "), "{line}");
    assert!(measured.contains("logits  0.99") && measured.contains("cosine ≥ 0.9 "), "{measured}");
}

#[test]
fn a_second_build_prints_fresh_and_starts_nothing() {
    let folder = Folder::project(MANIFEST);
    let first = folder.succeed(&["build"]);
    let run = folder.run(&["build"]);
    assert_eq!((run.code, &run.out), (0, &first));
    let words: Vec<&str> = run.err.lines().map(|l| l.split_whitespace().next().unwrap()).collect();
    assert_eq!(words, ["Fresh", "Fresh", "Finished"], "{run}");
    assert!(run.err.contains("2 targets (all fresh)"), "{run}");
    let (code, lines) = folder.json(&["build"]);
    assert_eq!(code, 0);
    let events = events(&lines);
    assert!(!events.contains(&"started") && !events.contains(&"hashed"), "{events:?}");
    assert_eq!(events.iter().filter(|e| **e == "reused").count(), 3, "{events:?}");
    assert_eq!(events.last(), Some(&"built"));
}

#[test]
fn quiet_prints_results_only_and_verbose_prints_keys_and_what_is_read() {
    let folder = Folder::project(MANIFEST);
    let verbose = folder.run(&["build", "-v"]);
    for word in ["key ", "Read model/model.safetensors (552.3 kB)"] {
        assert!(verbose.err.contains(word), "{word}\n{verbose}");
    }
    let quiet = folder.run(&["-q", "build"]);
    assert_eq!((quiet.err.as_str(), &quiet.out), ("", &verbose.out));
    let coloured = folder.run(&["build", "--color", "always"]);
    assert!(coloured.err.contains("\u{1b}[1m\u{1b}[32m"), "{coloured}");
}

#[test]
fn out_puts_every_artifact_with_its_record_into_a_folder() {
    let folder = Folder::project(MANIFEST);
    let out = folder.succeed(&["build", "--out", "made here"]);
    assert!(out.contains("made here/digits.int8/model.onnx"), "{out}");
    for target in ["digits.fp32", "digits.int8"] {
        let record = folder.read(&format!("made here/{target}/record.json"));
        let record: serde_json::Value = serde_json::from_str(&record).unwrap();
        let made = digest(&folder.at(&format!("made here/{target}/model.onnx")));
        assert_eq!(record["files"][0]["digest"], made.as_str());
    }
}

#[test]
fn models_and_targets_can_be_named() {
    let folder = Folder::project(MANIFEST);
    assert_eq!(folder.succeed(&["build", "digits.fp32"]).lines().count(), 1);
    assert_eq!(folder.succeed(&["build", "digits"]).lines().count(), 2);
    folder.fail(2, &["`digits.int9`", "did you mean `digits.int8`?"], &["build", "digits.int9"]);
    folder.fail(2, &["digits, digits.fp32, digits.int8"], &["build", "nonsense"]);
}

#[test]
fn the_manifest_is_found_upwards_and_by_name() {
    let folder = Folder::project(MANIFEST);
    std::fs::create_dir_all(folder.at("src/deep")).unwrap();
    let mut command = folder.command(&["build", "digits.fp32"]);
    let run = Run::of(command.current_dir(folder.at("src/deep")));
    assert_eq!((run.code, run.out.lines().count()), (0, 1), "{run}");
    let elsewhere = Folder::empty();
    let path = folder.at("models.toml");
    let path = path.to_str().unwrap();
    elsewhere.succeed(&["plan", "--manifest-path", path]);
    elsewhere.succeed(&["plan", "--manifest-path", folder.at("").to_str().unwrap()]);
    elsewhere.fail(2, &["no such manifest"], &["plan", "--manifest-path", "none.toml"]);
}

#[test]
fn a_condition_is_matched_against_the_platform_that_is_asked_for() {
    let when = "[digits.targets.app]\nformat = \"onnx\"\nwhen = 'cfg(windows)'\n";
    let folder = Folder::project(&format!("[digits]\nsource = \"model\"\n{when}"));
    let windows = "x86_64-pc-windows-msvc";
    assert_eq!(folder.succeed(&["build", "--target", windows]).lines().count(), 1);
    let run = folder.run(&["build", "--target", "x86_64-unknown-linux-gnu"]);
    assert_eq!((run.code, run.out.as_str()), (0, ""), "{run}");
    assert!(run.err.contains("warning: nothing to do: no target is for this platform"), "{run}");
    folder.fail(7, &["rustc failed", "target-list"], &["build", "--target", "nonsense"]);
}

fn package(name: &str, source: &str) -> String {
    format!(
        "[package]\nname = \"{name}\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\
         [package.metadata.models.digits]\nsource = \"{source}\"\n\
         [package.metadata.models.digits.targets.app]\nformat = \"onnx\"\n"
    )
}

#[test]
fn at_the_root_of_a_workspace_every_package_with_models_is_built() {
    let folder = Folder::with_model();
    folder.write("Cargo.toml", "[workspace]\nresolver = \"3\"\nmembers = [\"*-crate\"]\n");
    folder.write("one-crate/Cargo.toml", package("one", "../model"));
    folder.write("two-crate/Cargo.toml", package("two", "../model"));
    folder.write(
        "plain-crate/Cargo.toml",
        "[package]\nname = \"plain\"\nversion = \"0.0.0\"\nedition = \"2024\"\n",
    );
    for name in ["one", "two", "plain"] {
        folder.write(&format!("{name}-crate/src/lib.rs"), "");
    }
    let run = folder.run(&["build"]);
    assert_eq!((run.code, run.out.lines().count()), (0, 2), "{run}");
    assert!(run.err.contains("Manifest one-crate/Cargo.toml"), "{run}");
    assert_eq!(folder.succeed(&["build", "-p", "two"]).lines().count(), 1);
    folder.fail(2, &["no package `tow`", "did you mean `two`?"], &["build", "-p", "tow"]);
    folder.fail(2, &["two packages declare `digits.app`"], &["build", "--out", "made"]);
    folder.succeed(&["build", "-p", "one", "--out", "made"]);
    folder.fail(2, &["no models are declared"], &["build", "-p", "plain"]);
    folder.write("one-crate/Cargo.toml", "[package]\nname = \"one\"\n");
    folder.write("two-crate/Cargo.toml", "[package]\nname = \"two\"\n");
    let err = folder.fail(2, &["no package of this workspace declares a model"], &["build"]);
    assert!(err.contains("model-build init"), "{err}");
}

#[test]
fn of_builds_at_the_same_time_one_does_each_step_and_the_others_wait() {
    let folder = Folder::project(MANIFEST);
    let start = || {
        let mut command = folder.command(&["build", "--message-format", "json"]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let children: Vec<_> = (0..8).map(|_| start()).collect();
    let mut started = Vec::new();
    for child in children {
        let output = child.wait_with_output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{text}");
        for line in text.lines() {
            let event: serde_json::Value = serde_json::from_str(line).unwrap();
            let about = format!("{} {}", event["job"], event["step"]);
            match event["event"].as_str() {
                Some("started") => started.push(about),
                Some("waiting") => assert_eq!(event.as_object().unwrap().len(), 3, "{line}"),
                _ => {}
            }
        }
    }
    started.sort();
    let want = ["fp32\" \"convert", "int8\" \"convert", "int8\" \"verify"];
    assert_eq!(started, want.map(|step| format!("\"digits.{step}\"")));
}

#[test]
fn it_is_a_subcommand_of_cargo() {
    let folder = Folder::project(MANIFEST);
    let bin = folder.path("bin");
    std::fs::create_dir(&bin).unwrap();
    let name = format!("cargo-model-build{}", std::env::consts::EXE_SUFFIX);
    std::fs::copy(env!("CARGO_BIN_EXE_model-build"), bin.join(name)).unwrap();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths(std::iter::once(bin).chain(std::env::split_paths(&path)));
    let cargo = |args: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO"));
        folder.set_up(&mut command);
        let path = path.as_ref().unwrap();
        Run::of(command.env("PATH", path).arg("model-build").args(args))
    };
    let run = cargo(&["build", "digits.fp32"]);
    assert_eq!((run.code, run.out.lines().count()), (0, 1), "{run}");
    let run = cargo(&["build", "--help"]);
    assert!(run.out.contains("Usage: cargo model-build build "), "{run}");
    assert_eq!(cargo(&["build", "nonsense"]).code, 2);
}
