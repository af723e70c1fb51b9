//! What each version of each standard operator takes: counts of inputs and outputs, attributes with
//! their defaults, element types. Facts of the `onnx` package's schemas, from version 7 on.

mod a_l;
mod m_z;

use crate::hub::{AttrValue, DType, Type};

/// The number of a variadic operator's inputs or outputs.
const MANY: u8 = u8::MAX;

/// A standard operator.
pub(super) struct Op {
    name: &'static str,
    /// The version that opset 7 has, if any, and all later ones, ascending.
    versions: &'static [Version],
}

/// One definition of an operator.
pub(super) struct Version {
    /// The first operator set that has it.
    pub(super) since: i64,
    /// The least number of inputs.
    pub(super) least: u8,
    most: u8,
    outputs: u8,
    /// `name`, `name!` (required) or `name=default`, separated by spaces.
    attrs: &'static str,
    inputs: &'static [u32],
    results: &'static [u32],
    /// Whether the operator is there only to be read.
    pub(super) gone: bool,
}

/// A row of the table; the last type set of inputs and of outputs holds for all that follow.
const fn v(
    since: i64,
    least: u8,
    most: u8,
    outputs: u8,
    attrs: &'static str,
    inputs: &'static [u32],
    results: &'static [u32],
) -> Version {
    Version { since, least, most, outputs, attrs, inputs, results, gone: false }
}

impl Version {
    const fn deprecated(mut self) -> Self {
        self.gone = true;
        self
    }
    /// Whether so many inputs are too many.
    pub(super) fn is_over_inputs(&self, count: usize) -> bool {
        self.most != MANY && count > usize::from(self.most)
    }
    /// Whether so many outputs are too many.
    pub(super) fn is_over_outputs(&self, count: usize) -> bool {
        self.outputs != MANY && count > usize::from(self.outputs)
    }
    /// Whether there is an attribute of that name.
    pub(super) fn has_attr(&self, name: &str) -> bool {
        self.attr(name).is_some()
    }
    fn attr(&self, name: &str) -> Option<&'static str> {
        self.attrs.split(' ').find_map(|a| {
            a.strip_prefix(name).filter(|rest| rest.is_empty() || rest.starts_with(['=', '!']))
        })
    }
    /// The names of the attributes that must be given.
    pub(super) fn required(&self) -> impl Iterator<Item = &'static str> {
        self.attrs.split(' ').filter_map(|a| a.strip_suffix('!'))
    }
    /// Whether a value is what the attribute has when it is left out.
    pub(super) fn is_default(&self, name: &str, value: &AttrValue) -> bool {
        let Some(text) = self.attr(name).and_then(|a| a.strip_prefix('=')) else {
            // Dilations of one are none, and are no default only as their number is that of the axes.
            return name == "dilations"
                && value.as_ints().is_some_and(|v| v.iter().all(|d| *d == 1));
        };
        match value {
            AttrValue::Int(i) => text.parse() == Ok(*i),
            #[allow(clippy::float_cmp, clippy::cast_possible_truncation)] // the very value
            AttrValue::Float(f) => text.parse::<f64>().is_ok_and(|d| d as f32 == *f),
            AttrValue::String(s) => text.as_bytes() == s.as_ref(),
            _ => false,
        }
    }
    /// Whether input `i` may be of a type.
    pub(super) fn takes(&self, i: usize, ty: &Type) -> bool {
        allows(self.inputs, i, ty)
    }
    /// Whether output `i` may be of a type.
    pub(super) fn gives(&self, i: usize, ty: &Type) -> bool {
        allows(self.results, i, ty)
    }
}

fn allows(sets: &[u32], i: usize, ty: &Type) -> bool {
    let Some(set) = sets.get(i).or(sets.last()) else { return true };
    let bit = match ty {
        Type::Tensor { dtype, .. } => number(*dtype),
        _ => 0,
    };
    set & (1 << bit) != 0
}

fn number(dtype: DType) -> u32 {
    u32::try_from(dtype.number()).unwrap_or(0).min(31)
}

fn find(name: &str) -> Option<&'static Op> {
    let list = if name < "M" { a_l::OPS } else { m_z::OPS };
    let at = list.binary_search_by(|op| op.name.cmp(name)).ok()?;
    list.get(at)
}

/// Whether `version` of the operator set defines the operator anew, or for the first time.
pub(super) fn changes(name: &str, version: i64) -> bool {
    find(name).is_some_and(|op| op.versions.iter().any(|v| v.since == version))
}

/// The first operator set that has the operator; 7 for those that 7 has.
pub(super) fn first(name: &str) -> Option<i64> {
    find(name)?.versions.first().map(|v| v.since)
}

/// The definition that an operator set has of the operator.
pub(super) fn at(name: &str, opset: i64) -> Option<&'static Version> {
    find(name)?.versions.iter().rev().find(|v| v.since <= opset)
}
