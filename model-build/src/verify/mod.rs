//! Accuracy checks: run the reference and the artifact on the same inputs, compare, hold bounds.
//!
//! Both are ONNX models. The outcome ([`Measured`]) says what ran them, how,
//! and on what inputs.

mod bound;
mod cost;
mod gate;
pub(crate) mod inputs;
mod layers;
pub(crate) mod metrics;
mod random;
mod rows;
mod synthetic;

pub use bound::{METRICS, Metric};
pub use cost::{Cost, Costs, Pair, Side, peak, time};
pub use gate::{Bounds, check};
pub use inputs::InputSpec;
pub use layers::{Layer, Layers, layers};
pub(crate) use metrics::snr;
pub use metrics::{Comparison, Measured, NonFinite, OutputMetrics};
pub use rows::{Accuracy, Looks};

use crate::error::{Error, Result};
use crate::run::{self, Files, Model, RunnerChoice, Setup};

/// Bumped when the numbers of [`measure`] change for the same files, inputs and runner.
pub const REVISION: u32 = 2;

/// What a check looks at beyond the outputs' numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// How many of the greatest elements of a row count for `topk`.
    pub k: usize,
    /// The tensor in the file of inputs that holds the right class of each row of an output, as
    /// `u8`, 32- or 64-bit integers; a negative one leaves its row out.
    pub labels: Option<String>,
}

impl Default for Ask {
    /// The five greatest, no labels.
    fn default() -> Self {
        Self { k: 5, labels: None }
    }
}

/// [`measure_with`] without labels, for the five greatest elements of each row.
pub fn measure(
    choice: RunnerChoice,
    reference: &Files,
    artifact: &Files,
    inputs: &InputSpec,
) -> Result<Measured> {
    measure_with(choice, reference, artifact, inputs, &Ask::default())
}

/// Runs the reference and the artifact on the same inputs and compares their outputs by name.
///
/// Inputs that have another floating-point or integer type in the artifact are converted for it.
///
/// # Errors
/// A model cannot be run, the artifact lacks an input or output of the reference, an output's shape
/// differs, or there are labels and no output has as many rows.
pub fn measure_with(
    choice: RunnerChoice,
    reference: &Files,
    artifact: &Files,
    inputs: &InputSpec,
    ask: &Ask,
) -> Result<Measured> {
    let runner = run::choose(choice)?;
    let setup = Setup::default();
    let in_reference = |e: Error| e.item("the reference graph");
    let in_artifact = |e: Error| e.item("the artifact");
    let reference = Model::open(reference).map_err(in_reference)?;
    let artifact = Model::open(artifact).map_err(in_artifact)?;
    let wanted: Vec<String> = names(&reference.graph.body);
    let given = names(&artifact.graph.body);
    if let Some(missing) = wanted.iter().find(|name| !given.contains(name)) {
        return Err(Error::accuracy(format!("the artifact has no output `{missing}`"))
            .hint(format!("its outputs are: {}", given.join(", "))));
    }
    let inputs =
        inputs::Inputs::prepare(inputs, ask.labels.as_deref(), &reference.graph, &artifact.graph)?;
    let looks = Looks { k: ask.k, labels: inputs.labels() };
    let (a, b) = rayon::join(
        || runner.load(&reference, &setup).map_err(in_reference),
        || runner.load(&artifact, &setup).map_err(in_artifact),
    );
    let (mut a, mut b) = (a?, b?);
    let mut totals: Vec<Option<Comparison>> = wanted.iter().map(|_| None).collect();
    for sample in 0..inputs.samples() {
        let feed = inputs.sample(sample)?;
        let (x, y) = rayon::join(
            || a.run(&feed.reference).map_err(in_reference),
            || b.run(&feed.artifact).map_err(in_artifact),
        );
        let (x, y) = (x?, y?);
        for (name, total) in wanted.iter().zip(&mut totals) {
            let (Some(x), Some(y)) = (x.get(name), y.get(name)) else {
                return Err(Error::bug(format!("a runner gives no output `{name}`")));
            };
            let one = Comparison::looking(name, sample, x, y, &looks)?;
            match total {
                Some(total) => total.merge(&one),
                None => *total = Some(one),
            }
        }
    }
    let mut level = runner.level(&setup);
    for (which, note) in [("reference", a.note()), ("artifact", b.note())] {
        if let Some(note) = note {
            level = format!("{level}; {which}: {note}");
        }
    }
    let outputs: Vec<OutputMetrics> =
        totals.into_iter().flatten().map(Comparison::finish).collect();
    if let (Some(labels), true) = (looks.labels, outputs.iter().all(|o| o.accuracy.is_none())) {
        return Err(Error::source_missing(format!(
            "`verify` got {} labels, and no output has that many rows of two classes or more",
            labels.len()
        ))
        .hint(
            "a label is the index of the greatest element of an output's row along its last axis",
        ));
    }
    Ok(Measured {
        outputs,
        runner: runner.name(),
        level,
        samples: inputs.samples(),
        inputs: inputs.describe(),
    })
}

fn names(body: &crate::hub::Body) -> Vec<String> {
    body.outputs().iter().map(|id| body.value(*id).name.clone()).collect()
}

#[cfg(test)]
mod tests;
