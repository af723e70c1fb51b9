//! Command R7B: sliding windows in three layers of four.

use serde_json::{Map, Value as Json, json};

use super::config::refused;
use super::decoder::{Common, Eps, Layer, Sizes, common, ends};
use super::gguf::{GgufDef, Keys, Table};
use super::llama::{head_of, heads_of};
use super::{ArchDef, Config};
use crate::error::Result;
use crate::hub::Meta;
use crate::tokenizer::Kind;

fn defaults(config: &Map<String, Json>) -> Json {
    json!({
        "vocab_size": 256_000, "hidden_size": 8192, "intermediate_size": 22528,
        "num_hidden_layers": 40, "num_attention_heads": 64, "max_position_embeddings": 8192,
        "layer_norm_eps": 1e-5, "rope_theta": 10_000.0, "tie_word_embeddings": true,
        "num_key_value_heads": heads_of(config, 64), "head_dim": head_of(config, 8192, 64),
        "logit_scale": 0.0625, "sliding_window": 4096,
    })
}

/// Checks that all but each `every`th layer have a sliding window, as `layer_types` says it.
pub(super) fn check_windows(config: &Config<'_>, every: u64) -> Result<()> {
    if let Some((key, list)) = config.get(&["layer_types"]) {
        let fits = list.as_array().is_some_and(|list| {
            (1..).zip(list).all(|(i, v)| {
                let full: bool = u64::is_multiple_of(i, every);
                v.as_str() == Some(if full { "full_attention" } else { "sliding_attention" })
            })
        });
        return if fits {
            Ok(())
        } else {
            Err(refused(key, format!("has not every {every}th layer full, as GGUF's graph has")))
        };
    }
    let pattern = config.length_or("sliding_window_pattern", every)?;
    if pattern == every {
        return Ok(());
    }
    let what = format!("is {pattern}: in GGUF's graph it is {every}");
    Err(refused("sliding_window_pattern", what))
}

/// `layer_types` for [`check_windows`].
pub(super) fn windows(layers: u64, every: u64) -> Json {
    let kinds = (1..=layers).map(|i| match i.is_multiple_of(every) {
        true => "full_attention",
        false => "sliding_attention",
    });
    kinds.collect::<Vec<_>>().into()
}

fn keys(keys: &mut Keys<'_>) -> Result<()> {
    keys.only("hidden_act", "silu")?;
    keys.only("attention_bias", false)?;
    if keys.packing() {
        keys.only("use_qk_norm", false)?;
        keys.only("use_parallel_block", true)?;
        keys.only("tie_word_embeddings", true)?;
        check_windows(&keys.config(), 4)?;
    }
    let family = Common {
        eps: Eps::Layer("layer_norm_eps"),
        rope: &["default"],
        head_dim: true,
        ..Common::PLAIN
    };
    common(keys, &family)?;
    keys.number("logit_scale", "logit_scale")?;
    keys.length("attention.sliding_window", "sliding_window")?;
    if keys.packing() {
        keys.length("vocab_size", "vocab_size")?;
    } else {
        let layers = keys.config().length(&["num_hidden_layers"])?;
        keys.set("layer_types", windows(layers, 4));
    }
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let dimensions = |config: &Config<'_>| {
        let head = config.length(&["hidden_size"])? / config.length(&["num_attention_heads"])?;
        let part = config.number("rotary_pct")?.unwrap_or(1.0);
        Ok((part * head as f64) as u64)
    };
    keys.length_of("rope.dimension_count", dimensions)?;
    keys.put("rope.scaling.type", Meta::text("none"));
    if !keys.packing() {
        keys.set("rotary_pct", 1.0);
    }
    Ok(())
}

fn tensors(config: &Config<'_>, table: &mut Table) -> Result<()> {
    let sizes = Sizes::of(config)?;
    ends(table, &sizes);
    for i in 0..sizes.layers {
        let layer = Layer::new(i);
        layer.weight(table, "input_layernorm", "attn_norm", &[sizes.hidden]);
        table.zero(layer.hf("input_layernorm.bias"));
        layer.attention(table, &sizes, false);
        layer.gated(table, &sizes);
    }
    Ok(())
}

static GGUF: GgufDef = GgufDef {
    name: "cohere2",
    revision: 1,
    class: "Cohere2ForCausalLM",
    prefix: "model.",
    serves: |_| true,
    defaults,
    aliases: &[],
    vocabulary: &[Kind::Bpe],
    keys,
    tensors,
};

/// Command R7B: sliding windows in three layers of four.
pub(super) static DEF: ArchDef = ArchDef {
    name: "cohere2",
    model_types: &["cohere2"],
    classes: &["Cohere2"],
    revision: 1,
    tasks: &[],
    lower: None,
    gguf: Some(&GGUF),
};
