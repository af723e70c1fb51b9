//! SmolLM3: LLaMA of which every fourth layer does not rotate.

use serde_json::{Map, Value as Json, json};

use super::config::refused;
use super::decoder::common;
use super::gguf::{GgufDef, Keys};
use super::llama::{self, heads_of};
use super::{ArchDef, Config};
use crate::error::Result;
use crate::tokenizer::Kind;

fn defaults(config: &Map<String, Json>) -> Json {
    let kv_heads =
        if config.contains_key("num_key_value_heads") { heads_of(config, 16) } else { 4 };
    json!({
        "vocab_size": 128_256, "hidden_size": 2048, "intermediate_size": 11008,
        "num_hidden_layers": 36, "num_attention_heads": 16, "num_key_value_heads": kv_heads,
        "max_position_embeddings": 32768, "rms_norm_eps": 1e-6, "rope_theta": 2e6,
        "tie_word_embeddings": true,
    })
}

/// Of four layers in GGUF's graph, the last does not rotate.
const INTERVAL: u64 = 4;

fn check_rotation(config: &Config<'_>) -> Result<()> {
    let Some((key, list)) = config.get(&["no_rope_layers"]) else {
        let interval = config.length_or("no_rope_layer_interval", INTERVAL)?;
        return match interval {
            INTERVAL => Ok(()),
            _ => {
                Err(refused("no_rope_layer_interval", format!("is {interval}, and not {INTERVAL}")))
            }
        };
    };
    let fits = list.as_array().is_some_and(|list| {
        (1..).zip(list).all(|(i, v)| v.as_u64() == Some(u64::from(i % INTERVAL != 0)))
    });
    if fits {
        return Ok(());
    }
    Err(refused(key, "is not of every fourth layer, as it is in GGUF's graph"))
}

fn keys(keys: &mut Keys<'_>) -> Result<()> {
    keys.only("use_sliding_window", false)?;
    if keys.packing() {
        check_rotation(&keys.config())?;
    } else {
        keys.set("no_rope_layer_interval", INTERVAL);
    }
    common(keys, &llama::COMMON)?;
    llama::rest(keys)?;
    keys.flag_of_tensor("attention_bias", "blk.0.attn_q.bias");
    keys.flag_of_tensor("mlp_bias", "blk.0.ffn_gate.bias");
    Ok(())
}

static GGUF: GgufDef = GgufDef {
    name: "smollm3",
    revision: 1,
    class: "SmolLM3ForCausalLM",
    prefix: "model.",
    serves: |_| true,
    defaults,
    aliases: &[],
    vocabulary: &[Kind::SentencePiece, Kind::Bpe],
    keys,
    tensors: llama::tensors,
};

/// SmolLM3: LLaMA of which every fourth layer does not rotate.
pub(super) static DEF: ArchDef = ArchDef {
    name: "smollm3",
    model_types: &["smollm3"],
    classes: &["SmolLM3"],
    revision: 1,
    tasks: &[],
    lower: None,
    gguf: Some(&GGUF),
};
