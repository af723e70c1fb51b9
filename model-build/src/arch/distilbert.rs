//! DistilBERT (Sanh et al., 2019): BERT without token types and pooler, under names of its own.
//!
//! Inputs: `input_ids` and `attention_mask`, i64 `[batch, sequence]`.

use super::builder::{Activation, Builder, Module};
use super::config::Config;
use super::encoder::{Names, Norm, Sizes, Stack, Text, embedding, sum_and_norm};
use super::head::{self, Heads, MaskedLm};
use super::{ArchDef, LowerOptions, Task};
use crate::error::Result;
use crate::hub::{Checkpoint, Graph, ValueId};

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

fn sizes(config: &Config<'_>) -> Result<Sizes> {
    let sizes = Sizes {
        hidden: config.length(&["dim", "hidden_size"])?,
        heads: config.length(&["n_heads", "num_attention_heads"])?,
        layers: config.length(&["n_layers", "num_hidden_layers"])?,
        intermediate: config.length(&["hidden_dim"])?,
        // transformers has the number in the code, not in the configuration
        epsilon: 1e-12,
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
    let stack = Stack { sizes, names: &NAMES, norm: Norm::After, qkv_bias: true };
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

/// DistilBERT.
pub(super) static DEF: ArchDef = ArchDef {
    name: "distilbert",
    model_types: &["distilbert"],
    classes: &["DistilBert"],
    revision: 1,
    tasks: Task::TEXT,
    lower: Some(lower),
    gguf: None,
};
