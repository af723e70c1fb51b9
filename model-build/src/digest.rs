//! The content hash of everything: BLAKE3, 32 bytes, written in hex.

use std::fmt;
use std::str::FromStr;

use blake3::hazmat::{
    ChainingValue, HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root,
};
use rayon::prelude::*;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The BLAKE3 digest of a file or of bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of bytes.
    pub fn of(bytes: &[u8]) -> Self {
        blake3::hash(bytes).into()
    }
    /// The digest that is these 32 bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
    /// 64 lower-case hexadecimal digits.
    pub fn to_hex(&self) -> String {
        to_hex(&self.0)
    }
}

/// Lower-case hexadecimal digits of some bytes.
pub(crate) fn to_hex(bytes: &[u8]) -> String {
    use fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, b| {
        let _ = write!(out, "{b:02x}");
        out
    })
}

/// 32 bytes from 64 lower-case hexadecimal digits; anything else is `None`.
pub(crate) fn from_hex(text: &str) -> Option<[u8; 32]> {
    if text.bytes().any(|b| b.is_ascii_uppercase()) {
        return None;
    }
    blake3::Hash::from_hex(text).ok().map(|hash| *hash.as_bytes())
}

impl From<blake3::Hash> for Digest {
    fn from(hash: blake3::Hash) -> Self {
        Self(*hash.as_bytes())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Bytes of the subtrees that [`StreamHasher`] hashes side by side: a power of two of BLAKE3's chunks.
const SUBTREE: usize = 128 << 10;

/// BLAKE3 of bytes that come in order and in pieces, on all threads: the tree is cut into subtrees
/// of equal size, which depend on nothing but their own bytes (the BLAKE3 paper, section 2.1).
#[derive(Default)]
pub struct StreamHasher {
    /// Roots of the complete subtrees so far, as the tree has them: sizes fall from left to right.
    stack: Vec<ChainingValue>,
    /// Subtrees of [`SUBTREE`] bytes that are in the stack.
    count: u64,
    /// Bytes after these; empty at the start only.
    rest: Vec<u8>,
}

impl StreamHasher {
    /// Takes the pieces that come next.
    pub fn update(&mut self, pieces: &[&[u8]]) {
        let before = std::mem::take(&mut self.rest);
        let all: Vec<&[u8]> = std::iter::once(&*before).chain(pieces.iter().copied()).collect();
        let total: usize = all.iter().map(|piece| piece.len()).sum();
        // The last bytes wait: what a subtree is merged with depends on whether more follow.
        let whole = total.saturating_sub(1) / SUBTREE;
        let mut cursor = Cursor { pieces: &all, skip: 0 };
        let subtrees: Vec<(u64, Vec<&[u8]>)> =
            (self.count..).take(whole).map(|index| (index, cursor.take(SUBTREE))).collect();
        let roots: Vec<ChainingValue> =
            subtrees.par_iter().map(|(index, parts)| subtree(*index, parts)).collect();
        for root in roots {
            self.push(root);
        }
        self.rest = cursor.take(total - whole * SUBTREE).concat();
    }

    fn push(&mut self, mut root: ChainingValue) {
        self.count += 1;
        for _ in 0..self.count.trailing_zeros() {
            if let Some(left) = self.stack.pop() {
                root = merge_subtrees_non_root(&left, &root, Mode::Hash);
            }
        }
        self.stack.push(root);
    }

    /// The digest of everything.
    pub fn finalize(mut self) -> blake3::Hash {
        let Some(mut left) = self.stack.pop() else { return blake3::hash(&self.rest) };
        let mut right = subtree(self.count, &[&self.rest]);
        while let Some(next) = self.stack.pop() {
            right = merge_subtrees_non_root(&left, &right, Mode::Hash);
            left = next;
        }
        merge_subtrees_root(&left, &right, Mode::Hash)
    }
}

/// The chaining value of a subtree that is not the whole tree.
fn subtree(index: u64, parts: &[&[u8]]) -> ChainingValue {
    let mut hasher = blake3::Hasher::new();
    hasher.set_input_offset(index * SUBTREE as u64);
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize_non_root()
}

/// A place in a list of pieces.
struct Cursor<'p, 'd> {
    pieces: &'p [&'d [u8]],
    /// Bytes of the first piece that were taken.
    skip: usize,
}

impl<'d> Cursor<'_, 'd> {
    /// The next `len` bytes, or what there is.
    fn take(&mut self, mut len: usize) -> Vec<&'d [u8]> {
        let mut out = Vec::new();
        while let (Some((first, others)), 1..) = (self.pieces.split_first(), len) {
            let left = first.get(self.skip..).unwrap_or_default();
            let (now, later) = left.split_at(len.min(left.len()));
            if !now.is_empty() {
                out.push(now);
            }
            len -= now.len();
            if later.is_empty() {
                (self.pieces, self.skip) = (others, 0);
            } else {
                self.skip += now.len();
            }
        }
        out
    }
}

/// The text is no digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotADigest;

impl fmt::Display for NotADigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a digest is 64 lower-case hexadecimal digits")
    }
}

impl std::error::Error for NotADigest {}

impl FromStr for Digest {
    type Err = NotADigest;
    fn from_str(text: &str) -> Result<Self, NotADigest> {
        from_hex(text).map(Self).ok_or(NotADigest)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.to_hex())
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_in_pieces_has_the_digest_of_the_whole() {
        let bytes: Vec<u8> = (0..=250).cycle().take(5 * SUBTREE + 3).collect();
        let near = |n: usize| [n * SUBTREE - 1, n * SUBTREE, n * SUBTREE + 1];
        let lengths = [0, 1, 1024].into_iter().chain((1..=5).flat_map(near));
        for len in lengths {
            for step in [1000, SUBTREE - 1, SUBTREE, 3 * SUBTREE + 7, usize::MAX] {
                let bytes = &bytes[..len];
                let mut hasher = StreamHasher::default();
                for many in bytes.chunks(step.min(bytes.len().max(1))).collect::<Vec<_>>().chunks(3)
                {
                    hasher.update(many);
                }
                assert_eq!(hasher.finalize(), blake3::hash(bytes), "{len} bytes by {step}");
            }
        }
    }

    #[test]
    fn hex_goes_there_and_back_and_nothing_else_is_taken() {
        // The digest of the empty input, from the BLAKE3 test vectors.
        let hex = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262";
        assert_eq!(Digest::of(b"").to_hex(), hex);
        assert_eq!(hex.parse(), Ok(Digest::of(b"")));
        for bad in ["", "af", &hex[1..], &hex.to_uppercase(), &hex.replace('a', "g")] {
            assert_eq!(bad.parse::<Digest>(), Err(NotADigest), "{bad}");
        }
        let json = serde_json::to_string(&Digest::of(b"")).unwrap();
        assert_eq!(json, format!("\"{hex}\""));
        assert_eq!(serde_json::from_str::<Digest>(&json).unwrap(), Digest::of(b""));
    }
}
