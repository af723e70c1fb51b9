//! What BERT, RoBERTa and DistilBERT share in GGUF files, which have them as one family.
//!
//! GGUF's graph is the encoder: positions count from 0 and token types are those of a single text.
//! Poolers and the heads of masked language models have no place there and are left out, as llama.cpp's
//! converter does. Of the heads that classify, the one that is the first token, a dense layer, tanh and a
//! projection — RoBERTa's — is computed as the checkpoint means it; the others are refused.

use bytes::Bytes;
use serde_json::{Map, Value as Json};

use super::Config;
use super::config::wrong;
use super::encoder::Names;
use super::gguf::{Keys, Table, bad_key, length_meta};
use crate::error::{Error, Result};
use crate::hub::{Gguf, Meta, MetaArray};

/// The keys of `config.json` for what all these families have.
pub(super) struct Spelling {
    pub(super) layers: &'static str,
    pub(super) hidden: &'static str,
    pub(super) inner: &'static str,
    pub(super) heads: &'static str,
    pub(super) activation: &'static str,
}

/// BERT's spelling.
pub(super) const SPELLING: Spelling = Spelling {
    layers: "num_hidden_layers",
    hidden: "hidden_size",
    inner: "intermediate_size",
    heads: "num_attention_heads",
    activation: "hidden_act",
};

/// What an encoder's tensors follow from.
pub(super) struct Encoder {
    /// What its class with a head puts before the names.
    pub(super) prefix: &'static str,
    pub(super) names: &'static Names,
    /// Rows of the table of token types, where there is one.
    pub(super) types: Option<u64>,
    /// Rows of the table of positions that no token takes.
    pub(super) skipped: u64,
    hidden: u64,
    inner: u64,
    layers: u64,
    vocabulary: u64,
    positions: u64,
}

impl Encoder {
    /// An encoder of a configuration, with no token types and with all positions.
    pub(super) fn new(
        config: &Config<'_>,
        spelling: &Spelling,
        prefix: &'static str,
        names: &'static Names,
    ) -> Result<Self> {
        Ok(Self {
            prefix,
            names,
            types: None,
            skipped: 0,
            hidden: config.length(&[spelling.hidden])?,
            inner: config.length(&[spelling.inner])?,
            layers: config.length(&[spelling.layers])?,
            vocabulary: config.length(&["vocab_size"])?,
            positions: config.length(&["max_position_embeddings"])?,
        })
    }

    /// The width of the token vectors.
    pub(super) fn hidden(&self) -> u64 {
        self.hidden
    }

    /// The tensors, but for a classifier's.
    pub(super) fn tensors(&self, table: &mut Table) {
        let hf = |name: &str| format!("{}{name}", self.prefix);
        let embedding = |name: &str| hf(&format!("embeddings.{name}.weight"));
        let width = self.hidden;
        norm(table, &hf("embeddings.LayerNorm"), "token_embd_norm", width);
        let words = [self.vocabulary, width];
        table.same(embedding("word_embeddings"), "token_embd.weight", &words);
        let positions = [self.positions.saturating_sub(self.skipped), width];
        let name = embedding("position_embeddings");
        table.without_first(name, "position_embd.weight", self.skipped, positions);
        if let Some(types) = self.types {
            let name = embedding("token_type_embeddings");
            table.same(name, "token_types.weight", &[types, width]);
        }
        table.ignored(hf("pooler.dense.weight"));
        table.ignored(hf("pooler.dense.bias"));
        for i in 0..self.layers {
            let hf = |name: &str| hf(&format!("{}.{i}.{name}", self.names.layers));
            let gguf = |name: &str| format!("blk.{i}.{name}");
            let square = [width, width];
            table.linear(&hf(self.names.query), &gguf("attn_q"), &square);
            table.linear(&hf(self.names.key), &gguf("attn_k"), &square);
            table.linear(&hf(self.names.value), &gguf("attn_v"), &square);
            table.linear(&hf(self.names.out), &gguf("attn_output"), &square);
            norm(table, &hf(self.names.attention_norm), &gguf("attn_output_norm"), width);
            table.linear(&hf(self.names.up), &gguf("ffn_up"), &[self.inner, width]);
            table.linear(&hf(self.names.down), &gguf("ffn_down"), &[width, self.inner]);
            norm(table, &hf(self.names.output_norm), &gguf("layer_output_norm"), width);
        }
    }
}

/// A norm, whose weight and bias the oldest checkpoints name `gamma` and `beta`.
fn norm(table: &mut Table, hf: &str, gguf: &str, width: u64) {
    let old = table.has(&format!("{hf}.gamma"), "");
    let (weight, bias) = if old { ("gamma", "beta") } else { ("weight", "bias") };
    table.same(format!("{hf}.{weight}"), format!("{gguf}.weight"), &[width]);
    table.same(format!("{hf}.{bias}"), format!("{gguf}.bias"), &[width]);
}

/// Leaves out layers that no GGUF file of the family has: each may have a `weight` and a `bias`.
pub(super) fn leave_out(table: &mut Table, layers: &[&str]) {
    for layer in layers {
        table.ignored(format!("{layer}.weight"));
        table.ignored(format!("{layer}.bias"));
    }
}

/// The sizes and what the graph computes with. `skipped` is as in [`Encoder`].
pub(super) fn sizes(keys: &mut Keys<'_>, spelling: &Spelling, skipped: u64) -> Result<()> {
    keys.length("block_count", spelling.layers)?;
    positions(keys, skipped)?;
    keys.length("embedding_length", spelling.hidden)?;
    keys.length("feed_forward_length", spelling.inner)?;
    keys.length("attention.head_count", spelling.heads)?;
    keys.only(spelling.activation, "gelu")?;
    keys.only("position_embedding_type", "absolute")?;
    keys.only("is_decoder", false)?;
    keys.only("add_cross_attention", false)
}

/// The number of positions that tokens take.
fn positions(keys: &mut Keys<'_>, skipped: u64) -> Result<()> {
    const FROM: &str = "max_position_embeddings";
    if keys.packing() {
        let all = keys.config().length(&[FROM])?;
        let used = all.checked_sub(skipped).filter(|n| *n > 0).ok_or_else(|| {
            wrong(FROM, format!("is {all}, of which padding takes the first {skipped}"))
        })?;
        keys.put("context_length", length_meta("context_length", used)?);
        return Ok(());
    }
    let used = keys
        .take_length("context_length")?
        .ok_or_else(|| bad_key("context_length", "is missing"))?;
    let all = used
        .checked_add(skipped)
        .ok_or_else(|| bad_key("context_length", "is larger than any table of positions"))?;
    keys.set(FROM, all);
    Ok(())
}

/// The number of token types, which GGUF has as the rows of their table.
pub(super) fn token_types(keys: &mut Keys<'_>) {
    let table = keys.gguf().and_then(|gguf| gguf.tensor("token_types.weight"));
    if let Some(rows) = table.and_then(|tensor| tensor.shape().first()) {
        keys.set("type_vocab_size", *rows);
    }
}

/// Attention in both directions, pooling and labels.
pub(super) fn uses(keys: &mut Keys<'_>) -> Result<()> {
    keys.put("attention.causal", Meta::Bool(false));
    if let Some(causal) = keys.take("attention.causal")
        && causal.as_bool() != Some(false)
    {
        return Err(bad_key("attention.causal", "is not false: this family attends both ways"));
    }
    keys.pooling()?;
    labels(keys)
}

const LABELS: &str = "classifier.output_labels";

/// The names of what is told apart, where a configuration has any but the two that transformers
/// makes up.
fn labels(keys: &mut Keys<'_>) -> Result<()> {
    if keys.packing() {
        let labels = known_labels(&keys.config())?;
        let made_up = labels.len() == 2 && labels.first().is_some_and(|name| name == "LABEL_0");
        if !labels.is_empty() && !made_up {
            let labels = labels.into_iter().map(|label| label.into_bytes().into()).collect();
            keys.put(LABELS, Meta::Array(MetaArray::Text(labels)));
        }
        return Ok(());
    }
    let rows = keys.gguf().and_then(|gguf| gguf.tensor("cls.output.weight"));
    let rows = rows.and_then(|tensor| tensor.shape().first()).copied();
    let labels: Vec<String> = match (keys.take(LABELS), rows) {
        (Some(Meta::Array(MetaArray::Text(labels))), _) => {
            let text = |label: &Bytes| std::str::from_utf8(label).map(str::to_owned).ok();
            let each = labels.iter().map(text);
            each.collect::<Option<_>>().ok_or_else(|| bad_key(LABELS, "is not in UTF-8"))?
        }
        (Some(_), _) => return Err(bad_key(LABELS, "is no list of texts")),
        (None, Some(rows)) => (0..rows.min(MOST_LABELS)).map(|i| format!("LABEL_{i}")).collect(),
        (None, None) => return Ok(()),
    };
    let by_number = labels.iter().enumerate().map(|(i, name)| (i.to_string(), name.clone().into()));
    let by_number: Map<String, Json> = by_number.collect();
    let by_name = labels.iter().enumerate().map(|(i, name)| (name.clone(), i.into()));
    let by_name: Map<String, Json> = by_name.collect();
    keys.set("id2label", by_number);
    keys.set("label2id", by_name);
    Ok(())
}

/// More labels than names are made up for.
const MOST_LABELS: u64 = 1 << 16;

/// The labels of a configuration: named, or as many as it says.
fn known_labels(config: &Config<'_>) -> Result<Vec<String>> {
    if let Some(labels) = config.labels()? {
        return Ok(labels);
    }
    let count = config.length_or("num_labels", 2)?;
    if count > MOST_LABELS {
        return Err(wrong("num_labels", format!("is {count}")));
    }
    Ok((0..count).map(|i| format!("LABEL_{i}")).collect())
}

/// Refuses a classifier that GGUF's graph of the family does not compute as the checkpoint does.
pub(super) fn no_classifier(keys: &Keys<'_>, why: &str) -> Result<()> {
    let Some(checkpoint) = keys.checkpoint() else { return Ok(()) };
    if !checkpoint.tensors.contains_key("classifier.weight") {
        return Ok(());
    }
    Err(Error::unsupported(format!("a classifier is not packed into GGUF here: {why}"))
        .item("classifier.weight")
        .hint("lower it to a graph: `format = \"onnx\"`")
        .hint("or pack the encoder alone: take a checkpoint without `classifier.*` tensors"))
}

/// Puts the number of token types among the tokenizer's keys of a file, where llama.cpp's converter
/// has it for that kind of vocabulary.
pub(super) fn count_token_types(gguf: &Gguf, tokenizer: &mut Vec<(String, Meta)>) -> Result<()> {
    const KEY: &str = "tokenizer.ggml.token_type_count";
    let table = gguf.tensor("token_types.weight");
    let count = table.and_then(|tensor| tensor.shape().first()).copied().unwrap_or(1);
    let at = |name: &str| tokenizer.iter().position(|(key, _)| key == name);
    let model = tokenizer.iter().find(|(key, _)| key == "tokenizer.ggml.model");
    let place = match model.and_then(|(_, value)| value.as_text()) {
        Some("gpt2") => None,
        Some("t5") => at("tokenizer.ggml.remove_extra_whitespaces"),
        _ => Some(0),
    };
    let place = place.unwrap_or(tokenizer.len());
    tokenizer.insert(place, (KEY.to_owned(), length_meta(KEY, count)?));
    Ok(())
}
