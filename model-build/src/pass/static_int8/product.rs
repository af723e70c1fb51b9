//! `MatMul` and `Gemm`: factors, output, bias. A constant has a scale per column.

use super::marking::{Marking, Rule};
use crate::error::Result;
use crate::hub::{Node, NodeId};
use crate::op::{Gemm, View};

pub(super) const RULES: &[(&str, Rule)] = &[("Gemm", gemm), ("MatMul", matmul)];

fn matmul(marking: &mut Marking<'_, '_>, id: NodeId, node: &Node) -> Result<()> {
    let rank = |value| marking.edit.body().constant(value).map(|t| t.shape().len());
    // Runtimes have scales per column for matrices; of a stack of them all share one.
    let axis = node.input(1).and_then(rank).filter(|rank| *rank == 2).map(|_| 1);
    marking.factor(id, node, 0, None);
    marking.factor(id, node, 1, axis);
    marking.activation(node.output(0));
    Ok(())
}

fn gemm(marking: &mut Marking<'_, '_>, id: NodeId, node: &Node) -> Result<()> {
    let view = Gemm::view(node)?;
    marking.activation(Some(view.a));
    marking.activation(Some(view.output));
    marking.factor(id, node, 1, Some(usize::from(!view.trans_b)));
    #[allow(clippy::float_cmp)] // exactly 1
    let plain = view.alpha == 1.0;
    if plain {
        marking.bias(id, node, 2, view.beta);
    }
    Ok(())
}
