//! GGUF: the format of llama.cpp; one file, or a model split into several.
//!
//! The byte layout is that of ggml's `gguf.cpp` and gguf-py: magic, version, counts, key/values,
//! tensor entries, then tensors, each at a multiple of `general.alignment`.

mod endian;
mod read;
mod split;
mod types;
mod write;

use bytes::Bytes;

use super::{FormatDef, HubKind, SourceFiles, WriteOptions};
use crate::error::{Error, Result};
use crate::fsx;
use crate::hub::{Blob, Gguf, Hub, Meta, Segment};
use crate::source::Listing;

pub(super) use types::of_id;
pub(super) use write::segments;

const MAGIC: &[u8] = b"GGUF";
const ALIGNMENT_KEY: &str = "general.alignment";
const DEFAULT_ALIGNMENT: u64 = 32;
/// The largest alignment that is taken for one.
const MAX_ALIGNMENT: u64 = 1 << 20;
const MAX_DIMS: u32 = 4;

/// Reads one file; its tensors and strings are slices of the bytes. A part of a split model is read
/// as it stands, with its `split.*` key/values.
///
/// # Errors
/// The bytes break the format's rules; names the key or tensor and the offset in the file.
pub fn from_bytes(bytes: &Bytes) -> Result<Gguf> {
    read::read(bytes)
}

/// Writes a model into memory; for small ones.
///
/// # Errors
/// A tensor that GGUF cannot express or whose bytes cannot be computed, or names that are empty or
/// there twice.
pub fn to_bytes(gguf: &Gguf) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    for segment in segments(gguf)? {
        match segment {
            Segment::Bytes(bytes) => out.extend_from_slice(&bytes),
            Segment::Tensor(tensor) => out.extend_from_slice(&tensor.bytes()?),
            Segment::Crc32(_) => return Err(Error::bug("a checksum in a GGUF file")),
        }
    }
    Ok(out)
}

/// Whether a file is beside models and none itself: projectors of other modalities, importance
/// matrices.
fn is_beside(name: &str) -> bool {
    let name = name.to_lowercase();
    name.contains("mmproj") || name.contains("imatrix")
}

fn detect(listing: &Listing) -> Result<Option<Vec<String>>> {
    let Some(name) = model(listing)? else { return Ok(None) };
    split::parts(&listing.root, name).map(Some)
}

/// The file of the model, or its first part.
fn model(listing: &Listing) -> Result<Option<&str>> {
    if listing.single {
        let Some(name) = listing.top().next() else { return Ok(None) };
        let is_gguf =
            name.ends_with(".gguf") || fsx::head(&listing.root.join(name), 4)?.as_slice() == MAGIC;
        return Ok(is_gguf.then_some(name));
    }
    let mut models: Vec<&str> = Vec::new();
    for name in listing.top().filter(|n| n.ends_with(".gguf") && !is_beside(n)) {
        let set = |n: &str| split::Part::of(n).map(|p| (p.stem.to_owned(), p.count));
        // The parts of one set count once.
        if set(name).is_none() || !models.iter().any(|m| set(m) == set(name)) {
            models.push(name);
        }
    }
    match models.as_slice() {
        [] => Ok(None),
        [one] => Ok(Some(one)),
        several => Err(Error::source_missing(format!(
            "it is not clear which of these is the model: {}",
            several.join(", ")
        ))
        .hint("name one of the files as the source; of a split model, any part")),
    }
}

fn read_hub(files: &SourceFiles) -> Result<Hub> {
    let mut parts = Vec::new();
    for name in &files.names {
        let path = files.path(name);
        let part = read::read(&fsx::map(&path)?).map_err(|e| e.file(&path))?;
        parts.push((path.display().to_string(), part));
    }
    if parts.is_empty() {
        return Err(Error::source_missing("a source without files").file(&files.root));
    }
    split::join(parts).map(Hub::Gguf)
}

/// A model with the key/values that are to be recorded in it.
pub(super) fn recorded(gguf: &Gguf, options: &WriteOptions) -> Gguf {
    let mut gguf = gguf.clone();
    for (key, value) in &options.metadata {
        gguf.set(key, Meta::text(value));
    }
    gguf
}

fn write_hub(hub: &Hub, options: &WriteOptions) -> Result<Vec<Blob>> {
    let Hub::Gguf(gguf) = hub else {
        return Err(Error::bug("only a GGUF model is written as GGUF"));
    };
    let gguf = recorded(gguf, options);
    match options.split_max_size {
        Some(most) => split::write(&gguf, &options.file_name, most),
        None => Ok(vec![Blob { name: options.file_name.clone(), segments: segments(&gguf)? }]),
    }
}

/// GGUF.
pub static GGUF: FormatDef = FormatDef {
    name: "gguf",
    about: "GGUF models of llama.cpp: versions 1 to 3, either byte order, one file or split",
    holds: HubKind::Gguf,
    extensions: &["gguf"],
    looks_for: "one `*.gguf` file, or the parts of one split model",
    revision: 1,
    detect,
    names: None,
    splits: true,
    read_state_dict: None,
    read: Some(read_hub),
    write: Some(write_hub),
};

/// Bytes of a file before its first tensor, and the alignment of tensors.
///
/// # Errors
/// As writing it.
pub fn overhead(model: &Gguf) -> Result<(u64, u64)> {
    let segments = segments(model)?;
    let header = segments.first().map_or(0, Segment::len);
    Ok((header, read::alignment(&model.metadata)?))
}
