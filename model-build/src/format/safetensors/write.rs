//! One safetensors file, laid out byte for byte as the `safetensors` crate has it.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::Serialize;

use super::super::shards::Tensors;
use super::header::{DTYPES, HEADER_CAP};
use crate::error::{Error, Result};
use crate::hub::{Segment, Tensor};

/// What the header says of a tensor; the fields stand in upstream's order.
#[derive(Serialize)]
struct Info<'a> {
    dtype: &'a str,
    shape: &'a [u64],
    data_offsets: (u64, u64),
}

/// The place of a tensor's element type in upstream's order, and its name there.
fn element_type(tensor: &Tensor) -> Result<(usize, &'static str)> {
    let dtype = tensor.dtype();
    let found = DTYPES.iter().enumerate().find(|(_, (_, d))| *d == dtype);
    let (place, (name, _)) = found.ok_or_else(|| {
        Error::unsupported(format!("safetensors has no element type {dtype}"))
            .hint("write the model as GGUF, or give the tensor another type")
    })?;
    if !(tensor.len().checked_mul(dtype.bits())).is_some_and(|bits| bits.is_multiple_of(8)) {
        return Err(Error::unsupported(format!(
            "{dtype} of shape {:?} is no whole number of bytes, which safetensors asks for",
            tensor.shape()
        )));
    }
    Ok((place, name))
}

/// Appends `"key":value,` to an object's text.
fn entry(out: &mut String, key: &str, value: &impl Serialize) -> Result<()> {
    let bug = |e| Error::bug("a header that is no JSON").caused_by(e);
    out.push_str(&serde_json::to_string(key).map_err(bug)?);
    out.push(':');
    out.push_str(&serde_json::to_string(value).map_err(bug)?);
    out.push(',');
    Ok(())
}

/// Lays out a file. Tensors with wide elements come first, so that each is aligned; those of a type
/// are ordered by name. The header is padded with spaces to a multiple of 8 bytes.
pub(super) fn layout(
    tensors: &Tensors<'_>,
    metadata: &BTreeMap<String, String>,
) -> Result<Vec<Segment>> {
    let mut order = Vec::new();
    for (name, tensor) in tensors {
        let at = |e: Error| e.item(format!("tensor `{name}`"));
        if *name == "__metadata__" {
            return Err(at(Error::unsupported("safetensors keeps this name for itself")));
        }
        let (place, dtype) = element_type(tensor).map_err(at)?;
        order.push((std::cmp::Reverse(place), *name, dtype, *tensor));
    }
    order.sort_unstable_by_key(|(place, name, ..)| (*place, *name));
    let mut header = String::from("{");
    if !metadata.is_empty() {
        entry(&mut header, "__metadata__", metadata)?;
    }
    let mut end = 0u64;
    for (_, name, dtype, tensor) in &order {
        let from = end;
        end = end
            .checked_add(tensor.byte_len())
            .ok_or_else(|| Error::unsupported("tensors of more than 2^64 bytes in one file"))?;
        let info = Info { dtype, shape: tensor.shape(), data_offsets: (from, end) };
        entry(&mut header, name, &info)?;
    }
    if header.ends_with(',') {
        header.pop();
    }
    header.push('}');
    header.extend(std::iter::repeat_n(' ', header.len().next_multiple_of(8) - header.len()));
    let len = header.len() as u64;
    if len > HEADER_CAP {
        return Err(Error::unsupported(format!(
            "a safetensors header of {len} bytes, and {HEADER_CAP} is the most there may be"
        ))
        .hint("write the model in shards"));
    }
    let mut head = len.to_le_bytes().to_vec();
    head.extend_from_slice(header.as_bytes());
    let data = order.into_iter().map(|(.., tensor)| Segment::Tensor(tensor.clone()));
    Ok(std::iter::once(Segment::Bytes(Bytes::from(head))).chain(data).collect())
}
