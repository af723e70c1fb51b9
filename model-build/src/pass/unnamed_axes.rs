//! Names for axes of a graph's inputs that have none, for as long as a pass works with them.

use crate::hub::{Body, Dim, Graph, Type};
use crate::op::len::Len;

/// What the names start with. An axis that a file calls so has no name after the pass.
const MARK: &str = "free#axis.";

/// Gives every axis of the main graph's inputs of which nothing is known a name of its own, so that
/// inference can tell which lengths are the same.
///
/// ```text
/// before: x f32[?, 3, ?]
/// after:  x f32[free#axis.0.0, 3, free#axis.0.2]
/// ```
pub(super) fn name(graph: &mut Graph) {
    for (i, id) in graph.body.inputs().to_vec().into_iter().enumerate() {
        if graph.body.constant(id).is_some() {
            continue;
        }
        if let Some(Type::Tensor { shape: Some(dims), .. }) = &mut graph.body.value_mut(id).ty {
            for (axis, dim) in
                dims.iter_mut().enumerate().filter(|(_, d)| !Len::from_dim(d).is_known())
            {
                *dim = Dim::symbol(&format!("{MARK}{i}.{axis}"));
            }
        }
    }
}

/// Makes lengths that such names are part of unknown again.
pub(super) fn forget(graph: &mut Graph) {
    forget_in(&mut graph.body);
}

fn forget_in(body: &mut Body) {
    for id in body.value_ids() {
        if let Some(ty) = &mut body.value_mut(id).ty {
            forget_type(ty);
        }
    }
    body.subgraphs_mut().for_each(forget_in);
}

fn forget_type(ty: &mut Type) {
    match ty {
        Type::Tensor { shape: Some(dims), .. } | Type::Sparse { shape: Some(dims), .. } => {
            for dim in dims.iter_mut() {
                if matches!(dim, Dim::Symbol(text) if text.contains(MARK)) {
                    *dim = Dim::Unknown;
                }
            }
        }
        Type::Sequence(of) | Type::Optional(of) | Type::Map(_, of) => forget_type(of),
        Type::Tensor { shape: None, .. }
        | Type::Sparse { shape: None, .. }
        | Type::Opaque { .. } => {}
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{GRAPH, graph, ints, op, optimized, outputs};
    use crate::hub::{DType, Dim, Type};

    #[test]
    fn an_axis_without_a_name_is_followed_and_has_none_afterwards() {
        let mut g = graph(17, &[("x", DType::F32, &["n", "4", "5"])]);
        let x = g.body.find("x").unwrap();
        let axes = [Dim::Unknown, Dim::Unknown, Dim::Fixed(5)];
        let given = [Dim::symbol("?"), Dim::Unknown, Dim::Fixed(5)];
        g.body.value_mut(x).ty = Some(Type::tensor(DType::F32, given));
        ints(&mut g, "zero", &[0]);
        ints(&mut g, "one", &[1]);
        ints(&mut g, "open", &[-1]);
        op(&mut g, "Shape", "s", &["x"], &[]);
        op(&mut g, "Gather", "b", &["s", "zero"], &[]);
        op(&mut g, "Gather", "c", &["s", "one"], &[]);
        let axis = [("axis", crate::hub::AttrValue::Int(0))];
        op(&mut g, "Concat", "target", &["b", "c", "open"], &axis);
        op(&mut g, "Relu", "r", &["x"], &[]);
        op(&mut g, "Reshape", "y", &["r", "target"], &[]);
        outputs(&mut g, &["y"]);
        assert_eq!(optimized(&mut g, GRAPH), ["y = Relu(x)"]);
        for name in ["x", "y"] {
            let value = g.body.value(g.body.find(name).unwrap());
            assert_eq!(value.ty, Some(Type::tensor(DType::F32, axes.clone())), "{name}");
        }
    }
}
