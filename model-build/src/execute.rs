//! Plan + store → artifacts. Every step is looked up by key first; what is missing is made once,
//! under a lock, streamed into the store, and recorded.

mod direct;
mod ingredients;
mod walk;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::cache::{Digest, Key, KeyBuilder, Store, StoreEvent, Subject};
use crate::error::{Error, Result};
use crate::hub::{blob_len, write_blob};
use crate::manifest::{Manifest, Runner, Verify};
use crate::plan::{Job, Plan, Recipe, Sources, VerifyStep};
use crate::record::{Info, Record, RecordFile};
use crate::reuse::{self, Earlier};
use crate::run::{self, Files, RunnerChoice};
use crate::verify::{self, Measured};
use crate::{fsx, look};

pub use direct::{Preview, preview, write_to};
pub use ingredients::ingredients;
use ingredients::{provenance, source_digest};
pub use walk::lay_out;
use walk::lay_out_with;

/// Something that happens during a build, in order. `job` is `model.target`.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A source file's bytes were read to find its digest.
    Hashed {
        /// The file.
        path: &'a Path,
        /// Its length.
        bytes: u64,
    },
    /// The artifact of a step was found in the store.
    Reused {
        /// The job.
        job: &'a str,
        /// The step.
        step: &'a str,
        /// Its key.
        key: &'a Key,
    },
    /// Another process is making the same artifact; this one waits for it.
    Waiting {
        /// The job.
        job: &'a str,
        /// The step.
        step: &'a str,
    },
    /// A step is about to run.
    Started {
        /// The job.
        job: &'a str,
        /// The step.
        step: &'a str,
        /// Its key.
        key: &'a Key,
        /// What it does, in a line.
        summary: &'a str,
    },
    /// How much of an artifact's slow-to-make tensors is computed, and how much is taken from the
    /// target's last artifact.
    Encoding {
        /// The job.
        job: &'a str,
        /// Bytes of tensors that are computed.
        encoded: u64,
        /// Bytes of tensors that are reused.
        reused: u64,
    },
    /// Bytes of a step's files have been written.
    Progress {
        /// The job.
        job: &'a str,
        /// Bytes written so far.
        done: u64,
        /// Bytes in all.
        total: u64,
    },
    /// A step has run.
    Finished {
        /// The job.
        job: &'a str,
        /// The step.
        step: &'a str,
        /// Bytes of its files.
        bytes: u64,
        /// How long it took.
        took: Duration,
    },
    /// An accuracy check's numbers, measured now or read back.
    Measured {
        /// The job.
        job: &'a str,
        /// The numbers.
        measured: &'a Measured,
        /// What they are held against.
        bounds: &'a verify::Bounds,
    },
    /// Something the user should know.
    Warning(&'a str),
}

/// Who is told of events.
pub trait Report: Send {
    /// Something happened.
    fn event(&mut self, event: &Event<'_>);
}

/// Tells nobody.
pub struct Silent;

impl Report for Silent {
    fn event(&mut self, _: &Event<'_>) {}
}

/// A finished artifact.
#[derive(Clone, Debug)]
pub struct Artifact {
    /// The model's name.
    pub model: String,
    /// The target's name.
    pub target: String,
    /// The key it is stored under.
    pub key: Key,
    /// Its record.
    pub record: Record,
    /// The accuracy check's numbers, if there was one.
    pub measured: Option<Measured>,
}

/// What an artifact below a bound of its accuracy check is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// An error.
    Closed,
    /// An artifact like another: who asked holds the bounds.
    Open,
}

/// Runs a plan. The artifacts come back in the plan's order and lie in the store.
pub fn execute(plan: &Plan, store: &Store, report: &mut dyn Report) -> Result<Vec<Artifact>> {
    execute_with(plan, store, Gate::Closed, report)
}

/// [`execute`], where `gate` says what an artifact is that misses a bound.
pub fn execute_with(
    plan: &Plan,
    store: &Store,
    gate: Gate,
    report: &mut dyn Report,
) -> Result<Vec<Artifact>> {
    let mut engine = Engine { store, report, gate, digests: BTreeMap::new() };
    plan.jobs
        .iter()
        .map(|job| {
            let named = |e: Error| {
                if job.target.is_empty() { e } else { e.target(&job.model, &job.target) }
            };
            engine.job(job, plan).map_err(named)
        })
        .collect()
}

/// The facts of every source of a manifest, for [`plan`](crate::plan::plan). What a main file names
/// inside itself is remembered in the store, so that a file that did not change is not read.
pub fn look(manifest: &Manifest, store: &Store, report: &mut dyn Report) -> Result<Sources> {
    look::all(manifest, &mut |format, main| {
        let Some(names) = format.names else { return Ok(Vec::new()) };
        let digest = store.digest_file(main, &mut |path, bytes| {
            report.event(&Event::Hashed { path, bytes });
        })?;
        let mut key = KeyBuilder::new("names");
        key.ingredient(format.name, &format!("revision {}", format.revision));
        key.ingredient("file", &digest.to_string());
        let (key, ingredients) = key.finish();
        if let Some(record) = store.lookup(&key)? {
            return Ok(record.info.facts.into_iter().map(|(_, name)| name).collect());
        }
        let found = names(main)?;
        if store.is_writable() {
            let facts = found.iter().map(|name| ("names".to_owned(), name.clone())).collect();
            let info = Info { facts, ..Info::default() };
            let step = "names".to_owned();
            store.insert(&key, &Record { step, ingredients, files: Vec::new(), info })?;
        }
        Ok(found)
    })
}

/// What an artifact's accuracy is measured against, from the store or made for it; `None` for a job
/// without an accuracy check.
pub fn reference(job: &Job, store: &Store, report: &mut dyn Report) -> Result<Option<Record>> {
    let Some(step) = &job.verify else { return Ok(None) };
    let mut engine = Engine { store, report, gate: Gate::Open, digests: BTreeMap::new() };
    let (key, ingredients) = engine.key(&step.reference)?;
    let key = StepKey { step: "reference", key, ingredients };
    engine.reference(&job.name(), step, key).map(Some)
}

/// The key of one step of a job, and what it is made of.
#[derive(Clone, Debug)]
pub struct StepKey {
    /// The step: `convert` or `verify`.
    pub step: &'static str,
    /// The key.
    pub key: Key,
    /// The ingredients, in order: name and canonical value.
    pub ingredients: Vec<(String, String)>,
}

/// The keys of a job's steps, in order, without running anything; hashes the source files whose
/// digest is not known.
pub fn keys_of(job: &Job, store: &Store, report: &mut dyn Report) -> Result<Vec<StepKey>> {
    let mut engine = Engine { store, report, gate: Gate::Closed, digests: BTreeMap::new() };
    let (key, ingredients) = engine.key(&job.recipe)?;
    let mut keys = vec![StepKey { step: "convert", key, ingredients }];
    if let Some(step) = &job.verify {
        keys.push(engine.verify_keys(step, &key)?.verify);
    }
    Ok(keys)
}

/// The keys that an accuracy check needs, and what runs it.
struct VerifyKeys {
    verify: StepKey,
    reference: StepKey,
    runner: String,
}

/// More than the numbers of any graph's outputs take.
const LONGEST_MEASURED: u64 = 64 << 20;

struct Engine<'a> {
    store: &'a Store,
    report: &'a mut dyn Report,
    gate: Gate,
    digests: BTreeMap<PathBuf, Digest>,
}

impl Engine<'_> {
    fn digest(&mut self, path: &Path) -> Result<Digest> {
        if let Some(known) = self.digests.get(path) {
            return Ok(*known);
        }
        let report = &mut *self.report;
        let digest = self.store.digest_file(path, &mut |path, bytes| {
            report.event(&Event::Hashed { path, bytes });
        })?;
        self.digests.insert(path.to_owned(), digest);
        Ok(digest)
    }

    fn key(&mut self, recipe: &Recipe) -> Result<(Key, Vec<(String, String)>)> {
        let mut key = KeyBuilder::new("convert");
        for (name, value) in ingredients(recipe, &mut |path| self.digest(path))? {
            key.ingredient(&name, &value);
        }
        Ok(key.finish())
    }

    /// Passes on what the store did behind a call.
    fn store_events(&mut self) {
        for event in self.store.take_events() {
            match event {
                StoreEvent::Hashed { path, bytes } | StoreEvent::Copied { path, bytes } => {
                    self.report.event(&Event::Hashed { path: &path, bytes });
                }
                StoreEvent::Dropped { path, why } => {
                    let text = format!("dropped from the cache: {} ({why})", path.display());
                    self.report.event(&Event::Warning(&text));
                }
            }
        }
    }

    fn lookup(&mut self, key: &Key) -> Result<Option<Record>> {
        let found = self.store.lookup(key);
        self.store_events();
        found
    }

    fn job(&mut self, job: &Job, plan: &Plan) -> Result<Artifact> {
        let name = job.name();
        let (key, ingredients) = self.key(&job.recipe)?;
        let manifest = absolute(&plan.manifest);
        self.store.remember(&subject(&manifest, job, "convert"), &key, &ingredients);
        let record = self.step(&name, "convert", &key, &job.recipe.summary(), |engine| {
            let parts = subject(&manifest, job, "parts");
            engine.convert(&name, &job.recipe, &key, ingredients, Some(&parts))
        })?;
        warn(&name, &record.info, self.report);
        let measured = match &job.verify {
            None => None,
            Some(step) => {
                let keys = self.verify_keys(step, &key)?;
                let subject = subject(&manifest, job, "verify");
                self.store.remember(&subject, &keys.verify.key, &keys.verify.ingredients);
                Some(self.verify(&name, step, keys, &record)?)
            }
        };
        Ok(Artifact { model: job.model.clone(), target: job.target.clone(), key, record, measured })
    }

    /// Serves a step from the store, or runs it while holding its lock.
    fn step(
        &mut self,
        job: &str,
        step: &str,
        key: &Key,
        summary: &str,
        run: impl FnOnce(&mut Self) -> Result<Record>,
    ) -> Result<Record> {
        if let Some(record) = self.lookup(key)? {
            self.report.event(&Event::Reused { job, step, key });
            return Ok(record);
        }
        let report = &mut *self.report;
        let lock = self.store.lock(key, || report.event(&Event::Waiting { job, step }))?;
        if let Some(record) = self.lookup(key)? {
            self.report.event(&Event::Reused { job, step, key });
            return Ok(record);
        }
        self.report.event(&Event::Started { job, step, key, summary });
        let start = Instant::now();
        let record = run(self).map_err(|e| e.step(step))?;
        self.store.insert(key, &record)?;
        drop(lock);
        let bytes = record.files.iter().map(|f| f.len).sum();
        self.report.event(&Event::Finished { job, step, bytes, took: start.elapsed() });
        Ok(record)
    }

    /// Makes an artifact. `parts` is what its tensors are remembered under for the next one.
    fn convert(
        &mut self,
        job: &str,
        recipe: &Recipe,
        key: &Key,
        ingredients: Vec<(String, String)>,
        parts: Option<&Subject<'_>>,
    ) -> Result<Record> {
        let metadata = provenance(recipe, &ingredients);
        let (blobs, mut info) = lay_out_with(recipe, &metadata, true)?;
        info.facts.push(("recipe".to_owned(), recipe.summary()));
        info.facts.push(("source".to_owned(), source_digest(&ingredients)));
        info.facts.sort();
        let earlier = parts.map(|p| Earlier::open(self.store, p)).unwrap_or_default();
        let prepared = reuse::prepare(blobs, &earlier)?;
        let reuse::Tally { encoded, reused } = prepared.tally;
        if encoded + reused > 0 {
            self.report.event(&Event::Encoding { job, encoded, reused });
        }
        let total = prepared.blobs.iter().map(|b| blob_len(&b.segments)).sum();
        let mut done = 0;
        let mut files = Vec::new();
        for blob in &prepared.blobs {
            let mut out = self.store.writer()?;
            let report = &mut *self.report;
            let digest = write_blob(&blob.segments, &mut out, &mut |n| {
                done += n;
                report.event(&Event::Progress { job, done, total });
            })?;
            let digest = Digest::from(digest);
            out.commit(&digest)?;
            files.push(RecordFile {
                name: blob.name.clone(),
                digest,
                len: blob_len(&blob.segments),
            });
        }
        if let Some(parts) = parts {
            reuse::remember(self.store, parts, &prepared, key, &files);
        }
        Ok(Record { step: "convert".to_owned(), ingredients, files, info })
    }

    fn verify_keys(&mut self, step: &VerifyStep, artifact: &Key) -> Result<VerifyKeys> {
        let runner = self.runner_identity(runner(step.spec.runner))?;
        let (reference_key, reference_ingredients) = self.key(&step.reference)?;
        let mut key = KeyBuilder::new("verify");
        key.ingredient("artifact", &artifact.to_string());
        key.ingredient("reference", &reference_key.to_string());
        key.ingredient("revision", &verify::REVISION.to_string());
        key.ingredient("runner", &runner);
        match &step.spec.inputs {
            Some(path) => {
                let digest = self.digest(path)?;
                key.ingredient("inputs", &digest.to_string());
            }
            None => {
                key.ingredient("samples", &step.spec.samples.to_string());
                key.ingredient("seed", &step.spec.seed.to_string());
            }
        }
        key.ingredient("k", &step.spec.k.to_string());
        if let Some(labels) = &step.spec.labels {
            key.ingredient("labels", labels);
        }
        let (key, ingredients) = key.finish();
        Ok(VerifyKeys {
            verify: StepKey { step: "verify", key, ingredients },
            reference: StepKey {
                step: "reference",
                key: reference_key,
                ingredients: reference_ingredients,
            },
            runner,
        })
    }

    /// What would run graphs; opens the library it comes from only when that is not the file it was.
    fn runner_identity(&self, choice: RunnerChoice) -> Result<String> {
        let find = || run::identity(choice);
        match run::library(choice) {
            Some(library) => self.store.remembered("runner", &library, find),
            None => find(),
        }
    }

    fn verify(
        &mut self,
        job: &str,
        step: &VerifyStep,
        keys: VerifyKeys,
        artifact: &Record,
    ) -> Result<Measured> {
        let VerifyKeys { verify: StepKey { key, ingredients, .. }, reference, runner } = keys;
        let record = self.step(job, "verify", &key, &runner, |engine| {
            let reference = engine.reference(job, step, reference)?;
            let reference = engine.store.unfold(&reference)?;
            let artifact = engine.store.unfold(artifact)?;
            let measured = measure(&step.spec, reference.files(), artifact.files())?;
            engine.store_json(&measured, ingredients)
        })?;
        let file =
            record.files.first().ok_or_else(|| Error::bug("a verify record without a file"))?;
        let text = fsx::read_small(&self.store.object_path(&file.digest), LONGEST_MEASURED)?;
        let measured: Measured = serde_json::from_slice(&text)
            .map_err(|e| Error::bug(format!("a verify record cannot be read: {e}")))?;
        let bounds = bounds(&step.spec);
        self.report.event(&Event::Measured { job, measured: &measured, bounds: &bounds });
        let held = if self.gate == Gate::Open {
            Ok(Vec::new())
        } else {
            verify::check(&measured, &bounds)
        };
        for warning in held? {
            self.report.event(&Event::Warning(&format!("{job}: {warning}")));
        }
        Ok(measured)
    }

    fn reference(&mut self, job: &str, step: &VerifyStep, key: StepKey) -> Result<Record> {
        let StepKey { key, ingredients, .. } = key;
        self.step(job, "reference", &key, &step.reference.summary(), |engine| {
            engine.convert(job, &step.reference, &key, ingredients, None)
        })
    }

    fn store_json(
        &mut self,
        measured: &Measured,
        ingredients: Vec<(String, String)>,
    ) -> Result<Record> {
        let text = serde_json::to_vec(measured)
            .map_err(|e| Error::bug(format!("numbers cannot be written: {e}")))?;
        let digest = self.store.put_bytes(&text)?;
        let files =
            vec![RecordFile { name: "measured.json".to_owned(), digest, len: text.len() as u64 }];
        Ok(Record { step: "verify".to_owned(), ingredients, files, info: Info::default() })
    }
}

/// Passes on what a record says that people should know, whether it was made now or before.
fn warn(job: &str, info: &Info, report: &mut dyn Report) {
    for (_, text) in info.facts.iter().filter(|(name, _)| name == walk::WARNING) {
        report.event(&Event::Warning(&format!("{job}: {text}")));
    }
}

/// What a step of a job is remembered under, for `why`. `manifest` is absolute.
pub fn subject<'a>(manifest: &'a Path, job: &'a Job, step: &'a str) -> Subject<'a> {
    Subject { manifest, model: &job.model, target: &job.target, step }
}

/// A manifest's path as [`subject`] wants it.
pub fn absolute(manifest: &Path) -> PathBuf {
    fsx::canonicalize(manifest).unwrap_or_else(|_| manifest.to_owned())
}

/// Runs reference and artifact (names and paths of their files) as `spec` says.
pub fn measure(
    spec: &Verify,
    reference: &[(String, PathBuf)],
    artifact: &[(String, PathBuf)],
) -> Result<Measured> {
    let pair = pair(spec, reference, artifact);
    let ask = verify::Ask { k: spec.k as usize, labels: spec.labels.clone() };
    verify::measure_with(pair.choice, &pair.reference, &pair.artifact, &pair.inputs, &ask)
}

/// Compares reference and artifact value by value, on the inputs that `spec` says; `progress` hears
/// how many of how many values are done.
pub fn layers(
    spec: &Verify,
    reference: &[(String, PathBuf)],
    artifact: &[(String, PathBuf)],
    progress: &mut dyn FnMut(usize, usize),
) -> Result<verify::Layers> {
    let verify::Pair { choice, reference, artifact, inputs, labels, .. } =
        pair(spec, reference, artifact);
    verify::layers(choice, &reference, &artifact, &inputs, labels.as_deref(), progress)
}

/// Reference and artifact (names and paths of their files) and what `spec` runs them on, in one
/// thread.
pub fn pair(
    spec: &Verify,
    reference: &[(String, PathBuf)],
    artifact: &[(String, PathBuf)],
) -> verify::Pair {
    let inputs = match &spec.inputs {
        Some(path) => verify::InputSpec::File(path.clone()),
        None => verify::InputSpec::Synthetic { samples: spec.samples, seed: spec.seed },
    };
    verify::Pair {
        choice: runner(spec.runner),
        reference: Files { files: reference.to_vec() },
        artifact: Files { files: artifact.to_vec() },
        inputs,
        labels: spec.labels.clone(),
        threads: 1,
    }
}

/// The runner a manifest names, as the accuracy check knows it.
pub fn runner(runner: Runner) -> RunnerChoice {
    match runner {
        Runner::Auto => RunnerChoice::Auto,
        Runner::OnnxRuntime => RunnerChoice::OnnxRuntime,
        Runner::Rten => RunnerChoice::Rten,
    }
}

/// The bounds of a manifest's `verify` table.
pub fn bounds(spec: &Verify) -> verify::Bounds {
    verify::Bounds {
        cosine: spec.cosine,
        max_abs: spec.max_abs,
        mean_abs: spec.mean_abs,
        top1: spec.top1,
        topk: spec.topk,
        snr: spec.snr,
        relative: spec.relative,
        kl: spec.kl,
        accuracy_drop: spec.accuracy_drop,
    }
}
