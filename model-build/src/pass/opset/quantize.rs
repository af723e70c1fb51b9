//! Quantized arithmetic in sets that have less of it or none.
//!
//! ```text
//! before (opset 13): x u8[c, n], scale f32[c], zero u8[c] ─▶ DequantizeLinear(axis = 0) ─▶ y
//! after  (opset 12): x ─▶ Cast f32 ─▶ Sub (zero as f32[c, 1]) ─▶ Mul (scale as f32[c, 1]) ─▶ y
//! ```

use super::elementary::round_half_even;
use super::site::Site;
use super::{Refusal, Step, casting, keep};
use crate::error::Result;
use crate::hub::{AttrValue, DType, ValueId};

/// The axis that a scale of rank 1 belongs to, from the start; `None` for one scale of everything.
fn scale_axis(site: &Site<'_, '_>) -> Result<Option<(i64, i64)>> {
    if site.rank(1)? == 0 {
        return Ok(None);
    }
    let rank = site.signed_rank(0)?;
    let axis = site.int_or("axis", 1)?;
    Ok(Some((if axis < 0 { axis + rank } else { axis }, rank)))
}

/// A parameter of input `i`, as f32, that broadcasts along the axis.
fn parameter(site: &mut Site<'_, '_>, i: usize, axis: Option<(i64, i64)>) -> Result<ValueId> {
    let (mut value, dtype) = (site.input(i)?, site.dtype(i)?);
    if dtype != DType::F32 {
        value = site.cast(value, DType::F32)?;
    }
    if let Some((axis, rank)) = axis {
        let axes: Vec<i64> = (1..rank - axis).collect();
        if !axes.is_empty() {
            value = site.with_axes("Unsqueeze", value, &axes)?;
        }
    }
    Ok(value)
}

fn dequantize(site: &mut Site<'_, '_>, axis: Option<(i64, i64)>) -> Result<()> {
    let mut x = site.input(0)?;
    x = site.cast(x, DType::F32)?;
    if site.node.input(2).is_some() {
        let zero = parameter(site, 2, axis)?;
        x = site.op("Sub", &[x, zero], &[])?;
    }
    let scale = parameter(site, 1, axis)?;
    site.become_op("Mul", &[x, scale], &[]);
    Ok(())
}

fn range_of(site: &Site<'_, '_>, dtype: DType) -> Result<(f64, f64)> {
    match dtype {
        DType::U8 => Ok((0.0, 255.0)),
        DType::I8 => Ok((-128.0, 127.0)),
        DType::U16 => Ok((0.0, 65_535.0)),
        DType::I16 => Ok((-32_768.0, 32_767.0)),
        _ => Err(site.refuse(Refusal::ElementType, format!("quantization to {dtype}"))),
    }
}

/// Adds a `Clip` between two numbers.
fn clip(site: &mut Site<'_, '_>, x: ValueId, (low, high): (f64, f64)) -> Result<ValueId> {
    if site.opset >= 11 {
        let (low, high) = (site.number(DType::F32, low)?, site.number(DType::F32, high)?);
        return site.op("Clip", &[x, low, high], &[]);
    }
    #[allow(clippy::cast_possible_truncation)] // whole numbers below 2^24
    let attr = |v: f64| AttrValue::Float(v as f32);
    site.op("Clip", &[x], &[("min", attr(low)), ("max", attr(high))])
}

fn quantize(site: &mut Site<'_, '_>, axis: Option<(i64, i64)>) -> Result<()> {
    let to = if site.node.input(2).is_some() { site.dtype(2)? } else { DType::U8 };
    let range = range_of(site, to)?;
    let (mut x, dtype) = (site.input(0)?, site.dtype(0)?);
    if dtype != DType::F32 {
        x = site.cast(x, DType::F32)?;
    }
    let scale = parameter(site, 1, axis)?;
    let steps = site.op("Div", &[x, scale], &[])?;
    let mut level = round_half_even(site, steps, DType::F32)?;
    if site.node.input(2).is_some() {
        let zero = parameter(site, 2, axis)?;
        level = site.op("Add", &[level, zero], &[])?;
    }
    let level = clip(site, level, range)?;
    site.become_op("Cast", &[level], &[casting::to(to)]);
    Ok(())
}

fn per_axis_down(site: &mut Site<'_, '_>) -> Result<()> {
    let axis = scale_axis(site)?;
    site.unset("axis");
    if axis.is_none() {
        site.put();
        return Ok(());
    }
    if site.node.op == "QuantizeLinear" { quantize(site, axis) } else { dequantize(site, axis) }
}

fn dequantize_10_down(site: &mut Site<'_, '_>) -> Result<()> {
    dequantize(site, None)
}

fn quantize_10_down(site: &mut Site<'_, '_>) -> Result<()> {
    quantize(site, None)
}

/// The type of the result is that of the zero point; one of zeros says it.
fn output_type_down(site: &mut Site<'_, '_>) -> Result<()> {
    let number = site.int_or("output_dtype", 0)?;
    site.unset("output_dtype");
    if number != 0 && site.node.input(2).is_none() {
        let dtype = DType::of_number(number).ok_or_else(|| site.unknown("`output_dtype`"))?;
        let shape = site.fixed_shape(1).ok_or_else(|| site.unknown("the shape of the scale"))?;
        let count = shape.iter().product::<i64>();
        if count > 1 << 20 {
            return Err(site.lacks("`QuantizeLinear` has no `output_dtype`"));
        }
        let dims = shape.iter().map(|d| u64::try_from(*d).unwrap_or(0)).collect();
        let zeros = vec![0.0; usize::try_from(count).unwrap_or(0)];
        let zeros = casting::number(dtype, dims, &zeros)
            .ok_or_else(|| site.refuse(Refusal::ElementType, format!("quantization to {dtype}")))?;
        let zeros = site.tensor(zeros)?;
        site.set_input(2, Some(zeros));
    }
    site.put();
    Ok(())
}

fn precision_down(site: &mut Site<'_, '_>) -> Result<()> {
    let precision = site.int_or("precision", 0)?;
    if precision != 0 && DType::of_number(precision) == site.try_dtype(1) {
        site.unset("precision");
        site.put();
    }
    Ok(())
}

/// The result is of the scale's type.
fn scale_type_down(site: &mut Site<'_, '_>) -> Result<()> {
    let number = site.int_or("output_dtype", 0)?;
    if number != 0 && DType::of_number(number) == site.try_dtype(1) {
        site.unset("output_dtype");
        site.put();
    }
    Ok(())
}

/// `scale = (max(x, 0) - min(x, 0)) / 255`, `zero = round(-min(x, 0) / scale)` within a byte.
fn dynamic(site: &mut Site<'_, '_>) -> Result<()> {
    let x = site.input(0)?;
    let zero = site.number(DType::F32, 0.0)?;
    let (least, most) =
        (site.reduce("ReduceMin", x, None, false)?, site.reduce("ReduceMax", x, None, false)?);
    let (least, most) = (site.op("Min", &[least, zero], &[])?, site.op("Max", &[most, zero], &[])?);
    let span = site.op("Sub", &[most, least], &[])?;
    let levels = site.number(DType::F32, 255.0)?;
    let scale = site.op("Div", &[span, levels], &[])?;
    let below = site.op("Sub", &[zero, least], &[])?;
    let steps = site.op("Div", &[below, scale], &[])?;
    let steps = round_half_even(site, steps, DType::F32)?;
    let steps = clip(site, steps, (0.0, 255.0))?;
    let point = site.cast(steps, DType::U8)?;
    for (i, value) in [(1, scale), (2, point)] {
        if let Some(out) = site.node.output(i) {
            site.op_into(out, "Identity", &[value], &[])?;
        }
    }
    site.become_single("QuantizeLinear", &[x, scale, point], &[]);
    Ok(())
}

/// Products of bytes summed up are exact in f64, and in f32 up to 2^24.
fn wide(terms: Option<i64>) -> DType {
    if terms.is_some_and(|n| n.saturating_mul(255 * 255) < 1 << 24) {
        DType::F32
    } else {
        DType::F64
    }
}

/// Input `i` less its zero point, which is input `zero`.
fn less_zero(
    site: &mut Site<'_, '_>,
    i: usize,
    zero: usize,
    wide: DType,
    axes: &[i64],
) -> Result<ValueId> {
    let x = site.input(i)?;
    let x = site.cast(x, wide)?;
    if site.node.input(zero).is_none() {
        return Ok(x);
    }
    let point = site.input(zero)?;
    let mut point = site.cast(point, wide)?;
    if !axes.is_empty() && site.rank(zero)? == 1 {
        point = site.with_axes("Unsqueeze", point, axes)?;
    }
    site.op("Sub", &[x, point], &[])
}

fn matmul_integer(site: &mut Site<'_, '_>) -> Result<()> {
    let terms = site.fixed_shape(0).and_then(|s| s.last().copied());
    let wide = wide(terms);
    let a = less_zero(site, 0, 2, wide, &[1])?;
    let b = less_zero(site, 1, 3, wide, &[])?;
    let product = site.op("MatMul", &[a, b], &[])?;
    site.become_op("Cast", &[product], &[casting::to(DType::I32)]);
    Ok(())
}

fn conv_integer(site: &mut Site<'_, '_>) -> Result<()> {
    let kernel = site.fixed_shape(1);
    let terms = kernel.as_ref().and_then(|s| s.get(1..).map(|k| k.iter().product()));
    let wide = wide(terms);
    let rank = site.signed_rank(1)?;
    let axes: Vec<i64> = (1..rank).collect();
    let x = less_zero(site, 0, 2, wide, &[])?;
    let w = less_zero(site, 1, 3, wide, &axes)?;
    let attrs = site.node.attrs.clone();
    let attrs: Vec<(&str, AttrValue)> =
        attrs.iter().map(|a| (a.name.as_str(), a.value.clone())).collect();
    let sum = site.op("Conv", &[x, w], &attrs)?;
    site.become_op("Cast", &[sum], &[casting::to(DType::I32)]);
    Ok(())
}

pub(super) static STEPS: &[Step] = &[
    Step { op: "ConvInteger", version: 10, up: keep, down: conv_integer },
    Step { op: "DequantizeLinear", version: 10, up: keep, down: dequantize_10_down },
    Step { op: "DequantizeLinear", version: 13, up: keep, down: per_axis_down },
    Step { op: "DequantizeLinear", version: 23, up: keep, down: scale_type_down },
    Step { op: "DynamicQuantizeLinear", version: 11, up: keep, down: dynamic },
    Step { op: "MatMulInteger", version: 10, up: keep, down: matmul_integer },
    Step { op: "QuantizeLinear", version: 10, up: keep, down: quantize_10_down },
    Step { op: "QuantizeLinear", version: 13, up: keep, down: per_axis_down },
    Step { op: "QuantizeLinear", version: 21, up: keep, down: output_type_down },
    Step { op: "QuantizeLinear", version: 23, up: keep, down: precision_down },
];
