//! The tool in a folder of its own, with a cache of its own.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use model_build_tests::project::repository;
use serde_json::Value as Json;
use tempfile::TempDir;

/// A folder in which the tool is run.
pub(crate) struct Folder {
    dir: TempDir,
}

/// What a run gave.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// The manifest most tests use: two targets of the digits model, one of them checked.
pub(crate) const MANIFEST: &str = r#"
[digits]
source = "model"
[digits.targets.fp32]
format = "onnx"
[digits.targets.int8]
format = "onnx"
quantization = "int8"
verify = { cosine = 0.9, runner = "rten", samples = 2 }
"#;

impl Folder {
    /// An empty folder.
    pub(crate) fn empty() -> Self {
        let folder = Self { dir: tempfile::tempdir().unwrap() };
        std::fs::create_dir(folder.path("work")).unwrap();
        folder
    }

    /// A folder with a copy of the digits checkpoint as `model`.
    pub(crate) fn with_model() -> Self {
        let folder = Self::empty();
        folder.copy_model("model");
        folder
    }

    /// A folder with the digits checkpoint and a `models.toml`.
    pub(crate) fn project(manifest: &str) -> Self {
        let folder = Self::with_model();
        folder.write("models.toml", manifest);
        folder
    }

    pub(crate) fn copy_model(&self, to: &str) {
        std::fs::create_dir_all(self.at(to)).unwrap();
        for name in ["config.json", "model.safetensors", "preprocessor_config.json"] {
            let from = repository().join("examples/digits/model").join(name);
            std::fs::copy(from, self.at(to).join(name)).unwrap();
            self.age(&format!("{to}/{name}"));
        }
    }

    /// Copies the files of a folder of the repository.
    pub(crate) fn copy(&self, from: &str, to: &str) {
        for entry in std::fs::read_dir(repository().join(from)).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            self.write(&format!("{to}/{name}"), std::fs::read(entry.path()).unwrap());
        }
    }

    /// A path beside the folder the tool runs in.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A path in the folder the tool runs in.
    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.path("work").join(name)
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.at(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
        self.age(name);
    }

    pub(crate) fn read(&self, name: &str) -> String {
        String::from_utf8(std::fs::read(self.at(name)).unwrap()).unwrap()
    }

    /// Sets a file's modification time to a minute ago.
    fn age(&self, name: &str) {
        let file = std::fs::File::options().append(true).open(self.at(name)).unwrap();
        let past = std::time::SystemTime::now() - std::time::Duration::from_secs(60);
        file.set_modified(past).unwrap();
    }

    /// Flips one bit of the last weight of the checkpoint.
    pub(crate) fn change_a_weight(&self) {
        let mut bytes = std::fs::read(self.at("model/model.safetensors")).unwrap();
        let last = bytes.len() - 4;
        bytes[last] ^= 1;
        self.write("model/model.safetensors", bytes);
    }

    /// The tool, to be run in the folder, apart from the environment of whoever runs the tests.
    pub(crate) fn command<S: AsRef<OsStr>>(&self, args: &[S]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_model-build"));
        self.set_up(&mut command);
        command.args(args);
        command
    }

    pub(crate) fn set_up(&self, command: &mut Command) {
        let ours = ["MODEL_BUILD", "MODEL_BUILD_PREBUILT_DIR", "ORT_DYLIB_PATH", "NO_COLOR"];
        let theirs =
            ["CLICOLOR", "CLICOLOR_FORCE", "RUSTC", "DOCS_RS", "RUSTFLAGS", "OLLAMA_MODELS"];
        for name in ours.iter().chain(&theirs) {
            command.env_remove(name);
        }
        command.current_dir(self.path("work")).env("MODEL_BUILD_CACHE", self.path("cache"));
        command.stdin(Stdio::null());
    }

    /// Runs the tool.
    pub(crate) fn run<S: AsRef<OsStr>>(&self, args: &[S]) -> Run {
        Run::of(&mut self.command(args))
    }

    /// Runs the tool, which must succeed; gives its standard output.
    pub(crate) fn succeed<S: AsRef<OsStr> + std::fmt::Debug>(&self, args: &[S]) -> String {
        let run = self.run(args);
        assert_eq!(run.code, 0, "{args:?}\n{run}");
        run.out
    }

    /// Runs the tool, which must fail with that code and all of these words on standard error, and
    /// nothing on standard output; gives its standard error.
    pub(crate) fn fail<S: AsRef<OsStr> + std::fmt::Debug>(
        &self,
        code: i32,
        words: &[&str],
        args: &[S],
    ) -> String {
        let run = self.run(args);
        assert_eq!(run.code, code, "{args:?}\n{run}");
        assert_eq!(run.out, "", "{args:?}: a failure has no result");
        for word in words {
            assert!(run.err.contains(word), "{args:?}: no `{word}` in\n{run}");
        }
        run.err
    }

    /// Runs the tool with `--message-format json`; gives its code and the lines of its standard
    /// output. Panics when one is no JSON object that starts with its event, or when anything stands
    /// on standard error.
    pub(crate) fn json<S: AsRef<OsStr>>(&self, args: &[S]) -> (i32, Vec<Json>) {
        let mut command = self.command(args);
        let run = Run::of(command.args(["--message-format", "json"]));
        assert_eq!(run.err, "", "{run}");
        let parse = |line: &str| {
            let object: Json = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
            assert!(object.is_object() && line.starts_with("{\"event\":\""), "{line}");
            object
        };
        (run.code, run.out.lines().map(parse).collect())
    }
}

impl Run {
    pub(crate) fn of(command: &mut Command) -> Self {
        let output = command.output().unwrap();
        Self {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl std::fmt::Display for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "code {}\nstdout:\n{}stderr:\n{}", self.code, self.out, self.err)
    }
}

/// The names of the events of JSON lines.
pub(crate) fn events(lines: &[Json]) -> Vec<&str> {
    lines.iter().map(|line| line["event"].as_str().unwrap()).collect()
}

/// BLAKE3 of a file, hex.
pub(crate) fn digest(path: &Path) -> String {
    blake3::hash(&std::fs::read(path).unwrap()).to_string()
}

/// Whether a program is on `PATH`.
pub(crate) fn is_here(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok()
}
