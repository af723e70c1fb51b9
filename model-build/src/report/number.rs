//! Numbers as people read them.

use crate::verify::Metric;

/// A number with three significant digits: `0.15`, `0.00123`, `1.2e-7`.
pub(crate) fn number(value: f64) -> String {
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
pub(crate) fn size(bytes: u64) -> String {
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

/// A ratio in dB.
pub(crate) fn decibels(snr: f64) -> String {
    if snr.is_finite() { format!("{snr:.1} dB") } else { "exact".to_owned() }
}

/// `1 target`, `2 targets`.
pub(crate) fn count(n: impl Into<u64>, thing: &str) -> String {
    let n = n.into();
    if n == 1 { format!("1 {thing}") } else { format!("{n} {thing}s") }
}

/// A number of the accuracy check.
pub(crate) fn shown_as(metric: &Metric, value: f64) -> String {
    match metric.name {
        "cosine" => format!("{value:.6}"),
        "snr" => decibels(value),
        "top1" | "topk" | "accuracy-drop" => format!("{value:.4}"),
        _ => number(value),
    }
}

/// A share as percent: `12.3 %`, `0.1 %`.
pub(crate) fn percent(share: f64) -> String {
    let text = number(share * 100.0);
    let trimmed = match text.contains('.') && !text.contains('e') {
        true => text.trim_end_matches('0').trim_end_matches('.'),
        false => &text,
    };
    format!("{trimmed} %")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_numbers_read_well() {
        assert_eq!(
            [0, 999, 1000, 999_949, 999_950, 90_900_000, 3_000_000_000].map(size),
            ["0 B", "999 B", "1.0 kB", "999.9 kB", "1.0 MB", "90.9 MB", "3.0 GB"]
        );
        assert_eq!(
            [0.0, 0.1496, 0.012_345, 0.000_123_4, 1.2e-7, 3.456, 45.67, 1234.5, 1e7].map(number),
            ["0", "0.150", "0.0123", "0.000123", "1.20e-7", "3.46", "45.7", "1234", "1.00e7"]
        );
        assert_eq!([0.5, 0.001, 1e-7, 0.0].map(percent), ["50 %", "0.1 %", "1.00e-5 %", "0 %"]);
        assert_eq!([f64::INFINITY, 30.04].map(decibels), ["exact", "30.0 dB"]);
        assert_eq!([count(1u8, "run"), count(2u8, "run")], ["1 run", "2 runs"]);
    }
}
