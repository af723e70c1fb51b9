//! A folder of finished artifacts: what `build --out` writes and `MODEL_BUILD_PREBUILT_DIR` reads.
//!
//! `DIR/MODEL.TARGET/record.json` is the record; the artifact's files stand beside it.

use std::path::Path;

use crate::cache::{Digest, Store};
use crate::error::{Error, Result};
use crate::execute::{self, Artifact};
use crate::fsx;
use crate::manifest::{Model, Target};
use crate::plan;
use crate::record::Record;

const RECORD: &str = "record.json";
const AGAIN: &str = "make the folder anew: model-build build --out DIR";

/// Writes artifacts into a folder, each with its record.
pub fn write(dir: &Path, artifacts: &[Artifact], store: &Store) -> Result<()> {
    for artifact in artifacts {
        let to = dir.join(format!("{}.{}", artifact.model, artifact.target));
        fsx::create_dir_all(&to)?;
        for file in &artifact.record.files {
            fsx::copy(&store.object_path(&file.digest), &to.join(&file.name))?;
        }
        let text = serde_json::to_vec_pretty(&artifact.record)
            .map_err(|e| Error::bug(format!("a record cannot be written: {e}")))?;
        fsx::write_atomic(&to.join(RECORD), &text)?;
    }
    Ok(())
}

/// The record of one target from a folder. Every file's length and digest are checked; where the
/// source is there too, the artifact must be the one this manifest and source would give.
pub fn read(dir: &Path, model: &Model, target: &Target) -> Result<Record> {
    read_one(&dir.join(format!("{}.{}", model.name, target.name)), model, target)
        .map_err(|e| e.target(&model.name, &target.name).hint(AGAIN))
}

fn read_one(dir: &Path, model: &Model, target: &Target) -> Result<Record> {
    let path = dir.join(RECORD);
    let text = fsx::read_small(&path, 16 << 20)?;
    let record: Record = serde_json::from_slice(&text)
        .map_err(|e| Error::malformed(format!("not a record: {e}")).file(&path))?;
    for file in &record.files {
        let path = dir.join(&file.name);
        let bytes = fsx::map(&path)?;
        let digest = Digest::from(blake3::Hasher::new().update_rayon(&bytes).finalize());
        if digest != file.digest || bytes.len() as u64 != file.len {
            return Err(
                Error::source_missing("the file is not the one its record was made for").file(path)
            );
        }
    }
    if fsx::is_dir(&model.source) || fsx::is_file(&model.source) {
        let job = plan::job(&model.name, target, &execute::facts(&model.source)?)?;
        let want = execute::ingredients(&job.recipe, &mut |path| {
            let bytes = fsx::map(path)?;
            Ok(Digest::from(blake3::Hasher::new().update_rayon(&bytes).finalize()))
        })?;
        if let Some((name, _)) = want.iter().find(|i| !record.ingredients.contains(i)) {
            return Err(Error::source_missing(format!(
                "the prebuilt artifact was made from something else: `{name}` differs"
            ))
            .file(path));
        }
    }
    Ok(record)
}
