//! Phi-3 and Phi-4.

use serde_json::{Map, Value as Json, json};

use super::decoder::{Layer, Sizes, ends, heads, rotated};
use super::gguf::{GgufDef, Keys, Rope, Table, json_of_f32, list_of, narrow};
use super::llama::heads_of;
use super::{ArchDef, Config};
use crate::error::{Error, Result};
use crate::hub::{Meta, Tensor};
use crate::tokenizer::Kind;

fn defaults(config: &Map<String, Json>) -> Json {
    json!({
        "vocab_size": 32064, "hidden_size": 3072, "intermediate_size": 8192,
        "num_hidden_layers": 32, "num_attention_heads": 32, "max_position_embeddings": 4096,
        "original_max_position_embeddings": 4096, "rms_norm_eps": 1e-5, "rope_theta": 10_000.0,
        "tie_word_embeddings": false, "num_key_value_heads": heads_of(config, 32),
    })
}

const LONG: &str = "rope_factors_long.weight";
const SHORT: &str = "rope_factors_short.weight";
const ORIGINAL: &str = "original_max_position_embeddings";

/// How much attention is scaled where positions are stretched beyond the trained ones.
fn attention_factor(config: &Config<'_>) -> Result<f32> {
    #[allow(clippy::cast_precision_loss)] // numbers of positions
    let [longest, original] =
        [config.length(&["max_position_embeddings"])? as f64, config.length(&[ORIGINAL])? as f64];
    let scale = longest / original;
    Ok(if scale > 1.0 { narrow((1.0 + scale.ln() / original.ln()).sqrt()) } else { 1.0 })
}

fn keys(keys: &mut Keys<'_>) -> Result<()> {
    keys.only("hidden_act", "silu")?;
    keys.length("context_length", "max_position_embeddings")?;
    keys.length("rope.scaling.original_context_length", ORIGINAL)?;
    keys.length("embedding_length", "hidden_size")?;
    keys.length("feed_forward_length", "intermediate_size")?;
    keys.length("block_count", "num_hidden_layers")?;
    heads(keys)?;
    keys.number("attention.layer_norm_rms_epsilon", "rms_norm_eps")?;
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    rotated(keys, |config, part| {
        let (hidden, heads) = (config.length(&["hidden_size"])?, heads_in(config)?);
        Ok((part * hidden as f64) as u64 / heads)
    })?;
    if keys.packing() {
        keys.check_rope(&["default", "longrope"], &["partial_rotary_factor"])?;
        let (theta, long) = {
            let config = keys.config();
            let rope = Rope::of(&config)?;
            (rope.required("rope_theta")?, rope.kind()? == "longrope")
        };
        keys.put("rope.freq_base", Meta::F32(narrow(theta)));
        if long {
            keys.put_early(
                "rope.scaling.attn_factor",
                Meta::F32(attention_factor(&keys.config())?),
            );
        }
        let window = keys.config().index_or("sliding_window", 0)?;
        let window = u32::try_from(window).unwrap_or(u32::MAX);
        keys.put("attention.sliding_window", Meta::U32(window));
        return Ok(());
    }
    unpack_rope(keys)?;
    let window = keys.take_length("attention.sliding_window")?.filter(|n| *n > 0);
    keys.set("sliding_window", window);
    Ok(())
}

fn heads_in(config: &Config<'_>) -> Result<u64> {
    config.length(&["num_attention_heads"])
}

fn unpack_rope(keys: &mut Keys<'_>) -> Result<()> {
    let theta = keys.take_number("rope.freq_base")?.unwrap_or(10_000.0);
    keys.set_rope("rope_theta", json_of_f32(theta)?);
    keys.set_rope("rope_type", "default");
    let Some(gguf) = keys.gguf() else { return Ok(()) };
    if let (Some(long), Some(short)) = (list_of(gguf, LONG)?, list_of(gguf, SHORT)?) {
        keys.set_rope("rope_type", "longrope");
        keys.set_rope("long_factor", long);
        keys.set_rope("short_factor", short);
        let original = keys.config().length(&[ORIGINAL])?;
        keys.set_rope(ORIGINAL, original);
        let want = attention_factor(&keys.config())?;
        let found = keys.take_number("rope.scaling.attn_factor")?.unwrap_or(1.0);
        if (found - want).abs() > 1e-5 {
            let what = format!("the lengths of positions give {want}, the file says {found}");
            return Err(Error::unsupported(what).item("phi3.rope.scaling.attn_factor"));
        }
    }
    Ok(())
}

fn tensors(config: &Config<'_>, table: &mut Table) -> Result<()> {
    let sizes = Sizes::of(config)?;
    let rope = Rope::of(config)?;
    if rope.kind()? == "longrope" {
        for (name, key) in [(LONG, "long_factor"), (SHORT, "short_factor")] {
            let list = rope.list(key)?.unwrap_or_default();
            if list.is_empty() || list.len() as u64 > sizes.head / 2 {
                let what = format!("`{key}` of rope_parameters has {} factors", list.len());
                return Err(Error::malformed(what).file("config.json").item("rope_parameters"));
            }
            table.generated(name, Tensor::from_f32(vec![list.len() as u64], &list)?);
        }
    }
    ends(table, &sizes);
    let qkv = sizes.q.saturating_add(sizes.kv.saturating_mul(2));
    let both = sizes.inner.saturating_mul(2);
    for i in 0..sizes.layers {
        let layer = Layer::new(i);
        layer.norms(table, &sizes);
        layer.weight(table, "self_attn.qkv_proj", "attn_qkv", &[qkv, sizes.hidden]);
        layer.weight(table, "self_attn.o_proj", "attn_output", &[sizes.hidden, sizes.q]);
        layer.weight(table, "mlp.gate_up_proj", "ffn_up", &[both, sizes.hidden]);
        layer.weight(table, "mlp.down_proj", "ffn_down", &[sizes.hidden, sizes.inner]);
    }
    Ok(())
}

static GGUF: GgufDef = GgufDef {
    name: "phi3",
    revision: 1,
    class: "Phi3ForCausalLM",
    prefix: "model.",
    serves: |_| true,
    defaults,
    aliases: &[],
    vocabulary: &[Kind::SentencePiece, Kind::Bpe],
    keys,
    tensors,
};

/// Phi-3 and Phi-4.
pub(super) static DEF: ArchDef = ArchDef {
    name: "phi3",
    model_types: &["phi3"],
    classes: &["Phi3"],
    revision: 1,
    tasks: &[],
    lower: None,
    gguf: Some(&GGUF),
};
