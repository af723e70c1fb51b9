//! What is added to attention scores, as attention operators take it.

use super::super::pipeline::Cx;
use super::Fused;
use super::symbolic::{COORDINATES, Condition, Element, Leaf, element};
use crate::error::Result;
use crate::hub::{AttrValue, DType, Edit, ValueId};
use crate::op::len::Len;

/// The lengths of the axes of attention scores.
#[derive(Clone)]
pub(super) struct Scores {
    pub(super) batch: Len,
    pub(super) heads: Len,
    pub(super) query: Len,
    pub(super) key: Len,
}

/// What is added to the scores.
#[derive(Clone, Default)]
pub(super) struct Mask {
    /// `[batch, key]`: a key takes part where it is not zero; `fill` is added elsewhere.
    pub(super) keys: Option<ValueId>,
    /// Keys behind the query take no part.
    pub(super) causal: bool,
    /// A tensor `[batch or 1, heads or 1, query, key]` that is added.
    pub(super) bias: Option<ValueId>,
    /// What keys that take no part get.
    pub(super) fill: Option<f32>,
    /// Whether `fill` or the bias may be infinite.
    pub(super) infinite: bool,
}

/// Reads the terms of a sum: at most one tensor, one mask of keys or the causal mask. `None` where
/// no attention operator takes what they are.
pub(super) fn read(
    edit: &Edit<'_>,
    cx: &Cx<'_>,
    scores: &Scores,
    terms: &[ValueId],
) -> Option<Mask> {
    let mut mask = Mask::default();
    for term in terms {
        match simple(edit, cx, scores, *term) {
            Some((keys, causal, fill)) if mask.fill.is_none() && !(causal && keys.is_some()) => {
                mask.keys = keys;
                mask.causal = causal;
                mask.fill = Some(fill);
                mask.infinite |= fill.is_infinite();
            }
            _ if mask.bias.is_none() && is_bias(cx, scores, *term) => {
                mask.bias = Some(*term);
                mask.infinite |= !is_finite(edit, cx, scores, *term);
            }
            _ => return None,
        }
    }
    Some(mask)
}

fn position() -> [Len; 4] {
    COORDINATES.map(Len::name)
}

/// Whether a term is zero everywhere, whatever it is computed from.
pub(super) fn is_nothing(edit: &Edit<'_>, cx: &Cx<'_>, scores: &Scores, term: ValueId) -> bool {
    element_of(edit, cx, scores, term) == Some(Element::Float(0.0))
}

/// What the mask's element at `[b, h, i, j]` is: a pick between 0 and a fill.
fn pick(edit: &Edit<'_>, cx: &Cx<'_>, scores: &Scores, term: ValueId) -> Option<(Condition, f32)> {
    match element_of(edit, cx, scores, term)? {
        Element::Pick(c, 0.0, fill) if fill < 0.0 => Some((c, fill)),
        Element::Pick(c, fill, 0.0) if fill < 0.0 => Some((c.not(), fill)),
        _ => None,
    }
}

/// An element of a term that is broadcast to the scores.
fn element_of(edit: &Edit<'_>, cx: &Cx<'_>, scores: &Scores, term: ValueId) -> Option<Element> {
    let at = position();
    let shape = cx.shape(term)?;
    let skipped = at.len().checked_sub(shape.len())?;
    let lengths = [&scores.batch, &scores.heads, &scores.query, &scores.key];
    let fits = shape.iter().zip(&lengths[skipped..]).all(|(n, m)| n.is(1) || n.same(m));
    element(edit, cx, term, &at[skipped..]).filter(|_| fits)
}

/// A mask of keys, or the causal mask: `(keys, causal, fill)`.
fn simple(
    edit: &Edit<'_>,
    cx: &Cx<'_>,
    scores: &Scores,
    term: ValueId,
) -> Option<(Option<ValueId>, bool, f32)> {
    let (condition, fill) = pick(edit, cx, scores, term)?;
    match condition {
        Condition::Set(leaf) => Some((Some(keys(cx, scores, &leaf)?), false, fill)),
        condition if is_causal(scores, &condition) => Some((None, true, fill)),
        _ => None,
    }
}

/// A tensor `[batch, key]` whose element for `[b, ·, ·, j]` is looked at.
fn keys(cx: &Cx<'_>, scores: &Scores, leaf: &Leaf) -> Option<ValueId> {
    let [batch, .., key] = position();
    let shape = cx.shape(leaf.value)?;
    let integral = matches!(cx.dtype(leaf.value)?, DType::Bool | DType::I32 | DType::I64);
    (integral
        && leaf.at == [batch, key]
        && matches!(shape, [b, k] if b.same(&scores.batch) && k.same(&scores.key)))
    .then_some(leaf.value)
}

fn is_causal(scores: &Scores, condition: &Condition) -> bool {
    let [.., query, key] = position();
    scores.query.same(&scores.key) && *condition == Condition::AtMost(key, query)
}

/// Whether a tensor has the shape of an attention bias: broadcast along batch and heads only.
fn is_bias(cx: &Cx<'_>, scores: &Scores, term: ValueId) -> bool {
    let Some([batch, heads, query, key]) = cx.shape(term) else { return false };
    let is = |n: &Len, m: &Len| n.is(1) || n.same(m);
    cx.dtype(term) == Some(DType::F32)
        && is(batch, &scores.batch)
        && is(heads, &scores.heads)
        && query.same(&scores.query)
        && key.same(&scores.key)
}

fn is_finite(edit: &Edit<'_>, cx: &Cx<'_>, scores: &Scores, term: ValueId) -> bool {
    pick(edit, cx, scores, term).is_some_and(|(_, fill)| fill.is_finite())
}

/// Whether a mask picks between 0 and a number that scores can be added to: not the least one, which
/// ONNX Runtime's `Attention` of the standard domain takes as a sign to give 0 where it fills a row.
pub(super) fn is_moderate(edit: &Edit<'_>, cx: &Cx<'_>, scores: &Scores, term: ValueId) -> bool {
    pick(edit, cx, scores, term).is_some_and(|(_, fill)| fill > LEAST_MODERATE)
}

/// Far above the least f32, far below any score.
const LEAST_MODERATE: f32 = -1e30;

/// The mask of keys as i32, as the operators of `com.microsoft` read it.
pub(super) fn keys_as_i32(edit: &mut Edit<'_>, cx: &Cx<'_>, keys: ValueId) -> Result<ValueId> {
    if cx.dtype(keys) == Some(DType::I32) {
        return Ok(keys);
    }
    as_i32(edit, keys)
}

/// A value cast to i32, once for all that ask.
pub(super) fn as_i32(edit: &mut Edit<'_>, value: ValueId) -> Result<ValueId> {
    let to = AttrValue::Int(DType::I32.number());
    let made = edit.uses(value).iter().find_map(|u| {
        let crate::hub::Use::Input(node, 0) = u else { return None };
        let node = edit.body().node(*node).filter(|n| n.is("Cast"))?;
        (node.attr("to").and_then(AttrValue::as_int) == Some(DType::I32.number()))
            .then(|| node.output(0))
            .flatten()
    });
    if let Some(made) = made {
        return Ok(made);
    }
    let hint = format!("{}_i32", edit.body().value(value).name);
    let inputs = [Some(value)];
    Fused { domain: "", op: "Cast", inputs: &inputs, attrs: vec![("to", to)] }.add(edit, &hint)
}
