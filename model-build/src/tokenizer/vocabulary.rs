//! The tokens of a vocabulary with their types and scores, and what added tokens do to them.

use std::collections::HashMap;

use bytes::Bytes;
use serde_json::Value as Json;

use super::files::Files;
use super::json::{Added, flatten, type_of};
use crate::error::{Error, Result};
use crate::hub::{Meta, MetaArray};

/// `tokenizer.ggml.token_type`.
pub(super) const NORMAL: i32 = 1;
/// The token for what no other token spells.
pub(super) const UNKNOWN: i32 = 2;
/// A token that controls the model and is no text.
pub(super) const CONTROL: i32 = 3;
/// An added token that is text.
pub(super) const USER_DEFINED: i32 = 4;
/// A row of the embedding that no token uses.
pub(super) const UNUSED: i32 = 5;
/// A token for one byte, spelled `<0x..>`.
pub(super) const BYTE: i32 = 6;

/// The most tokens a vocabulary is believed to have; the largest known has about a million.
const MAX_TOKENS: u64 = 1 << 24;

/// Tokens by id. The lists have the same length; without scores GGUF has no key for them.
pub(super) struct Vocabulary {
    pub(super) tokens: Vec<String>,
    pub(super) scores: Vec<f32>,
    pub(super) types: Vec<i32>,
}

impl Vocabulary {
    /// `size` unused tokens `[PAD0]`, `[PAD1]`, ….
    ///
    /// # Errors
    /// The size is beyond what a vocabulary can have.
    pub(super) fn padding(size: u64) -> Result<Self> {
        let len = usize::try_from(size).ok().filter(|_| size <= MAX_TOKENS).ok_or_else(|| {
            Error::malformed(format!(
                "a vocabulary of {size} tokens is implied, {MAX_TOKENS} is the limit"
            ))
            .file("config.json")
            .item("vocab_size")
        })?;
        Ok(Self {
            tokens: (0..len).map(|id| format!("[PAD{id}]")).collect(),
            scores: vec![-10000.0; len],
            types: vec![UNUSED; len],
        })
    }

    /// Sets a token. False if the id is beyond the end: nothing is set.
    pub(super) fn set(&mut self, id: u64, token: String, score: f32, kind: i32) -> bool {
        let at = usize::try_from(id).unwrap_or(usize::MAX);
        match (self.tokens.get_mut(at), self.scores.get_mut(at), self.types.get_mut(at)) {
            (Some(t), Some(s), Some(k)) => {
                (*t, *s, *k) = (token, score, kind);
                true
            }
            _ => false,
        }
    }

    /// Sets a token of a vocabulary whose ids must all fit.
    ///
    /// # Errors
    /// The id is beyond the embedding.
    pub(super) fn set_all(&mut self, id: u64, token: &str, kind: i32) -> Result<()> {
        if self.set(id, token.to_owned(), 0.0, kind) {
            return Ok(());
        }
        Err(Error::malformed(format!(
            "token `{token}` has id {id}, the embedding has {} rows",
            self.tokens.len()
        ))
        .hint("the tokenizer files and config.json's vocab_size do not belong together: take both from one checkpoint, or remove the token"))
    }

    /// The token of an id.
    pub(super) fn token(&self, id: u64) -> Option<&str> {
        self.tokens.get(usize::try_from(id).ok()?).map(String::as_str)
    }

    /// `tokenizer.ggml.tokens`, `.scores` (if asked for) and `.token_type`.
    pub(super) fn into_metadata(self, scores: bool) -> Vec<(String, Meta)> {
        let tokens = self.tokens.into_iter().map(Bytes::from).collect();
        let mut out = vec![key("tokens", Meta::Array(MetaArray::Text(tokens)))];
        if scores {
            out.push(key("scores", Meta::Array(MetaArray::F32(self.scores))));
        }
        out.push(key("token_type", Meta::Array(MetaArray::I32(self.types))));
        out
    }
}

/// A key under `tokenizer.ggml.`.
pub(super) fn key(name: &str, value: Meta) -> (String, Meta) {
    (format!("tokenizer.ggml.{name}"), value)
}

/// The vocabulary of a `tokenizer.json`-like set of ids with its added tokens, as the converter
/// builds it for byte-level BPE and WordPiece: the gaps are `[PAD…]`.
///
/// # Errors
/// An id is beyond `size`, or two tokens have one id.
pub(super) fn with_added(
    files: &Files<'_>,
    base: &[(String, u64)],
    size: u64,
) -> Result<Vocabulary> {
    let by_text: HashMap<&str, u64> = base.iter().map(|(t, id)| (t.as_str(), *id)).collect();
    let added = files.added(&by_text)?;
    let mut out = Vocabulary::padding(size)?;
    for (token, id) in base {
        if let Some(Added { content, .. }) = added.get(id).filter(|entry| entry.content != *token) {
            return Err(Error::malformed(format!(
                "id {id} belongs to `{token}` and to the added token `{content}`"
            )));
        }
        out.set_all(*id, token, NORMAL)?;
    }
    for (id, entry) in &added {
        let (token, kind) = spelled(files, entry);
        out.set_all(*id, &token, kind)?;
    }
    Ok(out)
}

/// An added token as GGUF spells it, and its type.
fn spelled(files: &Files<'_>, entry: &Added) -> (String, i32) {
    let normalized = entry.normalized.unwrap_or(!entry.special);
    let decoder = files.tokenizer.as_ref().map_or(&Json::Null, |t| &t.decoder);
    let text = if normalized { entry.content.clone() } else { decoded(&entry.content, decoder) };
    if entry.special || looks_special(&text) {
        (text, CONTROL)
    } else {
        (text.replace('▁', " "), USER_DEFINED)
    }
}

/// The text that the decoder makes of a single token.
fn decoded(token: &str, decoder: &Json) -> String {
    let mut text = token.to_owned();
    for step in flatten(decoder, "decoders") {
        match type_of(step) {
            "ByteLevel" => {
                if let Some(bytes) = super::bytelevel::decode(&text) {
                    text = String::from_utf8_lossy(&bytes).into_owned();
                }
            }
            "Metaspace" => text = text.replace('▁', " ").trim_start_matches(' ').to_owned(),
            "Replace" => {
                let pattern = step.pointer("/pattern/String").and_then(Json::as_str);
                let content = step.get("content").and_then(Json::as_str);
                if let (Some(pattern), Some(content)) = (pattern, content) {
                    text = text.replace(pattern, content);
                }
            }
            "Strip" => {
                let what = step.get("content").and_then(Json::as_str).unwrap_or(" ");
                let times = step.get("start").and_then(Json::as_u64).unwrap_or(0);
                for _ in 0..times.min(64) {
                    text = text.strip_prefix(what).unwrap_or(&text).to_owned();
                }
            }
            _ => {}
        }
    }
    text
}

/// Whether a token is one of those that models use for control without marking them as special.
pub(super) fn looks_special(token: &str) -> bool {
    const NAMES: [&str; 4] = ["<pad>", "<mask>", "<2mass>", "[@BOS@]"];
    const FORMS: [(&str, &str); 3] = [("<|", "|>"), ("<｜", "｜>"), ("<unused", ">")];
    NAMES.contains(&token)
        || FORMS.iter().any(|(start, end)| token.starts_with(start) && token.ends_with(end))
}

/// The byte of a `<0x..>` token.
pub(super) fn byte_of(token: &str) -> Option<u8> {
    let digits = token.strip_prefix("<0x")?.strip_suffix('>')?;
    if digits.len() != 2 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    u8::from_str_radix(digits, 16).ok()
}

/// The id that llama.cpp takes for a role of WordPiece without a key: BERT's own.
pub(super) fn word_piece_default(role: &str) -> Option<u64> {
    match role {
        "bos" => Some(101),
        "unknown" => Some(100),
        "seperator" => Some(102),
        "padding" => Some(0),
        "mask" => Some(103),
        _ => None,
    }
}
