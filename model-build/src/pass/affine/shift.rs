//! A sum with constants behind a layer becomes its bias.

use super::super::pipeline::{Cx, Rewrite, Set, nodes_of};
use super::{Affine, Layer, operand, operands};
use crate::error::Result;
use crate::hub::Edit;

/// ```text
/// before: x ─▶ Conv(w) ─▶ Add(·, b) ─▶ y      b of shape [m, 1, 1]
/// after:  x ─▶ Conv(w, b) ─▶ y
/// ```
///
/// `Sub` too; behind `Conv`, `ConvTranspose` and `Gemm`.
pub(in super::super) static SHIFT: Rewrite = Rewrite { name: "shift", set: Set::Layer, run };

fn run(edit: &mut Edit<'_>, cx: &Cx<'_>) -> Result<bool> {
    let mut changed = false;
    if cx.opset() < 7 {
        return Ok(false);
    }
    for op in ["Add", "Sub"] {
        for id in nodes_of(edit, op) {
            let Some(node) = edit.body().node(id) else { continue };
            let ways = operands(node);
            let ways = if op == "Sub" { &ways[..1] } else { &ways[..] };
            let found = ways.iter().find_map(|(x, by)| {
                let layer = Layer::before(edit, cx, (*x)?)?;
                let terms = operand(edit, cx, (*by)?, layer.channels.count(), layer.rank)?;
                Some((layer, terms))
            });
            let Some((layer, mut terms)) = found else { continue };
            if op == "Sub" {
                terms.iter_mut().for_each(|t| *t = -*t);
            }
            let affine = Affine { scale: None, shift: Some(terms) };
            changed |= layer.absorb(edit, id, &affine)?;
        }
    }
    Ok(changed)
}
