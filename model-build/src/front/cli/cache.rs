//! `model-build cache`: statistics, clean-up, verification.

use std::time::Duration;

use clap::Subcommand;
use serde_json::json;

use super::Context;
use super::report::size;
use crate::error::{Error, Result};

#[derive(clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Show how much is stored where
    Stats,
    /// Drop what has not been used for long, then the oldest until the rest fits
    Gc {
        /// Keep at most this much, such as 20GB
        #[arg(long, value_name = "SIZE")]
        max_size: Option<String>,
        /// Drop what has not been used for this long, such as 30d or 12h
        #[arg(long, value_name = "AGE", default_value = "30d")]
        max_age: String,
    },
    /// Read every object and drop the damaged ones
    Verify,
    /// Drop everything
    Clear,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<()> {
    let store = context.store()?;
    let (text, object) = match &args.command {
        Command::Stats => {
            let s = store.stats();
            let text = format!(
                "{}\n{} in {} objects, {} records\n",
                store.root().display(),
                size(s.bytes),
                s.objects,
                s.records
            );
            let root = store.root();
            (
                text,
                json!({ "event": "cache-stats", "root": root, "bytes": s.bytes, "objects": s.objects, "records": s.records }),
            )
        }
        Command::Gc { max_size, max_age } => {
            let max_size = max_size.as_deref().map(parse_size).transpose()?;
            let s = store.gc(max_size, Some(parse_age(max_age)?))?;
            let mut text = format!(
                "dropped {} records and {} objects ({}), ",
                s.records,
                s.objects,
                size(s.freed)
            );
            text.push_str(&format!("{} kept\n", size(s.kept)));
            if s.in_use > 0 {
                text.push_str(&format!("{} objects are in use and stay\n", s.in_use));
            }
            (
                text,
                json!({ "event": "cache-gc", "records": s.records, "objects": s.objects, "freed": s.freed, "kept": s.kept, "in_use": s.in_use }),
            )
        }
        Command::Verify => {
            let s = store.verify(&mut |_| {})?;
            let mut text = String::new();
            for (path, why) in &s.dropped {
                text.push_str(&format!("dropped {}: {why}\n", path.display()));
            }
            text.push_str(&format!(
                "{} objects ({}) and {} records read, {} damaged\n",
                s.objects,
                size(s.bytes),
                s.records,
                s.dropped.len()
            ));
            (
                text,
                json!({ "event": "cache-verify", "objects": s.objects, "bytes": s.bytes, "records": s.records, "dropped": s.dropped }),
            )
        }
        Command::Clear => {
            let s = store.clear()?;
            let text = format!(
                "dropped {} records and {} objects ({})\n",
                s.records,
                s.objects,
                size(s.freed)
            );
            (text, json!({ "event": "cache-clear", "freed": s.freed }))
        }
    };
    context.ui.result(&text, &object);
    Ok(())
}

/// `20GB`, `500 MB`, `1GiB`, `123` (bytes).
fn parse_size(text: &str) -> Result<u64> {
    let (number, unit) = split(text);
    let factor: u64 = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" | "k" => 1_000,
        "mb" | "m" => 1_000_000,
        "gb" | "g" => 1_000_000_000,
        "tb" | "t" => 1_000_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        "tib" => 1 << 40,
        _ => return Err(bad("size", text, "500MB, 20GB, 1GiB")),
    };
    let number: u64 = number.parse().map_err(|_| bad("size", text, "500MB, 20GB, 1GiB"))?;
    number.checked_mul(factor).ok_or_else(|| bad("size", text, "500MB, 20GB, 1GiB"))
}

/// `30d`, `12h`, `90m`, `45s`.
fn parse_age(text: &str) -> Result<Duration> {
    let (number, unit) = split(text);
    let factor = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        "w" => 604_800,
        _ => return Err(bad("age", text, "30d, 12h, 2w")),
    };
    let number: u64 = number.parse().map_err(|_| bad("age", text, "30d, 12h, 2w"))?;
    number.checked_mul(factor).map(Duration::from_secs).ok_or_else(|| bad("age", text, "30d, 12h"))
}

fn split(text: &str) -> (&str, &str) {
    let at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    (&text[..at], text[at..].trim())
}

fn bad(what: &str, text: &str, such_as: &str) -> Error {
    Error::manifest(format!("`{text}` is no {what}")).hint(format!("write it like {such_as}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_ages_are_read_with_their_units_and_nonsense_is_refused() {
        assert_eq!(parse_size("20GB").unwrap(), 20_000_000_000);
        assert_eq!(parse_size("1 GiB").unwrap(), 1 << 30);
        assert_eq!(parse_age("12h").unwrap(), Duration::from_secs(43_200));
        for bad in ["", "x", "1.5GB", "99999999999999TB"] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
        assert!(parse_age("12").is_err());
    }
}
