//! safetensors: a bare file, a sharded set with its index, or a Hugging Face folder around them.

mod header;

use std::collections::BTreeMap;
use std::path::Path;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value as Json;

use super::{FormatDef, HubKind, SourceFiles};
use crate::error::{Error, Result};
use crate::fsx;
use crate::hub::{Checkpoint, Hub};
use crate::source::{self, Listing};
use header::Unique;

pub use header::File;

/// The ending of an index of shards.
const INDEX: &str = ".safetensors.index.json";

/// The longest `config.json` or index that is read.
const JSON_CAP: u64 = 64 << 20;

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

/// Reads the bytes of a file; its tensors are slices of them.
pub fn from_bytes(bytes: &Bytes) -> Result<File> {
    header::read(bytes)
}

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
            module(folder) && matches!(file, "config.json" | "model.safetensors")
        }
    }
}

fn detect(listing: &Listing) -> Result<Option<Vec<String>>> {
    let Some(main) = weights(listing)? else { return Ok(None) };
    let mut names = vec![main.to_owned()];
    if main.ends_with(INDEX) {
        let index = Index::read(&listing.root.join(main))?;
        names.extend(index.shards().map(str::to_owned));
    }
    if !listing.single {
        names.extend(listing.names.iter().filter(|n| *n == "config.json" || is_asset(n)).cloned());
    }
    Ok(Some(names))
}

/// The file that holds the weights, or the index of those that do.
fn weights(listing: &Listing) -> Result<Option<&str>> {
    let ending = |end: &'static str| listing.top().filter(move |n| n.ends_with(end));
    let well_known = ["model.safetensors", "model.safetensors.index.json"];
    if let Some(name) = well_known.into_iter().find(|n| listing.has(n)) {
        return Ok(listing.top().find(|n| *n == name));
    }
    let indexes: Vec<&str> = ending(INDEX).collect();
    let files: Vec<&str> = ending(".safetensors").collect();
    match (indexes.as_slice(), files.as_slice()) {
        ([one], _) | ([], [one]) => Ok(Some(one)),
        ([], []) => Ok(None),
        ([], several) | (several, _) => Err(Error::source_missing(format!(
            "it is not clear which of these is the model: {}",
            several.join(", ")
        ))
        .hint("name one of the files as the source, or the model's file `model.safetensors`")),
    }
}

/// `model.safetensors.index.json`.
#[derive(Deserialize)]
struct Index {
    weight_map: Unique<String>,
}

impl Index {
    fn read(path: &Path) -> Result<Self> {
        let text = fsx::read_small(path, JSON_CAP)?;
        Self::parse(&text).map_err(|e| e.file(path))
    }

    fn parse(text: &[u8]) -> Result<Self> {
        let invalid =
            |e: String| Error::malformed(format!("the index of the shards is not valid: {e}"));
        // Serde would take an array of the fields' values, too.
        if !text.trim_ascii_start().starts_with(b"{") {
            return Err(invalid("it is no JSON object".to_owned()));
        }
        let index: Self = header::json(text).map_err(invalid)?;
        for (tensor, shard) in &index.weight_map.0 {
            if !source::is_inside(shard) || !shard.ends_with(".safetensors") {
                return Err(Error::malformed(format!(
                    "`{}` as the name of a shard",
                    shard.escape_debug()
                ))
                .item(format!("tensor `{tensor}`")));
            }
        }
        Ok(index)
    }

    /// The shards, each once, sorted.
    fn shards(&self) -> impl Iterator<Item = &str> {
        let names: std::collections::BTreeSet<&str> =
            self.weight_map.0.values().map(String::as_str).collect();
        names.into_iter()
    }
}

/// Reads an index's text and returns how many shards it names; what the fuzzer drives.
#[doc(hidden)]
pub fn index_from_bytes(text: &[u8]) -> Result<usize> {
    Ok(Index::parse(text)?.shards().count())
}

fn read_sharded(path: &Path, root: &Path) -> Result<File> {
    let index = Index::read(path)?;
    let mut all = File::default();
    let mut home: BTreeMap<String, &str> = BTreeMap::new();
    for shard in index.shards() {
        let file = root.join(shard);
        if !fsx::is_file(&file) {
            return Err(Error::source_missing(format!(
                "the shard `{shard}` that the index names is missing"
            ))
            .file(path)
            .hint("fetch the missing file of the model"));
        }
        let part = header::read(&fsx::map(&file)?).map_err(|e| e.file(&file))?;
        for (name, tensor) in part.tensors {
            if let Some(other) = home.insert(name.clone(), shard) {
                return Err(Error::malformed(format!("in two shards: `{other}` and `{shard}`"))
                    .file(path)
                    .item(format!("tensor `{name}`")));
            }
            all.tensors.insert(name, tensor);
        }
        for (key, value) in part.metadata {
            all.metadata.entry(key).or_insert(value);
        }
    }
    for (name, shard) in &index.weight_map.0 {
        if home.get(name) != Some(&shard.as_str()) {
            let found = home.get(name).map_or("no shard".to_owned(), |s| format!("`{s}`"));
            return Err(Error::malformed(format!(
                "the index says it is in `{shard}`, and it is in {found}"
            ))
            .file(path)
            .item(format!("tensor `{name}`"))
            .hint(
                "the index and the shards do not belong together: take all from one checkpoint",
            ));
        }
    }
    Ok(all)
}

fn read_hub(files: &SourceFiles) -> Result<Hub> {
    let main = files
        .names
        .first()
        .ok_or_else(|| Error::source_missing("a source without files").file(&files.root))?;
    let path = files.path(main);
    let weights = if main.ends_with(INDEX) {
        read_sharded(&path, &files.root)?
    } else {
        header::read(&fsx::map(&path)?).map_err(|e| e.file(&path))?
    };
    let mut checkpoint = Checkpoint {
        config: Json::Object(serde_json::Map::new()),
        tensors: weights.tensors,
        metadata: weights.metadata,
        assets: BTreeMap::new(),
    };
    for name in &files.names {
        let path = files.path(name);
        if name == "config.json" {
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
    Ok(Hub::Checkpoint(checkpoint))
}

/// safetensors.
pub static SAFETENSORS: FormatDef = FormatDef {
    name: "safetensors",
    about: "safetensors weights: one file, shards with an index, or a Hugging Face folder",
    holds: HubKind::Checkpoint,
    extensions: &["safetensors"],
    looks_for: "`model.safetensors`, `model.safetensors.index.json` or one `*.safetensors` file",
    revision: 1,
    detect,
    names: None,
    read: Some(read_hub),
    write: None,
};
