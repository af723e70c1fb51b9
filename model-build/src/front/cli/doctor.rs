//! `model-build doctor`: what is here, and what to do about the rest.

use std::process::Command;

use serde_json::json;

use super::Context;
use super::report::{BAD, GOOD, NOTE};
use super::text::{count, size, table};
use crate::env;
use crate::error::{Error, ErrorKind, Result};
use crate::run::{self, RunnerChoice};

/// What was found out about one thing.
struct Finding {
    what: &'static str,
    state: State,
    text: String,
    /// What to do; empty when there is nothing to do.
    advice: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// It works.
    Ok,
    /// It works otherwise than it could.
    Note,
    /// Something was asked for that does not work.
    Fail,
}

impl State {
    const fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Fail => "fail",
        }
    }
}

impl Finding {
    fn new(what: &'static str, state: State, text: String, advice: &str) -> Self {
        let advice = if state == State::Ok { String::new() } else { advice.to_owned() };
        Self { what, state, text, advice }
    }
}

pub(super) fn run(context: &mut Context) -> Result<()> {
    let findings = [
        this(),
        handed_over(),
        cache(context),
        onnxruntime(),
        rten(),
        program("rustc", "`when` is matched against what rustc says of a platform: install Rust"),
        program("cargo", "workspaces are read through cargo: install Rust"),
    ];
    let mut rows = Vec::new();
    for f in &findings {
        rows.push(vec![f.state.word().to_owned(), f.what.to_owned(), f.text.clone()]);
        if !f.advice.is_empty() {
            rows.push(vec![String::new(), String::new(), format!("→ {}", f.advice)]);
        }
    }
    let objects: Vec<_> = findings
        .iter()
        .map(|f| {
            json!({ "what": f.what, "state": f.state.word(), "text": f.text, "advice": f.advice })
        })
        .collect();
    context.ui.result(&coloured(&table(&rows)), "checked", &json!({ "findings": objects }));
    match findings.iter().filter(|f| f.state == State::Fail).count() {
        0 => Ok(()),
        n => Err(Error::tool(
            format!("{} do not work", count(n as u64, "thing"))
                .replace("1 thing do not work", "1 thing does not work"),
        )),
    }
}

/// The table with its first words in colour.
fn coloured(table: &str) -> String {
    let mut out = String::new();
    for line in table.lines() {
        let style = match line.split(' ').next().unwrap_or_default() {
            "ok" => GOOD,
            "note" => NOTE,
            "fail" => BAD,
            _ => anstyle::Style::new(),
        };
        let (word, rest) = line.split_at(line.find(' ').unwrap_or(0));
        out.push_str(&format!("{style}{word}{style:#}{rest}\n"));
    }
    out
}

fn this() -> Finding {
    let level = env!("MODEL_BUILD_OPT_LEVEL");
    let text = format!("{}, compiled at opt-level {level}", env!("CARGO_PKG_VERSION"));
    let state = if level == "0" { State::Note } else { State::Ok };
    let advice = "conversions are several times slower than they could be: `cargo install model-build --features cli`";
    Finding::new("model-build", state, text, advice)
}

/// What build scripts hand their work over to.
fn handed_over() -> Finding {
    const WHAT: &str = "build scripts";
    let own = env!("CARGO_PKG_VERSION");
    let named = env::path("MODEL_BUILD");
    let tool = named.clone().unwrap_or_else(|| "model-build".into());
    let version = first_line(&mut Command::new(&tool));
    let version = version.as_deref().and_then(|line| line.strip_prefix("model-build "));
    match (named, version) {
        (_, Some(version)) if version == own => {
            Finding::new(WHAT, State::Ok, format!("hand over to {} {own}", tool.display()), "")
        }
        (Some(_), Some(version)) => Finding::new(
            WHAT,
            State::Fail,
            format!("MODEL_BUILD names {}, which is version {version}", tool.display()),
            &format!("name a tool of version {own}, or unset MODEL_BUILD"),
        ),
        (Some(_), None) => Finding::new(
            WHAT,
            State::Fail,
            format!("MODEL_BUILD names {}, which does not run", tool.display()),
            "correct MODEL_BUILD, or unset it",
        ),
        (None, found) => Finding::new(
            WHAT,
            State::Note,
            match found {
                Some(version) => {
                    format!("do the work themselves: `model-build` on PATH is version {version}")
                }
                None => "do the work themselves: no `model-build` is on PATH".to_owned(),
            },
            "they are faster with this tool on PATH, or named in MODEL_BUILD",
        ),
    }
}

fn cache(context: &Context) -> Finding {
    let advice = "name a folder that can be written in MODEL_BUILD_CACHE";
    let found = context.store().map(|store| {
        let stats = store.stats();
        let objects = count(stats.objects, "object");
        let text = format!("{}: {objects}, {}", store.root().display(), size(stats.bytes));
        (store.is_writable(), text)
    });
    match found {
        Ok((true, text)) => Finding::new("cache", State::Ok, text, ""),
        Ok((false, text)) => {
            Finding::new("cache", State::Fail, format!("{text}; it cannot be written"), advice)
        }
        Err(error) => Finding::new("cache", State::Fail, error.to_string(), advice),
    }
}

fn onnxruntime() -> Finding {
    const WHAT: &str = "ONNX Runtime";
    let named = env::path("ORT_DYLIB_PATH");
    match run::identity(RunnerChoice::OnnxRuntime) {
        Ok(identity) => Finding::new(WHAT, State::Ok, identity, ""),
        Err(error) => {
            let advice = error.hints().join("; ");
            let (state, advice) = match (named, error.kind()) {
                (Some(_), _) => (State::Fail, advice),
                (None, ErrorKind::Unsupported) => (State::Note, advice),
                (None, _) => {
                    (State::Note, format!("`verify` uses rten, which runs fewer graphs; {advice}"))
                }
            };
            Finding::new(WHAT, state, error.to_string(), &advice)
        }
    }
}

fn rten() -> Finding {
    match run::identity(RunnerChoice::Rten) {
        Ok(identity) => Finding::new("rten", State::Ok, identity, ""),
        Err(error) => {
            Finding::new("rten", State::Note, error.to_string(), &error.hints().join("; "))
        }
    }
}

fn program(name: &'static str, advice: &str) -> Finding {
    match first_line(&mut Command::new(name)) {
        Some(line) => Finding::new(name, State::Ok, line, ""),
        None => Finding::new(name, State::Note, "not on PATH".to_owned(), advice),
    }
}

/// The first line that a program prints for `--version`, if it can be started.
fn first_line(command: &mut Command) -> Option<String> {
    let output = command.arg("--version").output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Some(text.lines().next().unwrap_or_default().trim().to_owned())
}
