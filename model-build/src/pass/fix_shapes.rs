//! Gives named axes of the graph's inputs a fixed length.

use std::collections::{BTreeMap, BTreeSet};

use super::{Observed, Params, PassDef};
use crate::error::{Error, Result};
use crate::hub::{Body, Dim, Edit, Graph, NodeId, Type};
use crate::op;
use crate::op::len::Len;

/// Gives named axes of the graph's inputs a fixed length, wherever the names stand, and infers the
/// shapes that follow. Parameters are axis names with a length in decimal, or `dynamic` for one that
/// is to stay free; axes that are not named stay as they are.
///
/// ```text
/// before: input_ids i64[batch, sequence] ─▶ … ─▶ pooled f32[batch, 384]
/// params: batch = 1, sequence = 128
/// after:  input_ids i64[1, 128]          ─▶ … ─▶ pooled f32[1, 384]
/// ```
///
/// # Errors
/// A name that no input has is an error that lists the names there are; shapes that contradict
/// each other once the lengths are fixed are an error that names the node.
pub static FIX_SHAPES: PassDef = PassDef {
    name: "fix-shapes",
    about: "gives named axes of the inputs a fixed length",
    revision: 1,
    run,
};

fn run(graph: &mut Graph, params: &Params, _: &Observed) -> Result<()> {
    let axes = input_axes(&graph.body);
    let mut lengths = BTreeMap::new();
    for (name, length) in &params.0 {
        if !axes.contains(name) {
            return Err(unknown_axis(name, &axes));
        }
        if length == "dynamic" {
            continue;
        }
        let length: u64 = length
            .parse()
            .map_err(|_| Error::bug(format!("the length of axis `{name}` is `{length}`")))?;
        lengths.insert(name.as_str(), length);
    }
    substitute_body(&mut graph.body, &lengths);
    op::infer(graph)
}

/// The names of the axes of the inputs.
fn input_axes(body: &Body) -> BTreeSet<String> {
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
        return error.hint("every axis of the inputs is fixed or has no name: remove `shapes`");
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

fn substitute_body(body: &mut Body, lengths: &BTreeMap<&str, u64>) {
    for id in body.value_ids() {
        if let Some(ty) = &mut body.value_mut(id).ty {
            substitute_type(ty, lengths);
        }
    }
    let outer: Vec<NodeId> =
        body.nodes().filter(|(_, n)| n.subgraphs().next().is_some()).map(|(id, _)| id).collect();
    for id in outer {
        let Some(mut node) = body.node(id).cloned() else { continue };
        node.subgraphs_mut().for_each(|inner| substitute_body(inner, lengths));
        Edit::new(body).replace(id, node);
    }
}

fn substitute_type(ty: &mut Type, lengths: &BTreeMap<&str, u64>) {
    match ty {
        Type::Tensor { shape: Some(dims), .. } | Type::Sparse { shape: Some(dims), .. } => {
            for dim in dims.iter_mut().filter(|d| matches!(d, Dim::Symbol(_))) {
                let len = Len::from_dim(dim).substitute(&|name| lengths.get(name).copied());
                *dim = len.to_dim();
            }
        }
        Type::Sequence(of) | Type::Optional(of) | Type::Map(_, of) => substitute_type(of, lengths),
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
}
