//! A product of matrices and a sum become one `Gemm`.

use super::super::pipeline::{Cx, Rewrite, Set, nodes_of, only_use};
use super::operands;
use crate::error::Result;
use crate::hub::{DType, Edit, Node, ValueId};

/// ```text
/// before: x [m, k] ─▶ MatMul(w [k, n]) ─▶ Add(·, b [n]) ─▶ y
/// after:  x [m, k] ─▶ Gemm(w, b) ─▶ y
/// ```
///
/// Not before a quantization, which looks for weights of `MatMul`. Where both factors are known to be matrices of floats and the other term is `[n]`, `[1, n]` or
/// `[m, n]`.
pub(in super::super) static MATMUL_ADD: Rewrite =
    Rewrite { name: "matmul-add", set: Set::Layer, run };

fn run(edit: &mut Edit<'_>, cx: &Cx<'_>) -> Result<bool> {
    let mut changed = false;
    if cx.opset() < 7 || cx.options.open {
        return Ok(false);
    }
    for id in nodes_of(edit, "Add") {
        let Some(node) = edit.body().node(id) else { continue };
        let (Some(output), name) = (node.output(0), node.name.clone()) else { continue };
        let found = operands(node).into_iter().find_map(|(product, term)| {
            let (product, term) = (product?, term?);
            only_use(edit, product)?;
            let at = edit.producer(product)?;
            let matmul = edit.body().node(at).filter(|n| n.is("MatMul"))?;
            let (a, b) = (matmul.input(0)?, matmul.input(1)?);
            fits(cx, a, b, product, term).then_some((at, [a, b, term]))
        });
        let Some((matmul, inputs)) = found else { continue };
        edit.remove(matmul);
        edit.replace(id, Node { name, ..Node::new("Gemm", &inputs, &[output]) });
        changed = true;
    }
    Ok(changed)
}

fn fits(cx: &Cx<'_>, a: ValueId, b: ValueId, product: ValueId, term: ValueId) -> bool {
    let float = matches!(cx.dtype(product), Some(DType::F32 | DType::F64 | DType::F16))
        && cx.dtype(term) == cx.dtype(product);
    let (Some([m, n]), Some(add)) = (cx.shape(product), cx.shape(term)) else { return false };
    let spreads = match add {
        [columns] => columns.same(n),
        [rows, columns] => columns.same(n) && (rows.is(1) || rows.same(m)),
        _ => false,
    };
    float && spreads && cx.rank(a) == Some(2) && cx.rank(b) == Some(2)
}
