//! The schema as types. The doc comment of each key is also its entry in `docs/manifest.md` and in
//! the tool's help.

use std::collections::BTreeMap;
use std::path::PathBuf;

pub use super::calibration::CalibrationMethod;
pub use super::graph::Axis;
pub use super::integers::{WeightAlgorithm, WeightForm, WeightOnly};
use super::integers::{algorithm_infos, form_infos};
use super::scaled::activation_infos;
pub use super::scaled::{ActivationType, Scaled, ScaledForm};
use super::schema::{Field, Kind, REQUIRED, Word, WordInfo, no_words, table, words};
use crate::arch::{Part, Pooling, Task};
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
        /// The version of ONNX's operator set that the artifact is to use, from 7 to 28. The graph is
        /// converted to it; what it cannot say is an error that names the node.
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
        /// The data that the values of the graph are looked at with, for the method `static` and the
        /// algorithms `gptq` and `awq`.
        pub calibration: Option<Calibration> = "calibration" Kind::Table(Calibration::KEYS), "none";
        /// The longest that a file of the artifact may be, in bytes of tensors, as `"2GB"` or `"512MiB"`.
        /// A longer model is split into files that belong together.
        pub split_max_size: Option<u64> = "split-max-size" Kind::Text, "one file";
        /// How a GGUF model's text is cut before its byte-pair encoding: the value of
        /// `tokenizer.ggml.pre`.
        pub pre_tokenizer: Option<String> =
            "pre-tokenizer" Kind::Text, "found from the structure of `tokenizer.json`";
        /// Which optimizations the graph gets, before it is quantized. `true` is short for the table
        /// with the default of each key, `false` for no optimization.
        pub optimization: Option<Optimization> =
            "optimization" Kind::BooleanOrTable(Optimization::KEYS), "`false`";
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
        /// The part of a model whose parts are graphs of their own, each a target of its own.
        pub part: Option<Part> =
            "part" Kind::Text, "the whole; `\"decoder-with-past\"` for the task `text-generation`", part_infos;
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
    bare {}
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
        /// The integers of a graph's weights.
        pub integer: IntegerType,
        /// How weights alone are quantized; `None` for other methods and for GGUF models.
        pub weight_only: Option<WeightOnly>,
        /// How weights and activations get scales; `None` for other methods and for GGUF models.
        pub scaled: Option<Scaled>,
        /// Nodes of a graph, by patterns, whose weights get other integers, or with `None` none. The
        /// first pattern that means a node decides.
        pub overrides: Vec<(String, Option<IntegerType>)>,
    }
    keys {
        /// When scales are found.
        pub method: QuantizationMethod =
            "method" Kind::Text, "`\"dynamic\"` for 8 bits of a graph, else `\"weight-only\"`",
            QuantizationMethod::infos;
        /// What shares a scale among the activations of the method `dynamic`.
        pub activations: Option<Activations> =
            "activations" Kind::Text, "`\"row\"`", Activations::infos;
        /// How much of the integer type the weights of the method `dynamic` use.
        pub range: Option<WeightRange> =
            "range" Kind::Text, "`\"portable\"`", WeightRange::infos;
        /// Nodes of a graph that stay as they are: patterns (regular expressions in any case), found
        /// anywhere in a node's name or matching the whole name of its operator, as
        /// `["Softmax", "layer\\.0\\."]`.
        pub exclude: Vec<String> = "exclude" Kind::Texts, "none";
    }
    bare {
        /// The integers of a graph's weights. For a GGUF model one of the file types of llama.cpp: which
        /// block type each tensor gets, by the same rules. `q3_k`, `q4_k` and `q5_k` stand for their `_m`.
        "type" Kind::Text, "required, unless `target-size` or `target-bpw` is given", None,
            quantization_infos;
        /// Other types for some weights: a pattern and a type each. For a GGUF model a pattern is a
        /// regular expression, found anywhere in the tensor's name, and the type a block type, as
        /// `{ "ffn_down" = "q6_k" }`. For a graph a pattern means nodes as in `exclude`, and the type is
        /// `"int4"`, `"uint4"`, `"int8"`, `"uint8"` (the last two alone for the method `dynamic`) or
        /// `"fp32"`; the first pattern that means a node decides.
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
        /// Of the method `weight-only` of graphs: the number of weights of an output that share a scale, a
        /// power of two from 16 to 256.
        "block-size" Kind::Integer, "`32`; for 8 bits in the form `qdq` by `rtn` all weights of an output",
            None;
        /// Of the method `weight-only` of graphs: how the integers are found.
        "algorithm" Kind::Text, "`\"rtn\"`", None, algorithm_infos;
        /// Of graphs: which operators hold the integers.
        "form" Kind::Text,
            "`\"matmulnbits\"`, or `\"qdq\"` where there are no blocks and for the method `static`", None,
            form_infos;
        /// Of the method `weight-only` of graphs: whether zero is the middle of the integers, so that
        /// there are no zero points. Of the method `static`: the same for activations.
        "symmetric" Kind::Boolean,
            "`false` for `int8` with `static`; else `true` for `int4` and `int8`, `false` for `uint4`, `uint8` and `hqq`",
            None;
        /// Of the method `static`: the integers of activations.
        "activation-type" Kind::Text, "as `type`", None, activation_infos;
        /// Of the method `static`: whether each output channel of a weight has a scale of its own; needs
        /// opset 13.
        "per-channel" Kind::Boolean, "`false`", None;
        /// Of `matmulnbits`: the least accurate type that ONNX Runtime may compute in: 1 for fp32, 2 for
        /// fp16, 3 for bf16, 4 for int8; 0 leaves it to the runtime.
        "accuracy-level" Kind::Integer, "`0`", None;
        /// Of `gptq`: what is added to the diagonal of the inputs' moments, as a share of its mean.
        "damping" Kind::Number, "`0.01`", None;
        /// Of `gptq`: whether the weights of the largest inputs are rounded first.
        "act-order" Kind::Boolean, "`false`", None;
    }
}

table! {
    /// The data that a graph is looked at with.
    #[derive(Clone, Debug, PartialEq)]
    pub struct Calibration {}
    keys {
        /// Samples, relative to the manifest's folder: an `.npz`, `.npy` or `.safetensors` file of
        /// tensors whose first axis counts the samples (or, in safetensors, a tensor `INPUT.N` for each),
        /// or a `.jsonl` file of lines `{"text": "…"}`, which the model's tokenizer cuts.
        pub dataset: PathBuf = "dataset" Kind::Text, REQUIRED;
        /// How the range of a value that gets a scale is chosen.
        pub method: CalibrationMethod = "method" Kind::Text, "`\"minmax\"`", CalibrationMethod::infos;
        /// Samples of one run of the graph.
        pub batch_size: Option<u64> =
            "batch-size" Kind::Integer, "what the graph's inputs fix, else `1`";
        /// How many samples are used, the first ones.
        pub samples: Option<u64> = "samples" Kind::Integer, "all";
        /// Of the method `percentile`: how many of a hundred numbers are within the range.
        pub percentile: f64 = "percentile" Kind::Number, "`99.999`";
        /// Of the method `entropy`: into how many bins numbers are counted, from 128 to 4096.
        pub bins: u32 = "bins" Kind::Integer, "`128`, at which the range is all that was seen, as in ONNX Runtime";
        /// The tokenizer of text samples, relative to the manifest's folder.
        pub tokenizer: Option<PathBuf> =
            "tokenizer" Kind::Text, "`tokenizer.json` in the source's folder";
        /// Most tokens of a text sample; longer ones are cut off.
        pub max_length: Option<u64> = "max-length" Kind::Integer, "what the tokenizer says";
        /// What runs the graph.
        pub runner: Runner = "runner" Kind::Text, "`\"auto\"`", Runner::infos;
    }
    bare {}
}

table! {
    /// Which optimizations a graph gets.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Optimization {}
    keys {
        /// Folds what is constant and the arithmetic of shapes, removes what does nothing, joins what is
        /// computed twice. What the graph computes stays the same.
        pub graph_optimization: bool = "graph-optimization" Kind::Boolean, "`true`";
        /// Makes one operator of several: of a convolution and the normalization behind it, for one.
        /// Results may differ in the last bits. `true` is `"standard"`.
        pub layer_fusion: Option<LayerFusion> =
            "layer-fusion" Kind::BooleanOrText, "`true`", LayerFusion::infos;
        /// Stores equal weights once, lays weights out in a file of their own, each at the start of a
        /// page, for loaders that map it, and orders operators so that less memory is taken by what is
        /// computed between them.
        pub memory_optimization: bool = "memory-optimization" Kind::Boolean, "`false`";
        /// Lets ONNX Runtime optimize the graph last, at this level, where its library is found. The
        /// result depends on its version.
        pub onnxruntime: Option<RuntimeLevel> =
            "onnxruntime" Kind::Text, "it does not", RuntimeLevel::infos;
    }
    bare {}
}

impl Default for Optimization {
    /// What `optimization = true` stands for.
    fn default() -> Self {
        Self {
            graph_optimization: true,
            layer_fusion: Some(LayerFusion::Standard),
            memory_optimization: false,
            onnxruntime: None,
        }
    }
}

words! {
    /// Which operators a fusion may make.
    pub enum LayerFusion {
        /// Those of ONNX itself: the graph runs wherever it ran before.
        Standard = "standard",
        /// Those that only ONNX Runtime has, of the domain `com.microsoft`, too.
        OnnxRuntime = "onnxruntime",
    }
    later {}
}

words! {
    /// How far ONNX Runtime optimizes a graph.
    pub enum RuntimeLevel {
        /// What keeps every operator standard.
        Basic = "basic",
        /// Fusions to operators that only ONNX Runtime has.
        Extended = "extended",
        /// Changes of layout for this machine's processor too: the result is not for others.
        All = "all",
    }
    later {}
}

words! {
    /// When scales are found.
    pub enum QuantizationMethod {
        /// Weights at build time, one scale per output channel; activations at run time.
        Dynamic = "dynamic",
        /// Weights only; activations stay floating-point.
        WeightOnly = "weight-only",
        /// Both at build time, from the data of `calibration`.
        Static = "static",
        /// Scales that training left in the source: `QuantizeLinear` and `DequantizeLinear` stay, and
        /// the weights between them are stored as integers.
        Qat = "qat",
    }
    later {}
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
    /// The integers of a graph's weights.
    pub enum IntegerType = Int8 {
        /// For graphs: signed 8 bits.
        Int8 = "int8",
        /// For graphs: 8 bits with zero points.
        Uint8 = "uint8",
        /// For graphs: signed 4 bits, weights only.
        Int4 = "int4",
        /// For graphs: 4 bits with zero points, weights only.
        Uint4 = "uint4",
    }
    later { "fp8" "", }
}

/// The type of quantized weights.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum QuantizationType {
    /// Integers, for graphs.
    Integer(IntegerType),
    /// A file type, for GGUF models.
    File(&'static FileType),
}

/// The words of `quantization.type`.
pub(super) fn quantization_words() -> Vec<Word<QuantizationType>> {
    let files = file_type::ALL.iter().map(|file| Word {
        name: file.name,
        doc: file.about,
        value: Some(QuantizationType::File(file)),
    });
    let integers = IntegerType::WORDS.iter().map(|word| Word {
        name: word.name,
        doc: word.doc,
        value: word.value.map(QuantizationType::Integer),
    });
    let (works, later): (Vec<_>, Vec<_>) = integers.partition(|word| word.value.is_some());
    works.into_iter().chain(files).chain(later).collect()
}

fn quantization_infos() -> Vec<WordInfo> {
    quantization_words().iter().map(Word::info).collect()
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
        /// Least mean share of the `k` largest elements of a row that stay among the `k` largest, from
        /// 0 to 1.
        pub topk: Option<f64> = "topk" Kind::Number, "no bound";
        /// Least signal-to-noise ratio of an output, in dB, from -1000 to 1000.
        pub snr: Option<f64> = "snr" Kind::Number, "no bound";
        /// Greatest relative error of an output: the length of the difference over the length of the
        /// reference.
        pub relative: Option<f64> = "relative" Kind::Number, "no bound";
        /// Greatest mean Kullback-Leibler divergence, in nats, between the distributions that rows
        /// stand for: their softmax, or the rows themselves where they are distributions.
        pub kl: Option<f64> = "kl" Kind::Number, "no bound";
        /// By how much the share of rows that are right, by `labels`, may fall, from 0 to 1.
        pub accuracy_drop: Option<f64> = "accuracy-drop" Kind::Number, "no bound";
        /// How many elements `topk` is about, from 1 to 1000.
        pub k: u32 = "k" Kind::Integer, "`5`";
        /// The tensor in the file of `inputs` that holds the right class of each row, as integers. A
        /// negative one leaves its row out.
        pub labels: Option<String> = "labels" Kind::Text, "no labels";
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
            topk: None,
            snr: None,
            relative: None,
            kl: None,
            accuracy_drop: None,
            k: 5,
            labels: None,
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
        Task::ZeroShotImageClassification => "How well each text fits each image.",
        Task::TextGeneration => "The next token of a text.",
        Task::Text2TextGeneration => "The next token of an answer to a text.",
        Task::AutomaticSpeechRecognition => "The next token of what is said in a recording.",
    };
    Task::ALL
        .iter()
        .map(|task| Word { name: task.name(), doc: doc(*task), value: Some(*task) })
        .collect()
}

/// The words of `part`.
pub(super) fn part_words() -> Vec<Word<Part>> {
    let doc = |part| match part {
        Part::Encoder => "What reads the input of a model with an encoder and a decoder.",
        Part::Decoder => "What writes the output, from its start on; its outputs fill the cache.",
        Part::DecoderWithPast => "What goes on with the output: it reads the cache and adds to it.",
        Part::Text => "The text side of CLIP, for the task `feature-extraction`.",
        Part::Vision => "The image side of CLIP, for the task `feature-extraction`.",
    };
    Part::ALL
        .iter()
        .map(|part| Word { name: part.name(), doc: doc(*part), value: Some(*part) })
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

fn part_infos() -> Vec<WordInfo> {
    part_words().iter().map(Word::info).collect()
}

fn pooling_infos() -> Vec<WordInfo> {
    POOLING_WORDS.iter().map(Word::info).collect()
}
