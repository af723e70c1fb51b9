//! Without a store: an artifact made where it is wanted, and a look at what would be made.

use std::path::Path;
use std::time::Instant;

use super::walk::{Walk, apply};
use super::{Event, Report, ingredients, lay_out, provenance, warn};
use crate::cache::{self, KeyBuilder};
use crate::error::{Error, Result};
use crate::fsx;
use crate::hub::{Hub, blob_len, write_blob};
use crate::plan::{Job, Recipe, Stage};
use crate::recipe;
use crate::record::RecordFile;

/// Makes the artifact of a job in a folder, without a store: nothing is looked up or kept. Files that
/// stand there are replaced if `replace` says so, else an error. The main file comes last: whoever
/// finds it finds the others too.
pub fn write_to(
    job: &Job,
    dir: &Path,
    replace: bool,
    report: &mut dyn Report,
) -> Result<Vec<RecordFile>> {
    let start = Instant::now();
    let name = job.name();
    let summary = job.recipe.summary();
    let ingredients = ingredients(&job.recipe, &mut |path| {
        let digest = cache::stat::hash_file(path, &mut |path, bytes| {
            report.event(&Event::Hashed { path, bytes });
        })?;
        Ok(digest)
    })?;
    let mut key = KeyBuilder::new("convert");
    for (name, value) in &ingredients {
        key.ingredient(name, value);
    }
    let (key, ingredients) = key.finish();
    report.event(&Event::Started { job: &name, step: "convert", key: &key, summary: &summary });
    let (blobs, info) = lay_out(&job.recipe, &provenance(&job.recipe, &ingredients))?;
    warn(&name, &info, report);
    for blob in &blobs {
        let path = dir.join(&blob.name);
        if !replace && fsx::stat_if_exists(&path)?.is_some() {
            return Err(Error::manifest("the file to write is there already")
                .file(path)
                .hint("pass `--force` to replace it"));
        }
    }
    let total = blobs.iter().map(|b| blob_len(&b.segments)).sum();
    let mut done = 0;
    let mut files = Vec::new();
    for blob in blobs.iter().rev() {
        let path = dir.join(&blob.name);
        let mut out = fsx::AtomicFile::create(&path)?;
        let digest = write_blob(&blob.segments, &mut out, &mut |n| {
            done += n;
            report.event(&Event::Progress { job: &name, done, total });
        })
        .map_err(|e| e.file(&path))?;
        out.commit(false)?;
        let len = blob_len(&blob.segments);
        files.insert(0, RecordFile { name: blob.name.clone(), digest: digest.into(), len });
    }
    let took = start.elapsed();
    report.event(&Event::Finished { job: &name, step: "convert", bytes: total, took });
    Ok(files)
}

/// What would become of the tensors of a recipe's source.
pub struct Preview {
    /// Each tensor of the artifact, and sums.
    pub report: recipe::Report,
    /// Bytes of its files.
    pub bytes: u64,
    /// What who asks should know.
    pub warnings: Vec<String>,
}

/// Walks a recipe without computing a weight, but for those whose errors a target size compares.
///
/// # Errors
/// As a conversion's; and the recipe does not lead to a GGUF model.
pub fn preview(recipe: &Recipe) -> Result<Preview> {
    let mut walk = Walk::default();
    let mut unchanged = None;
    // As long as what the artifact will say.
    let metadata = provenance(recipe, &[]);
    for stage in &recipe.stages {
        if let (Stage::Write(..), Some(Hub::Gguf(gguf))) = (stage, &walk.hub) {
            unchanged = Some(recipe::unchanged(gguf)?);
        }
        apply(stage, &mut walk, recipe, &metadata).map_err(|e| e.step(stage.name()))?;
    }
    let report = walk.chosen.or(unchanged).ok_or_else(|| {
        Error::unsupported("only the way to a GGUF model can be shown before it is taken")
            .hint("leave out `--dry-run`, or give a file that ends in .gguf")
    })?;
    let (blobs, _) = walk.laid_out.ok_or_else(|| Error::bug("a recipe without a write"))?;
    let bytes = blobs.iter().map(|b| blob_len(&b.segments)).sum();
    Ok(Preview { report, bytes, warnings: walk.warnings })
}
