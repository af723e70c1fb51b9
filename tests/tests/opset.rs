//! Conversion between operator sets, judged by ONNX Runtime on ONNX's own node tests.
//!
//! Each model is converted to every version that can express it and must give what the original gives.
//! Where a conversion is refused because an input would have to be a constant, the case runs a second
//! time with all inputs but the first made constants (`NAME+constants`).
#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::panic)] // a test suite
#![allow(clippy::print_stderr, clippy::print_stdout)] // the numbers are what it is for

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use model_build::format::onnx;
use model_build::hub::{AttrValue, Graph, Node, Tensor, Type};
use model_build::pass::opset::{self, OPSETS, Refusal};
use model_build_tests::node_tests::{self, Case, Given};
use model_build_tests::onnxruntime::{self, Level, OnnxRuntime};
use rayon::prelude::*;

/// What became of one case at one target.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    /// Equal outputs.
    Equal,
    /// The target cannot express the model.
    Refused(Refusal, String),
    /// ONNX Runtime has the operator, and no code for this version and type of it.
    NoKernel(String),
    /// Anything else.
    Failed(String),
}

/// A model with the values it is fed and what ONNX Runtime makes of them.
struct Source {
    name: String,
    graph: Graph,
    feed: Vec<(String, Given)>,
    want: Vec<Given>,
    relative: f64,
    absolute: f64,
}

/// The inputs that a caller feeds: those that are no initializers.
fn feed(graph: &Graph, inputs: Vec<Given>) -> Vec<(String, Given)> {
    let body = &graph.body;
    let names = body.inputs().iter().map(|id| body.value(*id).name.clone());
    names.zip(inputs).collect()
}

/// Reads a case and runs it as it is; the text says why it takes no part.
fn source(runtime: &OnnxRuntime, folder: &Path) -> Result<Source, String> {
    let Case { name, model, inputs, outputs, relative, absolute } = node_tests::read(folder)?;
    let graph = onnx::from_bytes(&model).map_err(|e| format!("not read: {}", e.message()))?;
    if !OPSETS.contains(&graph.opset()) {
        return Err("no operator set from 7 on".to_owned());
    }
    let feed = feed(&graph, inputs);
    let ports = graph.body.inputs().iter().chain(graph.body.outputs());
    if ports.map(|id| &graph.body.value(*id).ty).any(|ty| matches!(ty, Some(Type::Optional(_)))) {
        return Err("optional inputs or outputs".to_owned());
    }
    let run = || node_tests::run(runtime, Level::None, &model, &feed);
    let want = run().map_err(|e| short(&e))?;
    if node_tests::difference(&run().unwrap(), &want, 0.0, 0.0).is_some() {
        return Err("random outputs".to_owned());
    }
    // What ONNX Runtime itself computes otherwise than ONNX's reference is held to ONNX Runtime alone.
    let (relative, absolute) =
        if node_tests::difference(&want, &outputs, relative, absolute).is_none() {
            (relative, absolute)
        } else {
            (1e-3, 1e-6)
        };
    Ok(Source { name, graph, feed, want, relative, absolute })
}

/// The same with all inputs but the first as constants.
fn frozen(source: &Source) -> Source {
    let mut graph = source.graph.clone();
    let mut feed = Vec::new();
    let mut constants = BTreeMap::new();
    for (i, (name, given)) in source.feed.iter().enumerate() {
        match given {
            Given::Tensor(tensor) if i > 0 => {
                constants.insert(name.clone(), tensor.clone());
            }
            _ => feed.push((name.clone(), given.clone())),
        }
    }
    freeze(&mut graph, &constants);
    Source {
        name: format!("{}+constants", source.name),
        graph,
        feed,
        want: source.want.clone(),
        ..*source
    }
}

/// Gives inputs a constant's value: a `Constant` node under a name of its own feeds their uses.
fn freeze(graph: &mut Graph, constants: &BTreeMap<String, Tensor>) {
    let mut edit = graph.edit();
    for (name, tensor) in constants {
        let id = edit.body().find(name).unwrap();
        let value = edit.value(&format!("{name}_constant"), None).unwrap();
        edit.replace_uses(id, value).unwrap();
        let node =
            Node::new("Constant", &[], &[value]).with("value", AttrValue::Tensor(tensor.clone()));
        edit.add(node).unwrap();
    }
    edit.finish().unwrap();
}

fn short(text: &str) -> String {
    text.lines().next().unwrap_or_default().chars().take(160).collect()
}

fn convert(runtime: &OnnxRuntime, source: &Source, to: i64) -> Outcome {
    let mut graph = source.graph.clone();
    if let Err(e) = opset::convert(&mut graph, to) {
        return match opset::refusal(&e) {
            Some(kind) => Outcome::Refused(kind, short(&e.to_string())),
            None => Outcome::Failed(e.to_string()),
        };
    }
    assert_eq!(graph.opset(), to);
    let bytes = match onnx::to_bytes(&graph) {
        Ok(bytes) => bytes,
        Err(e) => return Outcome::Failed(format!("not written: {e}")),
    };
    if let Ok(folder) = std::env::var("OPSET_KEEP") {
        let path = format!("{folder}/{}@{to}.onnx", source.name);
        std::fs::write(path, &bytes).unwrap();
    }
    match node_tests::run(runtime, Level::None, &bytes, &source.feed) {
        Err(e)
            if e.contains("NOT_IMPLEMENTED") || e.contains("Could not find an implementation") =>
        {
            Outcome::NoKernel(e)
        }
        Err(e) => Outcome::Failed(short(&e)),
        Ok(got) => {
            match node_tests::difference(&got, &source.want, source.relative, source.absolute) {
                Some(found) => Outcome::Failed(found),
                None => Outcome::Equal,
            }
        }
    }
}

/// All outcomes of a folder's case: (case, source's opset, target, outcome).
fn outcomes(runtime: &OnnxRuntime, folder: &Path) -> Result<Vec<(String, i64, Outcome)>, String> {
    let source = source(runtime, folder)?;
    let constants = (source.feed.len() > 1).then(|| frozen(&source)).filter(|frozen| {
        let bytes = onnx::to_bytes(&frozen.graph).unwrap();
        node_tests::run(runtime, Level::None, &bytes, &frozen.feed).is_ok_and(|got| {
            node_tests::difference(&got, &source.want, source.relative, source.absolute).is_none()
        })
    });
    let mut out = Vec::new();
    for to in OPSETS {
        let outcome = convert(runtime, &source, to);
        let again = matches!(outcome, Outcome::Refused(Refusal::NotConstant, _));
        out.push((source.name.clone(), to, outcome));
        if let Some(frozen) = constants.as_ref().filter(|_| again) {
            out.push((frozen.name.clone(), to, convert(runtime, frozen, to)));
        }
    }
    Ok(out)
}

/// One line of the list of pairs that are known to differ: `case opsets reason`.
fn ignored() -> Vec<(String, BTreeSet<i64>, String)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/opset/ignored.txt");
    let text = std::fs::read_to_string(path).unwrap();
    text.lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| {
            let mut words = line.splitn(3, ' ');
            let name = words.next().unwrap().to_owned();
            let (first, last) = words.next().unwrap().split_once("..").unwrap();
            let reason = words.next().expect("every entry has a reason").to_owned();
            (name, (first.parse().unwrap()..=last.parse().unwrap()).collect(), reason)
        })
        .collect()
}

#[test]
fn node_tests_give_the_same_at_every_opset_that_can_express_them() {
    let Some(root) = std::env::var_os("ONNX_NODE_TESTS").map(PathBuf::from) else {
        eprintln!("skipped: ONNX_NODE_TESTS is not set; see scripts/fetch-oracles.sh");
        return;
    };
    let Some(runtime) = onnxruntime::find() else { return };
    let only = std::env::var("OPSET_ONLY").ok();
    let folders: Vec<PathBuf> = node_tests::folders(&root)
        .into_iter()
        .filter(|f| only.as_ref().is_none_or(|o| f.to_string_lossy().contains(o.as_str())))
        .collect();
    let results: Vec<_> = folders.par_iter().map(|folder| outcomes(&runtime, folder)).collect();

    let mut tally = Tally::default();
    results.into_iter().for_each(|result| tally.add(result));
    tally.print();
    assert!(tally.hidden.is_empty(), "ignored, and they pass: {:?}", tally.hidden);
    if only.is_none() {
        let unused: Vec<_> =
            tally.ignored.iter().filter(|(name, ..)| !tally.used.contains(name)).collect();
        assert!(unused.is_empty(), "ignored, and there is no such failure: {unused:?}");
    }
    assert!(tally.unexpected.is_empty(), "{} pairs differ", tally.unexpected.len());
}

/// What became of all pairs.
struct Tally {
    ignored: Vec<(String, BTreeSet<i64>, String)>,
    /// Why cases take no part.
    apart: BTreeMap<String, usize>,
    /// By target: equal, failed, without a kernel, refused by kind.
    table: BTreeMap<i64, [usize; 8]>,
    kernels: BTreeMap<String, usize>,
    refused: BTreeMap<String, usize>,
    /// Failures that the list does not name.
    unexpected: Vec<String>,
    /// Pairs that the list names and that are equal.
    hidden: Vec<String>,
    /// Cases of the list that failed.
    used: BTreeSet<String>,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            ignored: ignored(),
            apart: BTreeMap::new(),
            table: BTreeMap::new(),
            kernels: BTreeMap::new(),
            refused: BTreeMap::new(),
            unexpected: Vec::new(),
            hidden: Vec::new(),
            used: BTreeSet::new(),
        }
    }
}

impl Tally {
    fn add(&mut self, case: Result<Vec<(String, i64, Outcome)>, String>) {
        match case {
            Ok(outcomes) => outcomes.into_iter().for_each(|(n, to, o)| self.pair(&n, to, o)),
            Err(why) => {
                let no_kernel = why.contains("Could not find an implementation");
                let kind = if no_kernel { "ONNX Runtime has no kernel" } else { &why };
                *self.apart.entry(kind.to_owned()).or_default() += 1;
            }
        }
    }

    fn pair(&mut self, name: &str, to: i64, outcome: Outcome) {
        let row = self.table.entry(to).or_default();
        let listed = self.ignored.iter().any(|(n, at, _)| n == name && at.contains(&to));
        match outcome {
            Outcome::Equal => {
                row[0] += 1;
                if listed {
                    self.hidden.push(format!("{name}@{to}"));
                }
            }
            Outcome::Failed(why) => {
                row[1] += 1;
                if listed {
                    self.used.insert(name.to_owned());
                } else {
                    self.unexpected.push(format!("{name}@{to}: {why}"));
                }
            }
            Outcome::NoKernel(why) => {
                row[2] += 1;
                let op = why.split("implementation for ").nth(1).unwrap_or(&why);
                let op = op.split(' ').next().unwrap_or(op);
                *self.kernels.entry(op.to_owned()).or_default() += 1;
            }
            Outcome::Refused(kind, why) => {
                row[3 + Refusal::ALL.iter().position(|k| *k == kind).unwrap()] += 1;
                let why = why.split(": ").nth(1).unwrap_or(&why);
                let why = why.split(" (node").next().unwrap_or(why);
                *self.refused.entry(format!("{kind}: {why}")).or_default() += 1;
            }
        }
    }

    fn print(&self) {
        list("cases that take no part", &self.apart, usize::MAX);
        list("refusals", &self.refused, 60);
        list("no kernel in ONNX Runtime", &self.kernels, 25);
        let kinds: Vec<_> = Refusal::ALL.iter().map(ToString::to_string).collect();
        println!(" opset  equal   fail    rate no kernel | refused: {}", kinds.join(", "));
        let mut sum = [0usize; 2];
        for (to, row) in &self.table {
            sum[0] += row[0];
            sum[1] += row[1];
            println!(
                "{to:>6} {:>6} {:>6} {:>6.2}% {:>9} | {:?}",
                row[0],
                row[1],
                rate(row[0], row[1]),
                row[2],
                &row[3..]
            );
        }
        println!(
            "all pairs: {} of {} equal ({:.2}%)",
            sum[0],
            sum[0] + sum[1],
            rate(sum[0], sum[1])
        );
        self.unexpected.iter().for_each(|line| println!("FAILED {line}"));
    }
}

fn list(title: &str, counts: &BTreeMap<String, usize>, most: usize) {
    println!("{title}:");
    let mut counts: Vec<_> = counts.iter().collect();
    counts.sort_by_key(|(_, n)| std::cmp::Reverse(**n));
    for (what, count) in counts.into_iter().take(most) {
        println!("  {count:5} {what}");
    }
}

#[allow(clippy::cast_precision_loss)] // counts
fn rate(equal: usize, failed: usize) -> f64 {
    100.0 * equal as f64 / (equal + failed).max(1) as f64
}

#[test]
fn reading_and_writing_a_node_test_twice_gives_the_same_bytes() {
    let Some(root) = std::env::var_os("ONNX_NODE_TESTS").map(PathBuf::from) else { return };
    for folder in node_tests::folders(&root) {
        let model: Bytes = std::fs::read(folder.join("model.onnx")).unwrap().into();
        let graph =
            onnx::from_bytes(&model).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
        let once: Bytes = onnx::to_bytes(&graph).unwrap().into();
        let twice = onnx::to_bytes(&onnx::from_bytes(&once).unwrap()).unwrap();
        assert!(once == twice, "{}", folder.display());
    }
}

#[test]
fn committed_models_are_converted_or_refused_for_a_reason_that_is_on_the_list() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/onnx");
    let mut converted = 0;
    for path in node_tests::folders(&folder) {
        if path.extension().is_none_or(|e| e != "onnx") {
            continue;
        }
        let Ok(graph) = onnx::from_file(&path) else { continue };
        for to in OPSETS.filter(|_| OPSETS.contains(&graph.opset())) {
            let mut out = graph.clone();
            match opset::convert(&mut out, to) {
                Ok(()) => {
                    let bytes: Bytes = onnx::to_bytes(&out).unwrap().into();
                    onnx::from_bytes(&bytes)
                        .unwrap_or_else(|e| panic!("{} at {to}: {e}", path.display()));
                    converted += 1;
                }
                Err(e) => {
                    assert!(opset::refusal(&e).is_some(), "{} at {to}: {e}", path.display());
                    assert!(!e.hints().is_empty(), "{e}");
                }
            }
        }
    }
    println!("{converted} conversions");
    assert!(converted > 500);
}
