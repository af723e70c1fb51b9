//! Which values get scales: the decision, before anything is changed.

use std::collections::BTreeMap;

use super::super::Exclude;
use super::super::observed::Range;
use super::{Options, conv, elementwise, norm, passing, product, removable};
use crate::error::Result;
use crate::hub::{DType, Edit, Node, NodeId, Use, ValueId};

/// Where a value's scale comes from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Share {
    /// Its own range.
    Own,
    /// The scale of another value, which holds the same numbers.
    As(ValueId),
}

/// A constant factor of a node.
#[derive(Clone, Copy, Debug)]
pub(super) struct Weight {
    pub node: NodeId,
    pub input: usize,
    pub value: ValueId,
    /// The axis whose indices have a scale each.
    pub axis: Option<usize>,
}

/// A constant addend of a node that multiplies `x` by `weight`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bias {
    pub node: NodeId,
    pub input: usize,
    pub value: ValueId,
    pub x: ValueId,
    pub weight: ValueId,
    /// Factor of the addend that the node's attribute has.
    pub beta: f32,
}

/// What is to be quantized.
#[derive(Debug, Default)]
pub(super) struct Marks {
    /// Activations, and constants that are treated as such, in the order they were found.
    pub values: Vec<(ValueId, Share)>,
    pub weights: Vec<Weight>,
    pub biases: Vec<Bias>,
    /// `Relu` and `Clip` nodes whose work the range of their output does.
    pub dropped: Vec<NodeId>,
    /// Ranges that are known without looking.
    pub fixed: BTreeMap<ValueId, Range>,
    /// Values whose range is that of another.
    pub narrowed: BTreeMap<ValueId, ValueId>,
    /// The nodes that a rule was for.
    pub nodes: Vec<NodeId>,
    index: BTreeMap<ValueId, usize>,
}

impl Marks {
    pub(super) fn has(&self, value: ValueId) -> bool {
        self.index.contains_key(&value)
    }

    fn put(&mut self, value: ValueId, share: Share) {
        match self.index.get(&value).and_then(|at| self.values.get_mut(*at)) {
            // Sharing replaces a scale of its own; nothing replaces sharing.
            Some((_, have @ Share::Own)) => *have = share,
            Some(_) => {}
            None => {
                self.index.insert(value, self.values.len());
                self.values.push((value, share));
            }
        }
    }

    fn remove(&mut self, value: ValueId) {
        self.values.retain(|(id, _)| *id != value);
        self.index = self.values.iter().enumerate().map(|(at, (id, _))| (*id, at)).collect();
    }
}

/// The decision in progress.
pub(super) struct Marking<'a, 'g> {
    pub edit: &'a Edit<'g>,
    pub options: &'a Options,
    pub opset: i64,
    pub marks: Marks,
    /// Whether an initializer may be replaced by an input.
    ir_version: i64,
}

/// What a rule does: marks the values of one node.
pub(super) type Rule = fn(&mut Marking<'_, '_>, NodeId, &Node) -> Result<()>;

/// The rules of every operator that is quantized, by family.
const RULES: &[&[(&str, Rule)]] = &[
    conv::RULES,
    elementwise::RULES,
    norm::RULES,
    passing::RULES,
    product::RULES,
    removable::RULES,
];

/// Marks the values of a graph; the nodes come in topological order.
pub(super) fn mark(
    edit: &Edit<'_>,
    options: &Options,
    exclude: &Exclude,
    (opset, ir_version): (i64, i64),
) -> Result<Marks> {
    let mut marking = Marking { edit, options, opset, marks: Marks::default(), ir_version };
    let body = edit.body();
    for (id, node) in body.nodes().filter(|(_, node)| !exclude.has(body, node)) {
        let domain = node.domain.is_empty() || node.domain == "ai.onnx";
        let rule = RULES.iter().copied().flatten().find(|(op, _)| domain && *op == node.op);
        if let Some((_, rule)) = rule {
            marking.marks.nodes.push(id);
            marking.narrow(node);
            rule(&mut marking, id, node)?;
        }
    }
    Ok(marking.marks)
}

impl Marking<'_, '_> {
    /// Whether the value is an f32 constant.
    pub(super) fn is_constant(&self, value: ValueId) -> bool {
        let body = self.edit.body();
        let fixed = self.ir_version < 4 || !body.inputs().contains(&value);
        fixed && body.constant(value).is_some_and(|t| t.dtype() == DType::F32 && !t.is_empty())
    }

    fn is_f32(&self, value: ValueId) -> bool {
        let body = self.edit.body();
        match body.constant(value) {
            Some(_) => self.is_constant(value),
            None => body.tensor_type(value).is_some_and(|(dtype, _)| dtype == DType::F32),
        }
    }

    /// Whether training or another tool has given the value scales: it comes out of a
    /// `DequantizeLinear` or goes into a `QuantizeLinear`.
    pub(super) fn is_done(&self, value: ValueId) -> bool {
        let body = self.edit.body();
        let producer = self.edit.producer(value).and_then(|id| body.node(id));
        producer.is_some_and(|node| node.op == "DequantizeLinear")
            || self.edit.uses(value).iter().any(|u| {
                matches!(u, Use::Input(id, 0)
                    if body.node(*id).is_some_and(|n| n.op == "QuantizeLinear"))
            })
    }

    /// Whether the value has scales, marked or of its own.
    pub(super) fn has_scale(&self, value: ValueId) -> bool {
        self.marks.has(value) || self.is_done(value)
    }

    /// Marks an activation.
    pub(super) fn activation(&mut self, value: Option<ValueId>) {
        if let Some(value) = value
            && self.is_f32(value)
            && !self.marks.has(value)
            && !self.is_done(value)
        {
            self.marks.put(value, Share::Own);
        }
    }

    /// Marks a value that holds the numbers of another.
    pub(super) fn same(&mut self, value: Option<ValueId>, source: ValueId) {
        if let Some(value) = value
            && self.is_f32(value)
            && !self.is_constant(value)
            && !self.is_done(value)
        {
            self.marks.put(value, Share::As(source));
        }
    }

    /// Marks an activation whose range is known.
    pub(super) fn fixed(&mut self, value: Option<ValueId>, range: Range) {
        self.activation(value);
        if let Some(value) = value {
            self.marks.fixed.insert(value, range);
        }
    }

    /// Marks a factor: a constant as a weight, anything else as an activation.
    pub(super) fn factor(&mut self, id: NodeId, node: &Node, input: usize, axis: Option<usize>) {
        let Some(value) = node.input(input) else { return };
        if !self.is_constant(value) {
            self.activation(Some(value));
            return;
        }
        let rank = self.edit.body().constant(value).map_or(0, |t| t.shape().len());
        let axis = axis.filter(|axis| self.options.per_channel && *axis < rank);
        self.marks.weights.push(Weight { node: id, input, value, axis });
    }

    /// Marks the constant addend `input` of a node that multiplies its first two inputs.
    pub(super) fn bias(&mut self, id: NodeId, node: &Node, input: usize, beta: f32) {
        let (Some(value), Some(x), Some(weight)) =
            (node.input(input), node.input(0), node.input(1))
        else {
            return;
        };
        let plain = self.edit.body().constant(value).is_some_and(|t| t.shape().len() == 1);
        if plain && self.is_constant(value) {
            self.marks.biases.push(Bias { node: id, input, value, x, weight, beta });
        }
    }

    /// Whether nothing but one node reads the value.
    pub(super) fn has_one_reader(&self, value: ValueId) -> bool {
        matches!(self.edit.uses(value), [Use::Input(..)])
            && !self.edit.body().inputs().contains(&value)
    }

    /// What only a `Relu` or `Clip` reads has the range that is left of it.
    fn narrow(&mut self, node: &Node) {
        if let (true, Some(x), Some(y)) =
            (node.is("Relu") || node.is("Clip"), node.input(0), node.output(0))
            && matches!(self.edit.uses(x), [Use::Input(..)])
        {
            self.marks.narrowed.insert(x, y);
        }
    }

    /// Takes a `Relu` or `Clip` out of the graph.
    pub(super) fn drop(&mut self, id: NodeId, input: ValueId) {
        self.marks.remove(input);
        self.marks.dropped.push(id);
    }
}
