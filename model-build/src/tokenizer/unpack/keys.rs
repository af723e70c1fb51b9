//! The key/values of a tokenizer, checked against each other.

use std::collections::HashMap;

use crate::error::{Error, Result};
use crate::hub::{Gguf, Meta, MetaArray};
use crate::tokenizer::pre;
use crate::tokenizer::pre_table::PreDef;
use crate::tokenizer::vocabulary::{
    CONTROL, NORMAL, UNKNOWN, UNUSED, USER_DEFINED, word_piece_default,
};

/// What the key/values say.
pub(super) struct Keys<'a> {
    gguf: &'a Gguf,
    /// `tokenizer.ggml.model`.
    pub(super) model: &'a str,
    /// The entry of `tokenizer.ggml.pre`, where the table has one.
    pub(super) pre: Option<&'static PreDef>,
    /// Tokens by id.
    pub(super) tokens: Vec<&'a str>,
    /// Their types.
    pub(super) types: Vec<i32>,
    /// Their scores; empty where the file has none.
    pub(super) scores: &'a [f32],
}

impl<'a> Keys<'a> {
    /// # Errors
    /// A list is missing, has another length than the others, or a token stands twice.
    pub(super) fn new(gguf: &'a Gguf) -> Result<Self> {
        let text = |name: &str| gguf.get(&full(name)).and_then(Meta::as_text);
        let Some(model) = text("model") else {
            return Err(Error::malformed("the file has no tokenizer").item(full("model")));
        };
        let tokens = tokens(gguf)?;
        let types = match list(gguf, "token_type") {
            Some(MetaArray::I32(types)) => types.clone(),
            None => vec![NORMAL; tokens.len()],
            Some(_) => return Err(wrong("token_type", "is no list of i32")),
        };
        let scores = match list(gguf, "scores") {
            Some(MetaArray::F32(scores)) => scores.as_slice(),
            None => &[],
            Some(_) => return Err(wrong("scores", "is no list of f32")),
        };
        for (name, len) in [("token_type", types.len()), ("scores", scores.len())] {
            if len != tokens.len() && !(name == "scores" && len == 0) {
                return Err(wrong(
                    name,
                    &format!("has {len} entries, there are {} tokens", tokens.len()),
                ));
            }
        }
        let keys = Self {
            gguf,
            model,
            // llama.cpp takes the same for a file without the key.
            pre: pre::entry(text("pre").unwrap_or("default")),
            tokens,
            types,
            scores,
        };
        keys.check()?;
        Ok(keys)
    }

    fn check(&self) -> Result<()> {
        let mut seen: HashMap<&str, usize> = HashMap::with_capacity(self.tokens.len());
        for (id, token) in self.tokens.iter().enumerate() {
            if self.types.get(id) == Some(&UNUSED) {
                continue;
            }
            if let Some(other) = seen.insert(token, id) {
                return Err(wrong(
                    "tokens",
                    &format!("has `{token}` twice, as {other} and as {id}"),
                ));
            }
        }
        for role in ["bos", "eos", "unknown", "seperator", "padding", "mask"] {
            if let Some(id) = self.id(role)
                && self.token(id).is_none()
            {
                return Err(wrong(
                    &format!("{role}_token_id"),
                    &format!("is {id}, there are {} tokens", self.tokens.len()),
                ));
            }
        }
        Ok(())
    }

    fn get(&self, name: &str) -> Option<&'a Meta> {
        self.gguf.get(&full(name))
    }

    /// The id of a role's token.
    pub(super) fn id(&self, role: &str) -> Option<u64> {
        let find = |role: &str| self.get(&format!("{role}_token_id"))?.as_u64();
        let default = if self.model == "bert" { word_piece_default(role) } else { None };
        find(role)
            .or_else(|| (self.model == "bert" && role == "bos").then(|| find("cls")).flatten())
            .or_else(|| default.filter(|id| self.token(*id).is_some()))
    }

    /// The token of an id.
    pub(super) fn token(&self, id: u64) -> Option<&'a str> {
        self.tokens.get(usize::try_from(id).ok()?).copied()
    }

    /// The token of a role.
    pub(super) fn role(&self, role: &str) -> Option<&'a str> {
        self.token(self.id(role)?)
    }

    /// A flag, if it is there.
    pub(super) fn flag(&self, name: &str) -> Option<bool> {
        self.get(name)?.as_bool()
    }

    /// Whether `bos` or `eos` is put around a text: as the file says, else as llama.cpp does it.
    pub(super) fn adds(&self, role: &str) -> bool {
        self.flag(&format!("add_{role}_token")).unwrap_or_else(|| match (self.model, role) {
            ("gpt2", "bos") => self.pre.is_some_and(|def| def.adds_bos),
            ("llama", "bos") | ("t5", "eos") => true,
            _ => false,
        })
    }

    /// A list of strings.
    pub(super) fn texts(&self, name: &str) -> Result<Vec<&'a str>> {
        texts(self.gguf, name)
    }

    /// A list of bytes, empty where there is none.
    pub(super) fn bytes(&self, name: &str) -> &'a [u8] {
        match list(self.gguf, name) {
            Some(MetaArray::U8(bytes)) => bytes,
            _ => &[],
        }
    }

    /// Id, text and type of every token that is used.
    pub(super) fn used(&self) -> impl Iterator<Item = (u64, &'a str, i32)> {
        (0u64..)
            .zip(self.tokens.iter().zip(&self.types))
            .map(|(id, (token, kind))| (id, *token, *kind))
            .filter(|(_, _, kind)| *kind != UNUSED)
    }

    /// Id, text and whether it is special, of every token that is found in the text first.
    pub(super) fn added(&self) -> impl Iterator<Item = (u64, &'a str, bool)> {
        self.used().filter_map(|(id, token, kind)| match kind {
            CONTROL | UNKNOWN => Some((id, token, true)),
            USER_DEFINED => Some((id, token, false)),
            _ => None,
        })
    }
}

fn full(name: &str) -> String {
    format!("tokenizer.ggml.{name}")
}

pub(super) fn wrong(name: &str, what: &str) -> Error {
    Error::malformed(format!("`{}` {what}", full(name))).item(full(name))
}

fn list<'a>(gguf: &'a Gguf, name: &str) -> Option<&'a MetaArray> {
    gguf.get(&full(name))?.as_array()
}

fn texts<'a>(gguf: &'a Gguf, name: &str) -> Result<Vec<&'a str>> {
    match list(gguf, name) {
        Some(MetaArray::Text(list)) => list
            .iter()
            .enumerate()
            .map(|(at, bytes)| {
                std::str::from_utf8(bytes)
                    .map_err(|_| wrong(name, &format!("has an entry that is no UTF-8, at {at}")))
            })
            .collect(),
        _ => Err(wrong(name, "is no list of strings")),
    }
}

fn tokens(gguf: &Gguf) -> Result<Vec<&str>> {
    let tokens = texts(gguf, "tokens")?;
    if tokens.is_empty() {
        return Err(wrong("tokens", "is empty"));
    }
    Ok(tokens)
}
