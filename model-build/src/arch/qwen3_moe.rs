//! Qwen3 with experts.

use serde_json::{Map, Value as Json, json};

use super::decoder::{Common, Layer, Sizes, common, ends};
use super::gguf::{GgufDef, Keys, Table};
use super::llama::heads_of;
use super::qwen2::plain;
use super::qwen3::head_norms;
use super::{ArchDef, Config};
use crate::error::Result;
use crate::tokenizer::Kind;

fn defaults(config: &Map<String, Json>) -> Json {
    json!({
        "vocab_size": 151_936, "hidden_size": 2048, "intermediate_size": 6144,
        "num_hidden_layers": 24, "num_attention_heads": 32, "max_position_embeddings": 32768,
        "rms_norm_eps": 1e-6, "rope_theta": 10_000.0, "tie_word_embeddings": false,
        "num_key_value_heads": if config.contains_key("num_key_value_heads") { heads_of(config, 32) } else { 4 },
        "moe_intermediate_size": 768, "num_experts_per_tok": 8, "num_experts": 128,
    })
}

/// Refuses layers without experts among those with, which GGUF's graph does not have.
pub(super) fn every_layer(keys: &mut Keys<'_>) -> Result<()> {
    keys.only("decoder_sparse_step", 1)?;
    keys.only("mlp_only_layers", Vec::<u64>::new())
}

/// A layer's router and experts, each expert's projections in tensors of their own or all experts'
/// in two.
pub(super) fn experts(
    layer: &Layer,
    table: &mut Table,
    config: &Config<'_>,
    hidden: u64,
) -> Result<()> {
    let count = config.length(&["num_experts"])?;
    let inner = config.length(&["moe_intermediate_size"])?;
    layer.weight(table, "mlp.gate", "ffn_gate_inp", &[count, hidden]);
    let joined = layer.hf("mlp.experts.gate_up_proj");
    if table.has(&joined, "") {
        table.gate_up(
            joined,
            &layer.gguf("ffn_gate_exps.weight"),
            &layer.gguf("ffn_up_exps.weight"),
            [count, inner, hidden],
        );
        let down = [count, hidden, inner];
        table.same(layer.hf("mlp.experts.down_proj"), layer.gguf("ffn_down_exps.weight"), &down);
        return Ok(());
    }
    let names = ["gate_proj", "up_proj", "down_proj"];
    layer.experts(table, "mlp.experts", names, [count, inner, hidden]);
    Ok(())
}

fn keys(keys: &mut Keys<'_>) -> Result<()> {
    plain(keys)?;
    every_layer(keys)?;
    let experts = Some(("num_experts", "num_experts_per_tok"));
    common(keys, &Common { experts, head_dim: true, ..Common::PLAIN })?;
    keys.length("expert_feed_forward_length", "moe_intermediate_size")?;
    if !keys.packing() {
        // What GGUF's graph computes with, whatever the file was made of.
        keys.set("norm_topk_prob", true);
    }
    keys.flag_of_tensor("attention_bias", "blk.0.attn_q.bias");
    Ok(())
}

fn tensors(config: &Config<'_>, table: &mut Table) -> Result<()> {
    let sizes = Sizes::of(config)?;
    ends(table, &sizes);
    for i in 0..sizes.layers {
        let layer = Layer::new(i);
        layer.norms(table, &sizes);
        layer.attention(table, &sizes, false);
        head_norms(&layer, table, &sizes);
        experts(&layer, table, config, sizes.hidden)?;
    }
    Ok(())
}

static GGUF: GgufDef = GgufDef {
    name: "qwen3moe",
    revision: 1,
    class: "Qwen3MoeForCausalLM",
    prefix: "model.",
    serves: |_| true,
    defaults,
    aliases: &[("num_local_experts", "num_experts")],
    vocabulary: &[Kind::Bpe],
    keys,
    tensors,
};

/// Qwen3 with experts.
pub(super) static DEF: ArchDef = ArchDef {
    name: "qwen3_moe",
    model_types: &["qwen3_moe"],
    classes: &["Qwen3Moe"],
    revision: 1,
    tasks: &[],
    lower: None,
    gguf: Some(&GGUF),
};
