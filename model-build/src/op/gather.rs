//! `Gather`, `GatherElements`, `GatherND`: elements picked by index.

use super::cx::{Cx, Fact};
use super::len::Len;
use crate::error::Result;

/// `axis` of the data is replaced by the axes of the indices.
fn gather(cx: &Cx<'_>) -> Result<Vec<Fact>> {
    cx.want_rank_at_least(0, 1)?;
    let (Some(data), Some(indices)) = (cx.shape(0), cx.shape(1)) else {
        return Ok(vec![Fact::new(cx.dtype(0), None)]);
    };
    let axis = cx.axis(cx.int_or("axis", 0)?, data.len())?;
    let shape: Vec<Len> =
        data[..axis].iter().chain(indices).chain(&data[axis + 1..]).cloned().collect();
    let picked = match (cx.data(0), cx.ints(1)) {
        (Some(from), Some(at)) if shape.len() <= 1 && data.len() == 1 => at
            .iter()
            .map(|i| from.get(cx.axis(*i, from.len()).ok()?).cloned())
            .collect::<Option<Vec<_>>>(),
        _ => None,
    };
    Ok(vec![Fact { dtype: cx.dtype(0), shape: Some(shape), data: picked }])
}

/// The shape of the indices.
fn gather_elements(cx: &Cx<'_>) -> Result<Vec<Fact>> {
    if let (Some(a), Some(b)) = (cx.rank(0), cx.rank(1)) {
        if a != b {
            return Err(cx.fail(format!(
                "data {} and indices {} are of different rank",
                cx.fact(0).shape_text(),
                cx.fact(1).shape_text()
            )));
        }
        cx.axis(cx.int_or("axis", 0)?, a)?;
    }
    Ok(vec![Fact::new(cx.dtype(0), cx.shape(1).map(<[_]>::to_vec))])
}

/// The leading axes of the indices, then the axes of the data that an index does not reach.
fn gather_nd(cx: &Cx<'_>) -> Result<Vec<Fact>> {
    let unknown = Ok(vec![Fact::new(cx.dtype(0), None)]);
    let (Some(data), Some([lead @ .., last])) = (cx.shape(0), cx.shape(1)) else { return unknown };
    let Some(depth) = last.as_fixed() else { return unknown };
    let batch = cx.int_or("batch_dims", 0)?;
    let rest = depth
        .checked_add(batch)
        .and_then(|n| usize::try_from(n).ok())
        .and_then(|n| data.get(n..))
        .ok_or_else(|| {
            cx.fail(format!(
                "an index of {depth} after {batch} batch axes reaches past data of shape {}",
                cx.fact(0).shape_text()
            ))
        })?;
    Ok(vec![Fact::new(cx.dtype(0), Some(lead.iter().chain(rest).cloned().collect()))])
}

defs! {
    GATHER = "Gather", 1, gather;
    GATHER_ELEMENTS = "GatherElements", 11, gather_elements;
    GATHER_ND = "GatherND", 11, gather_nd;
}
