//! Files beside the executable: found, missing, corrupt.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::crates::{Crate, blob, noise, scratch, succeed, text};

const PROGRAM: &str = r#"
model_build_runtime::include_model!("beside");
fn main() {
    match Beside::bytes() {
        Ok(bytes) => println!("{} bytes, {}", bytes.len(), bytes[7]),
        Err(e) => println!("{:?}: {e}", e.kind()),
    }
}
"#;

fn run(executable: &Path, dir: Option<&Path>) -> String {
    let mut command = Command::new(executable);
    if let Some(dir) = dir {
        command.env("MODEL_BUILD_SIDECAR_DIR", dir);
    }
    succeed(&command.output().unwrap())
}

#[test]
fn a_sidecar_is_found_or_said_to_be_missing_or_another() {
    let payload = noise(100_000);
    let app = Crate::new("beside");
    app.spec(&json!({ "items": [blob("beside", &payload, "file")] }));
    app.write("src/main.rs", PROGRAM);
    app.build(true);
    let good = format!("100000 bytes, {}\n", fs::read(&payload).unwrap()[7]);

    // Where cargo left it, so that `cargo run` works.
    assert_eq!(run(&app.executable(), None), good);

    // Shipped: next to the executable.
    let shipped = scratch().join("beside-shipped");
    let _ = fs::remove_dir_all(&shipped);
    fs::create_dir_all(shipped.join("data")).unwrap();
    let executable = shipped.join("app");
    fs::copy(app.executable(), &executable).unwrap();
    let missing = run(&executable, None);
    assert!(
        missing.starts_with("Artifact: `beside.raw.gguf` was not found; looked at "),
        "{missing}"
    );
    assert!(missing.contains(
        "put the file next to the executable, or name its folder in MODEL_BUILD_SIDECAR_DIR"
    ));
    assert!(missing.contains(shipped.join("beside.raw.gguf").to_str().unwrap()), "{missing}");
    fs::copy(&payload, shipped.join("beside.raw.gguf")).unwrap();
    assert_eq!(run(&executable, None), good);

    // In the folder that the variable names, which comes first.
    let beside = shipped.join("data/beside.raw.gguf");
    fs::copy(&payload, &beside).unwrap();
    fs::write(shipped.join("beside.raw.gguf"), b"another").unwrap();
    assert_eq!(run(&executable, Some(&shipped.join("data"))), good);
    let short = run(&executable, None);
    assert!(
        short.contains("is not the file this program was built with: it has 7 bytes, 100000 were"),
        "{short}"
    );

    // A flipped bit.
    let mut bytes = fs::read(&payload).unwrap();
    bytes[99_999] ^= 1;
    fs::write(&beside, bytes).unwrap();
    let flipped = run(&executable, Some(&shipped.join("data")));
    assert!(flipped.contains("its BLAKE3 is"), "{flipped}");

    // The executable holds no path of this machine to it.
    let binary = fs::read(&executable).unwrap();
    let built = fs::read_dir(model_build_tests::crates::target().join("debug/build"))
        .unwrap()
        .filter_map(Result::ok);
    let out = built
        .map(|e| e.path())
        .find(|p| p.join("out/model_build/sidecars/beside.raw.gguf").exists())
        .unwrap();
    let path = out.join("out/model_build/sidecars/beside.raw.gguf");
    let path = path.to_str().unwrap().as_bytes();
    assert!(!binary.windows(path.len()).any(|w| w == path));
}

#[test]
fn an_executable_that_was_built_for_documentation_says_so() {
    let app = Crate::new("stub");
    app.spec(&json!({ "items": [blob("beside", Path::new("/nowhere"), "auto")], "stub": true }));
    app.write("src/main.rs", PROGRAM);
    let said = app.run();
    assert!(
        said.contains("`model.gguf` is not here: the crate was built for its documentation"),
        "{said}"
    );
    let stderr = text(
        &app.cargo(&["doc", "--no-deps"])
            .env("RUSTDOCFLAGS", "-D warnings")
            .output()
            .unwrap()
            .stderr,
    );
    assert!(stderr.contains("Generated"), "{stderr}");
}
