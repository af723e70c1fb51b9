//! RoBERTa (Liu et al., 2019), XLM-R and CamemBERT: BERT with fairseq's positions and other heads.
//!
//! Inputs: `input_ids` and `attention_mask`, i64 `[batch, sequence]`. Token types are those of a
//! single text (row 0 of the table), as in transformers when none are given: these models are
//! trained without.

use serde_json::{Map, Value as Json};

use super::bert::vocabulary;
use super::bert_gguf::{self, Encoder, SPELLING, leave_out};
use super::builder::{Activation, Builder};
use super::config::{Config, wrong};
use super::encoder::{BERT_NAMES, Norm, Sizes, Stack, Text, embedding, sum_and_norm};
use super::gguf::{GgufDef, Keys, Table};
use super::head::{self, Heads, MaskedLm};
use super::{ArchDef, LowerOptions, Task};
use crate::error::Result;
use crate::hub::{Checkpoint, Graph};
use crate::tokenizer::Kind;

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
    let stack = Stack { sizes, names: &BERT_NAMES, norm: Norm::After, qkv_bias: [true; 3] };
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

fn defaults(config: &Map<String, Json>) -> Json {
    let mut defaults = super::bert::defaults(config);
    defaults["pad_token_id"] = 1.into();
    if config.get("model_type").and_then(Json::as_str) == Some("roberta") {
        defaults["vocab_size"] = 50265.into();
    }
    defaults
}

/// The first position that a token takes: those up to the padding token's number are padding's.
fn first_position(config: &Config<'_>) -> Result<u64> {
    let key = "pad_token_id";
    if config.get(&[key]).is_none() {
        return Err(wrong(key, "is missing: positions are counted from it"));
    }
    let padding = config.index_or(key, 1)?.unsigned_abs();
    if padding >= config.length(&["vocab_size"])? {
        return Err(wrong(key, format!("is {padding}, which is no token")));
    }
    Ok(padding + 1)
}

fn keys(keys: &mut Keys<'_>) -> Result<()> {
    if !keys.packing() && keys.config().get(&["pad_token_id"]).is_none() {
        keys.set("pad_token_id", 1);
    }
    let first = first_position(&keys.config())?;
    bert_gguf::sizes(keys, &SPELLING, first)?;
    keys.number("attention.layer_norm_epsilon", "layer_norm_eps")?;
    bert_gguf::token_types(keys);
    if let Some(gguf) = keys.gguf() {
        let unigram = vocabulary(gguf) == "t5";
        let (kind, class) =
            if unigram { ("xlm-roberta", "XLMRoberta") } else { ("roberta", "Roberta") };
        let classifies = gguf.tensor(CLASSIFIER.1).is_some();
        let task = if classifies { Task::SequenceClassification } else { Task::FeatureExtraction };
        keys.set("model_type", kind);
        keys.set(
            "architectures",
            vec![format!("{class}{}", task.class_suffixes().first().unwrap_or(&""))],
        );
    }
    bert_gguf::uses(keys)
}

/// A tensor of a classifier of sequences, by its name in a checkpoint and in a GGUF file.
const CLASSIFIER: (&str, &str) = ("classifier.out_proj.weight", "cls.output.weight");

fn tensors(config: &Config<'_>, table: &mut Table) -> Result<()> {
    let mut encoder = Encoder::new(config, &SPELLING, "roberta.", &BERT_NAMES)?;
    encoder.types = Some(config.length(&["type_vocab_size"])?);
    encoder.skipped = first_position(config)?;
    encoder.tensors(table);
    let hidden = encoder.hidden();
    if table.has(CLASSIFIER.0, CLASSIFIER.1) {
        table.linear("classifier.dense", "cls", &[hidden, hidden]);
        let shape = [config.label_count()?, hidden];
        table.linear("classifier.out_proj", "cls.output", &shape);
    }
    table.ignored("lm_head.bias");
    leave_out(table, &["lm_head.dense", "lm_head.layer_norm", "lm_head.decoder"]);
    Ok(())
}

static GGUF: GgufDef = GgufDef {
    name: "bert",
    revision: 1,
    class: "RobertaModel",
    prefix: "roberta.",
    serves: |gguf| ["gpt2", "t5"].contains(&vocabulary(gguf)),
    defaults,
    aliases: &[],
    vocabulary: &[Kind::Bpe, Kind::Unigram],
    keys,
    tensors,
};

/// RoBERTa and the families that share its graph.
pub(super) static DEF: ArchDef = ArchDef {
    name: "roberta",
    model_types: &["roberta", "xlm-roberta", "camembert"],
    classes: &["Roberta", "XLMRoberta", "Camembert"],
    revision: 1,
    tasks: Task::TEXT,
    lower: Some(lower),
    gguf: Some(&GGUF),
};
