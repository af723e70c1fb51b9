//! Architectures: what a checkpoint computes. One file per model family.

use crate::error::{Error, Result};
use crate::hub::{Checkpoint, Graph};

/// Every architecture.
pub static ALL: &[&ArchDef] = &[];

/// A model family.
pub struct ArchDef {
    /// The family's name.
    pub name: &'static str,
    /// Values of `model_type` in `config.json` that this file serves.
    pub model_types: &'static [&'static str],
    /// Bumped when the graph it lowers to changes.
    pub revision: u32,
    /// What it can be lowered to do.
    pub tasks: &'static [Task],
    /// Checkpoint → graph: opset 17, fp32, dynamic batch and sequence.
    pub lower: fn(&Checkpoint, &LowerOptions) -> Result<Graph>,
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Pooling {
    /// Keep one vector per token.
    None,
    /// Mean over the tokens the attention mask keeps.
    Mean,
    /// The first token's vector.
    Cls,
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
