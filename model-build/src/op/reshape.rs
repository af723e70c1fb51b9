//! `Reshape`, `Flatten`: the same elements under another shape.

use super::cx::{Cx, Fact, shape_text};
use super::len::Len;
use crate::error::Result;

/// The target is an attribute in opset 1, an input from opset 5 on; 0 copies the input's axis
/// unless `allowzero` (opset 14) is set, -1 takes what is left.
fn reshape(cx: &Cx<'_>) -> Result<Vec<Fact>> {
    let target: Option<Vec<Len>> = if cx.opset() < 5 {
        cx.int_list("shape")?.map(|s| s.iter().copied().map(Len::fixed).collect())
    } else {
        cx.data(1).map(<[_]>::to_vec)
    };
    let Some(target) = target else {
        // Without the elements, the length of the shape input still gives the rank.
        let rank = cx.shape(1).and_then(|s| s.first()).and_then(Len::as_fixed);
        let shape = rank
            .and_then(|n| usize::try_from(n).ok())
            .filter(|n| *n <= super::cx::MAX_DATA)
            .map(|n| vec![Len::UNKNOWN; n]);
        return Ok(vec![Fact::new(cx.dtype(0), shape)]);
    };
    let keep_zero = cx.int_or("allowzero", 0)? != 0;
    let mut out = Vec::with_capacity(target.len());
    let mut open = None;
    for (i, want) in target.iter().enumerate() {
        match want.as_fixed() {
            Some(0) if !keep_zero => match cx.shape(0) {
                Some(shape) => out.push(
                    shape
                        .get(i)
                        .ok_or_else(|| {
                            cx.fail(format!(
                                "axis {i} of {} is to be copied from {}",
                                shape_text(Some(&target)),
                                cx.fact(0).shape_text()
                            ))
                        })?
                        .clone(),
                ),
                None => out.push(Len::UNKNOWN),
            },
            Some(-1) => {
                if open.replace(i).is_some() {
                    return Err(
                        cx.fail(format!("{} leaves two axes open", shape_text(Some(&target))))
                    );
                }
                out.push(Len::fixed(1));
            }
            Some(n) if n < 0 => {
                return Err(cx.fail(format!("{} has a negative length", shape_text(Some(&target)))));
            }
            _ => out.push(want.clone()),
        }
    }
    if let Some(shape) = cx.shape(0) {
        // Axes that stand on both sides cancel, unknown ones copied by 0 included.
        let total = Len::product(shape);
        let rest = Len::product(&out);
        match open {
            Some(at) => {
                out[at] = quotient(cx, shape, &target, &out, at)?;
            }
            None if total.contradicts(&rest) => {
                return Err(cx.fail(format!(
                    "{} elements of shape {} do not fit {}",
                    total,
                    cx.fact(0).shape_text(),
                    shape_text(Some(&out))
                )));
            }
            None => {}
        }
    } else if let Some(at) = open {
        out[at] = Len::UNKNOWN;
    }
    let data = cx.data(0).filter(|_| out.len() <= 1).map(<[_]>::to_vec);
    Ok(vec![Fact { dtype: cx.dtype(0), shape: Some(out), data }])
}

/// What the open axis takes.
fn quotient(cx: &Cx<'_>, shape: &[Len], target: &[Len], out: &[Len], open: usize) -> Result<Len> {
    let copied = |i: usize| target.get(i).is_some_and(|t| t.is(0));
    let left = |dims: &[Len], skip: &dyn Fn(usize) -> bool| {
        Len::product(
            &dims
                .iter()
                .enumerate()
                .filter(|(i, _)| !skip(*i))
                .map(|(_, d)| d.clone())
                .collect::<Vec<_>>(),
        )
    };
    let total = left(shape, &|i| copied(i));
    let rest = left(out, &|i| copied(i) || i == open);
    let quotient = total.div_exact(&rest);
    if let (Some(a), Some(b)) = (total.as_fixed(), rest.as_fixed())
        && b != 0
        && !quotient.is_known()
    {
        return Err(cx.fail(format!(
            "{a} elements of shape {} do not divide by the {b} of {}",
            cx.fact(0).shape_text(),
            shape_text(Some(target))
        )));
    }
    Ok(quotient)
}

/// The axes before and after `axis` multiplied.
fn flatten(cx: &Cx<'_>) -> Result<Vec<Fact>> {
    let axis = cx.int_or("axis", 1)?;
    let shape = match cx.shape(0) {
        Some(dims) => {
            let at = if usize::try_from(axis) == Ok(dims.len()) {
                dims.len()
            } else {
                cx.axis(axis, dims.len())?
            };
            let (before, after) = dims.split_at(at);
            vec![Len::product(before), Len::product(after)]
        }
        None => vec![Len::UNKNOWN; 2],
    };
    Ok(vec![Fact::new(cx.dtype(0), Some(shape))])
}

defs! {
    FLATTEN = "Flatten", 1, flatten;
    RESHAPE = "Reshape", 1, reshape;
}
