//! DeepSeek-V2: attention over a compressed cache, experts.

use serde_json::{Map, Value as Json, json};

use super::config::refused;
use super::decoder::{Common, Layer, Sizes, common, ends};
use super::gguf::{GgufDef, Keys, Post, Rope, RowMap, Table, bad_key, narrow};
use super::{ArchDef, Config};
use crate::error::Result;
use crate::hub::Meta;
use crate::tokenizer::Kind;

fn defaults(_: &Map<String, Json>) -> Json {
    json!({
        "vocab_size": 102_400, "hidden_size": 4096, "intermediate_size": 11008,
        "num_hidden_layers": 32, "num_attention_heads": 32, "max_position_embeddings": 2048,
        "rms_norm_eps": 1e-6, "rope_theta": 10_000.0, "tie_word_embeddings": false,
        "first_k_dense_replace": 0, "kv_lora_rank": 512, "q_lora_rank": 1536,
        "n_routed_experts": 64, "n_shared_experts": 2, "qk_nope_head_dim": 128,
        "qk_rope_head_dim": 64, "routed_scaling_factor": 1.0, "topk_method": "greedy",
        "norm_topk_prob": false, "v_head_dim": 128, "moe_intermediate_size": 1407,
    })
}

/// Sizes of attention over a compressed cache.
#[derive(Clone, Copy, Debug)]
struct Latent {
    /// Elements of a head's keys that are not rotated, those that are, and of a head's values.
    plain: u64,
    rotated: u64,
    value: u64,
    /// Elements of the compressed keys and values, and of compressed queries.
    kv_rank: u64,
    q_rank: Option<u64>,
}

impl Latent {
    fn of(config: &Config<'_>) -> Result<Self> {
        let q_rank = config.get(&["q_lora_rank"]).map(|_| config.length(&["q_lora_rank"]));
        Ok(Self {
            plain: config.length(&["qk_nope_head_dim"])?,
            rotated: config.length(&["qk_rope_head_dim"])?,
            value: config.length(&["v_head_dim"])?,
            kv_rank: config.length(&["kv_lora_rank"])?,
            q_rank: q_rank.transpose()?,
        })
    }
}

const FAMILY: Common = Common {
    rope: &["default", "yarn"],
    rope_extra: &["mscale", "mscale_all_dim"],
    experts: Some(("n_routed_experts", "num_experts_per_tok")),
    ..Common::PLAIN
};

fn keys(keys: &mut Keys<'_>) -> Result<()> {
    keys.only("hidden_act", "silu")?;
    keys.only("attention_bias", false)?;
    if keys.packing() {
        check(&keys.config())?;
        // In GGUF all heads share one key and value: the compressed ones.
        keys.set("num_key_value_heads", 1);
    }
    common(keys, &FAMILY)?;
    keys.length_if("expert_group_count", "n_group")?;
    keys.length_if("expert_group_used_count", "topk_group")?;
    if !keys.packing() {
        unpack_latent(keys)?;
    }
    let latent = Latent::of(&keys.config())?;
    keys.length_of("attention.key_length", |_| Ok(latent.kv_rank.saturating_add(latent.rotated)))?;
    keys.length_of("attention.value_length", |_| Ok(latent.kv_rank))?;
    keys.length_if("leading_dense_block_count", "first_k_dense_replace")?;
    if keys.packing() {
        keys.length("vocab_size", "vocab_size")?;
        keys.length_if("attention.q_lora_rank", "q_lora_rank")?;
        keys.length("attention.kv_lora_rank", "kv_lora_rank")?;
    }
    keys.length_of("attention.key_length_mla", |_| {
        Ok(latent.plain.saturating_add(latent.rotated))
    })?;
    keys.length("attention.value_length_mla", "v_head_dim")?;
    keys.length("expert_feed_forward_length", "moe_intermediate_size")?;
    keys.length("expert_shared_count", "n_shared_experts")?;
    keys.number_if("expert_weights_scale", "routed_scaling_factor")?;
    norm(keys)?;
    keys.length("rope.dimension_count", "qk_rope_head_dim")?;
    scale(keys)
}

fn check(config: &Config<'_>) -> Result<()> {
    let frequency = config.length_or("moe_layer_freq", 1)?;
    if frequency != 1 {
        return Err(refused("moe_layer_freq", format!("is {frequency}, and not 1")));
    }
    let scoring = config.text_or("scoring_func", "softmax")?;
    if scoring != "softmax" {
        return Err(refused("scoring_func", format!("is `{scoring}`, and not `softmax`")));
    }
    Ok(())
}

/// The sizes of attention, which the file has in sums.
fn unpack_latent(keys: &mut Keys<'_>) -> Result<()> {
    let heads = keys.config().length(&["num_attention_heads"])?;
    keys.set("num_key_value_heads", heads);
    keys.length("attention.kv_lora_rank", "kv_lora_rank")?;
    keys.set("q_lora_rank", Json::Null);
    keys.length_if("attention.q_lora_rank", "q_lora_rank")?;
    keys.length("rope.dimension_count", "qk_rope_head_dim")?;
    keys.length("attention.value_length_mla", "v_head_dim")?;
    let both = keys.take_length("attention.key_length_mla")?;
    let rotated = keys.config().length(&["qk_rope_head_dim"])?;
    let plain = both.and_then(|n| n.checked_sub(rotated)).filter(|n| *n > 0).ok_or_else(|| {
        bad_key("attention.key_length_mla", "is missing, or not above the rotated part")
    })?;
    keys.set("qk_nope_head_dim", plain);
    let grouped = keys.config().index_or("n_group", 0)? > 1;
    keys.set("topk_method", if grouped { "group_limited_greedy" } else { "greedy" });
    Ok(())
}

/// Whether the weights of the chosen experts are made to sum to one; the file has the key where
/// they are.
fn norm(keys: &mut Keys<'_>) -> Result<()> {
    if keys.packing() {
        if keys.config().flag_or("norm_topk_prob", false)? {
            keys.put("expert_weights_norm", Meta::Bool(true));
        }
        return Ok(());
    }
    keys.set("norm_topk_prob", false);
    keys.flag_if("expert_weights_norm", "norm_topk_prob")
}

/// The scale of attention that goes with stretched positions: a tenth of it in the file.
fn scale(keys: &mut Keys<'_>) -> Result<()> {
    const KEY: &str = "rope.scaling.yarn_log_multiplier";
    if keys.packing() {
        let (all, one) = {
            let config = keys.config();
            let rope = Rope::of(&config)?;
            (rope.number("mscale_all_dim")?, rope.number("mscale")?)
        };
        if let Some(one) = one
            && Some(one) != all
        {
            let what = format!("has `mscale` = {one} that is not `mscale_all_dim`");
            return Err(refused("rope_parameters", what));
        }
        if let Some(all) = all {
            keys.put(KEY, Meta::F32(narrow(0.1 * all)));
        }
        return Ok(());
    }
    if let Some(tenth) = keys.take_number(KEY)? {
        let near = (f64::from(tenth) * 10.0 * 1e5).round() / 1e5;
        let exact = narrow(0.1 * near).to_bits() == tenth.to_bits();
        let all = if exact { near } else { f64::from(tenth) * 10.0 };
        keys.set_rope("mscale", all);
        keys.set_rope("mscale_all_dim", all);
    }
    Ok(())
}

fn attention(layer: &Layer, table: &mut Table, hidden: u64, heads: u64, latent: &Latent) {
    let Latent { plain, rotated, value, kv_rank, q_rank } = *latent;
    let key = plain.saturating_add(rotated);
    let queries = heads.saturating_mul(key);
    if let Some(rank) = q_rank {
        layer.weight(table, "self_attn.q_a_proj", "attn_q_a", &[rank, hidden]);
        layer.weight(table, "self_attn.q_a_layernorm", "attn_q_a_norm", &[rank]);
        layer.weight(table, "self_attn.q_b_proj", "attn_q_b", &[queries, rank]);
    } else {
        layer.weight(table, "self_attn.q_proj", "attn_q", &[queries, hidden]);
    }
    let compressed = kv_rank.saturating_add(rotated);
    layer.weight(table, "self_attn.kv_a_proj_with_mqa", "attn_kv_a_mqa", &[compressed, hidden]);
    layer.weight(table, "self_attn.kv_a_layernorm", "attn_kv_a_norm", &[kv_rank]);
    let values = heads.saturating_mul(value);
    layer.weight(table, "self_attn.o_proj", "attn_output", &[hidden, values]);

    // Each head's keys before its values in the checkpoint; apart, and the keys transposed, in GGUF.
    let both = plain.saturating_add(value);
    let keys_end = heads.saturating_mul(plain);
    let of_each = |base, rows| RowMap::new(base, &[(heads, both), (rows, 1)]);
    let name = layer.hf("self_attn.kv_b_proj.weight");
    let rows = RowMap::dealt(heads, &[(0, plain), (keys_end, value)]);
    table.mapped(
        vec![(name, vec![heads.saturating_mul(both), kv_rank], rows, Post::Same)],
        vec![
            (
                layer.gguf("attn_k_b.weight"),
                vec![heads, kv_rank, plain],
                of_each(0, plain),
                Post::Turned,
            ),
            (
                layer.gguf("attn_v_b.weight"),
                vec![heads, value, kv_rank],
                of_each(plain, value),
                Post::Same,
            ),
        ],
        kv_rank,
    );
}

fn feed_forward(layer: &Layer, table: &mut Table, config: &Config<'_>, hidden: u64) -> Result<()> {
    let count = config.length(&["n_routed_experts"])?;
    let inner = config.length(&["moe_intermediate_size"])?;
    let shared = config.length(&["n_shared_experts"])?.saturating_mul(inner);
    layer.weight(table, "mlp.gate", "ffn_gate_inp", &[count, hidden]);
    let names = ["gate_proj", "up_proj", "down_proj"];
    layer.experts(table, "mlp.experts", names, [count, inner, hidden]);
    layer.weight(table, "mlp.shared_experts.gate_proj", "ffn_gate_shexp", &[shared, hidden]);
    layer.weight(table, "mlp.shared_experts.up_proj", "ffn_up_shexp", &[shared, hidden]);
    layer.weight(table, "mlp.shared_experts.down_proj", "ffn_down_shexp", &[hidden, shared]);
    Ok(())
}

fn tensors(config: &Config<'_>, table: &mut Table) -> Result<()> {
    let sizes = Sizes {
        layers: config.length(&["num_hidden_layers"])?,
        vocabulary: config.length(&["vocab_size"])?,
        hidden: config.length(&["hidden_size"])?,
        inner: config.length(&["intermediate_size"])?,
        heads: config.length(&["num_attention_heads"])?,
        kv_heads: 1,
        head: 0,
        q: 0,
        kv: 0,
        tied: config.flag_or("tie_word_embeddings", false)?,
    };
    let latent = Latent::of(config)?;
    let dense = config.index_or("first_k_dense_replace", 0)?.unsigned_abs();
    ends(table, &sizes);
    for i in 0..sizes.layers {
        let layer = Layer::new(i);
        layer.norms(table, &sizes);
        attention(&layer, table, sizes.hidden, sizes.heads, &latent);
        if i < dense {
            layer.gated(table, &sizes);
        } else {
            feed_forward(&layer, table, config, sizes.hidden)?;
        }
    }
    Ok(())
}

static GGUF: GgufDef = GgufDef {
    name: "deepseek2",
    revision: 1,
    class: "DeepseekV2ForCausalLM",
    prefix: "model.",
    serves: |_| true,
    defaults,
    aliases: &[],
    vocabulary: &[Kind::Bpe],
    keys,
    tensors,
};

/// DeepSeek-V2: attention over a compressed cache, experts.
pub(super) static DEF: ArchDef = ArchDef {
    name: "deepseek_v2",
    model_types: &["deepseek_v2"],
    classes: &["DeepseekV2"],
    revision: 1,
    tasks: &[],
    lower: None,
    gguf: Some(&GGUF),
};
