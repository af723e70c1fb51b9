//! Builds a graph from a checkpoint: weights by their Hugging Face names, nodes named after the
//! module they belong to, and a list of what was used.

use std::collections::BTreeSet;

use super::config::{Config, refused};
use super::weight;
use crate::error::{Error, Result};
use crate::hub::{AttrValue, Checkpoint, DType, Dim, Graph, Node, Tensor, Type, Value, ValueId};
use crate::op;

/// The opset that `lower` gives: the first one with LayerNormalization.
const OPSET: i64 = 17;
/// The ONNX IR version that goes with it.
const IR_VERSION: i64 = 8;

/// What the names of tensors end with that torch keeps beside the weights and that no node reads.
const BUFFERS: &[&str] = &["position_ids", "token_type_ids", "num_batches_tracked"];

/// A graph in the making.
///
/// A *path* is a module's name as in transformers, without the model's prefix: `encoder.layer.0`.
/// The nodes of a module are named `path/Op`. Weights keep the names that they have in the file.
pub(super) struct Builder<'c> {
    checkpoint: &'c Checkpoint,
    prefix: &'static str,
    /// What stands before the names of nodes.
    scope: &'static str,
    used: BTreeSet<String>,
    graph: Graph,
    outputs: Vec<(ValueId, String)>,
}

impl<'c> Builder<'c> {
    /// Starts a graph. `prefix` is what the encoder's tensor names start with in a checkpoint of a
    /// class with a head (`bert.`); checkpoints of the bare encoder do without it.
    pub(super) fn new(checkpoint: &'c Checkpoint, family: &str, prefix: &'static str) -> Self {
        let prefixed = checkpoint.tensors.keys().any(|name| name.starts_with(prefix));
        Self {
            checkpoint,
            prefix: if prefixed { prefix } else { "" },
            scope: "",
            used: BTreeSet::new(),
            graph: Graph::new(family, IR_VERSION, OPSET),
            outputs: Vec::new(),
        }
    }

    /// Goes on with a part of the model: its tensors' names start with `prefix`, unless none in the
    /// file does, and the names of its nodes with `scope`.
    pub(super) fn enter(&mut self, prefix: &'static str, scope: &'static str) {
        let prefixed = self.checkpoint.tensors.keys().any(|name| name.starts_with(prefix));
        self.prefix = if prefixed { prefix } else { "" };
        self.scope = scope;
    }

    /// The name in the file of a tensor of the encoder.
    pub(super) fn in_encoder(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// Whether the file has a tensor.
    pub(super) fn has(&self, name: &str) -> bool {
        self.checkpoint.tensors.contains_key(name)
    }

    /// Records a fact in the graph's metadata.
    pub(super) fn fact(&mut self, key: &str, value: impl Into<String>) {
        self.graph.metadata.push((key.to_owned(), value.into()));
    }

    /// A graph input.
    pub(super) fn input(&mut self, name: &str, dtype: DType, shape: &[Dim]) -> Result<ValueId> {
        let id = self.graph.body.add_value(Value {
            name: name.to_owned(),
            ty: Some(Type::tensor(dtype, shape.iter().cloned())),
            ..Value::default()
        })?;
        self.graph.body.add_input(id);
        Ok(id)
    }

    /// Makes a value an f32 output of the graph.
    pub(super) fn output(&mut self, name: &str, value: ValueId, shape: &[Dim]) {
        let ty = Type::tensor(DType::F32, shape.iter().cloned());
        self.graph.body.value_mut(value).ty = Some(ty);
        self.graph.body.add_output(value);
        self.outputs.push((value, name.to_owned()));
    }

    /// A constant of this name, made once.
    fn constant(&mut self, name: String, tensor: Tensor) -> Result<ValueId> {
        if let Some(id) = self.graph.body.find(&name) {
            return Ok(id);
        }
        let dims = tensor.shape().iter().map(|d| Dim::Fixed(*d));
        let ty = Some(Type::tensor(tensor.dtype(), dims));
        self.graph.body.add_value(Value { name, ty, init: Some(tensor), ..Value::default() })
    }

    /// A scalar f32, shared by all that ask for the same number.
    pub(super) fn scalar(&mut self, value: f32) -> Result<ValueId> {
        self.constant(format!("constant/{value:?}"), Tensor::from_f32(Vec::new(), &[value])?)
    }

    /// A scalar i64, shared by all that ask for the same number.
    pub(super) fn integer(&mut self, value: i64) -> Result<ValueId> {
        self.constant(format!("constant/{value}"), Tensor::from_i64(Vec::new(), &[value])?)
    }

    /// A vector of i64, shared by all that ask for the same numbers.
    pub(super) fn integers(&mut self, values: &[i64]) -> Result<ValueId> {
        let tensor = Tensor::from_i64(vec![values.len() as u64], values)?;
        self.constant(format!("constant/{values:?}"), tensor)
    }

    /// A table of i64 that belongs to a module.
    pub(super) fn table(&mut self, name: &str, values: &[i64]) -> Result<ValueId> {
        self.constant(name.to_owned(), Tensor::from_i64(vec![values.len() as u64], values)?)
    }

    /// A constant that belongs to a module.
    pub(super) fn tensor(&mut self, name: &str, tensor: Tensor) -> Result<ValueId> {
        self.constant(name.to_owned(), tensor)
    }

    /// Adds a node of module `path` with one output, and returns that output.
    pub(super) fn op(
        &mut self,
        path: &str,
        op: &str,
        inputs: &[ValueId],
        attrs: &[(&str, AttrValue)],
    ) -> Result<ValueId> {
        let base = format!("{}{path}/{op}", self.scope);
        let mut name = base.clone();
        let mut number = 0;
        while self.graph.body.find(&name).is_some() {
            number += 1;
            name = format!("{base}_{number}");
        }
        let out = self.graph.body.add_value(Value { name: name.clone(), ..Value::default() })?;
        let mut node = Node { name, ..Node::new(op, inputs, &[out]) };
        for (name, value) in attrs {
            node = node.with(name, value.clone());
        }
        self.graph.body.add_node(node)?;
        Ok(out)
    }

    /// Casts a value.
    pub(super) fn cast(&mut self, path: &str, x: ValueId, to: DType) -> Result<ValueId> {
        let number = to.number();
        self.op(path, "Cast", &[x], &[("to", AttrValue::Int(number))])
    }

    fn fetch(&mut self, name: &str, shape: &[u64]) -> Result<&'c Tensor> {
        let tensor = self.checkpoint.tensor(name, shape)?;
        self.used.insert(name.to_owned());
        Ok(tensor)
    }

    /// A weight as it is, in f32. `name` is the name in the file.
    pub(super) fn weight(&mut self, name: &str, shape: &[u64]) -> Result<ValueId> {
        let tensor = weight::widened(name, self.fetch(name, shape)?)?;
        self.constant(name.to_owned(), tensor)
    }

    /// `x · weightᵀ + bias`: torch's `Linear` at `file`, with nodes named after `path`. `file` is
    /// the module's name in the file, `path` the same without the model's prefix.
    ///
    /// `x` is `[…, inputs]`, the result `[…, outputs]`. The weight keeps its name and is stored
    /// transposed, as MatMul reads it.
    pub(super) fn linear(
        &mut self,
        at: &Module,
        x: ValueId,
        [outputs, inputs]: [u64; 2],
        bias: bool,
    ) -> Result<ValueId> {
        let name = format!("{}.weight", at.file);
        let turned = weight::transposed(&name, self.fetch(&name, &[outputs, inputs])?)?;
        let w = self.constant(name, turned)?;
        let y = self.op(&at.path, "MatMul", &[x, w], &[])?;
        if !bias {
            return Ok(y);
        }
        let b = self.weight(&format!("{}.bias", at.file), &[outputs])?;
        self.op(&at.path, "Add", &[y, b], &[])
    }

    /// torch's `LayerNorm` over the last axis, of length `hidden`. TensorFlow's names of the
    /// weights, `gamma` and `beta`, are taken where the file has those.
    pub(super) fn layer_norm(
        &mut self,
        at: &Module,
        x: ValueId,
        hidden: u64,
        epsilon: f32,
    ) -> Result<ValueId> {
        let old = self.has(&format!("{}.gamma", at.file));
        let names = if old { ["gamma", "beta"] } else { ["weight", "bias"] };
        let [scale, bias] = names.map(|n| format!("{}.{n}", at.file));
        let scale = self.weight(&scale, &[hidden])?;
        let bias = self.weight(&bias, &[hidden])?;
        let attrs = [("axis", AttrValue::Int(-1)), ("epsilon", AttrValue::Float(epsilon))];
        self.op(&at.path, "LayerNormalization", &[x, scale, bias], &attrs)
    }

    /// A module of the encoder.
    pub(super) fn module(&self, path: &str) -> Module {
        Module { file: self.in_encoder(path), path: path.to_owned() }
    }

    /// Whether two tensors of the file hold the same bytes.
    pub(super) fn same(&self, a: &str, b: &str) -> Result<bool> {
        let (Some(a), Some(b)) = (self.checkpoint.tensors.get(a), self.checkpoint.tensors.get(b))
        else {
            return Ok(false);
        };
        Ok(a.dtype() == b.dtype() && a.shape() == b.shape() && a.bytes()? == b.bytes()?)
    }

    /// Marks a tensor as used that adds nothing of its own.
    pub(super) fn mark_used(&mut self, name: &str) {
        self.used.insert(name.to_owned());
    }

    /// Ends the graph: names the outputs, infers all types, and makes sure that no weight was left out.
    ///
    /// `ignored` are the starts of the names that the family has outside the encoder: heads of
    /// other tasks. Any other tensor that no node reads is an error, for a graph that drops
    /// weights computes something else than the checkpoint.
    pub(super) fn finish(mut self, ignored: &[&str]) -> Result<Graph> {
        let pooler = self.in_encoder("pooler.");
        let left: Vec<&str> = self
            .checkpoint
            .tensors
            .keys()
            .map(String::as_str)
            .filter(|name| !self.used.contains(*name))
            .filter(|name| !BUFFERS.iter().any(|end| name.ends_with(end)))
            .filter(|name| !name.starts_with(&pooler))
            .filter(|name| !ignored.iter().any(|start| name.starts_with(start)))
            .collect();
        if let Some(first) = left.first() {
            let listed = left.iter().take(4).map(|n| format!("`{n}`")).collect::<Vec<_>>();
            let more = if left.len() > 4 { ", …" } else { "" };
            return Err(Error::unsupported(format!(
                "the checkpoint has {} tensor{} that this architecture gives no meaning to: {}{more}",
                left.len(),
                if left.len() == 1 { "" } else { "s" },
                listed.join(", ")
            ))
            .item(*first)
            .hint("leaving weights out would change what the model computes: check `num_hidden_layers` and `model_type` of config.json, and merge adapters into the weights"));
        }
        let mut edit = self.graph.edit();
        for (value, name) in &self.outputs {
            edit.rename(*value, name)?;
        }
        edit.finish()?;
        op::infer(&mut self.graph)?;
        Ok(self.graph)
    }
}

/// Where a module is: its name in the file and its path.
pub(super) struct Module {
    /// The name in the file, without the final `.weight`.
    pub(super) file: String,
    /// The start of the names of its nodes.
    pub(super) path: String,
}

impl Module {
    /// A module outside the encoder: a head, whose names have no prefix.
    pub(super) fn head(name: &str) -> Self {
        Self { file: name.to_owned(), path: name.to_owned() }
    }
}

/// An activation function of `transformers.activations`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Activation {
    /// `x · Φ(x)`, by the error function.
    Gelu,
    /// GELU by Hendrycks and Gimpel's approximation with tanh.
    GeluTanh,
    /// `x · sigmoid(1.702 x)`.
    QuickGelu,
    /// `max(x, 0)`.
    Relu,
    /// `min(max(x, 0), 6)`.
    Relu6,
    /// `x · sigmoid(x)`.
    Silu,
    /// The hyperbolic tangent.
    Tanh,
    /// The logistic function.
    Sigmoid,
    /// Nothing.
    Linear,
}

/// Names of `hidden_act` and what they mean.
const ACTIVATIONS: &[(&str, Activation)] = &[
    ("gelu", Activation::Gelu),
    ("gelu_python", Activation::Gelu),
    ("gelu_new", Activation::GeluTanh),
    ("gelu_fast", Activation::GeluTanh),
    ("gelu_pytorch_tanh", Activation::GeluTanh),
    ("gelu_python_tanh", Activation::GeluTanh),
    ("quick_gelu", Activation::QuickGelu),
    ("relu", Activation::Relu),
    ("relu6", Activation::Relu6),
    ("silu", Activation::Silu),
    ("swish", Activation::Silu),
    ("tanh", Activation::Tanh),
    ("sigmoid", Activation::Sigmoid),
    ("linear", Activation::Linear),
];

impl Activation {
    /// The function that a key of config.json names.
    pub(super) fn of(
        config: &Config<'_>,
        key: &'static str,
        default: &'static str,
    ) -> Result<Self> {
        Self::named(key, config.text_or(key, default)?)
    }

    /// The function of that name, which a key of config.json has.
    pub(super) fn named(key: &'static str, name: &str) -> Result<Self> {
        ACTIVATIONS.iter().find(|(n, _)| *n == name).map(|(_, a)| *a).ok_or_else(|| {
            let known: Vec<&str> = ACTIVATIONS.iter().map(|(n, _)| *n).collect();
            refused(key, format!("is `{name}`, an activation that is not lowered here"))
                .hint(format!("the known ones are: {}", known.join(", ")))
        })
    }

    /// Applies the function.
    pub(super) fn apply(self, b: &mut Builder<'_>, path: &str, x: ValueId) -> Result<ValueId> {
        match self {
            Self::Gelu => {
                // x · (1 + erf(x / √2)) · ½
                let root = b.scalar(std::f32::consts::SQRT_2)?;
                let scaled = b.op(path, "Div", &[x, root], &[])?;
                let erf = b.op(path, "Erf", &[scaled], &[])?;
                half_of(b, path, x, erf)
            }
            Self::GeluTanh => {
                // x · (1 + tanh(√(2/π) · (x + 0.044715 x³))) · ½
                let three = b.scalar(3.0)?;
                let cube = b.op(path, "Pow", &[x, three], &[])?;
                let small = b.scalar(0.044_715)?;
                let cube = b.op(path, "Mul", &[cube, small], &[])?;
                let sum = b.op(path, "Add", &[x, cube], &[])?;
                let root = b.scalar(0.797_884_6)?;
                let scaled = b.op(path, "Mul", &[sum, root], &[])?;
                let tanh = b.op(path, "Tanh", &[scaled], &[])?;
                half_of(b, path, x, tanh)
            }
            Self::QuickGelu => {
                let factor = b.scalar(1.702)?;
                let scaled = b.op(path, "Mul", &[x, factor], &[])?;
                let gate = b.op(path, "Sigmoid", &[scaled], &[])?;
                b.op(path, "Mul", &[x, gate], &[])
            }
            Self::Silu => {
                let gate = b.op(path, "Sigmoid", &[x], &[])?;
                b.op(path, "Mul", &[x, gate], &[])
            }
            Self::Relu => b.op(path, "Relu", &[x], &[]),
            Self::Relu6 => {
                let (low, high) = (b.scalar(0.0)?, b.scalar(6.0)?);
                b.op(path, "Clip", &[x, low, high], &[])
            }
            Self::Tanh => b.op(path, "Tanh", &[x], &[]),
            Self::Sigmoid => b.op(path, "Sigmoid", &[x], &[]),
            Self::Linear => Ok(x),
        }
    }
}

/// `x · (1 + y) · ½`.
fn half_of(b: &mut Builder<'_>, path: &str, x: ValueId, y: ValueId) -> Result<ValueId> {
    let one = b.scalar(1.0)?;
    let half = b.scalar(0.5)?;
    let sum = b.op(path, "Add", &[y, one], &[])?;
    let product = b.op(path, "Mul", &[x, sum], &[])?;
    b.op(path, "Mul", &[product, half], &[])
}
