//! A transposed factor of a `Gemm` is read as it was.

use super::super::pipeline::{Cx, Rewrite, Set, made_by, nodes_of};
use super::super::slim::perm;
use crate::error::Result;
use crate::hub::{AttrValue, Edit};

/// ```text
/// before: w ─▶ Transpose(1, 0) ─▶ Gemm(x, ·, b) ─▶ y
/// after:  Gemm(x, w, b, transB = 1) ─▶ y
/// ```
pub(in super::super) static GEMM_TRANSPOSE: Rewrite =
    Rewrite { name: "gemm-transpose", set: Set::Layer, run };

fn run(edit: &mut Edit<'_>, cx: &Cx<'_>) -> Result<bool> {
    let mut changed = false;
    for id in nodes_of(edit, "Gemm") {
        for (input, name) in [(0, "transA"), (1, "transB")] {
            let Some(node) = edit.body().node(id) else { continue };
            let Some(turned) = node.input(input) else { continue };
            let Some((_, transpose)) = made_by(edit, turned, "Transpose") else { continue };
            let Some(source) = transpose.input(0) else { continue };
            if perm(cx, transpose).as_deref() != Some(&[1, 0]) {
                continue;
            }
            let Some(was) = node.attr(name).map_or(Some(0), AttrValue::as_int) else { continue };
            let mut node = node.clone();
            node.attrs.retain(|a| a.name != name);
            if was == 0 {
                node = node.with(name, AttrValue::Int(1));
            }
            node.inputs[input] = Some(source);
            edit.replace(id, node);
            changed = true;
        }
    }
    Ok(changed)
}
