//! A crate with two targets: what it prints, and what each change makes cargo run again.

use std::fs;
use std::process::Command;

use model_build_tests::crates::succeed;
use model_build_tests::project::repository;
use safetensors::SafeTensors;

use crate::app::{App, DIGITS, Helper, USES_BOTH};

/// How many of the held-out digits are classified.
const IMAGES: usize = 100;

const MAIN: &str = r#"
/// Prints the classes that each model finds.
fn main() -> Result<(), Error> {
    let images = include_bytes!("../images").map(|p| f32::from(p) / 16.0);
    for logits in both(images.to_vec())? {
        let class = |row: &[f32]| (0..10).max_by(|a, b| row[*a].total_cmp(&row[*b])).unwrap();
        let classes: Vec<String> = logits.data().chunks(10).map(|r| class(r).to_string()).collect();
        println!("{}", classes.concat());
    }
    for model in [DigitsFp32::METADATA, DigitsInt8::METADATA] {
        println!("{} {} {} {}", model.target, model.len, model.digest, model.fact("tool").unwrap());
    }
    Ok(())
}
"#;

#[test]
fn two_targets_classify_digits_and_are_built_again_only_for_what_changed() {
    let app = App::new("app-digits", Helper::Default, DIGITS);
    let heldout = fs::read(repository().join("examples/digits/data/heldout.safetensors")).unwrap();
    let heldout = SafeTensors::deserialize(&heldout).unwrap();
    let labels = &heldout.tensor("labels").unwrap().data()[..IMAGES];
    app.krate.write("images", &heldout.tensor("images").unwrap().data()[..IMAGES * 64]);
    fs::remove_file(app.path("src/lib.rs")).unwrap();
    app.krate.write("src/main.rs", format!("{USES_BOTH}{MAIN}"));

    let first = app.build();
    assert!(first.ran_the_script());
    assert_eq!(
        first.started(),
        ["digits.fp32 convert", "digits.int8 convert", "digits.int8 verify"]
    );
    assert_eq!(first.reused(), ["digits.int8 reference"]);
    assert_eq!(first.warnings(), [""; 0]);
    let digests = first.digests();

    // `cargo run`, and the executable alone: moved where nothing else is, with OUT_DIR away.
    let printed = app.run();
    let lines: Vec<&str> = printed.lines().collect();
    for line in &lines[..2] {
        let right =
            line.bytes().zip(labels).filter(|(class, label)| class - b'0' == **label).count();
        assert!(line.len() == IMAGES && right >= 95, "{right}: {line}");
    }
    for (line, target) in lines[2..].iter().zip(["fp32", "int8"]) {
        let digest = &digests[&format!("digits.{target}")];
        assert!(line.starts_with(target) && line.contains(digest), "{line}");
    }
    let alone = tempfile::tempdir().unwrap();
    let executable = alone.path().join("app");
    fs::copy(app.krate.executable(), &executable).unwrap();
    let models = first.out_dir.as_ref().unwrap().join("models");
    let away = models.with_extension("away");
    fs::rename(&models, &away).unwrap();
    let output = Command::new(&executable).current_dir(alone.path()).env_clear().output().unwrap();
    fs::rename(&away, &models).unwrap();
    assert_eq!(succeed(&output), printed);

    // Nothing changed.
    let second = app.build();
    assert!(second.fresh, "{}", second.stderr);

    // The build script runs, and finds everything done without reading a file.
    app.touch("build.rs".as_ref(), 0);
    let forced = app.build();
    assert!(forced.ran_the_script());
    assert_eq!(forced.started(), [""; 0]);
    assert_eq!(forced.read(), [""; 0]);
    assert_eq!(
        forced.reused(),
        ["digits.fp32 convert", "digits.int8 convert", "digits.int8 verify"]
    );
    assert_eq!(forced.digests(), digests);

    // A newer time of an unchanged file: read once, and nothing runs.
    app.touch("model/model.safetensors".as_ref(), 0);
    let touched = app.build();
    assert!(touched.ran_the_script());
    assert_eq!(touched.started(), [""; 0]);
    assert_eq!(touched.read().len(), 1, "{:?}", touched.read());
    assert!(touched.read()[0].contains("model.safetensors"));

    // A bound: the numbers are known.
    app.replace("Cargo.toml", "cosine = 0.9", "cosine = 0.91");
    let bound = app.build();
    assert!(bound.ran_the_script());
    assert_eq!(bound.started(), [""; 0]);

    // How it is measured.
    app.replace("Cargo.toml", "samples = 2", "samples = 3");
    assert_eq!(app.build().started(), ["digits.int8 verify"]);

    // One target.
    app.replace(
        "Cargo.toml",
        "[package.metadata.models.digits.targets.fp32]",
        "[package.metadata.models.digits.targets.fp32]\nshapes = { batch = 100 }",
    );
    let shaped = app.build();
    assert_eq!(shaped.started(), ["digits.fp32 convert"]);
    assert_ne!(shaped.digests()["digits.fp32"], digests["digits.fp32"]);
    assert_eq!(shaped.digests()["digits.int8"], digests["digits.int8"]);

    // A weight: everything that holds it, and the program prints the new digests.
    app.change_a_weight();
    let changed = app.build();
    assert_eq!(
        changed.started(),
        [
            "digits.fp32 convert",
            "digits.int8 convert",
            "digits.int8 verify",
            "digits.int8 reference"
        ]
    );
    let printed = app.run();
    for digest in changed.digests().values() {
        assert!(printed.contains(digest.as_str()), "{printed}");
        assert!(!digests.values().any(|d| d == digest));
    }

    // Another way into the binary is no other artifact.
    app.replace(
        "Cargo.toml",
        "shapes = { batch = 100 }",
        "shapes = { batch = 100 }\nembed = \"file\"",
    );
    let beside = app.build();
    assert!(beside.started().is_empty() && beside.read().is_empty(), "{}", beside.stderr);
    assert_eq!(app.run(), printed);

    // A target that is not declared any more leaves nothing behind.
    app.krate.write("src/main.rs", "//! Nothing.\nfn main() {}\n");
    app.replace("Cargo.toml", "targets.int8]", "targets.small]");
    let renamed = app.build();
    let names: Vec<String> = renamed.digests().into_keys().collect();
    assert_eq!(names, ["digits.fp32", "digits.small"]);
    // The artifact of `int8` under another name.
    assert_eq!(renamed.started(), [""; 0]);
}
