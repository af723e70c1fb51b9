//! ONNX Runtime as an optimizer: what it makes of a graph before it would run it.

#[cfg(feature = "ort")]
use std::collections::{HashMap, HashSet};

use crate::error::Result;
use crate::hub::Graph;
#[cfg(feature = "ort")]
use crate::hub::{Body, Edit, Node, NodeId, ValueId};

/// How far ONNX Runtime goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Changes that keep every operator standard.
    Basic,
    /// Fusions to operators that only ONNX Runtime has.
    Extended,
    /// Changes of layout for the processor it runs on.
    All,
}

impl Level {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Basic => "basic",
            Self::Extended => "extended",
            Self::All => "all",
        }
    }
}

/// Bumped when [`optimized`] gives something else for the same library.
pub const OPTIMIZED_REVISION: u32 = 1;

/// What decides the result besides the graph and the level: the library's version and, where layouts
/// are changed, the processor. Opens the library.
pub fn optimizer_identity(level: Level) -> Result<String> {
    let identity = super::runner::onnxruntime()?.name();
    Ok(match level {
        Level::Basic | Level::Extended => identity,
        Level::All => format!("{identity}, {}", processor()),
    })
}

/// The processor, as far as ONNX Runtime's kernels tell processors apart.
fn processor() -> String {
    let mut text = std::env::consts::ARCH.to_owned();
    #[cfg(target_arch = "x86_64")]
    for (name, there) in [
        ("avx", std::arch::is_x86_feature_detected!("avx")),
        ("avx2", std::arch::is_x86_feature_detected!("avx2")),
        ("avx512f", std::arch::is_x86_feature_detected!("avx512f")),
    ] {
        if there {
            text.push(' ');
            text.push_str(name);
        }
    }
    text
}

/// The graph as ONNX Runtime would run it at that level.
///
/// # Errors
/// The library is not found, or does not take the graph.
#[cfg(feature = "ort")]
pub fn optimized(graph: &Graph, level: Level) -> Result<Graph> {
    use super::runner::{Model, Scratch};
    let near = std::env::temp_dir().join("model.onnx");
    let runtime = super::onnxruntime::OnnxRuntime::find()?;
    let model = Model::of(graph.clone(), &near)?;
    let scratch = Scratch::beside(&near)?;
    let to = scratch.place("optimized.onnx")?;
    runtime.save_optimized(&model, level, &to)?;
    let mut found = crate::format::onnx::from_file(&to)?;
    // What the model says of itself is not the optimizer's to change.
    found.producer.clone_from(&graph.producer);
    found.producer_version.clone_from(&graph.producer_version);
    found.metadata.clone_from(&graph.metadata);
    // Its own nodes are numbered as its hash tables happen to be walked.
    let mut known = HashSet::new();
    names(&graph.body, &mut known);
    rename(&mut found.body, &known);
    if level == Level::All {
        settle(&mut found.body)?;
    }
    let used = found.domains();
    found.opsets.retain(|domain, _| graph.opsets.contains_key(domain) || used.contains(domain));
    Ok(found)
}

#[cfg(feature = "ort")]
fn names(body: &Body, out: &mut HashSet<String>) {
    for (_, node) in body.nodes() {
        out.insert(node.name.clone());
        node.subgraphs().for_each(|inner| names(inner, out));
    }
}

/// Brings nodes that come in one order or another into the order of their depth and names, and leaves
/// out what is said of the values between them, which comes in as many orders.
#[cfg(feature = "ort")]
fn settle(body: &mut Body) -> Result<()> {
    let mut depths: HashMap<ValueId, usize> = HashMap::new();
    let mut order = Vec::new();
    for (id, node) in body.nodes() {
        let captured = node.subgraphs().flat_map(Body::captures).filter_map(|n| body.find(n));
        let used = node.inputs.iter().flatten().copied().chain(captured);
        let depth = used.filter_map(|v| depths.get(&v)).max().map_or(0, |d| d + 1);
        depths.extend(node.outputs.iter().flatten().map(|v| (*v, depth)));
        order.push((depth, node.name.clone(), id));
    }
    order.sort();
    for value in depths.into_keys().filter(|v| !body.outputs().contains(v)).collect::<Vec<_>>() {
        body.value_mut(value).ty = None;
    }
    let order: Vec<NodeId> = order.into_iter().map(|(.., id)| id).collect();
    Edit::new(body).finish_in_order(&order)
}

/// Nodes whose names are not known are called after their first output.
#[cfg(feature = "ort")]
fn rename(body: &mut Body, known: &HashSet<String>) {
    body.subgraphs_mut().for_each(|inner| rename(inner, known));
    let nodes: Vec<_> = body
        .nodes()
        .filter(|(_, n)| !known.contains(&n.name))
        .filter_map(|(id, n)| Some((id, body.value(n.output(0)?).name.clone())))
        .collect();
    let mut edit = Edit::new(body);
    for (id, name) in nodes {
        if let Some(node) = edit.body().node(id).cloned() {
            edit.replace(id, Node { name, ..node });
        }
    }
}

/// The graph as ONNX Runtime would run it at that level.
///
/// # Errors
/// Always: the feature `ort` is not built in.
#[cfg(not(feature = "ort"))]
pub fn optimized(_: &Graph, _: Level) -> Result<Graph> {
    Err(crate::error::Error::unsupported(
        "optimizing with ONNX Runtime: model-build was compiled without it",
    )
    .hint("enable the feature `ort`, or take `onnxruntime` out of `optimization`"))
}
