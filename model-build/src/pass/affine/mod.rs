//! Fusions of a layer with constant weights and what follows it: scales and shifts per output channel
//! become part of the weights, padding and transposes part of the layer's attributes.
#![allow(clippy::unnecessary_wraps)] // every rewrite has one signature, whether it can fail or not

mod batch_norm;
mod gemm_transpose;
mod matmul_add;
mod pad_conv;
mod scale;
mod shift;
mod weight;

pub(super) use batch_norm::BATCH_NORM;
pub(super) use gemm_transpose::GEMM_TRANSPOSE;
pub(super) use matmul_add::MATMUL_ADD;
pub(super) use pad_conv::PAD_CONV;
pub(super) use scale::SCALE;
pub(super) use shift::SHIFT;

use super::pipeline::{Cx, only_use};
use crate::error::Result;
use crate::hub::{AttrValue, DType, Edit, Node, NodeId, Tensor, ValueId};

/// Longest list of factors per channel.
const MOST_CHANNELS: u64 = 1 << 20;

/// A layer whose output channels can be scaled and shifted by changing its constants.
struct Layer {
    id: NodeId,
    weight: ValueId,
    values: Tensor,
    bias: Option<ValueId>,
    /// Which element belongs to which output channel.
    channels: weight::Channels,
    /// The bias in f64, times what the layer multiplies it with.
    shift: Vec<f64>,
    /// The rank of the output; the channels are its axis 1.
    rank: usize,
}

/// `y = x · scale + shift` for each channel.
struct Affine {
    scale: Option<Vec<f64>>,
    shift: Option<Vec<f64>>,
}

impl Layer {
    /// The layer that makes `value`, if nothing else uses it and its weights are constants.
    fn before(edit: &Edit<'_>, cx: &Cx<'_>, value: ValueId) -> Option<Self> {
        only_use(edit, value)?;
        let id = edit.producer(value)?;
        let node = edit.body().node(id)?;
        let weight = node.input(1)?;
        let values = cx.constant(edit, weight).filter(|t| t.dtype() == DType::F32)?;
        let channels = weight::Channels::of(node, values.shape())?;
        let rank = if node.is("Gemm") { 2 } else { values.shape().len() };
        let bias = node.input(2);
        let factor = match node.is("Gemm") {
            true => f64::from(node.attr("beta").map_or(Some(1.0), AttrValue::as_float)?),
            false => 1.0,
        };
        let shift = match bias {
            None => vec![0.0; channels.count()],
            Some(bias) => {
                let bias = per_channel(edit, cx, bias, channels.count(), |shape| {
                    // One per channel, or one for all: not one per row.
                    matches!(shape, [] | [_] | [1, _])
                })?;
                bias.into_iter().map(|v| v * factor).collect()
            }
        };
        Some(Self { id, weight, values, bias, channels, shift, rank })
    }

    /// Lets the layer do what the node `follower` does to its output.
    fn absorb(self, edit: &mut Edit<'_>, follower: NodeId, affine: &Affine) -> Result<bool> {
        let Some(output) = edit.body().node(follower).and_then(|n| n.output(0)) else {
            return Ok(false);
        };
        let Some(mut node) = edit.body().node(self.id).cloned() else { return Ok(false) };
        let mut shift = self.shift;
        if let Some(scale) = &affine.scale {
            shift.iter_mut().zip(scale).for_each(|(b, s)| *b *= s);
        }
        if let Some(more) = &affine.shift {
            shift.iter_mut().zip(more).for_each(|(b, m)| *b += m);
        }
        let Some(bias) = rounded(&shift) else { return Ok(false) };
        let Some(weight) = (match &affine.scale {
            None => Some(None),
            Some(scale) => weight::scaled(&self.values, self.channels, scale)?.map(Some),
        }) else {
            return Ok(false);
        };
        edit.remove(follower);
        if let Some(tensor) = weight {
            set_input(edit, &mut node, 1, self.weight, "weight", tensor)?;
        }
        let bias = Tensor::from_f32(vec![bias.len() as u64], &bias)?;
        match self.bias {
            Some(old) => set_input(edit, &mut node, 2, old, "bias", bias)?,
            None => {
                let hint = format!("{}_bias", edit.body().value(output).name);
                let value = edit.constant(&hint, bias)?;
                node.inputs.resize(3, None);
                node.inputs[2] = Some(value);
            }
        }
        node.attrs.retain(|a| a.name != "beta");
        node.outputs = vec![Some(output)];
        edit.replace(self.id, node);
        Ok(true)
    }
}

/// Gives a node another constant: under the old one's name where nothing else uses that.
fn set_input(
    edit: &mut Edit<'_>,
    node: &mut Node,
    index: usize,
    old: ValueId,
    hint: &str,
    tensor: Tensor,
) -> Result<()> {
    if edit.uses(old).len() == 1 && edit.body().constant(old).is_some() {
        edit.set_constant(old, tensor);
        return Ok(());
    }
    let name = format!("{}_{hint}", edit.body().value(old).name);
    node.inputs[index] = Some(edit.constant(&name, tensor)?);
    Ok(())
}

/// Numbers rounded to f32; `None` when one is not finite.
#[allow(clippy::cast_possible_truncation)] // the rounding is the point
fn rounded(values: &[f64]) -> Option<Vec<f32>> {
    values.iter().map(|v| Some(*v as f32).filter(|v| v.is_finite())).collect()
}

/// The elements of a floating-point constant of a shape that `fits`, one per channel, or one that all
/// channels share.
fn per_channel(
    edit: &Edit<'_>,
    cx: &Cx<'_>,
    value: ValueId,
    channels: usize,
    fits: impl Fn(&[u64]) -> bool,
) -> Option<Vec<f64>> {
    let tensor = cx.constant(edit, value)?;
    let right = tensor.dtype() == DType::F32 && tensor.len() <= MOST_CHANNELS;
    if !right || !fits(tensor.shape()) {
        return None;
    }
    let values: Vec<f64> = tensor.to_f32().ok()?.into_iter().map(f64::from).collect();
    match values.as_slice() {
        [one] => Some(vec![*one; channels]),
        _ => (values.len() == channels).then_some(values),
    }
}

/// The same for an operand of an output of that rank, whose channels are axis 1.
fn operand(
    edit: &Edit<'_>,
    cx: &Cx<'_>,
    value: ValueId,
    channels: usize,
    rank: usize,
) -> Option<Vec<f64>> {
    per_channel(edit, cx, value, channels, |shape| {
        let Some(lead) = rank.checked_sub(shape.len()) else { return false };
        shape.iter().enumerate().all(|(i, d)| *d == 1 || i + lead == 1)
    })
}

/// For a node of two inputs each of the ways to read it: what is computed and what is constant.
fn operands(node: &Node) -> [(Option<ValueId>, Option<ValueId>); 2] {
    [(node.input(0), node.input(1)), (node.input(1), node.input(0))]
}

#[cfg(test)]
mod tests;
