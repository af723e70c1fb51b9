//! Gemma 3 (Gemma Team, 2025), the text model: five layers with a window for each without.

use serde_json::{Map, Value as Json, json};

use super::config::{refused, wrong};
use super::decoder::{Layer, Sizes, head_dim, heads};
use super::gemma::{activation, ends, norm};
use super::gemma2::{norms, scale, windows};
use super::gguf::{GgufDef, Keys, Table};
use super::{ArchDef, Config};
use crate::error::Result;
use crate::hub::Meta;
use crate::tokenizer::Kind;

fn defaults(_: &Map<String, Json>) -> Json {
    json!({
        "vocab_size": 262_208, "hidden_size": 2304, "intermediate_size": 9216,
        "num_hidden_layers": 26, "num_attention_heads": 8, "num_key_value_heads": 4,
        "head_dim": 256, "max_position_embeddings": 131_072, "rms_norm_eps": 1e-6,
        "tie_word_embeddings": true, "query_pre_attn_scalar": 256, "sliding_window": 4096,
    })
}

/// Rotary positions of the layers without and with a window: base, and factor of linear scaling.
struct Ropes {
    full: (f64, Option<f64>),
    window: f64,
}

fn ropes(config: &Config<'_>) -> Result<Ropes> {
    let number = |value: Option<&Json>, default: f64| match value.filter(|v| !v.is_null()) {
        None => Ok(default),
        Some(v) => v.as_f64().filter(|n| n.is_finite() && *n > 0.0).ok_or_else(|| {
            wrong("rope_parameters", format!("has {v} where a positive number must stand"))
        }),
    };
    let key = |key: &'static str| config.get(&[key]).map(|(_, value)| value);
    let (full, window) = match key("rope_parameters") {
        Some(both) if both.get("full_attention").is_some() => {
            (both.get("full_attention").cloned(), both.get("sliding_attention").cloned())
        }
        Some(one) => (Some(one.clone()), None),
        None => (key("rope_scaling").cloned(), None),
    };
    let of = |table: &Option<Json>, name: &str| table.as_ref().and_then(|t| t.get(name)).cloned();
    let plain = |table: &Option<Json>| match of(table, "rope_type").or_else(|| of(table, "type")) {
        None => Ok(true),
        Some(kind) => match kind.as_str() {
            Some("default") => Ok(true),
            Some("linear") => Ok(false),
            _ => Err(refused("rope_parameters", format!("has the kind {kind}"))
                .hint("GGUF's graph of this family has `default` and `linear`")),
        },
    };
    let factor = if plain(&full)? {
        None
    } else {
        let factor = of(&full, "factor");
        Some(number(Some(&factor.ok_or_else(|| wrong("rope_parameters", "lacks `factor`"))?), 1.0)?)
    };
    if !plain(&window)? {
        return Err(refused("rope_parameters", "scales the layers with a window"));
    }
    let theta = of(&full, "rope_theta").or_else(|| key("rope_theta").cloned());
    let local = of(&window, "rope_theta").or_else(|| key("rope_local_base_freq").cloned());
    let full = (number(theta.as_ref(), 1_000_000.0)?, factor);
    Ok(Ropes { full, window: number(local.as_ref(), 10_000.0)? })
}

#[allow(clippy::cast_possible_truncation)] // the keys are f32
fn rope(keys: &mut Keys<'_>) -> Result<()> {
    if keys.packing() {
        let Ropes { full: (base, factor), window } = ropes(&keys.config())?;
        if let Some(factor) = factor {
            keys.put("rope.scaling.type", Meta::text("linear"));
            keys.put("rope.scaling.factor", Meta::F32(factor as f32));
        }
        keys.put("rope.freq_base", Meta::F32(base as f32));
        keys.put("rope.freq_base_swa", Meta::F32(window as f32));
        return Ok(());
    }
    let kind = keys.take("rope.scaling.type").and_then(Meta::as_text).unwrap_or("none");
    let factor = keys.take_number("rope.scaling.factor")?;
    let base = keys.take_number("rope.freq_base")?.unwrap_or(1_000_000.0);
    let window = keys.take_number("rope.freq_base_swa")?.unwrap_or(10_000.0);
    let mut full = json!({ "rope_type": "default", "rope_theta": f64::from(base) });
    match (kind, factor) {
        ("none", _) => {}
        ("linear", Some(factor)) => {
            full["rope_type"] = "linear".into();
            full["factor"] = f64::from(factor).into();
        }
        _ => return Err(refused("rope.scaling.type", format!("is {kind}"))),
    }
    let window = json!({ "rope_type": "default", "rope_theta": f64::from(window) });
    keys.set("rope_parameters", json!({ "full_attention": full, "sliding_attention": window }));
    Ok(())
}

fn keys(keys: &mut Keys<'_>) -> Result<()> {
    keys.length("block_count", "num_hidden_layers")?;
    keys.length("context_length", "max_position_embeddings")?;
    keys.length("embedding_length", "hidden_size")?;
    keys.length("feed_forward_length", "intermediate_size")?;
    heads(keys)?;
    rope(keys)?;
    keys.number("attention.layer_norm_rms_epsilon", "rms_norm_eps")?;
    head_dim(keys)?;
    keys.number_if("final_logit_softcapping", "final_logit_softcapping")?;
    keys.length("attention.sliding_window", "sliding_window")?;
    keys.flag_of_tensor("attention_bias", "blk.0.attn_q.bias");
    keys.only("attn_logit_softcapping", Json::Null)?;
    activation(keys)?;
    windows(keys, 6)?;
    scale(keys, 62)
}

fn tensors(config: &Config<'_>, table: &mut Table) -> Result<()> {
    let sizes = Sizes::of(config)?;
    ends(table, &sizes);
    for i in 0..sizes.layers {
        let layer = Layer::new(i);
        norms(&layer, table, &sizes);
        layer.attention(table, &sizes, false);
        norm(&layer, table, "self_attn.q_norm", "attn_q_norm", sizes.head);
        norm(&layer, table, "self_attn.k_norm", "attn_k_norm", sizes.head);
        layer.gated(table, &sizes);
    }
    Ok(())
}

static GGUF: GgufDef = GgufDef {
    name: "gemma3",
    revision: 1,
    class: "Gemma3ForCausalLM",
    prefix: "model.",
    serves: |_| true,
    defaults,
    aliases: &[],
    vocabulary: &[Kind::SentencePiece, Kind::Bpe],
    keys,
    tensors,
};

/// Gemma 3.
pub(super) static DEF: ArchDef = ArchDef {
    name: "gemma3",
    model_types: &["gemma3_text"],
    classes: &["Gemma3"],
    revision: 1,
    tasks: &[],
    lower: None,
    gguf: Some(&GGUF),
};
