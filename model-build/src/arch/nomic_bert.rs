//! Nomic BERT, of nomic-embed-text v1 and v1.5: BERT with rotary positions and gated feed-forward
//! networks, under the names of its authors' code.

use serde_json::{Map, Value as Json, json};

use super::bert_gguf::{self, leave_out};
use super::config::refused;
use super::gguf::{GgufDef, Keys, Table, bad_key, length_meta};
use super::{ArchDef, Config};
use crate::error::Result;
use crate::tokenizer::Kind;

fn defaults(_: &Map<String, Json>) -> Json {
    json!({ "type_vocab_size": 1, "max_trained_positions": 2048 })
}

/// Positions that a configuration speaks of, and those that the model is trained on and a GGUF file
/// says: it does not stretch them.
const POSITIONS: u64 = 8192;
const TRAINED: u64 = 2048;

fn positions(keys: &mut Keys<'_>) -> Result<()> {
    if keys.packing() {
        let config = keys.config();
        for (key, want) in [("n_positions", POSITIONS), ("max_trained_positions", TRAINED)] {
            let found = config.length(&[key])?;
            if found != want {
                let what = format!("is {found}: the known models of this family have {want}");
                return Err(refused(key, what));
            }
        }
        keys.put("context_length", length_meta("context_length", TRAINED)?);
        return Ok(());
    }
    match keys.take_length("context_length")? {
        Some(TRAINED) => {}
        Some(found) => {
            let what = format!("is {found}: the known models of this family have {TRAINED}");
            return Err(bad_key("context_length", what));
        }
        None => return Err(bad_key("context_length", "is missing")),
    }
    keys.set("n_positions", POSITIONS);
    keys.set("max_trained_positions", TRAINED);
    Ok(())
}

/// What GGUF's graph computes with.
fn graph(keys: &mut Keys<'_>) -> Result<()> {
    if keys.packing() {
        let whole = keys.config().number("rotary_emb_fraction")?.unwrap_or(1.0);
        if whole.to_bits() != 1f64.to_bits() {
            return Err(refused("rotary_emb_fraction", format!("is {whole}: GGUF's graph has 1")));
        }
    } else {
        keys.set("rotary_emb_fraction", 1.0);
    }
    keys.only("activation_function", "swiglu")?;
    keys.only("moe_every_n_layers", 0)?;
    keys.only("rotary_emb_scale_base", Json::Null)?;
    for key in [
        "causal",
        "mlp_fc1_bias",
        "mlp_fc2_bias",
        "parallel_block",
        "prenorm",
        "qkv_proj_bias",
        "rotary_emb_interleaved",
        "use_rms_norm",
    ] {
        keys.only(key, false)?;
    }
    Ok(())
}

/// Says the sizes in transformers' own spelling, too: its class knows the tensors by the names that
/// the authors' code has, but not the keys.
fn also_as_transformers(keys: &mut Keys<'_>) {
    let pairs = [
        ("n_layer", "num_hidden_layers"),
        ("n_embd", "hidden_size"),
        ("n_inner", "intermediate_size"),
        ("n_head", "num_attention_heads"),
        ("layer_norm_epsilon", "layer_norm_eps"),
    ];
    for (from, to) in pairs {
        let value = keys.config().get(&[from]).map(|(_, value)| value.clone());
        keys.set(to, value);
    }
    let theta = keys.config().get(&["rotary_emb_base"]).map(|(_, value)| value.clone());
    keys.set("rope_parameters", json!({ "rope_type": "default", "rope_theta": theta }));
}

fn keys(keys: &mut Keys<'_>) -> Result<()> {
    keys.length("block_count", "n_layer")?;
    positions(keys)?;
    keys.length("embedding_length", "n_embd")?;
    keys.length("feed_forward_length", "n_inner")?;
    keys.length("attention.head_count", "n_head")?;
    keys.number("rope.freq_base", "rotary_emb_base")?;
    keys.number("attention.layer_norm_epsilon", "layer_norm_epsilon")?;
    graph(keys)?;
    if !keys.packing() {
        also_as_transformers(keys);
    }
    bert_gguf::token_types(keys);
    bert_gguf::uses(keys)
}

fn tensors(config: &Config<'_>, table: &mut Table) -> Result<()> {
    let width = config.length(&["n_embd"])?;
    let inner = config.length(&["n_inner"])?;
    let words = [config.length(&["vocab_size"])?, width];
    let types = [config.length(&["type_vocab_size"])?, width];
    table.linear("bert.emb_ln", "token_embd_norm", &[width]);
    table.same("bert.embeddings.word_embeddings.weight", "token_embd.weight", &words);
    table
        .same("bert.embeddings.token_type_embeddings.weight", "token_types.weight", &types)
        .optional();
    for i in 0..config.length(&["n_layer"])? {
        let hf = |name: &str| format!("bert.encoder.layers.{i}.{name}");
        let gguf = |name: &str| format!("blk.{i}.{name}");
        let mut matrix = |from: &str, to: &str, shape: [u64; 2]| {
            table.same(hf(from) + ".weight", gguf(to) + ".weight", &shape);
        };
        matrix("attn.Wqkv", "attn_qkv", [width.saturating_mul(3), width]);
        matrix("attn.out_proj", "attn_output", [width, width]);
        matrix("mlp.fc11", "ffn_up", [inner, width]);
        matrix("mlp.fc12", "ffn_gate", [inner, width]);
        matrix("mlp.fc2", "ffn_down", [width, inner]);
        table.linear(&hf("norm1"), &gguf("attn_output_norm"), &[width]);
        table.linear(&hf("norm2"), &gguf("layer_output_norm"), &[width]);
    }
    table.ignored("cls.predictions.bias");
    leave_out(
        table,
        &[
            "bert.pooler.dense",
            "cls.predictions.transform.dense",
            "cls.predictions.transform.layer_norm",
            "cls.predictions.decoder",
        ],
    );
    Ok(())
}

static GGUF: GgufDef = GgufDef {
    name: "nomic-bert",
    revision: 1,
    class: "NomicBertModel",
    prefix: "bert.",
    serves: |_| true,
    defaults,
    aliases: &[],
    vocabulary: &[Kind::WordPiece],
    keys,
    tensors,
};

/// Nomic BERT.
pub(super) static DEF: ArchDef = ArchDef {
    name: "nomic_bert",
    model_types: &["nomic_bert"],
    classes: &["NomicBert"],
    revision: 1,
    tasks: &[],
    lower: None,
    gguf: Some(&GGUF),
};
