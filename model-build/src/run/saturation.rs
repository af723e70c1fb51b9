//! 8-bit matrix products on x86 processors without AVX-512 VNNI.
//!
//! There rten adds pairs of products in 16 bits (`vpmaddubsw`), and a pair of large ones saturates:
//! 255·127 + 255·127 is more than 32767. With weights of at most 64 none can: 255·64 + 255·64 =
//! 32640. Larger weights are split in two, which gives the exact sums that ONNX says:
//!
//! ```text
//! before:  MatMulInteger(x, W)
//! after:   Add(MatMulInteger(x, clamp(W, -64, 64)), MatMulInteger(x, W - clamp(W, -64, 64)))
//! ```

use crate::error::{Error, Result};
use crate::hub::{Body, DType, Graph, Node, NodeId, Tensor};

/// The largest weight with which no pair of products saturates.
const SAFE: i8 = 64;

/// Whether rten's 8-bit products saturate on this processor.
pub(super) fn on_this_cpu() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        is_x86_feature_detected!("avx2") && !is_x86_feature_detected!("avx512vnni")
    }
    #[cfg(not(target_arch = "x86_64"))]
    false
}

/// Whether a node may saturate and [`split`] does not help it.
pub(super) fn is_at_risk(body: &Body, node: &Node) -> bool {
    let weights = node.input(1).and_then(|id| body.constant(id));
    if node.is("MatMulInteger") {
        return weights.is_none_or(|w| w.dtype() != DType::I8);
    }
    node.is("ConvInteger") && !weights.is_some_and(is_safe)
}

fn is_safe(weights: &Tensor) -> bool {
    weights.dtype() == DType::I8
        && weights
            .bytes()
            .is_ok_and(|b| b.iter().all(|w| w.cast_signed().unsigned_abs() <= SAFE.unsigned_abs()))
}

/// The graph with large weights split, or `None` when there are none.
pub(super) fn split(graph: &Graph) -> Result<Option<Graph>> {
    let body = &graph.body;
    let at_risk: Vec<(NodeId, Tensor)> = body
        .nodes()
        .filter(|(_, n)| n.is("MatMulInteger"))
        .filter_map(|(id, n)| Some((id, body.constant(n.input(1)?)?.clone())))
        .filter(|(_, w)| w.dtype() == DType::I8 && !is_safe(w))
        .collect();
    if at_risk.is_empty() {
        return Ok(None);
    }
    let mut graph = graph.clone();
    let mut edit = graph.edit();
    for (id, weights) in at_risk {
        let Some(node) = edit.body().node(id).cloned() else { continue };
        let (Some(x), Some(sum)) = (node.input(0), node.output(0)) else {
            return Err(Error::malformed("a product without an input or output").item(node.label()));
        };
        let name = edit.body().value(sum).name.clone();
        let bytes = weights.bytes()?;
        let part = |f: fn(i8) -> i8| {
            let bytes: Vec<u8> = bytes.iter().map(|w| f(w.cast_signed()).cast_unsigned()).collect();
            Tensor::new(DType::I8, weights.shape().to_vec(), bytes.into())
        };
        let low = edit.constant(&format!("{name}_low"), part(|w| w.clamp(-SAFE, SAFE))?)?;
        let high = edit.constant(&format!("{name}_high"), part(|w| w - w.clamp(-SAFE, SAFE))?)?;
        let low_sum = edit.value(&format!("{name}_low_sum"), None)?;
        let high_sum = edit.value(&format!("{name}_high_sum"), None)?;
        let mut first = node.clone();
        if let Some(input) = first.inputs.get_mut(1) {
            *input = Some(low);
        }
        first.outputs = vec![Some(low_sum)];
        // The zero point of the weights is subtracted once, in the first product.
        let mut second = node.clone();
        second.inputs = vec![Some(x), Some(high), node.input(2)];
        second.outputs = vec![Some(high_sum)];
        edit.remove(id);
        edit.add(first)?;
        edit.add(second)?;
        edit.add(Node { name: name.clone(), ..Node::new("Add", &[low_sum, high_sum], &[sum]) })?;
    }
    edit.finish()?;
    Ok(Some(graph))
}
