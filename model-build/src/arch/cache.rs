//! Attention of decoders: over earlier tokens, whose keys and values a cache has, and over what an
//! encoder gives.
//!
//! **The cache.** `past_key_values.N.key` and `.value` (with `decoder.` or `encoder.` before the last
//! word in a decoder that has an encoder) are inputs `[batch, heads, length, width]`; `present.N.…` are
//! outputs of the same names and shapes, with the tokens of this run added to them: optimum's names.

use super::builder::{Builder, Module};
use super::encoder::MASKED;
use crate::error::{Error, Result};
use crate::hub::{AttrValue, DType, Dim, ValueId};

/// The heads of an attention block.
#[derive(Clone, Copy, Debug)]
pub(super) struct Heads {
    /// How many.
    pub(super) count: u64,
    /// Length of a vector of one.
    pub(super) width: u64,
}

impl Heads {
    /// Elements of all heads.
    pub(super) fn all(self) -> Result<u64> {
        self.count.checked_mul(self.width).ok_or_else(too_large)
    }

    fn signed(self) -> Result<[i64; 2]> {
        Ok([signed(self.count)?, signed(self.width)?])
    }

    /// `[batch, length, all]` to `[batch, heads, length, width]`.
    pub(super) fn split(self, b: &mut Builder<'_>, path: &str, x: ValueId) -> Result<ValueId> {
        let [count, width] = self.signed()?;
        let shape = b.integers(&[0, 0, count, width])?;
        let x = b.op(path, "Reshape", &[x, shape], &[])?;
        swap(b, path, x)
    }

    /// `[batch, heads, length, width]` to `[batch, length, all]`.
    fn join(self, b: &mut Builder<'_>, path: &str, x: ValueId) -> Result<ValueId> {
        let [count, width] = self.signed()?;
        let x = swap(b, path, x)?;
        let shape = b.integers(&[0, 0, count.checked_mul(width).ok_or_else(too_large)?])?;
        b.op(path, "Reshape", &[x, shape], &[])
    }

    /// `softmax(q·kᵀ·scale + added)·v` (Vaswani et al., "Attention Is All You Need", 3.2). `q`, `k` and
    /// `v` are `[batch, heads, length, width]`, the result is `[batch, length, all]`.
    ///
    /// Keys and values may have fewer heads than queries: each of theirs is for a row of heads of
    /// queries (Ainslie et al., "GQA", 2023). Those are one matrix in the products, so that keys and
    /// values are not copied.
    pub(super) fn attend(
        self,
        b: &mut Builder<'_>,
        path: &str,
        [query, key, value]: [ValueId; 3],
        scale: Option<f32>,
        added: &[ValueId],
        keys: Self,
    ) -> Result<ValueId> {
        let [count, width] = self.signed()?;
        let [groups, _] = keys.signed()?;
        let shared = groups != count;
        let turned = [("perm", AttrValue::Ints(vec![0, 1, 3, 2]))];
        let key = b.op(path, "Transpose", &[key], &turned)?;
        let shape = |b: &mut Builder<'_>, x, shape: [i64; 4]| {
            let shape = b.integers(&shape)?;
            b.op(path, "Reshape", &[x, shape], &[])
        };
        let query = if shared { shape(b, query, [0, groups, -1, width])? } else { query };
        let mut scores = b.op(path, "MatMul", &[query, key], &[])?;
        if let Some(scale) = scale {
            let scale = b.scalar(scale)?;
            scores = b.op(path, "Mul", &[scores, scale], &[])?;
        }
        if shared {
            scores = shape(b, scores, [0, count, -1, 0])?;
        }
        for term in added {
            scores = b.op(path, "Add", &[scores, *term], &[])?;
        }
        let mut weights = b.op(path, "Softmax", &[scores], &[("axis", AttrValue::Int(-1))])?;
        if shared {
            weights = shape(b, weights, [0, groups, -1, 0])?;
        }
        let mut mixed = b.op(path, "MatMul", &[weights, value], &[])?;
        if shared {
            mixed = shape(b, mixed, [0, count, -1, width])?;
        }
        self.join(b, path, mixed)
    }

    /// `1/√width`.
    pub(super) fn scale(self) -> f32 {
        #[allow(clippy::cast_precision_loss)] // a head's width is far below 2^24
        let width = self.width as f32;
        width.sqrt().recip()
    }
}

/// A length as an element of a shape.
pub(super) fn signed(n: u64) -> Result<i64> {
    i64::try_from(n).map_err(|_| too_large())
}

fn too_large() -> Error {
    Error::unsupported("attention heads past 2^63")
}

/// Exchanges the second and the third of four axes.
fn swap(b: &mut Builder<'_>, path: &str, x: ValueId) -> Result<ValueId> {
    b.op(path, "Transpose", &[x], &[("perm", AttrValue::Ints(vec![0, 2, 1, 3]))])
}

/// The length of an axis: an i64 scalar.
pub(super) fn length(b: &mut Builder<'_>, path: &str, x: ValueId, axis: i64) -> Result<ValueId> {
    let shape = b.op(path, "Shape", &[x], &[])?;
    let axis = b.integer(axis)?;
    b.op(path, "Gather", &[shape, axis], &[("axis", AttrValue::Int(0))])
}

/// The positions of the tokens of a run, after those of the cache.
#[derive(Clone, Copy, Debug)]
pub(super) struct Positions {
    /// Of this run's tokens: i64 `[sequence]`.
    pub(super) queries: ValueId,
    /// Of all tokens: i64 `[past + sequence]`.
    pub(super) keys: ValueId,
}

impl Positions {
    /// `ids` are `[batch, sequence]`, `past` is a key of the cache.
    pub(super) fn of(
        b: &mut Builder<'_>,
        path: &str,
        ids: ValueId,
        past: Option<ValueId>,
    ) -> Result<Self> {
        let (zero, one) = (b.integer(0)?, b.integer(1)?);
        let new = length(b, path, ids, 1)?;
        let Some(past) = past else {
            let all = b.op(path, "Range", &[zero, new, one], &[])?;
            return Ok(Self { queries: all, keys: all });
        };
        let past = length(b, path, past, 2)?;
        let all = b.op(path, "Add", &[past, new], &[])?;
        let queries = b.op(path, "Range", &[past, all, one], &[])?;
        let keys = b.op(path, "Range", &[zero, all, one], &[])?;
        Ok(Self { queries, keys })
    }

    /// Queries `[sequence, 1]` and keys `[1, past + sequence]`.
    pub(super) fn crossed(self, b: &mut Builder<'_>, path: &str) -> Result<[ValueId; 2]> {
        let (zero, one) = (b.integers(&[0])?, b.integers(&[1])?);
        let queries = b.op(path, "Unsqueeze", &[self.queries, one], &[])?;
        let keys = b.op(path, "Unsqueeze", &[self.keys, zero], &[])?;
        Ok([queries, keys])
    }

    /// What is added to the scores so that no token attends to a later one:
    /// `[sequence, past + sequence]`.
    pub(super) fn causal(self, b: &mut Builder<'_>, path: &str) -> Result<ValueId> {
        let [queries, keys] = self.crossed(b, path)?;
        let seen = b.op(path, "LessOrEqual", &[keys, queries], &[])?;
        let (nothing, masked) = (b.scalar(0.0)?, b.scalar(MASKED)?);
        b.op(path, "Where", &[seen, nothing, masked], &[])
    }

    /// What is added to the scores so that a token attends to none that is `window` or more tokens
    /// before it: `[sequence, past + sequence]`.
    pub(super) fn near(self, b: &mut Builder<'_>, path: &str, window: i64) -> Result<ValueId> {
        let [queries, keys] = self.crossed(b, path)?;
        let window = b.integer(window)?;
        let first = b.op(path, "Sub", &[queries, window], &[])?;
        let seen = b.op(path, "Greater", &[keys, first], &[])?;
        let (nothing, masked) = (b.scalar(0.0)?, b.scalar(MASKED)?);
        b.op(path, "Where", &[seen, nothing, masked], &[])
    }
}

/// What the mask `[batch, length]` adds to attention scores: `[batch, 1, 1, length]`.
pub(super) fn additive(b: &mut Builder<'_>, path: &str, mask: ValueId) -> Result<ValueId> {
    let axes = b.integers(&[1, 2])?;
    let wide = b.op(path, "Unsqueeze", &[mask, axes], &[])?;
    let keep = b.cast(path, wide, DType::F32)?;
    let one = b.scalar(1.0)?;
    let drop = b.op(path, "Sub", &[one, keep], &[])?;
    let masked = b.scalar(MASKED)?;
    b.op(path, "Mul", &[drop, masked], &[])
}

/// The keys and the values of one layer.
pub(super) type KeyValue = [ValueId; 2];

/// The name of `key` or `value`.
const WORDS: [&str; 2] = ["key", "value"];

/// Adds the inputs that a layer's cache is: `kind` is what stands before `key` and `value`.
pub(super) fn past(
    b: &mut Builder<'_>,
    layer: u64,
    kind: &str,
    heads: Heads,
    length: &str,
) -> Result<KeyValue> {
    let shape = [
        Dim::symbol("batch"),
        Dim::Fixed(heads.count),
        Dim::symbol(length),
        Dim::Fixed(heads.width),
    ];
    let [key, value] = WORDS
        .map(|word| b.input(&format!("past_key_values.{layer}.{kind}{word}"), DType::F32, &shape));
    Ok([key?, value?])
}

/// The cache and what this run adds to it.
pub(super) fn grown(
    b: &mut Builder<'_>,
    path: &str,
    past: KeyValue,
    new: KeyValue,
) -> Result<KeyValue> {
    let axis = [("axis", AttrValue::Int(2))];
    let key = b.op(path, "Concat", &[past[0], new[0]], &axis)?;
    let value = b.op(path, "Concat", &[past[1], new[1]], &axis)?;
    Ok([key, value])
}

/// Makes a layer's keys and values outputs.
pub(super) fn present(
    b: &mut Builder<'_>,
    layer: u64,
    kind: &str,
    heads: Heads,
    all: KeyValue,
    length: &str,
) {
    let shape = [
        Dim::symbol("batch"),
        Dim::Fixed(heads.count),
        Dim::symbol(length),
        Dim::Fixed(heads.width),
    ];
    for (value, word) in all.into_iter().zip(WORDS) {
        b.output(&format!("present.{layer}.{kind}{word}"), value, &shape);
    }
}

/// The length of a decoder's cache before a run.
pub(super) const PAST: &str = "past_sequence";

/// The length of the cache after a run of `sequence` tokens.
pub(super) const fn after(with_past: bool) -> &'static str {
    if with_past { "past_sequence + sequence" } else { "sequence" }
}

/// `x · w / √(mean(x²) + ε)` over the last axis (Zhang and Sennrich, 2019).
pub(super) fn rms_norm(
    b: &mut Builder<'_>,
    at: &Module,
    x: ValueId,
    hidden: u64,
    epsilon: f32,
) -> Result<ValueId> {
    let path = &at.path;
    let weight = b.weight(&format!("{}.weight", at.file), &[hidden])?;
    let square = b.op(path, "Mul", &[x, x], &[])?;
    let mean = b.op(path, "ReduceMean", &[square], &[("axes", AttrValue::Ints(vec![-1]))])?;
    let epsilon = b.scalar(epsilon)?;
    let mean = b.op(path, "Add", &[mean, epsilon], &[])?;
    let root = b.op(path, "Sqrt", &[mean], &[])?;
    let unit = b.op(path, "Div", &[x, root], &[])?;
    b.op(path, "Mul", &[unit, weight], &[])
}
