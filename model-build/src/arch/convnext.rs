//! ConvNeXt (Liu et al., 2022): stages of blocks of a depthwise convolution and a two-layer network
//! per pixel.
//!
//! Input: `pixel_values`, f32 `[batch, channels, height, width]`.

use super::builder::{Activation, Builder};
use super::config::{Config, wrong};
use super::convolution::{self, Padding, Window, convolve};
use super::{ArchDef, LowerOptions, Task};
use crate::error::Result;
use crate::hub::{AttrValue, Checkpoint, Graph, ValueId};

/// What every LayerNorm but the last adds to the variance.
const EPSILON: f32 = 1e-6;

/// `[batch, channels, height, width]` to `[batch, height, width, channels]`.
const CHANNELS_LAST: [i64; 4] = [0, 2, 3, 1];
/// `[batch, height, width, channels]` to `[batch, channels, height, width]`.
const CHANNELS_FIRST: [i64; 4] = [0, 3, 1, 2];

fn turn(b: &mut Builder<'_>, path: &str, x: ValueId, order: [i64; 4]) -> Result<ValueId> {
    b.op(path, "Transpose", &[x], &[("perm", AttrValue::Ints(order.to_vec()))])
}

/// LayerNorm over the channels of `[batch, channels, height, width]`.
fn norm(b: &mut Builder<'_>, path: &str, x: ValueId, channels: u64) -> Result<ValueId> {
    let at = b.module(path);
    let x = turn(b, path, x, CHANNELS_LAST)?;
    let x = b.layer_norm(&at, x, channels, EPSILON)?;
    turn(b, path, x, CHANNELS_FIRST)
}

/// A convolution whose windows lie side by side.
fn patches(
    b: &mut Builder<'_>,
    path: &str,
    x: ValueId,
    channels: [u64; 2],
    patch: [u64; 2],
) -> Result<ValueId> {
    let window = Window {
        kernel: &patch,
        strides: &patch,
        padding: Padding::Even(0),
        dilation: 1,
        groups: 1,
    };
    let at = b.module(path);
    convolve(b, &at, x, channels, &window, true)
}

struct Blocks {
    activation: Activation,
    /// Whether each channel of a block has a factor of its own.
    scaled: bool,
}

impl Blocks {
    fn block(&self, b: &mut Builder<'_>, path: &str, x: ValueId, width: u64) -> Result<ValueId> {
        let module = |b: &Builder<'_>, name: &str| b.module(&format!("{path}.{name}"));
        let window = Window {
            kernel: &[7, 7],
            strides: &[1, 1],
            padding: Padding::Even(3),
            dilation: 1,
            groups: width,
        };
        let y = convolve(b, &module(b, "dwconv"), x, [width, width], &window, true)?;
        let y = turn(b, path, y, CHANNELS_LAST)?;
        let y = b.layer_norm(&module(b, "layernorm"), y, width, EPSILON)?;
        let wide = width.saturating_mul(4);
        let y = b.linear(&module(b, "pwconv1"), y, [wide, width], true)?;
        let y = self.activation.apply(b, path, y)?;
        let mut y = b.linear(&module(b, "pwconv2"), y, [width, wide], true)?;
        if self.scaled {
            let name = b.in_encoder(&format!("{path}.layer_scale_parameter"));
            let factor = b.weight(&name, &[width])?;
            y = b.op(path, "Mul", &[factor, y], &[])?;
        }
        let y = turn(b, path, y, CHANNELS_FIRST)?;
        b.op(path, "Add", &[x, y], &[])
    }
}

fn lower(checkpoint: &Checkpoint, options: &LowerOptions) -> Result<Graph> {
    let config = Config::of(checkpoint)?;
    let resolved = super::resolve(&DEF, checkpoint, options)?;
    config.refuse_variants()?;
    resolved.refuse_pooling("`last_hidden_state` and `pooler_output`")?;
    let sizes = config.lengths_or("hidden_sizes", &[96, 192, 384, 768])?;
    let depths = config.lengths_or("depths", &[3, 3, 9, 3])?;
    let stages = config.length_or("num_stages", 4)?;
    if sizes.len() as u64 != stages || depths.len() as u64 != stages {
        return Err(wrong("num_stages", "is not the length of `hidden_sizes` and `depths`"));
    }
    let blocks = Blocks {
        activation: Activation::of(&config, "hidden_act", "gelu")?,
        scaled: config.number("layer_scale_init_value")?.unwrap_or(1e-6) > 0.0,
    };
    let mut builder = Builder::new(checkpoint, DEF.name, "convnext.");
    let b = &mut builder;

    let channels = config.length_or("num_channels", 3)?;
    let patch = config.square_or("patch_size", 4)?;
    let mut width = sizes[0];
    let x = convolution::image(b, channels)?;
    let x = patches(b, "embeddings.patch_embeddings", x, [width, channels], patch)?;
    let mut x = norm(b, "embeddings.layernorm", x, width)?;
    for (stage, (outputs, depth)) in sizes.iter().copied().zip(depths).enumerate() {
        if stage > 0 {
            let path = format!("encoder.stages.{stage}.downsampling_layer");
            x = norm(b, &format!("{path}.0"), x, width)?;
            x = patches(b, &format!("{path}.1"), x, [outputs, width], [2, 2])?;
            width = outputs;
        }
        for layer in 0..depth {
            x = blocks.block(b, &format!("encoder.stages.{stage}.layers.{layer}"), x, width)?;
        }
    }
    let mean = [("axes", AttrValue::Ints(vec![2, 3])), ("keepdims", AttrValue::Int(0))];
    let pooled = b.op("pooler", "ReduceMean", &[x], &mean)?;
    let at = b.module("layernorm");
    let epsilon = config.epsilon_or("layer_norm_eps", 1e-12)?;
    let pooled = b.layer_norm(&at, pooled, width, epsilon)?;
    convolution::outputs(b, &resolved, &config, "classifier", width, [x, pooled], &[])?;
    resolved.facts(b, &DEF, &config)?;
    builder.finish(&["classifier."])
}

/// ConvNeXt.
pub(super) static DEF: ArchDef = ArchDef {
    name: "convnext",
    model_types: &["convnext"],
    classes: &["ConvNext"],
    revision: 1,
    tasks: Task::IMAGE,
    lower: Some(lower),
    gguf: None,
};
