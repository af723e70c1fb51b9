//! Hyperparameters: keys of `config.json` ↔ keys of a GGUF file, from one description.
//!
//! An architecture describes its keys once, as a function over [`Keys`]. Packing, each call reads
//! the configuration and writes the GGUF key, in the order of the calls; unpacking, it reads the GGUF
//! key and writes the configuration. What a call says of values that cannot be told apart in GGUF
//! is checked in the one direction and filled in in the other.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use serde_json::{Map, Number, Value as Json};

use crate::arch::config::{Config, refused, wrong};
use crate::error::{Error, Result};
use crate::hub::{Checkpoint, Gguf, Meta};

/// One direction of a conversion of hyperparameters.
pub(in crate::arch) struct Keys<'a> {
    /// `general.architecture`.
    name: &'static str,
    config: Map<String, Json>,
    side: Side<'a>,
}

enum Side<'a> {
    Pack { checkpoint: &'a Checkpoint, early: Vec<(String, Meta)>, out: Vec<(String, Meta)> },
    Unpack { gguf: &'a Gguf, used: BTreeSet<String>, assets: BTreeMap<String, Bytes> },
}

/// The shortest decimal that is this `f32`, as JSON.
pub(in crate::arch) fn json_of_f32(value: f32) -> Result<Json> {
    let shortest = value.to_string().parse::<f64>().ok().and_then(Number::from_f64);
    shortest.map(Json::Number).ok_or_else(|| Error::malformed(format!("{value} is no number")))
}

/// The nearest `f32`.
#[allow(clippy::cast_possible_truncation)] // the rounding is the point
pub(in crate::arch) fn narrow(value: f64) -> f32 {
    value as f32
}

pub(in crate::arch) fn bad_key(key: &str, what: impl std::fmt::Display) -> Error {
    Error::malformed(format!("the key `{key}` {what}")).item(key)
}

pub(super) fn foreign_key(key: &str, what: impl std::fmt::Display) -> Error {
    Error::unsupported(format!("the key `{key}` {what}")).item(key)
}

/// A length as GGUF has it.
pub(in crate::arch) fn length_meta(key: &str, value: u64) -> Result<Meta> {
    as_length(key, value)
}

fn as_length(key: &str, value: u64) -> Result<Meta> {
    let value = u32::try_from(value)
        .map_err(|_| wrong(key, format!("is {value}: GGUF holds at most {}", u32::MAX)))?;
    Ok(Meta::U32(value))
}

impl<'a> Keys<'a> {
    /// Packs a configuration.
    pub(super) fn pack(
        name: &'static str,
        checkpoint: &'a Checkpoint,
        config: Map<String, Json>,
    ) -> Self {
        Self { name, config, side: Side::Pack { checkpoint, early: Vec::new(), out: Vec::new() } }
    }
    /// Unpacks a GGUF file's keys; `config` is what is known of the configuration already.
    pub(super) fn unpack(name: &'static str, gguf: &'a Gguf, config: Map<String, Json>) -> Self {
        Self {
            name,
            config,
            side: Side::Unpack { gguf, used: BTreeSet::new(), assets: BTreeMap::new() },
        }
    }
    /// The configuration and, when packing, the keys that were written.
    pub(super) fn finish(self) -> (Map<String, Json>, Vec<(String, Meta)>, BTreeSet<String>) {
        match self.side {
            Side::Pack { out, .. } => (self.config, out, BTreeSet::new()),
            Side::Unpack { used, .. } => (self.config, Vec::new(), used),
        }
    }
    /// Whether the GGUF side is written.
    pub(in crate::arch) fn packing(&self) -> bool {
        matches!(self.side, Side::Pack { .. })
    }
    /// The configuration as far as it is known.
    pub(in crate::arch) fn config(&self) -> Config<'_> {
        Config::over(&self.config)
    }
    /// The checkpoint, when packing.
    pub(in crate::arch) fn checkpoint(&self) -> Option<&'a Checkpoint> {
        match &self.side {
            Side::Pack { checkpoint, .. } => Some(checkpoint),
            Side::Unpack { .. } => None,
        }
    }
    /// The GGUF file, when unpacking.
    pub(in crate::arch) fn gguf(&self) -> Option<&'a Gguf> {
        match &self.side {
            Side::Pack { .. } => None,
            Side::Unpack { gguf, .. } => Some(gguf),
        }
    }
    /// Sets a key of the configuration.
    pub(in crate::arch) fn set(&mut self, from: &str, value: impl Into<Json>) {
        self.config.insert(from.to_owned(), value.into());
    }
    /// Writes a key under the architecture's name, in place where it is there; nothing when
    /// unpacking.
    pub(in crate::arch) fn put(&mut self, key: &str, value: Meta) {
        let key = format!("{}.{key}", self.name);
        if let Side::Pack { out, .. } = &mut self.side {
            match out.iter_mut().find(|(k, _)| *k == key) {
                Some((_, old)) => *old = value,
                None => out.push((key, value)),
            }
        }
    }
    /// Writes a key under the architecture's name ahead of all that describe the model.
    pub(in crate::arch) fn put_early(&mut self, key: &str, value: Meta) {
        let key = format!("{}.{key}", self.name);
        if let Side::Pack { early, .. } = &mut self.side {
            early.push((key, value));
        }
    }
    /// The keys of [`put_early`](Self::put_early).
    pub(super) fn take_early(&mut self) -> Vec<(String, Meta)> {
        match &mut self.side {
            Side::Pack { early, .. } => std::mem::take(early),
            Side::Unpack { .. } => Vec::new(),
        }
    }
    /// Adds a file to the checkpoint; nothing when packing.
    pub(super) fn add_asset(&mut self, name: &str, bytes: Bytes) {
        if let Side::Unpack { assets, .. } = &mut self.side {
            assets.insert(name.to_owned(), bytes);
        }
    }
    /// The files of [`add_asset`](Self::add_asset).
    pub(super) fn take_assets(&mut self) -> BTreeMap<String, Bytes> {
        match &mut self.side {
            Side::Pack { .. } => BTreeMap::new(),
            Side::Unpack { assets, .. } => std::mem::take(assets),
        }
    }
    /// The value of a key under the architecture's name; none when packing.
    pub(in crate::arch) fn take(&mut self, key: &str) -> Option<&'a Meta> {
        let key = format!("{}.{key}", self.name);
        match &mut self.side {
            Side::Pack { .. } => None,
            Side::Unpack { gguf, used, .. } => {
                let value = gguf.get(&key)?;
                used.insert(key);
                Some(value)
            }
        }
    }
    fn missing(&self, key: &str) -> Error {
        Error::malformed(format!("the file lacks the key `{}.{key}`", self.name))
    }
    /// A whole number under a key, when unpacking.
    pub(in crate::arch) fn take_length(&mut self, key: &str) -> Result<Option<u64>> {
        let Some(value) = self.take(key) else { return Ok(None) };
        value.as_u64().map(Some).ok_or_else(|| bad_key(key, "is no whole number"))
    }
    /// A number under a key, when unpacking.
    pub(in crate::arch) fn take_number(&mut self, key: &str) -> Result<Option<f32>> {
        let Some(value) = self.take(key) else { return Ok(None) };
        match value.as_f64() {
            Some(v) if v.is_finite() => Ok(Some(narrow(v))),
            _ => Err(bad_key(key, "is no finite number")),
        }
    }

    /// A whole number, in both.
    pub(in crate::arch) fn length(&mut self, key: &str, from: &'static str) -> Result<()> {
        if self.packing() {
            let value = self.config().length(&[from])?;
            self.put(key, as_length(from, value)?);
            return Ok(());
        }
        let value = self.take_length(key)?.ok_or_else(|| self.missing(key))?;
        self.set(from, value);
        Ok(())
    }
    /// A whole number of zero or more, in the one where it is in the other.
    pub(in crate::arch) fn length_if(&mut self, key: &str, from: &'static str) -> Result<()> {
        if self.packing() {
            if self.config().get(&[from]).is_some() {
                let value = self.config().index_or(from, 0)?.unsigned_abs();
                self.put(key, as_length(from, value)?);
            }
            return Ok(());
        }
        if let Some(value) = self.take_length(key)? {
            self.set(from, value);
        }
        Ok(())
    }
    /// A whole number of GGUF's that follows from the configuration: written, or held to what the
    /// file says.
    pub(in crate::arch) fn length_of(
        &mut self,
        key: &str,
        value: impl Fn(&Config<'_>) -> Result<u64>,
    ) -> Result<()> {
        let want = value(&self.config())?;
        self.put(key, as_length(key, want)?);
        match self.take_length(key)? {
            Some(found) if found != want => Err(foreign_key(
                key,
                format!("is {found}: an unquantized checkpoint of this family would have {want}"),
            )),
            _ => Ok(()),
        }
    }
    /// A finite number, in both.
    pub(in crate::arch) fn number(&mut self, key: &str, from: &'static str) -> Result<()> {
        if self.packing() && self.config().get(&[from]).is_none() {
            return Err(wrong(from, "is missing"));
        }
        if !self.packing() && self.gguf().and_then(|g| g.of_architecture(key)).is_none() {
            return Err(self.missing(key));
        }
        self.number_if(key, from)
    }
    /// A finite number, in the one where it is in the other.
    pub(in crate::arch) fn number_if(&mut self, key: &str, from: &'static str) -> Result<()> {
        if self.packing() {
            if let Some(value) = self.config().number(from)? {
                self.put(key, Meta::F32(narrow(value)));
            }
            return Ok(());
        }
        if let Some(value) = self.take_number(key)? {
            self.set(from, json_of_f32(value)?);
        }
        Ok(())
    }
    /// `true` or `false`, in the one where it is in the other.
    pub(in crate::arch) fn flag_if(&mut self, key: &str, from: &'static str) -> Result<()> {
        if self.packing() {
            if self.config().get(&[from]).is_some() {
                let value = self.config().flag_or(from, false)?;
                self.put(key, Meta::Bool(value));
            }
            return Ok(());
        }
        if let Some(value) = self.take(key) {
            let value = value.as_bool().ok_or_else(|| bad_key(key, "is neither true nor false"))?;
            self.set(from, value);
        }
        Ok(())
    }
    /// A key of the configuration that must have this value, which GGUF's graph computes with: any
    /// other is refused when packing, and unpacking sets it.
    pub(in crate::arch) fn only(
        &mut self,
        from: &'static str,
        value: impl Into<Json>,
    ) -> Result<()> {
        let value = value.into();
        if self.packing() {
            return match self.config().get(&[from]) {
                Some((_, found)) if *found != value => Err(refused(
                    from,
                    format!("is {found}: the graph that GGUF readers build computes with {value}"),
                )),
                _ => Ok(()),
            };
        }
        self.set(from, value);
        Ok(())
    }
    /// A flag of the configuration that says whether tensors are there; `gguf` is one of them.
    pub(in crate::arch) fn flag_of_tensor(&mut self, from: &'static str, gguf: &str) {
        if let Some(file) = self.gguf() {
            let there = file.tensor(gguf).is_some();
            self.set(from, there);
        }
    }
    /// Refuses a sliding window, which GGUF's graph of this family does not have.
    pub(in crate::arch) fn no_window(&mut self) -> Result<()> {
        if !self.packing() {
            self.set("sliding_window", Json::Null);
            return Ok(());
        }
        let longest = self.config().length(&["max_position_embeddings"])?;
        match self.config().get(&["sliding_window"]) {
            Some((_, value)) if value.as_u64().is_some_and(|n| n < longest) => Err(refused(
                "sliding_window",
                format!("is {value}: the graph that GGUF readers build attends to all positions"),
            )
            .hint("set it to null in config.json if attention to all positions is what you want")),
            _ => Ok(()),
        }
    }
}
