//! `model-build build`: the targets that manifests declare, into the store and, if asked, a folder.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde_json::{Value as Json, json};

use super::page::{self, Extras};
use super::report::{nice, short};
use super::text::{count, size, table, time};
use super::{Context, Selection};
use crate::cache::Store;
use crate::error::{Error, Result};
use crate::execute::{self, Artifact, Gate};
use crate::front::prebuilt;
use crate::plan::{self, Plan};
use crate::record::RecordFile;

#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    selection: Selection,
    /// Also put the artifacts into this folder, each in a folder MODEL.TARGET with its record: what
    /// the variable MODEL_BUILD_PREBUILT_DIR of a build script wants
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Also write a report into this file, as `model-build report` does; where a bound of an accuracy
    /// check is missed, before the command fails
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

pub(super) fn run(args: &Args, context: &mut Context) -> Result<()> {
    let start = Instant::now();
    let store = context.store()?;
    let manifests = args.selection.manifests(context)?;
    let mut plans = Vec::new();
    for manifest in &manifests {
        plans.push(plan::plan(manifest, &execute::look(manifest, &store, &mut context.ui)?)?);
    }
    if args.out.is_some() {
        check_distinct(&plans)?;
    }
    let gate = if args.report.is_some() { Gate::Open } else { Gate::Closed };
    let mut built = Vec::new();
    for plan in plans {
        if manifests.len() > 1 && !plan.jobs.is_empty() {
            context.ui.status("Manifest", &nice(&plan.manifest));
        }
        let artifacts = execute::execute_with(&plan, &store, gate, &mut context.ui)?;
        if let (Some(dir), Gate::Closed) = (&args.out, gate) {
            prebuilt::write(dir, &artifacts, &store)?;
        }
        built.push((plan, artifacts));
    }
    if let Some(to) = &args.report {
        let extras = Extras { layers: true, time: None };
        page::write(to, &manifests, &built, &extras, &store, context)?;
        page::held(&built)?;
        for (dir, (_, artifacts)) in
            args.out.iter().flat_map(|dir| built.iter().map(move |b| (dir, b)))
        {
            prebuilt::write(dir, artifacts, &store)?;
        }
    }
    let (mut rows, mut objects) = (Vec::new(), Vec::new());
    for (plan, artifacts) in &built {
        for artifact in artifacts {
            let place = args.out.as_deref().map(|dir| dir.join(folder(artifact)));
            rows.push(row(artifact, place.as_deref()));
            objects.push(json!({
                "model": artifact.model, "target": artifact.target,
                "manifest": plan.manifest.to_string_lossy(), "key": artifact.key.to_string(),
                "files": files(&artifact.record.files, place.as_deref(), &store),
            }));
        }
    }
    match rows.len() {
        0 => context.ui.warning("nothing to do: no target is for this platform (see `when`)"),
        all => {
            let fresh = all.saturating_sub(context.ui.made());
            let fresh = if fresh == all { "all".to_owned() } else { fresh.to_string() };
            let targets = count(all as u64, "target");
            let took = time(start.elapsed());
            context.ui.status("Finished", &format!("{targets} ({fresh} fresh) in {took}"));
        }
    }
    let dir = args.out.as_ref().map(|dir| dir.to_string_lossy());
    context.ui.result(&table(&rows), "built", &json!({ "artifacts": objects, "dir": dir }));
    Ok(())
}

fn folder(artifact: &Artifact) -> String {
    format!("{}.{}", artifact.model, artifact.target)
}

/// One folder cannot hold two artifacts of one name.
fn check_distinct(plans: &[Plan]) -> Result<()> {
    let mut seen: BTreeMap<String, &Path> = BTreeMap::new();
    for plan in plans {
        for job in &plan.jobs {
            if let Some(other) = seen.insert(job.name(), &plan.manifest) {
                return Err(Error::manifest(format!(
                    "two packages declare `{}`, and one folder cannot hold both",
                    job.name()
                ))
                .file(&plan.manifest)
                .item(nice(other))
                .hint("build one package at a time, with `--package` and another `--out`"));
            }
        }
    }
    Ok(())
}

/// The files of an artifact for machines; `dir` is where they were put, else they are in the store.
pub(super) fn files(files: &[RecordFile], dir: Option<&Path>, store: &Store) -> Vec<Json> {
    let place = |f: &RecordFile| match dir {
        Some(dir) => dir.join(&f.name),
        None => store.object_path(&f.digest),
    };
    files
        .iter()
        .map(|f| {
            json!({
                "name": f.name, "digest": f.digest.to_string(), "len": f.len,
                "path": place(f).to_string_lossy(),
            })
        })
        .collect()
}

fn row(artifact: &Artifact, dir: Option<&Path>) -> Vec<String> {
    let bytes = artifact.record.files.iter().map(|f| f.len).sum();
    let main = artifact.record.files.first();
    let digest = main.map_or_else(String::new, |f| f.digest.to_string());
    let mut row = vec![folder(artifact), size(bytes)];
    match (dir, main) {
        (Some(dir), Some(main)) => {
            row.extend([short(&digest).to_owned(), nice(&dir.join(&main.name))]);
        }
        _ => row.push(digest),
    }
    row
}
