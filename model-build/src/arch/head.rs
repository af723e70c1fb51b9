//! What stands on top of an encoder: pooling, classifiers, the masked language model, answer spans.

use super::builder::{Activation, Builder, Module};
use super::config::Config;
use super::encoder::{Sizes, batch_and_sequence};
use super::{Pooling, Resolved, Task};
use crate::error::{Error, Result};
use crate::hub::{AttrValue, DType, Dim, ValueId};

/// Below this, a vector's length counts as this when it is normalized: torch's `normalize`.
const SHORTEST: f32 = 1e-12;

/// An error unless the file has the head's tensor.
pub(super) fn require(b: &Builder<'_>, task: Task, tensor: &str) -> Result<()> {
    if b.has(tensor) {
        return Ok(());
    }
    Err(Error::unsupported(format!(
        "the checkpoint has no head for the task `{}`: it lacks `{tensor}`",
        task.name()
    ))
    .item(tensor)
    .hint("leave `task` out to build what `architectures` of config.json names"))
}

/// The first token's vector: `[batch, sequence, hidden]` → `[batch, hidden]`.
pub(super) fn first_token(b: &mut Builder<'_>, path: &str, x: ValueId) -> Result<ValueId> {
    let zero = b.integer(0)?;
    b.op(path, "Gather", &[x, zero], &[("axis", AttrValue::Int(1))])
}

/// The first token's vector through a linear layer and an activation: `[batch, outputs]`.
pub(super) fn first_token_dense(
    b: &mut Builder<'_>,
    at: &Module,
    x: ValueId,
    shape: [u64; 2],
    activation: Activation,
) -> Result<ValueId> {
    let first = first_token(b, &at.path, x)?;
    let dense = b.linear(at, first, shape, true)?;
    activation.apply(b, &at.path, dense)
}

/// A family's heads that differ from the others'.
pub(super) struct Heads {
    /// Sequence classification on top of `[batch, sequence, hidden]`.
    pub(super) classify: fn(&mut Builder<'_>, ValueId, &Sizes, &Config<'_>) -> Result<()>,
    /// The masked language model.
    pub(super) masked_lm: MaskedLm,
}

impl Heads {
    /// Puts the task's head on top of `x` `[batch, sequence, hidden]`. `mask` is the input
    /// `attention_mask`.
    pub(super) fn lower(
        &self,
        b: &mut Builder<'_>,
        resolved: &Resolved,
        x: ValueId,
        mask: ValueId,
        sizes: &Sizes,
        config: &Config<'_>,
    ) -> Result<()> {
        match resolved.task {
            Task::FeatureExtraction => features(b, resolved, x, mask, sizes.hidden),
            Task::SequenceClassification => (self.classify)(b, x, sizes, config),
            Task::TokenClassification => token_classifier(b, x, sizes, config),
            Task::MaskedLm => self.masked_lm.lower(b, x, sizes, config),
            Task::QuestionAnswering => question_answering(b, x, sizes),
            _ => Err(Error::bug("a text encoder with a task that is none of its own")),
        }
    }
}

/// Outputs of the bare encoder: `sentence_embedding` `[batch, hidden]` where pooling is asked for,
/// else `last_hidden_state` `[batch, sequence, hidden]`, and `pooler_output` `[batch, hidden]`
/// where the file has BERT's pooler.
pub(super) fn features(
    b: &mut Builder<'_>,
    resolved: &Resolved,
    x: ValueId,
    mask: ValueId,
    width: u64,
) -> Result<()> {
    let [batch, sequence] = batch_and_sequence();
    let hidden = Dim::Fixed(width);
    let path = "sentence_embedding";
    let mut pooled = match resolved.pooling {
        Pooling::None => {
            if b.has(&b.in_encoder("pooler.dense.weight")) {
                let pooler = b.module("pooler.dense");
                let square = [width, width];
                let y = first_token_dense(b, &pooler, x, square, Activation::Tanh)?;
                b.output("last_hidden_state", x, &[batch.clone(), sequence, hidden.clone()]);
                b.output("pooler_output", y, &[batch, hidden]);
            } else {
                b.output("last_hidden_state", x, &[batch, sequence, hidden]);
            }
            return Ok(());
        }
        Pooling::Cls => first_token(b, path, x)?,
        Pooling::Mean => mean(b, path, x, mask)?,
    };
    if resolved.normalize {
        // x / max(‖x‖, ε)
        let length = b.op(path, "ReduceL2", &[pooled], &[("axes", AttrValue::Ints(vec![-1]))])?;
        let shortest = b.scalar(SHORTEST)?;
        let length = b.op(path, "Max", &[length, shortest], &[])?;
        pooled = b.op(path, "Div", &[pooled, length], &[])?;
    }
    b.output("sentence_embedding", pooled, &[batch, hidden]);
    Ok(())
}

/// The mean over the tokens that the mask keeps; zeros where it keeps none.
///
/// The count is at least 1, where sentence-transformers has 1e-9: with a mask of zeros and ones
/// both give the same, and 1 is a number of every floating type.
fn mean(b: &mut Builder<'_>, path: &str, x: ValueId, mask: ValueId) -> Result<ValueId> {
    let last = b.integers(&[-1])?;
    let middle = b.integers(&[1])?;
    let reduce = [("keepdims", AttrValue::Int(0))];
    let keep = b.op(path, "Unsqueeze", &[mask, last], &[])?;
    let keep = b.cast(path, keep, DType::F32)?;
    let kept = b.op(path, "Mul", &[x, keep], &[])?;
    let sum = b.op(path, "ReduceSum", &[kept, middle], &reduce)?;
    let count = b.op(path, "ReduceSum", &[keep, middle], &reduce)?;
    let one = b.scalar(1.0)?;
    let count = b.op(path, "Max", &[count, one], &[])?;
    b.op(path, "Div", &[sum, count], &[])
}

/// A classifier of the whole sequence on top of `x` `[batch, inputs]`: `logits` `[batch, labels]`.
pub(super) fn classifier(
    b: &mut Builder<'_>,
    name: &str,
    x: ValueId,
    inputs: u64,
    config: &Config<'_>,
) -> Result<()> {
    let labels = config.label_count()?;
    let logits = b.linear(&Module::head(name), x, [labels, inputs], true)?;
    b.output("logits", logits, &[Dim::symbol("batch"), Dim::Fixed(labels)]);
    Ok(())
}

/// RoBERTa's classifier: the first token, a dense layer with tanh, a projection.
pub(super) fn dense_classifier(
    b: &mut Builder<'_>,
    x: ValueId,
    sizes: &Sizes,
    config: &Config<'_>,
) -> Result<()> {
    require(b, Task::SequenceClassification, "classifier.out_proj.weight")?;
    let dense = Module::head("classifier.dense");
    let x = first_token_dense(b, &dense, x, [sizes.hidden, sizes.hidden], Activation::Tanh)?;
    classifier(b, "classifier.out_proj", x, sizes.hidden, config)
}

/// A classifier of each token: `logits` `[batch, sequence, labels]`.
fn token_classifier(
    b: &mut Builder<'_>,
    x: ValueId,
    sizes: &Sizes,
    config: &Config<'_>,
) -> Result<()> {
    require(b, Task::TokenClassification, "classifier.weight")?;
    let labels = config.label_count()?;
    let logits = b.linear(&Module::head("classifier"), x, [labels, sizes.hidden], true)?;
    let [batch, sequence] = batch_and_sequence();
    b.output("logits", logits, &[batch, sequence, Dim::Fixed(labels)]);
    Ok(())
}

/// Answer spans: `start_logits` and `end_logits` `[batch, sequence]`.
fn question_answering(b: &mut Builder<'_>, x: ValueId, sizes: &Sizes) -> Result<()> {
    require(b, Task::QuestionAnswering, "qa_outputs.weight")?;
    let at = Module::head("qa_outputs");
    let both = b.linear(&at, x, [2, sizes.hidden], true)?;
    for (index, name) in [(0, "start_logits"), (1, "end_logits")] {
        let index = b.integer(index)?;
        let one = b.op(&at.path, "Gather", &[both, index], &[("axis", AttrValue::Int(2))])?;
        b.output(name, one, &batch_and_sequence());
    }
    Ok(())
}

/// `x` `[…, hidden]` on the vocabulary, without a bias: `[…, vocabulary]`.
///
/// The weight at `at` is used in its own right when it differs from the word embeddings `table`, as
/// transformers does; else both are one initializer. `ties` says what holds where the file has only
/// the word embeddings.
pub(super) fn project(
    b: &mut Builder<'_>,
    at: &Module,
    table: &str,
    x: ValueId,
    shape: [u64; 2],
    ties: bool,
) -> Result<ValueId> {
    let own = format!("{}.weight", at.file);
    let tied = if b.has(&own) { b.same(&own, table)? } else { ties };
    if !tied {
        return b.linear(at, x, shape, false);
    }
    b.mark_used(&own);
    let table = b.weight(table, &shape)?;
    let perm = [("perm", AttrValue::Ints(vec![1, 0]))];
    let turned = b.op(&at.path, "Transpose", &[table], &perm)?;
    b.op(&at.path, "MatMul", &[x, turned], &[])
}

/// Where a masked language model's head keeps its parts.
pub(super) struct MaskedLm {
    pub(super) dense: &'static str,
    pub(super) norm: &'static str,
    pub(super) activation: Activation,
    /// The projection on the vocabulary, whose weight is the word embeddings unless the file says
    /// otherwise.
    pub(super) decoder: &'static str,
    /// The bias of the projection under another name.
    pub(super) bias: &'static str,
}

impl MaskedLm {
    /// `logits` `[batch, sequence, vocabulary]`.
    fn lower(
        &self,
        b: &mut Builder<'_>,
        x: ValueId,
        sizes: &Sizes,
        config: &Config<'_>,
    ) -> Result<()> {
        require(b, Task::MaskedLm, &format!("{}.weight", self.dense))?;
        let vocabulary = config.length(&["vocab_size"])?;
        let dense = Module::head(self.dense);
        let x = b.linear(&dense, x, [sizes.hidden, sizes.hidden], true)?;
        let x = self.activation.apply(b, &dense.path, x)?;
        let x = b.layer_norm(&Module::head(self.norm), x, sizes.hidden, sizes.epsilon)?;

        let decoder = Module::head(self.decoder);
        let embeddings = b.in_encoder("embeddings.word_embeddings.weight");
        let ties = config.flag_or("tie_word_embeddings", true)?;
        let projected = project(b, &decoder, &embeddings, x, [vocabulary, sizes.hidden], ties)?;
        let own_bias = format!("{}.bias", self.decoder);
        let name = if b.has(&own_bias) { own_bias.as_str() } else { self.bias };
        let bias = b.weight(name, &[vocabulary])?;
        let logits = b.op(&decoder.path, "Add", &[projected, bias], &[])?;
        let [batch, sequence] = batch_and_sequence();
        b.output("logits", logits, &[batch, sequence, Dim::Fixed(vocabulary)]);
        Ok(())
    }
}
