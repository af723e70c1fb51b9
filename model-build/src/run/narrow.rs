//! 16-bit floats on runners that have none: the element types of all values, and the graph that
//! computes in `f32` and rounds.
//!
//! ```text
//! before:  x:bf16 ─ MatMul(W:bf16) ─ y:bf16 ─ …
//! after:   x:f32  ─ MatMul(W:f32)  ─ Cast(bf16) ─ Cast(f32) ─ y:f32 ─ …
//! ```
//! Each node reads values that the narrow type can hold, computes in `f32`, and its result is
//! rounded to nearest, ties to even: what hardware with narrow storage and `f32` accumulators does.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::hub::{AttrValue, DType, Graph, NodeId, Produce, Tensor, Type, ValueId};
use crate::op;

/// The element type of every value of the main graph of which it is known, by name.
pub(super) fn dtypes(graph: &Graph) -> Result<BTreeMap<String, DType>> {
    let mut graph = graph.clone();
    op::infer(&mut graph)?;
    let body = &graph.body;
    let mut found = BTreeMap::new();
    for id in body.value_ids() {
        let dtype = match body.constant(id) {
            Some(tensor) => Some(tensor.dtype()),
            None => body.tensor_type(id).map(|(dtype, _)| dtype),
        };
        if let Some(dtype) = dtype {
            found.insert(body.value(id).name.clone(), dtype);
        }
    }
    Ok(found)
}

/// The types that runners may lack.
#[cfg(feature = "rten")]
pub(super) fn is_narrow(dtype: DType) -> bool {
    matches!(dtype, DType::F16 | DType::BF16)
}

/// The element type of every value, all of them known; an error names a node whose result is not.
pub(super) fn all_dtypes(graph: &Graph) -> Result<BTreeMap<String, DType>> {
    let found = dtypes(graph)?;
    for (_, node) in graph.body.nodes() {
        let cannot = |why: String| {
            Error::unsupported(format!("16-bit floats cannot be emulated in this graph: {why}"))
                .item(node.label())
                .hint("take `verify` out of the target, or check a target of another precision")
        };
        if node.subgraphs().next().is_some() {
            return Err(cannot("it has control flow".to_owned()));
        }
        for id in node.outputs.iter().flatten() {
            let name = &graph.body.value(*id).name;
            if !found.contains_key(name) {
                return Err(cannot(format!("the element type of `{name}` is not known")));
            }
        }
    }
    if let Some(function) = graph.functions.first() {
        return Err(Error::unsupported(
            "16-bit floats cannot be emulated in a graph with functions of its own",
        )
        .item(function.body.name.clone()));
    }
    Ok(found)
}

/// The graph with every value of type `from` as `f32`, names unchanged; with `round`, the results
/// of nodes that were of that type are rounded to it. Inputs and outputs become `f32` too.
pub(super) fn widened(graph: &Graph, from: DType, round: bool) -> Result<Graph> {
    let dtypes = all_dtypes(graph)?;
    let mut graph = graph.clone();
    for id in graph.body.value_ids() {
        let value = graph.body.value_mut(id);
        if let Some(Type::Tensor { dtype, .. }) = &mut value.ty
            && *dtype == from
        {
            *dtype = DType::F32;
            value.exact_type = None;
        }
        if let Some(tensor) = value.init.as_ref().filter(|t| t.dtype() == from) {
            value.init = Some(wide(tensor)?);
        }
    }
    let nodes: Vec<NodeId> = graph.body.nodes().map(|(id, _)| id).collect();
    let mut edit = graph.edit();
    for id in nodes {
        let Some(mut node) = edit.body().node(id).cloned() else { continue };
        for attr in &mut node.attrs {
            match &mut attr.value {
                AttrValue::Tensor(tensor) if tensor.dtype() == from => *tensor = wide(tensor)?,
                AttrValue::Int(number)
                    if matches!(attr.name.as_str(), "to" | "dtype" | "output_dtype")
                        && *number == from.number() =>
                {
                    *number = DType::F32.number();
                }
                _ => {}
            }
        }
        let results: Vec<ValueId> = node
            .outputs
            .iter()
            .flatten()
            .copied()
            .filter(|v| dtypes.get(&edit.body().value(*v).name) == Some(&from))
            .collect();
        edit.replace(id, node);
        if !round {
            continue;
        }
        for result in results {
            let name = edit.body().value(result).name.clone();
            let to = |dtype: DType| [("to", AttrValue::Int(dtype.number()))];
            let stored = edit.op("Cast", &format!("{name}_stored"), &[result], &to(from))?;
            let read = edit.op("Cast", &format!("{name}_read"), &[stored], &to(DType::F32))?;
            if let Some(ty) = edit.body().value(result).ty.clone() {
                edit.set_type(read, Some(ty));
            }
            let cast = edit.producer(stored);
            edit.replace_uses(result, read)?;
            if let Some(cast) = cast {
                edit.set_input(cast, 0, Some(result));
            }
        }
    }
    edit.finish()?;
    Ok(graph)
}

/// A 16-bit tensor as `f32`, converted when it is read.
fn wide(tensor: &Tensor) -> Result<Tensor> {
    Tensor::lazy(DType::F32, tensor.shape().to_vec(), Arc::new(Wide(tensor.clone())))
}

struct Wide(Tensor);

impl Produce for Wide {
    fn granularity(&self) -> u64 {
        self.0.granularity().saturating_mul(2).next_multiple_of(4)
    }
    fn produce(&self, offset: u64, out: &mut [u8]) -> Result<()> {
        let mut narrow = vec![0; out.len() / 2];
        self.0.read_at(offset / 2, &mut narrow)?;
        let part = Tensor::new(self.0.dtype(), vec![narrow.len() as u64 / 2], narrow.into())?;
        for (to, value) in out.as_chunks_mut().0.iter_mut().zip(part.to_f32()?) {
            *to = value.to_le_bytes();
        }
        Ok(())
    }
}
