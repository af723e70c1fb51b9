//! What people and machines see of a running command: results on standard output; progress,
//! warnings and errors on standard error, or all of it as JSON lines on standard output.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anstyle::{AnsiColor, Style};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value as Json;

use super::json;
use super::text::{accuracy, size, speed, time};
use crate::env;
use crate::error::Error;
use crate::execute::{Event, Report};
use crate::fsx;

pub(super) const GOOD: Style = AnsiColor::Green.on_default().bold();
const BUSY: Style = AnsiColor::Cyan.on_default().bold();
pub(super) const BAD: Style = AnsiColor::Red.on_default().bold();
pub(super) const NOTE: Style = AnsiColor::Yellow.on_default().bold();

/// Files from this size on are shown while they are read.
const LONG_READ: u64 = 64 << 20;
/// The least time between two `progress` lines.
const PROGRESS: Duration = Duration::from_millis(100);

/// The terminal (or the pipe) the tool talks to.
pub(super) struct Ui {
    json: bool,
    quiet: bool,
    verbose: bool,
    /// Whether standard error is a terminal on which a line can be drawn over.
    bars: bool,
    bar: Option<ProgressBar>,
    /// The steps that run, the innermost last.
    running: Vec<Running>,
    reading: Option<Reading>,
    last_progress: Option<Instant>,
    made: usize,
    /// Whether the numbers that come next were measured just now.
    measured: bool,
    /// Why standard output could not be written.
    broken: Option<std::io::Error>,
}

struct Running {
    word: &'static str,
    text: String,
}

/// A file that is being read.
struct Reading {
    path: PathBuf,
    done: u64,
    total: u64,
}

impl Ui {
    pub(super) fn new(json: bool, quiet: bool, verbose: bool) -> Self {
        let dumb = env::var("TERM").is_some_and(|term| term == "dumb");
        let bars = !json && !quiet && !dumb && std::io::stderr().is_terminal();
        Self {
            json,
            quiet,
            verbose,
            bars,
            bar: None,
            running: Vec::new(),
            reading: None,
            last_progress: None,
            made: 0,
            measured: false,
            broken: None,
        }
    }

    pub(super) fn verbose(&self) -> bool {
        self.verbose
    }

    /// Whether messages are JSON lines.
    pub(super) fn json(&self) -> bool {
        self.json
    }

    /// How many conversions were run.
    pub(super) fn made(&self) -> usize {
        self.made
    }

    /// The result of a subcommand: text for people, or the event of that name for machines.
    pub(super) fn result(&mut self, text: &str, event: &str, fields: &Json) {
        self.clear();
        if self.json {
            self.out(&json::line(event, fields));
        } else if !text.is_empty() {
            self.out(text.trim_end());
        }
    }

    /// Lines for people on standard output.
    pub(super) fn text(&mut self, text: &str) {
        self.clear();
        self.out(text.trim_end());
    }

    /// An event that is a result, for machines.
    pub(super) fn measured(&mut self, event: &Event<'_>) {
        self.out(&json::of_event(event));
    }

    /// A line on standard output.
    fn out(&mut self, line: &str) {
        let mut out = anstream::stdout().lock();
        if let Err(error) = writeln!(out, "{line}").and_then(|()| out.flush())
            && self.broken.is_none()
        {
            self.broken = Some(error);
        }
    }

    /// The error for results that could not be written, except to a reader that went away.
    pub(super) fn finish(&mut self) -> Result<(), Error> {
        self.clear();
        match self.broken.take() {
            Some(e) if e.kind() != std::io::ErrorKind::BrokenPipe => {
                Err(Error::io("write the result", Path::new("standard output"), e))
            }
            _ => Ok(()),
        }
    }

    /// A line of progress for people: a right-aligned green word and what it is about.
    pub(super) fn status(&self, word: &str, text: &str) {
        if !self.json && !self.quiet {
            self.print(&format!("{GOOD}{word:>12}{GOOD:#} {text}"));
        }
    }

    pub(super) fn warning(&mut self, text: &str) {
        if self.json {
            self.out(&json::of_event(&Event::Warning(text)));
        } else {
            self.print(&format!("{NOTE}warning:{NOTE:#} {text}"));
        }
    }

    pub(super) fn error(&mut self, error: &Error) {
        self.clear();
        if self.json {
            self.out(&json::of_error(error));
            return;
        }
        for line in error.report().lines() {
            let (style, word) = match line {
                l if l.starts_with("error:") => (BAD, "error:"),
                l if l.starts_with("hint:") => (BUSY, "hint:"),
                l => {
                    self.print(l);
                    continue;
                }
            };
            self.print(&format!("{style}{word}{style:#}{}", &line[word.len()..]));
        }
    }

    /// Lines on standard error, above the bar. Nobody is told when nobody reads them.
    fn print(&self, text: &str) {
        let print = || drop(writeln!(anstream::stderr().lock(), "{text}"));
        match &self.bar {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }

    fn clear(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }

    /// A line that lasts as long as a piece of work; [`Ui::advance`] makes a bar of it.
    fn show(&mut self, word: &str, text: &str) {
        self.clear();
        if !self.bars {
            return;
        }
        let bar = ProgressBar::new_spinner()
            .with_style(style("{prefix} {wide_msg} {elapsed}"))
            .with_prefix(self.busy(word))
            .with_message(text.to_owned());
        bar.tick();
        bar.enable_steady_tick(Duration::from_millis(200));
        self.bar = Some(bar);
    }

    fn busy(&self, word: &str) -> String {
        match anstream::AutoStream::choice(&std::io::stderr()) {
            anstream::ColorChoice::Never => format!("{word:>12}"),
            _ => format!("{BUSY}{word:>12}{BUSY:#}"),
        }
    }

    fn advance(&self, done: u64, total: u64) {
        let Some(bar) = &self.bar else { return };
        if bar.length() != Some(total) {
            bar.set_length(total);
            bar.set_style(style(
                "{prefix} {msg} [{bar:24}] {decimal_bytes}/{decimal_total_bytes} {decimal_bytes_per_sec}, {eta} left",
            ));
        }
        bar.set_position(done);
    }

    /// Shows what is being worked on, on a terminal.
    pub(super) fn working(&mut self, word: &str, text: &str) {
        self.show(word, text);
    }

    /// Shows how much of something is read, on a terminal.
    pub(super) fn reading(&mut self, what: &str, done: u64, total: u64) {
        if self.bar.is_none() {
            self.show("Reading", what);
        }
        self.advance(done, total);
    }

    fn started(&mut self, step: &str, job: &str, summary: &str) {
        let (word, text) = match step {
            "verify" => ("Verifying", format!("{job} in {summary}")),
            "reference" => ("Converting", format!("the reference of {job} ({summary})")),
            _ => ("Converting", format!("{job} ({summary})")),
        };
        if !self.bars || self.verbose {
            self.status(word, &text);
        }
        let text = match step {
            "verify" => text,
            "reference" => format!("the reference of {job}"),
            _ => job.to_owned(),
        };
        self.show(word, &text);
        self.running.push(Running { word, text });
    }

    fn finished(&mut self, step: &str, job: &str, bytes: u64, took: Duration) {
        self.running.pop();
        self.clear();
        match step {
            "verify" => self.measured = true, // the numbers follow
            "reference" => {
                let done =
                    format!("the reference of {job} in {}{}", time(took), speed(bytes, took));
                self.status("Converted", &done);
            }
            _ => {
                self.made += 1;
                let (size, time, speed) = (size(bytes), time(took), speed(bytes, took));
                self.status("Converted", &format!("{job} to {size} in {time}{speed}"));
            }
        }
        if let Some(outer) = self.running.pop() {
            self.show(outer.word, &outer.text);
            self.running.push(outer);
        }
    }

    fn hashed(&mut self, path: &Path, bytes: u64) {
        if self.reading.as_ref().is_none_or(|r| r.path != path) {
            let total = fsx::stat(path).map_or(bytes, |stat| stat.len);
            self.reading = Some(Reading { path: path.to_owned(), done: 0, total });
            if total > LONG_READ {
                self.show("Reading", &nice(path));
            }
        }
        let Some(mut reading) = self.reading.take() else { return };
        reading.done = reading.done.saturating_add(bytes);
        let (done, total) = (reading.done, reading.total);
        if done < total {
            self.advance(done, total);
            self.reading = Some(reading);
            return;
        }
        if total > LONG_READ {
            self.clear();
        }
        if self.verbose {
            self.status("Read", &format!("{} ({})", nice(path), size(done)));
        }
    }

    fn progress(&mut self, event: &Event<'_>, done: u64, total: u64) {
        if !self.json {
            self.advance(done, total);
        } else if done == total || self.last_progress.is_none_or(|at| at.elapsed() >= PROGRESS) {
            self.last_progress = Some(Instant::now());
            self.out(&json::of_event(event));
        }
    }
}

impl Report for Ui {
    fn event(&mut self, event: &Event<'_>) {
        if let Event::Progress { done, total, .. } = event {
            return self.progress(event, *done, *total);
        }
        if let Event::Finished { step: "convert", .. } = event
            && self.json
        {
            self.made += 1;
        }
        if self.json {
            return self.out(&json::of_event(event));
        }
        match event {
            Event::Hashed { path, bytes } => self.hashed(path, *bytes),
            Event::Reused { job, step, key } => {
                if self.verbose {
                    let key = short(&key.to_string()).to_owned();
                    self.status("Fresh", &format!("{job} ({step}, key {key})"));
                } else if *step == "convert" {
                    self.status("Fresh", job);
                }
            }
            Event::Waiting { job, step } => {
                let what = match *step {
                    "verify" => "another process is verifying it",
                    _ => "another process is making it",
                };
                self.status("Waiting", &format!("{job}: {what}"));
            }
            Event::Started { job, step, key, summary } => {
                self.started(step, job, summary);
                if self.verbose {
                    self.status("", &format!("key {key}"));
                }
            }
            Event::Finished { job, step, bytes, took } => self.finished(step, job, *bytes, *took),
            Event::Measured { job, measured, bounds } => {
                if !std::mem::take(&mut self.measured) && !self.verbose {
                    return;
                }
                let (head, rows) = accuracy(measured, bounds, self.verbose);
                let rows: String = rows.lines().map(|row| format!("\n{:13}{row}", "")).collect();
                self.status("Measured", &format!("{job} {head}{rows}"));
            }
            Event::Encoding { reused, encoded, .. } => {
                if *reused > 0 {
                    let all = size(reused + encoded);
                    self.status("Reusing", &format!("{} of {all} of tensors", size(*reused)));
                }
            }
            Event::Warning(text) => self.warning(text),
            Event::Progress { .. } => {}
        }
    }
}

/// A style whose template is known to be one.
fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ")
}

/// The first 12 characters of a digest.
pub(super) fn short(digest: &str) -> &str {
    digest.get(..12).unwrap_or(digest)
}

/// A path for people: relative to the current folder where it lies below it.
pub(super) fn nice(path: &Path) -> String {
    relative(path).display().to_string()
}

/// A path relative to the current folder where it lies below it.
pub(super) fn relative(path: &Path) -> PathBuf {
    let plain = path.strip_prefix(".").unwrap_or(path);
    let here = fsx::canonicalize(Path::new(".")).unwrap_or_default();
    let below = plain.strip_prefix(&here).unwrap_or(plain);
    if below.as_os_str().is_empty() { path.to_owned() } else { below.to_owned() }
}
