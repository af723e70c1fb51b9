//! ONNX: `ModelProto` files, with external data beside them.

mod check;
mod proto;
mod read;
mod rope;
mod skeleton;
mod tensor;
mod types;
mod write;

use bytes::Bytes;

use super::{FormatDef, HubKind, SourceFiles, WriteOptions};
use crate::error::{Error, Result};
use crate::fsx;
use crate::hub::{Blob, Graph, Hub, write_blob};
use crate::source::Listing;

pub use skeleton::skeleton;

/// Reads a model from the bytes of a file whose tensors are all inside it. Tensor contents are
/// slices of `bytes`.
pub fn from_bytes(bytes: &Bytes) -> Result<Graph> {
    read::read(bytes, tensor::Beside::Nothing)
}

/// Reads a model file and, where tensors have their data in other files, maps those.
pub fn from_file(path: &std::path::Path) -> Result<Graph> {
    read::read(&fsx::map(path)?, tensor::Beside::File(path)).map_err(|e| e.file(path))
}

/// Lays out a model. The first file is the model; when it would pass `limit` bytes, a second one
/// holds the large initializers.
pub fn layout(graph: &Graph, options: &WriteOptions, limit: u64) -> Result<Vec<Blob>> {
    write::write(graph, options, limit)
}

/// The bytes of a model's file, computed into memory. An error when they pass 2 GB.
pub fn to_bytes(graph: &Graph) -> Result<Vec<u8>> {
    let blobs = write::write(graph, &WriteOptions::default(), write::LIMIT)?;
    let [blob] = blobs.as_slice() else {
        return Err(Error::unsupported(
            "the model takes more than 2 GB, which one ONNX file cannot hold",
        ));
    };
    let mut out = Vec::new();
    write_blob(&blob.segments, &mut out, &mut |_| {})?;
    Ok(out)
}

/// The names, relative to the model's folder, of the files its tensors have their data in.
pub fn external_files(path: &std::path::Path) -> Result<Vec<String>> {
    skeleton::locations(&read::decode(&fsx::map(path)?).map_err(|e| e.file(path))?)
        .map_err(|e| e.file(path))
}

fn detect(listing: &Listing) -> Result<Option<Vec<String>>> {
    let models: Vec<&str> = listing.top().filter(|n| n.ends_with(".onnx")).collect();
    let main = match models.as_slice() {
        [] if listing.single && looks_like_onnx(listing)? => match listing.names.first() {
            Some(name) => name,
            None => return Ok(None),
        },
        [] => return Ok(None),
        [one] => *one,
        several => {
            return Err(Error::source_missing(format!(
                "the folder holds {} ONNX models: {}",
                several.len(),
                several.join(", ")
            ))
            .file(&listing.root)
            .hint("name one of the files as the source"));
        }
    };
    Ok(Some(vec![main.to_owned()]))
}

/// Whether a file without the ending starts like a `ModelProto`: an IR version, then another field
/// of it.
fn looks_like_onnx(listing: &Listing) -> Result<bool> {
    let Some(name) = listing.names.first() else { return Ok(false) };
    Ok(matches!(fsx::head(&listing.root.join(name), 3)?.as_slice(),
        [0x08, 1..=30, key] if [0x12, 0x1a, 0x22, 0x28, 0x32, 0x3a, 0x42].contains(key)))
}

fn read_hub(files: &SourceFiles) -> Result<Hub> {
    let name = files
        .names
        .first()
        .ok_or_else(|| Error::source_missing("a source without files").file(&files.root))?;
    from_file(&files.path(name)).map(Hub::Graph)
}

fn write_hub(hub: &Hub, options: &WriteOptions) -> Result<Vec<Blob>> {
    match hub {
        Hub::Graph(graph) => write::write(graph, options, write::LIMIT),
        _ => Err(Error::bug("only a graph is written as ONNX")),
    }
}

/// ONNX.
pub static ONNX: FormatDef = FormatDef {
    name: "onnx",
    about: "ONNX models: any operator set, external data, every element type",
    holds: HubKind::Graph,
    extensions: &["onnx"],
    looks_for: "one `*.onnx` file",
    revision: 1,
    detect,
    names: Some(external_files),
    splits: false,
    read_state_dict: None,
    read: Some(read_hub),
    write: Some(write_hub),
};
