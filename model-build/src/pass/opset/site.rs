//! One node under conversion: what is known of it, and how adapters change it.

use super::facts::Facts;
use super::{Refusal, casting, table};
use crate::error::{Error, Result};
use crate::hub::{Attr, AttrValue, DType, Dim, Edit, Node, NodeId, Tensor, Type, ValueId};

/// A node and the graph around it. Adapters change [`node`](Self::node) and put it back with
/// [`put`](Self::put), or have other nodes take its place.
pub(super) struct Site<'e, 'b> {
    edit: &'e mut Edit<'b>,
    id: NodeId,
    /// The node as it was, or as the adapter has changed it so far.
    pub(super) node: Node,
    facts: &'e Facts,
    /// The operator set that the result is of.
    pub(super) opset: i64,
    pub(super) constants_as_nodes: bool,
}

impl<'e, 'b> Site<'e, 'b> {
    pub(super) fn new(
        edit: &'e mut Edit<'b>,
        id: NodeId,
        facts: &'e Facts,
        opset: i64,
    ) -> Option<Self> {
        let node = edit.body().node(id)?.clone();
        Some(Self { edit, id, node, facts, opset, constants_as_nodes: false })
    }

    /// An error: what the operator set asked for cannot say of this node.
    pub(super) fn refuse(&self, kind: Refusal, what: impl Into<String>) -> Error {
        Error::unsupported(format!("opset {} cannot say this: {}", self.opset, what.into()))
            .item(self.node.label())
            .caused_by(kind)
    }
    /// [`refuse`](Self::refuse) for an input that is no constant.
    pub(super) fn not_constant(&self, what: &str) -> Error {
        let text = format!("`{what}` of `{}` is computed when the model runs", self.node.op);
        self.refuse(Refusal::NotConstant, text)
    }
    /// [`refuse`](Self::refuse) for something that must be known.
    pub(super) fn unknown(&self, what: &str) -> Error {
        self.refuse(Refusal::UnknownType, format!("{what} of `{}` is not known", self.node.op))
    }
    /// [`refuse`](Self::refuse) for what the older definition lacks.
    pub(super) fn lacks(&self, what: impl Into<String>) -> Error {
        self.refuse(Refusal::Feature, what)
    }

    // ------------------------------------------------------------------------------- reading

    fn name(&self, id: ValueId) -> &str {
        &self.edit.body().value(id).name
    }
    /// What is known of a value's type.
    pub(super) fn ty_of(&self, id: ValueId) -> Option<&Type> {
        self.facts.ty(self.name(id))
    }
    /// The element type of input `i`, if known.
    pub(super) fn try_dtype(&self, i: usize) -> Option<DType> {
        self.ty_of(self.node.input(i)?)?.as_tensor().map(|(d, _)| d)
    }
    /// The element type of input `i`.
    pub(super) fn dtype(&self, i: usize) -> Result<DType> {
        self.try_dtype(i).ok_or_else(|| self.unknown(&format!("the element type of input {i}")))
    }
    /// The axes of input `i`, if known.
    pub(super) fn try_shape(&self, i: usize) -> Option<&[Dim]> {
        self.ty_of(self.node.input(i)?)?.as_tensor()?.1
    }
    /// The number of axes of input `i`.
    pub(super) fn rank(&self, i: usize) -> Result<usize> {
        self.try_shape(i)
            .map(<[Dim]>::len)
            .ok_or_else(|| self.unknown(&format!("the rank of input {i}")))
    }
    /// [`rank`](Self::rank) as a signed number.
    pub(super) fn signed_rank(&self, i: usize) -> Result<i64> {
        Ok(i64::try_from(self.rank(i)?).unwrap_or(i64::MAX))
    }
    /// The axes of input `i` as numbers, if all are known.
    pub(super) fn fixed_shape(&self, i: usize) -> Option<Vec<i64>> {
        fixed(self.try_shape(i)?)
    }
    /// Input `i`, which must be there.
    pub(super) fn input(&self, i: usize) -> Result<ValueId> {
        self.node.input(i).ok_or_else(|| {
            Error::malformed(format!("input {i} is missing")).item(self.node.label())
        })
    }
    /// Whether output `i` is there and something uses it.
    pub(super) fn is_used(&self, i: usize) -> bool {
        self.node.output(i).is_some_and(|id| !self.edit.uses(id).is_empty())
    }
    /// The constant that input `i` is, if it is one.
    pub(super) fn constant(&self, i: usize) -> Option<&Tensor> {
        self.facts.constant(self.name(self.node.input(i)?))
    }
    /// The integers of constant input `i`; `None` when the input is left out.
    pub(super) fn ints(&self, i: usize, what: &str) -> Result<Option<Vec<i64>>> {
        if self.node.input(i).is_none() {
            return Ok(None);
        }
        let tensor = self.constant(i).ok_or_else(|| self.not_constant(what))?;
        tensor.to_i64().map(|v| Some(v.to_vec())).map_err(|e| e.item(self.node.label()))
    }
    /// The floats of constant input `i`; `None` when the input is left out.
    pub(super) fn floats(&self, i: usize, what: &str) -> Result<Option<Vec<f32>>> {
        if self.node.input(i).is_none() {
            return Ok(None);
        }
        let tensor = self.constant(i).ok_or_else(|| self.not_constant(what))?;
        tensor.to_f32().map(Some).map_err(|e| e.item(self.node.label()))
    }
    fn wrong(&self, name: &str, what: &str) -> Error {
        if let Some(AttrValue::Reference(..)) = self.node.attr(name) {
            return self.lacks(format!("attribute `{name}` is given by the enclosing function"));
        }
        Error::malformed(format!("attribute `{name}` is not {what}")).item(self.node.label())
    }
    /// An integer attribute.
    pub(super) fn int(&self, name: &str) -> Result<Option<i64>> {
        let of = |a: &AttrValue| a.as_int().ok_or_else(|| self.wrong(name, "an integer"));
        self.node.attr(name).map(of).transpose()
    }
    /// An integer attribute or its default.
    pub(super) fn int_or(&self, name: &str, default: i64) -> Result<i64> {
        Ok(self.int(name)?.unwrap_or(default))
    }
    /// A float attribute or its default.
    pub(super) fn float_or(&self, name: &str, default: f32) -> Result<f32> {
        let of = |a: &AttrValue| a.as_float().ok_or_else(|| self.wrong(name, "a float"));
        Ok(self.node.attr(name).map(of).transpose()?.unwrap_or(default))
    }
    /// An integer-list attribute.
    pub(super) fn int_list(&self, name: &str) -> Result<Option<Vec<i64>>> {
        let of = |a: &AttrValue| match a {
            // An empty list has no element that tells its type.
            AttrValue::Floats(v) if v.is_empty() => Ok(Vec::new()),
            _ => a
                .as_ints()
                .map(<[i64]>::to_vec)
                .ok_or_else(|| self.wrong(name, "a list of integers")),
        };
        self.node.attr(name).map(of).transpose()
    }
    /// A string attribute or its default.
    pub(super) fn str_or(&self, name: &str, default: &str) -> Result<String> {
        let of = |a: &AttrValue| {
            a.as_str().map(str::to_owned).ok_or_else(|| self.wrong(name, "a string"))
        };
        Ok(self.node.attr(name).map(of).transpose()?.unwrap_or_else(|| default.to_owned()))
    }

    // ------------------------------------------------------------------- changing this node

    /// Removes an attribute.
    pub(super) fn unset(&mut self, name: &str) {
        self.node.attrs.retain(|a| a.name != name);
    }
    /// Sets an attribute.
    pub(super) fn set(&mut self, name: &str, value: AttrValue) {
        match self.node.attrs.iter_mut().find(|a| a.name == name) {
            Some(attr) => attr.value = value,
            None => self.node.attrs.push(Attr { name: name.to_owned(), value, doc: String::new() }),
        }
    }
    /// Sets input `i`.
    pub(super) fn set_input(&mut self, i: usize, to: Option<ValueId>) {
        if self.node.inputs.len() <= i {
            self.node.inputs.resize(i + 1, None);
        }
        self.node.inputs[i] = to;
    }
    /// Keeps only the first inputs.
    pub(super) fn cut_inputs(&mut self, count: usize) {
        self.node.inputs.truncate(count);
    }
    /// Writes the changed node back.
    pub(super) fn put(&mut self) {
        while self.node.inputs.last() == Some(&None) {
            self.node.inputs.pop();
        }
        self.edit.replace(self.id, self.node.clone());
    }
    /// Removes the node; others give its outputs.
    pub(super) fn remove(&mut self) {
        self.edit.remove(self.id);
    }
    /// Makes every use of a value one of another.
    pub(super) fn replace_uses(&mut self, old: ValueId, new: ValueId) -> Result<()> {
        self.edit.replace_uses(old, new)
    }
    /// The node becomes one of another operator with the same outputs, left-out trailing ones aside.
    pub(super) fn become_op(&mut self, op: &str, inputs: &[ValueId], attrs: &[(&str, AttrValue)]) {
        op.clone_into(&mut self.node.op);
        self.node.inputs = inputs.iter().copied().map(Some).collect();
        self.node.attrs.clear();
        for (name, value) in attrs {
            self.set(name, value.clone());
        }
        self.put();
    }
    /// The node becomes one of another operator that gives its first output only.
    pub(super) fn become_single(
        &mut self,
        op: &str,
        inputs: &[ValueId],
        attrs: &[(&str, AttrValue)],
    ) {
        self.node.outputs.truncate(1);
        self.become_op(op, inputs, attrs);
    }

    // ------------------------------------------------------------------------- adding nodes

    fn hint(&self, what: &str) -> String {
        let base = self.node.outputs.iter().flatten().next();
        let base = base.map_or("value", |id| self.name(*id));
        format!("{base}/{what}")
    }
    /// Adds a node of the standard domain with one output and gives that.
    pub(super) fn op(
        &mut self,
        op: &str,
        inputs: &[ValueId],
        attrs: &[(&str, AttrValue)],
    ) -> Result<ValueId> {
        let hint = self.hint(op);
        self.edit.op(op, &hint, inputs, attrs)
    }
    /// Adds a node that gives a value which is there.
    pub(super) fn op_into(
        &mut self,
        out: ValueId,
        op: &str,
        inputs: &[ValueId],
        attrs: &[(&str, AttrValue)],
    ) -> Result<()> {
        let node = attrs.iter().fold(Node::new(op, inputs, &[out]), |node, (name, value)| {
            node.with(name, value.clone())
        });
        self.edit.add(node).map(|_| ())
    }
    /// A value that no node gives yet.
    pub(super) fn fresh(&mut self, what: &str) -> Result<ValueId> {
        let hint = self.hint(what);
        self.edit.value(&hint, None)
    }
    /// Adds a constant.
    pub(super) fn tensor(&mut self, tensor: Tensor) -> Result<ValueId> {
        if self.constants_as_nodes {
            let (tensor, cast) = casting::constant_node(tensor, self.opset)
                .map_err(|t| self.refuse(Refusal::ElementType, format!("a constant of {t}")))?;
            let value = self.op("Constant", &[], &[("value", AttrValue::Tensor(tensor))])?;
            return match cast {
                Some(dtype) => self.cast(value, dtype),
                None => Ok(value),
            };
        }
        let hint = self.hint("constant");
        self.edit.constant(&hint, tensor)
    }
    /// Adds a constant `i64[n]`.
    pub(super) fn list(&mut self, values: &[i64]) -> Result<ValueId> {
        self.tensor(Tensor::from_i64(vec![values.len() as u64], values)?)
    }
    /// Adds a constant `i64[]`.
    pub(super) fn int_scalar(&mut self, value: i64) -> Result<ValueId> {
        self.tensor(Tensor::from_i64(Vec::new(), &[value])?)
    }
    /// Adds a constant scalar of an element type.
    pub(super) fn number(&mut self, dtype: DType, value: f64) -> Result<ValueId> {
        let tensor = casting::number(dtype, Vec::new(), &[value])
            .ok_or_else(|| self.unknown(&format!("how {value} is written as {dtype}")))?;
        self.tensor(tensor)
    }
    /// Adds a `Cast`.
    pub(super) fn cast(&mut self, x: ValueId, to: DType) -> Result<ValueId> {
        self.op("Cast", &[x], &[casting::to(to)])
    }
    /// Adds a reduction over axes; without any, over all.
    pub(super) fn reduce(
        &mut self,
        op: &str,
        x: ValueId,
        axes: Option<&[i64]>,
        keep: bool,
    ) -> Result<ValueId> {
        let keep = ("keepdims", AttrValue::Int(i64::from(keep)));
        let Some(axes) = axes else { return self.op(op, &[x], &[keep]) };
        if self.opset >= super::axes::input_since(op) {
            let axes = self.list(axes)?;
            return self.op(op, &[x, axes], &[keep]);
        }
        self.op(op, &[x], &[("axes", AttrValue::Ints(axes.to_vec())), keep])
    }
    /// Adds `Squeeze` or `Unsqueeze`.
    pub(super) fn with_axes(&mut self, op: &str, x: ValueId, axes: &[i64]) -> Result<ValueId> {
        if self.opset >= 13 {
            let axes = self.list(axes)?;
            return self.op(op, &[x, axes], &[]);
        }
        self.op(op, &[x], &[("axes", AttrValue::Ints(axes.to_vec()))])
    }
    /// Adds nodes that give the length of one axis as `i64[1]`.
    pub(super) fn length(&mut self, x: ValueId, axis: i64) -> Result<ValueId> {
        let shape = self.op("Shape", &[x], &[])?;
        let at = self.list(&[axis])?;
        self.op("Gather", &[shape, at], &[("axis", AttrValue::Int(0))])
    }

    // ---------------------------------------------------------------------------- the table

    /// After a step down: drops attributes that the older definition does not have where they have
    /// their default value, casts around element types, and refuses what is left.
    pub(super) fn hold_to_table(&mut self) -> Result<()> {
        let Some(node) = self.edit.body().node(self.id).cloned() else { return Ok(()) };
        self.node = node;
        let op = self.node.op.clone();
        let Some(old) = table::at(&op, self.opset) else {
            let text = format!("`{op}` does not exist before opset {}", self.opset + 1);
            return Err(self.refuse(Refusal::NoOperator, text));
        };
        self.drop_defaults(&op, old)?;
        self.check_counts(&op, old)?;
        casting::around(self, old)
    }

    fn drop_defaults(&mut self, op: &str, old: &table::Version) -> Result<()> {
        let Some(new) = table::at(op, self.opset + 1) else { return Ok(()) };
        let strange: Vec<Attr> = self
            .node
            .attrs
            .iter()
            .filter(|a| new.has_attr(&a.name) && !old.has_attr(&a.name))
            .cloned()
            .collect();
        for attr in &strange {
            if !new.is_default(&attr.name, &attr.value) {
                return Err(self.lacks(format!("`{op}` has no attribute `{}`", attr.name)));
            }
            self.unset(&attr.name);
        }
        if !strange.is_empty() {
            self.put();
        }
        let missing = old.required().find(|name| self.node.attr(name).is_none());
        match missing {
            Some(name) => Err(self.lacks(format!("`{op}` needs its attribute `{name}`"))),
            None => Ok(()),
        }
    }

    fn check_counts(&mut self, op: &str, old: &table::Version) -> Result<()> {
        let inputs = self.node.inputs.iter().rposition(Option::is_some).map_or(0, |i| i + 1);
        if old.is_over_inputs(inputs) {
            return Err(self.lacks(format!("`{op}` has no input {}", inputs - 1)));
        }
        if inputs < usize::from(old.least) {
            return Err(self.lacks(format!("`{op}` needs its input {inputs}")));
        }
        while self.node.outputs.len() > 1
            && old.is_over_outputs(self.node.outputs.len())
            && !self.is_used(self.node.outputs.len() - 1)
        {
            self.node.outputs.pop();
            self.put();
        }
        if old.is_over_outputs(self.node.outputs.len()) {
            let last = self.node.outputs.len() - 1;
            return Err(self.lacks(format!("`{op}` has no output {last}")));
        }
        Ok(())
    }
}

/// The lengths, if all are known.
pub(super) fn fixed(shape: &[Dim]) -> Option<Vec<i64>> {
    shape.iter().map(|d| i64::try_from(d.fixed()?).ok()).collect()
}
