//! Nodes that a pass leaves alone, named by patterns.

use regex_lite::{Regex, RegexBuilder};

use super::Params;
use crate::error::{Error, Result};
use crate::hub::{Body, Graph, Node};

/// The parameter of passes that holds the patterns, one per line.
pub const EXCLUDE: &str = "exclude";

/// Patterns of nodes that stay as they are.
///
/// A pattern is a regular expression in any case. It means a node when it is found anywhere in the
/// node's name (the name of its first output, where it has none of its own) or when it matches the
/// whole name of its operator: `Softmax`, `layer\.[01]\.`.
#[derive(Clone, Debug, Default)]
pub struct Exclude {
    patterns: Vec<Pattern>,
}

#[derive(Clone, Debug)]
struct Pattern {
    text: String,
    name: Regex,
    op: Regex,
}

impl Exclude {
    /// From patterns.
    ///
    /// # Errors
    /// A pattern that is no regular expression of ours.
    pub fn new<S: AsRef<str>>(patterns: impl IntoIterator<Item = S>) -> Result<Self> {
        let patterns: Result<_> = patterns.into_iter().map(|p| pattern(p.as_ref())).collect();
        Ok(Self { patterns: patterns? })
    }

    /// From a pass's parameter [`EXCLUDE`]; nothing is excluded where there is none.
    ///
    /// # Errors
    /// As [`Exclude::new`].
    pub fn of(params: &Params) -> Result<Self> {
        Self::new(params.get(EXCLUDE).into_iter().flat_map(str::lines))
    }

    /// The value of the parameter [`EXCLUDE`]; `None` where there are no patterns.
    pub fn param<S: AsRef<str>>(patterns: &[S]) -> Option<String> {
        let lines: Vec<&str> = patterns.iter().map(AsRef::as_ref).collect();
        (!lines.is_empty()).then(|| lines.join("\n"))
    }

    /// Whether a node of `body` stays as it is.
    pub fn has(&self, body: &Body, node: &Node) -> bool {
        self.patterns.iter().any(|p| p.means(body, node))
    }

    /// Refuses a pattern that means no node of the graph, subgraphs included: it is misspelt, or for
    /// another model.
    ///
    /// # Errors
    /// The first such pattern.
    pub fn check(&self, graph: &Graph) -> Result<()> {
        self.check_as(graph, EXCLUDE)
    }

    /// [`check`](Self::check) of patterns that stand in another key.
    pub(super) fn check_as(&self, graph: &Graph, key: &str) -> Result<()> {
        match self.patterns.iter().find(|p| !p.found(&graph.body)) {
            None => Ok(()),
            Some(p) => Err(Error::manifest(format!(
                "`{key}` names `{}`, and no node or operator of the graph matches it",
                p.text
            ))
            .hint("`model-build inspect` shows the graph's operators; remove the pattern or correct it")),
        }
    }
}

fn pattern(text: &str) -> Result<Pattern> {
    let compile = |regex: &str| {
        RegexBuilder::new(regex).case_insensitive(true).build().map_err(|e| {
            Error::manifest(format!("`{text}` is no regular expression: {e}"))
                .hint("look-around and back-references are not supported; give several patterns")
        })
    };
    // The text alone first: `a)(b` is a pattern only inside of the parentheses.
    let name = compile(text)?;
    Ok(Pattern { text: text.to_owned(), name, op: compile(&format!("^(?:{text})$"))? })
}

impl Pattern {
    fn means(&self, body: &Body, node: &Node) -> bool {
        let name = match node.name.as_str() {
            "" => node.outputs.iter().flatten().next().map(|id| body.value(*id).name.as_str()),
            name => Some(name),
        };
        self.op.is_match(&node.op) || name.is_some_and(|name| self.name.is_match(name))
    }

    fn found(&self, body: &Body) -> bool {
        body.nodes().any(|(_, node)| {
            self.means(body, node) || node.subgraphs().any(|inner| self.found(inner))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph() -> Graph {
        let mut g = Graph::new("g", 8, 17);
        let x = g.body.intern("x").unwrap();
        g.body.add_input(x);
        let mut e = g.edit();
        let a = e.op("MatMul", "encoder.0.query", &[x, x], &[]).unwrap();
        let b = e.op("Mul", "encoder.0.scale", &[a, a], &[]).unwrap();
        e.finish().unwrap();
        let _ = b;
        let b = g.body.find("encoder.0.scale").unwrap();
        g.body.add_output(b);
        g
    }

    fn excluded(patterns: &[&str]) -> Vec<String> {
        let g = graph();
        let exclude = Exclude::new(patterns).unwrap();
        let found = g.body.nodes().filter(|(_, n)| exclude.has(&g.body, n));
        found.map(|(_, n)| n.op.clone()).collect()
    }

    #[test]
    fn a_pattern_is_found_in_names_and_matches_whole_operators_in_any_case() {
        assert_eq!(excluded(&["QUERY"]), ["MatMul"]);
        assert_eq!(excluded(&["^encoder\\.0\\."]), ["MatMul", "Mul"]);
        assert_eq!(excluded(&["mul"]), ["Mul"], "not the MatMul");
        assert_eq!(excluded(&["mul|matmul"]), ["MatMul", "Mul"]);
        assert!(excluded(&["add", "ul"]).is_empty());
        assert!(excluded(&[]).is_empty());
    }

    #[test]
    fn a_node_without_a_name_goes_by_its_first_output() {
        let mut g = graph();
        let mut e = g.edit();
        let id = e.body().nodes().next().unwrap().0;
        let mut node = e.body().node(id).unwrap().clone();
        node.name.clear();
        e.replace(id, node);
        e.finish().unwrap();
        let exclude = Exclude::new(["query"]).unwrap();
        assert!(exclude.has(&g.body, g.body.nodes().next().unwrap().1));
    }

    #[test]
    fn patterns_go_through_a_parameter() {
        assert_eq!(Exclude::param::<&str>(&[]), None);
        let text = Exclude::param(&["a", "b"]).unwrap();
        let exclude = Exclude::of(&Params::new([(EXCLUDE, &text)])).unwrap();
        assert_eq!(exclude.patterns.len(), 2);
        assert!(Exclude::of(&Params::default()).unwrap().patterns.is_empty());
    }

    #[test]
    fn what_is_no_pattern_and_what_matches_nothing_is_named() {
        for bad in ["(a", "a)(b", "(?=a)"] {
            let error = Exclude::new([bad]).unwrap_err().to_string();
            assert!(error.contains(bad), "{error}");
        }
        let error = Exclude::new(["query", "key"]).unwrap().check(&graph()).unwrap_err();
        assert!(error.to_string().contains("`key`"), "{error}");
        Exclude::new(["query"]).unwrap().check(&graph()).unwrap();
    }
}
