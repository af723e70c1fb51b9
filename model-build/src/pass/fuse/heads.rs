//! Attention heads: from the axes that heads are split into back to the rows they come from.

use super::super::pipeline::{Cx, made_by};
use super::{Fused, MICROSOFT, inputs, is_microsoft};
use crate::error::Result;
use crate::hub::{AttrValue, Edit, Node, NodeId, Tensor, ValueId};
use crate::op::len::Len;

/// Where heads `[batch, heads, sequence, width]` come from.
#[derive(Clone)]
pub(super) enum Heads {
    /// `[batch, sequence, heads · width]`.
    Flat(ValueId),
    /// `[batch, sequence, heads, width]`.
    Rows(ValueId),
    /// Turned by a RotaryEmbedding of `com.microsoft` after they were split.
    Rotated(NodeId, Box<Heads>),
}

impl Heads {
    /// What `value`, `[batch, heads, sequence, width]`, is split from.
    pub(super) fn of(edit: &Edit<'_>, cx: &Cx<'_>, value: ValueId) -> Option<Self> {
        if let Some(rows) = transposed(edit, value, &[0, 2, 1, 3]) {
            return Some(Self::of_rows(edit, cx, rows));
        }
        let id = edit.producer(value)?;
        let node = edit.body().node(id).filter(|n| is_microsoft(n, "RotaryEmbedding"))?;
        let inner = Self::of(edit, cx, node.input(0)?)?;
        (node.output(0) == Some(value)).then(|| Self::Rotated(id, Box::new(inner)))
    }

    /// What `rows`, `[batch, sequence, heads, width]`, is split from.
    fn of_rows(edit: &Edit<'_>, cx: &Cx<'_>, rows: ValueId) -> Self {
        let flat = || {
            let (_, node) = made_by(edit, rows, "Reshape")?;
            let flat = node.input(0)?;
            let [batch, sequence, heads, width] = cx.shape(rows)? else { return None };
            let [b, s, hidden] = cx.shape(flat)? else { return None };
            (b.same(batch) && s.same(sequence) && hidden.same(&heads.mul(width))).then_some(flat)
        };
        flat().map_or(Self::Rows(rows), Self::Flat)
    }

    /// What the keys `[batch, heads, width, sequence]` are split from, turned for the product with the
    /// queries.
    pub(super) fn of_keys(edit: &Edit<'_>, cx: &Cx<'_>, value: ValueId) -> Option<Keys> {
        if let Some(rows) = transposed(edit, value, &[0, 2, 3, 1]) {
            return Some(Keys::Split(Self::of_rows(edit, cx, rows)));
        }
        if let Some(split) = transposed(edit, value, &[0, 1, 3, 2]) {
            return Some(Keys::Whole(split));
        }
        turned_in_three(edit, cx, value).map(Keys::Whole)
    }

    /// The value `[batch, sequence, heads · width]`, with nodes added where it is not there.
    pub(super) fn flat(&self, edit: &mut Edit<'_>, heads: i64, width: i64) -> Result<ValueId> {
        match self {
            Self::Flat(value) => Ok(*value),
            Self::Rows(rows) => join(edit, *rows, heads.saturating_mul(width)),
            Self::Rotated(id, inner) => {
                let flat = inner.flat(edit, heads, width)?;
                let Some(node) = edit.body().node(*id).cloned() else { return Ok(flat) };
                rotate(edit, &node, flat, heads)
            }
        }
    }
}

/// Keys before they are turned.
pub(super) enum Keys {
    /// What they are split from.
    Split(Heads),
    /// `[batch, heads, sequence, width]`.
    Whole(ValueId),
}

/// What a Transpose with that order is made from.
fn transposed(edit: &Edit<'_>, value: ValueId, order: &[i64]) -> Option<ValueId> {
    let (_, node) = made_by(edit, value, "Transpose")?;
    (node.attr("perm").and_then(AttrValue::as_ints)? == order).then(|| node.input(0)).flatten()
}

/// `[batch, heads, sequence, width]` that is turned as `[batch · heads, sequence, width]`: the form of
/// torch's exporter for `scaled_dot_product_attention`.
fn turned_in_three(edit: &Edit<'_>, cx: &Cx<'_>, value: ValueId) -> Option<ValueId> {
    let (_, outer) = made_by(edit, value, "Reshape")?;
    let middle = transposed(edit, outer.input(0)?, &[0, 2, 1])?;
    let (_, inner) = made_by(edit, middle, "Reshape")?;
    let source = inner.input(0)?;
    let ([b, n, s, w], [_, s3, w3], [b4, n4, w4, s4]) =
        (cx.shape(source)?, cx.shape(middle)?, cx.shape(value)?)
    else {
        return None;
    };
    let same = [(b, b4), (n, n4), (w, w4), (s, s4), (s, s3), (w, w3)];
    same.iter().all(|(x, y)| x.same(y)).then_some(source)
}

/// What heads that stand for several query heads each are repeated from: `[batch, fewer, sequence,
/// width]`, and how many there are.
///
/// ```text
/// Unsqueeze(x, 2) ─▶ Expand [batch, fewer, times, sequence, width] ─▶ Reshape [batch, fewer · times, …]
/// ```
pub(super) fn repeated(edit: &Edit<'_>, cx: &Cx<'_>, value: ValueId) -> Option<(ValueId, i64)> {
    let (_, node) = made_by(edit, value, "Reshape")?;
    let expanded = node.input(0)?;
    let (_, node) = made_by(edit, expanded, "Expand")?;
    let narrow = node.input(0)?;
    let id = edit.producer(narrow)?;
    let node = edit.body().node(id).filter(|n| n.is("Unsqueeze") || n.is("Reshape"))?;
    let source = node.input(0)?;
    let ([b, n, s, w], [b2, n2, one, s2, w2], [b3, n3, times, s3, w3], [b4, n4, s4, w4]) =
        (cx.shape(source)?, cx.shape(narrow)?, cx.shape(expanded)?, cx.shape(value)?)
    else {
        return None;
    };
    let same = |all: [&Len; 4], first: &Len| all.iter().all(|x| x.same(first));
    let fits = one.is(1)
        && same([b, b2, b3, b4], b)
        && same([n, n2, n3, n], n)
        && same([s, s2, s3, s4], s)
        && same([w, w2, w3, w4], w)
        && n.mul(times).same(n4);
    Some((source, n.as_fixed().filter(|_| fits)?))
}

/// `[batch, sequence, heads, width]` as rows of that length.
fn join(edit: &mut Edit<'_>, rows: ValueId, length: i64) -> Result<ValueId> {
    let name = edit.body().value(rows).name.clone();
    let target = Tensor::from_i64(vec![3], &[0, 0, length])?;
    let target = edit.constant(&format!("{name}_rows_shape"), target)?;
    edit.op("Reshape", &format!("{name}_rows"), &[rows, target], &[])
}

/// The rotation that `node` does, of rows whose heads are not split yet.
fn rotate(edit: &mut Edit<'_>, node: &Node, flat: ValueId, heads: i64) -> Result<ValueId> {
    let Some([_, positions, cos, sin]) = inputs(node) else { return Ok(flat) };
    let mut attrs = vec![("num_heads", AttrValue::Int(heads))];
    for name in ["interleaved", "rotary_embedding_dim", "scale"] {
        if let Some(value) = node.attr(name) {
            attrs.push((name, value.clone()));
        }
    }
    let hint = format!("{}_rows", node.name);
    let inputs = [Some(flat), Some(positions), Some(cos), Some(sin)];
    Fused { domain: MICROSOFT, op: "RotaryEmbedding", inputs: &inputs, attrs }.add(edit, &hint)
}
