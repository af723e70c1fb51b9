//! The optimizer: runs the rewrites of [`pipeline`](super::pipeline) on every body of a graph.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::pipeline::{self, Cx, Options, PHASES, Phase, Set};
use super::{Observed, Params, PassDef, fuse, lifetime, unnamed_axes};
use crate::error::{Error, Result};
use crate::hub::{Body, Edit, Graph, Tensor};
use crate::op::{Facts, Inference, Scope};

/// Rewrites a graph into one of fewer nodes that computes the same.
///
/// ```text
/// before: x ─▶ Shape ─▶ Gather ─▶ Concat ─▶ Reshape(x, ·) ─▶ Identity ─▶ Conv ─▶ BatchNormalization ─▶ y
/// after:  x ─▶ Reshape(x, [0, -1]) ─▶ Conv ─▶ y
/// ```
///
/// Parameters: `graph` (`true`), `fusion` (`standard` or `onnxruntime`), `memory` (`true`); each
/// switches on the rewrites of its set, see `pass/pipeline.rs`. With `open` (`true`) weights stay inputs of
/// the operators that a quantization looks for. Graph inputs stay, graph outputs
/// keep their names; an initializer that a caller may override is no constant. Subgraphs are
/// rewritten too. What inference finds of shapes is recorded, so the result has it.
///
/// # Errors
/// What shape inference finds wrong with a graph, and functions of the standard domain: they would
/// give its operators another meaning.
pub static OPTIMIZE: PassDef = PassDef {
    name: "optimize",
    about: "folds constants, removes what does nothing, fuses operators",
    revision: 1,
    run,
};

/// The rewrites of a phase run no more often than this over one body: a graph that is not done then
/// has rewrites that undo each other.
const MOST_ROUNDS: usize = 64;

fn run(graph: &mut Graph, params: &Params, _: &Observed) -> Result<()> {
    let options = pipeline::options(params)?;
    let makes_contrib = options.has(Set::OnnxRuntime);
    let is_taken = |d: &str| matches!(d, "" | "ai.onnx") || (makes_contrib && d == fuse::MICROSOFT);
    if let Some(f) = graph.functions.iter().find(|f| is_taken(&f.domain)) {
        return Err(Error::unsupported(format!(
            "a model-local function that stands for an operator of the {} domain",
            if f.domain == fuse::MICROSOFT { &f.domain } else { "standard" }
        ))
        .item(&f.body.name)
        .hint("leave out `optimization`, or give the function a domain of its own"));
    }
    free_initializers(graph)?;
    let imports = graph.opsets.contains_key(fuse::MICROSOFT);
    if makes_contrib {
        graph.opsets.entry(fuse::MICROSOFT.to_owned()).or_insert(1);
    }
    unnamed_axes::name(graph);
    let result = rewrite(graph, options);
    unnamed_axes::forget(graph);
    result?;
    if !imports && !uses_domain(&graph.body, fuse::MICROSOFT) {
        graph.opsets.remove(fuse::MICROSOFT);
    }
    Ok(())
}

fn rewrite(graph: &mut Graph, options: Options) -> Result<()> {
    for phase in PHASES {
        let inference = Inference::of(graph);
        let optimizer = Optimizer {
            options,
            phase,
            inference,
            opsets: graph.opsets.clone(),
            ir_version: graph.ir_version,
        };
        optimizer.body(&mut graph.body, &Outer::default())?;
    }
    if options.memory {
        lifetime::reorder(graph, &BTreeMap::new())?;
    }
    Ok(())
}

/// Whether a node of a body or of those inside it is of that domain.
fn uses_domain(body: &Body, domain: &str) -> bool {
    body.nodes().any(|(_, n)| n.domain == domain || n.subgraphs().any(|g| uses_domain(g, domain)))
}

/// Before IR version 4 every initializer is an input too, and no caller can override it. As of
/// version 4 it stands alone.
fn free_initializers(graph: &mut Graph) -> Result<()> {
    if graph.ir_version >= 4 {
        return Ok(());
    }
    let body = &graph.body;
    let constants: Vec<_> =
        body.inputs().iter().copied().filter(|id| body.constant(*id).is_some()).collect();
    let mut edit = graph.edit();
    constants.into_iter().for_each(|id| edit.drop_input(id));
    edit.finish()?;
    graph.ir_version = 4;
    Ok(())
}

/// What a subgraph sees of the graphs around it, by name.
#[derive(Clone, Default)]
struct Outer {
    facts: Scope,
    constants: HashMap<String, Tensor>,
    /// Names that values of a subgraph must not get.
    names: HashSet<String>,
    nested: bool,
}

impl Outer {
    /// What the subgraphs of `body` see.
    fn inside(&self, body: &Body, facts: &Facts) -> Self {
        let mut inner = Self { nested: true, ..self.clone() };
        for id in body.value_ids() {
            let name = &body.value(id).name;
            inner.names.insert(name.clone());
            if let Some(fact) = facts.get(&id) {
                inner.facts.insert(name.clone(), fact.clone());
            }
            match body.constant(id).filter(|_| !body.inputs().contains(&id)) {
                Some(tensor) => inner.constants.insert(name.clone(), tensor.clone()),
                // A name of this body hides the enclosing one's, unless it is captured here.
                None if self.constants.contains_key(name) && !is_captured(body, name) => {
                    inner.constants.remove(name)
                }
                None => None,
            };
        }
        inner
    }
}

fn is_captured(body: &Body, name: &str) -> bool {
    body.captures().contains(&name)
}

/// Every name that a body and the subgraphs in it use.
fn names(body: &Body, out: &mut HashSet<String>) {
    out.extend(body.value_ids().map(|id| body.value(id).name.clone()));
    for inner in body.nodes().flat_map(|(_, n)| n.subgraphs()) {
        names(inner, out);
    }
}

struct Optimizer {
    options: Options,
    phase: &'static Phase,
    inference: Inference,
    opsets: BTreeMap<String, i64>,
    ir_version: i64,
}

impl Optimizer {
    /// Rewrites a body and those inside it until nothing changes. Those inside come last, so that a
    /// branch that is never taken is gone before it is looked at.
    fn body(&self, body: &mut Body, outer: &Outer) -> Result<bool> {
        let mut changed = false;
        for _ in 0..MOST_ROUNDS {
            if !self.round(body, outer)? && !self.inside(body, outer)? {
                return Ok(changed);
            }
            changed = true;
        }
        Err(Error::bug(format!(
            "the rewrites of phase `{}` do not come to an end",
            self.phase.name
        ))
        .item(&body.name))
    }

    /// Rewrites the subgraphs of a body.
    fn inside(&self, body: &mut Body, outer: &Outer) -> Result<bool> {
        let mut changed = false;
        if body.nodes().any(|(_, n)| n.subgraphs().next().is_some()) {
            let facts = self.inference.body(body, &outer.facts)?;
            let inside = outer.inside(body, &facts);
            for inner in body.subgraphs_mut() {
                changed |= self.body(inner, &inside)?;
            }
        }
        Ok(changed)
    }

    fn round(&self, body: &mut Body, outer: &Outer) -> Result<bool> {
        let facts = self.inference.body(body, &outer.facts)?;
        let mut changed = false;
        let mut avoided = outer.names.clone();
        names(body, &mut avoided);
        let avoided = Arc::new(avoided);
        let cx = Cx {
            opsets: &self.opsets,
            ir_version: self.ir_version,
            facts: &facts,
            outer: &outer.constants,
            nested: outer.nested,
            options: self.options,
        };
        let mut edit = Edit::new(body).avoiding(&avoided);
        for rewrite in self.phase.rewrites.iter().filter(|r| self.options.has(r.set)) {
            changed |= (rewrite.run)(&mut edit, &cx).map_err(|e| e.step(rewrite.name))?;
        }
        edit.finish()?;
        Ok(changed)
    }
}
