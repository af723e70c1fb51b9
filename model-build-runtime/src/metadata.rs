//! What a program knows of an artifact at compile time.

use crate::tensor::DType;

/// What is known of an artifact at compile time: where it comes from and what goes in and out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// The model's name in the manifest.
    pub model: &'static str,
    /// The target's name in the manifest.
    pub target: &'static str,
    /// The file format, as `onnx`.
    pub format: &'static str,
    /// BLAKE3 of the main file, hex.
    pub digest: &'static str,
    /// Length of the main file in bytes.
    pub len: u64,
    /// Number of weights.
    pub parameters: u64,
    /// Inputs, in the model's order.
    pub inputs: &'static [Port],
    /// Outputs, in the model's order.
    pub outputs: &'static [Port],
    /// Further facts by name, sorted: source digest, recipe, tool version, architecture …
    pub facts: &'static [(&'static str, &'static str)],
}

impl Metadata {
    /// A fact by its name.
    pub fn fact(&self, name: &str) -> Option<&'static str> {
        self.facts.iter().find(|(n, _)| *n == name).map(|(_, value)| *value)
    }
    /// The least and the greatest length of a named axis, where the manifest sets them.
    pub fn bounds(&self, axis: &str) -> Option<(usize, usize)> {
        let mut facts = self.facts.iter();
        let (_, range) = facts.find(|(key, _)| key.strip_prefix("axis.") == Some(axis))?;
        let (least, most) = range.split_once("..=")?;
        Some((least.parse().ok()?, most.parse().ok()?))
    }
}

/// An input or output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Port {
    /// Its name in the model.
    pub name: &'static str,
    /// Its element type.
    pub dtype: DType,
    /// Its axes, outermost first; empty for a scalar and where the model does not say.
    pub dims: &'static [Dim],
}

impl Port {
    /// The shape as text: `[batch, 1, 8, 8]`.
    pub fn shape(&self) -> String {
        let dims: Vec<String> = self.dims.iter().map(Dim::to_string).collect();
        format!("[{}]", dims.join(", "))
    }
}

/// The length of an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dim {
    /// Always this.
    Fixed(usize),
    /// Any length, the same wherever the name stands.
    Named(&'static str),
    /// Any length.
    Any,
}

impl std::fmt::Display for Dim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Fixed(n) => write!(f, "{n}"),
            Self::Named(name) => f.write_str(name),
            Self::Any => f.write_str("?"),
        }
    }
}
