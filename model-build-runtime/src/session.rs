//! Loading an artifact into a backend, and running it with checked, typed inputs.

use std::marker::PhantomData;

use crate::artifact::Artifact;
use crate::backend::{self, Run};
use crate::error::{Error, ErrorKind};
use crate::metadata::{Dim, Metadata, Port};
use crate::sidecar::Check;
use crate::tensor::{Element, Tensor, Value, View};

/// How a skeleton calls the main file that its initializers lie in.
const SKELETON_LOCATION: &str = "artifact.data";

/// An artifact that a backend can run. Implemented by the types that
/// [`include_model!`](crate::include_model) makes.
pub trait Model: Artifact {
    /// One tensor per input.
    type Inputs;
    /// One tensor per output.
    type Outputs;

    #[doc(hidden)]
    fn views(inputs: &Self::Inputs) -> Vec<View<'_>>;

    #[doc(hidden)]
    fn outputs(values: &mut Values) -> Result<Self::Outputs, Error>;
}

/// What runs a model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Backend {
    /// The compiled-in [`Rten`](Self::Rten) where its feature is enabled, else
    /// [`OnnxRuntime`](Self::OnnxRuntime).
    #[default]
    Auto,
    /// rten, compiled in (feature `rten`).
    Rten,
    /// ONNX Runtime (feature `ort`): the library named by `ORT_DYLIB_PATH`, else one next to the
    /// executable, else the system's. All its graph optimizations are on.
    OnnxRuntime,
}

/// How a model is loaded.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct LoadOptions {
    pub(crate) backend: Backend,
    pub(crate) threads: Option<usize>,
    pub(crate) prepack: bool,
    pub(crate) check: Check,
}

impl LoadOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }
    /// What runs the model.
    pub fn backend(mut self, backend: Backend) -> Self {
        self.backend = backend;
        self
    }
    /// How many threads a run may use; the backend's own choice (the physical cores) by default.
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = Some(threads);
        self
    }
    /// Whether the backend may copy the weights into a layout of its own. By default it computes
    /// from the bytes in the executable; with prepacking runs are faster, loading is slower, and
    /// the matrices are in memory twice.
    pub fn prepack(mut self, prepack: bool) -> Self {
        self.prepack = prepack;
        self
    }
    /// How a file beside the executable is checked. Embedded bytes need no check.
    pub fn check(mut self, check: Check) -> Self {
        self.check = check;
        self
    }
}

/// A loaded model. One session may be used from many threads; ONNX Runtime then runs one call at a
/// time. A second session of the same artifact shares the weights.
pub struct Session<M> {
    run: Box<dyn Run>,
    model: PhantomData<fn() -> M>,
}

impl<M: Model> Session<M> {
    /// Loads the model with the default options.
    ///
    /// # Errors
    /// When no backend is compiled in, the backend cannot run the model, or a file beside the
    /// executable is missing or is another one.
    pub fn load() -> Result<Self, Error> {
        Self::load_with(&LoadOptions::new())
    }

    /// Loads the model.
    ///
    /// # Errors
    /// As [`load`](Self::load); and when the library of the chosen backend is not found.
    pub fn load_with(options: &LoadOptions) -> Result<Self, Error> {
        let metadata: &'static Metadata = const { &M::METADATA };
        let mut files = M::files()
            .iter()
            .map(|f| Ok((f.name, f.bytes(options.check)?)))
            .collect::<Result<Vec<_>, Error>>()?;
        let mut proto = files.first().map_or(&[][..], |(_, bytes)| *bytes);
        if let Some(skeleton) = M::skeleton() {
            files.push((SKELETON_LOCATION, proto));
            proto = skeleton;
        }
        let parts = backend::Parts { metadata, proto, files };
        Ok(Self { run: backend::load(&parts, options)?, model: PhantomData })
    }

    /// Runs the model.
    ///
    /// # Errors
    /// When a tensor's shape does not fit the model's (the message names the input), or the backend
    /// fails.
    pub fn run(&self, inputs: &M::Inputs) -> Result<M::Outputs, Error> {
        let views = M::views(inputs);
        check_shapes(M::METADATA.inputs, &views)?;
        check_bounds(&M::METADATA, &views)?;
        let values = self.run.run(&views)?;
        M::outputs(&mut Values { values: values.into_iter(), ports: M::METADATA.outputs.iter() })
    }
}

impl<M: Artifact> std::fmt::Debug for Session<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let meta = M::METADATA;
        f.debug_struct("Session")
            .field("model", &meta.model)
            .field("target", &meta.target)
            .finish_non_exhaustive()
    }
}

/// The outputs of a run, taken one by one in the model's order.
#[doc(hidden)]
pub struct Values {
    values: std::vec::IntoIter<Value>,
    ports: std::slice::Iter<'static, Port>,
}

impl Values {
    /// The next output.
    pub fn take<T: Element>(&mut self) -> Result<Tensor<T>, Error> {
        let name = self.ports.next().map_or("?", |p| p.name);
        let value = self.values.next().and_then(T::take);
        value.ok_or_else(|| {
            Error::new(ErrorKind::Backend, format!("the backend gave no {} `{name}`", T::DTYPE))
        })
    }
}

/// Compares every input with its port: rank, fixed axes, and axes of one name with each other.
fn check_shapes(ports: &[Port], views: &[View<'_>]) -> Result<(), Error> {
    for (at, (port, view)) in ports.iter().zip(views).enumerate() {
        if port.dims.is_empty() {
            continue;
        }
        let wrong = |why: String| {
            let shape = port.shape();
            Err(Error::input(format!(
                "input `{}` wants shape {shape}, found {:?}: {why}",
                port.name, view.shape
            )))
        };
        if port.dims.len() != view.shape.len() {
            return wrong(format!("{} axes, not {}", port.dims.len(), view.shape.len()));
        }
        for (axis, (dim, &len)) in port.dims.iter().zip(view.shape).enumerate() {
            match dim {
                Dim::Fixed(want) if *want != len => return wrong(format!("axis {axis} is {want}")),
                Dim::Named(name) => {
                    // Few inputs and axes: a search costs less than a map.
                    let pairs = ports.iter().zip(views).take(at + 1);
                    let first = pairs
                        .flat_map(|(p, v)| p.dims.iter().zip(v.shape).map(move |(d, n)| (p, d, n)))
                        .find(|(_, d, _)| **d == Dim::Named(name));
                    if let Some((other, _, &n)) = first
                        && n != len
                    {
                        return wrong(format!("`{name}` is {n} in input `{}`", other.name));
                    }
                }
                Dim::Fixed(_) | Dim::Any => {}
            }
        }
    }
    Ok(())
}

/// Holds named axes to the bounds that the manifest sets.
fn check_bounds(metadata: &Metadata, views: &[View<'_>]) -> Result<(), Error> {
    for (port, view) in metadata.inputs.iter().zip(views) {
        for (axis, (dim, &len)) in port.dims.iter().zip(view.shape).enumerate() {
            let Dim::Named(name) = dim else { continue };
            let Some((least, most)) = metadata.bounds(name) else { continue };
            if len < least || len > most {
                return Err(Error::input(format!(
                    "axis {axis} of input `{}` is {len} long, and `{name}` is from {least} to {most}",
                    port.name
                )));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::DType;

    const IDS: Port = Port {
        name: "ids",
        dtype: DType::I64,
        dims: &[Dim::Named("batch"), Dim::Named("sequence")],
    };
    const MASK: Port = Port { name: "mask", ..IDS };
    const PIXELS: Port =
        Port { name: "pixels", dtype: DType::F32, dims: &[Dim::Any, Dim::Fixed(1), Dim::Fixed(8)] };

    fn ones(shape: &[usize]) -> Tensor<f32> {
        Tensor::new(shape, vec![1.0; shape.iter().product()]).unwrap()
    }

    #[test]
    fn shapes_that_fit_pass() {
        let (a, b) = (ones(&[2, 5]), ones(&[3, 1, 8]));
        check_shapes(&[IDS, MASK, PIXELS], &[a.view(), a.view(), b.view()]).unwrap();
    }

    #[test]
    fn a_wrong_shape_names_the_input_and_both_shapes() {
        let cases = [
            (vec![3, 8], "input `pixels` wants shape [?, 1, 8], found [3, 8]: 3 axes, not 2"),
            (vec![3, 2, 8], "input `pixels` wants shape [?, 1, 8], found [3, 2, 8]: axis 1 is 1"),
        ];
        for (shape, message) in cases {
            let error = check_shapes(&[PIXELS], &[ones(&shape).view()]).unwrap_err();
            assert_eq!(error.to_string(), message);
            assert_eq!(error.kind(), ErrorKind::Input);
        }
    }

    #[test]
    fn an_axis_is_held_to_its_bounds() {
        let metadata = Metadata {
            model: "m",
            target: "t",
            format: "onnx",
            digest: "",
            len: 0,
            parameters: 0,
            inputs: &[IDS],
            outputs: &[],
            facts: &[("axis.sequence", "2..=5")],
        };
        check_bounds(&metadata, &[ones(&[9, 5]).view()]).unwrap();
        for len in [1, 6] {
            let error = check_bounds(&metadata, &[ones(&[1, len]).view()]).unwrap_err();
            let want =
                format!("axis 1 of input `ids` is {len} long, and `sequence` is from 2 to 5");
            assert_eq!(error.to_string(), want);
        }
    }

    #[test]
    fn axes_of_one_name_agree_across_inputs() {
        let (a, b) = (ones(&[2, 5]), ones(&[2, 6]));
        let error = check_shapes(&[IDS, MASK], &[a.view(), b.view()]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "input `mask` wants shape [batch, sequence], found [2, 6]: `sequence` is 5 in input `ids`"
        );
    }
}
