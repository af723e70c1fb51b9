//! A small model file whose large initializers lie in another file: in the original itself.

use bytes::Bytes;
use prost::Message;

use super::rope::LARGE;
use super::{proto, read, tensor, types, write};
use crate::error::{Error, Result};
use crate::source;

/// From the bytes of a finished model file, a small one without the contents of the initializers
/// of 1 KiB and more: each is said to be external data at `location`, at its offset within `bytes`
/// itself. A runtime given the skeleton and, as the file `location`, the original thus uses the
/// original's bytes in place. Initializers that are not aligned to their element size stay inside,
/// as do strings, tensors in attributes and the initializers of nested graphs, which ONNX Runtime
/// would look for in the file system. rten accepts a `location` only if it is a plain file name
/// that ends in `.data` or `.onnx_data`.
pub fn skeleton(bytes: &Bytes, location: &str) -> Result<Vec<u8>> {
    if !source::is_inside(location) {
        return Err(Error::bug("external data must be named by a relative path").item(location));
    }
    let mut model = read::decode(bytes)?;
    let base = bytes.as_ptr().addr();
    let graph = model.graph.as_mut().ok_or_else(|| Error::malformed("the model holds no graph"))?;
    for t in &mut graph.initializer {
        let Some(raw) = t.raw_data.as_ref().filter(|raw| raw.len() as u64 >= LARGE) else {
            continue;
        };
        let width = types::dtype(t.data_type)?.bits().div_ceil(8).max(1);
        // Decoded from `bytes`, the contents are a slice of it.
        let offset =
            raw.as_ptr()
                .addr()
                .checked_sub(base)
                .ok_or_else(|| Error::bug("a tensor is no slice of its file"))? as u64;
        if !offset.is_multiple_of(width) {
            continue;
        }
        t.external_data = write::external_entries(location, offset, raw.len() as u64);
        t.data_location = proto::EXTERNAL;
        t.raw_data = None;
        if t.doc_string.bytes().all(|b| b == b' ') {
            t.doc_string.clear();
        }
    }
    Ok(model.encode_to_vec())
}

/// The locations of all external data of a model, sorted.
pub(super) fn locations(model: &proto::Model) -> Result<Vec<String>> {
    let mut found = Vec::new();
    if let Some(graph) = &model.graph {
        in_graph(graph, &mut found)?;
    }
    for function in &model.functions {
        in_nodes(&function.node, &mut found)?;
    }
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

fn in_graph(graph: &proto::Graph, found: &mut Vec<String>) -> Result<()> {
    let sparse = graph.sparse_initializer.iter().flat_map(|s| s.values.iter().chain(&s.indices));
    in_tensors(graph.initializer.iter().chain(sparse), found)?;
    in_nodes(&graph.node, found)
}

fn in_nodes(nodes: &[proto::Node], found: &mut Vec<String>) -> Result<()> {
    for a in nodes.iter().flat_map(|n| &n.attribute) {
        let sparse = a.sparse_tensor.as_deref().into_iter().chain(&a.sparse_tensors);
        let sparse = sparse.flat_map(|s| s.values.iter().chain(&s.indices));
        in_tensors(a.t.as_deref().into_iter().chain(&a.tensors).chain(sparse), found)?;
        a.g.as_deref().into_iter().chain(&a.graphs).try_for_each(|g| in_graph(g, found))?;
    }
    Ok(())
}

fn in_tensors<'a>(
    tensors: impl Iterator<Item = &'a proto::Tensor>,
    found: &mut Vec<String>,
) -> Result<()> {
    for t in tensors.filter(|t| t.data_location == proto::EXTERNAL) {
        let place = tensor::place(t).map_err(|e| e.item(format!("tensor `{}`", t.name)))?;
        if !source::is_inside(&place.location) {
            return Err(tensor::outside(&place.location).item(format!("tensor `{}`", t.name)));
        }
        found.push(place.location);
    }
    Ok(())
}
