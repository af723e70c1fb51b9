//! `LayerNormalization`, `InstanceNormalization`, `BatchNormalization`: input, scale, bias, output.

use super::marking::{Marking, Rule};
use crate::error::Result;
use crate::hub::{Node, NodeId};

pub(super) const RULES: &[(&str, Rule)] = &[
    ("BatchNormalization", normalize),
    ("InstanceNormalization", normalize),
    ("LayerNormalization", normalize),
];

fn normalize(marking: &mut Marking<'_, '_>, id: NodeId, node: &Node) -> Result<()> {
    marking.activation(node.input(0));
    marking.factor(id, node, 1, None);
    marking.bias(id, node, 2, 1.0);
    for output in &node.outputs {
        marking.activation(*output);
    }
    Ok(())
}
