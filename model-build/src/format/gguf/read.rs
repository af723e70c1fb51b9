//! GGUF bytes → hub: versions 1 to 3, either byte order, tensors as slices of the file.

use std::collections::HashSet;

use bytes::Bytes;

use super::{ALIGNMENT_KEY, DEFAULT_ALIGNMENT, MAX_ALIGNMENT, MAX_DIMS, endian, types};
use crate::bytes::Cursor;
use crate::error::{Error, Result};
use crate::hub::{Gguf, Meta, MetaArray, Tensor};

/// How deep arrays of arrays go; no known file has more than two levels.
const DEEPEST: usize = 8;

/// What bounds the memory that a header takes: no known model has so many of any of these.
const MOST_PAIRS: u64 = 1 << 14;
const MOST_TENSORS: u64 = 1 << 16;
/// Strings and arrays that are elements of arrays, all together.
const MOST_ELEMENTS: u64 = 1 << 20;

const TRUNCATED: &str = "the file is truncated or damaged: fetch it again";

/// Reads values in the file's byte order and width of counts.
struct Source<'a> {
    bytes: &'a Bytes,
    cursor: Cursor<'a>,
    big_endian: bool,
    /// Counts and lengths have 64 bits (version 2 and later), not 32.
    wide: bool,
    /// How many more strings and arrays may be elements of arrays.
    elements: u64,
}

impl Source<'_> {
    fn at(&self) -> u64 {
        self.cursor.position()
    }
    fn left(&self) -> u64 {
        self.cursor.rest().len() as u64
    }
    /// The next `N` bytes, little-endian.
    fn number<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut bytes = self.cursor.array::<N>()?;
        if self.big_endian {
            bytes.reverse();
        }
        Ok(bytes)
    }
    fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_le_bytes(self.number()?))
    }
    fn u64(&mut self) -> Result<u64> {
        Ok(u64::from_le_bytes(self.number()?))
    }
    fn count(&mut self) -> Result<u64> {
        if self.wide { self.u64() } else { Ok(self.u32()?.into()) }
    }
    /// Bytes of a count.
    fn count_bytes(&self) -> u64 {
        if self.wide { 8 } else { 4 }
    }
    fn string(&mut self) -> Result<Bytes> {
        let len = self.count()?;
        Ok(self.bytes.slice_ref(self.cursor.take(len)?))
    }
    /// A key or a tensor's name.
    fn name(&mut self, what: &str) -> Result<String> {
        let at = self.at();
        let wrong = |message: String| Error::malformed(message).item(format!("offset {at}"));
        let bytes = self
            .string()
            .map_err(|e| wrong(format!("the {what}: {}", e.message())).hint(TRUNCATED))?;
        let name = std::str::from_utf8(&bytes)
            .map_err(|_| wrong(format!("the {what} `{}` is not UTF-8", bytes.escape_ascii())))?;
        if name.is_empty() || name.contains('\0') {
            return Err(wrong(format!(
                "the {what} `{}` is empty or has a NUL",
                name.escape_debug()
            )));
        }
        Ok(name.to_owned())
    }
    /// `count` numbers of `N` bytes.
    fn numbers<const N: usize, T>(&mut self, count: u64, of: fn([u8; N]) -> T) -> Result<Vec<T>> {
        let len = count.saturating_mul(N as u64);
        let bytes = self.cursor.take(len)?;
        let big_endian = self.big_endian;
        let each = bytes.as_chunks::<N>().0.iter().map(|chunk| {
            let mut chunk = *chunk;
            if big_endian {
                chunk.reverse();
            }
            of(chunk)
        });
        Ok(each.collect())
    }
    /// `count` strings or arrays that take at least `least` bytes each.
    fn many<T>(
        &mut self,
        count: u64,
        least: u64,
        mut one: impl FnMut(&mut Self) -> Result<T>,
    ) -> Result<Vec<T>> {
        if count > self.left() / least {
            return Err(Error::malformed(format!(
                "truncated: an array of {count} elements, and {} bytes are left",
                self.left()
            )));
        }
        self.elements = self.elements.checked_sub(count).ok_or_else(|| {
            Error::unsupported(format!(
                "an array of {count} elements; all have at most {MOST_ELEMENTS} strings together"
            ))
        })?;
        // The elements are in the file, which is longer than this.
        let mut out = Vec::with_capacity(usize::try_from(count).unwrap_or(0));
        for _ in 0..count {
            out.push(one(self)?);
        }
        Ok(out)
    }

    fn value(&mut self, kind: u32) -> Result<Meta> {
        Ok(match kind {
            0 => Meta::U8(u8::from_le_bytes(self.number()?)),
            1 => Meta::I8(i8::from_le_bytes(self.number()?)),
            2 => Meta::U16(u16::from_le_bytes(self.number()?)),
            3 => Meta::I16(i16::from_le_bytes(self.number()?)),
            4 => Meta::U32(self.u32()?),
            5 => Meta::I32(i32::from_le_bytes(self.number()?)),
            6 => Meta::F32(f32::from_le_bytes(self.number()?)),
            7 => Meta::Bool(bool_of(u8::from_le_bytes(self.number()?))?),
            8 => Meta::Text(self.string()?),
            9 => Meta::Array(self.array(1)?),
            10 => Meta::U64(self.u64()?),
            11 => Meta::I64(i64::from_le_bytes(self.number()?)),
            12 => Meta::F64(f64::from_le_bytes(self.number()?)),
            _ => return Err(no_value_type(kind)),
        })
    }

    fn array(&mut self, depth: usize) -> Result<MetaArray> {
        if depth > DEEPEST {
            return Err(Error::unsupported(format!(
                "arrays are nested more than {DEEPEST} levels deep"
            )));
        }
        let kind = self.u32()?;
        let count = self.count()?;
        Ok(match kind {
            0 => MetaArray::U8(self.numbers(count, u8::from_le_bytes)?),
            1 => MetaArray::I8(self.numbers(count, i8::from_le_bytes)?),
            2 => MetaArray::U16(self.numbers(count, u16::from_le_bytes)?),
            3 => MetaArray::I16(self.numbers(count, i16::from_le_bytes)?),
            4 => MetaArray::U32(self.numbers(count, u32::from_le_bytes)?),
            5 => MetaArray::I32(self.numbers(count, i32::from_le_bytes)?),
            6 => MetaArray::F32(self.numbers(count, f32::from_le_bytes)?),
            7 => {
                let bytes = self.cursor.take(count)?;
                MetaArray::Bool(bytes.iter().map(|b| bool_of(*b)).collect::<Result<_>>()?)
            }
            8 => MetaArray::Text(self.many(count, self.count_bytes(), Self::string)?),
            9 => {
                let least = 4 + self.count_bytes();
                MetaArray::Array(self.many(count, least, |s| s.array(depth + 1))?)
            }
            10 => MetaArray::U64(self.numbers(count, u64::from_le_bytes)?),
            11 => MetaArray::I64(self.numbers(count, i64::from_le_bytes)?),
            12 => MetaArray::F64(self.numbers(count, f64::from_le_bytes)?),
            _ => return Err(no_value_type(kind)),
        })
    }
}

fn bool_of(byte: u8) -> Result<bool> {
    match byte {
        0 => Ok(false),
        1 => Ok(true),
        other => Err(Error::malformed(format!("a boolean is 0 or 1, and {other} stands there"))),
    }
}

fn no_value_type(kind: u32) -> Error {
    Error::malformed(format!("there is no value type of number {kind}"))
}

/// What the header says of a tensor.
struct Info {
    name: String,
    /// Outermost first.
    shape: Vec<u64>,
    kind: u32,
    /// From the start of the data.
    offset: u64,
    /// Where the entry stands in the file.
    at: u64,
}

impl Info {
    fn item(&self) -> String {
        format!("tensor `{}`, offset {}", self.name, self.at)
    }
}

/// Reads a file; its tensors and strings are slices of it.
///
/// # Errors
/// The bytes break the format's rules; names the key or tensor and the offset in the file.
pub(super) fn read(bytes: &Bytes) -> Result<Gguf> {
    let mut source = open(bytes)?;
    let header = |e: Error| e.item("the header").hint(TRUNCATED);
    let tensors = source.count().map_err(header)?;
    let pairs = source.count().map_err(header)?;
    let least = source.count_bytes() + 1 + 4 + 1;
    fits(&source, "key/values", pairs, least, MOST_PAIRS)?;
    let metadata = pairs_of(&mut source, pairs)?;
    let alignment = alignment(&metadata)?;
    let least = source.count_bytes() + 1 + 4 + 4 + 8;
    fits(&source, "tensors", tensors, least, MOST_TENSORS)?;
    let infos = infos_of(&mut source, tensors)?;
    let start = source.at().next_multiple_of(alignment);
    let tensors = tensors_of(&source, infos, start, alignment)?;
    Ok(Gguf { metadata, tensors })
}

/// Refuses a count of things that cannot be in what is left of the file, or are too many.
fn fits(source: &Source<'_>, what: &str, count: u64, least: u64, most: u64) -> Result<()> {
    if count > source.left() / least {
        return Err(Error::malformed(format!(
            "the file is said to have {count} {what}, and {} bytes are left",
            source.left()
        ))
        .item(format!("the header, offset {}", source.at()))
        .hint(TRUNCATED));
    }
    if count > most {
        return Err(Error::unsupported(format!("{count} {what}; at most {most} are read here"))
            .item("the header"));
    }
    Ok(())
}

/// Reads magic and version.
fn open(bytes: &Bytes) -> Result<Source<'_>> {
    if bytes.is_empty() {
        return Err(Error::malformed("the file is empty"));
    }
    let mut cursor = Cursor::new(bytes);
    let magic = cursor.take(4).map_err(|e| e.item("the header").hint(TRUNCATED))?;
    if magic != super::MAGIC {
        return Err(Error::malformed(format!(
            "a GGUF file starts with `GGUF`, this one with `{}`",
            magic.escape_ascii()
        ))
        .item("offset 0"));
    }
    let version = cursor.u32().map_err(|e| e.item("the header").hint(TRUNCATED))?;
    // Versions are small numbers: one whose lower half is zero is written the other way round.
    let big_endian = version & 0xffff == 0;
    let version = if big_endian { version.swap_bytes() } else { version };
    if !(1..=3).contains(&version) {
        return Err(Error::unsupported(format!(
            "GGUF version {version}; versions 1 to 3 are read here"
        ))
        .item("offset 4")
        .hint("the file is damaged, or newer than this version of model-build"));
    }
    Ok(Source { bytes, cursor, big_endian, wide: version > 1, elements: MOST_ELEMENTS })
}

fn pairs_of(source: &mut Source<'_>, count: u64) -> Result<Vec<(String, Meta)>> {
    let mut out: Vec<(String, Meta)> = Vec::new();
    let mut seen = HashSet::new();
    for _ in 0..count {
        let at = source.at();
        let key = source.name("key")?;
        let item = || format!("key `{key}`, offset {at}");
        if !seen.insert(key.clone()) {
            return Err(Error::malformed("the key is there twice").item(item()));
        }
        let value = source.u32().and_then(|kind| source.value(kind)).map_err(|e| e.item(item()))?;
        out.push((key, value));
    }
    Ok(out)
}

/// `general.alignment`, or the default.
pub(super) fn alignment(metadata: &[(String, Meta)]) -> Result<u64> {
    let Some((_, value)) = metadata.iter().find(|(key, _)| key == ALIGNMENT_KEY) else {
        return Ok(DEFAULT_ALIGNMENT);
    };
    let wrong = |message: String| {
        Error::malformed(message)
            .item(format!("key `{ALIGNMENT_KEY}`"))
            .hint(format!("it is a u32, a power of two of at most {MAX_ALIGNMENT}, usually 32"))
    };
    match value {
        Meta::U32(n) if n.is_power_of_two() && u64::from(*n) <= MAX_ALIGNMENT => Ok((*n).into()),
        Meta::U32(n) => Err(wrong(format!("{n} is no alignment"))),
        other => Err(wrong(format!("{other:?} is no alignment"))),
    }
}

fn infos_of(source: &mut Source<'_>, count: u64) -> Result<Vec<Info>> {
    let mut out: Vec<Info> = Vec::new();
    let mut seen = HashSet::new();
    for _ in 0..count {
        let at = source.at();
        let name = source.name("name of a tensor")?;
        let item = || format!("tensor `{name}`, offset {at}");
        if !seen.insert(name.clone()) {
            return Err(Error::malformed("two tensors have one name").item(item()));
        }
        let (shape, kind, offset) = info_of(source).map_err(|e| e.item(item()))?;
        out.push(Info { name, shape, kind, offset, at });
    }
    Ok(out)
}

fn info_of(source: &mut Source<'_>) -> Result<(Vec<u64>, u32, u64)> {
    let dims = source.u32()?;
    if dims > MAX_DIMS {
        return Err(Error::malformed(format!(
            "a tensor of {dims} dimensions; GGUF has at most {MAX_DIMS}"
        )));
    }
    let mut shape = Vec::new();
    for _ in 0..dims {
        shape.push(source.count()?);
    }
    shape.reverse();
    Ok((shape, source.u32()?, source.u64()?))
}

/// Cuts the tensors out of the data, which starts at `start`.
fn tensors_of(
    source: &Source<'_>,
    infos: Vec<Info>,
    start: u64,
    alignment: u64,
) -> Result<Vec<(String, Tensor)>> {
    let mut out = Vec::new();
    let mut ranges = Vec::new();
    for info in infos {
        let tensor = tensor_of(source, &info, start, alignment).map_err(|e| e.item(info.item()))?;
        if tensor.byte_len() > 0 {
            ranges.push((info.offset, info.offset + tensor.byte_len(), out.len()));
        }
        out.push((info.name, tensor));
    }
    ranges.sort_unstable();
    for pair in ranges.windows(2) {
        if let [(_, end, first), (from, _, second)] = pair
            && from < end
        {
            let name = |i: usize| out.get(i).map_or("", |(name, _)| name.as_str());
            return Err(Error::malformed(format!(
                "its data at {from} overlaps that of `{}`, which ends at {end}",
                name(*first)
            ))
            .item(format!(
                "tensor `{}`, offset {}",
                name(*second),
                start.saturating_add(*from)
            )));
        }
    }
    Ok(out)
}

fn tensor_of(source: &Source<'_>, info: &Info, start: u64, alignment: u64) -> Result<Tensor> {
    let dtype = types::of_id(info.kind)?;
    let shape = info.shape.clone();
    let len = shape
        .iter()
        .try_fold(1u64, |n, d| n.checked_mul(*d))
        .filter(|n| i64::try_from(*n).is_ok())
        .ok_or_else(|| Error::malformed(format!("shape {shape:?} has more than 2^63 elements")))
        .map(|n| dtype.bytes_for(n))?
        .ok_or_else(|| {
            Error::malformed(format!("{dtype} of shape {shape:?} is no whole number of blocks"))
        })?;
    if !info.offset.is_multiple_of(alignment) {
        return Err(Error::malformed(format!(
            "its data is at {}, which is no multiple of the alignment {alignment}",
            info.offset
        )));
    }
    let range = start.checked_add(info.offset).and_then(|from| {
        let to = from.checked_add(len)?;
        Some(usize::try_from(from).ok()?..usize::try_from(to).ok()?)
    });
    let Some(range) = range.filter(|r| r.end <= source.bytes.len() || r.is_empty()) else {
        return Err(Error::malformed(format!(
            "its {len} bytes at {} of the data, which starts at {start}, end past the file's {}",
            info.offset,
            source.bytes.len()
        ))
        .hint(TRUNCATED));
    };
    let data = if range.is_empty() { Bytes::new() } else { source.bytes.slice(range) };
    if source.big_endian {
        endian::tensor(dtype, shape, data)
    } else {
        Tensor::new(dtype, shape, data)
    }
}
