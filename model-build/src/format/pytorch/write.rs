//! `torch.save`'s archive: the pickle of an ordered dictionary of tensors, then a stored entry per
//! storage, each aligned to 64 bytes, so that PyTorch can map the file.

use std::collections::BTreeMap;

use super::super::shards::Tensors;
use super::globals;
use crate::error::{Error, Result};
use crate::hub::{Segment, Tensor};

/// The folder that everything in the archive is in.
const FOLDER: &str = "archive";

/// What storages are aligned to, in bytes.
const ALIGNMENT: u64 = 64;

/// How many entries are set in a dictionary at a time.
const BATCH: usize = 1000;

/// A field whose value stands in the zip64 extra field instead, and the least value that does.
const ELSEWHERE: u32 = u32::MAX;

/// The kind of an extra field that is there for alignment.
const PADDING: u16 = 0x4246;

/// The date 1980-01-01 in the archive's form.
const DATE: u16 = 0x21;

/// Lays out a file.
pub(super) fn layout(tensors: &Tensors<'_>) -> Result<Vec<Segment>> {
    let storages = storages(tensors);
    let mut zip = Zip::default();
    zip.entry("data.pkl", Segment::Bytes(pickle(tensors, &storages)?.into()))?;
    zip.entry("byteorder", Segment::Bytes("little".into()))?;
    for (key, tensor) in storages.order.iter().enumerate() {
        zip.entry(&format!("data/{key}"), Segment::Tensor((*tensor).clone()))?;
    }
    zip.entry("version", Segment::Bytes("3\n".into()))?;
    zip.finish()
}

/// Which tensors stand in which storage: those that are the same bytes share one.
struct Storages<'a> {
    order: Vec<&'a Tensor>,
    of: BTreeMap<&'a str, usize>,
}

fn storages<'a>(tensors: &Tensors<'a>) -> Storages<'a> {
    let mut seen = BTreeMap::new();
    let mut out = Storages { order: Vec::new(), of: BTreeMap::new() };
    for (name, tensor) in tensors {
        let mut place = || {
            out.order.push(tensor);
            out.order.len() - 1
        };
        let key = match tensor.ready_bytes() {
            Some(bytes) if !bytes.is_empty() => {
                *seen.entry((bytes.as_ptr(), bytes.len(), tensor.dtype())).or_insert_with(place)
            }
            _ => place(),
        };
        out.of.insert(name, key);
    }
    out
}

/// Writes opcodes of protocol 2.
struct Pickler {
    out: Vec<u8>,
    memo: BTreeMap<String, u8>,
}

impl Pickler {
    fn text(&mut self, text: &str) -> Result<()> {
        let len = u32::try_from(text.len())
            .map_err(|_| Error::unsupported("a tensor's name of more than 4 GB"))?;
        self.out.push(b'X');
        self.out.extend_from_slice(&len.to_le_bytes());
        self.out.extend_from_slice(text.as_bytes());
        Ok(())
    }

    /// What `write` writes, by its number where it was written before under that name.
    fn once(&mut self, name: &str, write: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        if let Some(number) = self.memo.get(name) {
            self.out.extend_from_slice(&[b'h', *number]);
            return Ok(());
        }
        write(self)?;
        let number = u8::try_from(self.memo.len()).map_err(|_| Error::bug("over 256 memos"))?;
        self.memo.insert(name.to_owned(), number);
        self.out.extend_from_slice(&[b'q', number]);
        Ok(())
    }

    /// A class or function: `module name`, as the opcode has it.
    fn global(&mut self, module: &str, name: &str) -> Result<()> {
        self.once(&format!("{module}.{name}"), |this| {
            this.out.extend_from_slice(format!("c{module}\n{name}\n").as_bytes());
            Ok(())
        })
    }

    fn int(&mut self, n: u64) {
        match (u8::try_from(n), u16::try_from(n), i32::try_from(n)) {
            (Ok(n), ..) => self.out.extend_from_slice(&[b'K', n]),
            (_, Ok(n), _) => {
                self.out.push(b'M');
                self.out.extend_from_slice(&n.to_le_bytes());
            }
            (.., Ok(n)) => {
                self.out.push(b'J');
                self.out.extend_from_slice(&n.to_le_bytes());
            }
            _ => {
                // Nine bytes keep the sign of all of 64 bits.
                self.out.extend_from_slice(&[0x8a, 9]);
                self.out.extend_from_slice(&n.to_le_bytes());
                self.out.push(0);
            }
        }
    }

    fn ints(&mut self, items: impl Iterator<Item = u64>) {
        self.out.push(b'(');
        items.for_each(|n| self.int(n));
        self.out.push(b't');
    }

    fn empty_ordered(&mut self) -> Result<()> {
        self.global("collections", "OrderedDict")?;
        self.out.extend_from_slice(b")R");
        Ok(())
    }

    fn tensor(&mut self, tensor: &Tensor, key: usize) -> Result<()> {
        let dtype = tensor.dtype();
        let typed = globals::storage_of(dtype);
        let untyped = globals::dtype_of(dtype).filter(|_| typed.is_none());
        if typed.or(untyped).is_none() {
            return Err(Error::unsupported(format!("PyTorch has no element type {dtype}"))
                .hint("write the model as GGUF, or give the tensor another type"));
        }
        let function = if typed.is_some() { "_rebuild_tensor_v2" } else { "_rebuild_tensor_v3" };
        self.global("torch._utils", function)?;
        self.out.extend_from_slice(b"((");
        self.once("storage", |this| this.text("storage"))?;
        match typed {
            Some(class) => self.global("torch", class)?,
            None => self.global("torch.storage", "UntypedStorage")?,
        }
        self.text(&key.to_string())?;
        self.once("cpu", |this| this.text("cpu"))?;
        self.int(if typed.is_some() { tensor.len() } else { tensor.byte_len() });
        self.out.extend_from_slice(b"tQ");
        self.int(0);
        self.ints(tensor.shape().iter().copied());
        self.ints(strides(tensor.shape()).into_iter());
        self.out.push(0x89);
        self.empty_ordered()?;
        if let Some(name) = untyped {
            self.global("torch", name)?;
        }
        self.out.extend_from_slice(b"tR");
        Ok(())
    }
}

/// Row-major strides, in elements, as PyTorch has them: an axis of no length counts as one.
fn strides(shape: &[u64]) -> Vec<u64> {
    let mut out = Vec::new();
    let mut step = 1u64;
    for len in shape.iter().rev() {
        out.push(step);
        step = step.saturating_mul((*len).max(1));
    }
    out.reverse();
    out
}

fn pickle(tensors: &Tensors<'_>, storages: &Storages<'_>) -> Result<Vec<u8>> {
    let mut pickler = Pickler { out: vec![0x80, 2], memo: BTreeMap::new() };
    pickler.empty_ordered()?;
    let all: Vec<_> = tensors.iter().collect();
    for batch in all.chunks(BATCH) {
        pickler.out.push(b'(');
        for (name, tensor) in batch {
            let key = storages.of.get(*name).copied();
            let key = key.ok_or_else(|| Error::bug("a tensor without a storage"))?;
            pickler.text(name)?;
            pickler.tensor(tensor, key).map_err(|e| e.item(format!("tensor `{name}`")))?;
        }
        pickler.out.push(b'u');
    }
    pickler.out.push(b'.');
    Ok(pickler.out)
}

/// An archive being laid out.
#[derive(Default)]
struct Zip {
    segments: Vec<Segment>,
    at: u64,
    directory: Vec<Record>,
}

/// What the directory says of an entry.
struct Record {
    name: String,
    header: u64,
    len: u64,
    /// The segment with the entry's bytes.
    segment: usize,
}

/// `n` in a field of 32 bits, or the mark that it stands elsewhere.
fn narrow(n: u64) -> u32 {
    u32::try_from(n).unwrap_or(ELSEWHERE)
}

fn is_wide(n: u64) -> bool {
    narrow(n) == ELSEWHERE
}

/// Fields one after the other, little-endian.
#[derive(Default)]
struct Fields(Vec<u8>);

impl Fields {
    fn u16(mut self, n: u16) -> Self {
        self.0.extend_from_slice(&n.to_le_bytes());
        self
    }
    fn u32(mut self, n: u32) -> Self {
        self.0.extend_from_slice(&n.to_le_bytes());
        self
    }
    fn u64(mut self, n: u64) -> Self {
        self.0.extend_from_slice(&n.to_le_bytes());
        self
    }
    fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }
}

/// The length of a name or an extra field.
fn short(len: usize) -> Result<u16> {
    u16::try_from(len).map_err(|_| Error::bug("a field of over 64 kB in an archive"))
}

impl Zip {
    fn push(&mut self, segment: Segment, len: u64) -> Result<()> {
        self.segments.push(segment);
        self.at = self
            .at
            .checked_add(len)
            .ok_or_else(|| Error::unsupported("a file of more than 2^64 bytes"))?;
        Ok(())
    }

    fn fields(&mut self, fields: Fields) -> Result<()> {
        let len = fields.0.len() as u64;
        self.push(Segment::Bytes(fields.0.into()), len)
    }

    /// Adds an entry. Its checksum follows the bytes, which are made when the file is written.
    fn entry(&mut self, name: &str, content: Segment) -> Result<()> {
        let len = crate::hub::blob_len(std::slice::from_ref(&content));
        let name = format!("{FOLDER}/{name}");
        let header = self.at;
        let wide = is_wide(len);
        let mut extra = Fields::default();
        if wide {
            extra = extra.u16(1).u16(16).u64(len).u64(len);
        }
        let before = header + 30 + name.len() as u64 + extra.0.len() as u64 + 4;
        let padding = usize::try_from(before.next_multiple_of(ALIGNMENT) - before)
            .map_err(|_| Error::bug("a padding of over 2^32 bytes"))?;
        let extra = extra.u16(PADDING).u16(short(padding)?).bytes(&vec![0; padding]).0;
        let size = if wide { ELSEWHERE } else { 0 };
        let local = Fields::default()
            .u32(0x0403_4b50)
            .u16(version(wide))
            .u16(FLAGS)
            .u16(0)
            .u16(0)
            .u16(DATE)
            .u32(0)
            .u32(size)
            .u32(size)
            .u16(short(name.len())?)
            .u16(short(extra.len())?)
            .bytes(name.as_bytes())
            .bytes(&extra);
        self.fields(local)?;
        let segment = self.segments.len();
        self.push(content, len)?;
        self.fields(Fields::default().u32(0x0807_4b50))?;
        self.push(Segment::Crc32(segment), 4)?;
        let sizes = Fields::default();
        self.fields(if wide {
            sizes.u64(len).u64(len)
        } else {
            sizes.u32(narrow(len)).u32(narrow(len))
        })?;
        self.directory.push(Record { name, header, len, segment });
        Ok(())
    }

    /// Adds the directory.
    fn finish(mut self) -> Result<Vec<Segment>> {
        let start = self.at;
        let count = self.directory.len() as u64;
        for record in std::mem::take(&mut self.directory) {
            self.record(&record)?;
        }
        let len = self.at - start;
        if is_wide(start) || is_wide(len) || count >= u64::from(u16::MAX) {
            let end = self.at;
            self.fields(
                Fields::default()
                    .u32(0x0606_4b50)
                    .u64(44)
                    .u16(version(true))
                    .u16(version(true))
                    .u32(0)
                    .u32(0)
                    .u64(count)
                    .u64(count)
                    .u64(len)
                    .u64(start)
                    .u32(0x0706_4b50)
                    .u32(0)
                    .u64(end)
                    .u32(1),
            )?;
        }
        let count = u16::try_from(count).unwrap_or(u16::MAX);
        self.fields(
            Fields::default()
                .u32(0x0605_4b50)
                .u16(0)
                .u16(0)
                .u16(count)
                .u16(count)
                .u32(narrow(len))
                .u32(narrow(start))
                .u16(0),
        )?;
        Ok(self.segments)
    }

    fn record(&mut self, record: &Record) -> Result<()> {
        let (size, place) = (is_wide(record.len), is_wide(record.header));
        let mut wide = Fields::default();
        if size {
            wide = wide.u64(record.len).u64(record.len);
        }
        if place {
            wide = wide.u64(record.header);
        }
        let extra = match wide.0.len() {
            0 => Fields::default(),
            len => Fields::default().u16(1).u16(short(len)?).bytes(&wide.0),
        };
        self.fields(
            Fields::default()
                .u32(0x0201_4b50)
                .u16(version(size || place))
                .u16(version(size || place))
                .u16(FLAGS)
                .u16(0)
                .u16(0)
                .u16(DATE),
        )?;
        self.push(Segment::Crc32(record.segment), 4)?;
        self.fields(
            Fields::default()
                .u32(narrow(record.len))
                .u32(narrow(record.len))
                .u16(short(record.name.len())?)
                .u16(short(extra.0.len())?)
                .u16(0)
                .u16(0)
                .u16(0)
                .u32(0)
                .u32(narrow(record.header))
                .bytes(record.name.as_bytes())
                .bytes(&extra.0),
        )
    }
}

/// The checksum and sizes follow the bytes; names are UTF-8.
const FLAGS: u16 = 1 << 3 | 1 << 11;

/// The version of the format that is needed to read an entry.
fn version(wide: bool) -> u16 {
    if wide { 45 } else { 20 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strides_of_no_length_are_pytorchs() {
        assert_eq!(strides(&[2, 3, 4]), [12, 4, 1]);
        assert_eq!(strides(&[2, 0, 4]), [4, 4, 1]);
        assert!(strides(&[]).is_empty());
    }
}
