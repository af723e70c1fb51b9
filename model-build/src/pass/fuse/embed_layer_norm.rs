//! The embeddings of an encoder: look-ups, their sum, the normalization.

use super::super::pipeline::{Cx, Rewrite, Set, made_by};
use super::attention_mask::as_i32;
use super::symbolic::{COORDINATES, Element, element};
use super::{Fused, MICROSOFT, float_or, inputs, int_or, is_last_axis, node_ids, vector_for};
use crate::error::Result;
use crate::hub::{AttrValue, DType, Edit, NodeId, Tensor, Use, ValueId};
use crate::op::len::Len;

/// ```text
/// before: LayerNormalization(Gather(words, ids) + Gather(types, type_ids) + Gather(places, positions))
/// after:  com.microsoft EmbedLayerNormalization(ids, type_ids, words, places, types, γ, β, positions)
/// ```
///
/// Ids are cast to i32. Positions that count from 0 are left out: the operator counts itself. A table of
/// types of which only the first row is looked up is added to the table of places. An index below
/// zero, which Gather counts from the end, is an error of the operator. Not with `open`: a quantization that
/// follows finds tables at Gather.
pub(super) static EMBED_LAYER_NORM: Rewrite =
    Rewrite { name: "embed-layer-norm", set: Set::OnnxRuntime, run };

/// Tables with more elements are not added up.
const LARGEST_SUM: u64 = 1 << 24;

fn run(edit: &mut Edit<'_>, cx: &Cx<'_>) -> Result<bool> {
    if cx.options.open {
        return Ok(false);
    }
    let mut changed = false;
    for root in node_ids(edit) {
        changed |= fuse(edit, cx, root)?;
    }
    Ok(changed)
}

/// A look-up of rows.
#[derive(Clone)]
struct LookUp {
    table: ValueId,
    ids: ValueId,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// Ids `[batch, sequence]`.
    Given,
    /// Positions counted from 0.
    Counted,
    /// Always the first row.
    First,
}

fn fuse(edit: &mut Edit<'_>, cx: &Cx<'_>, root: NodeId) -> Result<bool> {
    let Some(node) = edit.body().node(root).filter(|n| n.is("LayerNormalization")) else {
        return Ok(false);
    };
    let Some([sum, scale, shift]) = inputs(node) else { return Ok(false) };
    let (axis, epsilon) = (int_or(node, "axis", -1), float_or(node, "epsilon", 1e-5));
    let (Some(axis), Some(epsilon)) = (axis, epsilon) else { return Ok(false) };
    if node.outputs.iter().skip(1).flatten().next().is_some()
        || int_or(node, "stash_type", 1) != Some(1)
        || !is_last_axis(cx, sum, axis)
        || cx.dtype(sum) != Some(DType::F32)
        || vector_for(edit, cx, scale, sum).is_none()
        || vector_for(edit, cx, shift, sum).is_none()
    {
        return Ok(false);
    }
    let mut terms = Vec::new();
    let Some(parts) = look_ups(edit, cx, sum, sum, &mut terms).and_then(|()| Parts::of(cx, terms))
    else {
        return Ok(false);
    };
    let Some(places) = parts.places(edit, cx)? else { return Ok(false) };
    let ids = as_i32(edit, parts.words.ids)?;
    let type_ids = parts.types.as_ref().map(|t| as_i32(edit, t.ids)).transpose()?;
    let positions = match parts.places.kind {
        Kind::Given => Some(as_i32(edit, parts.places.ids)?),
        _ => None,
    };
    let inputs = [
        Some(ids),
        type_ids,
        Some(parts.words.table),
        Some(places),
        parts.types.as_ref().map(|t| t.table),
        Some(scale),
        Some(shift),
        None,
        positions,
    ];
    let Some(old) = edit.body().node(root) else { return Ok(false) };
    let (name, output) = (old.name.clone(), old.output(0));
    let attrs = vec![("epsilon", AttrValue::Float(epsilon))];
    let fused = Fused { domain: MICROSOFT, op: "EmbedLayerNormalization", inputs: &inputs, attrs };
    // The second output, left out, must be listed.
    edit.replace(root, fused.node(&name, vec![output, None]));
    Ok(true)
}

/// The look-ups that a sum of values that nothing else reads is made of.
fn look_ups(
    edit: &Edit<'_>,
    cx: &Cx<'_>,
    value: ValueId,
    sum: ValueId,
    out: &mut Vec<LookUp>,
) -> Option<()> {
    // The length that positions are counted up to may be read from the first look-up.
    let others = edit.uses(value).iter().filter(|u| match u {
        Use::Input(node, _) => edit.body().node(*node).is_none_or(|n| !n.is("Shape")),
        Use::Captured(_) | Use::Output(_) => true,
    });
    (others.count() == 1).then_some(())?;
    if let Some((_, node)) = made_by(edit, value, "Add") {
        let [a, b] = inputs(node)?;
        look_ups(edit, cx, a, sum, out)?;
        return look_ups(edit, cx, b, sum, out);
    }
    let (_, node) = made_by(edit, value, "Gather")?;
    let [table, ids] = inputs(node)?;
    let tensor = cx.constant(edit, table)?;
    let [batch, sequence, hidden] = cx.shape(sum)? else { return None };
    let fits = tensor.dtype() == DType::F32
        && matches!(tensor.shape(), [_, width] if hidden.same(&Len::from_u64(*width)))
        && int_or(node, "axis", 0) == Some(0)
        && matches!(cx.dtype(ids)?, DType::I64 | DType::I32);
    let shape = cx.shape(ids)?;
    // Positions cut from a table are no more than it has; a longer sequence fails in either form.
    let length = shape.last()?;
    let cut = length.is_min_with(sequence);
    if !fits || !(length.same(sequence) || cut) || shape.len() > 2 || out.len() > 2 {
        return None;
    }
    let place = Len::name(COORDINATES[2]);
    let position = [Len::name(COORDINATES[0]), place.clone()];
    let kind = match element(edit, cx, ids, &position[2 - shape.len()..])? {
        Element::Int(n) if n == place => Kind::Counted,
        _ if cut => return None,
        Element::Int(n) if n.is(0) => Kind::First,
        _ if shape.len() == 2 && shape.first()?.same(batch) => Kind::Given,
        _ => return None,
    };
    out.push(LookUp { table, ids, kind });
    Some(())
}

/// The look-ups by what they stand for.
struct Parts {
    words: LookUp,
    types: Option<LookUp>,
    places: LookUp,
    first: Option<LookUp>,
}

impl Parts {
    /// Sorts look-ups: the largest table that is not counted is that of words, the smallest of three
    /// that of types.
    fn of(cx: &Cx<'_>, mut all: Vec<LookUp>) -> Option<Self> {
        let rows = |l: &LookUp| cx.shape(l.table).and_then(|s| s.first()?.as_fixed()).unwrap_or(0);
        let take = |all: &mut Vec<LookUp>, kind: Kind| {
            let at = all.iter().position(|l| l.kind == kind)?;
            Some(all.remove(at))
        };
        let counted = take(&mut all, Kind::Counted);
        let first = take(&mut all, Kind::First);
        if all.iter().any(|l| l.kind != Kind::Given) {
            return None;
        }
        all.sort_by_key(|l| std::cmp::Reverse(rows(l)));
        let mut all = all.into_iter();
        let words = all.next()?;
        let ((Some(places), types, None) | (None, Some(places), types)) =
            (counted, all.next(), all.next())
        else {
            return None;
        };
        Some(Self { words, types, places, first })
    }

    /// The table of places, with the first row of `first` added to each.
    fn places(&self, edit: &mut Edit<'_>, cx: &Cx<'_>) -> Result<Option<ValueId>> {
        let Some(first) = &self.first else { return Ok(Some(self.places.table)) };
        let tables = [self.places.table, first.table].map(|t| cx.constant(edit, t));
        let [Some(places), Some(types)] = tables else { return Ok(None) };
        if places.len() > LARGEST_SUM || types.len() > LARGEST_SUM {
            return Ok(None);
        }
        let (mut values, row) = (places.to_f32()?, types.to_f32()?);
        let width = places.shape().last().and_then(|w| usize::try_from(*w).ok()).unwrap_or(0);
        if width == 0 || row.len() < width {
            return Ok(None);
        }
        for line in values.chunks_exact_mut(width) {
            line.iter_mut().zip(&row).for_each(|(a, b)| *a += b);
        }
        let name = format!("{}_and_type", edit.body().value(self.places.table).name);
        let sum = Tensor::from_f32(places.shape().to_vec(), &values)?;
        edit.constant(&name, sum).map(Some)
    }
}
