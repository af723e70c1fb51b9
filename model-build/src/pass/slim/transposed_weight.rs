//! A large weight that is transposed is transposed while it is written.

use super::super::pipeline::{Cx, Rewrite, Set, nodes_of};
use super::{is_output, perm};
use crate::arch;
use crate::error::Result;
use crate::hub::{DType, Edit};

/// ```text
/// before: w [n, k] ─▶ Transpose(1, 0) ─▶ MatMul(x, ·) ─▶ y
/// after:  MatMul(x, wᵀ [k, n]) ─▶ y
/// ```
///
/// For matrices of `f32` whose bytes need not be computed; small constants of any shape are what
/// `fold-constants` is for.
pub(in super::super) static TRANSPOSED_WEIGHT: Rewrite =
    Rewrite { name: "transposed-weight", set: Set::Graph, run };

fn run(edit: &mut Edit<'_>, cx: &Cx<'_>) -> Result<bool> {
    let mut changed = false;
    for id in nodes_of(edit, "Transpose") {
        let Some(node) = edit.body().node(id) else { continue };
        let (Some(input), Some(output)) = (node.input(0), node.output(0)) else { continue };
        if is_output(edit, output) || perm(cx, node).as_deref() != Some(&[1, 0]) {
            continue;
        }
        let fits = |dtype: DType, rank: usize| dtype == DType::F32 && rank == 2;
        let weight = cx.constant(edit, input).filter(|t| {
            fits(t.dtype(), t.shape().len()) && t.ready_bytes().is_some() && !t.is_empty()
        });
        let Some(weight) = weight else { continue };
        let turned = arch::transposed(&edit.body().value(input).name, &weight)?;
        edit.remove(id);
        edit.set_constant(output, turned);
        changed = true;
    }
    Ok(changed)
}
