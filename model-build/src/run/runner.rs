//! What runs a graph: the trait both runners implement, the choice between them, models on disk.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Error, Result};
use crate::format::{WriteOptions, onnx};
use crate::fsx::{self, AtomicFile};
use crate::hub::{DType, Graph, Tensor, write_blob};

/// What the manifest asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum RunnerChoice {
    /// ONNX Runtime where its library is found, else the embedded runner.
    #[default]
    Auto,
    /// ONNX Runtime.
    OnnxRuntime,
    /// The embedded runner.
    Rten,
}

/// The files of an ONNX model wherever they lie: the model first, then its external data.
#[derive(Clone, Debug)]
pub struct Files {
    /// Each file's name within the model, as external data refers to it, and where it is.
    pub files: Vec<(String, PathBuf)>,
}

impl Files {
    /// A model of one file.
    pub fn single(path: impl Into<PathBuf>) -> Self {
        Self { files: vec![("model.onnx".to_owned(), path.into())] }
    }
}

/// How a model is to be run.
#[cfg_attr(not(any(feature = "rten", feature = "ort")), allow(dead_code))]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setup {
    /// Threads of one session. With one, sums are split the same way on every machine.
    #[cfg_attr(not(feature = "ort"), allow(dead_code))]
    pub threads: usize,
    /// Whether the runner may rewrite the graph. Without, every value of the graph is computed as it
    /// stands there.
    pub optimize: bool,
}

impl Default for Setup {
    fn default() -> Self {
        Self { threads: 1, optimize: true }
    }
}

/// A program that runs graphs.
pub(crate) trait Runner: Sync {
    /// Name and version.
    fn name(&self) -> String;
    /// How it runs graphs: optimization level.
    fn level(&self, setup: &Setup) -> String;
    /// Loads a model; an error when this runner cannot be trusted with it.
    fn load(&self, model: &Model, setup: &Setup) -> Result<Box<dyn Session>>;
}

/// A loaded model.
pub(crate) trait Session: Send {
    /// Runs it on one sample: a tensor per graph input. Gives the outputs by name.
    fn run(&mut self, inputs: &BTreeMap<String, Tensor>) -> Result<BTreeMap<String, Tensor>>;
    /// Runs it on one sample and shows those outputs that are f32, by name, to `see`. The elements
    /// are those of the runner where it can lend them: nothing is copied.
    fn look(
        &mut self,
        inputs: &BTreeMap<String, Tensor>,
        see: &mut dyn FnMut(&str, &[f32]) -> Result<()>,
    ) -> Result<()> {
        for (name, tensor) in self.run(inputs)? {
            if tensor.dtype() == DType::F32 {
                see(&name, &tensor.to_f32()?)?;
            }
        }
        Ok(())
    }
    /// What this session does beyond the runner's level, as "bf16 emulated in f32".
    fn note(&self) -> Option<String> {
        None
    }
}

/// The runner of a choice; an error says how to get it.
pub(crate) fn choose(choice: RunnerChoice) -> Result<Box<dyn Runner>> {
    match choice {
        RunnerChoice::OnnxRuntime => onnxruntime(),
        RunnerChoice::Rten => rten(),
        RunnerChoice::Auto => match onnxruntime() {
            Ok(runner) => Ok(runner),
            // A library that was named and is broken is an error: falling back would hide it.
            Err(error) if crate::env::path("ORT_DYLIB_PATH").is_some() && cfg!(feature = "ort") => {
                Err(error)
            }
            Err(_) if cfg!(feature = "rten") => rten(),
            Err(error) => Err(error),
        },
    }
}

/// The library file that [`choose`] would open, if it is known without opening it.
#[cfg(feature = "ort")]
pub(crate) fn library(choice: RunnerChoice) -> Option<PathBuf> {
    match choice {
        RunnerChoice::Rten => None,
        RunnerChoice::OnnxRuntime | RunnerChoice::Auto => super::onnxruntime::first_file(),
    }
}
#[cfg(not(feature = "ort"))]
pub(crate) fn library(_: RunnerChoice) -> Option<PathBuf> {
    None
}

#[cfg(feature = "ort")]
pub(super) fn onnxruntime() -> Result<Box<dyn Runner>> {
    Ok(Box::new(super::onnxruntime::OnnxRuntime::find()?))
}
#[cfg(not(feature = "ort"))]
pub(super) fn onnxruntime() -> Result<Box<dyn Runner>> {
    Err(missing_feature("ONNX Runtime", "ort"))
}

#[cfg(feature = "rten")]
#[allow(clippy::unnecessary_wraps)] // without the feature it fails
fn rten() -> Result<Box<dyn Runner>> {
    Ok(Box::new(super::rten::Rten))
}
#[cfg(not(feature = "rten"))]
fn rten() -> Result<Box<dyn Runner>> {
    Err(missing_feature("the embedded runner", "rten"))
}

#[cfg(not(all(feature = "rten", feature = "ort")))]
fn missing_feature(what: &str, feature: &str) -> Error {
    Error::unsupported(format!(
        "running a graph needs {what}, and model-build was compiled without it"
    ))
    .hint(format!(
        "enable the feature: model-build = {{ version = \"{}\", features = [\"{feature}\"] }}",
        env!("CARGO_PKG_VERSION")
    ))
    .hint("or take `verify` out of the target")
}

#[cfg_attr(not(all(feature = "rten", feature = "ort")), allow(dead_code))] // each runner reads its part
/// A model that is ready to be loaded: read into the graph hub, its files side by side on disk.
pub(crate) struct Model {
    /// The graph.
    pub graph: Graph,
    /// The main file; external data stands beside it under its own name.
    pub path: PathBuf,
    /// The names of external data files.
    pub external: Vec<String>,
    /// Keeps the files until the model is dropped.
    _scratch: Option<Scratch>,
}

impl Model {
    /// Reads a model.
    pub(crate) fn open(files: &Files) -> Result<Self> {
        let Some((main_name, main)) = files.files.first() else {
            return Err(Error::bug("a model without files is to be verified"));
        };
        let external: Vec<String> = files.files.iter().skip(1).map(|(n, _)| n.clone()).collect();
        let in_place = files
            .files
            .iter()
            .skip(1)
            .all(|(name, path)| main.parent().is_some_and(|dir| dir.join(name) == *path));
        let (path, scratch) = if in_place {
            (main.clone(), None)
        } else {
            let scratch = Scratch::beside(main)?;
            for (name, path) in &files.files {
                let to = scratch.place(name)?;
                fsx::link_or_copy(path, &to)?;
            }
            (scratch.place(main_name)?, Some(scratch))
        };
        let graph = onnx::from_file(&path)?;
        Ok(Self { graph, path, external, _scratch: scratch })
    }

    /// Writes a graph that is in memory into a folder of its own beside `near`, for a runner to load.
    #[allow(dead_code)]
    pub(crate) fn of(graph: Graph, near: &Path) -> Result<Self> {
        let scratch = Scratch::beside(near)?;
        let (path, external) = write(&graph, &scratch)?;
        Ok(Self { graph, path, external, _scratch: Some(scratch) })
    }
}

/// The graph with more of its values as outputs, after those it has: what a run is to show of the
/// inside. Values that are outputs already are not repeated.
///
/// # Errors
/// No value has that name.
#[allow(dead_code)]
pub(crate) fn tapped(graph: &Graph, values: &[&str]) -> Result<Graph> {
    let mut graph = graph.clone();
    for name in values {
        let id = graph
            .body
            .find(name)
            .ok_or_else(|| Error::bug("a value to be looked at is not in the graph").item(*name))?;
        if !graph.body.outputs().contains(&id) {
            graph.body.add_output(id);
        }
    }
    Ok(graph)
}

/// Writes a graph into a folder; gives the model's path and the names of its external data.
pub(crate) fn write(graph: &Graph, scratch: &Scratch) -> Result<(PathBuf, Vec<String>)> {
    let options = WriteOptions { file_name: "model.onnx".to_owned(), ..WriteOptions::default() };
    let blobs = onnx::layout(graph, &options, EXTERNAL_ABOVE)?;
    let mut written = Vec::new();
    for blob in &blobs {
        let path = scratch.place(&blob.name)?;
        let mut file = AtomicFile::create(&path)?;
        write_blob(&blob.segments, &mut file, &mut |_| {})?;
        file.commit_unsynced()?;
        written.push((path, blob.name.clone()));
    }
    if written.is_empty() {
        return Err(Error::bug("a model laid out in no file"));
    }
    let (main, _) = written.remove(0);
    Ok((main, written.into_iter().map(|(_, name)| name).collect()))
}

/// A model above this many bytes is handed over with its weights in a second file: one protobuf
/// message ends at 2 GB.
const EXTERNAL_ABOVE: u64 = 1 << 30;

/// A folder that lives as long as this value. A killed process leaves one whose name starts with
/// `.tmp-`, which `cache gc` sweeps.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    /// Makes a folder beside a file, so that files can be linked into it, or in the system's
    /// folder for temporary files where that is not possible.
    pub(crate) fn beside(file: &Path) -> Result<Self> {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        let unique = COUNTER.fetch_add(1, Ordering::Relaxed);
        let name = format!(".tmp-run-{}-{unique}", std::process::id());
        let near = file.parent().unwrap_or(Path::new(".")).join(&name);
        if fsx::create_dir_all(&near).is_ok() {
            return Ok(Self(near));
        }
        let far = std::env::temp_dir().join(&name);
        fsx::create_dir_all(&far)?;
        Ok(Self(far))
    }

    /// The path of a name in the folder, its parent made. An error when the name leads out of it.
    pub(crate) fn place(&self, name: &str) -> Result<PathBuf> {
        let relative = Path::new(name);
        let inside = !name.is_empty()
            && relative.components().all(|c| matches!(c, std::path::Component::Normal(_)));
        if !inside {
            return Err(Error::malformed(
                "the name of an external data file leads out of the model's folder",
            )
            .item(name));
        }
        let path = self.0.join(relative);
        if let Some(parent) = path.parent() {
            fsx::create_dir_all(parent)?;
        }
        Ok(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fsx::remove_dir_all(&self.0);
    }
}
