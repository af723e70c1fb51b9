//! `Cast`, `CastLike`: another element type, the same shape.

use super::View;
use super::cx::{Cx, Fact};
use crate::error::{Error, Result};
use crate::hub::{AttrValue, DType, Node, ValueId};

/// A `Cast` node.
#[derive(Clone, Copy, Debug)]
pub struct Cast {
    /// What is cast.
    pub input: ValueId,
    /// The element type it is cast to.
    pub to: DType,
}

impl View for Cast {
    const OP: &'static str = "Cast";
    fn view(node: &Node) -> Result<Self> {
        let fail = |m: &str| Error::malformed(m).item(node.label());
        let to = node
            .attr("to")
            .and_then(AttrValue::as_int)
            .and_then(DType::of_number)
            .ok_or_else(|| fail("attribute `to` is missing or no element type"))?;
        Ok(Self { input: node.input(0).ok_or_else(|| fail("the input is missing"))?, to })
    }
}

fn carry(cx: &Cx<'_>, to: Option<DType>) -> Vec<Fact> {
    let exact = matches!(to, Some(DType::I64 | DType::I32))
        || (to == Some(DType::Bool) && cx.dtype(0) == Some(DType::Bool));
    let data = cx.data(0).filter(|_| exact).map(<[_]>::to_vec);
    vec![Fact { dtype: to, shape: cx.shape(0).map(<[_]>::to_vec), data }]
}

/// `Cast` takes the type from `to`; opset 1 spells it in letters, which is left unknown.
fn cast(cx: &Cx<'_>) -> Result<Vec<Fact>> {
    if cx.opset() < 6 {
        return Ok(carry(cx, None));
    }
    Ok(carry(cx, Some(Cast::view(cx.node())?.to)))
}

fn cast_like(cx: &Cx<'_>) -> Result<Vec<Fact>> {
    Ok(carry(cx, cx.dtype(1)))
}

defs! {
    CAST = "Cast", 1, cast;
    CAST_LIKE = "CastLike", 15, cast_like;
}
