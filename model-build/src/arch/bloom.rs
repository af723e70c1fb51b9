//! BLOOM (Le Scao et al., 2022).

use serde_json::{Map, Value as Json, json};

use super::fused::grouped;
use super::gguf::{GgufDef, Keys, Table};
use super::{ArchDef, Config};
use crate::error::Result;
use crate::tokenizer::Kind;

fn defaults(config: &Map<String, Json>) -> Json {
    let hidden = config.get("hidden_size").cloned().unwrap_or_else(|| 64.into());
    json!({
        "vocab_size": 250_880, "hidden_size": 64, "n_layer": 2, "n_head": 8,
        "layer_norm_epsilon": 1e-5, "tie_word_embeddings": true, "seq_length": hidden,
    })
}

fn inner(config: &Config<'_>) -> Result<u64> {
    Ok(config.length(&["hidden_size"])?.saturating_mul(4))
}

fn keys(keys: &mut Keys<'_>) -> Result<()> {
    keys.length("context_length", "seq_length")?;
    keys.length("embedding_length", "hidden_size")?;
    keys.length_of("feed_forward_length", inner)?;
    keys.length("block_count", "n_layer")?;
    keys.length("attention.head_count", "n_head")?;
    keys.length_of("attention.head_count_kv", |config| config.length(&["n_head"]))?;
    keys.number("attention.layer_norm_epsilon", "layer_norm_epsilon")?;
    keys.only("apply_residual_connection_post_layernorm", false)
}

fn tensors(config: &Config<'_>, table: &mut Table) -> Result<()> {
    let width = config.length(&["hidden_size"])?;
    let heads = config.length(&["n_head"])?;
    let matrix = [config.length(&["vocab_size"])?, width];
    table.same("transformer.word_embeddings.weight", "token_embd.weight", &matrix);
    table.linear("transformer.word_embeddings_layernorm", "token_embd_norm", &[width]);
    table.linear("transformer.ln_f", "output_norm", &[width]);
    if config.flag_or("tie_word_embeddings", true)? {
        table.ignored("lm_head.weight");
    } else {
        table.same("lm_head.weight", "output.weight", &matrix);
    }
    for i in 0..config.length(&["n_layer"])? {
        let hf = |name: &str| format!("transformer.h.{i}.{name}");
        let gguf = |name: &str| format!("blk.{i}.{name}");
        table.linear(&hf("input_layernorm"), &gguf("attn_norm"), &[width]);
        table.linear(&hf("post_attention_layernorm"), &gguf("ffn_norm"), &[width]);
        table.linear(&hf("self_attention.dense"), &gguf("attn_output"), &[width, width]);
        table.linear(&hf("mlp.dense_h_to_4h"), &gguf("ffn_up"), &[inner(config)?, width]);
        table.linear(&hf("mlp.dense_4h_to_h"), &gguf("ffn_down"), &[width, inner(config)?]);
        for (end, columns) in [("weight", Some(width)), ("bias", None)] {
            let name = hf(&format!("self_attention.query_key_value.{end}"));
            let groups = [heads, 1, width / heads];
            grouped(table, name, gguf(&format!("attn_qkv.{end}")), groups, columns)?;
        }
    }
    Ok(())
}

static GGUF: GgufDef = GgufDef {
    name: "bloom",
    revision: 1,
    class: "BloomForCausalLM",
    prefix: "transformer.",
    serves: |_| true,
    defaults,
    aliases: &[
        ("n_embed", "hidden_size"),
        ("num_attention_heads", "n_head"),
        ("num_hidden_layers", "n_layer"),
    ],
    vocabulary: &[Kind::Bpe],
    keys,
    tensors,
};

/// BLOOM.
pub(super) static DEF: ArchDef = ArchDef {
    name: "bloom",
    model_types: &["bloom"],
    classes: &["Bloom"],
    revision: 1,
    tasks: &[],
    lower: None,
    gguf: Some(&GGUF),
};
