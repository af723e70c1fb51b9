//! Rotary positions: the old and the new spelling of `config.json`, and GGUF's keys.

use serde_json::{Map, Value as Json};

use super::keys::{Keys, bad_key, foreign_key, json_of_f32, narrow};
use crate::arch::config::{refused, wrong};
use crate::error::{Error, Result};
use crate::hub::{Gguf, Meta, Tensor};

/// Keys of `rope_parameters` of a kind of scaling, besides `rope_theta` and `rope_type`.
const KINDS: &[(&str, &[&str])] = &[
    ("default", &[]),
    ("linear", &["factor"]),
    (
        "yarn",
        &[
            "factor",
            "original_max_position_embeddings",
            "extrapolation_factor",
            "attention_factor",
            "attn_factor",
            "beta_fast",
            "beta_slow",
        ],
    ),
    ("longrope", &["factor", "original_max_position_embeddings", "short_factor", "long_factor"]),
    (
        "llama3",
        &["factor", "original_max_position_embeddings", "low_freq_factor", "high_freq_factor"],
    ),
];

/// Brings `rope_theta`, `rope_scaling` and `partial_rotary_factor` of older files into
/// `rope_parameters`, as transformers does. A configuration with parameters per kind of layer
/// stays as it is.
pub(super) fn normalize(config: &mut Map<String, Json>, theta: f64) -> Result<()> {
    let scaling = config.remove("rope_scaling").filter(|v| !v.is_null());
    let newer = config.remove("rope_parameters").filter(|v| !v.is_null());
    let mut rope = match scaling.or(newer) {
        None => Map::new(),
        Some(Json::Object(map)) => map,
        Some(other) => {
            return Err(wrong("rope_parameters", format!("must be a table, it is {other}")));
        }
    };
    if rope.values().any(Json::is_object) {
        config.insert("rope_parameters".to_owned(), Json::Object(rope));
        return Ok(());
    }
    let mut older = |key: &str| config.remove(key).filter(|v| !v.is_null());
    let old_theta = older("rope_theta").unwrap_or_else(|| theta.into());
    let partial = older("partial_rotary_factor");
    rope.entry("rope_theta").or_insert(old_theta);
    if let Some(partial) = partial {
        rope.entry("partial_rotary_factor").or_insert(partial);
    }
    let kind = rope.remove("type");
    rope.entry("rope_type").or_insert_with(|| kind.unwrap_or_else(|| "default".into()));
    if rope.get("rope_type").and_then(Json::as_str) == Some("su") {
        rope.insert("rope_type".to_owned(), "longrope".into());
    }
    let scaled = matches!(
        rope.get("rope_type").and_then(Json::as_str),
        Some("yarn" | "longrope" | "llama3")
    );
    let original = "original_max_position_embeddings";
    match config.get(original).filter(|v| !v.is_null()).cloned() {
        Some(length) => {
            rope.insert(original.to_owned(), length);
        }
        None if scaled => {
            if let Some(length) = config.get("max_position_embeddings").cloned() {
                rope.entry(original).or_insert(length);
            }
        }
        None => {}
    }
    config.insert("rope_parameters".to_owned(), Json::Object(rope));
    Ok(())
}

/// Brings `rope_parameters` into the spelling that every release of transformers reads.
pub(super) fn spell(config: &mut Map<String, Json>) {
    let Some(Json::Object(mut rope)) = config.remove("rope_parameters") else { return };
    if rope.values().any(Json::is_object) {
        config.insert("rope_parameters".to_owned(), Json::Object(rope));
        return;
    }
    for key in ["rope_theta", "partial_rotary_factor"] {
        if let Some(value) = rope.remove(key) {
            config.insert(key.to_owned(), value);
        }
    }
    let plain = rope.get("rope_type").and_then(Json::as_str) == Some("default");
    if !plain && !rope.is_empty() {
        config.insert("rope_scaling".to_owned(), Json::Object(rope));
    }
}

/// `rope_parameters` of a configuration that [`normalize`] saw.
pub(in crate::arch) struct Rope<'c>(&'c Map<String, Json>);

impl<'c> Rope<'c> {
    /// Those of a configuration; an error when they are nested by kind of layer.
    pub(in crate::arch) fn of(config: &crate::arch::Config<'c>) -> Result<Self> {
        match config.get(&["rope_parameters"]) {
            Some((_, Json::Object(map))) if !map.values().any(Json::is_object) => Ok(Self(map)),
            Some((key, _)) => {
                Err(refused(key, "differs by kind of layer, which this family does not have"))
            }
            None => Err(wrong("rope_parameters", "is missing")),
        }
    }
    /// `rope_type`.
    pub(in crate::arch) fn kind(&self) -> Result<&'c str> {
        match self.0.get("rope_type") {
            Some(Json::String(kind)) => Ok(kind),
            _ => Err(wrong("rope_type", "must be a string")),
        }
    }
    /// A number.
    pub(in crate::arch) fn number(&self, key: &str) -> Result<Option<f64>> {
        match self.0.get(key).filter(|v| !v.is_null()) {
            None => Ok(None),
            Some(value) => value.as_f64().map(Some).ok_or_else(|| {
                wrong("rope_parameters", format!("has `{key}` = {value}, which is no number"))
            }),
        }
    }
    /// A number that must be there.
    pub(in crate::arch) fn required(&self, key: &str) -> Result<f64> {
        self.number(key)?.ok_or_else(|| wrong("rope_parameters", format!("lacks `{key}`")))
    }
    /// A length.
    pub(in crate::arch) fn length(&self, key: &str) -> Result<Option<u32>> {
        match self.0.get(key).filter(|v| !v.is_null()) {
            None => Ok(None),
            Some(value) => {
                value.as_u64().and_then(|n| u32::try_from(n).ok()).map(Some).ok_or_else(|| {
                    wrong("rope_parameters", format!("has `{key}` = {value}, which is no length"))
                })
            }
        }
    }
    /// A list of numbers.
    pub(in crate::arch) fn list(&self, key: &str) -> Result<Option<Vec<f32>>> {
        match self.0.get(key).filter(|v| !v.is_null()) {
            None => Ok(None),
            Some(value) => value
                .as_array()
                .and_then(|list| list.iter().map(|v| v.as_f64().map(narrow)).collect())
                .map(Some)
                .ok_or_else(|| {
                    wrong("rope_parameters", format!("has `{key}` that is no list of numbers"))
                }),
        }
    }
}

impl Keys<'_> {
    /// Adds to `rope_parameters`, when unpacking.
    pub(in crate::arch) fn set_rope(&mut self, key: &str, value: impl Into<Json>) {
        let mut rope = match self.config().get(&["rope_parameters"]) {
            Some((_, Json::Object(map))) => map.clone(),
            _ => Map::new(),
        };
        rope.insert(key.to_owned(), value.into());
        self.set("rope_parameters", rope);
    }

    /// `rope.scaling.*` and `rope.freq_base`. `kinds` are the kinds of scaling that GGUF's graph of
    /// this family has, `extra` the parameters that do not matter to it or that the family's file
    /// takes care of.
    pub(in crate::arch) fn rope(&mut self, kinds: &[&str], extra: &[&str]) -> Result<()> {
        if self.packing() {
            self.check_rope(kinds, extra)?;
            return self.pack_rope();
        }
        self.unpack_rope(kinds)
    }

    /// Refuses rope parameters that are not carried over.
    pub(in crate::arch) fn check_rope(&mut self, kinds: &[&str], extra: &[&str]) -> Result<()> {
        let config = self.config();
        let rope = Rope::of(&config)?;
        let kind = rope.kind()?;
        let known = KINDS.iter().find(|(name, _)| *name == kind && kinds.contains(name));
        let Some((_, keys)) = known else {
            return Err(refused(
                "rope_parameters",
                format!(
                    "has the `rope_type` `{kind}`: GGUF's graph of this family does not have it"
                ),
            )
            .hint(format!("it has: {}", kinds.join(", "))));
        };
        // Where nothing is scaled, the length it would be scaled from changes nothing.
        let idle = ["rope_theta", "rope_type", "original_max_position_embeddings"];
        match rope.0.iter().find(|(key, value)| {
            let key = key.as_str();
            !(keys.contains(&key) || idle.contains(&key) || extra.contains(&key) || value.is_null())
        }) {
            Some((key, value)) => Err(refused(
                "rope_parameters",
                format!("has `{key}` = {value}, which GGUF's graph of this family does not have"),
            )),
            None => Ok(()),
        }
    }

    fn pack_rope(&mut self) -> Result<()> {
        let config = self.config();
        let rope = Rope::of(&config)?;
        let number = |key: &str| rope.number(key).map(|v| v.map(|v| Meta::F32(narrow(v))));
        let mut out: Vec<(&str, Meta)> = Vec::new();
        let kind = rope.kind()?;
        match kind {
            "linear" | "yarn" => {
                out.push(("type", Meta::text(kind)));
                out.push(("factor", Meta::F32(narrow(rope.required("factor")?))));
            }
            "longrope" => out.push(("type", Meta::text("longrope"))),
            _ => {}
        }
        if kind == "yarn" {
            let original = rope.length("original_max_position_embeddings")?;
            let original = original.ok_or_else(|| {
                wrong("rope_parameters", "lacks `original_max_position_embeddings`")
            })?;
            out.push(("original_context_length", Meta::U32(original)));
            let attention = match number("attention_factor")? {
                None => number("attn_factor")?,
                some => some,
            };
            let more = [
                ("yarn_ext_factor", number("extrapolation_factor")?),
                ("yarn_attn_factor", attention),
                ("yarn_beta_fast", number("beta_fast")?),
                ("yarn_beta_slow", number("beta_slow")?),
            ];
            out.extend(more.into_iter().filter_map(|(key, value)| Some((key, value?))));
        }
        let theta = narrow(rope.required("rope_theta")?);
        for (key, value) in out {
            self.put(&format!("rope.scaling.{key}"), value);
        }
        self.put("rope.freq_base", Meta::F32(theta));
        Ok(())
    }

    fn unpack_rope(&mut self, kinds: &[&str]) -> Result<()> {
        let kind = match self.take("rope.scaling.type") {
            None => "default",
            Some(value) => match value.as_text() {
                Some("none") => "default",
                Some(kind) => kind,
                None => return Err(bad_key("rope.scaling.type", "is no text")),
            },
        };
        if !kinds.contains(&kind) {
            return Err(foreign_key(
                "rope.scaling.type",
                format!("is `{kind}`, which this family does not have"),
            ));
        }
        self.set_rope("rope_type", kind);
        let numbers: &[(&str, &str)] = match kind {
            "linear" => &[("factor", "factor")],
            "yarn" => &[
                ("factor", "factor"),
                ("yarn_ext_factor", "extrapolation_factor"),
                ("yarn_attn_factor", "attention_factor"),
                ("yarn_beta_fast", "beta_fast"),
                ("yarn_beta_slow", "beta_slow"),
            ],
            _ => &[],
        };
        for (key, to) in numbers {
            if let Some(value) = self.take_number(&format!("rope.scaling.{key}"))? {
                self.set_rope(to, json_of_f32(value)?);
            }
        }
        if kind == "yarn"
            && let Some(length) = self.take_length("rope.scaling.original_context_length")?
        {
            self.set_rope("original_max_position_embeddings", length);
        }
        let theta = self.take_number("rope.freq_base")?.unwrap_or(10_000.0);
        self.set_rope("rope_theta", json_of_f32(theta)?);
        if kinds.contains(&"llama3")
            && let Some(tensor) = self.gguf().and_then(|g| g.tensor("rope_freqs.weight"))
        {
            let (factor, low, high, original) = llama3_of(tensor, f64::from(theta))?;
            self.set_rope("rope_type", "llama3");
            self.set_rope("factor", factor);
            self.set_rope("low_freq_factor", low);
            self.set_rope("high_freq_factor", high);
            self.set_rope("original_max_position_embeddings", original);
        }
        Ok(())
    }
}

/// More rotated elements than a head has.
const LONGEST_HEAD: u64 = 1 << 16;

/// The divisors of the frequencies of Llama 3's scaling, for heads of `dimensions` rotated elements,
/// in the operations of llama.cpp's converter: frequencies in f32, the rest in f64.
pub(in crate::arch) fn llama3(rope: &Rope<'_>, dimensions: u64) -> Result<Tensor> {
    if dimensions > LONGEST_HEAD {
        return Err(wrong("head_dim", format!("is {dimensions}: no head is as long")));
    }
    let factors = llama3_factors(
        rope.required("rope_theta")?,
        dimensions,
        rope.number("factor")?.unwrap_or(8.0),
        rope.number("low_freq_factor")?.unwrap_or(1.0),
        rope.number("high_freq_factor")?.unwrap_or(4.0),
        rope.number("original_max_position_embeddings")?.unwrap_or(8192.0),
    );
    Tensor::from_f32(vec![factors.len() as u64], &factors)
}

fn llama3_factors(
    theta: f64,
    dimensions: u64,
    factor: f64,
    low: f64,
    high: f64,
    original: f64,
) -> Vec<f32> {
    let mut factors = Vec::new();
    let mut i = 0u64;
    while i < dimensions {
        #[allow(clippy::cast_precision_loss)] // a head's elements are few
        let exponent = narrow(i as f64) / narrow(dimensions as f64);
        let frequency = 1.0 / narrow(theta.powf(f64::from(exponent)));
        // A number divided by a tensor is that number times the reciprocal, there.
        let wavelength = (1.0 / frequency) * narrow(2.0 * std::f64::consts::PI);
        factors.push(if wavelength < narrow(original / high) {
            1.0
        } else if wavelength > narrow(original / low) {
            narrow(factor)
        } else {
            let ratio = (1.0 / wavelength) * narrow(original);
            let smooth = (ratio - narrow(low)) / narrow(high - low);
            1.0 / ((1.0 - smooth) / narrow(factor) + smooth)
        });
        i += 2;
    }
    factors
}

/// The parameters of Llama 3's scaling that give these divisors, found among those in use: the
/// factor, both bounds, and a power of two as the length the model was first trained with.
fn llama3_of(tensor: &Tensor, theta: f64) -> Result<(Json, f64, f64, u64)> {
    let unknown = || {
        Error::unsupported("the divisors of rope frequencies are of no known scaling")
            .item("rope_freqs.weight")
            .hint("known is Llama 3's, with bounds 1 and 4, from a power of two of positions")
    };
    let [count] = tensor.shape() else { return Err(unknown()) };
    if *count > 4096 || tensor.dtype() != crate::hub::DType::F32 {
        return Err(unknown());
    }
    let found = tensor.to_f32()?;
    let factor = found.iter().copied().fold(1.0f32, f32::max);
    for (low, high) in [(1.0, 4.0), (1.0, 1.0 + f64::EPSILON), (1.0, 2.0), (1.0, 8.0)] {
        for power in 8..=20u32 {
            let original = 1u64 << power;
            #[allow(clippy::cast_precision_loss)] // a power of two
            let factors =
                llama3_factors(theta, count * 2, f64::from(factor), low, high, original as f64);
            if factors.iter().map(|v| v.to_bits()).eq(found.iter().map(|v| v.to_bits())) {
                return Ok((json_of_f32(factor)?, low, high, original));
            }
        }
    }
    Err(unknown())
}

/// Numbers of an f32 tensor, as a list of JSON numbers.
pub(in crate::arch) fn list_of(gguf: &Gguf, name: &str) -> Result<Option<Json>> {
    let Some(tensor) = gguf.tensor(name) else { return Ok(None) };
    if tensor.len() > 1 << 16 || !tensor.dtype().is_float() {
        return Err(Error::malformed("is no short list of numbers").item(name));
    }
    tensor
        .to_f32()?
        .into_iter()
        .map(json_of_f32)
        .collect::<Result<Vec<_>>>()
        .map(|l| Some(l.into()))
}
