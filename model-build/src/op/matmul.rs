//! `MatMul`, `MatMulInteger`, `QLinearMatMul`: NumPy's matrix product.

use super::View;
use super::cx::{Cx, Fact};
use super::len::Len;
use crate::error::{Error, Result};
use crate::hub::{DType, Node, ValueId};

/// A `MatMul` node: `[.., m, k] × [.., k, n]`, the leading axes broadcast.
#[derive(Clone, Copy, Debug)]
pub struct MatMul {
    /// The left factor.
    pub a: ValueId,
    /// The right factor.
    pub b: ValueId,
    /// The product.
    pub output: ValueId,
}

impl View for MatMul {
    const OP: &'static str = "MatMul";
    fn view(node: &Node) -> Result<Self> {
        match (node.input(0), node.input(1), node.output(0)) {
            (Some(a), Some(b), Some(output)) => Ok(Self { a, b, output }),
            _ => Err(Error::malformed("two inputs and an output are wanted").item(node.label())),
        }
    }
}

/// The shape of the product of inputs `a` and `b`.
fn shape(cx: &Cx<'_>, a: usize, b: usize) -> Result<Option<Vec<Len>>> {
    let (Some(x), Some(y)) = (cx.shape(a), cx.shape(b)) else { return Ok(None) };
    if x.is_empty() || y.is_empty() {
        return Err(cx.fail(format!(
            "a scalar has no matrix product: {} by {}",
            cx.fact(a).shape_text(),
            cx.fact(b).shape_text()
        )));
    }
    let (rows, inner_x) = (x.len().checked_sub(2), &x[x.len() - 1]);
    let (inner_y, columns) = match y {
        [k] => (k, None),
        [.., k, n] => (k, Some(n)),
        [] => return Ok(None),
    };
    if inner_x.contradicts(inner_y) {
        return Err(cx.fail(format!(
            "the inner lengths differ: {} by {}",
            cx.fact(a).shape_text(),
            cx.fact(b).shape_text()
        )));
    }
    let lead = cx.broadcast_shapes(&x[..rows.unwrap_or(0)], &y[..y.len().saturating_sub(2)])?;
    Ok(Some(lead.into_iter().chain(rows.map(|r| x[r].clone())).chain(columns.cloned()).collect()))
}

fn matmul(cx: &Cx<'_>) -> Result<Vec<Fact>> {
    Ok(vec![Fact::new(cx.dtype(0).or(cx.dtype(1)), shape(cx, 0, 1)?)])
}

fn matmul_integer(cx: &Cx<'_>) -> Result<Vec<Fact>> {
    Ok(vec![Fact::new(Some(DType::I32), shape(cx, 0, 1)?)])
}

/// Inputs: a, scale, zero point, b, scale, zero point, output scale, output zero point.
fn qlinear_matmul(cx: &Cx<'_>) -> Result<Vec<Fact>> {
    Ok(vec![Fact::new(cx.dtype(7), shape(cx, 0, 3)?)])
}

defs! {
    MAT_MUL = "MatMul", 1, matmul;
    MAT_MUL_INTEGER = "MatMulInteger", 10, matmul_integer;
    Q_LINEAR_MAT_MUL = "QLinearMatMul", 10, qlinear_matmul;
}
