//! A folder of finished artifacts: what `build --out` writes and `MODEL_BUILD_PREBUILT_DIR` reads.
//!
//! `DIR/MODEL.TARGET/record.json` is the record and its checksum; the artifact's files stand beside
//! it, and the numbers of the accuracy check in `measured.json`.

use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::cache::{Digest, Store};
use crate::error::{Error, Result};
use crate::execute::{self, Artifact};
use crate::format::SourceFiles;
use crate::fsx;
use crate::look;
use crate::manifest::{Model, Target};
use crate::plan;
use crate::record::Record;
use crate::verify::{self, Measured};

/// The name of the record among an artifact's files.
pub const RECORD: &str = "record.json";
const MEASURED: &str = "measured.json";
/// No record is longer.
const LONGEST: u64 = 64 << 20;
const AGAIN: &str = "make the folder anew: model-build build --out DIR";

/// The text of a `record.json`.
#[derive(Serialize, Deserialize)]
struct Sealed {
    /// Of everything else.
    checksum: Digest,
    #[serde(flatten)]
    record: Record,
    /// The digest of `measured.json`, if the accuracy was checked.
    measured: Option<Digest>,
}

/// An artifact of a folder.
#[derive(Debug)]
pub struct Prebuilt {
    /// Its record; every file is as it says.
    pub record: Record,
    /// The folder of its files.
    pub dir: PathBuf,
    /// The files of the model's source, where the source is there too.
    pub source: Option<SourceFiles>,
    /// What the accuracy check says besides that the bounds are kept.
    pub warnings: Vec<String>,
}

/// Writes artifacts into a folder, each with its record.
///
/// # Errors
/// The folder cannot be written.
pub fn write(dir: &Path, artifacts: &[Artifact], store: &Store) -> Result<()> {
    for artifact in artifacts {
        let to = dir.join(format!("{}.{}", artifact.model, artifact.target));
        fsx::create_dir_all(&to)?;
        for file in &artifact.record.files {
            fsx::copy(&store.object_path(&file.digest), &to.join(&file.name))?;
        }
        let mut measured = None;
        if let Some(numbers) = &artifact.measured {
            let text = serde_json::to_vec_pretty(numbers).map_err(unwritten)?;
            fsx::write_atomic(&to.join(MEASURED), &text)?;
            measured = Some(Digest::of(&text));
        }
        let record = artifact.record.clone();
        let sealed = Sealed { checksum: checksum(&record, measured)?, record, measured };
        let text = serde_json::to_vec_pretty(&sealed).map_err(unwritten)?;
        fsx::write_atomic(&to.join(RECORD), &text)?;
    }
    Ok(())
}

/// One target from a folder. The record's checksum and every file's length and digest are checked;
/// the manifest's bounds must be kept; where the source is there too, the artifact must be the one
/// that this manifest and source would give.
///
/// # Errors
/// The artifact is not there, is damaged, was made from something else, or was not measured or
/// measured below a bound.
pub fn read(dir: &Path, model: &Model, target: &Target) -> Result<Prebuilt> {
    read_one(dir.join(format!("{}.{}", model.name, target.name)), model, target)
        .map_err(|e| e.target(&model.name, &target.name).hint(AGAIN))
}

fn read_one(dir: PathBuf, model: &Model, target: &Target) -> Result<Prebuilt> {
    let path = dir.join(RECORD);
    let text = fsx::read_small(&path, LONGEST)?;
    let Sealed { checksum: sum, record, measured } = parse(&text, &path)?;
    if sum != checksum(&record, measured)? {
        return Err(Error::malformed("the record is damaged").file(path));
    }
    for file in &record.files {
        let mut parts = Path::new(&file.name).components();
        let (Some(Component::Normal(_)), None) = (parts.next(), parts.next()) else {
            return Err(Error::malformed(format!("`{}` is no file name", file.name)).file(path));
        };
        let path = dir.join(&file.name);
        if fsx::stat(&path)?.len != file.len || digest(&path)? != file.digest {
            let message = "the file is not the one its record was made for";
            return Err(Error::malformed(message).file(path));
        }
    }
    let source = if fsx::is_dir(&model.source) || fsx::is_file(&model.source) {
        Some(same_source(&record, model, target).map_err(|e| e.file(&path))?)
    } else {
        None
    };
    let warnings = match (&target.verify, measured) {
        (None, _) => Vec::new(),
        (Some(spec), Some(sum)) => {
            let path = dir.join(MEASURED);
            let text = fsx::read_small(&path, LONGEST)?;
            if Digest::of(&text) != sum {
                return Err(Error::malformed("the numbers are damaged").file(path));
            }
            let measured: Measured = parse(&text, &path)?;
            verify::check(&measured, &execute::bounds(spec)).map_err(|e| e.file(path))?
        }
        (Some(_), None) => {
            let message =
                "the manifest asks for `verify`, and the prebuilt artifact was not measured";
            return Err(Error::accuracy(message).file(path));
        }
    };
    Ok(Prebuilt { record, dir, source, warnings })
}

/// Whether a record is of the artifact that the manifest and the source would give.
fn same_source(record: &Record, model: &Model, target: &Target) -> Result<SourceFiles> {
    let facts = look::model(model)?;
    let job = plan::job(&model.name, target, &facts)?;
    let want = execute::ingredients(&job.recipe, &mut digest)?;
    let missing = |a: &[(String, String)], b: &[(String, String)]| {
        a.iter().find(|i| !b.contains(i)).map(|(name, _)| name.clone())
    };
    let differs =
        missing(&want, &record.ingredients).or_else(|| missing(&record.ingredients, &want));
    match differs {
        None => Ok(facts.files),
        Some(name) => Err(Error::source_missing(format!(
            "the prebuilt artifact was made from something else: `{name}` differs"
        ))),
    }
}

/// The digest of a file's bytes.
///
/// # Errors
/// The file cannot be read.
pub fn digest(path: &Path) -> Result<Digest> {
    let bytes = fsx::map(path)?;
    Ok(Digest::from(blake3::Hasher::new().update_rayon(&bytes).finalize()))
}

fn parse<T: serde::de::DeserializeOwned>(text: &[u8], path: &Path) -> Result<T> {
    serde_json::from_slice(text)
        .map_err(|e| Error::malformed(format!("not a record: {e}")).file(path))
}

fn checksum(record: &Record, measured: Option<Digest>) -> Result<Digest> {
    Ok(Digest::of(&serde_json::to_vec(&(record, measured)).map_err(unwritten)?))
}

fn unwritten(error: serde_json::Error) -> Error {
    Error::bug("a record cannot be written as JSON").caused_by(error)
}
