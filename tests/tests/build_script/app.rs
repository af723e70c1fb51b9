//! A crate with a build script, and what cargo says of a build of it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use model_build_tests::crates::{Crate, RUNTIME_FEATURES, succeed, text};
use model_build_tests::project::repository;
use serde_json::Value;

/// Two targets of the model `digits`, the second one verified.
pub(crate) const DIGITS: &str = r#"
[package.metadata.models.digits]
source = "model"
[package.metadata.models.digits.targets.fp32]
format = "onnx"
[package.metadata.models.digits.targets.int8]
format = "onnx"
quantization = "int8"
verify = { cosine = 0.9, runner = "rten", samples = 2 }
"#;

/// Both types are there, with the inputs and outputs they should have.
pub(crate) const USES_BOTH: &str = r#"
use model_build_runtime::{Error, Tensor};
model_build_runtime::include_model!("digits.fp32");
model_build_runtime::include_model!("digits.int8");
/// Runs both.
///
/// # Errors
/// None.
pub fn both(images: Vec<f32>) -> Result<[Tensor<f32>; 2], Error> {
    let pixel_values = Tensor::<f32>::new([images.len() / 64, 1, 8, 8], images)?;
    let input = DigitsFp32Inputs { pixel_values: pixel_values.clone() };
    let fp32: DigitsFp32Outputs = DigitsFp32::load()?.run(&input)?;
    let int8 = DigitsInt8::load()?.run(&DigitsInt8Inputs { pixel_values })?;
    Ok([fp32.logits, int8.logits])
}
"#;

/// What of `model-build` the build script is compiled with.
#[derive(Clone, Copy)]
pub(crate) enum Helper {
    /// The default features; the crate uses the runtime.
    Default,
    /// The engine without a runner. The crate links nothing, so that it is quick to build.
    Engine,
    /// Nothing: a tool does the work.
    Bare,
}

/// A crate, and the environment in which it is built.
pub(crate) struct App {
    pub(crate) krate: Crate,
    env: RefCell<BTreeMap<&'static str, OsString>>,
}

/// What a build did.
#[derive(Debug)]
pub(crate) struct Built {
    name: String,
    pub(crate) succeeded: bool,
    pub(crate) stderr: String,
    /// Whether cargo compiled nothing and ran nothing.
    pub(crate) fresh: bool,
    pub(crate) out_dir: Option<PathBuf>,
}

pub(crate) fn manifest(name: &str, helper: Helper, models: &str) -> String {
    let (library, runtime) =
        (repository().join("model-build"), repository().join("model-build-runtime"));
    let features = match helper {
        Helper::Default => "",
        Helper::Engine => ", default-features = false, features = [\"engine\"]",
        Helper::Bare => ", default-features = false",
    };
    let runtime = match helper {
        Helper::Default => {
            format!("model-build-runtime = {{ path = {runtime:?}, {RUNTIME_FEATURES} }}")
        }
        Helper::Engine | Helper::Bare => String::new(),
    };
    format!(
        "[package]
name = {name:?}
description = \"A test\"
version = \"0.0.0\"
edition = \"2024\"
{models}
[dependencies]
{runtime}
[build-dependencies]
model-build = {{ path = {library:?}{features} }}
[workspace]
[profile.dev]
debug = false
"
    )
}

impl App {
    /// A library crate that declares `models`, with a cache of its own and the digits checkpoint as
    /// `model/`, which is older than any build.
    pub(crate) fn new(name: &str, helper: Helper, models: &str) -> Self {
        let krate = Crate::new(name);
        krate.write("Cargo.toml", manifest(name, helper, models));
        krate.write("build.rs", "fn main() { model_build::build(); }\n");
        krate.write("src/lib.rs", "//! Nothing.\n");
        fs::create_dir(krate.path("model")).unwrap();
        let app = Self { krate, env: RefCell::default() };
        for file in ["config.json", "model.safetensors"] {
            let to = app.path("model").join(file);
            fs::copy(repository().join("examples/digits/model").join(file), &to).unwrap();
            app.touch(&to, 3600);
        }
        app.set("MODEL_BUILD_CACHE", app.path("cache"));
        app
    }

    /// Sets a variable for all builds.
    pub(crate) fn set(&self, name: &'static str, value: impl Into<OsString>) {
        self.env.borrow_mut().insert(name, value.into());
    }

    /// Unsets it.
    pub(crate) fn unset(&self, name: &str) {
        self.env.borrow_mut().remove(name);
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.krate.path(name)
    }

    /// Says that a file changed some seconds ago.
    pub(crate) fn touch(&self, file: &Path, seconds: u64) {
        let time = SystemTime::now() - Duration::from_secs(seconds);
        fs::File::options()
            .append(true)
            .open(self.path("").join(file))
            .unwrap()
            .set_modified(time)
            .unwrap();
    }

    /// Replaces a part of a file, which must be there once.
    pub(crate) fn replace(&self, file: &str, from: &str, to: &str) {
        let old = fs::read_to_string(self.path(file)).unwrap();
        assert_eq!(old.matches(from).count(), 1, "{from} in {old}");
        self.krate.write(file, old.replace(from, to));
    }

    /// Flips one bit of the last weight.
    pub(crate) fn change_a_weight(&self) {
        let path = self.path("model/model.safetensors");
        let mut bytes = fs::read(&path).unwrap();
        let last = bytes.len() - 2;
        bytes[last] ^= 1;
        fs::write(path, bytes).unwrap();
    }

    pub(crate) fn cargo(&self, arguments: &[&str]) -> Command {
        let mut command = self.krate.cargo(arguments);
        command.envs(&*self.env.borrow());
        command
    }

    /// Runs `cargo build` with further arguments.
    pub(crate) fn try_build(&self, arguments: &[&str]) -> Built {
        let verbose = ["build", "-vv", "--message-format=json-render-diagnostics"];
        self.finish(&mut self.cargo(&[&verbose, arguments].concat()))
    }

    /// Waits for a cargo that was started with `-vv` and JSON messages.
    pub(crate) fn finish(&self, command: &mut Command) -> Built {
        let output = command.output().unwrap();
        let ours =
            |m: &Value| m["package_id"].as_str().is_some_and(|id| id.contains(self.krate.name()));
        let mut built = Built {
            name: self.krate.name().to_owned(),
            succeeded: output.status.success(),
            stderr: text(&output.stderr),
            fresh: output.status.success(),
            out_dir: None,
        };
        // The others are the build scripts'.
        for line in text(&output.stdout).lines().filter(|l| l.starts_with('{')) {
            let message: Value = serde_json::from_str(line).unwrap();
            match message["reason"].as_str() {
                Some("compiler-artifact") => built.fresh &= message["fresh"] == true,
                Some("build-script-executed") if ours(&message) => {
                    built.out_dir = message["out_dir"].as_str().map(PathBuf::from);
                }
                _ => {}
            }
        }
        built.fresh &= !built.ran_the_script();
        built
    }

    /// Runs `cargo build`, which must succeed.
    pub(crate) fn build(&self) -> Built {
        let built = self.try_build(&[]);
        assert!(built.succeeded, "{}", built.stderr);
        built
    }

    /// Runs `cargo run`; gives what the program printed.
    pub(crate) fn run(&self) -> String {
        succeed(&self.cargo(&["run", "--quiet"]).output().unwrap())
    }

    /// Runs `cargo build`, which must fail; what it said.
    pub(crate) fn error(&self) -> String {
        let built = self.try_build(&[]);
        assert!(!built.succeeded, "{}", built.stderr);
        assert!(!built.stderr.contains("panicked"), "{}", built.stderr);
        built.stderr
    }
}

impl Built {
    /// Whether cargo ran the build script of the crate.
    pub(crate) fn ran_the_script(&self) -> bool {
        let of_the_crate = format!("/{}-", self.name);
        self.stderr.lines().any(|l| {
            l.trim_start().starts_with("Running `")
                && l.contains(&of_the_crate)
                && l.ends_with("/build-script-build`")
        })
    }

    /// What the build script printed.
    fn lines(&self) -> impl Iterator<Item = &str> {
        let prefix = format!("[{} 0.0.0] ", self.name);
        self.stderr.lines().filter_map(move |l| l.strip_prefix(prefix.as_str()))
    }

    fn steps(&self, fresh: bool) -> Vec<String> {
        let step = |line: &str| {
            let mut parts = line.splitn(3, ": ");
            let (job, step, what) = (parts.next()?, parts.next()?, parts.next()?);
            let is_step = ["convert", "reference", "verify"].contains(&step);
            let waits = what.starts_with("waiting");
            (is_step && !waits && (what == "fresh") == fresh).then(|| format!("{job} {step}"))
        };
        self.lines().filter_map(step).collect()
    }

    /// The steps that ran.
    pub(crate) fn started(&self) -> Vec<String> {
        self.steps(false)
    }

    /// The steps whose results were there.
    pub(crate) fn reused(&self) -> Vec<String> {
        self.steps(true)
    }

    /// The files that were read to find their digests.
    pub(crate) fn read(&self) -> Vec<&str> {
        self.lines().filter_map(|l| l.strip_prefix("read: ")).collect()
    }

    pub(crate) fn warnings(&self) -> Vec<&str> {
        let prefix = format!("warning: {}@0.0.0: ", self.name);
        self.stderr.lines().filter_map(|l| l.strip_prefix(prefix.as_str())).collect()
    }

    /// The digests of the artifacts that the generated text includes, by target.
    pub(crate) fn digests(&self) -> BTreeMap<String, String> {
        let models = self.out_dir.as_ref().unwrap().join("models");
        let mut found = BTreeMap::new();
        for target in fs::read_dir(models).unwrap() {
            let target = target.unwrap();
            let bytes = fs::read(target.path().join("model.onnx")).unwrap();
            let name = target.file_name().into_string().unwrap();
            found.insert(name, blake3::hash(&bytes).to_string());
        }
        assert!(!found.is_empty());
        found
    }

    /// A generated text.
    pub(crate) fn generated(&self, name: &str) -> String {
        fs::read_to_string(self.out_dir.as_ref().unwrap().join("model_build").join(name)).unwrap()
    }
}
