//! MobileNetV2 (Sandler et al., 2018): inverted residual blocks, each a wide depthwise convolution
//! between two narrow ends.
//!
//! Input: `pixel_values`, f32 `[batch, channels, height, width]`.

use super::builder::{Activation, Builder};
use super::config::{Config, wrong};
use super::convolution::{self, Padding, Window, batch_norm, convolve};
use super::{ArchDef, LowerOptions, Task};
use crate::error::Result;
use crate::hub::{AttrValue, Checkpoint, Graph, ValueId};

/// Channels after the stem and after each block, before the depth multiplier (table 2 of the paper).
const CHANNELS: [u64; 17] =
    [16, 24, 24, 32, 32, 32, 64, 64, 64, 64, 96, 96, 96, 160, 160, 160, 320];
/// The stride of each block.
const STRIDES: [u64; 16] = [2, 1, 2, 1, 1, 2, 1, 1, 1, 1, 1, 1, 2, 1, 1, 1];
/// Channels of the stem's first convolution, before the depth multiplier.
const FIRST: u64 = 32;
/// Channels of the last convolution, before the depth multiplier.
const LAST: u64 = 1280;
/// More channels than this are no MobileNet.
const WIDEST: f64 = 1e9;

/// What the configuration says of all convolutions.
struct Net {
    multiplier: f64,
    expansion: f64,
    divisor: u64,
    least: u64,
    epsilon: f32,
    activation: Activation,
    /// Whether TensorFlow's padding is used.
    tensorflow: bool,
}

impl Net {
    fn of(config: &Config<'_>) -> Result<Self> {
        let positive = |key, default: f64| match config.number(key)?.unwrap_or(default) {
            n if n > 0.0 && n < 1e4 => Ok(n),
            n => Err(wrong(key, format!("must be above 0 and below 10000, it is {n}"))),
        };
        let divisor = config.length_or("depth_divisible_by", 8)?;
        Ok(Self {
            multiplier: positive("depth_multiplier", 1.0)?,
            expansion: positive("expand_ratio", 6.0)?,
            divisor,
            least: config.length_or("min_depth", 8)?,
            epsilon: config.epsilon_or("layer_norm_eps", 0.001)?,
            activation: Activation::of(config, "hidden_act", "relu6")?,
            tensorflow: config.flag_or("tf_padding", true)?,
        })
    }

    /// `channels · factor`, rounded to the nearest multiple of the divisor that is no less than 90 %
    /// of it.
    fn scaled(&self, channels: u64, factor: f64) -> Result<u64> {
        #[allow(clippy::cast_precision_loss)] // far below 2^53
        let exact = (channels as f64 * factor).round_ties_even();
        if exact > WIDEST {
            return Err(wrong("depth_multiplier", "gives more channels than a layer can have"));
        }
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // whole, in range
        let value = exact as u64;
        let near = |n: u64| n / self.divisor * self.divisor;
        let rounded = near(value.saturating_add(self.divisor / 2)).max(self.least);
        let too_few = rounded.saturating_mul(10) < value.saturating_mul(9);
        Ok(if too_few { rounded.saturating_add(self.divisor) } else { rounded })
    }

    fn multiplied(&self, channels: u64) -> Result<u64> {
        self.scaled(channels, self.multiplier)
    }

    /// The padding of a window of that size; with a stride of 1 both kinds are the same.
    fn padding(&self, kernel: u64, stride: u64, dilation: u64) -> Padding {
        if self.tensorflow && stride > 1 {
            Padding::Same
        } else {
            Padding::Even((kernel - 1) / 2 * dilation)
        }
    }

    /// A convolution, its normalization and, where `active`, the activation.
    fn layer(
        &self,
        b: &mut Builder<'_>,
        path: &str,
        x: ValueId,
        channels: [u64; 2],
        [kernel, stride, dilation, groups]: [u64; 4],
        active: bool,
    ) -> Result<ValueId> {
        let window = Window {
            kernel: &[kernel; 2],
            strides: &[stride; 2],
            padding: self.padding(kernel, stride, dilation),
            dilation,
            groups,
        };
        let at = b.module(&format!("{path}.convolution"));
        let x = convolve(b, &at, x, channels, &window, false)?;
        let at = b.module(&format!("{path}.normalization"));
        let x = batch_norm(b, &at, x, channels[0], self.epsilon)?;
        if active { self.activation.apply(b, path, x) } else { Ok(x) }
    }

    /// A depthwise convolution, and one that makes the result narrow.
    fn depthwise(
        &self,
        b: &mut Builder<'_>,
        path: &str,
        x: ValueId,
        [outputs, wide]: [u64; 2],
        [stride, dilation]: [u64; 2],
    ) -> Result<ValueId> {
        let window = [3, stride, dilation, wide];
        let x = self.layer(b, &format!("{path}.conv_3x3"), x, [wide, wide], window, true)?;
        self.layer(b, &format!("{path}.reduce_1x1"), x, [outputs, wide], [1, 1, 1, 1], false)
    }

    fn stem(&self, b: &mut Builder<'_>, config: &Config<'_>, outputs: u64) -> Result<ValueId> {
        let channels = config.length_or("num_channels", 3)?;
        let wide = self.multiplied(FIRST)?;
        let x = convolution::image(b, channels)?;
        let path = "conv_stem.first_conv";
        let mut x = self.layer(b, path, x, [wide, channels], [3, 2, 1, 1], true)?;
        if !config.flag_or("first_layer_is_expansion", true)? {
            x = self.layer(b, "conv_stem.expand_1x1", x, [wide, wide], [1, 1, 1, 1], true)?;
        }
        self.depthwise(b, "conv_stem", x, [outputs, wide], [1, 1])
    }

    /// An inverted residual block.
    fn block(
        &self,
        b: &mut Builder<'_>,
        path: &str,
        x: ValueId,
        [outputs, inputs]: [u64; 2],
        [stride, dilation]: [u64; 2],
    ) -> Result<ValueId> {
        let wide = self.scaled(inputs, self.expansion)?;
        let expand = format!("{path}.expand_1x1");
        let y = self.layer(b, &expand, x, [wide, inputs], [1, 1, 1, 1], true)?;
        let y = self.depthwise(b, path, y, [outputs, wide], [stride, dilation])?;
        if stride == 1 && inputs == outputs { b.op(path, "Add", &[x, y], &[]) } else { Ok(y) }
    }
}

fn lower(checkpoint: &Checkpoint, options: &LowerOptions) -> Result<Graph> {
    let config = Config::of(checkpoint)?;
    let resolved = super::resolve(&DEF, checkpoint, options)?;
    config.refuse_variants()?;
    resolved.refuse_pooling("`last_hidden_state` and `pooler_output`")?;
    let net = Net::of(&config)?;
    let mut builder = Builder::new(checkpoint, DEF.name, "mobilenet_v2.");
    let b = &mut builder;

    let mut inputs = net.multiplied(CHANNELS[0])?;
    let mut x = net.stem(b, &config, inputs)?;
    // Past the output stride that is asked for, strides become dilations of the blocks that follow.
    let longest = config.length_or("output_stride", 32)?;
    let (mut reached, mut dilation) = (2, 1);
    for (layer, (stride, channels)) in STRIDES.into_iter().zip(&CHANNELS[1..]).enumerate() {
        let window = if reached == longest {
            let window = [1, dilation];
            dilation *= stride;
            window
        } else {
            reached *= stride;
            [stride, 1]
        };
        let outputs = net.multiplied(*channels)?;
        x = net.block(b, &format!("layer.{layer}"), x, [outputs, inputs], window)?;
        inputs = outputs;
    }
    let fine = config.flag_or("finegrained_output", true)? && net.multiplier < 1.0;
    let outputs = if fine { LAST } else { net.multiplied(LAST)? };
    let x = net.layer(b, "conv_1x1", x, [outputs, inputs], [1, 1, 1, 1], true)?;
    let pooled = b.op("pooler", "GlobalAveragePool", &[x], &[])?;
    let axis = [("axis", AttrValue::Int(1))];
    let pooled = b.op("pooler", "Flatten", &[pooled], &axis)?;
    convolution::outputs(b, &resolved, &config, "classifier", outputs, [x, pooled], &[])?;
    resolved.facts(b, &DEF, &config)?;
    builder.finish(&["classifier.", "segmentation_head."])
}

/// MobileNetV2.
pub(super) static DEF: ArchDef = ArchDef {
    name: "mobilenet_v2",
    model_types: &["mobilenet_v2"],
    classes: &["MobileNetV2"],
    revision: 1,
    tasks: Task::IMAGE,
    lower: Some(lower),
    gguf: None,
};
