//! Protobuf messages whose large payloads are not there: everything else is encoded, every length
//! and offset is known, and the payloads take their places when the file is streamed.

use bytes::Bytes;
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint};

use crate::error::{Error, Result};
use crate::hub::{Segment, Tensor};

/// Payloads start at multiples of this many bytes in the file.
pub(super) const ALIGN: u64 = 64;
/// Payloads of fewer bytes are put wherever they come.
pub(super) const LARGE: u64 = 1024;

/// `TensorProto.raw_data` and `doc_string`.
const RAW_DATA: u32 = 9;
const DOC_STRING: u32 = 12;

enum Item {
    /// Encoded fields.
    Flat(Vec<u8>),
    /// A message field that holds a payload somewhere.
    Nested(u32, Rope),
    /// `raw_data` of a `TensorProto`, with padding before it that puts the payload at a multiple
    /// of [`ALIGN`]; unpadded if `false`.
    RawData(Tensor, bool),
}

/// The fields of a message.
#[derive(Default)]
pub(super) struct Rope {
    items: Vec<Item>,
    /// At least the encoded length.
    bound: u64,
}

/// Bytes of a varint.
fn varint_len(value: u64) -> u64 {
    encoded_len_varint(value) as u64
}

/// Bytes of the padding field that comes before a payload of `len` bytes, so that the payload
/// starts at a multiple of [`ALIGN`] when the field would start at `offset`. Never 1: the smallest
/// field takes 2.
fn padding(offset: u64, len: u64) -> u64 {
    let start = offset + 1 + varint_len(len);
    match start.wrapping_neg() % ALIGN {
        1 => 1 + ALIGN,
        n => n,
    }
}

impl Rope {
    fn flat(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        if !matches!(self.items.last(), Some(Item::Flat(_))) {
            self.items.push(Item::Flat(Vec::new()));
        }
        if let Some(Item::Flat(buffer)) = self.items.last_mut() {
            let before = buffer.len();
            write(buffer);
            self.bound += (buffer.len() - before) as u64;
        }
    }

    /// Adds all fields of a message.
    pub(super) fn merge(&mut self, message: &impl Message) {
        self.flat(|out| out.extend(message.encode_to_vec()));
    }
    /// Adds a field of bytes.
    pub(super) fn bytes(&mut self, field: u32, bytes: &[u8]) {
        self.flat(|out| {
            encode_key(field, WireType::LengthDelimited, out);
            encode_varint(bytes.len() as u64, out);
            out.extend_from_slice(bytes);
        });
    }
    /// Adds a field that is a message with, perhaps, payloads in it.
    pub(super) fn nested(&mut self, field: u32, mut inner: Self) {
        match inner.items.as_mut_slice() {
            [] => self.bytes(field, &[]),
            [Item::Flat(bytes)] => {
                let bytes = std::mem::take(bytes);
                self.bytes(field, &bytes);
            }
            _ => {
                // Field numbers of ONNX take at most 2 bytes as keys.
                self.bound += 2 + varint_len(inner.bound) + inner.bound;
                self.items.push(Item::Nested(field, inner));
            }
        }
    }
    /// Adds `raw_data` of a `TensorProto`.
    pub(super) fn raw_data(&mut self, tensor: Tensor) {
        let len = tensor.byte_len();
        match tensor.ready_bytes() {
            Some(bytes) if len < LARGE => {
                let bytes = bytes.clone();
                self.bytes(RAW_DATA, &bytes);
            }
            _ => {
                self.bound += ALIGN + 2 + varint_len(len) + len;
                self.items.push(Item::RawData(tensor, len >= LARGE));
            }
        }
    }
    /// No less than the encoded length, and little more.
    pub(super) fn bound(&self) -> u64 {
        self.bound
    }

    /// The encoded length of the fields when the first starts at `offset` of the file.
    fn len_at(&self, offset: u64) -> u64 {
        let mut at = offset;
        for item in &self.items {
            match item {
                Item::Flat(bytes) => at += bytes.len() as u64,
                Item::Nested(field, inner) => {
                    at += key_len(*field) + varint_len(inner.bound);
                    at += inner.len_at(at);
                }
                Item::RawData(tensor, aligned) => {
                    let len = tensor.byte_len();
                    if *aligned {
                        at += padding(at, len);
                    }
                    at += 1 + varint_len(len) + len;
                }
            }
        }
        at - offset
    }

    /// Lays out a file that consists of these fields.
    pub(super) fn into_segments(self) -> Result<Vec<Segment>> {
        let mut out = Layout::default();
        out.fields(self)?;
        out.flush();
        Ok(out.segments)
    }
}

fn key_len(field: u32) -> u64 {
    varint_len(u64::from(field) << 3)
}

#[derive(Default)]
struct Layout {
    segments: Vec<Segment>,
    /// Bytes that follow the segments.
    flat: Vec<u8>,
    /// Offset in the file at the end of `flat`.
    at: u64,
}

impl Layout {
    fn flush(&mut self) {
        if !self.flat.is_empty() {
            self.segments.push(Segment::Bytes(Bytes::from(std::mem::take(&mut self.flat))));
        }
    }

    fn put(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let before = self.flat.len();
        write(&mut self.flat);
        self.at += (self.flat.len() - before) as u64;
    }

    fn fields(&mut self, rope: Rope) -> Result<()> {
        for item in rope.items {
            match item {
                Item::Flat(bytes) => self.put(|out| out.extend(bytes)),
                Item::Nested(field, inner) => {
                    // The length takes as many bytes as the bound would: how much padding the
                    // payloads get depends on where they start, so on this width.
                    let width = varint_len(inner.bound);
                    let len = inner.len_at(self.at + key_len(field) + width);
                    if len > inner.bound {
                        return Err(Error::bug("a message is longer than its bound"));
                    }
                    self.put(|out| {
                        encode_key(field, WireType::LengthDelimited, out);
                        wide_varint(len, width, out);
                    });
                    self.fields(inner)?;
                }
                Item::RawData(tensor, aligned) => {
                    let len = tensor.byte_len();
                    let pad = if aligned { padding(self.at, len) } else { 0 };
                    self.put(|out| {
                        if pad > 0 {
                            // Key and length take 2 bytes; the rest are spaces.
                            encode_key(DOC_STRING, WireType::LengthDelimited, out);
                            encode_varint(pad - 2, out);
                            out.extend((2..pad).map(|_| b' '));
                        }
                        encode_key(RAW_DATA, WireType::LengthDelimited, out);
                        encode_varint(len, out);
                    });
                    self.flush();
                    self.at += len;
                    self.segments.push(Segment::Tensor(tensor));
                }
            }
        }
        Ok(())
    }
}

/// A varint of exactly `width` bytes, no fewer than the value needs.
#[allow(clippy::cast_possible_truncation)] // masked to 7 bits
fn wide_varint(mut value: u64, width: u64, out: &mut Vec<u8>) {
    for _ in 1..width {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
