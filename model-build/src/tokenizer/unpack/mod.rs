//! Key/values of a GGUF file → the files of a tokenizer that `transformers` opens.

mod keys;
mod model;

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::{Map, Value as Json, json};

use self::keys::Keys;
use crate::error::{Error, Result};
use crate::hub::Gguf;

/// The files by name.
pub(super) fn unpack(gguf: &Gguf) -> Result<BTreeMap<String, Bytes>> {
    let keys = Keys::new(gguf)?;
    let parts = match keys.model {
        "gpt2" => model::byte_level(&keys)?,
        "bert" => model::word_piece(&keys)?,
        "llama" => model::sentence_piece(&keys)?,
        "t5" => model::unigram(&keys)?,
        other => {
            return Err(Error::unsupported(format!(
                "the tokenizer `{other}` has no tokenizer.json"
            ))
            .item("tokenizer.ggml.model")
            .hint("put the original checkpoint's tokenizer files beside the output"));
        }
    };
    let roles = roles(&keys);
    let mut files = BTreeMap::new();
    for (name, json) in [
        ("tokenizer.json", tokenizer(&keys, &parts)),
        ("tokenizer_config.json", settings(&keys, gguf, &roles)),
        ("special_tokens_map.json", Json::Object(roles)),
    ] {
        files.insert(name.to_owned(), text(&json)?);
    }
    Ok(files)
}

/// A `tokenizer.json` but for what all kinds have alike.
struct Parts {
    normalizer: Json,
    pre_tokenizer: Json,
    post_processor: Json,
    decoder: Json,
    model: Json,
}

fn text(json: &Json) -> Result<Bytes> {
    let mut text = serde_json::to_vec_pretty(json)
        .map_err(|e| Error::bug(format!("a JSON value cannot be written: {e}")))?;
    text.push(b'\n');
    Ok(Bytes::from(text))
}

fn tokenizer(keys: &Keys<'_>, parts: &Parts) -> Json {
    // Without a normalizer it is the same, and keeps the text from being read as bytes.
    let normalized = |special: bool| keys.model == "gpt2" && !special;
    let added: Vec<Json> = keys
        .added()
        .map(|(id, content, special)| {
            json!({
                "id": id, "content": content, "single_word": false, "lstrip": false,
                "rstrip": false, "normalized": normalized(special), "special": special,
            })
        })
        .collect();
    json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": added,
        "normalizer": parts.normalizer,
        "pre_tokenizer": parts.pre_tokenizer,
        "post_processor": parts.post_processor,
        "decoder": parts.decoder,
        "model": parts.model,
    })
}

/// Tokens by the name of their role in `tokenizer_config.json`.
fn roles(keys: &Keys<'_>) -> Map<String, Json> {
    let names: &[(&str, &str)] = if keys.model == "bert" {
        &[
            ("cls", "bos"),
            ("sep", "seperator"),
            ("unk", "unknown"),
            ("pad", "padding"),
            ("mask", "mask"),
        ]
    } else {
        &[
            ("bos", "bos"),
            ("eos", "eos"),
            ("unk", "unknown"),
            ("sep", "seperator"),
            ("pad", "padding"),
            ("mask", "mask"),
        ]
    };
    let token = |(role, key): &(&str, &str)| {
        let token = keys.role(key)?;
        Some((format!("{role}_token"), Json::from(token)))
    };
    let mut roles: Map<String, Json> = names.iter().filter_map(token).collect();
    // Models that separate pairs begin with the token that classifies.
    if let (Some(first), true) = (keys.role("bos"), roles.contains_key("sep_token")) {
        roles.entry("cls_token").or_insert_with(|| first.into());
    }
    roles
}

fn settings(keys: &Keys<'_>, gguf: &Gguf, roles: &Map<String, Json>) -> Json {
    let mut out = roles.clone();
    let mut set = |key: &str, value: Json| out.insert(key.to_owned(), value);
    set("tokenizer_class", "PreTrainedTokenizerFast".into());
    set("clean_up_tokenization_spaces", false.into());
    let inputs = match keys.model {
        "bert" => json!(["input_ids", "token_type_ids", "attention_mask"]),
        _ => json!(["input_ids", "attention_mask"]),
    };
    set("model_input_names", inputs);
    if let Some(length) = gguf.of_architecture("context_length").and_then(crate::hub::Meta::as_u64)
    {
        set("model_max_length", length.into());
    }
    if keys.model != "bert" {
        for role in ["bos", "eos"] {
            set(&format!("add_{role}_token"), keys.adds(role).into());
        }
    }
    if let Some(template) = template(gguf) {
        set("chat_template", template);
    }
    Json::Object(out)
}

/// The chat template, or all of them by name.
fn template(gguf: &Gguf) -> Option<Json> {
    const KEY: &str = "tokenizer.chat_template";
    let default = gguf.get(KEY).and_then(crate::hub::Meta::as_text);
    let mut named: Vec<Json> = gguf
        .metadata
        .iter()
        .filter_map(|(key, value)| {
            let name = key.strip_prefix(KEY)?.strip_prefix('.')?;
            Some(json!({"name": name, "template": value.as_text()?}))
        })
        .collect();
    if named.is_empty() {
        return default.map(Json::from);
    }
    if let Some(text) = default {
        named.insert(0, json!({"name": "default", "template": text}));
    }
    Some(Json::Array(named))
}
