//! `model-build report`: what a build made and how good it is, as one HTML file.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::report::nice;
use super::text::size;
use super::{Context, Selection, cost};
use crate::cache::Store;
use crate::error::{Error, Result};
use crate::execute::{self, Artifact, Gate};
use crate::fsx;
use crate::manifest::Manifest;
use crate::plan::{self, Job, Plan};
use crate::report::{self, Entry, Page};
use crate::verify::{self, Pair};

#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    selection: Selection,
    /// The file to write
    #[arg(short, long, value_name = "FILE", default_value = "model-report.html")]
    output: PathBuf,
    /// Leave out the error by layer, which runs every graph that is checked once more
    #[arg(long)]
    no_layers: bool,
    /// Measure latency and peak memory of artifacts that are checked; the report then differs from
    /// one time to the next
    #[arg(long)]
    time: bool,
    /// How many runs of each model `--time` measures
    #[arg(long, value_name = "N", default_value_t = 50, requires = "time", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    runs: u32,
    /// How many threads each model gets in `--time`
    #[arg(long, value_name = "N", default_value_t = 1, requires = "time", value_parser = clap::value_parser!(u32).range(1..=1024))]
    threads: u32,
}

/// What a report has beside what a build knows.
pub(super) struct Extras {
    /// Whether the graphs are compared value by value.
    pub(super) layers: bool,
    /// Timed runs and threads.
    pub(super) time: Option<(u32, u32)>,
}

pub(super) fn run(args: &Args, context: &mut Context) -> Result<()> {
    let store = context.store()?;
    let manifests = args.selection.manifests(context)?;
    let mut built = Vec::new();
    for manifest in &manifests {
        let plan = plan::plan(manifest, &execute::look(manifest, &store, &mut context.ui)?)?;
        let artifacts = execute::execute_with(&plan, &store, Gate::Open, &mut context.ui)?;
        built.push((plan, artifacts));
    }
    let extras =
        Extras { layers: !args.no_layers, time: args.time.then_some((args.runs, args.threads)) };
    write(&args.output, &manifests, &built, &extras, &store, context)?;
    held(&built)
}

/// Writes the report of what was built.
///
/// # Errors
/// A model cannot be read or run, the file cannot be written, or there is nothing to report.
pub(super) fn write(
    to: &Path,
    manifests: &[Manifest],
    built: &[(Plan, Vec<Artifact>)],
    extras: &Extras,
    store: &Store,
    context: &mut Context,
) -> Result<()> {
    if fsx::is_dir(to) {
        return Err(Error::manifest("the report is a file, and this is a folder")
            .file(to)
            .hint(format!("give a file name too: {}", nice(&to.join("model-report.html")))));
    }
    let mut entries = Vec::new();
    for (plan, artifacts) in built {
        for (job, artifact) in plan.jobs.iter().zip(artifacts) {
            let named = |e: Error| e.target(&job.model, &job.target);
            entries.push(entry(job, artifact, extras, store, context).map_err(named)?);
        }
    }
    if entries.is_empty() {
        context.ui.warning("no target is for this platform (see `when`), and the report is empty");
    }
    let text = report::html(&Page { title: title(manifests), entries });
    fsx::write_atomic(to, text.as_bytes())?;
    context.ui.status("Reported", &format!("{} ({})", nice(to), size(text.len() as u64)));
    let fields = json!({ "path": to.to_string_lossy(), "bytes": text.len() });
    context.ui.result("", "reported", &fields);
    Ok(())
}

/// Holds the bounds of everything that was built with the gate open.
pub(super) fn held(built: &[(Plan, Vec<Artifact>)]) -> Result<()> {
    for (job, artifact) in built.iter().flat_map(|(plan, all)| plan.jobs.iter().zip(all)) {
        if let (Some(step), Some(measured)) = (&job.verify, &artifact.measured) {
            verify::check(measured, &execute::bounds(&step.spec))
                .map_err(|e| e.target(&job.model, &job.target))?;
        }
    }
    Ok(())
}

/// The names of the folders that the manifests lie in.
fn title(manifests: &[Manifest]) -> String {
    let name = |m: &Manifest| {
        let path = execute::absolute(&m.path);
        let folder = if fsx::is_dir(&path) { Some(path.as_path()) } else { path.parent() };
        folder.and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned())
    };
    let names: Vec<String> = manifests.iter().filter_map(name).collect();
    if names.is_empty() { "models".to_owned() } else { names.join(", ") }
}

fn entry(
    job: &Job,
    artifact: &Artifact,
    extras: &Extras,
    store: &Store,
    context: &mut Context,
) -> Result<Entry> {
    let mut entry = report::gather(job, artifact, store, &mut context.ui)?;
    let Some(step) = job.verify.as_ref().filter(|_| extras.layers || extras.time.is_some()) else {
        return Ok(entry);
    };
    let reference = execute::reference(job, store, &mut context.ui)?
        .ok_or_else(|| Error::bug("a check without a reference"))?;
    let (reference, made) = (store.unfold(&reference)?, store.unfold(&artifact.record)?);
    if extras.layers {
        let mut progress = |done, total| {
            let text = format!("{}: {done} of {total} values", job.name());
            context.ui.working("Comparing", &text);
        };
        let found = execute::layers(&step.spec, reference.files(), made.files(), &mut progress)?;
        entry.layers = Some(found);
    }
    if let Some((runs, threads)) = extras.time {
        context.ui.working("Timing", &job.name());
        let pair = execute::pair(&step.spec, reference.files(), made.files());
        entry.costs = Some(cost::costs(&Pair { threads, ..pair }, runs)?);
    }
    Ok(entry)
}
