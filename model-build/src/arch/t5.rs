//! T5 (Raffel et al., 2019), its version 1.1, FLAN-T5 and mT5: an encoder and a decoder, positions as a
//! bias of attention by distance.

use serde_json::{Map, Value as Json, json};

use super::config::{refused, wrong};
use super::gguf::{GgufDef, Keys, Table};
use super::{ArchDef, Config, Task, t5_graph};
use crate::error::Result;
use crate::tokenizer::Kind;

fn defaults(config: &Map<String, Json>) -> Json {
    let mut defaults = json!({
        "vocab_size": 32128, "d_model": 512, "d_kv": 64, "d_ff": 2048, "num_layers": 6,
        "num_heads": 8, "relative_attention_num_buckets": 32,
        "relative_attention_max_distance": 128, "layer_norm_epsilon": 1e-6,
        "feed_forward_proj": "relu", "tie_word_embeddings": true, "n_positions": 512,
    });
    if config.get("model_type").and_then(Json::as_str) == Some("mt5") {
        for (key, value) in [
            ("vocab_size", json!(250_112)),
            ("d_ff", json!(1024)),
            ("num_layers", json!(8)),
            ("num_heads", json!(6)),
            ("feed_forward_proj", json!("gated-gelu")),
            ("tie_word_embeddings", json!(false)),
        ] {
            defaults[key] = value;
        }
    }
    defaults
}

/// Whether the checkpoint is one of mT5, whose defaults are others.
pub(super) fn is_mt5(config: &Config<'_>) -> Result<bool> {
    Ok(config.text_or("model_type", "t5")? == "mt5")
}

/// A gate of the feed-forward networks, by which a file with gates is told.
const GATE: &str = "enc.blk.0.ffn_gate.weight";

/// Whether the feed-forward networks are gated.
fn gated(config: &Config<'_>) -> Result<bool> {
    match config.text_or("feed_forward_proj", "relu")? {
        "relu" => Ok(false),
        "gated-gelu" => Ok(true),
        other => Err(refused(
            "feed_forward_proj",
            format!("is `{other}`: GGUF's graph has `relu` and `gated-gelu`"),
        )),
    }
}

pub(super) fn decoder_layers(config: &Config<'_>) -> Result<u64> {
    config.length_or("num_decoder_layers", config.length(&["num_layers"])?)
}

fn keys(keys: &mut Keys<'_>) -> Result<()> {
    if let Some(gguf) = keys.gguf() {
        let gated = gguf.tensor(GATE).is_some();
        keys.set("feed_forward_proj", if gated { "gated-gelu" } else { "relu" });
    }
    gated(&keys.config())?;
    keys.length("context_length", "n_positions")?;
    keys.length("embedding_length", "d_model")?;
    keys.length("feed_forward_length", "d_ff")?;
    keys.length("block_count", "num_layers")?;
    if keys.packing() {
        let layers = decoder_layers(&keys.config())?;
        keys.set("num_decoder_layers", layers);
    }
    keys.length_if("decoder_block_count", "num_decoder_layers")?;
    keys.length("attention.head_count", "num_heads")?;
    keys.length("attention.key_length", "d_kv")?;
    keys.length_of("attention.value_length", |config| config.length(&["d_kv"]))?;
    keys.number_if("attention.layer_norm_epsilon", "layer_norm_epsilon")?;
    keys.length("attention.relative_buckets_count", "relative_attention_num_buckets")?;
    keys.number("attention.layer_norm_rms_epsilon", "layer_norm_epsilon")?;
    if keys.packing() && keys.config().get(&[START]).is_none() {
        return Err(wrong(START, "is missing"));
    }
    keys.length_if(START, START)?;
    keys.only("relative_attention_max_distance", 128)?;
    keys.only("is_encoder_decoder", true)
}

/// The token that a decoder starts from.
const START: &str = "decoder_start_token_id";

/// The names that the embedding has, of which checkpoints have one or more.
pub(super) const EMBEDDINGS: [&str; 3] =
    ["decoder.embed_tokens.weight", "encoder.embed_tokens.weight", "shared.weight"];

fn ends(config: &Config<'_>, table: &mut Table) -> Result<()> {
    let matrix = [config.length(&["vocab_size"])?, config.length(&["d_model"])?];
    // The first that is there; files are unpacked to the last, which transformers writes.
    let found = EMBEDDINGS.iter().find(|name| table.has(name, "")).unwrap_or(&EMBEDDINGS[2]);
    for name in EMBEDDINGS {
        table.ignored(name);
    }
    table.same(*found, "token_embd.weight", &matrix);
    if config.flag_or("tie_word_embeddings", true)? {
        table.ignored("lm_head.weight");
    } else {
        table.same("lm_head.weight", "output.weight", &matrix);
    }
    for (hf, gguf) in [("encoder", "enc"), ("decoder", "dec")] {
        let norm = format!("{gguf}.output_norm.weight");
        table.same(format!("{hf}.final_layer_norm.weight"), norm, &matrix[1..]);
    }
    Ok(())
}

fn tensors(config: &Config<'_>, table: &mut Table) -> Result<()> {
    ends(config, table)?;
    let sizes = Sizes::of(config)?;
    for i in 0..config.length(&["num_layers"])? {
        let layer = Layer { hf: format!("encoder.block.{i}.layer"), gguf: format!("enc.blk.{i}") };
        layer.attention(table, &sizes, "0.SelfAttention", "attn");
        layer.feed_forward(table, &sizes, 1);
    }
    for i in 0..decoder_layers(config)? {
        let layer = Layer { hf: format!("decoder.block.{i}.layer"), gguf: format!("dec.blk.{i}") };
        layer.attention(table, &sizes, "0.SelfAttention", "attn");
        layer.attention(table, &sizes, "1.EncDecAttention", "cross_attn");
        layer.feed_forward(table, &sizes, 2);
    }
    // All layers of a stack take the bias by distance from its first one. The oldest checkpoints have
    // one for cross-attention that nothing reads.
    let shape = [sizes.buckets, sizes.heads];
    for (stack, attention, file) in [
        ("encoder", "0.SelfAttention", "enc.blk.0.attn_rel_b"),
        ("decoder", "0.SelfAttention", "dec.blk.0.attn_rel_b"),
        ("decoder", "1.EncDecAttention", "dec.blk.0.cross_attn_rel_b"),
    ] {
        let name = format!("{stack}.block.0.layer.{attention}.relative_attention_bias.weight");
        let line = table.same(name, format!("{file}.weight"), &shape);
        if attention.starts_with('1') {
            line.optional();
        }
    }
    Ok(())
}

struct Sizes {
    hidden: u64,
    inner: u64,
    heads: u64,
    /// Elements of all heads.
    all_heads: u64,
    buckets: u64,
    gated: bool,
}

impl Sizes {
    fn of(config: &Config<'_>) -> Result<Self> {
        let heads = config.length(&["num_heads"])?;
        Ok(Self {
            hidden: config.length(&["d_model"])?,
            inner: config.length(&["d_ff"])?,
            heads,
            all_heads: heads.saturating_mul(config.length(&["d_kv"])?),
            buckets: config.length(&["relative_attention_num_buckets"])?,
            gated: gated(config)?,
        })
    }
}

/// What the names of a layer's tensors start with.
struct Layer {
    hf: String,
    gguf: String,
}

impl Layer {
    fn weight(&self, table: &mut Table, hf: &str, gguf: &str, shape: &[u64]) {
        let (hf, gguf) =
            (format!("{}.{hf}.weight", self.hf), format!("{}.{gguf}.weight", self.gguf));
        table.same(hf, gguf, shape);
    }

    /// An attention block without the bias by distance.
    fn attention(&self, table: &mut Table, sizes: &Sizes, hf: &str, gguf: &str) {
        let (hidden, heads) = (sizes.hidden, sizes.all_heads);
        for part in ["q", "k", "v"] {
            let (hf, gguf) = (format!("{hf}.{part}"), format!("{gguf}_{part}"));
            self.weight(table, &hf, &gguf, &[heads, hidden]);
        }
        self.weight(table, &format!("{hf}.o"), &format!("{gguf}_o"), &[hidden, heads]);
        let block = hf.split('.').next().unwrap_or_default();
        let norm = format!("{block}.layer_norm");
        self.weight(table, &norm, &format!("{gguf}_norm"), &[hidden]);
    }

    fn feed_forward(&self, table: &mut Table, sizes: &Sizes, block: u32) {
        let (wide, narrow) = ([sizes.inner, sizes.hidden], [sizes.hidden, sizes.inner]);
        let hf = |name: &str| format!("{block}.DenseReluDense.{name}");
        if sizes.gated {
            self.weight(table, &hf("wi_0"), "ffn_gate", &wide);
            self.weight(table, &hf("wi_1"), "ffn_up", &wide);
        } else {
            self.weight(table, &hf("wi"), "ffn_up", &wide);
        }
        self.weight(table, &hf("wo"), "ffn_down", &narrow);
        self.weight(table, &format!("{block}.layer_norm"), "ffn_norm", &[sizes.hidden]);
    }
}

static GGUF: GgufDef = GgufDef {
    name: "t5",
    revision: 1,
    class: "T5ForConditionalGeneration",
    prefix: "",
    serves: |_| true,
    defaults,
    aliases: &[],
    vocabulary: &[Kind::Unigram],
    keys,
    tensors,
};

/// T5 and mT5.
pub(super) static DEF: ArchDef = ArchDef {
    name: "t5",
    model_types: &["t5", "mt5"],
    classes: &["T5Encoder", "MT5Encoder", "T5", "MT5"],
    revision: 1,
    tasks: &[Task::Text2TextGeneration, Task::FeatureExtraction],
    lower: Some(|checkpoint, options| t5_graph::lower(&DEF, checkpoint, options)),
    gguf: Some(&GGUF),
};
