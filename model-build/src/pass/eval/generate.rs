//! Kernels that make tensors from lengths.

use super::Args;
use super::array::{picked, tensor, values, width};
use crate::hub::{AttrValue, DType, Tensor};

/// `Shape`.
pub(super) fn shape(args: &Args<'_>) -> Option<Vec<Tensor>> {
    let dims: Vec<i64> =
        args.input(0)?.shape().iter().map(|d| i64::try_from(*d).ok()).collect::<Option<_>>()?;
    let rank = i64::try_from(dims.len()).ok()?;
    let at = |v: i64| usize::try_from(if v < 0 { v + rank } else { v }.clamp(0, rank)).ok();
    let (start, end) = (at(args.int("start", 0)?)?, at(args.int("end", rank)?)?);
    let cut = dims.get(start..end.max(start))?;
    Some(vec![Tensor::from_i64(vec![cut.len() as u64], cut).ok()?])
}

/// `Size`.
pub(super) fn size(args: &Args<'_>) -> Option<Vec<Tensor>> {
    Some(vec![Tensor::from_i64(vec![], &[i64::try_from(args.input(0)?.len()).ok()?]).ok()?])
}

/// `ConstantOfShape`.
pub(super) fn constant_of_shape(args: &Args<'_>) -> Option<Vec<Tensor>> {
    let dims: Vec<u64> =
        args.ints(0)?.iter().map(|d| u64::try_from(*d).ok()).collect::<Option<_>>()?;
    let (dtype, fill) = match args.node.attr("value") {
        None => (DType::F32, vec![0; 4]),
        Some(AttrValue::Tensor(t)) if t.len() == 1 && width(t.dtype()).is_some() => {
            (t.dtype(), t.bytes().ok()?.to_vec())
        }
        Some(_) => return None,
    };
    let count = args.room(dtype, &dims)?;
    Some(vec![Tensor::new(dtype, dims, fill.repeat(count).into()).ok()?])
}

/// `Range` of integers, and of whole numbers in floats, where every step is exact.
pub(super) fn range(args: &Args<'_>) -> Option<Vec<Tensor>> {
    let dtype = args.input(0)?.dtype();
    let whole = |i: usize| -> Option<i64> {
        let t = args.input(i).filter(|t| t.len() == 1 && t.dtype() == dtype)?;
        match dtype {
            DType::I64 | DType::I32 => t.to_i64().ok()?.first().copied(),
            DType::F32 => exact(*values::<f32>(t)?.first()?),
            _ => None,
        }
    };
    let (start, limit, delta) = (whole(0)?, whole(1)?, whole(2).filter(|d| *d != 0)?);
    let span = limit.checked_sub(start)?;
    let count = if (span < 0) != (delta < 0) {
        0
    } else {
        span.unsigned_abs().div_ceil(delta.unsigned_abs())
    };
    args.room(dtype, &[count])?;
    let values: Vec<i64> = (0..i64::try_from(count).ok()?)
        .map(|i| start.checked_add(delta.checked_mul(i)?))
        .collect::<Option<_>>()?;
    Some(vec![match dtype {
        DType::I64 => tensor(vec![count], &values)?,
        DType::I32 => {
            let narrow: Option<Vec<i32>> = values.iter().map(|v| i32::try_from(*v).ok()).collect();
            tensor(vec![count], &narrow?)?
        }
        _ => {
            #[allow(clippy::cast_precision_loss)] // below 2^23
            let wide: Vec<f32> = values.iter().map(|v| *v as f32).collect();
            tensor(vec![count], &wide)?
        }
    }])
}

/// A whole number that a float holds exactly, as do those around it.
#[allow(clippy::cast_possible_truncation)] // checked
fn exact(value: f32) -> Option<i64> {
    (value.fract() == 0.0 && value.abs() < 4_194_304.0).then_some(value as i64)
}

/// `EyeLike` of `f32`.
pub(super) fn eye_like(args: &Args<'_>) -> Option<Vec<Tensor>> {
    let &[rows, columns] = args.input(0)?.shape() else { return None };
    let dtype = match args.node.attr("dtype") {
        Some(v) => DType::of_number(v.as_int()?)?,
        None => args.input(0)?.dtype(),
    };
    let count = args.room(dtype, &[rows, columns]).filter(|_| dtype == DType::F32)?;
    let offset = args.int("k", 0)?;
    let mut out = vec![0f32; count];
    for row in 0..i64::try_from(rows).ok()? {
        let column = row.checked_add(offset)?;
        if (0..i64::try_from(columns).ok()?).contains(&column) {
            let at = row.checked_mul(i64::try_from(columns).ok()?)?.checked_add(column)?;
            *out.get_mut(usize::try_from(at).ok()?)? = 1.0;
        }
    }
    Some(vec![tensor(vec![rows, columns], &out)?])
}

/// `OneHot` along the last axis.
pub(super) fn one_hot(args: &Args<'_>) -> Option<Vec<Tensor>> {
    let (indices, levels) = (args.input(0)?, args.input(2)?);
    let rank = i64::try_from(indices.shape().len()).ok()?;
    let axis = args.int("axis", -1)?;
    let depth = *args.ints(1).filter(|d| d.len() == 1)?.first().filter(|d| **d >= 0)?;
    if (axis != -1 && axis != rank) || levels.shape() != [2] {
        return None;
    }
    let mut shape = indices.shape().to_vec();
    shape.push(u64::try_from(depth).ok()?);
    args.room(levels.dtype(), &shape)?;
    let mut at = Vec::new();
    for index in args.ints(0)? {
        let index = if index < 0 { index.checked_add(depth)? } else { index };
        at.extend((0..depth).map(|i| usize::from(i == index)));
    }
    Some(vec![picked(levels, shape, at.into_iter())?])
}

/// `Trilu`.
pub(super) fn trilu(args: &Args<'_>) -> Option<Vec<Tensor>> {
    let x = args.input(0)?;
    let [.., rows, columns] = x.shape() else { return None };
    args.room(x.dtype(), x.shape())?;
    let offset = match args.has(1) {
        true => *args.ints(1)?.first()?,
        false => 0,
    };
    let upper = args.int("upper", 1)? != 0;
    let width = width(x.dtype())?;
    let (rows, columns) = (i64::try_from(*rows).ok()?, i64::try_from(*columns).ok()?);
    let mut out = x.bytes().ok()?.to_vec();
    let mut elements = out.chunks_exact_mut(width);
    for _ in 0..x.shape()[..x.shape().len() - 2].iter().product::<u64>() {
        for row in 0..rows {
            for column in 0..columns {
                let diagonal = row.checked_add(offset)?;
                let kept = if upper { column >= diagonal } else { column <= diagonal };
                let element = elements.next()?;
                if !kept {
                    element.fill(0);
                }
            }
        }
    }
    Some(vec![Tensor::new(x.dtype(), x.shape().to_vec(), out.into()).ok()?])
}
