//! Tokens with a role (begin, end, unknown, …), whether they are put around a text, and the chat
//! template: found as llama.cpp's converter finds them.
//!
//! The order matters in two ways. Keys are written in the order in which they were found, and the
//! first id found for a role counts: `tokenizer_config.json` with the ids of `tokenizer.json`
//! before `config.json`. Before that the post-processor of `tokenizer.json` may give roles to
//! tokens that `tokenizer_config.json` gives none.

use serde_json::{Map, Value as Json};

use super::files::Files;
use super::json::{TokenizerJson, flatten, type_of};
use super::template;
use super::vocabulary::{Vocabulary, key};
use crate::error::Result;
use crate::hub::Meta;

/// What was found.
#[derive(Default)]
pub(super) struct Special {
    /// Ids by role, in the order found.
    ids: Vec<(String, u32)>,
    /// Whether tokens are put around a text, by role, in the order found.
    adds: Vec<(String, bool)>,
    /// The roles looked for.
    roles: Vec<&'static str>,
    /// `tokenizer_config.json` with the roles that the post-processor gave.
    settings: Map<String, Json>,
    lowercase: Option<bool>,
    strip_accents: Option<bool>,
    template: Vec<(String, Meta)>,
}

impl Special {
    /// Looks for everything.
    ///
    /// # Errors
    /// A chat template file is malformed.
    pub(super) fn find(files: &Files<'_>, vocabulary: &Vocabulary) -> Result<Self> {
        let mut out = Self {
            roles: super::files::ROLES.to_vec(),
            settings: files
                .settings
                .as_ref()
                .and_then(Json::as_object)
                .cloned()
                .unwrap_or_default(),
            ..Self::default()
        };
        if let Some(tokenizer) = &files.tokenizer {
            out.normalizer(&tokenizer.normalizer);
            out.post_processor(tokenizer, files.settings.is_some());
        }
        out.template = template::find(files)?;
        out.take_settings(files, vocabulary);
        out.take_config(files.config, vocabulary);
        if files.tokenizer.is_none() {
            out.by_name(files, vocabulary);
        }
        Ok(out)
    }

    /// Gives a role an id unless it has one.
    pub(super) fn set_id(&mut self, role: &str, id: u64, vocabulary: &Vocabulary) {
        let Ok(id32) = u32::try_from(id) else { return };
        let known = vocabulary.token(id).is_some();
        if known && !self.ids.iter().any(|(r, _)| r == role) {
            self.ids.push((role.to_owned(), id32));
        }
    }

    /// Sets whether the token of a role is put around a text.
    pub(super) fn set_add(&mut self, role: &str, add: bool) {
        match self.adds.iter_mut().find(|(r, _)| r == role) {
            Some((_, old)) => *old = add,
            None => self.adds.push((role.to_owned(), add)),
        }
    }

    /// Whether the token of a role is put around a text, if that was found.
    pub(super) fn adds(&self, role: &str) -> Option<bool> {
        self.adds.iter().find(|(r, _)| r == role).map(|(_, add)| *add)
    }

    /// Sets whether text is made lower case, unless that was found.
    pub(super) fn default_lowercase(&mut self, lowercase: bool) {
        self.lowercase.get_or_insert(lowercase);
    }

    /// The key/values, in the converter's order.
    pub(super) fn into_metadata(self) -> Vec<(String, Meta)> {
        let ids = self.ids.into_iter().filter_map(|(role, id)| {
            let name = match role.as_str() {
                "unk" => "unknown",
                "sep" => "seperator",
                "pad" => "padding",
                "bos" | "eos" | "mask" | "eot" | "eom" => &role,
                _ => return None,
            };
            Some(key(&format!("{name}_token_id"), Meta::U32(id)))
        });
        let adds = self.adds.into_iter().filter_map(|(role, add)| {
            let known = matches!(role.as_str(), "bos" | "eos" | "sep");
            known.then(|| key(&format!("add_{role}_token"), Meta::Bool(add)))
        });
        let mut out: Vec<_> = ids.chain(adds).collect();
        out.extend(self.template);
        let flag = |name, flag: Option<bool>| flag.map(|v| key(name, Meta::Bool(v)));
        out.extend(flag("normalizer.lowercase", self.lowercase));
        out.extend(flag("normalizer.strip_accents", self.strip_accents));
        out
    }

    fn normalizer(&mut self, normalizer: &Json) {
        for step in flatten(normalizer, "normalizers") {
            match type_of(step) {
                "Lowercase" => self.lowercase = Some(true),
                "StripAccents" => self.strip_accents = Some(true),
                "BertNormalizer" => {
                    if let Some(value) = step.get("lowercase") {
                        self.lowercase = value.as_bool();
                    }
                    if let Some(value) = step.get("strip_accents") {
                        self.strip_accents = value.as_bool();
                    }
                }
                _ => {}
            }
        }
    }

    /// The value under `<role>_token`, `null` where there is none.
    fn token(&self, role: &str) -> Json {
        self.settings.get(&format!("{role}_token")).cloned().unwrap_or(Json::Null)
    }

    fn set_token(&mut self, role: &str, token: &Json) {
        self.settings.insert(format!("{role}_token"), token.clone());
    }

    fn post_processor(&mut self, tokenizer: &TokenizerJson, has_settings: bool) {
        let mut named = Named {
            bos: self.token("bos"),
            eos: self.token("eos"),
            cls: self.token("cls"),
            sep: self.token("sep"),
            has_settings,
        };
        if !given(&named.bos) && given(&named.cls) {
            named.bos = named.cls.clone();
            self.set_token("bos", &named.cls);
        }
        if !given(&named.eos) && given(&named.sep) {
            named.eos = named.sep.clone();
            self.set_token("eos", &named.sep);
        }
        for step in flatten(&tokenizer.post_processor, "processors") {
            match type_of(step) {
                "ByteLevel" => {
                    for role in ["bos", "eos"] {
                        if self.adds(role).is_none() {
                            self.set_add(role, false);
                        }
                    }
                }
                "RobertaProcessing" => self.roberta(step, &mut named),
                "TemplateProcessing" => self.template_processing(step, &mut named),
                _ => {}
            }
        }
    }

    fn roberta(&mut self, step: &Json, named: &mut Named) {
        for role in ["bos", "eos", "sep"] {
            self.set_add(role, true);
        }
        let first = |field: &str, otherwise: &Json| match step.get(field) {
            Some(pair) => pair.get(0).cloned().unwrap_or(Json::Null),
            None => otherwise.clone(),
        };
        if !given(&named.cls) && named.has_settings {
            named.cls = first("cls", &named.bos);
            self.set_token("cls", &named.cls);
        }
        if !given(&named.sep) && named.has_settings {
            named.sep = first("sep", &named.eos);
            self.set_token("sep", &named.sep);
        }
    }

    /// What a template puts first and last. Right for simple templates only.
    fn template_processing(&mut self, step: &Json, named: &mut Named) {
        let list =
            |field: &str| step.get(field).and_then(Json::as_array).map_or(&[][..], Vec::as_slice);
        let (single, pair) = (list("single"), list("pair"));
        let (mut first, mut last) = (Json::Null, Json::Null);
        if let [start, .., end] = single {
            first = special_of(start);
            last = special_of(end);
            if given(&first) {
                self.template_first(&first, named);
            }
            if given(&last) {
                self.template_last(&last, named);
            }
        }
        self.template_pair(pair, &first, &last, named);
    }

    fn template_first(&mut self, first: &Json, named: &mut Named) {
        if !named.has_settings {
            named.bos = first.clone();
        } else if *first != named.bos && *first != named.cls {
            if !given(&named.bos) {
                named.bos = first.clone();
                self.set_token("bos", first);
            }
            if !given(&named.cls) {
                named.cls = first.clone();
                self.set_token("cls", first);
            }
        }
        self.set_add("bos", *first == named.bos || *first == named.cls);
    }

    fn template_last(&mut self, last: &Json, named: &mut Named) {
        if !named.has_settings {
            named.eos = last.clone();
        } else if *last != named.eos {
            for role in ["eot", "eom"] {
                if !self.roles.contains(&role) {
                    self.roles.push(role);
                    self.set_token(role, &named.eos.clone());
                    break;
                }
            }
            named.eos = last.clone();
            self.set_token("eos", last);
        }
        self.set_add("eos", *last == named.eos);
    }

    /// Whether a template for pairs puts a separator between `A` and `B`.
    fn template_pair(&mut self, pair: &[Json], first: &Json, last: &Json, named: &Named) {
        let mut pair = pair;
        if let [start, rest @ ..] = pair
            && given(first)
            && special_of(start) == *first
        {
            pair = rest;
        }
        if let [rest @ .., end] = pair
            && given(last)
            && special_of(end) == *last
        {
            pair = rest;
        }
        let sequence = |entry: &Json, id: &str| {
            entry.pointer("/Sequence/id").and_then(Json::as_str) == Some(id)
        };
        let [start, middle @ .., end] = pair else { return };
        let Some(separator) = middle.first() else { return };
        if !sequence(start, "A") || !sequence(end, "B") {
            return;
        }
        let separates = |entry: &Json| {
            let token = special_of(entry);
            given(&token) && (token == named.sep || token == named.eos)
        };
        let mut add = separates(separator) && !given(last);
        if let [_, second] = middle {
            add |= separates(second);
        }
        self.set_add("sep", add);
        if add && !given(&named.sep) && named.has_settings {
            self.set_token("sep", &named.eos.clone());
        }
    }

    fn take_settings(&mut self, files: &Files<'_>, vocabulary: &Vocabulary) {
        let added = files.tokenizer.as_ref().map_or(&[][..], |t| t.added_tokens.as_slice());
        for role in self.roles.clone() {
            if let Some(add) =
                self.settings.get(&format!("add_{role}_token")).and_then(Json::as_bool)
                && self.adds(role).is_none()
            {
                self.set_add(role, add);
            }
            let token = self.token(role);
            let Some(text) = super::files::content(&token) else { continue };
            if let Some(entry) = added.iter().find(|entry| entry.content == text) {
                self.set_id(role, entry.id, vocabulary);
            }
        }
    }

    fn take_config(&mut self, config: &Json, vocabulary: &Vocabulary) {
        for role in self.roles.clone() {
            let name = format!("{role}_token_id");
            let id = match config.get(&name) {
                None | Some(Json::Null) => config.pointer(&format!("/text_config/{name}")),
                found => found,
            };
            if let Some(id) = id.and_then(Json::as_u64) {
                self.set_id(role, id, vocabulary);
            }
        }
    }

    /// Roles by the text of their tokens, for checkpoints without a `tokenizer.json`.
    fn by_name(&mut self, files: &Files<'_>, vocabulary: &Vocabulary) {
        for role in self.roles.clone() {
            let Some(text) = files.role(role) else { continue };
            let place = vocabulary.tokens.iter().position(|token| token == text);
            if let Some(id) = place.and_then(|p| u64::try_from(p).ok()) {
                self.set_id(role, id, vocabulary);
            }
        }
    }
}

/// The tokens with a role while the post-processor is read, `null` where there is none.
struct Named {
    bos: Json,
    eos: Json,
    cls: Json,
    sep: Json,
    has_settings: bool,
}

/// Whether a value names something.
fn given(token: &Json) -> bool {
    match token {
        Json::Null => false,
        Json::String(text) => !text.is_empty(),
        Json::Object(map) => !map.is_empty(),
        _ => true,
    }
}

/// The special token of a template's entry.
fn special_of(entry: &Json) -> Json {
    entry.pointer("/SpecialToken/id").cloned().unwrap_or(Json::Null)
}
