//! OLMo 2.

use serde_json::{Map, Value as Json, json};

use super::decoder::{Common, Layer, Sizes, common, ends};
use super::gguf::{GgufDef, Keys, Table};
use super::llama::heads_of;
use super::{ArchDef, Config};
use crate::error::Result;
use crate::tokenizer::Kind;

fn defaults(config: &Map<String, Json>) -> Json {
    json!({
        "vocab_size": 50304, "hidden_size": 4096, "intermediate_size": 11008,
        "num_hidden_layers": 32, "num_attention_heads": 32, "max_position_embeddings": 2048,
        "rms_norm_eps": 1e-5, "rope_theta": 10_000.0, "tie_word_embeddings": false,
        "num_key_value_heads": heads_of(config, 32),
    })
}

fn keys(keys: &mut Keys<'_>) -> Result<()> {
    keys.only("hidden_act", "silu")?;
    keys.only("attention_bias", false)?;
    common(keys, &Common::PLAIN)
}

fn tensors(config: &Config<'_>, table: &mut Table) -> Result<()> {
    let sizes = Sizes::of(config)?;
    ends(table, &sizes);
    for i in 0..sizes.layers {
        let layer = Layer::new(i);
        layer.weight(table, "post_attention_layernorm", "post_attention_norm", &[sizes.hidden]);
        layer.weight(table, "post_feedforward_layernorm", "post_ffw_norm", &[sizes.hidden]);
        layer.weight(table, "self_attn.q_norm", "attn_q_norm", &[sizes.q]);
        layer.weight(table, "self_attn.k_norm", "attn_k_norm", &[sizes.kv]);
        layer.attention(table, &sizes, false);
        layer.gated(table, &sizes);
    }
    Ok(())
}

static GGUF: GgufDef = GgufDef {
    name: "olmo2",
    revision: 1,
    class: "Olmo2ForCausalLM",
    prefix: "model.",
    serves: |_| true,
    defaults,
    aliases: &[],
    vocabulary: &[Kind::Bpe],
    keys,
    tensors,
};

/// OLMo 2.
pub(super) static DEF: ArchDef = ArchDef {
    name: "olmo2",
    model_types: &["olmo2"],
    classes: &["Olmo2"],
    revision: 1,
    tasks: &[],
    lower: None,
    gguf: Some(&GGUF),
};
