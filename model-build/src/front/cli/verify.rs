//! `model-build verify`: how far a model is from its reference.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::Context;
use super::flags::VerifyFlags;
use super::report::nice;
use super::text::{self, accuracy, layers};
use crate::cache::Store;
use crate::error::{Error, Result};
use crate::execute::{self, Event};
use crate::format::{self, HubKind, onnx};
use crate::look;
use crate::manifest;
use crate::plan::{self, Plan};
use crate::verify::{self, Pair};

/// How many layers people are shown.
const MOST_LAYERS: usize = 10;

#[derive(clap::Args)]
pub(super) struct Args {
    /// What to compare with: an ONNX file, or the folder of a checkpoint
    reference: PathBuf,
    /// What to measure: an ONNX file with the same inputs and outputs
    artifact: PathBuf,
    /// Show which values of the graphs differ, and the ten that add the most error
    #[arg(long)]
    layers: bool,
    /// Measure latency and peak memory of both
    #[arg(long)]
    time: bool,
    /// How many runs of each `--time` measures
    #[arg(long, value_name = "N", default_value_t = 50, requires = "time", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    runs: u32,
    /// How many threads each model gets in `--time`
    #[arg(long, value_name = "N", default_value_t = 1, requires = "time", value_parser = clap::value_parser!(u32).range(1..=1024))]
    threads: u32,
    #[command(flatten)]
    verify: VerifyFlags,
}

pub(super) fn run(args: &Args, context: &mut Context) -> Result<()> {
    let mut given = vec![("format", onnx::ONNX.name)];
    given.extend(args.verify.given());
    if given.len() == 1 {
        given.push(("verify", "{}"));
    }
    let target = manifest::target_from_flags("verify", &given)?;
    let spec = target.verify.ok_or_else(|| Error::bug("flags of `verify` gave no table"))?;
    let resolved = format::resolve(&args.artifact)?;
    if resolved.format.name != onnx::ONNX.name {
        return Err(not_run(resolved.format.name)
            .file(&args.artifact)
            .hint("convert it first: `model-build convert SRC DST.onnx`"));
    }
    let artifact = paths(&resolved.files);
    let store;
    let unfolded;
    let facts = look::facts(&args.reference)?;
    let reference = if facts.format.name == onnx::ONNX.name {
        paths(&facts.files)
    } else if facts.format.holds != HubKind::Graph {
        store = context.store()?;
        unfolded = lowered(&args.reference, &store, context)?;
        unfolded.files().to_vec()
    } else {
        return Err(not_run(facts.format.name)
            .file(&args.reference)
            .hint("name an ONNX file or the folder of a checkpoint"));
    };
    let measured = execute::measure(&spec, &reference, &artifact)?;
    let bounds = execute::bounds(&spec);
    if context.ui.json() {
        let job = args.artifact.to_string_lossy();
        context.ui.measured(&Event::Measured { job: &job, measured: &measured, bounds: &bounds });
    } else {
        let (head, rows) = accuracy(&measured, &bounds, context.ui.verbose());
        context.ui.text(&format!("{rows}{head}"));
    }
    if args.layers {
        let found = execute::layers(&spec, &reference, &artifact, &mut |done, total| {
            context.ui.working("Comparing", &format!("{done} of {total} values"));
        })?;
        context.ui.result(&layers(&found, MOST_LAYERS), "layers", &json!({ "layers": found }));
    }
    if args.time {
        let pair = Pair { threads: args.threads, ..execute::pair(&spec, &reference, &artifact) };
        let costs = super::cost::costs(&pair, args.runs)?;
        context.ui.result(&text::costs(&costs), "timed", &json!({ "costs": costs }));
    }
    for warning in verify::check(&measured, &bounds).map_err(|e| e.file(nice(&args.artifact)))? {
        context.ui.warning(&warning);
    }
    Ok(())
}

fn not_run(format: &str) -> Error {
    Error::unsupported(format!("accuracy is measured on ONNX files, and this is {format}"))
}

fn paths(files: &format::SourceFiles) -> Vec<(String, PathBuf)> {
    files.names.iter().map(|name| (name.clone(), files.path(name))).collect()
}

/// The graph of a checkpoint at full precision, from the cache or made for it.
fn lowered<'s>(
    checkpoint: &Path,
    store: &'s Store,
    context: &mut Context,
) -> Result<crate::cache::Unfolded<'s>> {
    let target = manifest::target_from_flags("reference", &[("format", onnx::ONNX.name)])?;
    let mut facts = look::facts(checkpoint)?;
    look::architecture(&mut facts, &target)?;
    let mut job = plan::job(&nice(checkpoint), &target, &facts)?;
    job.target = String::new();
    let plan = Plan { manifest: checkpoint.to_owned(), jobs: vec![job] };
    let made = execute::execute(&plan, store, &mut context.ui)?.pop();
    store.unfold(&made.ok_or_else(|| Error::bug("no artifact came of one job"))?.record)
}
