//! A tokenizer made of a GGUF file's key/values, as llama.cpp runs it.

use std::cmp::Ordering;
use std::collections::HashMap;

use fancy_regex::Regex;

use super::{unigram::Unigram, wordpiece};
use crate::error::{Error, Result};
use crate::hub::{Meta, MetaArray};
use crate::tokenizer::bytelevel::encode_byte;
use crate::tokenizer::merge::{Merges, join};
use crate::tokenizer::pre;
use crate::tokenizer::vocabulary::{
    BYTE, CONTROL, UNKNOWN, USER_DEFINED, byte_of, word_piece_default,
};

/// Tokens that llama.cpp takes for the end of what is generated, and so for special, by their text
/// whatever their type says.
const ENDS: [&str; 24] = [
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<|flush|>",
    "<|calls|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "</s>",
    "<|eom_id|>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "[EOS]",
    "<|end_of_text|>",
    "<end_of_utterance>",
    "<eos>",
    "<turn|>",
    "<|tool_response>",
    "<｜end▁of▁sentence｜>",
    "[e~[",
    "<|fim_pad|>",
    "<|file_sep|>",
];

/// The tokens of a file, looked up by text.
pub(super) struct Vocab<'a> {
    pub(super) tokens: Vec<&'a str>,
    pub(super) scores: &'a [f32],
    pub(super) types: &'a [i32],
    ids: HashMap<&'a str, u32>,
}

impl Vocab<'_> {
    /// The id of a token.
    pub(super) fn id(&self, text: &str) -> Option<u32> {
        self.ids.get(text).copied()
    }
}

/// What cuts and merges.
enum Model<'a> {
    SentencePiece { bytes: HashMap<u8, u32>, prefix: bool },
    Bpe { splits: Vec<Regex>, merges: Merges<'a>, ignore_merges: bool },
    WordPiece(Box<wordpiece::Options>),
    Unigram(Unigram<'a>),
}

/// A tokenizer made of key/values.
pub(super) struct Tokenizer<'a> {
    vocab: Vocab<'a>,
    model: Model<'a>,
    /// Control, user-defined and unknown tokens, long ones first.
    special: Vec<(&'a str, u32)>,
    unknown: u32,
    first: Option<u32>,
    last: Option<u32>,
}

/// A piece of the text: still text, or a token already.
enum Fragment<'t> {
    Text(&'t str),
    Token(u32),
}

/// Access to the key/values under `tokenizer.ggml.`.
#[derive(Clone, Copy)]
pub(super) struct Keys<'a>(&'a [(String, Meta)]);

impl<'a> Keys<'a> {
    fn get(self, name: &str) -> Option<&'a Meta> {
        let found = |key: &str| key.strip_prefix("tokenizer.ggml.") == Some(name);
        self.0.iter().find(|(key, _)| found(key)).map(|(_, value)| value)
    }
    pub(super) fn flag(self, name: &str, default: bool) -> bool {
        self.get(name).and_then(Meta::as_bool).unwrap_or(default)
    }
    fn id(self, name: &str) -> Option<u32> {
        u32::try_from(self.get(&format!("{name}_token_id"))?.as_u64()?).ok()
    }
    /// The id of a role of WordPiece.
    fn word_piece_id(self, role: &str) -> Option<u32> {
        self.id(role).or_else(|| u32::try_from(word_piece_default(role)?).ok())
    }
    fn texts(self, name: &str) -> Result<Vec<&'a str>> {
        let Some(Meta::Array(MetaArray::Text(list))) = self.get(name) else {
            return Err(lacks(name));
        };
        let text = |bytes| std::str::from_utf8(bytes).map_err(|_| lacks(name));
        list.iter().map(|bytes| text(bytes)).collect()
    }
    pub(super) fn bytes(self, name: &str) -> &'a [u8] {
        match self.get(name) {
            Some(Meta::Array(MetaArray::U8(list))) => list,
            _ => &[],
        }
    }
}

fn lacks(name: &str) -> Error {
    Error::malformed("the key/values of a tokenizer lack a list of the right type")
        .item(format!("tokenizer.ggml.{name}"))
}

impl<'a> Tokenizer<'a> {
    /// Nothing for kinds and pre-tokenizers that this module does not run.
    ///
    /// # Errors
    /// A key that the kind needs is missing.
    pub(super) fn new(metadata: &'a [(String, Meta)]) -> Result<Option<Self>> {
        let keys = Keys(metadata);
        let kind = keys.get("model").and_then(Meta::as_text).unwrap_or("");
        let pre = pre::entry(keys.get("pre").and_then(Meta::as_text).unwrap_or("default"));
        let vocab = vocab(keys)?;
        let unknown = match kind {
            "bert" => keys.word_piece_id("unknown"),
            _ => keys.id("unknown"),
        };
        let unknown = unknown.unwrap_or(0);
        let (mut add_first, mut add_last) = (true, false);
        let model = match (kind, pre) {
            ("llama", _) => {
                let bytes = (0u32..)
                    .zip(vocab.tokens.iter().zip(vocab.types))
                    .filter(|(_, (_, kind))| **kind == BYTE)
                    .filter_map(|(id, (token, _))| Some((byte_of(token)?, id)))
                    .collect();
                Model::SentencePiece { bytes, prefix: keys.flag("add_space_prefix", true) }
            }
            ("gpt2", Some(def)) => {
                add_first = def.adds_bos;
                let run = if def.run.is_empty() { def.steps } else { def.run };
                let splits = run.iter().map(|regex| compile(regex)).collect::<Result<_>>()?;
                let merges = Merges::new(keys.texts("merges").unwrap_or_default().into_iter());
                Model::Bpe { splits, merges, ignore_merges: def.ignore_merges }
            }
            ("bert", _) => Model::WordPiece(Box::new(wordpiece::Options::new(keys)?)),
            ("t5", _) => {
                (add_first, add_last) = (false, true);
                Model::Unigram(Unigram::new(keys, &vocab, unknown)?)
            }
            _ => return Ok(None),
        };
        let around = |name: &str, default, role: &str| {
            keys.flag(&format!("add_{name}_token"), default).then(|| keys.id(role)).flatten()
        };
        // llama.cpp always puts both around WordPiece, the separator last.
        let (first, last) = match &model {
            Model::WordPiece(_) => (keys.word_piece_id("bos"), keys.word_piece_id("seperator")),
            _ => (around("bos", add_first, "bos"), around("eos", add_last, "eos")),
        };
        let special = special(&vocab);
        Ok(Some(Self { vocab, model, special, unknown, first, last }))
    }

    /// The ids of a text, with what the model puts around it.
    ///
    /// # Errors
    /// An expression needs too many steps.
    pub(super) fn encode(&self, text: &str) -> Result<Vec<u32>> {
        let mut out: Vec<u32> = self.first.into_iter().collect();
        let mut after_special = true;
        for fragment in self.fragments(text) {
            match fragment {
                Fragment::Token(id) => out.push(id),
                Fragment::Text(text) => self.model(text, after_special, &mut out)?,
            }
            after_special = matches!(fragment, Fragment::Token(_));
        }
        out.extend(self.last);
        Ok(out)
    }

    /// The text with its special tokens found, the longest first.
    fn fragments<'t>(&self, text: &'t str) -> Vec<Fragment<'t>> {
        let mut fragments = Vec::new();
        if !text.is_empty() {
            fragments.push(Fragment::Text(text));
        }
        for (token, id) in &self.special {
            let mut next = Vec::with_capacity(fragments.len());
            for fragment in fragments {
                let Fragment::Text(text) = fragment else {
                    next.push(fragment);
                    continue;
                };
                for (n, part) in text.split(token).enumerate() {
                    if n > 0 {
                        next.push(Fragment::Token(*id));
                    }
                    if !part.is_empty() {
                        next.push(Fragment::Text(part));
                    }
                }
            }
            fragments = next;
        }
        fragments
    }

    fn model(&self, text: &str, after_special: bool, out: &mut Vec<u32>) -> Result<()> {
        match &self.model {
            Model::SentencePiece { bytes, prefix } => {
                let space = if *prefix && after_special { " " } else { "" };
                let text = format!("{space}{text}").replace(' ', "▁");
                self.sentence_piece(&text, bytes, out);
            }
            Model::Bpe { splits, merges, ignore_merges } => {
                for word in split(text, splits)? {
                    let word: String = word.bytes().map(encode_byte).collect();
                    let whole = ignore_merges.then(|| self.vocab.id(&word)).flatten();
                    match whole {
                        Some(id) => out.push(id),
                        None => out.extend(
                            merges.apply(&word).into_iter().filter_map(|part| self.vocab.id(part)),
                        ),
                    }
                }
            }
            Model::WordPiece(options) => {
                wordpiece::encode(text, options, &self.vocab, self.unknown, out);
            }
            Model::Unigram(unigram) => unigram.encode(text, &self.vocab, out),
        }
        Ok(())
    }

    fn sentence_piece(&self, text: &str, bytes: &HashMap<u8, u32>, out: &mut Vec<u32>) {
        let parts = join(text, |left, right| {
            let id = self.vocab.id(&format!("{left}{right}"))?;
            let at = usize::try_from(id).ok()?;
            self.vocab.scores.get(at).map(|score| Best(*score))
        });
        for part in parts {
            match self.vocab.id(part) {
                Some(id) => out.push(id),
                None => {
                    out.extend(
                        part.bytes().map(|b| bytes.get(&b).copied().unwrap_or(self.unknown)),
                    );
                }
            }
        }
    }
}

/// A score; the highest is the smallest rank.
#[derive(Clone, Copy, PartialEq)]
struct Best(f32);

impl Eq for Best {}

impl PartialOrd for Best {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Best {
    fn cmp(&self, other: &Self) -> Ordering {
        other.0.total_cmp(&self.0)
    }
}

fn vocab(keys: Keys<'_>) -> Result<Vocab<'_>> {
    let tokens = keys.texts("tokens")?;
    let scores = match keys.get("scores") {
        Some(Meta::Array(MetaArray::F32(list))) => list.as_slice(),
        _ => &[],
    };
    let types = match keys.get("token_type") {
        Some(Meta::Array(MetaArray::I32(list))) if list.len() == tokens.len() => list.as_slice(),
        _ => return Err(lacks("token_type")),
    };
    let ids = tokens.iter().copied().zip(0u32..).collect();
    Ok(Vocab { tokens, scores, types, ids })
}

fn special<'a>(vocab: &Vocab<'a>) -> Vec<(&'a str, u32)> {
    let mut special: Vec<(&str, u32)> = (0u32..)
        .zip(vocab.tokens.iter().zip(vocab.types))
        .filter(|(_, (token, kind))| {
            let typed = matches!(**kind, CONTROL | USER_DEFINED | UNKNOWN);
            !token.is_empty() && (typed || ENDS.contains(*token))
        })
        .map(|(id, (token, _))| (*token, id))
        .collect();
    special.sort_by_key(|(token, _)| std::cmp::Reverse(token.len()));
    special
}

/// An expression of the table.
pub(super) fn compile(regex: &str) -> Result<Regex> {
    Regex::new(regex).map_err(|e| Error::bug(format!("the expression `{regex}` is refused: {e}")))
}

/// Splits by each expression in turn; what lies between matches is a part too.
fn split<'t>(text: &'t str, splits: &[Regex]) -> Result<Vec<&'t str>> {
    let mut parts = vec![text];
    for regex in splits {
        let mut next = Vec::with_capacity(parts.len());
        for part in parts {
            let mut rest = 0;
            for found in regex.find_iter(part) {
                let found = found.map_err(|e| {
                    Error::unsupported(format!("the expression `{regex}` gave up: {e}"))
                })?;
                next.extend(part.get(rest..found.start()).filter(|gap| !gap.is_empty()));
                next.extend(Some(found.as_str()).filter(|word| !word.is_empty()));
                rest = found.end();
            }
            next.extend(part.get(rest..).filter(|gap| !gap.is_empty()));
        }
        parts = next;
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokenizer::pre_table::TABLE;

    #[test]
    fn every_expression_of_the_table_compiles() {
        for def in TABLE {
            for regex in def.steps.iter().chain(def.run) {
                assert!(Regex::new(regex).is_ok(), "{}: {regex}", def.id);
            }
        }
    }
}
