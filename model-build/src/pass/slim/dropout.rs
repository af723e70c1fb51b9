//! `Dropout` outside of training is removed.

use super::super::pipeline::{Cx, Rewrite, Set};
use super::bypass_each;
use crate::error::Result;
use crate::hub::{Edit, Node, ValueId};

/// ```text
/// before: x ─▶ Dropout(ratio = 0.1) ─▶ Relu ─▶ y
/// after:  x ─▶ Relu ─▶ y
/// ```
///
/// One whose mask is used stays, and one that is told to train.
pub(in super::super) static DROPOUT: Rewrite = Rewrite { name: "dropout", set: Set::Graph, run };

fn run(edit: &mut Edit<'_>, cx: &Cx<'_>) -> Result<bool> {
    bypass_each(edit, &["Dropout"], |edit, node| {
        let mask = node.output(1).is_some_and(|v| !edit.uses(v).is_empty());
        (!mask && !trains(edit, cx, node)).then(|| node.input(0)).flatten()
    })
}

/// `is_test` before opset 7; the input `training_mode` from opset 12 on.
fn trains(edit: &Edit<'_>, cx: &Cx<'_>, node: &Node) -> bool {
    let constant_false = |v: ValueId| {
        cx.constant(edit, v).and_then(|t| t.bytes().ok()).is_some_and(|b| b.iter().all(|b| *b == 0))
    };
    match cx.opset() {
        ..7 => node.attr("is_test").and_then(crate::hub::AttrValue::as_int) != Some(1),
        7..12 => false,
        _ => node.input(2).is_some_and(|v| !constant_false(v)),
    }
}
