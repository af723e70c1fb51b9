//! Passes: graph → graph. One rewrite per file; this list is the only order there is.

mod dynamic_int8;
mod fix_shapes;
mod free_axes;
mod half;
mod observed;
mod read;

pub use dynamic_int8::DYNAMIC_INT8;
pub use fix_shapes::{FIX_SHAPES, bounds};
pub use half::HALF;
pub use observed::{Observed, Range};

use std::collections::BTreeMap;

use crate::error::Result;
use crate::hub::Graph;

/// Every pass.
pub static ALL: &[&PassDef] = &[&FIX_SHAPES, &DYNAMIC_INT8, &HALF];

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
    /// The value of a parameter.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}
