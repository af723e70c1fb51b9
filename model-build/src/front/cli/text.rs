//! Numbers and tables as people read them.

use std::time::Duration;

use crate::report::shown_as;
pub(super) use crate::report::{count, decibels, number, size};
use crate::verify::{Bounds, Costs, Layers, METRICS, Measured, OutputMetrics, snr};

/// What an accuracy check ran on and in, and a table of its numbers: a row per output, the bounds
/// beside the names of what they bound. `top1` is shown where it means something: for outputs whose
/// names say that they are scores of classes, and where it is bounded; what else says nothing that
/// `cosine` does not say, where it is bounded. `all` shows everything, and how the graphs were run.
pub(super) fn accuracy(measured: &Measured, bounds: &Bounds, all: bool) -> (String, String) {
    let level = if all { format!(" ({})", measured.level) } else { String::new() };
    let head = format!("on {}, in {}{level}", measured.inputs, measured.runner);
    let nonfinite: Vec<String> = measured.outputs.iter().map(not_finite).collect();
    let with_nonfinite = nonfinite.iter().any(|text| !text.is_empty());
    let mut rows = vec![vec!["output".to_owned()]];
    rows.extend(measured.outputs.iter().map(|o| vec![o.name.clone()]));
    for metric in &METRICS {
        let bound = (metric.bound)(bounds);
        let shown = |o: &OutputMetrics| {
            let wanted = match metric.name {
                "cosine" | "max-abs" | "mean-abs" | "accuracy-drop" => true,
                "top1" => scores_classes(&o.name),
                _ => false,
            };
            if wanted || all || bound.is_some() { (metric.value)(o) } else { None }
        };
        if measured.outputs.iter().all(|o| shown(o).is_none()) {
            continue;
        }
        let sign = if metric.least { '≥' } else { '≤' };
        let title = bound.map_or(metric.name.to_owned(), |b| format!("{} {sign} {b}", metric.name));
        let cell = |o: &OutputMetrics| match shown(o) {
            Some(_) if o.compared == 0 => "-".to_owned(),
            Some(value) => shown_as(metric, value),
            None => String::new(),
        };
        let column = std::iter::once(title).chain(measured.outputs.iter().map(cell));
        for (row, cell) in rows.iter_mut().zip(column) {
            row.push(cell);
        }
    }
    if with_nonfinite {
        let column = std::iter::once("not finite".to_owned()).chain(nonfinite);
        for (row, cell) in rows.iter_mut().zip(column) {
            row.push(cell);
        }
    }
    (head, table(&rows))
}

/// The values that add the most error, at most so many, and what there is besides.
pub(super) fn layers(found: &Layers, most: usize) -> String {
    let worst = found.worst();
    let unchanged = found.layers.len() - worst.len();
    let head = format!(
        "{} compared on {}, in {} ({}); {} no error\n",
        count(found.layers.len() as u64, "value"),
        found.inputs,
        found.runner,
        found.level,
        if unchanged == 1 { "1 adds".to_owned() } else { format!("{unchanged} add") },
    );
    let error = |e: Option<f64>| e.map_or_else(|| "-".to_owned(), number);
    let mut rows = vec![
        ["value", "operator", "blame", "error", "snr", "cosine", "max-abs"]
            .map(str::to_owned)
            .to_vec(),
    ];
    for layer in worst.iter().take(most) {
        rows.push(vec![
            layer.name.clone(),
            layer.op.clone(),
            error(layer.blame),
            error(layer.relative),
            layer.relative.map_or_else(|| "-".to_owned(), |e| decibels(snr(e))),
            format!("{:.6}", layer.cosine),
            number(layer.max_abs),
        ]);
    }
    let mut text = if worst.is_empty() { head } else { format!("{head}{}", table(&rows)) };
    if worst.len() > most {
        text.push_str(&format!("and {} more that add an error\n", worst.len() - most));
    }
    if !found.other_shapes.is_empty() {
        let n = count(found.other_shapes.len() as u64, "value");
        text.push_str(&format!(
            "{n} of another shape left out: {}\n",
            found.other_shapes.join(", ")
        ));
    }
    text
}

/// Latency and memory, a row per model.
pub(super) fn costs(costs: &Costs) -> String {
    let head = format!(
        "{} of each in turn on {}, {}, in {} ({})\n",
        count(costs.runs, "run"),
        costs.shapes.join(", "),
        count(costs.threads, "thread"),
        costs.runner,
        costs.level
    );
    let mut rows =
        vec![["", "median", "p95", "fastest", "load", "peak memory"].map(str::to_owned).to_vec()];
    for (name, cost) in [("reference", &costs.reference), ("artifact", &costs.artifact)] {
        let time = |ms| format!("{} ms", number(ms));
        rows.push(vec![
            name.to_owned(),
            time(cost.median),
            time(cost.p95),
            time(cost.fastest),
            time(cost.load),
            cost.peak_bytes.map_or_else(|| "unknown".to_owned(), size),
        ]);
    }
    head + &table(&rows)
}

/// Whether an output's name says that each row holds a score per class, so that the greatest one
/// is what a user sees.
fn scores_classes(name: &str) -> bool {
    let name = name.to_lowercase();
    ["logit", "prob", "score", "softmax", "class"].iter().any(|word| name.contains(word))
}

/// Counts of NaN and infinities, empty without any.
fn not_finite(output: &OutputMetrics) -> String {
    let n = &output.nonfinite;
    let side = |nan: u64, inf: u64| match (nan, inf) {
        (0, 0) => "none".to_owned(),
        (nan, 0) => format!("{nan} NaN"),
        (0, inf) => format!("{inf} infinite"),
        (nan, inf) => format!("{nan} NaN, {inf} infinite"),
    };
    if n.artifact_nan + n.artifact_inf + n.reference_nan + n.reference_inf == 0 {
        return String::new();
    }
    format!(
        "{} (reference: {}) of {}",
        side(n.artifact_nan, n.artifact_inf),
        side(n.reference_nan, n.reference_inf),
        output.elements
    )
}

/// A time for people: `16 ms`, `1.4 s`, `2 min 5 s`.
pub(super) fn time(took: Duration) -> String {
    let seconds = took.as_secs();
    match seconds {
        0 if took.as_millis() < 1 => "1 ms".to_owned(),
        0 => format!("{} ms", took.as_millis()),
        1..60 => format!("{:.1} s", took.as_secs_f64()),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
    }
}

/// `, 75.2 MB/s` for work that is large and long enough to have a speed.
pub(super) fn speed(bytes: u64, took: Duration) -> String {
    let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    if bytes < 1_000_000 || millis < 50 {
        return String::new();
    }
    format!(", {}/s", size(bytes.saturating_mul(1000) / millis))
}

/// Rows as a table: columns padded to their longest cell, the last one not.
pub(super) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |c: usize| rows.iter().filter_map(|r| r.get(c)).map(|s| s.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|c| width(c).unwrap_or(0)).collect();
    let mut out = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            let pad = width.saturating_sub(cell.chars().count());
            line.push_str(cell);
            line.push_str(&" ".repeat(pad + 2));
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::NonFinite;

    #[test]
    fn times_and_speeds_read_well() {
        let ms = Duration::from_millis;
        assert_eq!(
            [ms(0), ms(16), ms(999), ms(1400), ms(125_000), ms(7_300_000)].map(time),
            ["1 ms", "16 ms", "999 ms", "1.4 s", "2 min 5 s", "2 h 1 min"]
        );
        assert_eq!(speed(90_900_000, ms(1000)), ", 90.9 MB/s");
        assert_eq!(speed(90_900, ms(1000)), "");
    }

    fn output(name: &str) -> OutputMetrics {
        OutputMetrics {
            name: name.to_owned(),
            cosine: 0.999_318,
            cosine_at: "sample 0, row 0".to_owned(),
            cosine_all: 0.9999,
            max_abs: 0.1496,
            max_abs_at: "sample 0, element [0]".to_owned(),
            mean_abs: 0.0123,
            top1: Some(0.5),
            relative: Some(0.01),
            kl: None,
            kl_worst: None,
            topk: None,
            accuracy: None,
            elements: 10,
            compared: 10,
            nonfinite: NonFinite::default(),
        }
    }

    fn measured(outputs: Vec<OutputMetrics>) -> Measured {
        Measured {
            outputs,
            runner: "rten 0.27".to_owned(),
            level: "all graph optimizations".to_owned(),
            samples: 8,
            inputs: "8 synthetic samples, seed 0".to_owned(),
        }
    }

    #[test]
    fn an_embedding_has_no_top1_unless_it_is_bounded() {
        let m = measured(vec![output("sentence_embedding")]);
        let bounds = Bounds { cosine: Some(0.99), ..Bounds::default() };
        let (head, rows) = accuracy(&m, &bounds, false);
        assert_eq!(head, "on 8 synthetic samples, seed 0, in rten 0.27");
        let (head, with_all) = accuracy(&m, &bounds, true);
        assert_eq!(head, "on 8 synthetic samples, seed 0, in rten 0.27 (all graph optimizations)");
        assert!(with_all.contains("top1"));
        assert_eq!(
            rows,
            "output              cosine ≥ 0.99  max-abs  mean-abs\n\
             sentence_embedding  0.999318       0.150    0.0123\n"
        );
        let bounds = Bounds { top1: Some(0.4), ..bounds };
        assert!(accuracy(&m, &bounds, false).1.contains("top1 ≥ 0.4"));
        let m = measured(vec![output("logits")]);
        assert!(accuracy(&m, &Bounds::default(), false).1.ends_with("  0.5000\n"));
    }

    #[test]
    fn nan_and_infinities_are_counted_in_their_own_column() {
        let mut bad = output("hidden");
        bad.nonfinite = NonFinite { artifact_nan: 3, reference_inf: 1, ..NonFinite::default() };
        let mut none = output("empty");
        none.compared = 0;
        let (_, rows) = accuracy(&measured(vec![bad, none]), &Bounds::default(), false);
        assert_eq!(
            rows,
            "output  cosine    max-abs  mean-abs  not finite\n\
             hidden  0.999318  0.150    0.0123    3 NaN (reference: 1 infinite) of 10\n\
             empty   -         -        -\n"
        );
    }
}
