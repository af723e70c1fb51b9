//! Zeros put around the input of a `Conv` become its padding.

use super::super::pipeline::{Cx, Rewrite, Set, made_by, nodes_of, only_use};
use crate::error::Result;
use crate::hub::{AttrValue, Edit, Node};

/// ```text
/// before: x ─▶ Pad([0, 0, 1, 1, 0, 0, 1, 1]) ─▶ Conv(w) ─▶ y
/// after:  x ─▶ Conv(w, pads = [1, 1, 1, 1]) ─▶ y
/// ```
pub(in super::super) static PAD_CONV: Rewrite = Rewrite { name: "pad-conv", set: Set::Layer, run };

fn run(edit: &mut Edit<'_>, cx: &Cx<'_>) -> Result<bool> {
    let mut changed = false;
    for id in nodes_of(edit, "Conv") {
        let Some(node) = edit.body().node(id) else { continue };
        let Some(padded) = node.input(0) else { continue };
        if only_use(edit, padded).is_none() {
            continue;
        }
        let Some((before, pad)) = made_by(edit, padded, "Pad") else { continue };
        let (Some(x), Some(zeros)) = (pad.input(0), zeros(edit, cx, pad)) else { continue };
        let Some(pads) = sum(node, &zeros) else { continue };
        let mut node = node.clone();
        node.attrs.retain(|a| !matches!(a.name.as_str(), "pads" | "auto_pad"));
        node.inputs[0] = Some(x);
        edit.remove(before);
        edit.replace(id, node.with("pads", AttrValue::Ints(pads)));
        changed = true;
    }
    Ok(changed)
}

/// How many zeros a `Pad` puts before and behind each axis; `None` when it does anything else.
fn zeros(edit: &Edit<'_>, cx: &Cx<'_>, pad: &Node) -> Option<Vec<i64>> {
    let constant = |v: &AttrValue| v.as_str() == Some("constant");
    if !pad.attr("mode").is_none_or(constant) || pad.input(3).is_some() {
        return None;
    }
    let pads = if cx.opset() < 11 {
        let value = pad.attr("value").map_or(Some(0.0), AttrValue::as_float)?;
        pad.attr("pads").and_then(AttrValue::as_ints).filter(|_| value == 0.0)?.to_vec()
    } else {
        if let Some(value) = pad.input(2) {
            cx.scalar(edit, value).filter(|v| *v == 0.0)?;
        }
        cx.ints(edit, pad.input(1)?)?
    };
    pads.iter().all(|n| *n >= 0).then_some(pads)
}

/// The padding of a `Conv` together with zeros that lie around its spatial axes only.
fn sum(conv: &Node, zeros: &[i64]) -> Option<Vec<i64>> {
    let not_set = |v: &AttrValue| matches!(v.as_str(), Some("NOTSET" | "VALID"));
    let rank = zeros.len() / 2;
    let (before, behind) = zeros.split_at(rank);
    let outer = [before.get(..2)?, behind.get(..2)?].concat();
    if outer.iter().any(|n| *n != 0) || !conv.attr("auto_pad").is_none_or(not_set) {
        return None;
    }
    let more = [&before[2..], &behind[2..]].concat();
    match conv.attr("pads") {
        None => Some(more),
        Some(own) => {
            let own = own.as_ints().filter(|own| own.len() == more.len())?;
            own.iter().zip(&more).map(|(a, b)| a.checked_add(*b)).collect()
        }
    }
}
