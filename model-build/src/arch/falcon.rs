//! Falcon (Almazrouei et al., 2023).

use serde_json::{Map, Value as Json, json};

use super::config::{refused, wrong};
use super::fused::grouped;
use super::gguf::{GgufDef, Keys, Rope, Table};
use super::{ArchDef, Config};
use crate::error::Result;
use crate::hub::Meta;
use crate::tokenizer::Kind;

fn defaults(config: &Map<String, Json>) -> Json {
    let flag = |key: &str| config.get(key).and_then(Json::as_bool);
    let heads = config.get("num_attention_heads").cloned().unwrap_or_else(|| 71.into());
    // As transformers: one key head unless the newer layout or `multi_query = false` says otherwise.
    let newer = flag("new_decoder_architecture") == Some(true);
    let kv = if newer || flag("multi_query") == Some(false) { heads } else { 1.into() };
    json!({
        "vocab_size": 65024, "hidden_size": 4544, "num_hidden_layers": 32,
        "num_attention_heads": 71, "layer_norm_epsilon": 1e-5, "num_kv_heads": kv,
        "tie_word_embeddings": true, "rope_theta": 10_000.0,
    })
}

fn inner(config: &Config<'_>) -> Result<u64> {
    let want = config.length(&["hidden_size"])?.saturating_mul(4);
    match config.length_or("ffn_hidden_size", want)? {
        found if found == want => Ok(want),
        found => Err(wrong("ffn_hidden_size", format!("is {found}, GGUF's graph has {want}"))),
    }
}

/// Heads of keys and values. Without the newer layout there is one, whatever `num_kv_heads` says.
fn kv_heads(config: &Config<'_>) -> Result<u64> {
    let newer = config.flag_or("new_decoder_architecture", false)?;
    match (newer, config.flag_or("multi_query", true)?) {
        (true, _) => config.length(&["num_kv_heads"]),
        (false, true) => Ok(1),
        (false, false) => config.length(&["num_attention_heads"]),
    }
}

fn keys(keys: &mut Keys<'_>) -> Result<()> {
    // The converter writes this length for every Falcon.
    keys.put("context_length", Meta::U32(2048));
    if let Some(length) = keys.take_length("context_length")? {
        keys.set("max_position_embeddings", length);
    }
    let layout = "tensor_data_layout";
    keys.put(layout, Meta::text("jploski"));
    keys.take(layout);
    keys.length("embedding_length", "hidden_size")?;
    if keys.packing() {
        keys.length_of("feed_forward_length", inner)?;
    } else {
        keys.length("feed_forward_length", "ffn_hidden_size")?;
        inner(&keys.config())?;
    }
    keys.length("block_count", "num_hidden_layers")?;
    keys.length("attention.head_count", "num_attention_heads")?;
    if keys.packing() {
        keys.length_of("attention.head_count_kv", kv_heads)?;
    } else {
        let heads = keys.take_length("attention.head_count_kv")?.unwrap_or(1);
        let two_norms = keys.gguf().is_some_and(|g| g.tensor("blk.0.attn_norm_2.weight").is_some());
        keys.set("num_kv_heads", heads);
        keys.set("multi_query", heads == 1);
        keys.set("new_decoder_architecture", heads != 1 || two_norms);
        keys.set("num_ln_in_parallel_attn", if two_norms { 2 } else { 1 });
    }
    keys.number("attention.layer_norm_epsilon", "layer_norm_epsilon")?;
    keys.only("activation", "gelu")?;
    keys.only("alibi", false)?;
    keys.only("bias", false)?;
    keys.only("parallel_attn", true)?;
    plain_rope(keys, 1.0)
}

/// Rotary positions without scaling, over a share of each head. The converter leaves the base out,
/// which readers take for 10000; another one is written.
pub(super) fn plain_rope(keys: &mut Keys<'_>, share: f64) -> Result<()> {
    if !keys.packing() {
        let base = keys.take_number("rope.freq_base")?.unwrap_or(10_000.0);
        let mut rope = json!({ "rope_type": "default", "rope_theta": f64::from(base) });
        if share != 1.0 {
            rope["partial_rotary_factor"] = share.into();
        }
        keys.set("rope_parameters", rope);
        return Ok(());
    }
    let config = keys.config();
    let rope = Rope::of(&config)?;
    if rope.kind()? != "default" {
        let what = format!("has the kind `{}`, which GGUF's graph does not have", rope.kind()?);
        return Err(refused("rope_parameters", what));
    }
    #[allow(clippy::cast_possible_truncation)] // the key is an f32
    let base = rope.number("rope_theta")?.unwrap_or(10_000.0) as f32;
    if base != 10_000.0 {
        keys.put("rope.freq_base", Meta::F32(base));
    }
    Ok(())
}

fn tensors(config: &Config<'_>, table: &mut Table) -> Result<()> {
    let width = config.length(&["hidden_size"])?;
    let heads = config.length(&["num_attention_heads"])?;
    let kv = kv_heads(config)?;
    if heads % kv != 0 {
        return Err(wrong("num_kv_heads", format!("is {kv}, which does not divide {heads} heads")));
    }
    let groups = [kv, heads / kv, width / heads];
    let matrix = [config.length(&["vocab_size"])?, width];
    table.same("transformer.word_embeddings.weight", "token_embd.weight", &matrix);
    table.linear("transformer.ln_f", "output_norm", &[width]);
    if config.flag_or("tie_word_embeddings", true)? {
        table.ignored("lm_head.weight");
    } else {
        table.same("lm_head.weight", "output.weight", &matrix);
    }
    for i in 0..config.length(&["num_hidden_layers"])? {
        let hf = |name: &str| format!("transformer.h.{i}.{name}");
        let gguf = |name: &str| format!("blk.{i}.{name}");
        if table.has(&hf("ln_attn.weight"), &gguf("attn_norm_2.weight")) {
            table.linear(&hf("ln_mlp"), &gguf("attn_norm"), &[width]);
            table.linear(&hf("ln_attn"), &gguf("attn_norm_2"), &[width]);
        } else {
            table.linear(&hf("input_layernorm"), &gguf("attn_norm"), &[width]);
        }
        let weight = |name: &str| format!("{name}.weight");
        let mut same = |from: &str, to: &str, shape: [u64; 2]| {
            table.same(hf(&weight(from)), gguf(&weight(to)), &shape);
        };
        same("self_attention.dense", "attn_output", [width, width]);
        same("mlp.dense_h_to_4h", "ffn_up", [inner(config)?, width]);
        same("mlp.dense_4h_to_h", "ffn_down", [width, inner(config)?]);
        let name = hf("self_attention.query_key_value.weight");
        grouped(table, name, gguf("attn_qkv.weight"), groups, Some(width))?;
    }
    Ok(())
}

static GGUF: GgufDef = GgufDef {
    name: "falcon",
    revision: 1,
    class: "FalconForCausalLM",
    prefix: "transformer.",
    serves: |_| true,
    defaults,
    aliases: &[
        ("n_head", "num_attention_heads"),
        ("n_head_kv", "num_kv_heads"),
        ("n_layer", "num_hidden_layers"),
    ],
    vocabulary: &[Kind::Bpe],
    keys,
    tensors,
};

/// Falcon.
pub(super) static DEF: ArchDef = ArchDef {
    name: "falcon",
    model_types: &["falcon", "RefinedWeb", "RefinedWebModel"],
    classes: &["Falcon", "RW"],
    revision: 1,
    tasks: &[],
    lower: None,
    gguf: Some(&GGUF),
};
