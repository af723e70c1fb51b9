//! Hub → GGUF bytes: version 3, little-endian, laid out as ggml and gguf-py do.

use bytes::Bytes;

use super::{MAGIC, MAX_DIMS, read, types};
use crate::error::{Error, Result};
use crate::hub::{Gguf, Meta, MetaArray, Segment, Tensor};

const VERSION: u32 = 3;

/// The number of a value's type.
fn kind(value: &Meta) -> u32 {
    match value {
        Meta::U8(_) => 0,
        Meta::I8(_) => 1,
        Meta::U16(_) => 2,
        Meta::I16(_) => 3,
        Meta::U32(_) => 4,
        Meta::I32(_) => 5,
        Meta::F32(_) => 6,
        Meta::Bool(_) => 7,
        Meta::Text(_) => 8,
        Meta::Array(_) => 9,
        Meta::U64(_) => 10,
        Meta::I64(_) => 11,
        Meta::F64(_) => 12,
    }
}

fn string(text: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&(text.len() as u64).to_le_bytes());
    out.extend_from_slice(text);
}

fn put(value: &Meta, out: &mut Vec<u8>) {
    match value {
        Meta::U8(v) => out.push(*v),
        Meta::I8(v) => out.extend_from_slice(&v.to_le_bytes()),
        Meta::U16(v) => out.extend_from_slice(&v.to_le_bytes()),
        Meta::I16(v) => out.extend_from_slice(&v.to_le_bytes()),
        Meta::U32(v) => out.extend_from_slice(&v.to_le_bytes()),
        Meta::I32(v) => out.extend_from_slice(&v.to_le_bytes()),
        Meta::F32(v) => out.extend_from_slice(&v.to_le_bytes()),
        Meta::Bool(v) => out.push((*v).into()),
        Meta::Text(v) => string(v, out),
        Meta::Array(v) => put_array(v, out),
        Meta::U64(v) => out.extend_from_slice(&v.to_le_bytes()),
        Meta::I64(v) => out.extend_from_slice(&v.to_le_bytes()),
        Meta::F64(v) => out.extend_from_slice(&v.to_le_bytes()),
    }
}

fn put_array(array: &MetaArray, out: &mut Vec<u8>) {
    fn all<T: Copy, const N: usize>(
        kind: u32,
        values: &[T],
        bytes: fn(T) -> [u8; N],
        out: &mut Vec<u8>,
    ) {
        head(kind, values.len(), out);
        out.extend(values.iter().flat_map(|v| bytes(*v)));
    }
    fn head(kind: u32, len: usize, out: &mut Vec<u8>) {
        out.extend_from_slice(&kind.to_le_bytes());
        out.extend_from_slice(&(len as u64).to_le_bytes());
    }
    match array {
        MetaArray::U8(v) => all(0, v, u8::to_le_bytes, out),
        MetaArray::I8(v) => all(1, v, i8::to_le_bytes, out),
        MetaArray::U16(v) => all(2, v, u16::to_le_bytes, out),
        MetaArray::I16(v) => all(3, v, i16::to_le_bytes, out),
        MetaArray::U32(v) => all(4, v, u32::to_le_bytes, out),
        MetaArray::I32(v) => all(5, v, i32::to_le_bytes, out),
        MetaArray::F32(v) => all(6, v, f32::to_le_bytes, out),
        MetaArray::Bool(v) => all(7, v, |b| [u8::from(b)], out),
        MetaArray::Text(v) => {
            head(8, v.len(), out);
            for text in v {
                string(text, out);
            }
        }
        MetaArray::Array(v) => {
            head(9, v.len(), out);
            for inner in v {
                put_array(inner, out);
            }
        }
        MetaArray::U64(v) => all(10, v, u64::to_le_bytes, out),
        MetaArray::I64(v) => all(11, v, i64::to_le_bytes, out),
        MetaArray::F64(v) => all(12, v, f64::to_le_bytes, out),
    }
}

/// Writes a tensor's entry of the header.
fn put_info(name: &str, tensor: &Tensor, offset: u64, out: &mut Vec<u8>) -> Result<()> {
    let dims = u32::try_from(tensor.shape().len()).unwrap_or(u32::MAX);
    if dims > MAX_DIMS {
        return Err(Error::unsupported(format!(
            "a tensor of shape {:?}; GGUF has at most {MAX_DIMS} dimensions",
            tensor.shape()
        )));
    }
    string(name.as_bytes(), out);
    out.extend_from_slice(&dims.to_le_bytes());
    for dim in tensor.shape().iter().rev() {
        out.extend_from_slice(&dim.to_le_bytes());
    }
    out.extend_from_slice(&types::id_of(tensor.dtype())?.to_le_bytes());
    out.extend_from_slice(&offset.to_le_bytes());
    Ok(())
}

/// What a key or a tensor's name must be for the file to be read again.
fn check_names<'a>(what: &str, names: impl Iterator<Item = &'a str>) -> Result<()> {
    let mut seen = std::collections::HashSet::new();
    for name in names {
        let wrong = if name.is_empty() {
            "is empty"
        } else if name.contains('\0') {
            "has a NUL"
        } else if !seen.insert(name) {
            "is there twice"
        } else {
            continue;
        };
        return Err(Error::malformed(format!("the {what} `{}` {wrong}", name.escape_debug())));
    }
    Ok(())
}

/// Lays out a file: the header, then each tensor followed by zeros up to the alignment.
///
/// # Errors
/// A tensor that GGUF cannot express, an alignment that is none, or a name that is empty or there
/// twice.
pub(in crate::format) fn segments(gguf: &Gguf) -> Result<Vec<Segment>> {
    check_names("key", gguf.metadata.iter().map(|(key, _)| key.as_str()))?;
    check_names("name of a tensor", gguf.tensors.iter().map(|(name, _)| name.as_str()))?;
    let alignment = read::alignment(&gguf.metadata)?;
    let mut header = MAGIC.to_vec();
    header.extend_from_slice(&VERSION.to_le_bytes());
    header.extend_from_slice(&(gguf.tensors.len() as u64).to_le_bytes());
    header.extend_from_slice(&(gguf.metadata.len() as u64).to_le_bytes());
    for (key, value) in &gguf.metadata {
        string(key.as_bytes(), &mut header);
        header.extend_from_slice(&kind(value).to_le_bytes());
        put(value, &mut header);
    }
    let mut offset = 0u64;
    for (name, tensor) in &gguf.tensors {
        let item = || format!("tensor `{name}`");
        put_info(name, tensor, offset, &mut header).map_err(|e| e.item(item()))?;
        offset = padded(tensor.byte_len(), alignment)
            .and_then(|len| offset.checked_add(len))
            .ok_or_else(|| Error::unsupported("a file of more than 2^64 bytes").item(item()))?;
    }
    let zeros = Bytes::from(vec![0; usize::try_from(alignment).unwrap_or(0)]);
    let padding = |len: u64| {
        let short = padded(len, alignment).map_or(0, |to| to - len);
        zeros.slice(..usize::try_from(short).unwrap_or(0).min(zeros.len()))
    };
    if !gguf.tensors.is_empty() {
        let fill = padding(header.len() as u64);
        header.extend_from_slice(&fill);
    }
    let mut out = vec![Segment::Bytes(header.into())];
    for (_, tensor) in &gguf.tensors {
        out.push(Segment::Tensor(tensor.clone()));
        let fill = padding(tensor.byte_len());
        if !fill.is_empty() {
            out.push(Segment::Bytes(fill));
        }
    }
    Ok(out)
}

/// A length filled up to the alignment; `None` past 2^64.
pub(super) fn padded(len: u64, alignment: u64) -> Option<u64> {
    len.checked_next_multiple_of(alignment)
}
