//! Sizes as people write them: `4.5GiB`.

use crate::error::{Error, Result};

const UNITS: &[(&str, u64)] = &[
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("B", 1),
];

/// The bytes of a size with its unit: `4.5GiB`, `700 MB`, `123456B`. Parts of a byte are cut off.
///
/// # Errors
/// It is no number with a unit, or above 2^64 bytes.
pub fn parse_size(text: &str) -> Result<u64> {
    let wrong = |what: &str| {
        Error::manifest(format!("`{text}` is no size: {what}"))
            .hint("write a number and a unit: 4.5GiB, 700MiB, 900KiB, 4.5GB, 700MB, 900kB or 123B")
    };
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(end).ok_or_else(|| wrong("it is empty"))?;
    let unit = unit.trim();
    let Some((_, factor)) = UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)) else {
        return Err(wrong(if unit.is_empty() { "it has no unit" } else { "the unit is unknown" }));
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() || fraction.contains('.') || number.ends_with('.') {
        return Err(wrong("the number is none"));
    }
    let too_large = || wrong("it is too large");
    let factor = u128::from(*factor);
    let whole: u128 = whole.parse().map_err(|_| too_large())?;
    // 18 digits are exact to less than a byte in any unit.
    let fraction: String = fraction.chars().chain(std::iter::repeat('0')).take(18).collect();
    let fraction: u128 = fraction.parse().map_err(|_| wrong("the number is none"))?;
    let part = fraction * factor / 1_000_000_000_000_000_000;
    let bytes =
        whole.checked_mul(factor).and_then(|b| b.checked_add(part)).ok_or_else(too_large)?;
    u64::try_from(bytes).map_err(|_| too_large())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_exactly() {
        for (text, bytes) in [
            ("4.5GiB", 4_831_838_208),
            ("4.5 GB", 4_500_000_000),
            ("0.1kB", 100),
            ("1.5MiB", 1_572_864),
            ("7MB", 7_000_000),
            ("3kib", 3072),
            ("17B", 17),
            ("0.3B", 0),
            ("0.333333333333333333333333333GB", 333_333_333),
        ] {
            assert_eq!(parse_size(text).unwrap(), bytes, "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_refused() {
        let bad = ["", "5", "GiB", "-1GB", "1.2.3GB", "1.GB", ".5GB", "1e3GB", "1PB", "1 G B", "é"];
        for text in bad {
            assert!(parse_size(text).is_err(), "{text}");
        }
        assert!(parse_size("99999999999999999999TiB").unwrap_err().message().contains("too large"));
        assert!(parse_size(&format!("{}GB", "9".repeat(60))).is_err());
    }
}
