//! What people and machines see of a running build: lines, a progress bar, JSON messages.

use std::io::IsTerminal;
use std::path::Path;
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value as Json, json};

use crate::error::Error;
use crate::execute::{Event, Report};
use crate::verify::Measured;

/// The terminal (or the pipe) the tool talks to.
pub(super) struct Ui {
    json: bool,
    quiet: bool,
    verbose: bool,
    bar: Option<ProgressBar>,
}

const GOOD: Style = AnsiColor::Green.on_default().bold();
const BAD: Style = AnsiColor::Red.on_default().bold();
const NOTE: Style = AnsiColor::Yellow.on_default().bold();

impl Ui {
    pub(super) fn new(json: bool, quiet: bool, verbose: bool) -> Self {
        Self { json, quiet, verbose, bar: None }
    }
    pub(super) fn verbose(&self) -> bool {
        self.verbose
    }

    /// The result of a subcommand: text for people or one JSON object for machines.
    pub(super) fn result(&self, text: &str, object: &Json) {
        if self.json {
            println!("{object}");
        } else if !text.is_empty() {
            anstream::println!("{}", text.trim_end());
        }
    }

    /// A line of progress for people: a right-aligned green word and what it is about.
    pub(super) fn status(&self, word: &str, text: &str) {
        self.line(GOOD, word, text);
    }

    fn line(&self, style: Style, word: &str, text: &str) {
        if self.json || self.quiet {
            return;
        }
        let print = || anstream::eprintln!("{style}{word:>12}{style:#} {text}");
        match &self.bar {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }

    pub(super) fn warning(&self, text: &str) {
        if self.json {
            println!("{}", json!({ "event": "warning", "message": text }));
        } else {
            self.line(NOTE, "warning", text);
        }
    }

    pub(super) fn error(&mut self, error: &Error) {
        self.clear();
        if self.json {
            let place = error.place();
            println!(
                "{}",
                json!({
                    "event": "error", "kind": error.kind().as_str(), "message": error.message(),
                    "model": place.model, "target": place.target, "step": place.step,
                    "file": place.file, "item": place.item, "hints": error.hints(),
                    "rendered": error.report(),
                })
            );
            return;
        }
        for line in error.report().lines() {
            let (style, word) = match line {
                l if l.starts_with("error:") => (BAD, "error:"),
                l if l.starts_with("hint:") => (GOOD, "hint:"),
                l => {
                    anstream::eprintln!("{l}");
                    continue;
                }
            };
            anstream::eprintln!("{style}{word}{style:#}{}", &line[word.len()..]);
        }
    }

    fn clear(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }

    fn start_bar(&mut self, job: &str) {
        if self.json || self.quiet || !std::io::stderr().is_terminal() {
            return;
        }
        let template = "{msg:>12} {bar:28} {bytes}/{total_bytes} {bytes_per_sec} {eta} left";
        let style = ProgressStyle::with_template(template)
            .unwrap_or_else(|_| ProgressStyle::default_bar())
            .progress_chars("=> ");
        let bar = ProgressBar::new(0).with_style(style).with_message(job.to_owned());
        bar.enable_steady_tick(Duration::from_millis(100));
        self.bar = Some(bar);
    }
}

impl Report for Ui {
    fn event(&mut self, event: &Event<'_>) {
        if self.json {
            if let Some(object) = to_json(event) {
                println!("{object}");
            }
            return;
        }
        match event {
            Event::Hashed { path, bytes } if self.verbose => {
                self.status("Hashed", &format!("{} ({})", path.display(), size(*bytes)));
            }
            Event::Reused { job, step, key } => {
                if self.verbose {
                    self.status(
                        "Fresh",
                        &format!("{job} ({step}, key {})", short(&key.to_string())),
                    );
                } else if *step == "convert" {
                    self.status("Fresh", job);
                }
            }
            Event::Waiting { job, step } => {
                self.status("Waiting", &format!("{job} ({step}): another process is making it"));
            }
            Event::Started { job, step, key, summary } => {
                let word = if *step == "verify" { "Verifying" } else { "Converting" };
                self.status(word, &format!("{job}: {summary}"));
                if self.verbose {
                    self.status("", &format!("key {key}"));
                }
                self.start_bar(job);
            }
            Event::Progress { done, total, .. } => {
                if let Some(bar) = &self.bar {
                    bar.set_length(*total);
                    bar.set_position(*done);
                }
            }
            Event::Finished { job, step, bytes, took } => {
                self.clear();
                let speed = speed(*bytes, *took);
                self.status(
                    "Finished",
                    &format!("{job} ({step}) {} in {took:.2?}{speed}", size(*bytes)),
                );
            }
            Event::Measured { job, measured } => {
                self.status("Accuracy", &format!("{job}: {}", accuracy(measured)));
            }
            Event::Warning(text) => self.warning(text),
            Event::Hashed { .. } => {}
        }
    }
}

fn speed(bytes: u64, took: Duration) -> String {
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    // for display
    let rate = (bytes as f64 / took.as_secs_f64().max(1e-9)) as u64;
    if bytes < 1 << 20 { String::new() } else { format!(", {}/s", size(rate)) }
}

fn to_json(event: &Event<'_>) -> Option<Json> {
    Some(match event {
        Event::Hashed { path, bytes } => json!({ "event": "hashed", "path": path, "bytes": bytes }),
        Event::Reused { job, step, key } => {
            json!({ "event": "reused", "job": job, "step": step, "key": key.to_string() })
        }
        Event::Waiting { job, step } => json!({ "event": "waiting", "job": job, "step": step }),
        Event::Started { job, step, key, summary } => json!({
            "event": "started", "job": job, "step": step, "key": key.to_string(), "summary": summary,
        }),
        Event::Progress { .. } => return None,
        Event::Finished { job, step, bytes, took } => json!({
            "event": "finished", "job": job, "step": step, "bytes": bytes,
            "seconds": took.as_secs_f64(),
        }),
        Event::Measured { job, measured } => {
            json!({ "event": "measured", "job": job, "measured": measured })
        }
        Event::Warning(text) => json!({ "event": "warning", "message": text }),
    })
}

/// The worst numbers of an accuracy check, in a line.
pub(super) fn accuracy(measured: &Measured) -> String {
    let mut parts: Vec<String> = measured
        .outputs
        .iter()
        .map(|o| {
            let top1 = o.top1.map_or_else(String::new, |t| format!(", top-1 {:.2} %", t * 100.0));
            format!("{} cosine {:.6}, max-abs {:.3e}{top1}", o.name, o.cosine, o.max_abs)
        })
        .collect();
    parts.push(format!("[{}, {}]", measured.inputs, measured.runner));
    parts.join("; ")
}

/// A length for people: `12.3 MB` (powers of 1000).
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    #[allow(clippy::cast_precision_loss)] // for display
    let mut n = bytes as f64;
    let mut unit = 0;
    while n >= 999.5 && unit + 1 < UNITS.len() {
        n /= 1000.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{n:.1} {}", UNITS[unit]) }
}

/// The first 12 characters of a digest.
pub(super) fn short(digest: &str) -> &str {
    digest.get(..12).unwrap_or(digest)
}

/// A path for people: relative to the current folder where it lies below it.
pub(super) fn nice(path: &Path) -> String {
    let here = crate::fsx::canonicalize(Path::new(".")).unwrap_or_default();
    path.strip_prefix(&here).unwrap_or(path).display().to_string()
}

/// Rows as a table: columns padded to their longest cell, the last one not.
pub(super) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |c: usize| rows.iter().filter_map(|r| r.get(c)).map(|s| s.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|c| width(c).unwrap_or(0)).collect();
    let mut out = String::new();
    for row in rows {
        let mut line = String::new();
        for (c, cell) in row.iter().enumerate() {
            let pad = widths[c].saturating_sub(cell.chars().count());
            line.push_str(cell);
            line.push_str(&" ".repeat(pad + 2));
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}
