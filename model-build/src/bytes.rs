//! A checked cursor over hostile bytes: no index, no cast, no allocation before a length is proven.

use crate::error::{Error, Result};

/// Reads little-endian values off the front of a slice; every read is checked against what is left.
#[derive(Clone)]
pub struct Cursor<'a> {
    whole: &'a [u8],
    rest: &'a [u8],
    at: u64,
}

impl<'a> Cursor<'a> {
    /// Starts at the beginning of `data`.
    pub fn new(data: &'a [u8]) -> Self {
        Self { whole: data, rest: data, at: 0 }
    }
    /// All the bytes, read or not.
    pub fn whole(&self) -> &'a [u8] {
        self.whole
    }
    /// How many bytes have been read.
    pub fn position(&self) -> u64 {
        self.at
    }
    /// What has not been read.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }
    /// The next `n` bytes.
    pub fn take(&mut self, n: u64) -> Result<&'a [u8]> {
        let split = usize::try_from(n).ok().and_then(|n| self.rest.split_at_checked(n));
        let Some((head, tail)) = split else {
            return Err(Error::malformed(format!(
                "truncated: {n} bytes wanted at offset {}, {} are left",
                self.at,
                self.rest.len()
            )));
        };
        self.rest = tail;
        self.at = self.at.saturating_add(n);
        Ok(head)
    }
    /// The next `N` bytes as an array.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let head = self.take(N as u64)?;
        <[u8; N]>::try_from(head).map_err(|_| Error::bug("a slice of N bytes is no array of N"))
    }
    /// A little-endian `u64`.
    pub fn u64(&mut self) -> Result<u64> {
        Ok(u64::from_le_bytes(self.array()?))
    }
    /// A little-endian `u32`.
    pub fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_le_bytes(self.array()?))
    }
}
