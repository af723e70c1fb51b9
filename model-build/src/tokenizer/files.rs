//! A checkpoint's tokenizer files, parsed once.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use serde_json::Value as Json;

use super::json::{Added, TokenizerJson};
use crate::error::{Error, Result};
use crate::hub::Checkpoint;

/// The names under which tokens with a role stand in `tokenizer_config.json`.
pub(super) const ROLES: [&str; 7] = ["bos", "eos", "unk", "sep", "pad", "cls", "mask"];

/// The tokenizer files of a checkpoint.
pub(super) struct Files<'a> {
    /// All small files by name.
    pub(super) assets: &'a BTreeMap<String, Bytes>,
    /// `config.json`.
    pub(super) config: &'a Json,
    /// `tokenizer.json`.
    pub(super) tokenizer: Option<TokenizerJson>,
    /// `tokenizer_config.json`, an object.
    pub(super) settings: Option<Json>,
    /// `special_tokens_map.json`.
    pub(super) special_map: Option<Json>,
    /// `added_tokens.json`: ids by token.
    pub(super) added_file: Vec<(String, u64)>,
}

impl<'a> Files<'a> {
    /// Parses what is there.
    ///
    /// # Errors
    /// A file that is there is no JSON of its form.
    pub(super) fn new(checkpoint: &'a Checkpoint) -> Result<Self> {
        let object = |name: &str| match checkpoint.json_asset(name)? {
            Some(json) if !json.is_object() => {
                Err(Error::malformed("not a JSON object").file(name))
            }
            other => Ok(other),
        };
        Ok(Self {
            assets: &checkpoint.assets,
            config: &checkpoint.config,
            tokenizer: checkpoint
                .assets
                .get("tokenizer.json")
                .map(|bytes| TokenizerJson::parse(bytes))
                .transpose()?,
            settings: object("tokenizer_config.json")?,
            special_map: object("special_tokens_map.json")?,
            added_file: ids_by_token(&checkpoint.assets, "added_tokens.json")?.unwrap_or_default(),
        })
    }

    /// `model_type` of `config.json`, or of the text model inside of it.
    pub(super) fn model_type(&self) -> &str {
        self.config.get("model_type").and_then(Json::as_str).unwrap_or("")
    }

    /// A value of `tokenizer_config.json`.
    pub(super) fn setting(&self, key: &str) -> Option<&Json> {
        self.settings.as_ref()?.get(key)
    }

    /// `added_tokens_decoder` of `tokenizer_config.json`, by id.
    ///
    /// # Errors
    /// A key is no number, or an entry has no content.
    pub(super) fn added_tokens_decoder(&self) -> Result<Vec<Added>> {
        let Some(entries) = self.setting("added_tokens_decoder").and_then(Json::as_object) else {
            return Ok(Vec::new());
        };
        let mut added = Vec::with_capacity(entries.len());
        for (key, entry) in entries {
            let place = |e: Error| {
                e.file("tokenizer_config.json").item(format!("added_tokens_decoder.{key}"))
            };
            let id =
                key.parse().map_err(|_| place(Error::malformed("the key is not a token id")))?;
            let entry: Added = serde_json::from_value(entry.clone())
                .map_err(|e| place(Error::malformed(format!("not an added token: {e}"))))?;
            added.push(Added { id, ..entry });
        }
        added.sort_by_key(|entry| entry.id);
        Ok(added)
    }

    /// The token with that role: `bos` for `bos_token`, from `tokenizer_config.json` or
    /// `special_tokens_map.json`.
    pub(super) fn role(&self, role: &str) -> Option<&str> {
        let key = format!("{role}_token");
        [self.settings.as_ref(), self.special_map.as_ref()]
            .into_iter()
            .flatten()
            .find_map(|file| content(file.get(&key)?))
    }

    /// Tokens that are special by name: those with a role and the additional ones.
    pub(super) fn named_special(&self) -> Vec<&str> {
        let mut names: Vec<&str> = ROLES.iter().filter_map(|role| self.role(role)).collect();
        for file in [self.settings.as_ref(), self.special_map.as_ref()].into_iter().flatten() {
            for key in ["additional_special_tokens", "extra_special_tokens"] {
                if let Some(list) = file.get(key).and_then(Json::as_array) {
                    names.extend(list.iter().filter_map(|entry| content(entry)));
                }
            }
        }
        names
    }

    /// The added tokens by id, over the ids of the base vocabulary.
    ///
    /// # Errors
    /// Two different tokens claim one id.
    pub(super) fn added(&self, base: &HashMap<&str, u64>) -> Result<BTreeMap<u64, Added>> {
        let mut added = BTreeMap::new();
        let mut claim = |entry: Added, file: &str| -> Result<()> {
            let id = base.get(entry.content.as_str()).copied().unwrap_or(entry.id);
            match added.get(&id) {
                Some(Added { content, .. }) if *content == entry.content => Ok(()),
                Some(Added { content, .. }) => Err(Error::malformed(format!(
                    "the added tokens `{content}` and `{}` have the same id {id}",
                    entry.content
                ))
                .file(file)),
                None => {
                    added.insert(id, Added { id, ..entry });
                    Ok(())
                }
            }
        };
        for entry in self.tokenizer.iter().flat_map(|t| &t.added_tokens) {
            claim(entry.clone(), "tokenizer.json")?;
        }
        for entry in self.added_tokens_decoder()? {
            claim(entry, "tokenizer_config.json")?;
        }
        for (content, id) in &self.added_file {
            let entry =
                Added { id: *id, content: content.clone(), special: false, normalized: None };
            claim(entry, "added_tokens.json")?;
        }
        self.mark_named(base, &mut added);
        Ok(added)
    }

    /// Marks the tokens that have a role as special; one that no file gave an id gets the next one.
    fn mark_named(&self, base: &HashMap<&str, u64>, added: &mut BTreeMap<u64, Added>) {
        for name in self.named_special() {
            if let Some(entry) = added.values_mut().find(|entry| entry.content == name) {
                entry.special = true;
                continue;
            }
            let after = |id: Option<u64>| id.map_or(0, |id| id.saturating_add(1));
            let id = base.get(name).copied().unwrap_or_else(|| {
                after(base.values().max().copied()).max(after(added.keys().max().copied()))
            });
            let entry =
                Added { id, content: name.to_owned(), special: true, normalized: Some(false) };
            added.insert(id, entry);
        }
    }
}

/// The text of a token that is written as a string or as an object.
pub(super) fn content(entry: &Json) -> Option<&str> {
    entry.as_str().or_else(|| entry.get("content")?.as_str())
}

/// A JSON file of ids by token, if it is there.
pub(super) fn ids_by_token(
    assets: &BTreeMap<String, Bytes>,
    name: &str,
) -> Result<Option<Vec<(String, u64)>>> {
    let Some(bytes) = assets.get(name) else { return Ok(None) };
    let map: BTreeMap<String, u64> = serde_json::from_slice(bytes)
        .map_err(|e| Error::malformed(format!("not ids by token: {e}")).file(name))?;
    let mut entries: Vec<(String, u64)> = map.into_iter().collect();
    entries.sort_by_key(|(_, id)| *id);
    Ok(Some(entries))
}

/// A text file's lines without their ends.
///
/// # Errors
/// It is not UTF-8.
pub(super) fn lines<'a>(bytes: &'a [u8], name: &str) -> Result<impl Iterator<Item = &'a str>> {
    let text = std::str::from_utf8(bytes)
        .map_err(|_| Error::malformed("the file is not UTF-8").file(name))?;
    Ok(text.lines().map(|line| line.trim_end_matches('\r')))
}
