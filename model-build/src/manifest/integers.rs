//! Integer weights of graphs: the types of the method `weight-only`, and keys → types.

use super::decode::{GGUF_ONLY, exclude, refuse};
use super::reader::{Reader, Value};
use super::scaled;
use super::schema::{Word, WordInfo, words};
use super::text::quoted;
use super::types::{Activations, IntegerType, Quantization, QuantizationMethod, WeightRange};
use crate::error::Result;
use crate::pass::{Exclude, Params};

/// How the weights of a graph are quantized by the method `weight-only`.
#[derive(Clone, Debug, PartialEq)]
pub struct WeightOnly {
    /// Number of weights of an output that share a scale; `None` for all of them.
    pub block_size: Option<u32>,
    /// How integers are found.
    pub algorithm: WeightAlgorithm,
    /// Which operators hold them.
    pub form: WeightForm,
    /// Whether zero is the middle of the integers; `None` for what the type says.
    pub symmetric: Option<bool>,
    /// ONNX Runtime's word for the type that `MatMulNBits` computes in.
    pub accuracy_level: Option<i64>,
    /// Of `gptq`: what is added to the diagonal, as a share of its mean.
    pub damping: Option<f64>,
    /// Of `gptq`: whether the largest inputs come first.
    pub act_order: Option<bool>,
}

words! {
    /// How the integers of a weight are found.
    pub enum WeightAlgorithm = Rtn {
        /// Round to nearest: what ONNX Runtime's `MatMulNBitsQuantizer` does by default.
        Rtn = "rtn",
        /// Half-quadratic quantization: the zero points that make the least error, outliers forgiven.
        Hqq = "hqq",
        /// The error of each weight is made up for by later ones; needs `calibration`.
        Gptq = "gptq",
        /// Weights of large inputs get finer steps; needs `calibration`.
        Awq = "awq",
    }
    later {}
}

words! {
    /// Which operators hold integer weights.
    pub enum WeightForm = MatMulNBits {
        /// `com.microsoft::MatMulNBits`, for ONNX Runtime.
        MatMulNBits = "matmulnbits",
        /// `DequantizeLinear` before the product; blocks and 4 bits need opset 21.
        Qdq = "qdq",
    }
    later {}
}

pub(super) fn algorithm_infos() -> Vec<WordInfo> {
    WeightAlgorithm::infos()
}

pub(super) fn form_infos() -> Vec<WordInfo> {
    let mut infos = WeightForm::infos();
    infos.extend(scaled::ScaledForm::infos().into_iter().filter(|info| info.name != "qdq"));
    infos
}

/// What an override may give a node.
const OVERRIDE_WORDS: &[Word<Option<IntegerType>>] = &[
    Word { name: "fp32", doc: "", value: Some(None) },
    Word { name: "int4", doc: "", value: Some(Some(IntegerType::Int4)) },
    Word { name: "uint4", doc: "", value: Some(Some(IntegerType::Uint4)) },
    Word { name: "int8", doc: "", value: Some(Some(IntegerType::Int8)) },
    Word { name: "uint8", doc: "", value: Some(Some(IntegerType::Uint8)) },
];

/// Keys of `quantization` that only the method `weight-only` of graphs has.
pub(super) const KEYS: &[&str] =
    &["block-size", "algorithm", "form", "symmetric", "accuracy-level", "damping", "act-order"];

/// Those that no other method has.
const WEIGHT_ONLY: &[&str] = &["block-size", "algorithm", "accuracy-level", "damping", "act-order"];

/// The keys of a table whose type and method are these. Blocks have 32 weights, and 8 bits without
/// any of what needs blocks have a scale per output.
fn weight_only(table: &Reader<'_>, ty: IntegerType) -> Result<WeightOnly> {
    let algorithm =
        table.read("algorithm", |v| v.word(WeightAlgorithm::WORDS))?.unwrap_or_default();
    let form = table.read("form", |v| v.word(WeightForm::WORDS))?;
    let block_size = table.read("block-size", block_size)?;
    let wide = matches!(ty, IntegerType::Int8 | IntegerType::Uint8);
    let channels = wide
        && block_size.is_none()
        && algorithm == WeightAlgorithm::Rtn
        && form != Some(WeightForm::MatMulNBits);
    let form = form.unwrap_or(if channels { WeightForm::Qdq } else { WeightForm::MatMulNBits });
    let symmetric = table.read("symmetric", Value::boolean)?;
    if let (WeightAlgorithm::Hqq, Some(true), Some(value)) =
        (algorithm, symmetric, table.get("symmetric")?)
    {
        let message = "`hqq` looks for zero points, and `symmetric` fixes them";
        return Err(value
            .text
            .wrong(&value.key_spot, message, "leaves nothing to find")
            .hint("remove `symmetric`, or choose another `algorithm`"));
    }
    if algorithm != WeightAlgorithm::Gptq {
        refuse(table, &["damping", "act-order"], "is for the algorithm `gptq`")?;
    }
    if form != WeightForm::MatMulNBits {
        refuse(table, &["accuracy-level"], "is for the form `matmulnbits`")?;
    }
    Ok(WeightOnly {
        block_size: if channels { None } else { Some(block_size.unwrap_or(32)) },
        algorithm,
        form,
        symmetric,
        accuracy_level: table.read("accuracy-level", |v| v.integer(0..=4))?,
        damping: table.read("damping", |v| v.number(0.0..=1.0))?,
        act_order: table.read("act-order", Value::boolean)?,
    })
}

/// Keys of graphs that only the method `dynamic` has.
const DYNAMIC_ONLY: &[&str] = &["activations", "range"];

/// Integer weights of a graph: by the word alone, or by the keys of a table too.
pub(super) fn integers(
    table: Option<&Reader<'_>>,
    ty: IntegerType,
    method: Option<QuantizationMethod>,
) -> Result<Quantization> {
    let narrow = matches!(ty, IntegerType::Int4 | IntegerType::Uint4);
    let usual = if narrow { QuantizationMethod::WeightOnly } else { QuantizationMethod::Dynamic };
    let method = method.unwrap_or(usual);
    let mut out = Quantization {
        weights: None,
        integer: ty,
        weight_only: None,
        scaled: None,
        overrides: Vec::new(),
        method,
        activations: None,
        range: None,
        exclude: Vec::new(),
    };
    let empty = table.is_none() && method == QuantizationMethod::WeightOnly;
    if empty {
        out.weight_only = Some(WeightOnly::of_word());
    }
    let Some(table) = table else { return Ok(out) };
    refuse(table, GGUF_ONLY, "is for block types of GGUF models")?;
    out.exclude = table.read("exclude", exclude)?.unwrap_or_default();
    out.overrides = table.read("overrides", overrides)?.unwrap_or_default();
    match method {
        QuantizationMethod::Static | QuantizationMethod::Qat => {
            refuse(table, DYNAMIC_ONLY, "is for the method `dynamic`")?;
            refuse(table, WEIGHT_ONLY, "is for the method `weight-only`")?;
            refuse(
                table,
                &["overrides"],
                "is not for this method; `exclude` leaves nodes as they are",
            )?;
            out.scaled = Some(scaled::scaled(table, ty, method)?);
        }
        QuantizationMethod::WeightOnly => {
            refuse(table, DYNAMIC_ONLY, "is for the method `dynamic`")?;
            refuse(table, scaled::KEYS, "is for the method `static`")?;
            out.weight_only = Some(weight_only(table, ty)?);
        }
        QuantizationMethod::Dynamic => {
            if let (true, Some(value)) = (narrow, table.get("method")?) {
                let error = value.wrong("4 bits hold weights only", "not for this type");
                return Err(error.hint("remove `method`, or set `type = \"int8\"`"));
            }
            refuse(table, KEYS, "is for the method `weight-only`")?;
            refuse(table, scaled::KEYS, "is for the method `static`")?;
            let four = |(_, to): &&(String, Option<IntegerType>)| {
                matches!(to, Some(IntegerType::Int4 | IntegerType::Uint4))
            };
            if let (Some((pattern, _)), Some(value)) =
                (out.overrides.iter().find(four), table.get("overrides")?)
            {
                let message = format!("{} gets 4 bits, which hold weights only", quoted(pattern));
                let error = value.wrong(&message, "not for this method");
                return Err(error.hint("set `method = \"weight-only\"`, or another type here"));
            }
            out.activations = table.read("activations", |v| v.word(Activations::WORDS))?;
            out.range = table.read("range", |v| v.word(WeightRange::WORDS))?;
        }
    }
    Ok(out)
}

fn block_size(value: &Value<'_>) -> Result<u32> {
    let size = value.integer(16..=256)?.unsigned_abs();
    match u32::try_from(size) {
        Ok(size) if size.is_power_of_two() => Ok(size),
        _ => Err(value
            .wrong("`block-size` must be a power of two from 16 to 256", "no power of two")
            .hint("write 32, or 128 for smaller files")),
    }
}

/// Patterns of nodes and what they get.
fn overrides(value: &Value<'_>) -> Result<Vec<(String, Option<IntegerType>)>> {
    let mut out = Vec::new();
    for entry in value.entries("in these overrides")? {
        let to = entry.word(OVERRIDE_WORDS)?;
        Exclude::new([entry.key]).map_err(|e| {
            let error = entry.text.wrong(&entry.key_spot, e.message(), "not a pattern");
            error.hint(e.hints().join("; "))
        })?;
        out.push((entry.key.to_owned(), to));
    }
    Ok(out)
}

impl WeightOnly {
    /// What a type of 4 bits alone stands for: blocks of 32, rounded to nearest.
    pub(super) fn of_word() -> Self {
        Self {
            block_size: Some(32),
            algorithm: WeightAlgorithm::Rtn,
            form: WeightForm::MatMulNBits,
            symmetric: None,
            accuracy_level: None,
            damping: None,
            act_order: None,
        }
    }
    /// The parameters of the pass.
    pub fn params(&self, ty: IntegerType) -> Params {
        let block = self.block_size.map_or("channel".to_owned(), |n| n.to_string());
        let mut params = Params::new([
            ("type", ty.name()),
            ("block-size", &block),
            ("algorithm", self.algorithm.name()),
            ("form", self.form.name()),
        ]);
        params.set("symmetric", self.symmetric.map(|v| v.to_string()));
        params.set("accuracy-level", self.accuracy_level.map(|v| v.to_string()));
        params.set("damping", self.damping.map(|v| v.to_string()));
        params.set("act-order", self.act_order.map(|v| v.to_string()));
        params
    }
}
