//! Artifacts that were made before, in `MODEL_BUILD_PREBUILT_DIR`.

use std::fs;
use std::process::Command;

use model_build_tests::crates::succeed;

use crate::app::{App, DIGITS, Helper};

#[test]
fn prebuilt_artifacts_serve_without_a_source_and_are_refused_when_they_are_not_the_ones() {
    let app = App::new("app-prebuilt", Helper::Engine, DIGITS);
    let dir = app.path("made");
    let tool = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_model-build"));
        command
            .args(arguments)
            .current_dir(app.path(""))
            .env("MODEL_BUILD_CACHE", app.path("cache"));
        command.output().unwrap()
    };
    succeed(&tool(&["build", "--out", "made"]));

    // Elsewhere, without source or cache.
    let other = App::new("app-prebuilt-other", Helper::Engine, DIGITS);
    other.set("MODEL_BUILD_PREBUILT_DIR", &dir);
    fs::remove_dir_all(other.path("model")).unwrap();
    let built = other.build();
    assert!(built.started().is_empty() && built.reused().is_empty());
    assert!(!other.path("cache").exists());
    let digests = built.digests();
    for (name, digest) in &digests {
        assert_eq!(
            blake3::hash(&fs::read(dir.join(name).join("model.onnx")).unwrap()).to_string(),
            *digest
        );
        assert!(built.generated(&format!("{name}.rs")).contains(digest.as_str()));
    }
    assert_eq!(digests.len(), 2);
    assert!(other.build().fresh);

    // A bound that is tightened is compared with the numbers that were measured.
    other.replace("Cargo.toml", "cosine = 0.9", "cosine = 0.99999999");
    let inaccurate = other.error();
    assert!(inaccurate.contains("`logits`") && inaccurate.contains("0.99999999"), "{inaccurate}");
    other.replace("Cargo.toml", "cosine = 0.99999999", "cosine = 0.9");
    assert_eq!(other.build().digests(), digests);

    // A flipped bit, in each of the files.
    for name in ["model.onnx", "record.json", "measured.json"] {
        let path = dir.join("digits.int8").join(name);
        let good = fs::read(&path).unwrap();
        let mut bad = good.clone();
        // Of a record, a digit.
        let at = match name {
            "model.onnx" => bad.len() / 2,
            _ => bad.iter().position(u8::is_ascii_digit).unwrap(),
        };
        bad[at] ^= 1;
        fs::write(&path, bad).unwrap();
        let flipped = other.error();
        assert!(
            flipped.contains("error: model `digits`, target `int8`: ") && flipped.contains(name),
            "{flipped}"
        );
        assert!(
            flipped.contains("hint: make the folder anew: model-build build --out DIR"),
            "{flipped}"
        );
        fs::write(&path, good).unwrap();
    }
    assert_eq!(other.build().digests(), digests);

    // A target that is not there.
    other.replace("Cargo.toml", "targets.int8]", "targets.tiny]");
    let absent = other.error();
    assert!(
        absent.contains("error: model `digits`, target `tiny`: ") && absent.contains("digits.tiny"),
        "{absent}"
    );

    // Where the source is, it must be the one that the artifact was made from, made the same way.
    app.set("MODEL_BUILD_PREBUILT_DIR", &dir);
    let same = app.build();
    assert!(same.started().is_empty());
    assert_eq!(same.digests(), digests);
    assert!(app.build().fresh);
    app.replace("Cargo.toml", "targets.fp32]", "targets.fp32]\nshapes = { batch = 1 }");
    let stale = app.error();
    assert!(stale.contains("error: model `digits`, target `fp32`: the prebuilt artifact was made from something else: `fix-shapes` differs"), "{stale}");
    app.replace("Cargo.toml", "\nshapes = { batch = 1 }", "");
    app.build();
    app.change_a_weight();
    let stale = app.error();
    assert!(stale.contains("`source model.safetensors` differs"), "{stale}");
    succeed(&tool(&["build", "--out", "made"]));
    assert_ne!(app.build().digests(), digests);
}
