//! What convolutional networks share: convolutions, normalization over the batch, the input and the
//! outputs of an image model.
//!
//! Input: `pixel_values`, f32 `[batch, channels, height, width]`, of any height and width.

use super::builder::{Builder, Module};
use super::config::Config;
use super::{Resolved, Task, head};
use crate::error::{Error, Result};
use crate::hub::{AttrValue, DType, Dim, ValueId};

/// What stands around an image when a window passes over it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Padding {
    /// As many zeros on each side of each axis.
    Even(u64),
    /// TensorFlow's "SAME": as many zeros as let each stride count, an odd one at the end.
    Same,
}

/// The window of a convolution, the same along every axis but for its size and steps.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window<'k> {
    /// Its length along each axis.
    pub(super) kernel: &'k [u64],
    /// Its steps along each axis.
    pub(super) strides: &'k [u64],
    pub(super) padding: Padding,
    /// The distance of its elements.
    pub(super) dilation: u64,
    /// Into how many groups the channels are divided.
    pub(super) groups: u64,
}

fn integer(n: u64) -> Result<i64> {
    i64::try_from(n).map_err(|_| Error::unsupported("a convolution with a length past 2^63"))
}

fn integers(list: impl IntoIterator<Item = u64>) -> Result<AttrValue> {
    Ok(AttrValue::Ints(list.into_iter().map(integer).collect::<Result<_>>()?))
}

/// torch's convolution at `at`: `[batch, inputs, …] → [batch, outputs, …]`.
pub(super) fn convolve(
    b: &mut Builder<'_>,
    at: &Module,
    x: ValueId,
    [outputs, inputs]: [u64; 2],
    window: &Window<'_>,
    bias: bool,
) -> Result<ValueId> {
    let axes = window.kernel.len();
    if window.groups == 0 || !inputs.is_multiple_of(window.groups) {
        return Err(Error::bug("groups that do not divide the channels").item(&at.file));
    }
    let mut shape = vec![outputs, inputs / window.groups];
    shape.extend(window.kernel);
    let mut wires = vec![x, b.weight(&format!("{}.weight", at.file), &shape)?];
    if bias {
        wires.push(b.weight(&format!("{}.bias", at.file), &[outputs])?);
    }
    let mut attrs = vec![
        ("kernel_shape", integers(window.kernel.iter().copied())?),
        ("strides", integers(window.strides.iter().copied())?),
    ];
    match window.padding {
        Padding::Even(n) => attrs.push(("pads", integers(vec![n; 2 * axes])?)),
        Padding::Same => attrs.push(("auto_pad", AttrValue::String("SAME_UPPER".into()))),
    }
    if window.dilation != 1 {
        attrs.push(("dilations", integers(vec![window.dilation; axes])?));
    }
    if window.groups != 1 {
        attrs.push(("group", AttrValue::Int(integer(window.groups)?)));
    }
    b.op(&at.path, "Conv", &wires, &attrs)
}

/// torch's `BatchNorm2d` with the statistics of the file.
pub(super) fn batch_norm(
    b: &mut Builder<'_>,
    at: &Module,
    x: ValueId,
    channels: u64,
    epsilon: f32,
) -> Result<ValueId> {
    let mut wires = vec![x];
    for name in ["weight", "bias", "running_mean", "running_var"] {
        wires.push(b.weight(&format!("{}.{name}", at.file), &[channels])?);
    }
    b.op(&at.path, "BatchNormalization", &wires, &[("epsilon", AttrValue::Float(epsilon))])
}

/// Adds the input `pixel_values`.
pub(super) fn image(b: &mut Builder<'_>, channels: u64) -> Result<ValueId> {
    let [height, width] = ["height", "width"].map(Dim::symbol);
    b.input(
        "pixel_values",
        DType::F32,
        &[Dim::symbol("batch"), Dim::Fixed(channels), height, width],
    )
}

/// The outputs of an image model: `logits` `[batch, labels]` from the classifier `name`, or
/// `last_hidden_state` `[batch, channels, …, …]` and `pooler_output`, whose shape is `[batch,
/// channels]` and `ones`.
pub(super) fn outputs(
    b: &mut Builder<'_>,
    resolved: &Resolved,
    config: &Config<'_>,
    name: &str,
    channels: u64,
    [grid, pooled]: [ValueId; 2],
    ones: &[u64],
) -> Result<()> {
    let batch = Dim::symbol("batch");
    if resolved.task == Task::ImageClassification {
        head::require(b, resolved.task, &format!("{name}.weight"))?;
        let flat = if ones.is_empty() {
            pooled
        } else {
            b.op(name, "Flatten", &[pooled], &[("axis", AttrValue::Int(1))])?
        };
        return head::classifier(b, name, flat, channels, config);
    }
    let shape = [batch.clone(), Dim::Fixed(channels), Dim::Unknown, Dim::Unknown];
    b.output("last_hidden_state", grid, &shape);
    let mut shape = vec![batch, Dim::Fixed(channels)];
    shape.extend(ones.iter().map(|n| Dim::Fixed(*n)));
    b.output("pooler_output", pooled, &shape);
    Ok(())
}
