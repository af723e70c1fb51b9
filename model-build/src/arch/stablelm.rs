//! StableLM.

use serde_json::{Map, Value as Json, json};

use super::config::refused;
use super::decoder::{Layer, Sizes, heads, output, rotated};
use super::gguf::{GgufDef, Keys, Rope, Table};
use super::llama::heads_of;
use super::{ArchDef, Config};
use crate::error::Result;
use crate::tokenizer::Kind;

fn defaults(config: &Map<String, Json>) -> Json {
    json!({
        "vocab_size": 50304, "hidden_size": 2560, "intermediate_size": 6912,
        "num_hidden_layers": 32, "num_attention_heads": 32, "max_position_embeddings": 4096,
        "layer_norm_eps": 1e-5, "rope_theta": 10_000.0, "tie_word_embeddings": false,
        "num_key_value_heads": heads_of(config, 32), "partial_rotary_factor": 0.25,
        "use_parallel_residual": false,
    })
}

fn keys(keys: &mut Keys<'_>) -> Result<()> {
    keys.only("hidden_act", "silu")?;
    keys.length("context_length", "max_position_embeddings")?;
    keys.length("embedding_length", "hidden_size")?;
    keys.length("block_count", "num_hidden_layers")?;
    keys.length("feed_forward_length", "intermediate_size")?;
    let heads_follow = !keys.packing();
    if heads_follow {
        heads(keys)?;
    }
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    rotated(keys, |config, part| {
        let head = config.length(&["hidden_size"])? / config.length(&["num_attention_heads"])?;
        Ok((part * head as f64) as u64)
    })?;
    if !heads_follow {
        heads(keys)?;
    }
    keys.flag_if("use_parallel_residual", "use_parallel_residual")?;
    keys.number("attention.layer_norm_epsilon", "layer_norm_eps")?;
    theta(keys)?;
    keys.flag_of_tensor("use_qkv_bias", "blk.0.attn_q.bias");
    keys.flag_of_tensor("qk_layernorm", "blk.0.attn_q_norm.weight");
    Ok(())
}

/// The base of the frequencies, which is not in the file: readers take 10000.
fn theta(keys: &mut Keys<'_>) -> Result<()> {
    if !keys.packing() {
        let theta = keys.take_number("rope.freq_base")?.unwrap_or(10_000.0);
        keys.set_rope("rope_theta", f64::from(theta));
        keys.set_rope("rope_type", "default");
        return Ok(());
    }
    keys.check_rope(&["default"], &["partial_rotary_factor"])?;
    let theta = Rope::of(&keys.config())?.required("rope_theta")?;
    if (theta - 10_000.0).abs() > 1e-6 {
        let what = format!("is {theta}: GGUF files of this family have no key for it, and 10000");
        return Err(refused("rope_theta", what));
    }
    Ok(())
}

fn tensors(config: &Config<'_>, table: &mut Table) -> Result<()> {
    let sizes = Sizes::of(config)?;
    let parallel = config.flag_or("use_parallel_residual", false)?;
    let matrix = [sizes.vocabulary, sizes.hidden];
    table.same("model.embed_tokens.weight", "token_embd.weight", &matrix);
    table.linear("model.norm", "output_norm", &[sizes.hidden]);
    output(table, &sizes);
    for i in 0..sizes.layers {
        let layer = Layer::new(i);
        layer.linear(table, "input_layernorm", "attn_norm", &[sizes.hidden]);
        if !parallel {
            layer.linear(table, "post_attention_layernorm", "ffn_norm", &[sizes.hidden]);
        }
        layer.attention(table, &sizes, false);
        for (name, gguf, count) in [
            ("q_layernorm", "attn_q_norm", sizes.heads),
            ("k_layernorm", "attn_k_norm", sizes.kv_heads),
        ] {
            let hf = |head: u64| layer.hf(&format!("self_attn.{name}.norms.{head}.weight"));
            let gguf = layer.gguf(&format!("{gguf}.weight"));
            table.stacked(hf, count, gguf, &[sizes.head]).optional();
        }
        layer.gated(table, &sizes);
    }
    Ok(())
}

static GGUF: GgufDef = GgufDef {
    name: "stablelm",
    revision: 1,
    class: "StableLmForCausalLM",
    prefix: "model.",
    serves: |_| true,
    defaults,
    aliases: &[("norm_eps", "layer_norm_eps"), ("rope_pct", "partial_rotary_factor")],
    vocabulary: &[Kind::Bpe],
    keys,
    tensors,
};

/// StableLM.
pub(super) static DEF: ArchDef = ArchDef {
    name: "stablelm",
    model_types: &["stablelm"],
    classes: &["StableLm"],
    revision: 1,
    tasks: &[],
    lower: None,
    gguf: Some(&GGUF),
};
