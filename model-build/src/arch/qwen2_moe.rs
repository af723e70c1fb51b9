//! Qwen2 with experts, one of them shared.

use serde_json::{Map, Value as Json, json};

use super::decoder::{Common, Layer, Sizes, common, ends};
use super::gguf::{GgufDef, Keys, Table};
use super::llama::heads_of;
use super::qwen2::plain;
use super::qwen3_moe::{every_layer, experts};
use super::{ArchDef, Config};
use crate::error::Result;
use crate::tokenizer::Kind;

fn defaults(config: &Map<String, Json>) -> Json {
    json!({
        "vocab_size": 151_936, "hidden_size": 2048, "intermediate_size": 5632,
        "num_hidden_layers": 24, "num_attention_heads": 16, "max_position_embeddings": 32768,
        "rms_norm_eps": 1e-6, "rope_theta": 10_000.0, "tie_word_embeddings": false,
        "num_key_value_heads": heads_of(config, 16),
        "moe_intermediate_size": 1408, "shared_expert_intermediate_size": 5632,
        "num_experts_per_tok": 4, "num_experts": 60,
    })
}

fn keys(keys: &mut Keys<'_>) -> Result<()> {
    plain(keys)?;
    every_layer(keys)?;
    keys.only("norm_topk_prob", false)?;
    let experts = Some(("num_experts", "num_experts_per_tok"));
    common(keys, &Common { experts, head_dim: true, ..Common::PLAIN })?;
    keys.length("expert_feed_forward_length", "moe_intermediate_size")?;
    keys.length("expert_shared_feed_forward_length", "shared_expert_intermediate_size")?;
    keys.flag_of_tensor("qkv_bias", "blk.0.attn_q.bias");
    Ok(())
}

fn tensors(config: &Config<'_>, table: &mut Table) -> Result<()> {
    let sizes = Sizes::of(config)?;
    let (hidden, shared) = (sizes.hidden, config.length(&["shared_expert_intermediate_size"])?);
    ends(table, &sizes);
    for i in 0..sizes.layers {
        let layer = Layer::new(i);
        layer.norms(table, &sizes);
        layer.attention(table, &sizes, false);
        experts(&layer, table, config, hidden)?;
        let gate = layer.hf("mlp.shared_expert_gate.weight");
        table.reshaped(gate, &[1, hidden], layer.gguf("ffn_gate_inp_shexp.weight"), &[1, hidden]);
        layer.weight(table, "mlp.shared_expert.gate_proj", "ffn_gate_shexp", &[shared, hidden]);
        layer.weight(table, "mlp.shared_expert.up_proj", "ffn_up_shexp", &[shared, hidden]);
        layer.weight(table, "mlp.shared_expert.down_proj", "ffn_down_shexp", &[hidden, shared]);
    }
    Ok(())
}

static GGUF: GgufDef = GgufDef {
    name: "qwen2moe",
    revision: 1,
    class: "Qwen2MoeForCausalLM",
    prefix: "model.",
    serves: |_| true,
    defaults,
    aliases: &[("num_local_experts", "num_experts")],
    vocabulary: &[Kind::Bpe],
    keys,
    tensors,
};

/// Qwen2 with experts, one of them shared.
pub(super) static DEF: ArchDef = ArchDef {
    name: "qwen2_moe",
    model_types: &["qwen2_moe"],
    classes: &["Qwen2Moe"],
    revision: 1,
    tasks: &[],
    lower: None,
    gguf: Some(&GGUF),
};
