//! Datasets: samples by number, in batches, as tensors that fit a graph's inputs.

mod npy;
mod table;
#[cfg(feature = "tokenizers")]
mod text;

use std::collections::BTreeMap;
use std::path::Path;

use super::Spec;
use crate::error::{Error, Result, nearest};
use crate::hub::{DType, Dim, Graph, Tensor, Type};
use crate::run::converted;

/// Samples that can be read in any order.
pub(super) trait Samples: Sync {
    /// How many there are.
    fn count(&self) -> u64;
    /// The samples from `first` on, one tensor per input.
    fn batch(&self, first: u64, count: u64) -> Result<BTreeMap<String, Tensor>>;
}

/// An input of the graph that has no default.
#[derive(Clone, Debug)]
pub(super) struct Port {
    pub name: String,
    pub dtype: DType,
    pub dims: Option<Vec<Dim>>,
}

impl Port {
    /// The number of samples that the graph takes at a time, where it is fixed.
    pub(super) fn batch(&self) -> Option<u64> {
        self.dims.as_ref()?.first()?.fixed()
    }

    fn shape_text(&self) -> String {
        Type::Tensor { dtype: self.dtype, shape: self.dims.clone() }.to_string()
    }
}

/// The inputs that samples must have.
pub(super) fn ports(graph: &Graph) -> Vec<Port> {
    let body = &graph.body;
    let open = body.inputs().iter().filter(|id| body.constant(**id).is_none());
    open.filter_map(|id| {
        let (dtype, dims) = body.tensor_type(*id)?;
        let name = body.value(*id).name.clone();
        Some(Port { name, dtype, dims: dims.map(<[Dim]>::to_vec) })
    })
    .collect()
}

fn ending(path: &Path) -> String {
    path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase()
}

/// Whether the samples are text, for which a tokenizer is needed.
pub(super) fn is_text(path: &Path) -> bool {
    ending(path) == "jsonl"
}

/// Opens a dataset by the ending of its name.
pub(super) fn open(spec: &Spec, ports: &[Port], tokenizer: &Path) -> Result<Box<dyn Samples>> {
    let path = &spec.dataset;
    let tensors = match ending(path).as_str() {
        "npz" => npy::archive(path)?,
        "npy" => npy::single(path, ports)?,
        "safetensors" => table::safetensors(path)?,
        "jsonl" => return text(spec, ports, tokenizer),
        other => {
            return Err(Error::unsupported(format!("a dataset of the kind `.{other}`"))
                .hint("give an .npz, .npy, .safetensors or .jsonl file"));
        }
    };
    Ok(Box::new(table::Table::new(tensors, ports)?))
}

#[cfg(feature = "tokenizers")]
fn text(spec: &Spec, ports: &[Port], tokenizer: &Path) -> Result<Box<dyn Samples>> {
    Ok(Box::new(text::Texts::open(spec, ports, tokenizer)?))
}

#[cfg(not(feature = "tokenizers"))]
fn text(_: &Spec, _: &[Port], _: &Path) -> Result<Box<dyn Samples>> {
    Err(Error::unsupported(
        "text samples need a tokenizer, and model-build was compiled without it",
    )
    .hint("enable the feature `tokenizers`, or tokenize the text into an .npz file"))
}

/// Refuses a dataset whose names are not the inputs.
fn check_names<'a>(ports: &[Port], names: impl Iterator<Item = &'a str> + Clone) -> Result<()> {
    let inputs: Vec<&str> = ports.iter().map(|port| port.name.as_str()).collect();
    if let Some(missing) = ports.iter().find(|port| names.clone().all(|name| name != port.name)) {
        let there: Vec<&str> = names.collect();
        return Err(Error::source_missing(format!(
            "the dataset lacks the input `{}` ({})",
            missing.name,
            missing.shape_text()
        ))
        .hint(format!("it holds: {}", there.join(", "))));
    }
    match names.clone().find(|name| !inputs.contains(name)) {
        None => Ok(()),
        Some(extra) => {
            let error = Error::source_missing(format!(
                "the dataset holds `{extra}`, and the graph has no such input"
            ));
            Err(match nearest(extra, inputs.iter().copied()) {
                Some(near) => error.hint(format!("did you mean `{near}`?")),
                None => error.hint(format!("the graph's inputs are: {}", inputs.join(", "))),
            })
        }
    }
}

/// The tensors in the element types of the inputs; an error names the input whose shape does not fit.
pub(super) fn fitted(
    ports: &[Port],
    mut tensors: BTreeMap<String, Tensor>,
) -> Result<BTreeMap<String, Tensor>> {
    let mut lengths: BTreeMap<&str, u64> = BTreeMap::new();
    for port in ports {
        let Some(tensor) = tensors.get_mut(&port.name) else {
            return Err(Error::bug("a batch without an input").item(&port.name));
        };
        let wrong = |found: &Tensor, why: &str| {
            Error::source_missing(format!(
                "the input `{}` of the dataset is {}{:?}, and the graph takes {}{why}",
                port.name,
                found.dtype(),
                found.shape(),
                port.shape_text()
            ))
        };
        if let Some(dims) = &port.dims {
            let shape = tensor.shape();
            if shape.len() != dims.len() {
                return Err(wrong(tensor, ""));
            }
            for (found, dim) in shape.iter().zip(dims) {
                let want = match dim {
                    Dim::Fixed(want) => *want,
                    // Some exporters call every axis they do not know by this name.
                    Dim::Symbol(name) if &**name == "?" => *found,
                    Dim::Symbol(name) => *lengths.entry(&**name).or_insert(*found),
                    Dim::Unknown => *found,
                };
                if want != *found {
                    return Err(wrong(tensor, &format!(", where {dim} is {want}")));
                }
            }
        }
        if tensor.dtype() != port.dtype {
            let narrow = match (tensor.dtype(), port.dtype) {
                // What numpy makes by default.
                (DType::F64, DType::F32) => {
                    Tensor::from_f32(tensor.shape().to_vec(), &tensor.to_f32()?)?
                }
                _ => converted(tensor, port.dtype).map_err(|_| wrong(tensor, ""))?,
            };
            *tensor = narrow;
        }
    }
    Ok(tensors)
}
