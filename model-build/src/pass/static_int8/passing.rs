//! Operators that hand numbers on: outputs have the scale of the input, if that has one. `Reshape`,
//! `Transpose`, `MaxPool`, `Slice`, `Split`, `Gather`, `Pad` and their like.

use super::marking::{Marking, Rule};
use crate::error::Result;
use crate::hub::{AttrValue, Node, NodeId};

pub(super) const RULES: &[(&str, Rule)] = &[
    ("AveragePool", pass),
    ("Flatten", pass),
    ("Gather", gather),
    ("GatherElements", gather),
    ("MaxPool", pass_12),
    ("Pad", pad),
    ("Reshape", pass),
    ("Resize", pass_11),
    ("Slice", pass),
    ("Split", split),
    ("Squeeze", pass),
    ("TopK", pass),
    ("Transpose", pass),
    ("Unsqueeze", pass),
];

fn pass(marking: &mut Marking<'_, '_>, _: NodeId, node: &Node) -> Result<()> {
    if let Some(x) = node.input(0)
        && marking.has_scale(x)
    {
        marking.same(node.output(0), x);
    }
    Ok(())
}

/// `MaxPool` takes integers from opset 12 on.
fn pass_12(marking: &mut Marking<'_, '_>, id: NodeId, node: &Node) -> Result<()> {
    if marking.opset >= 12 { pass(marking, id, node) } else { Ok(()) }
}

/// `Resize` is another operator before opset 11.
fn pass_11(marking: &mut Marking<'_, '_>, id: NodeId, node: &Node) -> Result<()> {
    if marking.opset >= 11 { pass(marking, id, node) } else { Ok(()) }
}

/// Pieces have the scale of the whole.
fn split(marking: &mut Marking<'_, '_>, _: NodeId, node: &Node) -> Result<()> {
    marking.activation(node.input(0));
    if let Some(x) = node.input(0).filter(|x| marking.has_scale(*x)) {
        for output in &node.outputs {
            marking.same(*output, x);
        }
    }
    Ok(())
}

/// A table that is looked up is quantized as a whole.
fn gather(marking: &mut Marking<'_, '_>, id: NodeId, node: &Node) -> Result<()> {
    if let Some(table) = node.input(0)
        && marking.is_constant(table)
    {
        marking.activation(Some(table));
    }
    pass(marking, id, node)
}

/// What is padded with zeros, or with numbers that are there, keeps its scale.
fn pad(marking: &mut Marking<'_, '_>, _: NodeId, node: &Node) -> Result<()> {
    let Some(x) = node.input(0) else { return Ok(()) };
    marking.activation(Some(x));
    if !marking.has_scale(x) {
        return Ok(());
    }
    let mode = node.attr("mode").and_then(AttrValue::as_str).unwrap_or("constant");
    let zero = match node.input(2) {
        Some(value) => {
            let tensor = marking.edit.body().constant(value).filter(|_| marking.is_constant(value));
            let values = tensor.map(crate::hub::Tensor::to_f32).transpose()?;
            values.is_some_and(|values| values.iter().all(|v| *v == 0.0))
        }
        None => node.attr("value").and_then(AttrValue::as_float).unwrap_or(0.0) == 0.0,
    };
    if mode != "constant" || zero {
        marking.same(node.output(0), x);
    } else {
        marking.activation(node.output(0));
    }
    Ok(())
}
