//! What is computed twice is computed once.

use std::collections::HashMap;

use super::super::pipeline::{Cx, Rewrite, Set};
use super::unused_nodes::is_pure;
use crate::error::Result;
use crate::hub::{AttrValue, Edit, Node, NodeId, Tensor, ValueId};

/// ```text
/// before: Relu(x) ─▶ a    Relu(x) ─▶ b    Add(a, b) ─▶ y
/// after:  Relu(x) ─▶ a    Add(a, a) ─▶ y
/// ```
///
/// Nodes of equal operator, attributes and inputs. Nodes with subgraphs, random numbers, or tensors of
/// more than 4 KiB as attributes are not compared.
pub(in super::super) static COMMON_SUBEXPRESSIONS: Rewrite =
    Rewrite { name: "common-subexpressions", set: Set::Graph, run };

/// Operators that give something else each time.
const RANDOM: &[&str] = &[
    "RandomNormal",
    "RandomNormalLike",
    "RandomUniform",
    "RandomUniformLike",
    "Multinomial",
    "Bernoulli",
    "Dropout",
];
/// Longest tensor in an attribute that is compared, in bytes.
const MOST: u64 = 4096;

fn run(edit: &mut Edit<'_>, _: &Cx<'_>) -> Result<bool> {
    let ids: Vec<NodeId> = edit.body().nodes().map(|(id, _)| id).collect();
    let mut seen: HashMap<Vec<u8>, NodeId> = HashMap::new();
    let mut changed = false;
    for id in ids {
        let Some(key) = edit.body().node(id).and_then(key) else { continue };
        match seen.get(&key) {
            Some(first) if merge(edit, *first, id)? => changed = true,
            Some(_) => {}
            None => _ = seen.insert(key, id),
        }
    }
    Ok(changed)
}

/// Makes users of a node use an equal one, if all of its outputs can be replaced.
fn merge(edit: &mut Edit<'_>, first: NodeId, second: NodeId) -> Result<bool> {
    let (Some(a), Some(b)) = (edit.body().node(first), edit.body().node(second)) else {
        return Ok(false);
    };
    let mut pairs: Vec<(ValueId, ValueId)> = Vec::new();
    for (i, output) in b.outputs.iter().enumerate() {
        match (output, a.output(i)) {
            (Some(old), Some(new)) => pairs.push((*old, new)),
            (Some(old), None) if !edit.uses(*old).is_empty() => return Ok(false),
            _ => {}
        }
    }
    if pairs.iter().any(|(old, new)| !edit.can_replace(*old, *new)) {
        return Ok(false);
    }
    for (old, new) in pairs {
        edit.replace_uses(old, new)?;
    }
    edit.remove(second);
    Ok(true)
}

/// Bytes that are equal for nodes that compute the same; `None` for a node that is not compared.
fn key(node: &Node) -> Option<Vec<u8>> {
    if !is_pure(node) || RANDOM.contains(&node.op.as_str()) || node.op == "Constant" {
        return None;
    }
    let mut key = Vec::new();
    text(&mut key, &node.domain);
    text(&mut key, &node.op);
    text(&mut key, &node.overload);
    for input in &node.inputs {
        key.extend(format!("{input:?},").bytes());
    }
    let mut attrs: Vec<_> = node.attrs.iter().collect();
    attrs.sort_by(|a, b| a.name.cmp(&b.name));
    for attr in attrs {
        text(&mut key, &attr.name);
        value(&mut key, &attr.value)?;
    }
    Some(key)
}

fn text(key: &mut Vec<u8>, text: &str) {
    bytes(key, text.as_bytes());
}

fn bytes(key: &mut Vec<u8>, bytes: &[u8]) {
    key.extend((bytes.len() as u64).to_le_bytes());
    key.extend(bytes);
}

fn value(key: &mut Vec<u8>, value: &AttrValue) -> Option<()> {
    match value {
        AttrValue::Float(v) => bytes(key, &[&b"f"[..], &v.to_le_bytes()].concat()),
        AttrValue::Int(v) => bytes(key, &[&b"i"[..], &v.to_le_bytes()].concat()),
        AttrValue::String(v) => bytes(key, &[&b"s"[..], v].concat()),
        AttrValue::Floats(v) => {
            let all: Vec<u8> = v.iter().flat_map(|v| v.to_le_bytes()).collect();
            bytes(key, &[&b"F"[..], &all].concat());
        }
        AttrValue::Ints(v) => {
            let all: Vec<u8> = v.iter().flat_map(|v| v.to_le_bytes()).collect();
            bytes(key, &[&b"I"[..], &all].concat());
        }
        AttrValue::Strings(v) => v.iter().for_each(|v| bytes(key, v)),
        AttrValue::Tensor(t) => tensor(key, t)?,
        AttrValue::Type(t) => text(key, &format!("{t:?}")),
        _ => return None,
    }
    Some(())
}

fn tensor(key: &mut Vec<u8>, tensor: &Tensor) -> Option<()> {
    let content = tensor.ready_bytes().filter(|b| b.len() as u64 <= MOST)?;
    text(key, &format!("{:?}{:?}", tensor.dtype(), tensor.shape()));
    bytes(key, content);
    Some(())
}
