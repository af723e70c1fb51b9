//! Mistral: LLaMA in GGUF files, without a sliding window.

use serde_json::{Map, Value as Json, json};

use super::decoder::common;
use super::gguf::{GgufDef, Keys};
use super::llama::{self, head_of, heads_of};
use super::llama_graph::{self, Bias, Family, Window};
use super::{ArchDef, Task};
use crate::error::Result;
use crate::tokenizer::Kind;

fn defaults(config: &Map<String, Json>) -> Json {
    // Eight heads of keys where nothing is said, as many as heads of queries where it is null.
    let kv_heads =
        if config.contains_key("num_key_value_heads") { heads_of(config, 32) } else { 8 };
    json!({
        "vocab_size": 32000, "hidden_size": 4096, "intermediate_size": 14336,
        "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": kv_heads,
        "head_dim": head_of(config, 4096, 32), "max_position_embeddings": 131_072,
        "rms_norm_eps": 1e-6, "rope_theta": 10_000.0, "tie_word_embeddings": false,
        "sliding_window": 4096,
    })
}

fn keys(keys: &mut Keys<'_>) -> Result<()> {
    keys.no_window()?;
    common(keys, &llama::COMMON)?;
    llama::rest(keys)
}

/// How its graph differs from others of its kind.
const FAMILY: Family =
    Family { bias: Bias::Never, window: Window::All, head_norms: false, mlp_bias: false };

static GGUF: GgufDef = GgufDef {
    name: "llama",
    revision: 1,
    class: "MistralForCausalLM",
    prefix: "model.",
    serves: |_| false,
    defaults,
    aliases: &[],
    vocabulary: &[Kind::SentencePiece, Kind::Bpe],
    keys,
    tensors: llama::tensors,
};

/// Mistral: LLaMA in GGUF files, without a sliding window.
pub(super) static DEF: ArchDef = ArchDef {
    name: "mistral",
    model_types: &["mistral"],
    classes: &["Mistral"],
    revision: 1,
    tasks: &[Task::TextGeneration],
    lower: Some(|checkpoint, options| llama_graph::lower(&DEF, FAMILY, checkpoint, options)),
    gguf: Some(&GGUF),
};
