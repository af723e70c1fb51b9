//! `model-build cache`: statistics, clean-up, verification.

use std::time::Duration;

use clap::Subcommand;
use serde_json::json;

use super::Context;
use super::text::{count, size, table};
use crate::cache::{GcReport, Store};
use crate::error::{Error, Result};

#[derive(clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Show how much is stored, and where
    Stats,
    /// Drop what was not used for long, then the least recently used until the rest fits
    Gc {
        /// Keep at most this much, such as 20GB or 500MB
        #[arg(long, value_name = "SIZE")]
        max_size: Option<String>,
        /// Drop what was not used for this long, such as 12h, 30d or 2w
        #[arg(long, value_name = "AGE", default_value = "30d")]
        max_age: String,
    },
    /// Read everything and drop what is damaged
    Verify,
    /// Drop everything that no process uses
    Clear,
}

pub(super) fn run(args: &Args, context: &mut Context) -> Result<()> {
    let store = context.store()?;
    match &args.command {
        Command::Stats => stats(&store, context),
        Command::Gc { max_size, max_age } => {
            let max_size = max_size.as_deref().map(parse_size).transpose()?;
            let s = store.gc(max_size, Some(parse_age(max_age)?))?;
            let text = format!("{}, kept {}", dropped(&s), size(s.kept));
            context.ui.result(
                &text,
                "cache-gc",
                &json!({
                    "records": s.records, "objects": s.objects, "freed": s.freed, "kept": s.kept,
                    "in_use": s.in_use,
                }),
            );
            note_in_use(&s, context);
        }
        Command::Verify => {
            let total = store.stats().bytes;
            let mut done = 0;
            let s = store.verify(&mut |bytes| {
                done += bytes;
                context.ui.reading("the cache", done, total);
            })?;
            let mut text = String::new();
            for (path, why) in &s.dropped {
                text.push_str(&format!("dropped {}: {why}\n", path.display()));
            }
            let (objects, records) = (count(s.objects, "object"), count(s.records, "record"));
            let damaged = match s.dropped.len() {
                0 => "nothing is damaged".to_owned(),
                n => format!("{n} damaged and dropped; they are made anew when they are needed"),
            };
            text.push_str(&format!("read {objects} ({}) and {records}: {damaged}", size(s.bytes)));
            let dropped: Vec<_> =
                s.dropped.iter().map(|(path, why)| (path.to_string_lossy(), why)).collect();
            context.ui.result(
                &text,
                "cache-verify",
                &json!({ "objects": s.objects, "bytes": s.bytes, "records": s.records, "dropped": dropped }),
            );
        }
        Command::Clear => {
            let s = store.clear()?;
            context.ui.result(
                &dropped(&s),
                "cache-clear",
                &json!({ "records": s.records, "objects": s.objects, "freed": s.freed, "in_use": s.in_use }),
            );
            note_in_use(&s, context);
        }
    }
    Ok(())
}

fn stats(store: &Store, context: &mut Context) {
    let s = store.stats();
    let row = |name: &str, value: String| vec![name.to_owned(), value];
    let mut rows = vec![
        row("folder", store.root().display().to_string()),
        row("objects", format!("{} ({})", s.objects, size(s.bytes))),
        row("records", s.records.to_string()),
    ];
    if s.temporary > 0 {
        rows.push(row("unfinished", size(s.temporary)));
    }
    if !store.is_writable() {
        rows.push(row("writable", "no".to_owned()));
    }
    context.ui.result(
        &table(&rows),
        "cache-stats",
        &json!({
            "root": store.root().to_string_lossy(), "bytes": s.bytes, "objects": s.objects,
            "records": s.records, "temporary": s.temporary, "writable": store.is_writable(),
        }),
    );
}

fn dropped(s: &GcReport) -> String {
    let (objects, records) = (count(s.objects, "object"), count(s.records, "record"));
    format!("dropped {objects} ({}) and {records}", size(s.freed))
}

fn note_in_use(s: &GcReport, context: &mut Context) {
    if s.in_use > 0 {
        let objects = count(s.in_use, "object");
        context
            .ui
            .warning(&format!("{objects} of running builds stayed; run this again after them"));
    }
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
