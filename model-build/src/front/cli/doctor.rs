//! `model-build doctor`: what is here, and what to do about the rest.

use serde_json::json;

use super::report::{nice, size, table};
use super::{Context, probe, shown};
use crate::verify::{self, RunnerChoice};

struct Finding {
    what: &'static str,
    state: &'static str,
    text: String,
    advice: &'static str,
}

pub(super) fn run(context: &Context) {
    let findings = [
        library(),
        runner(
            "ONNX Runtime",
            RunnerChoice::OnnxRuntime,
            "verifies any ONNX graph: set ORT_DYLIB_PATH to libonnxruntime (the Python package `onnxruntime` carries it)",
        ),
        runner("rten", RunnerChoice::Rten, "build the tool with the feature `rten`"),
        cache(context),
        program("trtexec", "--help", "only for TensorRT engines; comes with TensorRT"),
        program("xcrun", "--version", "only for compiled CoreML models; comes with Xcode on macOS"),
        program(
            "cargo",
            "--version",
            "install Rust: `build` and `plan` read workspaces through cargo",
        ),
    ];
    let rows: Vec<Vec<String>> = findings
        .iter()
        .map(|f| {
            let text = if f.state == "ok" {
                f.text.clone()
            } else {
                format!("{} → {}", f.text, f.advice)
            };
            vec![format!("[{}]", f.state), f.what.to_owned(), text]
        })
        .collect();
    let objects: Vec<_> = findings
        .iter()
        .map(|f| json!({ "what": f.what, "state": f.state, "text": f.text, "advice": f.advice }))
        .collect();
    context.ui.result(&table(&rows), &json!({ "event": "doctor", "findings": objects }));
}

fn library() -> Finding {
    let level = env!("MODEL_BUILD_OPT_LEVEL");
    Finding {
        what: "model-build",
        state: if level == "0" { "slow" } else { "ok" },
        text: format!("{}, compiled at opt-level {level}", env!("CARGO_PKG_VERSION")),
        advice: "install with `cargo install`, which optimizes",
    }
}

fn runner(what: &'static str, choice: RunnerChoice, advice: &'static str) -> Finding {
    match verify::runner_identity(choice) {
        Ok(identity) => Finding { what, state: "ok", text: identity, advice },
        Err(error) => {
            let text = format!("{} (ORT_DYLIB_PATH: {})", error.message(), shown("ORT_DYLIB_PATH"));
            Finding { what, state: "none", text, advice }
        }
    }
}

fn cache(context: &Context) -> Finding {
    let advice = "name a writable folder in MODEL_BUILD_CACHE";
    let found = context.store().map(|store| {
        let stats = store.stats();
        format!("{}, {} in {} objects", nice(store.root()), size(stats.bytes), stats.objects)
    });
    match found {
        Ok(text) => Finding { what: "cache", state: "ok", text, advice },
        Err(error) => Finding { what: "cache", state: "fail", text: error.to_string(), advice },
    }
}

fn program(name: &'static str, flag: &str, advice: &'static str) -> Finding {
    match probe(name, flag) {
        Some(text) => Finding { what: name, state: "ok", text, advice },
        None => Finding { what: name, state: "none", text: "not on PATH".to_owned(), advice },
    }
}
