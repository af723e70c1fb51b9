//! The accuracy gate: bounds, and the error that says which output fell, by how much, and what to do.

use std::collections::BTreeMap;

use super::metrics::{Measured, OutputMetrics};
use super::rows::Accuracy;
use crate::error::{Error, Result};

/// The bounds of `verify` in the manifest; one left out is not checked.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Bounds {
    /// Least cosine similarity of any row of any output.
    pub cosine: Option<f64>,
    /// Greatest absolute difference of any element.
    pub max_abs: Option<f64>,
    /// Greatest mean absolute difference of any output.
    pub mean_abs: Option<f64>,
    /// Least share of rows whose greatest element agrees, for outputs that have such rows.
    pub top1: Option<f64>,
    /// Least mean share of the greatest elements of a row that stay among the greatest, for outputs
    /// that have such rows.
    pub topk: Option<f64>,
    /// Least signal-to-noise ratio of any output, in dB.
    pub snr: Option<f64>,
    /// Greatest relative error of any output.
    pub relative: Option<f64>,
    /// Greatest mean divergence of rows of any output that has rows, in nats.
    pub kl: Option<f64>,
    /// By how much the share of rows that are right may fall.
    pub accuracy_drop: Option<f64>,
}

/// A broken rule; `mend` is the bound that would hold, where one can be named.
struct Fall {
    output: String,
    text: String,
    mend: Option<(&'static str, f64)>,
}

/// Holds the bounds against what was measured. Returns warnings, a line each; an
/// [`Accuracy`](crate::ErrorKind::Accuracy) error when an output is below a bound, holds NaN or an
/// infinity where the reference has none, or could not be compared at all.
pub fn check(measured: &Measured, bounds: &Bounds) -> Result<Vec<String>> {
    let mut falls = Vec::new();
    let mut warnings = Vec::new();
    for output in &measured.outputs {
        check_finite(output, &mut falls, &mut warnings);
        check_bounds(output, bounds, &mut falls);
    }
    check_meaning(measured, bounds)?;
    let Some(first) = falls.first() else {
        return Ok(warnings);
    };
    let mut names: Vec<&str> = falls.iter().map(|f| f.output.as_str()).collect();
    names.dedup();
    let message = match names.len() {
        1 => format!("output `{}` {}", first.output, first.text),
        n => format!(
            "{n} of {} outputs fail, the first is `{}`: it {}",
            measured.outputs.len(),
            first.output,
            first.text
        ),
    };
    let mut error = Error::accuracy(message);
    for fall in falls.iter().skip(1).take(7) {
        error = error.hint(format!("also: output `{}` {}", fall.output, fall.text));
    }
    if falls.len() > 8 {
        error = error.hint(format!("and {} more bounds are broken", falls.len() - 8));
    }
    error = error.hint(format!(
        "measured on {} by {}, {}",
        measured.inputs, measured.runner, measured.level
    ));
    error = error.hint(
        "a target without `quantization`, or with `precision = \"fp16\"` in its place, loses less",
    );
    if let Some(bounds) = loosened(&falls) {
        error = error.hint(format!(
            "or, where this accuracy serves you, change the target's `verify` to {{ {bounds} }}"
        ));
    }
    Err(error)
}

/// Refuses bounds that nothing measured can break.
fn check_meaning(measured: &Measured, bounds: &Bounds) -> Result<()> {
    let any = |has: fn(&OutputMetrics) -> bool| measured.outputs.iter().any(has);
    let rows = "no output has a last axis of two elements or more";
    let checks: [(&str, bool, bool, &str); 4] = [
        ("top1", bounds.top1.is_some(), any(|o| o.top1.is_some()), rows),
        ("kl", bounds.kl.is_some(), any(|o| o.kl.is_some()), rows),
        (
            "topk",
            bounds.topk.is_some(),
            any(|o| o.topk.is_some()),
            "no output has longer rows than `k`",
        ),
        (
            "accuracy-drop",
            bounds.accuracy_drop.is_some(),
            any(|o| o.accuracy.is_some()),
            "there are no `labels`",
        ),
    ];
    match checks.iter().find(|(_, bound, measured, _)| *bound && !*measured) {
        None => Ok(()),
        Some((key, .., why)) => Err(Error::manifest(format!("`verify` bounds `{key}`, and {why}"))
            .hint(format!("take `{key}` out of `verify` and bound `cosine` or `max-abs`"))),
    }
}

/// The bounds that everything measured would pass, as TOML; `None` when no bound mends a fall.
fn loosened(falls: &[Fall]) -> Option<String> {
    let mut bounds: BTreeMap<&str, f64> = BTreeMap::new();
    for fall in falls {
        let (key, value) = fall.mend?;
        let most = matches!(key, "max-abs" | "mean-abs" | "relative" | "kl" | "accuracy-drop");
        let bound = bounds.entry(key).or_insert(value);
        *bound = if most { bound.max(value) } else { bound.min(value) };
    }
    let entries: Vec<String> =
        bounds.into_iter().map(|(key, value)| format!("{key} = {value}")).collect();
    Some(entries.join(", "))
}

fn check_finite(output: &OutputMetrics, falls: &mut Vec<Fall>, warnings: &mut Vec<String>) {
    let n = &output.nonfinite;
    let mut fall = |text: String| {
        falls.push(Fall { output: output.name.clone(), text, mend: None });
    };
    if n.differing > 0 {
        fall(format!(
            "is not finite where the reference is another value in {} of {} elements ({}; artifact: {} NaN, {} infinite; reference: {} NaN, {} infinite)",
            n.differing,
            output.elements,
            n.first_differing.as_deref().unwrap_or("place unknown"),
            n.artifact_nan,
            n.artifact_inf,
            n.reference_nan,
            n.reference_inf
        ));
    } else if output.compared == 0 && output.elements > 0 {
        fall("is nowhere finite, in the reference as in the artifact".to_owned());
    } else if n.same > 0 {
        warnings.push(format!(
            "output `{}`: {} of {} elements are the same NaN or infinity in the reference and the artifact, and were left out",
            output.name, n.same, output.elements
        ));
    }
    if output.elements == 0 {
        warnings.push(format!(
            "output `{}` was empty in every sample: nothing was compared",
            output.name
        ));
    }
}

fn check_bounds(output: &OutputMetrics, bounds: &Bounds, falls: &mut Vec<Fall>) {
    if output.compared == 0 {
        return;
    }
    let mut least = |key: &'static str, value: f64, bound: Option<f64>, at: &str| {
        let Some(bound) = bound else { return };
        if value >= bound {
            return;
        }
        falls.push(Fall {
            output: output.name.clone(),
            text: format!("fell below `{key}`: {} < {bound}{at}", apart(value, bound)),
            mend: Some((key, floor(value))),
        });
    };
    let at = format!(" ({})", output.cosine_at);
    least("cosine", output.cosine, bounds.cosine, &at);
    if let Some(top1) = output.top1 {
        least("top1", top1, bounds.top1, "");
    }
    if let Some(topk) = output.topk {
        least("topk", topk, bounds.topk, "");
    }
    if let Some(snr) = output.snr() {
        least("snr", snr, bounds.snr, " dB");
    }
    let mut most = |key: &'static str, value: f64, bound: Option<f64>, at: &str| {
        let Some(bound) = bound else { return };
        if value <= bound {
            return;
        }
        falls.push(Fall {
            output: output.name.clone(),
            text: format!("rose above `{key}`: {} > {bound}{at}", apart(value, bound)),
            mend: Some((key, ceil(value))),
        });
    };
    let at = format!(" ({})", output.max_abs_at);
    most("max-abs", output.max_abs, bounds.max_abs, &at);
    most("mean-abs", output.mean_abs, bounds.mean_abs, "");
    if let Some(relative) = output.relative {
        most("relative", relative, bounds.relative, "");
    }
    if let Some(kl) = output.kl {
        let worst = output.kl_worst.as_ref();
        let at = worst.map(|(kl, at)| format!(" (worst {}, {at})", significant(*kl, 3)));
        most("kl", kl, bounds.kl, at.as_deref().unwrap_or_default());
    }
    if let Some(accuracy) = output.accuracy {
        let Accuracy { rows, reference, artifact } = accuracy;
        let at = format!(
            " (right of {rows}: {} in the reference, {} in the artifact)",
            significant(reference, 4),
            significant(artifact, 4)
        );
        most("accuracy-drop", reference - artifact, bounds.accuracy_drop, &at);
    }
    let needed = [("snr", bounds.snr), ("relative", bounds.relative)];
    for (key, _) in needed.iter().filter(|(_, bound)| bound.is_some() && output.relative.is_none())
    {
        falls.push(Fall {
            output: output.name.clone(),
            text: format!("has no `{key}`: the reference is zero and the artifact is not"),
            mend: None,
        });
    }
}

/// `value` with as few digits as tell it from `bound`, four at least.
fn apart(value: f64, bound: f64) -> String {
    (4..=17)
        .map(|digits| significant(value, digits))
        .find(|text| {
            text.parse::<f64>().is_ok_and(|v| (v < bound) == (value < bound) && v != bound)
        })
        .unwrap_or_else(|| value.to_string())
}

/// `value` rounded to a number of significant digits, without trailing zeros.
fn significant(value: f64, digits: usize) -> String {
    match format!("{value:.*e}", digits.saturating_sub(1)).parse::<f64>() {
        Ok(rounded) => rounded.to_string(),
        Err(_) => value.to_string(),
    }
}

/// A bound just below `value` that it passes.
fn floor(value: f64) -> f64 {
    (value * 1000.0).floor() / 1000.0
}

/// A bound of two digits just above `value` that it passes.
fn ceil(value: f64) -> f64 {
    (0..=10)
        .filter_map(|percent| {
            significant(value * (1.0 + f64::from(percent) / 100.0), 2).parse().ok()
        })
        .find(|bound: &f64| *bound >= value)
        .unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;
    use crate::hub::Tensor;
    use crate::verify::metrics::Comparison;

    fn measured(outputs: &[(&str, &[f32], &[f32])]) -> Measured {
        let outputs = outputs
            .iter()
            .map(|(name, a, b)| {
                let t = |v: &[f32]| Tensor::from_f32(vec![1, v.len() as u64], v).unwrap();
                Comparison::of(name, 0, &t(a), &t(b)).unwrap().finish()
            })
            .collect();
        Measured {
            outputs,
            runner: "onnxruntime 1.32.0".into(),
            level: "all graph optimizations".into(),
            samples: 1,
            inputs: "1 synthetic sample, seed 0".into(),
        }
    }

    #[test]
    fn the_report_names_the_output_the_numbers_the_inputs_and_the_way_out() {
        let m = measured(&[("pooled", &[1.0, 2.0, 3.0, 4.0], &[1.0, 2.0, 3.0, 3.5])]);
        let bounds = Bounds { cosine: Some(0.999), max_abs: Some(0.01), ..Bounds::default() };
        let e = check(&m, &bounds).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Accuracy);
        assert_eq!(
            e.report(),
            "error: output `pooled` fell below `cosine`: 0.9978 < 0.999 (sample 0, row 0)
hint: also: output `pooled` rose above `max-abs`: 0.5 > 0.01 (sample 0, element [0, 3])
hint: measured on 1 synthetic sample, seed 0 by onnxruntime 1.32.0, all graph optimizations
hint: a target without `quantization`, or with `precision = \"fp16\"` in its place, loses less
hint: or, where this accuracy serves you, change the target's `verify` to { cosine = 0.997, max-abs = 0.5 }"
        );
    }

    #[test]
    fn the_suggested_bounds_pass_for_every_output() {
        let m = measured(&[
            ("a", &[1.0, 2.0], &[1.0, 2.1234]),
            ("b", &[1.0, 0.5, 7.0], &[0.2, 0.5, 7.0]),
            ("c", &[1.0, -1.0], &[1.0, -1.0]),
        ]);
        let strict = Bounds {
            cosine: Some(1.1),
            max_abs: Some(0.0),
            mean_abs: Some(0.0),
            snr: Some(400.0),
            relative: Some(0.0),
            kl: Some(0.0),
            ..Bounds::default()
        };
        let report = check(&m, &strict).unwrap_err().report();
        let line = report.rsplit('{').next().unwrap();
        let number = |key: &str| {
            let after = line.split(&format!("{key} = ")).nth(1).unwrap();
            after.split([',', ' ']).next().unwrap().parse::<f64>().unwrap()
        };
        let loose = Bounds {
            cosine: Some(number("cosine")),
            max_abs: Some(number("max-abs")),
            mean_abs: Some(number("mean-abs")),
            snr: Some(number("snr")),
            relative: Some(number("relative")),
            kl: Some(number("kl")),
            ..Bounds::default()
        };
        assert!(report.starts_with("error: 3 of 3 outputs fail"), "{report}");
        check(&m, &loose).unwrap();
    }

    #[test]
    fn a_value_close_to_its_bound_is_printed_apart_from_it() {
        assert_eq!(apart(0.998_999_99, 0.999), "0.99899999");
        assert_eq!(apart(0.5, 0.999), "0.5");
        assert_eq!([ceil(0.003_707), ceil(0.1), ceil(99.2), ceil(0.0)], [0.0038, 0.1, 100.0, 0.0]);
    }

    #[test]
    fn nan_in_the_artifact_fails_without_any_bound() {
        let m = measured(&[("y", &[1.0, 2.0], &[1.0, f32::NAN])]);
        let e = check(&m, &Bounds::default()).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Accuracy);
        assert!(e.message().contains("sample 0, element [0, 1]: 2 became NaN"), "{e}");
        assert!(!e.report().contains("change the target's"), "no bound mends NaN");
    }

    #[test]
    fn nan_on_both_sides_warns_and_nothing_but_nan_fails() {
        let m = measured(&[("y", &[1.0, f32::NAN], &[1.0, f32::NAN])]);
        assert_eq!(check(&m, &Bounds::default()).unwrap().len(), 1);
        let m = measured(&[("y", &[f32::NAN], &[f32::NAN])]);
        assert!(check(&m, &Bounds::default()).is_err());
    }

    #[test]
    fn a_drop_of_accuracy_is_held_and_an_unmeasured_one_is_a_manifest_error() {
        let mut m = measured(&[("y", &[1.0, 2.0], &[2.0, 1.0])]);
        let bounds = Bounds { accuracy_drop: Some(0.01), ..Bounds::default() };
        assert_eq!(check(&m, &bounds).unwrap_err().kind(), ErrorKind::Manifest);
        m.outputs[0].accuracy = Some(Accuracy { rows: 200, reference: 0.96, artifact: 0.93 });
        let e = check(&m, &bounds).unwrap_err();
        assert!(
            e.message().contains("rose above `accuracy-drop`: 0.03 > 0.01 (right of 200: 0.96 in"),
            "{e}"
        );
        m.outputs[0].accuracy = Some(Accuracy { rows: 200, reference: 0.93, artifact: 0.96 });
        check(&m, &bounds).unwrap();
    }

    #[test]
    fn what_is_not_zero_where_the_reference_is_has_no_snr_and_equal_outputs_pass_any() {
        let bounds = Bounds { snr: Some(200.0), ..Bounds::default() };
        let m = measured(&[("y", &[0.0, 0.0], &[0.0, 1.0])]);
        assert!(check(&m, &bounds).unwrap_err().message().contains("has no `snr`"));
        check(&measured(&[("y", &[0.0, 3.0], &[0.0, 3.0])]), &bounds).unwrap();
    }

    #[test]
    fn a_top1_bound_that_nothing_can_break_is_a_manifest_error() {
        let m = measured(&[("score", &[1.0], &[1.0])]);
        let bounds = Bounds { top1: Some(0.9), ..Bounds::default() };
        assert_eq!(check(&m, &bounds).unwrap_err().kind(), ErrorKind::Manifest);
    }
}
