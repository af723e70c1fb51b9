//! ResNet (He et al., 2015): stages of residual blocks of convolutions, with the stride of the later
//! version 1.5 in the second convolution of a bottleneck unless the configuration says otherwise.
//!
//! Input: `pixel_values`, f32 `[batch, channels, height, width]`.

use super::builder::{Activation, Builder};
use super::config::{Config, refused, wrong};
use super::convolution::{self, Padding, Window, batch_norm, convolve};
use super::{ArchDef, LowerOptions, Task};
use crate::error::Result;
use crate::hub::{AttrValue, Checkpoint, Graph, ValueId};

/// What torch's `BatchNorm2d` adds to the variance.
const EPSILON: f32 = 1e-5;
/// How much narrower a bottleneck is than what goes into it.
const REDUCTION: u64 = 4;

/// A convolution of a square window with its normalization: `[batch, inputs, h, w] → [batch,
/// outputs, h / stride, w / stride]`.
fn normalized(
    b: &mut Builder<'_>,
    path: &str,
    x: ValueId,
    channels: [u64; 2],
    kernel: u64,
    stride: u64,
) -> Result<ValueId> {
    let window = Window {
        kernel: &[kernel; 2],
        strides: &[stride; 2],
        padding: Padding::Even(kernel / 2),
        dilation: 1,
        groups: 1,
    };
    let at = b.module(&format!("{path}.convolution"));
    let x = convolve(b, &at, x, channels, &window, false)?;
    let at = b.module(&format!("{path}.normalization"));
    batch_norm(b, &at, x, channels[0], EPSILON)
}

/// What a block is made of.
struct Kind {
    bottleneck: bool,
    /// Whether the first convolution of a bottleneck has the stride, not the second.
    early: bool,
    /// After the stem and after each block.
    activation: Activation,
}

impl Kind {
    fn of(config: &Config<'_>) -> Result<Self> {
        let bottleneck = match config.text_or("layer_type", "bottleneck")? {
            "bottleneck" => true,
            "basic" => false,
            other => {
                return Err(refused("layer_type", format!("is `{other}`"))
                    .hint("the known ones are: basic, bottleneck"));
            }
        };
        Ok(Self {
            bottleneck,
            early: config.flag_or("downsample_in_bottleneck", false)?,
            activation: Activation::of(config, "hidden_act", "relu")?,
        })
    }

    /// The convolutions of a block: channels, size of the window, stride.
    fn convolutions(&self, [outputs, inputs]: [u64; 2], stride: u64) -> Vec<([u64; 2], u64, u64)> {
        if !self.bottleneck {
            return vec![([outputs, inputs], 3, stride), ([outputs, outputs], 3, 1)];
        }
        let narrow = outputs / REDUCTION;
        let (first, second) = if self.early { (stride, 1) } else { (1, stride) };
        vec![([narrow, inputs], 1, first), ([narrow, narrow], 3, second), ([outputs, narrow], 1, 1)]
    }

    /// A residual block.
    fn block(
        &self,
        b: &mut Builder<'_>,
        path: &str,
        x: ValueId,
        channels: [u64; 2],
        stride: u64,
    ) -> Result<ValueId> {
        let convolutions = self.convolutions(channels, stride);
        let last = convolutions.len() - 1;
        let mut y = x;
        for (i, (channels, kernel, stride)) in convolutions.into_iter().enumerate() {
            let path = format!("{path}.layer.{i}");
            y = normalized(b, &path, y, channels, kernel, stride)?;
            if i < last {
                // inside a block it is this one, whatever `hidden_act` says
                y = Activation::Relu.apply(b, &path, y)?;
            }
        }
        let residual = if channels[0] != channels[1] || stride != 1 {
            normalized(b, &format!("{path}.shortcut"), x, channels, 1, stride)?
        } else {
            x
        };
        let sum = b.op(path, "Add", &[y, residual], &[])?;
        self.activation.apply(b, path, sum)
    }
}

fn lower(checkpoint: &Checkpoint, options: &LowerOptions) -> Result<Graph> {
    let config = Config::of(checkpoint)?;
    let resolved = super::resolve(&DEF, checkpoint, options)?;
    config.refuse_variants()?;
    resolved.refuse_pooling("`last_hidden_state` and `pooler_output`")?;
    let kind = Kind::of(&config)?;
    let sizes = config.lengths_or("hidden_sizes", &[256, 512, 1024, 2048])?;
    let depths = config.lengths_or("depths", &[3, 4, 6, 3])?;
    if sizes.len() != depths.len() {
        return Err(wrong("depths", "is not as long as `hidden_sizes`"));
    }
    if let Some(n) = sizes.iter().find(|n| kind.bottleneck && **n < REDUCTION) {
        return Err(wrong(
            "hidden_sizes",
            format!("has {n}: a bottleneck takes {REDUCTION} or more"),
        ));
    }
    let mut builder = Builder::new(checkpoint, DEF.name, "resnet.");
    let b = &mut builder;

    let channels = config.length_or("num_channels", 3)?;
    let mut inputs = config.length_or("embedding_size", 64)?;
    let x = convolution::image(b, channels)?;
    let path = "embedder.embedder";
    let x = normalized(b, path, x, [inputs, channels], 7, 2)?;
    let x = kind.activation.apply(b, path, x)?;
    let attrs = [("kernel_shape", vec![3, 3]), ("strides", vec![2, 2]), ("pads", vec![1; 4])];
    let attrs = attrs.map(|(name, list)| (name, AttrValue::Ints(list)));
    let mut x = b.op("embedder.pooler", "MaxPool", &[x], &attrs)?;

    let early = config.flag_or("downsample_in_first_stage", false)?;
    for (stage, (outputs, depth)) in sizes.iter().copied().zip(depths).enumerate() {
        for layer in 0..depth {
            let stride = if layer == 0 && (stage > 0 || early) { 2 } else { 1 };
            let path = format!("encoder.stages.{stage}.layers.{layer}");
            x = kind.block(b, &path, x, [outputs, inputs], stride)?;
            inputs = outputs;
        }
    }
    let pooled = b.op("pooler", "GlobalAveragePool", &[x], &[])?;
    convolution::outputs(b, &resolved, &config, "classifier.1", inputs, [x, pooled], &[1, 1])?;
    resolved.facts(b, &DEF, &config)?;
    builder.finish(&["classifier."])
}

/// ResNet.
pub(super) static DEF: ArchDef = ArchDef {
    name: "resnet",
    model_types: &["resnet"],
    classes: &["ResNet"],
    revision: 1,
    tasks: Task::IMAGE,
    lower: Some(lower),
    gguf: None,
};
