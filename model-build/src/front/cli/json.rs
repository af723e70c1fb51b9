//! `--message-format json`: one object a line on standard output, each described in [`EVENTS`].

use serde_json::{Value as Json, json};

use crate::error::Error;
use crate::execute::Event;
use crate::verify::Bounds;

/// An event and its fields, for `docs/cli.md`.
pub(super) struct EventDoc {
    pub(super) name: &'static str,
    /// When it is sent.
    pub(super) doc: &'static str,
    /// Each field's name and what it holds.
    pub(super) fields: &'static [(&'static str, &'static str)],
}

const JOB: (&str, &str) = ("job", "`MODEL.TARGET`, or the file that `convert` writes");
const STEP: (&str, &str) =
    ("step", "`convert`, `verify`, or `reference` for what an artifact is compared with");
const KEY: (&str, &str) = ("key", "the step's cache key, 64 hexadecimal digits");

/// Every event.
#[rustfmt::skip] // a table
pub(super) const EVENTS: &[EventDoc] = &[
    // What happens during the work.
    EventDoc { name: "hashed", doc: "Bytes of a source file or of a stored object were read to find or check a digest. A large file gives several of these.", fields: &[
        ("path", "the file"),
        ("bytes", "how many bytes were read"),
    ] },
    EventDoc { name: "reused", doc: "The result of a step was found in the cache.", fields: &[JOB, STEP, KEY] },
    EventDoc { name: "waiting", doc: "Another process is running the same step; this one waits for its result.", fields: &[JOB, STEP] },
    EventDoc { name: "started", doc: "A step is about to run.", fields: &[JOB, STEP, KEY,
        ("summary", "what it does, for people"),
    ] },
    EventDoc { name: "encoding", doc: "The tensors of an artifact that take long to make were looked for in the target's last artifact.", fields: &[JOB,
        ("encoded", "bytes of tensors that are computed"),
        ("reused", "bytes of tensors that are taken over"),
    ] },
    EventDoc { name: "progress", doc: "Bytes of an artifact were written. Sent at most ten times a second.", fields: &[JOB,
        ("done", "bytes written so far"),
        ("total", "bytes in all"),
    ] },
    EventDoc { name: "finished", doc: "A step has run.", fields: &[JOB, STEP,
        ("bytes", "bytes of its result"),
        ("seconds", "how long it took"),
    ] },
    EventDoc { name: "measured", doc: "The numbers of an accuracy check, measured now or read from the cache.", fields: &[JOB,
        ("measured", "`outputs` (for each output of the reference its `name`, `cosine`, `cosine_at`, `cosine_all`, `max_abs`, `max_abs_at`, `mean_abs`, `top1`, `topk`, `relative`, `kl`, `kl_worst`, `accuracy`, `elements`, `compared` and `nonfinite`, which counts NaN and infinities), `runner`, `level`, `samples`, `inputs`"),
        ("bounds", "`cosine`, `max_abs`, `mean_abs`, `top1`, `topk`, `snr`, `relative`, `kl` and `accuracy_drop` as the manifest or the flags give them, or null"),
    ] },
    EventDoc { name: "warning", doc: "Something a person should know.", fields: &[("message", "one line")] },
    EventDoc { name: "error", doc: "The command failed. This is the last line.", fields: &[
        ("kind", "the class of the error, a word per exit code"),
        ("code", "the exit code"),
        ("message", "one line, without place and advice"),
        ("model", "the model, or null"),
        ("target", "the target, or null"),
        ("step", "the step, or null"),
        ("file", "the file, or null"),
        ("item", "the tensor, node, key or offset in it, or null"),
        ("hints", "advice, a string each"),
        ("rendered", "the whole report as it is printed for people, without colours"),
    ] },
    // The results of the subcommands.
    EventDoc { name: "built", doc: "The result of `build`.", fields: &[
        ("artifacts", "for each its `model`, `target`, `manifest`, `key`, and `files` with `name`, `digest` (BLAKE3), `len` and `path`"),
        ("dir", "the folder that `--out` names, or null"),
    ] },
    EventDoc { name: "converted", doc: "The result of `convert`.", fields: &[
        ("dst", "the file that was asked for"),
        ("key", "the cache key"),
        ("files", "`name`, `digest` (BLAKE3), `len` and `path` of each file, the main one first"),
    ] },
    EventDoc { name: "dry-run", doc: "The result of `convert --dry-run`.", fields: &[
        ("tensors", "for each its `name`, `shape`, `from`, `to`, `bytes_before`, `bytes_after` and `why`"),
        ("bytes", "bytes of the files that would be written"),
        ("bpw", "mean number of bits per weight"),
    ] },
    EventDoc { name: "layers", doc: "A result of `verify --layers`.", fields: &[
        ("layers", "`layers` (for each value that both graphs compute its `name`, `op`, `becomes`, `cosine`, `relative`, `max_abs`, `blame`, `compared`, `nonfinite`), `other_shapes`, `runner`, `level`, `inputs`"),
    ] },
    EventDoc { name: "timed", doc: "A result of `verify --time`.", fields: &[
        ("costs", "`reference` and `artifact` (each `load`, `median`, `p95` and `fastest` in milliseconds, and `peak_bytes` or null), `runs`, `threads`, `runner`, `level`, `shapes`"),
    ] },
    EventDoc { name: "reported", doc: "A report was written, by `report` or `build --report`.", fields: &[
        ("path", "the file"),
        ("bytes", "its length"),
    ] },
    EventDoc { name: "planned", doc: "The result of `plan`.", fields: &[
        ("jobs", "for each its `model`, `target`, `manifest`, `stages`, and `steps` with `step`, `key`, `cached` and `ingredients`, pairs of name and value"),
    ] },
    EventDoc { name: "explained", doc: "The result of `why`.", fields: &[
        ("jobs", "for each its `job`, `manifest`, and `steps` with `step`, `key`, `cached`, `known` (whether an earlier build is remembered) and `changes` with `name`, `old` and `new`"),
    ] },
    EventDoc { name: "inspected", doc: "The result of `inspect`.", fields: &[
        ("format", "the format's name in manifests"),
        ("kind", "`checkpoint`, `graph` or `gguf`"),
        ("files", "the names of the files that belong to the model, the main one first"),
        ("parameters", "number of weights"),
        ("tensors", "for each its `name`, `dtype` and `shape`"),
        ("checkpoint", "null, or `model_type`, `architectures` and `assets`"),
        ("graph", "null, or `producer`, `ir_version`, `opsets`, `inputs`, `outputs`, `ops` (number of nodes by operator) and `metadata`"),
        ("metadata", "of a `gguf`: each key and its value as text, cut short"),
    ] },
    EventDoc { name: "cache-stats", doc: "The result of `cache stats`.", fields: &[
        ("root", "the folder"),
        ("bytes", "bytes of all objects"),
        ("objects", "number of objects"),
        ("records", "number of records"),
        ("temporary", "bytes of files that are being written, or that killed processes left"),
        ("writable", "whether the folder can be written"),
    ] },
    EventDoc { name: "cache-gc", doc: "The result of `cache gc`.", fields: &[
        ("records", "number of records dropped"),
        ("objects", "number of objects dropped"),
        ("freed", "bytes freed"),
        ("kept", "bytes kept"),
        ("in_use", "number of objects kept because a process uses them"),
    ] },
    EventDoc { name: "cache-verify", doc: "The result of `cache verify`.", fields: &[
        ("objects", "number of objects read"),
        ("bytes", "bytes read"),
        ("records", "number of records read"),
        ("dropped", "pairs of the path of what was damaged and why"),
    ] },
    EventDoc { name: "cache-clear", doc: "The result of `cache clear`.", fields: &[
        ("records", "number of records dropped"),
        ("objects", "number of objects dropped"),
        ("freed", "bytes freed"),
        ("in_use", "number of objects kept because a process uses them"),
    ] },
    EventDoc { name: "checked", doc: "The result of `doctor`.", fields: &[
        ("findings", "for each its `what`, `state` (`ok`, `note` or `fail`), `text` and `advice`"),
    ] },
    EventDoc { name: "declared", doc: "The result of `init`.", fields: &[
        ("model", "the model's name"),
        ("manifest", "the file that declares it"),
        ("changed", "every file that was written"),
        ("next", "what is left to do, a string each"),
    ] },
];

/// One line: the event's name, then its fields. `fields` is an object.
pub(super) fn line(event: &str, fields: &Json) -> String {
    debug_assert!(
        EVENTS.iter().any(|doc| doc.name == event),
        "the event `{event}` is not described"
    );
    let fields = fields.to_string();
    match fields.strip_prefix('{') {
        Some("}") | None => format!("{{\"event\":\"{event}\"}}"),
        Some(rest) => format!("{{\"event\":\"{event}\",{rest}"),
    }
}

/// An event of a build as a line.
pub(super) fn of_event(event: &Event<'_>) -> String {
    match event {
        Event::Hashed { path, bytes } => {
            line("hashed", &json!({ "path": path.to_string_lossy(), "bytes": bytes }))
        }
        Event::Reused { job, step, key } => {
            line("reused", &json!({ "job": job, "step": step, "key": key.to_string() }))
        }
        Event::Waiting { job, step } => line("waiting", &json!({ "job": job, "step": step })),
        Event::Started { job, step, key, summary } => line(
            "started",
            &json!({ "job": job, "step": step, "key": key.to_string(), "summary": summary }),
        ),
        Event::Progress { job, done, total } => {
            line("progress", &json!({ "job": job, "done": done, "total": total }))
        }
        Event::Finished { job, step, bytes, took } => line(
            "finished",
            &json!({ "job": job, "step": step, "bytes": bytes, "seconds": took.as_secs_f64() }),
        ),
        Event::Measured { job, measured, bounds } => line(
            "measured",
            &json!({ "job": job, "measured": measured, "bounds": of_bounds(bounds) }),
        ),
        Event::Encoding { job, encoded, reused } => {
            line("encoding", &json!({ "job": job, "encoded": encoded, "reused": reused }))
        }
        Event::Warning(text) => line("warning", &json!({ "message": text })),
    }
}

fn of_bounds(bounds: &Bounds) -> Json {
    json!({
        "cosine": bounds.cosine, "max_abs": bounds.max_abs, "mean_abs": bounds.mean_abs,
        "top1": bounds.top1, "topk": bounds.topk, "snr": bounds.snr, "relative": bounds.relative,
        "kl": bounds.kl, "accuracy_drop": bounds.accuracy_drop,
    })
}

/// An error as a line.
pub(super) fn of_error(error: &Error) -> String {
    let place = error.place();
    line(
        "error",
        &json!({
            "kind": error.kind().as_str(), "code": error.kind().exit_code(),
            "message": error.message(), "model": place.model, "target": place.target,
            "step": place.step, "file": place.file.as_ref().map(|f| f.to_string_lossy()), "item": place.item, "hints": error.hints(),
            "rendered": error.report(),
        }),
    )
}
