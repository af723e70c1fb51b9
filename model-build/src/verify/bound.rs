//! The numbers of the accuracy check that can be bounded, as a table.

use super::{Bounds, OutputMetrics};

/// A number of an output, and its bound.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Its key in the manifest.
    pub name: &'static str,
    /// What it says, in a few words.
    pub about: &'static str,
    /// The number; `None` where an output has none.
    pub value: fn(&OutputMetrics) -> Option<f64>,
    /// Its bound, if there is one.
    pub bound: fn(&Bounds) -> Option<f64>,
    /// Whether the bound is a least value, else it is a greatest.
    pub least: bool,
}

impl Metric {
    /// Whether an output keeps the bound; `None` without a bound or a number.
    pub fn holds(&self, output: &OutputMetrics, bounds: &Bounds) -> Option<bool> {
        let (value, bound) = (self.value)(output).zip((self.bound)(bounds))?;
        Some(if self.least { value >= bound } else { value <= bound })
    }
}

/// Every number, in the order in which they are shown.
#[rustfmt::skip] // a table
pub static METRICS: [Metric; 9] = [
    Metric { name: "cosine", about: "cosine similarity of the worst row", value: |o| Some(o.cosine), bound: |b| b.cosine, least: true },
    Metric { name: "max-abs", about: "greatest absolute difference", value: |o| Some(o.max_abs), bound: |b| b.max_abs, least: false },
    Metric { name: "mean-abs", about: "mean absolute difference", value: |o| Some(o.mean_abs), bound: |b| b.mean_abs, least: false },
    Metric { name: "snr", about: "signal-to-noise ratio", value: OutputMetrics::snr, bound: |b| b.snr, least: true },
    Metric { name: "relative", about: "length of the difference over that of the reference", value: |o| o.relative, bound: |b| b.relative, least: false },
    Metric { name: "kl", about: "mean divergence of rows, nats", value: |o| o.kl, bound: |b| b.kl, least: false },
    Metric { name: "top1", about: "rows with the same greatest element", value: |o| o.top1, bound: |b| b.top1, least: true },
    Metric { name: "topk", about: "greatest elements that stay among them", value: |o| o.topk, bound: |b| b.topk, least: true },
    Metric { name: "accuracy-drop", about: "loss of accuracy on labelled rows", value: |o| o.accuracy.map(|a| a.reference - a.artifact), bound: |b| b.accuracy_drop, least: false },
];
