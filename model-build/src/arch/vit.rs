//! ViT (Dosovitskiy et al., 2020): an image cut into patches, encoded like text.
//!
//! Input: `pixel_values`, f32 `[batch, channels, height, width]` with the size of config.json.

use super::builder::{Activation, Builder, Module};
use super::config::{Config, refused, wrong};
use super::encoder::{Names, Norm, Sizes, Stack};
use super::head;
use super::{ArchDef, LowerOptions, Task};
use crate::error::Result;
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

/// Where an image encoder keeps the embeddings of its tokens.
pub(super) struct Patches<'n> {
    /// The convolution that makes a vector of each patch, and whether it has a bias.
    pub(super) projection: (&'n str, bool),
    /// The class token, and the axes before its last.
    pub(super) class: (&'n str, &'n [u64]),
    /// The positions, and the axes before the last two.
    pub(super) positions: (&'n str, &'n [u64]),
    pub(super) channels: u64,
    /// Height and width of the image.
    pub(super) image: [u64; 2],
    /// Height and width of a patch.
    pub(super) patch: [u64; 2],
}

impl Patches<'_> {
    /// Pixels to tokens: `[batch, 1 + patches, hidden]`, the class token first. Gives the number of
    /// tokens too. `batch` is the name of the images' axis.
    pub(super) fn embed(
        &self,
        b: &mut Builder<'_>,
        hidden: u64,
        batch: &str,
    ) -> Result<(ValueId, u64)> {
        let Self { channels, image, patch, .. } = *self;
        let (rows, columns) = match [0, 1].map(|i| image[i] / patch[i]) {
            [0, _] | [_, 0] => return Err(wrong("patch_size", "is larger than `image_size`")),
            [rows, columns] => (rows, columns),
        };
        let too_large = || wrong("image_size", "gives more patches than can be counted");
        let patches = rows.checked_mul(columns).ok_or_else(too_large)?;
        let tokens = patches.checked_add(1).ok_or_else(too_large)?;
        let as_i64 = |n: u64| i64::try_from(n).map_err(|_| too_large());

        let [height, width] = image.map(Dim::Fixed);
        let dims = [Dim::symbol(batch), Dim::Fixed(channels), height, width];
        let pixels = b.input("pixel_values", DType::F32, &dims)?;

        let (path, bias) = self.projection;
        let kernel = AttrValue::Ints(vec![as_i64(patch[0])?, as_i64(patch[1])?]);
        let shape = [hidden, channels, patch[0], patch[1]];
        let mut wires = vec![pixels, b.weight(&b.in_encoder(&format!("{path}.weight")), &shape)?];
        if bias {
            wires.push(b.weight(&b.in_encoder(&format!("{path}.bias")), &[hidden])?);
        }
        let attrs = [("kernel_shape", kernel.clone()), ("strides", kernel)];
        let grid = b.op(path, "Conv", &wires, &attrs)?;
        let line = b.integers(&[0, as_i64(hidden)?, as_i64(patches)?])?;
        let flat = b.op(path, "Reshape", &[grid, line], &[])?;
        let turned = [("perm", AttrValue::Ints(vec![0, 2, 1]))];
        let flat = b.op(path, "Transpose", &[flat], &turned)?;

        let path = "embeddings";
        let (name, axes) = self.class;
        let class = b.weight(&b.in_encoder(name), &[axes, &[hidden]].concat())?;
        let first = [("start", AttrValue::Int(0)), ("end", AttrValue::Int(1))];
        let batch = b.op(path, "Shape", &[pixels], &first)?;
        let ones = b.integers(&[1, 1])?;
        let shape = b.op(path, "Concat", &[batch, ones], &[("axis", AttrValue::Int(0))])?;
        let class = b.op(path, "Expand", &[class, shape], &[])?;
        let all = b.op(path, "Concat", &[class, flat], &[("axis", AttrValue::Int(1))])?;
        let (name, axes) = self.positions;
        let positions = b.weight(&b.in_encoder(name), &[axes, &[tokens, hidden]].concat())?;
        Ok((b.op(path, "Add", &[all, positions], &[])?, tokens))
    }
}

fn lower(checkpoint: &Checkpoint, options: &LowerOptions) -> Result<Graph> {
    let config = Config::of(checkpoint)?;
    let resolved = super::resolve(&DEF, checkpoint, options)?;
    config.refuse_variants()?;
    resolved.refuse_pooling(
        "`last_hidden_state` and, where the checkpoint has a pooler, `pooler_output`",
    )?;
    let sizes = Sizes::of(&config, 1e-12)?;
    let hidden = sizes.hidden;
    let width = hidden / sizes.heads;
    if config.length_or("head_dim", width)? != width {
        return Err(refused("head_dim", "is not `hidden_size` / `num_attention_heads`"));
    }
    let mut builder = Builder::new(checkpoint, DEF.name, "vit.");
    let b = &mut builder;

    let patches = Patches {
        projection: ("embeddings.patch_embeddings.projection", true),
        class: ("embeddings.cls_token", &[1, 1]),
        positions: ("embeddings.position_embeddings", &[1]),
        channels: config.length(&["num_channels"])?,
        image: config.square("image_size")?,
        patch: config.square("patch_size")?,
    };
    let (x, tokens) = patches.embed(b, hidden, "batch")?;
    let qkv_bias = config.flag_or("qkv_bias", true)?;
    let stack = Stack { sizes, names: &NAMES, norm: Norm::Before, qkv_bias: [qkv_bias; 3] };
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
    tasks: Task::IMAGE,
    lower: Some(lower),
    gguf: None,
};
