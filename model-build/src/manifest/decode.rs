//! TOML tables → models and targets.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::calibration;
use super::graph::{optimization, shapes};
use super::integers::{self, integers};
use super::platform;
use super::reader::{Reader, Value};
use super::scaled;
use super::schema::Field;
use super::text::{printable, quoted, suggest};
use super::types::{
    BlockWeights, Embed, Goal, IntegerType, Model, Optimization, POOLING_WORDS, Precision,
    Quantization, QuantizationMethod, QuantizationType, Runner, Target, Verify, format_words,
    part_words, quantization_words, task_words,
};
use crate::arch::{Pooling, Task};
use crate::env;
use crate::error::{Error, Result};
use crate::format::{FormatDef, HubKind, ollama};
use crate::pass::Exclude;
use crate::recipe::{self, TensorType};

/// Oldest and newest version of ONNX's operator set that a target may ask for.
pub(super) const OPSETS: std::ops::RangeInclusive<i64> = crate::pass::opset::OPSETS;
/// Most synthetic samples of an accuracy check.
const MOST_SAMPLES: i64 = 4096;
/// Longest name of a model or target, in characters.
const LONGEST_NAME: usize = 64;

/// A model of a table of models. `base` is the folder that paths are relative to.
pub(super) fn model(entry: &Value<'_>, base: &Path) -> Result<Model> {
    let table = open_model(entry)?;
    if let Some(key) = table.get("workspace")? {
        let error = key.text.wrong(&key.key_spot, "`workspace` does not belong here", "not here");
        return Err(error.hint(
            "only a model in `[package.metadata.models]` of a Cargo.toml can be inherited from the workspace",
        ));
    }
    let source = source(table.require("source", "source = \"models/my-model\"")?, base)?;
    let targets = targets(&table, entry.key, base)?;
    let state_dict = table.read("state-dict", |v| v.line().map(str::to_owned))?;
    Ok(Model { name: entry.key.to_owned(), source, state_dict, targets })
}

/// A model that says `workspace = true`: the workspace's model of that name, given by `find`, with
/// the targets that stand here.
pub(super) fn inherited(
    entry: &Value<'_>,
    base: &Path,
    find: impl FnOnce(&Value<'_>) -> Result<Model>,
) -> Result<Model> {
    let table = open_model(entry)?;
    let key = table.require("workspace", "workspace = true")?;
    if !key.boolean()? {
        let error = key.wrong("`workspace` cannot be `false`", "only `true` is allowed");
        return Err(error.hint("leave the key out for a model that is declared here"));
    }
    if let Some(source) = table.get("source")? {
        let message = "an inherited model has no `source` of its own";
        let error = source.text.wrong(&source.key_spot, message, "the workspace gives it");
        return Err(error.hint(
            "remove this line, or remove `workspace = true` and declare the whole model here",
        ));
    }
    let mut model = find(key)?;
    if let Some(value) = table.get("targets")? {
        for own in value.entries("the targets")? {
            let clash = |target: &&Target| {
                target.name != own.key && folded(&target.name) == folded(own.key)
            };
            if let Some(other) = model.targets.iter().find(clash) {
                return Err(clashing(&own, &other.name));
            }
        }
        for target in targets(&table, entry.key, base)? {
            model.targets.retain(|inherited| inherited.name != target.name);
            model.targets.push(target);
        }
        model.targets.sort_by(|a, b| a.name.cmp(&b.name));
    }
    Ok(model)
}

fn open_model<'d>(entry: &Value<'d>) -> Result<Reader<'d>> {
    let header = format!("{}{}", entry.text.prefix, entry.key);
    Reader::open(entry, Model::KEYS, "in this model", |unknown| {
        let names: Vec<&str> = Model::KEYS.iter().map(|field| field.name).collect();
        if is_key(Target::KEYS, unknown.key) {
            let name = unknown.key;
            return Some(format!(
                "`{name}` is a key of a target: put it under `[{header}.targets.NAME]`"
            ));
        }
        if unknown.is_table() && suggest(unknown.key, &names).is_none() {
            let name = printable(unknown.key);
            return Some(format!("if it is a target, write `[{header}.targets.{name}]`"));
        }
        None
    })
}

/// The error for a model without targets.
pub(super) fn without_targets(entry: &Value<'_>) -> Error {
    let message = format!("the model {} has no targets", quoted(entry.key));
    entry.text.wrong(&entry.spot, &message, "nothing to build").hint(format!(
        "add what to make of it:\n\n    [{}{}.targets.app]\n    format = \"onnx\"",
        entry.text.prefix, entry.key
    ))
}

fn targets(table: &Reader<'_>, model: &str, base: &Path) -> Result<Vec<Target>> {
    let Some(value) = table.get("targets")? else { return Ok(Vec::new()) };
    let found = value.entries("the targets")?;
    check_names(&found, "target")?;
    let mut targets = Vec::new();
    for entry in found {
        targets.push(target(&entry, base).map_err(|e| e.target(model, entry.key))?);
    }
    targets.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(targets)
}

/// A target. `base` is the folder that paths are relative to.
pub(super) fn target(entry: &Value<'_>, base: &Path) -> Result<Target> {
    let table = Reader::open(entry, Target::KEYS, "in this target", |unknown| {
        let key = &*unknown.key.replace('_', "-");
        if is_key(Verify::KEYS, key) {
            return Some(format!("`{key}` is a key of `verify`: `verify = {{ {key} = … }}`"));
        }
        if is_key(Quantization::KEYS, key) {
            return Some(format!(
                "`{key}` is a key of `quantization`: `quantization = {{ {key} = … }}`"
            ));
        }
        if is_key(Optimization::KEYS, key) {
            return Some(format!(
                "`{key}` is a key of `optimization`: `optimization = {{ {key} = … }}`"
            ));
        }
        is_key(Model::KEYS, key)
            .then(|| format!("`{key}` is a key of the model: put it one table up"))
    })?;
    let target = Target {
        name: entry.key.to_owned(),
        format: table.require("format", "format = \"onnx\"")?.word(&format_words())?,
        opset_version: table.read("opset-version", |v| v.integer(OPSETS))?,
        precision: table.read("precision", precision)?,
        quantization: table.read("quantization", |v| quantization(v, base))?,
        calibration: table.read("calibration", |v| calibration::read(v, base))?,
        split_max_size: table.read("split-max-size", size)?,
        pre_tokenizer: table.read("pre-tokenizer", |v| v.line().map(str::to_owned))?,
        optimization: table.read("optimization", optimization)?.flatten(),
        shapes: table.read("shapes", shapes)?.unwrap_or_default(),
        task: table.read("task", |v| v.word(&task_words()))?,
        part: table.read("part", |v| v.word(&part_words()))?,
        pooling: table.read("pooling", |v| v.word(POOLING_WORDS))?,
        normalize: table.read("normalize", Value::boolean)?,
        verify: table.read("verify", |v| verify(v, base))?,
        embed: table.read("embed", |v| v.word(Embed::WORDS))?.unwrap_or_default(),
        when: table.read("when", platform::parse_when)?,
    };
    check_format(&table, &target)?;
    check_pooling(&table, &target)?;
    calibration::check(&table, &target)?;
    Ok(target)
}

/// Refuses keys that mean nothing to the format, whatever the source is.
fn check_format(table: &Reader<'_>, target: &Target) -> Result<()> {
    let FormatDef { name, holds, splits, .. } = target.format;
    let (graph, gguf) = (*holds == HubKind::Graph, *holds == HubKind::Gguf);
    let only_graph = "it is for graphs";
    let keys: &[(&'static str, bool, &str)] = &[
        ("task", graph, only_graph),
        ("part", graph, only_graph),
        ("pooling", graph, only_graph),
        ("normalize", graph, only_graph),
        ("opset-version", graph, only_graph),
        ("optimization", graph, only_graph),
        ("shapes", graph, only_graph),
        ("calibration", graph, only_graph),
        ("verify", graph, "it runs the graph, and this artifact is none"),
        ("pre-tokenizer", gguf, "it is for GGUF models"),
        ("split-max-size", *splits, "this format is not split"),
        ("quantization", graph || gguf, "this format holds plain tensors"),
    ];
    for (key, fits, why) in keys {
        if let (false, Some(value)) = (fits, table.get(key)?) {
            let message = format!("`{key}` has no place where `format` is \"{name}\": {why}");
            let error = value.text.wrong(&value.key_spot, &message, "has no effect");
            return Err(match *key {
                "quantization" => error.hint("set `precision`, or `format = \"gguf\"`"),
                _ => error.hint(format!("remove `{key}`, or change `format`")),
            });
        }
    }
    let (Some(value), Some(quantization)) = (table.get("quantization")?, &target.quantization)
    else {
        return Ok(());
    };
    if graph && quantization.weights.is_some() {
        let error = value.wrong(
            "`quantization` names block types of GGUF files, and this target is a graph",
            "not for graphs",
        );
        return Err(error.hint("write `quantization = \"int8\"`, or `format = \"gguf\"`"));
    }
    if gguf && quantization.weights.is_none() {
        let error = value.wrong(
            &format!(
                "`{}` is for graphs, and this target is a GGUF model",
                quantization.integer.name()
            ),
            "not for GGUF models",
        );
        return Err(error.hint("write `quantization = \"q8_0\"` or another block type"));
    }
    if let (true, Some(value)) = (gguf, table.get("precision")?) {
        let message =
            "`precision` and `quantization` are both given: a GGUF model has one file type";
        let error = value.text.wrong(&value.key_spot, message, "one too many");
        return Err(error.hint(
            "remove `precision`; single tensors get another type by `quantization.overrides`",
        ));
    }
    Ok(())
}

/// Pooling and normalization belong to feature extraction, and normalization to a pooled vector.
fn check_pooling(table: &Reader<'_>, target: &Target) -> Result<()> {
    let pools = target.pooling.is_some_and(|pooling| pooling != Pooling::None);
    let normalizes = target.normalize == Some(true);
    if let Some(task) = target.task
        && task != Task::FeatureExtraction
    {
        for (asked, key) in [(pools, "pooling"), (normalizes, "normalize")] {
            if let (true, Some(value)) = (asked, table.get(key)?) {
                let message = format!("the task `{}` has no `{key}`", task.name());
                return Err(value
                    .wrong(&message, "only for feature-extraction")
                    .hint(format!("remove `{key}`, or set `task = \"feature-extraction\"`")));
            }
        }
    }
    if let (true, Some(Pooling::None), Some(value)) =
        (normalizes, target.pooling, table.get("normalize")?)
    {
        let error =
            value.wrong("without pooling there is nothing to normalize", "no pooled vector");
        return Err(error.hint("set `pooling = \"mean\"` or `pooling = \"cls\"`"));
    }
    Ok(())
}

fn is_key(fields: &[Field], key: &str) -> bool {
    fields.iter().any(|field| field.name == key)
}

fn source(value: &Value<'_>, base: &Path) -> Result<PathBuf> {
    let text = value.line()?;
    if let Some(name) = text.strip_prefix("ollama:") {
        return ollama_source(name).map_err(|e| match value.wrong(e.message(), "not usable") {
            error if e.hints().is_empty() => error,
            error => error.hint(e.hints().join("; ")),
        });
    }
    let remote = ["hf:", "https:", "http:"];
    if let Some(scheme) = remote.iter().find(|scheme| text.starts_with(*scheme)) {
        let error = value.text.later(&value.spot, &format!("a source from `{scheme}`"));
        return Err(error.hint(
            "download the model and give its folder or file: `source = \"models/my-model\"`",
        ));
    }
    if let Some((scheme, _)) = text.split_once("://") {
        let error =
            value.wrong(&format!("there is no source scheme {}", quoted(scheme)), "unknown scheme");
        return Err(error.hint("give a folder or file: `source = \"models/my-model\"`"));
    }
    path(value, base)
}

/// The manifest of a model in the store of Ollama.
pub fn ollama_source(name: &str) -> Result<PathBuf> {
    let root = env::ollama_models().ok_or_else(|| {
        Error::source_missing("the store of Ollama is not known: no home folder is set")
            .hint("name the store's folder in OLLAMA_MODELS")
    })?;
    ollama::manifest_path(&root, name)
}

/// A number of bytes with its unit.
fn size(value: &Value<'_>) -> Result<u64> {
    recipe::parse_size(value.line()?).map_err(|e| {
        value.wrong(e.message(), "not a size").hint("write a number and a unit: `\"4.5GiB\"`")
    })
}

/// A path relative to the manifest's folder.
pub(super) fn path(value: &Value<'_>, base: &Path) -> Result<PathBuf> {
    let text = value.line()?;
    if text == "~" || text.starts_with("~/") {
        let error = value.wrong("`~` is not expanded in paths", "a shell's word");
        return Err(
            error.hint("write a path relative to the manifest's folder, or an absolute one")
        );
    }
    Ok(base.join(text))
}

fn precision(value: &Value<'_>) -> Result<Precision> {
    if value.is_table() {
        let error = value.text.later(&value.key_spot, "a precision per tensor pattern");
        return Err(error.hint("give one precision for the whole graph: `precision = \"fp16\"`"));
    }
    if let Ok(text) = value.text()
        && quantization_words().iter().any(|word| word.name == text)
        && Precision::WORDS.iter().all(|word| word.name != text)
    {
        let error = value.wrong(&format!("`{text}` is no floating-point type"), "not a precision");
        return Err(error.hint(format!("for integer weights write `quantization = \"{text}\"`")));
    }
    value.word(Precision::WORDS)
}

/// The type of weights: any spelling of a file type, or `int8`.
fn quantization_type(value: &Value<'_>) -> Result<QuantizationType> {
    if let Ok(text) = value.text()
        && let Ok(file) = recipe::by_name(text)
    {
        return Ok(QuantizationType::File(file));
    }
    value.word(&quantization_words())
}

/// A type that a tensor of a GGUF model may get.
fn tensor_type(value: &Value<'_>) -> Result<TensorType> {
    TensorType::by_name(value.text()?)
        .map_err(|e| value.wrong(e.message(), "unknown type").hint(e.hints().join("; ")))
}

fn quantization(value: &Value<'_>, base: &Path) -> Result<Quantization> {
    if !value.is_table() {
        return Ok(match quantization_type(value)? {
            QuantizationType::Integer(ty) => integers(None, ty, None)?,
            QuantizationType::File(file) => blocks(BlockWeights::plain(file)),
        });
    }
    let table = Reader::open(value, Quantization::KEYS, "in this table", |_| None)?;
    let method = table.read("method", |v| v.word(QuantizationMethod::WORDS))?;
    let goal = match goal(&table)? {
        Kind::Integer(ty) => return integers(Some(&table), ty, method),
        Kind::Blocks(goal) => goal,
    };
    refuse(&table, GRAPH_ONLY, "is for graphs")?;
    refuse(&table, integers::KEYS, "is for graphs")?;
    refuse(&table, scaled::KEYS, "is for graphs")?;
    if !matches!(goal, Goal::FileType(_)) {
        refuse(&table, RULES_ONLY, "does not go with a target size")?;
    }
    let weights = method.is_none_or(|method| method == QuantizationMethod::WeightOnly);
    if let (false, Some(value)) = (weights, table.get("method")?) {
        let error = value.wrong("block types hold weights only", "not for this type");
        return Err(error.hint("remove `method`, or set it to \"weight-only\""));
    }
    let mut overrides = Vec::new();
    if let Some(value) = table.get("overrides")? {
        for entry in value.entries("in these overrides")? {
            let to = tensor_type(&entry)?;
            recipe::Override::new(entry.key, to.name()).map_err(|e| {
                let error = entry.text.wrong(&entry.key_spot, e.message(), "not a pattern");
                error.hint(e.hints().join("; "))
            })?;
            overrides.push((entry.key.to_owned(), to));
        }
    }
    Ok(blocks(BlockWeights {
        goal,
        pure: table.read("pure", Value::boolean)?.unwrap_or(false),
        overrides,
        output: table.read("output-type", tensor_type)?,
        embedding: table.read("embedding-type", tensor_type)?,
        importance: table.read("importance", |v| path(v, base))?,
        requantize: table.read("requantize", Value::boolean)?.unwrap_or(false),
    }))
}

/// Keys of `quantization` that only GGUF models have, and those that only graphs have.
pub(super) const GGUF_ONLY: &[&str] =
    &["pure", "output-type", "embedding-type", "importance", "requantize"];
const GRAPH_ONLY: &[&str] = &["activations", "range", "exclude"];
/// Keys that change a file type's rules: where a size decides, there are none.
const RULES_ONLY: &[&str] = &["pure", "output-type", "embedding-type", "requantize"];

pub(super) fn refuse(table: &Reader<'_>, keys: &[&'static str], why: &str) -> Result<()> {
    for key in keys {
        if let Some(value) = table.get(key)? {
            let message = format!("`{key}` {why}");
            let error = value.text.wrong(&value.key_spot, &message, "has no effect");
            return Err(error.hint(format!("remove `{key}`")));
        }
    }
    Ok(())
}

/// What a quantization is of.
enum Kind {
    /// The weights of a graph.
    Integer(IntegerType),
    /// The tensors of a GGUF model: what decides their types.
    Blocks(Goal),
}

fn goal(table: &Reader<'_>) -> Result<Kind> {
    let size = table.read("target-size", size)?.map(Goal::Size);
    let bits = table.read("target-bpw", |v| v.number(0.5..=32.0))?.map(Goal::Bpw);
    match (size, bits, table.get("type")?) {
        (None, None, _) => match quantization_type(table.require("type", "type = \"q4_k_m\"")?)? {
            QuantizationType::Integer(ty) => Ok(Kind::Integer(ty)),
            QuantizationType::File(file) => Ok(Kind::Blocks(Goal::FileType(file))),
        },
        (Some(goal), None, None) | (None, Some(goal), None) => Ok(Kind::Blocks(goal)),
        (_, _, Some(value)) => {
            let message = "`type` and a target size are both given";
            let error = value.text.wrong(&value.key_spot, message, "decides the types already");
            Err(error.hint("remove `type`: the size decides which type each tensor gets"))
        }
        (Some(_), Some(_), None) => {
            let value = table.require("target-bpw", "target-bpw = 4.25")?;
            let message = "`target-size` and `target-bpw` are both given";
            Err(value.text.wrong(&value.key_spot, message, "one too many").hint("remove one"))
        }
    }
}

/// Patterns of nodes.
pub(super) fn exclude(value: &Value<'_>) -> Result<Vec<String>> {
    let items = value.lines()?;
    for item in &items {
        Exclude::new([item.line()?])
            .map_err(|e| item.wrong(e.message(), "not a pattern").hint(e.hints().join("; ")))?;
    }
    items.iter().map(|item| item.line().map(str::to_owned)).collect()
}

fn blocks(weights: BlockWeights) -> Quantization {
    Quantization {
        weights: Some(weights),
        integer: IntegerType::default(),
        weight_only: None,
        scaled: None,
        overrides: Vec::new(),
        method: QuantizationMethod::WeightOnly,
        activations: None,
        range: None,
        exclude: Vec::new(),
    }
}

fn verify(value: &Value<'_>, base: &Path) -> Result<Verify> {
    let table = Reader::open(value, Verify::KEYS, "in this table", |_| None)?;
    let defaults = Verify::default();
    let inputs = table.read("inputs", |v| path(v, base))?;
    if inputs.is_some() {
        for key in ["samples", "seed"] {
            if let Some(value) = table.get(key)? {
                let message = format!("`{key}` is for synthetic inputs, and `inputs` names a file");
                let error = value.text.wrong(&value.key_spot, &message, "has no effect");
                return Err(error.hint(format!("remove `{key}` or `inputs`")));
            }
        }
    }
    let labels = table.get("labels")?;
    if let (Some(value), None) = (&labels, &inputs) {
        let message = "`labels` names a tensor in the file of `inputs`, and there is none";
        let error = value.text.wrong(&value.key_spot, message, "has no effect");
        return Err(error.hint("add `inputs = \"FILE.safetensors\"`, or remove `labels`"));
    }
    if let (Some(value), None) = (table.get("accuracy-drop")?, &labels) {
        let message = "`accuracy-drop` is counted against `labels`, and there are none";
        let error = value.text.wrong(&value.key_spot, message, "has no effect");
        return Err(error.hint("add `inputs` and `labels`, or remove `accuracy-drop`"));
    }
    let positive = 0.0..=f64::INFINITY;
    Ok(Verify {
        cosine: table.read("cosine", |v| v.number(-1.0..=1.0))?,
        max_abs: table.read("max-abs", |v| v.number(positive.clone()))?,
        mean_abs: table.read("mean-abs", |v| v.number(positive.clone()))?,
        top1: table.read("top1", |v| v.number(0.0..=1.0))?,
        topk: table.read("topk", |v| v.number(0.0..=1.0))?,
        snr: table.read("snr", |v| v.number(-1000.0..=1000.0))?,
        relative: table.read("relative", |v| v.number(positive.clone()))?,
        kl: table.read("kl", |v| v.number(positive.clone()))?,
        accuracy_drop: table.read("accuracy-drop", |v| v.number(0.0..=1.0))?,
        k: table
            .read("k", |v| v.integer(1..=1000))?
            .and_then(|n| u32::try_from(n).ok())
            .unwrap_or(defaults.k),
        labels: table.read("labels", |v| v.line().map(str::to_owned))?,
        runner: table.read("runner", |v| v.word(Runner::WORDS))?.unwrap_or_default(),
        inputs,
        samples: table
            .read("samples", |v| v.integer(1..=MOST_SAMPLES))?
            .and_then(|n| u32::try_from(n).ok())
            .unwrap_or(defaults.samples),
        seed: table
            .read("seed", |v| v.integer(0..=i64::MAX))?
            .map_or(defaults.seed, i64::unsigned_abs),
    })
}

/// Checks the names of models, or of one model's targets: they become names of files and types.
pub(super) fn check_names(entries: &[Value<'_>], what: &str) -> Result<()> {
    const RESERVED: &[&str] = &["con", "prn", "aux", "nul", "self", "super", "crate"];
    let mut seen: BTreeMap<String, &str> = BTreeMap::new();
    for entry in entries {
        let name = entry.key;
        let wrong = |why: &str| {
            let message = format!("{} cannot be the name of a {what}", quoted(name));
            let error = entry.text.wrong(&entry.key_spot, &message, why);
            error.hint("a name is a letter, then letters, digits, `-` or `_`; at most 64 in all")
        };
        let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if !name.starts_with(|c: char| c.is_ascii_alphabetic()) {
            return Err(wrong("does not start with a letter"));
        }
        if let Some(c) = name.chars().find(|c| !allowed(*c)) {
            return Err(wrong(&format!("`{}` is not allowed", c.escape_debug())));
        }
        if name.len() > LONGEST_NAME {
            return Err(wrong("too long"));
        }
        let folded = folded(name);
        let device = |stem| {
            let digit = folded.strip_prefix(stem).filter(|rest| rest.len() == 1);
            digit.is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
        };
        if RESERVED.contains(&folded.as_str()) || device("com") || device("lpt") {
            return Err(wrong("reserved by Rust or by Windows"));
        }
        if let Some(other) = seen.insert(folded, name) {
            return Err(clashing(entry, other));
        }
    }
    Ok(())
}

/// A name without what Rust identifiers and case-insensitive file systems do not tell apart.
fn folded(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

fn clashing(entry: &Value<'_>, other: &str) -> Error {
    let message = format!("the names {} and {} are too alike", quoted(entry.key), quoted(other));
    let error = entry.text.wrong(&entry.key_spot, &message, "the same Rust identifier or file");
    error.hint("rename one: names differ in more than case, `-` and `_`")
}
