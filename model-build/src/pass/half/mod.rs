//! Computation in 16 bits: f16 or bf16.

mod constant;
mod table;
mod weight;
mod wide;

use std::collections::{BTreeMap, HashMap, HashSet};

use self::constant::{Fate, fate};
use self::weight::Half;
use self::wide::Wide;
use super::{Observed, Params, PassDef};
use crate::error::{Error, Result};
use crate::hub::{AttrValue, Body, DType, Edit, Graph, Node, NodeId, Tensor, Type, Use, ValueId};
use crate::op::{self, Constant};

/// Turns a graph that computes in f32 into one that computes in f16 or bf16.
///
/// ```text
/// before: x f32 ─▶ MatMul(·, w f32) ─▶ Range-like op ─▶ y f32
/// after:  x f32 ─▶ Cast ─▶ MatMul(·, w f16) ─▶ Cast ─▶ Range-like op ─▶ y f32
///                  f16                         f32
/// ```
///
/// * Inputs and outputs of the graph keep f32: programs that run it change nothing.
/// * An operator takes part where the ONNX specification of the graph's operator set gives the half
///   type to its inputs and outputs (`half/table.rs`, generated from it). Other operators, those of
///   other domains, nodes with subgraphs, and nodes at a value whose type is unknown keep f32, with
///   Casts around them. So do inputs that are f32 by specification (`scales` of Resize).
/// * Casts to f32 become casts to the half type. A Cast reads a graph input as it is.
/// * The sums of integer matrix products and their scales keep f32 up to the product of both.
/// * Weights are rounded to nearest, ties to even.
///
/// Constants that the half type cannot hold:
///
/// * Infinities and NaN stay what they are.
/// * A number below the range, in a constant that reaches only softmaxes (through Add, Mul, Where
///   and ops that move elements), is an attention mask's fill: it becomes half of the least finite
///   number, -32752 in f16. Its weight after the softmax is 0, as before, and scores can be added to it
///   without reaching -inf, so that a row in which all is masked gives the same finite numbers
///   as in f32 and no NaN.
/// * Any other constant with a finite number outside the range stays f32, and the nodes that read it
///   compute in f32.
/// * A lone number below the least normal one: where it guards against a division by zero (read by
///   Add, Max or as the lower bound of Clip) it is rounded, and becomes the least number above zero
///   instead of zero; elsewhere it stays f32 like a number outside the range.
///
/// Parameters: `dtype`, `f16` or `bf16`; `exclude`, patterns of nodes that keep f32 (see [`Exclude`](super::Exclude)),
/// and `overrides`, patterns of nodes with `fp32` for those that keep f32 and the pass's own type for
/// those that do not. A node whose inputs or outputs were seen to pass half of the type's range on
/// calibration data keeps f32.
///
/// # Errors
/// Shapes and types that contradict each other, by node. A pattern that means no node.
pub static HALF: PassDef =
    PassDef { name: "half", about: "computes in f16 or bf16", revision: 1, run };

/// Where a parameter stands among the floating types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    /// Takes the half type.
    Half,
    /// Takes what is there already: the half type or f32.
    Either,
    /// Keeps f32.
    Full,
}

fn run(graph: &mut Graph, params: &Params, observed: &Observed) -> Result<()> {
    let half = match params.get("dtype") {
        Some("f16") => Half::F16,
        Some("bf16") => Half::BF16,
        other => return Err(Error::bug(format!("half with dtype {other:?}"))),
    };
    let wide = Wide::of(params, half)?;
    wide.check(graph)?;
    op::infer(graph)?;
    constants_to_initializers(graph)?;
    let constants: Vec<(ValueId, Tensor)> = graph
        .body
        .initializers()
        .filter(|(id, _, t)| t.dtype() == DType::F32 && op::is_constant(graph, *id))
        .map(|(id, _, t)| (id, t.clone()))
        .collect();
    let opset = graph.opset();
    let edit = graph.edit();

    let mut narrow = BTreeMap::new();
    let mut stays = HashSet::new();
    for (id, tensor) in constants {
        match fate(&edit, id, &tensor, half)? {
            Fate::Half(tensor) => drop(narrow.insert(id, tensor)),
            Fate::Stays => drop(stays.insert(id)),
        }
    }
    let mut parts = BTreeMap::new();
    for (id, node) in edit.body().nodes() {
        if wide.has(edit.body(), node, observed) {
            continue;
        }
        if let Some(part) = Part::of(&edit, node, opset, half, &stays)? {
            parts.insert(id, part);
        }
    }

    let mut rewrite = Rewrite { edit, half, versions: HashMap::new(), casts: HashSet::new() };
    rewrite.constants(narrow, &parts)?;
    // Every producer first, so that consumers find the version they need.
    for (id, part) in &parts {
        rewrite.outputs(*id, part)?;
    }
    for (id, part) in &parts {
        rewrite.inputs(*id, part)?;
    }
    rewrite.border(&parts)?;
    rewrite.edit.finish()?;
    op::infer(graph)
}

/// Makes f32 `Constant` nodes initializers, so that there is one kind of constant.
fn constants_to_initializers(graph: &mut Graph) -> Result<()> {
    let mut found = Vec::new();
    for (id, node) in graph.body.nodes() {
        if !node.is("Constant") {
            continue;
        }
        let view = Constant::of(node)?;
        let tensor = match view.value {
            AttrValue::Tensor(t) if t.dtype() == DType::F32 => t.clone(),
            AttrValue::Float(v) => Tensor::from_f32(Vec::new(), &[*v])?,
            AttrValue::Floats(v) => Tensor::from_f32(vec![v.len() as u64], v)?,
            _ => continue,
        };
        found.push((id, view.output, tensor));
    }
    let mut edit = graph.edit();
    for (id, output, tensor) in found {
        edit.remove(id);
        edit.set_constant(output, tensor);
    }
    edit.finish()
}

/// How a node takes part: the classes of its parameters.
struct Part {
    inputs: Classes,
    outputs: Classes,
    /// The value of a `ConstantOfShape`.
    fill: Option<Tensor>,
}

impl Part {
    /// `None` where the node keeps f32.
    fn of(
        edit: &Edit<'_>,
        node: &Node,
        opset: i64,
        half: Half,
        stays: &HashSet<ValueId>,
    ) -> Result<Option<Self>> {
        let Some((inputs, outputs)) = node_classes(node, opset, half) else { return Ok(None) };
        let unclear = |id: ValueId| !matches!(edit.body().value(id).ty, Some(Type::Tensor { .. }));
        let held = |id: &Option<ValueId>, class| match (id, class) {
            (Some(id), Class::Half) => stays.contains(id) || unclear(*id),
            _ => false,
        };
        let given = node.inputs.iter().enumerate();
        let made = node.outputs.iter().enumerate();
        if given.clone().any(|(i, id)| held(id, class_at(&inputs, i)))
            || made.clone().any(|(i, id)| held(id, class_at(&outputs, i)))
        {
            return Ok(None);
        }
        if scales_accumulators(edit, node) {
            return Ok(None);
        }
        // Nothing is won by narrowing what is widened at once.
        if node.is("Cast") && node.output(0).is_some_and(|out| is_anchored(edit, out)) {
            return Ok(None);
        }
        let mut fill = None;
        if node.is("ConstantOfShape")
            && let Some(out) = node.output(0)
            && is_f32(edit.body(), out)
        {
            let value = match node.attr("value") {
                Some(AttrValue::Tensor(t)) => t.clone(),
                _ => Tensor::from_f32(vec![1], &[0.0])?,
            };
            match fate(edit, out, &value, half)? {
                Fate::Half(tensor) => fill = Some(tensor),
                Fate::Stays => return Ok(None),
            }
        }
        Ok(Some(Self { inputs, outputs, fill }))
    }

    /// Changes the attribute that gives the element type of the output.
    fn retype(&self, node: &mut Node, half: Half) {
        let (name, value) = match (&self.fill, node.op.as_str()) {
            (Some(fill), _) => ("value", AttrValue::Tensor(fill.clone())),
            (None, "Cast") => ("to", AttrValue::Int(half.dtype().number())),
            _ => return,
        };
        match node.attrs.iter_mut().find(|a| a.name == name) {
            Some(attr) => attr.value = value,
            None => *node = node.clone().with(name, value),
        }
    }
}

/// The two versions of a value that was f32.
#[derive(Clone, Copy, Debug, Default)]
struct Versions {
    half: Option<ValueId>,
    full: Option<ValueId>,
}

struct Rewrite<'g> {
    edit: Edit<'g>,
    half: Half,
    /// By the value that consumers referred to.
    versions: HashMap<ValueId, Versions>,
    /// The Casts between versions.
    casts: HashSet<NodeId>,
}

fn is_f32(body: &Body, id: ValueId) -> bool {
    body.tensor_type(id).is_some_and(|(dtype, _)| dtype == DType::F32)
}

/// Whether something needs the value itself to keep its name and its type.
fn is_anchored(edit: &Edit<'_>, id: ValueId) -> bool {
    edit.body().inputs().contains(&id) || edit.uses(id).iter().any(|u| !matches!(u, Use::Input(..)))
}

/// Whether a value is the sums of an integer matrix product as f32.
fn is_accumulators(edit: &Edit<'_>, id: ValueId) -> bool {
    let maker = |id| edit.producer(id).and_then(|n| edit.body().node(n));
    maker(id)
        .filter(|n| n.is("Cast"))
        .and_then(|n| n.input(0))
        .and_then(maker)
        .is_some_and(|n| n.is("MatMulInteger") || n.is("ConvInteger"))
}

/// Whether a node belongs to the way from integer sums back to reals: the Cast of the sums, the Mul
/// by their scale, or a Mul that makes nothing but that scale. Sums of products of 8-bit integers
/// pass the range of f16, and products of scales fall below it.
fn scales_accumulators(edit: &Edit<'_>, node: &Node) -> bool {
    let Some(out) = node.output(0) else { return false };
    if node.is("Cast") {
        return is_accumulators(edit, out);
    }
    let scales =
        |n: &Node| n.is("Mul") && n.inputs.iter().flatten().any(|id| is_accumulators(edit, *id));
    let makes_scale = || {
        let uses = edit.uses(out);
        !uses.is_empty()
            && uses.iter().all(|u| match u {
                Use::Input(user, _) => edit.body().node(*user).is_some_and(scales),
                Use::Captured(_) | Use::Output(_) => false,
            })
    };
    node.is("Mul") && (scales(node) || makes_scale())
}

impl Rewrite<'_> {
    /// Narrows constants in place, or beside the f32 one where something reads that.
    fn constants(
        &mut self,
        narrow: BTreeMap<ValueId, Tensor>,
        parts: &BTreeMap<NodeId, Part>,
    ) -> Result<()> {
        for (id, tensor) in narrow {
            let full = is_anchored(&self.edit, id)
                || self.edit.uses(id).iter().any(|u| match u {
                    Use::Input(node, i) => {
                        parts.get(node).is_none_or(|p| class_at(&p.inputs, *i) == Class::Full)
                    }
                    Use::Captured(_) | Use::Output(_) => true,
                });
            let versions = if full {
                let hint = format!("{}_{}", self.edit.body().value(id).name, tensor.dtype());
                Versions { half: Some(self.edit.constant(&hint, tensor)?), full: Some(id) }
            } else {
                self.edit.set_constant(id, tensor);
                Versions { half: Some(id), full: None }
            };
            self.versions.insert(id, versions);
        }
        Ok(())
    }

    /// Gives the f32 outputs of a node that takes part the half type.
    fn outputs(&mut self, id: NodeId, part: &Part) -> Result<()> {
        let Some(mut node) = self.edit.body().node(id).cloned() else { return Ok(()) };
        let narrow = self.half.dtype();
        let mut back = Vec::new();
        let mut any = false;
        for i in 0..node.outputs.len() {
            let Some(out) = node.output(i) else { continue };
            if class_at(&part.outputs, i) != Class::Half || !is_f32(self.edit.body(), out) {
                continue;
            }
            any = true;
            if is_anchored(&self.edit, out) {
                let hint = format!("{}_{narrow}", self.edit.body().value(out).name);
                let ty = self.edit.body().value(out).ty.clone();
                let inner = self.edit.value(&hint, ty)?;
                self.edit.set_dtype(inner, narrow);
                node.outputs[i] = Some(inner);
                back.push((inner, out));
                self.versions.insert(out, Versions { half: Some(inner), full: Some(out) });
            } else {
                self.edit.set_dtype(out, narrow);
                self.versions.insert(out, Versions { half: Some(out), full: None });
            }
        }
        if any {
            part.retype(&mut node, self.half);
            self.edit.replace(id, node);
        }
        for (inner, out) in back {
            self.cast_into(inner, out, DType::F32)?;
        }
        Ok(())
    }

    /// Lets the inputs of a node that takes part read the version they need.
    fn inputs(&mut self, id: NodeId, part: &Part) -> Result<()> {
        let Some(node) = self.edit.body().node(id).cloned() else { return Ok(()) };
        for (i, input) in node.inputs.iter().enumerate() {
            let Some(v) = *input else { continue };
            let known = self.versions.get(&v).copied();
            if known.is_none() && !is_f32(self.edit.body(), v) {
                continue;
            }
            let wanted = match class_at(&part.inputs, i) {
                Class::Half => self.half_of(v)?,
                Class::Full => self.full_of(v)?,
                Class::Either => known.and_then(|k| k.full.or(k.half)).unwrap_or(v),
            };
            if wanted != v {
                self.edit.set_input(id, i, Some(wanted));
            }
        }
        Ok(())
    }

    /// Lets the nodes that keep f32 read the f32 version.
    fn border(&mut self, parts: &BTreeMap<NodeId, Part>) -> Result<()> {
        let rest: Vec<NodeId> = self
            .edit
            .body()
            .nodes()
            .map(|(id, _)| id)
            .filter(|id| !parts.contains_key(id) && !self.casts.contains(id))
            .collect();
        for id in rest {
            let inputs = self.edit.body().node(id).map(|n| n.inputs.clone()).unwrap_or_default();
            for (i, v) in inputs.into_iter().enumerate() {
                let Some(v) = v else { continue };
                let wanted = self.full_of(v)?;
                if wanted != v {
                    self.edit.set_input(id, i, Some(wanted));
                }
            }
        }
        Ok(())
    }

    fn half_of(&mut self, v: ValueId) -> Result<ValueId> {
        if let Some(half) = self.versions.get(&v).and_then(|x| x.half) {
            return Ok(half);
        }
        let made = self.cast(v, self.half.dtype())?;
        self.versions.insert(v, Versions { half: Some(made), full: Some(v) });
        Ok(made)
    }

    fn full_of(&mut self, v: ValueId) -> Result<ValueId> {
        match self.versions.get(&v).copied() {
            Some(Versions { full: Some(full), .. }) => Ok(full),
            Some(Versions { half: Some(half), full: None }) => {
                let made = self.cast(half, DType::F32)?;
                self.versions.insert(v, Versions { half: Some(half), full: Some(made) });
                Ok(made)
            }
            _ => Ok(v),
        }
    }

    fn cast(&mut self, from: ValueId, dtype: DType) -> Result<ValueId> {
        let value = self.edit.body().value(from);
        let (hint, ty) = (format!("{}_to_{dtype}", value.name), value.ty.clone());
        let made = self.edit.value(&hint, ty)?;
        self.edit.set_dtype(made, dtype);
        self.cast_into(from, made, dtype)?;
        Ok(made)
    }

    fn cast_into(&mut self, from: ValueId, to: ValueId, dtype: DType) -> Result<()> {
        let number = AttrValue::Int(dtype.number());
        let mut node = Node::new("Cast", &[from], &[to]).with("to", number);
        node.name = format!("{}_to_{dtype}", self.edit.body().value(from).name);
        let id = self.edit.add(node)?;
        self.casts.insert(id);
        Ok(())
    }
}

/// Classes of the inputs and outputs; a last one with `true` repeats.
type Classes = (Vec<Class>, bool);

fn class_at((classes, repeats): &Classes, i: usize) -> Class {
    match classes.get(i) {
        Some(c) => *c,
        None if *repeats => classes.last().copied().unwrap_or(Class::Full),
        None => Class::Full,
    }
}

/// What the specification says of a node's inputs and outputs; `None` where the node keeps f32.
fn node_classes(node: &Node, opset: i64, half: Half) -> Option<(Classes, Classes)> {
    if !node.is(&node.op) || node.subgraphs().next().is_some() {
        return None;
    }
    let rows = table::TABLE.iter().filter(|(op, since, ..)| *op == node.op && *since <= opset);
    let (_, _, inputs, outputs) = rows.max_by_key(|(_, since, ..)| *since)?;
    let (mut inputs, mut outputs) = (classes(inputs, half), classes(outputs, half));
    match node.op.as_str() {
        // Reads either, so that an integer cast from a graph input is exact.
        "Cast" | "Shape" | "Size" | "IsInf" | "IsNaN" => inputs.0.fill(Class::Either),
        // Statistics are in the type of `stash_type`, which is f32 unless said otherwise.
        "LayerNormalization" => outputs.0.iter_mut().skip(1).for_each(|c| *c = Class::Full),
        _ => {}
    }
    // The element type is spelt out in the node.
    let spelt = ["dtype", "output_dtype", "output_datatype"];
    let by_default = matches!(
        node.op.as_str(),
        "RandomNormal"
            | "RandomUniform"
            | "HannWindow"
            | "HammingWindow"
            | "BlackmanWindow"
            | "MelWeightMatrix"
    );
    if by_default || spelt.iter().any(|name| node.attr(name).is_some()) {
        outputs.0.fill(Class::Full);
    }
    let some = |c: &Classes| c.0.iter().any(|c| *c != Class::Full);
    (some(&inputs) || some(&outputs)).then_some((inputs, outputs))
}

fn classes(text: &str, half: Half) -> Classes {
    let letters = text.chars().filter(|c| *c != '*');
    let class = |c| match (c, half) {
        ('a', _) | ('h', Half::F16) | ('b', Half::BF16) => Class::Half,
        _ => Class::Full,
    };
    (letters.map(class).collect(), text.ends_with('*'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::Dim;

    /// x f32 [n] and the graph that `build` makes of it; the values it returns are the outputs.
    fn graph(opset: i64, build: impl Fn(&mut Edit<'_>, ValueId) -> Vec<ValueId>) -> Graph {
        let mut g = Graph::new("g", 8, opset);
        let x = g.body.intern("x").unwrap();
        g.body.value_mut(x).ty = Some(Type::tensor(DType::F32, [Dim::symbol("n")]));
        g.body.add_input(x);
        let mut e = g.edit();
        let outputs = build(&mut e, x);
        let names: Vec<String> =
            outputs.into_iter().map(|id| e.body().value(id).name.clone()).collect();
        e.finish().unwrap();
        for name in names {
            let id = g.body.find(&name).unwrap();
            g.body.add_output(id);
        }
        op::infer(&mut g).unwrap();
        g
    }

    fn f16(mut g: Graph) -> Vec<String> {
        run(&mut g, &Params::new([("dtype", "f16")]), &Observed::default()).unwrap();
        let name = |id: &Option<ValueId>| g.body.value(id.unwrap()).name.clone();
        g.body
            .nodes()
            .map(|(_, n)| {
                let inputs: Vec<String> = n.inputs.iter().map(name).collect();
                format!("{} = {}({})", name(&n.outputs[0]), n.op, inputs.join(", "))
            })
            .collect()
    }

    #[test]
    fn an_operator_without_half_types_in_this_operator_set_keeps_f32_between_casts() {
        let build = |e: &mut Edit<'_>, x| {
            let axis = e.constant("axis", Tensor::from_i64(vec![1], &[0]).unwrap()).unwrap();
            let a = e.op("Neg", "a", &[x], &[]).unwrap();
            let b = e.op("CumSum", "b", &[a, axis], &[]).unwrap();
            vec![e.op("Neg", "c", &[b], &[]).unwrap()]
        };
        assert_eq!(
            f16(graph(13, build)),
            [
                "x_to_f16 = Cast(x)",
                "a = Neg(x_to_f16)",
                "a_to_f32 = Cast(a)",
                "b = CumSum(a_to_f32, axis)",
                "b_to_f16 = Cast(b)",
                "c_f16 = Neg(b_to_f16)",
                "c = Cast(c_f16)",
            ]
        );
        assert!(f16(graph(14, build)).contains(&"b = CumSum(a, axis)".to_owned()));
    }

    #[test]
    fn a_node_that_a_pattern_means_or_that_was_seen_to_overflow_keeps_f32() {
        let build = |e: &mut Edit<'_>, x| {
            let a = e.op("Neg", "a", &[x], &[]).unwrap();
            let b = e.op("Abs", "b", &[a], &[]).unwrap();
            vec![e.op("Neg", "c", &[b], &[]).unwrap()]
        };
        let run_with = |params: &[(&str, &str)], seen: &[(&str, f32)]| {
            let mut g = graph(17, build);
            let mut all = Params::new([("dtype", "f16")]);
            params.iter().for_each(|(k, v)| all.set(k, Some((*v).to_owned())));
            let mut observed = Observed::default();
            for (name, max) in seen {
                let range = crate::pass::Range { min: 0.0, max: *max };
                observed.ranges.insert((*name).to_owned(), range);
            }
            run(&mut g, &all, &observed).unwrap();
            let input = |n: &Node| g.body.value(n.input(0).unwrap()).name.clone();
            let abs = g.body.nodes().find(|(_, n)| n.is("Abs")).unwrap().1;
            input(abs)
        };
        assert_eq!(run_with(&[], &[]), "a");
        assert_eq!(run_with(&[("exclude", "Abs")], &[]), "a_to_f32");
        assert_eq!(run_with(&[("overrides", "fp32 ^b$")], &[]), "a_to_f32");
        assert_eq!(run_with(&[], &[("b", 60_000.0)]), "a_to_f32");
        assert_eq!(run_with(&[("overrides", "fp16 ^b$")], &[("b", 60_000.0)]), "a");
        assert_eq!(run_with(&[], &[("b", 30_000.0)]), "a");
    }

    #[test]
    fn a_cast_to_an_integer_reads_the_graph_input_itself() {
        let nodes = f16(graph(17, |e, x| {
            let to = [("to", AttrValue::Int(DType::I64.number()))];
            let ids = e.op("Cast", "ids", &[x], &to).unwrap();
            vec![ids, e.op("Neg", "y", &[x], &[]).unwrap()]
        }));
        assert!(nodes.contains(&"ids = Cast(x)".to_owned()), "{nodes:?}");
    }

    #[test]
    fn an_unknown_operator_and_all_that_reads_it_keep_f32() {
        let nodes = f16(graph(17, |e, x| {
            let a = e.op("NoSuchOp", "a", &[x], &[]).unwrap();
            let w = e.constant("w", Tensor::from_f32(vec![1], &[2.0]).unwrap()).unwrap();
            vec![e.op("Mul", "b", &[a, w], &[]).unwrap()]
        }));
        assert_eq!(nodes, ["a = NoSuchOp(x)", "b = Mul(a, w)"]);
    }

    #[test]
    fn a_constant_out_of_range_that_masks_nothing_stays_with_its_reader_in_f32() {
        for value in [1e6, -1e6, 1e-6] {
            let nodes = f16(graph(17, |e, x| {
                let w = Tensor::from_f32(vec![1], &[value]).unwrap();
                let w = e.constant("w", w).unwrap();
                vec![e.op("Mul", "y", &[x, w], &[]).unwrap()]
            }));
            assert_eq!(nodes, ["y = Mul(x, w)"], "{value}");
        }
    }

    #[test]
    fn a_constant_read_in_both_precisions_is_there_in_both() {
        let nodes = f16(graph(13, |e, x| {
            let w = e.constant("w", Tensor::from_f32(vec![3], &[1.0, 2.0, 3.0]).unwrap()).unwrap();
            let axis = e.constant("axis", Tensor::from_i64(vec![1], &[0]).unwrap()).unwrap();
            let a = e.op("CumSum", "a", &[w, axis], &[]).unwrap();
            vec![a, e.op("Mul", "y", &[x, w], &[]).unwrap()]
        }));
        assert!(nodes.contains(&"a = CumSum(w, axis)".to_owned()), "{nodes:?}");
        assert!(nodes.contains(&"y_f16 = Mul(x_to_f16, w_f16)".to_owned()), "{nodes:?}");
    }
}
