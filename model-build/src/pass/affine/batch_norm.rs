//! A normalization behind a layer becomes part of its weights.

use super::super::pipeline::{Cx, Rewrite, Set, nodes_of};
use super::{Affine, Layer, per_channel};
use crate::error::Result;
use crate::hub::{AttrValue, Edit, Node};

/// ```text
/// before: x ─▶ Conv(w, b) ─▶ BatchNormalization(γ, β, μ, σ²) ─▶ y
/// after:  x ─▶ Conv(w·s, (b - μ)·s + β) ─▶ y      s = γ / √(σ² + ε)
/// ```
///
/// Behind `Conv`, `ConvTranspose` and `Gemm`. In f64, rounded once.
pub(in super::super) static BATCH_NORM: Rewrite =
    Rewrite { name: "batch-norm", set: Set::Layer, run };

fn run(edit: &mut Edit<'_>, cx: &Cx<'_>) -> Result<bool> {
    let mut changed = false;
    for id in nodes_of(edit, "BatchNormalization") {
        let Some(node) = edit.body().node(id) else { continue };
        if cx.opset() < 7 || !only_normalizes(edit, node) {
            continue;
        }
        let Some(layer) = node.input(0).and_then(|v| Layer::before(edit, cx, v)) else { continue };
        let Some(affine) = affine(edit, cx, node, layer.channels.count()) else { continue };
        changed |= layer.absorb(edit, id, &affine)?;
    }
    Ok(changed)
}

/// Whether the node computes with the statistics it is given, by channel, and gives nothing else.
fn only_normalizes(edit: &Edit<'_>, node: &Node) -> bool {
    let int = |name: &str, default| node.attr(name).map_or(Some(default), AttrValue::as_int);
    int("training_mode", 0) == Some(0)
        && int("spatial", 1) == Some(1)
        && node.outputs.iter().skip(1).flatten().all(|v| edit.uses(*v).is_empty())
}

fn affine(edit: &Edit<'_>, cx: &Cx<'_>, node: &Node, channels: usize) -> Option<Affine> {
    let input = |i: usize| {
        per_channel(edit, cx, node.input(i)?, channels, |shape| shape.len() == 1)
            .filter(|v| v.len() == channels)
    };
    let (gamma, beta, mean, variance) = (input(1)?, input(2)?, input(3)?, input(4)?);
    let epsilon = f64::from(node.attr("epsilon").map_or(Some(1e-5), AttrValue::as_float)?);
    let scale: Vec<f64> =
        gamma.iter().zip(&variance).map(|(g, v)| g / (v + epsilon).sqrt()).collect();
    let shift = beta.iter().zip(mean.iter().zip(&scale)).map(|(b, (m, s))| b - m * s).collect();
    Some(Affine { scale: Some(scale), shift: Some(shift) })
}
