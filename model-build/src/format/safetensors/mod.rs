//! safetensors: a bare file, a sharded set with its index, or a Hugging Face folder around them.

mod header;
mod write;

use std::collections::BTreeMap;
use std::path::Path;

use bytes::Bytes;

use super::shards::{self, Index};
use super::{FormatDef, HubKind, SourceFiles, WriteOptions, folder};
use crate::error::{Error, Result};
use crate::fsx;
use crate::hub::{Blob, Checkpoint, Hub};
use crate::source::Listing;

pub use header::File;

/// The ending of an index of shards.
const INDEX: &str = ".safetensors.index.json";

/// The ending of a file of weights.
const ENDING: &str = ".safetensors";

/// Reads the bytes of a file; its tensors are slices of them.
pub fn from_bytes(bytes: &Bytes) -> Result<File> {
    header::read(bytes)
}

fn detect(listing: &Listing) -> Result<Option<Vec<String>>> {
    let Some(main) = weights(listing)? else { return Ok(None) };
    let mut names = vec![main.to_owned()];
    if main.ends_with(INDEX) {
        let index = Index::read(&listing.root.join(main), ENDING)?;
        names.extend(index.shards().map(str::to_owned));
    }
    names.extend(folder::companions(listing));
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
    let files: Vec<&str> = ending(ENDING).collect();
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

/// Reads an index's text and returns how many shards it names; what the fuzzer drives.
#[doc(hidden)]
pub fn index_from_bytes(text: &[u8]) -> Result<usize> {
    Ok(Index::parse(text, ENDING)?.shards().count())
}

/// Tensors of all shards; metadata of the first that has a key.
fn read_sharded(path: &Path, files: &SourceFiles) -> Result<File> {
    let mut metadata = BTreeMap::new();
    let tensors = Index::read(path, ENDING)?.read_tensors(path, files, |shard| {
        let part = header::read(&fsx::map(shard)?)?;
        for (key, value) in part.metadata {
            metadata.entry(key).or_insert(value);
        }
        Ok(part.tensors)
    })?;
    Ok(File { tensors, metadata })
}

fn read_hub(files: &SourceFiles) -> Result<Hub> {
    let main = files
        .names
        .first()
        .ok_or_else(|| Error::source_missing("a source without files").file(&files.root))?;
    let path = files.path(main);
    let weights = if main.ends_with(INDEX) {
        read_sharded(&path, files)?
    } else {
        header::read(&fsx::map(&path)?).map_err(|e| e.file(&path))?
    };
    let mut checkpoint = Checkpoint {
        tensors: weights.tensors,
        metadata: weights.metadata,
        ..Checkpoint::default()
    };
    folder::read(files, &mut checkpoint)?;
    Ok(Hub::Checkpoint(checkpoint))
}

fn write_hub(hub: &Hub, options: &WriteOptions) -> Result<Vec<Blob>> {
    let Hub::Checkpoint(checkpoint) = hub else {
        return Err(Error::bug("only a checkpoint is written as safetensors"));
    };
    let mut metadata = BTreeMap::from([("format".to_owned(), "pt".to_owned())]);
    metadata.extend(checkpoint.metadata.clone());
    metadata.extend(options.metadata.iter().cloned());
    let name = match options.file_name.as_str() {
        "" => "model.safetensors",
        name => name,
    };
    let mut blobs = shards::write(&checkpoint.tensors, name, options.split_max_size, |tensors| {
        write::layout(tensors, &metadata)
    })?;
    blobs.extend(folder::blobs(checkpoint)?);
    Ok(blobs)
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
    splits: true,
    read_state_dict: None,
    read: Some(read_hub),
    write: Some(write_hub),
};
