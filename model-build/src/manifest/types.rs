//! The schema as types. The doc comment of each key is also its entry in `docs/manifest.md` and in
//! the tool's help.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use super::schema::{Field, Kind, REQUIRED, Word, WordInfo, no_words, table, words};
use crate::arch::{Pooling, Task};
use crate::format::{self, FormatDef};
use crate::recipe::file_type::{self, FileType};
pub use crate::recipe::{BlockWeights, Goal};

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
        /// that holds this line, or `ollama:NAME:TAG` for a model in the store of Ollama
        /// (`OLLAMA_MODELS`, else `.ollama/models` in the home folder). Not supported yet: `hf:` and
        /// `https:`.
        pub source: PathBuf = "source" Kind::Text, REQUIRED;
        /// Which of several state dicts in a PyTorch file the model is: a path of keys, as
        /// `ema.state_dict`.
        pub state_dict: Option<String> =
            "state-dict" Kind::Text, "the only one, or the one in a usual place";
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
        pub precision: Option<Precision> =
            "precision" Kind::Text, "`\"fp32\"` for a lowered checkpoint, else as in the source",
            Precision::infos;
        /// Integer weights: `"int8"` for graphs, a file type of GGUF, as `"q4_k_m"`, for GGUF models. A
        /// string is short for `{ type = … }`.
        pub quantization: Option<Quantization> =
            "quantization" Kind::TextOrTable(Quantization::KEYS), "none", quantization_infos;
        /// The longest that a file of the artifact may be, in bytes of tensors, as `"2GB"` or `"512MiB"`.
        /// A longer model is split into files that belong together.
        pub split_max_size: Option<u64> = "split-max-size" Kind::Text, "one file";
        /// How a GGUF model's text is cut before its byte-pair encoding: the value of
        /// `tokenizer.ggml.pre`.
        pub pre_tokenizer: Option<String> =
            "pre-tokenizer" Kind::Text, "found from the structure of `tokenizer.json`";
        /// Lengths of axes of the graph's inputs. A key is the name of an axis, as `model-build inspect`
        /// shows it, or says where it is, as `"input_ids[0]"`. A number fixes the axis, `"dynamic"` asks for
        /// one that is free, `{ min = 1, max = 512 }` for one that is free within these lengths, which
        /// the loader holds callers to. An axis that was exported with one length becomes free where the
        /// graph can be shown to work at every length; said by place, it may be given a name too, as
        /// `"input_ids[0]" = "batch"`, which other axes may share.
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
    /// Floating-point precision of a graph or of a checkpoint's tensors.
    pub enum Precision {
        /// 32 bits.
        Fp32 = "fp32",
        /// IEEE half precision.
        Fp16 = "fp16",
        /// bfloat16: the range of 32 bits with 8 bits of significand.
        Bf16 = "bf16",
    }
    later { "fp8" "8 bits.", }
}

table! {
    /// How weights are quantized.
    #[derive(Clone, Debug, PartialEq)]
    pub struct Quantization {
        /// The block types of a GGUF model's tensors; `None` for a graph.
        pub weights: Option<BlockWeights>,
    }
    keys {
        /// When scales are found.
        pub method: QuantizationMethod =
            "method" Kind::Text, "`\"dynamic\"` for `int8`, `\"weight-only\"` for block types",
            QuantizationMethod::infos;
        /// What shares a scale among the activations of the method `dynamic`.
        pub activations: Option<Activations> =
            "activations" Kind::Text, "`\"row\"`", Activations::infos;
        /// How much of the integer type the weights of the method `dynamic` use.
        pub range: Option<WeightRange> =
            "range" Kind::Text, "`\"portable\"`", WeightRange::infos;
    }
    bare {
        /// `int8` for a graph. For a GGUF model one of the file types of llama.cpp: which block type
        /// each tensor gets, by the same rules. `q3_k`, `q4_k` and `q5_k` stand for their `_m`.
        "type" Kind::Text, "required, unless `target-size` or `target-bpw` is given", None,
            quantization_infos;
        /// Block types for some tensors of a GGUF model: a pattern (a regular expression, found
        /// anywhere in the tensor's name) and a type each, as `{ "ffn_down" = "q6_k" }`.
        "overrides" Kind::Map, "none", None;
        /// `true` gives every tensor of a GGUF model the one block type, but for `overrides`.
        "pure" Kind::Boolean, "`false`", None;
        /// The block type of the output matrix of a GGUF model.
        "output-type" Kind::Text, "by the file type's rules", None;
        /// The block type of the token embeddings of a GGUF model.
        "embedding-type" Kind::Text, "by the file type's rules", None;
        /// An importance matrix, as llama.cpp's `llama-imatrix` writes it (`.gguf` or `.dat`), relative
        /// to the manifest's folder. Errors of columns count by it; some types need it.
        "importance" Kind::Text, "none", None;
        /// The size that the GGUF file may have, as `"4.5GiB"`: every tensor gets the type that makes the
        /// least error altogether, measured on its own weights.
        "target-size" Kind::Text, "none", None;
        /// The same by the mean number of bits per weight, as `4.25`.
        "target-bpw" Kind::Number, "none", None;
        /// `true` lets tensors that are in blocks already be decoded and encoded again, which loses more
        /// than encoding the unquantized model.
        "requantize" Kind::Boolean, "`false`", None;
        /// Number of weights that share a scale.
        "block-size" Kind::Integer, "that of the type",
            Some("leave it out: `int8` has one scale per output channel, a block type its own size");
    }
}

words! {
    /// When scales are found.
    pub enum QuantizationMethod {
        /// Weights at build time, one scale per output channel; activations at run time.
        Dynamic = "dynamic",
        /// Weights only; activations stay floating-point.
        WeightOnly = "weight-only",
    }
    later {
        "static" "Both at build time, from calibration data.",
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

/// The type of quantized weights.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum QuantizationType {
    /// Signed 8 bits, for graphs.
    Int8,
    /// A file type, for GGUF models.
    File(&'static FileType),
}

/// The words of `quantization.type`.
pub(super) fn quantization_words() -> Vec<Word<QuantizationType>> {
    let int8 = Word {
        name: "int8",
        doc: "For graphs: signed 8 bits.",
        value: Some(QuantizationType::Int8),
    };
    let later = ["uint8", "int4", "uint4", "fp8"].map(|name| Word { name, doc: "", value: None });
    let files = file_type::ALL.iter().map(|file| Word {
        name: file.name,
        doc: file.about,
        value: Some(QuantizationType::File(file)),
    });
    [int8].into_iter().chain(files).chain(later).collect()
}

fn quantization_infos() -> Vec<WordInfo> {
    quantization_words().iter().map(Word::info).collect()
}

/// The length of an axis.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Axis {
    /// It stays free, or becomes free.
    Dynamic,
    /// It is fixed, at least 1.
    Fixed(u64),
    /// It stays or becomes free, and is called this.
    Named(String),
    /// It stays or becomes free, and is from the first to the second length, both included.
    Range(u64, u64),
}

impl fmt::Display for Axis {
    /// `dynamic`, the number, `name:…`, or `1..=8`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dynamic => f.write_str("dynamic"),
            Self::Fixed(length) => length.fmt(f),
            Self::Named(name) => write!(f, "name:{name}"),
            Self::Range(least, most) => write!(f, "{least}..={most}"),
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
    ("coreml", "A package for Apple's Core ML."),
    ("tensorrt", "An engine for NVIDIA's TensorRT."),
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
