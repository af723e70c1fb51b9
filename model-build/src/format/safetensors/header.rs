//! One safetensors file: the header's rules, and tensors as slices of the map.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;
use serde::Deserialize;
use serde::de::{Error as _, MapAccess, Visitor};

use super::super::shards::{Unique, json};
use crate::bytes::Cursor;
use crate::error::{Error, Result};
use crate::hub::{DType, Tensor};

/// The longest header, as upstream has it.
pub(super) const HEADER_CAP: u64 = 100_000_000;

/// The names of element types, in upstream's order, which writers sort by.
pub(super) const DTYPES: &[(&str, DType)] = &[
    ("BOOL", DType::Bool),
    ("F4", DType::F4E2M1),
    ("F6_E2M3", DType::F6E2M3),
    ("F6_E3M2", DType::F6E3M2),
    ("U8", DType::U8),
    ("I8", DType::I8),
    ("F8_E5M2", DType::F8E5M2),
    ("F8_E4M3", DType::F8E4M3),
    ("F8_E8M0", DType::F8E8M0),
    ("F8_E4M3FNUZ", DType::F8E4M3Fnuz),
    ("F8_E5M2FNUZ", DType::F8E5M2Fnuz),
    ("I16", DType::I16),
    ("U16", DType::U16),
    ("F16", DType::F16),
    ("BF16", DType::BF16),
    ("I32", DType::I32),
    ("U32", DType::U32),
    ("F32", DType::F32),
    ("C64", DType::C64),
    ("F64", DType::F64),
    ("I64", DType::I64),
    ("U64", DType::U64),
];

/// What a file holds.
#[derive(Debug, Default)]
pub struct File {
    /// Tensors by name.
    pub tensors: BTreeMap<String, Tensor>,
    /// `__metadata__`.
    pub metadata: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Info {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: (u64, u64),
}

/// The header's object: tensors, and metadata under a key of its own.
#[derive(Default)]
struct Header {
    tensors: BTreeMap<String, Info>,
    metadata: BTreeMap<String, String>,
}

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Keys;
        impl<'de> Visitor<'de> for Keys {
            type Value = Header;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
                let mut out = Header::default();
                let mut described = false;
                while let Some(key) = map.next_key::<String>()? {
                    let meta = key == "__metadata__";
                    if (meta && described) || out.tensors.contains_key(&key) {
                        return Err(A::Error::custom(format!("the key `{key}` is there twice")));
                    }
                    let at = |e: A::Error| A::Error::custom(format!("in `{key}`: {e}"));
                    if meta {
                        described = true;
                        let found = map.next_value::<Option<Unique<String>>>().map_err(at)?;
                        out.metadata = found.map(|m| m.0).unwrap_or_default();
                    } else {
                        let info = map.next_value().map_err(at)?;
                        out.tensors.insert(key, info);
                    }
                }
                Ok(out)
            }
        }
        from.deserialize_map(Keys)
    }
}

/// Reads a file. Every byte of its data belongs to exactly one tensor.
pub(super) fn read(bytes: &Bytes) -> Result<File> {
    if bytes.is_empty() {
        return Err(Error::malformed("the file is empty"));
    }
    let mut cursor = Cursor::new(bytes);
    let len = cursor.u64()?;
    if len > HEADER_CAP {
        return Err(Error::malformed(format!(
            "its header is said to be {len} bytes, and {HEADER_CAP} is the most there may be"
        ))
        .hint("this is no safetensors file, or its first 8 bytes are damaged"));
    }
    let text = cursor.take(len).map_err(|e| e.item("the header").hint(TRUNCATED))?;
    let header: Header =
        json(text).map_err(|e| Error::malformed(format!("the header is not valid: {e}")))?;
    let data = bytes.slice_ref(cursor.rest());
    let mut infos: Vec<(&String, &Info)> = header.tensors.iter().collect();
    infos.sort_by_key(|(_, info)| info.data_offsets);
    let mut tensors = BTreeMap::new();
    let mut end = 0;
    for (name, info) in infos {
        let tensor =
            tensor(info, &mut end, &data).map_err(|e| e.item(format!("tensor `{name}`")))?;
        tensors.insert(name.clone(), tensor);
    }
    if end != data.len() as u64 {
        return Err(Error::malformed(format!(
            "the tensors take {end} bytes, and {} follow the header",
            data.len()
        )));
    }
    Ok(File { tensors, metadata: header.metadata })
}

const TRUNCATED: &str = "the file is truncated: fetch it again";

/// Takes the tensor that starts where the one before it ended.
fn tensor(info: &Info, end: &mut u64, data: &Bytes) -> Result<Tensor> {
    let (from, to) = info.data_offsets;
    let named = DTYPES.iter().find(|(name, _)| *name == info.dtype);
    let dtype = named
        .map(|(_, d)| *d)
        .ok_or_else(|| Error::malformed(format!("there is no element type `{}`", info.dtype)))?;
    if from > to {
        return Err(Error::malformed(format!("its data ends at {to}, before it begins at {from}")));
    }
    if from < *end {
        return Err(Error::malformed(format!(
            "its data begins at {from}, inside that of the tensor before it, which ends at {end}"
        )));
    }
    if from > *end {
        return Err(Error::malformed(format!(
            "its data begins at {from}, and the bytes from {end} on belong to no tensor"
        )));
    }
    let range = usize::try_from(from).ok().zip(usize::try_from(to).ok());
    let Some((from, to)) = range.filter(|(_, to)| *to <= data.len()) else {
        return Err(Error::malformed(format!(
            "its data ends at {to}, and {} bytes follow the header",
            data.len()
        ))
        .hint(TRUNCATED));
    };
    let bits = info.shape.iter().try_fold(dtype.bits(), |n, d| n.checked_mul(*d));
    if bits.is_none_or(|bits| bits % 8 != 0) {
        return Err(Error::malformed(format!(
            "{dtype} of shape {:?} is no whole number of bytes below 2^61",
            info.shape
        )));
    }
    let tensor = Tensor::new(dtype, info.shape.clone(), data.slice(from..to))?;
    *end = to as u64;
    Ok(tensor)
}
