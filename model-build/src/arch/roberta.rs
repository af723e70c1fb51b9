//! RoBERTa (Liu et al., 2019), XLM-R and CamemBERT: BERT with fairseq's positions and other heads.
//!
//! Inputs: `input_ids` and `attention_mask`, i64 `[batch, sequence]`. Token types are those of a
//! single text (row 0 of the table), as in transformers when none are given: these models are
//! trained without.

use super::builder::{Activation, Builder};
use super::config::Config;
use super::encoder::{BERT_NAMES, Norm, Sizes, Stack, Text, embedding, sum_and_norm};
use super::head::{self, Heads, MaskedLm};
use super::{ArchDef, LowerOptions, Task};
use crate::error::Result;
use crate::hub::{Checkpoint, Graph};

fn lower(checkpoint: &Checkpoint, options: &LowerOptions) -> Result<Graph> {
    let config = Config::of(checkpoint)?;
    let resolved = super::resolve(&DEF, checkpoint, options)?;
    config.refuse_variants()?;
    let sizes = Sizes::of(&config, 1e-12)?;
    let mut builder = Builder::new(checkpoint, DEF.name, "roberta.");
    let b = &mut builder;

    let text = Text::inputs(b)?;
    let vocabulary = config.length(&["vocab_size"])?;
    let longest = config.length(&["max_position_embeddings"])?;
    let types = config.length_or("type_vocab_size", 2)?;
    let positions = text.positions_after_padding(b, config.index_or("pad_token_id", 1)?)?;
    let first_type = b.integer(0)?;
    let hidden = sizes.hidden;
    let parts = [
        embedding(b, "embeddings.word_embeddings", text.ids, [vocabulary, hidden])?,
        embedding(b, "embeddings.token_type_embeddings", first_type, [types, hidden])?,
        embedding(b, "embeddings.position_embeddings", positions, [longest, hidden])?,
    ];
    let x = sum_and_norm(b, &parts, &sizes)?;
    let mask = text.additive_mask(b)?;
    let stack = Stack { sizes, names: &BERT_NAMES, norm: Norm::After, qkv_bias: true };
    let x = stack.run(b, x, &[mask])?;

    let heads = Heads {
        classify: head::dense_classifier,
        masked_lm: MaskedLm {
            dense: "lm_head.dense",
            norm: "lm_head.layer_norm",
            activation: Activation::Gelu,
            decoder: "lm_head.decoder",
            bias: "lm_head.bias",
        },
    };
    heads.lower(b, &resolved, x, text.mask, &sizes, &config)?;
    resolved.facts(b, &DEF, &config)?;
    builder.finish(&["lm_head.", "classifier.", "qa_outputs."])
}

/// RoBERTa and the families that share its graph.
pub(super) static DEF: ArchDef = ArchDef {
    name: "roberta",
    model_types: &["roberta", "xlm-roberta", "camembert"],
    classes: &["Roberta", "XLMRoberta", "Camembert"],
    revision: 1,
    tasks: Task::TEXT,
    lower: Some(lower),
    gguf: None,
};
