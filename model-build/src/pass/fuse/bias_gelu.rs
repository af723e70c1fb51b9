//! The addition of a bias moves into the GELU after it.

use super::super::pipeline::{Cx, Rewrite, Set, made_by, only_use};
use super::{Fused, MICROSOFT, inputs, is_microsoft, node_ids, same_shape, vector_for};
use crate::error::Result;
use crate::hub::{AttrValue, Edit, ValueId};

/// ```text
/// before: Add(x, bias) ─▶ com.microsoft Gelu          bias [n], x [.., n]
/// after:  com.microsoft BiasGelu(x, bias)
///
/// before: Add(x, bias) ─▶ com.microsoft FastGelu
/// after:  com.microsoft FastGelu(x, bias)
/// ```
///
/// Also from Gelu of opset 20, of both kinds.
pub(super) static BIAS_GELU: Rewrite = Rewrite { name: "bias-gelu", set: Set::OnnxRuntime, run };

fn run(edit: &mut Edit<'_>, cx: &Cx<'_>) -> Result<bool> {
    let mut changed = false;
    for root in node_ids(edit) {
        let Some(node) = edit.body().node(root) else { continue };
        let standard = |kind: &str| {
            let approximate = node.attr("approximate").map_or(Some("none"), AttrValue::as_str);
            node.is("Gelu") && approximate == Some(kind)
        };
        let exact = is_microsoft(node, "Gelu") || standard("none");
        let approximate =
            (is_microsoft(node, "FastGelu") && node.input(1).is_none()) || standard("tanh");
        if !(exact || approximate) {
            continue;
        }
        let Some(sum) = node.input(0) else { continue };
        let Some((x, bias)) = biased(edit, cx, sum) else { continue };
        let op = if exact { "BiasGelu" } else { "FastGelu" };
        let inputs = [Some(x), Some(bias)];
        Fused { domain: MICROSOFT, op, inputs: &inputs, attrs: Vec::new() }.replace(edit, root);
        changed = true;
    }
    Ok(changed)
}

/// What a bias is added to, and the bias, where the sum is used once: a vector along the last axis.
pub(super) fn biased(edit: &Edit<'_>, cx: &Cx<'_>, sum: ValueId) -> Option<(ValueId, ValueId)> {
    only_use(edit, sum)?;
    let (_, node) = made_by(edit, sum, "Add")?;
    let [a, b] = inputs(node)?;
    [(a, b), (b, a)].into_iter().find(|(x, bias)| {
        vector_for(edit, cx, *bias, *x).is_some()
            && same_shape(cx, *x, sum)
            && cx.constant(edit, *x).is_none()
    })
}
