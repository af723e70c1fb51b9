//! The `build.rs` helper. The only place that prints `cargo::` lines.

use std::path::{Path, PathBuf};
use std::process::Command;
#[cfg(feature = "engine")]
use std::process::ExitCode;

use crate::env;
use crate::error::{Error, Result};

/// Builds the models that the package's `Cargo.toml` (or the `models.toml` beside it) declares, for
/// the platform cargo builds for, and writes into `OUT_DIR` what `include_model!` includes.
///
/// Looked for in this order: artifacts made before, in the folder `MODEL_BUILD_PREBUILT_DIR` names
/// (their digests are checked); the tool that `MODEL_BUILD` names; `model-build` of the same version
/// on `PATH`; else the work is done in this process (feature `engine`, on by default).
///
/// Never panics: on an error it prints `error:` and `hint:` lines and exits with status 1.
///
/// ```no_run
/// // build.rs: fn main() {
/// model_build::build();
/// // }
/// ```
pub fn build() {
    if let Err(error) = run() {
        eprintln!("{}", error.report());
        std::process::exit(1);
    }
}

/// What the tool runs for a build script that handed over to it: the same work, in this process.
#[cfg(feature = "engine")]
pub fn build_script() -> ExitCode {
    match here::run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}", error.report());
            ExitCode::FAILURE
        }
    }
}

/// Variables whose change makes cargo run the build script again.
const WATCHED: &[&str] =
    &["MODEL_BUILD", "MODEL_BUILD_PREBUILT_DIR", "MODEL_BUILD_CACHE", "ORT_DYLIB_PATH", "DOCS_RS"];

fn run() -> Result<()> {
    for name in WATCHED {
        println!("cargo::rerun-if-env-changed={name}");
    }
    let prebuilt = cfg!(feature = "engine") && env::path("MODEL_BUILD_PREBUILT_DIR").is_some();
    if !prebuilt && let Some(tool) = tool()? {
        return hand_over(&tool);
    }
    #[cfg(feature = "engine")]
    return here::run();
    #[cfg(not(feature = "engine"))]
    Err(Error::tool("no `model-build` tool was found, and this build script has no engine of its own")
        .hint("name the tool in the variable MODEL_BUILD, put `model-build` of the same version on PATH, or enable the feature `engine` of `model-build` in [build-dependencies]"))
}

/// The tool to hand over to, if there is one.
fn tool() -> Result<Option<PathBuf>> {
    if let Some(named) = env::path("MODEL_BUILD") {
        let ours = env!("CARGO_PKG_VERSION");
        let error = match version_of(&named) {
            Ok(version) if version == ours => {
                // A name without a folder is looked for on PATH and is no file to watch.
                if named.is_absolute() {
                    println!("cargo::rerun-if-changed={}", named.display());
                }
                return Ok(Some(named));
            }
            Ok(version) => Error::tool(format!(
                "the tool that MODEL_BUILD names is version {version}, the library is {ours}"
            ))
            .hint(format!(
                "install the same version of both: cargo install model-build --version {ours} --features cli"
            )),
            Err(why) => Error::tool(format!("the tool that MODEL_BUILD names does not run: {why}"))
                .hint("correct MODEL_BUILD, or unset it to work without a tool"),
        };
        return Err(error.file(named));
    }
    let on_path = Path::new("model-build");
    let same = version_of(on_path).is_ok_and(|v| v == env!("CARGO_PKG_VERSION"));
    Ok(same.then(|| on_path.to_owned()))
}

/// The version a tool says it is of, or why it says none.
fn version_of(tool: &Path) -> Result<String, String> {
    let output = Command::new(tool).arg("--version").output().map_err(|e| e.to_string())?;
    if !output.status.success() {
        return Err(format!("`--version` ended with {}", output.status));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let version = text.strip_prefix("model-build ").map(|v| v.trim().to_owned());
    version.ok_or_else(|| "`--version` does not print a version of model-build".to_owned())
}

fn hand_over(tool: &Path) -> Result<()> {
    let status = Command::new(tool)
        .arg("build-script")
        .status()
        .map_err(|e| Error::tool(format!("cannot start the tool: {e}")).file(tool).caused_by(e))?;
    match status.code() {
        Some(0) => Ok(()),
        // The tool has printed its own error.
        Some(_) => std::process::exit(1),
        None => Err(Error::tool(format!("the tool ended with {status}")).file(tool)),
    }
}

#[cfg(feature = "engine")]
mod here {
    //! The work of a build script in this process.

    use super::{Error, Path, PathBuf, Result, env};
    use crate::cache::{Digest, Store};
    use crate::embed;
    use crate::execute::{self, Event, Report};
    use crate::format::{SourceFiles, onnx};
    use crate::front::prebuilt;
    use crate::fsx;
    use crate::hub::{Blob, blob_len};
    use crate::manifest::{self, Embed, Manifest, TargetEnv};
    use crate::plan::{self, Plan, Sources, Stage};
    use crate::record::{Record, RecordFile};
    use crate::{format, look};

    /// One finished target: its record, and the folder its files are in.
    struct Done {
        model: String,
        target: String,
        format: String,
        embed: Embed,
        record: Record,
        dir: PathBuf,
    }

    pub(super) fn run() -> Result<()> {
        let need = |name: &str| {
            env::path(name).ok_or_else(|| {
                Error::manifest(format!("cargo did not set {name}"))
                    .hint("call model_build::build() from a package's build.rs and run it by cargo")
            })
        };
        let (package, out) = (need("CARGO_MANIFEST_DIR")?, need("OUT_DIR")?);
        let manifest = manifest::load(&package)?;
        rerun(&package.join("Cargo.toml"));
        if manifest.path != package.join("Cargo.toml") {
            rerun(&manifest.path);
        }
        manifest.workspace.iter().for_each(|f| rerun(f));
        let manifest = manifest.select(&TargetEnv::from_build_script()?);
        let docs = env::is_set("DOCS_RS");
        let done = match env::path("MODEL_BUILD_PREBUILT_DIR") {
            Some(dir) => from_prebuilt(&manifest, &dir, &out)?,
            None if docs => unbuilt(&manifest, &out)?,
            None => built(&manifest, &out)?,
        };
        sweep(&out, &done)?;
        if docs {
            let items: Vec<_> = done.iter().map(|d| item(d, files(d), None)).collect();
            return embed::generate_stub(&out, &items);
        }
        for directive in embed::generate(&out, &items(&done)?, &embed::Platform::from_cargo()?)? {
            println!("{directive}");
        }
        Ok(())
    }

    fn rerun(file: &Path) {
        println!("cargo::rerun-if-changed={}", file.display());
    }

    fn rerun_source(files: &SourceFiles) {
        files.names.iter().for_each(|n| rerun(&files.path(n)));
    }

    fn planned(manifest: &Manifest, sources: &Sources) -> Result<Plan> {
        sources.values().for_each(|facts| rerun_source(&facts.files));
        let plan = plan::plan(manifest, sources)?;
        for (_, file) in plan.jobs.iter().flat_map(|j| &j.recipe.others) {
            rerun(file);
        }
        for recipe in plan.jobs.iter().map(|j| &j.recipe) {
            for stage in &recipe.stages {
                if let Stage::Calibrate(spec, ..) = stage {
                    let files = spec.files(&recipe.source.root);
                    files.iter().for_each(|(_, file)| rerun(file));
                }
            }
        }
        for step in plan.jobs.iter().filter_map(|j| j.verify.as_ref()) {
            step.spec.inputs.iter().for_each(|f| rerun(f));
        }
        Ok(plan)
    }

    fn built(manifest: &Manifest, out: &Path) -> Result<Vec<Done>> {
        let (store, warning) = Store::open_or_fallback(None, &out.join("model-build-cache"))?;
        let mut log = Log { large: false };
        let plan = planned(manifest, &execute::look(manifest, &store, &mut log)?)?;
        log.large = large(&plan)?;
        if let Some(warning) = warning {
            log.event(&Event::Warning(&warning));
        }
        let artifacts = execute::execute(&plan, &store, &mut log)?;
        let mut done = Vec::new();
        for (artifact, job) in artifacts.into_iter().zip(&plan.jobs) {
            let dir = placed(out, &job.name());
            fsx::create_dir_all(&dir)?;
            for file in &artifact.record.files {
                store.materialize(&file.digest, &dir.join(&file.name))?;
            }
            done.push(Done {
                model: artifact.model,
                target: artifact.target,
                format: job.recipe.format().to_owned(),
                embed: job.embed,
                record: artifact.record,
                dir,
            });
        }
        Ok(done)
    }

    /// Where the files of a target are put: the generated text includes them from there.
    fn placed(out: &Path, name: &str) -> PathBuf {
        out.join("models").join(name)
    }

    /// Removes the files of targets that are not built any more.
    fn sweep(out: &Path, done: &[Done]) -> Result<()> {
        let models = out.join("models");
        if !fsx::is_dir(&models) {
            return Ok(());
        }
        let gone = |dir: &PathBuf| done.iter().all(|d| d.dir != *dir);
        fsx::list_dir(&models)?.iter().filter(|d| gone(d)).try_for_each(|d| fsx::remove_dir_all(d))
    }

    fn from_prebuilt(manifest: &Manifest, dir: &Path, out: &Path) -> Result<Vec<Done>> {
        let mut done = Vec::new();
        for model in &manifest.models {
            for target in &model.targets {
                let found = prebuilt::read(dir, model, target)?;
                found.source.iter().for_each(rerun_source);
                let name = format!("{}.{}", model.name, target.name);
                rerun(&found.dir.join(prebuilt::RECORD));
                let placed = placed(out, &name);
                fsx::create_dir_all(&placed)?;
                for file in &found.record.files {
                    let (from, to) = (found.dir.join(&file.name), placed.join(&file.name));
                    rerun(&from);
                    // A copy that is good is left alone, so that the compiler does not run again.
                    let good = fsx::same_file(&from, &to)
                        || (fsx::is_file(&to) && prebuilt::digest(&to)? == file.digest);
                    if !good {
                        fsx::link_or_copy(&from, &to)?;
                    }
                }
                for warning in found.warnings {
                    warn(&format!("{name}: {warning}"));
                }
                done.push(Done {
                    model: model.name.clone(),
                    target: target.name.clone(),
                    format: target.format.name.to_owned(),
                    embed: target.embed,
                    record: found.record,
                    dir: placed,
                });
            }
        }
        Ok(done)
    }

    fn items(done: &[Done]) -> Result<Vec<embed::Item<'_>>> {
        done.iter()
            .map(|d| {
                let files = files(d);
                let skeleton = match files.as_slice() {
                    [main] if d.format == "onnx" => {
                        Some(onnx::skeleton(&fsx::map(&main.path)?, embed::SKELETON_LOCATION)?)
                    }
                    _ => None,
                };
                Ok(item(d, files, skeleton))
            })
            .collect()
    }

    fn files(done: &Done) -> Vec<embed::File> {
        let file = |f: &RecordFile| embed::File {
            name: f.name.clone(),
            path: done.dir.join(&f.name),
            len: f.len,
            digest: f.digest.to_string(),
        };
        done.record.files.iter().map(file).collect()
    }

    fn item<'a>(
        done: &'a Done,
        files: Vec<embed::File>,
        skeleton: Option<Vec<u8>>,
    ) -> embed::Item<'a> {
        let tool = format!("model-build {}", env!("CARGO_PKG_VERSION"));
        embed::Item {
            model: &done.model,
            target: &done.target,
            format: &done.format,
            mode: match done.embed {
                Embed::Auto => embed::Mode::Auto,
                Embed::Binary => embed::Mode::Binary,
                Embed::File => embed::Mode::File,
            },
            files,
            info: &done.record.info,
            metadata: vec![("tool".to_owned(), tool)],
            skeleton,
        }
    }

    /// The targets as they would be written, without computing a weight: for documentation builds,
    /// which need the loaders' types. Nothing knows the digests.
    fn unbuilt(manifest: &Manifest, out: &Path) -> Result<Vec<Done>> {
        let plan = planned(manifest, &look::all(manifest, &mut format::named)?)?;
        let mut done = Vec::new();
        for job in &plan.jobs {
            let (blobs, info) = execute::lay_out(&job.recipe, &[])
                .map_err(|e| e.target(&job.model, &job.target))?;
            let file = |blob: &Blob| RecordFile {
                name: blob.name.clone(),
                digest: Digest::of(b""),
                len: blob_len(&blob.segments),
            };
            let record = Record {
                step: "convert".to_owned(),
                ingredients: Vec::new(),
                files: blobs.iter().map(file).collect(),
                info,
            };
            done.push(Done {
                model: job.model.clone(),
                target: job.target.clone(),
                format: job.recipe.format().to_owned(),
                embed: job.embed,
                record,
                dir: out.to_owned(),
            });
        }
        Ok(done)
    }

    /// Bytes of source files from which on an unoptimized build is worth a warning.
    const LARGE: u64 = 64 << 20;

    fn large(plan: &Plan) -> Result<bool> {
        let mut bytes = 0u64;
        for job in &plan.jobs {
            for name in &job.recipe.source.names {
                bytes = bytes.saturating_add(fsx::stat(&job.recipe.source.path(name))?.len);
            }
        }
        Ok(bytes >= LARGE)
    }

    /// Shows a warning, which cargo takes as one line.
    fn warn(text: &str) {
        println!("cargo::warning={}", text.replace('\n', " "));
    }

    /// Shows a build script's events: warnings to the user, the rest where `cargo build -vv` shows it.
    struct Log {
        large: bool,
    }

    impl Report for Log {
        fn event(&mut self, event: &Event<'_>) {
            match event {
                Event::Warning(text) => warn(text),
                Event::Hashed { path, bytes } => {
                    eprintln!("read: {} ({bytes} bytes)", path.display());
                }
                Event::Started { job, step, summary, .. } => {
                    eprintln!("{job}: {step}: {summary}");
                    if self.large && env!("MODEL_BUILD_OPT_LEVEL") == "0" {
                        self.large = false;
                        warn(
                            "model-build is compiled without optimization and the model is large; \
                             put this into the workspace's Cargo.toml: [profile.dev.build-override] opt-level = 2 \
                             and [profile.release.build-override] opt-level = 2",
                        );
                    }
                }
                Event::Reused { job, step, .. } => eprintln!("{job}: {step}: fresh"),
                Event::Waiting { job, step } => {
                    eprintln!("{job}: {step}: waiting for another process that makes it");
                }
                _ => {}
            }
        }
    }
}
