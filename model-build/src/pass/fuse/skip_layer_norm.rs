//! The residual sum moves into the layer normalization after it.

use super::super::pipeline::{Cx, Rewrite, Set, made_by};
use super::bias_gelu::biased;
use super::{
    Fused, MICROSOFT, float_or, inputs, int_or, is_last_axis, node_ids, same_shape, vector_for,
};
use crate::error::Result;
use crate::hub::{AttrValue, Edit, NodeId, Use, ValueId};

/// ```text
/// before: LayerNormalization(x + skip, γ, β)            x and skip [batch, sequence, hidden]
/// after:  com.microsoft SkipLayerNormalization(x, skip, γ, β)
/// ```
///
/// A bias that is added to `x` is its fifth input. A sum that something else reads too (a
/// residual stream) is its fourth output.
pub(super) static SKIP_LAYER_NORM: Rewrite =
    Rewrite { name: "skip-layer-norm", set: Set::OnnxRuntime, run };

fn run(edit: &mut Edit<'_>, cx: &Cx<'_>) -> Result<bool> {
    let mut changed = false;
    for root in node_ids(edit) {
        let Some(node) = edit.body().node(root).filter(|n| n.is("LayerNormalization")) else {
            continue;
        };
        let Some([sum, scale, shift]) = inputs(node) else { continue };
        let (Some(axis), Some(epsilon)) =
            (int_or(node, "axis", -1), float_or(node, "epsilon", 1e-5))
        else {
            continue;
        };
        if node.outputs.iter().skip(1).flatten().next().is_some()
            || int_or(node, "stash_type", 1) != Some(1)
            || !is_last_axis(cx, sum, axis)
            || vector_for(edit, cx, scale, sum).is_none()
            || vector_for(edit, cx, shift, sum).is_none()
        {
            continue;
        }
        let Some(skip) = Skip::of(edit, cx, sum) else { continue };
        let inputs = [Some(skip.x), Some(skip.other), Some(scale), Some(shift), skip.bias];
        let attrs = vec![("epsilon", AttrValue::Float(epsilon))];
        let fused =
            Fused { domain: MICROSOFT, op: "SkipLayerNormalization", inputs: &inputs, attrs };
        skip.put(edit, root, sum, fused);
        changed = true;
    }
    Ok(changed)
}

/// A residual sum that a normalization can take in.
pub(super) struct Skip {
    pub(super) x: ValueId,
    pub(super) other: ValueId,
    pub(super) bias: Option<ValueId>,
    sum_node: NodeId,
}

impl Skip {
    /// The parts of a sum of two values of one shape with three axes, neither of them a constant.
    pub(super) fn of(edit: &Edit<'_>, cx: &Cx<'_>, sum: ValueId) -> Option<Self> {
        let (sum_node, node) = made_by(edit, sum, "Add")?;
        let [a, b] = inputs(node)?;
        if cx.rank(sum) != Some(3)
            || [a, b].iter().any(|v| !same_shape(cx, *v, sum) || cx.constant(edit, *v).is_some())
        {
            return None;
        }
        let found =
            [(a, b), (b, a)].into_iter().find_map(|(x, other)| Some((biased(edit, cx, x)?, other)));
        Some(match found {
            Some(((x, bias), other)) => Self { x, other, bias: Some(bias), sum_node },
            None => Self { x: a, other: b, bias: None, sum_node },
        })
    }

    /// Puts the fused node in the place of the normalization `root`, and of the sum where
    /// something else reads that.
    pub(super) fn put(&self, edit: &mut Edit<'_>, root: NodeId, sum: ValueId, fused: Fused<'_>) {
        let Some(old) = edit.body().node(root) else { return };
        let mut outputs = vec![old.output(0)];
        let elsewhere = edit.uses(sum).iter().any(|u| !matches!(u, Use::Input(n, _) if *n == root));
        if elsewhere {
            outputs.extend([None, None, Some(sum)]);
        }
        let node = fused.node(&old.name.clone(), outputs);
        edit.remove(self.sum_node);
        edit.replace(root, node);
    }
}
