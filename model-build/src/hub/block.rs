//! Block types: elements that are quantized in blocks of a row, as ggml stores them.

use std::fmt;
use std::hash::{Hash, Hasher};

/// A type whose elements are stored in blocks of consecutive elements of a row.
///
/// `encode` and `decode` are bit-identical to ggml's reference on every [`Kernel`].
pub struct BlockDef {
    /// The lower-case name, as in manifests and messages: `q4_k`.
    pub name: &'static str,
    /// The number of the type in GGUF files (`ggml_type`).
    pub ggml_id: u32,
    /// Bumped when `encode` gives other bytes.
    pub revision: u32,
    /// Elements in a block; a row is a whole number of blocks.
    pub block_len: usize,
    /// Bytes of a block.
    pub block_bytes: usize,
    /// What `encode` does with the importance of columns.
    pub importance: Importance,
    /// Whether encoding takes much longer than hashing what is encoded, so that encoded tensors are
    /// worth finding again in a later build.
    pub slow: bool,
    /// Encodes whole rows of `columns` elements each. `importance`, where given, has one finite
    /// weight ≥ 0 per column; without it every 256 elements are encoded for themselves, whatever
    /// `columns` is. The lengths fit each other; values are finite.
    pub encode: fn(Kernel, &[f32], Option<&[f32]>, columns: usize, out: &mut [u8]),
    /// Decodes whole blocks.
    pub decode: fn(&[u8], &mut [f32]),
}

/// What an encoder does with the importance of columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Importance {
    /// It has no use for it.
    Ignored,
    /// It weighs errors by it where it is given.
    Optional,
    /// It gives unusable weights without.
    Required,
}

/// A set of instructions that kernels are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kernel {
    /// No vector instructions of our own choice.
    Scalar,
    /// aarch64's vectors of 128 bits.
    Neon,
    /// x86-64's vectors of 256 bits.
    Avx2,
    /// x86-64's vectors of 512 bits: F, BW, DQ and VL.
    Avx512,
}

impl PartialEq for BlockDef {
    fn eq(&self, other: &Self) -> bool {
        self.ggml_id == other.ggml_id
    }
}
impl Eq for BlockDef {}
impl Hash for BlockDef {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.ggml_id.hash(state);
    }
}
impl PartialOrd for BlockDef {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for BlockDef {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.ggml_id.cmp(&other.ggml_id)
    }
}
impl fmt::Debug for BlockDef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl BlockDef {
    /// Bytes of `elements` elements; `None` when they are no whole number of blocks, or on overflow.
    pub fn bytes_for(&self, elements: u64) -> Option<u64> {
        let len = self.block_len as u64;
        if !elements.is_multiple_of(len) {
            return None;
        }
        (elements / len).checked_mul(self.block_bytes as u64)
    }
}
