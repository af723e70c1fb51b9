//! Calibration: a graph runs in f32 on a dataset, and of the values that are to get scales only what
//! can be merged is kept, so that memory does not grow with the number of samples.

mod dataset;
mod method;
mod moments;
mod statistic;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

pub use method::Method;

use self::dataset::{Port, Samples};
use self::statistic::Statistic;
use crate::error::{Error, Result};
use crate::hub::{Graph, Tensor};
use crate::pass::{Moments, Observed};
use crate::run::{self, Model, Runner, RunnerChoice, Setup};

/// Bumped when the same data gives other ranges.
pub const REVISION: u32 = 1;

/// What a calibration is to do.
#[derive(Clone, Debug, PartialEq)]
pub struct Spec {
    /// How ranges are chosen.
    pub method: Method,
    /// The file with samples: `.npz`, `.npy`, `.safetensors` or `.jsonl`.
    pub dataset: PathBuf,
    /// Samples of one run; the length that the graph fixes, else 1.
    pub batch_size: Option<u64>,
    /// How many of the first samples are used; all of them.
    pub samples: Option<u64>,
    /// The tokenizer of text; `tokenizer.json` beside the model.
    pub tokenizer: Option<PathBuf>,
    /// Most tokens of a text; what the tokenizer says.
    pub max_length: Option<u64>,
    /// What runs the graph.
    pub runner: RunnerChoice,
}

impl Spec {
    /// Everything but the files that decides the ranges, in canonical text.
    pub fn canonical(&self) -> String {
        let number = |n: Option<u64>| n.map_or("none".to_owned(), |n| n.to_string());
        format!(
            "revision {REVISION}, method {}, batch-size {}, samples {}, max-length {}",
            self.method.canonical(),
            number(self.batch_size),
            number(self.samples),
            number(self.max_length),
        )
    }

    /// The files that decide the samples, in order, each with what it is called in keys. `source` is
    /// the folder of the model.
    pub fn files(&self, source: &Path) -> Vec<(String, PathBuf)> {
        let mut files = vec![("calibration dataset".to_owned(), self.dataset.clone())];
        if dataset::is_text(&self.dataset) {
            files.push(("calibration tokenizer".to_owned(), self.tokenizer_file(source)));
        }
        files
    }

    fn tokenizer_file(&self, source: &Path) -> PathBuf {
        self.tokenizer.clone().unwrap_or_else(|| source.join("tokenizer.json"))
    }
}

/// What is wanted to be known of a graph's values, by their names.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Values whose ranges are.
    pub ranges: Vec<String>,
    /// Values whose moments along the last axis are.
    pub moments: Vec<String>,
}

/// Most workers: each has a session, with the weights, and statistics of its own.
const WORKERS: usize = 2;

/// Most bytes of histograms that one pass over the data keeps in each worker; values beyond are looked
/// at in another pass.
const HISTOGRAMS: usize = 256 << 20;

/// Runs the graph on the dataset and finds the range of every wanted value, which are named. `source`
/// is the folder of the model.
///
/// The graph is computed as it stands, without the runner's rewrites, on one thread per session;
/// sessions share the batches. Statistics merge to the same in any order, so the ranges do not depend
/// on the number of threads. Memory is that of the sessions, of the values of one batch and of at most
/// 128 KiB per wanted value: it does not depend on the number of samples.
///
/// # Errors
/// A dataset whose names or shapes do not fit, with input, shape and sample. A value that is not
/// finite, with its node and sample. A value that was never computed.
pub fn observe(graph: &Graph, wanted: &Wanted, spec: &Spec, source: &Path) -> Result<Observed> {
    if wanted.ranges.is_empty() && wanted.moments.is_empty() {
        return Ok(Observed::default());
    }
    let ports = dataset::ports(graph);
    let at = |e: Error| e.file(&spec.dataset);
    let samples = dataset::open(spec, &ports, &spec.tokenizer_file(source)).map_err(at)?;
    let batches = batches(spec, &ports, samples.count()).map_err(at)?;
    let runner = run::choose(spec.runner)?;
    let mut observed = Observed::default();
    let group = if spec.method.needs_histogram() {
        (HISTOGRAMS / (statistic::BINS * 16)).max(1)
    } else {
        usize::MAX
    };
    for names in wanted.ranges.chunks(group.min(wanted.ranges.len()).max(1)) {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let tapped = run::tapped(graph, &names)?;
        let model = Model::of(tapped, &std::env::temp_dir().join("model"))?;
        let work = Work { graph, spec, names: &names, ports: &ports, samples: &*samples, batches };
        let seen = work.run(&*runner, &model).map_err(at)?;
        for (name, statistic) in seen {
            let range = spec.method.range(&statistic).ok_or_else(|| {
                Error::unsupported("a value had no elements on any sample, so it has no range")
                    .item(name)
                    .hint("exclude the node that makes it, or give other samples")
            })?;
            observed.ranges.insert(name.to_owned(), range);
        }
    }
    for names in moments::groups(graph, &wanted.moments)? {
        let tapped = run::tapped(graph, &names.iter().map(|(name, _)| *name).collect::<Vec<_>>())?;
        let model = Model::of(tapped, &std::env::temp_dir().join("model"))?;
        let list: Vec<&str> = names.iter().map(|(name, _)| *name).collect();
        let work = Work { graph, spec, names: &list, ports: &ports, samples: &*samples, batches };
        observed.moments.extend(work.moments(&*runner, &model, &names).map_err(at)?);
    }
    Ok(observed)
}

/// How the samples are cut: so many of so many samples each, the last one of fewer.
#[derive(Clone, Copy)]
struct Batches {
    samples: u64,
    size: u64,
}

fn batches(spec: &Spec, ports: &[Port], there: u64) -> Result<Batches> {
    if there == 0 {
        return Err(Error::source_missing("the calibration dataset has no samples"));
    }
    let samples = spec.samples.unwrap_or(there);
    if samples > there {
        return Err(Error::manifest(format!(
            "`calibration.samples` is {samples}, and the dataset has {there}"
        ))
        .hint(format!("set `samples = {there}` or leave it out")));
    }
    let fixed = ports.iter().find_map(Port::batch);
    let size = spec.batch_size.or(fixed).unwrap_or(1).max(1);
    if let Some(fixed) = fixed
        && (size != fixed || !samples.is_multiple_of(fixed))
    {
        return Err(Error::manifest(format!(
            "the graph takes {fixed} samples at a time, which does not go with a batch size of {size} and {samples} samples"
        ))
        .hint(format!("leave out `batch-size`, and set `samples` to a multiple of {fixed}")));
    }
    Ok(Batches { samples, size })
}

struct Work<'a> {
    graph: &'a Graph,
    spec: &'a Spec,
    names: &'a [&'a str],
    ports: &'a [Port],
    samples: &'a dyn Samples,
    batches: Batches,
}

type Seen<'a> = BTreeMap<&'a str, Statistic>;

impl<'a> Work<'a> {
    fn run(&self, runner: &dyn Runner, model: &Model) -> Result<Seen<'a>> {
        let count = self.batches.samples.div_ceil(self.batches.size);
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let workers = cores.min(WORKERS).min(usize::try_from(count).unwrap_or(WORKERS)).max(1);
        let next = AtomicU64::new(0);
        // The error of the first batch that has one, whoever ran it.
        let failed: Mutex<Option<(u64, Error)>> = Mutex::new(None);
        let parts: Vec<Result<Seen<'a>>> = std::thread::scope(|scope| {
            let spawn = || scope.spawn(|| self.worker(runner, model, &next, count, &failed));
            let handles: Vec<_> = (0..workers).map(|_| spawn()).collect();
            let join = |handle: std::thread::ScopedJoinHandle<'_, Result<Seen<'a>>>| {
                handle.join().unwrap_or_else(|_| Err(Error::bug("a calibration thread stopped")))
            };
            handles.into_iter().map(join).collect()
        });
        if let Some((_, error)) = failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
            return Err(error);
        }
        let mut all = self.none();
        for part in parts {
            for (name, statistic) in part? {
                if let Some(have) = all.get_mut(name) {
                    have.merge(&statistic)?;
                }
            }
        }
        Ok(all)
    }

    fn none(&self) -> Seen<'a> {
        let histogram = self.spec.method.needs_histogram();
        self.names.iter().map(|name| (*name, Statistic::new(histogram))).collect()
    }

    fn worker(
        &self,
        runner: &dyn Runner,
        model: &Model,
        next: &AtomicU64,
        count: u64,
        failed: &Mutex<Option<(u64, Error)>>,
    ) -> Result<Seen<'a>> {
        let mut session = runner.load(model, &Setup { threads: 1, optimize: false })?;
        let mut seen = self.none();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let stopped = failed.lock().unwrap_or_else(PoisonError::into_inner).is_some();
            if index >= count || stopped {
                return Ok(seen);
            }
            let first = index * self.batches.size;
            let len = self.batches.size.min(self.batches.samples - first);
            let result = self.batch(first, len).and_then(|inputs| {
                session.look(&inputs, &mut |name, values| {
                    self.see(&mut seen, name, values, first, len)
                })
            });
            if let Err(error) = result {
                let mut slot = failed.lock().unwrap_or_else(PoisonError::into_inner);
                if slot.as_ref().is_none_or(|(have, _)| index < *have) {
                    *slot = Some((index, error.item(samples_text(first, len))));
                }
            }
        }
    }

    /// Batches one after the other, so that sums are added in the order of the samples.
    fn moments(
        &self,
        runner: &dyn Runner,
        model: &Model,
        names: &[(&str, usize)],
    ) -> Result<BTreeMap<String, Arc<Moments>>> {
        let mut session = runner.load(model, &Setup { threads: 1, optimize: false })?;
        let mut seen: BTreeMap<&str, Moments> =
            names.iter().map(|(name, k)| (*name, Moments::new(*k))).collect();
        for index in 0..self.batches.samples.div_ceil(self.batches.size) {
            let first = index * self.batches.size;
            let len = self.batches.size.min(self.batches.samples - first);
            let text = samples_text(first, len);
            let inputs = self.batch(first, len).map_err(|e| e.item(&text))?;
            session.look(&inputs, &mut |name, values| {
                let Some(moments) = seen.get_mut(name) else { return Ok(()) };
                if let Some(at) = values.iter().position(|v| !v.is_finite()) {
                    return Err(self.odd(name, values, at, first, len));
                }
                moments.add(values);
                Ok(())
            })?;
        }
        Ok(seen.into_iter().map(|(name, sums)| (name.to_owned(), Arc::new(sums))).collect())
    }

    fn batch(&self, first: u64, len: u64) -> Result<BTreeMap<String, Tensor>> {
        let inputs = self.samples.batch(first, len)?;
        dataset::fitted(self.ports, inputs)
    }

    fn see(
        &self,
        seen: &mut Seen<'a>,
        name: &str,
        values: &[f32],
        first: u64,
        len: u64,
    ) -> Result<()> {
        let Some(statistic) = seen.get_mut(name) else { return Ok(()) };
        statistic.add(values).map_err(|at| self.odd(name, values, at, first, len))
    }

    /// The error for a number that is not finite.
    fn odd(&self, name: &str, values: &[f32], at: usize, first: u64, len: u64) -> Error {
        let value = values.get(at).copied().unwrap_or_default();
        Error::malformed(format!(
            "{} is {value} on {}",
            self.describe(name),
            samples_text(first, len)
        ))
        .hint("look at that sample; if the model means to compute this, exclude the node with `quantization.exclude`")
    }

    /// A value by its name and what makes it.
    fn describe(&self, name: &str) -> String {
        let body = &self.graph.body;
        let made = body
            .nodes()
            .find(|(_, node)| node.outputs.iter().flatten().any(|id| body.value(*id).name == name));
        match made {
            Some((_, node)) => format!("`{name}`, an output of {},", node.label()),
            None => format!("the input `{name}`"),
        }
    }
}

fn samples_text(first: u64, len: u64) -> String {
    match len {
        1 => format!("sample {first}"),
        _ => format!("samples {first} to {}", first + len - 1),
    }
}
