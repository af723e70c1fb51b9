//! What becomes of constants that a half type cannot hold.

use std::collections::HashSet;

use super::weight::{Half, Reach, narrowed, reach};
use crate::error::Result;
use crate::hub::{Edit, Tensor, Use, ValueId};

/// A constant in a half type, or the reason to leave it in f32.
pub(super) enum Fate {
    /// It becomes this.
    Half(Tensor),
    /// It stays, and the nodes that read it compute in f32.
    Stays,
}

/// Decides by the value and by what reads it; see the pass.
pub(super) fn fate(edit: &Edit<'_>, id: ValueId, tensor: &Tensor, half: Half) -> Result<Fate> {
    if tensor.len() == 1
        && let Some(v) = tensor.to_f32()?.first().copied()
        && v != 0.0
        && v.abs() < half.least_normal()
    {
        return small(edit, id, tensor, half, v);
    }
    Ok(match reach(tensor, half)? {
        Reach { above: false, below: false } => Fate::Half(narrowed(tensor, half, None)?),
        Reach { above: false, below: true } if only_masks(edit, id) => {
            Fate::Half(narrowed(tensor, half, Some(half.round(-half.max() / 2.0)))?)
        }
        _ => Fate::Stays,
    })
}

/// A lone number that a half type holds with less precision or not at all.
fn small(edit: &Edit<'_>, id: ValueId, tensor: &Tensor, half: Half, v: f32) -> Result<Fate> {
    let guards = edit.uses(id).iter().all(|u| match u {
        Use::Input(node, i) => edit
            .body()
            .node(*node)
            .is_some_and(|n| n.is("Add") || n.is("Max") || (n.is("Clip") && *i == 1)),
        Use::Captured(_) | Use::Output(_) => false,
    });
    if !guards {
        return Ok(Fate::Stays);
    }
    if half.round(v) != 0.0 {
        return Ok(Fate::Half(narrowed(tensor, half, None)?));
    }
    let least = Tensor::from_f32(tensor.shape().to_vec(), &[half.least().copysign(v)])?;
    Ok(Fate::Half(narrowed(&least, half, None)?))
}

/// Whether everything that is computed from a value by moving, masking and adding ends as the input
/// of a softmax.
fn only_masks(edit: &Edit<'_>, from: ValueId) -> bool {
    let mut seen = HashSet::new();
    let mut open = vec![from];
    while let Some(id) = open.pop() {
        if !seen.insert(id) {
            continue;
        }
        let uses = edit.uses(id);
        if uses.is_empty() {
            return false;
        }
        for place in uses {
            let Use::Input(node, i) = place else { return false };
            let Some(node) = edit.body().node(*node) else { return false };
            if !node.is(&node.op) {
                return false;
            }
            let passes = match node.op.as_str() {
                "Softmax" | "LogSoftmax" => continue,
                "Attention" if *i == 3 => continue,
                "Add" | "Mul" | "Identity" | "Concat" | "Max" | "Min" => true,
                "Where" => *i > 0,
                "Expand" | "Reshape" | "Slice" | "Squeeze" | "Tile" | "Transpose" | "Unsqueeze" => {
                    *i == 0
                }
                _ => false,
            };
            if !passes {
                return false;
            }
            open.extend(node.outputs.iter().flatten());
        }
    }
    true
}
