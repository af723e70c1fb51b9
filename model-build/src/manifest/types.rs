//! The schema as types.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::arch::{Pooling, Task};
use crate::format::FormatDef;

/// A whole manifest.
#[derive(Debug)]
pub struct Manifest {
    /// The file: a `Cargo.toml` or a `models.toml`.
    pub path: PathBuf,
    /// The models, sorted by name.
    pub models: Vec<Model>,
}

/// A declared model.
#[derive(Debug)]
pub struct Model {
    /// Its name: the table's key.
    pub name: String,
    /// Where it comes from, as written, relative to the manifest's folder.
    pub source: PathBuf,
    /// Its targets, sorted by name.
    pub targets: Vec<Target>,
}

/// A declared artifact of a model.
#[derive(Debug)]
pub struct Target {
    /// Its name: the table's key.
    pub name: String,
    /// `format`.
    pub format: &'static FormatDef,
    /// `opset-version`; `None` keeps the graph's.
    pub opset_version: Option<i64>,
    /// `precision`.
    pub precision: Precision,
    /// `quantization`.
    pub quantization: Option<Quantization>,
    /// `shapes`: axis name → fixed length; axes left out or "dynamic" stay dynamic.
    pub shapes: BTreeMap<String, u64>,
    /// `task`.
    pub task: Option<Task>,
    /// `pooling`.
    pub pooling: Option<Pooling>,
    /// `normalize`.
    pub normalize: Option<bool>,
    /// `verify`.
    pub verify: Option<Verify>,
    /// `embed`.
    pub embed: Embed,
    /// `when`: a `cfg(…)` or a target triple.
    pub when: Option<cargo_platform::Platform>,
}

/// Floating-point precision of a graph.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Precision {
    /// 32 bits, or whatever the source graph has.
    #[default]
    Fp32,
    /// IEEE half.
    Fp16,
    /// bfloat16.
    Bf16,
}

/// How a graph is quantized.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Quantization {
    /// `method`.
    pub method: QuantizationMethod,
    /// `type`.
    pub dtype: QuantizationType,
}

/// When scales are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum QuantizationMethod {
    /// Weights at build time, activations at run time.
    Dynamic,
}

/// The integer type of quantized weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum QuantizationType {
    /// Signed 8 bits.
    Int8,
}

/// Bounds and conditions of the accuracy check.
#[derive(Clone, Debug, PartialEq)]
pub struct Verify {
    /// Least cosine similarity of each output.
    pub cosine: Option<f64>,
    /// Greatest absolute difference.
    pub max_abs: Option<f64>,
    /// Greatest mean absolute difference.
    pub mean_abs: Option<f64>,
    /// Least share of rows whose largest element agrees, 0 to 1.
    pub top1: Option<f64>,
    /// What runs both graphs.
    pub runner: Runner,
    /// A safetensors file with a tensor per graph input; `None` uses seeded synthetic inputs.
    pub inputs: Option<PathBuf>,
    /// Number of synthetic samples.
    pub samples: u32,
    /// Seed of synthetic inputs.
    pub seed: u64,
}

/// What runs graphs for the accuracy check.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Runner {
    /// ONNX Runtime where its library is found, else the embedded runner.
    #[default]
    Auto,
    /// ONNX Runtime.
    OnnxRuntime,
    /// The embedded runner.
    Rten,
}

/// How an artifact gets into the binary.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Embed {
    /// By size and platform.
    #[default]
    Auto,
    /// In the binary.
    Binary,
    /// Beside the binary, mapped at run time, its digest in the binary.
    File,
}
