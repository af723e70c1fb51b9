//! Types under a budget of bytes: from the error that each type makes on each tensor, measured.
//!
//! What is minimized is a sum over tensors. A tensor adds the squared error of its weights, each
//! column weighted by its importance where that is known: for a matrix, the expected squared error of
//! its output, if inputs are uncorrelated (importance is their mean square, and normalization keeps
//! it near one where it is not known). That is divided by the root of the same sum over the weights
//! themselves. Undivided, tensors with large weights would decide alone, though norms downstream
//! undo their size; divided by the whole, a small tensor would count as much as a large one. On
//! top of that:
//! * the output layer counts [`OUTPUT`] times: its errors reach the logits undamped. One bit of a
//!   weight divides the squared error by four, so it gets about one bit more than its like;
//! * stacked experts count by the share of them that a token uses.
//!
//! The minimum under a sum of bytes is found by marginal gain: of each tensor's candidates only the
//! lower convex hull of (bytes, error) is kept, and from the smallest types up the step with the
//! largest error saved per byte is taken, as long as it fits. That is the Lagrangian solution, whose
//! gap to the optimum is less than one step. What it leaves unspent goes to any better candidates.
//!
//! Rows are sampled at fixed distances and sums are taken in a fixed order for each tensor, and
//! encoders give the same bytes on every machine: so does the choice.

use rayon::prelude::*;

use super::choose::{Choice, Origin, Override, kept};
use super::facts::{Facts, Role};
use super::imatrix::{Importance, needs};
use super::keep;
use super::measure::{Sample, measure};
use crate::error::{Error, Result};
use crate::hub::{DType, Gguf, Importance as Use, Tensor};
use crate::quantize;

/// How much more the output layer counts.
const OUTPUT: f64 = 4.0;

/// Names of block types whose encoders are fast.
pub const FAST_LADDER: &[&str] =
    &["q2_k", "q3_k", "q4_0", "q4_1", "q4_k", "q5_0", "q5_1", "q5_k", "q6_k", "q8_0"];

/// [`FAST_LADDER`] and the codebook types that are worth their encoders' time.
pub const FULL_LADDER: &[&str] = &[
    "iq2_xs", "q2_k", "iq3_xxs", "q3_k", "iq3_s", "iq4_xs", "iq4_nl", "q4_0", "q4_1", "q4_k",
    "q5_0", "q5_1", "q5_k", "q6_k", "q8_0",
];

/// What must not be exceeded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Target {
    /// Bytes of the file.
    Size(u64),
    /// Bits per element over all tensors, as llama-quantize counts them: without metadata and padding.
    BitsPerWeight(f64),
}

/// What a choice under a budget needs besides the model.
#[derive(Clone, Debug)]
pub struct BudgetOptions<'a> {
    /// The budget.
    pub target: Target,
    /// Bytes of the file before the first tensor's, padding included.
    pub overhead: u64,
    /// What each tensor's bytes are padded to a multiple of.
    pub alignment: u64,
    /// What tensors that are not quantized keep: see [`Origin`].
    pub origin: Origin,
    /// The importance of columns.
    pub importance: Option<&'a Importance>,
    /// Types to choose from; 16-bit floats always are among them.
    pub ladder: Vec<DType>,
    /// Types that are not to be chosen.
    pub overrides: &'a [Override],
}

/// The block types of these names that can be encoded.
pub fn ladder(names: &[&str]) -> Vec<DType> {
    let known = quantize::ALL.iter().filter(|def| names.contains(&def.name));
    known.map(|def| DType::Block(def)).collect()
}

/// A choice under a budget.
#[derive(Clone, Debug)]
pub struct Budgeted {
    /// In the model's order.
    pub choices: Vec<Choice>,
    /// The bytes that the budget counts.
    pub bytes: u64,
    /// The bytes that it allows.
    pub budget: u64,
    /// Whether no tensor could be better: the budget is above what there is to spend on.
    pub largest: bool,
    /// What was minimized, over what errors as large as the weights would count.
    pub relative_error: f64,
}

/// A type for a tensor.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    to: DType,
    /// Bytes that the budget counts.
    cost: u64,
    error: f64,
}

/// A tensor and its candidates, the smallest first.
#[derive(Debug)]
struct Item<'a> {
    name: &'a str,
    candidates: Vec<Candidate>,
    /// What an error as large as the weights would count.
    size: f64,
    /// Of a tensor that is not up for choice.
    why: Option<&'static str>,
}

/// Types for the model's tensors with the least error that fit the budget.
///
/// # Errors
/// The budget is below the smallest possible (which the error tells), the weights are not finite or
/// in blocks already, or sizes overflow.
pub fn within_budget(gguf: &Gguf, options: &BudgetOptions<'_>) -> Result<Budgeted> {
    let facts = Facts::of(gguf)?;
    let average = options.importance.map_or(1.0, average);
    let items: Vec<Item<'_>> = gguf
        .tensors
        .par_iter()
        .map(|(name, tensor)| {
            item(name, tensor, gguf, &facts, options, average).map_err(|e| e.item(name))
        })
        .collect::<Result<_>>()?;
    let budget = budget_bytes(gguf, options)?;
    let fixed = if matches!(options.target, Target::Size(_)) { options.overhead } else { 0 };
    let smallest = items
        .iter()
        .filter_map(|i| i.candidates.first())
        .try_fold(fixed, |sum, c| sum.checked_add(c.cost))
        .ok_or_else(|| Error::malformed("the tensors are larger than 2^64 bytes"))?;
    let Some(spare) = budget.checked_sub(smallest) else {
        return Err(too_small(gguf, options, smallest));
    };
    let (picks, spare) = pick(&items, spare);
    let mut choices = Vec::with_capacity(items.len());
    let (mut error, mut size, mut largest) = (0.0, 0.0, true);
    for (tensor, (item, pick)) in items.iter().zip(picks).enumerate() {
        let Some(chosen) = item.candidates.get(pick) else {
            return Err(Error::bug("a tensor without a candidate").item(item.name));
        };
        error += chosen.error;
        size += item.size;
        largest &= item.candidates.iter().all(|c| c.cost <= chosen.cost || c.error >= chosen.error);
        let relative = if item.size > 0.0 { (chosen.error / item.size).sqrt() } else { 0.0 };
        let measured = || format!("error {:.2} %", relative * 100.0).into();
        let why = item.why.map_or_else(measured, Into::into);
        choices.push(Choice { tensor, name: item.name.to_owned(), to: chosen.to, why });
    }
    let relative_error = if size > 0.0 { error / size } else { 0.0 };
    Ok(Budgeted { choices, bytes: budget - spare, budget, largest, relative_error })
}

/// The mean weight of a matrix: what tensors without an entry count with.
#[allow(clippy::cast_precision_loss)]
fn average(importance: &Importance) -> f64 {
    let means = importance.by_name.values().filter(|w| !w.is_empty());
    let means: Vec<f64> =
        means.map(|w| w.iter().map(|v| f64::from(*v)).sum::<f64>() / w.len() as f64).collect();
    if means.is_empty() { 1.0 } else { means.iter().sum::<f64>() / means.len() as f64 }
}

/// The budget in bytes.
fn budget_bytes(gguf: &Gguf, options: &BudgetOptions<'_>) -> Result<u64> {
    match options.target {
        Target::Size(bytes) => Ok(bytes),
        Target::BitsPerWeight(bits) if bits.is_finite() && bits > 0.0 => {
            let elements: u64 = gguf.tensors.iter().map(|(_, t)| t.len()).sum();
            #[allow(
                clippy::cast_precision_loss,
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss
            )] // positive; a float saturates
            Ok((bits * elements as f64 / 8.0) as u64)
        }
        Target::BitsPerWeight(bits) => {
            Err(Error::manifest(format!("{bits} is no number of bits per weight")))
        }
    }
}

#[allow(clippy::cast_precision_loss)] // shown with a few digits
fn too_small(gguf: &Gguf, options: &BudgetOptions<'_>, smallest: u64) -> Error {
    let message = match options.target {
        Target::Size(bytes) => {
            format!("target-size of {bytes} bytes: the smallest possible is {smallest} bytes")
        }
        Target::BitsPerWeight(bits) => {
            let elements: u64 = gguf.tensors.iter().map(|(_, t)| t.len()).sum();
            let least = smallest as f64 * 8.0 / elements.max(1) as f64;
            // Rounded up: the number must work when it is copied.
            let least = (least * 1000.0).ceil() / 1000.0;
            format!("target-bpw of {bits}: the smallest possible is {least}")
        }
    };
    let hint = match options.importance {
        Some(_) => "raise it, or prune the model",
        None => "raise it, or name an importance matrix: it opens types of fewer bits",
    };
    Error::manifest(message).hint(hint)
}

/// The bytes of a tensor as the budget counts them.
fn cost(tensor: &Tensor, to: DType, options: &BudgetOptions<'_>) -> Result<u64> {
    let bytes = to.bytes_for(tensor.len());
    let padded = match options.target {
        Target::Size(_) => bytes.and_then(|b| b.checked_next_multiple_of(options.alignment.max(1))),
        Target::BitsPerWeight(_) => bytes,
    };
    padded.ok_or_else(|| Error::malformed(format!("the tensor does not go into {to}")))
}

/// A tensor's candidates with their measured errors.
fn item<'a>(
    name: &'a str,
    tensor: &Tensor,
    gguf: &Gguf,
    facts: &Facts,
    options: &BudgetOptions<'_>,
    average: f64,
) -> Result<Item<'a>> {
    let fixed = |to: DType, why| {
        let candidates = vec![Candidate { to, cost: cost(tensor, to, options)?, error: 0.0 }];
        Ok(Item { name, candidates, size: 0.0, why: Some(why) })
    };
    if let Err(why) = keep::quantizes(name, tensor.shape(), &facts.architecture) {
        return fixed(kept(name, tensor, options.origin).dtype()?, why);
    }
    if !tensor.dtype().is_float() {
        return Err(Error::unsupported(format!("{} weights under a budget", tensor.dtype()))
            .hint("start from the original weights"));
    }
    let weights = Importance::weights(options.importance, name, tensor.shape())?;
    let types = match options.overrides.iter().find_map(|o| o.of(name)) {
        Some(to) => vec![to.dtype()?],
        None => ladder_of(tensor, weights.is_some(), options),
    };
    let columns = tensor.shape().last().copied().unwrap_or(1);
    for to in &types {
        Importance::of_tensor(options.importance, name, tensor.shape(), *to, None)?;
        if to.bytes_for(columns).is_none() {
            let message = format!("rows of {columns} elements do not go into {to}");
            return Err(Error::manifest(message));
        }
    }
    if tensor.is_empty() {
        return fixed(DType::F32, "kept: empty");
    }
    let sample = Sample::of(tensor, weights, average)?;
    let size = sample.energy().sqrt();
    let factor = factor(name, tensor, gguf, facts);
    // Of nothing but zeros there is no error.
    let per_error = if size > 0.0 { factor / size } else { factor };
    let mut candidates = Vec::with_capacity(types.len());
    for to in types {
        let error = measure(&sample, to)? * per_error;
        candidates.push(Candidate { to, cost: cost(tensor, to, options)?, error });
    }
    candidates.retain(|c| c.error.is_finite());
    if candidates.is_empty() {
        return fixed(DType::F32, "kept: beyond the range of f16");
    }
    candidates.sort_by(|a, b| a.cost.cmp(&b.cost).then_with(|| a.error.total_cmp(&b.error)));
    Ok(Item { name, candidates, size: size * factor, why: None })
}

/// The types that fit a tensor's rows, and its importance where they need it.
fn ladder_of(tensor: &Tensor, weighted: bool, options: &BudgetOptions<'_>) -> Vec<DType> {
    let columns = tensor.shape().last().copied().unwrap_or(1);
    let fits = |to: &&DType| match to {
        DType::Block(def) => {
            let needs = def.importance == Use::Required || needs(def.name, None);
            (weighted || !needs) && to.bytes_for(columns).is_some()
        }
        other => other.is_float(),
    };
    let mut types: Vec<DType> = options.ladder.iter().filter(fits).copied().collect();
    let half = if tensor.dtype() == DType::BF16 { DType::BF16 } else { DType::F16 };
    if !types.contains(&half) {
        types.push(half);
    }
    types
}

/// How much a tensor's error counts besides its size.
#[allow(clippy::cast_precision_loss)] // a ratio of small numbers
fn factor(name: &str, tensor: &Tensor, gguf: &Gguf, facts: &Facts) -> f64 {
    let role = Role::of(name);
    if role == Role::Output || facts.tied && name == "token_embd.weight" {
        return OUTPUT;
    }
    let stacked = tensor.shape().iter().rev().nth(2).copied().unwrap_or(1);
    let used = gguf.of_architecture("expert_used_count").and_then(crate::hub::Meta::as_u64);
    match used {
        Some(used) if stacked > 1 && stacked == facts.experts && used < stacked => {
            used.max(1) as f64 / stacked as f64
        }
        _ => 1.0,
    }
}

/// Indices of the candidates on the lower convex hull: each saves less error per byte than the one
/// before.
fn hull(candidates: &[Candidate]) -> Vec<usize> {
    let mut out: Vec<usize> = Vec::new();
    for (i, next) in candidates.iter().enumerate() {
        if out.last().is_some_and(|l| candidates[*l].error <= next.error) {
            continue;
        }
        while let [.., before, last] = out[..]
            && saving(&candidates[last], next) >= saving(&candidates[before], &candidates[last])
        {
            out.pop();
        }
        if let [last] = out[..]
            && candidates[last].cost == next.cost
        {
            out.pop();
        }
        out.push(i);
    }
    out
}

/// Error saved per byte.
#[allow(clippy::cast_precision_loss)] // compared, the same everywhere
fn saving(from: &Candidate, to: &Candidate) -> f64 {
    (from.error - to.error) / to.cost.saturating_sub(from.cost).max(1) as f64
}

/// A step up a tensor's hull.
struct Step {
    saving: f64,
    item: usize,
    to: usize,
}

/// The index of a candidate for each item, and what is left of `spare`.
fn pick(items: &[Item<'_>], mut spare: u64) -> (Vec<usize>, u64) {
    let mut picks = vec![0; items.len()];
    let mut steps = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let hull = hull(&item.candidates);
        picks[index] = hull.first().copied().unwrap_or(0);
        for pair in hull.windows(2) {
            let saving = saving(&item.candidates[pair[0]], &item.candidates[pair[1]]);
            steps.push(Step { saving, item: index, to: pair[1] });
        }
    }
    // Steps of one tensor stay in order: their savings fall, and the sort is stable.
    steps.sort_by(|a, b| {
        let names = || items[a.item].name.cmp(items[b.item].name);
        b.saving.total_cmp(&a.saving).then_with(names)
    });
    let mut stuck = vec![false; items.len()];
    for step in steps {
        let candidates = &items[step.item].candidates;
        let more = candidates[step.to].cost - candidates[picks[step.item]].cost;
        if stuck[step.item] || more > spare {
            stuck[step.item] = true;
            continue;
        }
        spare -= more;
        picks[step.item] = step.to;
    }
    while let Some((index, to)) = best_single(items, &picks, spare) {
        let candidates = &items[index].candidates;
        spare -= candidates[to].cost - candidates[picks[index]].cost;
        picks[index] = to;
    }
    (picks, spare)
}

/// The one change that saves the most error within what is left.
fn best_single(items: &[Item<'_>], picks: &[usize], spare: u64) -> Option<(usize, usize)> {
    let mut best: Option<(f64, &str, usize, usize)> = None;
    for (index, (item, pick)) in items.iter().zip(picks).enumerate() {
        let now = &item.candidates[*pick];
        for (to, next) in item.candidates.iter().enumerate() {
            let saved = now.error - next.error;
            let fits = next.cost >= now.cost && next.cost - now.cost <= spare;
            let better = best
                .is_none_or(|(most, name, ..)| saved > most || saved == most && item.name < name);
            if fits && saved > 0.0 && better {
                best = Some((saved, item.name, index, to));
            }
        }
    }
    best.map(|(_, _, index, to)| (index, to))
}

#[cfg(test)]
#[path = "budget_tests.rs"]
mod tests;
