//! Shape inference over a whole graph, in topological order.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::cx::{Cx, Fact, MAX_DATA};
use super::len::Len;
use crate::error::{Error, Result};
use crate::hub::{
    AttrValue, Body, DType, Dim, Edit, Graph, Node, NodeId, Tensor, Type, Value, ValueId,
};

/// Fills the types of all values from the graph's inputs and constants.
///
/// Small integer tensors are followed symbolically, so that shapes computed from shapes resolve.
/// What a node's rule tells wins over what was recorded of a value; where the rule tells nothing
/// (an operator that is not in [`ALL`](super::ALL), a shape that depends on data) the record
/// stays. Subgraphs are inferred with what is known of the values they capture.
///
/// # Errors
/// [`Malformed`](crate::ErrorKind::Malformed) names the node and the shapes that contradict each
/// other, an attribute of the wrong kind, or a value whose recorded element type is not the
/// computed one.
pub fn infer(graph: &mut Graph) -> Result<()> {
    Inference::of(graph).body(&mut graph.body, &Scope::new())?;
    Ok(())
}

/// [`infer`] on a copy of the graph for looking things up: node outputs whose elements follow from
/// shapes and constants hold them as initializers beside the nodes that compute them.
///
/// # Errors
/// Those of [`infer`].
pub fn known(graph: &Graph) -> Result<Graph> {
    let mut copy = graph.clone();
    let inference = Inference { keep: true, ..Inference::of(graph) };
    inference.body(&mut copy.body, &Scope::new())?;
    Ok(copy)
}

/// What the elements of a node's input 1 should be, if others than they are.
pub(crate) type Repair<'a> = dyn Fn(&Cx<'_>) -> Result<Option<Vec<i64>>> + 'a;

/// [`infer`], where some names stand for every length, so that no number agrees with them: a node
/// that wants one is an error. `repair` is asked of each node, in order, what its input 1 should
/// hold; the nodes of which it was told something, with what it was, are returned.
pub(crate) fn infer_free(
    graph: &mut Graph,
    names: &[Arc<str>],
    repair: &Repair<'_>,
) -> Result<Vec<(NodeId, Vec<i64>)>> {
    let free = Free { names, repair, repaired: RefCell::default(), depth: Cell::default() };
    let inference = Inference::of(graph);
    let walk = Walk { inference: &inference, free: Some(&free) };
    walk.body(&mut graph.body, &Scope::new(), &[])?;
    Ok(free.repaired.into_inner())
}

/// Names that stand for every length, and what is repaired for them.
struct Free<'a> {
    names: &'a [Arc<str>],
    repair: &'a Repair<'a>,
    repaired: RefCell<Vec<(NodeId, Vec<i64>)>>,
    /// How many bodies the one under inference is inside of.
    depth: Cell<u32>,
}

impl Free<'_> {
    fn repair(&self, id: NodeId, cx: &mut Cx<'_>) -> Result<()> {
        let Some(elements) = (self.repair)(cx)? else { return Ok(()) };
        if self.depth.get() > 0 {
            return Err(Error::unsupported(
                "a subgraph has a shape in it that would have to change",
            )
            .item(cx.node().label()));
        }
        if let (Some(fact), Some(constant)) = (cx.inputs.get_mut(1), cx.constants.get_mut(1)) {
            fact.data = Some(elements.iter().copied().map(Len::fixed).collect());
            *constant = None;
        }
        self.repaired.borrow_mut().push((id, elements));
        Ok(())
    }
}

/// Whether a value is a constant: an initializer that is not a graph input which a caller may
/// override (from IR version 4 on an initializer that is listed as an input may be).
pub fn is_constant(graph: &Graph, id: ValueId) -> bool {
    constant_of(&graph.body, graph.ir_version, id).is_some()
}

fn constant_of(body: &Body, ir_version: i64, id: ValueId) -> Option<&Tensor> {
    let tensor = body.constant(id)?;
    (ir_version < 4 || !body.inputs().contains(&id)).then_some(tensor)
}

/// What inference needs to know of the model a body belongs to.
#[derive(Clone, Debug)]
pub struct Inference {
    opsets: BTreeMap<String, i64>,
    ir_version: i64,
    /// Whether computed elements are kept as initializers.
    keep: bool,
}

/// What is known of values of enclosing graphs, by name.
pub type Scope = HashMap<String, Fact>;

/// What is known of the values of one body.
pub type Facts = HashMap<ValueId, Fact>;

impl Inference {
    /// For the bodies of a model.
    pub fn of(graph: &Graph) -> Self {
        Self { opsets: graph.opsets.clone(), ir_version: graph.ir_version, keep: false }
    }

    /// Infers one body and those inside it, as [`infer`] does a graph, and gives what is known of its
    /// values. `outer` is what is known of the values it captures.
    pub fn body(&self, body: &mut Body, outer: &Scope) -> Result<Facts> {
        Walk { inference: self, free: None }.body(body, outer, &[])
    }
}

/// Inference under way.
struct Walk<'a> {
    inference: &'a Inference,
    free: Option<&'a Free<'a>>,
}

impl Walk<'_> {
    fn opset(&self, domain: &str) -> Option<i64> {
        let domain = if domain == "ai.onnx" { "" } else { domain };
        self.inference.opsets.get(domain).copied().or_else(|| {
            domain.is_empty().then(|| self.inference.opsets.get("ai.onnx").copied()).flatten()
        })
    }

    /// Infers one body. `formal` are facts of its inputs that the enclosing node knows.
    fn body(&self, body: &mut Body, outer: &Scope, formal: &[Fact]) -> Result<Facts> {
        let mut facts = Facts::new();
        for name in body.captures() {
            if let (Some(id), Some(fact)) = (body.find(name), outer.get(name)) {
                facts.insert(id, fact.clone());
            }
        }
        for (i, id) in body.inputs().iter().enumerate() {
            let known = formal.get(i).cloned().unwrap_or_default();
            facts.insert(*id, merge(known, declared(body.value(*id))));
        }
        let constants: Vec<(ValueId, Fact)> = body
            .initializers()
            .filter_map(|(id, ..)| {
                let tensor = constant_of(body, self.inference.ir_version, id)?;
                Some((id, tensor_fact(tensor)))
            })
            .collect();
        facts.extend(constants);

        let order: Vec<NodeId> = body.nodes().map(|(id, _)| id).collect();
        for id in order {
            self.node(body, id, &mut facts, outer)?;
        }
        for (id, fact) in &facts {
            record(body.value_mut(*id), fact)?;
        }
        if self.inference.keep {
            keep_elements(body, &facts);
        }
        Ok(facts)
    }

    fn node(&self, body: &mut Body, id: NodeId, facts: &mut Facts, outer: &Scope) -> Result<()> {
        let Some(node) = body.node(id) else { return Ok(()) };
        let found = if node.subgraphs().next().is_some() {
            let mut changed = node.clone();
            let found = self.control(body, &mut changed, facts, outer)?;
            let mut edit = Edit::new(body);
            edit.replace(id, changed);
            found
        } else {
            self.apply(body, id, node, facts)?
        };
        let Some(node) = body.node(id) else { return Ok(()) };
        let mut found = found.into_iter();
        for output in &node.outputs {
            let fact = found.next().unwrap_or_default();
            if let Some(value) = output {
                let merged = merge(fact, declared(body.value(*value)));
                if let (Some(a), Some((b, _))) =
                    (merged.dtype, body.value(*value).ty.as_ref().and_then(Type::as_tensor))
                    && a != b
                {
                    return Err(Error::malformed(format!(
                        "`{}` is declared as {b} and computed as {a}",
                        body.value(*value).name
                    ))
                    .item(node.label()));
                }
                facts.insert(*value, merged);
            }
        }
        Ok(())
    }

    fn apply(&self, body: &Body, id: NodeId, node: &Node, facts: &Facts) -> Result<Vec<Fact>> {
        let (Some(opset), Some(def)) =
            (self.opset(&node.domain), super::find(&node.domain, &node.op))
        else {
            return Ok(Vec::new());
        };
        if opset < def.since {
            return Ok(Vec::new());
        }
        let mut cx = Cx {
            node,
            free: self.free.map_or(&[], |free| free.names),
            opset,
            inputs: node
                .inputs
                .iter()
                .map(|i| i.and_then(|i| facts.get(&i).cloned()).unwrap_or_default())
                .collect(),
            constants: node
                .inputs
                .iter()
                .map(|i| i.and_then(|i| constant_of(body, self.inference.ir_version, i)))
                .collect(),
        };
        if let Some(free) = self.free {
            free.repair(id, &mut cx)?;
        }
        (def.infer)(&cx)
    }

    /// Nodes with subgraphs: infers inside, and joins the branches of `If`.
    fn control(
        &self,
        body: &Body,
        node: &mut Node,
        facts: &Facts,
        outer: &Scope,
    ) -> Result<Vec<Fact>> {
        let mut scope = outer.clone();
        for (id, fact) in facts {
            scope.insert(body.value(*id).name.clone(), fact.clone());
        }
        let is_if = node.is("If");
        // Only what is done is inferred: a branch that is never taken may hold what cannot be.
        let taken = is_if.then(|| taken_branch(node, facts)).flatten();
        let mut branches: Vec<Vec<Fact>> = Vec::new();
        let chosen = node.attrs.iter_mut().filter(|a| taken.is_none_or(|name| a.name == name));
        let depth = |change: fn(u32) -> u32| self.free.map(|free| free.depth.update(change));
        depth(|n| n + 1);
        for inner in chosen.flat_map(|a| a.value.subgraphs_mut()) {
            let facts = self.body(inner, &scope, &[])?;
            let outputs = inner.outputs().iter();
            branches.push(outputs.map(|id| facts.get(id).cloned().unwrap_or_default()).collect());
        }
        depth(|n| n.saturating_sub(1));
        if !is_if {
            return Ok(Vec::new());
        }
        let mut branches = branches.into_iter();
        let mut joined = branches.next().unwrap_or_default();
        for branch in branches {
            for (a, b) in joined.iter_mut().zip(branch) {
                *a = join(a, &b);
            }
        }
        Ok(joined)
    }
}

/// The attribute of the branch that an `If` takes, where its condition is known.
fn taken_branch(node: &Node, facts: &Facts) -> Option<&'static str> {
    match facts.get(&node.input(0)?)?.data.as_deref()? {
        [one] => Some(if one.as_fixed()? != 0 { "then_branch" } else { "else_branch" }),
        _ => None,
    }
}

/// What holds whichever of two facts does.
fn join(a: &Fact, b: &Fact) -> Fact {
    let shape = match (&a.shape, &b.shape) {
        (Some(x), Some(y)) if x.len() == y.len() => Some(
            x.iter()
                .zip(y)
                .map(|(x, y)| if x.same(y) { x.clone() } else { Len::UNKNOWN })
                .collect(),
        ),
        _ => None,
    };
    Fact::new(if a.dtype == b.dtype { a.dtype } else { None }, shape)
}

/// What a rule computed, completed by what is recorded.
fn merge(computed: Fact, declared: Fact) -> Fact {
    let shape = match (computed.shape, declared.shape) {
        (Some(c), Some(d)) if c.len() == d.len() => {
            Some(c.iter().zip(&d).map(|(c, d)| c.or(d)).collect())
        }
        (Some(c), _) => Some(c),
        (None, d) => d,
    };
    Fact { dtype: computed.dtype.or(declared.dtype), shape, data: computed.data }
}

fn declared(value: &Value) -> Fact {
    match value.ty.as_ref().and_then(Type::as_tensor) {
        Some((dtype, shape)) => {
            Fact::new(Some(dtype), shape.map(|s| s.iter().map(Len::from_dim).collect()))
        }
        None => Fact::default(),
    }
}

fn record(value: &mut Value, fact: &Fact) -> Result<()> {
    let Some(dtype) = fact.dtype else { return Ok(()) };
    if value.ty.as_ref().is_some_and(|t| t.as_tensor().is_none()) {
        return Ok(());
    }
    if let Some(bad) = fact.shape.iter().flatten().find(|d| d.as_fixed().is_some_and(|n| n < 0)) {
        return Err(Error::malformed(format!(
            "an axis of shape {} comes out as {bad}",
            fact.shape_text()
        ))
        .item(&value.name));
    }
    let shape: Option<Vec<Dim>> =
        fact.shape.as_ref().map(|dims| dims.iter().map(Len::to_dim).collect());
    value.ty = Some(Type::Tensor { dtype, shape });
    Ok(())
}

fn keep_elements(body: &mut Body, facts: &Facts) {
    let made: Vec<ValueId> =
        body.nodes().flat_map(|(_, n)| n.outputs.iter().flatten().copied()).collect();
    for id in made {
        if let Some(tensor) = facts.get(&id).and_then(elements) {
            body.value_mut(id).init = Some(tensor);
        }
    }
}

/// The tensor that a fact knows all elements of.
fn elements(fact: &Fact) -> Option<Tensor> {
    let data: Vec<i64> = fact.data.as_ref()?.iter().map(Len::as_fixed).collect::<Option<_>>()?;
    let shape: Vec<i64> = fact.shape.as_ref()?.iter().map(Len::as_fixed).collect::<Option<_>>()?;
    let shape: Vec<u64> =
        shape.into_iter().map(|d| u64::try_from(d).ok()).collect::<Option<_>>()?;
    match fact.dtype? {
        DType::I64 => Tensor::from_i64(shape, &data).ok(),
        DType::I32 => {
            let data: Vec<i32> =
                data.into_iter().map(|v| i32::try_from(v).ok()).collect::<Option<_>>()?;
            let bytes = data.iter().flat_map(|v| v.to_le_bytes()).collect();
            Tensor::new(DType::I32, shape, bytes).ok()
        }
        DType::Bool => {
            let bytes: Vec<u8> = data.iter().map(|v| u8::from(*v != 0)).collect();
            Tensor::new(DType::Bool, shape, bytes.into()).ok()
        }
        _ => None,
    }
}

/// What is known of a constant.
pub(super) fn tensor_fact(tensor: &Tensor) -> Fact {
    Fact {
        dtype: Some(tensor.dtype()),
        shape: Some(tensor.shape().iter().map(|d| Len::from_u64(*d)).collect()),
        data: small_ints(tensor).map(|v| v.into_iter().map(Len::fixed).collect()),
    }
}

/// The elements of a small integer or boolean tensor of rank 0 or 1.
pub(super) fn small_ints(tensor: &Tensor) -> Option<Vec<i64>> {
    if tensor.shape().len() > 1 || tensor.len() > MAX_DATA as u64 {
        return None;
    }
    match tensor.dtype() {
        DType::I64 | DType::I32 => tensor.to_i64().ok().map(|v| v.to_vec()),
        DType::Bool => Some(tensor.bytes().ok()?.iter().map(|b| i64::from(*b != 0)).collect()),
        _ => None,
    }
}

/// What is known of the value of an attribute of `Constant`.
pub(super) fn attr_fact(attr: &AttrValue) -> Fact {
    let list = |dtype, n: usize| Fact::new(Some(dtype), Some(vec![Len::from_u64(n as u64)]));
    match attr {
        AttrValue::Tensor(t) => tensor_fact(t),
        AttrValue::Int(i) => Fact::with_data(DType::I64, Vec::new(), vec![Len::fixed(*i)]),
        AttrValue::Ints(v) => {
            let mut fact = list(DType::I64, v.len());
            if v.len() <= MAX_DATA {
                fact.data = Some(v.iter().copied().map(Len::fixed).collect());
            }
            fact
        }
        AttrValue::Float(_) => Fact::new(Some(DType::F32), Some(Vec::new())),
        AttrValue::Floats(v) => list(DType::F32, v.len()),
        AttrValue::String(_) => Fact::new(Some(DType::String), Some(Vec::new())),
        AttrValue::Strings(v) => list(DType::String, v.len()),
        _ => Fact::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    /// A graph with f32 inputs of those shapes, as names or numbers.
    fn graph(inputs: &[(&str, &[&str])]) -> Graph {
        let mut g = Graph::new("g", 8, 17);
        for (name, dims) in inputs {
            let id = g.body.intern(name).unwrap();
            let dims = dims.iter().map(|d| d.parse().map_or_else(|_| Dim::symbol(d), Dim::Fixed));
            g.body.value_mut(id).ty = Some(Type::tensor(DType::F32, dims));
            g.body.add_input(id);
        }
        g
    }

    fn ints(e: &mut Edit<'_>, values: &[i64]) -> ValueId {
        let tensor = Tensor::from_i64(vec![values.len() as u64], values).unwrap();
        e.constant("c", tensor).unwrap()
    }

    fn ty(g: &Graph, name: &str) -> String {
        g.body.value(g.body.find(name).unwrap()).ty.as_ref().unwrap().to_string()
    }

    #[test]
    fn the_shape_arithmetic_of_exporters_resolves_to_names() {
        let mut g = graph(&[("x", &["batch", "sequence", "384"])]);
        let x = g.body.inputs()[0];
        let mut e = g.edit();
        let (zero, axes) = (ints(&mut e, &[0]), ints(&mut e, &[0]));
        let shape = e.op("Shape", "shape", &[x], &[]).unwrap();
        let batch = e.op("Gather", "batch", &[shape, zero], &[]).unwrap();
        let squeezed = e.op("Squeeze", "squeezed", &[batch, axes], &[]).unwrap();
        let again = e.op("Unsqueeze", "again", &[squeezed, axes], &[]).unwrap();
        let (open, heads) = (ints(&mut e, &[-1]), ints(&mut e, &[12, 32]));
        let axis = [("axis", AttrValue::Int(0))];
        let target = e.op("Concat", "target", &[again, open, heads], &axis).unwrap();
        let split = e.op("Reshape", "split", &[x, target], &[]).unwrap();
        let perm = [("perm", AttrValue::Ints(vec![0, 2, 1, 3]))];
        let moved = e.op("Transpose", "moved", &[split], &perm).unwrap();
        let perm = [("perm", AttrValue::Ints(vec![0, 2, 3, 1]))];
        let keys = e.op("Transpose", "keys", &[split], &perm).unwrap();
        e.op("MatMul", "scores", &[moved, keys], &[]).unwrap();
        e.finish().unwrap();
        infer(&mut g).unwrap();
        assert_eq!(ty(&g, "split"), "f32[batch, sequence, 12, 32]");
        assert_eq!(ty(&g, "scores"), "f32[batch, 12, sequence, sequence]");
        assert_eq!(ty(&g, "target"), "i64[4]");
    }

    #[test]
    fn a_matrix_product_that_does_not_fit_names_node_and_shapes() {
        let mut g = graph(&[("x", &["batch", "3"]), ("y", &["4", "5"])]);
        let inputs = g.body.inputs().to_vec();
        let mut e = g.edit();
        e.op("MatMul", "product", &inputs, &[]).unwrap();
        e.finish().unwrap();
        let error = infer(&mut g).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Malformed);
        let text = error.to_string();
        for part in ["`product`", "[batch, 3]", "[4, 5]"] {
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn an_unknown_operator_leaves_what_was_recorded() {
        let mut g = graph(&[("x", &["batch", "3"])]);
        let x = g.body.inputs()[0];
        let mut e = g.edit();
        let y = e.op("NoSuchOp", "y", &[x], &[]).unwrap();
        e.op("Relu", "z", &[y], &[]).unwrap();
        e.set_type(y, Some(Type::tensor(DType::F16, [Dim::symbol("n")])));
        e.op("NoSuchOp", "w", &[x], &[]).unwrap();
        e.finish().unwrap();
        infer(&mut g).unwrap();
        assert_eq!(ty(&g, "z"), "f16[n]");
        assert!(g.body.value(g.body.find("w").unwrap()).ty.is_none());
    }

    #[test]
    fn an_initializer_that_a_caller_may_override_is_no_constant() {
        for (version, want) in [(8, "f32[?, ?]"), (3, "f32[2, 3]")] {
            let mut g = graph(&[("x", &["6"])]);
            g.ir_version = version;
            let x = g.body.inputs()[0];
            let mut e = g.edit();
            let target = ints(&mut e, &[2, 3]);
            e.op("Reshape", "y", &[x, target], &[]).unwrap();
            e.finish().unwrap();
            let target = g.body.find("c").unwrap();
            g.body.add_input(target);
            infer(&mut g).unwrap();
            assert_eq!(ty(&g, "y"), want);
            assert_eq!(is_constant(&g, target), version == 3);
        }
    }

    #[test]
    fn branches_see_what_they_capture_and_their_results_are_joined() {
        let mut g = graph(&[("x", &["batch", "3"])]);
        let branch = |op: &str| {
            let mut b = Body::default();
            let x = b.intern("x").unwrap();
            let y = b.intern(&format!("inner_{op}")).unwrap();
            b.add_node(Node::new(op, &[x], &[y])).unwrap();
            b.add_output(y);
            AttrValue::Graph(Box::new(b))
        };
        let (then, otherwise) = (branch("Relu"), branch("Transpose"));
        let mut e = g.edit();
        let cond = e.value("cond", None).unwrap();
        let y = e.op("If", "y", &[cond], &[("then_branch", then), ("else_branch", otherwise)]);
        y.unwrap();
        e.finish().unwrap();
        infer(&mut g).unwrap();
        assert_eq!(ty(&g, "y"), "f32[?, ?]");
        let node = g.body.nodes().find(|(_, n)| n.is("If")).unwrap().1;
        let inner = node.subgraphs().next().unwrap();
        let relu = inner.value(inner.find("inner_Relu").unwrap());
        assert_eq!(relu.ty.as_ref().unwrap().to_string(), "f32[batch, 3]");
    }
}
