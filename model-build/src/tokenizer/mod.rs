//! Tokenizers: a checkpoint's files ↔ the key/values of a GGUF file.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::error::{Error, Result};
use crate::hub::{Checkpoint, Gguf, Meta};

/// What the architecture knows of its tokenizer.
#[derive(Clone, Debug)]
pub struct Options {
    /// Rows of the embedding: a shorter vocabulary is padded with `[PAD…]` tokens to it.
    pub vocab_size: u64,
    /// The vocabularies the architecture is known with, the preferred one first.
    pub kinds: &'static [Kind],
    /// `tokenizer.ggml.pre`, where the manifest names it.
    pub pre: Option<String>,
}

/// Kinds of vocabulary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// SentencePiece's BPE: `tokenizer.ggml.model` = `llama`.
    SentencePiece,
    /// Byte-level BPE: `gpt2`.
    Bpe,
    /// WordPiece: `bert`.
    WordPiece,
    /// SentencePiece's Unigram: `t5`.
    Unigram,
}

/// The key/values `tokenizer.*` of a checkpoint, in the order that llama.cpp's converter writes them.
///
/// # Errors
/// No tokenizer is there, or it is of a kind that GGUF cannot hold; names the file and the way out.
pub fn pack(_checkpoint: &Checkpoint, _options: &Options) -> Result<Vec<(String, Meta)>> {
    Err(Error::unsupported("tokenizers are not packed yet"))
}

/// The tokenizer files of a GGUF model, by name: `tokenizer.json`, `tokenizer_config.json`, ….
///
/// # Errors
/// The key/values contradict each other.
pub fn unpack(_gguf: &Gguf) -> Result<BTreeMap<String, Bytes>> {
    Err(Error::unsupported("tokenizers are not unpacked yet"))
}
