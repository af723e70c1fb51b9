//! Granite: LLaMA with four scales.

use serde_json::{Map, Value as Json, json};

use super::ArchDef;
use super::decoder::{Common, common};
use super::gguf::{GgufDef, Keys};
use super::llama::{self, heads_of};
use crate::error::Result;
use crate::tokenizer::Kind;

fn defaults(config: &Map<String, Json>) -> Json {
    json!({
        "vocab_size": 32000, "hidden_size": 4096, "intermediate_size": 11008,
        "num_hidden_layers": 32, "num_attention_heads": 32, "max_position_embeddings": 2048,
        "rms_norm_eps": 1e-6, "rope_theta": 10_000.0, "tie_word_embeddings": false,
        "num_key_value_heads": heads_of(config, 32), "embedding_multiplier": 1.0,
        "logits_scaling": 1.0, "residual_multiplier": 1.0, "attention_multiplier": 1.0,
    })
}

fn keys(keys: &mut Keys<'_>) -> Result<()> {
    common(keys, &Common { head_dim: false, ..llama::COMMON })?;
    llama::rest(keys)?;
    keys.number("attention.scale", "attention_multiplier")?;
    keys.number("embedding_scale", "embedding_multiplier")?;
    keys.number("residual_scale", "residual_multiplier")?;
    keys.number("logit_scale", "logits_scaling")?;
    keys.flag_of_tensor("attention_bias", "blk.0.attn_q.bias");
    keys.flag_of_tensor("mlp_bias", "blk.0.ffn_gate.bias");
    Ok(())
}

static GGUF: GgufDef = GgufDef {
    name: "granite",
    revision: 1,
    class: "GraniteForCausalLM",
    prefix: "model.",
    serves: |_| true,
    defaults,
    aliases: &[],
    vocabulary: &[Kind::SentencePiece, Kind::Bpe],
    keys,
    tensors: llama::tensors,
};

/// Granite: LLaMA with four scales.
pub(super) static DEF: ArchDef = ArchDef {
    name: "granite",
    model_types: &["granite"],
    classes: &["Granite"],
    revision: 1,
    tasks: &[],
    lower: None,
    gguf: Some(&GGUF),
};
