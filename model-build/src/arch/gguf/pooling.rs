//! How an embedding model makes one vector of a text: sentence-transformers' files ↔ `pooling_type`.

use bytes::Bytes;
use serde_json::{Value as Json, json};

use super::keys::{Keys, foreign_key};
use crate::error::{Error, Result};
use crate::hub::{Checkpoint, Meta};

const MODULES: &str = "modules.json";
const FOLDER: &str = "1_Pooling";
const KEY: &str = "pooling_type";

/// GGUF's number for a classifier in the place of pooling.
const RANK: u64 = 4;

/// GGUF's number of a pooling, the flag that turns it on, and its name.
const KINDS: &[(u32, &str, &str)] = &[
    (1, "pooling_mode_mean_tokens", "mean"),
    (2, "pooling_mode_cls_token", "cls"),
    (3, "pooling_mode_lasttoken", "lasttoken"),
];

impl Keys<'_> {
    /// The pooling of an embedding model, where the checkpoint is a sentence-transformers folder, or
    /// where the file has one.
    pub(in crate::arch) fn pooling(&mut self) -> Result<()> {
        if let Some(checkpoint) = self.checkpoint() {
            if let Some(kind) = kind_of(checkpoint)? {
                self.put(KEY, Meta::U32(kind));
            }
            return Ok(());
        }
        let classifies = self.gguf().is_some_and(|gguf| gguf.tensor("cls.output.weight").is_some());
        let pools = |kind: &u64| *kind != 0 && !(classifies && *kind == RANK);
        let Some(kind) = self.take_length(KEY)?.filter(pools) else { return Ok(()) };
        if !KINDS.iter().any(|(number, ..)| u64::from(*number) == kind) {
            return Err(foreign_key(KEY, format!("is {kind}: known are mean, cls and last token")));
        }
        let width = self.gguf().and_then(|gguf| gguf.of_architecture("embedding_length"));
        let mut flags = json!({ "word_embedding_dimension": width.and_then(Meta::as_u64) });
        for (number, flag, _) in KINDS {
            flags[*flag] = (u64::from(*number) == kind).into();
        }
        let module = |index: u64, name: &str, path: &str| {
            json!({
                "idx": index, "name": index.to_string(), "path": path,
                "type": format!("sentence_transformers.models.{name}"),
            })
        };
        let modules = json!([module(0, "Transformer", ""), module(1, "Pooling", FOLDER)]);
        self.add_asset(MODULES, file(&modules));
        self.add_asset(&format!("{FOLDER}/config.json"), file(&flags));
        Ok(())
    }
}

fn file(value: &Json) -> Bytes {
    format!("{value:#}\n").into()
}

/// The pooling that the first such module of a folder names; an error when a module computes what no
/// GGUF reader does.
fn kind_of(checkpoint: &Checkpoint) -> Result<Option<u32>> {
    let Some(modules) = checkpoint.json_asset(MODULES)? else { return Ok(None) };
    let bad = |what: &str| Error::malformed(format!("`modules.json` {what}")).file(MODULES);
    let modules = modules.as_array().ok_or_else(|| bad("must be a list of modules"))?;
    let mut found = None;
    for module in modules {
        let text = |key| module.get(key).and_then(Json::as_str);
        let kind = text("type").ok_or_else(|| bad("has a module without `type`"))?;
        match kind.rsplit('.').next().unwrap_or_default() {
            "Transformer" | "Normalize" => {}
            "Pooling" if found.is_none() => {
                let path = text("path").ok_or_else(|| bad("has a pooling without `path`"))?;
                found = Some(pooling_of(checkpoint, &format!("{path}/config.json"))?);
            }
            _ => {
                return Err(Error::unsupported(format!(
                    "the module `{kind}` of modules.json has no place in GGUF files"
                ))
                .file(MODULES));
            }
        }
    }
    Ok(found)
}

fn pooling_of(checkpoint: &Checkpoint, name: &str) -> Result<u32> {
    let config = checkpoint.json_asset(name)?.ok_or_else(|| {
        Error::source_missing("modules.json names a file that is not there").file(name)
    })?;
    let on = |flag: &str| config.get(flag).and_then(Json::as_bool) == Some(true);
    let mode = config.get("pooling_mode").and_then(Json::as_str);
    let found = KINDS.iter().find(|(_, flag, _)| on(flag));
    let found = found.or_else(|| KINDS.iter().find(|(.., name)| mode == Some(*name)));
    found.map(|(number, ..)| *number).ok_or_else(|| {
        Error::unsupported("the pooling has no number in GGUF files: mean, cls and last token have")
            .file(name)
    })
}
