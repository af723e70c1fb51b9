//! What there is to say of an artifact: from its job, its record and the store.

use std::path::PathBuf;

use super::sizes::{entries, sizes};
use super::{Checked, Entry, Sizes};
use crate::cache::Store;
use crate::error::{Error, Result};
use crate::execute::{self, Artifact, Report};
use crate::format::{self, SourceFiles};
use crate::plan::{Job, Stage};
use crate::verify;

/// Gathers what can be said of an artifact without running it. The numbers that need runs, `layers`
/// and `costs`, and the histograms of a calibration are for the caller to add.
///
/// # Errors
/// The source or the artifact cannot be read.
pub fn gather(
    job: &Job,
    artifact: &Artifact,
    store: &Store,
    report: &mut dyn Report,
) -> Result<Entry> {
    let accuracy = match (&job.verify, &artifact.measured) {
        (Some(step), Some(measured)) => {
            let bounds = execute::bounds(&step.spec);
            let keys = execute::keys_of(job, store, report)?;
            let keys = keys.into_iter().find(|k| k.step == "verify");
            let keys = keys.ok_or_else(|| Error::bug("a check without a key"))?;
            Some(Checked {
                measured: measured.clone(),
                bounds,
                key: keys.key.to_string(),
                ingredients: keys.ingredients,
                verdict: verify::check(measured, &bounds).map_err(|e| {
                    let hints = e.hints().iter().map(ToString::to_string);
                    std::iter::once(e.message().to_owned()).chain(hints).collect()
                }),
            })
        }
        _ => None,
    };
    Ok(Entry {
        name: job.name(),
        key: artifact.key.to_string(),
        record: artifact.record.clone(),
        stages: job.recipe.stages.iter().map(|s| (s.name(), s.canonical())).collect(),
        sizes: sizes_of(job, artifact, store)?,
        accuracy,
        layers: None,
        costs: None,
        histograms: Vec::new(),
    })
}

/// Bytes by group; `None` for an artifact that is no model by itself, as one of several files that
/// belong into another program's store.
fn sizes_of(job: &Job, artifact: &Artifact, store: &Store) -> Result<Option<Sizes>> {
    let mut before = None;
    for stage in &job.recipe.stages {
        match stage {
            Stage::Read(def, state_dict) => {
                let hub = format::read(def, &job.recipe.source, state_dict.as_deref())?;
                before = Some(entries(&hub));
            }
            Stage::Write(def, _) if def.read.is_some() => {
                let unfolded = store.unfold(&artifact.record)?;
                let Some(files) = beside(unfolded.files()) else { return Ok(None) };
                let Ok(hub) = format::read(def, &files, None) else { return Ok(None) };
                return Ok(before.map(|before| sizes(&before, &entries(&hub))));
            }
            _ => {}
        }
    }
    Ok(None)
}

/// Files that lie in the folder of the first one, under the names they have there.
fn beside(files: &[(String, PathBuf)]) -> Option<SourceFiles> {
    let (_, main) = files.first()?;
    let root = main.parent()?;
    let name = |path: &PathBuf| Some(path.strip_prefix(root).ok()?.to_str()?.to_owned());
    let names = files.iter().map(|(_, path)| name(path)).collect::<Option<Vec<_>>>()?;
    Some(SourceFiles { root: root.to_owned(), names })
}
