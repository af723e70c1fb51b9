//! Recurrent layers: `LSTM`, `GRU`, `RNN`.

use super::cx::{Cx, Fact};
use super::len::Len;
use crate::error::Result;

/// `x [sequence, batch, features]` → all states `[sequence, directions, batch, hidden]`, and the last
/// ones `[directions, batch, hidden]`; with `layout` 1 (opset 14) the batch comes first.
fn recurrent(cx: &Cx<'_>) -> Result<Vec<Fact>> {
    cx.want_rank(0, 3)?;
    cx.want_rank(1, 3)?;
    let directions = match cx.str("direction")? {
        None | Some("forward" | "reverse") => 1,
        Some("bidirectional") => 2,
        Some(other) => return Err(cx.fail(format!("`direction` = {other:?} is not known"))),
    };
    let hidden = match cx.int("hidden_size")? {
        Some(n) => Len::fixed(n),
        // The recurrence weights: [directions, gates · hidden, hidden].
        None => cx.shape(2).and_then(|r| r.get(2)).cloned().unwrap_or(Len::UNKNOWN),
    };
    let batch_first = cx.int_or("layout", 0)? != 0;
    let Some([first, second, _]) = cx.shape(0) else {
        let ranks = [4, 3, 3].map(|rank| Some(vec![Len::UNKNOWN; rank]));
        return Ok(ranks.map(|shape| Fact::new(cx.dtype(0), shape)).to_vec());
    };
    let directions = Len::fixed(directions);
    let (all, last) = if batch_first {
        (
            vec![first.clone(), second.clone(), directions.clone(), hidden.clone()],
            vec![first.clone(), directions, hidden],
        )
    } else {
        (
            vec![first.clone(), directions.clone(), second.clone(), hidden.clone()],
            vec![directions, second.clone(), hidden],
        )
    };
    let fact = |shape: Vec<Len>| Fact::new(cx.dtype(0), Some(shape));
    Ok(vec![fact(all), fact(last.clone()), fact(last)])
}

defs! {
    GRU = "GRU", 1, recurrent;
    LSTM = "LSTM", 1, recurrent;
    RNN = "RNN", 1, recurrent;
}

#[cfg(test)]
mod tests {
    use crate::hub::{AttrValue, DType, Dim, Graph, Node, Tensor, Type};
    use crate::op;

    #[test]
    fn states_have_their_axes_in_either_layout() {
        for (layout, all, last) in [
            (0, "f32[time, 2, batch, 4]", "f32[2, batch, 4]"),
            (1, "f32[time, batch, 2, 4]", "f32[time, 2, 4]"),
        ] {
            let mut g = Graph::new("g", 8, 17);
            let x = g.body.intern("x").unwrap();
            let axes = [Dim::symbol("time"), Dim::symbol("batch"), Dim::Fixed(3)];
            g.body.value_mut(x).ty = Some(Type::tensor(DType::F32, axes));
            g.body.add_input(x);
            let mut e = g.edit();
            let w = e.constant("w", Tensor::from_f32(vec![2, 16, 3], &[0.0; 96]).unwrap()).unwrap();
            let r =
                e.constant("r", Tensor::from_f32(vec![2, 16, 4], &[0.0; 128]).unwrap()).unwrap();
            let outputs = ["y", "h", "c"].map(|n| e.value(n, None).unwrap());
            let direction = AttrValue::String("bidirectional".into());
            let node = Node::new("LSTM", &[x, w, r], &outputs)
                .with("direction", direction)
                .with("layout", AttrValue::Int(layout));
            e.add(node).unwrap();
            e.finish().unwrap();
            op::infer(&mut g).unwrap();
            let ty =
                |n: &str| g.body.value(g.body.find(n).unwrap()).ty.as_ref().unwrap().to_string();
            assert_eq!([ty("y"), ty("h"), ty("c")], [all, last, last]);
        }
    }
}
