//! Elementary functions that older sets lack, made of those that they have.
//!
//! ```text
//! before (opset 20): x ─▶ Gelu ─▶ y
//! after  (opset 19): x ─▶ Div (√2) ─▶ Erf ─▶ Add (1) ─▶ Mul (x) ─▶ Mul (0.5) ─▶ y
//! ```

use super::site::Site;
use super::{Step, casting, keep};
use crate::error::Result;
use crate::hub::{AttrValue, DType, ValueId};

/// `0.5 x (1 + erf(x / √2))`, or with `tanh(√(2/π) (x + 0.044715 x³))` in place of `erf`.
fn gelu(site: &mut Site<'_, '_>) -> Result<()> {
    let (x, dtype) = (site.input(0)?, site.dtype(0)?);
    let curve = if site.str_or("approximate", "none")? == "tanh" {
        let (three, factor) = (site.number(dtype, 3.0)?, site.number(dtype, 0.044_715)?);
        let cube = site.op("Pow", &[x, three], &[])?;
        let cube = site.op("Mul", &[cube, factor], &[])?;
        let sum = site.op("Add", &[x, cube], &[])?;
        let scale = site.number(dtype, (2.0 / std::f64::consts::PI).sqrt())?;
        let inner = site.op("Mul", &[sum, scale], &[])?;
        site.op("Tanh", &[inner], &[])?
    } else {
        let root = site.number(dtype, std::f64::consts::SQRT_2)?;
        let inner = site.op("Div", &[x, root], &[])?;
        site.op("Erf", &[inner], &[])?
    };
    let (one, half) = (site.number(dtype, 1.0)?, site.number(dtype, 0.5)?);
    let sum = site.op("Add", &[curve, one], &[])?;
    let product = site.op("Mul", &[x, sum], &[])?;
    site.become_op("Mul", &[product, half], &[]);
    Ok(())
}

/// `x HardSigmoid(x; 1/6, 1/2)`.
fn hard_swish(site: &mut Site<'_, '_>) -> Result<()> {
    let x = site.input(0)?;
    let attrs = [("alpha", AttrValue::Float(1.0 / 6.0)), ("beta", AttrValue::Float(0.5))];
    let gate = site.op("HardSigmoid", &[x], &attrs)?;
    site.become_op("Mul", &[x, gate], &[]);
    Ok(())
}

/// `x tanh(softplus(x))`.
fn mish(site: &mut Site<'_, '_>) -> Result<()> {
    let x = site.input(0)?;
    let gate = site.op("Softplus", &[x], &[])?;
    let gate = site.op("Tanh", &[gate], &[])?;
    site.become_op("Mul", &[x, gate], &[]);
    Ok(())
}

/// `x sigmoid(α x)`.
fn swish(site: &mut Site<'_, '_>) -> Result<()> {
    let (x, alpha) = (site.input(0)?, site.float_or("alpha", 1.0)?);
    let mut inner = x;
    #[allow(clippy::float_cmp)] // a factor of one is none
    if alpha != 1.0 {
        let dtype = site.dtype(0)?;
        let alpha = site.number(dtype, f64::from(alpha))?;
        inner = site.op("Mul", &[x, alpha], &[])?;
    }
    let gate = site.op("Sigmoid", &[inner], &[])?;
    site.become_op("Mul", &[x, gate], &[]);
    Ok(())
}

/// `α elu(x / α)`.
fn celu(site: &mut Site<'_, '_>) -> Result<()> {
    let (x, dtype, alpha) = (site.input(0)?, site.dtype(0)?, site.float_or("alpha", 1.0)?);
    let alpha = site.number(dtype, f64::from(alpha))?;
    let inner = site.op("Div", &[x, alpha], &[])?;
    let curve = site.op("Elu", &[inner], &[("alpha", AttrValue::Float(1.0))])?;
    site.become_op("Mul", &[curve, alpha], &[]);
    Ok(())
}

fn thresholded_relu(site: &mut Site<'_, '_>) -> Result<()> {
    let (x, dtype, alpha) = (site.input(0)?, site.dtype(0)?, site.float_or("alpha", 1.0)?);
    let (alpha, zero) = (site.number(dtype, f64::from(alpha))?, site.number(dtype, 0.0)?);
    let above = site.op("Greater", &[x, alpha], &[])?;
    site.become_op("Where", &[above, x, zero], &[]);
    Ok(())
}

/// `(eˣ ± e⁻ˣ) / 2`.
fn hyperbolic(site: &mut Site<'_, '_>, op: &str) -> Result<()> {
    let (x, dtype) = (site.input(0)?, site.dtype(0)?);
    let half = site.number(dtype, 0.5)?;
    let minus = site.op("Neg", &[x], &[])?;
    let (up, down) = (site.op("Exp", &[x], &[])?, site.op("Exp", &[minus], &[])?);
    let both = site.op(op, &[up, down], &[])?;
    site.become_op("Mul", &[both, half], &[]);
    Ok(())
}

fn sinh(site: &mut Site<'_, '_>) -> Result<()> {
    hyperbolic(site, "Sub")
}

fn cosh(site: &mut Site<'_, '_>) -> Result<()> {
    hyperbolic(site, "Add")
}

/// `ln(x + √(x² - 1))`.
fn acosh(site: &mut Site<'_, '_>) -> Result<()> {
    let (x, dtype) = (site.input(0)?, site.dtype(0)?);
    let root = root_of_square_and(site, x, "Sub", dtype)?;
    let sum = site.op("Add", &[x, root], &[])?;
    site.become_op("Log", &[sum], &[]);
    Ok(())
}

/// `sign(x) ln(|x| + √(x² + 1))`, which does not cancel below zero.
fn asinh(site: &mut Site<'_, '_>) -> Result<()> {
    let (x, dtype) = (site.input(0)?, site.dtype(0)?);
    let root = root_of_square_and(site, x, "Add", dtype)?;
    let size = site.op("Abs", &[x], &[])?;
    let sum = site.op("Add", &[size, root], &[])?;
    let log = site.op("Log", &[sum], &[])?;
    let sign = sign_of(site, x, dtype)?;
    site.become_op("Mul", &[log, sign], &[]);
    Ok(())
}

fn root_of_square_and(
    site: &mut Site<'_, '_>,
    x: ValueId,
    op: &str,
    dtype: DType,
) -> Result<ValueId> {
    let one = site.number(dtype, 1.0)?;
    let square = site.op("Mul", &[x, x], &[])?;
    let square = site.op(op, &[square, one], &[])?;
    site.op("Sqrt", &[square], &[])
}

/// `ln((1 + x) / (1 - x)) / 2`.
fn atanh(site: &mut Site<'_, '_>) -> Result<()> {
    let (x, dtype) = (site.input(0)?, site.dtype(0)?);
    let (one, half) = (site.number(dtype, 1.0)?, site.number(dtype, 0.5)?);
    let (above, below) = (site.op("Add", &[one, x], &[])?, site.op("Sub", &[one, x], &[])?);
    let ratio = site.op("Div", &[above, below], &[])?;
    let log = site.op("Log", &[ratio], &[])?;
    site.become_op("Mul", &[log, half], &[]);
    Ok(())
}

fn sign_of(site: &mut Site<'_, '_>, x: ValueId, dtype: DType) -> Result<ValueId> {
    let zero = site.number(dtype, 0.0)?;
    let (above, below) = (site.op("Greater", &[x, zero], &[])?, site.op("Less", &[x, zero], &[])?);
    let (above, below) = (site.cast(above, dtype)?, site.cast(below, dtype)?);
    site.op("Sub", &[above, below], &[])
}

fn sign(site: &mut Site<'_, '_>) -> Result<()> {
    let (x, dtype) = (site.input(0)?, site.dtype(0)?);
    if !dtype.is_float() {
        return Err(site.refuse(super::Refusal::ElementType, format!("signs of {dtype}")));
    }
    let sign = sign_of(site, x, dtype)?;
    site.become_op("Identity", &[sign], &[]);
    Ok(())
}

/// Adds nodes that round to the nearest whole number, halves to the even one.
pub(super) fn round_half_even(
    site: &mut Site<'_, '_>,
    x: ValueId,
    dtype: DType,
) -> Result<ValueId> {
    if site.opset >= 11 {
        return site.op("Round", &[x], &[]);
    }
    let half = site.number(dtype, 0.5)?;
    let floor = site.op("Floor", &[x], &[])?;
    let rest = site.op("Sub", &[x, floor], &[])?;
    let (above, below) =
        (site.op("Greater", &[rest, half], &[])?, site.op("Less", &[rest, half], &[])?);
    // A whole number is odd where half of it is not whole.
    let halved = site.op("Mul", &[floor, half], &[])?;
    let halved_floor = site.op("Floor", &[halved], &[])?;
    let odd = site.op("Greater", &[halved, halved_floor], &[])?;
    let differs = site.op("Or", &[above, below], &[])?;
    let tie = site.op("Not", &[differs], &[])?;
    let tie_up = site.op("And", &[tie, odd], &[])?;
    let up = site.op("Or", &[above, tie_up], &[])?;
    let up = site.cast(up, dtype)?;
    site.op("Add", &[floor, up], &[])
}

fn round(site: &mut Site<'_, '_>) -> Result<()> {
    let (x, dtype) = (site.input(0)?, site.dtype(0)?);
    let rounded = round_half_even(site, x, dtype)?;
    site.become_op("Identity", &[rounded], &[]);
    Ok(())
}

/// The remainder of integers from their quotient, which rounds to zero. The sign becomes the
/// divisor's by taking the remainder of the remainder plus the divisor.
fn modulo(site: &mut Site<'_, '_>) -> Result<()> {
    let (mut x, mut y, dtype) = (site.input(0)?, site.input(1)?, site.dtype(0)?);
    if dtype.is_float() {
        return Err(site.refuse(super::Refusal::NoOperator, "`Mod` of floats does not exist"));
    }
    let narrow = matches!(dtype, DType::I8 | DType::U8 | DType::I16 | DType::U16);
    if narrow {
        (x, y) = (site.cast(x, DType::I32)?, site.cast(y, DType::I32)?);
    }
    let rest = |site: &mut Site<'_, '_>, x: ValueId| -> Result<ValueId> {
        let quotient = site.op("Div", &[x, y], &[])?;
        let whole = site.op("Mul", &[quotient, y], &[])?;
        site.op("Sub", &[x, whole], &[])
    };
    let mut out = rest(site, x)?;
    if site.int_or("fmod", 0)? == 0 {
        let shifted = site.op("Add", &[out, y], &[])?;
        out = rest(site, shifted)?;
    }
    if narrow {
        site.become_op("Cast", &[out], &[casting::to(dtype)]);
    } else {
        site.become_op("Identity", &[out], &[]);
    }
    Ok(())
}

/// A sum of cosines over the positions of a window.
fn window(site: &mut Site<'_, '_>, weights: [f64; 3]) -> Result<()> {
    let size = site.input(0)?;
    let to = site.int_or("output_datatype", DType::F32.number())?;
    let (zero, one) = (site.number(DType::F32, 0.0)?, site.number(DType::F32, 1.0)?);
    let length = site.cast(size, DType::F32)?;
    let at = site.op("Range", &[zero, length, one], &[])?;
    let period = if site.int_or("periodic", 1)? == 0 {
        site.op("Sub", &[length, one], &[])?
    } else {
        length
    };
    let mut sum = site.number(DType::F32, weights[0])?;
    for (turns, weight) in [(2.0, weights[1]), (4.0, weights[2])] {
        if weight == 0.0 {
            continue;
        }
        let turn = site.number(DType::F32, turns * std::f64::consts::PI)?;
        let angle = site.op("Mul", &[at, turn], &[])?;
        let angle = site.op("Div", &[angle, period], &[])?;
        let wave = site.op("Cos", &[angle], &[])?;
        let weight = site.number(DType::F32, weight)?;
        let part = site.op("Mul", &[wave, weight], &[])?;
        sum = site.op("Add", &[part, sum], &[])?;
    }
    site.become_op("Cast", &[sum], &[("to", AttrValue::Int(to))]);
    Ok(())
}

fn hann(site: &mut Site<'_, '_>) -> Result<()> {
    window(site, [0.5, -0.5, 0.0])
}

fn hamming(site: &mut Site<'_, '_>) -> Result<()> {
    window(site, [25.0 / 46.0, -21.0 / 46.0, 0.0])
}

fn blackman(site: &mut Site<'_, '_>) -> Result<()> {
    window(site, [0.42, -0.5, 0.08])
}

/// Before opset 28 the remainder of floats has the dividend's sign. The divisor's is had by adding the
/// divisor to remainders of the other sign.
fn float_modulo(site: &mut Site<'_, '_>) -> Result<()> {
    let dtype = site.dtype(0)?;
    if !dtype.is_float() || site.int_or("fmod", 0)? != 0 {
        return Ok(());
    }
    let (x, y) = (site.input(0)?, site.input(1)?);
    let zero = site.number(dtype, 0.0)?;
    let rest = site.op("Mod", &[x, y], &[("fmod", AttrValue::Int(1))])?;
    let (below, above) =
        (site.op("Less", &[rest, zero], &[])?, site.op("Greater", &[rest, zero], &[])?);
    let (y_below, y_above) =
        (site.op("Less", &[y, zero], &[])?, site.op("Greater", &[y, zero], &[])?);
    let (down, up) =
        (site.op("And", &[above, y_below], &[])?, site.op("And", &[below, y_above], &[])?);
    let differs = site.op("Or", &[down, up], &[])?;
    let moved = site.op("Add", &[rest, y], &[])?;
    site.become_op("Where", &[differs, moved, rest], &[]);
    Ok(())
}

const fn made_of(op: &'static str, version: i64, down: super::Adapt) -> Step {
    Step { op, version, up: keep, down }
}

pub(super) static STEPS: &[Step] = &[
    made_of("Acosh", 9, acosh),
    made_of("Asinh", 9, asinh),
    made_of("Atanh", 9, atanh),
    made_of("BlackmanWindow", 17, blackman),
    made_of("Celu", 12, celu),
    made_of("Cosh", 9, cosh),
    made_of("Gelu", 20, gelu),
    made_of("HammingWindow", 17, hamming),
    made_of("HannWindow", 17, hann),
    made_of("HardSwish", 14, hard_swish),
    made_of("Mish", 18, mish),
    made_of("Mod", 10, modulo),
    made_of("Mod", 28, float_modulo),
    made_of("Round", 11, round),
    made_of("Sign", 9, sign),
    made_of("Sinh", 9, sinh),
    made_of("Swish", 24, swish),
    made_of("ThresholdedRelu", 10, thresholded_relu),
];
