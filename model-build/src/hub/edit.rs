//! The only way to change a graph that exists: keeps use lists, names and order right.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use super::{AttrValue, Body, DType, Dim, Node, NodeId, Tensor, Type, Value, ValueId};
use crate::error::{Error, Result};

/// One place where a value is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// Input number `usize` of a node.
    Input(NodeId, usize),
    /// Captured by name in a subgraph of a node.
    Captured(NodeId),
    /// Output number `usize` of the graph.
    Output(usize),
}

/// A change in progress. [`finish`](Edit::finish) sorts the nodes topologically and drops values
/// that nothing refers to.
pub struct Edit<'g> {
    body: &'g mut Body,
    uses: HashMap<ValueId, Vec<Use>>,
    producer: HashMap<ValueId, NodeId>,
    fresh: u64,
    avoided: Arc<HashSet<String>>,
}

impl<'g> Edit<'g> {
    /// Starts a change; counts the uses once.
    pub fn new(body: &'g mut Body) -> Self {
        let mut edit = Self {
            body,
            uses: HashMap::new(),
            producer: HashMap::new(),
            fresh: 0,
            avoided: Arc::default(),
        };
        let ids: Vec<NodeId> = edit.body.nodes().map(|(id, _)| id).collect();
        for id in ids {
            edit.link(id);
        }
        for (i, id) in edit.body.outputs.clone().into_iter().enumerate() {
            edit.uses.entry(id).or_default().push(Use::Output(i));
        }
        edit
    }

    /// Gives no value one of those names: names that enclosing graphs or subgraphs use.
    #[must_use]
    pub fn avoiding(mut self, names: &Arc<HashSet<String>>) -> Self {
        self.avoided = Arc::clone(names);
        self
    }

    /// The graph as it stands.
    pub fn body(&self) -> &Body {
        self.body
    }
    /// Where a value is used.
    pub fn uses(&self, value: ValueId) -> &[Use] {
        self.uses.get(&value).map_or(&[], Vec::as_slice)
    }
    /// The node whose output a value is.
    pub fn producer(&self, value: ValueId) -> Option<NodeId> {
        self.producer.get(&value).copied()
    }

    fn link(&mut self, id: NodeId) {
        let Some(node) = self.body.nodes[id.0 as usize].as_ref() else { return };
        for (i, input) in node.inputs.iter().enumerate() {
            if let Some(v) = input {
                self.uses.entry(*v).or_default().push(Use::Input(id, i));
            }
        }
        for v in node.outputs.iter().flatten() {
            self.producer.insert(*v, id);
        }
        for name in node.subgraphs().flat_map(Body::captures) {
            if let Some(v) = self.body.find(name) {
                self.uses.entry(v).or_default().push(Use::Captured(id));
            }
        }
    }

    fn unlink(&mut self, id: NodeId) {
        let Some(node) = self.body.nodes[id.0 as usize].as_ref() else { return };
        let captured = node.subgraphs().flat_map(Body::captures).filter_map(|n| self.body.find(n));
        for v in node.inputs.iter().flatten().copied().chain(captured) {
            if let Some(list) = self.uses.get_mut(&v) {
                list.retain(|u| !matches!(u, Use::Input(n, _) | Use::Captured(n) if *n == id));
            }
        }
        for v in node.outputs.iter().flatten() {
            self.producer.remove(v);
        }
    }

    /// `hint` itself, or `hint` with a number.
    fn free_name(&mut self, hint: &str) -> String {
        let mut name = hint.to_owned();
        while self.body.find(&name).is_some() || self.avoided.contains(&name) {
            self.fresh += 1;
            name = format!("{hint}_{}", self.fresh);
        }
        name
    }
    /// A value with a name no other has: `hint` itself, or `hint` with a number.
    pub fn value(&mut self, hint: &str, ty: Option<Type>) -> Result<ValueId> {
        let name = self.free_name(hint);
        self.body.add_value(Value { name, ty, ..Value::default() })
    }
    /// A constant with a name no other has.
    pub fn constant(&mut self, hint: &str, tensor: Tensor) -> Result<ValueId> {
        let ty = Type::tensor(tensor.dtype(), tensor.shape().iter().map(|d| Dim::Fixed(*d)));
        let id = self.value(hint, Some(ty))?;
        self.body.value_mut(id).init = Some(tensor);
        Ok(id)
    }
    /// Replaces a constant's tensor, type included; the name stays.
    pub fn set_constant(&mut self, id: ValueId, tensor: Tensor) {
        let ty = Type::tensor(tensor.dtype(), tensor.shape().iter().map(|d| Dim::Fixed(*d)));
        let value = self.body.value_mut(id);
        value.ty = Some(ty);
        value.init = Some(tensor);
        value.sparse = None;
    }
    /// Changes what is known of a value's type.
    pub fn set_type(&mut self, id: ValueId, ty: Option<Type>) {
        self.body.value_mut(id).ty = ty;
    }
    /// Changes a value's element type; the shape stays.
    pub fn set_dtype(&mut self, id: ValueId, to: DType) {
        if let Some(Type::Tensor { dtype, .. }) = &mut self.body.value_mut(id).ty {
            *dtype = to;
        }
    }
    /// Gives a value another name, in subgraphs that capture it too.
    pub fn rename(&mut self, id: ValueId, name: &str) -> Result<()> {
        let old = self.body.value(id).name.clone();
        if old == name {
            return Ok(());
        }
        if self.body.find(name).is_some() {
            return Err(Error::bug("a value is renamed to a name that is taken").item(name));
        }
        self.body.names.remove(&old);
        self.body.names.insert(name.to_owned(), id);
        name.clone_into(&mut self.body.value_mut(id).name);
        for i in 0..self.uses(id).len() {
            if let Use::Captured(node) = self.uses(id)[i]
                && let Some(node) = self.body.nodes[node.0 as usize].as_mut()
            {
                node.subgraphs_mut().for_each(|g| rename_capture(g, &old, name));
            }
        }
        Ok(())
    }
    /// Adds a node; its place in the order is found by [`finish`](Self::finish).
    pub fn add(&mut self, node: Node) -> Result<NodeId> {
        let id = self.body.add_node(node)?;
        self.link(id);
        Ok(id)
    }
    /// Adds a node of the standard domain with one output and returns that output. The output's
    /// name starts with `hint`, which is the node's name too.
    pub fn op(
        &mut self,
        op: &str,
        hint: &str,
        inputs: &[ValueId],
        attrs: &[(&str, AttrValue)],
    ) -> Result<ValueId> {
        let out = self.value(hint, None)?;
        let mut node = Node::new(op, inputs, &[out]);
        self.body.value(out).name.clone_into(&mut node.name);
        for (name, value) in attrs {
            node = node.with(name, value.clone());
        }
        self.add(node)?;
        Ok(out)
    }
    /// Removes a node; its outputs stay as values.
    pub fn remove(&mut self, id: NodeId) {
        self.unlink(id);
        self.body.nodes[id.0 as usize] = None;
    }
    /// Replaces a node in place of the order.
    pub fn replace(&mut self, id: NodeId, node: Node) {
        self.unlink(id);
        self.body.nodes[id.0 as usize] = Some(node);
        self.link(id);
    }
    /// Changes one input of a node.
    pub fn set_input(&mut self, id: NodeId, index: usize, to: Option<ValueId>) {
        let Some(mut node) = self.body.nodes[id.0 as usize].clone() else { return };
        if node.inputs.len() <= index {
            node.inputs.resize(index + 1, None);
        }
        node.inputs[index] = to;
        self.replace(id, node);
    }
    /// Makes every use of `old` a use of `new`. A graph output keeps its name: `new` takes the
    /// name over, `old` gets another.
    pub fn replace_uses(&mut self, old: ValueId, new: ValueId) -> Result<()> {
        let mut was_output = false;
        for u in self.uses(old).to_vec() {
            match u {
                Use::Input(node, i) => self.set_input(node, i, Some(new)),
                Use::Captured(node) => {
                    let (from, to) =
                        (self.body.value(old).name.clone(), self.body.value(new).name.clone());
                    if let Some(mut changed) = self.body.nodes[node.0 as usize].clone() {
                        changed.subgraphs_mut().for_each(|g| rename_capture(g, &from, &to));
                        self.replace(node, changed);
                    }
                }
                Use::Output(i) => {
                    self.body.outputs[i] = new;
                    if let Some(list) = self.uses.get_mut(&old) {
                        list.retain(|u| *u != Use::Output(i));
                    }
                    self.uses.entry(new).or_default().push(Use::Output(i));
                    was_output = true;
                }
            }
        }
        if was_output {
            let name = self.body.value(old).name.clone();
            let spare = self.free_name(&name);
            self.rename(old, &spare)?;
            self.rename(new, &name)?;
        }
        Ok(())
    }

    /// Whether every use of `old` can become a use of `new` under names that stay: an output of the
    /// graph keeps its name, so what takes it over is the output of a node, and no output already.
    pub fn can_replace(&self, old: ValueId, new: ValueId) -> bool {
        let is_output = |v| self.uses(v).iter().any(|u| matches!(u, Use::Output(_)));
        let outputs = self.uses(old).iter().filter(|u| matches!(u, Use::Output(_))).count();
        outputs == 0
            || (outputs == 1
                && self.producer.contains_key(&new)
                && !is_output(new)
                && !self.body.inputs.contains(&new))
    }
    /// Takes an input off the graph's list; the value stays.
    pub fn drop_input(&mut self, id: ValueId) {
        self.body.inputs.retain(|input| *input != id);
    }

    /// The value that stands for a name of an enclosing graph, added if there is none.
    pub fn captured(&mut self, name: &str) -> Result<ValueId> {
        self.body.intern(name)
    }
    /// Moves what a subgraph without inputs computes into this graph and gives its outputs. Its
    /// values get names that no other has.
    pub fn inline(&mut self, inner: Body) -> Result<Vec<ValueId>> {
        let captured: BTreeSet<String> = inner.captures().into_iter().map(str::to_owned).collect();
        let mut moved = Vec::with_capacity(inner.values.len());
        let mut renamed = Vec::new();
        for value in inner.values {
            if captured.contains(&value.name) {
                moved.push(self.captured(&value.name)?);
                continue;
            }
            let name = self.free_name(&value.name);
            if name != value.name {
                renamed.push((value.name.clone(), name.clone()));
            }
            moved.push(self.body.add_value(Value { name, ..value })?);
        }
        // Names that only graphs nested in it capture.
        for name in &captured {
            self.captured(name)?;
        }
        let to = |id: &ValueId| moved.get(id.0 as usize).copied();
        for mut node in inner.nodes.into_iter().flatten() {
            for id in node.inputs.iter_mut().chain(&mut node.outputs) {
                *id = id.as_ref().and_then(to);
            }
            for (from, name) in &renamed {
                node.subgraphs_mut().for_each(|g| rename_capture(g, from, name));
            }
            self.add(node)?;
        }
        Ok(inner.outputs.iter().filter_map(to).collect())
    }

    /// [`finish`](Self::finish), where nodes come in that order as far as what they use allows. Nodes that
    /// it does not name come first.
    pub fn finish_in_order(self, order: &[NodeId]) -> Result<()> {
        let mut slots = std::mem::take(&mut self.body.nodes);
        let named: Vec<Option<Node>> =
            order.iter().map(|id| slots.get_mut(id.0 as usize).and_then(Option::take)).collect();
        slots.extend(named);
        self.body.nodes = slots;
        self.finish()
    }

    /// Ends the change: sorts the nodes (stable: an order that is already right stays) and drops
    /// the values that no node, input or output refers to. An error names a node on a cycle.
    pub fn finish(self) -> Result<()> {
        let body = self.body;
        let order = topological_order(body)?;
        let mut slots: Vec<Option<Node>> = std::mem::take(&mut body.nodes);
        body.nodes = order.into_iter().map(|i| slots[i].take()).collect();
        sweep(body);
        Ok(())
    }
}

fn rename_capture(body: &mut Body, from: &str, to: &str) {
    let captured = body.captures().contains(&from);
    if !captured {
        return;
    }
    match (body.names.get(from).copied(), body.names.get(to).copied()) {
        // Both are captured: what used the one uses the other.
        (Some(id), Some(other)) => redirect(body, id, other),
        (Some(id), None) => {
            body.names.remove(from);
            to.clone_into(&mut body.values[id.0 as usize].name);
            body.names.insert(to.to_owned(), id);
        }
        (None, _) => {}
    }
    for node in body.nodes.iter_mut().flatten() {
        node.subgraphs_mut().for_each(|g| rename_capture(g, from, to));
    }
}

/// Makes every use of `from` by a node's input or as an output a use of `to`.
fn redirect(body: &mut Body, from: ValueId, to: ValueId) {
    let inputs = body.nodes.iter_mut().flatten().flat_map(|n| n.inputs.iter_mut().flatten());
    for id in inputs.chain(&mut body.outputs).filter(|id| **id == from) {
        *id = to;
    }
}

/// Kahn's algorithm with the smallest slot first, so that a sorted graph keeps its order.
fn topological_order(body: &Body) -> Result<Vec<usize>> {
    let mut producer: HashMap<ValueId, usize> = HashMap::new();
    for (id, node) in body.nodes() {
        for v in node.outputs.iter().flatten() {
            producer.insert(*v, id.0 as usize);
        }
    }
    let mut waiting = vec![0usize; body.nodes.len()];
    let mut unlocks: Vec<Vec<usize>> = vec![Vec::new(); body.nodes.len()];
    for (id, node) in body.nodes() {
        let i = id.0 as usize;
        let captured: Vec<ValueId> = node
            .subgraphs()
            .flat_map(|g| g.captures().into_iter().filter_map(|n| body.find(n)).collect::<Vec<_>>())
            .collect();
        for v in node.inputs.iter().flatten().chain(&captured) {
            if let Some(p) = producer.get(v) {
                unlocks[*p].push(i);
                waiting[i] += 1;
            }
        }
    }
    let mut ready: std::collections::BinaryHeap<std::cmp::Reverse<usize>> = body
        .nodes()
        .map(|(id, _)| id.0 as usize)
        .filter(|i| waiting[*i] == 0)
        .map(std::cmp::Reverse)
        .collect();
    let mut order = Vec::new();
    while let Some(std::cmp::Reverse(i)) = ready.pop() {
        order.push(i);
        for j in &unlocks[i] {
            waiting[*j] -= 1;
            if waiting[*j] == 0 {
                ready.push(std::cmp::Reverse(*j));
            }
        }
    }
    if order.len() != body.nodes().count() {
        let stuck = body.nodes().find(|(id, _)| waiting[id.0 as usize] > 0);
        let label = stuck.map_or_else(String::new, |(_, n)| n.label());
        return Err(Error::malformed("the graph has a cycle").item(label));
    }
    Ok(order)
}

/// Drops values that nothing refers to and renumbers the rest.
fn sweep(body: &mut Body) {
    let mut keep = vec![false; body.values.len()];
    let mut mark = |id: &ValueId| keep[id.0 as usize] = true;
    body.inputs.iter().for_each(&mut mark);
    body.outputs.iter().for_each(&mut mark);
    for node in body.nodes.iter().flatten() {
        node.inputs.iter().flatten().for_each(&mut mark);
        node.outputs.iter().flatten().for_each(&mut mark);
        for name in node.subgraphs().flat_map(Body::captures) {
            if let Some(id) = body.names.get(name) {
                mark(id);
            }
        }
    }
    let mut renumbered = vec![ValueId(0); body.values.len()];
    let mut values = Vec::new();
    for (i, value) in std::mem::take(&mut body.values).into_iter().enumerate() {
        if keep[i] {
            #[allow(clippy::cast_possible_truncation)] // no more values than before
            let id = ValueId(values.len() as u32);
            renumbered[i] = id;
            values.push(value);
        }
    }
    body.values = values;
    let renumber = |id: &mut ValueId| *id = renumbered[id.0 as usize];
    body.inputs.iter_mut().for_each(renumber);
    body.outputs.iter_mut().for_each(renumber);
    for node in body.nodes.iter_mut().flatten() {
        node.inputs.iter_mut().flatten().for_each(renumber);
        node.outputs.iter_mut().flatten().for_each(renumber);
    }
    body.names = body.value_ids().map(|id| (body.value(id).name.clone(), id)).collect();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::Graph;

    fn chain() -> Graph {
        let mut g = Graph::new("g", 8, 17);
        let x = g.body.intern("x").unwrap();
        g.body.add_input(x);
        let mut e = g.edit();
        let a = e.op("Relu", "a", &[x], &[]).unwrap();
        let b = e.op("Neg", "b", &[a], &[]).unwrap();
        e.finish().unwrap();
        let b_ = g.body.find("b").unwrap();
        assert_eq!(b, b_);
        g.body.add_output(b_);
        g
    }

    fn ops(g: &Graph) -> Vec<&str> {
        g.body.nodes().map(|(_, n)| n.op.as_str()).collect()
    }

    #[test]
    fn a_node_added_last_is_sorted_before_its_consumer() {
        let mut g = chain();
        let (a, x) = (g.body.find("a").unwrap(), g.body.find("x").unwrap());
        let mut e = g.edit();
        let c = e.op("Abs", "c", &[x], &[]).unwrap();
        e.replace_uses(a, c).unwrap();
        let relu = e.producer(a).unwrap();
        e.remove(relu);
        e.finish().unwrap();
        assert_eq!(ops(&g), ["Abs", "Neg"]);
        assert!(g.body.find("a").is_none(), "an unused value is swept");
    }

    #[test]
    fn a_replaced_graph_output_keeps_its_name() {
        let mut g = chain();
        let b = g.body.find("b").unwrap();
        let mut e = g.edit();
        let c = e.op("Abs", "c", &[b], &[]).unwrap();
        let abs = e.producer(c).unwrap();
        e.replace_uses(b, c).unwrap();
        e.set_input(abs, 0, Some(b));
        e.finish().unwrap();
        assert_eq!(ops(&g), ["Relu", "Neg", "Abs"]);
        let out = g.body.outputs()[0];
        assert_eq!(g.body.value(out).name, "b");
        assert_eq!(g.body.nodes().last().unwrap().1.output(0), Some(out));
    }

    #[test]
    fn a_cycle_is_an_error_that_names_a_node() {
        let mut g = chain();
        let b = g.body.find("b").unwrap();
        let mut e = g.edit();
        let relu = e.producer(e.body().find("a").unwrap()).unwrap();
        e.set_input(relu, 0, Some(b));
        let error = e.finish().unwrap_err();
        assert!(error.to_string().contains("cycle"), "{error}");
    }

    #[test]
    fn a_value_captured_by_a_subgraph_counts_as_used_and_follows_a_rename() {
        let mut g = chain();
        let mut inner = Body::default();
        let captured = inner.intern("a").unwrap();
        let out = inner.intern("inner_out").unwrap();
        inner.add_node(Node::new("Neg", &[captured], &[out])).unwrap();
        inner.add_output(out);
        let a = g.body.find("a").unwrap();
        let mut e = g.edit();
        let cond = e.value("cond", None).unwrap();
        let picked = e.value("picked", None).unwrap();
        let id = e
            .add(
                Node::new("If", &[cond], &[picked])
                    .with("then_branch", AttrValue::Graph(Box::new(inner))),
            )
            .unwrap();
        assert!(e.uses(a).contains(&Use::Captured(id)));
        e.rename(a, "renamed").unwrap();
        assert_eq!(e.body().node(id).unwrap().subgraphs().next().unwrap().captures(), ["renamed"]);
        e.finish().unwrap();
    }
}
