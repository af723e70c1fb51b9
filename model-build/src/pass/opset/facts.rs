//! What is known of the values of a body while its nodes are converted, by name.

use std::collections::HashMap;

use crate::hub::{AttrValue, Body, Node, Tensor, Type};

/// Types and constants by value name, those of enclosing graphs included.
#[derive(Clone, Default)]
pub(super) struct Facts {
    types: HashMap<String, Type>,
    constants: HashMap<String, Tensor>,
}

impl Facts {
    /// The facts of a body inside of what is known outside of it.
    pub(super) fn within(&self, body: &Body, ir_version: i64) -> Self {
        let mut out = self.clone();
        let captured: Vec<String> = body.captures().into_iter().map(str::to_owned).collect();
        for id in body.value_ids() {
            let value = body.value(id);
            if captured.contains(&value.name) {
                continue;
            }
            match &value.ty {
                Some(ty) => out.types.insert(value.name.clone(), ty.clone()),
                None => out.types.remove(&value.name),
            };
            out.constants.remove(&value.name);
            if let Some(tensor) = &value.init
                && (ir_version < 4 || !body.inputs().contains(&id))
            {
                out.constants.insert(value.name.clone(), tensor.clone());
            }
        }
        for (_, node) in body.nodes().filter(|(_, n)| n.is("Constant")) {
            if let (Some(id), Some(tensor)) = (node.output(0), constant(node)) {
                out.constants.insert(body.value(id).name.clone(), tensor);
            }
        }
        out
    }
    /// The type of a value.
    pub(super) fn ty(&self, name: &str) -> Option<&Type> {
        self.types.get(name)
    }
    /// The constant a value holds.
    pub(super) fn constant(&self, name: &str) -> Option<&Tensor> {
        self.constants.get(name)
    }
}

/// The tensor that a `Constant` node gives, if it is dense.
pub(super) fn constant(node: &Node) -> Option<Tensor> {
    let attr = node.attrs.first()?;
    let len = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
    match &attr.value {
        AttrValue::Tensor(t) => Some(t.clone()),
        AttrValue::Int(i) => Tensor::from_i64(Vec::new(), &[*i]).ok(),
        AttrValue::Ints(v) => Tensor::from_i64(vec![len(v.len())], v).ok(),
        AttrValue::Float(v) => Tensor::from_f32(Vec::new(), &[*v]).ok(),
        AttrValue::Floats(v) => Tensor::from_f32(vec![len(v.len())], v).ok(),
        AttrValue::String(s) => Tensor::from_strings(Vec::new(), [s]).ok(),
        AttrValue::Strings(v) => Tensor::from_strings(vec![len(v.len())], v).ok(),
        _ => None,
    }
}
