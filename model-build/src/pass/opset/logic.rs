//! Comparisons and classes of numbers.
//!
//! ```text
//! before (opset 12): a, b ─▶ GreaterOrEqual ─▶ y
//! after  (opset 11): a, b ─▶ Greater ─┐
//!                    a, b ─▶ Equal ───┴▶ Or ─▶ y
//! ```

use super::site::Site;
use super::{Step, keep};
use crate::error::Result;
use crate::hub::{DType, ValueId};

/// A number is less than itself for no input, so for integers the opposite does; a float may be
/// neither.
fn or_equal(site: &mut Site<'_, '_>, op: &str, opposite: &str) -> Result<()> {
    let inputs = [site.input(0)?, site.input(1)?];
    if !site.dtype(0)?.is_float() {
        let outside = site.op(opposite, &inputs, &[])?;
        site.become_op("Not", &[outside], &[]);
        return Ok(());
    }
    let (beyond, equal) = (site.op(op, &inputs, &[])?, site.op("Equal", &inputs, &[])?);
    site.become_op("Or", &[beyond, equal], &[]);
    Ok(())
}

fn greater_or_equal(site: &mut Site<'_, '_>) -> Result<()> {
    or_equal(site, "Greater", "Less")
}

fn less_or_equal(site: &mut Site<'_, '_>) -> Result<()> {
    or_equal(site, "Less", "Greater")
}

/// Every number is above 0 or below 1; what is neither is not a number.
fn is_number(site: &mut Site<'_, '_>, x: ValueId, dtype: DType) -> Result<ValueId> {
    let (zero, one) = (site.number(dtype, 0.0)?, site.number(dtype, 1.0)?);
    let (above, below) = (site.op("Greater", &[x, zero], &[])?, site.op("Less", &[x, one], &[])?);
    site.op("Or", &[above, below], &[])
}

/// Floats are equal that are numbers and neither is greater.
fn equal_down(site: &mut Site<'_, '_>) -> Result<()> {
    let Some(dtype) = site.try_dtype(0).filter(|d| d.is_float()) else { return Ok(()) };
    let inputs = [site.input(0)?, site.input(1)?];
    let (above, below) = (site.op("Greater", &inputs, &[])?, site.op("Less", &inputs, &[])?);
    let differ = site.op("Or", &[above, below], &[])?;
    let level = site.op("Not", &[differ], &[])?;
    let (a, b) = (is_number(site, inputs[0], dtype)?, is_number(site, inputs[1], dtype)?);
    let both = site.op("And", &[a, b], &[])?;
    site.become_op("And", &[level, both], &[]);
    Ok(())
}

fn is_nan(site: &mut Site<'_, '_>) -> Result<()> {
    let (x, dtype) = (site.input(0)?, site.dtype(0)?);
    let number = is_number(site, x, dtype)?;
    site.become_op("Not", &[number], &[]);
    Ok(())
}

/// Beyond the greatest number of the type.
fn is_inf(site: &mut Site<'_, '_>) -> Result<()> {
    let (x, dtype) = (site.input(0)?, site.dtype(0)?);
    let most = if dtype == DType::F64 { f64::MAX } else { f64::from(f32::MAX) };
    let (high, low) = (site.number(dtype, most)?, site.number(dtype, -most)?);
    let (positive, negative) =
        (site.int_or("detect_positive", 1)? != 0, site.int_or("detect_negative", 1)? != 0);
    let op = match (positive, negative) {
        (true, true) => "Or",
        (true, false) => {
            site.become_op("Greater", &[x, high], &[]);
            return Ok(());
        }
        (false, true) => {
            site.become_op("Less", &[x, low], &[]);
            return Ok(());
        }
        (false, false) => "And",
    };
    let (above, below) = (site.op("Greater", &[x, high], &[])?, site.op("Less", &[x, low], &[])?);
    site.become_op(op, &[above, below], &[]);
    Ok(())
}

pub(super) static STEPS: &[Step] = &[
    Step { op: "Equal", version: 11, up: keep, down: equal_down },
    Step { op: "GreaterOrEqual", version: 12, up: keep, down: greater_or_equal },
    Step { op: "IsInf", version: 10, up: keep, down: is_inf },
    Step { op: "IsNaN", version: 9, up: keep, down: is_nan },
    Step { op: "LessOrEqual", version: 12, up: keep, down: less_or_equal },
];
