//! Scaled dot-product attention.

use super::super::pipeline::{Cx, Rewrite, Set, made_by, nodes_of, only_use};
use super::attention_mask::{self, Mask, Scores};
use super::heads::{Heads, Keys, repeated};
use super::pattern::is_number;
use super::{Fused, MICROSOFT, for_onnxruntime, inputs, int_or, is_last_axis};
use crate::error::{Error, Result};
use crate::hub::{AttrValue, DType, Edit, NodeId, Tensor, Use, ValueId};
use crate::op::len::Len;

/// Multi-head attention (Vaswani et al., arXiv:1706.03762, 3.2) from its parts becomes one operator
/// on rows `[batch, sequence, heads · width]`.
///
/// ```text
/// before: q ─▶ Reshape ─▶ Transpose ─┐
///         k ─▶ Reshape ─▶ Transpose ─┴▶ MatMul ─▶ · scale ─▶ + mask ─▶ Softmax ─┐
///         v ─▶ Reshape ─▶ Transpose ────────────────────────────────────────────┴▶ MatMul
///                                                       ─▶ Transpose ─▶ Reshape ─▶ y
/// after:  com.microsoft MultiHeadAttention(q, k, v, mask) ─▶ y
///         com.microsoft GroupQueryAttention(q, k, v, mask) ─▶ y    where heads of k and v are shared
///         Attention(q, k, v, mask) ─▶ y                            of opset 23
/// ```
///
/// * What a mask is follows from the elements it is made of (`symbolic.rs`): a mask of keys is given as
///   it is, with the number that stands for a masked key; the causal mask becomes an attribute; any
///   other tensor with all of its rows is added. An integer tensor that masks are computed from holds
///   0 and 1.
/// * The guard of torch's exporter, zero where the softmax gives NaN, is left out where the mask is
///   finite: then the softmax of finite scores has no NaN. Else it moves behind the operator: a row
///   of weights is NaN as a whole, and so is what is computed of it.
/// * Scales of q, k and their product become one.
/// * The standard operator takes the causal mask and masks that are filled with a number far from
///   the least one (-10000), in which a row may be masked as a whole.
pub(super) static MULTI_HEAD_ATTENTION: Rewrite =
    Rewrite { name: "multi-head-attention", set: Set::Layer, run };

fn run(edit: &mut Edit<'_>, cx: &Cx<'_>) -> Result<bool> {
    if cx.opset() < 23 && !for_onnxruntime(cx) {
        return Ok(false);
    }
    let mut changed = false;
    for softmax in nodes_of(edit, "Softmax") {
        let Some(core) = Core::of(edit, cx, softmax) else { continue };
        changed |= if for_onnxruntime(cx) {
            core.for_onnxruntime(edit, cx)?
        } else {
            core.standard(edit, cx)?
        };
    }
    Ok(changed)
}

/// The parts of an attention.
struct Core {
    query: Heads,
    key: Heads,
    value: Heads,
    /// `[batch, heads, sequence, width]` of keys and values with heads that are shared, and how many.
    shared: Option<(Heads, Heads, i64)>,
    scale: f32,
    terms: Vec<ValueId>,
    guarded: bool,
    shape: Scores,
    heads: i64,
    width: i64,
    /// The last Reshape.
    root: NodeId,
}

/// Peels scales and terms off until the product of queries and keys.
struct Product {
    factors: [ValueId; 2],
    scale: f64,
    terms: Vec<ValueId>,
}

impl Product {
    fn of(edit: &Edit<'_>, cx: &Cx<'_>, value: ValueId) -> Option<Self> {
        only_use(edit, value)?;
        let id = edit.producer(value)?;
        let node = edit.body().node(id)?;
        let parts = inputs(node);
        match (node.op.as_str(), parts) {
            _ if !node.is(&node.op) => None,
            ("MatMul", Some([a, b])) => {
                let ((a, x), (b, y)) = (unscaled(edit, cx, a), unscaled(edit, cx, b));
                Some(Self { factors: [a, b], scale: x * y, terms: Vec::new() })
            }
            ("Add", Some([a, b])) => {
                let (mut product, term) = match Self::of(edit, cx, a) {
                    Some(product) => (product, b),
                    None => (Self::of(edit, cx, b)?, a),
                };
                product.terms.push(term);
                Some(product)
            }
            ("Mul" | "Div", Some([a, b])) => {
                let (a, b) = match cx.scalar(edit, b) {
                    Some(by) => (a, f64::from(by)),
                    None if node.op == "Mul" => (b, f64::from(cx.scalar(edit, a)?)),
                    None => return None,
                };
                let mut product = Self::of(edit, cx, a)?;
                product.scale *= if node.op == "Mul" { b } else { 1.0 / b };
                product.terms.is_empty().then_some(product)
            }
            _ => None,
        }
    }
}

/// A value without the scalar that it is multiplied with, and the scalar.
fn unscaled(edit: &Edit<'_>, cx: &Cx<'_>, value: ValueId) -> (ValueId, f64) {
    let apart = || {
        only_use(edit, value)?;
        let (node, is_product) = match made_by(edit, value, "Mul") {
            Some((_, node)) => (node, true),
            None => (made_by(edit, value, "Div")?.1, false),
        };
        let [a, b] = inputs(node)?;
        match (cx.scalar(edit, b), cx.scalar(edit, a)) {
            (Some(by), _) => Some((a, if is_product { by.into() } else { 1.0 / f64::from(by) })),
            (None, Some(by)) if is_product => Some((b, by.into())),
            _ => None,
        }
    };
    apart().unwrap_or((value, 1.0))
}

/// The zero-where-NaN guard around weights: its output.
fn guard(edit: &Edit<'_>, cx: &Cx<'_>, weights: ValueId) -> Option<ValueId> {
    let [Use::Input(a, _), Use::Input(b, _)] = edit.uses(weights) else { return None };
    let [a, b] = [edit.body().node(*a)?, edit.body().node(*b)?];
    let (test, choice) = if a.is("IsNaN") { (a, b) } else { (b, a) };
    let [condition, zero, other] = inputs(choice)?;
    (test.is("IsNaN")
        && choice.is("Where")
        && Some(condition) == test.output(0)
        && only_use(edit, condition).is_some()
        && other == weights
        && is_number(edit, cx, zero, 0.0))
    .then(|| choice.output(0))
    .flatten()
}

impl Core {
    fn of(edit: &Edit<'_>, cx: &Cx<'_>, softmax: NodeId) -> Option<Self> {
        let node = edit.body().node(softmax)?;
        let (scores, weights) = (node.input(0)?, node.output(0)?);
        let default = if cx.opset() < 13 { 1 } else { -1 };
        if !is_last_axis(cx, scores, int_or(node, "axis", default)?)
            || cx.dtype(scores) != Some(DType::F32)
        {
            return None;
        }
        let guarded = guard(edit, cx, weights);
        let product = Product::of(edit, cx, scores)?;
        let (mixing, 0) = only_use(edit, guarded.unwrap_or(weights))? else { return None };
        let mixing = edit.body().node(mixing).filter(|n| n.is("MatMul"))?;
        let root = joined(edit, mixing.output(0)?)?;

        let [batch, heads, query, key] = cx.shape(scores)? else { return None };
        let [_, n, _, width] = cx.shape(product.factors[0])? else { return None };
        let shape = Scores {
            batch: batch.clone(),
            heads: heads.clone(),
            query: query.clone(),
            key: key.clone(),
        };
        let is = |value: ValueId, want: [&Len; 4]| {
            cx.shape(value)
                .is_some_and(|s| s.len() == 4 && s.iter().zip(want).all(|(a, b)| a.same(b)))
        };
        let mixed = mixing.input(1)?;
        let output = edit.body().node(root)?.output(0)?;
        if !n.same(heads)
            || !is(product.factors[0], [batch, heads, query, width])
            || !is(product.factors[1], [batch, heads, width, key])
            || !is(mixed, [batch, heads, key, width])
            || !matches!(cx.shape(output)?, [b, s, h]
                if b.same(batch) && s.same(query) && h.same(&heads.mul(width)))
        {
            return None;
        }
        let keys = Heads::of_keys(edit, cx, product.factors[1])?;
        let fewer = match &keys {
            Keys::Whole(keys) => shared(edit, cx, *keys, mixed),
            Keys::Split(_) => None,
        };
        let (key, value) = match (keys, &fewer) {
            (Keys::Split(key), _) => (key, Heads::of(edit, cx, mixed)?),
            // Where heads are shared, these are made when the operator needs all of them.
            (_, Some((key, value, _))) => (key.clone(), value.clone()),
            (Keys::Whole(whole), None) => {
                (Heads::of(edit, cx, whole)?, Heads::of(edit, cx, mixed)?)
            }
        };
        #[allow(clippy::cast_possible_truncation)] // the operators hold the scale as f32
        let scale = product.scale as f32;
        let mut terms = product.terms;
        terms.retain(|term| !attention_mask::is_nothing(edit, cx, &shape, *term));
        Some(Self {
            query: Heads::of(edit, cx, product.factors[0])?,
            key,
            value,
            shared: fewer,
            scale,
            terms,
            guarded: guarded.is_some(),
            heads: heads.as_fixed()?,
            width: width.as_fixed()?,
            shape,
            root,
        })
    }

    fn for_onnxruntime(&self, edit: &mut Edit<'_>, cx: &Cx<'_>) -> Result<bool> {
        let Some(mask) = attention_mask::read(edit, cx, &self.shape, &self.terms) else {
            return Ok(false);
        };
        if self.shared.is_some() {
            return self.grouped(edit, cx, &mask);
        }
        let keys = mask.keys.map(|k| attention_mask::keys_as_i32(edit, cx, k)).transpose()?;
        let [q, k, v] = self.rows(edit, self.heads)?;
        let mut attrs = vec![
            ("num_heads", AttrValue::Int(self.heads)),
            ("scale", AttrValue::Float(self.scale)),
        ];
        if let Some(fill) = mask.fill {
            attrs.push(("mask_filter_value", AttrValue::Float(fill)));
        }
        if mask.causal {
            attrs.push(("unidirectional", AttrValue::Int(1)));
        }
        let inputs = [Some(q), Some(k), Some(v), None, keys, mask.bias];
        let op = "MultiHeadAttention";
        let fused = Fused { domain: MICROSOFT, op, inputs: &inputs, attrs };
        self.put(edit, fused, self.guarded && mask.infinite)
    }

    /// Keys and values whose heads are shared: GroupQueryAttention without a cache. It takes no mask of
    /// keys.
    fn grouped(&self, edit: &mut Edit<'_>, cx: &Cx<'_>, mask: &Mask) -> Result<bool> {
        let Some((_, _, fewer)) = &self.shared else { return Ok(false) };
        if mask.keys.is_some() || !self.shape.query.same(&self.shape.key) {
            return Ok(false);
        }
        let [q, k, v] = self.rows(edit, *fewer)?;
        let [last, total] = lengths(edit, cx, q)?;
        let mut attrs = vec![
            ("num_heads", AttrValue::Int(self.heads)),
            ("kv_num_heads", AttrValue::Int(*fewer)),
            ("scale", AttrValue::Float(self.scale)),
        ];
        if !mask.causal {
            attrs.push(("causal", AttrValue::Int(0)));
        }
        let inputs = [
            Some(q),
            Some(k),
            Some(v),
            None,
            None,
            Some(last),
            Some(total),
            None,
            None,
            None,
            mask.bias,
        ];
        let fused = Fused { domain: MICROSOFT, op: "GroupQueryAttention", inputs: &inputs, attrs };
        self.put(edit, fused, self.guarded && mask.infinite)
    }

    fn standard(&self, edit: &mut Edit<'_>, cx: &Cx<'_>) -> Result<bool> {
        let Some(read) = self.mask(edit, cx) else { return Ok(false) };
        if self.guarded && read.infinite {
            return Ok(false);
        }
        let fewer = self.shared.as_ref().map_or(self.heads, |(_, _, n)| *n);
        let [q, k, v] = self.rows(edit, fewer)?;
        let mut attrs = vec![
            ("q_num_heads", AttrValue::Int(self.heads)),
            ("kv_num_heads", AttrValue::Int(fewer)),
            ("scale", AttrValue::Float(self.scale)),
        ];
        if read.causal {
            attrs.push(("is_causal", AttrValue::Int(1)));
        }
        let inputs = [Some(q), Some(k), Some(v), read.bias];
        self.put(edit, Fused { domain: "", op: "Attention", inputs: &inputs, attrs }, false)
    }

    /// The mask as the standard operator takes it: one tensor that broadcasts, or causal.
    fn mask(&self, edit: &mut Edit<'_>, cx: &Cx<'_>) -> Option<Mask> {
        match self.terms.as_slice() {
            [] => Some(Mask::default()),
            [term] => {
                let read = attention_mask::read(edit, cx, &self.shape, &self.terms);
                let infinite = read.as_ref().is_none_or(|m| m.infinite);
                let causal = read.is_some_and(|m| m.causal);
                let shape = cx.shape(*term)?;
                let all =
                    [&self.shape.batch, &self.shape.heads, &self.shape.query, &self.shape.key];
                let from = all.len().checked_sub(shape.len())?;
                // The last axis is not broadcast: the operator pads what is shorter.
                let fits = shape.iter().zip(&all[from..]).all(|(n, m)| n.is(1) || n.same(m))
                    && shape.last()?.same(&self.shape.key)
                    && cx.dtype(*term) == Some(DType::F32);
                // A row in which all is masked must be what the softmax makes of it.
                if !causal && !attention_mask::is_moderate(edit, cx, &self.shape, *term) {
                    return None;
                }
                let bias = (!causal).then_some(*term);
                fits.then(|| Mask { bias, causal, infinite, ..Mask::default() })
            }
            _ => None,
        }
    }

    /// Queries, keys and values as rows.
    fn rows(&self, edit: &mut Edit<'_>, fewer: i64) -> Result<[ValueId; 3]> {
        Ok([
            self.query.flat(edit, self.heads, self.width)?,
            self.key.flat(edit, fewer, self.width)?,
            self.value.flat(edit, fewer, self.width)?,
        ])
    }

    /// Puts the operator in the place of the last node, with the guard behind it if asked for.
    fn put(&self, edit: &mut Edit<'_>, fused: Fused<'_>, guarded: bool) -> Result<bool> {
        if !guarded {
            fused.replace(edit, self.root);
            return Ok(true);
        }
        let name = edit.body().node(self.root).map(|n| n.name.clone()).unwrap_or_default();
        let made = fused.add(edit, &format!("{name}_unguarded"))?;
        let nan = edit.op("IsNaN", &format!("{name}_nan"), &[made], &[])?;
        let zero = edit.constant(&format!("{name}_zero"), Tensor::from_f32(Vec::new(), &[0.0])?)?;
        let inputs = [Some(nan), Some(zero), Some(made)];
        Fused { domain: "", op: "Where", inputs: &inputs, attrs: Vec::new() }
            .replace(edit, self.root);
        Ok(true)
    }
}

/// Keys and values of which each head stands for several of the queries'.
fn shared(
    edit: &Edit<'_>,
    cx: &Cx<'_>,
    keys: ValueId,
    values: ValueId,
) -> Option<(Heads, Heads, i64)> {
    let ((keys, n), (values, m)) = (repeated(edit, cx, keys)?, repeated(edit, cx, values)?);
    (n == m).then_some((Heads::of(edit, cx, keys)?, Heads::of(edit, cx, values)?, n))
}

/// The Reshape that joins `[batch, heads, sequence, width]` to rows, past the Transpose.
fn joined(edit: &Edit<'_>, mixed: ValueId) -> Option<NodeId> {
    let (turn, _) = only_use(edit, mixed)?;
    let turn = edit.body().node(turn).filter(|n| n.is("Transpose"))?;
    (turn.attr("perm").and_then(AttrValue::as_ints)? == [0, 2, 1, 3]).then_some(())?;
    let (root, 0) = only_use(edit, turn.output(0)?)? else { return None };
    edit.body().node(root).filter(|n| n.is("Reshape"))?;
    Some(root)
}

/// What GroupQueryAttention wants to know of a sequence without padding or past: the index of the last
/// token of each sample, i32 `[batch]`, and the number of tokens, an i32 scalar.
fn lengths(edit: &mut Edit<'_>, cx: &Cx<'_>, rows: ValueId) -> Result<[ValueId; 2]> {
    let i32_of = |v: i64, n: u64| {
        let v = i32::try_from(v).map_err(|_| Error::unsupported("a sequence past 2^31 tokens"))?;
        let shape = if n == 0 { Vec::new() } else { vec![n] };
        let count =
            usize::try_from(n.max(1)).map_err(|_| Error::unsupported("a batch past memory"))?;
        Tensor::new(DType::I32, shape, v.to_le_bytes().repeat(count).into())
    };
    let fixed = |i: usize| cx.shape(rows).and_then(|s| s.get(i)?.as_fixed());
    if let (Some(batch), Some(sequence)) = (fixed(0).and_then(|b| u64::try_from(b).ok()), fixed(1))
        && batch > 0
    {
        let last = edit.constant("attention_last_token", i32_of(sequence - 1, batch)?)?;
        return Ok([last, edit.constant("attention_tokens", i32_of(sequence, 0)?)?]);
    }
    let axis = |edit: &mut Edit<'_>, name: &str, i: i64| {
        let attrs = [("start", AttrValue::Int(i)), ("end", AttrValue::Int(i + 1))];
        edit.op("Shape", name, &[rows], &attrs)
    };
    let to = [("to", AttrValue::Int(DType::I32.number()))];
    let batch = axis(edit, "attention_batch", 0)?;
    let tokens = axis(edit, "attention_sequence", 1)?;
    let scalar = edit.constant("attention_scalar", Tensor::from_i64(vec![0], &[])?)?;
    let tokens = edit.op("Cast", "attention_tokens_i32", &[tokens], &to)?;
    let total = edit.op("Reshape", "attention_tokens", &[tokens, scalar], &[])?;
    let one = edit.constant("attention_one", i32_of(1, 0)?)?;
    let last = edit.op("Sub", "attention_last", &[tokens, one], &[])?;
    let last = edit.op("Expand", "attention_last_token", &[last, batch], &[])?;
    Ok([last, total])
}
