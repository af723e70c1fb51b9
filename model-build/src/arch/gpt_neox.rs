//! GPT-NeoX (Black et al., 2022), Pythia.

use serde_json::{Map, Value as Json, json};

use super::falcon::plain_rope;
use super::fused::grouped;
use super::gguf::{GgufDef, Keys, Rope, Table};
use super::{ArchDef, Config};
use crate::error::Result;
use crate::tokenizer::Kind;

fn defaults(_: &Map<String, Json>) -> Json {
    json!({
        "vocab_size": 50432, "hidden_size": 6144, "num_hidden_layers": 44,
        "num_attention_heads": 64, "intermediate_size": 24576, "max_position_embeddings": 2048,
        "layer_norm_eps": 1e-5, "use_parallel_residual": true, "tie_word_embeddings": false,
        "rope_theta": 10_000.0,
    })
}

/// The share of a head that is rotated.
fn share(config: &Config<'_>) -> Result<f64> {
    Ok(Rope::of(config)?.number("partial_rotary_factor")?.unwrap_or(0.25))
}

fn keys(keys: &mut Keys<'_>) -> Result<()> {
    keys.length("context_length", "max_position_embeddings")?;
    keys.length("embedding_length", "hidden_size")?;
    keys.length("block_count", "num_hidden_layers")?;
    keys.length("feed_forward_length", "intermediate_size")?;
    if keys.packing() {
        let config = keys.config();
        let head = config.length(&["hidden_size"])? / config.length(&["num_attention_heads"])?;
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss
        )]
        // a share of a head's few hundred elements, cut off as the converter does
        let rotated = (share(&config)? * head as f64) as u64;
        keys.put(
            "rope.dimension_count",
            super::gguf::length_meta("partial_rotary_factor", rotated)?,
        );
    }
    let rotated = keys.take_length("rope.dimension_count")?;
    keys.length("attention.head_count", "num_attention_heads")?;
    let mut rotates = 1.0;
    if let Some(rotated) = rotated {
        let config = keys.config();
        let head = config.length(&["hidden_size"])? / config.length(&["num_attention_heads"])?;
        #[allow(clippy::cast_precision_loss)] // small
        let share = rotated as f64 / head.max(1) as f64;
        rotates = share;
    }
    keys.flag_if("use_parallel_residual", "use_parallel_residual")?;
    keys.number("attention.layer_norm_epsilon", "layer_norm_eps")?;
    keys.only("hidden_act", "gelu")?;
    plain_rope(keys, rotates)
}

fn tensors(config: &Config<'_>, table: &mut Table) -> Result<()> {
    let width = config.length(&["hidden_size"])?;
    let heads = config.length(&["num_attention_heads"])?;
    let inner = config.length(&["intermediate_size"])?;
    let matrix = [config.length(&["vocab_size"])?, width];
    table.same("gpt_neox.embed_in.weight", "token_embd.weight", &matrix);
    table.linear("gpt_neox.final_layer_norm", "output_norm", &[width]);
    if config.flag_or("tie_word_embeddings", false)? {
        table.ignored("embed_out.weight");
    } else {
        let headless = table.headless();
        let line = table.same("embed_out.weight", "output.weight", &matrix);
        if headless {
            line.optional();
        }
    }
    for i in 0..config.length(&["num_hidden_layers"])? {
        let hf = |name: &str| format!("gpt_neox.layers.{i}.{name}");
        let gguf = |name: &str| format!("blk.{i}.{name}");
        table.linear(&hf("input_layernorm"), &gguf("attn_norm"), &[width]);
        table.linear(&hf("post_attention_layernorm"), &gguf("ffn_norm"), &[width]);
        table.linear(&hf("attention.dense"), &gguf("attn_output"), &[width, width]);
        table.linear(&hf("mlp.dense_h_to_4h"), &gguf("ffn_up"), &[inner, width]);
        table.linear(&hf("mlp.dense_4h_to_h"), &gguf("ffn_down"), &[width, inner]);
        for (end, columns) in [("weight", Some(width)), ("bias", None)] {
            let name = hf(&format!("attention.query_key_value.{end}"));
            let groups = [heads, 1, width / heads];
            grouped(table, name, gguf(&format!("attn_qkv.{end}")), groups, columns)?;
        }
        table.ignored(hf("attention.rotary_emb.inv_freq"));
    }
    Ok(())
}

static GGUF: GgufDef = GgufDef {
    name: "gptneox",
    revision: 1,
    class: "GPTNeoXForCausalLM",
    prefix: "gpt_neox.",
    serves: |_| true,
    defaults,
    aliases: &[("rotary_pct", "partial_rotary_factor"), ("rotary_emb_base", "rope_theta")],
    vocabulary: &[Kind::Bpe],
    keys,
    tensors,
};

/// GPT-NeoX.
pub(super) static DEF: ArchDef = ArchDef {
    name: "gpt_neox",
    model_types: &["gpt_neox"],
    classes: &["GPTNeoX"],
    revision: 1,
    tasks: &[],
    lower: None,
    gguf: Some(&GGUF),
};
