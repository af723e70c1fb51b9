//! Ops that make tensors: `Constant`, `ConstantOfShape`, `EyeLike`, `NonZero`, `OneHot`, `Range`,
//! `Shape`, `Size`.

use super::cx::{Cx, Fact, MAX_DATA};
use super::infer::{attr_fact, small_ints};
use super::len::Len;
use crate::error::{Error, Result};
use crate::hub::{AttrValue, DType, Node, ValueId};

/// A `Constant` node.
#[derive(Clone, Debug)]
pub struct Constant<'a> {
    /// The attribute that holds the value: `value`, `value_int`, `value_floats` ….
    pub value: &'a AttrValue,
    /// The value.
    pub output: ValueId,
}

impl<'a> Constant<'a> {
    /// The node's parts, checked.
    pub fn of(node: &'a Node) -> Result<Self> {
        let value = node.attrs.iter().find(|a| {
            matches!(
                a.name.as_str(),
                "value"
                    | "sparse_value"
                    | "value_int"
                    | "value_ints"
                    | "value_float"
                    | "value_floats"
                    | "value_string"
                    | "value_strings"
            )
        });
        match (value, node.output(0)) {
            (Some(value), Some(output)) => Ok(Self { value: &value.value, output }),
            _ => Err(Error::malformed("a value and an output are wanted").item(node.label())),
        }
    }
}

fn constant(cx: &Cx<'_>) -> Result<Vec<Fact>> {
    Ok(vec![attr_fact(Constant::of(cx.node())?.value)])
}

fn constant_of_shape(cx: &Cx<'_>) -> Result<Vec<Fact>> {
    let fill = match cx.node().attr("value") {
        None => None,
        Some(AttrValue::Tensor(t)) => Some(t),
        Some(_) => return Err(cx.fail("attribute `value` is not a tensor")),
    };
    let dtype = fill.map_or(DType::F32, crate::hub::Tensor::dtype);
    let shape = match cx.data(0) {
        Some(dims) => Some(dims.to_vec()),
        None => cx
            .shape(0)
            .and_then(|s| s.first())
            .and_then(Len::as_fixed)
            .and_then(|n| usize::try_from(n).ok())
            .filter(|n| *n <= MAX_DATA)
            .map(|n| vec![Len::UNKNOWN; n]),
    };
    let count = match shape.as_deref() {
        Some([]) => Some(1),
        Some([n]) => n.as_fixed().and_then(|n| usize::try_from(n).ok()),
        _ => None,
    };
    let data = fill
        .and_then(small_ints)
        .and_then(|v| v.first().copied())
        .zip(count.filter(|n| *n <= MAX_DATA))
        .map(|(v, n)| vec![Len::fixed(v); n]);
    Ok(vec![Fact { dtype: Some(dtype), shape, data }])
}

fn eye_like(cx: &Cx<'_>) -> Result<Vec<Fact>> {
    let dtype = cx.dtype_attr("dtype")?.or(cx.dtype(0));
    Ok(vec![Fact::new(dtype, cx.shape(0).map(<[_]>::to_vec))])
}

fn non_zero(cx: &Cx<'_>) -> Result<Vec<Fact>> {
    let rank = cx.rank(0).map_or(Len::UNKNOWN, |r| Len::from_u64(r as u64));
    Ok(vec![Fact::new(Some(DType::I64), Some(vec![rank, Len::UNKNOWN]))])
}

/// The indices' shape with the depth put in at `axis`.
fn one_hot(cx: &Cx<'_>) -> Result<Vec<Fact>> {
    let shape = match cx.shape(0) {
        Some(shape) => {
            let axis = cx.axis(cx.int_or("axis", -1)?, shape.len() + 1)?;
            let depth = match (cx.data(1), cx.constant(1)) {
                (Some([one]), _) => one.clone(),
                (_, Some(t)) if t.dtype().is_float() && t.len() == 1 => whole(t.to_f32()?.first()),
                _ => Len::UNKNOWN,
            };
            let mut out = shape.to_vec();
            out.insert(axis, depth);
            Some(out)
        }
        None => None,
    };
    Ok(vec![Fact::new(cx.dtype(2), shape)])
}

#[allow(clippy::cast_possible_truncation)] // checked to be a small whole number
fn whole(value: Option<&f32>) -> Len {
    match value {
        Some(v) if v.fract() == 0.0 && v.abs() < 1e6 => Len::fixed(*v as i64),
        _ => Len::UNKNOWN,
    }
}

/// `max(ceil((limit - start) / delta), 0)` elements.
#[allow(clippy::cast_possible_truncation)] // checked to be in range
fn range(cx: &Cx<'_>) -> Result<Vec<Fact>> {
    let one = |i: usize| match cx.data(i) {
        Some([n]) => Some(n.clone()),
        _ => None,
    };
    let dtype = (0..3).find_map(|i| cx.dtype(i));
    let mut data = None;
    let count = match (one(0), one(1), one(2)) {
        (Some(start), Some(limit), Some(delta)) => {
            if delta.is(0) {
                return Err(cx.fail("a delta of 0"));
            }
            let span = limit.sub(&start);
            let count = match (delta.as_fixed(), span.as_fixed()) {
                (Some(d), Some(n)) if d > 0 => Len::fixed(n.max(0)).div_ceil(d),
                (Some(d), Some(n)) => {
                    Len::fixed(n.min(0).saturating_neg()).div_ceil(d.saturating_neg())
                }
                (Some(d), None) if d > 0 && span.is_non_negative() => span.div_ceil(d),
                _ => Len::UNKNOWN,
            };
            data = count
                .as_fixed()
                .and_then(|n| usize::try_from(n).ok())
                .filter(|n| *n <= MAX_DATA)
                .map(|n| {
                    std::iter::successors(Some(start.clone()), |at| Some(at.add(&delta)))
                        .take(n)
                        .collect()
                });
            count
        }
        _ => {
            let float = |i: usize| -> Result<Option<f64>> {
                match cx.constant(i) {
                    Some(t) if t.dtype().is_float() && t.len() == 1 => {
                        Ok(t.to_f32()?.first().map(|v| f64::from(*v)))
                    }
                    _ => Ok(None),
                }
            };
            match (float(0)?, float(1)?, float(2)?) {
                (Some(start), Some(limit), Some(delta)) => {
                    let n = ((limit - start) / delta).ceil().max(0.0);
                    if n.is_finite() && n < 1e15 { Len::fixed(n as i64) } else { Len::UNKNOWN }
                }
                _ => Len::UNKNOWN,
            }
        }
    };
    Ok(vec![Fact { dtype, shape: Some(vec![count]), data }])
}

/// The shape as a list; `start` and `end` cut it from opset 15 on.
fn shape(cx: &Cx<'_>) -> Result<Vec<Fact>> {
    let Some(dims) = cx.shape(0) else {
        return Ok(vec![Fact::new(Some(DType::I64), Some(vec![Len::UNKNOWN]))]);
    };
    let n = i64::try_from(dims.len()).unwrap_or(i64::MAX);
    let at = |v: i64| {
        let v = if v < 0 { v.saturating_add(n) } else { v }.clamp(0, n);
        usize::try_from(v).unwrap_or(0)
    };
    let (from, to) = (at(cx.int_or("start", 0)?), at(cx.int_or("end", n)?));
    let data = dims.get(from..to.max(from)).unwrap_or_default().to_vec();
    let len = Len::from_u64(data.len() as u64);
    Ok(vec![Fact::with_data(DType::I64, vec![len], data)])
}

fn size(cx: &Cx<'_>) -> Result<Vec<Fact>> {
    let count = cx.shape(0).map_or(Len::UNKNOWN, Len::product);
    Ok(vec![Fact::with_data(DType::I64, Vec::new(), vec![count])])
}

defs! {
    CONSTANT = "Constant", 1, constant;
    CONSTANT_OF_SHAPE = "ConstantOfShape", 9, constant_of_shape;
    EYE_LIKE = "EyeLike", 9, eye_like;
    NON_ZERO = "NonZero", 9, non_zero;
    ONE_HOT = "OneHot", 9, one_hot;
    RANGE = "Range", 11, range;
    SHAPE = "Shape", 1, shape;
    SIZE = "Size", 1, size;
}
