//! A `Concat`, `Sum`, `Max`, `Min` or `Mean` of one input is removed.

use super::super::pipeline::{Cx, Rewrite, Set};
use super::bypass_each;
use crate::error::Result;
use crate::hub::Edit;

/// ```text
/// before: x ─▶ Concat(axis = 0) ─▶ y
/// after:  x ─▶ y
/// ```
pub(in super::super) static SINGLE_INPUT: Rewrite =
    Rewrite { name: "single-input", set: Set::Graph, run };

fn run(edit: &mut Edit<'_>, _: &Cx<'_>) -> Result<bool> {
    bypass_each(edit, &["Concat", "Sum", "Max", "Min", "Mean"], |_, node| {
        (node.inputs.len() == 1).then(|| node.input(0)).flatten()
    })
}
