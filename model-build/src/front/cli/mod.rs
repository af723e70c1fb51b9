//! The tool `model-build`: one file per subcommand.

mod build;
mod cache;
mod convert;
mod cost;
mod docs;
mod doctor;
mod flags;
mod init;
mod inspect;
mod json;
mod page;
mod plan;
mod report;
mod select;
mod text;
mod verify;
mod why;

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};

use crate::cache::Store;
use crate::error::{Error, ErrorKind, Result};
use crate::fsx;
use report::Ui;
use select::Selection;

pub use docs::docs;

/// Convert, quantize, verify and embed machine-learning models as part of the build.
#[derive(Parser)]
#[command(name = "model-build", version, max_term_width = 100)]
#[command(after_help = exit_codes())]
struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    global: Global,
}

#[derive(clap::Args)]
#[command(next_help_heading = "Global options")]
struct Global {
    /// Print no progress, only results, warnings and errors
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    quiet: bool,
    /// Print more: keys, what is read, what is found in the cache
    #[arg(short, long, global = true)]
    verbose: bool,
    /// When to use colours; `auto` follows the terminal and NO_COLOR
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto, hide_possible_values = true, value_name = "auto|always|never")]
    color: Color,
    /// For people, or one JSON object a line on standard output
    #[arg(long, global = true, value_enum, default_value_t = MessageFormat::Human, hide_possible_values = true, value_name = "human|json")]
    message_format: MessageFormat,
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
    /// Build the targets that a manifest declares
    Build(build::Args),
    /// Convert one model, without a manifest
    Convert(Box<convert::Args>),
    /// Show what a build would do, and what of it is in the cache
    Plan(plan::Args),
    /// Show what a model file or folder holds
    Inspect(inspect::Args),
    /// Measure how far a model is from its reference
    Verify(verify::Args),
    /// Write what a build made and how good it is as one HTML file
    Report(page::Args),
    /// Say why targets were, or will be, built again
    Why(why::Args),
    /// Look after the cache
    Cache(cache::Args),
    /// Check what this machine offers, and say what to do about the rest
    Doctor,
    /// Declare a model in the manifest of the current folder
    Init(init::Args),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page, or write one page per subcommand into a folder
    Man {
        /// The folder
        dir: Option<PathBuf>,
    },
    /// Measure the memory that one model takes (called by `verify --time`)
    #[command(hide = true, name = PEAK_MEMORY)]
    PeakMemory(cost::Args),
    /// Do the work of a build script (called by `model_build::build()`)
    #[command(hide = true)]
    BuildScript,
}

/// The hidden subcommand that measures memory.
const PEAK_MEMORY: &str = "peak-memory";

/// Every exit code that stands for a class of errors, and what it means.
const EXIT_CODES: &[(ErrorKind, &str)] = &[
    (ErrorKind::Manifest, "wrong command line or manifest"),
    (ErrorKind::Source, "a file is missing"),
    (ErrorKind::Malformed, "a file breaks the rules of its format"),
    (ErrorKind::Unsupported, "not supported by this version"),
    (ErrorKind::Accuracy, "an output misses a bound of the accuracy check"),
    (ErrorKind::Tool, "an external program or library failed or is missing"),
    (ErrorKind::Io, "the file system, the disk or the cache failed"),
    (ErrorKind::Bug, "a defect of model-build"),
];

fn exit_codes() -> String {
    let mut text = "Exit codes:\n   0  success\n".to_owned();
    for (kind, meaning) in EXIT_CODES {
        text.push_str(&format!("  {:>2}  {meaning}\n", kind.exit_code()));
    }
    text
}

/// What every subcommand gets.
struct Context {
    ui: Ui,
    /// Whether excerpts in errors carry colours; they are taken out where none are wanted.
    color: bool,
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

/// The tool: reads the command line, runs a subcommand, prints an error if there is one, and gives
/// the exit code.
pub fn main() -> ExitCode {
    let mut args: Vec<OsString> = std::env::args_os().collect();
    // `cargo model-build …` calls `cargo-model-build model-build …`.
    let program = args.first().and_then(|a| Path::new(a).file_stem().map(ToOwned::to_owned));
    let by_cargo = program.is_some_and(|name| name == "cargo-model-build");
    let mut command = Cli::command();
    if by_cargo {
        if args.get(1).is_some_and(|a| a == "model-build") {
            args.remove(1);
        }
        command = command.bin_name("cargo model-build");
    }
    let cli = match command.try_get_matches_from(args).and_then(|m| Cli::from_arg_matches(&m)) {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print(); // help for a reader that went away
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
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
        color: !json,
        cache_dir: cli.global.cache_dir,
    };
    match run(cli.command, &mut context).and_then(|()| context.ui.finish()) {
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
        Command::Report(args) => page::run(&args, context),
        Command::Why(args) => why::run(&args, context),
        Command::Cache(args) => cache::run(&args, context),
        Command::Doctor => doctor::run(context),
        Command::Init(args) => init::run(&args, context),
        Command::Completions { shell } => print(&completions(shell)),
        Command::Man { dir } => man(dir.as_deref()),
        Command::PeakMemory(args) => cost::run(&args, context),
        Command::BuildScript => Err(Error::bug("a build script's work is done before")),
    }
}

fn completions(shell: clap_complete::Shell) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "model-build", &mut script);
    script
}

fn man(dir: Option<&Path>) -> Result<()> {
    let Some(dir) = dir else {
        let mut page = Vec::new();
        let rendered = clap_mangen::Man::new(Cli::command()).render(&mut page);
        rendered.map_err(|e| Error::io("write the manual", Path::new("memory"), e))?;
        return print(&page);
    };
    fsx::create_dir_all(dir)?;
    clap_mangen::generate_to(Cli::command(), dir).map_err(|e| Error::io("write the manual", dir, e))
}

/// Bytes to standard output; a reader that went away is no error.
fn print(bytes: &[u8]) -> Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Error::io("write", Path::new("standard output"), e))
        }
        _ => Ok(()),
    }
}
