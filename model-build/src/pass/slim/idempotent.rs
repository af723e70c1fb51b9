//! Functions applied twice are applied once, or not at all.

use super::super::pipeline::{Cx, Rewrite, Set};
use super::bypass_each;
use crate::error::Result;
use crate::hub::Edit;

/// ```text
/// before: x ─▶ Relu ─▶ Relu ─▶ y        x ─▶ Not ─▶ Not ─▶ y
/// after:  x ─▶ Relu ─▶ y                x ─▶ y
/// ```
///
/// Once: `Relu`, `Abs`, `Ceil`, `Floor`, `Round`, `Sign`. Not at all: `Not`, `Neg`.
pub(in super::super) static IDEMPOTENT: Rewrite =
    Rewrite { name: "idempotent", set: Set::Graph, run };

const ONCE: &[&str] = &["Relu", "Abs", "Ceil", "Floor", "Round", "Sign"];
const NEVER: &[&str] = &["Not", "Neg"];

fn run(edit: &mut Edit<'_>, _: &Cx<'_>) -> Result<bool> {
    bypass_each(edit, &[ONCE, NEVER].concat(), |edit, node| {
        let input = node.input(0)?;
        let before = edit.body().node(edit.producer(input)?).filter(|n| n.is(&node.op))?;
        if ONCE.contains(&node.op.as_str()) { Some(input) } else { before.input(0) }
    })
}
