//! BERT (Devlin et al., 2018) and the models that share its class, MiniLM and BGE among them.
//!
//! Inputs: `input_ids`, `attention_mask` and, where `type_vocab_size` is above 1,
//! `token_type_ids`, all i64 `[batch, sequence]`. Single texts take zeros as token types.

use serde_json::{Map, Value as Json, json};

use super::bert_gguf::{self, Encoder, SPELLING, leave_out};
use super::builder::{Activation, Builder};
use super::config::Config;
use super::encoder::{
    BERT_NAMES, Norm, Sizes, Stack, Text, batch_and_sequence, embedding, sum_and_norm,
};
use super::gguf::{GgufDef, Keys, Table};
use super::head::{self, Heads, MaskedLm};
use super::{ArchDef, LowerOptions, Task};
use crate::error::Result;
use crate::hub::{Checkpoint, DType, Gguf, Graph, Meta, ValueId};
use crate::tokenizer::Kind;

fn lower(checkpoint: &Checkpoint, options: &LowerOptions) -> Result<Graph> {
    let config = Config::of(checkpoint)?;
    let resolved = super::resolve(&DEF, checkpoint, options)?;
    config.refuse_variants()?;
    let sizes = Sizes::of(&config, 1e-12)?;
    let mut builder = Builder::new(checkpoint, DEF.name, "bert.");
    let b = &mut builder;

    let text = Text::inputs(b)?;
    let types = config.length_or("type_vocab_size", 2)?;
    let type_ids = if types > 1 {
        b.input("token_type_ids", DType::I64, &batch_and_sequence())?
    } else {
        b.integer(0)?
    };
    let vocabulary = config.length(&["vocab_size"])?;
    let longest = config.length(&["max_position_embeddings"])?;
    let positions = text.positions(b)?;
    let hidden = sizes.hidden;
    let parts = [
        embedding(b, "embeddings.word_embeddings", text.ids, [vocabulary, hidden])?,
        embedding(b, "embeddings.token_type_embeddings", type_ids, [types, hidden])?,
        embedding(b, "embeddings.position_embeddings", positions, [longest, hidden])?,
    ];
    let x = sum_and_norm(b, &parts, &sizes)?;
    let mask = text.additive_mask(b)?;
    let stack = Stack { sizes, names: &BERT_NAMES, norm: Norm::After, qkv_bias: [true; 3] };
    let x = stack.run(b, x, &[mask])?;

    let heads = Heads {
        classify,
        masked_lm: MaskedLm {
            dense: "cls.predictions.transform.dense",
            norm: "cls.predictions.transform.LayerNorm",
            activation: sizes.activation,
            decoder: "cls.predictions.decoder",
            bias: "cls.predictions.bias",
        },
    };
    heads.lower(b, &resolved, x, text.mask, &sizes, &config)?;
    resolved.facts(b, &DEF, &config)?;
    builder.finish(&["cls.", "classifier.", "qa_outputs."])
}

/// The pooler, then a projection.
fn classify(b: &mut Builder<'_>, x: ValueId, sizes: &Sizes, config: &Config<'_>) -> Result<()> {
    head::require(b, Task::SequenceClassification, "classifier.weight")?;
    let pooler = b.module("pooler.dense");
    let square = [sizes.hidden, sizes.hidden];
    let x = head::first_token_dense(b, &pooler, x, square, Activation::Tanh)?;
    head::classifier(b, "classifier", x, sizes.hidden, config)
}

/// What transformers takes for absent keys, of BERT and RoBERTa alike.
pub(super) fn defaults(_: &Map<String, Json>) -> Json {
    json!({
        "vocab_size": 30522, "hidden_size": 768, "num_hidden_layers": 12,
        "num_attention_heads": 12, "intermediate_size": 3072, "hidden_act": "gelu",
        "max_position_embeddings": 512, "type_vocab_size": 2, "layer_norm_eps": 1e-12,
        "pad_token_id": 0,
    })
}

fn keys(keys: &mut Keys<'_>) -> Result<()> {
    bert_gguf::no_classifier(
        keys,
        "GGUF's graph of BERT has no pooler, which the classifier reads",
    )?;
    bert_gguf::sizes(keys, &SPELLING, 0)?;
    keys.number("attention.layer_norm_epsilon", "layer_norm_eps")?;
    bert_gguf::token_types(keys);
    bert_gguf::uses(keys)
}

fn tensors(config: &Config<'_>, table: &mut Table) -> Result<()> {
    let mut encoder = Encoder::new(config, &SPELLING, "bert.", &BERT_NAMES)?;
    encoder.types = Some(config.length(&["type_vocab_size"])?);
    encoder.tensors(table);
    table.ignored("cls.predictions.bias");
    leave_out(
        table,
        &[
            "cls.predictions.transform.dense",
            "cls.predictions.transform.LayerNorm",
            "cls.predictions.decoder",
            "cls.seq_relationship",
        ],
    );
    for end in ["gamma", "beta"] {
        table.ignored(format!("cls.predictions.transform.LayerNorm.{end}"));
    }
    Ok(())
}

/// `tokenizer.ggml.model` of a file of the family `bert`: byte-level BPE and Unigram are RoBERTa's.
pub(super) fn vocabulary(gguf: &Gguf) -> &str {
    gguf.get("tokenizer.ggml.model").and_then(Meta::as_text).unwrap_or("bert")
}

static GGUF: GgufDef = GgufDef {
    name: "bert",
    revision: 1,
    class: "BertModel",
    prefix: "bert.",
    serves: |gguf| vocabulary(gguf) == "bert" && gguf.tensor("token_types.weight").is_some(),
    defaults,
    aliases: &[],
    vocabulary: &[Kind::WordPiece],
    keys,
    tensors,
};

/// BERT.
pub(super) static DEF: ArchDef = ArchDef {
    name: "bert",
    model_types: &["bert"],
    classes: &["Bert"],
    revision: 1,
    tasks: Task::TEXT,
    lower: Some(lower),
    gguf: Some(&GGUF),
};
