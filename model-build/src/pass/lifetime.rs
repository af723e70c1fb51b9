//! How much memory the values between nodes take, by the order of the nodes.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{fix_shapes, unnamed_axes};
use crate::error::Result;
use crate::hub::{Body, Edit, Graph, NodeId, ValueId};
use crate::op;
use crate::op::len::Len;

/// What a graph's activations take.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The greatest number of bytes that are taken at once.
    pub peak: u64,
    /// The node that runs then, as messages call it; empty for a graph without nodes.
    pub at: String,
    /// Bytes of all values, as if none were given back.
    pub total: u64,
    /// Values whose size is not known: they count as nothing.
    pub unknown: usize,
}

/// The length that [`peak`] takes for an axis that is not the first of an input and has none given.
pub const DEFAULT_LENGTH: u64 = 128;

/// Lengths of named axes where nobody gives any: 1 for those that stand first in an input, the batch;
/// [`DEFAULT_LENGTH`] for others. Axes of inputs without a name count as if they had one of their own.
fn lengths(graph: &Graph, dims: &BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    let first = |id: &ValueId| graph.body.tensor_type(*id)?.1?.first().map(Len::from_dim);
    let batch: BTreeSet<String> = (graph.body.inputs().iter().filter_map(first))
        .flat_map(|len| len.names())
        .map(|name| name.to_string())
        .collect();
    let usual = |name: &String| if batch.contains(name) { 1 } else { DEFAULT_LENGTH };
    fix_shapes::input_axes(&graph.body)
        .into_iter()
        .map(|name| {
            let length = dims.get(&name).copied().unwrap_or_else(|| usual(&name));
            (name, length)
        })
        .collect()
}

/// The graph with every axis of its inputs fixed, and the types that follow.
fn fixed(graph: &Graph, dims: &BTreeMap<String, u64>) -> Result<Graph> {
    let mut graph = graph.clone();
    unnamed_axes::name(&mut graph);
    let lengths = lengths(&graph, dims);
    fix_shapes::change_body(&mut graph.body, &|len| {
        len.substitute(&|name| lengths.get(name).copied())
    });
    op::infer(&mut graph)?;
    Ok(graph)
}

/// The memory that the results of nodes take while the graph runs in its order. `dims` are lengths of
/// named axes of the inputs; of others the first of an input counts as 1, the rest as
/// [`DEFAULT_LENGTH`].
///
/// A value takes its memory from the node that makes it up to the last node that uses it; an output of
/// the graph keeps it. Inputs and constants are the caller's and do not count. Every value has memory of
/// its own: that a runtime may compute in place is left out. A subgraph counts with its own peak on top.
///
/// # Errors
/// What shape inference finds wrong with the graph at these lengths.
pub fn peak(graph: &Graph, dims: &BTreeMap<String, u64>) -> Result<Report> {
    let graph = fixed(graph, dims)?;
    let order: Vec<NodeId> = graph.body.nodes().map(|(id, _)| id).collect();
    Ok(Lives::of(&graph.body).report(&graph.body, &order))
}

/// What is known of the values of a body.
struct Lives {
    /// Bytes of what nodes give.
    sizes: HashMap<ValueId, u64>,
    /// The values that each node uses, captured ones included, each once.
    used: HashMap<NodeId, Vec<ValueId>>,
    /// How many nodes use a value; an output of the graph counts one more.
    users: HashMap<ValueId, usize>,
    /// The peak inside each node with subgraphs.
    inner: HashMap<NodeId, u64>,
    unknown: usize,
}

impl Lives {
    fn of(body: &Body) -> Self {
        let mut lives = Self {
            sizes: HashMap::new(),
            used: HashMap::new(),
            users: HashMap::new(),
            inner: HashMap::new(),
            unknown: 0,
        };
        for (id, node) in body.nodes() {
            for output in node.outputs.iter().flatten() {
                let size = size(body, *output);
                lives.unknown += usize::from(size.is_none());
                lives.sizes.insert(*output, size.unwrap_or(0));
            }
            let captured =
                node.subgraphs().flat_map(Body::captures).filter_map(|name| body.find(name));
            let mut used: Vec<ValueId> =
                node.inputs.iter().flatten().copied().chain(captured).collect();
            used.sort_unstable();
            used.dedup();
            used.iter().for_each(|v| *lives.users.entry(*v).or_default() += 1);
            lives.used.insert(id, used);
            let mut most = 0;
            for inner in node.subgraphs() {
                let order: Vec<NodeId> = inner.nodes().map(|(id, _)| id).collect();
                let inside = Self::of(inner);
                most = most.max(inside.report(inner, &order).peak);
                lives.unknown += inside.unknown;
            }
            lives.inner.insert(id, most);
        }
        body.outputs().iter().for_each(|v| *lives.users.entry(*v).or_default() += 1);
        lives
    }

    fn size(&self, value: ValueId) -> u64 {
        self.sizes.get(&value).copied().unwrap_or(0)
    }

    fn report(&self, body: &Body, order: &[NodeId]) -> Report {
        let mut report = Report {
            total: self.sizes.values().fold(0, |n, s| n.saturating_add(*s)),
            unknown: self.unknown,
            ..Report::default()
        };
        let mut left = self.users.clone();
        let mut live = 0u64;
        for id in order {
            let Some(node) = body.node(*id) else { continue };
            for output in node.outputs.iter().flatten() {
                live = live.saturating_add(self.size(*output));
            }
            let inner = self.inner.get(id).copied().unwrap_or(0);
            let taken = live.saturating_add(inner);
            if taken > report.peak || report.at.is_empty() {
                report.peak = taken;
                report.at = node.label();
            }
            live = live.saturating_sub(self.freed(body, *id, &mut left));
        }
        report
    }

    /// The bytes that are given back once a node has run.
    fn freed(&self, body: &Body, id: NodeId, left: &mut HashMap<ValueId, usize>) -> u64 {
        let mut freed = 0u64;
        for value in self.used.get(&id).into_iter().flatten() {
            if let Some(count) = left.get_mut(value) {
                *count = count.saturating_sub(1);
                if *count == 0 {
                    freed = freed.saturating_add(self.size(*value));
                }
            }
        }
        for output in body.node(id).into_iter().flat_map(|n| n.outputs.iter().flatten()) {
            if !left.contains_key(output) {
                freed = freed.saturating_add(self.size(*output));
            }
        }
        freed
    }
}

fn size(body: &Body, value: ValueId) -> Option<u64> {
    let (dtype, shape) = body.tensor_type(value)?;
    let count = shape?.iter().try_fold(1u64, |n, dim| n.checked_mul(dim.fixed()?))?;
    dtype.bytes_for(count)
}

/// Bodies of more nodes keep their order: the search takes time that grows with the square of it.
const MOST_NODES: usize = 20_000;

/// Brings the nodes of the main graph into an order in which less memory is taken at once: of the nodes
/// that can run next, the one that gives back the most beyond what it takes, the first of equal ones.
/// The order stays where the peak by [`peak`] does not become lower, or is not known because the graph does
/// not take these lengths. Says whether it changed.
///
/// ```text
/// before: a = f(x)   b = g(x)   c = Sum(a)   d = Sum(b)      a and b are held at once
/// after:  a = f(x)   c = Sum(a)   b = g(x)   d = Sum(b)
/// ```
pub(super) fn reorder(graph: &mut Graph, dims: &BTreeMap<String, u64>) -> Result<bool> {
    // The same nodes under the same ids.
    let Ok(fixed) = fixed(graph, dims) else { return Ok(false) };
    let body = &fixed.body;
    let order: Vec<NodeId> = body.nodes().map(|(id, _)| id).collect();
    if order.len() > MOST_NODES {
        return Ok(false);
    }
    let lives = Lives::of(body);
    let found = greedy(body, &lives, &order);
    if lives.report(body, &found).peak >= lives.report(body, &order).peak {
        return Ok(false);
    }
    Edit::new(&mut graph.body).finish_in_order(&found)?;
    Ok(true)
}

fn greedy(body: &Body, lives: &Lives, order: &[NodeId]) -> Vec<NodeId> {
    let mut maker: HashMap<ValueId, NodeId> = HashMap::new();
    for (id, node) in body.nodes() {
        maker.extend(node.outputs.iter().flatten().map(|v| (*v, id)));
    }
    let mut waiting: HashMap<NodeId, usize> = HashMap::new();
    let mut unlocks: HashMap<NodeId, Vec<NodeId>> = HashMap::new();
    for id in order {
        let mut makers: Vec<NodeId> = lives
            .used
            .get(id)
            .into_iter()
            .flatten()
            .filter_map(|v| maker.get(v).copied())
            .collect();
        makers.sort_unstable();
        makers.dedup();
        waiting.insert(*id, makers.len());
        makers.into_iter().for_each(|m| unlocks.entry(m).or_default().push(*id));
    }
    let mut ready: Vec<NodeId> =
        order.iter().copied().filter(|id| waiting.get(id) == Some(&0)).collect();
    let mut left = lives.users.clone();
    let mut out = Vec::with_capacity(order.len());
    while !ready.is_empty() {
        let growth = |id: &NodeId| {
            let made = body.node(*id).into_iter().flat_map(|n| n.outputs.iter().flatten());
            let made = made.fold(0u64, |n, v| n.saturating_add(lives.size(*v)));
            let last = |v: &&ValueId| left.get(*v) == Some(&1);
            let freed = lives.used.get(id).into_iter().flatten().filter(last);
            let freed = freed.fold(0u64, |n, v| n.saturating_add(lives.size(*v)));
            i128::from(made) - i128::from(freed)
        };
        let Some(next) = ready.iter().copied().min_by_key(|id| (growth(id), *id)) else { break };
        ready.retain(|id| *id != next);
        lives.freed(body, next, &mut left);
        out.push(next);
        for id in unlocks.get(&next).into_iter().flatten() {
            if let Some(count) = waiting.get_mut(id) {
                *count = count.saturating_sub(1);
                if *count == 0 {
                    ready.push(*id);
                }
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::{DType, Dim, Type};

    /// Two branches that each widen `x [n, 8]` and sum it up again, all wide values first.
    fn branches() -> Graph {
        let mut g = Graph::new("g", 8, 17);
        let x = g.body.intern("x").unwrap();
        g.body.value_mut(x).ty = Some(Type::tensor(DType::F32, [Dim::symbol("n"), Dim::Fixed(8)]));
        g.body.add_input(x);
        let mut e = g.edit();
        let wide: Vec<ValueId> =
            ["a", "b", "c"].iter().map(|n| e.op("Exp", n, &[x], &[]).unwrap()).collect();
        let sums: Vec<ValueId> =
            wide.iter().map(|v| e.op("ReduceMax", "s", &[*v], &[]).unwrap()).collect();
        let total = e.op("Sum", "y", &sums, &[]).unwrap();
        e.finish().unwrap();
        assert_eq!(g.body.find("y"), Some(total));
        g.body.add_output(total);
        op::infer(&mut g).unwrap();
        g
    }

    #[test]
    fn the_peak_is_what_is_held_at_once_and_follows_the_lengths_of_named_axes() {
        let mut g = branches();
        let dims = BTreeMap::from([("n".to_owned(), 100)]);
        let before = peak(&g, &dims).unwrap();
        assert_eq!(before.peak, 3 * 100 * 8 * 4 + 4, "three wide values and the first sum");
        assert_eq!(before.unknown, 0);
        assert!(reorder(&mut g, &dims).unwrap());
        let after = peak(&g, &dims).unwrap();
        assert_eq!(after.peak, 100 * 8 * 4 + 3 * 4, "one wide value and the sums");
        assert_eq!(after.total, before.total);
        assert!(!reorder(&mut g, &dims).unwrap(), "an order that is as good stays");
        let shorter = peak(&g, &BTreeMap::from([("n".to_owned(), 1)])).unwrap();
        assert_eq!(shorter.peak, 8 * 4 + 3 * 4);
        assert_eq!(peak(&g, &BTreeMap::new()).unwrap(), shorter, "the first axis is the batch");
    }

    #[test]
    fn a_value_of_unknown_size_is_counted_as_unknown() {
        let mut g = branches();
        let x = g.body.inputs()[0];
        let mut e = g.edit();
        e.op("NoSuchOp", "z", &[x], &[]).unwrap();
        e.finish().unwrap();
        assert_eq!(peak(&g, &BTreeMap::new()).unwrap().unknown, 1);
    }
}
