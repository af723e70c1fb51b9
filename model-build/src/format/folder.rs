//! The files around the weights in a Hugging Face folder: `config.json`, tokenizer and pooling.

use bytes::Bytes;
use serde_json::Value as Json;

use super::SourceFiles;
use crate::error::{Error, Result};
use crate::fsx;
use crate::hub::{Blob, Checkpoint, Segment};
use crate::source::Listing;

/// The longest `config.json` or index that is read.
pub(super) const JSON_CAP: u64 = 64 << 20;

const CONFIG: &str = "config.json";

/// The weights of a sentence-transformers module, and where there are none, its older ones.
const MODULE: &str = "model.safetensors";
const OLD_MODULE: &str = "pytorch_model.bin";

/// Files beside the weights that belong to the model.
const ASSETS: &[&str] = &[
    "added_tokens.json",
    "chat_template.jinja",
    "config_sentence_transformers.json",
    "generation_config.json",
    "merges.txt",
    "modules.json",
    "preprocessor_config.json",
    "sentence_bert_config.json",
    "sentencepiece.bpe.model",
    "special_tokens_map.json",
    "spiece.model",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "vocab.json",
    "vocab.txt",
];

/// Whether a name is that of a file beside the weights that belongs to the model. Folders of the
/// sentence-transformers modules are named by number: `1_Pooling`, `2_Dense`, `3_Normalize`.
fn is_asset(name: &str) -> bool {
    let module = |folder: &str| {
        folder.split_once('_').is_some_and(|(n, kind)| {
            !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()) && !kind.is_empty()
        })
    };
    match name.split_once('/') {
        None => ASSETS.contains(&name),
        Some((folder, file)) => {
            let weights = [MODULE, OLD_MODULE].contains(&file);
            module(folder) && (file == CONFIG || weights)
        }
    }
}

/// The names in a folder that belong to the model besides its weights; none for a single file.
pub(super) fn companions(listing: &Listing) -> impl Iterator<Item = String> {
    let doubled = |name: &str| {
        let folder = name.strip_suffix(OLD_MODULE);
        folder.is_some_and(|folder| listing.has(&format!("{folder}{MODULE}")))
    };
    let belongs = move |name: &&String| {
        !listing.single && (*name == CONFIG || (is_asset(name) && !doubled(name)))
    };
    listing.names.iter().filter(belongs).cloned()
}

/// Reads `config.json` and maps the assets among a source's files.
pub(super) fn read(files: &SourceFiles, checkpoint: &mut Checkpoint) -> Result<()> {
    checkpoint.config = Json::Object(serde_json::Map::new());
    for name in &files.names {
        let path = files.path(name);
        if name == CONFIG {
            let text = fsx::read_small(&path, JSON_CAP)?;
            checkpoint.config = serde_json::from_slice(&text)
                .map_err(|e| Error::malformed(format!("not valid JSON: {e}")).file(&path))?;
            if !checkpoint.config.is_object() {
                return Err(Error::malformed("not a JSON object").file(&path));
            }
        } else if is_asset(name) {
            checkpoint.assets.insert(name.clone(), fsx::map(&path)?);
        }
    }
    Ok(())
}

/// JSON as Hugging Face's libraries write it: two spaces, sorted keys, a line break at the end.
pub(super) fn pretty(json: &Json) -> Result<Bytes> {
    let mut text = serde_json::to_vec_pretty(json)
        .map_err(|e| Error::bug("JSON that cannot be written").caused_by(e))?;
    text.push(b'\n');
    Ok(text.into())
}

/// `config.json`, where there is anything in it, and the assets, as files of an artifact.
pub(super) fn blobs(checkpoint: &Checkpoint) -> Result<Vec<Blob>> {
    let mut out = Vec::new();
    let blob =
        |name: &str, bytes| Blob { name: name.to_owned(), segments: vec![Segment::Bytes(bytes)] };
    if checkpoint.config.as_object().is_some_and(|config| !config.is_empty()) {
        out.push(blob(CONFIG, pretty(&checkpoint.config)?));
    }
    out.extend(checkpoint.assets.iter().map(|(name, bytes)| blob(name, bytes.clone())));
    Ok(out)
}
