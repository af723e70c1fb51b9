//! `Identity` is removed.

use super::super::pipeline::{Cx, Rewrite, Set};
use super::bypass_each;
use crate::error::Result;
use crate::hub::Edit;

/// ```text
/// before: x ─▶ Identity ─▶ Relu ─▶ y
/// after:  x ─▶ Relu ─▶ y
/// ```
///
/// It stays where it gives an output of the graph its name and nothing else can.
pub(in super::super) static IDENTITY: Rewrite = Rewrite { name: "identity", set: Set::Graph, run };

fn run(edit: &mut Edit<'_>, _: &Cx<'_>) -> Result<bool> {
    bypass_each(edit, &["Identity"], |_, node| node.input(0))
}
