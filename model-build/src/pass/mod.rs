//! Passes: graph → graph. One rewrite per file; this list is the only order there is.

use crate::error::Result;
use crate::hub::Graph;

/// Every pass.
pub static ALL: &[&PassDef] = &[];

/// A change of a whole graph.
pub struct PassDef {
    /// The name in records and messages.
    pub name: &'static str,
    /// One line for documentation.
    pub about: &'static str,
    /// Bumped when its result changes.
    pub revision: u32,
    /// Changes the graph; `params` are what the manifest says, in canonical form.
    pub run: fn(&mut Graph, &Params) -> Result<()>,
}

/// A pass's parameters: part of the cache key, so ordered and free of floating text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Params(pub std::collections::BTreeMap<&'static str, String>);

impl Params {
    /// The value of a parameter.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}
