//! Accuracy checks: run the reference and the artifact on the same inputs, compare, hold bounds.
//!
//! Both are ONNX models. The outcome ([`Measured`]) says what ran them, how,
//! and on what inputs.

mod gate;
pub(crate) mod inputs;
pub(crate) mod metrics;
mod random;
mod synthetic;

pub use gate::{Bounds, check};
pub use inputs::InputSpec;
pub use metrics::{Comparison, Measured, NonFinite, OutputMetrics};

use crate::error::{Error, Result};
use crate::run::{self, Files, Model, RunnerChoice, Setup};

/// Bumped when the numbers of [`measure`] change for the same files, inputs and runner.
pub const REVISION: u32 = 1;

/// Runs the reference and the artifact on the same inputs and compares their outputs by name.
///
/// Inputs that have another floating-point or integer type in the artifact are converted for it.
/// An error when a model cannot be run, the artifact lacks an input or output of the reference, or
/// an output's shape differs.
pub fn measure(
    choice: RunnerChoice,
    reference: &Files,
    artifact: &Files,
    inputs: &InputSpec,
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
    let inputs = inputs::Inputs::prepare(inputs, &reference.graph, &artifact.graph)?;
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
            let one = Comparison::of(name, sample, x, y)?;
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
    Ok(Measured {
        outputs: totals.into_iter().flatten().map(Comparison::finish).collect(),
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
