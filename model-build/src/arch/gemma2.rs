//! Gemma 2 (Gemma Team, 2024): norms on both sides, capped logits, every other layer sees a window.

use serde_json::{Map, Value as Json, json};

use super::config::{refused, wrong};
use super::decoder::{Layer, Sizes};
use super::falcon::plain_rope;
use super::gemma::{ends, first_keys, norm};
use super::gguf::{GgufDef, Keys, Table};
use super::{ArchDef, Config};
use crate::error::Result;
use crate::tokenizer::Kind;

fn defaults(_: &Map<String, Json>) -> Json {
    json!({
        "vocab_size": 256_000, "hidden_size": 2304, "intermediate_size": 9216,
        "num_hidden_layers": 26, "num_attention_heads": 8, "num_key_value_heads": 4,
        "head_dim": 256, "max_position_embeddings": 8192, "rms_norm_eps": 1e-6,
        "rope_theta": 10_000.0, "tie_word_embeddings": true, "query_pre_attn_scalar": 256,
        "sliding_window": 4096, "attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0,
    })
}

/// Which layers see a window: GGUF's graph has it fixed, all but every `period`-th.
pub(super) fn windows(keys: &mut Keys<'_>, period: u64) -> Result<()> {
    let layers = keys.config().length(&["num_hidden_layers"])?;
    let kind = |i: u64| match (i + 1) % period {
        0 => "full_attention",
        _ => "sliding_attention",
    };
    let want = || (0..layers).map(|i| Json::from(kind(i)));
    if !keys.packing() {
        let want: Vec<Json> = want().collect();
        keys.set("layer_types", want);
        return Ok(());
    }
    match keys.config().get(&["layer_types"]) {
        None => Ok(()),
        Some((_, Json::Array(found))) if found.iter().cloned().eq(want()) => Ok(()),
        Some((key, _)) => Err(refused(
            key,
            format!("is another than GGUF's graph has: a window in all but every {period}th layer"),
        )),
    }
}

/// What attention scores are divided by the root of: GGUF's graph takes the size of a head, or, in a
/// model of `large` layers, the hidden size by the number of heads.
pub(super) fn scale(keys: &mut Keys<'_>, large: u64) -> Result<()> {
    let config = keys.config();
    let hidden = config.length(&["hidden_size"])? / config.length(&["num_attention_heads"])?;
    let head = config.length(&["head_dim"])?;
    let want = if config.length(&["num_hidden_layers"])? == large { hidden } else { head };
    if !keys.packing() {
        keys.set("query_pre_attn_scalar", want);
        return Ok(());
    }
    match config.number("query_pre_attn_scalar")? {
        #[allow(clippy::cast_precision_loss)] // small
        Some(found) if found != want as f64 => {
            Err(wrong("query_pre_attn_scalar", format!("is {found}, GGUF's graph has {want}")))
        }
        _ => Ok(()),
    }
}

fn keys(keys: &mut Keys<'_>) -> Result<()> {
    first_keys(keys)?;
    keys.number("attn_logit_softcapping", "attn_logit_softcapping")?;
    keys.number("final_logit_softcapping", "final_logit_softcapping")?;
    keys.length("attention.sliding_window", "sliding_window")?;
    windows(keys, 2)?;
    scale(keys, 46)?;
    plain_rope(keys, 1.0)
}

/// The norms around attention and the feed-forward network.
pub(super) fn norms(layer: &Layer, table: &mut Table, sizes: &Sizes) {
    let names = [
        ("input_layernorm", "attn_norm"),
        ("post_attention_layernorm", "post_attention_norm"),
        ("pre_feedforward_layernorm", "ffn_norm"),
        ("post_feedforward_layernorm", "post_ffw_norm"),
    ];
    for (hf, gguf) in names {
        norm(layer, table, hf, gguf, sizes.hidden);
    }
}

fn tensors(config: &Config<'_>, table: &mut Table) -> Result<()> {
    let sizes = Sizes::of(config)?;
    ends(table, &sizes);
    for i in 0..sizes.layers {
        let layer = Layer::new(i);
        norms(&layer, table, &sizes);
        layer.attention(table, &sizes, false);
        layer.gated(table, &sizes);
    }
    Ok(())
}

static GGUF: GgufDef = GgufDef {
    name: "gemma2",
    revision: 1,
    class: "Gemma2ForCausalLM",
    prefix: "model.",
    serves: |_| true,
    defaults,
    aliases: &[],
    vocabulary: &[Kind::SentencePiece],
    keys,
    tensors,
};

/// Gemma 2.
pub(super) static DEF: ArchDef = ArchDef {
    name: "gemma2",
    model_types: &["gemma2"],
    classes: &["Gemma2"],
    revision: 1,
    tasks: &[],
    lower: None,
    gguf: Some(&GGUF),
};
