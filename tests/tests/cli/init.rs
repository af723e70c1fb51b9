//! `init`: a declared model, and a package that cargo builds.

use std::path::{Path, PathBuf};
use std::process::Command;

use model_build_tests::project::repository;

use crate::tool::{Folder, Run};

#[test]
fn without_cargo_it_writes_a_manifest_that_builds() {
    let folder = Folder::empty();
    folder.copy_model("my models/Digits v1.5");
    let out = folder.succeed(&["init", "--source", "my models/Digits v1.5"]);
    assert!(out.starts_with("declared `digits-v1-5` in models.toml:\n"), "{out}");
    assert!(out.contains("\n    model-build build --out artifacts\n"), "{out}");
    assert!(out.lines().all(|l| l == l.trim_end()), "{out}");
    assert_eq!(folder.succeed(&["build"]).lines().count(), 1);
    let before = folder.read("models.toml");
    let words = ["`digits-v1-5` is declared there already", "--name"];
    folder.fail(2, &words, &["init", "--source", "my models/Digits v1.5"]);
    assert_eq!(folder.read("models.toml"), before);
    folder.succeed(&["init", "--source", "my models/Digits v1.5", "--name", "other"]);
    assert_eq!(folder.succeed(&["build"]).lines().count(), 2);
    let uncommented = before.replace("\n# [", "\n[").replace("\n# format", "\nformat");
    let uncommented = uncommented.replace("\n# quant", "\nquant").replace("\n# verify", "\nverify");
    folder.write("models.toml", uncommented);
    assert_eq!(folder.succeed(&["build"]).lines().count(), 2, "the suggested target builds too");
}

#[test]
fn what_cannot_be_declared_is_refused_and_nothing_is_written() {
    let folder = Folder::with_model();
    folder.fail(3, &["no such file (none)"], &["init", "--source", "none"]);
    let words = ["`1st` cannot be the name of a model", "a name is a letter"];
    folder.fail(2, &words, &["init", "--source", "model", "--name", "1st"]);
    folder.write("notes/readme.txt", "no model");
    folder.fail(3, &["no model found"], &["init", "--source", "notes"]);
    assert!(!folder.at("models.toml").exists());
    folder.write("Cargo.toml", "[workspace]\nmembers = []\n");
    folder.fail(2, &["of a workspace and has no package"], &["init", "--source", "model"]);
    assert_eq!(folder.read("Cargo.toml"), "[workspace]\nmembers = []\n");
}

#[test]
fn what_is_there_already_is_kept() {
    let folder = Folder::with_model();
    let toml = "[package]\nname = \"app\"\nversion = \"0.0.0\"\nedition = \"2024\" # ours\n\n\
                [dependencies]\nserde = \"1\"\nmodel-build-runtime = { path = \"x\" }\n";
    folder.write("Cargo.toml", toml);
    folder.write("build.rs", "fn main() {}\n");
    let out = folder.succeed(&["init", "--source", "model"]);
    assert!(out.contains("call `model_build::build();` in build.rs"), "{out}");
    let changed = folder.read("Cargo.toml");
    assert!(changed.starts_with(toml), "{changed}");
    let version = env!("CARGO_PKG_VERSION");
    assert!(changed.contains(&format!("[build-dependencies]\nmodel-build = \"{version}\"\n")));
    assert_eq!(folder.read("build.rs"), "fn main() {}\n");
}

/// Runs cargo in a folder; every test's dependencies are built once.
fn cargo(folder: &Folder, args: &[&str]) -> Run {
    let target: PathBuf = Path::new(env!("CARGO_TARGET_TMPDIR")).join("embed/target");
    let mut command = Command::new(env!("CARGO"));
    folder.set_up(&mut command);
    command.args(args).arg("--offline").env("CARGO_TARGET_DIR", target);
    Run::of(
        command
            .env("CARGO_TERM_COLOR", "never")
            .env("MODEL_BUILD", env!("CARGO_BIN_EXE_model-build")),
    )
}

#[test]
fn a_package_builds_and_runs_with_the_line_that_is_printed() {
    let folder = Folder::with_model();
    let at = |name: &str| repository().join(name);
    folder.write(
        "Cargo.toml",
        format!(
            "[package]\nname = \"app\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\
             [build-dependencies]\n\
             model-build = {{ version = \"{}\", default-features = false }}\n\
             [workspace]\n[profile.dev]\ndebug = false\n[patch.crates-io]\n\
             model-build = {{ path = {:?} }}\nmodel-build-runtime = {{ path = {:?} }}\n\
             model-build-macros = {{ path = {:?} }}\n",
            env!("CARGO_PKG_VERSION"),
            at("model-build"),
            at("model-build-runtime"),
            at("model-build-macros")
        ),
    );
    // The tool does the build script's work, so the library is compiled without its engine.
    std::fs::copy(at("Cargo.lock"), folder.at("Cargo.lock")).unwrap();
    let out = folder.succeed(&["init", "--source", "model", "--name", "digits"]);
    let line = out.lines().rfind(|l| l.contains("include_model!")).unwrap().trim();
    assert_eq!(line, "model_build_runtime::include_model!(\"digits\"); // in your code");
    assert!(out.contains("also changed: build.rs"), "{out}");
    let added =
        format!("[dependencies]\nmodel-build-runtime = \"{}\"\n", env!("CARGO_PKG_VERSION"));
    assert!(folder.read("Cargo.toml").contains(&added));
    folder.write(
        "src/main.rs",
        format!(
            "{line}\nfn main() {{\n    print!(\"{{}}\", Digits::bytes().unwrap().len());\n}}\n"
        ),
    );
    let run = cargo(&folder, &["run", "-q"]);
    assert_eq!(run.code, 0, "{run}");
    let (_, lines) = folder.json(&["build"]);
    let built = lines.last().unwrap()["artifacts"][0]["files"][0]["len"].as_u64().unwrap();
    assert_eq!(run.out, built.to_string(), "the bytes in the binary are what the tool builds");
}
