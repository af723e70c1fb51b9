//! A product with constants behind a layer becomes part of its weights.

use super::super::pipeline::{Cx, Rewrite, Set, nodes_of};
use super::{Affine, Layer, operand, operands};
use crate::error::Result;
use crate::hub::Edit;

/// ```text
/// before: x ─▶ Conv(w, b) ─▶ Mul(·, s) ─▶ y      s of shape [m, 1, 1]
/// after:  x ─▶ Conv(w·s, b·s) ─▶ y
/// ```
///
/// `Div` too; behind `Conv`, `ConvTranspose` and `Gemm`. In f64, rounded once.
pub(in super::super) static SCALE: Rewrite = Rewrite { name: "scale", set: Set::Layer, run };

fn run(edit: &mut Edit<'_>, cx: &Cx<'_>) -> Result<bool> {
    let mut changed = false;
    if cx.opset() < 7 {
        return Ok(false);
    }
    for op in ["Mul", "Div"] {
        for id in nodes_of(edit, op) {
            let Some(node) = edit.body().node(id) else { continue };
            let ways = operands(node);
            let ways = if op == "Div" { &ways[..1] } else { &ways[..] };
            let found = ways.iter().find_map(|(x, by)| {
                let layer = Layer::before(edit, cx, (*x)?)?;
                let factors = operand(edit, cx, (*by)?, layer.channels.count(), layer.rank)?;
                Some((layer, factors))
            });
            let Some((layer, mut factors)) = found else { continue };
            if op == "Div" {
                factors.iter_mut().for_each(|f| *f = 1.0 / *f);
            }
            let affine = Affine { scale: Some(factors), shift: None };
            changed |= layer.absorb(edit, id, &affine)?;
        }
    }
    Ok(changed)
}
