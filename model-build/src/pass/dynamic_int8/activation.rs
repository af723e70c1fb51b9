//! Activations as u8: the nodes that quantize them when the model runs.

use std::collections::BTreeMap;

use crate::error::Result;
use crate::hub::{AttrValue, DType, Edit, Node, Tensor, ValueId};

/// What of an activation shares a scale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Granularity {
    /// Everything.
    Tensor,
    /// A vector along the last axis.
    Row,
}

/// A quantized activation: `values` is u8 of the activation's shape.
#[derive(Clone, Copy, Debug)]
pub(super) enum Activation {
    /// `activation ≈ (values - zero) · scale`, both scalars.
    Tensor { values: ValueId, scale: ValueId, zero: ValueId },
    /// `activation ≈ values · scale + least`, both of the activation's shape with a last axis of 1.
    Row { values: ValueId, scale: ValueId, least: ValueId },
}

/// The activations of a graph, each quantized once for all its consumers.
pub(super) struct Activations {
    granularity: Granularity,
    opset: i64,
    done: BTreeMap<ValueId, Activation>,
    /// 1/255, the least scale and, where the operator set has axes as inputs, -1.
    constants: Option<(ValueId, ValueId, Option<ValueId>)>,
}

impl Activations {
    pub(super) fn new(granularity: Granularity, opset: i64) -> Self {
        Self { granularity, opset, done: BTreeMap::new(), constants: None }
    }

    /// The quantized form of a value.
    pub(super) fn of(&mut self, edit: &mut Edit<'_>, a: ValueId) -> Result<Activation> {
        if let Some(done) = self.done.get(&a) {
            return Ok(*done);
        }
        let name = edit.body().value(a).name.clone();
        let new = match self.granularity {
            Granularity::Tensor => per_tensor(edit, a, &name)?,
            Granularity::Row => self.per_row(edit, a, &name)?,
        };
        self.done.insert(a, new);
        Ok(new)
    }

    /// ```text
    /// a ─┬─▶ ReduceMin ─▶ least ──────────────────────────┐
    ///    ├─▶ ReduceMax ─▶ Sub(·, least) ─▶ Mul(·, 1/255) ─▶ Max(·, tiny) ─▶ scale
    ///    └─▶ Sub(·, least) ─▶ Div(·, scale) ─▶ Round ─▶ Cast ─▶ values
    /// ```
    fn per_row(&mut self, edit: &mut Edit<'_>, a: ValueId, name: &str) -> Result<Activation> {
        let (step, tiny, axes) = self.constants(edit)?;
        let named = |end: &str| format!("{name}_{end}");
        let mut reduce = |op: &str, hint: &str| match axes {
            Some(axes) => edit.op(op, &named(hint), &[a, axes], &[]),
            None => edit.op(op, &named(hint), &[a], &[("axes", AttrValue::Ints(vec![-1]))]),
        };
        let least = reduce("ReduceMin", "least")?;
        let most = reduce("ReduceMax", "most")?;
        let span = edit.op("Sub", &named("span"), &[most, least], &[])?;
        let scale = edit.op("Mul", &named("step"), &[span, step], &[])?;
        // A row of one value has no span; its values are 0, whatever the scale.
        let scale = edit.op("Max", &named("scale"), &[scale, tiny], &[])?;
        let above = edit.op("Sub", &named("above"), &[a, least], &[])?;
        let steps = edit.op("Div", &named("steps"), &[above, scale], &[])?;
        let steps = edit.op("Round", &named("rounded"), &[steps], &[])?;
        let to = [("to", AttrValue::Int(DType::U8.number()))];
        let values = edit.op("Cast", &named("quantized"), &[steps], &to)?;
        Ok(Activation::Row { values, scale, least })
    }

    fn constants(&mut self, edit: &mut Edit<'_>) -> Result<(ValueId, ValueId, Option<ValueId>)> {
        if let Some(done) = self.constants {
            return Ok(done);
        }
        let scalar = |v: f32| Tensor::from_f32(Vec::new(), &[v]);
        let step = edit.constant("u8_step", scalar(1.0 / 255.0)?)?;
        let tiny = edit.constant("least_scale", scalar(f32::MIN_POSITIVE)?)?;
        let axes = if self.opset >= 18 {
            let axes = Tensor::new(DType::I64, vec![1], (-1i64).to_le_bytes().to_vec().into())?;
            Some(edit.constant("last_axis", axes)?)
        } else {
            None
        };
        Ok(*self.constants.insert((step, tiny, axes)))
    }
}

fn per_tensor(edit: &mut Edit<'_>, a: ValueId, name: &str) -> Result<Activation> {
    let values = edit.value(&format!("{name}_quantized"), None)?;
    let scale = edit.value(&format!("{name}_scale"), None)?;
    let zero = edit.value(&format!("{name}_zero_point"), None)?;
    let mut node = Node::new("DynamicQuantizeLinear", &[a], &[values, scale, zero]);
    node.name = format!("{name}_QuantizeLinear");
    edit.add(node)?;
    Ok(Activation::Tensor { values, scale, zero })
}
