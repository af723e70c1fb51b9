//! Gemma (Gemma Team, 2024), and what its successors share with it.

use serde_json::{Map, Value as Json, json};

use super::config::refused;
use super::decoder::{Layer, Sizes, head_dim, heads};
use super::falcon::plain_rope;
use super::gguf::{GgufDef, Keys, Table};
use super::llama::heads_of;
use super::{ArchDef, Config};
use crate::error::Result;
use crate::tokenizer::Kind;

fn defaults(config: &Map<String, Json>) -> Json {
    json!({
        "vocab_size": 256_000, "hidden_size": 3072, "intermediate_size": 24576,
        "num_hidden_layers": 28, "num_attention_heads": 16, "head_dim": 256,
        "num_key_value_heads": heads_of(config, 16), "max_position_embeddings": 8192,
        "rms_norm_eps": 1e-6, "rope_theta": 10_000.0, "tie_word_embeddings": true,
    })
}

/// The activation, which older files name `hidden_act` and compute as the newer ones say.
pub(super) fn activation(keys: &mut Keys<'_>) -> Result<()> {
    let tanh = "gelu_pytorch_tanh";
    if keys.packing() {
        let config = keys.config();
        let found = config.text_or("hidden_activation", tanh)?;
        let older = config.text_or("hidden_act", tanh)?;
        for (key, value) in [("hidden_activation", found), ("hidden_act", older)] {
            if value != tanh && !(key == "hidden_act" && value == "gelu") {
                let what = format!("is {value}: GGUF's graph of this family has {tanh}");
                return Err(refused(key, what));
            }
        }
    } else {
        keys.set("hidden_activation", tanh);
        keys.set("hidden_act", tanh);
    }
    keys.only("use_bidirectional_attention", false)
}

/// Keys that Gemma and Gemma 2 have, in the converter's order.
pub(super) fn first_keys(keys: &mut Keys<'_>) -> Result<()> {
    keys.length("context_length", "max_position_embeddings")?;
    keys.length("embedding_length", "hidden_size")?;
    keys.length("block_count", "num_hidden_layers")?;
    keys.length("feed_forward_length", "intermediate_size")?;
    heads(keys)?;
    keys.number("attention.layer_norm_rms_epsilon", "rms_norm_eps")?;
    head_dim(keys)?;
    keys.flag_of_tensor("attention_bias", "blk.0.attn_q.bias");
    activation(keys)
}

fn keys(keys: &mut Keys<'_>) -> Result<()> {
    first_keys(keys)?;
    plain_rope(keys, 1.0)
}

/// A norm, whose weight a checkpoint has less one.
pub(super) fn norm(layer: &Layer, table: &mut Table, hf: &str, gguf: &str, length: u64) {
    table.plus_one(layer.hf(hf) + ".weight", layer.gguf(gguf) + ".weight", &[length]);
}

/// The tensors outside of the layers. The output layer is the embedding always.
pub(super) fn ends(table: &mut Table, sizes: &Sizes) {
    let matrix = [sizes.vocabulary, sizes.hidden];
    table.same("model.embed_tokens.weight", "token_embd.weight", &matrix);
    table.plus_one("model.norm.weight", "output_norm.weight", &[sizes.hidden]);
    table.ignored("lm_head.weight");
}

fn tensors(config: &Config<'_>, table: &mut Table) -> Result<()> {
    let sizes = Sizes::of(config)?;
    ends(table, &sizes);
    for i in 0..sizes.layers {
        let layer = Layer::new(i);
        norm(&layer, table, "input_layernorm", "attn_norm", sizes.hidden);
        norm(&layer, table, "post_attention_layernorm", "ffn_norm", sizes.hidden);
        layer.attention(table, &sizes, false);
        layer.gated(table, &sizes);
    }
    Ok(())
}

static GGUF: GgufDef = GgufDef {
    name: "gemma",
    revision: 1,
    class: "GemmaForCausalLM",
    prefix: "model.",
    serves: |_| true,
    defaults,
    aliases: &[],
    vocabulary: &[Kind::SentencePiece],
    keys,
    tensors,
};

/// Gemma.
pub(super) static DEF: ArchDef = ArchDef {
    name: "gemma",
    model_types: &["gemma"],
    classes: &["Gemma"],
    revision: 1,
    tasks: &[],
    lower: None,
    gguf: Some(&GGUF),
};
