//! The inputs of a check: a tensor per graph input from a safetensors file, or seeded synthetic ones.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use safetensors::SafeTensors;

use super::synthetic::Recipe;
use crate::error::{Error, Result, nearest};
use crate::fsx;
use crate::hub::{DType, Dim, Graph, Tensor};
use crate::run::converted;

/// Where inputs come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InputSpec {
    /// A safetensors file with exactly one tensor per graph input, of its name, element type and
    /// shape, and one of labels if those are asked for. It is one sample, of as many rows as its
    /// first axes have.
    File(PathBuf),
    /// Made up from the graph's input types and from what the graph does with its inputs: ids below
    /// the size of the table they look up, masks of ones with padding, normal floats.
    Synthetic {
        /// How many, one at least.
        samples: u32,
        /// Of the random numbers.
        seed: u64,
    },
}

/// An input that both graphs have.
#[derive(Clone, Debug)]
pub(super) struct Port {
    /// Its name.
    pub name: String,
    /// Element type in the reference.
    pub dtype: DType,
    /// Element type in the artifact.
    pub artifact_dtype: DType,
    /// Axes; where one graph fixes a length, it is fixed.
    pub dims: Vec<Dim>,
}

/// One sample, for each graph.
pub(super) struct Feed {
    /// What the reference gets.
    pub reference: BTreeMap<String, Tensor>,
    /// The same in the element types of the artifact's inputs.
    pub artifact: BTreeMap<String, Tensor>,
}

/// Inputs that fit both graphs.
pub(super) struct Inputs {
    ports: Vec<Port>,
    source: Source,
    labels: Option<Vec<i64>>,
}

enum Source {
    File { name: String, tensors: BTreeMap<String, Tensor> },
    Synthetic(Recipe),
}

impl Inputs {
    /// Checks the file, or decides what to draw. `labels` names the tensor of the file that holds
    /// the right class of each row.
    pub(super) fn prepare(
        spec: &InputSpec,
        labels: Option<&str>,
        reference: &Graph,
        artifact: &Graph,
    ) -> Result<Self> {
        let ports = ports(reference, artifact)?;
        let mut found = None;
        let source = match spec {
            InputSpec::File(path) => {
                let mut tensors = read(path)?;
                if let Some(name) = labels {
                    found = Some(take_labels(&mut tensors, name).map_err(|e| e.file(path))?);
                }
                fit(&ports, &tensors).map_err(|e| e.file(path))?;
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                Source::File { name, tensors }
            }
            InputSpec::Synthetic { samples, seed } => {
                Source::Synthetic(Recipe::new(&ports, reference, *samples, *seed)?)
            }
        };
        Ok(Self { ports, source, labels: found })
    }

    /// The right class of each row, if the file holds them.
    pub(super) fn labels(&self) -> Option<&[i64]> {
        self.labels.as_deref()
    }

    /// How many samples there are.
    pub(super) fn samples(&self) -> u32 {
        match &self.source {
            Source::File { .. } => 1,
            Source::Synthetic(recipe) => recipe.samples(),
        }
    }

    /// What they are, for a report: no paths.
    pub(super) fn describe(&self) -> String {
        match &self.source {
            Source::File { name, .. } => format!("the inputs of `{name}`"),
            Source::Synthetic(recipe) => recipe.describe(),
        }
    }

    /// Sample number `index`.
    pub(super) fn sample(&self, index: u32) -> Result<Feed> {
        let reference = match &self.source {
            Source::File { tensors, .. } => tensors.clone(),
            Source::Synthetic(recipe) => recipe.draw(&self.ports, index)?,
        };
        let mut artifact = reference.clone();
        for port in self.ports.iter().filter(|p| p.dtype != p.artifact_dtype) {
            if let Some(tensor) = artifact.get_mut(&port.name) {
                *tensor = converted(tensor, port.artifact_dtype)
                    .map_err(|e| e.item(format!("input `{}`", port.name)))?;
            }
        }
        Ok(Feed { reference, artifact })
    }
}

/// Takes the labels out of a file's tensors.
fn take_labels(tensors: &mut BTreeMap<String, Tensor>, name: &str) -> Result<Vec<i64>> {
    let Some(labels) = tensors.remove(name) else {
        let there: Vec<&str> = tensors.keys().map(String::as_str).collect();
        return Err(Error::source_missing(format!(
            "`verify` is to read labels from a tensor `{name}`, and the inputs hold none"
        ))
        .hint(format!("the file holds: {}", there.join(", "))));
    };
    match labels.dtype() {
        DType::I64 | DType::I32 => Ok(labels.to_i64()?.into_owned()),
        DType::U8 => Ok(labels.bytes()?.iter().map(|label| i64::from(*label)).collect()),
        other => Err(Error::source_missing(format!(
            "tensor `{name}` holds {other} elements, and labels are numbers of classes"
        ))
        .hint("save the labels as int64, one per row")),
    }
}

/// The inputs of a graph that have no default: name, element type, axes.
fn declared(graph: &Graph, which: &str) -> Result<Vec<(String, DType, Vec<Dim>)>> {
    let body = &graph.body;
    let mut out = Vec::new();
    for id in body.inputs().iter().filter(|id| body.constant(**id).is_none()) {
        let name = &body.value(*id).name;
        let Some((dtype, Some(dims))) = body.tensor_type(*id) else {
            return Err(Error::unsupported(format!(
                "input `{name}` of {which} is no tensor of a known rank, so `verify` cannot feed it"
            ))
            .hint("take `verify` out of the target"));
        };
        out.push((name.clone(), dtype, dims.to_vec()));
    }
    Ok(out)
}

fn ports(reference: &Graph, artifact: &Graph) -> Result<Vec<Port>> {
    let wanted = declared(reference, "the reference graph")?;
    let given = declared(artifact, "the artifact")?;
    if let Some((name, ..)) = given.iter().find(|(n, ..)| wanted.iter().all(|(w, ..)| w != n)) {
        return Err(Error::accuracy(format!(
            "the artifact wants an input `{name}` that the reference graph lacks"
        )));
    }
    let mut fixed: BTreeMap<String, u64> = BTreeMap::new();
    let mut ports = Vec::new();
    for (name, dtype, dims) in wanted {
        let Some((_, artifact_dtype, artifact_dims)) = given.iter().find(|(n, ..)| *n == name)
        else {
            return Err(Error::accuracy(format!("the artifact has no input `{name}`")));
        };
        let clash = || {
            Error::accuracy(format!(
                "input `{name}` is {} in the reference graph and {} in the artifact",
                show(dtype, &dims),
                show(*artifact_dtype, artifact_dims)
            ))
        };
        if dims.len() != artifact_dims.len() {
            return Err(clash());
        }
        let mut merged = Vec::new();
        for (a, b) in dims.iter().zip(artifact_dims) {
            merged.push(match (a, b) {
                (Dim::Fixed(a), Dim::Fixed(b)) if a != b => return Err(clash()),
                (Dim::Symbol(s), Dim::Fixed(n)) => {
                    fixed.insert(s.to_string(), *n);
                    b.clone()
                }
                (Dim::Fixed(_), _) | (Dim::Symbol(_), _) => a.clone(),
                (Dim::Unknown, _) => b.clone(),
            });
        }
        ports.push(Port { name, dtype, artifact_dtype: *artifact_dtype, dims: merged });
    }
    for dim in ports.iter_mut().flat_map(|p| &mut p.dims) {
        if let Dim::Symbol(s) = dim
            && let Some(n) = fixed.get(&**s)
        {
            *dim = Dim::Fixed(*n);
        }
    }
    Ok(ports)
}

fn show(dtype: DType, dims: &[Dim]) -> String {
    let dims: Vec<String> = dims.iter().map(ToString::to_string).collect();
    format!("{dtype}[{}]", dims.join(", "))
}

pub(crate) fn read(path: &Path) -> Result<BTreeMap<String, Tensor>> {
    let bytes = fsx::map(path)?;
    let malformed = |e: safetensors::SafeTensorError| {
        Error::malformed(format!("no valid safetensors file: {e}")).file(path)
    };
    let file = SafeTensors::deserialize(&bytes).map_err(malformed)?;
    let mut out = BTreeMap::new();
    for (name, view) in file.iter() {
        use safetensors::Dtype as S;
        let dtype = match view.dtype() {
            S::BOOL => DType::Bool,
            S::U8 => DType::U8,
            S::I8 => DType::I8,
            S::I16 => DType::I16,
            S::U16 => DType::U16,
            S::F16 => DType::F16,
            S::BF16 => DType::BF16,
            S::I32 => DType::I32,
            S::U32 => DType::U32,
            S::F32 => DType::F32,
            S::F64 => DType::F64,
            S::I64 => DType::I64,
            S::U64 => DType::U64,
            other => {
                return Err(Error::unsupported(format!("{other} tensors as inputs of `verify`"))
                    .file(path)
                    .item(name));
            }
        };
        let shape = view.shape().iter().map(|d| *d as u64).collect();
        out.insert(name.to_owned(), Tensor::new(dtype, shape, bytes.slice_ref(view.data()))?);
    }
    Ok(out)
}

/// Checks that the tensors are what the graph takes.
fn fit(ports: &[Port], tensors: &BTreeMap<String, Tensor>) -> Result<()> {
    let names: Vec<&str> = ports.iter().map(|p| p.name.as_str()).collect();
    for port in ports {
        if !tensors.contains_key(&port.name) {
            let error = Error::source_missing(format!(
                "the inputs of `verify` lack a tensor `{}` ({})",
                port.name,
                show(port.dtype, &port.dims)
            ));
            let there: Vec<&str> = tensors.keys().map(String::as_str).collect();
            return Err(error.hint(format!("the file holds: {}", there.join(", "))));
        }
    }
    if let Some(extra) = tensors.keys().find(|name| !names.contains(&name.as_str())) {
        let error = Error::source_missing(format!(
            "the inputs of `verify` hold a tensor `{extra}`, and the graph has no such input"
        ));
        return Err(match nearest(extra, names.iter().copied()) {
            Some(near) => error.hint(format!("did you mean `{near}`?")),
            None => error.hint(format!("the graph's inputs are: {}", names.join(", "))),
        });
    }
    let mut lengths: BTreeMap<&str, (u64, &str)> = BTreeMap::new();
    for port in ports {
        let Some(tensor) = tensors.get(&port.name) else { continue };
        let wrong = |why: &str| {
            Error::source_missing(format!(
                "tensor `{}` of the inputs of `verify` is {}{:?}, and the graph's input is {}{why}",
                port.name,
                tensor.dtype(),
                tensor.shape(),
                show(port.dtype, &port.dims)
            ))
        };
        if tensor.dtype() != port.dtype || tensor.shape().len() != port.dims.len() {
            return Err(wrong(""));
        }
        for (n, dim) in tensor.shape().iter().zip(&port.dims) {
            match dim {
                Dim::Fixed(want) if want != n => return Err(wrong("")),
                Dim::Symbol(s) => {
                    let (seen, by) = *lengths.entry(s).or_insert((*n, port.name.as_str()));
                    if seen != *n {
                        return Err(wrong(&format!(", where `{s}` is {seen} in `{by}`")));
                    }
                }
                Dim::Fixed(_) | Dim::Unknown => {}
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::Type;

    fn graph(inputs: &[(&str, DType, &[&str])]) -> Graph {
        let mut g = Graph::new("g", 8, 17);
        for (name, dtype, dims) in inputs {
            let dims = dims.iter().map(|d| match d.parse() {
                Ok(n) => Dim::Fixed(n),
                Err(_) => Dim::symbol(d),
            });
            let id = g.body.intern(name).unwrap();
            g.body.value_mut(id).ty = Some(Type::tensor(*dtype, dims));
            g.body.add_input(id);
        }
        g
    }

    fn tensors(of: &[(&str, Tensor)]) -> BTreeMap<String, Tensor> {
        of.iter().map(|(n, t)| ((*n).to_owned(), t.clone())).collect()
    }

    fn message(inputs: &[(&str, DType, &[&str])], given: &[(&str, Tensor)]) -> String {
        let g = graph(inputs);
        fit(&ports(&g, &g).unwrap(), &tensors(given)).unwrap_err().report()
    }

    #[test]
    fn a_file_that_does_not_fit_the_graph_is_an_error_with_both_sides() {
        let ids = ("ids", DType::I64, ["batch", "seq"].as_slice());
        let mask = ("mask", DType::I64, ["batch", "seq"].as_slice());
        let t = |shape: &[u64]| {
            let n = shape.iter().product::<u64>();
            Tensor::from_i64(shape.to_vec(), &vec![0; usize::try_from(n).unwrap()]).unwrap()
        };
        assert_eq!(
            message(&[ids, mask], &[("ids", t(&[2, 3]))]),
            "error: the inputs of `verify` lack a tensor `mask` (i64[batch, seq])\nhint: the file holds: ids"
        );
        assert_eq!(
            message(&[ids], &[("ids", t(&[2, 3])), ("idz", t(&[1]))]),
            "error: the inputs of `verify` hold a tensor `idz`, and the graph has no such input\nhint: did you mean `ids`?"
        );
        assert_eq!(
            message(&[ids], &[("ids", t(&[6]))]),
            "error: tensor `ids` of the inputs of `verify` is i64[6], and the graph's input is i64[batch, seq]"
        );
        assert_eq!(
            message(&[ids, mask], &[("ids", t(&[2, 3])), ("mask", t(&[2, 4]))]),
            "error: tensor `mask` of the inputs of `verify` is i64[2, 4], and the graph's input is i64[batch, seq], where `seq` is 3 in `ids`"
        );
        let f = Tensor::from_f32(vec![2, 3], &[0.0; 6]).unwrap();
        assert!(message(&[ids], &[("ids", f)]).contains("is f32[2, 3]"));
    }

    #[test]
    fn an_axis_that_the_artifact_fixes_is_fixed_wherever_its_symbol_stands() {
        let reference = graph(&[
            ("ids", DType::I64, &["batch", "seq"]),
            ("mask", DType::I64, &["batch", "seq"]),
        ]);
        let artifact =
            graph(&[("ids", DType::I64, &["1", "128"]), ("mask", DType::I32, &["batch", "seq"])]);
        let spec = InputSpec::Synthetic { samples: 1, seed: 0 };
        let feed = Inputs::prepare(&spec, None, &reference, &artifact).unwrap().sample(0).unwrap();
        assert_eq!(feed.reference["mask"].shape(), [1, 128]);
        assert_eq!(feed.artifact["ids"].shape(), [1, 128]);
        assert_eq!(feed.reference["mask"].dtype(), DType::I64);
        assert_eq!(feed.artifact["mask"].dtype(), DType::I32);
    }

    #[test]
    fn graphs_with_other_inputs_or_lengths_cannot_be_compared() {
        let a = graph(&[("x", DType::F32, &["2", "3"])]);
        for b in [
            graph(&[("x", DType::F32, &["2", "4"])]),
            graph(&[("x", DType::F32, &["2"])]),
            graph(&[("y", DType::F32, &["2", "3"])]),
            graph(&[]),
        ] {
            assert_eq!(ports(&a, &b).unwrap_err().kind(), crate::ErrorKind::Accuracy);
        }
    }

    #[test]
    fn a_broken_file_is_an_error_that_names_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("in.safetensors");
        fsx::write_atomic(&path, b"\x08\0\0\0\0\0\0\0{\"x\":").unwrap();
        let e = read(&path).unwrap_err();
        assert_eq!(e.kind(), crate::ErrorKind::Malformed);
        assert!(e.to_string().contains("in.safetensors"), "{e}");
    }
}
