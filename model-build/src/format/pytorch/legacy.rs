//! The stream of PyTorch before 1.6: a magic number, a version, what wrote it, the pickle, the keys
//! of the storages, and the storages. Elements have their lowest byte first whatever wrote them.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::pickle::{self, RESAVE};
use super::storage::{self, Storage, StorageId, Storages};
use super::value::{Node, Pickle, Value};
use crate::bytes::Cursor;
use crate::error::{Error, Result};

/// The first pickle's number, as bytes and as digits.
const MAGIC: &[u8] = &[0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];
const MAGIC_TEXT: &[u8] = b"119547037146038801333356L";
const VERSION: i64 = 1001;

/// Whether a file starts as such a stream does.
pub(super) fn starts(head: &[u8]) -> bool {
    let within = |magic: &[u8]| {
        head.get(..40.min(head.len())).unwrap_or_default().windows(magic.len()).any(|w| w == magic)
    };
    (head.first() == Some(&0x80) && within(MAGIC))
        || (head.first() == Some(&b'L') && within(MAGIC_TEXT))
}

/// Storages by key.
#[derive(Debug)]
pub(super) struct Stream {
    storages: BTreeMap<String, Bytes>,
}

impl Storages for Stream {
    fn storage(&self, id: &StorageId<'_>) -> Result<Storage> {
        let all = self.storages.get(id.key).ok_or_else(|| {
            Error::malformed(format!("the file has no storage `{}`", id.key.escape_debug()))
        })?;
        if all.len() as u64 != id.bytes {
            return Err(Error::malformed(format!(
                "its storage has {} bytes, and is said to have {}",
                all.len(),
                id.bytes
            )));
        }
        let (from, len) = id.view.unwrap_or((0, id.bytes));
        let range = usize::try_from(from).ok().zip(usize::try_from(len).ok());
        let range = range
            .and_then(|(from, len)| Some(from..from.checked_add(len)?))
            .filter(|range| range.end <= all.len());
        let range = range.ok_or_else(|| {
            Error::malformed(format!(
                "{len} bytes from {from} on, and its storage has {}",
                all.len()
            ))
        })?;
        Ok(Storage { dtype: id.dtype, bytes: all.slice(range), big_endian: false })
    }
}

/// Bytes of an element of each storage, by key: those of the class the key is first seen with.
fn widths<'a>(pickle: &Pickle<'a>) -> Result<BTreeMap<&'a str, u64>> {
    let mut out = BTreeMap::new();
    for node in &pickle.nodes {
        let Node::Persistent(id) = node else { continue };
        let tag = pickle.tuple(*id).and_then(|items| items.first());
        if tag.and_then(|tag| pickle.text(*tag)) == Some("storage") {
            let id = storage::storage_id(pickle, *id)?;
            out.entry(id.key).or_insert(storage::width(id.dtype));
        }
    }
    Ok(out)
}

/// Reads a stream: its pickle, and where its storages are.
pub(super) fn read(data: &Bytes) -> Result<(Pickle<'_>, Stream)> {
    let mut at = 0u64;
    let rest = |at: u64| {
        let from = usize::try_from(at).ok().and_then(|at| data.get(at..));
        from.ok_or_else(|| Error::bug("a pickle that ends past its file"))
    };
    let mut next = || -> Result<Pickle<'_>> {
        let (pickle, len) = pickle::read(rest(at)?)?;
        at += len;
        Ok(pickle)
    };
    let magic = next()?;
    if !matches!(magic.root, Value::Long(span) if matches!(magic.bytes(span), MAGIC | MAGIC_TEXT)) {
        return Err(Error::malformed("the file does not start with PyTorch's magic number"));
    }
    if next()?.root != Value::Int(VERSION) {
        return Err(
            Error::unsupported("a version of PyTorch's stream that is not 1001").hint(RESAVE)
        );
    }
    next()?; // sizes of C's types on the machine that wrote the file
    let pickle = next()?;
    let keys = next()?;
    let keys = keys
        .sequence(keys.root)
        .and_then(|items| items.iter().map(|key| keys.text(*key)).collect::<Option<Vec<_>>>())
        .ok_or_else(|| Error::malformed("the list of storages is none"))?;
    let widths = widths(&pickle)?;
    let mut cursor = Cursor::new(rest(at)?);
    let mut storages = BTreeMap::new();
    for key in keys {
        let item = || format!("storage `{}`", key.escape_debug());
        let width = widths
            .get(key)
            .ok_or_else(|| Error::malformed("a storage that no tensor refers to").item(item()))?;
        let len = cursor
            .u64()?
            .checked_mul(*width)
            .ok_or_else(|| Error::malformed("a storage of over 2^64 bytes").item(item()))?;
        let bytes = cursor
            .take(len)
            .map_err(|e| e.item(item()).hint("the file is truncated: fetch it again"))?;
        if storages.insert(key.to_owned(), data.slice_ref(bytes)).is_some() {
            return Err(Error::malformed("a storage that is there twice").item(item()));
        }
    }
    Ok((pickle, Stream { storages }))
}
