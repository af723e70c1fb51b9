//! Typed reading of `config.json`: every error names the key.

use serde_json::{Map, Value as Json};

use crate::error::{Error, Result};
use crate::hub::Checkpoint;

/// `config.json` of a checkpoint. A key that is `null` counts as absent, as in transformers.
#[derive(Clone, Copy)]
pub(super) struct Config<'c> {
    keys: &'c Map<String, Json>,
}

/// The error for a key whose value is wrong.
pub(super) fn wrong(key: &str, what: impl std::fmt::Display) -> Error {
    Error::malformed(format!("`{key}` of config.json {what}")).file("config.json").item(key)
}

/// The error for a key whose value means something that is not lowered here.
pub(super) fn refused(key: &str, what: impl std::fmt::Display) -> Error {
    Error::unsupported(format!("`{key}` of config.json {what}")).file("config.json").item(key)
}

impl<'c> Config<'c> {
    /// The configuration of a checkpoint; an error when there is none.
    pub(super) fn of(checkpoint: &'c Checkpoint) -> Result<Self> {
        match checkpoint.config.as_object() {
            Some(keys) if !keys.is_empty() => Ok(Self { keys }),
            _ => Err(Error::malformed(
                "the checkpoint has no config.json, which says what its tensors compute",
            )
            .hint("put the model's config.json beside its weights")),
        }
    }

    /// A configuration that is not a checkpoint's own.
    pub(super) fn over(keys: &'c Map<String, Json>) -> Self {
        Self { keys }
    }

    /// A finite number.
    pub(super) fn number(&self, key: &'static str) -> Result<Option<f64>> {
        match self.get(&[key]) {
            None => Ok(None),
            Some((_, value)) => value
                .as_f64()
                .filter(|v| v.is_finite())
                .map(Some)
                .ok_or_else(|| wrong(key, format!("must be a number, it is {value}"))),
        }
    }

    /// The first of the keys that is there and not `null`.
    pub(super) fn get(&self, keys: &[&'static str]) -> Option<(&'static str, &'c Json)> {
        keys.iter().find_map(|key| Some((*key, self.keys.get(*key).filter(|v| !v.is_null())?)))
    }

    fn required(&self, keys: &[&'static str]) -> Result<(&'static str, &'c Json)> {
        self.get(keys).ok_or_else(|| wrong(keys.first().copied().unwrap_or_default(), "is missing"))
    }

    /// A whole number of at least one, under the first of the keys that is there.
    pub(super) fn length(&self, keys: &[&'static str]) -> Result<u64> {
        let (key, value) = self.required(keys)?;
        length(key, value)
    }

    /// A whole number of at least one; `default` when the key is absent.
    pub(super) fn length_or(&self, key: &'static str, default: u64) -> Result<u64> {
        self.get(&[key]).map_or(Ok(default), |(key, value)| length(key, value))
    }

    /// A whole number of zero or more; `default` when the key is absent.
    pub(super) fn index_or(&self, key: &'static str, default: i64) -> Result<i64> {
        match self.get(&[key]) {
            None => Ok(default),
            Some((_, value)) => value.as_i64().filter(|v| *v >= 0).ok_or_else(|| {
                wrong(key, format!("must be a whole number of 0 or more, it is {value}"))
            }),
        }
    }

    /// A list of whole numbers of at least one, not empty; `default` when the key is absent.
    pub(super) fn lengths_or(&self, key: &'static str, default: &[u64]) -> Result<Vec<u64>> {
        let Some((key, value)) = self.get(&[key]) else { return Ok(default.to_vec()) };
        match value.as_array().filter(|list| !list.is_empty()) {
            Some(list) => list.iter().map(|n| length(key, n)).collect(),
            None => Err(wrong(key, format!("must be a list of whole numbers, it is {value}"))),
        }
    }

    /// A table of keys of its own, under the first of the keys that is there.
    pub(super) fn table(&self, keys: &[&'static str]) -> Result<Self> {
        let (key, value) = self.required(keys)?;
        let keys = value
            .as_object()
            .ok_or_else(|| wrong(key, format!("must be a table of keys, it is {value}")))?;
        Ok(Self { keys })
    }

    /// A length, or a list of two: height and width; `default` when the key is absent.
    pub(super) fn square_or(&self, key: &'static str, default: u64) -> Result<[u64; 2]> {
        if self.get(&[key]).is_none() { Ok([default; 2]) } else { self.square(key) }
    }

    /// A length, or a list of two: height and width.
    pub(super) fn square(&self, key: &'static str) -> Result<[u64; 2]> {
        let (key, value) = self.required(&[key])?;
        match value.as_array().map(Vec::as_slice) {
            None => length(key, value).map(|n| [n, n]),
            Some([height, width]) => Ok([length(key, height)?, length(key, width)?]),
            Some(_) => Err(wrong(key, format!("must be a number or two, it is {value}"))),
        }
    }

    /// A positive number; `default` when the key is absent.
    pub(super) fn epsilon_or(&self, key: &'static str, default: f32) -> Result<f32> {
        match self.get(&[key]) {
            None => Ok(default),
            Some((_, value)) => {
                #[allow(clippy::cast_possible_truncation)] // the attribute is an f32
                let epsilon = value.as_f64().map(|v| v as f32);
                epsilon
                    .filter(|v| *v > 0.0 && v.is_finite())
                    .ok_or_else(|| wrong(key, format!("must be a positive number, it is {value}")))
            }
        }
    }

    /// A string; `default` when the key is absent.
    pub(super) fn text_or(&self, key: &'static str, default: &'c str) -> Result<&'c str> {
        match self.get(&[key]) {
            None => Ok(default),
            Some((_, value)) => {
                value.as_str().ok_or_else(|| wrong(key, format!("must be a string, it is {value}")))
            }
        }
    }

    /// `true` or `false`; `default` when the key is absent.
    pub(super) fn flag_or(&self, key: &'static str, default: bool) -> Result<bool> {
        match self.get(&[key]) {
            None => Ok(default),
            Some((_, value)) => value
                .as_bool()
                .ok_or_else(|| wrong(key, format!("must be true or false, it is {value}"))),
        }
    }

    /// The class names in `architectures`.
    pub(super) fn architectures(&self) -> Result<Vec<&'c str>> {
        let Some((key, value)) = self.get(&["architectures"]) else { return Ok(Vec::new()) };
        value
            .as_array()
            .and_then(|list| list.iter().map(Json::as_str).collect())
            .ok_or_else(|| wrong(key, format!("must be a list of class names, it is {value}")))
    }

    /// The labels in `id2label`, in order of their numbers; `None` without that key.
    pub(super) fn labels(&self) -> Result<Option<Vec<String>>> {
        let Some((key, value)) = self.get(&["id2label"]) else { return Ok(None) };
        let map = value
            .as_object()
            .ok_or_else(|| wrong(key, format!("must map numbers to labels, it is {value}")))?;
        (0..map.len())
            .map(|i| map.get(&i.to_string()).and_then(Json::as_str).map(str::to_owned))
            .collect::<Option<Vec<_>>>()
            .map(Some)
            .ok_or_else(|| {
                wrong(key, format!("must map 0 to {} to labels", map.len().saturating_sub(1)))
            })
    }

    /// How many labels a classifier has: those of `id2label`, else `num_labels`, else 2, as in
    /// transformers.
    pub(super) fn label_count(&self) -> Result<u64> {
        match self.labels()? {
            Some(labels) if labels.is_empty() => Err(wrong("id2label", "is empty")),
            Some(labels) => Ok(labels.len() as u64),
            None => self.length_or("num_labels", 2),
        }
    }

    /// Refuses the keys that change what every family here computes.
    pub(super) fn refuse_variants(&self) -> Result<()> {
        for key in ["is_decoder", "add_cross_attention", "is_encoder_decoder"] {
            if self.flag_or(key, false)? {
                return Err(refused(
                    key,
                    "is true: decoders and cross-attention are not lowered here",
                ));
            }
        }
        let positions = self.text_or("position_embedding_type", "absolute")?;
        if positions != "absolute" {
            return Err(refused(
                "position_embedding_type",
                format!("is `{positions}`: only `absolute` is lowered here"),
            ));
        }
        if let Some((key, value)) = self.get(&["pruned_heads"])
            && value != &Json::Object(Map::new())
        {
            return Err(refused(key, "is not empty: pruned attention heads are not lowered here"));
        }
        self.refuse_packed()
    }

    /// Refuses weights that something has quantized.
    pub(super) fn refuse_packed(&self) -> Result<()> {
        if let Some((key, _)) = self.get(&["quantization_config"]) {
            return Err(refused(key, "is there: its packed weights are not read here")
                .hint("take the unquantized checkpoint and quantize it in the manifest"));
        }
        Ok(())
    }
}

/// Far above any model, and small enough for every product of a few of them to be checked cheaply.
const LONGEST: u64 = 1 << 32;

fn length(key: &str, value: &Json) -> Result<u64> {
    value
        .as_u64()
        .filter(|n| (1..=LONGEST).contains(n))
        .ok_or_else(|| wrong(key, format!("must be a whole number of 1 or more, it is {value}")))
}
