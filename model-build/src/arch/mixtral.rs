//! Mixtral: LLaMA with experts in GGUF files.

use serde_json::{Map, Value as Json, json};

use super::decoder::{Common, Layer, Sizes, common, ends};
use super::gguf::{GgufDef, Keys, Table};
use super::llama::{self, heads_of};
use super::{ArchDef, Config};
use crate::error::Result;
use crate::tokenizer::Kind;

fn defaults(config: &Map<String, Json>) -> Json {
    let kv_heads =
        if config.contains_key("num_key_value_heads") { heads_of(config, 32) } else { 8 };
    json!({
        "vocab_size": 32000, "hidden_size": 4096, "intermediate_size": 14336,
        "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": kv_heads,
        "max_position_embeddings": 131_072, "rms_norm_eps": 1e-5, "rope_theta": 1e6,
        "tie_word_embeddings": false, "num_local_experts": 8, "num_experts_per_tok": 2,
    })
}

fn keys(keys: &mut Keys<'_>) -> Result<()> {
    keys.no_window()?;
    let experts = Some(("num_local_experts", "num_experts_per_tok"));
    common(keys, &Common { experts, ..llama::COMMON })?;
    llama::rest(keys)
}

fn tensors(config: &Config<'_>, table: &mut Table) -> Result<()> {
    llama::divisors(config, table)?;
    let sizes = Sizes::of(config)?;
    let count = config.length(&["num_local_experts"])?;
    ends(table, &sizes);
    for i in 0..sizes.layers {
        let layer = Layer::new(i);
        layer.norms(table, &sizes);
        layer.attention(table, &sizes, true);
        layer.weight(table, "block_sparse_moe.gate", "ffn_gate_inp", &[count, sizes.hidden]);
        let names = ["w1", "w3", "w2"];
        let shape = [count, sizes.inner, sizes.hidden];
        layer.experts(table, "block_sparse_moe.experts", names, shape);
    }
    Ok(())
}

static GGUF: GgufDef = GgufDef {
    name: "llama",
    revision: 1,
    class: "MixtralForCausalLM",
    prefix: "model.",
    serves: |gguf| gguf.of_architecture("expert_count").is_some(),
    defaults,
    aliases: &[],
    vocabulary: &[Kind::SentencePiece, Kind::Bpe],
    keys,
    tensors,
};

/// Mixtral: LLaMA with experts in GGUF files.
pub(super) static DEF: ArchDef = ArchDef {
    name: "mixtral",
    model_types: &["mixtral"],
    classes: &["Mixtral"],
    revision: 1,
    tasks: &[],
    lower: None,
    gguf: Some(&GGUF),
};
