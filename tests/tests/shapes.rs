//! Shape inference against the shapes that running the graphs gave: the fixtures of
//! `fixtures/shapes` (made by its gen.py).
#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::panic)] // a test suite

use std::collections::BTreeMap;
use std::path::Path;

use bytes::Bytes;
use model_build::format::onnx;
use model_build::hub::{Dim, Graph, Type};
use model_build::op;
use model_build::op::len::Len;
use safetensors::SafeTensors;
use serde_json::Value as Json;

struct Case {
    name: String,
    graph: Graph,
    /// Element type and lengths of values, as they came out.
    values: BTreeMap<String, (String, Vec<u64>)>,
    /// Lengths of the named axes.
    axes: BTreeMap<String, u64>,
    /// How many of the values onnx's own inference types in full.
    onnx: u64,
}

fn cases(file: &str) -> Vec<Case> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/shapes").join(file);
    let bytes = std::fs::read(path).unwrap();
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let facts: Json = serde_json::from_str(&header.metadata().as_ref().unwrap()["cases"]).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    facts
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, facts)| {
            let model = Bytes::copy_from_slice(tensors.tensor(name).unwrap().data());
            let values = facts["values"].as_object().unwrap().iter().map(|(name, v)| {
                let shape = v[1].as_array().unwrap().iter().map(|n| n.as_u64().unwrap()).collect();
                (name.clone(), (v[0].as_str().unwrap().to_owned(), shape))
            });
            let axes = facts["axes"].as_object().unwrap().iter();
            Case {
                name: name.clone(),
                graph: onnx::from_bytes(&model).unwrap(),
                values: values.collect(),
                axes: axes.map(|(k, v)| (k.clone(), v.as_u64().unwrap())).collect(),
                onnx: facts["onnx"].as_u64().unwrap(),
            }
        })
        .collect()
}

/// The number that a length is with those axes; `None` where a name is not among them.
fn evaluate(len: &Len, axes: &BTreeMap<String, u64>) -> Option<i64> {
    len.substitute(&|name| {
        if let Some(n) = axes.get(name) {
            return Some(*n);
        }
        if let Some((a, b)) = name.strip_prefix("min(").and_then(|rest| rest.split_once(", ")) {
            let b = b.strip_suffix(')')?;
            let [a, b] = [a, b].map(|text| evaluate(&Len::symbol(text), axes));
            return u64::try_from(a?.min(b?)).ok();
        }
        let (of, by) = name.strip_prefix("floor((")?.rsplit_once(")/")?;
        let by: i64 = by.strip_suffix(')')?.parse().unwrap();
        u64::try_from(evaluate(&Len::symbol(of), axes)?.div_euclid(by)).ok()
    })
    .as_fixed()
}

#[derive(Default, Debug)]
struct Score {
    values: u64,
    /// Rank and every length a number or named by the axes.
    known: u64,
    ranked: u64,
    onnx: u64,
}

/// Infers, and panics when anything said of a value is not so.
fn score(case: &Case, graph: &mut Graph, score: &mut Score) {
    let name = &case.name;
    op::infer(graph).unwrap_or_else(|e| panic!("{name}: {e}"));
    score.onnx += case.onnx;
    for (value, (dtype, shape)) in &case.values {
        score.values += 1;
        let id = graph.body.find(value).unwrap();
        let Some(Type::Tensor { dtype: found, shape: dims }) = &graph.body.value(id).ty else {
            continue;
        };
        assert_eq!(found.name(), dtype, "{name}: {value}");
        let Some(dims) = dims else { continue };
        score.ranked += 1;
        assert_eq!(dims.len(), shape.len(), "{name}: {value} is {dims:?}, came out as {shape:?}");
        let mut known = true;
        for (dim, n) in dims.iter().zip(shape) {
            let found = evaluate(&Len::from_dim(dim), &case.axes);
            known &= found.is_some();
            if let Some(found) = found {
                let text = format!("{name}: {value} is {dims:?}, came out as {shape:?}");
                assert_eq!(u64::try_from(found).ok(), Some(*n), "{text}");
            }
        }
        if !known {
            println!("  open: {name}: {value} {}", graph.body.value(id).ty.as_ref().unwrap());
        }
        score.known += u64::from(known);
    }
}

#[test]
fn inferred_shapes_of_the_node_tests_are_those_that_came_out() {
    let mut total = Score::default();
    for case in cases("node.safetensors") {
        score(&case, &mut case.graph.clone(), &mut total);
    }
    println!("node tests: {total:?}");
    assert!(total.values > 1000);
    assert!(total.known > total.onnx, "more than onnx itself infers: {total:?}");
    assert!(total.known * 100 >= total.values * 99, "{total:?}");
}

#[test]
fn with_names_for_lengths_the_node_tests_give_the_same_shapes() {
    let mut total = Score::default();
    for mut case in cases("node.safetensors") {
        let mut graph = case.graph.clone();
        for id in graph.body.inputs().to_vec() {
            let Some(Type::Tensor { shape: Some(dims), .. }) = &mut graph.body.value_mut(id).ty
            else {
                continue;
            };
            for dim in dims {
                if let Dim::Fixed(n @ 2..) = *dim {
                    case.axes.insert(format!("n{n}"), n);
                    *dim = Dim::symbol(&format!("n{n}"));
                }
            }
        }
        score(&case, &mut graph, &mut total);
    }
    println!("node tests with names: {total:?}");
    assert!(total.known * 100 >= total.values * 93, "{total:?}");
}

#[test]
fn every_value_of_exported_transformers_is_typed_by_the_names_of_the_axes() {
    for case in cases("exports.safetensors") {
        let mut total = Score::default();
        score(&case, &mut case.graph.clone(), &mut total);
        println!("{}: {total:?}", case.name);
        assert_eq!(total.known, total.values, "{}", case.name);
    }
}
