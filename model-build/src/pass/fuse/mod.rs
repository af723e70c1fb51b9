//! Fusions of the layers of transformers: several operators become one. One fusion per file.
//!
//! With `layer-fusion = "standard"` they become operators of the standard domain that the graph's
//! operator set has; with `"onnxruntime"` operators of `com.microsoft` too, as
//! `onnxruntime.transformers.optimizer` makes them. What a fusion needs of axes, shapes, constants
//! and types is known from inference and constants, else the graph stays as it is.
#![allow(clippy::unnecessary_wraps)] // every rewrite has one signature, whether it can fail or not

mod attention;
mod attention_mask;
mod bias_gelu;
mod embed_layer_norm;
mod fused_matmul;
mod gelu;
mod heads;
mod layer_norm;
mod multi_head_attention;
mod packed_weight;
mod pattern;
mod quick_gelu;
mod rms_norm;
mod rotary_embedding;
mod skip_layer_norm;
mod skip_rms_norm;
mod symbolic;

use super::pipeline::{Cx, Fusion, Rewrite, Set};
use super::slim;
use crate::error::Result;
use crate::hub::{AttrValue, Edit, Node, NodeId, Tensor, ValueId};

/// The domain of ONNX Runtime's own operators.
pub(super) const MICROSOFT: &str = "com.microsoft";

/// The fusions, in order: what makes an operator stands before what takes it in.
pub(super) const LAYERS: &[&Rewrite] = &[
    &layer_norm::LAYER_NORM,
    &rms_norm::RMS_NORM,
    &gelu::GELU,
    &quick_gelu::QUICK_GELU,
    &bias_gelu::BIAS_GELU,
    &embed_layer_norm::EMBED_LAYER_NORM,
    &rotary_embedding::ROTARY_EMBEDDING,
    &multi_head_attention::MULTI_HEAD_ATTENTION,
    &attention::ATTENTION,
    &skip_layer_norm::SKIP_LAYER_NORM,
    &skip_rms_norm::SKIP_RMS_NORM,
    &SWEEP,
];

/// What is done with what no layer took in.
pub(super) const PRODUCTS: &[&Rewrite] = &[&fused_matmul::FUSED_MATMUL, &SWEEP];

/// Removes what the fusions leave without a use.
static SWEEP: Rewrite = Rewrite { name: "unused-nodes", set: Set::Layer, run: sweep };

fn sweep(edit: &mut Edit<'_>, cx: &Cx<'_>) -> Result<bool> {
    (slim::UNUSED_NODES.run)(edit, cx)
}

/// Whether operators of `com.microsoft` may be made.
fn for_onnxruntime(cx: &Cx<'_>) -> bool {
    cx.options.fusion == Some(Fusion::OnnxRuntime)
}

/// A node in the making.
struct Fused<'a> {
    domain: &'static str,
    op: &'static str,
    inputs: &'a [Option<ValueId>],
    attrs: Vec<(&'static str, AttrValue)>,
}

impl Fused<'_> {
    /// The node, with that name and those outputs; inputs left out at the end are not listed.
    fn node(self, name: &str, outputs: Vec<Option<ValueId>>) -> Node {
        let listed = self.inputs.iter().rposition(Option::is_some).map_or(0, |i| i + 1);
        let node = Node {
            op: self.op.to_owned(),
            domain: self.domain.to_owned(),
            name: name.to_owned(),
            inputs: self.inputs.iter().take(listed).copied().collect(),
            outputs,
            ..Node::default()
        };
        self.attrs.into_iter().fold(node, |node, (name, value)| node.with(name, value))
    }

    /// Puts the node in the place of `root`, whose first output it computes.
    fn replace(self, edit: &mut Edit<'_>, root: NodeId) {
        let Some(old) = edit.body().node(root) else { return };
        let node = self.node(&old.name.clone(), vec![old.output(0)]);
        edit.replace(root, node);
    }

    /// Adds the node with one output named after `hint`.
    fn add(self, edit: &mut Edit<'_>, hint: &str) -> Result<ValueId> {
        let output = edit.value(hint, None)?;
        let name = edit.body().value(output).name.clone();
        let node = self.node(&name, vec![Some(output)]);
        edit.add(node)?;
        Ok(output)
    }
}

/// Where an axis stands in a value of known rank.
fn axis_of(cx: &Cx<'_>, value: ValueId, axis: i64) -> Option<usize> {
    let rank = cx.rank(value)?;
    let axis = if axis < 0 { axis.checked_add(i64::try_from(rank).ok()?)? } else { axis };
    usize::try_from(axis).ok().filter(|a| *a < rank)
}

/// Whether an axis is the last one of a value.
fn is_last_axis(cx: &Cx<'_>, value: ValueId, axis: i64) -> bool {
    axis == -1 || axis_of(cx, value, axis).is_some_and(|a| Some(a + 1) == cx.rank(value))
}

/// The length of a value's last axis, if it is a number.
fn last_length(cx: &Cx<'_>, value: ValueId) -> Option<u64> {
    u64::try_from(cx.shape(value)?.last()?.as_fixed()?).ok()
}

/// Whether two values are known to have the same shape.
fn same_shape(cx: &Cx<'_>, a: ValueId, b: ValueId) -> bool {
    match (cx.shape(a), cx.shape(b)) {
        (Some(x), Some(y)) => x.len() == y.len() && x.iter().zip(y).all(|(x, y)| x.same(y)),
        _ => false,
    }
}

/// The constant that a value is, if it is a vector with an element for each of the last axis of
/// `like`.
fn vector_for(edit: &Edit<'_>, cx: &Cx<'_>, value: ValueId, like: ValueId) -> Option<Tensor> {
    let tensor = cx.constant(edit, value)?;
    (tensor.dtype().is_float() && tensor.shape() == [last_length(cx, like)?]).then_some(tensor)
}

/// The values that a node reads, where it reads all of them.
fn inputs<const N: usize>(node: &Node) -> Option<[ValueId; N]> {
    let mut all = [node.input(0)?; N];
    for (i, slot) in all.iter_mut().enumerate() {
        *slot = node.input(i)?;
    }
    Some(all)
}

/// The float of an attribute, or what it is when it is not there.
fn float_or(node: &Node, name: &str, default: f32) -> Option<f32> {
    node.attr(name).map_or(Some(default), AttrValue::as_float)
}

/// The integer of an attribute, or what it is when it is not there.
fn int_or(node: &Node, name: &str, default: i64) -> Option<i64> {
    node.attr(name).map_or(Some(default), AttrValue::as_int)
}

/// Whether a node is an operator of `com.microsoft`.
fn is_microsoft(node: &Node, op: &str) -> bool {
    node.op == op && node.domain == MICROSOFT
}

/// The nodes in order.
fn node_ids(edit: &Edit<'_>) -> Vec<NodeId> {
    edit.body().nodes().map(|(id, _)| id).collect()
}
