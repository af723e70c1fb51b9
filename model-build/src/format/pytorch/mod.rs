//! PyTorch: zip archives, the stream before them, TorchScript's tensors, shards with an index.
//!
//! Pickles are read as data by a machine of our own (`pickle`): no name in them is looked up and
//! nothing is called, so a file cannot do anything.

mod globals;
mod legacy;
mod pickle;
mod select;
mod storage;
mod tensor;
mod value;
mod write;
mod zip;

pub(crate) use zip::Archive;

use std::collections::BTreeMap;

use bytes::Bytes;

use super::shards::{self, Index};
use super::{FormatDef, HubKind, SourceFiles, WriteOptions, folder};
use crate::error::{Error, Result};
use crate::fsx;
use crate::hub::{Blob, Checkpoint, Hub, Tensor};
use crate::source::Listing;
use storage::{Storage, StorageId, Storages};
use value::Pickle;

/// The endings of an index of shards, and those of its shards.
const INDEXES: &[(&str, &str)] =
    &[(".bin.index.json", ".bin"), (".pt.index.json", ".pt"), (".pth.index.json", ".pth")];

/// The endings of files that may be of this format.
const ENDINGS: &[&str] = &[".pt", ".pth", ".bin", ".ckpt"];

/// Files of training that lie beside a model and are none.
const TRAINING: &[&str] = &["optimizer.", "rng_state", "scaler.", "scheduler.", "training_args."];

/// How much of a file is looked at to tell what it is: up to the mark of a tar archive.
const HEAD: u64 = 512;

/// Reads the bytes of a file: its state dict's tensors, slices of them where they are dense.
/// `state_dict` is the path of the state dict in the file (keys and indices parted by dots, `.` for
/// the outermost dictionary); else it is found, and an error when there are several.
pub fn from_bytes(data: &Bytes, state_dict: Option<&str>) -> Result<BTreeMap<String, Tensor>> {
    if data.is_empty() {
        return Err(Error::malformed("the file is empty"));
    }
    if data.starts_with(zip::MAGIC) {
        return from_zip(data, state_dict);
    }
    if is_tar(data) {
        return Err(Error::unsupported("a tar archive, as PyTorch wrote before version 0.1.10")
            .hint("load it with an old PyTorch and save its weights anew"));
    }
    if !legacy::starts(data) {
        return Err(Error::malformed("neither a zip archive nor a stream of PyTorch")
            .hint("the file is damaged or of another kind: fetch it again"));
    }
    let (pickle, stream) = legacy::read(data)?;
    tensors(&pickle, &stream, state_dict)
}

fn is_tar(data: &[u8]) -> bool {
    data.get(257..262) == Some(b"ustar")
}

fn tensors(
    pickle: &Pickle<'_>,
    storages: &dyn Storages,
    state_dict: Option<&str>,
) -> Result<BTreeMap<String, Tensor>> {
    let read = |(name, value): (String, _)| {
        let tensor = tensor::read(pickle, storages, value)
            .map_err(|e| e.item(format!("tensor `{name}`")))?;
        Ok((name, tensor))
    };
    select::tensors(pickle, state_dict)?.into_iter().map(read).collect()
}

/// The storages of a zip archive.
struct Entries<'a> {
    archive: Archive<'a>,
    /// The folder that everything in it is in, with its slash.
    folder: &'a str,
    big_endian: bool,
}

impl Storages for Entries<'_> {
    fn storage(&self, id: &StorageId<'_>) -> Result<Storage> {
        let name = format!("{}data/{}", self.folder, id.key);
        let bytes = self.archive.get(&name)?.ok_or_else(|| {
            Error::malformed(format!("the archive has no entry `{}`", name.escape_debug()))
        })?;
        let len = usize::try_from(id.bytes).ok().filter(|len| *len <= bytes.len());
        let len = len.ok_or_else(|| {
            Error::malformed(format!(
                "its storage is said to have {} bytes, and `{name}` has {}",
                id.bytes,
                bytes.len()
            ))
        })?;
        if id.view.is_some() {
            return Err(Error::malformed("a view of a storage, which archives do not have"));
        }
        Ok(Storage { dtype: id.dtype, bytes: bytes.slice(..len), big_endian: self.big_endian })
    }
}

/// The folder of an archive that `data.pkl` is in, with its slash.
fn archive_folder<'a>(archive: &Archive<'a>) -> Result<&'a str> {
    let folders = archive.names().filter_map(|name| name.strip_suffix("data.pkl"));
    let mut found = folders.filter(|folder| {
        folder.strip_suffix('/').is_some_and(|f| !f.is_empty() && !f.contains('/'))
    });
    match (found.next(), found.next()) {
        (Some(folder), None) => Ok(folder),
        (Some(_), Some(_)) => Err(Error::malformed("an archive with two files `data.pkl`")),
        (None, _) => Err(Error::malformed("the archive has no file `data.pkl`").hint(
            "this is no file that `torch.save` or `torch.jit.save` of version 1.6 or later wrote",
        )),
    }
}

fn from_zip(data: &Bytes, state_dict: Option<&str>) -> Result<BTreeMap<String, Tensor>> {
    let archive = Archive::read(data)?;
    let folder = archive_folder(&archive)?;
    let entry = |name: &str| archive.get(&format!("{folder}{name}"));
    let text = entry("data.pkl")?.ok_or_else(|| Error::bug("an entry that is gone"))?;
    let big_endian = match entry("byteorder")?.as_deref() {
        None | Some(b"little") => false,
        Some(b"big") => true,
        Some(other) => {
            let other = String::from_utf8_lossy(other.get(..other.len().min(32)).unwrap_or(other));
            return Err(Error::malformed(format!(
                "`{}` as the order of bytes",
                other.escape_debug()
            )));
        }
    };
    let (pickle, _) = pickle::read(&text)?;
    tensors(&pickle, &Entries { archive, folder, big_endian }, state_dict)
}

/// The ending of the shards that a file is the index of, if it is one.
fn shards_of(name: &str) -> Option<&'static str> {
    INDEXES.iter().find(|(index, _)| name.ends_with(index)).map(|(_, shard)| *shard)
}

/// Reads a source. `state_dict` is the path of the state dict in its files; see [`from_bytes`].
pub fn read_with(files: &SourceFiles, state_dict: Option<&str>) -> Result<Checkpoint> {
    let main = files
        .names
        .first()
        .ok_or_else(|| Error::source_missing("a source without files").file(&files.root))?;
    let path = files.path(main);
    let file = |path: &std::path::Path| {
        fsx::map(path).and_then(|data| from_bytes(&data, state_dict)).map_err(|e| e.file(path))
    };
    let tensors = match shards_of(main) {
        Some(ending) => Index::read(&path, ending)?.read_tensors(&path, files, file)?,
        None => file(&path)?,
    };
    let mut checkpoint = Checkpoint { tensors, ..Checkpoint::default() };
    folder::read(files, &mut checkpoint)?;
    Ok(checkpoint)
}

fn read_state_dict(files: &SourceFiles, state_dict: &str) -> Result<Hub> {
    read_with(files, Some(state_dict)).map(Hub::Checkpoint)
}

fn read_hub(files: &SourceFiles) -> Result<Hub> {
    read_with(files, None).map(Hub::Checkpoint)
}

/// Whether a file's bytes are of this format. Of zip archives with another ending than ours only
/// those are that have a `data.pkl`.
fn is_pytorch(listing: &Listing, name: &str) -> Result<bool> {
    let path = listing.root.join(name);
    let head = fsx::head(&path, HEAD)?;
    if head.starts_with(zip::MAGIC) {
        if ENDINGS.iter().any(|ending| name.ends_with(ending)) {
            return Ok(true);
        }
        let data = fsx::map(&path)?;
        let archive = Archive::read(&data);
        return Ok(archive.is_ok_and(|archive| archive_folder(&archive).is_ok()));
    }
    let tar = is_tar(&head) && (name.ends_with(".pt") || name.ends_with(".pth"));
    Ok(legacy::starts(&head) || tar)
}

fn detect(listing: &Listing) -> Result<Option<Vec<String>>> {
    let Some(main) = weights(listing)? else { return Ok(None) };
    let mut names = vec![main.to_owned()];
    if let Some(ending) = shards_of(main) {
        let index = Index::read(&listing.root.join(main), ending)?;
        names.extend(index.shards().map(str::to_owned));
    }
    names.extend(folder::companions(listing));
    Ok(Some(names))
}

/// The file that holds the weights, or the index of those that do. A folder that has safetensors
/// files is theirs.
fn weights(listing: &Listing) -> Result<Option<&str>> {
    if listing.single {
        let name = listing.top().next();
        return Ok(match name {
            Some(name) if shards_of(name).is_some() || is_pytorch(listing, name)? => Some(name),
            _ => None,
        });
    }
    if listing.top().any(|n| n.ends_with(".safetensors")) {
        return Ok(None);
    }
    for known in ["pytorch_model.bin", "pytorch_model.bin.index.json"] {
        if let Some(name) = listing.top().find(|n| *n == known)
            && (shards_of(name).is_some() || is_pytorch(listing, name)?)
        {
            return Ok(Some(name));
        }
    }
    let mut found: Vec<&str> = listing.top().filter(|n| shards_of(n).is_some()).collect();
    if let [one] = found.as_slice() {
        return Ok(Some(one));
    }
    for name in listing.top() {
        let ending = ENDINGS.iter().any(|ending| name.ends_with(ending));
        let training = TRAINING.iter().any(|start| name.starts_with(start));
        if ending && !training && is_pytorch(listing, name)? {
            found.push(name);
        }
    }
    match found.as_slice() {
        [] => Ok(None),
        [one] => Ok(Some(one)),
        several => Err(Error::source_missing(format!(
            "it is not clear which of these is the model: {}",
            several.join(", ")
        ))
        .hint("name one of the files as the source, or the model's file `pytorch_model.bin`")),
    }
}

fn write_hub(hub: &Hub, options: &WriteOptions) -> Result<Vec<Blob>> {
    let Hub::Checkpoint(checkpoint) = hub else {
        return Err(Error::bug("only a checkpoint is written as PyTorch"));
    };
    let name = match options.file_name.as_str() {
        "" => "pytorch_model.bin",
        name => name,
    };
    let mut blobs =
        shards::write(&checkpoint.tensors, name, options.split_max_size, write::layout)?;
    blobs.extend(folder::blobs(checkpoint)?);
    Ok(blobs)
}

/// PyTorch.
pub static PYTORCH: FormatDef = FormatDef {
    name: "pytorch",
    about: "PyTorch weights: `torch.save` of any version, TorchScript, shards with an index",
    holds: HubKind::Checkpoint,
    extensions: &["pt", "pth", "bin"],
    looks_for: "`pytorch_model.bin`, `pytorch_model.bin.index.json` or one `*.pt`, `*.pth`, `*.bin` or `*.ckpt` file",
    revision: 1,
    detect,
    names: None,
    splits: true,
    read_state_dict: Some(read_state_dict),
    read: Some(read_hub),
    write: Some(write_hub),
};
