//! The tool `model-build`: one file per subcommand.

mod build;
mod cache;
mod convert;
mod doctor;
mod init;
mod inspect;
mod plan;
mod report;
mod verify;
mod why;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command as Process, ExitCode};

use clap::{CommandFactory, Parser, Subcommand, ValueEnum};

use crate::cache::Store;
use crate::env;
use crate::error::{Error, Result};
use crate::manifest::{self, Manifest, TargetEnv};
use report::Ui;

/// Convert, quantize, verify and embed machine-learning models as part of the build.
#[derive(Parser)]
#[command(name = "model-build", bin_name = "model-build", version, propagate_version = true)]
#[command(
    after_help = "Exit codes: 0 success, 2 command line or manifest, 3 source missing, 4 source malformed, \
5 not supported, 6 accuracy below a bound, 7 external tool, 8 file system, 70 defect of model-build."
)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Args)]
struct Global {
    /// How messages are printed: for people, or one JSON object a line on standard output
    #[arg(long, global = true, value_enum, default_value_t = MessageFormat::Human)]
    message_format: MessageFormat,
    /// Print errors only
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    quiet: bool,
    /// Print more: keys, stages, every file
    #[arg(short, long, global = true)]
    verbose: bool,
    /// When to use colours; `auto` honours NO_COLOR
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto)]
    color: Color,
    /// The cache folder [default: MODEL_BUILD_CACHE, else the platform's cache folder]
    #[arg(long, global = true, value_name = "DIR")]
    cache_dir: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum MessageFormat {
    Human,
    Json,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Color {
    Auto,
    Always,
    Never,
}

#[derive(Subcommand)]
enum Command {
    /// Build the targets a manifest declares
    Build(build::Args),
    /// Convert one model, without a manifest
    Convert(convert::Args),
    /// Show what a build would do, and what of it is cached
    Plan(plan::Args),
    /// Show what a model file or folder holds
    Inspect(inspect::Args),
    /// Measure how far an artifact is from its reference
    Verify(verify::Args),
    /// Say why a target was or will be built again
    Why(why::Args),
    /// Look after the cache
    Cache(cache::Args),
    /// Check what this machine offers, and say what to do about the rest
    Doctor,
    /// Declare a model in the manifest of the current folder
    Init(init::Args),
    /// Print a completion script
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page, or write one page per subcommand into a folder
    Man {
        /// The folder
        dir: Option<PathBuf>,
    },
    /// Do the work of a build script (called by `model_build::build()`)
    #[command(hide = true)]
    BuildScript,
}

/// What every subcommand gets.
struct Context {
    ui: Ui,
    cache_dir: Option<PathBuf>,
}

impl Context {
    fn store(&self) -> Result<Store> {
        match &self.cache_dir {
            Some(dir) => Store::open(dir),
            None => Store::open(&crate::cache::default_root()?),
        }
    }
}

/// Which manifest and which of its targets.
#[derive(clap::Args)]
struct Selection {
    /// Path of a Cargo.toml or models.toml, or of their folder [default: found upwards from here]
    #[arg(long, value_name = "PATH")]
    manifest_path: Option<PathBuf>,
    /// The platform `when` is evaluated for [default: this machine's]
    #[arg(long, value_name = "TRIPLE")]
    target: Option<String>,
    /// Only these: MODEL or MODEL.TARGET
    #[arg(value_name = "MODEL[.TARGET]")]
    only: Vec<String>,
}

impl Selection {
    fn manifests(&self) -> Result<Vec<Manifest>> {
        let start = match &self.manifest_path {
            Some(path) => path.clone(),
            None => find_upwards()?,
        };
        let platform = TargetEnv::query(self.target.as_deref())?;
        let mut manifests: Vec<Manifest> = members(&start)?
            .iter()
            .map(|p| manifest::load(p).map(|m| m.select(&platform)))
            .collect::<Result<_>>()?;
        if !self.only.is_empty() {
            narrow(&mut manifests, &self.only)?;
        }
        Ok(manifests)
    }
}

/// The manifest file of the current folder or the nearest one above.
fn find_upwards() -> Result<PathBuf> {
    let here = crate::fsx::canonicalize(Path::new("."))?;
    here.ancestors()
        .flat_map(|dir| [dir.join("models.toml"), dir.join("Cargo.toml")])
        .find(|p| crate::fsx::is_file(p))
        .ok_or_else(|| {
            Error::manifest("no Cargo.toml or models.toml here or above")
                .file(here)
                .hint("run `model-build init --source PATH`, or pass --manifest-path")
        })
}

/// The manifests a path stands for: for the Cargo.toml of a workspace, those of all members that
/// declare models.
fn members(start: &Path) -> Result<Vec<PathBuf>> {
    let file = if crate::fsx::is_dir(start) {
        let own = start.join("models.toml");
        if crate::fsx::is_file(&own) { own } else { start.join("Cargo.toml") }
    } else {
        start.to_owned()
    };
    let text = crate::fsx::read_text(&file, LONGEST_MANIFEST)?;
    if file.file_name().is_some_and(|n| n == "models.toml") || !is_workspace(&text) {
        return Ok(vec![file]);
    }
    let metadata = cargo_metadata::MetadataCommand::new()
        .manifest_path(&file)
        .no_deps()
        .other_options(vec!["--offline".to_owned()])
        .exec()
        .map_err(|e| Error::manifest(format!("cargo metadata failed: {e}")).file(&file))?;
    let declares = |p: &cargo_metadata::Package| p.metadata.get("models").is_some();
    let mut found: Vec<PathBuf> = metadata
        .workspace_packages()
        .into_iter()
        .filter(|p| declares(p))
        .map(|p| p.manifest_path.clone().into_std_path_buf())
        .collect();
    found.sort();
    if found.is_empty() {
        return Ok(vec![file]);
    }
    Ok(found)
}

/// No manifest is longer.
const LONGEST_MANIFEST: u64 = 16 << 20;

fn is_workspace(text: &str) -> bool {
    toml::de::DeTable::parse(text).is_ok_and(|t| t.get_ref().get("workspace").is_some())
}

/// Keeps the models and targets that are named.
fn narrow(manifests: &mut [Manifest], only: &[String]) -> Result<()> {
    for wanted in only {
        let known: Vec<String> = manifests
            .iter()
            .flat_map(|m| &m.models)
            .flat_map(|m| {
                let name = m.name.clone();
                m.targets.iter().map(move |t| format!("{name}.{}", t.name)).chain([m.name.clone()])
            })
            .collect();
        if !known.contains(wanted) {
            let error = Error::manifest(format!(
                "no model or target `{wanted}` is declared for this platform"
            ));
            return Err(match crate::error::nearest(wanted, known.iter().map(String::as_str)) {
                Some(near) => error.hint(format!("did you mean `{near}`?")),
                None => error.hint(format!("declared are: {}", known.join(", "))),
            });
        }
    }
    for manifest in manifests {
        for model in &mut manifest.models {
            let name = model.name.clone();
            model
                .targets
                .retain(|t| only.iter().any(|o| *o == name || *o == format!("{name}.{}", t.name)));
        }
        manifest.models.retain(|m| !m.targets.is_empty());
    }
    Ok(())
}

/// The tool: reads the command line, runs a subcommand, prints an error if there is one, and gives
/// the exit code.
pub fn main() -> ExitCode {
    let mut args: Vec<OsString> = std::env::args_os().collect();
    // `cargo model-build …` calls `cargo-model-build model-build …`.
    let by_cargo = args
        .first()
        .is_some_and(|a| Path::new(a).file_stem().is_some_and(|s| s == "cargo-model-build"));
    if by_cargo && args.get(1).is_some_and(|a| a == "model-build") {
        args.remove(1);
    }
    let cli = Cli::parse_from(args);
    if matches!(cli.command, Command::BuildScript) {
        return crate::front::cargo::build_script();
    }
    let color = match cli.global.color {
        Color::Always => anstream::ColorChoice::Always,
        Color::Never => anstream::ColorChoice::Never,
        Color::Auto => anstream::ColorChoice::Auto,
    };
    color.write_global();
    let json = cli.global.message_format == MessageFormat::Json;
    let mut context = Context {
        ui: Ui::new(json, cli.global.quiet, cli.global.verbose),
        cache_dir: cli.global.cache_dir,
    };
    match run(cli.command, &mut context) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            context.ui.error(&error);
            ExitCode::from(error.kind().exit_code())
        }
    }
}

fn run(command: Command, context: &mut Context) -> Result<()> {
    match command {
        Command::Build(args) => build::run(&args, context),
        Command::Convert(args) => convert::run(&args, context),
        Command::Plan(args) => plan::run(&args, context),
        Command::Inspect(args) => inspect::run(&args, context),
        Command::Verify(args) => verify::run(&args, context),
        Command::Why(args) => why::run(&args, context),
        Command::Cache(args) => cache::run(&args, context),
        Command::Doctor => {
            doctor::run(context);
            Ok(())
        }
        Command::Init(args) => init::run(&args, context),
        Command::Completions { shell } => {
            clap_complete::generate(
                shell,
                &mut Cli::command(),
                "model-build",
                &mut std::io::stdout(),
            );
            Ok(())
        }
        Command::Man { dir } => man(dir.as_deref()),
        Command::BuildScript => Err(Error::bug("handled above")),
    }
}

fn man(dir: Option<&Path>) -> Result<()> {
    let failed = |e| Error::io("write the manual", Path::new("-"), e);
    match dir {
        None => {
            clap_mangen::Man::new(Cli::command()).render(&mut std::io::stdout()).map_err(failed)
        }
        Some(dir) => {
            crate::fsx::create_dir_all(dir)?;
            clap_mangen::generate_to(Cli::command(), dir).map_err(failed)
        }
    }
}

/// Whether a program can be started, and the first line it prints for `--version` (or `flag`).
fn probe(program: &str, flag: &str) -> Option<String> {
    let output = Process::new(program).arg(flag).output().ok()?;
    let text = if output.stdout.is_empty() { output.stderr } else { output.stdout };
    Some(String::from_utf8_lossy(&text).lines().next().unwrap_or_default().to_owned())
}

/// The variable's text for messages: its value or `not set`.
fn shown(variable: &str) -> String {
    env::var(variable).unwrap_or_else(|| "not set".to_owned())
}
