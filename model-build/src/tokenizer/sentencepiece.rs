//! SentencePiece's model file: the messages of its protobuf that packing reads.

use bytes::Bytes;
use prost::Message;

use super::files::Files;
use crate::error::{Error, Result};

/// The message of a `tokenizer.model` or `spiece.model`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct ModelProto {
    #[prost(message, repeated, tag = "1")]
    pub(super) pieces: Vec<Piece>,
    #[prost(message, optional, tag = "2")]
    pub(super) trainer: Option<TrainerSpec>,
    #[prost(message, optional, tag = "3")]
    pub(super) normalizer: Option<NormalizerSpec>,
}

/// One token.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Piece {
    #[prost(string, optional, tag = "1")]
    pub(super) piece: Option<String>,
    #[prost(float, optional, tag = "2")]
    pub(super) score: Option<f32>,
    #[prost(int32, optional, tag = "3")]
    pub(super) kind: Option<i32>,
}

/// How the model was trained.
#[derive(Clone, PartialEq, Message)]
pub(super) struct TrainerSpec {
    #[prost(int32, optional, tag = "3")]
    pub(super) model_type: Option<i32>,
    #[prost(bool, optional, tag = "24")]
    pub(super) whitespace_as_suffix: Option<bool>,
}

/// How text is normalized.
#[derive(Clone, PartialEq, Message)]
pub(super) struct NormalizerSpec {
    #[prost(bytes = "bytes", optional, tag = "2")]
    pub(super) precompiled_charsmap: Option<Bytes>,
    #[prost(bool, optional, tag = "3")]
    pub(super) add_dummy_prefix: Option<bool>,
    #[prost(bool, optional, tag = "4")]
    pub(super) remove_extra_whitespaces: Option<bool>,
}

/// `TrainerSpec.ModelType`.
pub(super) const UNIGRAM: i32 = 1;
/// `TrainerSpec.ModelType`.
pub(super) const BPE: i32 = 2;

impl ModelProto {
    /// `model_type`; Unigram where the file does not say.
    pub(super) fn model_type(&self) -> i32 {
        self.trainer.as_ref().and_then(|t| t.model_type).unwrap_or(UNIGRAM)
    }
}

/// The first SentencePiece file of those names that the checkpoint has, parsed.
///
/// A `tokenizer.model` in tiktoken's text form counts as absent where a `tokenizer.json` says the
/// same.
///
/// # Errors
/// The file is no SentencePiece model.
pub(super) fn find(files: &Files<'_>, names: &[&str]) -> Result<Option<ModelProto>> {
    for name in names {
        let Some(bytes) = files.assets.get(*name) else { continue };
        if is_tiktoken(bytes) {
            if files.tokenizer.is_some() {
                continue;
            }
            return Err(Error::unsupported("the file is a tiktoken vocabulary")
                .file(*name)
                .hint("put the checkpoint's tokenizer.json beside it; transformers writes one with `AutoTokenizer.from_pretrained(...).save_pretrained(...)`"));
        }
        return parse(bytes).map(Some).map_err(|e| e.file(*name));
    }
    Ok(None)
}

fn parse(bytes: &Bytes) -> Result<ModelProto> {
    let model = ModelProto::decode(bytes.clone())
        .map_err(|e| Error::malformed(format!("not a SentencePiece model: {e}")))?;
    if model.pieces.is_empty() {
        return Err(Error::malformed("the SentencePiece model has no tokens"));
    }
    if model.trainer.as_ref().and_then(|t| t.whitespace_as_suffix) == Some(true) {
        return Err(Error::unsupported(
            "the SentencePiece model puts spaces behind words (treat_whitespace_as_suffix), GGUF has no key for it",
        ));
    }
    match model.model_type() {
        UNIGRAM | BPE => Ok(model),
        other => Err(Error::unsupported(format!(
            "the SentencePiece model is of type {other}; GGUF holds Unigram (1) and BPE (2)"
        ))),
    }
}

/// Whether the first line is base64, a space and a number.
fn is_tiktoken(bytes: &[u8]) -> bool {
    let line = bytes.split(|b| *b == b'\n').next().unwrap_or_default();
    let mut parts = line.splitn(2, |b| *b == b' ');
    let (Some(token), Some(rank)) = (parts.next(), parts.next()) else { return false };
    !token.is_empty()
        && token.iter().all(|b| b.is_ascii_alphanumeric() || b"+/=".contains(b))
        && !rank.is_empty()
        && rank.iter().all(|b| b.is_ascii_digit() || *b == b'\r')
}
