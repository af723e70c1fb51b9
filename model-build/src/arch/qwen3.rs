//! Qwen3.

use serde_json::{Map, Value as Json, json};

use super::decoder::{Common, Layer, Sizes, common, ends};
use super::gguf::{GgufDef, Keys, Table};
use super::llama::heads_of;
use super::llama_graph::{self, Bias, Family, Window};
use super::qwen2::plain;
use super::{ArchDef, Config, Task};
use crate::error::Result;
use crate::tokenizer::Kind;

fn defaults(config: &Map<String, Json>) -> Json {
    json!({
        "vocab_size": 151_936, "hidden_size": 4096, "intermediate_size": 22016,
        "num_hidden_layers": 32, "num_attention_heads": 32, "max_position_embeddings": 32768,
        "rms_norm_eps": 1e-6, "rope_theta": 10_000.0, "tie_word_embeddings": false,
        "num_key_value_heads": heads_of(config, 32), "head_dim": 128,
    })
}

fn keys(keys: &mut Keys<'_>) -> Result<()> {
    plain(keys)?;
    common(keys, &Common { head_dim: true, ..Common::PLAIN })?;
    keys.pooling()?;
    keys.flag_of_tensor("attention_bias", "blk.0.attn_q.bias");
    Ok(())
}

/// The norms of each head's queries and keys.
pub(super) fn head_norms(layer: &Layer, table: &mut Table, sizes: &Sizes) {
    layer.weight(table, "self_attn.q_norm", "attn_q_norm", &[sizes.head]);
    layer.weight(table, "self_attn.k_norm", "attn_k_norm", &[sizes.head]);
}

fn tensors(config: &Config<'_>, table: &mut Table) -> Result<()> {
    let sizes = Sizes::of(config)?;
    ends(table, &sizes);
    for i in 0..sizes.layers {
        let layer = Layer::new(i);
        layer.norms(table, &sizes);
        layer.attention(table, &sizes, false);
        head_norms(&layer, table, &sizes);
        layer.gated(table, &sizes);
    }
    Ok(())
}

/// How its graph differs from others of its kind.
const FAMILY: Family =
    Family { bias: Bias::Key, window: Window::Listed, head_norms: true, mlp_bias: false };

static GGUF: GgufDef = GgufDef {
    name: "qwen3",
    revision: 1,
    class: "Qwen3ForCausalLM",
    prefix: "model.",
    serves: |_| true,
    defaults,
    aliases: &[],
    vocabulary: &[Kind::Bpe],
    keys,
    tensors,
};

/// Qwen3.
pub(super) static DEF: ArchDef = ArchDef {
    name: "qwen3",
    model_types: &["qwen3"],
    classes: &["Qwen3"],
    revision: 1,
    tasks: &[Task::TextGeneration],
    lower: Some(|checkpoint, options| llama_graph::lower(&DEF, FAMILY, checkpoint, options)),
    gguf: Some(&GGUF),
};
