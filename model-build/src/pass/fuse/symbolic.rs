//! One element of a value as a formula of its position.
//!
//! Exporters compute attention masks and positions by long chains of index arithmetic. What such a
//! chain means is found by asking for one element of its end, at a position whose coordinates are
//! names, and following it backwards: each operator says which elements of its inputs make that
//! element.
//!
//! ```text
//! Unsqueeze(Range(0, n, 1), 0)           at [b, i]        i
//! GreaterOrEqual(·, Unsqueeze(·, 1))     at [i, j]        i ≥ j
//! Gather(Flatten(mask), b · n + j)       at [b, 0, 0, j]  mask[b, j]
//! ```

use super::super::pipeline::Cx;
use super::axis_of;
use crate::hub::{AttrValue, DType, Edit, Node, Tensor, ValueId};
use crate::op::len::Len;

/// An element of a tensor that is computed in a way that is not followed.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Leaf {
    pub(super) value: ValueId,
    pub(super) at: Vec<Len>,
}

/// A condition on elements and positions.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Condition {
    Known(bool),
    /// The element is not zero.
    Set(Leaf),
    /// The first is not above the second.
    AtMost(Len, Len),
    Not(Box<Condition>),
    All(Vec<Condition>),
}

impl Condition {
    fn at_most(a: Len, b: Len) -> Self {
        let (rest, excess) = (b.sub(&a), a.sub(&b).plus(-1));
        if rest.is_non_negative() {
            Self::Known(true)
        } else if excess.is_non_negative() {
            Self::Known(false)
        } else {
            Self::AtMost(a, b)
        }
    }
    pub(super) fn not(self) -> Self {
        match self {
            Self::Known(b) => Self::Known(!b),
            Self::Not(inner) => *inner,
            Self::AtMost(a, b) => Self::at_most(b.plus(1), a),
            other => Self::Not(Box::new(other)),
        }
    }
    fn and(self, other: Self) -> Self {
        let mut all = Vec::new();
        for part in [self, other] {
            match part {
                Self::Known(true) => {}
                Self::Known(false) => return Self::Known(false),
                Self::All(parts) => all.extend(parts),
                part => all.push(part),
            }
        }
        match (all.len(), all.pop()) {
            (_, None) => Self::Known(true),
            (1, Some(only)) => only,
            (_, Some(last)) => {
                all.push(last);
                Self::All(all)
            }
        }
    }
}

/// An element.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Element {
    /// An integer.
    Int(Len),
    /// A float.
    Float(f32),
    /// A boolean; as a number 1 or 0.
    Bool(Condition),
    /// One of two floats.
    Pick(Condition, f32, f32),
    /// An element of a tensor, of whatever type.
    Leaf(Leaf),
}

impl Element {
    fn leaf(value: ValueId, at: &[Len]) -> Self {
        Self::Leaf(Leaf { value, at: at.to_vec() })
    }
    fn condition(self) -> Option<Condition> {
        match self {
            Self::Bool(c) => Some(c),
            Self::Pick(c, yes, no) if yes != 0.0 && no == 0.0 => Some(c),
            Self::Pick(c, yes, no) if yes == 0.0 && no != 0.0 => Some(c.not()),
            Self::Int(n) => Some(Condition::Known(n.as_fixed()? != 0)),
            Self::Float(v) => Some(Condition::Known(v != 0.0)),
            Self::Leaf(leaf) => Some(Condition::Set(leaf)),
            _ => None,
        }
    }
    fn int(self) -> Option<Len> {
        match self {
            Self::Int(n) => Some(n),
            Self::Bool(Condition::Known(b)) => Some(Len::fixed(b.into())),
            _ => None,
        }
    }
    fn float(&self) -> Option<f32> {
        match self {
            Self::Float(v) => Some(*v),
            _ => None,
        }
    }
}

/// Chains longer than this are not followed.
const MOST_STEPS: usize = 200;
/// Constants with more elements than this are not read.
const MOST_ELEMENTS: u64 = 1 << 16;

/// The element of `value` at a position; `None` where that is not known. An element whose computation is not
/// followed is a leaf.
pub(super) fn element(edit: &Edit<'_>, cx: &Cx<'_>, value: ValueId, at: &[Len]) -> Option<Element> {
    Follower { edit, cx, steps: std::cell::Cell::new(0) }.element(value, at)
}

struct Follower<'f, 'e, 'c> {
    edit: &'f Edit<'e>,
    cx: &'f Cx<'c>,
    steps: std::cell::Cell<usize>,
}

impl Follower<'_, '_, '_> {
    fn element(&self, value: ValueId, at: &[Len]) -> Option<Element> {
        self.steps.set(self.steps.get() + 1);
        if self.steps.get() > MOST_STEPS || self.cx.rank(value) != Some(at.len()) {
            return None;
        }
        let at = &self.normal(value, at)?;
        if let Some(tensor) = self.cx.constant(self.edit, value) {
            return constant(&tensor, at);
        }
        if let Some(data) = &self.cx.fact(value).data {
            let i = at.first().map_or(Some(0), |i| usize::try_from(i.as_fixed()?).ok());
            if let Some(n) = i.and_then(|i| data.get(i)).filter(|n| n.is_known()) {
                return Some(match self.cx.dtype(value) {
                    Some(DType::Bool) => Element::Bool(Condition::Known(!n.is(0))),
                    _ => Element::Int(n.clone()),
                });
            }
        }
        let node = self.edit.producer(value).and_then(|id| self.edit.body().node(id));
        let followed = node
            .filter(|n| n.is(&n.op) && n.output(0) == Some(value))
            .and_then(|n| self.node(n, value, at));
        followed.or_else(|| Some(Element::leaf(value, at)))
    }

    /// A position where an axis of length 1 has the coordinate 0.
    fn normal(&self, value: ValueId, at: &[Len]) -> Option<Vec<Len>> {
        let shape = self.cx.shape(value)?;
        Some(
            at.iter()
                .zip(shape)
                .map(|(i, n)| if n.is(1) { Len::fixed(0) } else { i.clone() })
                .collect(),
        )
    }

    /// The element of an input that is broadcast to the output's shape.
    fn broadcast(&self, input: ValueId, at: &[Len], output: ValueId) -> Option<Element> {
        let shape = self.cx.shape(input)?;
        let out = self.cx.shape(output)?;
        let skipped = at.len().checked_sub(shape.len())?;
        let position: Option<Vec<Len>> = shape
            .iter()
            .zip(at.iter().zip(out).skip(skipped))
            .map(|(n, (i, m))| match () {
                () if n.is(1) => Some(Len::fixed(0)),
                () if n.same(m) => Some(i.clone()),
                () => None,
            })
            .collect();
        self.element(input, &position?)
    }

    fn node(&self, node: &Node, value: ValueId, at: &[Len]) -> Option<Element> {
        let input = |i: usize| node.input(i);
        let spread = |i: usize| self.broadcast(input(i)?, at, value);
        match node.op.as_str() {
            "Identity" => self.element(input(0)?, at),
            "Cast" => self.cast(self.element(input(0)?, at)?, value),
            "Expand" => spread(0),
            "Add" | "Sub" | "Mul" => {
                let (a, b) = (self.flag(spread(0)?, value), self.flag(spread(1)?, value));
                arithmetic(&node.op, a, b)
            }
            "And" => Some(Element::Bool(spread(0)?.condition()?.and(spread(1)?.condition()?))),
            "Not" => Some(Element::Bool(self.element(input(0)?, at)?.condition()?.not())),
            "LessOrEqual" | "Less" | "GreaterOrEqual" | "Greater" => {
                let (a, b) = (spread(0)?.int()?, spread(1)?.int()?);
                Some(Element::Bool(match node.op.as_str() {
                    "LessOrEqual" => Condition::at_most(a, b),
                    "Less" => Condition::at_most(a.plus(1), b),
                    "GreaterOrEqual" => Condition::at_most(b, a),
                    _ => Condition::at_most(b.plus(1), a),
                }))
            }
            "Equal" => self.equal(spread(0)?, spread(1)?),
            "Where" => {
                let [yes, no] = [1, 2].map(|i| Some(self.flag(spread(i)?, value)));
                choice(spread(0)?.condition()?, yes?, no?)
            }
            "Range" => {
                let [start, step] = [input(0)?, input(2)?].map(|v| self.element(v, &[])?.int());
                Some(Element::Int(start?.add(&step?.mul(at.first()?))))
            }
            "ConstantOfShape" => match node.attr("value") {
                None => Some(Element::Float(0.0)),
                Some(AttrValue::Tensor(t)) => constant(t, &vec![Len::fixed(0); t.shape().len()]),
                Some(_) => None,
            },
            "Unsqueeze" | "Squeeze" | "Reshape" | "Flatten" => {
                let x = input(0)?;
                let position = regroup(at, self.cx.shape(value)?, self.cx.shape(x)?)?;
                self.element(x, &position)
            }
            "Transpose" => {
                let perm = node.attr("perm").and_then(AttrValue::as_ints)?;
                let mut position = vec![Len::UNKNOWN; at.len()];
                for (i, axis) in at.iter().zip(perm) {
                    *position.get_mut(usize::try_from(*axis).ok()?)? = i.clone();
                }
                self.element(input(0)?, &position)
            }
            "Concat" => self.concat(node, at),
            "Slice" => self.slice(node, at),
            "Gather" => self.gather(node, at),
            "GatherND" => self.gather_nd(node, at),
            _ => None,
        }
    }

    fn cast(&self, element: Element, to: ValueId) -> Option<Element> {
        let to = self.cx.dtype(to)?;
        let integral = matches!(to, DType::I64 | DType::I32);
        match element {
            element if to == DType::Bool => Some(Element::Bool(element.condition()?)),
            Element::Int(n) if integral => Some(Element::Int(n)),
            Element::Bool(c) if integral || to.is_float() => Some(Element::Bool(c)),
            Element::Leaf(leaf) if (integral || to.is_float()) && self.is_integral(leaf.value) => {
                Some(Element::Leaf(leaf))
            }
            _ => None,
        }
    }

    /// An element of an integer tensor that floats are computed from is 0 or 1: what masks hold.
    fn flag(&self, element: Element, output: ValueId) -> Element {
        match element {
            Element::Leaf(leaf)
                if self.cx.dtype(output).is_some_and(DType::is_float)
                    && self.is_integral(leaf.value) =>
            {
                Element::Bool(Condition::Set(leaf))
            }
            other => other,
        }
    }

    fn is_integral(&self, value: ValueId) -> bool {
        matches!(self.cx.dtype(value), Some(DType::Bool | DType::I32 | DType::I64))
    }

    /// `Equal` with zero or one of a boolean or a leaf.
    fn equal(&self, a: Element, b: Element) -> Option<Element> {
        let (other, constant) = match (a.clone().int(), b.clone().int()) {
            (Some(x), Some(y)) => {
                let both = Condition::at_most(x.clone(), y.clone()).and(Condition::at_most(y, x));
                return Some(Element::Bool(both));
            }
            (Some(n), None) => (b, n),
            (None, Some(n)) => (a, n),
            (None, None) => match (a.float(), b.float()) {
                (Some(0.0), None) => (b, Len::fixed(0)),
                (None, Some(0.0)) => (a, Len::fixed(0)),
                _ => return None,
            },
        };
        match (&other, constant.as_fixed()?) {
            (Element::Bool(c), 1) => Some(Element::Bool(c.clone())),
            (_, 0) => Some(Element::Bool(other.condition()?.not())),
            _ => None,
        }
    }

    fn concat(&self, node: &Node, at: &[Len]) -> Option<Element> {
        let first = node.input(0)?;
        let axis = axis_of(self.cx, first, node.attr("axis")?.as_int()?)?;
        let mut offset = at.get(axis)?.as_fixed()?;
        for input in node.inputs.iter().flatten() {
            let length = self.cx.shape(*input)?.get(axis)?.as_fixed()?;
            if offset < length {
                let mut position = at.to_vec();
                *position.get_mut(axis)? = Len::fixed(offset);
                return self.element(*input, &position);
            }
            offset -= length;
        }
        None
    }

    fn slice(&self, node: &Node, at: &[Len]) -> Option<Element> {
        let x = node.input(0)?;
        let starts = self.cx.ints(self.edit, node.input(1)?)?;
        let axes = match node.input(3) {
            Some(axes) => self.cx.ints(self.edit, axes)?,
            None => (0..i64::try_from(starts.len()).ok()?).collect(),
        };
        let steps = match node.input(4) {
            Some(steps) => self.cx.ints(self.edit, steps)?,
            None => vec![1; starts.len()],
        };
        if axes.len() != starts.len() || steps.iter().any(|s| *s != 1) {
            return None;
        }
        let mut position = at.to_vec();
        for (start, axis) in starts.iter().zip(axes) {
            let i = position.get_mut(axis_of(self.cx, x, axis)?)?;
            if *start < 0 {
                return None;
            }
            *i = i.plus(*start);
        }
        self.element(x, &position)
    }

    fn gather(&self, node: &Node, at: &[Len]) -> Option<Element> {
        let (data, indices) = (node.input(0)?, node.input(1)?);
        let axis = axis_of(self.cx, data, node.attr("axis").map_or(Some(0), AttrValue::as_int)?)?;
        let rank = self.cx.rank(indices)?;
        let index = self.element(indices, at.get(axis..axis.checked_add(rank)?)?)?.int()?;
        if !index.is_non_negative() {
            return None;
        }
        let mut position = at.get(..axis)?.to_vec();
        position.push(index);
        position.extend_from_slice(at.get(axis + rank..)?);
        self.element(data, &position)
    }

    fn gather_nd(&self, node: &Node, at: &[Len]) -> Option<Element> {
        if node.attr("batch_dims").and_then(AttrValue::as_int).unwrap_or(0) != 0 {
            return None;
        }
        let (data, indices) = (node.input(0)?, node.input(1)?);
        let rank = self.cx.rank(indices)?.checked_sub(1)?;
        let count = self.cx.shape(indices)?.last()?.as_fixed()?;
        let mut position = Vec::new();
        for k in 0..count {
            let mut index = at.get(..rank)?.to_vec();
            index.push(Len::fixed(k));
            let index = self.element(indices, &index)?.int()?;
            position.push(Some(index).filter(Len::is_non_negative)?);
        }
        position.extend_from_slice(at.get(rank..)?);
        self.element(data, &position)
    }
}

/// An element of a constant: of one that is all the same, at a known position, or of one that counts
/// along its last axis.
fn constant(tensor: &Tensor, at: &[Len]) -> Option<Element> {
    if tensor.len() > MOST_ELEMENTS {
        return None;
    }
    let known = || {
        at.iter().zip(tensor.shape()).try_fold(0u64, |flat, (i, n)| {
            let i = u64::try_from(i.as_fixed()?).ok().filter(|i| i < n)?;
            flat.checked_mul(*n)?.checked_add(i)
        })
    };
    let pick =
        |same: bool| if same { Some(0) } else { known().and_then(|i| usize::try_from(i).ok()) };
    match tensor.dtype() {
        DType::I64 | DType::I32 => {
            let values = tensor.to_i64().ok()?;
            let (first, row) = (*values.first()?, *tensor.shape().last().unwrap_or(&1));
            let row = usize::try_from(row).ok()?;
            if let Some(i) = pick(values.iter().all(|v| *v == first)) {
                return Some(Element::Int(Len::fixed(*values.get(i)?)));
            }
            let counts =
                values.chunks_exact(row.max(1)).all(|r| r.iter().zip(0i64..).all(|(v, i)| *v == i));
            counts.then(|| Some(Element::Int(at.last()?.clone())))?
        }
        DType::Bool => {
            let bytes = tensor.bytes().ok()?;
            let first = *bytes.first()? != 0;
            let i = pick(bytes.iter().all(|b| (*b != 0) == first))?;
            Some(Element::Bool(Condition::Known(*bytes.get(i)? != 0)))
        }
        DType::F32 | DType::F16 | DType::BF16 => {
            let values = tensor.to_f32().ok()?;
            let first = values.first()?.to_bits();
            let i = pick(values.iter().all(|v| v.to_bits() == first))?;
            Some(Element::Float(*values.get(i)?))
        }
        _ => None,
    }
}

fn arithmetic(op: &str, a: Element, b: Element) -> Option<Element> {
    if let (Some(x), Some(y)) = (a.clone().int(), b.clone().int()) {
        return Some(Element::Int(match op {
            "Add" => x.add(&y),
            "Sub" => x.sub(&y),
            _ => x.mul(&y),
        }));
    }
    let number = |e: &Element| match e {
        Element::Float(v) => Some(*v),
        Element::Int(n) => match n.as_fixed()? {
            0 => Some(0.0),
            1 => Some(1.0),
            _ => None,
        },
        _ => None,
    };
    let (element, by, number_first) = match (number(&a), number(&b)) {
        (Some(x), Some(y)) => {
            return Some(Element::Float(match op {
                "Add" => x + y,
                "Sub" => x - y,
                _ => x * y,
            }));
        }
        (Some(x), None) => (b, x, true),
        (None, Some(y)) => (a, y, false),
        (None, None) => return None,
    };
    let apply = |v: f32| match (op, number_first) {
        ("Add", _) => v + by,
        ("Sub", true) => by - v,
        ("Sub", false) => v - by,
        _ => v * by,
    };
    match element {
        Element::Bool(c) => Some(Element::Pick(c, apply(1.0), apply(0.0))),
        Element::Pick(c, x, y) => Some(Element::Pick(c, apply(x), apply(y))),
        _ => None,
    }
}

fn choice(condition: Condition, yes: Element, no: Element) -> Option<Element> {
    match condition {
        Condition::Known(true) => return Some(yes),
        Condition::Known(false) => return Some(no),
        _ => {}
    }
    match (&yes, &no) {
        (Element::Float(a), Element::Float(b)) => Some(Element::Pick(condition, *a, *b)),
        // Older exporters fill where the inverted mask is set, and keep that mask elsewhere.
        (Element::Float(a), Element::Pick(other, x, y)) => {
            let kept = if *other == condition { y } else { x };
            (*other == condition || other.clone().not() == condition)
                .then_some(Element::Pick(condition, *a, *kept))
        }
        (Element::Bool(Condition::Known(a)), Element::Bool(Condition::Known(b))) => {
            Some(Element::Bool(match (a, b) {
                (true, false) => condition,
                (false, true) => condition.not(),
                (same, _) => Condition::Known(*same),
            }))
        }
        _ if yes == no => Some(yes),
        _ => None,
    }
}

/// The position in a tensor of shape `to` of the element that stands at `at` in the same elements
/// under the shape `from`.
fn regroup(at: &[Len], from: &[Len], to: &[Len]) -> Option<Vec<Len>> {
    let keep = |shape: &[Len]| shape.iter().filter(|n| !n.is(1)).cloned().collect::<Vec<_>>();
    let (wide_from, wide_to) = (keep(from), keep(to));
    // Only axes of length 1 differ.
    if wide_from.len() == wide_to.len() && wide_from.iter().zip(&wide_to).all(|(a, b)| a.same(b)) {
        let mut rest = at.iter().zip(from).filter(|(_, n)| !n.is(1)).map(|(i, _)| i.clone());
        return to
            .iter()
            .map(|n| if n.is(1) { Some(Len::fixed(0)) } else { rest.next() })
            .collect();
    }
    let mut flat = Len::fixed(0);
    for (i, n) in at.iter().zip(from) {
        flat = flat.mul(n).add(i);
    }
    // A matrix, or a vector with axes of length 1 around it.
    let mut place = match wide_to.as_slice() {
        [_] => vec![flat],
        [_, columns] => {
            let [row, column] = split(&flat, columns)?;
            vec![row, column]
        }
        _ => return None,
    }
    .into_iter();
    to.iter().map(|n| if n.is(1) { Some(Len::fixed(0)) } else { place.next() }).collect()
}

/// `q · columns + r` as `[q, r]`, where r is a coordinate along an axis of that length: the terms
/// of `flat` that have `columns` as a factor, and the rest.
fn split(flat: &Len, columns: &Len) -> Option<[Len; 2]> {
    let [row, column] = [COORDINATES[0], COORDINATES[3]].map(Len::name);
    // The coordinates of an attention mask are the only ones with known ranges: the last one runs
    // over the keys.
    let q = flat.sub(&column).div_exact(columns);
    (q.is_known() && q.same(&row)).then_some([q, column])
}

/// The names of the coordinates of an element of an attention mask: batch, head, query, key. They
/// are no names that a graph's lengths have.
pub(super) const COORDINATES: [&str; 4] = ["%batch", "%head", "%query", "%key"];
