//! GPT-2 (Radford et al., 2019).

use serde_json::{Map, Value as Json, json};

use super::config::wrong;
use super::gguf::{GgufDef, Keys, Table};
use super::{ArchDef, Config, Task, gpt2_graph};
use crate::error::Result;
use crate::tokenizer::Kind;

fn defaults(_: &Map<String, Json>) -> Json {
    json!({
        "vocab_size": 50257, "n_positions": 1024, "n_embd": 768, "n_layer": 12, "n_head": 12,
        "layer_norm_epsilon": 1e-5, "tie_word_embeddings": true,
    })
}

/// Elements inside the feed-forward network; GGUF's graph has four times the width.
fn inner(config: &Config<'_>) -> Result<u64> {
    let want = config.length(&["n_embd"])?.saturating_mul(4);
    match config.length_or("n_inner", want)? {
        found if found == want => Ok(want),
        found => Err(wrong("n_inner", format!("is {found}, where GGUF's graph has {want}"))),
    }
}

fn keys(keys: &mut Keys<'_>) -> Result<()> {
    keys.length("block_count", "n_layer")?;
    keys.length("context_length", "n_positions")?;
    keys.length("embedding_length", "n_embd")?;
    keys.length_of("feed_forward_length", inner)?;
    keys.length("attention.head_count", "n_head")?;
    keys.number("attention.layer_norm_epsilon", "layer_norm_epsilon")?;
    keys.only("activation_function", "gelu_new")?;
    keys.only("scale_attn_weights", true)?;
    keys.only("scale_attn_by_inverse_layer_idx", false)?;
    keys.only("add_cross_attention", false)
}

fn tensors(config: &Config<'_>, table: &mut Table) -> Result<()> {
    let width = config.length(&["n_embd"])?;
    let inner = inner(config)?;
    let vocabulary = config.length(&["vocab_size"])?;
    let positions = config.length(&["n_positions"])?;
    table.same("transformer.wte.weight", "token_embd.weight", &[vocabulary, width]);
    table.same("transformer.wpe.weight", "position_embd.weight", &[positions, width]);
    table.linear("transformer.ln_f", "output_norm", &[width]);
    if config.flag_or("tie_word_embeddings", true)? {
        table.ignored("lm_head.weight");
    } else {
        let headless = table.headless();
        let line = table.same("lm_head.weight", "output.weight", &[vocabulary, width]);
        if headless {
            line.optional();
        }
    }
    for i in 0..config.length(&["n_layer"])? {
        let hf = |name: &str| format!("transformer.h.{i}.{name}");
        let gguf = |name: &str| format!("blk.{i}.{name}");
        table.linear(&hf("ln_1"), &gguf("attn_norm"), &[width]);
        table.linear(&hf("ln_2"), &gguf("ffn_norm"), &[width]);
        // Checkpoints have these matrices as `[in, out]`.
        let mut matrix = |from: &str, to: &str, [rows, columns]: [u64; 2]| {
            let shape = [rows, columns];
            table.turned(hf(from) + ".weight", gguf(to) + ".weight", &shape);
            table.same(hf(from) + ".bias", gguf(to) + ".bias", &[columns]);
        };
        matrix("attn.c_attn", "attn_qkv", [width, width.saturating_mul(3)]);
        matrix("attn.c_proj", "attn_output", [width, width]);
        matrix("mlp.c_fc", "ffn_up", [width, inner]);
        matrix("mlp.c_proj", "ffn_down", [inner, width]);
    }
    Ok(())
}

static GGUF: GgufDef = GgufDef {
    name: "gpt2",
    revision: 1,
    class: "GPT2LMHeadModel",
    prefix: "transformer.",
    serves: |_| true,
    defaults,
    aliases: &[("n_ctx", "n_positions")],
    vocabulary: &[Kind::Bpe],
    keys,
    tensors,
};

/// GPT-2.
pub(super) static DEF: ArchDef = ArchDef {
    name: "gpt2",
    model_types: &["gpt2"],
    classes: &["GPT2"],
    revision: 1,
    tasks: &[Task::TextGeneration],
    lower: Some(|checkpoint, options| gpt2_graph::lower(&DEF, checkpoint, options)),
    gguf: Some(&GGUF),
};
