//! The embedded runner: rten, for the graphs that [`rten_gate`](super::rten_gate) lets through.
//!
//! rten has `f32`, `i32`, `i8` and `u8` tensors; it holds `i64` and `bool` as `i32`, and the values
//! of 16-bit floats as `f32` without rounding. Graphs with 16-bit floats are therefore run here one
//! node at a time, each result rounded to the type the graph gives it, which is what a runtime that
//! computes in `f32` and stores 16 bits does.

use std::collections::{BTreeMap, BTreeSet};

use rten::{Model as RtenModel, ModelOptions, NodeId, Value, ValueOrView};
use rten_tensor::Layout;
use rten_tensor::prelude::*;

use super::runner::{Model, Runner, Session, Setup};
use super::{narrow, rten_gate, saturation};
use crate::error::{Error, Result};
use crate::format::onnx;
use crate::fsx;
use crate::hub::{DType, Graph, Tensor};

/// The release line of rten that is linked, whose behaviour the gate's list is about.
pub(super) const VERSION: &str = "0.27";

/// The largest model file this runner takes: it is read into memory.
const MOST_BYTES: u64 = 1 << 36;

/// The embedded runner.
pub(super) struct Rten;

impl Runner for Rten {
    fn name(&self) -> String {
        format!("rten {VERSION}")
    }
    fn level(&self, setup: &Setup) -> String {
        if setup.optimize { "all graph optimizations" } else { "no graph optimizations" }.to_owned()
    }
    fn load(&self, model: &Model, setup: &Setup) -> Result<Box<dyn Session>> {
        let dtypes = narrow::dtypes(&model.graph)?;
        let saturates = saturation::on_this_cpu();
        rten_gate::check(&model.graph, &dtypes, saturates)?;
        Ok(Box::new(Loaded::new(model, dtypes, saturates, setup.optimize)?))
    }
}

/// A model in rten.
pub(super) struct Loaded {
    model: RtenModel,
    dtypes: BTreeMap<String, DType>,
    outputs: Vec<(String, NodeId)>,
    steps: Option<Vec<Step>>,
}

impl Loaded {
    /// Loads a model without asking the gate.
    pub(super) fn new(
        model: &Model,
        dtypes: BTreeMap<String, DType>,
        saturates: bool,
        optimize: bool,
    ) -> Result<Self> {
        let narrow = dtypes.values().any(|d| narrow::is_narrow(*d));
        let mut options = ModelOptions::with_all_ops();
        options.enable_optimization(optimize && !narrow);
        let mut changed = None;
        if narrow {
            narrow::all_dtypes(&model.graph)?;
            if dtypes.values().any(|d| *d == DType::BF16) {
                changed = Some(narrow::widened(&model.graph, DType::BF16, false)?);
            }
        }
        if saturates
            && let Some(split) = saturation::split(changed.as_ref().unwrap_or(&model.graph))?
        {
            changed = Some(split);
        }
        let graph = changed.as_ref().unwrap_or(&model.graph);
        let main = if changed.is_some() {
            onnx::to_bytes(graph)?
        } else {
            for name in &model.external {
                let path = model.path.with_file_name(name);
                options.external_data(name, fsx::read_small(&path, MOST_BYTES)?);
            }
            fsx::read_small(&model.path, MOST_BYTES)?
        };
        let loaded =
            guarded("load the model", || options.load(main)).map_err(|e| e.file(&model.path))?;
        let body = &graph.body;
        let outputs = body
            .outputs()
            .iter()
            .map(|id| {
                let name = &body.value(*id).name;
                Ok((name.clone(), node(&loaded, name)?))
            })
            .collect::<Result<_>>()?;
        let steps = if narrow { Some(steps(&loaded, graph)?) } else { None };
        Ok(Self { model: loaded, dtypes, outputs, steps })
    }
}

/// Calls rten; its errors, and panics on overflow where it is compiled to check for that, become
/// errors that say how to use the other runner.
fn guarded<T, E: std::fmt::Display>(
    doing: &str,
    call: impl FnOnce() -> std::result::Result<T, E>,
) -> Result<T> {
    let failed = |why: &str| {
        Error::tool(format!("the embedded runner (rten {VERSION}) cannot {doing}: {why}"))
            .hint(HOW_TO_CHANGE)
    };
    match std::panic::catch_unwind(std::panic::AssertUnwindSafe(call)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(failed(&error.to_string().replace('\n', " "))),
        Err(panic) => Err(failed(
            panic
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| panic.downcast_ref::<&str>().copied())
                .unwrap_or("it panicked"),
        )),
    }
}

fn node(model: &RtenModel, name: &str) -> Result<NodeId> {
    model.node_id(name).map_err(|e| Error::tool(format!("rten: {e}")).item(name))
}

/// One node: the values it reads and gives, and those that nothing reads after it.
struct Step {
    label: String,
    done: Vec<String>,
    inputs: Vec<(String, NodeId)>,
    outputs: Vec<(String, NodeId)>,
}

fn steps(loaded: &RtenModel, graph: &Graph) -> Result<Vec<Step>> {
    let body = &graph.body;
    let mut out = Vec::new();
    for (_, n) in body.nodes() {
        if n.is("Constant") {
            continue; // a constant of rten's graph
        }
        let named = |id: &crate::hub::ValueId| {
            let name = &body.value(*id).name;
            Ok((name.clone(), node(loaded, name)?))
        };
        out.push(Step {
            label: n.label(),
            done: Vec::new(),
            inputs: n
                .inputs
                .iter()
                .flatten()
                .filter(|id| body.constant(**id).is_none())
                .map(named)
                .collect::<Result<_>>()?,
            outputs: n.outputs.iter().flatten().map(named).collect::<Result<_>>()?,
        });
    }
    let mut wanted: BTreeSet<String> =
        body.outputs().iter().map(|id| body.value(*id).name.clone()).collect();
    for step in out.iter_mut().rev() {
        let touched = step.inputs.iter().chain(&step.outputs).map(|(name, _)| name);
        step.done = touched.filter(|name| wanted.insert((*name).clone())).cloned().collect();
    }
    Ok(out)
}

impl Session for Loaded {
    fn run(&mut self, inputs: &BTreeMap<String, Tensor>) -> Result<BTreeMap<String, Tensor>> {
        let mut values: BTreeMap<String, Value> = BTreeMap::new();
        for (name, tensor) in inputs {
            let value = to_rten(tensor).map_err(|e| e.item(format!("input `{name}`")))?;
            values.insert(name.clone(), value);
        }
        match &self.steps {
            None => {
                let feed = values
                    .into_iter()
                    .map(|(name, value)| Ok((node(&self.model, &name)?, value.into())))
                    .collect::<Result<Vec<(NodeId, ValueOrView<'_>)>>>()?;
                let ids: Vec<NodeId> = self.outputs.iter().map(|(_, id)| *id).collect();
                let found = self.compute(feed, &ids, "the model")?;
                self.outputs
                    .iter()
                    .zip(found)
                    .map(|((name, _), value)| Ok((name.clone(), self.give(name, &value)?)))
                    .collect()
            }
            Some(steps) => {
                for step in steps {
                    self.step(step, &mut values)?;
                }
                self.outputs
                    .iter()
                    .map(|(name, id)| {
                        let value = match values.remove(name) {
                            Some(value) => value,
                            // An output that is a constant.
                            None => self.compute(Vec::new(), &[*id], name)?.remove(0),
                        };
                        Ok((name.clone(), self.give(name, &value)?))
                    })
                    .collect()
            }
        }
    }

    fn note(&self) -> Option<String> {
        self.steps.as_ref().map(|_| {
            "16-bit floats computed in f32 node by node, each result rounded, no graph optimizations"
                .to_owned()
        })
    }
}

impl Loaded {
    fn compute(
        &self,
        feed: Vec<(NodeId, ValueOrView<'_>)>,
        wanted: &[NodeId],
        label: &str,
    ) -> Result<Vec<Value>> {
        let found = guarded(&format!("run {label}"), || self.model.run(feed, wanted, None))?;
        if found.len() != wanted.len() {
            return Err(Error::tool(format!("rten gives too few outputs of {label}")));
        }
        Ok(found)
    }

    fn step(&self, step: &Step, values: &mut BTreeMap<String, Value>) -> Result<()> {
        let mut feed: Vec<(NodeId, ValueOrView<'_>)> = Vec::new();
        for (name, id) in &step.inputs {
            // What has no value is a constant of rten's graph.
            if let Some(value) = values.get(name)
                && feed.iter().all(|(known, _)| known != id)
            {
                feed.push((*id, value.as_view().into()));
            }
        }
        let wanted: Vec<NodeId> = step.outputs.iter().map(|(_, id)| *id).collect();
        let found = self.compute(feed, &wanted, &step.label)?;
        for ((name, _), value) in step.outputs.iter().zip(found) {
            let value = match (self.dtypes.get(name), value) {
                (Some(DType::F16), Value::FloatTensor(t)) => {
                    Value::FloatTensor(t.map(|v| half::f16::from_f32(*v).to_f32()))
                }
                (Some(DType::BF16), Value::FloatTensor(t)) => {
                    Value::FloatTensor(t.map(|v| half::bf16::from_f32(*v).to_f32()))
                }
                (_, value) => value,
            };
            values.insert(name.clone(), value);
        }
        for name in &step.done {
            values.remove(name);
        }
        Ok(())
    }

    /// A value in the element type that the graph gives it.
    fn give(&self, name: &str, value: &Value) -> Result<Tensor> {
        from_rten(name, value, self.dtypes.get(name).copied())
    }
}

fn to_rten(tensor: &Tensor) -> Result<Value> {
    let shape: Vec<usize> = tensor
        .shape()
        .iter()
        .map(|d| usize::try_from(*d).map_err(|_| Error::unsupported("an axis beyond memory")))
        .collect::<Result<_>>()?;
    let bytes = tensor.bytes()?;
    let made = match tensor.dtype() {
        DType::F32 | DType::F16 | DType::BF16 => {
            Value::from_shape(&shape, tensor.to_f32()?).map_err(|e| e.to_string())
        }
        DType::I64 | DType::I32 => {
            let narrow = tensor
                .to_i64()?
                .iter()
                .map(|v| {
                    i32::try_from(*v).map_err(|_| {
                        Error::unsupported(format!("rten holds i64 as i32, and {v} does not fit"))
                            .hint(HOW_TO_CHANGE)
                    })
                })
                .collect::<Result<Vec<i32>>>()?;
            Value::from_shape(&shape, narrow).map_err(|e| e.to_string())
        }
        DType::Bool => {
            let data: Vec<i32> = bytes.iter().map(|b| i32::from(*b != 0)).collect();
            Value::from_shape(&shape, data).map_err(|e| e.to_string())
        }
        DType::U8 => Value::from_shape(&shape, bytes.to_vec()).map_err(|e| e.to_string()),
        DType::I8 => {
            let data: Vec<i8> = bytes.iter().map(|b| b.cast_signed()).collect();
            Value::from_shape(&shape, data).map_err(|e| e.to_string())
        }
        other => {
            return Err(Error::unsupported(format!("{other} inputs of rten")).hint(HOW_TO_CHANGE));
        }
    };
    made.map_err(|e| Error::bug(format!("rten refuses a tensor: {e}")))
}

/// How to verify with the other runner.
pub(super) const HOW_TO_CHANGE: &str = "verify with ONNX Runtime: set ORT_DYLIB_PATH to its library (in the archives of github.com/microsoft/onnxruntime/releases, and in the PyPI package `onnxruntime` under onnxruntime/capi) and enable the feature `ort` of model-build";

/// A value in the element type that the graph gives it; rten's own where it gives none.
fn from_rten(name: &str, value: &Value, want: Option<DType>) -> Result<Tensor> {
    macro_rules! bytes {
        ($tensor:expr, $dtype:expr, $convert:expr) => {
            ($dtype, $tensor.shape(), $tensor.iter().flat_map($convert).collect::<Vec<u8>>())
        };
    }
    let (dtype, shape, bytes) = match (value, want) {
        (Value::FloatTensor(t), Some(DType::F16)) => {
            bytes!(t, DType::F16, |v| half::f16::from_f32(*v).to_le_bytes())
        }
        (Value::FloatTensor(t), Some(DType::BF16)) => {
            bytes!(t, DType::BF16, |v| half::bf16::from_f32(*v).to_le_bytes())
        }
        (Value::FloatTensor(t), Some(DType::F32) | None) => {
            bytes!(t, DType::F32, |v| v.to_le_bytes())
        }
        (Value::Int32Tensor(t), Some(DType::I64)) => {
            bytes!(t, DType::I64, |v| i64::from(*v).to_le_bytes())
        }
        (Value::Int32Tensor(t), Some(DType::Bool)) => {
            bytes!(t, DType::Bool, |v| [u8::from(*v != 0)])
        }
        (Value::Int32Tensor(t), Some(DType::I32) | None) => {
            bytes!(t, DType::I32, |v| v.to_le_bytes())
        }
        (Value::Int8Tensor(t), Some(DType::I8) | None) => bytes!(t, DType::I8, |v| v.to_le_bytes()),
        (Value::UInt8Tensor(t), Some(DType::U8) | None) => bytes!(t, DType::U8, |v| [*v]),
        (other, want) => {
            let want = want.map_or("a tensor", DType::name);
            return Err(Error::tool(format!(
                "rten gives {} for output `{name}`, which is {want} in the graph",
                other.dtype()
            ))
            .hint(HOW_TO_CHANGE));
        }
    };
    let shape = shape.iter().map(|d| *d as u64).collect();
    Tensor::new(dtype, shape, bytes.into())
}
