//! Static int8: weights and activations get scales when the model is built, activations from what
//! was seen of them on calibration data.
#![allow(clippy::unnecessary_wraps)] // every rule has one signature, whether it can fail or not

mod affine;
mod apply;
mod bias;
mod conv;
mod elementwise;
mod fold;
mod marking;
mod norm;
mod passing;
mod product;
mod qoperator;
mod removable;
mod weight;

use self::affine::Integer;
use self::marking::Share;
use super::{Exclude, Observed, Params, PassDef};
use crate::error::{Error, Result};
use crate::hub::{AttrValue, DType, Graph, NodeId, ValueId};
use crate::op;

/// Gives values a scale and a zero point and computes on integers, from ranges that were observed.
///
/// ```text
/// form = "qdq"        before: x ─▶ Conv(·, w, b) ─▶ Relu ─▶ y
///                     after:  x ─▶ Q ─▶ DQ ─▶ Conv(·, DQ(w_quantized), DQ(b_quantized)) ─▶ Q ─▶ DQ ─▶ y
/// form = "qoperator"  after:  x ─▶ Q ─▶ QLinearConv(·, w_quantized, b_quantized) ─▶ DQ ─▶ y
/// Transpose           before: a ─▶ Transpose ─▶ y
///                     after:  a ─▶ Q ─▶ DQ ─▶ Transpose ─▶ Q ─▶ DQ ─▶ y, both pairs with a's scale
/// ```
///
/// What is quantized is what `onnxruntime.quantization.quantize_static` quantizes by default, and
/// scales, zero points and integers are computed as it computes them:
///
/// * **Weights** of `Conv`, `ConvTranspose`, `Gemm`, `MatMul` and of the normalizations: `weights`,
///   symmetric where signed; with `per-channel`, a scale per output channel (opset 13).
/// * **Biases** are i32 with the scale of the input times that of the weight. A weight whose scale
///   would make a bias pass 32 bits gets a larger one.
/// * **Activations**: `activations`, with zero in the middle if `symmetric`. `Add`, `Mul`,
///   `Sigmoid`, `LeakyRelu`, `Softmax` (always from 0 to 1), `Concat`, `GlobalAveragePool`,
///   `CumSum`, the constants among their inputs too.
/// * **Operators that hand numbers on** (`Reshape`, `Transpose`, `MaxPool`, `Slice`, `Gather` …)
///   have one scale for input and output.
/// * **`Relu` and `Clip`** after a quantized operator go: the zero point does their work. Where
///   activations are symmetric they stay.
/// * **Values that have scales** in the source, from training or another tool, keep them, and
///   quantized constants (`QuantizeLinear` of a weight) are folded to integers.
///
/// It differs where theirs costs accuracy: a constant that a node outside of these operators, or an
/// excluded one, also reads stays f32 for that reader, and the number that `Pad` pads with is not
/// quantized apart.
///
/// Parameters: `weights` (`int8`, `uint8`), `activations` (`int8`, `uint8`, `int16`, `uint16`),
/// `form`, `per-channel` and `symmetric` (`true`, `false`), `exclude` (see [`Exclude`]); with `method`
/// `qat` only what has scales is folded. 16 bits before opset 21 use the operators of the domain
/// `com.microsoft`.
///
/// # Errors
/// A value that is to get a scale and was not observed. A weight that is not finite. A graph in which
/// nothing can be quantized; with `qat`, one without `QuantizeLinear`. An operator set before 10, and
/// before 13 for scales per channel. 16 bits in the form `qoperator`.
pub static STATIC_INT8: PassDef = PassDef {
    name: "static-int8",
    about: "quantizes weights and activations to integers, by ranges seen on calibration data",
    revision: 1,
    run,
};

/// The parameters, read.
struct Options {
    weight: Integer,
    activation: Integer,
    per_channel: bool,
    qoperator: bool,
    /// Nothing gets a scale that has none.
    qat: bool,
}

impl Options {
    fn of(params: &Params) -> Result<Self> {
        let text = |name, default| params.get(name).unwrap_or(default);
        let flag = |name| match text(name, "false") {
            "true" => Ok(true),
            "false" => Ok(false),
            other => Err(Error::bug(format!("static-int8 with {name} `{other}`"))),
        };
        let weights = text("weights", "int8");
        let qoperator = match text("form", "qdq") {
            "qdq" => false,
            "qoperator" => true,
            other => return Err(Error::bug(format!("static-int8 with form `{other}`"))),
        };
        let activation = Integer::named(text("activations", "int8"), flag("symmetric")?)?;
        if qoperator && matches!(activation.dtype, DType::I16 | DType::U16) {
            return Err(Error::manifest("the form `qoperator` has no operators for 16 bits")
                .hint("set `form = \"qdq\"`, or an activation type of 8 bits"));
        }
        Ok(Self {
            weight: Integer::named(weights, weights.starts_with("int"))?,
            activation,
            per_channel: flag("per-channel")?,
            qoperator,
            qat: text("method", "static") == "qat",
        })
    }

    fn check(&self, opset: i64) -> Result<()> {
        let need = if self.per_channel { 13 } else { 10 };
        if opset >= need {
            return Ok(());
        }
        let what =
            if self.per_channel { "scales per channel need" } else { "QuantizeLinear needs" };
        Err(Error::unsupported(format!(
            "{what} opset {need} or later, the graph has opset {opset}"
        ))
        .hint(format!("set `opset-version = {need}`, or leave out `per-channel`")))
    }

    /// Where `QuantizeLinear` comes from.
    fn domain(&self, opset: i64) -> &'static str {
        let wide = matches!(self.activation.dtype, DType::I16 | DType::U16);
        if wide && opset < 21 { "com.microsoft" } else { "" }
    }
}

/// The names of the values whose ranges the pass needs to see, sorted.
///
/// # Errors
/// As the pass's own about its parameters; patterns that match nothing.
pub fn wanted(graph: &Graph, params: &Params) -> Result<Vec<String>> {
    let options = Options::of(params)?;
    if options.qat {
        return Ok(Vec::new());
    }
    let mut graph = prepared(graph, &options, params)?;
    let versions = (graph.opset(), graph.ir_version);
    let exclude = Exclude::of(params)?;
    let edit = graph.edit();
    let marks = marking::mark(&edit, &options, &exclude, versions)?;
    let mut names = Vec::new();
    for (value, share) in &marks.values {
        let known = *share != Share::Own
            || marks.fixed.contains_key(value)
            || edit.body().constant(*value).is_some();
        if !known {
            let value = marks.narrowed.get(value).copied().unwrap_or(*value);
            names.push(edit.body().value(value).name.clone());
        }
    }
    names.sort();
    names.dedup();
    Ok(names)
}

/// The graph with types, and with constants where nodes made them.
fn prepared(graph: &Graph, options: &Options, params: &Params) -> Result<Graph> {
    options.check(graph.opset())?;
    Exclude::of(params)?.check(graph)?;
    let mut graph = graph.clone();
    op::infer(&mut graph)?;
    constants(&mut graph)?;
    fold::fold(&mut graph)?;
    Ok(graph)
}

/// `Constant` nodes with f32 tensors become initializers.
fn constants(graph: &mut Graph) -> Result<()> {
    let body = &graph.body;
    let found: Vec<(NodeId, ValueId, crate::hub::Tensor)> = body
        .nodes()
        .filter(|(_, node)| node.is("Constant"))
        .filter_map(|(id, node)| match (node.attr("value"), node.output(0)) {
            (Some(AttrValue::Tensor(t)), Some(out)) if t.dtype() == DType::F32 => {
                Some((id, out, t.clone()))
            }
            _ => None,
        })
        .filter(|(_, out, _)| !body.outputs().contains(out))
        .collect();
    let mut edit = graph.edit();
    for (id, out, tensor) in found {
        edit.remove(id);
        edit.set_constant(out, tensor);
    }
    edit.finish()
}

fn run(graph: &mut Graph, params: &Params, observed: &Observed) -> Result<()> {
    let options = Options::of(params)?;
    if options.qat && !graph.body.nodes().any(|(_, node)| node.op == "QuantizeLinear") {
        return Err(Error::unsupported("the source has no scales: no QuantizeLinear is in the graph")
            .hint("`method = \"qat\"` is for models that were trained with quantization; set `method = \"static\"` and `calibration`"));
    }
    let mut out = prepared(graph, &options, params)?;
    let versions = (out.opset(), out.ir_version);
    let exclude = Exclude::of(params)?;
    let domain = options.domain(out.opset());
    let mut edit = out.edit();
    if !options.qat {
        let marks = marking::mark(&edit, &options, &exclude, versions)?;
        if marks.values.is_empty() && marks.weights.is_empty() {
            return Err(Error::unsupported(
                "nothing here can be quantized: no operator that has an integer form computes on f32",
            )
            .hint("leave out `quantization` for this target"));
        }
        apply::apply(&mut edit, &options, &marks, observed, domain)?;
    }
    if options.qoperator {
        qoperator::fold(&mut edit, versions.0);
    }
    edit.finish()?;
    let uses_microsoft = out.body.nodes().any(|(_, node)| node.domain == "com.microsoft");
    if uses_microsoft {
        out.opsets.entry("com.microsoft".to_owned()).or_insert(1);
    }
    op::infer(&mut out)?;
    *graph = out;
    Ok(())
}

#[cfg(test)]
mod tests;
