//! The residual sum moves into the RMS normalization after it.

use super::super::pipeline::{Cx, Rewrite, Set};
use super::rms_norm::SIMPLIFIED;
use super::skip_layer_norm::Skip;
use super::{Fused, MICROSOFT, float_or, inputs, int_or, is_last_axis, node_ids, vector_for};
use crate::error::Result;
use crate::hub::{AttrValue, Edit};

/// ```text
/// before: SimplifiedLayerNormalization(x + skip, γ)     x and skip [batch, sequence, hidden]
/// after:  com.microsoft SkipSimplifiedLayerNormalization(x, skip, γ)
/// ```
///
/// Also from RMSNormalization. A sum that something else reads too is the fourth output.
pub(super) static SKIP_RMS_NORM: Rewrite =
    Rewrite { name: "skip-rms-norm", set: Set::OnnxRuntime, run };

fn run(edit: &mut Edit<'_>, cx: &Cx<'_>) -> Result<bool> {
    let mut changed = false;
    for root in node_ids(edit) {
        let Some(node) =
            edit.body().node(root).filter(|n| n.is(SIMPLIFIED) || n.is("RMSNormalization"))
        else {
            continue;
        };
        let Some([sum, scale]) = inputs(node) else { continue };
        let (Some(axis), Some(epsilon)) =
            (int_or(node, "axis", -1), float_or(node, "epsilon", 1e-5))
        else {
            continue;
        };
        if node.outputs.iter().skip(1).flatten().next().is_some()
            || int_or(node, "stash_type", 1) != Some(1)
            || !is_last_axis(cx, sum, axis)
            || vector_for(edit, cx, scale, sum).is_none()
        {
            continue;
        }
        let Some(skip) = Skip::of(edit, cx, sum) else { continue };
        let inputs = [Some(skip.x), Some(skip.other), Some(scale), skip.bias];
        let attrs = vec![("epsilon", AttrValue::Float(epsilon))];
        let op = "SkipSimplifiedLayerNormalization";
        skip.put(edit, root, sum, Fused { domain: MICROSOFT, op, inputs: &inputs, attrs });
        changed = true;
    }
    Ok(changed)
}
