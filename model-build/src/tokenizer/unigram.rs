//! SentencePiece's Unigram, from a SentencePiece model or from `tokenizer.json` alone.

use std::collections::HashMap;

use bytes::Bytes;
use serde_json::Value as Json;

use super::files::Files;
use super::json::{TokenizerJson, Vocab, flatten, type_of};
use super::sentencepiece::{self, ModelProto};
use super::special::Special;
use super::spm::{ADDED_SCORE, from_model};
use super::vocabulary::{
    BYTE, CONTROL, NORMAL, UNKNOWN, USER_DEFINED, Vocabulary, byte_of, key, looks_special,
};
use super::{Kind, Options, adjust, head};
use crate::error::{Error, Result};
use crate::hub::{Meta, MetaArray};

/// The file of the XLM-RoBERTa family, whose ids are not those of the checkpoint.
const FAIRSEQ: &str = "sentencepiece.bpe.model";

/// How text is normalized before it is tokenized.
struct Normalization {
    prefix: bool,
    remove_extra: bool,
    charsmap: Bytes,
}

/// Packs it if the checkpoint has one.
pub(super) fn pack(files: &Files<'_>, options: &Options) -> Result<Option<Vec<(String, Meta)>>> {
    let Some((vocabulary, normalization)) = read(files, options.vocab_size)? else {
        return Ok(None);
    };
    let mut special = Special::find(files, &vocabulary)?;
    adjust(files, &vocabulary, &mut special);
    let mut out = head(Kind::Unigram, "default");
    out.extend(vocabulary.into_metadata(true));
    out.push(key("add_space_prefix", Meta::Bool(normalization.prefix)));
    out.push(key("remove_extra_whitespaces", Meta::Bool(normalization.remove_extra)));
    if !normalization.charsmap.is_empty() {
        let bytes = normalization.charsmap.to_vec();
        out.push(key("precompiled_charsmap", Meta::Array(MetaArray::U8(bytes))));
    }
    out.extend(special.into_metadata());
    Ok(Some(out))
}

fn read(files: &Files<'_>, size: u64) -> Result<Option<(Vocabulary, Normalization)>> {
    if let Some(model) = sentencepiece::find(files, &[FAIRSEQ])? {
        let vocabulary = realigned(files, &model, size)?;
        return Ok(Some((vocabulary, normalization_of(&model))));
    }
    if let Some(model) = sentencepiece::find(files, &["tokenizer.model", "spiece.model"])? {
        if model.model_type() != sentencepiece::UNIGRAM {
            return Ok(None);
        }
        let mut vocabulary = from_model(&model, size)?;
        for (token, id) in &files.added_file {
            vocabulary.set(*id, token.clone(), ADDED_SCORE, USER_DEFINED);
        }
        return Ok(Some((vocabulary, normalization_of(&model))));
    }
    match &files.tokenizer {
        Some(tokenizer) if tokenizer.kind() == "Unigram" => {
            Ok(Some((from_json(files, tokenizer, size)?, normalization(tokenizer)?)))
        }
        _ => Ok(None),
    }
}

fn normalization_of(model: &ModelProto) -> Normalization {
    let normalizer = model.normalizer.clone().unwrap_or_default();
    Normalization {
        prefix: normalizer.add_dummy_prefix.unwrap_or(true),
        remove_extra: normalizer.remove_extra_whitespaces.unwrap_or(true),
        charsmap: normalizer.precompiled_charsmap.unwrap_or_default(),
    }
}

/// The ids of fairseq: four tokens of its own, then the model's from the fourth on.
fn realigned(files: &Files<'_>, model: &ModelProto, size: u64) -> Result<Vocabulary> {
    let pieces = u64::try_from(model.pieces.len()).unwrap_or(u64::MAX);
    let base = from_model(model, size.max(pieces))?;
    let mut out = Vocabulary::padding(size.max(pieces))?;
    let own = [("<s>", CONTROL), ("<pad>", CONTROL), ("</s>", CONTROL), ("<unk>", UNKNOWN)];
    for ((token, kind), id) in own.into_iter().zip(0u64..) {
        out.set_all(id, token, kind)?;
    }
    let rows = base.tokens.into_iter().zip(base.scores).zip(base.types).skip(3);
    for (((token, score), kind), id) in rows.zip(4u64..) {
        out.set(id, token, score, kind);
    }
    if files.config.get("moe_every_n_layers").is_some_and(|n| n.as_u64() != Some(0)) {
        // Nomic's mask token stands in no SentencePiece model.
        out.set(250_001, "<mask>".to_owned(), 0.0, CONTROL);
    }
    Ok(out)
}

/// The tokens of a `tokenizer.json` alone.
fn from_json(files: &Files<'_>, tokenizer: &TokenizerJson, size: u64) -> Result<Vocabulary> {
    let Vocab::Scores(entries) = &tokenizer.model.vocab else {
        return Err(Error::malformed("a Unigram vocabulary is a list of [token, score]")
            .file("tokenizer.json")
            .item("model.vocab"));
    };
    let mut by_text = HashMap::with_capacity(entries.len());
    for ((text, _), id) in entries.iter().zip(0u64..) {
        if let Some(other) = by_text.insert(text.as_str(), id) {
            return Err(Error::malformed(format!("token `{text}` has the ids {other} and {id}"))
                .file("tokenizer.json")
                .item("model.vocab"));
        }
    }
    let added = files.added(&by_text)?;
    let mut out = Vocabulary::padding(size)?;
    for ((text, score), id) in entries.iter().zip(0u64..) {
        let kind = if Some(id) == tokenizer.model.unk_id {
            UNKNOWN
        } else if tokenizer.byte_fallback() && byte_of(text).is_some() {
            BYTE
        } else {
            NORMAL
        };
        out.set_all(id, text, kind)?;
        out.set(id, text.clone(), narrowed(*score), kind);
    }
    for (id, entry) in &added {
        if Some(*id) == tokenizer.model.unk_id {
            continue;
        }
        let in_model = by_text.contains_key(entry.content.as_str());
        let kind =
            if entry.special || looks_special(&entry.content) { CONTROL } else { USER_DEFINED };
        let at = usize::try_from(*id).ok();
        let old = at.and_then(|at| out.scores.get(at).copied());
        let score = old.filter(|_| in_model).unwrap_or(ADDED_SCORE);
        out.set_all(*id, &entry.content, kind)?;
        out.set(*id, entry.content.clone(), score, kind);
    }
    Ok(out)
}

/// GGUF's scores are narrower than JSON's.
#[allow(clippy::cast_possible_truncation)] // rounds to the nearest
fn narrowed(score: f64) -> f32 {
    score as f32
}

/// How a `tokenizer.json` normalizes.
///
/// # Errors
/// It does something that GGUF has no key for.
fn normalization(tokenizer: &TokenizerJson) -> Result<Normalization> {
    let mut out = Normalization { prefix: false, remove_extra: false, charsmap: Bytes::new() };
    let refused = |step: &Json, item: &str| {
        Err(Error::unsupported(format!("GGUF has no key for this step of a Unigram tokenizer: {step}"))
            .file("tokenizer.json")
            .item(item)
            .hint("put the checkpoint's SentencePiece model (spiece.model or tokenizer.model) beside tokenizer.json: it is read first"))
    };
    for step in flatten(&tokenizer.normalizer, "normalizers") {
        let text = |path: &str| step.pointer(path).and_then(Json::as_str);
        match type_of(step) {
            "Precompiled" => {
                let encoded = text("/precompiled_charsmap").unwrap_or_default();
                out.charsmap = base64(encoded).map(Bytes::from).ok_or_else(|| {
                    Error::malformed("the charsmap is not base64")
                        .file("tokenizer.json")
                        .item("normalizer.precompiled_charsmap")
                })?;
            }
            "Replace"
                if text("/pattern/Regex") == Some(" {2,}")
                    && matches!(text("/content"), Some(" " | "▁")) =>
            {
                out.remove_extra = true;
            }
            // Metaspace and the removal of extra spaces make both of no effect.
            "Strip" => {}
            _ => return refused(step, "normalizer"),
        }
    }
    for step in flatten(&tokenizer.pre_tokenizer, "pretokenizers") {
        match type_of(step) {
            "WhitespaceSplit" => out.remove_extra = true,
            "Metaspace" => {
                let scheme = step.get("prepend_scheme").and_then(Json::as_str);
                let old = step.get("add_prefix_space").and_then(Json::as_bool);
                out.prefix = match scheme {
                    Some(scheme) => scheme != "never",
                    None => old.unwrap_or(true),
                };
            }
            _ => return refused(step, "pre_tokenizer"),
        }
    }
    Ok(out)
}

/// Base64 with or without padding; nothing if a character is not of it.
pub(super) fn base64(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut count) = (0u32, 0u32);
    for c in text.trim_end_matches('=').bytes() {
        let six = match c {
            b'A'..=b'Z' => c - b'A',
            b'a'..=b'z' => c - b'a' + 26,
            b'0'..=b'9' => c - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = (bits << 6 | u32::from(six)) & 0x3FFF;
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push(u8::try_from(bits >> count & 0xFF).ok()?);
        }
    }
    Some(out)
}

/// The inverse of [`base64`], padded.
pub(super) fn to_base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let at = |n: usize| u32::from(chunk.get(n).copied().unwrap_or(0));
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        for n in 0..4u32 {
            let six = usize::try_from(bits >> (18 - 6 * n) & 63).unwrap_or(0);
            let used = usize::try_from(n).unwrap_or(0) <= chunk.len();
            let c = ALPHABET.get(six).copied().filter(|_| used).unwrap_or(b'=');
            out.push(char::from(c));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_comes_back() {
        for len in 0..70u8 {
            let bytes: Vec<u8> = (0..len).map(|b| b.wrapping_mul(37)).collect();
            assert_eq!(base64(&to_base64(&bytes)), Some(bytes));
        }
        assert_eq!(to_base64(b"ab"), "YWI=");
        assert_eq!(base64("YW!="), None);
    }
}
