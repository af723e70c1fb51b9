//! What shape inference knows of one node: facts of its inputs, attributes, the operator set.

use std::sync::Arc;

use super::len::Len;
use crate::error::{Error, Result};
use crate::hub::{AttrValue, DType, Node, Tensor};

/// What is known of a tensor. The default is that nothing is known.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fact {
    /// Element type.
    pub dtype: Option<DType>,
    /// Axes, outermost first; `None` when not even the rank is known.
    pub shape: Option<Vec<Len>>,
    /// The elements of a small integer or boolean tensor of rank 0 or 1, row-major.
    pub data: Option<Vec<Len>>,
}

impl Fact {
    /// A tensor of that type and shape.
    pub fn new(dtype: Option<DType>, shape: Option<Vec<Len>>) -> Self {
        Self { dtype, shape, data: None }
    }
    /// A tensor whose elements are known.
    pub fn with_data(dtype: DType, shape: Vec<Len>, data: Vec<Len>) -> Self {
        Self { dtype: Some(dtype), shape: Some(shape), data: Some(data) }
    }
    /// The number of axes.
    pub fn rank(&self) -> Option<usize> {
        self.shape.as_ref().map(Vec::len)
    }
    /// The shape as text: `[batch, 12, ?]`.
    pub fn shape_text(&self) -> String {
        shape_text(self.shape.as_deref())
    }
}

/// A shape as text: `[batch, 12, ?]`, or `[...]` when not even the rank is known.
pub(super) fn shape_text(shape: Option<&[Len]>) -> String {
    shape.map_or_else(
        || "[...]".to_owned(),
        |dims| format!("[{}]", dims.iter().map(Len::to_string).collect::<Vec<_>>().join(", ")),
    )
}

/// No more elements than this are followed as shape arithmetic.
pub(super) const MAX_DATA: usize = 256;

/// One node under inference.
pub struct Cx<'a> {
    pub(super) node: &'a Node,
    pub(super) opset: i64,
    pub(super) inputs: Vec<Fact>,
    pub(super) constants: Vec<Option<&'a Tensor>>,
    /// Names that stand for every length: no number agrees with them.
    pub(super) free: &'a [Arc<str>],
}

static NOTHING: Fact = Fact { dtype: None, shape: None, data: None };

impl<'a> Cx<'a> {
    /// The version of the operator set the node belongs to.
    pub fn opset(&self) -> i64 {
        self.opset
    }
    /// The node.
    pub fn node(&self) -> &'a Node {
        self.node
    }
    /// How many inputs are listed, left-out ones included.
    pub fn input_count(&self) -> usize {
        self.inputs.len()
    }
    /// How many outputs are listed, left-out ones included.
    pub fn output_count(&self) -> usize {
        self.node.outputs.len()
    }
    /// Whether input `i` is there.
    pub fn has(&self, i: usize) -> bool {
        self.node.input(i).is_some()
    }
    /// What is known of input `i`.
    pub fn fact(&self, i: usize) -> &Fact {
        self.inputs.get(i).unwrap_or(&NOTHING)
    }
    /// The element type of input `i`.
    pub fn dtype(&self, i: usize) -> Option<DType> {
        self.fact(i).dtype
    }
    /// The shape of input `i`.
    pub fn shape(&self, i: usize) -> Option<&[Len]> {
        self.fact(i).shape.as_deref()
    }
    /// The rank of input `i`.
    pub fn rank(&self, i: usize) -> Option<usize> {
        self.fact(i).rank()
    }
    /// The elements of input `i`, if it is a small integer tensor.
    pub fn data(&self, i: usize) -> Option<&[Len]> {
        self.fact(i).data.as_deref()
    }
    /// The elements of input `i` as numbers.
    pub fn ints(&self, i: usize) -> Option<Vec<i64>> {
        self.data(i)?.iter().map(Len::as_fixed).collect()
    }
    /// The tensor of input `i`, if it is a constant.
    pub fn constant(&self, i: usize) -> Option<&'a Tensor> {
        self.constants.get(i).copied().flatten()
    }

    /// An error about this node.
    pub fn fail(&self, message: impl Into<String>) -> Error {
        Error::malformed(message).item(self.node.label())
    }
    fn wrong_attr(&self, name: &str, what: &str) -> Error {
        self.fail(format!("attribute `{name}` is not {what}"))
    }
    /// An integer attribute.
    pub fn int(&self, name: &str) -> Result<Option<i64>> {
        self.node
            .attr(name)
            .map(|a| a.as_int().ok_or_else(|| self.wrong_attr(name, "an integer")))
            .transpose()
    }
    /// An integer attribute or its default.
    pub fn int_or(&self, name: &str, default: i64) -> Result<i64> {
        Ok(self.int(name)?.unwrap_or(default))
    }
    /// An integer-list attribute.
    pub fn int_list(&self, name: &str) -> Result<Option<&'a [i64]>> {
        self.node
            .attr(name)
            .map(|a| match a {
                // An empty list has no element that tells its type.
                AttrValue::Floats(v) if v.is_empty() => Ok(&[][..]),
                _ => a.as_ints().ok_or_else(|| self.wrong_attr(name, "a list of integers")),
            })
            .transpose()
    }
    /// A string attribute.
    pub fn str(&self, name: &str) -> Result<Option<&'a str>> {
        self.node
            .attr(name)
            .map(|a| a.as_str().ok_or_else(|| self.wrong_attr(name, "a string")))
            .transpose()
    }
    /// An attribute that holds the number of an element type.
    pub fn dtype_attr(&self, name: &str) -> Result<Option<DType>> {
        let Some(number) = self.int(name)? else { return Ok(None) };
        DType::of_number(number)
            .map(Some)
            .ok_or_else(|| self.fail(format!("`{name}` = {number} is no element type")))
    }
    /// An axis as an index; negative ones count from the end.
    pub fn axis(&self, axis: i64, rank: usize) -> Result<usize> {
        let signed = i64::try_from(rank).unwrap_or(i64::MAX);
        let from_start = if axis < 0 { axis.saturating_add(signed) } else { axis };
        usize::try_from(from_start).ok().filter(|a| *a < rank).ok_or_else(|| {
            self.fail(format!("axis {axis} is out of range for a tensor of rank {rank}"))
        })
    }
    /// Axes as indices in rising order. An error when one is named twice.
    pub fn axes(&self, axes: &[i64], rank: usize) -> Result<Vec<usize>> {
        let mut out = axes.iter().map(|a| self.axis(*a, rank)).collect::<Result<Vec<_>>>()?;
        out.sort_unstable();
        if out.windows(2).any(|w| w[0] == w[1]) {
            return Err(self.fail(format!("axes {axes:?} name one axis twice")));
        }
        Ok(out)
    }
    /// Axes given as an attribute before opset `since` and as input `i` from it on. `None` when
    /// they are not given; `Some(None)` when they are not known here.
    #[allow(clippy::option_option)] // absent and unknown differ
    pub fn axes_arg(&self, i: usize, since: i64) -> Result<Option<Option<Vec<i64>>>> {
        if self.opset < since {
            return Ok(self.int_list("axes")?.map(|a| Some(a.to_vec())));
        }
        Ok(self.has(i).then(|| self.ints(i)))
    }
    /// An error when input `i` is known to have another rank.
    pub fn want_rank(&self, i: usize, rank: usize) -> Result<()> {
        match self.rank(i) {
            Some(r) if r != rank => Err(self.fail(format!(
                "input {i} has shape {}, rank {rank} is wanted",
                self.fact(i).shape_text()
            ))),
            _ => Ok(()),
        }
    }
    /// An error when input `i` is known to have fewer axes.
    pub fn want_rank_at_least(&self, i: usize, rank: usize) -> Result<()> {
        match self.rank(i) {
            Some(r) if r < rank => Err(self.fail(format!(
                "input {i} has shape {}, rank {rank} or more is wanted",
                self.fact(i).shape_text()
            ))),
            _ => Ok(()),
        }
    }
    /// Whether two lengths are known and cannot agree whatever the free names stand for.
    fn clashes(&self, a: &Len, b: &Len) -> bool {
        let free = |len: &Len| self.free.iter().any(|name| len.has(name));
        a.contradicts(b) || (a.is_known() && b.is_known() && !a.same(b) && (free(a) || free(b)))
    }

    /// The one length of two axes that must agree.
    pub fn unify(&self, a: &Len, b: &Len, what: &str) -> Result<Len> {
        if self.clashes(a, b) {
            let shapes: Vec<String> = self.inputs.iter().map(Fact::shape_text).collect();
            return Err(self.fail(format!(
                "{what}: {a} against {b}, with inputs of shape {}",
                shapes.join(", ")
            )));
        }
        Ok(a.or(b))
    }

    /// NumPy's broadcasting of the shapes of some inputs; `None` when a rank is unknown.
    pub fn broadcast(&self, inputs: impl IntoIterator<Item = usize>) -> Result<Option<Vec<Len>>> {
        let mut out: Vec<Len> = Vec::new();
        for i in inputs {
            let Some(shape) = self.shape(i) else { return Ok(None) };
            out = self.broadcast_shapes(&out, shape)?;
        }
        Ok(Some(out))
    }
    /// NumPy's broadcasting of two shapes.
    pub fn broadcast_shapes(&self, a: &[Len], b: &[Len]) -> Result<Vec<Len>> {
        let (long, short) = if a.len() >= b.len() { (a, b) } else { (b, a) };
        let lead = long.len() - short.len();
        let mut out = long[..lead].to_vec();
        for (x, y) in long[lead..].iter().zip(short) {
            let clash = !x.is(1) && !y.is(1) && self.clashes(x, y);
            out.push(broadcast_dim(x, y).filter(|_| !clash).ok_or_else(|| {
                self.fail(format!(
                    "shapes {} and {} do not broadcast",
                    shape_text(Some(a)),
                    shape_text(Some(b))
                ))
            })?);
        }
        Ok(out)
    }
}

/// The broadcast of two lengths; `None` when they cannot be broadcast.
fn broadcast_dim(x: &Len, y: &Len) -> Option<Len> {
    Some(match (x.as_fixed(), y.as_fixed()) {
        (Some(1), _) => y.clone(),
        (_, Some(1)) => x.clone(),
        (Some(a), Some(b)) if a != b => return None,
        // The lesser of a name and a number is that name or does not broadcast with it.
        (None, None) if x.same(y) || y.is_min_with(x) => x.clone(),
        (None, None) => {
            if x.is_min_with(y) {
                y.clone()
            } else {
                Len::UNKNOWN
            }
        }
        // A name beside a number other than 1 is that number or 1.
        _ => x.or(y),
    })
}
