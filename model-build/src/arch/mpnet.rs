//! MPNet (Song et al., 2020): RoBERTa's positions plus a learned bias per head and distance.
//!
//! Inputs: `input_ids` and `attention_mask`, i64 `[batch, sequence]`.

use super::builder::{Activation, Builder};
use super::config::{Config, refused};
use super::encoder::{Names, Norm, Sizes, Stack, Text, embedding, sum_and_norm};
use super::head::{self, Heads, MaskedLm};
use super::{ArchDef, LowerOptions, Task};
use crate::error::Result;
use crate::hub::{AttrValue, Checkpoint, Graph, ValueId};

const NAMES: Names = Names {
    layers: "encoder.layer",
    query: "attention.attn.q",
    key: "attention.attn.k",
    value: "attention.attn.v",
    out: "attention.attn.o",
    attention_norm: "attention.LayerNorm",
    up: "intermediate.dense",
    down: "output.dense",
    output_norm: "output.LayerNorm",
};

/// The padding token of positions: transformers has the number in the code, not in the
/// configuration.
const PADDING: i64 = 1;
/// Rows of the table of biases.
const BUCKETS: u64 = 32;
/// From this distance on, all share one bucket.
const FARTHEST: i64 = 128;

/// The bucket of a token `offset` behind (negative) or ahead: T5's scheme (Raffel et al., 2019,
/// 2.1) with 32 buckets up to distance 128. Half of them are for tokens ahead; of each half, 8 are
/// for single distances and 8 for ranges that grow by √2, as `8 · log₁₆(distance / 8)` counts.
fn bucket(offset: i64) -> i64 {
    let ahead = if offset > 0 { 16 } else { 0 };
    let distance = offset.abs().min(FARTHEST);
    if distance < 8 {
        return ahead + distance;
    }
    // the largest j with 8 · √2^j ≤ distance, in whole numbers
    let steps = (1..8).filter(|j| 64 << j <= distance * distance).count();
    ahead + 8 + i64::try_from(steps).unwrap_or(7)
}

/// What the distances add to attention scores: `[1, heads, sequence, sequence]`.
fn distance_bias(b: &mut Builder<'_>, text: &Text, heads: u64) -> Result<ValueId> {
    let path = "encoder.relative_attention_bias";
    let positions = text.positions(b)?;
    let (zero, one) = (b.integers(&[0])?, b.integers(&[1])?);
    let keys = b.op(path, "Unsqueeze", &[positions, zero], &[])?;
    let queries = b.op(path, "Unsqueeze", &[positions, one], &[])?;
    let offset = b.op(path, "Sub", &[keys, queries], &[])?;
    let (low, high) = (b.integer(-FARTHEST)?, b.integer(FARTHEST)?);
    let offset = b.op(path, "Clip", &[offset, low, high], &[])?;
    let index = b.op(path, "Add", &[offset, high], &[])?;
    let buckets: Vec<i64> = (-FARTHEST..=FARTHEST).map(bucket).collect();
    let buckets = b.table("encoder.relative_attention_bias/buckets", &buckets)?;
    let bucket = b.op(path, "Gather", &[buckets, index], &[("axis", AttrValue::Int(0))])?;
    let bias = embedding(b, path, bucket, [BUCKETS, heads])?;
    let bias = b.op(path, "Transpose", &[bias], &[("perm", AttrValue::Ints(vec![2, 0, 1]))])?;
    b.op(path, "Unsqueeze", &[bias, zero], &[])
}

fn lower(checkpoint: &Checkpoint, options: &LowerOptions) -> Result<Graph> {
    let config = Config::of(checkpoint)?;
    let resolved = super::resolve(&DEF, checkpoint, options)?;
    config.refuse_variants()?;
    let sizes = Sizes::of(&config, 1e-12)?;
    let buckets = config.length_or("relative_attention_num_buckets", BUCKETS)?;
    if buckets != BUCKETS {
        let message =
            format!("is {buckets}: transformers computes with {BUCKETS} whatever it says");
        return Err(refused("relative_attention_num_buckets", message));
    }
    let mut builder = Builder::new(checkpoint, DEF.name, "mpnet.");
    let b = &mut builder;

    let text = Text::inputs(b)?;
    let vocabulary = config.length(&["vocab_size"])?;
    let longest = config.length(&["max_position_embeddings"])?;
    let positions = text.positions_after_padding(b, PADDING)?;
    let parts = [
        embedding(b, "embeddings.word_embeddings", text.ids, [vocabulary, sizes.hidden])?,
        embedding(b, "embeddings.position_embeddings", positions, [longest, sizes.hidden])?,
    ];
    let x = sum_and_norm(b, &parts, &sizes)?;
    let bias = distance_bias(b, &text, sizes.heads)?;
    let mask = text.additive_mask(b)?;
    let stack = Stack { sizes, names: &NAMES, norm: Norm::After, qkv_bias: [true; 3] };
    let x = stack.run(b, x, &[bias, mask])?;

    let heads = Heads {
        classify: head::dense_classifier,
        masked_lm: MaskedLm {
            dense: "lm_head.dense",
            norm: "lm_head.layer_norm",
            activation: Activation::Gelu,
            decoder: "lm_head.decoder",
            bias: "lm_head.bias",
        },
    };
    heads.lower(b, &resolved, x, text.mask, &sizes, &config)?;
    resolved.facts(b, &DEF, &config)?;
    builder.finish(&["lm_head.", "classifier.", "qa_outputs."])
}

/// MPNet.
pub(super) static DEF: ArchDef = ArchDef {
    name: "mpnet",
    model_types: &["mpnet"],
    classes: &["MPNet"],
    revision: 1,
    tasks: Task::TEXT,
    lower: Some(lower),
    gguf: None,
};
