//! DistilBERT (Sanh et al., 2019): BERT without token types and pooler, under names of its own.
//!
//! Inputs: `input_ids` and `attention_mask`, i64 `[batch, sequence]`.

use serde_json::{Map, Value as Json, json};

use super::bert::vocabulary;
use super::bert_gguf::{self, Encoder, Spelling, leave_out};
use super::builder::{Activation, Builder, Module};
use super::config::Config;
use super::encoder::{Names, Norm, Sizes, Stack, Text, embedding, sum_and_norm};
use super::gguf::{GgufDef, Keys, Table, bad_key};
use super::head::{self, Heads, MaskedLm};
use super::{ArchDef, LowerOptions, Task};
use crate::error::Result;
use crate::hub::{Checkpoint, Graph, Meta, ValueId};
use crate::tokenizer::Kind;

const NAMES: Names = Names {
    layers: "transformer.layer",
    query: "attention.q_lin",
    key: "attention.k_lin",
    value: "attention.v_lin",
    out: "attention.out_lin",
    attention_norm: "sa_layer_norm",
    up: "ffn.lin1",
    down: "ffn.lin2",
    output_norm: "output_layer_norm",
};

/// Of the norms; transformers has the number in the code, not in the configuration.
const EPSILON: f32 = 1e-12;

fn sizes(config: &Config<'_>) -> Result<Sizes> {
    let sizes = Sizes {
        hidden: config.length(&["dim", "hidden_size"])?,
        heads: config.length(&["n_heads", "num_attention_heads"])?,
        layers: config.length(&["n_layers", "num_hidden_layers"])?,
        intermediate: config.length(&["hidden_dim"])?,
        epsilon: EPSILON,
        activation: Activation::of(config, "activation", "gelu")?,
    };
    sizes.check("n_heads", "dim")
}

fn lower(checkpoint: &Checkpoint, options: &LowerOptions) -> Result<Graph> {
    let config = Config::of(checkpoint)?;
    let resolved = super::resolve(&DEF, checkpoint, options)?;
    config.refuse_variants()?;
    let sizes = sizes(&config)?;
    let mut builder = Builder::new(checkpoint, DEF.name, "distilbert.");
    let b = &mut builder;

    let text = Text::inputs(b)?;
    let vocabulary = config.length(&["vocab_size"])?;
    let longest = config.length(&["max_position_embeddings"])?;
    let positions = text.positions(b)?;
    let hidden = sizes.hidden;
    let parts = [
        embedding(b, "embeddings.word_embeddings", text.ids, [vocabulary, hidden])?,
        embedding(b, "embeddings.position_embeddings", positions, [longest, hidden])?,
    ];
    let x = sum_and_norm(b, &parts, &sizes)?;
    let mask = text.additive_mask(b)?;
    let stack = Stack { sizes, names: &NAMES, norm: Norm::After, qkv_bias: [true; 3] };
    let x = stack.run(b, x, &[mask])?;

    let heads = Heads {
        classify,
        masked_lm: MaskedLm {
            dense: "vocab_transform",
            norm: "vocab_layer_norm",
            activation: sizes.activation,
            decoder: "vocab_projector",
            bias: "vocab_projector.bias",
        },
    };
    heads.lower(b, &resolved, x, text.mask, &sizes, &config)?;
    resolved.facts(b, &DEF, &config)?;
    builder.finish(&["vocab_", "pre_classifier.", "classifier.", "qa_outputs."])
}

/// The first token, a dense layer with ReLU, a projection.
fn classify(b: &mut Builder<'_>, x: ValueId, sizes: &Sizes, config: &Config<'_>) -> Result<()> {
    head::require(b, Task::SequenceClassification, "pre_classifier.weight")?;
    let dense = Module::head("pre_classifier");
    let square = [sizes.hidden, sizes.hidden];
    let x = head::first_token_dense(b, &dense, x, square, Activation::Relu)?;
    head::classifier(b, "classifier", x, sizes.hidden, config)
}

fn defaults(_: &Map<String, Json>) -> Json {
    json!({
        "vocab_size": 30522, "dim": 768, "n_layers": 6, "n_heads": 12, "hidden_dim": 3072,
        "max_position_embeddings": 512, "activation": "gelu", "pad_token_id": 0,
    })
}

const SPELLING: Spelling = Spelling {
    layers: "n_layers",
    hidden: "dim",
    inner: "hidden_dim",
    heads: "n_heads",
    activation: "activation",
};

fn keys(keys: &mut Keys<'_>) -> Result<()> {
    const KEY: &str = "attention.layer_norm_epsilon";
    let why = "GGUF's graph has tanh where DistilBERT's classifier has ReLU";
    bert_gguf::no_classifier(keys, why)?;
    keys.put(KEY, Meta::F32(EPSILON));
    if let Some(found) = keys.take_number(KEY)?
        && found.to_bits() != EPSILON.to_bits()
    {
        return Err(bad_key(KEY, format!("is {found}: DistilBERT's is {EPSILON:e} always")));
    }
    bert_gguf::sizes(keys, &SPELLING, 0)?;
    bert_gguf::uses(keys)
}

fn tensors(config: &Config<'_>, table: &mut Table) -> Result<()> {
    Encoder::new(config, &SPELLING, "distilbert.", &NAMES)?.tensors(table);
    leave_out(table, &["vocab_transform", "vocab_layer_norm", "vocab_projector"]);
    Ok(())
}

static GGUF: GgufDef = GgufDef {
    name: "bert",
    revision: 1,
    class: "DistilBertModel",
    prefix: "distilbert.",
    serves: |gguf| vocabulary(gguf) == "bert" && gguf.tensor("token_types.weight").is_none(),
    defaults,
    aliases: &[
        ("hidden_size", "dim"),
        ("num_attention_heads", "n_heads"),
        ("num_hidden_layers", "n_layers"),
    ],
    vocabulary: &[Kind::WordPiece],
    keys,
    tensors,
};

/// DistilBERT.
pub(super) static DEF: ArchDef = ArchDef {
    name: "distilbert",
    model_types: &["distilbert"],
    classes: &["DistilBert"],
    revision: 1,
    tasks: Task::TEXT,
    lower: Some(lower),
    gguf: Some(&GGUF),
};
