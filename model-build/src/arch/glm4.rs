//! GLM-4.

use serde_json::{Map, Value as Json, json};

use super::decoder::{Common, Layer, Sizes, common, ends, head_size, rotated};
use super::gguf::{GgufDef, Keys, Table};
use super::{ArchDef, Config};
use crate::error::Result;
use crate::tokenizer::Kind;

fn defaults(_: &Map<String, Json>) -> Json {
    json!({
        "vocab_size": 151_552, "hidden_size": 4096, "intermediate_size": 13696,
        "num_hidden_layers": 40, "num_attention_heads": 32, "max_position_embeddings": 131_072,
        "rms_norm_eps": 1.5625e-7, "rope_theta": 10_000.0, "tie_word_embeddings": false,
        "num_key_value_heads": 2, "head_dim": 128, "partial_rotary_factor": 0.5,
    })
}

fn keys(keys: &mut Keys<'_>) -> Result<()> {
    keys.only("hidden_act", "silu")?;
    let family = Common { rope_extra: &["partial_rotary_factor"], head_dim: true, ..Common::PLAIN };
    common(keys, &family)?;
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    rotated(keys, |config, part| Ok((head_size(config)? as f64 * part) as u64))?;
    keys.flag_of_tensor("attention_bias", "blk.0.attn_q.bias");
    Ok(())
}

fn tensors(config: &Config<'_>, table: &mut Table) -> Result<()> {
    let sizes = Sizes::of(config)?;
    let both = sizes.inner.saturating_mul(2);
    ends(table, &sizes);
    for i in 0..sizes.layers {
        let layer = Layer::new(i);
        layer.norms(table, &sizes);
        layer.weight(table, "post_self_attn_layernorm", "post_attention_norm", &[sizes.hidden]);
        layer.weight(table, "post_mlp_layernorm", "post_ffw_norm", &[sizes.hidden]);
        layer.attention(table, &sizes, false);
        layer.weight(table, "mlp.gate_up_proj", "ffn_up", &[both, sizes.hidden]);
        layer.weight(table, "mlp.down_proj", "ffn_down", &[sizes.hidden, sizes.inner]);
    }
    Ok(())
}

static GGUF: GgufDef = GgufDef {
    name: "glm4",
    revision: 1,
    class: "Glm4ForCausalLM",
    prefix: "model.",
    serves: |_| true,
    defaults,
    aliases: &[],
    vocabulary: &[Kind::Bpe],
    keys,
    tensors,
};

/// GLM-4.
pub(super) static DEF: ArchDef = ArchDef {
    name: "glm4",
    model_types: &["glm4"],
    classes: &["Glm4"],
    revision: 1,
    tasks: &[],
    lower: None,
    gguf: Some(&GGUF),
};
