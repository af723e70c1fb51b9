//! Architectures: what a checkpoint computes. One file per model family.

mod bert;
mod bert_gguf;
mod bloom;
mod builder;
mod cohere2;
mod config;
mod decoder;
mod deepseek_v2;
mod distilbert;
mod encoder;
mod falcon;
mod fused;
mod gemma;
mod gemma2;
mod gemma3;
mod gguf;
mod glm4;
mod gpt2;
mod gpt_neox;
mod gpt_oss;
mod granite;
mod head;
mod llama;
mod mistral;
mod mixtral;
mod mpnet;
mod nomic_bert;
mod olmo2;
mod phi3;
mod qwen2;
mod qwen2_moe;
mod qwen3;
mod qwen3_moe;
mod roberta;
mod sentence;
mod smollm3;
mod stablelm;
mod starcoder2;
mod t5;
mod vit;
mod weight;

use builder::Builder;
use config::{Config, wrong};
pub use gguf::{
    GgufDef, UNPACK_REVISION, gguf_of, no_gguf, of_gguf, pack, pack_without_tokenizer, unpack,
    unpack_without_tokenizer, wants_f32,
};

use crate::error::{Error, Result};
use crate::hub::{Checkpoint, Graph};

// One line per architecture: the list that lowering, the docs and the tests iterate.
/// Every architecture.
pub static ALL: &[&ArchDef] = &[
    &bert::DEF,
    &bloom::DEF,
    &cohere2::DEF,
    &deepseek_v2::DEF,
    &distilbert::DEF,
    &falcon::DEF,
    &gemma::DEF,
    &gemma2::DEF,
    &gemma3::DEF,
    &glm4::DEF,
    &gpt2::DEF,
    &gpt_neox::DEF,
    &gpt_oss::DEF,
    &granite::DEF,
    &llama::DEF,
    &mistral::DEF,
    &mixtral::DEF,
    &mpnet::DEF,
    &nomic_bert::DEF,
    &olmo2::DEF,
    &phi3::DEF,
    &qwen2::DEF,
    &qwen2_moe::DEF,
    &qwen3::DEF,
    &qwen3_moe::DEF,
    &roberta::DEF,
    &smollm3::DEF,
    &stablelm::DEF,
    &starcoder2::DEF,
    &t5::DEF,
    &vit::DEF,
];

/// A model family.
pub struct ArchDef {
    /// The family's name.
    pub name: &'static str,
    /// Values of `model_type` in `config.json` that this file serves.
    pub model_types: &'static [&'static str],
    /// What its class names in `architectures` of `config.json` start with; the rest is
    /// [`Task::class_suffix`].
    pub classes: &'static [&'static str],
    /// Bumped when the graph it lowers to changes.
    pub revision: u32,
    /// What it can be lowered to do.
    pub tasks: &'static [Task],
    /// Checkpoint → graph: opset 17, fp32, dynamic batch and sequence. Call [`lower`], which picks
    /// the architecture. `None` where no graph is made of it.
    pub lower: Option<fn(&Checkpoint, &LowerOptions) -> Result<Graph>>,
    /// How it stands in a GGUF file; `None` where it does not.
    pub gguf: Option<&'static GgufDef>,
}

/// Parameters of `pack`; part of the cache key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct PackOptions {
    /// `tokenizer.ggml.pre`, where the manifest names it.
    pub pre_tokenizer: Option<String>,
}

impl std::fmt::Debug for ArchDef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// What a lowered graph computes on top of the encoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Task {
    /// Hidden states, pooled and normalized if asked for.
    FeatureExtraction,
    /// One label per sequence.
    SequenceClassification,
    /// One label per token.
    TokenClassification,
    /// A vocabulary distribution per token.
    MaskedLm,
    /// Start and end of an answer span.
    QuestionAnswering,
    /// One label per image.
    ImageClassification,
}

impl Task {
    /// Every task.
    pub const ALL: &'static [Task] = &[
        Self::FeatureExtraction,
        Self::SequenceClassification,
        Self::TokenClassification,
        Self::MaskedLm,
        Self::QuestionAnswering,
        Self::ImageClassification,
    ];
    /// The tasks of a text encoder.
    const TEXT: &'static [Self] = &[
        Self::FeatureExtraction,
        Self::SequenceClassification,
        Self::TokenClassification,
        Self::MaskedLm,
        Self::QuestionAnswering,
    ];
    /// The name in manifests, which is Hugging Face's pipeline name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::FeatureExtraction => "feature-extraction",
            Self::SequenceClassification => "text-classification",
            Self::TokenClassification => "token-classification",
            Self::MaskedLm => "fill-mask",
            Self::QuestionAnswering => "question-answering",
            Self::ImageClassification => "image-classification",
        }
    }
    /// The ending of the class names in `architectures` of `config.json`.
    pub const fn class_suffix(self) -> &'static str {
        match self {
            Self::FeatureExtraction => "Model",
            Self::SequenceClassification => "ForSequenceClassification",
            Self::TokenClassification => "ForTokenClassification",
            Self::MaskedLm => "ForMaskedLM",
            Self::QuestionAnswering => "ForQuestionAnswering",
            Self::ImageClassification => "ForImageClassification",
        }
    }
}

/// How token vectors become one vector per sequence.
///
/// With pooling the graph has the one output `sentence_embedding` `[batch, hidden]`, in place of
/// `last_hidden_state` and `pooler_output`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Pooling {
    /// Keep one vector per token.
    None,
    /// Mean over the tokens the attention mask keeps.
    Mean,
    /// The first token's vector.
    Cls,
}

impl Pooling {
    /// The name in manifests.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Mean => "mean",
            Self::Cls => "cls",
        }
    }
}

/// Parameters of `lower`; part of the cache key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct LowerOptions {
    /// The task; `None` takes the one `architectures` of `config.json` names.
    pub task: Option<Task>,
    /// Pooling; `None` takes what `modules.json` and `1_Pooling/config.json` say, else none.
    pub pooling: Option<Pooling>,
    /// L2 normalization of the pooled vector; `None` takes what `modules.json` says, else no.
    pub normalize: Option<bool>,
}

/// The architecture that serves a `model_type`, or an error with the nearest ones.
pub fn by_model_type(model_type: &str) -> Result<&'static ArchDef> {
    ALL.iter().copied().find(|d| d.model_types.contains(&model_type)).ok_or_else(|| {
        let known: Vec<&str> = ALL.iter().flat_map(|d| d.model_types).copied().collect();
        let error = Error::unsupported(format!(
            "no architecture here serves model_type `{model_type}` of config.json"
        ));
        match crate::error::nearest(model_type, known.iter().copied()) {
            Some(near) => error.hint(format!("the nearest is `{near}`")),
            None => error,
        }
        .hint(format!("the known ones are: {}", known.join(", ")))
    })
}

/// The architecture of a checkpoint, by `model_type` of its `config.json`.
pub fn of(checkpoint: &Checkpoint) -> Result<&'static ArchDef> {
    let config = Config::of(checkpoint)?;
    match config.text_or("model_type", "")? {
        "" => {
            let known: Vec<&str> = ALL.iter().flat_map(|d| d.model_types).copied().collect();
            Err(wrong("model_type", "is missing")
                .hint(format!("the known ones are: {}", known.join(", "))))
        }
        model_type => by_model_type(model_type),
    }
}

/// Checkpoint → graph: opset 17, IR version 8, fp32, axes `batch` and `sequence` dynamic.
///
/// Weights keep their Hugging Face names; matrices of linear layers are stored transposed, and
/// half-precision weights are widened, both while they are written. Outputs agree with
/// transformers' class of the task:
///
/// | task | outputs |
/// |---|---|
/// | feature extraction | `last_hidden_state` `[batch, sequence, hidden]` and, where the checkpoint has a pooler, `pooler_output` `[batch, hidden]`; with pooling `sentence_embedding` `[batch, hidden]` alone |
/// | sequence, image classification | `logits` `[batch, labels]` |
/// | token classification | `logits` `[batch, sequence, labels]` |
/// | masked language model | `logits` `[batch, sequence, vocabulary]` |
/// | question answering | `start_logits`, `end_logits` `[batch, sequence]` |
///
/// The graph's metadata tells `model_build.architecture`, `model_build.task` and, for
/// classifiers with named labels, `model_build.labels` (a JSON list).
///
/// Errors: no known `model_type`, a task that cannot be told or that the checkpoint has no head
/// for, keys of `config.json` that contradict the tensors or change the computation in a way that
/// is not lowered, and tensors that would be left out.
pub fn lower(checkpoint: &Checkpoint, options: &LowerOptions) -> Result<Graph> {
    let def = of(checkpoint)?;
    let lower = def.lower.ok_or_else(|| no_graph(def))?;
    lower(checkpoint, options)
}

/// The error for an architecture that no graph is made of.
pub fn no_graph(def: &ArchDef) -> Error {
    Error::unsupported(format!("no graph is made of the architecture `{}` yet", def.name))
        .hint("it can be written as a checkpoint: `format = \"gguf\"`, `\"safetensors\"` or `\"pytorch\"`")
}

/// The labels of a classifier, in order, as `id2label` of `config.json` names them.
pub fn labels(checkpoint: &Checkpoint) -> Result<Option<Vec<String>>> {
    Config::of(checkpoint)?.labels()
}

/// The task that a checkpoint is lowered to when none is asked for: that of the first class in
/// `architectures`; feature extraction for a sentence-transformers folder without that key.
pub fn default_task(checkpoint: &Checkpoint) -> Result<Task> {
    task_of(of(checkpoint)?, checkpoint)
}

fn task_of(def: &ArchDef, checkpoint: &Checkpoint) -> Result<Task> {
    let named = Config::of(checkpoint)?.architectures()?;
    let task = named.iter().find_map(|class| {
        let suffix = def.classes.iter().find_map(|prefix| class.strip_prefix(prefix))?;
        def.tasks.iter().copied().find(|task| task.class_suffix() == suffix)
    });
    if let Some(task) = task {
        return Ok(task);
    }
    if named.is_empty() && sentence::is_folder(checkpoint) {
        return Ok(Task::FeatureExtraction);
    }
    let why = if named.is_empty() {
        "config.json has no `architectures`".to_owned()
    } else {
        format!("`architectures` of config.json is {}", named.join(", "))
    };
    Err(Error::unsupported(format!("cannot tell the task: {why}"))
        .file("config.json")
        .hint(format!("set `task` to one of: {}", task_names(def))))
}

fn task_names(def: &ArchDef) -> String {
    def.tasks.iter().map(|t| t.name()).collect::<Vec<_>>().join(", ")
}

/// [`LowerOptions`] with nothing left open.
struct Resolved {
    task: Task,
    pooling: Pooling,
    normalize: bool,
}

fn resolve(def: &ArchDef, checkpoint: &Checkpoint, options: &LowerOptions) -> Result<Resolved> {
    let task = match options.task {
        None => task_of(def, checkpoint)?,
        Some(task) if def.tasks.contains(&task) => task,
        Some(task) => {
            return Err(Error::unsupported(format!(
                "the architecture `{}` has no task `{}`",
                def.name,
                task.name()
            ))
            .hint(format!("its tasks are: {}", task_names(def))));
        }
    };
    if task != Task::FeatureExtraction {
        if options.pooling.is_some_and(|p| p != Pooling::None) || options.normalize == Some(true) {
            return Err(Error::manifest(format!(
                "`pooling` and `normalize` go with the task `{}`, and this is `{}`",
                Task::FeatureExtraction.name(),
                task.name()
            )));
        }
        return Ok(Resolved { task, pooling: Pooling::None, normalize: false });
    }
    let (pooling, normalize) = match (options.pooling, options.normalize) {
        (Some(pooling), Some(normalize)) => (pooling, normalize),
        (Some(Pooling::None), None) => (Pooling::None, false),
        (pooling, normalize) => {
            let folder = sentence::read(checkpoint)?;
            (pooling.unwrap_or(folder.pooling), normalize.unwrap_or(folder.normalize))
        }
    };
    if normalize && pooling == Pooling::None {
        return Err(Error::manifest(
            "`normalize` needs `pooling`: there is no vector per text to normalize",
        )
        .hint("set `pooling = \"mean\"` or `\"cls\"`"));
    }
    Ok(Resolved { task, pooling, normalize })
}

impl Resolved {
    /// Records what was lowered in the graph's metadata.
    fn facts(&self, b: &mut Builder<'_>, def: &ArchDef, config: &Config<'_>) -> Result<()> {
        b.fact("model_build.architecture", def.name);
        b.fact("model_build.task", self.task.name());
        let classifies = matches!(
            self.task,
            Task::SequenceClassification | Task::TokenClassification | Task::ImageClassification
        );
        if classifies && let Some(labels) = config.labels()? {
            b.fact("model_build.labels", serde_json::Value::from(labels).to_string());
        }
        Ok(())
    }
}
