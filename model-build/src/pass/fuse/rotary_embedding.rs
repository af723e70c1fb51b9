//! Rotary position embeddings.

use super::super::pipeline::{Cx, Rewrite, Set, made_by, nodes_of};
use super::pattern::{Found, add, any, find, op, op_if};
use super::{Fused, MICROSOFT, inputs, is_last_axis, same_shape};
use crate::error::Result;
use crate::hub::{AttrValue, DType, Edit, Node, Tensor, ValueId};

/// Rotary embedding (Su et al., arXiv:2104.09864) of heads `[batch, heads, sequence, width]` by halves.
///
/// ```text
/// before: x · cos(angles ‖ angles) + (-x[.., width/2 ..] ‖ x[.., .. width/2]) · sin(angles ‖ angles)
/// after:  com.microsoft RotaryEmbedding(x, [0], cos(angles), sin(angles))
/// ```
///
/// The angles are `[1, sequence, width/2]`: one row for each place in the sequence, so the tables of the
/// operator are those rows, looked up from position 0 on.
pub(super) static ROTARY_EMBEDDING: Rewrite =
    Rewrite { name: "rotary-embedding", set: Set::OnnxRuntime, run };

fn run(edit: &mut Edit<'_>, cx: &Cx<'_>) -> Result<bool> {
    let high = op("Neg", [op_if("Slice", [any("x")], is_high_half)]);
    let low = op_if("Slice", [any("x")], is_low_half);
    let turned = op_if("Concat", [high, low], is_along_rows);
    let pattern = add(op("Mul", [any("x"), any("cos")]), op("Mul", [turned, any("sin")]));
    let mut changed = false;
    for root in nodes_of(edit, "Add") {
        let Some(found) = find(edit, cx, root, &pattern) else { continue };
        let Some(tables) = Tables::of(edit, cx, &found) else { continue };
        let output = edit.body().node(root).and_then(|n| n.output(0));
        let x = found.value("x")?;
        if cx.rank(x) != Some(4)
            || cx.dtype(x) != Some(DType::F32)
            || !output.is_some_and(|y| same_shape(cx, x, y))
        {
            continue;
        }
        let [cos, sin] = tables.build(edit)?;
        let start = edit.constant("position_of_first", Tensor::from_i64(vec![1], &[0])?)?;
        let inputs = [Some(x), Some(start), Some(cos), Some(sin)];
        Fused { domain: MICROSOFT, op: "RotaryEmbedding", inputs: &inputs, attrs: Vec::new() }
            .replace(edit, root);
        changed = true;
    }
    Ok(changed)
}

/// The bounds of a Slice of the last axis.
fn bounds(edit: &Edit<'_>, cx: &Cx<'_>, node: &Node) -> Option<(i64, i64, i64)> {
    let x = node.input(0)?;
    let width = cx.shape(x)?.last()?.as_fixed()?;
    let one = |i: usize| match cx.ints(edit, node.input(i)?)?.as_slice() {
        [n] => Some(*n),
        _ => None,
    };
    let (start, end, axis) = (one(1)?, one(2)?, one(3)?);
    let plain = node.input(4).is_none() || one(4) == Some(1);
    let clamp = |n: i64| if n < 0 { n.saturating_add(width) } else { n }.clamp(0, width);
    (plain && is_last_axis(cx, x, axis) && width % 2 == 0)
        .then(|| (clamp(start), clamp(end), width))
}

fn is_high_half(edit: &Edit<'_>, cx: &Cx<'_>, node: &Node) -> bool {
    bounds(edit, cx, node).is_some_and(|(start, end, width)| start == width / 2 && end == width)
}

fn is_low_half(edit: &Edit<'_>, cx: &Cx<'_>, node: &Node) -> bool {
    bounds(edit, cx, node).is_some_and(|(start, end, width)| start == 0 && end == width / 2)
}

fn is_along_rows(_: &Edit<'_>, cx: &Cx<'_>, node: &Node) -> bool {
    let axis = node.attr("axis").and_then(AttrValue::as_int);
    node.inputs.len() == 2
        && node.input(0).zip(axis).is_some_and(|(x, axis)| is_last_axis(cx, x, axis))
}

/// What the tables of cosines and sines are made from.
enum Tables {
    /// `[1, sequence, width/2]`.
    Angles(ValueId),
    /// The tables themselves.
    Known([Tensor; 2]),
}

impl Tables {
    fn of(edit: &Edit<'_>, cx: &Cx<'_>, found: &Found) -> Option<Self> {
        let [x, cos, sin] = ["x", "cos", "sin"].map(|name| found.value(name).ok());
        let (x, cos, sin) = (x?, cos?, sin?);
        let [_, _, sequence, width] = cx.shape(x)? else { return None };
        let table_shape = |value: ValueId| {
            matches!(cx.shape(value), Some([b, n, s, w])
                if b.is(1) && n.is(1) && s.same(sequence) && w.same(width))
        };
        if !table_shape(cos) || !table_shape(sin) {
            return None;
        }
        if let (Some(cos), Some(sin)) = (cx.constant(edit, cos), cx.constant(edit, sin)) {
            return Some(Self::Known([half_of(&cos)?, half_of(&sin)?]));
        }
        let angles = doubled(edit, cx, cos, "Cos")?;
        let half = crate::op::len::Len::fixed(width.as_fixed()? / 2);
        let fits = matches!(cx.shape(angles), Some([b, s, w])
            if b.is(1) && s.same(sequence) && w.same(&half));
        (fits && doubled(edit, cx, sin, "Sin")? == angles).then_some(Self::Angles(angles))
    }

    /// The tables, `[sequence, width/2]`.
    fn build(self, edit: &mut Edit<'_>) -> Result<[ValueId; 2]> {
        match self {
            Self::Known([cos, sin]) => {
                Ok([edit.constant("cos_table", cos)?, edit.constant("sin_table", sin)?])
            }
            Self::Angles(angles) => {
                let axis = edit.constant("angles_axis", Tensor::from_i64(vec![1], &[0])?)?;
                let rows = edit.op("Squeeze", "angles", &[angles, axis], &[])?;
                Ok([
                    edit.op("Cos", "cos_table", &[rows], &[])?,
                    edit.op("Sin", "sin_table", &[rows], &[])?,
                ])
            }
        }
    }
}

/// The angles of a table `[1, 1, sequence, width]` that is a function of `angles ‖ angles`.
fn doubled(edit: &Edit<'_>, cx: &Cx<'_>, table: ValueId, function: &str) -> Option<ValueId> {
    let flat = match made_by(edit, table, "Unsqueeze").or_else(|| made_by(edit, table, "Reshape")) {
        Some((_, node)) => node.input(0)?,
        None => table,
    };
    let (_, node) = made_by(edit, flat, function)?;
    let (_, node) = made_by(edit, node.input(0)?, "Concat")?;
    let [a, b] = inputs(node)?;
    let axis = node.attr("axis").and_then(AttrValue::as_int)?;
    (a == b && node.inputs.len() == 2 && is_last_axis(cx, a, axis)).then_some(a)
}

/// The first half of the columns of `[1, 1, rows, columns]`, if the second is the same.
fn half_of(table: &Tensor) -> Option<Tensor> {
    let &[_, _, rows, columns] = table.shape() else { return None };
    let values = table.to_f32().ok()?;
    let width = usize::try_from(columns).ok().filter(|w| *w > 0)?;
    let mut half = Vec::new();
    for row in values.chunks_exact(width) {
        let (a, b) = row.split_at(width / 2);
        if a != b {
            return None;
        }
        half.extend_from_slice(a);
    }
    Tensor::from_f32(vec![rows, columns / 2], &half).ok()
}
