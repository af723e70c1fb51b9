//! Normalization by the root mean square from its parts.

use super::super::pipeline::{Cx, Rewrite, Set, nodes_of};
use super::layer_norm::mean_of;
use super::pattern::{Pattern, add, any, find, op, over_root, square};
use super::{Fused, for_onnxruntime, same_shape, vector_for};
use crate::error::Result;
use crate::hub::{AttrValue, DType, Edit};

/// RMSNorm (Zhang and Sennrich, arXiv:1910.07467).
///
/// ```text
/// before: x / √(ReduceMean(x²) + ε) · γ                     along the last axis
/// after:  RMSNormalization(x, γ, epsilon = ε)               of opset 23
///         SimplifiedLayerNormalization(x, γ, epsilon = ε)   before it, for ONNX Runtime, which has
///                                                           that operator in the standard domain
/// ```
pub(super) static RMS_NORM: Rewrite = Rewrite { name: "rms-norm", set: Set::Layer, run };

/// The operator that ONNX Runtime keeps in the standard domain beside the standard ones.
pub(super) const SIMPLIFIED: &str = "SimplifiedLayerNormalization";

fn pattern() -> Pattern {
    let mean = add(mean_of(square(&any("x"))), Pattern::AnyNumber("epsilon"));
    op("Mul", [over_root(&any("x"), &mean), any("scale")])
}

fn run(edit: &mut Edit<'_>, cx: &Cx<'_>) -> Result<bool> {
    let op = match cx.opset() {
        23.. if !for_onnxruntime(cx) => "RMSNormalization",
        _ if for_onnxruntime(cx) => SIMPLIFIED,
        _ => return Ok(false),
    };
    let pattern = pattern();
    let mut changed = false;
    for root in nodes_of(edit, "Mul") {
        let Some(found) = find(edit, cx, root, &pattern) else { continue };
        let [x, scale] = [found.value("x")?, found.value("scale")?];
        let Some(epsilon) = cx.scalar(edit, found.value("epsilon")?) else { continue };
        let output = edit.body().node(root).and_then(|n| n.output(0));
        if vector_for(edit, cx, scale, x).is_none()
            || !output.is_some_and(|y| same_shape(cx, x, y))
            || cx.dtype(x) != Some(DType::F32)
        {
            continue;
        }
        let attrs = vec![
            ("axis", AttrValue::Int(-1)),
            ("epsilon", AttrValue::Float(epsilon)),
            ("stash_type", AttrValue::Int(1)),
        ];
        Fused { domain: "", op, inputs: &[Some(x), Some(scale)], attrs }.replace(edit, root);
        changed = true;
    }
    Ok(changed)
}
