//! What the sources of a manifest are: the facts that planning takes.

use std::path::Path;

use crate::arch;
use crate::error::{Error, Result};
use crate::format::{self, FormatDef, HubKind, ollama};
use crate::fsx;
use crate::hub::Hub;
use crate::manifest::{Manifest, Model, Target};
use crate::plan::{SourceFacts, Sources};

/// No `config.json` is longer.
const LONGEST_CONFIG: u64 = 16 << 20;

/// Finds the files that a model's main file names inside itself, as [`format::named`] does.
pub type Named<'a> = dyn FnMut(&'static FormatDef, &Path) -> Result<Vec<String>> + 'a;

/// The facts of every source of a manifest, for [`plan`](crate::plan::plan).
pub fn all(manifest: &Manifest, named: &mut Named<'_>) -> Result<Sources> {
    let with_targets = manifest.models.iter().filter(|m| !m.targets.is_empty());
    with_targets.map(|model| Ok((model.source.clone(), model_with(model, named)?))).collect()
}

/// The facts of a model's source, as its targets need them.
pub fn model(model: &Model) -> Result<SourceFacts> {
    model_with(model, &mut format::named)
}

fn model_with(model: &Model, named: &mut Named<'_>) -> Result<SourceFacts> {
    let mut facts = facts_with(&model.source, named).map_err(|e| e.model(&model.name))?;
    facts.state_dict.clone_from(&model.state_dict);
    for target in &model.targets {
        architecture(&mut facts, target).map_err(|e| e.target(&model.name, &target.name))?;
    }
    Ok(facts)
}

/// The facts of one source: its format, its files, its `config.json`.
pub fn facts(path: &Path) -> Result<SourceFacts> {
    facts_with(path, &mut format::named)
}

/// Finds the architecture of a GGUF model, which only its key/values tell, if a target needs it.
pub fn architecture(facts: &mut SourceFacts, target: &Target) -> Result<()> {
    let needed = facts.format.holds == HubKind::Gguf && target.format.holds == HubKind::Graph;
    if needed && facts.architecture.is_none() {
        let hub = format::read(facts.format, &facts.files, None)?;
        let Hub::Gguf(gguf) = &hub else {
            return Err(Error::bug("a GGUF model that is read as something else"));
        };
        let main = facts.files.names.first().map(|name| facts.files.path(name)).unwrap_or_default();
        facts.architecture = Some(arch::of_gguf(gguf).map_err(|e| e.file(main))?);
    }
    Ok(())
}

fn facts_with(path: &Path, named: &mut Named<'_>) -> Result<SourceFacts> {
    let found =
        format::resolve_with(path, named).map_err(|e| ollama::missing(path).unwrap_or(e))?;
    let config = match found.files.names.iter().any(|n| n == "config.json") {
        false => None,
        true => {
            let path = found.files.path("config.json");
            let text = fsx::read_small(&path, LONGEST_CONFIG)?;
            let parsed = serde_json::from_slice(&text)
                .map_err(|e| Error::malformed(format!("not valid JSON: {e}")).file(&path))
                .map_err(|e| e.hint("fetch the file again"))?;
            Some(parsed)
        }
    };
    Ok(SourceFacts {
        format: found.format,
        files: found.files,
        config,
        architecture: None,
        state_dict: None,
    })
}
