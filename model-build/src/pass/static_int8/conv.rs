//! `Conv` and `ConvTranspose`: input, output, weight (a scale per output channel), bias.

use super::marking::{Marking, Rule};
use crate::error::Result;
use crate::hub::{AttrValue, Node, NodeId};

pub(super) const RULES: &[(&str, Rule)] = &[("Conv", conv), ("ConvTranspose", conv_transpose)];

fn conv(marking: &mut Marking<'_, '_>, id: NodeId, node: &Node) -> Result<()> {
    convolution(marking, id, node, 0);
    Ok(())
}

fn conv_transpose(marking: &mut Marking<'_, '_>, id: NodeId, node: &Node) -> Result<()> {
    convolution(marking, id, node, 1);
    Ok(())
}

fn convolution(marking: &mut Marking<'_, '_>, id: NodeId, node: &Node, channels: usize) {
    // With groups a bias has more channels than the axis of a transposed weight.
    let grouped = node.attr("group").and_then(AttrValue::as_int).is_some_and(|g| g != 1);
    let axis = (channels == 0 || !grouped).then_some(channels);
    marking.activation(node.input(0));
    marking.activation(node.output(0));
    marking.factor(id, node, 1, axis);
    marking.bias(id, node, 2, 1.0);
}
