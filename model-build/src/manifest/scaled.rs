//! Scales of a graph's weights and activations: the types of the methods `static` and `qat`, and keys
//! → types.

use super::decode::refuse;
use super::reader::{Reader, Value};
use super::schema::{Word, WordInfo, words};
use super::types::{IntegerType, QuantizationMethod};
use crate::error::Result;
use crate::pass::Params;

/// How weights and activations of a graph get scales when the artifact is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scaled {
    /// The integers of activations.
    pub activation: ActivationType,
    /// Which operators compute.
    pub form: ScaledForm,
    /// Whether each output channel of a weight has its own scale.
    pub per_channel: bool,
    /// Whether zero is the middle of the integers of activations.
    pub symmetric: bool,
    /// Whether only the scales that the source has are used.
    pub qat: bool,
}

words! {
    /// The integers of activations.
    pub enum ActivationType {
        /// Signed 8 bits.
        Int8 = "int8",
        /// Unsigned 8 bits.
        Uint8 = "uint8",
        /// Signed 16 bits, in the form `qdq`.
        Int16 = "int16",
        /// Unsigned 16 bits, in the form `qdq`.
        Uint16 = "uint16",
    }
    later {}
}

words! {
    /// Which operators compute on integers.
    pub enum ScaledForm = Qdq {
        /// Those of floats, between `QuantizeLinear` and `DequantizeLinear`, which runtimes fuse.
        Qdq = "qdq",
        /// Those of integers: `QLinearConv`, `QLinearMatMul` and, for ONNX Runtime, those of the domain
        /// `com.microsoft`.
        QOperator = "qoperator",
    }
    later {}
}

pub(super) fn activation_infos() -> Vec<WordInfo> {
    ActivationType::infos()
}

/// Keys of `quantization` that only these methods have.
pub(super) const KEYS: &[&str] = &["activation-type", "per-channel"];

/// The keys of a table whose type and method are these.
pub(super) fn scaled(
    table: &Reader<'_>,
    ty: IntegerType,
    method: QuantizationMethod,
) -> Result<Scaled> {
    if let (IntegerType::Int4 | IntegerType::Uint4, Some(value)) = (ty, table.get("method")?) {
        let error = value.wrong("4 bits hold weights only", "not for this type");
        return Err(error.hint("remove `method`, or set `type = \"int8\"`"));
    }
    let qat = method == QuantizationMethod::Qat;
    if qat {
        let why = "is decided by the scales of the source";
        refuse(table, &["activation-type", "per-channel", "symmetric", "exclude"], why)?;
    }
    let usual = match ty {
        IntegerType::Uint8 => ActivationType::Uint8,
        _ => ActivationType::Int8,
    };
    let activation = table.read("activation-type", |v| v.word(ActivationType::WORDS))?;
    let form = table.read("form", |v| v.word(ScaledForm::WORDS))?.unwrap_or_default();
    let wide = matches!(activation, Some(ActivationType::Int16 | ActivationType::Uint16));
    if let (true, ScaledForm::QOperator, Some(value)) = (wide, form, table.get("form")?) {
        let error = value.wrong("`qoperator` has no operators for 16 bits", "not for 16 bits");
        return Err(error.hint("set `form = \"qdq\"`, or an `activation-type` of 8 bits"));
    }
    let flag = |key| Ok(table.read(key, Value::boolean)?.unwrap_or(false));
    Ok(Scaled {
        activation: activation.unwrap_or(usual),
        form,
        per_channel: flag("per-channel")?,
        symmetric: flag("symmetric")?,
        qat,
    })
}

impl Scaled {
    /// The parameters of the pass.
    pub fn params(&self, ty: IntegerType) -> Params {
        let Self { activation, form, per_channel, symmetric, qat } = self;
        Params::new([
            ("weights", ty.name()),
            ("activations", activation.name()),
            ("form", form.name()),
            ("per-channel", if *per_channel { "true" } else { "false" }),
            ("symmetric", if *symmetric { "true" } else { "false" }),
            ("method", if *qat { "qat" } else { "static" }),
        ])
    }
}
