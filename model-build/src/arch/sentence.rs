//! sentence-transformers folders: what `modules.json` says is done with the token vectors.

use serde_json::Value as Json;

use super::Pooling;
use crate::error::{Error, Result};
use crate::hub::Checkpoint;

const MODULES: &str = "modules.json";

/// What a folder asks for.
pub(super) struct Folder {
    pub(super) pooling: Pooling,
    pub(super) normalize: bool,
}

/// Whether the checkpoint is a sentence-transformers folder.
pub(super) fn is_folder(checkpoint: &Checkpoint) -> bool {
    checkpoint.assets.contains_key(MODULES)
}

/// Pooling and normalization of a folder; none of both without `modules.json`. A module that is
/// neither an encoder, a pooling nor a normalization is an error.
pub(super) fn read(checkpoint: &Checkpoint) -> Result<Folder> {
    let mut folder = Folder { pooling: Pooling::None, normalize: false };
    let Some(modules) = checkpoint.json_asset(MODULES)? else { return Ok(folder) };
    let bad = |what: &str| Error::malformed(format!("`modules.json` {what}")).file(MODULES);
    let modules = modules.as_array().ok_or_else(|| bad("must be a list of modules"))?;
    for module in modules {
        let text = |key| module.get(key).and_then(Json::as_str);
        let kind = text("type").ok_or_else(|| bad("has a module without `type`"))?;
        match kind.rsplit('.').next().unwrap_or_default() {
            "Transformer" => {}
            "Pooling" => {
                let path = text("path").ok_or_else(|| bad("has a pooling without `path`"))?;
                folder.pooling = pooling(checkpoint, &format!("{path}/config.json"))?;
            }
            "Normalize" => folder.normalize = true,
            _ => {
                return Err(Error::unsupported(format!(
                    "the module `{kind}` of modules.json is not lowered here"
                ))
                .file(MODULES)
                .hint("set `pooling` and `normalize` to build the encoder without that module"));
            }
        }
    }
    Ok(folder)
}

fn pooling(checkpoint: &Checkpoint, name: &str) -> Result<Pooling> {
    let config = checkpoint.json_asset(name)?.ok_or_else(|| {
        Error::source_missing("modules.json names a file that is not there").file(name)
    })?;
    let keys = config.as_object().ok_or_else(|| {
        Error::malformed("the pooling configuration must be an object").file(name)
    })?;
    // A flag per mode, or the mode's name under `pooling_mode`.
    let mut modes: Vec<&str> = keys
        .iter()
        .filter(|(_, on)| **on == Json::Bool(true))
        .filter_map(|(key, _)| key.strip_prefix("pooling_mode_"))
        .collect();
    modes.extend(keys.get("pooling_mode").and_then(Json::as_str));
    match modes.as_slice() {
        ["cls_token" | "cls"] => Ok(Pooling::Cls),
        ["mean_tokens" | "mean"] => Ok(Pooling::Mean),
        [] => Err(Error::malformed("the pooling configuration turns no mode on").file(name)),
        other => Err(Error::unsupported(format!(
            "the pooling {} is not lowered here: only mean and cls are",
            other.join(" + ")
        ))
        .file(name)
        .hint("set `pooling` to mean or cls, or to none for the token vectors")),
    }
}
