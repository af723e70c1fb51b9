//! Casts that change nothing are removed, chains of casts become one.

use super::super::pipeline::{Cx, Rewrite, Set, made_by, nodes_of};
use super::{bypass, bypass_each};
use crate::error::Result;
use crate::hub::{AttrValue, DType, Edit, NodeId};
use crate::op::{Cast, View};

/// ```text
/// before: x i32 ─▶ Cast(i64) ─▶ Cast(f32) ─▶ Cast(f32) ─▶ y
/// after:  x i32 ─▶ Cast(f32) ─▶ y
/// ```
///
/// A chain is shortened where its first cast loses nothing. `CastLike` becomes `Cast` where the type is
/// known.
pub(in super::super) static CAST: Rewrite = Rewrite { name: "cast", set: Set::Graph, run };

fn run(edit: &mut Edit<'_>, cx: &Cx<'_>) -> Result<bool> {
    if cx.opset() < 6 {
        return Ok(false);
    }
    let mut changed = bypass_each(edit, &["Cast"], |_, node| {
        let cast = Cast::view(node).ok()?;
        (cx.dtype(cast.input) == Some(cast.to)).then_some(cast.input)
    })?;
    for id in nodes_of(edit, "CastLike") {
        changed |= to_cast(edit, cx, id)?;
    }
    for id in nodes_of(edit, "Cast") {
        let Some(outer) = edit.body().node(id).map(Cast::view).transpose()? else { continue };
        let Some((_, inner)) = made_by(edit, outer.input, "Cast") else { continue };
        let inner = Cast::view(inner)?;
        let Some(from) = cx.dtype(inner.input).filter(|from| lossless(*from, inner.to)) else {
            continue;
        };
        if from == outer.to && bypass(edit, id, inner.input)? {
            changed = true;
        } else if from != outer.to {
            edit.set_input(id, 0, Some(inner.input));
            changed = true;
        }
    }
    Ok(changed)
}

/// `CastLike` to a type that is known is a `Cast`.
fn to_cast(edit: &mut Edit<'_>, cx: &Cx<'_>, id: NodeId) -> Result<bool> {
    let Some(node) = edit.body().node(id) else { return Ok(false) };
    let (Some(x), Some(dtype)) = (node.input(0), node.input(1).and_then(|v| cx.dtype(v))) else {
        return Ok(false);
    };
    // 8-bit floats can saturate or not, which the attribute of the two operators says alike.
    let mut node = node.clone().with("to", AttrValue::Int(dtype.number()));
    node.op = "Cast".to_owned();
    node.inputs = vec![Some(x)];
    edit.replace(id, node);
    Ok(true)
}

/// Whether every number of one type is one of the other, of the same kind.
fn lossless(from: DType, to: DType) -> bool {
    use DType::{BF16, Bool, F16, F32, F64, I8, I16, I32, I64, U8, U16, U32, U64};
    match from {
        Bool => {
            !matches!(to, Bool)
                && (to.is_float() || matches!(to, I8 | I16 | I32 | I64 | U8 | U16 | U32 | U64))
        }
        I8 => matches!(to, I16 | I32 | I64),
        I16 => matches!(to, I32 | I64),
        I32 => to == I64,
        U8 => matches!(to, U16 | U32 | U64 | I16 | I32 | I64),
        U16 => matches!(to, U32 | U64 | I32 | I64),
        U32 => matches!(to, U64 | I64),
        F16 | BF16 => matches!(to, F32 | F64),
        F32 => to == F64,
        _ => false,
    }
}
