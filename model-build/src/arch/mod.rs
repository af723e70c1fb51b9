//! Architectures: what a checkpoint computes. One file per model family.

mod bert;
mod bert_gguf;
mod bloom;
mod builder;
mod cache;
mod clip;
mod cohere2;
mod config;
mod convnext;
mod convolution;
mod decoder;
mod deepseek_v2;
mod distilbert;
mod encoder;
mod falcon;
mod fused;
mod gemma;
mod gemma2;
mod gemma3;
mod generator;
mod gguf;
mod glm4;
mod gpt2;
mod gpt2_graph;
mod gpt_neox;
mod gpt_oss;
mod granite;
mod head;
mod llama;
mod llama_graph;
mod mistral;
mod mixtral;
mod mobilenet_v2;
mod mpnet;
mod nomic_bert;
mod olmo2;
mod phi3;
mod qwen2;
mod qwen2_moe;
mod qwen3;
mod qwen3_moe;
mod resnet;
mod roberta;
mod rotary;
mod sentence;
mod smollm3;
mod stablelm;
mod starcoder2;
mod t5;
mod t5_graph;
mod vit;
mod weight;
mod whisper;

use builder::Builder;
use config::{Config, wrong};
pub use gguf::{
    GgufDef, UNPACK_REVISION, gguf_of, no_gguf, of_gguf, pack, pack_without_tokenizer, unpack,
    unpack_without_tokenizer, wants_f32,
};
pub(crate) use weight::transposed;

use crate::error::{Error, Result};
use crate::hub::{Checkpoint, Graph};

// One line per architecture: the list that lowering, the docs and the tests iterate.
/// Every architecture.
pub static ALL: &[&ArchDef] = &[
    &bert::DEF,
    &bloom::DEF,
    &clip::DEF,
    &clip::TEXT_DEF,
    &clip::VISION_DEF,
    &cohere2::DEF,
    &convnext::DEF,
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
    &mobilenet_v2::DEF,
    &mpnet::DEF,
    &nomic_bert::DEF,
    &olmo2::DEF,
    &phi3::DEF,
    &qwen2::DEF,
    &qwen2_moe::DEF,
    &qwen3::DEF,
    &qwen3_moe::DEF,
    &resnet::DEF,
    &roberta::DEF,
    &smollm3::DEF,
    &stablelm::DEF,
    &starcoder2::DEF,
    &t5::DEF,
    &vit::DEF,
    &whisper::DEF,
];

/// A model family.
pub struct ArchDef {
    /// The family's name.
    pub name: &'static str,
    /// Values of `model_type` in `config.json` that this file serves.
    pub model_types: &'static [&'static str],
    /// What its class names in `architectures` of `config.json` start with; the rest is
    /// one of [`Task::class_suffixes`].
    pub classes: &'static [&'static str],
    /// Bumped when the graph it lowers to changes.
    pub revision: u32,
    /// What it can be lowered to do.
    pub tasks: &'static [Task],
    /// Checkpoint → graph: opset 17, fp32, dynamic batch and lengths. Call [`lower`], which picks
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

/// What a lowered graph computes.
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
    /// How well each text fits each image.
    ZeroShotImageClassification,
    /// The next token of a text.
    TextGeneration,
    /// The next token of an answer to a text.
    Text2TextGeneration,
    /// The next token of what is said in a recording.
    AutomaticSpeechRecognition,
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
        Self::ZeroShotImageClassification,
        Self::TextGeneration,
        Self::Text2TextGeneration,
        Self::AutomaticSpeechRecognition,
    ];
    /// The tasks of an image classifier.
    const IMAGE: &'static [Self] = &[Self::ImageClassification, Self::FeatureExtraction];
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
            Self::ZeroShotImageClassification => "zero-shot-image-classification",
            Self::TextGeneration => "text-generation",
            Self::Text2TextGeneration => "text2text-generation",
            Self::AutomaticSpeechRecognition => "automatic-speech-recognition",
        }
    }
    /// The endings of the class names in `architectures` of `config.json`.
    pub const fn class_suffixes(self) -> &'static [&'static str] {
        match self {
            Self::FeatureExtraction => &["Model", "ModelWithProjection"],
            Self::SequenceClassification => &["ForSequenceClassification"],
            Self::TokenClassification => &["ForTokenClassification"],
            Self::MaskedLm => &["ForMaskedLM"],
            Self::QuestionAnswering => &["ForQuestionAnswering"],
            Self::ImageClassification => &["ForImageClassification"],
            Self::ZeroShotImageClassification => &["Model"],
            Self::TextGeneration => &["ForCausalLM", "LMHeadModel"],
            Self::Text2TextGeneration | Self::AutomaticSpeechRecognition => {
                &["ForConditionalGeneration"]
            }
        }
    }
    /// The parts of which each is a graph of its own; none where the task is one graph.
    pub const fn parts(self) -> &'static [Part] {
        match self {
            Self::TextGeneration => &[Part::DecoderWithPast, Part::Decoder],
            Self::Text2TextGeneration | Self::AutomaticSpeechRecognition => {
                &[Part::Encoder, Part::Decoder, Part::DecoderWithPast]
            }
            _ => &[],
        }
    }
}

/// A part of a model that is a graph of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// What reads the input of an encoder-decoder model.
    Encoder,
    /// What writes the output, for the first tokens of a text: it fills the cache.
    Decoder,
    /// What writes the output, for the tokens that follow: it reads the cache and adds to it.
    DecoderWithPast,
    /// The text side of a model of texts and images.
    Text,
    /// The image side of a model of texts and images.
    Vision,
}

impl Part {
    /// Every part.
    pub const ALL: &'static [Part] =
        &[Self::Encoder, Self::Decoder, Self::DecoderWithPast, Self::Text, Self::Vision];
    /// The name in manifests.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Encoder => "encoder",
            Self::Decoder => "decoder",
            Self::DecoderWithPast => "decoder-with-past",
            Self::Text => "text",
            Self::Vision => "vision",
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
    /// The part of the model; `None` takes the whole, or what a text generator is in one graph:
    /// [`Part::DecoderWithPast`].
    pub part: Option<Part>,
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

/// Checkpoint → graph: opset 17, IR version 8, fp32, axes `batch` and `sequence` dynamic, and of images
/// `height` and `width` where the model takes any.
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
/// | feature extraction of images | `last_hidden_state`, `pooler_output` as the model's class has them |
/// | feature extraction of texts and images | `text_embeds`, `image_embeds` `[batch, length]`; of one part also `last_hidden_state` |
/// | zero-shot image classification | `logits_per_image`, `logits_per_text`, `text_embeds`, `image_embeds` |
/// | text generation, and the decoders of encoder-decoder models | `logits` `[batch, sequence, vocabulary]`, `present.N.…` |
/// | the encoders of encoder-decoder models | `last_hidden_state` |
///
/// The graph's metadata tells `model_build.architecture`, `model_build.task`, `model_build.part` where
/// the graph is one of several and, for
/// classifiers with named labels, `model_build.labels` (a JSON list).
///
/// Errors: no known `model_type`, a task that cannot be told or that the checkpoint has no head
/// for, a part that is missing or that the task has not, keys of `config.json` that contradict the tensors or change the computation in a way that
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
        def.tasks.iter().copied().find(|task| task.class_suffixes().contains(&suffix))
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
    part: Option<Part>,
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
    let part = part_of(task, options.part)?;
    if task != Task::FeatureExtraction {
        if options.pooling.is_some_and(|p| p != Pooling::None) || options.normalize == Some(true) {
            return Err(Error::manifest(format!(
                "`pooling` and `normalize` go with the task `{}`, and this is `{}`",
                Task::FeatureExtraction.name(),
                task.name()
            )));
        }
        return Ok(Resolved { task, part, pooling: Pooling::None, normalize: false });
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
    Ok(Resolved { task, part, pooling, normalize })
}

/// The part that is asked for, if the task has it; where one is needed, an error that lists them.
fn part_of(task: Task, asked: Option<Part>) -> Result<Option<Part>> {
    let parts = task.parts();
    let listed = || parts.iter().map(|p| p.name()).collect::<Vec<_>>().join(", ");
    match asked {
        None if parts.is_empty() => Ok(None),
        None if task == Task::TextGeneration => Ok(Some(Part::DecoderWithPast)),
        None => Err(Error::manifest(format!(
            "the task `{}` is more than one graph, and `part` does not say which",
            task.name()
        ))
        .hint(format!("make a target for each `part`: {}", listed()))),
        Some(part) if parts.contains(&part) => Ok(Some(part)),
        Some(part) => {
            let error = Error::manifest(format!(
                "the task `{}` has no part `{}`",
                task.name(),
                part.name()
            ));
            Err(if parts.is_empty() {
                error.hint("leave `part` out: the task is one graph")
            } else {
                error.hint(format!("its parts are: {}", listed()))
            })
        }
    }
}

impl Resolved {
    /// An error where vectors are to be pooled that are no tokens of a text.
    fn refuse_pooling(&self, outputs: &str) -> Result<()> {
        if self.pooling == Pooling::None {
            return Ok(());
        }
        Err(Error::unsupported(format!(
            "pooling what is no text: the outputs of this architecture are {outputs}"
        ))
        .hint("leave `pooling` and `normalize` out"))
    }

    /// Records what was lowered in the graph's metadata.
    fn facts(&self, b: &mut Builder<'_>, def: &ArchDef, config: &Config<'_>) -> Result<()> {
        b.fact("model_build.architecture", def.name);
        b.fact("model_build.task", self.task.name());
        if let Some(part) = self.part {
            b.fact("model_build.part", part.name());
        }
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
