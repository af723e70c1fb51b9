//! Where the error comes from: every value that both graphs have, compared, and for each the error
//! that the nodes before it add.
//!
//! Passes keep the names of values, so a value of the artifact that has the name of one of the
//! reference stands for the same thing. Three graphs run on the same inputs, none of them optimized:
//!
//! ```text
//! reference:  x ─ A ─ a ─ B ─ b ─ C ─ c        its values are the truth
//! artifact:   x ─ A'─ a'─ B'─ b'─ C'─ c'       error of c: c' against c, all that came before included
//! cut:        x ─ A'─ a₁  a ─ B'─ b₁  b ─ C'─ c₁   blame of c: c₁ against c
//! ```
//!
//! The cut graph is the artifact's, where every value that is compared is fed with the reference's
//! numbers: what it computes differs from the reference by what the nodes between two compared
//! values add, and by nothing they inherit. Nodes that a pass left alone have a blame of exactly 0.
//!
//! Values are looked at in groups, so that memory holds the values of one group and not of the whole
//! graph; each group runs the part of the graphs that leads to it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::inputs::{Feed, InputSpec, Inputs};
use super::metrics::{cosine, relative, values};
use crate::error::{Error, Result};
use crate::hub::{Body, DType, Graph, Tensor, part};
use crate::op;
use crate::run::{self, Files, Model, Runner, RunnerChoice, Session, Setup, converted};

/// Every value that both graphs compute.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Layers {
    /// In the order in which the reference computes them.
    pub layers: Vec<Layer>,
    /// Names of values that have another shape in the artifact and were left out.
    pub other_shapes: Vec<String>,
    /// What ran the graphs.
    pub runner: String,
    /// How: optimizations.
    pub level: String,
    /// What the inputs were.
    pub inputs: String,
}

/// One value of both graphs, over all samples.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Layer {
    /// The value's name.
    pub name: String,
    /// The operator that computes it in the reference.
    pub op: String,
    /// The operators between the compared values and this one in the artifact, in order, each once.
    pub becomes: Vec<String>,
    /// Cosine similarity of all elements as one vector.
    pub cosine: f64,
    /// The length of the difference over the length of the reference; `None` when the reference is
    /// zero and the artifact is not.
    pub relative: Option<f64>,
    /// The greatest absolute difference.
    pub max_abs: f64,
    /// The relative error of the artifact's nodes before this value when they are fed with the
    /// reference's values; `None` as for `relative`.
    pub blame: Option<f64>,
    /// Number of elements that were compared: those that are finite on both sides.
    pub compared: u64,
    /// Number of elements of which one side is not finite and the other is not the same.
    pub nonfinite: u64,
}

impl Layers {
    /// The layers that add an error, the greatest blame first. A blame that is not known is the
    /// greatest.
    pub fn worst(&self) -> Vec<&Layer> {
        let mut found: Vec<&Layer> = self.layers.iter().filter(|l| l.blame != Some(0.0)).collect();
        let blame = |l: &Layer| l.blame.unwrap_or(f64::INFINITY);
        found.sort_by(|a, b| blame(b).total_cmp(&blame(a)));
        found
    }
}

/// Bytes of one sample's values that a group may have.
const GROUP_BYTES: u64 = 32 << 20;
/// Values of the first group, when it is not known yet how large they are.
const FIRST_GROUP: usize = 16;
/// Most values of a group: each is copied several times.
const MOST_VALUES: usize = 512;

/// Compares every floating-point value that both graphs compute under the same name; `progress`
/// hears how many of how many are done.
///
/// # Errors
/// A model cannot be run, or their inputs differ.
pub fn layers(
    choice: RunnerChoice,
    reference: &Files,
    artifact: &Files,
    inputs: &InputSpec,
    labels: Option<&str>,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Layers> {
    let runner = run::choose(choice)?;
    let setup = Setup { optimize: false, ..Setup::default() };
    let near = artifact.files.first().map(|(_, path)| path.clone()).unwrap_or_default();
    let inferred = |files: &Files, which: &str| {
        let mut graph = Model::open(files)?.graph;
        op::infer(&mut graph).map_err(|e| e.item(which.to_owned()))?;
        Ok::<_, Error>(graph)
    };
    let reference = inferred(reference, "the reference graph")?;
    let artifact = inferred(artifact, "the artifact")?;
    let inputs = Inputs::prepare(inputs, labels, &reference, &artifact)?;
    let common = common(&reference.body, &artifact.body);
    let looker = Looker {
        runner: &*runner,
        setup,
        near: &near,
        reference: &reference,
        artifact: &artifact,
        common: common.iter().map(|c| c.name.as_str()).collect(),
        inputs: &inputs,
    };
    let mut out = Layers {
        layers: Vec::new(),
        other_shapes: Vec::new(),
        runner: runner.name(),
        level: runner.level(&setup),
        inputs: inputs.describe(),
    };
    let (mut done, mut size) = (0, FIRST_GROUP);
    while let Some(group) = common.get(done..).filter(|rest| !rest.is_empty()) {
        let group = group.get(..size).unwrap_or(group);
        let (sums, bytes) = looker.group(group)?;
        for (value, sums) in group.iter().zip(sums) {
            if sums.other_shape {
                out.other_shapes.push(value.name.clone());
            } else {
                out.layers.push(sums.finish(value));
            }
        }
        done += group.len();
        progress(done, common.len());
        let each = bytes.div_ceil(group.len() as u64).max(1);
        size = usize::try_from(GROUP_BYTES / each).unwrap_or(MOST_VALUES).clamp(1, MOST_VALUES);
    }
    Ok(out)
}

/// A value that both graphs compute.
struct Common {
    name: String,
    op: String,
    becomes: Vec<String>,
}

/// The floating-point values that a node computes in both graphs, in the reference's order.
fn common(reference: &Body, artifact: &Body) -> Vec<Common> {
    let makers: BTreeMap<&str, &str> = makers(artifact);
    let float = |body: &Body, name: &str| {
        let dtype = body.find(name).and_then(|id| body.tensor_type(id)).map(|(dtype, _)| dtype);
        dtype.is_some_and(|d| matches!(d, DType::F32 | DType::F16 | DType::BF16 | DType::F64))
    };
    let mut out = Vec::new();
    for (_, node) in reference.nodes() {
        for id in node.outputs.iter().flatten() {
            let name = &reference.value(*id).name;
            if makers.contains_key(name.as_str()) && float(reference, name) && float(artifact, name)
            {
                out.push(Common { name: name.clone(), op: node.op.clone(), becomes: Vec::new() });
            }
        }
    }
    let names: BTreeSet<String> = out.iter().map(|c| c.name.clone()).collect();
    let between = between(artifact, &names);
    for value in &mut out {
        value.becomes = between.get(&value.name).cloned().unwrap_or_default();
    }
    out
}

/// Each computed value's name and its operator.
fn makers(body: &Body) -> BTreeMap<&str, &str> {
    let nodes = body.nodes();
    nodes
        .flat_map(|(_, node)| {
            let values = node.outputs.iter().flatten();
            values.map(|id| (body.value(*id).name.as_str(), node.op.as_str()))
        })
        .collect()
}

/// For each of the named values, the operators between the named values before it and itself, each
/// once. Operators that compute shapes only are among them.
fn between(body: &Body, names: &BTreeSet<String>) -> BTreeMap<String, Vec<String>> {
    let mut since: BTreeMap<&str, BTreeSet<usize>> = BTreeMap::new();
    let nodes: Vec<_> = body.nodes().map(|(_, node)| node).collect();
    let mut out = BTreeMap::new();
    for (i, node) in nodes.iter().enumerate() {
        let mut before = BTreeSet::from([i]);
        for id in node.inputs.iter().flatten() {
            let name = body.value(*id).name.as_str();
            if !names.contains(name) {
                before.extend(since.get(name).into_iter().flatten());
            }
        }
        for id in node.outputs.iter().flatten() {
            let name = body.value(*id).name.as_str();
            if names.contains(name) {
                let mut ops: Vec<String> = Vec::new();
                for op in before.iter().filter_map(|i| nodes.get(*i)).map(|node| &node.op) {
                    if !ops.contains(op) {
                        ops.push(op.clone());
                    }
                }
                out.insert(name.to_owned(), ops);
            }
            since.insert(name, before.clone());
        }
    }
    out
}

/// What every group is looked at with.
struct Looker<'a> {
    runner: &'a dyn Runner,
    setup: Setup,
    near: &'a Path,
    reference: &'a Graph,
    artifact: &'a Graph,
    common: BTreeSet<&'a str>,
    inputs: &'a Inputs,
}

/// A loaded part of a graph.
struct Loaded {
    session: Box<dyn Session>,
    /// The inputs of the whole that it needs.
    inputs: BTreeSet<String>,
    /// Keeps the files.
    model: Model,
}

impl Looker<'_> {
    fn load(&self, graph: Graph) -> Result<Loaded> {
        let model = Model::of(graph, self.near)?;
        let session = self.runner.load(&model, &self.setup)?;
        let body = &model.graph.body;
        let inputs = body.inputs().iter().map(|id| body.value(*id).name.clone()).collect();
        Ok(Loaded { session, inputs, model })
    }

    /// Sums over all samples of a group's values, and the bytes of one sample's values.
    fn group(&self, group: &[Common]) -> Result<(Vec<Sums>, u64)> {
        let wanted: Vec<&str> = group.iter().map(|c| c.name.as_str()).collect();
        let cut = part(self.artifact, &wanted, &|name| self.common.contains(name))?;
        let mut truth: Vec<&str> = wanted.clone();
        truth.extend(cut.given.iter().map(String::as_str).filter(|n| !wanted.contains(n)));
        let mut reference = self.load(part(self.reference, &truth, &|_| false)?.graph)?;
        let mut artifact = self.load(part(self.artifact, &wanted, &|_| false)?.graph)?;
        let mut own = self.load(cut.graph)?;
        let mut sums: Vec<Sums> = wanted.iter().map(|_| Sums::default()).collect();
        let mut bytes = 0u64;
        for sample in 0..self.inputs.samples() {
            let Feed { reference: given, artifact: converted_inputs } =
                self.inputs.sample(sample)?;
            let truth = reference.run(&given)?;
            let whole = artifact.run(&converted_inputs)?;
            let mut fed = converted_inputs;
            for name in &cut.given {
                let dtype = own.dtype(name)?;
                fed.insert(name.clone(), converted(found(&truth, name)?, dtype)?);
            }
            let own = own.run(&fed)?;
            for (name, sums) in wanted.iter().zip(&mut sums) {
                let called = cut.outputs.get(*name).map_or(*name, String::as_str);
                sums.add(name, found(&truth, name)?, found(&whole, name)?, found(&own, called)?)?;
            }
            bytes = bytes.max(truth.values().chain(whole.values()).map(Tensor::byte_len).sum());
        }
        Ok((sums, bytes))
    }
}

fn found<'t>(tensors: &'t BTreeMap<String, Tensor>, name: &str) -> Result<&'t Tensor> {
    tensors.get(name).ok_or_else(|| Error::bug("a runner gives no value of this name").item(name))
}

impl Loaded {
    /// Runs it with those of the given tensors that it takes.
    fn run(&mut self, tensors: &BTreeMap<String, Tensor>) -> Result<BTreeMap<String, Tensor>> {
        let taken = tensors.iter().filter(|(name, _)| self.inputs.contains(*name));
        let feed = taken.map(|(name, tensor)| (name.clone(), tensor.clone())).collect();
        self.session.run(&feed)
    }

    /// The element type of an input.
    fn dtype(&self, name: &str) -> Result<DType> {
        let body = &self.model.graph.body;
        let dtype = body.find(name).and_then(|id| body.tensor_type(id)).map(|(dtype, _)| dtype);
        dtype.ok_or_else(|| Error::bug("the element type of a value is not known").item(name))
    }
}

/// Sums over one value.
#[derive(Default)]
struct Sums {
    dot: f64,
    reference: f64,
    artifact: f64,
    difference: f64,
    own_difference: f64,
    own_reference: f64,
    max_abs: f64,
    compared: u64,
    nonfinite: u64,
    other_shape: bool,
}

impl Sums {
    fn add(&mut self, name: &str, truth: &Tensor, whole: &Tensor, own: &Tensor) -> Result<()> {
        if truth.shape() != whole.shape() || truth.shape() != own.shape() {
            self.other_shape = true;
            return Ok(());
        }
        let (x, y, z) = (values(name, truth)?, values(name, whole)?, values(name, own)?);
        for ((x, y), z) in x.iter().zip(&y).zip(&z) {
            if x.is_finite() && z.is_finite() {
                self.own_reference += x * x;
                self.own_difference += (x - z) * (x - z);
            }
            if x.is_finite() && y.is_finite() {
                self.compared += 1;
                self.dot += x * y;
                self.reference += x * x;
                self.artifact += y * y;
                self.difference += (x - y) * (x - y);
                self.max_abs = self.max_abs.max((x - y).abs());
            } else if !(x == y || (x.is_nan() && y.is_nan())) {
                self.nonfinite += 1;
            }
        }
        Ok(())
    }

    fn finish(self, value: &Common) -> Layer {
        Layer {
            name: value.name.clone(),
            op: value.op.clone(),
            becomes: value.becomes.clone(),
            cosine: cosine(self.dot, self.reference, self.artifact),
            relative: relative(self.difference, self.reference),
            max_abs: self.max_abs,
            blame: relative(self.own_difference, self.own_reference),
            compared: self.compared,
            nonfinite: self.nonfinite,
        }
    }
}
