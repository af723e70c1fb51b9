//! What the encoder families share: inputs, embeddings, self-attention, feed-forward.
//!
//! **The attention mask.** `attention_mask` is 1 at the tokens to attend to and 0 at the padding.
//! `(1 - attention_mask) · -10000` is added to the attention scores before the softmax, as BERT
//! itself does. As long as scores lie within some thousands of each other, a masked token gets the
//! weight `exp(-10000 + …)`, which is 0 in every floating type: the same as with minus infinity.
//! The constant is a number of f16 that leaves room for the scores, so a graph in half precision
//! needs no other one, and a row without any token to attend to gives finite numbers (the softmax
//! of the bare scores), never NaN.
//!
//! **Too long a sequence.** Positions are looked up by Gather, which fails at run time for an
//! index past the table, so a sequence longer than `max_position_embeddings` is an error and
//! never a silently different result.

use super::builder::{Activation, Builder, Module};
use super::config::{Config, wrong};
use crate::error::{Error, Result};
use crate::hub::{AttrValue, DType, Dim, ValueId};

/// What is added to the scores of masked tokens.
pub(super) const MASKED: f32 = -10000.0;

/// The sizes of an encoder, from config.json.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    /// Length of a token's vector.
    pub(super) hidden: u64,
    /// Number of attention heads; divides `hidden`.
    pub(super) heads: u64,
    /// Number of layers.
    pub(super) layers: u64,
    /// Length of the feed-forward network's inner vector.
    pub(super) intermediate: u64,
    /// What LayerNorm adds to the variance.
    pub(super) epsilon: f32,
    /// Between the two matrices of the feed-forward network.
    pub(super) activation: Activation,
}

impl Sizes {
    /// Reads the keys that BERT made common.
    pub(super) fn of(config: &Config<'_>, default_epsilon: f32) -> Result<Self> {
        let sizes = Self {
            hidden: config.length(&["hidden_size"])?,
            heads: config.length(&["num_attention_heads"])?,
            layers: config.length(&["num_hidden_layers"])?,
            intermediate: config.length(&["intermediate_size"])?,
            epsilon: config.epsilon_or("layer_norm_eps", default_epsilon)?,
            activation: Activation::of(config, "hidden_act", "gelu")?,
        };
        sizes.check("num_attention_heads", "hidden_size")
    }

    /// An error unless the heads divide the hidden size.
    pub(super) fn check(self, heads: &str, hidden: &str) -> Result<Self> {
        if self.hidden.is_multiple_of(self.heads) {
            return Ok(self);
        }
        Err(wrong(
            heads,
            format!("is {}, which does not divide `{hidden}`, {}", self.heads, self.hidden),
        ))
    }
}

/// Names of the parts of a layer, relative to it.
pub(super) struct Names {
    /// The list of layers.
    pub(super) layers: &'static str,
    pub(super) query: &'static str,
    pub(super) key: &'static str,
    pub(super) value: &'static str,
    /// The projection after attention.
    pub(super) out: &'static str,
    /// The LayerNorm of the attention block.
    pub(super) attention_norm: &'static str,
    /// The first matrix of the feed-forward network.
    pub(super) up: &'static str,
    /// The second matrix of the feed-forward network.
    pub(super) down: &'static str,
    /// The LayerNorm of the feed-forward block.
    pub(super) output_norm: &'static str,
}

/// BERT's names, which RoBERTa has too.
pub(super) const BERT_NAMES: Names = Names {
    layers: "encoder.layer",
    query: "attention.self.query",
    key: "attention.self.key",
    value: "attention.self.value",
    out: "attention.output.dense",
    attention_norm: "attention.output.LayerNorm",
    up: "intermediate.dense",
    down: "output.dense",
    output_norm: "output.LayerNorm",
};

/// Where LayerNorm stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Norm {
    /// After each block's sum with its input (BERT).
    After,
    /// Before each block, outside the sum (ViT).
    Before,
}

/// A stack of encoder layers.
pub(super) struct Stack {
    pub(super) sizes: Sizes,
    pub(super) names: &'static Names,
    pub(super) norm: Norm,
    /// Whether query, key and value have biases.
    pub(super) qkv_bias: [bool; 3],
}

impl Stack {
    /// Runs `x` `[batch, sequence, hidden]` through the layers. What `added` lists is added to the
    /// attention scores `[batch, heads, sequence, sequence]`, in that order.
    pub(super) fn run(
        &self,
        b: &mut Builder<'_>,
        mut x: ValueId,
        added: &[ValueId],
    ) -> Result<ValueId> {
        let Sizes { hidden, intermediate, epsilon, activation, layers, .. } = self.sizes;
        for layer in 0..layers {
            let at =
                |b: &Builder<'_>, name| b.module(&format!("{}.{layer}.{name}", self.names.layers));
            let attention_norm = at(b, self.names.attention_norm);
            let output_norm = at(b, self.names.output_norm);
            let (up, down) = (at(b, self.names.up), at(b, self.names.down));

            let mut block = x;
            if self.norm == Norm::Before {
                block = b.layer_norm(&attention_norm, block, hidden, epsilon)?;
            }
            block = self.attention(b, layer, block, added)?;
            x = b.op(&attention_norm.path, "Add", &[block, x], &[])?;
            if self.norm == Norm::After {
                x = b.layer_norm(&attention_norm, x, hidden, epsilon)?;
            }

            block = x;
            if self.norm == Norm::Before {
                block = b.layer_norm(&output_norm, block, hidden, epsilon)?;
            }
            block = b.linear(&up, block, [intermediate, hidden], true)?;
            block = activation.apply(b, &up.path, block)?;
            block = b.linear(&down, block, [hidden, intermediate], true)?;
            x = b.op(&output_norm.path, "Add", &[block, x], &[])?;
            if self.norm == Norm::After {
                x = b.layer_norm(&output_norm, x, hidden, epsilon)?;
            }
        }
        Ok(x)
    }

    /// Multi-head self-attention (Vaswani et al., "Attention Is All You Need", 3.2):
    /// `softmax(q·kᵀ/√d + added)·v`, projected.
    fn attention(
        &self,
        b: &mut Builder<'_>,
        layer: u64,
        x: ValueId,
        added: &[ValueId],
    ) -> Result<ValueId> {
        let Sizes { hidden, heads, .. } = self.sizes;
        let at = |b: &Builder<'_>, name| b.module(&format!("{}.{layer}.{name}", self.names.layers));
        let too_large = || Error::unsupported("a hidden size past 2^63");
        let width = i64::try_from(hidden / heads).map_err(|_| too_large())?;
        let head_count = i64::try_from(heads).map_err(|_| too_large())?;
        let hidden_length = i64::try_from(hidden).map_err(|_| too_large())?;

        // [batch, sequence, hidden] → [batch, heads, sequence, width], keys transposed once more
        let split = b.integers(&[0, 0, head_count, width])?;
        let mut parts = [x; 3];
        let kinds = [
            (self.names.query, [0, 2, 1, 3]),
            (self.names.key, [0, 2, 3, 1]),
            (self.names.value, [0, 2, 1, 3]),
        ];
        for ((part, (name, order)), bias) in parts.iter_mut().zip(kinds).zip(self.qkv_bias) {
            let module = at(b, name);
            let y = b.linear(&module, x, [hidden, hidden], bias)?;
            let y = b.op(&module.path, "Reshape", &[y, split], &[])?;
            *part = b.op(
                &module.path,
                "Transpose",
                &[y],
                &[("perm", AttrValue::Ints(order.to_vec()))],
            )?;
        }
        let [query, key, value] = parts;
        let out = at(b, self.names.out);
        let path = format!("{}.{layer}.attention", self.names.layers);

        let scores = b.op(&path, "MatMul", &[query, key], &[])?;
        #[allow(clippy::cast_precision_loss)] // a head's width is far below 2^24
        let root = b.scalar((width as f32).sqrt())?;
        let mut scores = b.op(&path, "Div", &[scores, root], &[])?;
        for term in added {
            scores = b.op(&path, "Add", &[scores, *term], &[])?;
        }
        let weights = b.op(&path, "Softmax", &[scores], &[("axis", AttrValue::Int(-1))])?;
        let mixed = b.op(&path, "MatMul", &[weights, value], &[])?;
        let mixed =
            b.op(&path, "Transpose", &[mixed], &[("perm", AttrValue::Ints(vec![0, 2, 1, 3]))])?;
        let join = b.integers(&[0, 0, hidden_length])?;
        let mixed = b.op(&path, "Reshape", &[mixed, join], &[])?;
        b.linear(&out, mixed, [hidden, hidden], true)
    }
}

/// The inputs of a text encoder.
pub(super) struct Text {
    /// `input_ids`, i64 `[batch, sequence]`.
    pub(super) ids: ValueId,
    /// `attention_mask`, i64 `[batch, sequence]`: 1 at tokens, 0 at padding.
    pub(super) mask: ValueId,
}

/// The axes `batch` and `sequence`.
pub(super) fn batch_and_sequence() -> [Dim; 2] {
    [Dim::symbol("batch"), Dim::symbol("sequence")]
}

impl Text {
    /// Adds the inputs `input_ids` and `attention_mask`.
    pub(super) fn inputs(b: &mut Builder<'_>) -> Result<Self> {
        Self::inputs_of(b, "batch")
    }

    /// The same with another name for the texts' axis.
    pub(super) fn inputs_of(b: &mut Builder<'_>, batch: &str) -> Result<Self> {
        let shape = [Dim::symbol(batch), Dim::symbol("sequence")];
        let ids = b.input("input_ids", DType::I64, &shape)?;
        let mask = b.input("attention_mask", DType::I64, &shape)?;
        Ok(Self { ids, mask })
    }

    /// What the mask adds to attention scores, `[batch, 1, 1, sequence]`.
    pub(super) fn additive_mask(&self, b: &mut Builder<'_>) -> Result<ValueId> {
        super::cache::additive(b, "attention_mask", self.mask)
    }

    /// Positions 0, 1, 2 … for each token of a sequence: `[sequence]`.
    pub(super) fn positions(&self, b: &mut Builder<'_>) -> Result<ValueId> {
        let path = "embeddings.position_ids";
        let shape = b.op(path, "Shape", &[self.ids], &[])?;
        let (zero, one) = (b.integer(0)?, b.integer(1)?);
        let length = b.op(path, "Gather", &[shape, one], &[("axis", AttrValue::Int(0))])?;
        b.op(path, "Range", &[zero, length, one], &[])
    }

    /// fairseq's positions, `[batch, sequence]`: tokens that are not `padding` are counted from
    /// `padding + 1` on, the others stand at `padding`.
    pub(super) fn positions_after_padding(
        &self,
        b: &mut Builder<'_>,
        padding: i64,
    ) -> Result<ValueId> {
        let path = "embeddings.position_ids";
        let pad = b.integer(padding)?;
        let equal = b.op(path, "Equal", &[self.ids, pad], &[])?;
        let token = b.op(path, "Not", &[equal], &[])?;
        let token = b.cast(path, token, DType::I64)?;
        let axis = b.integer(1)?;
        let count = b.op(path, "CumSum", &[token, axis], &[])?;
        let count = b.op(path, "Mul", &[count, token], &[])?;
        b.op(path, "Add", &[count, pad], &[])
    }
}

/// Looks `ids` up in an embedding table of `count` vectors.
pub(super) fn embedding(
    b: &mut Builder<'_>,
    path: &str,
    ids: ValueId,
    [count, hidden]: [u64; 2],
) -> Result<ValueId> {
    let table = b.weight(&b.in_encoder(&format!("{path}.weight")), &[count, hidden])?;
    b.op(path, "Gather", &[table, ids], &[("axis", AttrValue::Int(0))])
}

/// The sum of embeddings, normalized: `[batch, sequence, hidden]`.
pub(super) fn sum_and_norm(
    b: &mut Builder<'_>,
    parts: &[ValueId],
    sizes: &Sizes,
) -> Result<ValueId> {
    let norm: Module = b.module("embeddings.LayerNorm");
    let (first, rest) =
        parts.split_first().ok_or_else(|| Error::bug("an encoder without embeddings"))?;
    let mut sum = *first;
    for part in rest {
        sum = b.op("embeddings", "Add", &[sum, *part], &[])?;
    }
    b.layer_norm(&norm, sum, sizes.hidden, sizes.epsilon)
}
