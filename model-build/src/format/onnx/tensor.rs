//! `TensorProto` → tensor: raw bytes as slices of the map, typed fields as little-endian bytes,
//! external data mapped from beside the model.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::{proto, types};
use crate::error::{Error, Result};
use crate::fsx;
use crate::hub::{DType, Note, SparseTensor, Tensor};
use crate::source;

/// Where external data is looked for.
pub(super) enum Beside<'a> {
    /// Beside this model file.
    File(&'a Path),
    /// Nowhere: the model is bytes alone.
    Nothing,
}

/// Finds and maps external data, each file once.
pub(super) struct External<'a> {
    beside: Beside<'a>,
    maps: HashMap<PathBuf, Bytes>,
}

impl<'a> External<'a> {
    /// For a model at that place.
    pub(super) fn new(beside: Beside<'a>) -> Self {
        Self { beside, maps: HashMap::new() }
    }

    fn bytes(&mut self, place: &Place, want: u64) -> Result<Bytes> {
        let Beside::File(model) = self.beside else {
            return Err(Error::source_missing(format!(
                "its data is in the file `{}`, and the model was given as bytes alone",
                place.location
            )));
        };
        let path = locate(model, &place.location)?;
        let map = match self.maps.get(&path) {
            Some(map) => map.clone(),
            None => {
                let map = fsx::map(&path)?;
                self.maps.insert(path.clone(), map.clone());
                map
            }
        };
        let len = place.length.unwrap_or(want);
        let slice = usize::try_from(place.offset)
            .ok()
            .zip(usize::try_from(len).ok())
            .and_then(|(from, len)| Some(from..from.checked_add(len)?))
            .filter(|range| range.end <= map.len())
            .map(|range| map.slice(range));
        slice.ok_or_else(|| {
            Error::malformed(format!(
                "its data is said to be {len} bytes at offset {} of a file of {} bytes",
                place.offset,
                map.len()
            ))
            .file(path)
            .hint("the data file is truncated or belongs to another model")
        })
    }
}

/// What the `external_data` of a tensor says.
#[derive(Debug)]
pub(super) struct Place {
    /// Path of the file, relative to the model's folder.
    pub(super) location: String,
    /// First byte.
    pub(super) offset: u64,
    /// Number of bytes, if given.
    pub(super) length: Option<u64>,
}

/// The place of an external tensor's data; an optional checksum is not looked at.
pub(super) fn place(tensor: &proto::Tensor) -> Result<Place> {
    let get =
        |key: &str| tensor.external_data.iter().find(|e| e.key == key).map(|e| e.value.as_str());
    let number = |key: &str| {
        get(key)
            .map(|text| {
                text.parse::<u64>().map_err(|_| {
                    Error::malformed(format!("`{text}` as the {key} of its external data"))
                })
            })
            .transpose()
    };
    let location = get("location")
        .ok_or_else(|| Error::malformed("its data is external, and no location is given"))?;
    Ok(Place {
        location: location.to_owned(),
        offset: number("offset")?.unwrap_or(0),
        length: number("length")?,
    })
}

/// The error for a location that leaves the model's folder.
pub(super) fn outside(location: &str) -> Error {
    Error::malformed(format!(
        "external data at `{}`, which is not a relative path below the model's folder",
        location.escape_debug()
    ))
    .hint(
        "such a model could read any file of this machine: use models whose data lies beside them",
    )
}

/// The file of a location: below the model's folder, links resolved. A model file that is itself a
/// link (as in the cache of the Hugging Face hub) may also have its data beside the link's end.
pub(super) fn locate(model: &Path, location: &str) -> Result<PathBuf> {
    if !source::is_inside(location) {
        return Err(outside(location));
    }
    let folder = model.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let path = folder.join(location);
    let real = fsx::canonicalize(&path)?;
    let roots = [
        fsx::canonicalize(folder)?,
        fsx::canonicalize(model)?.parent().map(Path::to_owned).unwrap_or_default(),
    ];
    if !roots.iter().any(|root| real.starts_with(root)) {
        return Err(Error::malformed(format!(
            "external data at `{location}`, a link that leads out of the model's folder"
        ))
        .file(path)
        .hint("put the data file itself beside the model"));
    }
    fsx::stat(&real)?;
    Ok(real)
}

/// How messages call a tensor.
fn label(name: &str) -> String {
    if name.is_empty() { "a tensor without a name".to_owned() } else { format!("tensor `{name}`") }
}

/// Reads a tensor. Its name becomes part of the note only if `keep_name`.
pub(super) fn read(
    message: &proto::Tensor,
    keep_name: bool,
    external: &mut External<'_>,
) -> Result<Tensor> {
    let tensor = contents(message, external).map_err(|e| e.item(label(&message.name)))?;
    let padding = !message.doc_string.is_empty() && message.doc_string.bytes().all(|b| b == b' ');
    Ok(tensor.with_note(Note {
        name: if keep_name { message.name.clone() } else { String::new() },
        doc: if padding { String::new() } else { message.doc_string.clone() },
        metadata: super::read::entries(&message.metadata_props),
    }))
}

/// Lengths as ONNX holds them, checked.
pub(super) fn shape(dims: &[i64]) -> Result<Vec<u64>> {
    dims.iter()
        .map(|d| {
            u64::try_from(*d)
                .map_err(|_| Error::malformed(format!("negative dimension in {dims:?}")))
        })
        .collect()
}

fn contents(message: &proto::Tensor, external: &mut External<'_>) -> Result<Tensor> {
    let dtype = types::dtype(message.data_type)?;
    let shape = shape(&message.dims)?;
    if message.segment.is_some() {
        return Err(Error::unsupported("a tensor stored in segments"));
    }
    let is_external = message.data_location == proto::EXTERNAL;
    let fields = [
        ("raw_data", message.raw_data.is_some()),
        ("float_data", !message.float_data.is_empty()),
        ("int32_data", !message.int32_data.is_empty()),
        ("string_data", !message.string_data.is_empty()),
        ("int64_data", !message.int64_data.is_empty()),
        ("double_data", !message.double_data.is_empty()),
        ("uint64_data", !message.uint64_data.is_empty()),
        ("external data", is_external),
    ];
    let mut given = fields.iter().filter(|(_, there)| *there).map(|(name, _)| *name);
    let field = given.next().unwrap_or("nothing");
    if let Some(other) = given.next() {
        return Err(Error::malformed(format!(
            "its contents are given twice: as {field} and {other}"
        )));
    }
    if dtype == DType::String {
        if !matches!(field, "string_data" | "nothing") {
            return Err(Error::malformed(format!("strings given as {field}")));
        }
        return Tensor::from_strings(shape, &message.string_data);
    }
    let bytes = match field {
        "raw_data" => message.raw_data.clone().unwrap_or_default(),
        "external data" => {
            let want = shape
                .iter()
                .try_fold(1u64, |n, d| n.checked_mul(*d))
                .and_then(|n| dtype.bytes_for(n))
                .ok_or_else(|| Error::malformed(format!("{dtype}{shape:?} passes 2^64 bytes")))?;
            external.bytes(&place(message)?, want)?
        }
        "nothing" => Bytes::new(),
        _ => typed(message, dtype, field)?,
    };
    Tensor::new(dtype, shape, bytes)
}

/// The bytes of a typed data field.
fn typed(message: &proto::Tensor, dtype: DType, field: &str) -> Result<Bytes> {
    use DType::{
        BF16, Bool, C64, C128, F4E2M1, F6E2M3, F6E3M2, F8E4M3, F8E4M3Fnuz, F8E5M2, F8E5M2Fnuz,
        F8E8M0, F16, F32, F64, I2, I4, I8, I16, I32, I64, U2, U4, U8, U16, U32, U64,
    };
    let ints = &message.int32_data;
    Ok(match (field, dtype) {
        ("float_data", F32 | C64) => {
            message.float_data.iter().flat_map(|v| v.to_le_bytes()).collect()
        }
        ("double_data", F64 | C128) => {
            message.double_data.iter().flat_map(|v| v.to_le_bytes()).collect()
        }
        ("int64_data", I64) => message.int64_data.iter().flat_map(|v| v.to_le_bytes()).collect(),
        ("uint64_data", U64) => message.uint64_data.iter().flat_map(|v| v.to_le_bytes()).collect(),
        ("uint64_data", U32) => {
            let values = message.uint64_data.iter().map(|v| {
                u32::try_from(*v).map(u32::to_le_bytes).map_err(|_| out_of_range(*v, dtype))
            });
            values.collect::<Result<Vec<_>>>()?.concat().into()
        }
        ("int32_data", I32) => ints.iter().flat_map(|v| v.to_le_bytes()).collect(),
        ("int32_data", Bool) => ints.iter().map(|v| u8::from(*v != 0)).collect(),
        ("int32_data", I16 | U16 | F16 | BF16) => {
            let values = ints.iter().map(|v| bits16(*v).ok_or_else(|| out_of_range(*v, dtype)));
            values.collect::<Result<Vec<_>>>()?.concat().into()
        }
        // Sub-byte types come as whole bytes here, as they do in raw_data.
        (
            "int32_data",
            I8 | U8 | F8E4M3 | F8E4M3Fnuz | F8E5M2 | F8E5M2Fnuz | F8E8M0 | I4 | U4 | F4E2M1 | I2
            | U2,
        ) => {
            let values = ints.iter().map(|v| bits8(*v).ok_or_else(|| out_of_range(*v, dtype)));
            values.collect::<Result<Vec<u8>>>()?.into()
        }
        ("int32_data", F6E2M3 | F6E3M2) => pack6(ints, dtype)?.into(),
        _ => return Err(Error::malformed(format!("{dtype} elements given as {field}"))),
    })
}

fn out_of_range(value: impl std::fmt::Display, dtype: DType) -> Error {
    Error::malformed(format!("{value} is no value of {dtype}"))
}

/// The low 16 bits of a number that is a signed or unsigned 16-bit value.
fn bits16(v: i32) -> Option<[u8; 2]> {
    let unsigned = u16::try_from(v).ok().map(u16::to_le_bytes);
    unsigned.or_else(|| i16::try_from(v).ok().map(i16::to_le_bytes))
}

/// The low 8 bits of a number that is a signed or unsigned 8-bit value.
fn bits8(v: i32) -> Option<u8> {
    u8::try_from(v).ok().or_else(|| i8::try_from(v).ok().map(i8::cast_unsigned))
}

/// Four 6-bit elements to three bytes, the first in the lowest bits.
fn pack6(values: &[i32], dtype: DType) -> Result<Vec<u8>> {
    let mut out = Vec::with_capacity(values.len());
    let (mut pending, mut held) = (0u32, 0u32);
    for v in values {
        let bits =
            u32::try_from(*v).ok().filter(|b| *b < 64).ok_or_else(|| out_of_range(v, dtype))?;
        pending |= bits << held;
        held += 6;
        while held >= 8 {
            out.extend(pending.to_le_bytes().first());
            pending >>= 8;
            held -= 8;
        }
    }
    if held > 0 {
        out.extend(pending.to_le_bytes().first());
    }
    Ok(out)
}

/// Reads a sparse tensor; the name is that of its values.
pub(super) fn read_sparse(
    message: &proto::SparseTensor,
    keep_name: bool,
    external: &mut External<'_>,
) -> Result<SparseTensor> {
    let missing = |what: &str| Error::malformed(format!("a sparse tensor without {what}"));
    let values = message.values.as_ref().ok_or_else(|| missing("values"))?;
    let at = |e: Error| e.item(label(&values.name));
    let indices = message.indices.as_ref().ok_or_else(|| at(missing("indices")))?;
    let sparse = SparseTensor {
        values: read(values, keep_name, external)?,
        indices: read(indices, true, external)?,
        shape: shape(&message.dims).map_err(at)?,
    };
    check_sparse(&sparse).map_err(at)?;
    Ok(sparse)
}

/// The stored positions are ascending and inside the shape.
fn check_sparse(sparse: &SparseTensor) -> Result<()> {
    let [count] = *sparse.values.shape() else {
        return Err(Error::malformed("the values of a sparse tensor are no vector"));
    };
    if sparse.indices.dtype() != DType::I64 {
        return Err(Error::malformed("the indices of a sparse tensor are no i64"));
    }
    let rank = sparse.shape.len() as u64;
    let width = match *sparse.indices.shape() {
        [n] if n == count => None,
        [n, r] if n == count && r == rank => Some(sparse.shape.len()),
        ref other => {
            return Err(Error::malformed(format!(
                "indices of shape {other:?} for {count} values of a sparse tensor of rank {rank}"
            )));
        }
    };
    let total = sparse
        .shape
        .iter()
        .try_fold(1u64, |n, d| n.checked_mul(*d))
        .ok_or_else(|| Error::malformed("a sparse tensor of more than 2^64 elements"))?;
    let flat = |coordinates: &[i64]| {
        let inside =
            |(c, d): (&i64, &u64)| u64::try_from(*c).ok().filter(|c| c < d).map(|c| (c, *d));
        match width {
            None => coordinates.first().and_then(|c| inside((c, &total))).map(|(c, _)| c),
            Some(_) => coordinates
                .iter()
                .zip(&sparse.shape)
                .try_fold(0u64, |at, pair| inside(pair).map(|(c, d)| at * d + c)),
        }
    };
    let indices = sparse.indices.to_i64()?;
    let mut last = None;
    for coordinates in indices.chunks(width.unwrap_or(1).max(1)) {
        let at = flat(coordinates);
        if at.is_none() || (last.is_some() && at <= last) {
            return Err(Error::malformed(format!(
                "index {coordinates:?} of a sparse tensor is outside its shape or out of order"
            )));
        }
        last = at;
    }
    Ok(())
}
