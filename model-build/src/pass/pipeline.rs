//! The rewrites of the optimizer and their order: the only list of them.

use std::collections::{BTreeMap, HashMap};

use crate::error::{Error, Result};
use crate::hub::{DType, Edit, Node, Tensor, Use, ValueId};
use crate::op::len::Len;
use crate::op::{Fact, Facts};

use super::{affine, fuse, slim};

/// The rewrites, in phases. The rewrites of a phase run in order, again and again until none of them
/// changes anything; then the next phase starts.
pub(super) static PHASES: &[Phase] = &[
    Phase { name: "clean", rewrites: CLEAN },
    Phase { name: "fuse layers", rewrites: fuse::LAYERS },
    Phase { name: "fuse", rewrites: FUSE },
    Phase { name: "fuse products", rewrites: fuse::PRODUCTS },
    Phase { name: "clean again", rewrites: CLEAN },
    Phase { name: "share", rewrites: SHARE },
];

/// What every graph gets first: constants folded, what does nothing removed.
const CLEAN: &[&Rewrite] = &[
    &slim::CONSTANT_NODES,
    &slim::FOLD_CONSTANTS,
    &slim::KNOWN_VALUES,
    &slim::CONSTANT_IF,
    &slim::IDENTITY,
    &slim::DROPOUT,
    &slim::SINGLE_INPUT,
    &slim::CAST,
    &slim::NEUTRAL,
    &slim::IDEMPOTENT,
    &slim::SAME_SHAPE,
    &slim::RESHAPE_TARGET,
    &slim::RESHAPE_CHAIN,
    &slim::SLICE_CHAIN,
    &slim::CLIP,
    &slim::EXPAND_SHAPE,
    &slim::TRANSPOSE,
    &slim::TRANSPOSED_WEIGHT,
    &slim::SHARED_CONSTANTS,
    &slim::COMMON_SUBEXPRESSIONS,
    &slim::UNUSED_NODES,
];

/// Patterns of operators that become fewer.
const FUSE: &[&Rewrite] = &[
    &affine::PAD_CONV,
    &affine::BATCH_NORM,
    &affine::MATMUL_ADD,
    &affine::GEMM_TRANSPOSE,
    &affine::SCALE,
    &affine::SHIFT,
];

/// What changes no node but what they share.
const SHARE: &[&Rewrite] = &[&slim::SHARED_WEIGHTS];

/// Rewrites that run to a fixed point together.
pub(super) struct Phase {
    /// The name in messages.
    pub(super) name: &'static str,
    /// The rewrites, in order.
    pub(super) rewrites: &'static [&'static Rewrite],
}

/// Which key of `optimization` switches a rewrite on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Set {
    /// `graph-optimization`: the same computation in fewer nodes.
    Graph,
    /// `layer-fusion`: several operators become one of the standard domain.
    Layer,
    /// `layer-fusion = "onnxruntime"`: several operators become one of `com.microsoft`.
    OnnxRuntime,
    /// `memory-optimization`.
    Memory,
}

/// A local change of a graph that keeps what it computes. It is given one body at a time, the main
/// graph or a subgraph; values that a subgraph captures have neither producer nor constant there.
pub(super) struct Rewrite {
    /// The name in messages.
    pub(super) name: &'static str,
    /// Which key switches it on.
    pub(super) set: Set,
    /// Changes what there is to change and says whether there was anything.
    pub(super) run: fn(&mut Edit<'_>, &Cx<'_>) -> Result<bool>,
}

/// Which operators a fusion may make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fusion {
    /// Those of the standard domain.
    Standard,
    /// Those of `com.microsoft` too.
    OnnxRuntime,
}

/// What the optimizer is to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Options {
    /// The set [`Set::Graph`].
    pub(super) graph: bool,
    /// The sets [`Set::Layer`] and [`Set::OnnxRuntime`].
    pub(super) fusion: Option<Fusion>,
    /// The set [`Set::Memory`].
    pub(super) memory: bool,
    /// Whether weights stay in the open, as inputs of MatMul and Gather, for a quantization that
    /// follows.
    pub(super) open: bool,
}

impl Options {
    /// Whether the rewrites of a set run.
    pub(super) fn has(&self, set: Set) -> bool {
        match set {
            Set::Graph => self.graph,
            Set::Layer => self.fusion.is_some(),
            Set::OnnxRuntime => self.fusion == Some(Fusion::OnnxRuntime),
            Set::Memory => self.memory,
        }
    }
}

/// What is known of the body under change. Facts are of the values that were there when the round
/// began; of values made since nothing is known but their constants.
pub(super) struct Cx<'a> {
    /// Operator sets by domain.
    pub(super) opsets: &'a BTreeMap<String, i64>,
    /// The IR version.
    pub(super) ir_version: i64,
    /// What inference found.
    pub(super) facts: &'a Facts,
    /// Constants of enclosing graphs, by name.
    pub(super) outer: &'a HashMap<String, Tensor>,
    /// Whether this is a subgraph.
    pub(super) nested: bool,
    /// What is to be done.
    pub(super) options: Options,
}

static NOTHING: Fact = Fact { dtype: None, shape: None, data: None };

impl Cx<'_> {
    /// The version of the standard operator set.
    pub(super) fn opset(&self) -> i64 {
        self.opsets.get("").or_else(|| self.opsets.get("ai.onnx")).copied().unwrap_or(1)
    }
    /// What is known of a value.
    pub(super) fn fact(&self, id: ValueId) -> &Fact {
        self.facts.get(&id).unwrap_or(&NOTHING)
    }
    /// The axes of a value, where its rank is known.
    pub(super) fn shape(&self, id: ValueId) -> Option<&[Len]> {
        self.fact(id).shape.as_deref()
    }
    /// The rank of a value.
    pub(super) fn rank(&self, id: ValueId) -> Option<usize> {
        self.fact(id).rank()
    }
    /// The element type of a value.
    pub(super) fn dtype(&self, id: ValueId) -> Option<DType> {
        self.fact(id).dtype
    }
    /// The constant a value always is: an initializer that no caller can override, of this body or
    /// captured from an enclosing one.
    pub(super) fn constant(&self, edit: &Edit<'_>, id: ValueId) -> Option<Tensor> {
        let body = edit.body();
        let is_input = || body.inputs().contains(&id);
        match body.constant(id) {
            Some(tensor) => (self.ir_version < 4 || !is_input()).then(|| tensor.clone()),
            None if self.nested && edit.producer(id).is_none() && !is_input() => {
                self.outer.get(&body.value(id).name).cloned()
            }
            None => None,
        }
    }
    /// The elements of an integer constant of any shape.
    pub(super) fn ints(&self, edit: &Edit<'_>, id: ValueId) -> Option<Vec<i64>> {
        let tensor = self.constant(edit, id)?;
        let small = tensor.len() <= MOST_INTS;
        (small && matches!(tensor.dtype(), DType::I64 | DType::I32))
            .then(|| tensor.to_i64().ok().map(std::borrow::Cow::into_owned))
            .flatten()
    }
    /// The one element of a floating-point constant that is a scalar or has one element.
    pub(super) fn scalar(&self, edit: &Edit<'_>, id: ValueId) -> Option<f32> {
        let tensor = self.constant(edit, id)?;
        (tensor.len() == 1 && tensor.dtype().is_float())
            .then(|| tensor.to_f32().ok()?.first().copied())
            .flatten()
    }
}

/// Integer constants of more elements are no parameters of an operator.
const MOST_INTS: u64 = 4096;

/// The only node that uses a value, as its input of that number; `None` when it is used elsewhere
/// too, captured by a subgraph, or an output of the graph.
pub(super) fn only_use(edit: &Edit<'_>, value: ValueId) -> Option<(crate::hub::NodeId, usize)> {
    match edit.uses(value) {
        [Use::Input(node, index)] => Some((*node, *index)),
        _ => None,
    }
}

/// The node whose output a value is, if it is `op` of the standard domain.
pub(super) fn made_by<'e>(
    edit: &'e Edit<'_>,
    value: ValueId,
    op: &str,
) -> Option<(crate::hub::NodeId, &'e Node)> {
    let id = edit.producer(value)?;
    Some((id, edit.body().node(id).filter(|n| n.is(op))?))
}

/// The ids of the nodes of an operator of the standard domain, in order.
pub(super) fn nodes_of(edit: &Edit<'_>, op: &str) -> Vec<crate::hub::NodeId> {
    edit.body().nodes().filter(|(_, n)| n.is(op)).map(|(id, _)| id).collect()
}

/// Reads the parameters of the pass.
pub(super) fn options(params: &super::Params) -> Result<Options> {
    let flag = |name: &str| match params.get(name) {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(other) => Err(Error::bug(format!("`{name}` of the optimizer is `{other}`"))),
    };
    let fusion = match params.get("fusion") {
        None | Some("false") => None,
        Some("standard") => Some(Fusion::Standard),
        Some("onnxruntime") => Some(Fusion::OnnxRuntime),
        Some(other) => return Err(Error::bug(format!("`fusion` of the optimizer is `{other}`"))),
    };
    Ok(Options { graph: flag("graph")?, fusion, memory: flag("memory")?, open: flag("open")? })
}
