//! Matches the tree of nodes that computes a value: operators, constants by value, captures.
//!
//! ```text
//! any("x") * (erf(product([any("x")], 1/√2)) + 1)
//! ```
//!
//! is written `mul(any("x"), add(op("Erf", [product([any("x")], SQRT_1_2)]), number(1.0)))`. A match
//! looks at one body only: what a subgraph captures counts as used elsewhere, and a captured value
//! has no producer.

use std::collections::BTreeMap;

use super::super::pipeline::Cx;
use crate::error::{Error, Result};
use crate::hub::{DType, Edit, Node, NodeId, Use, ValueId};

/// Constants are the same number when they differ by no more than this, relative to the number.
const TOLERANCE: f64 = 1e-6;
/// Products with more factors are no formula that is looked for.
const MOST_FACTORS: usize = 8;
/// A match with more nodes than this is given up.
const MOST_NODES: usize = 64;

/// A condition on a node beyond its operator and inputs.
pub(super) type Check = fn(&Edit<'_>, &Cx<'_>, &Node) -> bool;

/// What a value must be computed by.
#[derive(Clone)]
pub(super) enum Pattern {
    /// Any value; the same name stands for the same value everywhere.
    Any(&'static str),
    /// A floating-point constant of one element with this value.
    Number(f64),
    /// A floating-point constant of one element, whatever its value.
    AnyNumber(&'static str),
    /// The first output of a node of the standard domain.
    Node(Box<NodePattern>),
    /// The product of factors in any order and grouping, with these numbers among them.
    Product(Vec<Pattern>, f64),
    /// The first of these that matches.
    OneOf(Vec<Pattern>),
    /// A value with a name of its own.
    Named(&'static str, Box<Pattern>),
}

/// A node of a pattern.
#[derive(Clone)]
pub(super) struct NodePattern {
    op: &'static str,
    /// The first inputs; the node may have more, which only `check` sees.
    inputs: Vec<Pattern>,
    check: Option<Check>,
}

/// Any value, under a name.
pub(super) fn any(name: &'static str) -> Pattern {
    Pattern::Any(name)
}

/// A constant of that value.
pub(super) fn number(value: f64) -> Pattern {
    Pattern::Number(value)
}

/// A node of an operator. The inputs of commutative operators match in both orders.
pub(super) fn op<const N: usize>(op: &'static str, inputs: [Pattern; N]) -> Pattern {
    Pattern::Node(Box::new(NodePattern { op, inputs: inputs.into(), check: None }))
}

/// A node of an operator that meets a condition.
pub(super) fn op_if<const N: usize>(
    op: &'static str,
    inputs: [Pattern; N],
    check: Check,
) -> Pattern {
    Pattern::Node(Box::new(NodePattern { op, inputs: inputs.into(), check: Some(check) }))
}

/// A sum.
pub(super) fn add(a: Pattern, b: Pattern) -> Pattern {
    op("Add", [a, b])
}

/// A product of values and a number in any grouping; quotients by a number count as products.
pub(super) fn product<const N: usize>(factors: [Pattern; N], value: f64) -> Pattern {
    Pattern::Product(factors.into(), value)
}

/// One of several patterns, tried in order.
pub(super) fn one_of<const N: usize>(patterns: [Pattern; N]) -> Pattern {
    Pattern::OneOf(patterns.into())
}

/// `x²`, as a power or a product.
pub(super) fn square(x: &Pattern) -> Pattern {
    one_of([op("Pow", [x.clone(), number(2.0)]), op("Mul", [x.clone(), x.clone()])])
}

/// `x / √y`, in the ways in which exporters write it.
pub(super) fn over_root(x: &Pattern, y: &Pattern) -> Pattern {
    let root = op("Sqrt", [y.clone()]);
    one_of([
        op("Div", [x.clone(), root.clone()]),
        op("Mul", [x.clone(), op("Reciprocal", [root.clone()])]),
        op("Mul", [x.clone(), op("Div", [number(1.0), root])]),
        op("Mul", [x.clone(), op("Pow", [y.clone(), number(-0.5)])]),
    ])
}

/// What a pattern matched.
#[derive(Clone, Default)]
pub(super) struct Found {
    values: BTreeMap<&'static str, ValueId>,
    /// The matched nodes, the root first.
    nodes: Vec<NodeId>,
}

impl Found {
    /// The value of that name.
    pub(super) fn value(&self, name: &str) -> Result<ValueId> {
        self.values
            .get(name)
            .copied()
            .ok_or_else(|| Error::bug("a pattern without that capture").item(name))
    }

    /// Whether all but the root is used by the matched nodes only, so that nothing is left of them
    /// when the root is computed in another way.
    fn is_closed(&self, edit: &Edit<'_>) -> bool {
        let outputs = |id: &NodeId| {
            edit.body().node(*id).into_iter().flat_map(|n| n.outputs.iter().flatten().copied())
        };
        self.nodes.iter().skip(1).flat_map(outputs).all(|value| {
            edit.uses(value)
                .iter()
                .all(|u| matches!(u, Use::Input(node, _) if self.nodes.contains(node)))
        })
    }
}

/// Matches the tree that ends in the node `root`. Nodes below it must be used for nothing else.
pub(super) fn find(edit: &Edit<'_>, cx: &Cx<'_>, root: NodeId, pattern: &Pattern) -> Option<Found> {
    let output = edit.body().node(root)?.output(0)?;
    let found = Matcher { edit, cx }.value(pattern, output, Found::default(), true)?;
    found.is_closed(edit).then_some(found)
}

struct Matcher<'m, 'e, 'c> {
    edit: &'m Edit<'e>,
    cx: &'m Cx<'c>,
}

impl Matcher<'_, '_, '_> {
    fn value(
        &self,
        pattern: &Pattern,
        value: ValueId,
        mut found: Found,
        is_root: bool,
    ) -> Option<Found> {
        if found.nodes.len() > MOST_NODES {
            return None;
        }
        match pattern {
            Pattern::Any(name) => capture(found, name, value),
            Pattern::Number(want) => is_number(self.edit, self.cx, value, *want).then_some(found),
            Pattern::AnyNumber(name) => {
                self.cx.scalar(self.edit, value)?;
                capture(found, name, value)
            }
            Pattern::Named(name, inner) => {
                let found = self.value(inner, value, found, is_root)?;
                capture(found, name, value)
            }
            Pattern::OneOf(patterns) => {
                patterns.iter().find_map(|p| self.value(p, value, found.clone(), is_root))
            }
            Pattern::Node(wanted) => {
                let id = self.edit.producer(value)?;
                let node = self.edit.body().node(id).filter(|n| n.is(wanted.op))?;
                if node.output(0) != Some(value)
                    || wanted.check.is_some_and(|c| !c(self.edit, self.cx, node))
                {
                    return None;
                }
                found.nodes.push(id);
                self.inputs(wanted, node, found)
            }
            Pattern::Product(factors, want) => {
                let mut parts = Factors { number: 1.0, values: Vec::new(), nodes: Vec::new() };
                self.factors(value, is_root, &mut parts)?;
                // No node at all: the value itself is the one factor.
                if parts.values.len() != factors.len() || !same_number(parts.number, *want) {
                    return None;
                }
                found.nodes.extend(&parts.nodes);
                self.in_any_order(factors, &parts.values, found)
            }
        }
    }

    fn inputs(&self, wanted: &NodePattern, node: &Node, found: Found) -> Option<Found> {
        let given: Option<Vec<ValueId>> = (0..wanted.inputs.len()).map(|i| node.input(i)).collect();
        let given = given?;
        let commutes = matches!(wanted.op, "Add" | "Mul" | "And" | "Or") && given.len() == 2;
        if commutes {
            return self.in_any_order(&wanted.inputs, &given, found);
        }
        wanted
            .inputs
            .iter()
            .zip(given)
            .try_fold(found, |found, (p, v)| self.value(p, v, found, false))
    }

    /// Matches every pattern with another of the values.
    fn in_any_order(
        &self,
        patterns: &[Pattern],
        values: &[ValueId],
        found: Found,
    ) -> Option<Found> {
        let Some((first, rest)) = patterns.split_first() else { return Some(found) };
        values.iter().enumerate().find_map(|(i, value)| {
            let found = self.value(first, *value, found.clone(), false)?;
            let mut others = values.to_vec();
            others.remove(i);
            self.in_any_order(rest, &others, found)
        })
    }

    /// Takes a product apart. Only the root and what is used once is taken apart: a factor that is
    /// used elsewhere is a value of its own.
    fn factors(&self, value: ValueId, is_root: bool, out: &mut Factors) -> Option<()> {
        if let Some(number) = self.cx.scalar(self.edit, value) {
            out.number *= f64::from(number);
            return Some(());
        }
        let apart = || {
            if !is_root && self.edit.uses(value).len() != 1 {
                return None;
            }
            let id = self.edit.producer(value)?;
            let node = self.edit.body().node(id)?;
            let (a, b) = (node.input(0)?, node.input(1)?);
            match node.op.as_str() {
                "Mul" if node.is("Mul") => Some((id, a, Ok(b))),
                "Div" if node.is("Div") => {
                    let by = f64::from(self.cx.scalar(self.edit, b)?);
                    (by != 0.0).then_some((id, a, Err(by)))
                }
                _ => None,
            }
        };
        let Some((id, a, b)) = apart() else {
            out.values.push(value);
            return (out.values.len() <= MOST_FACTORS).then_some(());
        };
        out.nodes.push(id);
        if out.nodes.len() > MOST_FACTORS {
            return None;
        }
        self.factors(a, false, out)?;
        match b {
            Ok(b) => self.factors(b, false, out),
            Err(by) => {
                out.number /= by;
                Some(())
            }
        }
    }
}

struct Factors {
    number: f64,
    values: Vec<ValueId>,
    nodes: Vec<NodeId>,
}

fn capture(mut found: Found, name: &'static str, value: ValueId) -> Option<Found> {
    match found.values.insert(name, value) {
        Some(before) if before != value => None,
        _ => Some(found),
    }
}

fn same_number(a: f64, b: f64) -> bool {
    (a - b).abs() <= TOLERANCE * b.abs()
}

/// Whether a value is a constant of one element that is `want`, or what the constant's type rounds
/// `want` to.
pub(super) fn is_number(edit: &Edit<'_>, cx: &Cx<'_>, value: ValueId, want: f64) -> bool {
    let Some(tensor) = cx.constant(edit, value) else { return false };
    let Some(found) = cx.scalar(edit, value) else { return false };
    let rounded = match tensor.dtype() {
        DType::F16 => half::f16::from_f64(want).to_f64(),
        DType::BF16 => half::bf16::from_f64(want).to_f64(),
        _ => want,
    };
    same_number(f64::from(found), rounded)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashMap};

    use super::super::super::pipeline::Options;
    use super::*;
    use crate::hub::{AttrValue, Body, Graph, Tensor, Type};
    use crate::op::Facts;

    fn graph() -> (Graph, ValueId) {
        let mut g = Graph::new("g", 8, 17);
        let x = g.body.intern("x").unwrap();
        g.body.value_mut(x).ty = Some(Type::tensor(DType::F32, []));
        g.body.add_input(x);
        (g, x)
    }

    fn scalar(e: &mut Edit<'_>, v: f32) -> ValueId {
        e.constant("c", Tensor::from_f32(Vec::new(), &[v]).unwrap()).unwrap()
    }

    fn matches(e: &Edit<'_>, value: ValueId, pattern: &Pattern) -> Option<Found> {
        let (opsets, facts, outer) = (BTreeMap::new(), Facts::new(), HashMap::new());
        let cx = Cx {
            opsets: &opsets,
            ir_version: 8,
            facts: &facts,
            outer: &outer,
            nested: false,
            options: Options::default(),
        };
        find(e, &cx, e.producer(value).unwrap(), pattern)
    }

    #[test]
    fn commutative_inputs_match_in_both_orders_and_others_in_one() {
        let (mut g, x) = graph();
        let mut e = g.edit();
        let one = scalar(&mut e, 1.0);
        let sum = e.op("Add", "sum", &[one, x], &[]).unwrap();
        let difference = e.op("Sub", "difference", &[one, x], &[]).unwrap();
        let sum_of = add(any("x"), number(1.0));
        assert_eq!(matches(&e, sum, &sum_of).unwrap().value("x").unwrap(), x);
        assert!(matches(&e, difference, &op("Sub", [any("x"), number(1.0)])).is_none());
        assert!(matches(&e, difference, &op("Sub", [number(1.0), any("x")])).is_some());
    }

    #[test]
    fn a_number_matches_within_a_millionth_of_it() {
        let (mut g, x) = graph();
        let mut e = g.edit();
        for (value, want) in [(2.0, true), (2.000_001, true), (2.000_01, false)] {
            let c = scalar(&mut e, value);
            let y = e.op("Div", "y", &[x, c], &[]).unwrap();
            let pattern = op("Div", [any("x"), number(2.0)]);
            assert_eq!(matches(&e, y, &pattern).is_some(), want, "{value}");
        }
    }

    #[test]
    fn a_product_matches_in_any_grouping_with_its_numbers_multiplied() {
        let (mut g, x) = graph();
        let mut e = g.edit();
        let (two, four) = (scalar(&mut e, 2.0), scalar(&mut e, 4.0));
        let t = e.op("Tanh", "t", &[x], &[]).unwrap();
        let a = e.op("Mul", "a", &[two, t], &[]).unwrap();
        let b = e.op("Mul", "b", &[x, a], &[]).unwrap();
        let c = e.op("Div", "c", &[b, four], &[]).unwrap();
        let pattern = product([any("x"), op("Tanh", [any("x")])], 0.5);
        assert!(matches(&e, c, &pattern).is_some());
        assert!(matches(&e, c, &product([any("x"), op("Erf", [any("x")])], 0.5)).is_none());
    }

    #[test]
    fn a_name_that_stands_twice_stands_for_one_value() {
        let (mut g, x) = graph();
        let mut e = g.edit();
        let t = e.op("Tanh", "t", &[x], &[]).unwrap();
        let y = e.op("Mul", "y", &[t, x], &[]).unwrap();
        assert!(matches(&e, y, &op("Mul", [any("a"), any("a")])).is_none());
        assert!(matches(&e, y, &op("Mul", [any("a"), op("Tanh", [any("a")])])).is_some());
    }

    #[test]
    fn an_inner_value_that_is_used_elsewhere_or_in_a_subgraph_is_no_match() {
        for in_subgraph in [false, true] {
            let (mut g, x) = graph();
            let mut e = g.edit();
            let t = e.op("Tanh", "t", &[x], &[]).unwrap();
            let y = e.op("Neg", "y", &[t], &[]).unwrap();
            let pattern = op("Neg", [op("Tanh", [any("x")])]);
            assert!(matches(&e, y, &pattern).is_some());
            if in_subgraph {
                let mut inner = Body::default();
                let captured = inner.intern("t").unwrap();
                inner.add_output(captured);
                let branch = AttrValue::Graph(Box::new(inner));
                let condition = e.value("condition", None).unwrap();
                e.op("If", "picked", &[condition], &[("then_branch", branch)]).unwrap();
            } else {
                e.op("Abs", "other", &[t], &[]).unwrap();
            }
            assert!(matches(&e, y, &pattern).is_none());
        }
    }
}
