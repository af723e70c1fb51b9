//! The marked values get their `QuantizeLinear` and `DequantizeLinear`.

use std::collections::{BTreeMap, BTreeSet};

use super::super::Observed;
use super::super::observed::Range;
use super::affine::{Affine, Integer, store};
use super::fold::integers;
use super::marking::{Marks, Share};
use super::weight::{Sharing, quantized, ranges};
use super::{Options, bias};
use crate::error::{Error, Result};
use crate::hub::{AttrValue, DType, Edit, Node, NodeId, Tensor, Use, ValueId};

/// A scale and a zero point that are in the graph.
#[derive(Clone)]
struct Placed {
    scale: ValueId,
    zero: Option<ValueId>,
    /// The numbers; empty where they are not constant.
    parameters: Vec<Affine>,
}

struct Apply<'a, 'g> {
    edit: &'a mut Edit<'g>,
    options: &'a Options,
    marks: &'a Marks,
    observed: &'a Observed,
    domain: &'static str,
    /// The parameters of activations.
    activations: BTreeMap<ValueId, Placed>,
    /// The parameters of weights, by the value and its axis.
    weights: BTreeMap<(ValueId, Option<usize>), Vec<Affine>>,
}

/// Puts the pairs in. `domain` is that of the operators.
pub(super) fn apply(
    edit: &mut Edit<'_>,
    options: &Options,
    marks: &Marks,
    observed: &Observed,
    domain: &'static str,
) -> Result<()> {
    let (activations, weights) = (BTreeMap::new(), BTreeMap::new());
    let mut work = Apply { edit, options, marks, observed, domain, activations, weights };
    work.places()?;
    work.weigh()?;
    work.biases()?;
    work.put_weights()?;
    work.put_activations()?;
    work.drop_cuts();
    Ok(())
}

impl Apply<'_, '_> {
    fn name(&self, value: ValueId) -> String {
        self.edit.body().value(value).name.clone()
    }

    /// Who reads a marked constant as an activation: nodes that are quantized.
    fn readers(&self) -> BTreeSet<NodeId> {
        self.marks.nodes.iter().copied().collect()
    }

    /// The range of a value that has a scale of its own.
    fn range(&self, value: ValueId) -> Result<Range> {
        if let Some(fixed) = self.marks.fixed.get(&value) {
            return Ok(*fixed);
        }
        if let Some(constant) = self.edit.body().constant(value) {
            let found = ranges(&self.name(value), constant, Sharing::of(constant, None)?)?;
            return found.first().copied().ok_or_else(|| Error::bug("a constant without a range"));
        }
        let name = self.name(self.marks.narrowed.get(&value).copied().unwrap_or(value));
        self.observed.ranges.get(&name).copied().ok_or_else(|| {
            Error::bug("a value that is to be quantized was not observed").item(name)
        })
    }

    /// Makes the parameters of every activation: first those of their own, then shared ones.
    fn places(&mut self) -> Result<()> {
        let marks = self.marks;
        for (value, _) in marks.values.iter().filter(|(_, share)| *share == Share::Own) {
            let affine = self.options.activation.fit(self.range(*value)?);
            let name = self.name(*value);
            let placed = self.place(&name, self.options.activation, vec![affine], false)?;
            self.activations.insert(*value, placed);
        }
        for (value, share) in &marks.values {
            let mut source = *share;
            // A chain of values that share ends at one of its own; there are no cycles.
            let placed = loop {
                let Share::As(from) = source else { break None };
                if let Some(found) = self.placed(from) {
                    break Some(found);
                }
                match marks.values.iter().find(|(id, _)| *id == from) {
                    Some((_, next)) => source = *next,
                    None => break None,
                }
            };
            if let Some(placed) = placed {
                self.activations.insert(*value, placed);
            }
        }
        Ok(())
    }

    /// The parameters of an activation: ours, or those that the source has.
    fn placed(&self, value: ValueId) -> Option<Placed> {
        if let Some(placed) = self.activations.get(&value) {
            return Some(placed.clone());
        }
        let body = self.edit.body();
        let before = self.edit.producer(value).and_then(|id| body.node(id));
        let after = self.edit.uses(value).iter().find_map(|u| match u {
            Use::Input(id, 0) => body.node(*id).filter(|n| n.op == "QuantizeLinear"),
            _ => None,
        });
        let node = before.filter(|n| n.op == "DequantizeLinear").or(after)?;
        let (scale, zero) = (node.input(1)?, node.input(2));
        let scales = body.constant(scale).and_then(|t| t.to_f32().ok()).unwrap_or_default();
        let zeros = zero.and_then(|z| body.constant(z)).and_then(integers).unwrap_or_default();
        let parameters = match (&scales[..], &zeros[..]) {
            ([scale], []) => vec![Affine { scale: *scale, zero: 0 }],
            ([scale], [zero]) => vec![Affine { scale: *scale, zero: *zero }],
            _ => Vec::new(),
        };
        Some(Placed { scale, zero, parameters })
    }

    /// Adds constants with parameters; a list of them if `list` says so.
    fn place(
        &mut self,
        name: &str,
        to: Integer,
        parameters: Vec<Affine>,
        list: bool,
    ) -> Result<Placed> {
        let shape = if list { vec![parameters.len() as u64] } else { Vec::new() };
        let scales: Vec<f32> = parameters.iter().map(|p| p.scale).collect();
        let mut zeros = Vec::new();
        parameters.iter().for_each(|p| store(to.dtype, p.zero, &mut zeros));
        let scales = Tensor::from_f32(shape.clone(), &scales)?;
        let zeros = Tensor::new(to.dtype, shape, zeros.into())?;
        let scale = self.edit.constant(&format!("{name}_scale"), scales)?;
        let zero = Some(self.edit.constant(&format!("{name}_zero_point"), zeros)?);
        Ok(Placed { scale, zero, parameters })
    }

    /// Finds the parameters of every weight, with room for biases.
    fn weigh(&mut self) -> Result<()> {
        let marks = self.marks;
        for weight in &marks.weights {
            let key = (weight.value, weight.axis);
            let Some(tensor) = self.edit.body().constant(weight.value).cloned() else { continue };
            if !self.weights.contains_key(&key) {
                let sharing = Sharing::of(&tensor, weight.axis)?;
                let found = ranges(&self.name(weight.value), &tensor, sharing)?;
                let fit = found.into_iter().map(|range| self.options.weight.fit(range)).collect();
                self.weights.insert(key, fit);
            }
        }
        if !self.options.weight.symmetric {
            return Ok(());
        }
        for bias in &marks.biases {
            let Some(values) = self.bias_values(bias.value)? else { continue };
            let x = self.placed(bias.x).and_then(|p| p.parameters.first().copied());
            let weight =
                marks.weights.iter().find(|w| w.node == bias.node && w.value == bias.weight);
            if let (Some(x), Some(weight)) = (x, weight)
                && let Some(parameters) = self.weights.get_mut(&(weight.value, weight.axis))
            {
                bias::make_room(x, parameters, &values);
            }
        }
        Ok(())
    }

    fn bias_values(&self, value: ValueId) -> Result<Option<Vec<f32>>> {
        self.edit.body().constant(value).map(Tensor::to_f32).transpose()
    }

    /// Gives every bias its integers.
    fn biases(&mut self) -> Result<()> {
        let marks = self.marks;
        for bias in &marks.biases {
            let Some(values) = self.bias_values(bias.value)? else { continue };
            let x = self.placed(bias.x).and_then(|p| p.parameters.first().copied());
            let weight =
                marks.weights.iter().find(|w| w.node == bias.node && w.value == bias.weight);
            let weight = weight.and_then(|w| self.weights.get(&(w.value, w.axis))).cloned();
            let Some((x, weight)) = x.zip(weight) else { continue };
            if weight.len() != 1 && weight.len() != values.len() {
                continue;
            }
            let quantized = bias::quantize(x, &weight, &values, bias.beta)?;
            let name = self.name(bias.value);
            let list = quantized.scales.len() > 1;
            let shape = if list { vec![quantized.scales.len() as u64] } else { Vec::new() };
            let zeros = vec![0; quantized.scales.len() * 4];
            let zeros = Tensor::new(DType::I32, shape.clone(), zeros.into())?;
            let scales = Tensor::from_f32(shape, &quantized.scales)?;
            let q = self.edit.constant(&format!("{name}_quantized"), quantized.values)?;
            let scale = self.edit.constant(&format!("{name}_quantized_scale"), scales)?;
            let zero = Some(self.edit.constant(&format!("{name}_quantized_zero_point"), zeros)?);
            let placed = Placed { scale, zero, parameters: Vec::new() };
            let out = self.edit.value(&format!("{name}_dequantized"), None)?;
            self.dequantize(&name, q, out, &placed, list.then_some(0))?;
            self.edit.set_input(bias.node, bias.input, Some(out));
            if bias.beta != 1.0 {
                self.set_beta(bias.node);
            }
        }
        Ok(())
    }

    /// The factor of an addend is in its scale already.
    fn set_beta(&mut self, id: NodeId) {
        let Some(mut node) = self.edit.body().node(id).cloned() else { return };
        for attr in node.attrs.iter_mut().filter(|attr| attr.name == "beta") {
            attr.value = AttrValue::Float(1.0);
        }
        self.edit.replace(id, node);
    }

    fn pair(&self, op: &str, name: &str, from: ValueId, to: ValueId, placed: &Placed) -> Node {
        let inputs = vec![Some(from), Some(placed.scale), placed.zero];
        let mut node = Node::new(op, &[], &[to]);
        node.inputs = inputs;
        while node.inputs.last() == Some(&None) {
            node.inputs.pop();
        }
        node.name = format!("{name}_{op}");
        self.domain.clone_into(&mut node.domain);
        node
    }

    fn dequantize(
        &mut self,
        name: &str,
        from: ValueId,
        to: ValueId,
        placed: &Placed,
        axis: Option<usize>,
    ) -> Result<()> {
        let mut node = self.pair("DequantizeLinear", name, from, to, placed);
        if let Some(axis) = axis.and_then(|axis| i64::try_from(axis).ok()) {
            node = node.with("axis", AttrValue::Int(axis));
        }
        self.edit.add(node)?;
        Ok(())
    }

    /// A constant in integers and the value that they mean.
    fn dequantized(
        &mut self,
        value: ValueId,
        to: Integer,
        axis: Option<usize>,
        placed: &Placed,
    ) -> Result<ValueId> {
        let name = self.name(value);
        let Some(tensor) = self.edit.body().constant(value).cloned() else {
            return Err(Error::bug("a weight that is no constant").item(name));
        };
        let sharing = Sharing::of(&tensor, axis)?;
        let q = quantized(&tensor, to, sharing, placed.parameters.clone())?;
        let q = self.edit.constant(&format!("{name}_quantized"), q.named(&name))?;
        let out = self.edit.value(&format!("{name}_dequantized"), None)?;
        self.dequantize(&name, q, out, placed, axis)?;
        Ok(out)
    }

    fn put_weights(&mut self) -> Result<()> {
        let marks = self.marks;
        let mut done: BTreeMap<(ValueId, Option<usize>), ValueId> = BTreeMap::new();
        for weight in &marks.weights {
            let key = (weight.value, weight.axis);
            let out = match done.get(&key) {
                Some(out) => *out,
                None => {
                    let Some(parameters) = self.weights.get(&key).cloned() else { continue };
                    let name = self.name(weight.value);
                    let list = weight.axis.is_some();
                    let placed = self.place(&name, self.options.weight, parameters, list)?;
                    let out =
                        self.dequantized(weight.value, self.options.weight, weight.axis, &placed)?;
                    *done.entry(key).or_insert(out)
                }
            };
            self.edit.set_input(weight.node, weight.input, Some(out));
        }
        Ok(())
    }

    fn put_activations(&mut self) -> Result<()> {
        let marks = self.marks;
        let readers = self.readers();
        for (value, _) in &marks.values {
            let Some(placed) = self.activations.get(value).cloned() else { continue };
            let name = self.name(*value);
            if self.edit.body().constant(*value).is_some() {
                let uses: Vec<_> = self.edit.uses(*value).to_vec();
                let uses = uses.into_iter().filter_map(|u| match u {
                    Use::Input(id, at) if readers.contains(&id) => Some((id, at)),
                    _ => None,
                });
                let uses: Vec<_> = uses.collect();
                if uses.is_empty() {
                    continue;
                }
                let out = self.dequantized(*value, self.options.activation, None, &placed)?;
                for (id, at) in uses {
                    self.edit.set_input(id, at, Some(out));
                }
                continue;
            }
            let ty = self.edit.body().value(*value).ty.clone();
            let out = self.edit.value(&format!("{name}_dequantized"), ty)?;
            self.edit.replace_uses(*value, out)?;
            let q = self.edit.value(&format!("{name}_quantized"), None)?;
            let node = self.pair("QuantizeLinear", &name, *value, q, &placed);
            self.edit.add(node)?;
            self.dequantize(&name, q, out, &placed, None)?;
        }
        Ok(())
    }

    /// Takes the nodes out whose work a range does: what made their input makes their output.
    fn drop_cuts(&mut self) {
        for id in &self.marks.dropped {
            let Some(node) = self.edit.body().node(*id) else { continue };
            let (Some(x), Some(y)) = (node.input(0), node.output(0)) else { continue };
            let Some(producer) = self.edit.producer(x) else { continue };
            let Some(mut made) = self.edit.body().node(producer).cloned() else { continue };
            self.edit.remove(*id);
            made.outputs.iter_mut().filter(|o| **o == Some(x)).for_each(|o| *o = Some(y));
            self.edit.replace(producer, made);
        }
    }
}
