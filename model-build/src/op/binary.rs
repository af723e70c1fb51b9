//! Ops that broadcast their inputs against each other: arithmetic, comparison, logic, selection.

use super::cx::{Cx, Fact};
use super::len::Len;
use crate::error::Result;
use crate::hub::DType;

/// The broadcast shape of all inputs, with the element type of the first.
fn arithmetic(cx: &Cx<'_>) -> Result<Vec<Fact>> {
    let shape = shape(cx)?;
    let data = fold(cx, &shape);
    Ok(vec![Fact { dtype: cx.dtype(0), shape, data }])
}

/// The broadcast shape of both inputs, boolean.
fn comparison(cx: &Cx<'_>) -> Result<Vec<Fact>> {
    let shape = shape(cx)?;
    let data = fold(cx, &shape);
    Ok(vec![Fact { dtype: Some(DType::Bool), shape, data }])
}

/// Before opset 7 the second input broadcast into the first along `axis`.
fn shape(cx: &Cx<'_>) -> Result<Option<Vec<Len>>> {
    if cx.opset() < 7 {
        return Ok(cx.shape(0).map(<[_]>::to_vec));
    }
    cx.broadcast(0..cx.input_count())
}

/// The elements of shape arithmetic.
fn fold(cx: &Cx<'_>, shape: &Option<Vec<Len>>) -> Option<Vec<Len>> {
    let op: fn(&Len, &Len) -> Len = match cx.node().op.as_str() {
        "Add" | "Sum" => Len::add,
        "Sub" => Len::sub,
        "Mul" => Len::mul,
        "Div" => |a, b| match (a.as_fixed(), b.as_fixed()) {
            // ONNX divides integers towards zero.
            (Some(a), Some(b)) => a.checked_div(b).map_or(Len::UNKNOWN, Len::fixed),
            (None, Some(b)) if a.is_non_negative() => a.div_floor(b),
            _ => a.div_exact(b),
        },
        "Mod" => |a, b| match (a.as_fixed(), b.as_fixed()) {
            (Some(a), Some(b)) if a >= 0 && b > 0 => Len::fixed(a % b),
            _ => Len::UNKNOWN,
        },
        "Max" => |a, b| pick(a, b, i64::max),
        "Min" => |a, b| pick(a, b, i64::min),
        "Equal" => |a, b| match (a.as_fixed(), b.as_fixed()) {
            (Some(a), Some(b)) => Len::fixed(i64::from(a == b)),
            // A length equals no negative number.
            (None, Some(n)) if n < 0 && a.is_non_negative() => Len::fixed(0),
            (Some(n), None) if n < 0 && b.is_non_negative() => Len::fixed(0),
            _ if a.same(b) => Len::fixed(1),
            _ => Len::UNKNOWN,
        },
        _ => return None,
    };
    let len = shape
        .as_ref()?
        .iter()
        .try_fold(1usize, |n, d| usize::try_from(d.as_fixed()?).ok()?.checked_mul(n))?;
    if shape.as_ref()?.len() > 1 {
        return None;
    }
    let mut acc = stretch(cx.data(0)?, len)?;
    for i in 1..cx.input_count() {
        let other = stretch(cx.data(i)?, len)?;
        acc = acc.iter().zip(&other).map(|(a, b)| op(a, b)).collect();
    }
    Some(acc)
}

fn pick(a: &Len, b: &Len, of: fn(i64, i64) -> i64) -> Len {
    match (a.as_fixed(), b.as_fixed()) {
        (Some(x), Some(y)) => Len::fixed(of(x, y)),
        _ if a.same(b) => a.clone(),
        _ => Len::UNKNOWN,
    }
}

/// One element or `len` of them, as `len` elements.
fn stretch(data: &[Len], len: usize) -> Option<Vec<Len>> {
    match data {
        [one] => Some(vec![one.clone(); len]),
        _ => (data.len() == len).then(|| data.to_vec()),
    }
}

/// `Where`: the broadcast shape of all three, with the element type of the second.
fn select(cx: &Cx<'_>) -> Result<Vec<Fact>> {
    let shape = cx.broadcast(0..3)?;
    let data = (|| {
        if shape.as_ref()?.len() > 1 {
            return None;
        }
        let len = shape.as_ref()?.first().map_or(Some(1), Len::as_fixed)?;
        let len = usize::try_from(len).ok()?;
        let (c, a, b) =
            (stretch(cx.data(0)?, len)?, stretch(cx.data(1)?, len)?, stretch(cx.data(2)?, len)?);
        let pick = |c: &Len, a: &Len, b: &Len| match c.as_fixed() {
            Some(0) => b.clone(),
            Some(_) => a.clone(),
            None if a.same(b) => a.clone(),
            None => Len::UNKNOWN,
        };
        Some(c.iter().zip(a.iter().zip(&b)).map(|(c, (a, b))| pick(c, a, b)).collect())
    })();
    Ok(vec![Fact { dtype: cx.dtype(1).or(cx.dtype(2)), shape, data }])
}

defs! {
    ADD = "Add", 1, arithmetic;
    AND = "And", 1, comparison;
    BIT_SHIFT = "BitShift", 11, arithmetic;
    BITWISE_AND = "BitwiseAnd", 18, arithmetic;
    BITWISE_OR = "BitwiseOr", 18, arithmetic;
    BITWISE_XOR = "BitwiseXor", 18, arithmetic;
    DIV = "Div", 1, arithmetic;
    EQUAL = "Equal", 1, comparison;
    GREATER = "Greater", 1, comparison;
    GREATER_OR_EQUAL = "GreaterOrEqual", 12, comparison;
    LESS = "Less", 1, comparison;
    LESS_OR_EQUAL = "LessOrEqual", 12, comparison;
    MAX = "Max", 1, arithmetic;
    MEAN = "Mean", 1, arithmetic;
    MIN = "Min", 1, arithmetic;
    MOD = "Mod", 10, arithmetic;
    MUL = "Mul", 1, arithmetic;
    OR = "Or", 1, comparison;
    POW = "Pow", 1, arithmetic;
    SUB = "Sub", 1, arithmetic;
    SUM = "Sum", 1, arithmetic;
    WHERE = "Where", 9, select;
    XOR = "Xor", 1, comparison;
}
