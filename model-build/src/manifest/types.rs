//! The schema as types. The doc comment of each key is also its entry in `docs/manifest.md` and in
//! the tool's help.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use super::schema::{Field, Kind, REQUIRED, Word, WordInfo, no_words, table, words};
use crate::arch::{Pooling, Task};
use crate::format::{self, FormatDef};

/// A whole manifest.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// The file: a `Cargo.toml` or a `models.toml`.
    pub path: PathBuf,
    /// The workspace's `Cargo.toml`, when a model is inherited from it. A build depends on both.
    pub workspace: Option<PathBuf>,
    /// The models, sorted by name.
    pub models: Vec<Model>,
}

table! {
    /// A declared model.
    #[derive(Clone, Debug)]
    pub struct Model {
        /// Its name: the table's key.
        pub name: String,
    }
    keys {
        /// Where the model comes from: a folder or a file, relative to the folder of the manifest
        /// that holds this line. Not supported yet: `hf:`, `https:` and `ollama:`.
        pub source: PathBuf = "source" Kind::Text, REQUIRED;
        /// The artifacts to make of it: a table `[….targets.NAME]` each.
        pub targets: Vec<Target> = "targets" Kind::Map, REQUIRED;
    }
    bare {
        /// `true` takes the model of this name from `[workspace.metadata.models]` of the workspace
        /// root's `Cargo.toml`. Of the other keys only `targets` may stand beside it: it adds
        /// targets, and replaces those of the same name as a whole.
        "workspace" Kind::Boolean, "the model is declared here", None;
    }
}

table! {
    /// A declared artifact of a model.
    #[derive(Clone, Debug)]
    pub struct Target {
        /// Its name: the table's key.
        pub name: String,
    }
    keys {
        /// The format of the artifact.
        pub format: &'static FormatDef = "format" Kind::Text, REQUIRED, format_infos;
        /// The version of ONNX's operator set that the artifact is to use.
        pub opset_version: Option<i64> =
            "opset-version" Kind::Integer, "the source graph's; 17 for a lowered checkpoint";
        /// The floating-point type of the weights and of what the graph computes. Not supported yet:
        /// a table with a precision per tensor pattern.
        pub precision: Precision = "precision" Kind::Text, "`\"fp32\"`", Precision::infos;
        /// Integer weights. A string is short for `{ type = … }`.
        pub quantization: Option<Quantization> =
            "quantization" Kind::TextOrTable(Quantization::KEYS), "none", QuantizationType::infos;
        /// Lengths of named axes of the graph's inputs: a number fixes the axis, `"dynamic"` asks
        /// for one that stays free. The names are the graph's; `model-build inspect` shows them. Not
        /// supported yet: a range of lengths.
        pub shapes: BTreeMap<String, Axis> = "shapes" Kind::Map, "every axis as the source has it";
        /// What a checkpoint's graph computes.
        pub task: Option<Task> =
            "task" Kind::Text, "what `architectures` of `config.json` names", task_infos;
        /// How token vectors become one vector per sequence, for the task `feature-extraction`.
        pub pooling: Option<Pooling> =
            "pooling" Kind::Text, "what the checkpoint's `1_Pooling/config.json` says, else `\"none\"`",
            pooling_infos;
        /// Whether the pooled vector is scaled to length 1.
        pub normalize: Option<bool> =
            "normalize" Kind::Boolean, "what the checkpoint's `modules.json` says, else `false`";
        /// Bounds of the accuracy check against the unquantized 32-bit graph. The build fails when
        /// an output misses one. A table without bounds measures and reports only.
        pub verify: Option<Verify> = "verify" Kind::Table(Verify::KEYS), "nothing is checked";
        /// How the artifact gets into the binary.
        pub embed: Embed = "embed" Kind::Text, "`\"auto\"`", Embed::infos;
        /// The platforms the artifact is for: `cfg(…)` or a target triple, matched against the
        /// platform that is compiled for, never the one that compiles.
        pub when: Option<cargo_platform::Platform> = "when" Kind::Text, "every platform";
    }
    bare {
        /// How scales of activations are found from sample data.
        "calibration" Kind::Map, "none",
            Some("leave it out: `quantization = \"int8\"` is dynamic and needs no calibration data");
        /// Which optimizations the graph gets.
        "optimization" Kind::Map, "none",
            Some("leave it out: the graph is written with the operators it was lowered to");
    }
}

words! {
    /// Floating-point precision of a graph.
    pub enum Precision = Fp32 {
        /// 32 bits for a lowered checkpoint; a source graph keeps the type it has.
        Fp32 = "fp32",
        /// IEEE half precision.
        Fp16 = "fp16",
        /// bfloat16: the range of 32 bits with 8 bits of significand.
        Bf16 = "bf16",
    }
    later { "fp8" "8 bits.", }
}

table! {
    /// How a graph is quantized.
    #[derive(Clone, Debug, PartialEq, Eq, Hash)]
    pub struct Quantization {}
    keys {
        /// When scales are found.
        pub method: QuantizationMethod =
            "method" Kind::Text, "`\"dynamic\"`", QuantizationMethod::infos;
        /// The type of quantized weights.
        pub dtype: QuantizationType = "type" Kind::Text, REQUIRED, QuantizationType::infos;
        /// What shares a scale among the activations of the method `dynamic`.
        pub activations: Activations = "activations" Kind::Text, "`\"row\"`", Activations::infos;
        /// How much of the integer type the weights of the method `dynamic` use.
        pub range: WeightRange = "range" Kind::Text, "`\"portable\"`", WeightRange::infos;
    }
    bare {
        /// Number of weights that share a scale.
        "block-size" Kind::Integer, "one scale per output channel",
            Some("leave it out: `int8` has one scale per output channel");
        /// Other types for some tensors, by pattern.
        "overrides" Kind::Map, "none",
            Some("leave it out: every weight that can be quantized gets the one type");
    }
}

words! {
    /// When scales are found.
    pub enum QuantizationMethod = Dynamic {
        /// Weights at build time, one scale per output channel; activations at run time.
        Dynamic = "dynamic",
    }
    later {
        "static" "Both at build time, from calibration data.",
        "weight-only" "Weights only; activations stay floating-point.",
        "qat" "Scales that training left in the source.",
    }
}

words! {
    /// What shares a scale among dynamically quantized activations.
    pub enum Activations = Row {
        /// Each row (token): an outlier in one token costs the others nothing, and the result for a
        /// sample does not depend on what else is in the batch.
        Row = "row",
        /// The whole tensor: `DynamicQuantizeLinear`, for which ONNX Runtime has fused kernels; faster
        /// and less accurate.
        Tensor = "tensor",
    }
    later {}
}

words! {
    /// How much of the integer type quantized weights use.
    pub enum WeightRange = Portable {
        /// 7 bits for products, so that the instructions of older x86 processors cannot overflow: the
        /// same numbers on every machine.
        Portable = "portable",
        /// All 8 bits: more accurate, and wrong on x86 processors without VNNI where sums overflow.
        Full = "full",
    }
    later {}
}

words! {
    /// The type of quantized weights.
    pub enum QuantizationType {
        /// Signed 8 bits.
        Int8 = "int8",
    }
    later {
        "uint8" "", "int4" "", "uint4" "", "fp8" "", "q4_0" "", "q4_1" "", "q5_0" "", "q5_1" "",
        "q8_0" "", "q2_k" "", "q3_k" "", "q3_k_s" "", "q3_k_m" "", "q3_k_l" "", "q4_k" "",
        "q4_k_s" "", "q4_k_m" "", "q5_k" "", "q5_k_s" "", "q5_k_m" "", "q6_k" "", "iq1_s" "",
        "iq1_m" "", "iq2_xxs" "", "iq2_xs" "", "iq2_s" "", "iq3_xxs" "", "iq3_s" "", "iq4_nl" "",
        "iq4_xs" "", "tq1_0" "", "tq2_0" "", "mxfp4" "",
    }
}

/// The length of an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Axis {
    /// It stays free.
    Dynamic,
    /// It is fixed, at least 1.
    Fixed(u64),
}

impl fmt::Display for Axis {
    /// `dynamic`, or the number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dynamic => f.write_str("dynamic"),
            Self::Fixed(length) => length.fmt(f),
        }
    }
}

table! {
    /// Bounds and conditions of the accuracy check.
    #[derive(Clone, Debug, PartialEq)]
    pub struct Verify {}
    keys {
        /// Least cosine similarity of each output, from -1 to 1.
        pub cosine: Option<f64> = "cosine" Kind::Number, "no bound";
        /// Greatest absolute difference of any element.
        pub max_abs: Option<f64> = "max-abs" Kind::Number, "no bound";
        /// Greatest mean absolute difference of an output.
        pub mean_abs: Option<f64> = "mean-abs" Kind::Number, "no bound";
        /// Least share of rows whose largest element stays the same one, from 0 to 1.
        pub top1: Option<f64> = "top1" Kind::Number, "no bound";
        /// What runs both graphs.
        pub runner: Runner = "runner" Kind::Text, "`\"auto\"`", Runner::infos;
        /// A safetensors file with one tensor per graph input, relative to the manifest's folder.
        pub inputs: Option<PathBuf> = "inputs" Kind::Text, "synthetic inputs from `seed`";
        /// Number of synthetic samples, from 1 to 4096.
        pub samples: u32 = "samples" Kind::Integer, "`8`";
        /// Seed of the synthetic samples.
        pub seed: u64 = "seed" Kind::Integer, "`0`";
    }
    bare {}
}

impl Default for Verify {
    /// No bounds, eight synthetic samples of seed 0.
    fn default() -> Self {
        Self {
            cosine: None,
            max_abs: None,
            mean_abs: None,
            top1: None,
            runner: Runner::Auto,
            inputs: None,
            samples: 8,
            seed: 0,
        }
    }
}

words! {
    /// What runs graphs for the accuracy check.
    pub enum Runner = Auto {
        /// ONNX Runtime where its library is found, else the embedded runner.
        Auto = "auto",
        /// ONNX Runtime, from its shared library.
        OnnxRuntime = "onnxruntime",
        /// The embedded runner.
        Rten = "rten",
    }
    later {}
}

words! {
    /// How an artifact gets into the binary.
    pub enum Embed = Auto {
        /// By size and platform.
        Auto = "auto",
        /// In the binary.
        Binary = "binary",
        /// Beside the binary, mapped at run time, its digest in the binary.
        File = "file",
    }
    later {}
}

/// Formats of targets that are recognized and cannot be written.
const LATER_FORMATS: &[(&str, &str)] = &[
    ("gguf", "llama.cpp's single file."),
    ("coreml", "A package for Apple's Core ML."),
    ("tensorrt", "An engine for NVIDIA's TensorRT."),
    ("safetensors", "A checkpoint's tensors."),
    ("pytorch", "A checkpoint as PyTorch saves it."),
];

/// The words of `format`: every format that can be written, then the recognized ones.
pub(super) fn format_words() -> Vec<Word<&'static FormatDef>> {
    let written = format::ALL.iter().filter(|def| def.write.is_some());
    let mut words: Vec<_> =
        written.map(|def| Word { name: def.name, doc: def.about, value: Some(*def) }).collect();
    for (name, doc) in LATER_FORMATS {
        if words.iter().all(|word| word.name != *name) {
            words.push(Word { name, doc, value: None });
        }
    }
    words
}

/// The words of `task`.
pub(super) fn task_words() -> Vec<Word<Task>> {
    let doc = |task| match task {
        Task::FeatureExtraction => "Hidden states, pooled and normalized if asked for.",
        Task::SequenceClassification => "One label per sequence.",
        Task::TokenClassification => "One label per token.",
        Task::MaskedLm => "A vocabulary distribution per token.",
        Task::QuestionAnswering => "Start and end of an answer span.",
        Task::ImageClassification => "One label per image.",
    };
    Task::ALL
        .iter()
        .map(|task| Word { name: task.name(), doc: doc(*task), value: Some(*task) })
        .collect()
}

/// The words of `pooling`.
pub(super) const POOLING_WORDS: &[Word<Pooling>] = &[
    Word {
        name: "mean",
        doc: "The mean over the tokens that the attention mask keeps.",
        value: Some(Pooling::Mean),
    },
    Word { name: "cls", doc: "The first token's vector.", value: Some(Pooling::Cls) },
    Word { name: "none", doc: "One vector per token is kept.", value: Some(Pooling::None) },
];

fn format_infos() -> Vec<WordInfo> {
    format_words().iter().map(Word::info).collect()
}

fn task_infos() -> Vec<WordInfo> {
    task_words().iter().map(Word::info).collect()
}

fn pooling_infos() -> Vec<WordInfo> {
    POOLING_WORDS.iter().map(Word::info).collect()
}
