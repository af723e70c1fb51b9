//! Decodes what a target says of a graph: `optimization` and `shapes`.

use std::collections::BTreeMap;
use std::fmt;

use super::reader::{Reader, Value};
use super::text::quoted;
use super::types::{LayerFusion, Optimization, RuntimeLevel};
use crate::error::Result;

/// The length of an axis.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Axis {
    /// It stays free, or becomes free.
    Dynamic,
    /// It is fixed, at least 1.
    Fixed(u64),
    /// It stays or becomes free, and is called this.
    Named(String),
    /// It stays or becomes free, and is from the first to the second length, both included.
    Range(u64, u64),
}

impl fmt::Display for Axis {
    /// `dynamic`, the number, `name:…`, or `1..=8`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dynamic => f.write_str("dynamic"),
            Self::Fixed(length) => length.fmt(f),
            Self::Named(name) => write!(f, "name:{name}"),
            Self::Range(least, most) => write!(f, "{least}..={most}"),
        }
    }
}

/// `None` where nothing is to be optimized.
pub(super) fn optimization(value: &Value<'_>) -> Result<Option<Optimization>> {
    if !value.is_table() {
        return Ok(value.boolean()?.then(Optimization::default));
    }
    let table = Reader::open(value, Optimization::KEYS, "in this table", |_| None)?;
    let defaults = Optimization::default();
    Ok(Some(Optimization {
        graph_optimization: table
            .read("graph-optimization", Value::boolean)?
            .unwrap_or(defaults.graph_optimization),
        layer_fusion: table.read("layer-fusion", layer_fusion)?.unwrap_or(defaults.layer_fusion),
        memory_optimization: table
            .read("memory-optimization", Value::boolean)?
            .unwrap_or(defaults.memory_optimization),
        onnxruntime: table.read("onnxruntime", |v| v.word(RuntimeLevel::WORDS))?,
    }))
}

fn layer_fusion(value: &Value<'_>) -> Result<Option<LayerFusion>> {
    if value.is_text() {
        return value.word(LayerFusion::WORDS).map(Some);
    }
    Ok(value.boolean()?.then_some(LayerFusion::Standard))
}

pub(super) fn shapes(value: &Value<'_>) -> Result<BTreeMap<String, Axis>> {
    let mut shapes = BTreeMap::new();
    for entry in value.entries("in these shapes")? {
        let plain = |c: char| c.is_alphanumeric() || c == '-' || c == '_';
        let is_plain = entry.key.len() <= 40 && entry.key.chars().all(plain);
        let shown = if is_plain { entry.key } else { "AXIS" };
        if entry.key.trim().is_empty() {
            let error = entry.text.wrong(&entry.key_spot, "an axis has no name", "empty");
            return Err(error.hint("name an axis of the graph: `shapes = { sequence = 128 }`"));
        }
        let by_place = entry.key.ends_with(']');
        let axis = if entry.is_table() {
            range(&entry)?
        } else if entry.is_text() {
            match entry.text()? {
                "dynamic" => Axis::Dynamic,
                name if by_place && is_axis_name(name) => Axis::Named(name.to_owned()),
                word => {
                    let message =
                        format!("{} is neither a length nor \"dynamic\"", quoted(entry.key));
                    let error = entry.wrong(&message, "unknown word");
                    return Err(match word.parse::<u64>() {
                        Ok(n) => error.hint(format!("leave out the quotes: `{shown} = {n}`")),
                        Err(_) => error.hint(format!(
                            "write `{shown} = \"dynamic\"`, `{shown} = 128` or `{shown} = {{ min = 1, max = 128 }}`"
                        )),
                    });
                }
            }
        } else {
            let length = entry.integer(1..=i64::MAX)?;
            Axis::Fixed(length.unsigned_abs())
        };
        shapes.insert(entry.key.to_owned(), axis);
    }
    Ok(shapes)
}

/// A name that shapes can be computed with: letters, digits, `_` and `-`, a letter first.
fn is_axis_name(name: &str) -> bool {
    let mut chars = name.chars();
    chars.next().is_some_and(|c| c.is_alphabetic() || c == '_')
        && chars.all(|c| c.is_alphanumeric() || c == '_' || c == '-')
}

/// `{ min = 1, max = 512 }`.
fn range(entry: &Value<'_>) -> Result<Axis> {
    let (mut least, mut most) = (1, None);
    for bound in entry.entries("in this range")? {
        let length = bound.integer(1..=i64::MAX)?.unsigned_abs();
        match bound.key {
            "min" => least = length,
            "max" => most = Some(length),
            _ => {
                let error = bound.text.wrong(&bound.key_spot, "a range has no such key", "unknown");
                return Err(error.hint("give `min`, which is 1 if left out, and `max`"));
            }
        }
    }
    match most {
        Some(most) if most >= least => Ok(Axis::Range(least, most)),
        Some(_) => Err(entry.wrong("a range whose `max` is below its `min`", "no length fits")),
        None => Err(entry
            .wrong("a range without `max`", "`max` is missing")
            .hint("an axis that may be of any length is \"dynamic\"")),
    }
}
