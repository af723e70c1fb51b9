//! A temporary project: a checkpoint, a `models.toml`, a store, and what its builds report.

use std::path::{Path, PathBuf};

use model_build::cache::Store;
use model_build::execute::{self, Artifact, Event, Report};
use model_build::manifest;
use model_build::plan::{self, Plan};
use tempfile::TempDir;

/// A project in a temporary folder.
pub struct Project {
    dir: TempDir,
}

/// What a build reported, in order, without timings: `started digits.fp32 convert`, `hashed …`.
#[derive(Default, Debug)]
pub struct Log(pub Vec<String>);

impl Report for Log {
    fn event(&mut self, event: &Event<'_>) {
        let line = match event {
            Event::Hashed { path, .. } => {
                format!("hashed {}", path.file_name().unwrap().to_string_lossy())
            }
            Event::Reused { job, step, .. } => format!("reused {job} {step}"),
            Event::Started { job, step, .. } => format!("started {job} {step}"),
            Event::Warning(text) => format!("warning {text}"),
            Event::Encoding { job, encoded, reused } => {
                format!("encoding {job} {encoded} {reused}")
            }
            _ => return,
        };
        self.0.push(line);
    }
}

impl Log {
    /// The lines that start with a word, without the word.
    pub fn of(&self, word: &str) -> Vec<&str> {
        self.0.iter().filter_map(|l| l.strip_prefix(word)?.strip_prefix(' ')).collect()
    }
}

impl Project {
    /// A project with a copy of the checkpoint folder `checkpoint` as `model/`.
    pub fn new(checkpoint: &Path, manifest: &str) -> Self {
        let project = Self { dir: tempfile::tempdir().unwrap() };
        std::fs::create_dir(project.path("model")).unwrap();
        for entry in std::fs::read_dir(checkpoint).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_file() {
                std::fs::copy(entry.path(), project.path("model").join(entry.file_name())).unwrap();
            }
        }
        project.write("models.toml", manifest);
        project
    }

    /// A path in the project.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a file of the project, with a modification time that no index takes for racy.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), content).unwrap();
        self.age(name);
    }

    /// Sets a file's modification time to ten seconds ago.
    pub fn age(&self, name: &str) {
        let file = std::fs::File::options().append(true).open(self.path(name)).unwrap();
        file.set_modified(std::time::SystemTime::now() - std::time::Duration::from_secs(10))
            .unwrap();
    }

    /// The store of the project.
    pub fn store(&self) -> Store {
        Store::open(&self.path("cache")).unwrap()
    }

    /// The plan of the project's manifest.
    pub fn plan(&self) -> Plan {
        self.plan_telling(&mut Log::default())
    }

    fn plan_telling(&self, log: &mut Log) -> Plan {
        let manifest = manifest::load(&self.path("models.toml")).unwrap();
        let sources = execute::look(&manifest, &self.store(), log).unwrap();
        plan::plan(&manifest, &sources).unwrap()
    }

    /// Builds a plan as a process of its own would: with a store opened anew.
    pub fn run(&self, plan: &Plan) -> (model_build::error::Result<Vec<Artifact>>, Log) {
        let mut log = Log::default();
        let result = execute::execute(plan, &self.store(), &mut log);
        (result, log)
    }

    /// Builds the project.
    pub fn build(&self) -> (Vec<Artifact>, Log) {
        let mut planning = Log::default();
        let (result, mut log) = self.run(&self.plan_telling(&mut planning));
        log.0.splice(0..0, planning.0);
        (result.unwrap(), log)
    }
}

/// The digests of the main files of artifacts, hex.
pub fn digests(artifacts: &[Artifact]) -> Vec<String> {
    artifacts.iter().map(|a| a.record.files[0].digest.to_string()).collect()
}

/// The root of the repository.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}
