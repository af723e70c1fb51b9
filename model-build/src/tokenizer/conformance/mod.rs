//! Conformance: a fixed multilingual text, tokenized by the crate `tokenizers` from the
//! checkpoint's `tokenizer.json` and, as llama.cpp would do it, from the packed key/values.
//!
//! The second tokenizer is written from llama.cpp's behaviour and shares no code with the first but
//! Unicode's decomposition. A difference is no error: some are llama.cpp's own, such as spaces
//! around added tokens. It is recorded, so that nobody needs to find out from a model's answers.
//! What llama.cpp does for models of particular names (`general.name` with `phi-3`: special tokens
//! eat the spaces behind them) is left out.

mod run;
mod unigram;
mod wordpiece;

use std::fmt;

use crate::error::{Error, Result};
use crate::hub::{Checkpoint, Meta};

/// One text a line.
const CORPUS: &str = include_str!("corpus.txt");

/// How two tokenizations of the corpus compare.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conformance {
    /// Texts of the corpus.
    pub lines: usize,
    /// Texts with the same ids.
    pub equal: usize,
    /// The first text with different ids.
    pub first_difference: Option<Difference>,
}

/// A text that two tokenizers see differently.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The line of the corpus, from 1.
    pub line: usize,
    /// Its text.
    pub text: String,
    /// The ids from `tokenizer.json`.
    pub checkpoint: Vec<u32>,
    /// The ids from the key/values.
    pub gguf: Vec<u32>,
}

impl fmt::Display for Conformance {
    /// `121 of 123 lines equal, first difference in line 7`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} lines equal", self.equal, self.lines)?;
        match &self.first_difference {
            Some(difference) => write!(f, ", first difference in line {}", difference.line),
            None => Ok(()),
        }
    }
}

/// Compares on the corpus. Nothing where the checkpoint has no `tokenizer.json` or the key/values
/// name a pre-tokenizer whose expressions are not known here.
///
/// # Errors
/// The crate `tokenizers` does not read the checkpoint's file, or the key/values are incomplete.
pub fn check(checkpoint: &Checkpoint, metadata: &[(String, Meta)]) -> Result<Option<Conformance>> {
    compare(checkpoint, metadata, CORPUS.lines())
}

/// Compares on texts of the caller.
///
/// # Errors
/// As [`check`].
pub fn compare<'a>(
    checkpoint: &Checkpoint,
    metadata: &[(String, Meta)],
    texts: impl Iterator<Item = &'a str>,
) -> Result<Option<Conformance>> {
    let Some(bytes) = checkpoint.assets.get("tokenizer.json") else { return Ok(None) };
    let Some(ours) = run::Tokenizer::new(metadata)? else { return Ok(None) };
    let refused = |e: tokenizers::Error| {
        Error::malformed(format!("the crate tokenizers refuses the file: {e}"))
            .file("tokenizer.json")
    };
    let mut theirs = tokenizers::Tokenizer::from_bytes(bytes).map_err(refused)?;
    theirs.with_padding(None).with_truncation(None).map_err(refused)?;
    let mut out = Conformance { lines: 0, equal: 0, first_difference: None };
    for text in texts {
        out.lines = out.lines.saturating_add(1);
        let checkpoint = theirs.encode(text, true).map_err(refused)?.get_ids().to_vec();
        let gguf = ours.encode(text)?;
        if checkpoint == gguf {
            out.equal = out.equal.saturating_add(1);
        } else if out.first_difference.is_none() {
            let text = text.to_owned();
            out.first_difference = Some(Difference { line: out.lines, text, checkpoint, gguf });
        }
    }
    Ok(Some(out))
}

/// The ids of texts from the key/values alone. Nothing as in [`check`].
///
/// # Errors
/// The key/values are incomplete.
pub fn gguf_ids<'a>(
    metadata: &[(String, Meta)],
    texts: impl Iterator<Item = &'a str>,
) -> Result<Option<Vec<Vec<u32>>>> {
    let Some(tokenizer) = run::Tokenizer::new(metadata)? else { return Ok(None) };
    texts.map(|text| tokenizer.encode(text)).collect::<Result<_>>().map(Some)
}
