//! Transposes and scales move into the matrix product.

use super::super::pipeline::{Cx, Rewrite, Set, made_by, nodes_of, only_use};
use super::{Fused, MICROSOFT, inputs};
use crate::error::Result;
use crate::hub::{AttrValue, DType, Edit, NodeId, ValueId};

/// ```text
/// before: MatMul(Transpose(a), Transpose(b)) ─▶ · α      the last two axes transposed
/// after:  com.microsoft FusedMatMul(a, b, transA = 1, transB = 1, alpha = α)
/// ```
///
/// Of either factor, with or without a number.
pub(super) static FUSED_MATMUL: Rewrite =
    Rewrite { name: "fused-matmul", set: Set::OnnxRuntime, run };

fn run(edit: &mut Edit<'_>, cx: &Cx<'_>) -> Result<bool> {
    let mut changed = false;
    for product in nodes_of(edit, "MatMul") {
        changed |= fuse(edit, cx, product);
    }
    Ok(changed)
}

fn fuse(edit: &mut Edit<'_>, cx: &Cx<'_>, product: NodeId) -> bool {
    let parts = edit.body().node(product).and_then(|n| Some((inputs::<2>(n)?, n.output(0)?)));
    let Some(([a, b], output)) = parts else { return false };
    // A weight stays at MatMul, where a quantization finds it.
    if cx.dtype(output) != Some(DType::F32) || cx.constant(edit, b).is_some() {
        return false;
    }
    let (turned_a, turned_b) = (turned(edit, cx, a), turned(edit, cx, b));
    let scaled = scaled(edit, cx, output);
    if turned_a.is_none() && turned_b.is_none() && scaled.is_none() {
        return false;
    }
    let mut attrs = Vec::new();
    for (name, turned) in [("transA", turned_a), ("transB", turned_b)] {
        if turned.is_some() {
            attrs.push((name, AttrValue::Int(1)));
        }
    }
    if let Some((_, alpha)) = scaled {
        attrs.push(("alpha", AttrValue::Float(alpha)));
    }
    let inputs = [Some(turned_a.unwrap_or(a)), Some(turned_b.unwrap_or(b))];
    let root = scaled.map_or(product, |(root, _)| root);
    Fused { domain: MICROSOFT, op: "FusedMatMul", inputs: &inputs, attrs }.replace(edit, root);
    true
}

/// What a value is the transpose of, by its last two axes, where nothing else reads it.
fn turned(edit: &Edit<'_>, cx: &Cx<'_>, value: ValueId) -> Option<ValueId> {
    only_use(edit, value)?;
    let (_, node) = made_by(edit, value, "Transpose")?;
    let rank = i64::try_from(cx.rank(value)?).ok().filter(|r| *r >= 2)?;
    let perm = node.attr("perm").and_then(AttrValue::as_ints)?;
    let swapped: Vec<i64> = (0..rank - 2).chain([rank - 1, rank - 2]).collect();
    (perm == swapped).then(|| node.input(0)).flatten()
}

/// The node that multiplies a value with a number, and the number.
fn scaled(edit: &Edit<'_>, cx: &Cx<'_>, value: ValueId) -> Option<(NodeId, f32)> {
    let (root, place) = only_use(edit, value)?;
    let node = edit.body().node(root)?;
    let [a, b] = inputs(node)?;
    let alpha = if node.is("Mul") {
        cx.scalar(edit, if place == 0 { b } else { a })?
    } else if node.is("Div") && place == 0 {
        1.0 / cx.scalar(edit, b)?
    } else {
        return None;
    };
    (alpha.is_finite() && cx.rank(node.output(0)?)? == cx.rank(value)?).then_some((root, alpha))
}
