//! The projections of queries, keys and values move into the attention.

use super::super::pipeline::{Cx, Rewrite, Set, made_by, only_use};
use super::bias_gelu::biased;
use super::packed_weight::side_by_side;
use super::{Fused, MICROSOFT, inputs, is_microsoft, node_ids};
use crate::error::Result;
use crate::hub::{AttrValue, DType, Edit, NodeId, Tensor, ValueId};

/// ```text
/// before: com.microsoft MultiHeadAttention(x·Wq + bq, x·Wk + bk, x·Wv + bv, mask)
/// after:  com.microsoft Attention(x, [Wq Wk Wv], [bq bk bv], mask)
/// ```
///
/// The three weights are matrices of one shape that nothing else reads; they stand side by side in one
/// tensor. Not with `open`: a quantization that follows finds weights at MatMul.
pub(super) static ATTENTION: Rewrite = Rewrite { name: "attention", set: Set::OnnxRuntime, run };

fn run(edit: &mut Edit<'_>, cx: &Cx<'_>) -> Result<bool> {
    if cx.options.open {
        return Ok(false);
    }
    let mut changed = false;
    for root in node_ids(edit) {
        changed |= fuse(edit, cx, root)?;
    }
    Ok(changed)
}

/// A projection `x · weight + bias`.
struct Projection {
    x: ValueId,
    weight_id: ValueId,
    weight: Tensor,
    bias: Option<Tensor>,
}

impl Projection {
    fn of(edit: &Edit<'_>, cx: &Cx<'_>, value: ValueId) -> Option<Self> {
        only_use(edit, value)?;
        let (product, bias) = match biased(edit, cx, value) {
            Some((product, bias)) => (product, Some(cx.constant(edit, bias)?)),
            None => (value, None),
        };
        only_use(edit, product)?;
        let (_, node) = made_by(edit, product, "MatMul")?;
        let [x, weight_id] = inputs(node)?;
        only_use(edit, weight_id)?;
        let weight = cx.constant(edit, weight_id)?;
        (weight.shape().len() == 2 && weight.dtype() == DType::F32 && cx.rank(x) == Some(3))
            .then_some(Self { x, weight_id, weight, bias })
    }
}

fn fuse(edit: &mut Edit<'_>, cx: &Cx<'_>, root: NodeId) -> Result<bool> {
    let Some(node) = edit.body().node(root).filter(|n| is_microsoft(n, "MultiHeadAttention"))
    else {
        return Ok(false);
    };
    let (mask, bias) = (node.input(4), node.input(5));
    let attrs: Vec<(&'static str, AttrValue)> =
        ["num_heads", "scale", "mask_filter_value", "unidirectional"]
            .into_iter()
            .filter_map(|name| Some((name, node.attr(name)?.clone())))
            .collect();
    if node.input(3).is_some() || node.inputs.len() > 6 {
        return Ok(false);
    }
    let Some(values) = inputs::<3>(node) else { return Ok(false) };
    let parts: Option<Vec<Projection>> =
        values.into_iter().map(|v| Projection::of(edit, cx, v)).collect();
    let Some(parts) = parts else { return Ok(false) };
    let [q, k, v] = parts.as_slice() else { return Ok(false) };
    let shape = q.weight.shape();
    if [k, v].iter().any(|p| p.x != q.x || p.weight.shape() != shape) {
        return Ok(false);
    }
    let weights: Vec<Tensor> = parts.iter().map(|p| p.weight.clone()).collect();
    let Some(weight) = side_by_side(&weights)? else { return Ok(false) };
    let name = edit.body().value(q.weight_id).name.clone();
    let weight = edit.constant(&format!("{name}_qkv"), weight.named(&name))?;
    let bias_term = packed_bias(&parts)?;
    let bias_term = bias_term.map(|t| edit.constant(&format!("{name}_qkv_bias"), t)).transpose()?;
    let inputs = [Some(q.x), Some(weight), bias_term, mask, None, bias];
    Fused { domain: MICROSOFT, op: "Attention", inputs: &inputs, attrs }.replace(edit, root);
    Ok(true)
}

/// The biases one after the other, zero where a projection has none; `None` where none has.
fn packed_bias(parts: &[Projection]) -> Result<Option<Tensor>> {
    if parts.iter().all(|p| p.bias.is_none()) {
        return Ok(None);
    }
    let mut all = Vec::new();
    for part in parts {
        match &part.bias {
            Some(bias) => all.extend(bias.to_f32()?),
            None => {
                let columns = part.weight.shape().last().copied().unwrap_or_default();
                let columns = usize::try_from(columns).unwrap_or_default();
                all.resize(all.len() + columns, 0.0);
            }
        }
    }
    Tensor::from_f32(vec![all.len() as u64], &all).map(Some)
}
