//! What running a model costs: latency and peak memory. Numbers of this machine at this moment: they
//! are shown and decide nothing.

use std::path::Path;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::inputs::{InputSpec, Inputs};
use crate::error::{Error, Result};
use crate::fsx;
use crate::run::{self, Files, Model, RunnerChoice, Setup};

/// What the reference and the artifact cost.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Costs {
    /// The reference.
    pub reference: Cost,
    /// The artifact.
    pub artifact: Cost,
    /// Timed runs of each, after the runs that warm up.
    pub runs: u32,
    /// Threads of a session.
    pub threads: u32,
    /// What ran them.
    pub runner: String,
    /// How: optimizations.
    pub level: String,
    /// Shapes of the sample that was run, as `input_ids [2, 31]`.
    pub shapes: Vec<String>,
}

/// What one model costs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// Milliseconds to load it.
    pub load: f64,
    /// Half of the runs took at most this many milliseconds.
    pub median: f64,
    /// 95 of 100 runs took at most this many milliseconds.
    pub p95: f64,
    /// The fastest run, in milliseconds.
    pub fastest: f64,
    /// Bytes by which the process' peak resident memory rises when the model is loaded and run, in
    /// a process that does nothing else; `None` where the system does not tell.
    pub peak_bytes: Option<u64>,
}

/// Which of the two models.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The reference.
    Reference,
    /// The artifact.
    Artifact,
}

/// Two models and what to run them on.
#[derive(Clone, Debug)]
pub struct Pair {
    /// What runs them.
    pub choice: RunnerChoice,
    /// The reference.
    pub reference: Files,
    /// The artifact.
    pub artifact: Files,
    /// The first sample of these is what is run.
    pub inputs: InputSpec,
    /// The tensor of the inputs that is none.
    pub labels: Option<String>,
    /// Threads of a session.
    pub threads: u32,
}

/// Runs before those that are timed.
const WARM_UP: u32 = 3;

impl Pair {
    fn setup(&self) -> Setup {
        Setup { threads: usize::try_from(self.threads).unwrap_or(1), ..Setup::default() }
    }

    fn inputs(&self, reference: &Model, artifact: &Model) -> Result<Inputs> {
        Inputs::prepare(&self.inputs, self.labels.as_deref(), &reference.graph, &artifact.graph)
    }
}

/// Times both models on the same sample, a run of one, then a run of the other, so that what else
/// the machine does meets both. Peak memory is left out: see [`peak`].
///
/// # Errors
/// A model cannot be run.
pub fn time(pair: &Pair, runs: u32) -> Result<Costs> {
    let runner = run::choose(pair.choice)?;
    let setup = pair.setup();
    let reference = Model::open(&pair.reference)?;
    let artifact = Model::open(&pair.artifact)?;
    let feed = pair.inputs(&reference, &artifact)?.sample(0)?;
    let load = |model: &Model| {
        let start = Instant::now();
        let session = runner.load(model, &setup)?;
        Ok::<_, Error>((session, milliseconds(start)))
    };
    let (mut a, load_a) = load(&reference)?;
    let (mut b, load_b) = load(&artifact)?;
    let (mut times_a, mut times_b) = (Vec::new(), Vec::new());
    for run in 0..WARM_UP.saturating_add(runs) {
        let start = Instant::now();
        a.run(&feed.reference)?;
        let between = Instant::now();
        b.run(&feed.artifact)?;
        let took = (between - start, between.elapsed());
        if run >= WARM_UP {
            times_a.push(took.0.as_secs_f64() * 1e3);
            times_b.push(took.1.as_secs_f64() * 1e3);
        }
    }
    let shapes = feed.reference.iter().map(|(name, t)| format!("{name} {:?}", t.shape())).collect();
    Ok(Costs {
        reference: cost(load_a, times_a),
        artifact: cost(load_b, times_b),
        runs,
        threads: pair.threads,
        runner: runner.name(),
        level: runner.level(&setup),
        shapes,
    })
}

fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}

fn cost(load: f64, mut times: Vec<f64>) -> Cost {
    times.sort_by(f64::total_cmp);
    // The least time that at least that share of the runs did not pass.
    let share = |percent: usize| {
        let rank = (times.len() * percent).div_ceil(100);
        times.get(rank.saturating_sub(1)).copied().unwrap_or(0.0)
    };
    Cost {
        load,
        median: share(50),
        p95: share(95),
        fastest: times.first().copied().unwrap_or(0.0),
        peak_bytes: None,
    }
}

/// Loads one of the models in this process, runs it twice, and gives by how many bytes the peak of
/// resident memory rose; `None` where the system does not tell. To be called once, in a process
/// that does nothing else.
///
/// # Errors
/// The model cannot be run.
pub fn peak(pair: &Pair, side: Side) -> Result<Option<u64>> {
    let runner = run::choose(pair.choice)?;
    let reference = Model::open(&pair.reference)?;
    let artifact = Model::open(&pair.artifact)?;
    let feed = pair.inputs(&reference, &artifact)?.sample(0)?;
    let (model, feed) = match side {
        Side::Reference => (&reference, &feed.reference),
        Side::Artifact => (&artifact, &feed.artifact),
    };
    fsx::release_maps();
    let before = peak_resident();
    let mut session = runner.load(model, &pair.setup())?;
    session.run(feed)?;
    session.run(feed)?;
    let after = peak_resident();
    Ok(before.zip(after).map(|(before, after)| after.saturating_sub(before)))
}

/// The most resident memory this process has had, in bytes, where the system tells.
fn peak_resident() -> Option<u64> {
    let status = fsx::read_text(Path::new("/proc/self/status"), 1 << 20).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kilobytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_and_the_95th_percentile_are_times_that_were_measured() {
        let hundred = (1..=100u32).rev().map(f64::from).collect();
        let c = cost(7.0, hundred);
        assert_eq!((c.load, c.fastest, c.median, c.p95), (7.0, 1.0, 50.0, 95.0));
        let one = cost(1.0, vec![3.0]);
        assert_eq!((one.median, one.p95), (3.0, 3.0));
        assert_eq!(cost(1.0, Vec::new()).median, 0.0);
    }
}
