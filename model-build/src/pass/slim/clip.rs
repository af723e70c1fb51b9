//! Bounds in a row become one pair of bounds.

use super::super::pipeline::{Cx, Rewrite, Set, nodes_of, only_use};
use crate::error::Result;
use crate::hub::{DType, Edit, Node, Tensor, ValueId};

/// ```text
/// before: x ─▶ Relu ─▶ Clip(-1, 6) ─▶ Clip(0, 8) ─▶ y
/// after:  x ─▶ Clip(0, 6) ─▶ y
/// ```
///
/// Of `f32`, from opset 11 on, where bounds are inputs.
pub(in super::super) static CLIP: Rewrite = Rewrite { name: "clip", set: Set::Graph, run };

fn run(edit: &mut Edit<'_>, cx: &Cx<'_>) -> Result<bool> {
    let mut changed = false;
    if cx.opset() < 11 {
        return Ok(false);
    }
    for id in nodes_of(edit, "Clip") {
        let Some(node) = edit.body().node(id) else { continue };
        let (Some(between), Some(y)) = (node.input(0), node.output(0)) else { continue };
        if only_use(edit, between).is_none() || cx.dtype(between) != Some(DType::F32) {
            continue;
        }
        let Some(before) = edit.producer(between) else { continue };
        let Some(first) = edit.body().node(before) else { continue };
        let (Some(x), Some((low, high))) = (first.input(0), bounds(edit, cx, first)) else {
            continue;
        };
        let Some((least, most)) = bounds(edit, cx, node) else { continue };
        // Bounded by the first pair and then by the second.
        let (low, high) = (low.max(least).min(most), high.max(least).min(most));
        if low > high {
            continue;
        }
        let name = node.name.clone();
        let least = bound(edit, y, "min", low)?;
        let most = bound(edit, y, "max", high)?;
        edit.remove(before);
        edit.replace(id, Node { name, ..Node::new("Clip", &[x, least, most], &[y]) });
        changed = true;
    }
    Ok(changed)
}

fn bound(edit: &mut Edit<'_>, y: ValueId, part: &str, value: f32) -> Result<ValueId> {
    let hint = format!("{}_{part}", edit.body().value(y).name);
    edit.constant(&hint, Tensor::from_f32(vec![], &[value])?)
}

fn bounds(edit: &Edit<'_>, cx: &Cx<'_>, node: &Node) -> Option<(f32, f32)> {
    if node.is("Relu") {
        return Some((0.0, f32::INFINITY));
    }
    if !node.is("Clip") {
        return None;
    }
    let given = |i: usize, default: f32| match node.input(i) {
        None => Some(default),
        Some(v) => cx.scalar(edit, v).filter(|v| !v.is_nan()),
    };
    let (least, most) = (given(1, f32::NEG_INFINITY)?, given(2, f32::INFINITY)?);
    (least <= most).then_some((least, most))
}
