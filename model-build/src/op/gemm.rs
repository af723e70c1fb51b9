//! `Gemm`: alpha · A · B + beta · C on matrices.

use super::View;
use super::cx::{Cx, Fact};
use crate::error::{Error, Result};
use crate::hub::{AttrValue, Node, ValueId};

/// A `Gemm` node: `alpha · A' · B' + beta · C`, A' and B' transposed if asked for.
#[derive(Clone, Copy, Debug)]
pub struct Gemm {
    /// The left factor, `[m, k]`, or `[k, m]` with `trans_a`.
    pub a: ValueId,
    /// The right factor, `[k, n]`, or `[n, k]` with `trans_b`.
    pub b: ValueId,
    /// The addend; broadcasts to `[m, n]`.
    pub c: Option<ValueId>,
    /// The result.
    pub output: ValueId,
    /// Factor of the product.
    pub alpha: f32,
    /// Factor of the addend.
    pub beta: f32,
    /// Whether A is transposed.
    pub trans_a: bool,
    /// Whether B is transposed.
    pub trans_b: bool,
}

impl View for Gemm {
    const OP: &'static str = "Gemm";
    fn view(node: &Node) -> Result<Self> {
        let fail = |m: String| Error::malformed(m).item(node.label());
        let flag = |name: &str| match node.attr(name) {
            None => Ok(false),
            Some(AttrValue::Int(v)) => Ok(*v != 0),
            Some(_) => Err(fail(format!("attribute `{name}` is not an integer"))),
        };
        let factor = |name: &str| match node.attr(name) {
            None => Ok(1.0),
            Some(AttrValue::Float(v)) => Ok(*v),
            Some(_) => Err(fail(format!("attribute `{name}` is not a float"))),
        };
        let (Some(a), Some(b), Some(output)) = (node.input(0), node.input(1), node.output(0))
        else {
            return Err(fail("two inputs and an output are wanted".to_owned()));
        };
        Ok(Self {
            a,
            b,
            c: node.input(2),
            output,
            alpha: factor("alpha")?,
            beta: factor("beta")?,
            trans_a: flag("transA")?,
            trans_b: flag("transB")?,
        })
    }
}

fn gemm(cx: &Cx<'_>) -> Result<Vec<Fact>> {
    let view = Gemm::view(cx.node())?;
    cx.want_rank(0, 2)?;
    cx.want_rank(1, 2)?;
    let (Some([a0, a1]), Some([b0, b1])) = (cx.shape(0), cx.shape(1)) else {
        return Ok(vec![Fact::new(cx.dtype(0), None)]);
    };
    let (m, ka) = if view.trans_a { (a1, a0) } else { (a0, a1) };
    let (kb, n) = if view.trans_b { (b1, b0) } else { (b0, b1) };
    if ka.contradicts(kb) {
        return Err(cx.fail(format!(
            "the inner lengths differ: {}{} by {}{}",
            cx.fact(0).shape_text(),
            if view.trans_a { " transposed" } else { "" },
            cx.fact(1).shape_text(),
            if view.trans_b { " transposed" } else { "" },
        )));
    }
    let out = vec![m.clone(), n.clone()];
    if cx.opset() >= 7
        && let Some(c) = cx.shape(2)
    {
        cx.broadcast_shapes(&out, c)?;
    }
    Ok(vec![Fact::new(cx.dtype(0), Some(out))])
}

defs! {
    GEMM = "Gemm", 1, gemm;
}
