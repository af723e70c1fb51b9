//! Constants, and what is one when shapes are known: `Constant`, `ConstantOfShape`, `EyeLike`, `Range`,
//! `Shape`, `CastLike`, the optional types' questions.
//!
//! ```text
//! before (opset 12): Constant(value_ints = [1, 2]) ─▶ y
//! after  (opset 11): Constant(value = i64[2] {1, 2}) ─▶ y
//! ```

use super::site::Site;
use super::{Refusal, Step, casting, facts, keep};
use crate::error::Result;
use crate::hub::{AttrValue, DType, Tensor, Type};

fn constant_12_down(site: &mut Site<'_, '_>) -> Result<()> {
    let Some(tensor) = facts::constant(&site.node) else { return Ok(()) };
    site.node.attrs.clear();
    site.set("value", AttrValue::Tensor(tensor));
    site.put();
    Ok(())
}

/// `Constant` gives floats only before opset 9.
fn constant_9_down(site: &mut Site<'_, '_>) -> Result<()> {
    let Some(tensor) = facts::constant(&site.node) else { return Ok(()) };
    if matches!(tensor.dtype(), DType::F16 | DType::F32 | DType::F64) {
        return Ok(());
    }
    let Some(out) = site.node.output(0) else { return Ok(()) };
    let value = site.tensor(tensor)?;
    site.remove();
    site.replace_uses(out, value)
}

/// A reshape to a list of lengths without a zero says the same with and without `allowzero`, and one
/// with a zero where the input has none of that axis either.
fn reshape_down(site: &mut Site<'_, '_>) -> Result<()> {
    if site.int_or("allowzero", 0)? == 0 {
        return Ok(());
    }
    let shape = site.ints(1, "shape")?.unwrap_or_default();
    let copied = |i: usize| site.try_shape(0).and_then(|s| s.get(i)?.fixed()) == Some(0);
    if shape.iter().enumerate().all(|(i, d)| *d != 0 || copied(i)) {
        site.unset("allowzero");
        site.put();
    }
    Ok(())
}

fn of_shape_down(site: &mut Site<'_, '_>) -> Result<()> {
    let value = match site.node.attr("value") {
        Some(AttrValue::Tensor(t)) => t.clone(),
        _ => Tensor::from_f32(vec![1], &[0.0])?,
    };
    let shape = site.input(0)?;
    let value = site.tensor(value)?;
    site.become_op("Expand", &[value, shape], &[]);
    Ok(())
}

/// Tensors of more elements are not written out.
const MOST: i64 = 1 << 22;

fn eye_down(site: &mut Site<'_, '_>) -> Result<()> {
    let shape = site.fixed_shape(0).ok_or_else(|| site.unknown("the shape of input 0"))?;
    let [rows, columns] = shape[..] else { return Err(site.unknown("the shape of input 0")) };
    if rows.saturating_mul(columns) > MOST {
        return Err(site.lacks("a large `EyeLike`"));
    }
    let dtype = match site.int("dtype")? {
        Some(n) => DType::of_number(n).ok_or_else(|| site.unknown("`dtype`"))?,
        None => site.dtype(0)?,
    };
    let k = site.int_or("k", 0)?;
    let values: Vec<f64> = (0..rows)
        .flat_map(|r| (0..columns).map(move |c| f64::from(u8::from(c - r == k))))
        .collect();
    let dims = shape.iter().map(|d| u64::try_from(*d).unwrap_or(0)).collect();
    let tensor = casting::number(dtype, dims, &values)
        .ok_or_else(|| site.refuse(Refusal::ElementType, format!("{dtype} constants")))?;
    let value = site.tensor(tensor)?;
    site.become_op("Identity", &[value], &[]);
    Ok(())
}

/// `start + delta * i` for the positions `i` of a tensor of ones.
fn range_down(site: &mut Site<'_, '_>) -> Result<()> {
    let dtype = site.dtype(0)?;
    let (start, limit, delta) = (site.input(0)?, site.input(1)?, site.input(2)?);
    let wide = if dtype == DType::F32 { DType::F32 } else { DType::F64 };
    let span = site.op("Sub", &[limit, start], &[])?;
    let (span, step) = (site.cast(span, wide)?, site.cast(delta, wide)?);
    let count = site.op("Div", &[span, step], &[])?;
    let count = site.op("Ceil", &[count], &[])?;
    let count = site.cast(count, DType::F32)?;
    let count = site.op("Relu", &[count], &[])?;
    let count = site.cast(count, DType::I64)?;
    let count = site.with_axes("Unsqueeze", count, &[0])?;
    let one = Tensor::from_i64(vec![1], &[1])?;
    let ones = site.op("ConstantOfShape", &[count], &[("value", AttrValue::Tensor(one))])?;
    let at = site.op("NonZero", &[ones], &[])?;
    let at = site.with_axes("Squeeze", at, &[0])?;
    let at = site.cast(at, dtype)?;
    let offsets = site.op("Mul", &[at, delta], &[])?;
    site.become_op("Add", &[offsets, start], &[]);
    Ok(())
}

fn shape_down(site: &mut Site<'_, '_>) -> Result<()> {
    let (start, end) = (site.int_or("start", 0)?, site.int_or("end", i64::MAX)?);
    site.unset("start");
    site.unset("end");
    if (start, end) == (0, i64::MAX) {
        site.put();
        return Ok(());
    }
    let x = site.input(0)?;
    let shape = site.op("Shape", &[x], &[])?;
    let inputs = [shape, site.list(&[start])?, site.list(&[end])?, site.list(&[0])?];
    site.become_op("Slice", &inputs, &[]);
    Ok(())
}

fn cast_like_down(site: &mut Site<'_, '_>) -> Result<()> {
    let (x, dtype) = (site.input(0)?, site.dtype(1)?);
    site.become_op("Cast", &[x], &[casting::to(dtype)]);
    Ok(())
}

/// Before opset 18 only optional values are asked whether they are there.
fn has_element_down(site: &mut Site<'_, '_>) -> Result<()> {
    let there = match site.node.input(0) {
        None => false,
        Some(x) => match site.ty_of(x) {
            Some(Type::Optional(_)) => return Ok(()),
            Some(_) => true,
            None => return Err(site.unknown("the type of input 0")),
        },
    };
    let value = casting::number(DType::Bool, Vec::new(), &[f64::from(u8::from(there))]);
    let value = value.ok_or_else(|| site.unknown("a truth value"))?;
    site.become_op("Constant", &[], &[("value", AttrValue::Tensor(value))]);
    Ok(())
}

fn get_element_down(site: &mut Site<'_, '_>) -> Result<()> {
    let x = site.input(0)?;
    match site.ty_of(x) {
        Some(Type::Optional(_)) => Ok(()),
        Some(_) => {
            site.become_op("Identity", &[x], &[]);
            Ok(())
        }
        None => Err(site.unknown("the type of input 0")),
    }
}

pub(super) static STEPS: &[Step] = &[
    Step { op: "CastLike", version: 15, up: keep, down: cast_like_down },
    Step { op: "Constant", version: 9, up: keep, down: constant_9_down },
    Step { op: "Constant", version: 12, up: keep, down: constant_12_down },
    Step { op: "ConstantOfShape", version: 9, up: keep, down: of_shape_down },
    Step { op: "EyeLike", version: 9, up: keep, down: eye_down },
    Step { op: "OptionalGetElement", version: 18, up: keep, down: get_element_down },
    Step { op: "OptionalHasElement", version: 18, up: keep, down: has_element_down },
    Step { op: "Range", version: 11, up: keep, down: range_down },
    Step { op: "Reshape", version: 14, up: keep, down: reshape_down },
    Step { op: "Shape", version: 15, up: keep, down: shape_down },
];
