//! The parts of `tokenizer.json` that packing reads: the model and the added tokens typed, the
//! steps around them as JSON.

use std::collections::HashMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value as Json;

use crate::error::{Error, Result};

/// `tokenizer.json`.
#[derive(Debug, Deserialize)]
pub(super) struct TokenizerJson {
    /// Tokens that are found in the text before the model runs.
    #[serde(default)]
    pub(super) added_tokens: Vec<Added>,
    /// What is done to the text first.
    #[serde(default)]
    pub(super) normalizer: Json,
    /// How the text is cut into words.
    #[serde(default)]
    pub(super) pre_tokenizer: Json,
    /// What is put around the ids.
    #[serde(default)]
    pub(super) post_processor: Json,
    /// How ids become text.
    #[serde(default)]
    pub(super) decoder: Json,
    /// The vocabulary.
    pub(super) model: Model,
}

/// One entry of `added_tokens`, or of `added_tokens_decoder` (which has no `id`).
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Added {
    /// Its id; absent in `added_tokens_decoder`, where the key is the id.
    #[serde(default)]
    pub(super) id: u64,
    /// Its text.
    pub(super) content: String,
    /// Whether it controls the model and is no text.
    #[serde(default)]
    pub(super) special: bool,
    /// Whether it is matched after normalization. Absent means: where it is not special.
    #[serde(default)]
    pub(super) normalized: Option<bool>,
}

/// The `model` of a `tokenizer.json`.
#[derive(Debug, Deserialize)]
pub(super) struct Model {
    /// `BPE`, `WordPiece`, `Unigram`, `WordLevel`; old files have none.
    #[serde(default, rename = "type")]
    pub(super) kind: Option<String>,
    #[serde(default)]
    pub(super) vocab: Vocab,
    #[serde(default)]
    pub(super) merges: Option<Vec<Merge>>,
    #[serde(default)]
    pub(super) unk_token: Option<String>,
    #[serde(default)]
    pub(super) unk_id: Option<u64>,
    #[serde(default)]
    pub(super) byte_fallback: Option<bool>,
    #[serde(default)]
    pub(super) ignore_merges: Option<bool>,
    #[serde(default)]
    pub(super) continuing_subword_prefix: Option<String>,
    #[serde(default)]
    pub(super) end_of_word_suffix: Option<String>,
}

/// A vocabulary: token to id, or (Unigram) tokens with scores, whose place is the id.
#[derive(Debug)]
pub(super) enum Vocab {
    Ids(Vec<(String, u64)>),
    Scores(Vec<(String, f64)>),
}

impl Default for Vocab {
    fn default() -> Self {
        Self::Ids(Vec::new())
    }
}

impl<'de> Deserialize<'de> for Vocab {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Vocab;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of ids by token, or a list of [token, score]")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Vocab, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Vocab::Ids(entries))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vocab, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = seq.next_element()? {
                    entries.push(entry);
                }
                Ok(Vocab::Scores(entries))
            }
        }
        deserializer.deserialize_any(Either)
    }
}

/// A merge in either of its spellings.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Merge {
    Pair([String; 2]),
    Text(String),
}

impl Merge {
    /// The two parts.
    ///
    /// # Errors
    /// The spelling with one string does not hold exactly one space.
    pub(super) fn parts(&self) -> Result<(&str, &str)> {
        match self {
            Self::Pair([left, right]) => Ok((left, right)),
            Self::Text(text) => match text.split_once(' ') {
                Some((left, right)) if !right.contains(' ') => Ok((left, right)),
                _ => Err(Error::malformed(format!("the merge `{text}` is not two parts"))
                    .hint("write merges that contain spaces as lists: [\"a\", \"b\"]")),
            },
        }
    }
}

impl TokenizerJson {
    /// Reads the file.
    ///
    /// # Errors
    /// Not JSON, or not of the form of a `tokenizer.json`; names line and column.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self> {
        let parsed: Self = serde_json::from_slice(bytes).map_err(|e| {
            Error::malformed(format!("not a tokenizer.json: {e}")).file("tokenizer.json")
        })?;
        parsed.check().map_err(|e| e.file("tokenizer.json"))?;
        Ok(parsed)
    }

    fn check(&self) -> Result<()> {
        if let Vocab::Ids(entries) = &self.model.vocab {
            let mut ids = HashMap::with_capacity(entries.len());
            let mut texts = HashMap::with_capacity(entries.len());
            for (text, id) in entries {
                if let Some(other) = ids.insert(*id, text) {
                    return Err(Error::malformed(format!(
                        "id {id} belongs to `{other}` and to `{text}`"
                    ))
                    .item("model.vocab"));
                }
                if let Some(other) = texts.insert(text, *id) {
                    return Err(Error::malformed(format!(
                        "token `{text}` has the ids {other} and {id}"
                    ))
                    .item("model.vocab"));
                }
            }
        }
        Ok(())
    }

    /// The type of the model, told from its fields where the file does not say.
    pub(super) fn kind(&self) -> &str {
        match (&self.model.kind, &self.model.vocab) {
            (Some(kind), _) => kind,
            (None, Vocab::Scores(_)) => "Unigram",
            (None, Vocab::Ids(_)) if self.model.merges.is_some() => "BPE",
            (None, Vocab::Ids(_)) => "WordPiece",
        }
    }

    /// Whether the model spells unknown characters as `<0x..>` tokens.
    pub(super) fn byte_fallback(&self) -> bool {
        self.model.byte_fallback == Some(true)
    }

    /// Tokens by id.
    pub(super) fn ids(&self) -> Result<&[(String, u64)]> {
        match &self.model.vocab {
            Vocab::Ids(entries) => Ok(entries),
            Vocab::Scores(_) => {
                Err(Error::malformed("the vocabulary is a list, an object was expected")
                    .file("tokenizer.json")
                    .item("model.vocab"))
            }
        }
    }

    /// The merges as GGUF has them: parts joined by a space, spaces inside of parts as `Ġ`.
    ///
    /// # Errors
    /// A merge names a token that the vocabulary lacks.
    pub(super) fn merges(&self) -> Result<Vec<String>> {
        let known: HashMap<&str, u64> =
            self.ids()?.iter().map(|(text, id)| (text.as_str(), *id)).collect();
        self.model
            .merges
            .as_deref()
            .unwrap_or_default()
            .iter()
            .enumerate()
            .map(|(rank, merge)| {
                let joined = merge.parts().and_then(|(l, r)| check_merge(&known, l, r));
                joined.map_err(|e| e.file("tokenizer.json").item(format!("model.merges[{rank}]")))
            })
            .collect()
    }
}

/// The joined form of a merge whose parts and result are tokens.
pub(super) fn check_merge(known: &HashMap<&str, u64>, left: &str, right: &str) -> Result<String> {
    let whole = format!("{left}{right}");
    for part in [left, right, &whole] {
        if !known.contains_key(part) {
            return Err(Error::malformed(format!(
                "the merge of `{left}` and `{right}` needs the token `{part}`, which the vocabulary lacks"
            )));
        }
    }
    let spell = |part: &str| part.replace(' ', "Ġ");
    Ok(format!("{} {}", spell(left), spell(right)))
}

/// The `type` of a step.
pub(super) fn type_of(step: &Json) -> &str {
    step.get("type").and_then(Json::as_str).unwrap_or("")
}

/// A step as the list of its steps: nothing for `null`, the members of a `Sequence` (of sequences),
/// else itself. `member` is `normalizers`, `pretokenizers`, `processors` or `decoders`.
pub(super) fn flatten<'a>(step: &'a Json, member: &str) -> Vec<&'a Json> {
    match step {
        Json::Null => Vec::new(),
        _ if type_of(step) == "Sequence" => step
            .get(member)
            .and_then(Json::as_array)
            .map(|steps| steps.iter().flat_map(|s| flatten(s, member)).collect())
            .unwrap_or_default(),
        _ => vec![step],
    }
}
