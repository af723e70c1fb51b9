//! The IR version of a converted graph.

use super::{Refusal, Way, casting};
use crate::error::{Error, Result};
use crate::hub::{AttrValue, Body, DType, Edit, Graph, Node, Type, ValueId};

/// The IR version that ONNX released together with an operator set.
fn of_opset(opset: i64) -> i64 {
    match opset {
        ..=8 => 3,
        9 => 4,
        10 => 5,
        11 => 6,
        12..=14 => 7,
        15..=18 => 8,
        19..=20 => 9,
        21..=22 => 10,
        23 => 11,
        24 => 12,
        25..=27 => 13,
        _ => 14,
    }
}

/// The first IR version that has an element type.
fn of_dtype(dtype: DType) -> i64 {
    match dtype {
        DType::BF16 => 4,
        DType::F8E4M3 | DType::F8E4M3Fnuz | DType::F8E5M2 | DType::F8E5M2Fnuz => 9,
        DType::I4 | DType::U4 => 10,
        DType::F4E2M1 => 11,
        DType::F8E8M0 => 12,
        DType::I2 | DType::U2 => 13,
        DType::F6E2M3 | DType::F6E3M2 => 14,
        _ => 3,
    }
}

fn of_type(ty: &Type) -> i64 {
    match ty {
        Type::Tensor { dtype, .. } => of_dtype(*dtype),
        Type::Sparse { dtype, .. } => of_dtype(*dtype).max(5),
        Type::Sequence(of) | Type::Map(_, of) => of_type(of).max(4),
        Type::Optional(of) => of_type(of).max(8),
        Type::Opaque { .. } => 4,
    }
}

fn of_attr(value: &AttrValue) -> i64 {
    match value {
        AttrValue::Tensor(t) => of_dtype(t.dtype()),
        AttrValue::Tensors(ts) => ts.iter().map(|t| of_dtype(t.dtype())).max().unwrap_or(3),
        AttrValue::Sparse(s) => of_dtype(s.values.dtype()).max(5),
        AttrValue::Sparses(_) => 5,
        AttrValue::Type(ty) => of_type(ty).max(8),
        AttrValue::Types(_) | AttrValue::Reference(..) | AttrValue::Encoded(_) => 8,
        AttrValue::Graph(g) => of_body(g),
        AttrValue::Graphs(gs) => gs.iter().map(of_body).max().unwrap_or(3),
        _ => 3,
    }
}

fn of_body(body: &Body) -> i64 {
    let values = body.value_ids().map(|id| {
        let value = body.value(id);
        let ty = value.ty.as_ref().map_or(3, of_type);
        let sparse = if value.sparse.is_some() { 5 } else { 3 };
        let init = value.init.as_ref().map_or(3, |t| of_dtype(t.dtype()));
        let noted = if value.metadata.is_empty() { 3 } else { 10 };
        ty.max(sparse).max(init).max(noted)
    });
    let nodes = body.nodes().map(|(_, n)| {
        let noted = if !n.overload.is_empty() || !n.metadata.is_empty() { 10 } else { 3 };
        let placed = if n.extra.is_empty() { 3 } else { 11 };
        n.attrs.iter().map(|a| of_attr(&a.value)).max().unwrap_or(3).max(noted).max(placed)
    });
    let own = if body.metadata.is_empty() { 3 } else { 10 };
    let quantized = if body.annotations.is_empty() { 3 } else { 5 };
    values.chain(nodes).max().unwrap_or(3).max(own).max(quantized)
}

/// The least IR version that a graph's contents need besides its operator set.
fn of_contents(graph: &Graph) -> i64 {
    let functions = if graph.functions.is_empty() { 3 } else { 8 };
    let extra = if graph.extra.is_empty() { 3 } else { 7 };
    graph
        .functions
        .iter()
        .map(|f| of_body(&f.body))
        .fold(of_body(&graph.body), i64::max)
        .max(functions)
        .max(extra)
}

/// Sets the IR version. Before version 4 every initializer is an input too, which no caller has to
/// give, and subgraphs, which take no such inputs, hold `Constant` nodes. From version 4 on an
/// initializer is an input only for a caller to override it.
pub(super) fn settle(graph: &mut Graph, way: Way) -> Result<()> {
    let least = of_opset(graph.opset()).max(of_contents(graph));
    match way {
        Way::Up => {
            let old = graph.ir_version;
            graph.ir_version = old.max(least);
            if old < 4 && graph.ir_version >= 4 {
                graph.body.retain_inputs(|value| value.init.is_none() && value.sparse.is_none());
            }
        }
        Way::Down => graph.ir_version = graph.ir_version.min(least),
    }
    if graph.ir_version < 4 {
        let open: Vec<ValueId> = graph
            .body
            .initializers()
            .map(|(id, ..)| id)
            .filter(|id| !graph.body.inputs().contains(id))
            .collect();
        open.into_iter().for_each(|id| graph.body.add_input(id));
        let opset = graph.opset();
        graph.body.subgraphs_mut().try_for_each(|inner| constants_to_nodes(inner, opset))?;
    }
    Ok(())
}

fn constants_to_nodes(body: &mut Body, opset: i64) -> Result<()> {
    body.subgraphs_mut().try_for_each(|inner| constants_to_nodes(inner, opset))?;
    let found: Vec<_> = body.initializers().map(|(id, _, t)| (id, t.clone())).collect();
    if found.is_empty() {
        return Ok(());
    }
    for (id, tensor) in found {
        let name = body.value(id).name.clone();
        let (tensor, cast) = casting::constant_node(tensor, opset).map_err(|dtype| {
            Error::unsupported(format!("opset {opset} has no constants of {dtype} in subgraphs"))
                .item(format!("tensor `{name}`"))
                .caused_by(Refusal::ElementType)
        })?;
        body.value_mut(id).init = None;
        let Some(dtype) = cast else {
            let node = Node::new("Constant", &[], &[id]);
            body.add_node(node.with("value", AttrValue::Tensor(tensor)))?;
            continue;
        };
        let inner = body.intern(&format!("{name}/float"))?;
        let node = Node::new("Constant", &[], &[inner]);
        body.add_node(node.with("value", AttrValue::Tensor(tensor)))?;
        let (name, number) = casting::to(dtype);
        body.add_node(Node::new("Cast", &[inner], &[id]).with(name, number))?;
    }
    Edit::new(body).finish()
}
