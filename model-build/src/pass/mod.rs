//! Passes: graph → graph. One rewrite per file; this list is the only order there is.

mod affine;
mod dynamic_int8;
mod eval;
mod exclude;
mod fix_shapes;
mod free_axes;
mod fuse;
mod half;
pub mod lifetime;
mod observed;
pub mod opset;
mod optimize;
mod overrides;
mod pipeline;
mod read;
mod slim;
mod static_int8;
#[cfg(test)]
mod testing;
mod unnamed_axes;
mod weight_only;

pub use dynamic_int8::DYNAMIC_INT8;
pub use exclude::{EXCLUDE, Exclude};
pub use fix_shapes::{FIX_SHAPES, bounds};
pub use half::HALF;
pub use observed::{Moments, Observed, Range};
pub use optimize::OPTIMIZE;
pub use overrides::{OVERRIDES, overrides_param};
pub use static_int8::{STATIC_INT8, wanted as wanted_for_static};
pub use weight_only::{WEIGHT_ONLY, wanted};

use std::collections::BTreeMap;

use crate::error::Result;
use crate::hub::Graph;

/// Every pass.
pub static ALL: &[&PassDef] =
    &[&FIX_SHAPES, &OPTIMIZE, &DYNAMIC_INT8, &STATIC_INT8, &WEIGHT_ONLY, &HALF];

/// A change of a whole graph.
pub struct PassDef {
    /// The name in records and messages.
    pub name: &'static str,
    /// One line for documentation.
    pub about: &'static str,
    /// Bumped when its result changes.
    pub revision: u32,
    /// Changes the graph; the parameters are what the manifest says, in canonical form.
    pub run: fn(&mut Graph, &Params, &Observed) -> Result<()>,
}

impl std::fmt::Debug for PassDef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// A pass's parameters: part of the cache key, so ordered and free of floating text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Params(pub BTreeMap<String, String>);

impl Params {
    /// Parameters from names and values.
    pub fn new<const N: usize>(params: [(&str, &str); N]) -> Self {
        Self(params.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect())
    }
    /// Adds a parameter where it has a value.
    pub fn set(&mut self, name: &str, value: Option<String>) {
        self.0.extend(value.map(|value| (name.to_owned(), value)));
    }
    /// The value of a parameter.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}
