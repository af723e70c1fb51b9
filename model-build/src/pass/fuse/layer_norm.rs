//! Layer normalization from its parts.

use super::super::pipeline::{Cx, Rewrite, Set, nodes_of};
use super::pattern::{Pattern, add, any, find, op, op_if, over_root, square};
use super::{Fused, int_or, is_last_axis, same_shape, vector_for};
use crate::error::Result;
use crate::hub::{AttrValue, DType, Edit, Node};

/// ```text
/// before: d = x - ReduceMean(x);  d / √(ReduceMean(d²) + ε) · γ + β       along the last axis
/// after:  LayerNormalization(x, γ, β, epsilon = ε)                        of opset 17
/// ```
pub(super) static LAYER_NORM: Rewrite = Rewrite { name: "layer-norm", set: Set::Layer, run };

/// A mean along the last axis that keeps it.
pub(super) fn mean_of(x: Pattern) -> Pattern {
    op_if("ReduceMean", [x], is_row_mean)
}

fn is_row_mean(edit: &Edit<'_>, cx: &Cx<'_>, node: &Node) -> bool {
    let Some(x) = node.input(0) else { return false };
    let axes = match node.input(1) {
        Some(axes) => cx.ints(edit, axes),
        None => node.attr("axes").and_then(AttrValue::as_ints).map(<[i64]>::to_vec),
    };
    int_or(node, "keepdims", 1) == Some(1)
        && matches!(axes.as_deref(), Some([axis]) if is_last_axis(cx, x, *axis))
}

fn pattern() -> Pattern {
    let d = op("Sub", [any("x"), mean_of(any("x"))]);
    let d = Pattern::Named("d", Box::new(d));
    let variance = add(mean_of(square(&d)), Pattern::AnyNumber("epsilon"));
    add(op("Mul", [over_root(&d, &variance), any("scale")]), any("bias"))
}

fn run(edit: &mut Edit<'_>, cx: &Cx<'_>) -> Result<bool> {
    if cx.opset() < 17 {
        return Ok(false);
    }
    let pattern = pattern();
    let mut changed = false;
    for root in nodes_of(edit, "Add") {
        let Some(found) = find(edit, cx, root, &pattern) else { continue };
        let [x, scale, bias] = [found.value("x")?, found.value("scale")?, found.value("bias")?];
        let Some(epsilon) = cx.scalar(edit, found.value("epsilon")?) else { continue };
        let output = edit.body().node(root).and_then(|n| n.output(0));
        if vector_for(edit, cx, scale, x).is_none()
            || vector_for(edit, cx, bias, x).is_none()
            || !output.is_some_and(|y| same_shape(cx, x, y))
            || cx.dtype(x) != Some(DType::F32)
        {
            continue;
        }
        Fused {
            domain: "",
            op: "LayerNormalization",
            inputs: &[Some(x), Some(scale), Some(bias)],
            attrs: vec![("axis", AttrValue::Int(-1)), ("epsilon", AttrValue::Float(epsilon))],
        }
        .replace(edit, root);
        changed = true;
    }
    Ok(changed)
}
