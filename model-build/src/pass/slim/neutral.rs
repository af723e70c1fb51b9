//! Arithmetic with a neutral element is removed.

use super::super::pipeline::{Cx, Rewrite, Set};
use super::bypass_each;
use crate::error::Result;
use crate::hub::{DType, Edit, Tensor, ValueId};

/// ```text
/// before: x ─▶ Add(·, 0) ─▶ Mul(·, 1) ─▶ Div(·, 1) ─▶ Sub(·, 0) ─▶ Pow(·, 1) ─▶ y
/// after:  x ─▶ y
/// ```
///
/// Also `And` with true and `Or` with false. Only where the constant does not stretch the other operand
/// to another shape. The sign of a zero may change.
pub(in super::super) static NEUTRAL: Rewrite = Rewrite { name: "neutral", set: Set::Graph, run };

/// Constants of more elements are not looked at.
const MOST: u64 = 1 << 16;

fn run(edit: &mut Edit<'_>, cx: &Cx<'_>) -> Result<bool> {
    if cx.opset() < 7 {
        return Ok(false);
    }
    let ops = ["Add", "Sub", "Mul", "Div", "Pow", "And", "Or"];
    bypass_each(edit, &ops, |edit, node| {
        let (a, b) = (node.input(0)?, node.input(1)?);
        let neutral = match node.op.as_str() {
            "Add" | "Sub" | "Or" => 0.0,
            _ => 1.0,
        };
        let is_neutral = |x: ValueId, constant: ValueId| {
            cx.constant(edit, constant)
                .is_some_and(|t| keeps_shape(cx, x, &t) && all_are(&t, neutral).unwrap_or(false))
        };
        if is_neutral(a, b) {
            return Some(a);
        }
        let commutes = !matches!(node.op.as_str(), "Sub" | "Div" | "Pow");
        (commutes && is_neutral(b, a)).then_some(b)
    })
}

/// Whether broadcasting `x` with the constant gives the shape of `x`.
pub(in super::super) fn keeps_shape(cx: &Cx<'_>, x: ValueId, constant: &Tensor) -> bool {
    if constant.shape().is_empty() {
        return true;
    }
    let Some(shape) = cx.shape(x) else { return false };
    let Some(lead) = shape.len().checked_sub(constant.shape().len()) else { return false };
    constant
        .shape()
        .iter()
        .zip(&shape[lead..])
        .all(|(c, x)| *c == 1 || i64::try_from(*c).is_ok_and(|c| x.is(c)))
}

/// Whether all elements are that number.
#[allow(clippy::float_cmp)] // exactly that number
fn all_are(tensor: &Tensor, number: f32) -> Option<bool> {
    if tensor.len() > MOST || tensor.is_empty() {
        return None;
    }
    Some(match tensor.dtype() {
        d if d.is_float() && d != DType::F64 => tensor.to_f32().ok()?.iter().all(|v| *v == number),
        DType::F64 => tensor
            .bytes()
            .ok()?
            .as_chunks()
            .0
            .iter()
            .all(|c| f64::from_le_bytes(*c) == f64::from(number)),
        DType::I64 | DType::I32 => {
            tensor.to_i64().ok()?.iter().all(|v| *v == i64::from(number == 1.0))
        }
        DType::Bool => tensor.bytes().ok()?.iter().all(|v| (*v != 0) == (number == 1.0)),
        _ => return None,
    })
}
