//! numpy's files: `.npy` (one array: a header in Python's syntax, then the elements) and `.npz` (a zip
//! archive of them). Format: `numpy.lib.format`, versions 1 to 3.

use std::collections::BTreeMap;
use std::path::Path;

use bytes::Bytes;

use super::Port;
use crate::bytes::Cursor;
use crate::error::{Error, Result};
use crate::format::pytorch::Archive;
use crate::fsx;
use crate::hub::{DType, Tensor};

const MAGIC: &[u8] = b"\x93NUMPY";

/// The arrays of an archive, by name.
pub(super) fn archive(path: &Path) -> Result<BTreeMap<String, Tensor>> {
    let data = fsx::map(path)?;
    let archive = Archive::read(&data)?;
    let mut out = BTreeMap::new();
    for entry in archive.names() {
        let Some(name) = entry.strip_suffix(".npy") else { continue };
        let bytes = archive.get(entry).map_err(|e| {
            e.hint("write it with `numpy.savez`; `numpy.savez_compressed` is not read")
        })?;
        let bytes = bytes.ok_or_else(|| Error::bug("an entry that is listed and not there"))?;
        out.insert(name.to_owned(), array(&bytes).map_err(|e| e.item(name))?);
    }
    Ok(out)
}

/// The one array of a file, which is the graph's one input.
pub(super) fn single(path: &Path, ports: &[Port]) -> Result<BTreeMap<String, Tensor>> {
    let [port] = ports else {
        let names: Vec<&str> = ports.iter().map(|port| port.name.as_str()).collect();
        return Err(Error::source_missing(format!(
            "an .npy file holds one array, and the graph has {} inputs: {}",
            ports.len(),
            names.join(", ")
        ))
        .hint("write an .npz file with an array for each: `numpy.savez(file, name=array, …)`"));
    };
    Ok(BTreeMap::from([(port.name.clone(), array(&fsx::map(path)?)?)]))
}

/// Reads one array; its elements are a slice of `data`.
pub(super) fn array(data: &Bytes) -> Result<Tensor> {
    let mut cursor = Cursor::new(data);
    if cursor.take(MAGIC.len() as u64).ok() != Some(MAGIC) {
        return Err(Error::malformed(
            "this is no array of numpy: it does not start with its magic",
        ));
    }
    let [major, _] = cursor.array()?;
    let len = match major {
        1 => u64::from(u16::from_le_bytes(cursor.array()?)),
        2 | 3 => u64::from(cursor.u32()?),
        other => return Err(Error::unsupported(format!("version {other} of numpy's format"))),
    };
    let header = String::from_utf8_lossy(cursor.take(len)?);
    if field(&header, "fortran_order") == Some("True") {
        return Err(Error::unsupported("an array in the order of Fortran")
            .hint("write it with `numpy.ascontiguousarray`"));
    }
    let descr = field(&header, "descr").unwrap_or_default();
    let dtype = dtype(descr.trim_matches(|c| c == '\'' || c == '"')).ok_or_else(|| {
        Error::unsupported(format!("elements of numpy's type {}", descr.escape_debug()))
            .hint("convert the array, as with `.astype(numpy.float32)`")
    })?;
    let shape = shape(&header)?;
    let size =
        shape.iter().try_fold(1u64, |n, d| n.checked_mul(*d)).and_then(|n| dtype.bytes_for(n));
    let size = size.ok_or_else(|| Error::malformed(format!("an array of shape {shape:?}")))?;
    let body = cursor.take(size)?;
    Tensor::new(dtype, shape, data.slice_ref(body))
}

/// The text of a field of the header: up to the comma that ends it.
fn field<'h>(header: &'h str, name: &str) -> Option<&'h str> {
    let (_, rest) = header.split_once(&format!("'{name}':"))?;
    rest.split([',', '}']).next().map(str::trim)
}

fn shape(header: &str) -> Result<Vec<u64>> {
    let wrong = || Error::malformed("the array's header has no shape");
    let (_, rest) = header.split_once("'shape':").ok_or_else(wrong)?;
    let inside = rest.trim_start().strip_prefix('(').and_then(|rest| rest.split_once(')'));
    let (inside, _) = inside.ok_or_else(wrong)?;
    let lengths = inside.split(',').map(str::trim).filter(|text| !text.is_empty());
    lengths.map(|text| text.trim_end_matches('L').parse().map_err(|_| wrong())).collect()
}

fn dtype(descr: &str) -> Option<DType> {
    Some(match descr {
        "<f4" => DType::F32,
        "<f8" => DType::F64,
        "<f2" => DType::F16,
        "<i8" => DType::I64,
        "<i4" => DType::I32,
        "<i2" => DType::I16,
        "|i1" => DType::I8,
        "<u8" => DType::U64,
        "<u4" => DType::U32,
        "<u2" => DType::U16,
        "|u1" => DType::U8,
        "|b1" => DType::Bool,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(header: &str, body: &[u8]) -> Bytes {
        let mut out = MAGIC.to_vec();
        out.extend([1, 0]);
        out.extend(u16::try_from(header.len()).unwrap().to_le_bytes());
        out.extend(header.as_bytes());
        out.extend(body);
        out.into()
    }

    #[test]
    fn an_array_is_read_as_numpy_writes_it() {
        let header = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 1), }          \n";
        let tensor = array(&file(header, &[0, 0, 128, 63, 0, 0, 0, 64])).unwrap();
        assert_eq!((tensor.dtype(), tensor.shape()), (DType::F32, &[2, 1][..]));
        assert_eq!(tensor.to_f32().unwrap(), [1.0, 2.0]);
        let scalar = "{'descr': '<i8', 'fortran_order': False, 'shape': (), }";
        assert_eq!(array(&file(scalar, &[7; 8])).unwrap().shape(), [0u64; 0]);
    }

    #[test]
    fn what_cannot_be_read_is_an_error() {
        let h = |descr: &str, order: &str, shape: &str| {
            format!("{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}")
        };
        for (header, want) in [
            (h("'<f4'", "True", "(1,)"), "Fortran"),
            (h("'>f4'", "False", "(1,)"), "numpy's type"),
            (h("'|O'", "False", "(1,)"), "numpy's type"),
            (h("'<f4'", "False", "(9,)"), "truncated"),
            (h("'<f4'", "False", "(-1,)"), "no shape"),
            (h("'<f4'", "False", "(4294967296, 4294967296, 16)"), "shape"),
            ("".to_owned(), "numpy's type"),
        ] {
            let error = array(&file(&header, &[0; 4])).unwrap_err().to_string();
            assert!(error.contains(want), "{header}: {error}");
        }
        assert!(array(&Bytes::from_static(b"PK")).is_err());
    }
}
