//! The table `calibration`, and which targets need one.

use std::path::Path;

use super::decode::{path, refuse};
use super::integers::WeightAlgorithm;
use super::reader::{Reader, Value};
use super::schema::{Word, WordInfo, words};
use super::types::{Calibration, QuantizationMethod, Runner, Target};
use crate::calibrate::{Method, Spec};
use crate::error::{Error, Result};
use crate::run::RunnerChoice;

words! {
    /// How the range of a value is chosen.
    pub enum CalibrationMethod = MinMax {
        /// Everything that was seen.
        MinMax = "minmax",
        /// The cut that changes the distribution of the numbers least, by Kullback-Leibler divergence.
        Entropy = "entropy",
        /// All but the greatest magnitudes.
        Percentile = "percentile",
        /// The cut with the least mean squared error after rounding.
        Mse = "mse",
    }
    later {}
}

const MOST_BATCH: i64 = 4096;
const BINS: std::ops::RangeInclusive<i64> = 128..=4096;

impl Calibration {
    /// What is done. `wide` activations have 16 bits.
    pub fn spec(&self, wide: bool) -> Spec {
        let method = match self.method {
            CalibrationMethod::MinMax => Method::MinMax,
            CalibrationMethod::Entropy => Method::Entropy { bins: self.bins },
            CalibrationMethod::Percentile => Method::Percentile { percent: self.percentile },
            CalibrationMethod::Mse => Method::Mse { levels: if wide { 1 << 16 } else { 1 << 8 } },
        };
        Spec {
            method,
            dataset: self.dataset.clone(),
            batch_size: self.batch_size,
            samples: self.samples,
            tokenizer: self.tokenizer.clone(),
            max_length: self.max_length,
            runner: match self.runner {
                Runner::Auto => RunnerChoice::Auto,
                Runner::OnnxRuntime => RunnerChoice::OnnxRuntime,
                Runner::Rten => RunnerChoice::Rten,
            },
        }
    }
}

/// Reads the table. `base` is the folder that paths are relative to.
pub(super) fn read(value: &Value<'_>, base: &Path) -> Result<Calibration> {
    let table = Reader::open(value, Calibration::KEYS, "in this table", |_| None)?;
    let dataset = path(table.require("dataset", "dataset = \"data/calibration.npz\"")?, base)?;
    let method = table.read("method", |v| v.word(CalibrationMethod::WORDS))?.unwrap_or_default();
    if method != CalibrationMethod::Percentile {
        refuse(&table, &["percentile"], "is for the method `percentile`")?;
    }
    if method != CalibrationMethod::Entropy {
        refuse(&table, &["bins"], "is for the method `entropy`")?;
    }
    let count = |v: &Value<'_>, most| Ok::<_, Error>(v.integer(1..=most)?.unsigned_abs());
    Ok(Calibration {
        dataset,
        method,
        batch_size: table.read("batch-size", |v| count(v, MOST_BATCH))?,
        samples: table.read("samples", |v| count(v, i64::MAX))?,
        percentile: table.read("percentile", |v| v.number(50.0..=100.0))?.unwrap_or(99.999),
        bins: table
            .read("bins", |v| v.integer(BINS))?
            .and_then(|n| u32::try_from(n).ok())
            .unwrap_or(128),
        tokenizer: table.read("tokenizer", |v| path(v, base))?,
        max_length: table.read("max-length", |v| count(v, i64::MAX))?,
        runner: table.read("runner", |v| v.word(Runner::WORDS))?.unwrap_or_default(),
    })
}

/// Checks that there are data where they are needed, and only there.
pub(super) fn check(table: &Reader<'_>, target: &Target) -> Result<()> {
    let quantization = target.quantization.as_ref();
    let looks = |a: WeightAlgorithm| matches!(a, WeightAlgorithm::Gptq | WeightAlgorithm::Awq);
    let needs = quantization.is_some_and(|q| {
        q.method == QuantizationMethod::Static
            || q.weight_only.as_ref().is_some_and(|w| looks(w.algorithm))
    });
    match (needs, table.get("calibration")?, table.get("quantization")?) {
        (true, None, Some(value)) => {
            let message = "scales of this method come from sample data, and there are none";
            Err(value.wrong(message, "needs `calibration`").hint(
                "add `calibration = { dataset = \"FILE\" }`: a .npz, .npy, .safetensors or .jsonl file",
            ))
        }
        (false, Some(value), _) => {
            let message = "`calibration` has no effect: nothing here is found from sample data";
            let error = value.text.wrong(&value.key_spot, message, "has no effect");
            Err(error.hint(
                "remove it, or set `quantization = { type = \"int8\", method = \"static\" }`",
            ))
        }
        _ => Ok(()),
    }
}
