//! What an artifact is made of: the ingredients of its key, and what it says of them itself.

use std::path::Path;

use crate::cache::Digest;
use crate::error::Result;
use crate::plan::{Recipe, Stage};
use crate::run;

/// Everything that decides an artifact's bytes, in order: the stages and the digests of the source
/// files, which `digest` finds.
pub fn ingredients(
    recipe: &Recipe,
    digest: &mut dyn FnMut(&Path) -> Result<Digest>,
) -> Result<Vec<(String, String)>> {
    let mut out: Vec<_> = recipe.stages.iter().map(|s| (s.name(), s.canonical())).collect();
    for stage in &recipe.stages {
        if let Stage::Runtime(level) = stage {
            let identity = run::optimizer_identity(*level)?;
            out.push(("optimizer".to_owned(), identity));
        }
    }
    out.push(("file name".to_owned(), recipe.file_name.clone()));
    for name in &recipe.source.names {
        let digest = digest(&recipe.source.path(name))?;
        out.push((format!("source {name}"), digest.to_string()));
    }
    for (name, path) in &recipe.others {
        out.push((name.clone(), digest(path)?.to_string()));
    }
    for stage in &recipe.stages {
        if let Stage::Calibrate(spec, ..) = stage {
            for (name, path) in spec.files(&recipe.source.root) {
                out.push((name, digest(&path)?.to_string()));
            }
            out.push(("calibration runner".to_owned(), run::identity(spec.runner)?));
        }
    }
    Ok(out)
}

/// One digest for all source files: of the lines `name digest`.
pub(super) fn source_digest(ingredients: &[(String, String)]) -> String {
    let mut hasher = blake3::Hasher::new();
    for (name, digest) in ingredients.iter().filter(|(name, _)| name.starts_with("source ")) {
        hasher.update(name.as_bytes()).update(b" ").update(digest.as_bytes()).update(b"\n");
    }
    hasher.finalize().to_string()
}

/// What an artifact says of its making.
pub(super) fn provenance(
    recipe: &Recipe,
    ingredients: &[(String, String)],
) -> Vec<(String, String)> {
    vec![
        ("model_build.recipe".to_owned(), recipe.summary()),
        ("model_build.source".to_owned(), source_digest(ingredients)),
    ]
}
