//! Which moments are summed up in one pass over the data.

use crate::error::{Error, Result};
use crate::hub::{Dim, Graph};

/// Most bytes of moments that one pass over the data keeps; values beyond are looked at in another.
const MOST: usize = 256 << 20;

/// The values in groups, each with the length of its rows, so that the moments of a group fit into
/// memory.
///
/// # Errors
/// The last axis of a value is not known.
pub(super) fn groups<'a>(graph: &Graph, names: &'a [String]) -> Result<Vec<Vec<(&'a str, usize)>>> {
    let mut out: Vec<Vec<(&str, usize)>> = Vec::new();
    let mut left = 0;
    for name in names {
        let k = row(graph, name)?;
        let bytes = k.saturating_mul(k).saturating_mul(8);
        match out.last_mut() {
            Some(group) if bytes <= left => {
                left -= bytes;
                group.push((name, k));
            }
            _ => {
                left = MOST.saturating_sub(bytes);
                out.push(vec![(name, k)]);
            }
        }
    }
    Ok(out)
}

fn row(graph: &Graph, name: &str) -> Result<usize> {
    let body = &graph.body;
    let shape = body.find(name).and_then(|id| body.tensor_type(id)?.1);
    let last = shape.and_then(<[_]>::last).and_then(Dim::fixed);
    last.and_then(|n| usize::try_from(n).ok()).ok_or_else(|| {
        Error::unsupported(
            "the last axis of a value is not known, so its moments cannot be summed up",
        )
        .item(name)
        .hint("exclude the node that reads it, or use the algorithm `rtn`")
    })
}
