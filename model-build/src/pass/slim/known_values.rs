//! Integers that inference knows become constants.

use super::super::pipeline::{Cx, Rewrite, Set};
use super::is_output;
use crate::error::Result;
use crate::hub::{DType, Edit, NodeId, Tensor, ValueId};
use crate::op::len::Len;

/// ```text
/// before: x [2, 3, batch] ─▶ Shape ─▶ Slice(0 .. 2) ─▶ Concat(·, [-1]) ─▶ Reshape(z, ·) ─▶ y
/// after:  Reshape(z, [2, 3, -1]) ─▶ y
/// ```
pub(in super::super) static KNOWN_VALUES: Rewrite =
    Rewrite { name: "known-values", set: Set::Graph, run };

fn run(edit: &mut Edit<'_>, cx: &Cx<'_>) -> Result<bool> {
    let ids: Vec<NodeId> = edit
        .body()
        .nodes()
        .filter(|(_, n)| n.is(&n.op) && n.outputs.len() == 1 && n.subgraphs().next().is_none())
        .map(|(id, _)| id)
        .collect();
    let mut changed = false;
    for id in ids {
        let Some(output) = edit.body().node(id).and_then(|n| n.output(0)) else { continue };
        if is_output(edit, output) {
            continue;
        }
        if let Some(tensor) = known(cx, output)? {
            edit.remove(id);
            edit.set_constant(output, tensor);
            changed = true;
        }
    }
    Ok(changed)
}

fn known(cx: &Cx<'_>, value: ValueId) -> Result<Option<Tensor>> {
    let fact = cx.fact(value);
    let (Some(dtype), Some(shape), Some(data)) = (fact.dtype, &fact.shape, &fact.data) else {
        return Ok(None);
    };
    let fixed = |all: &[Len]| all.iter().map(Len::as_fixed).collect::<Option<Vec<i64>>>();
    let (Some(shape), Some(data)) = (fixed(shape), fixed(data)) else { return Ok(None) };
    let Ok(shape) = shape.into_iter().map(u64::try_from).collect::<Result<Vec<_>, _>>() else {
        return Ok(None);
    };
    let count = shape.iter().try_fold(1u64, |n, d| n.checked_mul(*d));
    if count != Some(data.len() as u64) {
        return Ok(None);
    }
    Ok(match dtype {
        DType::I64 => Some(Tensor::from_i64(shape, &data)?),
        DType::I32 => {
            let narrow: Result<Vec<i32>, _> = data.iter().map(|v| i32::try_from(*v)).collect();
            let bytes = |v: Vec<i32>| v.iter().flat_map(|v| v.to_le_bytes()).collect();
            narrow.ok().map(|v| Tensor::new(dtype, shape, bytes(v))).transpose()?
        }
        DType::Bool => {
            let bytes = data.iter().map(|v| u8::from(*v != 0)).collect();
            Some(Tensor::new(dtype, shape, bytes)?)
        }
        _ => None,
    })
}
