//! `Squeeze`, `Unsqueeze`: axes of length 1 dropped or added.

use super::cx::{Cx, Fact};
use super::len::Len;
use crate::error::Result;

/// `axes` is an attribute before opset 13, an input from it on.
fn squeeze(cx: &Cx<'_>) -> Result<Vec<Fact>> {
    let unknown = Ok(vec![Fact { dtype: cx.dtype(0), shape: None, data: None }]);
    let Some(shape) = cx.shape(0) else { return unknown };
    let drop = match cx.axes_arg(1, 13)? {
        Some(Some(axes)) => cx.axes(&axes, shape.len())?,
        Some(None) => return unknown,
        None => {
            if shape.iter().any(|d| d.as_fixed().is_none()) {
                return unknown;
            }
            (0..shape.len()).filter(|i| shape[*i].is(1)).collect()
        }
    };
    if let Some(at) = drop.iter().find(|i| shape[**i].contradicts(&Len::fixed(1))) {
        return Err(cx.fail(format!("axis {at} of {} is not 1", cx.fact(0).shape_text())));
    }
    let out: Vec<Len> =
        (0..shape.len()).filter(|i| !drop.contains(i)).map(|i| shape[i].clone()).collect();
    let data = cx.data(0).map(<[_]>::to_vec);
    Ok(vec![Fact { dtype: cx.dtype(0), shape: Some(out), data }])
}

fn unsqueeze(cx: &Cx<'_>) -> Result<Vec<Fact>> {
    let unknown = Ok(vec![Fact::new(cx.dtype(0), None)]);
    let (Some(shape), Some(Some(axes))) = (cx.shape(0), cx.axes_arg(1, 13)?) else {
        return unknown;
    };
    let rank = shape.len() + axes.len();
    let added = cx.axes(&axes, rank)?;
    let mut rest = shape.iter().cloned();
    let out: Vec<Len> = (0..rank)
        .filter_map(|i| if added.contains(&i) { Some(Len::fixed(1)) } else { rest.next() })
        .collect();
    let data = cx.data(0).filter(|_| rank <= 1).map(<[_]>::to_vec);
    Ok(vec![Fact { dtype: cx.dtype(0), shape: Some(out), data }])
}

defs! {
    SQUEEZE = "Squeeze", 1, squeeze;
    UNSQUEEZE = "Unsqueeze", 1, unsqueeze;
}
