//! The model of each kind, with the steps around it.

use std::collections::HashMap;

use serde_json::{Map, Value as Json, json};

use super::Parts;
use super::keys::{Keys, wrong};
use crate::error::{Error, Result};
use crate::tokenizer::pre;
use crate::tokenizer::pre_table::{DIGIT, DIGITS, GPT2, PUNCTUATION, PUNCTUATION_ISOLATED, PreDef};
use crate::tokenizer::unigram::to_base64;
use crate::tokenizer::vocabulary::{BYTE, CONTROL, NORMAL, UNUSED};

/// Byte-level BPE.
pub(super) fn byte_level(keys: &Keys<'_>) -> Result<Parts> {
    let Some(def) = keys.pre else {
        return Err(Error::unsupported("the pre-tokenizer has no known steps in a tokenizer.json")
            .item("tokenizer.ggml.pre")
            .hint(format!("known are: {}", pre::known().join(", "))));
    };
    let mut merges = Vec::new();
    for (rank, merge) in keys.texts("merges")?.into_iter().enumerate() {
        let Some((left, right)) = merge.split_once(' ') else {
            return Err(wrong("merges", &format!("has an entry that is not two parts, at {rank}")));
        };
        merges.push(json!([left, right]));
    }
    let vocab: Map<String, Json> =
        keys.used().map(|(id, token, _)| (token.to_owned(), id.into())).collect();
    for merge in &merges {
        let part = |at: usize| merge.get(at).and_then(Json::as_str).unwrap_or_default();
        let (left, right) = (part(0), part(1));
        let whole = format!("{left}{right}");
        if let Some(lost) = [left, right, &whole].into_iter().find(|t| !vocab.contains_key(*t)) {
            return Err(wrong("merges", &format!("needs the token `{lost}`, which is not there")));
        }
    }
    let byte_level = json!({
        "type": "ByteLevel", "add_prefix_space": true, "trim_offsets": false, "use_regex": true,
    });
    Ok(Parts {
        normalizer: if def.nfc { json!({"type": "NFC"}) } else { Json::Null },
        pre_tokenizer: steps(def),
        post_processor: byte_level_post(keys, def, &byte_level)?,
        decoder: json!({
            "type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true,
        }),
        model: json!({
            "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false,
            "ignore_merges": def.ignore_merges, "vocab": vocab, "merges": merges,
        }),
    })
}

fn byte_level_post(keys: &Keys<'_>, def: &PreDef, byte_level: &Json) -> Result<Json> {
    if def.roberta && keys.adds("bos") && keys.adds("eos") {
        let pair = |role: &str, key: &str| match (keys.role(key), keys.id(key)) {
            (Some(token), Some(id)) => Ok(json!([token, id])),
            _ => Err(wrong(&format!("add_{role}_token"), "is set, the token's id is missing")),
        };
        return Ok(json!({
            "type": "RobertaProcessing", "sep": pair("eos", "eos")?, "cls": pair("bos", "bos")?,
            "trim_offsets": true, "add_prefix_space": false,
        }));
    }
    Ok(match around(keys)? {
        Json::Null => byte_level.clone(),
        template => json!({"type": "Sequence", "processors": [byte_level, template]}),
    })
}

/// The steps of an id as `tokenizer.json` has them.
fn steps(def: &PreDef) -> Json {
    let mut steps = Vec::new();
    let byte_level = |regex: bool| {
        json!({
            "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true,
            "use_regex": regex,
        })
    };
    // Falcon's own file writes bytes as characters before its last steps; no other one does.
    let mapped = def.steps.last() == Some(&GPT2) || def.id == "falcon";
    for step in def.steps {
        steps.push(match *step {
            GPT2 if mapped => byte_level(true),
            DIGIT => json!({"type": "Digits", "individual_digits": true}),
            DIGITS => json!({"type": "Digits", "individual_digits": false}),
            PUNCTUATION => json!({"type": "Punctuation", "behavior": "Contiguous"}),
            PUNCTUATION_ISOLATED => json!({"type": "Punctuation", "behavior": "Isolated"}),
            regex => json!({
                "type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated",
                "invert": false,
            }),
        });
    }
    if !mapped {
        steps.push(byte_level(false));
    }
    match steps.as_slice() {
        [step] => step.clone(),
        _ => json!({"type": "Sequence", "pretokenizers": steps}),
    }
}

/// A template that puts begin and end around a text; `null` where neither is put.
fn around(keys: &Keys<'_>) -> Result<Json> {
    let mut single = vec![json!({"Sequence": {"id": "A", "type_id": 0}})];
    let mut pair = vec![
        json!({"Sequence": {"id": "A", "type_id": 0}}),
        json!({"Sequence": {"id": "B", "type_id": 1}}),
    ];
    let mut tokens = Map::new();
    for role in ["bos", "eos"] {
        if !keys.adds(role) {
            continue;
        }
        let (Some(token), Some(id)) = (keys.role(role), keys.id(role)) else {
            return Err(wrong(&format!("add_{role}_token"), "is set, the token's id is missing"));
        };
        let entry = |type_id: u64| json!({"SpecialToken": {"id": token, "type_id": type_id}});
        if role == "bos" {
            single.insert(0, entry(0));
            pair.insert(1, entry(1));
            pair.insert(0, entry(0));
        } else {
            single.push(entry(0));
            let middle = pair.len().saturating_sub(1 + usize::from(keys.adds("bos")));
            pair.insert(middle, entry(0));
            pair.push(entry(1));
        }
        tokens.insert(token.to_owned(), json!({"id": token, "ids": [id], "tokens": [token]}));
    }
    if tokens.is_empty() {
        return Ok(Json::Null);
    }
    Ok(json!({
        "type": "TemplateProcessing", "single": single, "pair": pair, "special_tokens": tokens,
    }))
}

/// WordPiece.
pub(super) fn word_piece(keys: &Keys<'_>) -> Result<Parts> {
    let mut vocab = Map::new();
    for (id, token, kind) in keys.used() {
        let token = match token.strip_prefix('▁') {
            _ if kind == CONTROL => token.to_owned(),
            Some(start) => start.to_owned(),
            None => format!("##{token}"),
        };
        if let Some(other) = vocab.insert(token.clone(), id.into()) {
            return Err(wrong("tokens", &format!("has `{token}` twice, as {other} and as {id}")));
        }
    }
    let role = |name: &str| match (keys.role(name), keys.id(name)) {
        (Some(token), Some(id)) => Ok((token, id)),
        _ => Err(wrong(&format!("{name}_token_id"), "is missing, WordPiece needs it")),
    };
    let (first, last, unknown) = (role("bos")?, role("seperator")?, role("unknown")?);
    let special =
        |token: &str, type_id: u64| json!({"SpecialToken": {"id": token, "type_id": type_id}});
    let text = |id: &str, type_id: u64| json!({"Sequence": {"id": id, "type_id": type_id}});
    let tokens: Map<String, Json> = [first, last]
        .into_iter()
        .map(|(t, id)| (t.to_owned(), json!({"id": t, "ids": [id], "tokens": [t]})))
        .collect();
    Ok(Parts {
        normalizer: json!({
            "type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
            "strip_accents": keys.flag("normalizer.strip_accents"),
            "lowercase": keys.flag("normalizer.lowercase").unwrap_or(true),
        }),
        pre_tokenizer: json!({"type": "BertPreTokenizer"}),
        post_processor: json!({
            "type": "TemplateProcessing",
            "single": [special(first.0, 0), text("A", 0), special(last.0, 0)],
            "pair": [
                special(first.0, 0), text("A", 0), special(last.0, 0), text("B", 1),
                special(last.0, 1),
            ],
            "special_tokens": tokens,
        }),
        decoder: json!({"type": "WordPiece", "prefix": "##", "cleanup": true}),
        model: json!({
            "type": "WordPiece", "unk_token": unknown.0, "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100, "vocab": vocab,
        }),
    })
}

/// SentencePiece's BPE.
pub(super) fn sentence_piece(keys: &Keys<'_>) -> Result<Parts> {
    let prefix = keys.flag("add_space_prefix").unwrap_or(true);
    let vocab: Map<String, Json> =
        keys.used().map(|(id, token, _)| (token.to_owned(), id.into())).collect();
    let escape = json!({"type": "Replace", "pattern": {"String": " "}, "content": "▁"});
    let mut decoders = vec![
        json!({"type": "Replace", "pattern": {"String": "▁"}, "content": " "}),
        json!({"type": "ByteFallback"}),
        json!({"type": "Fuse"}),
    ];
    if prefix {
        decoders.push(json!({"type": "Strip", "content": " ", "start": 1, "stop": 0}));
    }
    let prepend = json!({"type": "Prepend", "prepend": "▁"});
    Ok(Parts {
        normalizer: if prefix {
            json!({"type": "Sequence", "normalizers": [prepend, escape]})
        } else {
            escape
        },
        pre_tokenizer: Json::Null,
        post_processor: around(keys)?,
        decoder: json!({"type": "Sequence", "decoders": decoders}),
        model: json!({
            "type": "BPE", "dropout": null, "unk_token": keys.role("unknown"),
            "continuing_subword_prefix": null, "end_of_word_suffix": null, "fuse_unk": true,
            "byte_fallback": keys.types.contains(&BYTE), "ignore_merges": false,
            "vocab": vocab, "merges": merges(keys)?,
        }),
    })
}

/// Every pair of tokens that makes a token, the pair with the highest score of the result first.
/// Where all scores are the same, the order of the ids is that of the merges.
fn merges<'a>(keys: &Keys<'a>) -> Result<Vec<[&'a str; 2]>> {
    if keys.scores.is_empty() {
        return Err(wrong("scores", "is missing, SentencePiece needs it"));
    }
    let plain: HashMap<&str, u64> = keys
        .used()
        .filter(|(_, _, kind)| *kind == NORMAL)
        .map(|(id, token, _)| (token, id))
        .collect();
    let score = |id: u64| {
        usize::try_from(id).ok().and_then(|at| keys.scores.get(at)).copied().unwrap_or(0.0)
    };
    let mut pairs = Vec::new();
    for (token, id) in &plain {
        for (at, _) in token.char_indices().skip(1) {
            let (left, right) = token.split_at(at);
            if let (Some(l), Some(r)) = (plain.get(left), plain.get(right)) {
                pairs.push((score(*id), *id, *l, *r, [left, right]));
            }
        }
    }
    pairs.sort_by(|a, b| b.0.total_cmp(&a.0).then((a.1, a.2, a.3).cmp(&(b.1, b.2, b.3))));
    Ok(pairs.into_iter().map(|(.., pair)| pair).collect())
}

/// Unigram.
pub(super) fn unigram(keys: &Keys<'_>) -> Result<Parts> {
    if keys.scores.is_empty() {
        return Err(wrong("scores", "is missing, Unigram needs it"));
    }
    // The rows behind the last token that is used have none.
    let used = keys
        .types
        .iter()
        .rposition(|kind| *kind != UNUSED)
        .map_or(0, |last| last.saturating_add(1));
    let rows = keys.tokens.iter().zip(keys.scores).take(used);
    let vocab: Vec<Json> = rows.map(|(token, score)| json!([token, f64::from(*score)])).collect();
    let (charsmap, extra) = (
        keys.bytes("precompiled_charsmap"),
        keys.flag("remove_extra_whitespaces").unwrap_or(false),
    );
    let mut normalizers = Vec::new();
    if !charsmap.is_empty() {
        normalizers.push(json!({
            "type": "Precompiled", "precompiled_charsmap": to_base64(charsmap),
        }));
    }
    if extra {
        normalizers.push(json!({
            "type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " ",
        }));
    }
    let prefix = keys.flag("add_space_prefix").unwrap_or(true);
    let scheme = if prefix { "always" } else { "never" };
    let metaspace = json!({
        "type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": true,
    });
    Ok(Parts {
        normalizer: match normalizers.len() {
            0 => Json::Null,
            _ => json!({"type": "Sequence", "normalizers": normalizers}),
        },
        pre_tokenizer: if extra && prefix && !charsmap.is_empty() {
            json!({"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, metaspace]})
        } else {
            metaspace.clone()
        },
        post_processor: around(keys)?,
        decoder: metaspace,
        model: json!({
            "type": "Unigram", "unk_id": keys.id("unknown"), "vocab": vocab,
            "byte_fallback": keys.types.contains(&BYTE),
        }),
    })
}
