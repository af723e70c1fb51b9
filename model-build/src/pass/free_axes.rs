//! Frees axes of the inputs that a graph was exported with at one length.
//!
//! ```text
//! before: x f32[1, 8, 64] ─ Reshape([1, 8, 4, 16]) ─ y f32[1, 8, 4, 16]
//! free:   axis 0 of x as `batch`
//! after:  x f32[batch, 8, 64] ─ Reshape([0, 8, 4, 16]) ─ y f32[batch, 8, 4, 16]
//! ```
//! The new name is followed through the whole graph. Constant targets of `Reshape` and `Expand` that
//! hold the old length are rewritten; wherever else a number has to agree with the name, the graph
//! only works at that number, which is an error that names the node. What is proven is that every
//! value has a shape at every length; that the numbers mean the same (a mean that was exported as a
//! product with 1/8 does not) is what `verify` is for.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::hub::{Body, Dim, Edit, Graph, Tensor, Type, ValueId};
use crate::op::len::Len;
use crate::op::{self, Cx};

/// An axis of an input that is to have a name instead of a length.
pub(super) struct Free {
    /// The input.
    pub input: ValueId,
    /// Which of its axes.
    pub axis: usize,
    /// What the axis is to be called.
    pub name: Arc<str>,
}

/// The lengths that axes had before they were freed, by their names.
type Lengths = BTreeMap<Arc<str>, u64>;

/// Frees axes. Axes of one name are of one length.
///
/// # Errors
/// Axes of one name have two lengths; a node that works at the old length only.
pub(super) fn free(graph: &mut Graph, axes: &[Free]) -> Result<()> {
    let mut old = Lengths::new();
    for Free { input, axis, name } in axes {
        let value = graph.body.value_mut(*input);
        let Some(Type::Tensor { shape: Some(dims), .. }) = &mut value.ty else { continue };
        let Some(dim) = dims.get_mut(*axis) else { continue };
        if let Dim::Fixed(length) = *dim
            && let Some(other) = old.insert(name.clone(), length)
            && other != length
        {
            return Err(Error::manifest(format!(
                "axes of length {other} and {length} cannot both be `{name}`"
            ))
            .item(format!("`{}`, axis {axis}", value.name)));
        }
        *dim = Dim::Symbol(name.clone());
    }
    let known = known(&graph.body);
    forget(&mut graph.body);
    let names: Vec<Arc<str>> = old.keys().cloned().collect();
    let repaired = op::infer_free(graph, &names, &|cx| repair(cx, &old)).map_err(|e| {
        e.hint(format!(
            "the graph works only at the length it was exported with; export it with {} dynamic",
            names.iter().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(" and ")
        ))
    })?;
    let mut edit = Edit::new(&mut graph.body);
    for (node, elements) in repaired {
        let Some(given) = edit.body().node(node).and_then(|n| n.input(1)) else { continue };
        let hint = edit.body().value(given).name.clone();
        let target = Tensor::from_i64(vec![elements.len() as u64], &elements)?;
        let target = edit.constant(&hint, target)?;
        edit.set_input(node, 1, Some(target));
    }
    edit.finish()?;
    all_known(&graph.body, &known)
}

/// The names of values whose shapes are known.
fn known(body: &Body) -> Vec<String> {
    let of = |id| {
        let shape = body.tensor_type(id)?.1?;
        (!shape.contains(&Dim::Unknown)).then(|| body.value(id).name.clone())
    };
    body.value_ids().filter_map(of).collect()
}

/// Forgets the shapes of everything that a node computes: they were those of the old lengths.
fn forget(body: &mut Body) {
    let computed: Vec<ValueId> =
        body.nodes().flat_map(|(_, n)| n.outputs.iter().flatten().copied()).collect();
    for id in computed {
        let value = body.value_mut(id);
        if let Some(Type::Tensor { shape, .. }) = &mut value.ty {
            *shape = None;
        }
        value.exact_type = None;
    }
    for inner in body.subgraphs_mut() {
        forget(inner);
    }
}

/// An error unless the shapes that were known still are.
fn all_known(body: &Body, before: &[String]) -> Result<()> {
    let after = known(body);
    for (_, node) in body.nodes() {
        for id in node.outputs.iter().flatten() {
            let name = &body.value(*id).name;
            if before.contains(name) && !after.contains(name) {
                return Err(Error::unsupported(format!(
                    "the shape of `{name}` can no longer be told once the axis is free"
                ))
                .item(node.label())
                .hint("export the graph with that axis dynamic"));
            }
        }
    }
    Ok(())
}

/// The target of a `Reshape` or `Expand` that holds an old length, with the new one.
fn repair(cx: &Cx<'_>, old: &Lengths) -> Result<Option<Vec<i64>>> {
    let node = cx.node();
    let (reshapes, expands) = (node.is("Reshape") && cx.opset() >= 5, node.is("Expand"));
    let (Some(shape), Some(target)) = (cx.shape(0), cx.ints(1)) else { return Ok(None) };
    if !shape.iter().any(|len| is_free(len, old)) || cx.int_or("allowzero", 0)? != 0 {
        return Ok(None);
    }
    if expands {
        return Ok(expand(shape, &target, old));
    }
    if !reshapes {
        return Ok(None);
    }
    let Some(out) = regroup(shape, &target, old) else {
        return Err(
            cx.fail(format!("it is not clear which axis of {target:?} the free one becomes"))
        );
    };
    let mut open = false;
    let mut elements = Vec::new();
    for (i, len) in out.iter().enumerate() {
        elements.push(match len.as_fixed() {
            Some(n) => n,
            None if shape.get(i).is_some_and(|from| from.same(len)) => 0,
            None if !open => {
                open = true;
                -1
            }
            None => {
                return Err(cx.fail("more than one axis would have to be computed"));
            }
        });
    }
    Ok((elements != target).then_some(elements))
}

fn is_free(len: &Len, old: &Lengths) -> bool {
    old.keys().any(|name| len.has(name))
}

fn at_old(len: &Len, old: &Lengths) -> Len {
    len.substitute(&|name| old.get(name).copied())
}

/// `Expand` to an old length of what has that length becomes one to 1, which changes nothing.
fn expand(shape: &[Len], target: &[i64], old: &Lengths) -> Option<Vec<i64>> {
    let mut new = target.to_vec();
    for (to, from) in new.iter_mut().rev().zip(shape.iter().rev()) {
        if is_free(from, old) && at_old(from, old).is(*to) {
            *to = 1;
        }
    }
    (new != target).then_some(new)
}

/// The axes of a reshaped tensor. Elements stay in their order, so the axes of both sides fall into
/// groups of equal products at the old lengths, and in each group the products are equal at every
/// length. `None` where more than one axis of a group could be the free one.
fn regroup(shape: &[Len], target: &[i64], old: &Lengths) -> Option<Vec<Len>> {
    let before: Vec<i64> =
        shape.iter().map(|len| at_old(len, old).as_fixed()).collect::<Option<_>>()?;
    let after = resolved(&before, target)?;
    let ones = |list: &[i64]| list.iter().take_while(|n| **n == 1).count();
    let mut out: Vec<Len> = Vec::new();
    let (mut i, mut j) = (0, 0);
    while i < before.len() || j < after.len() {
        let (left_ones, right_ones) = (ones(&before[i..]), ones(&after[j..]));
        if left_ones > 0 && right_ones > 0 {
            out.extend(units(&shape[i..i + left_ones], right_ones, old)?);
            (i, j) = (i + left_ones, j + right_ones);
            continue;
        }
        let (start, first) = (i, j);
        (i, j) = (i + left_ones, j + right_ones);
        let (mut left, mut right) = (1i64, 1i64);
        while i < before.len() || j < after.len() {
            if left <= right && i < before.len() {
                left = left.checked_mul(before[i])?;
                i += 1;
            } else if j < after.len() {
                right = right.checked_mul(after[j])?;
                j += 1;
            } else {
                return None;
            }
            if left == right {
                break;
            }
        }
        out.extend(group(&shape[start..i], &after[first..j], old)?);
    }
    Some(out)
}

/// What becomes of a run of axes of length 1 beside `count` such axes of the target.
fn units(before: &[Len], count: usize, old: &Lengths) -> Option<Vec<Len>> {
    if before.len() == count {
        return Some(before.to_vec());
    }
    let mut out = vec![Len::fixed(1); count];
    let mut named = before.iter().enumerate().filter(|(_, len)| is_free(len, old));
    if let Some((at, len)) = named.next() {
        *out.get_mut(at)? = len.clone();
    }
    named.next().is_none().then_some(out)
}

/// A target with its 0 and -1 filled in.
fn resolved(before: &[i64], target: &[i64]) -> Option<Vec<i64>> {
    let mut after = Vec::new();
    for (i, want) in target.iter().enumerate() {
        after.push(if *want == 0 { *before.get(i)? } else { *want });
    }
    let total = before.iter().try_fold(1i64, |p, n| p.checked_mul(*n))?;
    if let Some(open) = after.iter().position(|n| *n == -1) {
        after[open] = 1;
        let rest = after.iter().try_fold(1i64, |p, n| p.checked_mul(*n))?;
        after[open] = total.checked_div(rest)?;
    }
    (after.iter().try_fold(1i64, |p, n| p.checked_mul(*n))? == total).then_some(after)
}

/// The axes of one group after the reshape.
fn group(before: &[Len], after: &[i64], old: &Lengths) -> Option<Vec<Len>> {
    let fixed: Vec<Len> = after.iter().copied().map(Len::fixed).collect();
    if !before.iter().any(|len| is_free(len, old)) {
        return Some(fixed);
    }
    let product = Len::product(before);
    each_its_own(&product, after, old).or_else(|| {
        // One axis takes everything that is free.
        let all = (0..after.len()).map(|at| {
            let others = fixed.iter().enumerate().filter(|(i, _)| *i != at).map(|(_, n)| n);
            (at, product.div_exact(&Len::product(others)))
        });
        let mut fitting = all.filter(|(_, quotient)| quotient.is_known());
        let (at, quotient) = fitting.next()?;
        let mut out = fixed.clone();
        out[at] = quotient;
        fitting.next().is_none().then_some(out)
    })
}

/// Every free name becomes the one axis that has its old length.
fn each_its_own(product: &Len, after: &[i64], old: &Lengths) -> Option<Vec<Len>> {
    let mut out: Vec<Len> = after.iter().copied().map(Len::fixed).collect();
    for name in product.names() {
        let Some(length) = old.get(&name) else { continue };
        let mut places = (0..after.len()).filter(|at| u64::try_from(after[*at]) == Ok(*length));
        let at = places.next().filter(|at| out[*at].as_fixed().is_some())?;
        if places.next().is_some() {
            return None;
        }
        out[at] = Len::name(&name);
    }
    Len::product(&out).same(product).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn old() -> Lengths {
        [("b", 1), ("s", 8)].map(|(name, n)| (Arc::from(name), n)).into()
    }

    /// A shape of names and numbers, as `b 8 64`.
    fn lens(text: &str) -> Vec<Len> {
        text.split(' ').map(|d| d.parse().map_or_else(|_| Len::symbol(d), Len::fixed)).collect()
    }

    fn reshaped(shape: &str, target: &[i64]) -> Option<String> {
        let out = regroup(&lens(shape), target, &old())?;
        Some(out.iter().map(Len::to_string).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn a_reshape_keeps_free_axes_where_their_elements_are() {
        for (shape, target, want) in [
            ("b s 64", &[1, 8, 4, 16][..], "b s 4 16"),
            ("b s 64", &[1, -1, 4, 16], "b s 4 16"),
            ("b 4 s 16", &[4, 8, 16], "4*b s 16"),
            ("b s 64", &[8, 64], "b*s 64"),
            ("8*b 64", &[1, 8, 64], "b 8 64"),
            ("b*s 64", &[1, 8, 64], "b s 64"),
            ("s 64", &[1, 8, 64], "1 s 64"),
            ("b s", &[1, 1, 1, 8], "b 1 1 s"),
            ("b 1 1 s", &[1, 8], "b s"),
            ("b 64 s", &[1, 512], "b 64*s"),
            ("b 512 1 1", &[1, -1], "b 512"),
        ] {
            assert_eq!(reshaped(shape, target).as_deref(), Some(want), "{shape} to {target:?}");
        }
    }

    #[test]
    fn where_more_than_one_axis_could_be_the_free_one_nothing_is_guessed() {
        for (shape, target) in [
            ("8*s 64", &[8, 8, 64][..]),
            ("s 64", &[2, 4, 64]),
            ("1 b s", &[1, 8]),
            ("b s", &[3, 3]),
        ] {
            assert_eq!(reshaped(shape, target), None, "{shape} to {target:?}");
        }
    }
}
