//! `model-build inspect`: what a model file or folder holds.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::{Value as Json, json};

use super::Context;
use super::convert::source;
use super::text::{count, size, table};
use crate::error::Result;
use crate::format;
use crate::fsx;
use crate::hub::{Checkpoint, Gguf, Graph, Hub, Meta, MetaArray, Tensor};
use crate::look;
use crate::record::Port;

#[derive(clap::Args)]
pub(super) struct Args {
    /// A checkpoint folder, a model file, or `ollama:NAME:TAG`
    path: PathBuf,
    /// Which of several state dicts in a PyTorch file to show: a path of keys, as `ema.state_dict`
    #[arg(long, value_name = "PATH")]
    state_dict: Option<String>,
    /// List every tensor
    #[arg(long)]
    tensors: bool,
    /// List every node
    #[arg(long)]
    nodes: bool,
}

pub(super) fn run(args: &Args, context: &mut Context) -> Result<()> {
    let facts = look::facts(&source(&args.path)?)?;
    let hub = format::read(facts.format, &facts.files, args.state_dict.as_deref())?;
    let bytes = facts.files.names.iter().map(|n| fsx::stat(&facts.files.path(n)).map(|s| s.len));
    let bytes: u64 = bytes.sum::<Result<u64>>()?;
    let files = format!("{} ({})", facts.files.names.join(", "), size(bytes));
    let mut rows = vec![row("format", facts.format.name), row("files", &files)];
    let mut fields = match &hub {
        Hub::Checkpoint(c) => checkpoint(c, args, &mut rows),
        Hub::Graph(g) => graph(g, args, &mut rows),
        Hub::Gguf(g) => gguf(g, args, &mut rows),
    };
    fields["format"] = facts.format.name.into();
    fields["files"] = facts.files.names.into();
    context.ui.result(&table(&rows), "inspected", &fields);
    Ok(())
}

fn row(name: &str, value: &str) -> Vec<String> {
    vec![name.to_owned(), value.to_owned()]
}

/// Counts and bytes by dtype: `f32 120 (90.9 MB)`.
fn by_dtype<'a>(tensors: impl Iterator<Item = &'a Tensor>) -> String {
    let mut sums: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for tensor in tensors {
        let sum = sums.entry(tensor.dtype().name()).or_default();
        *sum = (sum.0 + 1, sum.1.saturating_add(tensor.byte_len()));
    }
    let parts: Vec<String> =
        sums.iter().map(|(dtype, (n, bytes))| format!("{n} {dtype} ({})", size(*bytes))).collect();
    parts.join(", ")
}

fn tensor_rows<'a>(
    tensors: impl Iterator<Item = (&'a str, &'a Tensor)>,
    rows: &mut Vec<Vec<String>>,
) {
    for (name, tensor) in tensors {
        rows.push(row(&format!("  {name}"), &format!("{}{:?}", tensor.dtype(), tensor.shape())));
    }
}

fn tensor_json<'a>(tensors: impl Iterator<Item = (&'a str, &'a Tensor)>) -> Vec<Json> {
    tensors
        .map(|(name, t)| json!({ "name": name, "dtype": t.dtype().name(), "shape": t.shape() }))
        .collect()
}

fn checkpoint(c: &Checkpoint, args: &Args, rows: &mut Vec<Vec<String>>) -> Json {
    let model_type = c.config.get("model_type").and_then(Json::as_str).unwrap_or("unknown");
    let parameters: u64 = c.tensors.values().map(Tensor::len).sum();
    rows.push(row("model_type", model_type));
    if let Some(Json::Array(classes)) = c.config.get("architectures") {
        let names: Vec<&str> = classes.iter().filter_map(Json::as_str).collect();
        rows.push(row("architectures", &names.join(", ")));
    }
    rows.push(row("parameters", &parameters.to_string()));
    rows.push(row("tensors", &by_dtype(c.tensors.values())));
    if !c.assets.is_empty() {
        rows.push(row("assets", &c.assets.keys().cloned().collect::<Vec<_>>().join(", ")));
    }
    let tensors = || c.tensors.iter().map(|(n, t)| (n.as_str(), t));
    if args.tensors {
        tensor_rows(tensors(), rows);
    }
    json!({
        "kind": "checkpoint", "parameters": parameters, "tensors": tensor_json(tensors()),
        "checkpoint": {
            "model_type": c.config.get("model_type"),
            "architectures": c.config.get("architectures"),
            "assets": c.assets.keys().collect::<Vec<_>>(),
        },
        "graph": null, "metadata": null,
    })
}

fn gguf(g: &Gguf, args: &Args, rows: &mut Vec<Vec<String>>) -> Json {
    let parameters: u64 = g.tensors.iter().map(|(_, t)| t.len()).sum();
    rows.push(row("architecture", g.architecture().unwrap_or("unknown")));
    rows.push(row("parameters", &parameters.to_string()));
    let tensors = || g.tensors.iter().map(|(n, t)| (n.as_str(), t));
    rows.push(row("tensors", &by_dtype(tensors().map(|(_, t)| t))));
    for (key, value) in &g.metadata {
        rows.push(row(key, &short(value)));
    }
    if args.tensors {
        tensor_rows(tensors(), rows);
    }
    let metadata: serde_json::Map<String, Json> =
        g.metadata.iter().map(|(k, v)| (k.clone(), short(v).into())).collect();
    json!({
        "kind": "gguf", "parameters": parameters, "tensors": tensor_json(tensors()),
        "checkpoint": null, "graph": null, "metadata": metadata,
    })
}

/// A metadata value in one line of bounded length.
fn short(value: &Meta) -> String {
    let text = match value {
        Meta::U8(v) => v.to_string(),
        Meta::I8(v) => v.to_string(),
        Meta::U16(v) => v.to_string(),
        Meta::I16(v) => v.to_string(),
        Meta::U32(v) => v.to_string(),
        Meta::I32(v) => v.to_string(),
        Meta::U64(v) => v.to_string(),
        Meta::I64(v) => v.to_string(),
        // With a point or an exponent, unlike an integer.
        Meta::F32(v) => format!("{v:?}"),
        Meta::F64(v) => format!("{v:?}"),
        Meta::Bool(v) => v.to_string(),
        Meta::Text(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Meta::Array(array) => list(array),
    };
    cut(&text, 100)
}

/// An array: its values if they are few and short, else how many there are.
fn list(array: &MetaArray) -> String {
    fn values<T: std::fmt::Debug>(items: &[T], of: &str) -> String {
        if items.len() <= 8 { format!("{items:?}") } else { format!("[{} {of}]", items.len()) }
    }
    let counted = |n: usize, of| format!("[{}]", count(u64::try_from(n).unwrap_or(u64::MAX), of));
    match array {
        MetaArray::U8(v) => values(v, "u8"),
        MetaArray::I8(v) => values(v, "i8"),
        MetaArray::U16(v) => values(v, "u16"),
        MetaArray::I16(v) => values(v, "i16"),
        MetaArray::U32(v) => values(v, "u32"),
        MetaArray::I32(v) => values(v, "i32"),
        MetaArray::U64(v) => values(v, "u64"),
        MetaArray::I64(v) => values(v, "i64"),
        MetaArray::F32(v) => values(v, "f32"),
        MetaArray::F64(v) => values(v, "f64"),
        MetaArray::Bool(v) => values(v, "bool"),
        MetaArray::Text(v) => {
            let texts: Vec<_> = v.iter().take(9).map(|t| String::from_utf8_lossy(t)).collect();
            let all = values(&texts, "string");
            if v.len() <= 8 && all.len() <= 100 { all } else { counted(v.len(), "string") }
        }
        MetaArray::Array(v) => counted(v.len(), "array"),
    }
}

/// Text in one line of so many characters.
fn cut(text: &str, most: usize) -> String {
    let plain = |c: char| if c.is_control() && c != '\n' { '\u{fffd}' } else { c };
    let mut out: String = text.chars().take(most).map(plain).collect();
    if text.chars().nth(most).is_some() {
        out.push('…');
    }
    out.replace('\n', "\\n")
}

fn graph(g: &Graph, args: &Args, rows: &mut Vec<Vec<String>>) -> Json {
    let mut ops: BTreeMap<String, u64> = BTreeMap::new();
    for (_, node) in g.body.nodes() {
        let op = if node.domain.is_empty() {
            node.op.clone()
        } else {
            format!("{}::{}", node.domain, node.op)
        };
        *ops.entry(op).or_default() += 1;
    }
    let opsets: Vec<String> = g
        .opsets
        .iter()
        .map(|(d, v)| format!("{} {v}", if d.is_empty() { "ai.onnx" } else { d }))
        .collect();
    let (inputs, outputs) = Port::of(&g.body);
    let weights = || g.body.initializers().map(|(_, v, t)| (v.name.as_str(), t));
    let parameters: u64 = weights().map(|(_, t)| t.len()).sum();
    rows.push(row("producer", &format!("{} {}", g.producer, g.producer_version)));
    rows.push(row("ir version", &g.ir_version.to_string()));
    rows.push(row("opsets", &opsets.join(", ")));
    for (word, ports) in [("input", &inputs), ("output", &outputs)] {
        for p in ports {
            rows.push(row(word, &format!("{}: {}[{}]", p.name, p.dtype, p.dims.join(", "))));
        }
    }
    rows.push(row("parameters", &parameters.to_string()));
    rows.push(row("initializers", &by_dtype(weights().map(|(_, t)| t))));
    let counts: Vec<String> = ops.iter().map(|(op, n)| format!("{n} {op}")).collect();
    rows.push(row("nodes", &format!("{}: {}", g.body.nodes().count(), counts.join(", "))));
    for (key, value) in &g.metadata {
        rows.push(row(key, value));
    }
    if args.tensors {
        tensor_rows(weights(), rows);
    }
    if args.nodes {
        for (_, node) in g.body.nodes() {
            let name = |v: &Option<_>| v.map_or("-", |id| g.body.value(id).name.as_str());
            let list = |vs: &[Option<_>]| vs.iter().map(name).collect::<Vec<_>>().join(", ");
            rows.push(row(
                &format!("  {}", node.op),
                &format!("{} → {}", list(&node.inputs), list(&node.outputs)),
            ));
        }
    }
    json!({
        "kind": "graph", "parameters": parameters, "tensors": tensor_json(weights()),
        "checkpoint": null,
        "graph": {
            "producer": format!("{} {}", g.producer, g.producer_version).trim(),
            "ir_version": g.ir_version, "opsets": g.opsets, "inputs": inputs, "outputs": outputs,
            "ops": ops, "metadata": g.metadata,
        },
        "metadata": null,
    })
}
