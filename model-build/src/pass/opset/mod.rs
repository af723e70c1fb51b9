//! Converts a graph from one version of the standard operator set to another, up or down.
//!
//! The conversion goes one version at a time. An operator whose definition changes with version `v`
//! has a `Step` for `v`, if what its nodes must say changes at all; where a version only widens the
//! element types, the table of facts (`table`) is enough. Going down, each node is then held to what
//! the table says of the older version: an attribute that older version does not have goes if it has
//! its default value, an element type that it does not have is cast around where that is exact
//! (`casting`), and everything else that it cannot say is an error.
//!
//! ```text
//! before (opset 17): x ─▶ LayerNormalization ─▶ y
//! after  (opset 16): x ─▶ ReduceMean ─▶ Sub ─▶ Mul ─▶ ReduceMean ─▶ Add ─▶ Sqrt ─▶ Div ─▶ … ─▶ y
//! ```
#![allow(clippy::unnecessary_wraps)] // every adapter has one signature, whether it can fail or not

mod attribute;
mod axes;
mod axis;
mod broadcast;
mod casting;
mod constant;
mod control;
mod elementary;
mod facts;
mod ir;
mod logic;
mod normalization;
mod pad;
mod quantize;
mod refusal;
mod resize;
mod rotary;
mod select;
mod site;
mod slice;
mod softmax;
mod table;

use std::ops::RangeInclusive;

pub use refusal::{Refusal, refusal};

use facts::Facts;
use site::Site;

use crate::error::{Error, Result};
use crate::hub::{Attr, AttrValue, Body, Edit, Graph, NodeId};
use crate::op;

/// The versions of the standard operator set that graphs are converted between.
pub const OPSETS: RangeInclusive<i64> = 7..=28;

/// Bumped when a conversion's result changes.
pub const REVISION: u32 = 1;

/// What an adapter does to a node.
type Adapt = fn(&mut Site<'_, '_>) -> Result<()>;

/// What nodes of an operator become where its definition changes.
struct Step {
    op: &'static str,
    /// The first version of the operator set that has the changed definition.
    version: i64,
    /// From the version before to this one.
    up: Adapt,
    /// From this version to the one before. A node of an operator that the version before does not
    /// have becomes nodes of operators that it has.
    down: Adapt,
}

/// The direction of a conversion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Up,
    Down,
}

/// For steps that change nothing in a direction: the definitions differ in what they permit.
fn keep(_: &mut Site<'_, '_>) -> Result<()> {
    Ok(())
}

/// The steps of all operators.
static STEPS: &[&[Step]] = &[
    attribute::STEPS,
    axes::STEPS,
    axis::STEPS,
    broadcast::STEPS,
    constant::STEPS,
    control::STEPS,
    elementary::STEPS,
    logic::STEPS,
    normalization::STEPS,
    pad::STEPS,
    quantize::STEPS,
    resize::STEPS,
    rotary::STEPS,
    select::STEPS,
    slice::STEPS,
    softmax::STEPS,
];

fn step(op: &str, version: i64) -> Option<&'static Step> {
    STEPS.iter().copied().flatten().find(|s| s.op == op && s.version == version)
}

/// Converts a graph to a version of the standard operator set: the main graph, all subgraphs and the
/// bodies of model-local functions. Other domains stay as they are. The IR version becomes the least
/// that the operator set and the contents need when going down, and rises with the set when going up.
///
/// # Errors
/// [`Unsupported`](crate::ErrorKind::Unsupported) names the node and what the version asked for cannot
/// say, or the range of versions if `to` or the graph's own is outside of it; [`refusal`] tells which
/// kind of obstacle it is. [`Malformed`](crate::ErrorKind::Malformed) names an attribute of the wrong
/// kind. The graph is left as it was.
pub fn convert(graph: &mut Graph, to: i64) -> Result<()> {
    if !graph.opsets.contains_key("") {
        // Nothing of the standard domain is there to be converted.
        return Ok(());
    }
    let from = graph.opset();
    if from == to {
        return Ok(());
    }
    for (what, version) in [("the graph is of", from), ("the manifest asks for", to)] {
        if !OPSETS.contains(&version) {
            let (first, last) = (OPSETS.start(), OPSETS.end());
            return Err(Error::unsupported(format!(
                "{what} opset {version}; conversion is between {first} and {last}"
            ))
            .hint(format!("leave `opset-version` out to keep opset {from}")));
        }
    }
    let mut work = graph.clone();
    let way = if from < to { Way::Up } else { Way::Down };
    let steps: Vec<i64> = match way {
        Way::Up => (from + 1..=to).collect(),
        Way::Down => (to + 1..=from).rev().collect(),
    };
    for version in steps {
        one_step(&mut work, version, way).map_err(|e| e.hint(way_out(version, way)))?;
    }
    ir::settle(&mut work, way)?;
    *graph = work;
    Ok(())
}

fn way_out(version: i64, way: Way) -> String {
    match way {
        Way::Down => format!("`opset-version = {version}` or newer can say it"),
        Way::Up => format!("`opset-version = {}` or older can say it", version - 1),
    }
}

fn one_step(graph: &mut Graph, version: i64, way: Way) -> Result<()> {
    let after = if way == Way::Up { version } else { version - 1 };
    if touched(&graph.body, version) {
        // Where the rules find a contradiction, what the file says of its values is all that is known.
        let typed = op::known(graph).unwrap_or_else(|_| graph.clone());
        let pass =
            Pass { version, way, after, ir_version: graph.ir_version, constants_as_nodes: false };
        pass.body(&mut graph.body, &typed.body, &Facts::default())?;
    }
    for function in &mut graph.functions {
        let Some(own) = function.opsets.get_mut("") else { continue };
        let before = if way == Way::Up { version - 1 } else { version };
        if *own != before {
            continue;
        }
        let name = format!("function `{}`", function.body.name);
        let pass =
            Pass { version, way, after, ir_version: graph.ir_version, constants_as_nodes: true };
        let typed = function.body.clone();
        pass.body(&mut function.body, &typed, &Facts::default()).map_err(|e| e.item(name))?;
        *own = after;
    }
    graph.opsets.insert(String::new(), after);
    Ok(())
}

/// Whether some node of a body or its subgraphs is of an operator that `version` defines anew.
fn touched(body: &Body, version: i64) -> bool {
    body.nodes().any(|(_, n)| {
        (is_standard(&n.domain) && table::changes(&n.op, version))
            || n.subgraphs().any(|inner| touched(inner, version))
    })
}

fn is_standard(domain: &str) -> bool {
    domain.is_empty() || domain == "ai.onnx"
}

/// One version's step over one graph.
struct Pass {
    version: i64,
    way: Way,
    after: i64,
    ir_version: i64,
    /// Whether constants become `Constant` nodes: subgraphs and functions hold no initializers in
    /// every IR version.
    constants_as_nodes: bool,
}

impl Pass {
    fn body(&self, body: &mut Body, typed: &Body, outer: &Facts) -> Result<()> {
        if !touched(body, self.version) {
            return Ok(());
        }
        let facts = outer.within(typed, self.ir_version);
        let nested = Self { constants_as_nodes: true, ..*self };
        let holders: Vec<NodeId> =
            body.nodes().filter(|(_, n)| n.subgraphs().next().is_some()).map(|(i, _)| i).collect();
        for id in holders {
            let (Some(mut node), Some(known)) = (body.node(id).cloned(), typed.node(id)) else {
                continue;
            };
            for (inner, typed) in node.subgraphs_mut().zip(known.subgraphs()) {
                nested.body(inner, typed, &facts)?;
            }
            Edit::new(body).replace(id, node);
        }
        let mut edit = Edit::new(body);
        let ids: Vec<NodeId> = edit
            .body()
            .nodes()
            .filter(|(_, n)| is_standard(&n.domain) && table::changes(&n.op, self.version))
            .map(|(id, _)| id)
            .collect();
        for id in ids {
            let Some(mut site) = Site::new(&mut edit, id, &facts, self.after) else { continue };
            site.constants_as_nodes = self.constants_as_nodes;
            let label = site.node.label();
            self.node(&mut site).map_err(|e| e.item(label))?;
        }
        drop_unused_constants(&mut edit);
        edit.finish()
    }

    fn node(&self, site: &mut Site<'_, '_>) -> Result<()> {
        let op = site.node.op.clone();
        let step = step(&op, self.version);
        let referred = |a: &&Attr| matches!(a.value, AttrValue::Reference(..));
        if let (Some(_), Some(attr)) = (step, site.node.attrs.iter().find(referred)) {
            let text = format!("attribute `{}` of `{op}` is given by the function", attr.name);
            return Err(site.lacks(text));
        }
        if self.way == Way::Up {
            return match step {
                Some(step) => (step.up)(site),
                None => Ok(()),
            };
        }
        match step {
            Some(step) => (step.down)(site)?,
            None if table::first(&op) == Some(self.version) => {
                return Err(site.refuse(
                    Refusal::NoOperator,
                    format!("`{op}` does not exist before opset {}", self.version),
                ));
            }
            None => {}
        }
        site.hold_to_table()
    }
}

/// Removes `Constant` nodes whose value went into an attribute.
fn drop_unused_constants(edit: &mut Edit<'_>) {
    let unused: Vec<NodeId> = edit
        .body()
        .nodes()
        .filter(|(_, n)| n.is("Constant"))
        .filter(|(_, n)| n.outputs.iter().flatten().all(|v| edit.uses(*v).is_empty()))
        .map(|(id, _)| id)
        .collect();
    unused.into_iter().for_each(|id| edit.remove(id));
}

#[cfg(test)]
mod tests;
