//! GELU, exact or by its approximation with tanh.

use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI};

use super::super::pipeline::{Cx, Rewrite, Set, nodes_of};
use super::pattern::{Pattern, add, any, find, number, one_of, op, product};
use super::{Fused, MICROSOFT, for_onnxruntime, same_shape};
use crate::error::Result;
use crate::hub::{AttrValue, DType, Edit, NodeId};

/// The formulas of GELU (Hendrycks and Gimpel, arXiv:1606.08415) become one operator.
///
/// ```text
/// before: x · ½ · (1 + erf(x / √2))
/// after:  Gelu(x)                        of opset 20, or of com.microsoft
///
/// before: x · ½ · (1 + tanh(√(2/π) · (x + 0.044715 · x³)))
/// after:  Gelu(x, approximate = "tanh")  of opset 20, or com.microsoft FastGelu(x)
/// ```
///
/// In any grouping of the products.
pub(super) static GELU: Rewrite = Rewrite { name: "gelu", set: Set::Layer, run };

fn exact() -> Pattern {
    let erf = op("Erf", [product([any("x")], FRAC_1_SQRT_2)]);
    product([any("x"), add(erf, number(1.0))], 0.5)
}

fn approximate() -> Pattern {
    let x = || any("x");
    let cube = || one_of([op("Pow", [x(), number(3.0)]), product([x(), x(), x()], 1.0)]);
    let cubic = 0.044_715;
    let root = FRAC_2_SQRT_PI * FRAC_1_SQRT_2; // √(2/π)
    let scaled_cube = one_of([product([cube()], cubic), product([x(), x(), x()], cubic)]);
    let inner = one_of([
        product([add(x(), scaled_cube)], root),
        product([x(), add(number(1.0), product([x(), x()], cubic))], root),
        product([x(), add(number(1.0), product([op("Pow", [x(), number(2.0)])], cubic))], root),
    ]);
    product([any("x"), add(op("Tanh", [inner]), number(1.0))], 0.5)
}

fn run(edit: &mut Edit<'_>, cx: &Cx<'_>) -> Result<bool> {
    if cx.opset() < 20 && !for_onnxruntime(cx) {
        return Ok(false);
    }
    let (exact, approximate) = (exact(), approximate());
    let mut changed = false;
    for root in nodes_of(edit, "Mul").into_iter().chain(nodes_of(edit, "Div")) {
        changed |=
            fuse(edit, cx, root, &exact, false)? || fuse(edit, cx, root, &approximate, true)?;
    }
    Ok(changed)
}

fn fuse(
    edit: &mut Edit<'_>,
    cx: &Cx<'_>,
    root: NodeId,
    pattern: &Pattern,
    approximate: bool,
) -> Result<bool> {
    let Some(found) = find(edit, cx, root, pattern) else { return Ok(false) };
    let x = found.value("x")?;
    let output = edit.body().node(root).and_then(|n| n.output(0));
    if !output.is_some_and(|y| same_shape(cx, x, y)) || !cx.dtype(x).is_some_and(DType::is_float) {
        return Ok(false);
    }
    let inputs = [Some(x)];
    let fused = if cx.opset() >= 20 && !for_onnxruntime(cx) {
        let attrs = if approximate {
            vec![("approximate", AttrValue::String("tanh".into()))]
        } else {
            Vec::new()
        };
        Fused { domain: "", op: "Gelu", inputs: &inputs, attrs }
    } else {
        let op = if approximate { "FastGelu" } else { "Gelu" };
        Fused { domain: MICROSOFT, op, inputs: &inputs, attrs: Vec::new() }
    };
    fused.replace(edit, root);
    Ok(true)
}
