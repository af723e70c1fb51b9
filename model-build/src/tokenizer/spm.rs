//! SentencePiece's BPE, from `tokenizer.model` or from a `tokenizer.json` with byte fallback.
//!
//! llama.cpp merges by the score of the result, `tokenizer.json` by rank. A file without scores gets
//! those that SentencePiece gives: the tokens that merging makes, and characters after them, in the
//! order of their ids, have scores 0, −1, −2, …. Where ids are not in the order of the merges, a
//! token's score is the negative place of the first merge that makes it.

use std::collections::HashMap;

use serde_json::Value as Json;

use super::files::Files;
use super::json::{TokenizerJson, flatten, type_of};
use super::sentencepiece::{self, ModelProto};
use super::special::Special;
use super::vocabulary::{
    BYTE, CONTROL, NORMAL, UNKNOWN, UNUSED, USER_DEFINED, Vocabulary, byte_of, key, looks_special,
};
use super::{Kind, Options, adjust, head, prefix_setting};
use crate::error::{Error, Result};
use crate::hub::Meta;

/// The score of added tokens.
pub(super) const ADDED_SCORE: f32 = -1000.0;

/// Packs it if the checkpoint has one.
pub(super) fn pack(files: &Files<'_>, options: &Options) -> Result<Option<Vec<(String, Meta)>>> {
    let (mut vocabulary, prefix) = match sentencepiece::find(files, &["tokenizer.model"])? {
        Some(model) if model.model_type() == sentencepiece::BPE => {
            let prefix = model.normalizer.as_ref().and_then(|n| n.add_dummy_prefix);
            (from_model(&model, options.vocab_size)?, prefix)
        }
        Some(_) => return Ok(None),
        None => match &files.tokenizer {
            Some(t) if t.kind() == "BPE" && t.byte_fallback() => {
                (from_json(files, t, options.vocab_size)?, Some(adds_prefix(t)?))
            }
            _ => return Ok(None),
        },
    };
    add(files, &mut vocabulary)?;
    let mut special = Special::find(files, &vocabulary)?;
    adjust(files, &vocabulary, &mut special);
    let setting = prefix_setting(files);
    let told = setting.is_some();
    let mut out: Vec<(String, Meta)> = setting.into_iter().collect();
    out.extend(head(Kind::SentencePiece, "default"));
    out.extend(vocabulary.into_metadata(true));
    out.extend(special.into_metadata());
    let gemma = files.model_type().starts_with("gemma");
    if gemma || (!told && prefix == Some(false)) {
        out.push(key("add_space_prefix", Meta::Bool(false)));
    }
    Ok(Some(out))
}

/// The tokens of a SentencePiece model; those beyond `size` are left out.
pub(super) fn from_model(model: &ModelProto, size: u64) -> Result<Vocabulary> {
    let mut out = Vocabulary::padding(size)?;
    for (piece, id) in model.pieces.iter().zip(0u64..) {
        let kind = match piece.kind.unwrap_or(NORMAL) {
            kind @ (UNKNOWN | CONTROL | UNUSED | BYTE) => kind,
            _ => NORMAL,
        };
        let text = piece.piece.clone().unwrap_or_default();
        if !out.set(id, text, piece.score.unwrap_or(0.0), kind) {
            break;
        }
    }
    Ok(out)
}

/// The added tokens of the files that the converter reads them from.
fn add(files: &Files<'_>, vocabulary: &mut Vocabulary) -> Result<()> {
    for (token, id) in &files.added_file {
        vocabulary.set(*id, token.clone(), ADDED_SCORE, USER_DEFINED);
    }
    let phi3 = files.model_type() == "phi3";
    for entry in files.added_tokens_decoder()? {
        if phi3 {
            let kind = if entry.special { CONTROL } else { USER_DEFINED };
            vocabulary.set(entry.id, entry.content, ADDED_SCORE, kind);
        } else if entry.special || looks_special(&entry.content) {
            vocabulary.set(entry.id, entry.content, ADDED_SCORE, CONTROL);
        } else {
            let text = entry.content.replace('▁', " ");
            vocabulary.set(entry.id, text, ADDED_SCORE, USER_DEFINED);
        }
    }
    if phi3 {
        for entry in files.tokenizer.iter().flat_map(|t| &t.added_tokens) {
            let kind = if entry.special { CONTROL } else { USER_DEFINED };
            vocabulary.set(entry.id, entry.content.clone(), ADDED_SCORE, kind);
        }
    }
    Ok(())
}

/// The tokens of a `tokenizer.json` alone.
fn from_json(files: &Files<'_>, tokenizer: &TokenizerJson, size: u64) -> Result<Vocabulary> {
    let ids = tokenizer.ids()?;
    let merges = tokenizer.merges()?;
    let by_text: HashMap<&str, u64> = ids.iter().map(|(t, id)| (t.as_str(), *id)).collect();
    let added = files.added(&by_text)?;
    let plain = |text: &str, id: u64| !added.contains_key(&id) && byte_of(text).is_none();
    let scores = scores(ids, &merges, &by_text, plain);
    let unknown = tokenizer.model.unk_token.as_deref();
    let mut out = Vocabulary::padding(size)?;
    for (text, id) in ids {
        let kind = if Some(text.as_str()) == unknown {
            UNKNOWN
        } else if byte_of(text).is_some() {
            BYTE
        } else {
            NORMAL
        };
        out.set_all(*id, text, kind)?;
        out.set(*id, text.clone(), scores.get(id).copied().unwrap_or(0.0), kind);
    }
    for (id, entry) in &added {
        if Some(entry.content.as_str()) == unknown {
            continue;
        }
        let special = entry.special || looks_special(&entry.content);
        let known = by_text.contains_key(entry.content.as_str());
        let score = if special && known { 0.0 } else { ADDED_SCORE };
        if special {
            out.set(*id, entry.content.clone(), score, CONTROL);
        } else {
            out.set(*id, entry.content.replace('▁', " "), score, USER_DEFINED);
        }
    }
    Ok(out)
}

/// Scores by id of the tokens that are neither added nor bytes.
fn scores(
    ids: &[(String, u64)],
    merges: &[String],
    by_text: &HashMap<&str, u64>,
    plain: impl Fn(&str, u64) -> bool,
) -> HashMap<u64, f32> {
    let mut order: Vec<u64> =
        ids.iter().filter(|(text, id)| plain(text, *id)).map(|(_, id)| *id).collect();
    order.sort_unstable();
    let made: Vec<u64> = merges
        .iter()
        .filter_map(|merge| by_text.get(merge.replacen(' ', "", 1).as_str()).copied())
        .collect();
    if !made.is_sorted() {
        let mut first: HashMap<u64, usize> = HashMap::new();
        for (rank, id) in made.iter().enumerate() {
            first.entry(*id).or_insert(rank);
        }
        // Characters, which no merge makes, come last and in the order of their ids.
        order.sort_by_key(|id| (first.get(id).copied().unwrap_or(usize::MAX), *id));
    }
    order.into_iter().enumerate().map(|(place, id)| (id, -(place as f32))).collect()
}

/// Whether the text gets a space in front.
///
/// # Errors
/// The text is changed otherwise than llama.cpp does it for SentencePiece.
pub(super) fn adds_prefix(tokenizer: &TokenizerJson) -> Result<bool> {
    let mut prefix = false;
    let mut escapes = false;
    let refused = |step: &Json, item: &str| {
        Err(Error::unsupported(format!(
            "llama.cpp does not do this to the text of SentencePiece: {step}"
        ))
        .file("tokenizer.json")
        .item(item)
        .hint("put the checkpoint's tokenizer.model beside tokenizer.json: it is read first"))
    };
    for step in flatten(&tokenizer.normalizer, "normalizers") {
        let text = |path: &str| step.pointer(path).and_then(Json::as_str);
        match type_of(step) {
            "Prepend" if text("/prepend") == Some("▁") => prefix = true,
            "Replace" if text("/pattern/String") == Some(" ") && text("/content") == Some("▁") => {
                escapes = true;
            }
            _ => return refused(step, "normalizer"),
        }
    }
    for step in flatten(&tokenizer.pre_tokenizer, "pretokenizers") {
        let text = |path: &str| step.pointer(path).and_then(Json::as_str);
        match type_of(step) {
            "Metaspace" if text("/replacement").is_none_or(|r| r == "▁") => {
                escapes = true;
                let old = step.get("add_prefix_space").and_then(Json::as_bool);
                prefix |= match text("/prepend_scheme") {
                    Some(scheme) => scheme != "never",
                    None => old.unwrap_or(true),
                };
            }
            // After the normalizer no space is left to split at.
            "Split" if escapes && text("/pattern/String") == Some(" ") => {}
            _ => return refused(step, "pre_tokenizer"),
        }
    }
    if !escapes {
        return refused(&tokenizer.normalizer, "normalizer");
    }
    Ok(prefix)
}
