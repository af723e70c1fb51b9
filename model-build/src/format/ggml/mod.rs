//! GGML: the formats before GGUF. LLaMA models of `ggml`, `ggmf` and `ggjt` files, whisper.cpp's
//! models, and its silero model.
//!
//! `ggml` files say nothing of what they hold: the kinds are told apart by the numbers after the
//! magic, and a file is read only if its tensors end exactly where it does.

mod blocks;
mod llama;
mod source;
mod whisper;

use bytes::Bytes;

use self::llama::Container;
use self::source::{Source, TRUNCATED};
use super::{FormatDef, HubKind, SourceFiles};
use crate::bytes::Cursor;
use crate::error::{Error, Result};
use crate::fsx;
use crate::hub::{Gguf, Hub};
use crate::source::Listing;

const GGML_MAGIC: u32 = 0x6767_6d6c;
const GGMF_MAGIC: u32 = 0x6767_6d66;
const GGJT_MAGIC: u32 = 0x6767_6a74;
/// Adapters, which are no models.
const GGLA_MAGIC: u32 = 0x6767_6c61;

/// Reads a file; its tensors are slices of the bytes, or are decoded from them when they are read.
/// `name` becomes `general.name`.
///
/// # Errors
/// The file is of no kind that is read here, or breaks its rules; names the token or tensor and the
/// offset in the file.
pub fn from_bytes(bytes: &Bytes, name: &str) -> Result<Gguf> {
    let mut source = Source { bytes, cursor: Cursor::new(bytes) };
    let header = |e: Error| e.item("the header").hint(TRUNCATED);
    let magic = source.u32().map_err(header)?;
    match magic {
        GGML_MAGIC if whisper::is_silero(&source) => whisper::read_silero(&mut source, name),
        GGML_MAGIC if whisper::is_one(&source) => whisper::read(&mut source, name),
        GGML_MAGIC if llama::is_one(&source) => llama::read(&mut source, Container::Ggml, name),
        GGML_MAGIC => Err(Error::unsupported("a ggml file of a model that is not known here")
            .item("the header")
            .hint(
                "LLaMA, whisper and silero models are: convert others from their original weights",
            )),
        GGMF_MAGIC | GGJT_MAGIC => {
            let version = source.u32().map_err(header)?;
            let container = match (magic, version) {
                (GGMF_MAGIC, 1) => Container::Ggmf,
                (GGJT_MAGIC, 1..=3) => Container::Ggjt(version),
                _ => {
                    return Err(Error::unsupported(format!(
                        "version {version}; ggmf has version 1, ggjt 1 to 3"
                    ))
                    .item("offset 4"));
                }
            };
            llama::read(&mut source, container, name)
        }
        GGLA_MAGIC => Err(Error::unsupported("a ggla file is an adapter, no model")
            .hint("name the model that it adapts as the source")),
        _ => Err(Error::malformed(format!(
            "a ggml file starts with `lmgg`, `fmgg` or `tjgg`, this one with `{}`",
            magic.to_le_bytes().escape_ascii()
        ))
        .item("offset 0")),
    }
}

fn is_ggml(listing: &Listing, name: &str) -> Result<bool> {
    let head = fsx::head(&listing.root.join(name), 4)?;
    let magic = <[u8; 4]>::try_from(head.as_slice()).map(u32::from_le_bytes);
    Ok(matches!(magic, Ok(GGML_MAGIC | GGMF_MAGIC | GGJT_MAGIC | GGLA_MAGIC)))
}

fn detect(listing: &Listing) -> Result<Option<Vec<String>>> {
    let mut models = Vec::new();
    for name in listing.top().filter(|n| listing.single || n.ends_with(".bin")) {
        if is_ggml(listing, name)? {
            models.push(name.to_owned());
        }
    }
    if models.len() > 1 {
        return Err(Error::source_missing(format!(
            "it is not clear which of these is the model: {}",
            models.join(", ")
        ))
        .hint("name one of the files as the source"));
    }
    Ok((!models.is_empty()).then_some(models))
}

fn read_hub(files: &SourceFiles) -> Result<Hub> {
    let name = files
        .names
        .first()
        .ok_or_else(|| Error::source_missing("a source without files").file(&files.root))?;
    let path = files.path(name);
    from_bytes(&fsx::map(&path)?, name).map(Hub::Gguf).map_err(|e| e.file(&path))
}

/// GGML.
pub static GGML: FormatDef = FormatDef {
    name: "ggml",
    about: "files from before GGUF: LLaMA's of `ggml`, `ggmf` and `ggjt`, whisper.cpp's, silero's",
    holds: HubKind::Gguf,
    extensions: &["bin"],
    looks_for: "one `*.bin` file that starts with `lmgg`, `fmgg` or `tjgg`",
    revision: 1,
    detect,
    names: None,
    splits: false,
    read_state_dict: None,
    read: Some(read_hub),
    write: None,
};
