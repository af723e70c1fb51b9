//! Small crates that tests write, and that real cargo builds and runs, offline.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::project::repository;

/// A crate in a folder of its own; all share one target folder, so that dependencies are built once.
pub struct Crate {
    /// Its folder.
    pub dir: PathBuf,
}

/// The one set of features in which tests use the runtime, so that it is built once.
pub const RUNTIME_FEATURES: &str =
    r#"default-features = false, features = ["rten", "ort", "sidecar"]"#;

/// Where crates of all suites stand: `e2e` in cargo's target folder.
pub fn scratch() -> PathBuf {
    // target/debug/deps/TEST
    std::env::current_exe().unwrap().ancestors().nth(3).unwrap().join("e2e")
}

/// The target folder of all crates.
pub fn target() -> PathBuf {
    scratch().join("target")
}

impl Crate {
    /// An empty folder `name`, with the versions of the repository's `Cargo.lock`. Names are unique
    /// among all suites: they are the executables'.
    pub fn new(name: &str) -> Self {
        let dir = scratch().join(name);
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(dir.join("src")).unwrap();
        fs::copy(repository().join("Cargo.lock"), dir.join("Cargo.lock")).unwrap();
        Self { dir }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.dir.file_name().unwrap().to_str().unwrap()
    }

    /// A path in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Writes one of its files.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.dir.join(name), content).unwrap();
    }

    /// A cargo command in its folder, with nothing in the environment that changes what is built.
    pub fn cargo(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO"));
        command
            .current_dir(&self.dir)
            .args(arguments)
            .arg("--offline")
            .env("CARGO_TARGET_DIR", target())
            .env("CARGO_TERM_COLOR", "never");
        for name in [
            "CARGO_ENCODED_RUSTFLAGS",
            "DOCS_RS",
            "MODEL_BUILD",
            "MODEL_BUILD_CACHE",
            "MODEL_BUILD_PREBUILT_DIR",
            "ORT_DYLIB_PATH",
            "RUSTFLAGS",
        ] {
            command.env_remove(name);
        }
        command
    }

    /// The executable of its `main.rs`.
    pub fn executable(&self) -> PathBuf {
        target().join("debug").join(self.name())
    }

    /// Builds; gives stderr. Panics when the build's success is not as wanted.
    pub fn build(&self, succeeds: bool) -> String {
        let output = self.cargo(&["build"]).output().unwrap();
        let text = text(&output.stderr);
        assert_eq!(output.status.success(), succeeds, "{text}");
        text
    }

    /// Builds and runs; gives stdout.
    pub fn run(&self) -> String {
        self.build(true);
        succeed(&Command::new(self.executable()).output().unwrap())
    }
}

/// What a process printed.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Standard output of a process that must have succeeded.
pub fn succeed(output: &Output) -> String {
    assert!(output.status.success(), "{}\n{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

/// The modification time of a file.
pub fn modified(path: &Path) -> std::time::SystemTime {
    fs::metadata(path).unwrap().modified().unwrap()
}
