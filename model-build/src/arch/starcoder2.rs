//! StarCoder2.

use serde_json::{Map, Value as Json, json};

use super::decoder::{Common, Eps, Layer, Sizes, common, output};
use super::gguf::{GgufDef, Keys, Table};
use super::llama::heads_of;
use super::{ArchDef, Config};
use crate::error::Result;
use crate::tokenizer::Kind;

fn defaults(config: &Map<String, Json>) -> Json {
    let kv_heads =
        if config.contains_key("num_key_value_heads") { heads_of(config, 24) } else { 2 };
    json!({
        "vocab_size": 49152, "hidden_size": 3072, "intermediate_size": 12288,
        "num_hidden_layers": 30, "num_attention_heads": 24, "num_key_value_heads": kv_heads,
        "max_position_embeddings": 4096, "norm_epsilon": 1e-5, "rope_theta": 10_000.0,
        "tie_word_embeddings": true,
    })
}

fn keys(keys: &mut Keys<'_>) -> Result<()> {
    keys.only("hidden_act", "gelu_pytorch_tanh")?;
    keys.no_window()?;
    common(keys, &Common { eps: Eps::Layer("norm_epsilon"), ..Common::PLAIN })?;
    keys.flag_of_tensor("use_bias", "blk.0.attn_q.bias");
    Ok(())
}

fn tensors(config: &Config<'_>, table: &mut Table) -> Result<()> {
    let sizes = Sizes::of(config)?;
    let matrix = [sizes.vocabulary, sizes.hidden];
    table.same("model.embed_tokens.weight", "token_embd.weight", &matrix);
    table.linear("model.norm", "output_norm", &[sizes.hidden]);
    output(table, &sizes);
    for i in 0..sizes.layers {
        let layer = Layer::new(i);
        layer.linear(table, "input_layernorm", "attn_norm", &[sizes.hidden]);
        layer.linear(table, "post_attention_layernorm", "ffn_norm", &[sizes.hidden]);
        layer.attention(table, &sizes, false);
        layer.linear(table, "mlp.c_fc", "ffn_up", &[sizes.inner, sizes.hidden]);
        layer.linear(table, "mlp.c_proj", "ffn_down", &[sizes.hidden, sizes.inner]);
    }
    Ok(())
}

static GGUF: GgufDef = GgufDef {
    name: "starcoder2",
    revision: 1,
    class: "Starcoder2ForCausalLM",
    prefix: "model.",
    serves: |_| true,
    defaults,
    aliases: &[],
    vocabulary: &[Kind::Bpe],
    keys,
    tensors,
};

/// StarCoder2.
pub(super) static DEF: ArchDef = ArchDef {
    name: "starcoder2",
    model_types: &["starcoder2"],
    classes: &["Starcoder2"],
    revision: 1,
    tasks: &[],
    lower: None,
    gguf: Some(&GGUF),
};
