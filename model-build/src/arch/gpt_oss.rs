//! gpt-oss: experts in four-bit blocks, attention sinks, sliding windows in every other layer.

use serde_json::{Map, Value as Json, json};

use super::cohere2::{check_windows, windows};
use super::decoder::{Common, Layer, Sizes, common, ends};
use super::gguf::{GgufDef, Keys, Post, RowMap, Table};
use super::{ArchDef, Config};
use crate::error::Result;
use crate::tokenizer::Kind;

fn defaults(_: &Map<String, Json>) -> Json {
    json!({
        "vocab_size": 201_088, "hidden_size": 2880, "intermediate_size": 2880,
        "num_hidden_layers": 36, "num_attention_heads": 64, "num_key_value_heads": 8,
        "head_dim": 64, "max_position_embeddings": 131_072, "rms_norm_eps": 1e-5,
        "rope_theta": 150_000.0, "tie_word_embeddings": false, "num_local_experts": 128,
        "num_experts_per_tok": 4, "sliding_window": 128,
    })
}

const FAMILY: Common = Common {
    rope_extra: &["truncate"],
    experts: Some(("num_local_experts", "num_experts_per_tok")),
    head_dim: true,
    ..Common::PLAIN
};

fn keys(keys: &mut Keys<'_>) -> Result<()> {
    keys.only("hidden_act", "silu")?;
    keys.only("attention_bias", true)?;
    keys.only("swiglu_limit", 7.0)?;
    if keys.packing() {
        check_windows(&keys.config(), 2)?;
    }
    common(keys, &FAMILY)?;
    keys.length("attention.sliding_window", "sliding_window")?;
    keys.length_of("expert_feed_forward_length", |config| config.length(&["intermediate_size"]))?;
    if !keys.packing() {
        keys.set_rope("truncate", false);
        let layers = keys.config().length(&["num_hidden_layers"])?;
        keys.set("layer_types", windows(layers, 2));
        let packed = keys.gguf().and_then(|gguf| gguf.tensor("blk.0.ffn_down_exps.weight"));
        if packed.is_some_and(|tensor| tensor.dtype().name() == "mxfp4") {
            let plain = [
                "model.layers.*.self_attn",
                "model.layers.*.mlp.router",
                "model.embed_tokens",
                "lm_head",
            ];
            keys.set(
                "quantization_config",
                json!({"quant_method": "mxfp4", "modules_to_not_convert": plain}),
            );
        }
    }
    Ok(())
}

/// The experts' projections in blocks of four bits, as they are published.
fn packed(layer: &Layer, table: &mut Table, [count, inner, hidden]: [u64; 3]) {
    let both = inner.saturating_mul(2);
    let name = |end: &str| layer.hf(&format!("mlp.experts.{end}"));
    let gguf = [layer.gguf("ffn_gate_exps.weight"), layer.gguf("ffn_up_exps.weight")];
    table.blocks(
        name("gate_up_proj_blocks"),
        name("gate_up_proj_scales"),
        [count, both, hidden / 32],
        &gguf,
    );
    table.blocks(
        name("down_proj_blocks"),
        name("down_proj_scales"),
        [count, hidden, inner / 32],
        &[layer.gguf("ffn_down_exps.weight")],
    );
}

/// The experts' projections in floating point: transposed, the gate's columns before each of the
/// other's.
fn plain(layer: &Layer, table: &mut Table, [count, inner, hidden]: [u64; 3]) {
    let both = inner.saturating_mul(2);
    let all = count.saturating_mul(inner);
    let name = layer.hf("mlp.experts.gate_up_proj");
    let rows = RowMap::new(0, &[(all, 1), (2, all)]);
    let half = |base| RowMap::new(base, &[(all, 2)]);
    let shape = vec![count, inner, hidden];
    table.mapped(
        vec![(name, vec![count, hidden, both], rows, Post::Turned)],
        vec![
            (layer.gguf("ffn_gate_exps.weight"), shape.clone(), half(0), Post::Same),
            (layer.gguf("ffn_up_exps.weight"), shape, half(1), Post::Same),
        ],
        hidden,
    );
    let down = [count, inner, hidden];
    table.turned(layer.hf("mlp.experts.down_proj"), layer.gguf("ffn_down_exps.weight"), &down);
}

fn experts(layer: &Layer, table: &mut Table, shape: [u64; 3]) {
    let [count, inner, hidden] = shape;
    layer.linear(table, "mlp.router", "ffn_gate_inp", &[count, hidden]);
    let blocks = table
        .has_blocks(&layer.hf("mlp.experts.down_proj_blocks"), &layer.gguf("ffn_down_exps.weight"));
    if blocks {
        packed(layer, table, shape);
    } else {
        plain(layer, table, shape);
    }
    let all = count.saturating_mul(inner);
    let half = |base| RowMap::new(base, &[(all, 2)]);
    let name = layer.hf("mlp.experts.gate_up_proj_bias");
    let rows = RowMap::new(0, &[(all, 1), (2, all)]);
    table.mapped(
        vec![(name, vec![count, inner.saturating_mul(2)], rows, Post::Same)],
        vec![
            (layer.gguf("ffn_gate_exps.bias"), vec![count, inner], half(0), Post::Same),
            (layer.gguf("ffn_up_exps.bias"), vec![count, inner], half(1), Post::Same),
        ],
        1,
    );
    let down = [count, hidden];
    table.same(layer.hf("mlp.experts.down_proj_bias"), layer.gguf("ffn_down_exps.bias"), &down);
}

fn tensors(config: &Config<'_>, table: &mut Table) -> Result<()> {
    let sizes = Sizes::of(config)?;
    let count = config.length(&["num_local_experts"])?;
    ends(table, &sizes);
    for i in 0..sizes.layers {
        let layer = Layer::new(i);
        layer.weight(table, "input_layernorm", "attn_norm", &[sizes.hidden]);
        layer.weight(table, "post_attention_layernorm", "post_attention_norm", &[sizes.hidden]);
        layer.attention(table, &sizes, false);
        let sinks = layer.hf("self_attn.sinks");
        table.same(sinks, layer.gguf("attn_sinks.weight"), &[sizes.heads]);
        experts(&layer, table, [count, sizes.inner, sizes.hidden]);
    }
    Ok(())
}

static GGUF: GgufDef = GgufDef {
    name: "gpt-oss",
    revision: 1,
    class: "GptOssForCausalLM",
    prefix: "model.",
    serves: |_| true,
    defaults,
    aliases: &[("experts_per_token", "num_experts_per_tok")],
    vocabulary: &[Kind::Bpe],
    keys,
    tensors,
};

/// gpt-oss.
pub(super) static DEF: ArchDef = ArchDef {
    name: "gpt_oss",
    model_types: &["gpt_oss"],
    classes: &["GptOss"],
    revision: 1,
    tasks: &[],
    lower: None,
    gguf: Some(&GGUF),
};
