//! What the sources of a manifest are: the facts that planning takes.

use std::path::Path;

use crate::error::{Error, Result};
use crate::format::{self, FormatDef};
use crate::fsx;
use crate::manifest::Manifest;
use crate::plan::{SourceFacts, Sources};

/// No `config.json` is longer.
const LONGEST_CONFIG: u64 = 16 << 20;

/// Finds the files that a model's main file names inside itself, as [`format::named`] does.
pub type Named<'a> = dyn FnMut(&'static FormatDef, &Path) -> Result<Vec<String>> + 'a;

/// The facts of every source of a manifest, for [`plan`](crate::plan::plan).
pub fn all(manifest: &Manifest, named: &mut Named<'_>) -> Result<Sources> {
    let with_targets = manifest.models.iter().filter(|m| !m.targets.is_empty());
    with_targets
        .map(|m| {
            let facts = facts_with(&m.source, named).map_err(|e| e.model(&m.name))?;
            Ok((m.source.clone(), facts))
        })
        .collect()
}

/// The facts of one source: its format, its files, its `config.json`.
pub fn facts(path: &Path) -> Result<SourceFacts> {
    facts_with(path, &mut format::named)
}

fn facts_with(path: &Path, named: &mut Named<'_>) -> Result<SourceFacts> {
    let found = format::resolve_with(path, named)?;
    let config = match found.files.names.iter().any(|n| n == "config.json") {
        false => None,
        true => {
            let path = found.files.path("config.json");
            let text = fsx::read_small(&path, LONGEST_CONFIG)?;
            let parsed = serde_json::from_slice(&text)
                .map_err(|e| Error::malformed(format!("not valid JSON: {e}")).file(&path))?;
            Some(parsed)
        }
    };
    Ok(SourceFacts { format: found.format, files: found.files, config })
}
