//! Nodes that a pass treats in another way than the others, named by patterns.

use super::{Exclude, Params};
use crate::error::{Error, Result};
use crate::hub::{Body, Graph, Node};

/// The parameter of passes that holds the overrides, one per line: what the nodes get, a space, the
/// pattern.
pub const OVERRIDES: &str = "overrides";

/// The value of the parameter [`OVERRIDES`] of what nodes get and their patterns; `None` where there
/// are none.
pub fn overrides_param<'a>(
    overrides: impl IntoIterator<Item = (&'a str, &'a String)>,
) -> Option<String> {
    let lines: Vec<String> =
        overrides.into_iter().map(|(to, pattern)| format!("{to} {pattern}")).collect();
    (!lines.is_empty()).then(|| lines.join("\n"))
}

/// Patterns of nodes (see [`Exclude`]) with what the nodes get.
#[derive(Clone, Debug, Default)]
pub(super) struct Overrides(Vec<(Exclude, String)>);

impl Overrides {
    /// From a pass's parameter; empty where there is none.
    ///
    /// # Errors
    /// A pattern that is no regular expression of ours.
    pub(super) fn of(params: &Params) -> Result<Self> {
        let lines = params.get(OVERRIDES).into_iter().flat_map(str::lines);
        let one = |line: &str| {
            let (to, pattern) =
                line.split_once(' ').ok_or_else(|| Error::bug("an override without a pattern"))?;
            Ok((Exclude::new([pattern])?, to.to_owned()))
        };
        Ok(Self(lines.map(one).collect::<Result<_>>()?))
    }

    /// What a node gets: by the first pattern that means it.
    pub(super) fn to(&self, body: &Body, node: &Node) -> Option<&str> {
        self.0.iter().find(|(pattern, _)| pattern.has(body, node)).map(|(_, to)| to.as_str())
    }

    /// Refuses a pattern that means no node of the graph.
    pub(super) fn check(&self, graph: &Graph) -> Result<()> {
        self.0.iter().try_for_each(|(pattern, _)| pattern.check_as(graph, OVERRIDES))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::Graph;

    #[test]
    fn the_first_pattern_that_means_a_node_decides() {
        let mut g = Graph::new("g", 8, 17);
        let x = g.body.intern("x").unwrap();
        g.body.add_input(x);
        let mut e = g.edit();
        e.op("MatMul", "layer.0.query", &[x, x], &[]).unwrap();
        e.finish().unwrap();
        let text = [("int8", "layer\\.0".to_owned()), ("fp32", "query".to_owned())];
        let text = overrides_param(text.iter().map(|(to, p)| (*to, p))).unwrap();
        let overrides = Overrides::of(&Params::new([(OVERRIDES, &text)])).unwrap();
        let node = g.body.nodes().next().unwrap().1;
        assert_eq!(overrides.to(&g.body, node), Some("int8"));
        overrides.check(&g).unwrap();
        let none = Overrides::of(&Params::new([(OVERRIDES, "fp32 head")])).unwrap();
        assert_eq!(none.to(&g.body, node), None);
        let error = none.check(&g).unwrap_err().to_string();
        assert!(error.contains("`overrides` names `head`"), "{error}");
        assert!(Overrides::of(&Params::default()).unwrap().0.is_empty());
    }
}
