//! Numbers and tables as people read them.

use std::time::Duration;

use crate::verify::{Bounds, Measured, OutputMetrics};

/// What an accuracy check ran on and in, and a table of its numbers: a row per output, the bounds
/// beside the names of what they bound. `top1` is shown where it means something: for outputs whose
/// names say that they are scores of classes, and where it is bounded. `all` shows it always, and how
/// the graphs were run.
pub(super) fn accuracy(measured: &Measured, bounds: &Bounds, all: bool) -> (String, String) {
    let level = if all { format!(" ({})", measured.level) } else { String::new() };
    let head = format!("on {}, in {}{level}", measured.inputs, measured.runner);
    let top1 = |o: &OutputMetrics| {
        o.top1.filter(|_| all || bounds.top1.is_some() || scores_classes(&o.name))
    };
    let with_top1 = measured.outputs.iter().any(|o| top1(o).is_some());
    let least =
        |name, bound: Option<f64>| bound.map_or(String::from(name), |b| format!("{name} ≥ {b}"));
    let most =
        |name, bound: Option<f64>| bound.map_or(String::from(name), |b| format!("{name} ≤ {b}"));
    let mut titles = vec![
        "output".to_owned(),
        least("cosine", bounds.cosine),
        most("max-abs", bounds.max_abs),
        most("mean-abs", bounds.mean_abs),
    ];
    if with_top1 {
        titles.push(least("top1", bounds.top1));
    }
    let nonfinite: Vec<String> = measured.outputs.iter().map(not_finite).collect();
    let with_nonfinite = nonfinite.iter().any(|text| !text.is_empty());
    if with_nonfinite {
        titles.push("not finite".to_owned());
    }
    let mut rows = vec![titles];
    for (o, nonfinite) in measured.outputs.iter().zip(nonfinite) {
        let shown = |text: String| if o.compared == 0 { "-".to_owned() } else { text };
        let mut row = vec![
            o.name.clone(),
            shown(format!("{:.6}", o.cosine)),
            shown(number(o.max_abs)),
            shown(number(o.mean_abs)),
        ];
        if with_top1 {
            row.push(top1(o).map_or_else(String::new, |t| shown(format!("{t:.4}"))));
        }
        if with_nonfinite {
            row.push(nonfinite);
        }
        rows.push(row);
    }
    (head, table(&rows))
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

/// A number with three significant digits: `0.15`, `0.00123`, `1.2e-7`.
pub(super) fn number(value: f64) -> String {
    let magnitude = value.abs();
    if value == 0.0 {
        return "0".to_owned();
    }
    if !(1e-4..1e6).contains(&magnitude) {
        return format!("{value:.2e}");
    }
    let decimals = if magnitude >= 100.0 {
        0
    } else if magnitude >= 10.0 {
        1
    } else if magnitude >= 1.0 {
        2
    } else if magnitude >= 0.1 {
        3
    } else if magnitude >= 0.01 {
        4
    } else if magnitude >= 0.001 {
        5
    } else {
        6
    };
    format!("{value:.decimals$}")
}

/// A length for people: `12.3 MB` (powers of 1000).
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    #[allow(clippy::cast_precision_loss)] // for display
    let mut n = bytes as f64;
    let mut unit = 0;
    while n >= 999.95 && unit + 1 < UNITS.len() {
        n /= 1000.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{n:.1} {}", UNITS[unit]) }
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

/// `1 target`, `2 targets`.
pub(super) fn count(n: impl Into<u64>, thing: &str) -> String {
    let n = n.into();
    if n == 1 { format!("1 {thing}") } else { format!("{n} {thing}s") }
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
    fn sizes_times_and_numbers_read_well() {
        assert_eq!(
            [0, 999, 1000, 999_949, 999_950, 90_900_000, 3_000_000_000].map(size),
            ["0 B", "999 B", "1.0 kB", "999.9 kB", "1.0 MB", "90.9 MB", "3.0 GB"]
        );
        let ms = Duration::from_millis;
        assert_eq!(
            [ms(0), ms(16), ms(999), ms(1400), ms(125_000), ms(7_300_000)].map(time),
            ["1 ms", "16 ms", "999 ms", "1.4 s", "2 min 5 s", "2 h 1 min"]
        );
        assert_eq!(speed(90_900_000, ms(1000)), ", 90.9 MB/s");
        assert_eq!(speed(90_900, ms(1000)), "");
        assert_eq!(
            [0.0, 0.1496, 0.012_345, 0.000_123_4, 1.2e-7, 3.456, 45.67, 1234.5, 1e7].map(number),
            ["0", "0.150", "0.0123", "0.000123", "1.20e-7", "3.46", "45.7", "1234", "1.00e7"]
        );
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
