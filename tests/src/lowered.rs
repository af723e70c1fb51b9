//! The checkpoints of `fixtures/arch`, what transformers computes with them, and their graphs as files.

use std::fs;
use std::path::{Path, PathBuf};

use model_build::arch::{self, LowerOptions, Part, Task};
use model_build::format::{self, WriteOptions};
use model_build::hub::{Checkpoint, Graph, Hub, write_blob};

use crate::arrays::{self, Arrays};

/// The folder of the checkpoints.
pub fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/arch")
}

/// The names of the checkpoints.
pub fn cases() -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(fixtures())
        .unwrap()
        .map(|e| e.unwrap())
        .filter(|e| e.file_type().unwrap().is_dir())
        .map(|e| e.file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert!(names.len() > 80, "the fixtures are there");
    names
}

/// A checkpoint by its name.
pub fn load(case: &str) -> Checkpoint {
    let source = format::resolve(&fixtures().join(case)).unwrap();
    match (source.format.read.unwrap())(&source.files).unwrap() {
        Hub::Checkpoint(checkpoint) => checkpoint,
        _ => panic!("a safetensors folder is a checkpoint"),
    }
}

/// A graph that a fixture is lowered to, and what transformers computes.
pub struct Case {
    /// The checkpoint's name.
    pub name: String,
    /// What it is lowered to.
    pub options: LowerOptions,
    /// The file of inputs and outputs.
    pub reference: PathBuf,
}

impl Case {
    /// The graph.
    pub fn graph(&self) -> Graph {
        arch::lower(&load(&self.name), &self.options).unwrap_or_else(|e| panic!("{self}: {e}"))
    }
    /// Inputs and expected outputs.
    pub fn reference(&self) -> (Arrays, Arrays) {
        split(&self.reference)
    }
}

impl std::fmt::Display for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name)?;
        self.options.task.map_or(Ok(()), |task| write!(f, " {}", task.name()))?;
        self.options.part.map_or(Ok(()), |part| write!(f, " {}", part.name()))
    }
}

/// Every graph of every fixture: `reference[.TASK][.PART].safetensors` says which.
pub fn graphs() -> Vec<Case> {
    let mut found = Vec::new();
    for name in cases() {
        let mut files: Vec<PathBuf> = fs::read_dir(fixtures().join(&name))
            .unwrap()
            .map(|e| e.unwrap().path())
            .filter(|p| p.file_name().unwrap().to_str().unwrap().starts_with("reference"))
            .collect();
        files.sort();
        for reference in files {
            let mut options = LowerOptions::default();
            let file = reference.file_name().unwrap().to_str().unwrap();
            let words =
                file.strip_prefix("reference").unwrap().strip_suffix(".safetensors").unwrap();
            for word in words.split('.').skip(1) {
                let task = Task::ALL.iter().copied().find(|t| t.name() == word);
                let part = Part::ALL.iter().copied().find(|p| p.name() == word);
                assert!(task.is_some() || part.is_some(), "{}", reference.display());
                options.task = options.task.or(task);
                options.part = options.part.or(part);
            }
            found.push(Case { name: name.clone(), options, reference });
        }
    }
    found
}

/// Inputs and expected outputs of a reference file.
pub fn split(path: &Path) -> (Arrays, Arrays) {
    let all = arrays::read(path);
    let pick = |start: &str| {
        all.iter()
            .filter_map(|(name, array)| Some((name.strip_prefix(start)?.to_owned(), array.clone())))
            .collect::<Arrays>()
    };
    (pick("in."), pick("out."))
}

/// The graph as the bytes of an ONNX file.
pub fn onnx(graph: &Graph) -> Vec<u8> {
    let def = format::by_name("onnx").unwrap();
    let options = WriteOptions { file_name: "model.onnx".into(), ..Default::default() };
    let blobs = (def.write.unwrap())(&Hub::Graph(graph.clone()), &options).unwrap();
    assert_eq!(blobs.len(), 1);
    let mut bytes = Vec::new();
    write_blob(&blobs[0].segments, &mut bytes, &mut |_| {}).unwrap();
    bytes
}

/// A model file that lives as long as this.
pub struct File(tempfile::TempDir);

impl File {
    /// Writes the graph.
    pub fn of(graph: &Graph) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("model.onnx"), onnx(graph)).unwrap();
        Self(folder)
    }
    /// Where it is.
    pub fn path(&self) -> PathBuf {
        self.0.path().join("model.onnx")
    }
}
