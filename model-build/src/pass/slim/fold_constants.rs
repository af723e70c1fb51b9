//! Nodes whose inputs are constants are computed.

use super::super::eval;
use super::super::pipeline::{Cx, Rewrite, Set};
use super::is_output;
use crate::error::Result;
use crate::hub::{AttrValue, Edit, Node, NodeId, Tensor};

/// ```text
/// before: Mul(a, b) ─▶ Add(x, ·) ─▶ y      a, b constants
/// after:  Add(x, a·b) ─▶ y
/// ```
///
/// With the kernels of `pass/eval`, which give what every runtime gives. A result is kept where it
/// takes at most 1 MiB, or no more than what it is made of; more than 16 MiB are not read. One that is
/// an output of the graph becomes a `Constant` node.
pub(in super::super) static FOLD_CONSTANTS: Rewrite =
    Rewrite { name: "fold-constants", set: Set::Graph, run };

/// A result of so many bytes is always kept.
const SMALL: u64 = 1 << 20;
/// Inputs of more bytes altogether are not read.
const READ: u64 = 16 << 20;

fn run(edit: &mut Edit<'_>, cx: &Cx<'_>) -> Result<bool> {
    let ids: Vec<NodeId> =
        edit.body().nodes().filter(|(_, n)| eval::has_kernel(n)).map(|(id, _)| id).collect();
    let mut changed = false;
    for id in ids {
        changed |= fold(edit, cx, id)?;
    }
    Ok(changed)
}

fn fold(edit: &mut Edit<'_>, cx: &Cx<'_>, id: NodeId) -> Result<bool> {
    let Some(node) = edit.body().node(id) else { return Ok(false) };
    let mut inputs = Vec::with_capacity(node.inputs.len());
    for input in &node.inputs {
        match input {
            None => inputs.push(None),
            Some(v) => match cx.constant(edit, *v) {
                Some(tensor) => inputs.push(Some(tensor)),
                None => return Ok(false),
            },
        }
    }
    let read = inputs.iter().flatten().fold(0u64, |n, t| n.saturating_add(t.byte_len()));
    let views = ["Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze"];
    if read > READ && !views.iter().any(|op| node.is(op)) {
        return Ok(false);
    }
    let Some(results) = eval::eval(node, cx.opset(), &inputs, read.max(SMALL)) else {
        return Ok(false);
    };
    let outputs = node.outputs.clone();
    let one_output = outputs.iter().flatten().any(|v| is_output(edit, *v));
    if one_output && (outputs.len() != 1 || node.is("Identity")) {
        return Ok(false);
    }
    let name = node.name.clone();
    edit.remove(id);
    for (output, tensor) in outputs.iter().zip(results) {
        let Some(output) = output else { continue };
        if one_output {
            let tensor = AttrValue::Tensor(Tensor::new(
                tensor.dtype(),
                tensor.shape().to_vec(),
                tensor.bytes()?,
            )?);
            let node = Node { name: name.clone(), ..Node::new("Constant", &[], &[*output]) };
            edit.add(node.with("value", tensor))?;
        } else {
            edit.set_constant(*output, tensor);
        }
    }
    Ok(true)
}
