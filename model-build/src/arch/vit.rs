//! ViT (Dosovitskiy et al., 2020): an image cut into patches, encoded like text.
//!
//! Input: `pixel_values`, f32 `[batch, channels, height, width]` with the size of config.json.

use super::builder::{Activation, Builder, Module};
use super::config::{Config, refused, wrong};
use super::encoder::{Names, Norm, Sizes, Stack};
use super::head;
use super::{ArchDef, LowerOptions, Pooling, Task};
use crate::error::{Error, Result};
use crate::hub::{AttrValue, Checkpoint, DType, Dim, Graph, ValueId};

const NAMES: Names = Names {
    layers: "encoder.layer",
    query: "attention.attention.query",
    key: "attention.attention.key",
    value: "attention.attention.value",
    out: "attention.output.dense",
    attention_norm: "layernorm_before",
    up: "intermediate.dense",
    down: "output.dense",
    output_norm: "layernorm_after",
};

/// Pixels to tokens: `[batch, 1 + patches, hidden]`, the class token first. Gives the number of
/// tokens too.
fn embeddings(b: &mut Builder<'_>, config: &Config<'_>, hidden: u64) -> Result<(ValueId, u64)> {
    let channels = config.length(&["num_channels"])?;
    let image = config.square("image_size")?;
    let patch = config.square("patch_size")?;
    let (rows, columns) = match [0, 1].map(|i| image[i] / patch[i]) {
        [0, _] | [_, 0] => return Err(wrong("patch_size", "is larger than `image_size`")),
        [rows, columns] => (rows, columns),
    };
    let too_large = || wrong("image_size", "gives more patches than can be counted");
    let patches = rows.checked_mul(columns).ok_or_else(too_large)?;
    let tokens = patches.checked_add(1).ok_or_else(too_large)?;
    let as_i64 = |n: u64| i64::try_from(n).map_err(|_| too_large());

    let dims =
        [Dim::symbol("batch"), Dim::Fixed(channels), Dim::Fixed(image[0]), Dim::Fixed(image[1])];
    let pixels = b.input("pixel_values", DType::F32, &dims)?;

    let path = "embeddings.patch_embeddings.projection";
    let kernel = AttrValue::Ints(vec![as_i64(patch[0])?, as_i64(patch[1])?]);
    let weight = b.weight(
        &b.in_encoder(&format!("{path}.weight")),
        &[hidden, channels, patch[0], patch[1]],
    )?;
    let bias = b.weight(&b.in_encoder(&format!("{path}.bias")), &[hidden])?;
    let attrs = [("kernel_shape", kernel.clone()), ("strides", kernel)];
    let grid = b.op(path, "Conv", &[pixels, weight, bias], &attrs)?;
    let line = b.integers(&[0, as_i64(hidden)?, as_i64(patches)?])?;
    let flat = b.op(path, "Reshape", &[grid, line], &[])?;
    let flat = b.op(path, "Transpose", &[flat], &[("perm", AttrValue::Ints(vec![0, 2, 1]))])?;

    let path = "embeddings";
    let class = b.weight(&b.in_encoder("embeddings.cls_token"), &[1, 1, hidden])?;
    let first = [("start", AttrValue::Int(0)), ("end", AttrValue::Int(1))];
    let batch = b.op(path, "Shape", &[pixels], &first)?;
    let ones = b.integers(&[1, 1])?;
    let shape = b.op(path, "Concat", &[batch, ones], &[("axis", AttrValue::Int(0))])?;
    let class = b.op(path, "Expand", &[class, shape], &[])?;
    let all = b.op(path, "Concat", &[class, flat], &[("axis", AttrValue::Int(1))])?;
    let positions =
        b.weight(&b.in_encoder("embeddings.position_embeddings"), &[1, tokens, hidden])?;
    Ok((b.op(path, "Add", &[all, positions], &[])?, tokens))
}

fn lower(checkpoint: &Checkpoint, options: &LowerOptions) -> Result<Graph> {
    let config = Config::of(checkpoint)?;
    let resolved = super::resolve(&DEF, checkpoint, options)?;
    config.refuse_variants()?;
    if resolved.pooling != Pooling::None {
        return Err(Error::unsupported("pooling a ViT's tokens: its outputs are `last_hidden_state` and, where the checkpoint has a pooler, `pooler_output`")
            .hint("leave `pooling` and `normalize` out"));
    }
    let sizes = Sizes::of(&config, 1e-12)?;
    let hidden = sizes.hidden;
    let width = hidden / sizes.heads;
    if config.length_or("head_dim", width)? != width {
        return Err(refused("head_dim", "is not `hidden_size` / `num_attention_heads`"));
    }
    let mut builder = Builder::new(checkpoint, DEF.name, "vit.");
    let b = &mut builder;

    let (x, tokens) = embeddings(b, &config, hidden)?;
    let qkv_bias = config.flag_or("qkv_bias", true)?;
    let stack = Stack { sizes, names: &NAMES, norm: Norm::Before, qkv_bias };
    let x = stack.run(b, x, &[])?;
    let norm = b.module("layernorm");
    let x = b.layer_norm(&norm, x, hidden, sizes.epsilon)?;

    let batch = Dim::symbol("batch");
    if resolved.task == Task::ImageClassification {
        head::require(b, resolved.task, "classifier.weight")?;
        let first = head::first_token(b, "classifier", x)?;
        head::classifier(b, "classifier", first, hidden, &config)?;
    } else {
        b.output("last_hidden_state", x, &[batch.clone(), Dim::Fixed(tokens), Dim::Fixed(hidden)]);
        let pooler: Module = b.module("pooler.dense");
        if b.has(&format!("{}.weight", pooler.file)) {
            let size = config.length_or("pooler_output_size", hidden)?;
            let activation = Activation::of(&config, "pooler_act", "tanh")?;
            let pooled = head::first_token_dense(b, &pooler, x, [size, hidden], activation)?;
            b.output("pooler_output", pooled, &[batch, Dim::Fixed(size)]);
        }
    }
    resolved.facts(b, &DEF, &config)?;
    let mask_token = b.in_encoder("embeddings.mask_token");
    builder.finish(&["classifier.", "decoder.", &mask_token])
}

/// ViT.
pub(super) static DEF: ArchDef = ArchDef {
    name: "vit",
    model_types: &["vit"],
    classes: &["ViT"],
    revision: 1,
    tasks: &[Task::ImageClassification, Task::FeatureExtraction],
    lower: Some(lower),
    gguf: None,
};
