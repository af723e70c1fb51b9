//! WordPiece, from `tokenizer.json` or from `vocab.txt`.
//!
//! GGUF marks the start of a word (`▁word`) where the files mark its continuation (`##ing`).

use std::collections::HashSet;

use serde_json::Value as Json;

use super::files::{Files, lines};
use super::json::{TokenizerJson, flatten, type_of};
use super::special::Special;
use super::vocabulary::{CONTROL, Vocabulary, with_added};
use super::{Kind, Options, adjust, head};
use crate::error::{Error, Result};
use crate::hub::Meta;

/// The tokens with a role of every WordPiece vocabulary that says nothing else.
const DEFAULTS: [&str; 5] = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];

/// Packs it if the checkpoint has one.
pub(super) fn pack(files: &Files<'_>, options: &Options) -> Result<Option<Vec<(String, Meta)>>> {
    let mut vocabulary = match &files.tokenizer {
        Some(tokenizer) if tokenizer.kind() == "WordPiece" => {
            if options.pre.is_none() {
                check(tokenizer)?;
            }
            with_added(files, tokenizer.ids()?, options.vocab_size)?
        }
        Some(_) => return Ok(None),
        None => match files.assets.get("vocab.txt") {
            Some(bytes) => from_text(files, bytes, options.vocab_size)?,
            None => return Ok(None),
        },
    };
    mark_starts(&mut vocabulary);
    let mut special = Special::find(files, &vocabulary)?;
    if files.tokenizer.is_none() {
        defaults(files, &vocabulary, &mut special);
    }
    adjust(files, &vocabulary, &mut special);
    let mut out = head(Kind::WordPiece, options.pre.as_deref().unwrap_or("jina-v2-en"));
    out.extend(vocabulary.into_metadata(false));
    out.extend(special.into_metadata());
    Ok(Some(out))
}

/// `▁` in front of what starts a word, no `##` in front of what does not.
fn mark_starts(vocabulary: &mut Vocabulary) {
    for (token, kind) in vocabulary.tokens.iter_mut().zip(&vocabulary.types) {
        if *kind == CONTROL {
            continue;
        }
        *token = match token.strip_prefix("##") {
            Some(rest) => rest.to_owned(),
            None => format!("▁{token}"),
        };
    }
}

/// `vocab.txt`: a token a line.
fn from_text(files: &Files<'_>, bytes: &[u8], size: u64) -> Result<Vocabulary> {
    let mut seen = HashSet::new();
    let mut ids = Vec::new();
    for (token, id) in lines(bytes, "vocab.txt")?.zip(0u64..) {
        if !seen.insert(token) {
            return Err(Error::malformed(format!("the token `{token}` stands twice"))
                .file("vocab.txt")
                .item(format!("line {}", id.saturating_add(1))));
        }
        ids.push((token.to_owned(), id));
    }
    let mut vocabulary = with_added(files, &ids, size)?;
    let has_roles = !files.named_special().is_empty();
    for (token, kind) in vocabulary.tokens.iter().zip(&mut vocabulary.types) {
        if !has_roles && DEFAULTS.contains(&token.as_str()) {
            *kind = CONTROL;
        }
    }
    Ok(vocabulary)
}

/// The roles and flags that a checkpoint with `vocab.txt` alone leaves to its tokenizer's class.
fn defaults(files: &Files<'_>, vocabulary: &Vocabulary, special: &mut Special) {
    let names = [
        ("bos", "cls"),
        ("eos", "sep"),
        ("unk", "unk"),
        ("sep", "sep"),
        ("pad", "pad"),
        ("mask", "mask"),
    ];
    for (role, name) in names {
        let default = format!("[{}]", name.to_uppercase());
        let text = files.role(name).unwrap_or(&default);
        let place = vocabulary.tokens.iter().position(|token| token == text);
        if let Some(id) = place.and_then(|p| u64::try_from(p).ok()) {
            special.set_id(role, id, vocabulary);
        }
    }
    for (role, add) in [("bos", true), ("eos", true), ("sep", false)] {
        if special.adds(role).is_none() {
            special.set_add(role, add);
        }
    }
    let lowercase = files.setting("do_lower_case").and_then(Json::as_bool).unwrap_or(true);
    special.default_lowercase(lowercase);
}

/// Refuses what llama.cpp's WordPiece does otherwise.
fn check(tokenizer: &TokenizerJson) -> Result<()> {
    let refused = |what: String, item: &str| {
        Err(Error::unsupported(what).file("tokenizer.json").item(item).hint(
            "if the difference does not matter to you, name a pre-tokenizer in the manifest: `pre-tokenizer = \"jina-v2-en\"`",
        ))
    };
    let prefix = tokenizer.model.continuing_subword_prefix.as_deref().unwrap_or("##");
    if prefix != "##" {
        return refused(
            format!("parts inside of words start with `{prefix}`, llama.cpp takes `##`"),
            "model.continuing_subword_prefix",
        );
    }
    for step in flatten(&tokenizer.normalizer, "normalizers") {
        let off = |name: &str| step.get(name).and_then(Json::as_bool) == Some(false);
        match type_of(step) {
            "BertNormalizer" if off("handle_chinese_chars") || off("clean_text") => {
                return refused(
                    format!(
                        "llama.cpp cleans the text and lets Chinese characters stand alone: {step}"
                    ),
                    "normalizer",
                );
            }
            "BertNormalizer" | "Lowercase" | "StripAccents" | "NFC" | "NFD" => {}
            _ => {
                return refused(format!("llama.cpp does not normalize so: {step}"), "normalizer");
            }
        }
    }
    let steps = flatten(&tokenizer.pre_tokenizer, "pretokenizers");
    if steps.iter().any(|step| type_of(step) != "BertPreTokenizer") || steps.is_empty() {
        return refused(
            format!(
                "llama.cpp splits WordPiece as BertPreTokenizer does, not by {}",
                tokenizer.pre_tokenizer
            ),
            "pre_tokenizer",
        );
    }
    Ok(())
}
