//! Gives axes of the graph's inputs a fixed length, a name, or bounds.

use std::collections::{BTreeMap, BTreeSet};

use super::free_axes::{self, Free};
use super::{Observed, Params, PassDef};
use crate::error::{Error, Result};
use crate::hub::{Body, Dim, Graph, Type, ValueId};
use crate::op;
use crate::op::len::Len;

/// Gives axes of the graph's inputs a fixed length, a name, or bounds, wherever the axes stand, and
/// infers the shapes that follow. Parameters are axes, by name or by place (`input[0]`), with a
/// length in decimal, `dynamic` for one that is to be free, `name:…` for one that is to be free and
/// called that, or `1..=8` for one that is to be free within bounds, which are noted in the graph's
/// metadata as `axis.NAME`. Axes that are not mentioned stay as they are.
///
/// ```text
/// before: input_ids i64[batch, sequence] ─▶ … ─▶ pooled f32[batch, 384]
/// params: batch = 1, sequence = 128
/// after:  input_ids i64[1, 128]          ─▶ … ─▶ pooled f32[1, 384]
/// ```
///
/// # Errors
/// A name or place that no input has is an error that lists what there is; shapes that contradict
/// each other once the lengths are fixed, or that do not follow once an axis is free, are an error
/// that names the node.
pub static FIX_SHAPES: PassDef = PassDef {
    name: "fix-shapes",
    about: "gives axes of the inputs a fixed length, a name, or bounds",
    revision: 1,
    run,
};

/// What the metadata key of an axis's bounds starts with.
const BOUNDS: &str = "axis.";

/// The bounds that were set for axes, by their names: the least and the greatest length.
pub fn bounds(graph: &Graph) -> BTreeMap<String, (u64, u64)> {
    let parse = |text: &str| {
        let (least, most) = text.split_once("..=")?;
        Some((least.parse().ok()?, most.parse().ok()?))
    };
    let entries = graph
        .metadata
        .iter()
        .filter_map(|(key, value)| Some((key.strip_prefix(BOUNDS)?.to_owned(), parse(value)?)));
    entries.collect()
}

fn run(graph: &mut Graph, params: &Params, _: &Observed) -> Result<()> {
    let mut to_free = Vec::new();
    let mut lengths = BTreeMap::new();
    let mut renamed: BTreeMap<String, String> = BTreeMap::new();
    let names = input_axes(&graph.body);
    for (key, want) in &params.0 {
        let name = match place(graph, key)? {
            None if names.contains(key) => key.clone(),
            None => return Err(unknown_axis(key, &names)),
            Some((input, axis, dim)) => {
                let given = want.strip_prefix("name:");
                let own = || format!("{}_{axis}", graph.body.value(input).name);
                match (dim, want.parse::<u64>()) {
                    (Dim::Fixed(is), Ok(wanted)) if is == wanted => continue,
                    (Dim::Symbol(is), _) => {
                        if let Some(name) = given.filter(|name| **name != *is) {
                            renamed.insert(is.to_string(), name.to_owned());
                        }
                        given.map_or_else(|| is.to_string(), str::to_owned)
                    }
                    (Dim::Fixed(_) | Dim::Unknown, _) => {
                        let name = given.map_or_else(own, str::to_owned);
                        to_free.push(Free { input, axis, name: name.as_str().into() });
                        name
                    }
                }
            }
        };
        if let Ok(length) = want.parse::<u64>() {
            lengths.insert(name, length);
        } else if want.contains("..=") {
            let key = format!("{BOUNDS}{name}");
            graph.metadata.retain(|(old, _)| *old != key);
            graph.metadata.push((key, want.clone()));
        }
    }
    if !to_free.is_empty() {
        free_axes::free(graph, &to_free)?;
    }
    change_body(&mut graph.body, &|len| {
        let len = len.renamed(&|name| renamed.get(name).map(String::as_str));
        len.substitute(&|name| lengths.get(name).copied())
    });
    op::infer(graph)
}

/// The axis of an input that a key like `input[0]` says; `None` for a key of another form.
///
/// # Errors
/// No such input, or no such axis.
fn place(graph: &Graph, key: &str) -> Result<Option<(ValueId, usize, Dim)>> {
    let Some((name, axis)) = key.strip_suffix(']').and_then(|key| key.rsplit_once('[')) else {
        return Ok(None);
    };
    let Ok(axis) = axis.parse::<usize>() else { return Ok(None) };
    let body = &graph.body;
    let inputs = body.inputs();
    let found = inputs.iter().find(|id| body.value(**id).name == name);
    let shape = found.and_then(|id| body.tensor_type(*id)?.1);
    match (found, shape.and_then(|dims| dims.get(axis))) {
        (Some(id), Some(dim)) => Ok(Some((*id, axis, dim.clone()))),
        (Some(_), None) => Err(Error::manifest(format!(
            "`{name}` is not known to have axis {axis}"
        ))
        .hint(match shape {
            Some(dims) => format!("it has {} axes, counted from 0", dims.len()),
            None => "the graph does not say how many axes it has".to_owned(),
        })),
        (None, _) => {
            let names: Vec<&str> = inputs.iter().map(|id| body.value(*id).name.as_str()).collect();
            Err(Error::manifest(format!("the graph has no input `{name}`"))
                .hint(format!("its inputs are: {}", names.join(", "))))
        }
    }
}

/// The names of the axes of the inputs.
pub(super) fn input_axes(body: &Body) -> BTreeSet<String> {
    body.inputs()
        .iter()
        .filter_map(|id| body.tensor_type(*id)?.1)
        .flatten()
        .flat_map(|dim| Len::from_dim(dim).names())
        .map(|name| name.to_string())
        .collect()
}

fn unknown_axis(name: &str, axes: &BTreeSet<String>) -> Error {
    let error = Error::manifest(format!("no input of the graph has an axis named `{name}`"));
    if axes.is_empty() {
        return error.hint(
            "every axis of the inputs is fixed or has no name: say where it is, as `\"INPUT[0]\"`",
        );
    }
    let error = match crate::error::nearest(name, axes.iter().map(String::as_str)) {
        Some(near) => error.hint(format!("did you mean `{near}`?")),
        None => error,
    };
    error.hint(format!(
        "the axes are: {}",
        axes.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
    ))
}

pub(super) fn change_body(body: &mut Body, change: &dyn Fn(&Len) -> Len) {
    for id in body.value_ids() {
        if let Some(ty) = &mut body.value_mut(id).ty {
            change_type(ty, change);
        }
    }
    for inner in body.subgraphs_mut() {
        change_body(inner, change);
    }
}

fn change_type(ty: &mut Type, change: &dyn Fn(&Len) -> Len) {
    match ty {
        Type::Tensor { shape: Some(dims), .. } | Type::Sparse { shape: Some(dims), .. } => {
            for dim in dims.iter_mut().filter(|d| matches!(d, Dim::Symbol(_))) {
                *dim = change(&Len::from_dim(dim)).to_dim();
            }
        }
        Type::Sequence(of) | Type::Optional(of) | Type::Map(_, of) => change_type(of, change),
        Type::Tensor { shape: None, .. }
        | Type::Sparse { shape: None, .. }
        | Type::Opaque { .. } => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use crate::hub::{DType, Tensor};

    fn graph() -> Graph {
        let mut g = Graph::new("g", 8, 17);
        let x = g.body.intern("x").unwrap();
        g.body.value_mut(x).ty = Some(Type::tensor(
            DType::F32,
            [Dim::symbol("batch"), Dim::symbol("sequence"), Dim::Fixed(4)],
        ));
        g.body.add_input(x);
        let mut e = g.edit();
        let target = e.constant("target", Tensor::from_i64(vec![2], &[-1, 4]).unwrap()).unwrap();
        let y = e.op("Reshape", "y", &[x, target], &[]).unwrap();
        let z = e.op("NoSuchOp", "z", &[y], &[]).unwrap();
        e.set_type(z, Some(Type::tensor(DType::F32, [Dim::symbol("2*batch + sequence")])));
        e.finish().unwrap();
        for name in ["y", "z"] {
            let id = g.body.find(name).unwrap();
            g.body.add_output(id);
        }
        op::infer(&mut g).unwrap();
        g
    }

    fn ty(g: &Graph, name: &str) -> String {
        g.body.value(g.body.find(name).unwrap()).ty.as_ref().unwrap().to_string()
    }

    #[test]
    fn a_fixed_axis_is_fixed_wherever_its_name_stands() {
        let mut g = graph();
        assert_eq!(ty(&g, "y"), "f32[batch*sequence, 4]");
        run(&mut g, &Params::new([("batch", "3")]), &Observed::default()).unwrap();
        assert_eq!(ty(&g, "x"), "f32[3, sequence, 4]");
        assert_eq!(ty(&g, "y"), "f32[3*sequence, 4]");
        assert_eq!(ty(&g, "z"), "f32[sequence + 6]");
        run(&mut g, &Params::new([("sequence", "5")]), &Observed::default()).unwrap();
        assert_eq!(ty(&g, "y"), "f32[15, 4]");
        assert_eq!(ty(&g, "z"), "f32[11]");
    }

    #[test]
    fn an_axis_that_is_to_stay_dynamic_stays_and_must_be_there() {
        let mut g = graph();
        let dynamic = |name: &str| Params::new([(name, "dynamic")]);
        run(&mut g, &dynamic("batch"), &Observed::default()).unwrap();
        let x = g.body.find("x").unwrap();
        assert_eq!(g.body.tensor_type(x).unwrap().1.unwrap()[0], Dim::symbol("batch"));
        assert_eq!(
            run(&mut g, &dynamic("time"), &Observed::default()).unwrap_err().kind(),
            ErrorKind::Manifest
        );
    }

    #[test]
    fn a_misspelt_axis_is_an_error_that_lists_the_axes() {
        let error =
            run(&mut graph(), &Params::new([("sequense", "5")]), &Observed::default()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Manifest);
        assert_eq!(
            error.report(),
            "error: no input of the graph has an axis named `sequense`\n\
             hint: did you mean `sequence`?\nhint: the axes are: batch, sequence"
        );
    }

    /// `x f32[1, 8, 64]`, split into heads by a constant shape, plus `add` of a fixed shape.
    fn exported(add: &[u64]) -> Graph {
        let mut g = Graph::new("g", 8, 17);
        let x = g.body.intern("x").unwrap();
        g.body.value_mut(x).ty = Some(Type::tensor(DType::F32, [1, 8, 64].map(Dim::Fixed)));
        g.body.add_input(x);
        let mut e = g.edit();
        let target = Tensor::from_i64(vec![4], &[1, 8, 4, 16]).unwrap();
        let target = e.constant("target", target).unwrap();
        let heads = e.op("Reshape", "heads", &[x, target], &[]).unwrap();
        let count = usize::try_from(add.iter().product::<u64>()).unwrap();
        let add = Tensor::from_f32(add.to_vec(), &vec![1.0; count]).unwrap();
        let add = e.constant("add", add).unwrap();
        e.op("Add", "y", &[heads, add], &[]).unwrap();
        e.finish().unwrap();
        let y = g.body.find("y").unwrap();
        g.body.add_output(y);
        op::infer(&mut g).unwrap();
        g
    }

    fn shaped(g: &mut Graph, params: &[(&str, &str)]) -> Result<()> {
        let params = params.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        run(g, &Params(params), &Observed::default())
    }

    #[test]
    fn an_exported_length_becomes_a_name_wherever_it_was() {
        let mut g = exported(&[1, 16]);
        shaped(&mut g, &[("x[0]", "name:batch"), ("x[1]", "2..=9")]).unwrap();
        assert_eq!(ty(&g, "x"), "f32[batch, x_1, 64]");
        assert_eq!(ty(&g, "y"), "f32[batch, x_1, 4, 16]");
        let reshape = g.body.nodes().find(|(_, n)| n.is("Reshape")).unwrap().1;
        let target = g.body.constant(reshape.input(1).unwrap()).unwrap();
        assert_eq!(target.to_i64().unwrap().to_vec(), [0, 0, 4, 16]);
        assert_eq!(bounds(&g), BTreeMap::from([("x_1".to_owned(), (2, 9))]));

        let mut g = exported(&[1, 16]);
        shaped(&mut g, &[("x[1]", "12")]).unwrap();
        assert_eq!(ty(&g, "y"), "f32[1, 12, 4, 16]");
        shaped(&mut g, &[("x[1]", "12")]).unwrap();
    }

    #[test]
    fn a_weight_of_the_exported_length_holds_the_axis() {
        let mut g = exported(&[8, 1, 16]);
        shaped(&mut g, &[("x[0]", "dynamic")]).unwrap();
        assert_eq!(ty(&g, "y"), "f32[x_0, 8, 4, 16]");
        let error = shaped(&mut exported(&[8, 1, 16]), &[("x[1]", "dynamic")]).unwrap_err();
        let text = error.report();
        assert!(text.contains("`y` (Add)") && text.contains("do not broadcast"), "{text}");
        assert!(text.contains("export it with `x_1` dynamic"), "{text}");
    }

    #[test]
    fn places_that_are_not_there_are_errors_that_say_what_is() {
        let error = shaped(&mut exported(&[1]), &[("z[0]", "2")]).unwrap_err();
        assert!(error.report().contains("its inputs are: x"), "{}", error.report());
        let error = shaped(&mut exported(&[1]), &[("x[3]", "2")]).unwrap_err();
        assert!(error.report().contains("it has 3 axes"), "{}", error.report());
        let mut named = graph();
        shaped(&mut named, &[("x[0]", "name:n"), ("sequence", "1..=4")]).unwrap();
        assert_eq!(ty(&named, "y"), "f32[n*sequence, 4]");
        assert_eq!(bounds(&named), BTreeMap::from([("sequence".to_owned(), (1, 4))]));
    }
}
