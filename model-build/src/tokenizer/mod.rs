//! Tokenizers: a checkpoint's files ↔ the key/values of a GGUF file.
//!
//! [`pack`] reads the files as llama.cpp's converter does and gives the same key/values in the same
//! order. It differs where the converter has no answer or writes one that tokenizes differently:
//! * The pre-tokenizer's id comes from the structure of `tokenizer.json` (`pre.rs`,
//!   `pre_table.rs`), not from a hash of what it makes of a text.
//! * SentencePiece from `tokenizer.json` alone gets the scores that the merges imply (`spm.rs`); the
//!   converter gives every token the same one.
//! * Unigram from `tokenizer.json` alone, and WordPiece from `vocab.txt` alone, are packed.
//! * What llama.cpp cannot do (a prefix space of byte-level BPE, a normalizer it lacks) is an
//!   error.
//!
//! [`unpack`] makes files that `transformers` opens.

mod bpe;
mod bytelevel;
#[cfg(feature = "tokenizers")]
pub mod conformance;
mod files;
mod json;
mod merge;
mod pre;
mod pre_table;
mod sentencepiece;
mod special;
mod spm;
mod template;
mod unigram;
mod unpack;
mod vocabulary;
mod wordpiece;

use std::collections::BTreeMap;

use bytes::Bytes;

use self::files::Files;
use self::special::Special;
use self::vocabulary::{Vocabulary, key};
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

impl Kind {
    /// `tokenizer.ggml.model`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SentencePiece => "llama",
            Self::Bpe => "gpt2",
            Self::WordPiece => "bert",
            Self::Unigram => "t5",
        }
    }

    /// The name people know it by.
    const fn title(self) -> &'static str {
        match self {
            Self::SentencePiece => "SentencePiece BPE",
            Self::Bpe => "byte-level BPE",
            Self::WordPiece => "WordPiece",
            Self::Unigram => "SentencePiece Unigram",
        }
    }
}

/// Every id of a pre-tokenizer that a manifest may name, sorted.
pub fn pre_tokenizers() -> Vec<&'static str> {
    pre::known()
}

/// The key/values `tokenizer.*` of a checkpoint, in the order that llama.cpp's converter writes them.
///
/// `tokenizer.ggml.token_type_count` is not among them: it is the architecture's.
///
/// # Errors
/// No tokenizer is there, or it is of a kind that GGUF cannot hold; names the file and the way out.
pub fn pack(checkpoint: &Checkpoint, options: &Options) -> Result<Vec<(String, Meta)>> {
    if let Some(pre) = &options.pre {
        pre::named(pre)?;
    }
    let files = Files::new(checkpoint)?;
    for kind in options.kinds {
        let packed = match kind {
            Kind::SentencePiece => spm::pack(&files, options)?,
            Kind::Bpe => bpe::pack(&files, options)?,
            Kind::WordPiece => wordpiece::pack(&files, options)?,
            Kind::Unigram => unigram::pack(&files, options)?,
        };
        if let Some(packed) = packed {
            if options.pre.is_some() && matches!(kind, Kind::SentencePiece | Kind::Unigram) {
                return Err(no_pre_tokenizer(*kind));
            }
            return Ok(packed);
        }
    }
    Err(missing(&files, options))
}

/// The error for a pre-tokenizer that would not be looked at.
fn no_pre_tokenizer(kind: Kind) -> Error {
    Error::manifest(format!(
        "`pre-tokenizer` has no effect: a tokenizer of {} has none",
        kind.title()
    ))
    .hint("remove `pre-tokenizer`")
}

/// Why none of the kinds was found.
fn missing(files: &Files<'_>, options: &Options) -> Error {
    let wanted: Vec<&str> = options.kinds.iter().map(|kind| kind.title()).collect();
    let wanted = wanted.join(" or ");
    if let Some(tokenizer) = &files.tokenizer {
        let byte = if tokenizer.byte_fallback() { " with byte fallback" } else { "" };
        return Error::unsupported(format!(
            "the tokenizer is {}{byte}, GGUF holds {wanted} for this architecture",
            tokenizer.kind()
        ))
        .file("tokenizer.json");
    }
    Error::source_missing(format!("the checkpoint has no tokenizer files of {wanted}")).hint(
        "put tokenizer.json, tokenizer.model, spiece.model, vocab.txt, or vocab.json with merges.txt beside config.json",
    )
}

/// `tokenizer.ggml.model` and `.pre`.
fn head(kind: Kind, pre: &str) -> Vec<(String, Meta)> {
    vec![key("model", Meta::text(kind.as_str())), key("pre", Meta::text(pre))]
}

/// The `model_type`s whose conversion knows the setting `add_prefix_space` and the vocabulary sizes
/// of particular models.
const LLAMA_LIKE: [&str; 11] = [
    "apertus",
    "arcee",
    "granite",
    "llama",
    "llama4",
    "llama4_text",
    "ministral3",
    "mistral",
    "mixtral",
    "nanbeige",
    "smollm3",
];

fn is_llama_like(files: &Files<'_>) -> bool {
    LLAMA_LIKE.contains(&files.model_type())
}

/// What particular models need beyond their files.
fn adjust(files: &Files<'_>, vocabulary: &Vocabulary, special: &mut Special) {
    let size = vocabulary.tokens.len();
    let id_of = |token: &str| {
        vocabulary.tokens.iter().position(|t| t == token).and_then(|p| u64::try_from(p).ok())
    };
    let roles: &[(&str, &str)] = match files.model_type() {
        "glm" | "glm4" => &[
            ("eos", "<|endoftext|>"),
            ("eot", "<|user|>"),
            ("unk", "<|endoftext|>"),
            ("bos", "<|endoftext|>"),
        ],
        "glm4_moe" => &[
            ("bos", "[gMASK]"),
            ("eot", "<|user|>"),
            ("unk", "<|endoftext|>"),
            ("eom", "<|observation|>"),
        ],
        _ => &[],
    };
    for (role, token) in roles {
        if let Some(id) = id_of(token) {
            special.set_id(role, id, vocabulary);
        }
    }
    match files.model_type() {
        "gemma" => special.set_id("eot", 107, vocabulary),
        // CodeLlama's vocabulary.
        _ if is_llama_like(files) && size == 32016 => special.set_id("eot", 32010, vocabulary),
        // Granite's small models.
        _ if is_llama_like(files) && size == 49152 => special.set_add("bos", false),
        _ => {}
    }
}

/// The setting `add_prefix_space` of models that are converted with it.
fn prefix_setting(files: &Files<'_>) -> Option<(String, Meta)> {
    let setting = files.setting("add_prefix_space").and_then(serde_json::Value::as_bool)?;
    is_llama_like(files).then(|| key("add_space_prefix", Meta::Bool(setting)))
}

/// The tokenizer files of a GGUF model, by name: `tokenizer.json`, `tokenizer_config.json`,
/// `special_tokens_map.json`.
///
/// GGUF has lost some things; the files say then what the models of that kind have:
/// * WordPiece: control characters are dropped and Chinese characters stand alone; accents are
///   stripped where text is made lower case, unless a key says otherwise.
/// * Added tokens match as they stand, do not eat spaces around them and may stand inside of words.
/// * A byte-level tokenizer has the steps that the table has for its id.
/// * SentencePiece's BPE has the merges that the scores imply.
///
/// # Errors
/// The key/values contradict each other, or name a tokenizer that has no `tokenizer.json`.
pub fn unpack(gguf: &Gguf) -> Result<BTreeMap<String, Bytes>> {
    unpack::unpack(gguf)
}
