//! LLaMA.

use serde_json::{Map, Value as Json, json};

use super::decoder::{Common, Layer, Sizes, common, ends, head_size};
use super::gguf::{GgufDef, Keys, Rope, Table, llama3};
use super::llama_graph::{self, Bias, Family, Window};
use super::{ArchDef, Config, Task};
use crate::error::Result;
use crate::tokenizer::Kind;

/// What the family and those derived from it have in common.
pub(super) const COMMON: Common =
    Common { rope: &["default", "linear", "yarn", "llama3"], head_dim: true, ..Common::PLAIN };

fn defaults(config: &Map<String, Json>) -> Json {
    json!({
        "vocab_size": 32000, "hidden_size": 4096, "intermediate_size": 11008,
        "num_hidden_layers": 32, "num_attention_heads": 32, "max_position_embeddings": 2048,
        "rms_norm_eps": 1e-6, "rope_theta": 10_000.0, "tie_word_embeddings": false,
        "num_key_value_heads": heads_of(config, 32),
        "head_dim": head_of(config, 4096, 32),
    })
}

/// `num_attention_heads`.
pub(super) fn heads_of(config: &Map<String, Json>, default: u64) -> u64 {
    config.get("num_attention_heads").and_then(Json::as_u64).unwrap_or(default)
}

/// `hidden_size / num_attention_heads`.
pub(super) fn head_of(config: &Map<String, Json>, hidden: u64, heads: u64) -> u64 {
    let hidden = config.get("hidden_size").and_then(Json::as_u64).unwrap_or(hidden);
    hidden / heads_of(config, heads).max(1)
}

fn keys(keys: &mut Keys<'_>) -> Result<()> {
    common(keys, &COMMON)?;
    rest(keys)?;
    keys.flag_of_tensor("attention_bias", "blk.0.attn_q.bias");
    keys.flag_of_tensor("mlp_bias", "blk.0.ffn_gate.bias");
    Ok(())
}

/// The keys after the common ones.
pub(super) fn rest(keys: &mut Keys<'_>) -> Result<()> {
    keys.only("hidden_act", "silu")?;
    if keys.packing() {
        keys.length("vocab_size", "vocab_size")?;
    }
    keys.length_of("rope.dimension_count", head_size)
}

/// The divisors of Llama 3's rope scaling, where the configuration has it.
pub(super) fn divisors(config: &Config<'_>, table: &mut Table) -> Result<()> {
    let rope = Rope::of(config)?;
    if rope.kind()? == "llama3" {
        table.generated("rope_freqs.weight", llama3(&rope, head_size(config)?)?);
    }
    Ok(())
}

/// The tensors of a model of this family's layout. `permuted` as in [`Layer::attention`].
pub(super) fn layers(sizes: &Sizes, table: &mut Table) {
    ends(table, sizes);
    for i in 0..sizes.layers {
        let layer = Layer::new(i);
        layer.norms(table, sizes);
        layer.attention(table, sizes, true);
        layer.gated(table, sizes);
    }
}

/// The tensors of LLaMA and of what has its layout.
pub(super) fn tensors(config: &Config<'_>, table: &mut Table) -> Result<()> {
    divisors(config, table)?;
    layers(&Sizes::of(config)?, table);
    Ok(())
}

/// How its graph differs from others of its kind.
const FAMILY: Family =
    Family { bias: Bias::Key, window: Window::Never, head_norms: false, mlp_bias: true };

static GGUF: GgufDef = GgufDef {
    name: "llama",
    revision: 1,
    class: "LlamaForCausalLM",
    prefix: "model.",
    serves: |gguf| gguf.of_architecture("expert_count").is_none(),
    defaults,
    aliases: &[],
    vocabulary: &[Kind::SentencePiece, Kind::Bpe],
    keys,
    tensors,
};

/// LLaMA, and what is computed as it is.
pub(super) static DEF: ArchDef = ArchDef {
    name: "llama",
    model_types: &["llama"],
    classes: &["Llama"],
    revision: 1,
    tasks: &[Task::TextGeneration],
    lower: Some(|checkpoint, options| llama_graph::lower(&DEF, FAMILY, checkpoint, options)),
    gguf: Some(&GGUF),
};
