//! `Constant` nodes become initializers.

use super::super::pipeline::{Cx, Rewrite, Set, nodes_of};
use crate::error::Result;
use crate::hub::{AttrValue, DType, Edit, Tensor, Use};
use crate::op::Constant;

/// A `Constant` node becomes an initializer, except where it gives an output of the graph.
///
/// ```text
/// before: Constant(value = [2, 3]) ─▶ Add(x, ·) ─▶ y
/// after:                              Add(x, [2, 3]) ─▶ y
/// ```
pub(in super::super) static CONSTANT_NODES: Rewrite =
    Rewrite { name: "constant-nodes", set: Set::Graph, run };

fn run(edit: &mut Edit<'_>, _: &Cx<'_>) -> Result<bool> {
    let mut changed = false;
    for id in nodes_of(edit, "Constant") {
        let Some(node) = edit.body().node(id) else { continue };
        let constant = Constant::of(node)?;
        let output = constant.output;
        let is_output = edit.uses(output).iter().any(|u| matches!(u, Use::Output(_)));
        if is_output {
            continue;
        }
        let Some(tensor) = tensor_of(constant.value)? else { continue };
        edit.remove(id);
        edit.set_constant(output, tensor);
        changed = true;
    }
    Ok(changed)
}

/// The tensor of an attribute of `Constant`; a sparse one stays what it is.
pub(in super::super) fn tensor_of(value: &AttrValue) -> Result<Option<Tensor>> {
    Ok(match value {
        AttrValue::Tensor(t) => Some(t.clone()),
        AttrValue::Int(v) => Some(Tensor::from_i64(vec![], &[*v])?),
        AttrValue::Ints(v) => Some(Tensor::from_i64(vec![v.len() as u64], v)?),
        AttrValue::Float(v) => Some(Tensor::from_f32(vec![], &[*v])?),
        AttrValue::Floats(v) => Some(Tensor::from_f32(vec![v.len() as u64], v)?),
        AttrValue::String(v) => Some(Tensor::from_strings(vec![], [v])?),
        AttrValue::Strings(v) => Some(Tensor::from_strings(vec![v.len() as u64], v)?),
        _ => None,
    }
    .filter(|t| !matches!(t.dtype(), DType::Block(_))))
}
