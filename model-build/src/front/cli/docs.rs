//! `docs/cli.md`, from the definition of the command line and the description of the events.

use std::fmt::Write;

use clap::builder::StyledStr;
use clap::{Arg, Command, CommandFactory};

use super::json::EVENTS;
use super::{Cli, EXIT_CODES};

const HEAD: &str = "\
<!-- Generated from model-build/src/front/cli: `UPDATE_DOCS=1 cargo test -p model-build-tests --test cli` -->
# The tool

`cargo install model-build --features cli` installs `model-build`, and `cargo model-build`, which is
the same. `model-build help COMMAND` says more about a command.

Results go to standard output; progress, warnings and errors go to standard error. On a terminal
progress is a bar, elsewhere it is lines. Colours follow the terminal, `NO_COLOR` and `--color`.
";

const JSON: &str = "\
## JSON

With `--message-format json` standard output holds one JSON object a line and nothing else, and
standard error holds nothing but what is wrong with the command line itself. `event` is always the
first field. More fields and events may come in later versions; these stay. Text that is no
Unicode, as paths may be, has `\u{fffd}` in its place. `completions` and `man` print what they
always print.
";

/// The text of `docs/cli.md`.
pub fn docs() -> String {
    let mut cli = Cli::command();
    cli.build();
    let mut out = format!("{HEAD}\n## Commands\n\n| command | |\n|---|---|\n");
    for command in shown(&cli) {
        let name = command.get_name();
        let _ = writeln!(out, "| [`{name}`](#{name}) | {} |", plain(command.get_about()));
    }
    out.push_str("\n## Options of every command\n\n");
    for arg in cli.get_arguments().filter(|arg| arg.is_global_set()) {
        entry(&mut out, arg);
    }
    out.push_str("\n## Exit codes\n\n| code | |\n|---|---|\n| 0 | success |\n");
    for (kind, meaning) in EXIT_CODES {
        let word = kind.as_str();
        let _ = writeln!(out, "| {} | {meaning} (`\"{word}\"` in JSON) |", kind.exit_code());
    }
    out.push('\n');
    for command in shown(&cli) {
        section(&mut out, command, "##");
    }
    let _ = write!(out, "{JSON}");
    for event in EVENTS {
        let _ = write!(out, "\n### `{}`\n\n{}\n\n| field | |\n|---|---|\n", event.name, event.doc);
        for (name, doc) in event.fields {
            let _ = writeln!(out, "| `{name}` | {doc} |");
        }
    }
    out
}

fn shown(command: &Command) -> impl Iterator<Item = &Command> {
    command.get_subcommands().filter(|c| !c.is_hide_set() && c.get_name() != "help")
}

fn section(out: &mut String, command: &Command, level: &str) {
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ");
    let name = command.get_name();
    let _ = write!(
        out,
        "{level} {name}\n\n{}.\n\n```console\n$ {usage}\n```\n\n",
        plain(command.get_about())
    );
    let mut heading = None;
    let is_own = |arg: &&Arg| {
        !arg.is_global_set()
            && !arg.is_hide_set()
            && !["help", "version"].contains(&arg.get_id().as_str())
    };
    let own: Vec<&Arg> = command.get_arguments().filter(is_own).collect();
    let (positional, options): (Vec<&Arg>, Vec<&Arg>) =
        own.into_iter().partition(|arg| arg.is_positional());
    for arg in positional.into_iter().chain(options) {
        if arg.get_help_heading() != heading {
            heading = arg.get_help_heading();
            let _ = write!(out, "\n{}:\n\n", heading.unwrap_or("Others"));
        }
        entry(out, arg);
    }
    out.push('\n');
    for inner in shown(command) {
        section(out, inner, &format!("{level}#"));
    }
}

/// A line about an argument, and its words.
fn entry(out: &mut String, arg: &Arg) {
    let values: Vec<String> = arg
        .get_value_names()
        .filter(|_| arg.get_action().takes_values())
        .map(|names| names.iter().map(|name| format!("<{name}>")).collect())
        .unwrap_or_default();
    let long = arg.get_long().map(|long| format!("--{long}"));
    let short = arg.get_short().map(|short| format!("-{short}"));
    let names: Vec<String> = short.into_iter().chain(long).collect();
    let form = format!("{} {}", names.join(", "), values.join(" "));
    let words: Vec<String> = match arg.is_hide_possible_values_set() {
        true => Vec::new(),
        false => arg.get_possible_values().iter().map(|v| format!("`{}`", v.get_name())).collect(),
    };
    let words = if words.is_empty() { String::new() } else { format!(": {}", words.join(", ")) };
    let default: Vec<_> = arg.get_default_values().iter().map(|v| v.to_string_lossy()).collect();
    let shows_default = arg.get_action().takes_values() && !default.is_empty();
    let default =
        if shows_default { format!(" [default: {}]", default.join(" ")) } else { String::new() };
    let _ = writeln!(out, "- `{}`: {}{default}{words}", form.trim(), plain(arg.get_help()));
}

/// Help text in a line.
fn plain(text: Option<&StyledStr>) -> String {
    text.map(ToString::to_string).unwrap_or_default().replace('\n', " ").replace('|', "\\|")
}
