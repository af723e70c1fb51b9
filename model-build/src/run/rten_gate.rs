//! What the embedded runner is trusted with: operators, element types and forms in which rten
//! gives the numbers that ONNX says.
//!
//! The evidence is `tests/fixtures/rten-gate`: the node tests of the ONNX project and forms of
//! our own with the outputs of ONNX Runtime. The tests of this module run every case: each entry
//! of [`OPS`] has a case that agrees, no case that is let through disagrees, and each refusal in
//! [`WRONG`] or [`wrong_form`] has a case that shows the need. What is not listed is refused.

use std::collections::BTreeMap;

use super::rten::{HOW_TO_CHANGE, VERSION};
use super::saturation;
use crate::error::{Error, Result};
use crate::hub::{AttrValue, Body, DType, Graph, Node, ValueId};

/// The operator sets of the standard domain that the cases are from.
const OPSETS: std::ops::RangeInclusive<i64> = 13..=28;

/// Operators and the element types of their data (the first input, of `Where` the second):
/// `f` floats, `l` i64, `i` i32, `b` bool, `u` u8, `s` i8; `-` for no input.
static OPS: &[(&str, &str)] = &[
    ("Abs", "fil"),
    ("Acos", "f"),
    ("Acosh", "f"),
    ("Add", "fil"),
    ("And", "b"),
    ("Asin", "f"),
    ("Asinh", "f"),
    ("Atan", "f"),
    ("Atanh", "f"),
    ("Attention", "f"),
    ("AveragePool", "f"),
    ("BatchNormalization", "f"),
    ("Cast", "bfilsu"),
    ("Ceil", "f"),
    ("Clip", "fil"),
    ("Concat", "bfil"),
    ("Constant", "-"),
    ("ConstantOfShape", "l"),
    ("Conv", "f"),
    ("ConvInteger", "u"),
    ("ConvTranspose", "f"),
    ("Cos", "f"),
    ("Cosh", "f"),
    ("CumSum", "fil"),
    ("DepthToSpace", "f"),
    ("DequantizeLinear", "isu"),
    ("Div", "fil"),
    ("DynamicQuantizeLinear", "f"),
    ("Einsum", "f"),
    ("Elu", "f"),
    ("Equal", "bfil"),
    ("Erf", "f"),
    ("Exp", "f"),
    ("Expand", "bfilsu"),
    ("EyeLike", "i"),
    ("Flatten", "bfilsu"),
    ("Floor", "f"),
    ("Gather", "bfilsu"),
    ("GatherElements", "bfilsu"),
    ("GatherND", "bfilsu"),
    ("Gelu", "f"),
    ("Gemm", "f"),
    ("GlobalAveragePool", "f"),
    ("GlobalMaxPool", "f"),
    ("Greater", "fil"),
    ("GreaterOrEqual", "fil"),
    ("GridSample", "f"),
    ("HardSigmoid", "f"),
    ("HardSwish", "f"),
    ("Identity", "bfilsu"),
    ("InstanceNormalization", "f"),
    ("IsInf", "f"),
    ("IsNaN", "f"),
    ("LSTM", "f"),
    ("LayerNormalization", "f"),
    ("LeakyRelu", "f"),
    ("Less", "fil"),
    ("LessOrEqual", "fil"),
    ("Log", "f"),
    ("LogSoftmax", "f"),
    ("LpNormalization", "f"),
    ("MatMul", "f"),
    ("MatMulInteger", "su"),
    ("Max", "fil"),
    ("MaxPool", "f"),
    ("Mean", "f"),
    ("Min", "fil"),
    ("Mod", "fil"),
    ("Mul", "fil"),
    ("Neg", "fil"),
    ("NonZero", "bfil"),
    ("Not", "b"),
    ("Or", "b"),
    ("PRelu", "f"),
    ("Pad", "bfilsu"),
    ("Pow", "fil"),
    ("QuantizeLinear", "f"),
    ("RMSNormalization", "f"),
    ("Range", "fil"),
    ("Reciprocal", "f"),
    ("ReduceL1", "fil"),
    ("ReduceL2", "f"),
    ("ReduceLogSum", "f"),
    ("ReduceLogSumExp", "f"),
    ("ReduceMax", "fil"),
    ("ReduceMean", "f"),
    ("ReduceMin", "fil"),
    ("ReduceProd", "fil"),
    ("ReduceSum", "fil"),
    ("ReduceSumSquare", "fil"),
    ("Relu", "f"),
    ("Reshape", "bfilsu"),
    ("Resize", "f"),
    ("ReverseSequence", "f"),
    ("RotaryEmbedding", "f"),
    ("Round", "f"),
    ("ScatterElements", "f"),
    ("ScatterND", "bfilsu"),
    ("Shape", "bfilsu"),
    ("Sigmoid", "f"),
    ("Sin", "f"),
    ("Sinh", "f"),
    ("Size", "bfilsu"),
    ("Slice", "bfilsu"),
    ("Softmax", "f"),
    ("Softplus", "f"),
    ("Softsign", "f"),
    ("Split", "bfilsu"),
    ("Sqrt", "f"),
    ("Squeeze", "bfilsu"),
    ("Sub", "fil"),
    ("Sum", "f"),
    ("Swish", "f"),
    ("Tan", "f"),
    ("Tanh", "f"),
    ("Tile", "bfilsu"),
    ("TopK", "fil"),
    ("Transpose", "bfilsu"),
    ("Trilu", "bfil"),
    ("Unsqueeze", "bfilsu"),
    ("Where", "fil"),
    ("Xor", "b"),
    ("com.microsoft.MatMulNBits", "f"),
];

/// Operators that rten runs without complaint and wrongly.
static WRONG: &[(&str, &str)] = &[
    ("ArgMax", "it gives the last of equal elements, ONNX the first"),
    ("ArgMin", "it gives the last of equal elements, ONNX the first"),
    ("NonMaxSuppression", "it loses boxes of further batches and classes"),
    ("Sign", "it gives 1 for 0"),
];

/// An error that names the first node rten is not trusted with. `dtypes` are the element types of
/// all values, by name.
///
/// `saturates` says that the processor's 8-bit products saturate, see [`saturation`].
pub(super) fn check(
    graph: &Graph,
    dtypes: &BTreeMap<String, DType>,
    saturates: bool,
) -> Result<()> {
    let opset = graph.opset();
    if !OPSETS.contains(&opset) {
        return Err(refuse(format!(
            "the graph is of operator set {opset}, and the embedded runner (rten {VERSION}) was checked on {} to {}",
            OPSETS.start(),
            OPSETS.end()
        ))
        .hint("or make a graph of a newer operator set: opset-version = 17"));
    }
    if let Some(function) = graph.functions.first() {
        return Err(refuse(format!(
            "the graph has a function of its own, `{}`, which the embedded runner (rten {VERSION}) cannot call",
            function.body.name
        )));
    }
    for (_, node) in graph.body.nodes() {
        check_node(&graph.body, node, dtypes)?;
        if saturates && saturation::is_at_risk(&graph.body, node) {
            return Err(untrusted(
                node,
                "this processor lacks the instructions (AVX-512 VNNI) with which its 8-bit sums do not saturate",
            ));
        }
    }
    Ok(())
}

fn refuse(message: String) -> Error {
    Error::unsupported(message).hint(HOW_TO_CHANGE).hint("or take `verify` out of the target")
}

fn untrusted(node: &Node, why: &str) -> Error {
    let label = node.label();
    refuse(format!("the embedded runner (rten {VERSION}) is not trusted with {label}: {why}"))
}

fn check_node(body: &Body, node: &Node, dtypes: &BTreeMap<String, DType>) -> Result<()> {
    let untrusted = |why: &str| untrusted(node, why);
    let standard = node.domain.is_empty() || node.domain == "ai.onnx";
    let name = if standard { node.op.clone() } else { format!("{}.{}", node.domain, node.op) };
    if let Some((_, why)) = WRONG.iter().find(|(op, _)| *op == name) {
        return Err(untrusted(why));
    }
    let Some((_, types)) = OPS.iter().find(|(op, _)| *op == name) else {
        return Err(untrusted("it has not been checked against ONNX Runtime"));
    };
    if let Some(id) = node.input(usize::from(name == "Where")) {
        let dtype = dtypes.get(&body.value(id).name).copied();
        match dtype.and_then(letter) {
            Some(letter) if types.contains(letter) => {}
            _ => {
                let dtype = dtype.map_or("unknown", DType::name);
                return Err(untrusted(&format!("its elements are {dtype}")));
            }
        }
    }
    match wrong_form(body, node, dtypes) {
        Some(why) => Err(untrusted(why)),
        None => Ok(()),
    }
}

fn letter(dtype: DType) -> Option<char> {
    Some(match dtype {
        DType::F32 | DType::F16 | DType::BF16 => 'f',
        DType::I64 => 'l',
        DType::I32 => 'i',
        DType::Bool => 'b',
        DType::U8 => 'u',
        DType::I8 => 's',
        _ => return None,
    })
}

/// Why this form of an operator that is otherwise right comes out wrong.
fn wrong_form(body: &Body, node: &Node, dtypes: &BTreeMap<String, DType>) -> Option<&'static str> {
    let text = |name: &str, default: &'static str| -> String {
        node.attr(name).and_then(|v| v.as_str()).unwrap_or(default).to_owned()
    };
    let rank = |id: Option<ValueId>| -> Option<usize> {
        let id = id?;
        match body.constant(id) {
            Some(tensor) => Some(tensor.shape().len()),
            None => Some(body.tensor_type(id)?.1?.len()),
        }
    };
    match node.op.as_str() {
        "Cast" => {
            let to_bool = node.attr("to").and_then(AttrValue::as_int) == Some(BOOL);
            let from = dtypes.get(&body.value(node.input(0)?).name);
            (to_bool && from != Some(&DType::Bool))
                .then_some("a cast to bool keeps values other than 0 and 1, or rounds them to 0")
        }
        "Conv" | "ConvTranspose" => (text("auto_pad", "NOTSET") == "SAME_LOWER")
            .then_some("auto_pad = SAME_LOWER pads at the wrong end"),
        "ConvInteger" => {
            let pads = node.attr("pads").and_then(|v| v.as_ints()).unwrap_or_default();
            let auto = text("auto_pad", "NOTSET");
            (pads.iter().any(|p| *p != 0) || !matches!(auto.as_str(), "NOTSET" | "VALID"))
                .then_some("with padding its sums are wrong")
        }
        "MatMul" => (rank(node.input(1)) == Some(1) && rank(node.input(0)).is_none_or(|r| r > 2))
            .then_some("a vector on the right of a batch of matrices gives the wrong shape"),
        "Resize" => match (
            text("mode", "nearest").as_str(),
            text("coordinate_transformation_mode", "half_pixel").as_str(),
        ) {
            ("cubic", _) => Some("cubic interpolation is not what ONNX says"),
            ("linear", "align_corners") => {
                Some("linear interpolation with align_corners is not what ONNX says")
            }
            _ => None,
        },
        _ => None,
    }
}

/// ONNX's number of the boolean element type.
const BOOL: i64 = 9;

#[cfg(test)]
#[path = "rten_gate_tests.rs"]
mod tests;
