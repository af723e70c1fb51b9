//! Runs every case of `tests/fixtures/rten-gate` on rten: see the module these tests are of.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::ErrorKind;
use crate::format::onnx;
use crate::hub::Tensor;
use crate::run::narrow;
use crate::run::rten::Loaded;
use crate::run::saturation;
use crate::run::{Files, Model, Session};
use crate::verify::inputs;

/// Cases in which rten is wrong in a way that no look at the graph can tell, with the reason.
const ONLY_AT_RUN_TIME: &[(&str, &str)] =
    &[("own/mul-large-int64", "the product does not fit in the 32 bits rten has for i64")];

struct Case {
    name: String,
    graph: Graph,
    bytes: Vec<u8>,
    inputs: BTreeMap<String, Tensor>,
    outputs: BTreeMap<String, Tensor>,
    rtol: f64,
    atol: f64,
}

fn cases() -> Vec<Case> {
    let path =
        concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/rten-gate/cases.safetensors");
    let tensors = inputs::read(std::path::Path::new(path)).unwrap();
    let names: BTreeSet<&str> = tensors.keys().map(|k| k.split('|').next().unwrap()).collect();
    names
        .into_iter()
        .map(|name| {
            let side = |side: &str| -> BTreeMap<String, Tensor> {
                let prefix = format!("{name}|{side}|");
                tensors
                    .iter()
                    .filter_map(|(k, t)| Some((k.strip_prefix(&prefix)?.to_owned(), t.clone())))
                    .collect()
            };
            let bytes = tensors[&format!("{name}|model")].bytes().unwrap();
            let tolerance = tensors[&format!("{name}|tolerance")].to_f32().unwrap();
            Case {
                name: name.to_owned(),
                graph: onnx::from_bytes(&bytes).unwrap_or_else(|e| panic!("{name}: {e:?}")),
                bytes: bytes.to_vec(),
                inputs: side("in"),
                outputs: side("out"),
                rtol: f64::from(tolerance[0]),
                atol: f64::from(tolerance[1]),
            }
        })
        .collect()
}

/// What rten does with a case.
#[derive(Clone, Debug, PartialEq)]
enum Outcome {
    Agrees,
    /// It says that it cannot.
    Declines(String),
    Disagrees(String),
}

fn run(case: &Case, dtypes: &BTreeMap<String, DType>, saturates: bool) -> Outcome {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.onnx");
    crate::fsx::write_atomic(&path, &case.bytes).unwrap();
    let model = Model::open(&Files::single(&path)).unwrap();
    let got =
        Loaded::new(&model, dtypes.clone(), saturates, true).and_then(|mut s| s.run(&case.inputs));
    let got = match got {
        Ok(got) => got,
        Err(e) => return Outcome::Declines(e.to_string()),
    };
    for (name, want) in &case.outputs {
        let Some(got) = got.get(name) else {
            return Outcome::Disagrees(format!("no output {name}"));
        };
        if got.shape() != want.shape() || got.dtype() != want.dtype() {
            return Outcome::Disagrees(format!("{got:?} instead of {want:?}"));
        }
        // The last bit of a half is 1/1024 of it.
        let rtol = if want.dtype() == DType::F16 { case.rtol.max(1.0 / 1024.0) } else { case.rtol };
        let values = |t| crate::verify::metrics::values(name, t).unwrap();
        for (i, (g, w)) in values(got).into_iter().zip(values(want)).enumerate() {
            let same =
                g == w || (g.is_nan() && w.is_nan()) || (g - w).abs() <= case.atol + rtol * w.abs();
            if !same {
                return Outcome::Disagrees(format!("{name}[{i}] is {g} instead of {w}"));
            }
        }
    }
    Outcome::Agrees
}

struct Judged {
    case: Case,
    let_through: Result<()>,
    outcome: Outcome,
    /// Operator and letter of each node whose data type is known.
    uses: Vec<(String, char)>,
}

fn judged() -> &'static [Judged] {
    static JUDGED: std::sync::OnceLock<Vec<Judged>> = std::sync::OnceLock::new();
    JUDGED.get_or_init(judge)
}

fn judge() -> Vec<Judged> {
    cases()
        .into_iter()
        .map(|case| {
            let dtypes =
                narrow::dtypes(&case.graph).unwrap_or_else(|e| panic!("{}: {e:?}", case.name));
            let saturates = saturation::on_this_cpu();
            let outcome = run(&case, &dtypes, saturates);
            let body = &case.graph.body;
            let uses = body
                .nodes()
                .filter_map(|(_, n)| {
                    let name = if n.domain.is_empty() {
                        n.op.clone()
                    } else {
                        format!("{}.{}", n.domain, n.op)
                    };
                    let letter = match n.input(usize::from(n.op == "Where")) {
                        Some(id) => letter(*dtypes.get(&body.value(id).name)?)?,
                        None => '-',
                    };
                    Some((name, letter))
                })
                .collect();
            Judged { let_through: check(&case.graph, &dtypes, saturates), outcome, uses, case }
        })
        .collect()
}

#[test]
fn the_gate_lets_through_what_agrees_and_nothing_that_disagrees() {
    let judged = judged();
    let mut broken = Vec::new();
    let mut proven: BTreeSet<(String, char)> = BTreeSet::new();
    let (mut agree, mut decline) = (0, 0);
    for j in judged {
        let known = ONLY_AT_RUN_TIME.iter().any(|(name, _)| *name == j.case.name);
        match (&j.let_through, &j.outcome) {
            (Ok(()), Outcome::Disagrees(_) | Outcome::Declines(_)) if known => {}
            (_, Outcome::Agrees) if known => broken.push(format!("{}: agrees", j.case.name)),
            (Ok(()), Outcome::Disagrees(how)) => broken.push(format!("{}: {how}", j.case.name)),
            (Ok(()), Outcome::Declines(_)) => decline += 1,
            (Ok(()), Outcome::Agrees) => {
                agree += 1;
                proven.extend(j.uses.iter().cloned());
            }
            (Err(e), _) => assert_eq!(e.kind(), ErrorKind::Unsupported, "{}: {e:?}", j.case.name),
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
    let unproven: Vec<String> = OPS
        .iter()
        .flat_map(|(op, types)| types.chars().map(move |t| ((*op).to_owned(), t)))
        .filter(|entry| !proven.contains(entry))
        .map(|(op, t)| format!("{op} {t}"))
        .collect();
    assert!(unproven.is_empty(), "entries without a case that agrees: {}", unproven.join(", "));
    assert!(agree > 800, "{agree} agree, {decline} are declined by rten itself");
}

#[test]
fn every_refusal_of_a_wrong_form_has_a_case_that_comes_out_wrong() {
    let mut needed: BTreeSet<String> = BTreeSet::new();
    for j in judged() {
        if let (Err(e), Outcome::Disagrees(_)) = (&j.let_through, &j.outcome) {
            let why = e.message().rsplit(": ").next().unwrap().to_owned();
            needed.insert(why);
        }
    }
    let source = include_str!("rten_gate.rs");
    let table = WRONG.iter().map(|(_, why)| (*why).to_owned());
    let forms = source
        .split("fn wrong_form")
        .nth(1)
        .unwrap()
        .lines()
        .take_while(|l| !l.starts_with('}'))
        .filter_map(|l| l.split("ome(\"").nth(1).or_else(|| l.trim().strip_prefix("then_some(\"")))
        .map(|l| l.split('"').next().unwrap().to_owned());
    let unneeded: Vec<String> = table.chain(forms).filter(|why| !needed.contains(why)).collect();
    assert!(unneeded.is_empty(), "no case is wrong without: {unneeded:?}\nseen: {needed:?}");
}

fn refusal(name: &str) -> String {
    let case = cases().into_iter().find(|c| c.name == name).unwrap();
    check(&case.graph, &narrow::dtypes(&case.graph).unwrap(), false).unwrap_err().report()
}

#[test]
fn a_padded_convinteger_is_refused_with_the_node_and_the_way_out() {
    let report = refusal("own/convinteger-explicit-padded-zero0");
    assert!(report.contains("node ConvInteger: with padding its sums are wrong"), "{report}");
    assert!(report.contains("ORT_DYLIB_PATH"), "{report}");
}

#[test]
fn qoperator_forms_are_refused() {
    for op in ["QLinearConv", "QLinearMatMul"] {
        let report = refusal(&format!("own/{}", op.to_lowercase()));
        assert!(report.contains(&format!("node {op}: it has not been checked")), "{report}");
    }
}

#[test]
fn split_weights_give_the_exact_sums() {
    let mut split = 0;
    for case in
        cases().iter().filter(|c| c.name.contains("integer") || c.name.contains("dynamic-linear"))
    {
        let dtypes = narrow::dtypes(&case.graph).unwrap();
        if saturation::split(&case.graph).unwrap().is_some()
            && check(&case.graph, &dtypes, true).is_ok()
        {
            split += 1;
            assert_eq!(run(case, &dtypes, true), Outcome::Agrees, "{}", case.name);
        }
    }
    assert!(split >= 8, "{split}");
}
