//! What running models costs, measured by this tool: times in this process, peak memory in a process
//! of its own for each model.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde::{Deserialize, Serialize};

use super::Context;
use crate::error::{Error, Result};
use crate::run::{Files, RunnerChoice};
use crate::verify::{self, Costs, InputSpec, Pair, Side};

/// The hidden subcommand: prints by how many bytes loading and running a model raises the peak of
/// resident memory, or `unknown`.
#[derive(clap::Args)]
pub(super) struct Args {
    /// What to run, as JSON
    request: String,
}

/// Times and peak memory of two models.
pub(super) fn costs(pair: &Pair, runs: u32) -> Result<Costs> {
    let mut costs = verify::time(pair, runs)?;
    costs.reference.peak_bytes = peak_elsewhere(pair, Side::Reference)?;
    costs.artifact.peak_bytes = peak_elsewhere(pair, Side::Artifact)?;
    Ok(costs)
}

pub(super) fn run(args: &Args, context: &mut Context) -> Result<()> {
    let request: Request = serde_json::from_str(&args.request)
        .map_err(|e| Error::manifest(format!("not a request: {e}")))?;
    let side = if request.of_artifact { Side::Artifact } else { Side::Reference };
    let peak = verify::peak(&request.pair(), side)?;
    context.ui.text(&peak.map_or_else(|| "unknown".to_owned(), |bytes| bytes.to_string()));
    Ok(())
}

#[derive(Serialize, Deserialize)]
struct Request {
    runner: String,
    reference: Vec<(String, PathBuf)>,
    artifact: Vec<(String, PathBuf)>,
    inputs: Option<PathBuf>,
    samples: u32,
    seed: u64,
    labels: Option<String>,
    threads: u32,
    of_artifact: bool,
}

impl Request {
    fn of(pair: &Pair, side: Side) -> Self {
        let (inputs, samples, seed) = match &pair.inputs {
            InputSpec::File(path) => (Some(path.clone()), 0, 0),
            InputSpec::Synthetic { samples, seed } => (None, *samples, *seed),
        };
        let runner = match pair.choice {
            RunnerChoice::Auto => "auto",
            RunnerChoice::OnnxRuntime => "onnxruntime",
            RunnerChoice::Rten => "rten",
        };
        Self {
            runner: runner.to_owned(),
            reference: pair.reference.files.clone(),
            artifact: pair.artifact.files.clone(),
            inputs,
            samples,
            seed,
            labels: pair.labels.clone(),
            threads: pair.threads,
            of_artifact: side == Side::Artifact,
        }
    }

    fn pair(self) -> Pair {
        Pair {
            choice: match self.runner.as_str() {
                "onnxruntime" => RunnerChoice::OnnxRuntime,
                "rten" => RunnerChoice::Rten,
                _ => RunnerChoice::Auto,
            },
            reference: Files { files: self.reference },
            artifact: Files { files: self.artifact },
            inputs: match self.inputs {
                Some(path) => InputSpec::File(path),
                None => InputSpec::Synthetic { samples: self.samples, seed: self.seed },
            },
            labels: self.labels,
            threads: self.threads,
        }
    }
}

/// [`verify::peak`] in a process of its own; `None` too where that cannot be started.
fn peak_elsewhere(pair: &Pair, side: Side) -> Result<Option<u64>> {
    let request = serde_json::to_string(&Request::of(pair, side))
        .map_err(|e| Error::bug("a request cannot be written as JSON").caused_by(e))?;
    let Ok(tool) = std::env::current_exe() else { return Ok(None) };
    let output = Command::new(&tool)
        .args(["--quiet", super::PEAK_MEMORY, &request])
        .output()
        .map_err(|e| Error::io("start", Path::new(&tool), e))?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr);
        let why = why.lines().next().unwrap_or("it does not say why").to_owned();
        return Err(Error::tool(format!("peak memory cannot be measured: {why}")));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().parse().ok())
}
