//! What is written about the tool: `docs/cli.md`, `--help`, and the JSON events as described there.

use std::collections::{BTreeMap, BTreeSet};

use model_build::cli;
use model_build_tests::project::repository;
use serde_json::Value as Json;

use crate::tool::{Folder, MANIFEST};

#[test]
fn the_page_about_the_tool_is_what_the_tool_says() {
    let path = repository().join("docs/cli.md");
    let fresh = cli::docs();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &fresh).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == fresh,
        "docs/cli.md is stale; run `UPDATE_DOCS=1 cargo test -p model-build-tests --test cli`"
    );
}

#[test]
fn help_lists_every_exit_code_and_every_command_has_help() {
    let folder = Folder::empty();
    let help = folder.succeed(&["--help"]);
    let codes = help.split("Exit codes:").nth(1).unwrap();
    for code in ["0", "2", "3", "4", "5", "6", "7", "8", "70"] {
        assert!(codes.lines().any(|l| l.trim().starts_with(&format!("{code}  "))), "{code}");
    }
    let page = cli::docs();
    for line in help.split("Commands:").nth(1).unwrap().split("Options:").next().unwrap().lines() {
        let Some(name) = line.split_whitespace().next() else { continue };
        if name != "help" {
            folder.succeed(&[name, "--help"]);
            assert!(page.contains(&format!("\n## {name}\n")), "{name}");
        }
    }
    assert_eq!(
        folder.succeed(&["--version"]),
        format!("model-build {}\n", env!("CARGO_PKG_VERSION"))
    );
}

/// The fields of every event, from the page.
fn described() -> BTreeMap<String, BTreeSet<String>> {
    let page = cli::docs();
    let events = page.split("\n## JSON\n").nth(1).unwrap();
    let section = |text: &str| {
        let name = text.split('`').next().unwrap().to_owned();
        let rows = text.lines().filter_map(|l| l.strip_prefix("| `")?.split('`').next());
        (name, rows.map(str::to_owned).collect())
    };
    events.split("\n### `").skip(1).map(section).collect()
}

#[test]
fn every_event_is_described_and_has_the_fields_that_are_described() {
    let folder = Folder::project(MANIFEST);
    folder.copy(crate::checkpoint::LLAMA, "llama");
    let mut lines: Vec<Json> = Vec::new();
    let mut run = |args: &[&str]| {
        let (code, more) = folder.json(args);
        lines.extend(more);
        code
    };
    assert_eq!(run(&["plan"]), 0);
    assert_eq!(run(&["build"]), 0);
    assert_eq!(run(&["build", "--out", "made"]), 0);
    assert_eq!(run(&["why"]), 0);
    assert_eq!(run(&["convert", "model", "a.onnx"]), 0);
    assert_eq!(run(&["convert", "llama", "a.gguf", "--quantization", "q4_k_m"]), 0);
    assert_eq!(run(&["convert", "llama", "b.gguf", "--quantization", "q4_0", "--dry-run"]), 0);
    assert_eq!(run(&["inspect", "a.gguf"]), 0);
    assert_eq!(run(&["inspect", "model"]), 0);
    assert_eq!(run(&["inspect", "a.onnx"]), 0);
    assert_eq!(run(&["verify", "a.onnx", "a.onnx", "--runner", "rten", "--samples", "1"]), 0);
    let more = ["--layers", "--time", "--runs", "1", "--runner", "rten", "--samples", "1"];
    assert_eq!(run(&[&["verify", "a.onnx", "a.onnx"], &more[..]].concat()), 0);
    assert_eq!(run(&["report", "--no-layers"]), 0);
    assert_eq!(run(&["cache", "stats"]), 0);
    assert_eq!(run(&["cache", "gc"]), 0);
    assert_eq!(run(&["cache", "verify"]), 0);
    assert_eq!(run(&["doctor"]), 0);
    let absolute = folder.at("model");
    assert_eq!(run(&["init", "--source", absolute.to_str().unwrap(), "--name", "again"]), 0);
    assert_eq!(run(&["inspect", "none"]), 3);
    assert_eq!(run(&["cache", "clear"]), 0);
    let described = described();
    let mut seen = BTreeSet::new();
    for line in &lines {
        let name = line["event"].as_str().unwrap();
        let fields: BTreeSet<String> =
            line.as_object().unwrap().keys().filter(|k| *k != "event").cloned().collect();
        assert_eq!(Some(&fields), described.get(name), "{line}");
        seen.insert(name.to_owned());
    }
    let mut missing: Vec<_> = described.keys().filter(|name| !seen.contains(*name)).collect();
    missing.retain(|name| *name != "waiting"); // needs a second process at the right moment
    assert!(missing.is_empty(), "no command sent {missing:?}");
    let error = lines.iter().find(|l| l["event"] == "error").unwrap();
    assert_eq!((error["code"].as_u64(), error["kind"].as_str()), (Some(3), Some("source")));
}
