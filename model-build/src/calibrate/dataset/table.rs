//! Tensors with a sample per index of their first axis, or one tensor per sample.

use std::collections::BTreeMap;
use std::path::Path;

use super::{Port, Samples, check_names};
use crate::error::{Error, Result};
use crate::format::safetensors;
use crate::fsx;
use crate::hub::Tensor;

/// The tensors of a safetensors file, by name.
pub(super) fn safetensors(path: &Path) -> Result<BTreeMap<String, Tensor>> {
    Ok(safetensors::from_bytes(&fsx::map(path)?)?.tensors)
}

/// Samples that lie in memory or in a map.
pub(super) struct Table {
    inputs: BTreeMap<String, Input>,
    count: u64,
}

enum Input {
    /// A sample per index of the first axis.
    Rows(Tensor),
    /// A tensor per sample, `name.0`, `name.1` …, each with the axis of the batch.
    Each(Vec<Tensor>),
}

impl Input {
    fn count(&self) -> u64 {
        match self {
            Self::Rows(tensor) => tensor.shape().first().copied().unwrap_or(0),
            Self::Each(list) => list.len() as u64,
        }
    }
}

impl Table {
    /// Samples by input; every input has as many.
    pub(super) fn new(mut tensors: BTreeMap<String, Tensor>, ports: &[Port]) -> Result<Self> {
        let mut inputs = BTreeMap::new();
        for port in ports {
            if let Some(tensor) = tensors.remove(&port.name) {
                inputs.insert(port.name.clone(), Input::Rows(tensor));
                continue;
            }
            let mut list = Vec::new();
            while let Some(tensor) = tensors.remove(&format!("{}.{}", port.name, list.len())) {
                list.push(tensor);
            }
            if !list.is_empty() {
                inputs.insert(port.name.clone(), Input::Each(list));
            }
        }
        check_names(ports, inputs.keys().chain(tensors.keys()).map(String::as_str))?;
        let mut counts = inputs.iter().map(|(name, input)| (name, input.count()));
        let Some((first, count)) = counts.next() else {
            return Err(Error::source_missing("the graph has no inputs that samples could be for"));
        };
        if let Some((name, other)) = counts.find(|(_, other)| *other != count) {
            return Err(Error::source_missing(format!(
                "the dataset has {count} samples of `{first}` and {other} of `{name}`"
            ))
            .hint("the first axis of every tensor counts the samples"));
        }
        Ok(Self { inputs, count })
    }
}

impl Samples for Table {
    fn count(&self) -> u64 {
        self.count
    }

    fn batch(&self, first: u64, count: u64) -> Result<BTreeMap<String, Tensor>> {
        let mut out = BTreeMap::new();
        for (name, input) in &self.inputs {
            let tensor = match input {
                Input::Rows(tensor) => rows(tensor, first, count)?,
                Input::Each(list) if count == 1 => usize::try_from(first)
                    .ok()
                    .and_then(|at| list.get(at))
                    .cloned()
                    .ok_or_else(|| Error::bug("a sample past the end"))?,
                Input::Each(_) => {
                    return Err(Error::manifest(format!(
                        "the samples of `{name}` are a tensor each, which are run one by one"
                    ))
                    .hint("set `batch-size = 1`"));
                }
            };
            out.insert(name.clone(), tensor);
        }
        Ok(out)
    }
}

/// Some indices of the first axis.
fn rows(tensor: &Tensor, first: u64, count: u64) -> Result<Tensor> {
    let bug = || Error::bug("rows past the end of a tensor");
    let bytes = tensor.bytes()?;
    let mut shape = tensor.shape().to_vec();
    let all = std::mem::replace(shape.first_mut().ok_or_else(bug)?, count);
    let row =
        usize::try_from(tensor.byte_len().checked_div(all).ok_or_else(bug)?).map_err(|_| bug())?;
    let at = |n: u64| usize::try_from(n).ok().and_then(|n| n.checked_mul(row)).ok_or_else(bug);
    let (from, to) = (at(first)?, at(first + count)?);
    if to > bytes.len() {
        return Err(bug());
    }
    Tensor::new(tensor.dtype(), shape, bytes.slice(from..to))
}
