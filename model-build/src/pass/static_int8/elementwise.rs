//! Operators all of whose inputs and outputs have scales of their own: `Add`, `Mul`, `Sigmoid`,
//! `LeakyRelu`, `Softmax`, `Concat`, `GlobalAveragePool`.

use super::super::observed::Range;
use super::marking::{Marking, Rule};
use crate::error::Result;
use crate::hub::{Node, NodeId};

pub(super) const RULES: &[(&str, Rule)] = &[
    ("Add", all),
    ("ArgMax", all),
    ("Concat", all),
    ("CumSum", all),
    ("GlobalAveragePool", all),
    ("LeakyRelu", all),
    ("Mul", all),
    ("Sigmoid", all),
    ("Softmax", softmax),
    ("Where", choice),
];

fn all(marking: &mut Marking<'_, '_>, _: NodeId, node: &Node) -> Result<()> {
    for value in node.inputs.iter().chain(&node.outputs) {
        marking.activation(*value);
    }
    Ok(())
}

/// Shares of one are from 0 to 1.
fn softmax(marking: &mut Marking<'_, '_>, _: NodeId, node: &Node) -> Result<()> {
    marking.activation(node.input(0));
    marking.fixed(node.output(0), Range { min: 0.0, max: 1.0 });
    Ok(())
}

/// A choice between two values that have scales.
fn choice(marking: &mut Marking<'_, '_>, _: NodeId, node: &Node) -> Result<()> {
    let both = [1, 2].into_iter().all(|i| node.input(i).is_some_and(|v| marking.has_scale(v)));
    if both {
        marking.activation(node.output(0));
    }
    Ok(())
}
