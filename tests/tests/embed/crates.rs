//! Small crates that tests write, and cargo builds and runs.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};

/// A crate in a folder of its own; all share one target folder, so that dependencies are built once.
pub(crate) struct Crate {
    pub(crate) dir: PathBuf,
}

/// The standing features of the runtime: one set, so that it is built once.
const FEATURES: &str = "\"rten\", \"ort\", \"sidecar\"";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

pub(crate) fn scratch() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("embed")
}

impl Crate {
    /// A crate of edition 2024 without sources, with a build script that embeds what `spec` says.
    pub(crate) fn new(name: &str) -> Self {
        let dir = scratch().join(name);
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(dir.join("src")).unwrap();
        fs::copy(root().join("Cargo.lock"), dir.join("Cargo.lock")).unwrap();
        let made = Self { dir };
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
        let runtime = root().join("model-build-runtime");
        self.write(
            "Cargo.toml",
            format!(
                "[package]
name = \"{name}\"
version = \"0.0.0\"
edition = \"{edition}\"
[dependencies]
model-build-runtime = {{ path = {runtime:?}, default-features = false, features = [{FEATURES}] }}
[workspace]
[profile.dev]
debug = false
"
            ),
        );
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.dir.join(name), content).unwrap();
    }

    pub(crate) fn spec(&self, spec: &Value) {
        self.write("spec.json", spec.to_string());
    }

    pub(crate) fn cargo(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO"));
        command
            .current_dir(&self.dir)
            .args(arguments)
            .arg("--offline")
            .env("CARGO_TARGET_DIR", Self::target())
            .env("CARGO_TERM_COLOR", "never")
            .env_remove("RUSTFLAGS")
            .env_remove("DOCS_RS");
        command
    }

    pub(crate) fn target() -> PathBuf {
        scratch().join("target")
    }

    /// The executable of the crate's `main.rs`.
    pub(crate) fn executable(&self) -> PathBuf {
        Self::target().join("debug").join(self.dir.file_name().unwrap())
    }

    /// Builds; gives stderr. Panics when the build's success is not as wanted.
    pub(crate) fn build(&self, succeeds: bool) -> String {
        let output = self.cargo(&["build"]).output().unwrap();
        let text = text(&output.stderr);
        assert_eq!(output.status.success(), succeeds, "{text}");
        text
    }

    /// Builds and runs; gives stdout.
    pub(crate) fn run(&self) -> String {
        self.build(true);
        succeed(&Command::new(self.executable()).output().unwrap())
    }
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

pub(crate) fn succeed(output: &Output) -> String {
    assert!(output.status.success(), "{}\n{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
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
