//! What a backend must know of an ONNX file before it loads it: which initializers lie outside the
//! protobuf, and which nodes it is known to compute wrongly. A scan, nothing is decoded that is
//! not asked for.
//!
//! Field numbers are those of `onnx.proto3`.

use crate::error::{Error, ErrorKind};

/// An initializer whose bytes lie outside the protobuf.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "ort"), allow(dead_code))]
pub(crate) struct External<'a> {
    pub(crate) name: &'a str,
    /// `TensorProto.DataType`.
    pub(crate) data_type: u64,
    pub(crate) dims: Vec<i64>,
    pub(crate) location: &'a str,
    pub(crate) offset: usize,
    pub(crate) len: usize,
}

/// A field of a message: its number and what stands there.
enum Field<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
    Fixed,
}

/// Walks the fields of a message.
struct Fields<'a>(&'a [u8]);

fn broken() -> Error {
    Error::new(ErrorKind::Artifact, "the artifact is no valid ONNX protobuf")
}

impl<'a> Fields<'a> {
    fn varint(&mut self) -> Result<u64, Error> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.0.split_first().ok_or_else(broken)?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f).wrapping_shl(shift);
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(broken())
    }
    fn take(&mut self, n: u64) -> Result<&'a [u8], Error> {
        let split = usize::try_from(n).ok().and_then(|n| self.0.split_at_checked(n));
        let (head, tail) = split.ok_or_else(broken)?;
        self.0 = tail;
        Ok(head)
    }
    fn next(&mut self) -> Result<Option<(u64, Field<'a>)>, Error> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let key = self.varint()?;
        let field = match key & 7 {
            0 => Field::Varint(self.varint()?),
            1 => self.take(8).map(|_| Field::Fixed)?,
            2 => {
                let len = self.varint()?;
                Field::Bytes(self.take(len)?)
            }
            5 => self.take(4).map(|_| Field::Fixed)?,
            _ => return Err(broken()),
        };
        Ok(Some((key >> 3, field)))
    }
}

fn text(bytes: &[u8]) -> Result<&str, Error> {
    std::str::from_utf8(bytes).map_err(|_| broken())
}

/// The messages in field `number` of a message.
fn messages(message: &[u8], number: u64) -> Result<Vec<&[u8]>, Error> {
    let mut found = Vec::new();
    let mut fields = Fields(message);
    while let Some((n, field)) = fields.next()? {
        if let (true, Field::Bytes(bytes)) = (n == number, field) {
            found.push(bytes);
        }
    }
    Ok(found)
}

const MODEL_GRAPH: u64 = 7;
#[cfg(any(feature = "rten", test))]
const MODEL_FUNCTIONS: u64 = 25;
#[cfg(any(feature = "rten", test))]
const GRAPH_NODE: u64 = 1;
#[cfg(any(feature = "ort", test))]
const GRAPH_INITIALIZER: u64 = 5;
#[cfg(any(feature = "rten", test))]
const FUNCTION_NODE: u64 = 7;

/// The initializers of the main graph that lie outside the protobuf.
#[cfg(any(feature = "ort", test))]
pub(crate) fn externals(model: &[u8]) -> Result<Vec<External<'_>>, Error> {
    let mut found = Vec::new();
    for graph in messages(model, MODEL_GRAPH)? {
        for tensor in messages(graph, GRAPH_INITIALIZER)? {
            found.extend(external(tensor)?);
        }
    }
    Ok(found)
}

#[cfg(any(feature = "ort", test))]
fn external(tensor: &[u8]) -> Result<Option<External<'_>>, Error> {
    let mut found =
        External { name: "", data_type: 0, dims: Vec::new(), location: "", offset: 0, len: 0 };
    let mut outside = false;
    let mut fields = Fields(tensor);
    while let Some((number, field)) = fields.next()? {
        match (number, field) {
            (1, Field::Varint(dim)) => found.dims.push(dim.cast_signed()),
            (1, Field::Bytes(packed)) => {
                let mut dims = Fields(packed);
                while !dims.0.is_empty() {
                    found.dims.push(dims.varint()?.cast_signed());
                }
            }
            (2, Field::Varint(data_type)) => found.data_type = data_type,
            (8, Field::Bytes(name)) => found.name = text(name)?,
            (13, Field::Bytes(entry)) => {
                let (mut key, mut value) = ("", "");
                let mut entry = Fields(entry);
                while let Some((number, field)) = entry.next()? {
                    match (number, field) {
                        (1, Field::Bytes(bytes)) => key = text(bytes)?,
                        (2, Field::Bytes(bytes)) => value = text(bytes)?,
                        _ => {}
                    }
                }
                match key {
                    "location" => found.location = value,
                    "offset" => found.offset = value.parse().map_err(|_| broken())?,
                    "length" => found.len = value.parse().map_err(|_| broken())?,
                    _ => {}
                }
            }
            (14, Field::Varint(location)) => outside = location == 1,
            _ => {}
        }
    }
    Ok(outside.then_some(found))
}

/// The first node that rten 0.27 is known to compute wrongly, as `ConvInteger with padding`.
#[cfg(any(feature = "rten", test))]
pub(crate) fn wrong_in_rten(model: &[u8]) -> Result<Option<String>, Error> {
    // Graphs nest through attributes of If, Loop and Scan.
    let mut lists = messages(model, MODEL_GRAPH)?
        .into_iter()
        .map(|graph| (graph, GRAPH_NODE))
        .collect::<Vec<_>>();
    lists.extend(messages(model, MODEL_FUNCTIONS)?.into_iter().map(|f| (f, FUNCTION_NODE)));
    while let Some((list, number)) = lists.pop() {
        for node in messages(list, number)? {
            let (mut op, mut name, mut padded) = ("", "", false);
            let mut fields = Fields(node);
            while let Some((number, field)) = fields.next()? {
                match (number, field) {
                    (3, Field::Bytes(bytes)) => name = text(bytes)?,
                    (4, Field::Bytes(bytes)) => op = text(bytes)?,
                    (5, Field::Bytes(attribute)) => {
                        padded |= pads(attribute)?;
                        for number in [6, 11] {
                            let graphs = messages(attribute, number)?.into_iter();
                            lists.extend(graphs.map(|graph| (graph, GRAPH_NODE)));
                        }
                    }
                    _ => {}
                }
            }
            if op == "ConvInteger" && padded {
                return Ok(Some(format!("node `{name}`: ConvInteger with padding")));
            }
        }
    }
    Ok(None)
}

/// Whether an attribute pads a convolution.
#[cfg(any(feature = "rten", test))]
fn pads(attribute: &[u8]) -> Result<bool, Error> {
    let (mut name, mut string, mut any) = ("", &[][..], false);
    let mut fields = Fields(attribute);
    while let Some((number, field)) = fields.next()? {
        match (number, field) {
            (1, Field::Bytes(bytes)) => name = text(bytes)?,
            (4, Field::Bytes(bytes)) => string = bytes,
            (8, Field::Varint(n)) => any |= n != 0,
            (8, Field::Bytes(packed)) => any |= packed.iter().any(|b| *b != 0),
            _ => {}
        }
    }
    Ok((name == "pads" && any) || (name == "auto_pad" && string.starts_with(b"SAME")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
        let mut out = vec![number << 3 | 2, u8::try_from(bytes.len()).unwrap()];
        out.extend_from_slice(bytes);
        out
    }

    #[test]
    fn an_external_initializer_is_found_with_its_place() {
        let entry = |k: &str, v: &str| {
            field(13, &[field(1, k.as_bytes()), field(2, v.as_bytes())].concat())
        };
        let tensor = [
            field(1, &[2, 0x80, 1]),
            vec![2 << 3, 1],
            field(8, b"w"),
            entry("location", "m.onnx"),
            entry("offset", "64"),
            entry("length", "1024"),
            vec![14 << 3, 1],
        ]
        .concat();
        let inside =
            [vec![1 << 3, 4], vec![2 << 3, 1], field(8, b"b"), field(9, &[0; 16])].concat();
        let model = field(7, &[field(5, &tensor), field(5, &inside)].concat());
        let found = externals(&model).unwrap();
        assert_eq!(
            found,
            [External {
                name: "w",
                data_type: 1,
                dims: vec![2, 128],
                location: "m.onnx",
                offset: 64,
                len: 1024
            }]
        );
    }

    #[test]
    fn padded_conv_integer_is_refused_wherever_it_stands() {
        let pads = |ints: &[u8]| field(5, &[field(1, b"pads"), field(8, ints)].concat());
        let node = |ints: &[u8]| {
            field(1, &[field(3, b"c"), field(4, b"ConvInteger"), pads(ints)].concat())
        };
        assert_eq!(wrong_in_rten(&field(7, &node(&[0, 0, 0, 0]))).unwrap(), None);
        let wrong = wrong_in_rten(&field(7, &node(&[1, 1, 1, 1]))).unwrap();
        assert_eq!(wrong.as_deref(), Some("node `c`: ConvInteger with padding"));
        let branch = field(5, &field(6, &node(&[1, 1, 1, 1])));
        let nested = field(7, &field(1, &[field(4, b"If"), branch].concat()));
        assert!(wrong_in_rten(&nested).unwrap().is_some());
    }

    #[test]
    fn broken_protobuf_is_an_error_and_no_panic() {
        for bytes in [&[0x3a, 0xff][..], &[0x3a, 0x05, 1], &[0xff; 12], &[0x3b]] {
            assert!(wrong_in_rten(bytes).is_err(), "{bytes:?}");
            assert!(externals(bytes).is_err(), "{bytes:?}");
        }
    }
}
