//! `QuantizeLinear` of constants: integers.

use super::affine::{Affine, Integer};
use super::weight::{Sharing, quantized};
use crate::error::Result;
use crate::hub::{AttrValue, Body, DType, Graph, Node, Tensor, ValueId};

/// Folds every `QuantizeLinear` of an f32 constant with constant parameters to 8 or 16 bits.
///
/// ```text
/// before: w f32 ─▶ QuantizeLinear(·, scale, zero) ─▶ DequantizeLinear ─▶ y
/// after:  w i8                                    ─▶ DequantizeLinear ─▶ y
/// ```
pub(super) fn fold(graph: &mut Graph) -> Result<()> {
    let mut found = Vec::new();
    for (id, node) in graph.body.nodes().filter(|(_, node)| node.op == "QuantizeLinear") {
        if let Some((value, output)) = folded(&graph.body, node)? {
            found.push((id, value, output));
        }
    }
    let mut edit = graph.edit();
    for (id, values, output) in found {
        let name = edit.body().value(output).name.clone();
        edit.remove(id);
        let constant = edit.constant(&name, values)?;
        edit.replace_uses(output, constant)?;
    }
    edit.finish()
}

fn folded(body: &Body, node: &Node) -> Result<Option<(Tensor, ValueId)>> {
    let constant = |i: usize| node.input(i).and_then(|id| body.constant(id));
    let (Some(source), Some(scale), Some(output)) = (constant(0), constant(1), node.output(0))
    else {
        return Ok(None);
    };
    if source.dtype() != DType::F32
        || scale.dtype() != DType::F32
        || node.attr("block_size").is_some()
    {
        return Ok(None);
    }
    let scales = scale.to_f32()?;
    let zeros = match (node.input(2), constant(2)) {
        (None, _) => None,
        (Some(_), Some(zero)) => Some(zero),
        (Some(_), None) => return Ok(None),
    };
    let dtype = zeros.map_or(DType::U8, Tensor::dtype);
    let Some(zeros) = zeros.map_or(Some(vec![0; scales.len()]), integers) else { return Ok(None) };
    let axis = match scales.len() {
        1 => None,
        _ => axis(node, source.shape().len()),
    };
    let sharing = Sharing::of(source, axis)?;
    if zeros.len() != scales.len() || !sharing.fits(scales.len()) {
        return Ok(None);
    }
    let pairs = scales.into_iter().zip(zeros);
    let parameters = pairs.map(|(scale, zero)| Affine { scale, zero }).collect();
    let to = Integer { dtype, symmetric: false };
    Ok(Some((quantized(source, to, sharing, parameters)?, output)))
}

/// The axis that has the scales.
fn axis(node: &Node, rank: usize) -> Option<usize> {
    let axis = node.attr("axis").and_then(AttrValue::as_int).unwrap_or(1);
    let axis = if axis < 0 { axis.checked_add(i64::try_from(rank).ok()?)? } else { axis };
    usize::try_from(axis).ok().filter(|axis| *axis < rank)
}

/// The elements of a tensor of 8 or 16 bits.
pub(super) fn integers(tensor: &Tensor) -> Option<Vec<i32>> {
    let bytes = tensor.bytes().ok()?;
    match tensor.dtype() {
        DType::I8 => Some(bytes.iter().map(|b| i32::from(b.cast_signed())).collect()),
        DType::U8 => Some(bytes.iter().map(|b| i32::from(*b)).collect()),
        DType::I16 => {
            Some(bytes.as_chunks().0.iter().map(|b| i16::from_le_bytes(*b).into()).collect())
        }
        DType::U16 => {
            Some(bytes.as_chunks().0.iter().map(|b| u16::from_le_bytes(*b).into()).collect())
        }
        _ => None,
    }
}
