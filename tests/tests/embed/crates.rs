//! Crates whose build script calls `embed::generate`, and what they embed.

use std::fmt::Write;
use std::fs;
use std::ops::Deref;
use std::path::{Path, PathBuf};

use model_build_tests::crates::{self, RUNTIME_FEATURES};
pub(crate) use model_build_tests::crates::{succeed, text};
use model_build_tests::project::repository;
use serde_json::{Value, json};

/// A crate that embeds what a JSON text says.
pub(crate) struct Crate(crates::Crate);

impl Deref for Crate {
    type Target = crates::Crate;

    fn deref(&self) -> &crates::Crate {
        &self.0
    }
}

pub(crate) fn scratch() -> PathBuf {
    crates::scratch().join("embedded")
}

impl Crate {
    /// A crate of edition 2024 without sources, with a build script that embeds what `spec` says.
    pub(crate) fn new(name: &str) -> Self {
        let made = Self(crates::Crate::new(name));
        made.manifest(name, "2024");
        let helper = env!("CARGO_BIN_EXE_embed-helper");
        made.write(
            "build.rs",
            format!(
                "fn main() {{
    println!(\"cargo::rerun-if-changed=spec.json\");
    let done = std::process::Command::new({helper:?}).arg(\"spec.json\").status().unwrap();
    assert!(done.success());
}}
"
            ),
        );
        made
    }

    pub(crate) fn manifest(&self, name: &str, edition: &str) {
        let runtime = repository().join("model-build-runtime");
        self.write(
            "Cargo.toml",
            format!(
                "[package]
name = \"{name}\"
version = \"0.0.0\"
edition = \"{edition}\"
[dependencies]
model-build-runtime = {{ path = {runtime:?}, {RUNTIME_FEATURES} }}
[workspace]
[profile.dev]
debug = false
"
            ),
        );
    }

    pub(crate) fn spec(&self, spec: &Value) {
        self.write("spec.json", spec.to_string());
    }
}

/// An artifact of one file without inputs or outputs, as an item of a spec.
pub(crate) fn blob(model: &str, from: &Path, mode: &str) -> Value {
    json!({
        "model": model, "target": "raw", "format": "gguf", "mode": mode,
        "files": [{ "name": "model.gguf", "from": from, "to": format!("model_build/{model}.gguf") }],
        "info": { "inputs": [], "outputs": [], "parameters": 1, "facts": [] },
    })
}

pub(crate) fn port(name: &str, dtype: &str, dims: &[&str]) -> Value {
    json!({ "name": name, "dtype": dtype, "dims": dims })
}

/// A file of bytes that repeat nowhere near, made once.
pub(crate) fn noise(len: usize) -> PathBuf {
    let path = scratch().join(format!("noise-{len}"));
    if fs::metadata(&path).is_ok_and(|m| m.len() == len as u64) {
        return path;
    }
    fs::create_dir_all(scratch()).unwrap();
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(b"noise").finalize_xof().fill(&mut bytes);
    let temp = path.with_extension(format!("{:?}", std::thread::current().id()));
    fs::write(&temp, bytes).unwrap();
    fs::rename(temp, &path).unwrap();
    path
}

/// A program that compares an artifact's bytes with a file and prints their address modulo a page.
pub(crate) fn comparing(model: &str, ty: &str, with: &Path) -> String {
    let mut program = String::new();
    write!(
        program,
        "model_build_runtime::include_model!({model:?});
fn main() {{
    let bytes = {ty}::bytes().unwrap();
    assert!(bytes == std::fs::read({with:?}).unwrap(), \"other bytes\");
    assert_eq!({ty}::METADATA.len, bytes.len() as u64);
    println!(\"{{}}\", bytes.as_ptr() as usize % 4096);
}}
"
    )
    .unwrap();
    program
}
