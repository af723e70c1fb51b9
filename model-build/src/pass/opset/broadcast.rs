//! Broadcasting where old definitions have none: `Sum`, `Mean`, `Max`, `Min` and `Expand` before opset
//! 8, `Where` before opset 9.
//!
//! ```text
//! before (opset 8): a [2, 3], b [3], c [1] ─▶ Sum ─▶ y
//! after  (opset 7): a, b ─▶ Add ─▶ Add (c) ─▶ y
//! ```

use super::site::Site;
use super::{Refusal, Step, keep};
use crate::error::Result;
use crate::hub::{AttrValue, DType, ValueId};

/// Adds nodes that repeat a tensor of known shape to another shape.
fn spread(site: &mut Site<'_, '_>, x: ValueId, from: &[i64], to: &[i64]) -> Result<ValueId> {
    if from == to {
        return Ok(x);
    }
    let mut padded = vec![1; to.len().saturating_sub(from.len())];
    padded.extend(from);
    let x = if padded.len() == from.len() {
        x
    } else {
        let shape = site.list(&padded)?;
        site.op("Reshape", &[x, shape], &[])?
    };
    let repeats: Vec<i64> =
        padded.iter().zip(to).map(|(f, t)| if f == t { 1 } else { *t }).collect();
    let repeats = site.list(&repeats)?;
    site.op("Tile", &[x, repeats], &[])
}

/// NumPy's broadcast of shapes.
fn joined(shapes: &[Vec<i64>]) -> Option<Vec<i64>> {
    let rank = shapes.iter().map(Vec::len).max()?;
    let mut out = vec![1; rank];
    for shape in shapes {
        let lead = rank - shape.len();
        for (o, d) in out[lead..].iter_mut().zip(shape) {
            match (*o, *d) {
                (a, b) if a == b || b == 1 => {}
                (1, b) => *o = b,
                _ => return None,
            }
        }
    }
    Some(out)
}

/// The inputs repeated to one shape, all of which must be known, and that shape.
fn aligned(site: &mut Site<'_, '_>) -> Result<(Vec<ValueId>, Vec<i64>)> {
    let count = site.node.inputs.len();
    let shapes = (0..count)
        .map(|i| site.fixed_shape(i))
        .collect::<Option<Vec<_>>>()
        .ok_or_else(|| site.unknown("the shape of an input"))?;
    let to = joined(&shapes).ok_or_else(|| site.unknown("how the inputs broadcast"))?;
    let mut out = Vec::new();
    for (i, from) in shapes.iter().enumerate() {
        let x = site.input(i)?;
        out.push(spread(site, x, from, &to)?);
    }
    Ok((out, to))
}

fn same_shapes(site: &Site<'_, '_>) -> bool {
    let shapes: Vec<_> = (0..site.node.inputs.len()).map(|i| site.try_shape(i)).collect();
    shapes.len() < 2
        || shapes
            .iter()
            .all(|s| s.is_some_and(|s| !s.contains(&crate::hub::Dim::Unknown)) && *s == shapes[0])
}

fn extreme_down(site: &mut Site<'_, '_>) -> Result<()> {
    if same_shapes(site) {
        return Ok(());
    }
    let (inputs, _) = aligned(site)?;
    for (i, x) in inputs.into_iter().enumerate() {
        site.set_input(i, Some(x));
    }
    site.put();
    Ok(())
}

fn sum_down(site: &mut Site<'_, '_>) -> Result<()> {
    if same_shapes(site) {
        return Ok(());
    }
    let inputs: Vec<ValueId> = site.node.inputs.iter().copied().flatten().collect();
    let mean = site.node.op == "Mean";
    let [first, middle @ .., last] = inputs.as_slice() else { return Ok(()) };
    let mut sum = *first;
    for x in middle {
        sum = site.op("Add", &[sum, *x], &[])?;
    }
    if !mean {
        site.become_op("Add", &[sum, *last], &[]);
        return Ok(());
    }
    let sum = site.op("Add", &[sum, *last], &[])?;
    let dtype = site.dtype(0)?;
    #[allow(clippy::cast_precision_loss)] // a count of inputs
    let count = site.number(dtype, inputs.len() as f64)?;
    site.become_op("Div", &[sum, count], &[]);
    Ok(())
}

fn expand_down(site: &mut Site<'_, '_>) -> Result<()> {
    let target = site.ints(1, "shape")?.unwrap_or_default();
    let from = site.fixed_shape(0).ok_or_else(|| site.unknown("the shape of input 0"))?;
    let to = joined(&[from.clone(), target]).ok_or_else(|| site.unknown("the shape"))?;
    let x = site.input(0)?;
    let y = spread(site, x, &from, &to)?;
    site.become_op("Identity", &[y], &[]);
    Ok(())
}

/// `Where` over more elements than this would take a table of as many indices.
const MOST: i64 = 1 << 20;

/// Integers and truth values are picked by arithmetic: `y + c (x - y)`, which wraps to the very number,
/// and `(c and x) or (not c and y)`.
fn where_whole(site: &mut Site<'_, '_>, dtype: DType) -> Result<()> {
    let (condition, x, y) = (site.input(0)?, site.input(1)?, site.input(2)?);
    if dtype == DType::Bool {
        let other = site.op("Not", &[condition], &[])?;
        let (x, y) = (site.op("And", &[condition, x], &[])?, site.op("And", &[other, y], &[])?);
        site.become_op("Or", &[x, y], &[]);
        return Ok(());
    }
    let factor = site.cast(condition, dtype)?;
    let apart = site.op("Sub", &[x, y], &[])?;
    let moved = site.op("Mul", &[factor, apart], &[])?;
    site.become_op("Add", &[y, moved], &[]);
    Ok(())
}

/// Of other elements both sides stand in one list, from which one is picked by its place and the
/// condition: arithmetic would make NaN of an infinity that is not picked.
fn where_down(site: &mut Site<'_, '_>) -> Result<()> {
    use DType::{Bool, I32, I64, U32, U64};
    if let Some(dtype @ (Bool | I32 | I64 | U32 | U64)) = site.try_dtype(1) {
        return where_whole(site, dtype);
    }
    let (inputs, shape) = aligned(site)?;
    let [condition, x, y] = inputs[..] else { return Err(site.unknown("an input")) };
    let count = shape.iter().try_fold(1i64, |n, d| n.checked_mul(*d)).filter(|n| *n <= MOST);
    let count = count.ok_or_else(|| {
        site.refuse(Refusal::NoOperator, "`Where` does not exist, and the tensors are large")
    })?;
    let flat = site.list(&[-1])?;
    let x = site.op("Reshape", &[x, flat], &[])?;
    let y = site.op("Reshape", &[y, flat], &[])?;
    let both = site.op("Concat", &[x, y], &[("axis", AttrValue::Int(0))])?;
    let condition = site.op("Reshape", &[condition, flat], &[])?;
    let condition = site.cast(condition, I64)?;
    let step = site.list(&[count])?;
    let back = site.op("Mul", &[condition, step], &[])?;
    let second: Vec<i64> = (count..2 * count).collect();
    let second = site.list(&second)?;
    let at = site.op("Sub", &[second, back], &[])?;
    let picked = site.op("Gather", &[both, at], &[("axis", AttrValue::Int(0))])?;
    let shape = site.list(&shape)?;
    site.become_op("Reshape", &[picked, shape], &[]);
    Ok(())
}

pub(super) static STEPS: &[Step] = &[
    Step { op: "Expand", version: 8, up: keep, down: expand_down },
    Step { op: "Max", version: 8, up: keep, down: extreme_down },
    Step { op: "Mean", version: 8, up: keep, down: sum_down },
    Step { op: "Min", version: 8, up: keep, down: extreme_down },
    Step { op: "Sum", version: 8, up: keep, down: sum_down },
    Step { op: "Where", version: 9, up: keep, down: where_down },
];
