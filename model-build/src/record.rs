//! What is known of a finished artifact: the JSON that stands beside it in the store.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::hub::{Body, Dim};

/// A finished step: what it was made from and what it gave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The step, as `convert` or `verify`.
    pub step: String,
    /// Every ingredient of the key, in order: name and canonical value. `why` compares these.
    pub ingredients: Vec<(String, String)>,
    /// The files, the main one first.
    pub files: Vec<RecordFile>,
    /// What a loader needs to know.
    pub info: Info,
}

/// One file of an artifact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordFile {
    /// File name within the artifact.
    pub name: String,
    /// The digest of the bytes.
    pub digest: Digest,
    /// Length in bytes.
    pub len: u64,
}

/// What a loader needs to know of an artifact.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Info {
    /// Graph inputs, in order; empty for formats without a graph.
    pub inputs: Vec<Port>,
    /// Graph outputs, in order.
    pub outputs: Vec<Port>,
    /// Number of weights.
    pub parameters: u64,
    /// Free facts, sorted: format, opset, architecture, task, labels …
    pub facts: Vec<(String, String)>,
}

/// An input or output of a graph.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Port {
    /// Its name.
    pub name: String,
    /// Its element type, by [`DType::name`](crate::hub::DType::name).
    pub dtype: String,
    /// Its axes: a number, a name, or `?`.
    pub dims: Vec<String>,
}

impl Port {
    /// The ports of a graph: inputs without the ones that have a default, and outputs. Values that
    /// are no dense tensors are left out.
    pub fn of(body: &Body) -> (Vec<Self>, Vec<Self>) {
        let port = |id: &crate::hub::ValueId| {
            let value = body.value(*id);
            let (dtype, shape) = value.ty.as_ref()?.as_tensor()?;
            let dims = shape.unwrap_or_default().iter().map(Dim::to_string).collect();
            Some(Self { name: value.name.clone(), dtype: dtype.name().to_owned(), dims })
        };
        let inputs = body.inputs().iter().filter(|id| body.constant(**id).is_none());
        (inputs.filter_map(port).collect(), body.outputs().iter().filter_map(port).collect())
    }
}
