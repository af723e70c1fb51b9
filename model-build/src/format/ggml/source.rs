//! What the kinds of legacy files share: numbers, strings and the list of tensors.

use std::collections::HashSet;

use bytes::Bytes;

use super::blocks::{self, Era};
use crate::bytes::Cursor;
use crate::error::{Error, Result};
use crate::hub::Tensor;

/// The longest name or token, as llama.cpp's converter has it.
const LONGEST: u32 = 4096;
const MOST_TENSORS: usize = 1 << 16;
const MOST_TOKENS: u32 = 1 << 18;
const MAX_DIMS: u32 = 4;
/// What data begins at a multiple of, in files that align it.
const ALIGNMENT: u64 = 32;

pub(super) const TRUNCATED: &str = "the file is truncated or damaged: fetch it again";

/// A file being read from its beginning on; little-endian.
pub(super) struct Source<'a> {
    pub(super) bytes: &'a Bytes,
    pub(super) cursor: Cursor<'a>,
}

impl Source<'_> {
    pub(super) fn u32(&mut self) -> Result<u32> {
        self.cursor.u32()
    }
    pub(super) fn f32(&mut self) -> Result<f32> {
        Ok(f32::from_le_bytes(self.cursor.array()?))
    }
    /// A string after its length.
    pub(super) fn string(&mut self) -> Result<Bytes> {
        let len = self.u32()?;
        if len >= LONGEST {
            return Err(Error::malformed(format!("a string is said to have {len} bytes")));
        }
        Ok(self.bytes.slice_ref(self.cursor.take(len.into())?))
    }
    /// Tokens, each of a string and what `score` reads after it.
    pub(super) fn tokens<T>(
        &mut self,
        count: u32,
        mut score: impl FnMut(&mut Self) -> Result<T>,
    ) -> Result<Vec<(Bytes, T)>> {
        let left = self.cursor.rest().len() as u64;
        if u64::from(count) > left / 4 || count > MOST_TOKENS {
            return Err(Error::malformed(format!(
                "a vocabulary of {count} tokens, and {left} bytes are left"
            ))
            .item(format!("offset {}", self.cursor.position()))
            .hint(TRUNCATED));
        }
        let mut out = Vec::new();
        for index in 0..count {
            let at = self.cursor.position();
            let token = self.string().and_then(|text| Ok((text, score(self)?)));
            out.push(
                token.map_err(|e| e.item(format!("token {index}, offset {at}")).hint(TRUNCATED))?,
            );
        }
        Ok(out)
    }

    /// Tensors up to the end of the file. With `aligned`, their data begins at multiples of 32 of
    /// the file.
    pub(super) fn tensors(&mut self, aligned: bool, era: Era) -> Result<Vec<(String, Tensor)>> {
        let mut out = Vec::new();
        let mut seen = HashSet::new();
        while !self.cursor.rest().is_empty() {
            let at = self.cursor.position();
            let at = || format!("offset {at}");
            if out.len() == MOST_TENSORS {
                return Err(
                    Error::unsupported(format!("more than {MOST_TENSORS} tensors")).item(at())
                );
            }
            let head = self.head().map_err(|e| e.item(at()).hint(TRUNCATED))?;
            let item = || format!("tensor `{}`, {}", head.name, at());
            if !seen.insert(head.name.clone()) {
                return Err(Error::malformed("two tensors have one name").item(item()));
            }
            let tensor = self.data(&head, aligned, era).map_err(|e| e.item(item()))?;
            out.push((head.name, tensor));
        }
        Ok(out)
    }

    fn head(&mut self) -> Result<Head> {
        let (dims, len, kind) = (self.u32()?, self.u32()?, self.u32()?);
        if dims > MAX_DIMS {
            return Err(Error::malformed(format!("a tensor of {dims} dimensions")));
        }
        if len == 0 || len >= LONGEST {
            return Err(Error::malformed(format!("a name of {len} bytes")));
        }
        let mut shape = Vec::new();
        for _ in 0..dims {
            shape.push(u64::from(self.u32()?));
        }
        shape.reverse();
        let name = self.cursor.take(len.into())?;
        let name = std::str::from_utf8(name).ok().filter(|name| !name.contains('\0')).ok_or_else(
            || Error::malformed(format!("the name `{}` is no text", name.escape_ascii())),
        )?;
        Ok(Head { name: name.to_owned(), shape, kind })
    }

    fn data(&mut self, head: &Head, aligned: bool, era: Era) -> Result<Tensor> {
        if aligned {
            let at = self.cursor.position();
            self.cursor.take(at.next_multiple_of(ALIGNMENT) - at)?;
        }
        let stored = blocks::Stored::of(head.kind, era)?;
        let len = stored.bytes_for(&head.shape)?;
        let bytes = self.cursor.take(len).map_err(|e| e.hint(TRUNCATED))?;
        stored.tensor(head.shape.clone(), self.bytes.slice_ref(bytes))
    }
}

/// What stands before a tensor's data.
struct Head {
    name: String,
    /// Outermost first.
    shape: Vec<u64>,
    kind: u32,
}
