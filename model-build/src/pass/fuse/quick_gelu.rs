//! x · sigmoid(α · x).

use super::super::pipeline::{Cx, Rewrite, Set, nodes_of};
use super::pattern::{any, find, one_of, op};
use super::{Fused, MICROSOFT, same_shape};
use crate::error::Result;
use crate::hub::{AttrValue, Edit};

/// The gated form of GELU that CLIP has, and SiLU, which is the same with α = 1.
///
/// ```text
/// before: x · Sigmoid(α · x)
/// after:  com.microsoft QuickGelu(x, alpha = α)
/// ```
pub(super) static QUICK_GELU: Rewrite = Rewrite { name: "quick-gelu", set: Set::OnnxRuntime, run };

fn run(edit: &mut Edit<'_>, cx: &Cx<'_>) -> Result<bool> {
    let scaled = op("Mul", [any("x"), super::pattern::Pattern::AnyNumber("alpha")]);
    let pattern = op("Mul", [any("x"), op("Sigmoid", [one_of([scaled, any("x")])])]);
    let mut changed = false;
    for root in nodes_of(edit, "Mul") {
        let Some(found) = find(edit, cx, root, &pattern) else { continue };
        let x = found.value("x")?;
        let alpha = match found.value("alpha") {
            Ok(id) => cx.scalar(edit, id),
            Err(_) => Some(1.0),
        };
        let Some(alpha) = alpha else { continue };
        let output = edit.body().node(root).and_then(|n| n.output(0));
        if !output.is_some_and(|y| same_shape(cx, x, y)) {
            continue;
        }
        Fused {
            domain: MICROSOFT,
            op: "QuickGelu",
            inputs: &[Some(x)],
            attrs: vec![("alpha", AttrValue::Float(alpha))],
        }
        .replace(edit, root);
        changed = true;
    }
    Ok(changed)
}
