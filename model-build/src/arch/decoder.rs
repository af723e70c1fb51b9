//! What decoders of llama's kind share in GGUF files: hyperparameters, names of tensors.

use super::Config;
use super::config::wrong;
use super::gguf::{Keys, Rope, Table, bad_key};
use crate::error::Result;

/// How the norms are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Eps {
    /// Root mean square, with this key of `config.json`.
    Rms(&'static str),
    /// Mean and variance.
    Layer(&'static str),
}

/// What [`common`] is told of a family.
#[derive(Clone, Copy, Debug)]
pub(super) struct Common {
    /// The norms.
    pub(super) eps: Eps,
    /// Kinds of rope scaling that GGUF's graph has.
    pub(super) rope: &'static [&'static str],
    /// Rope parameters that change nothing there.
    pub(super) rope_extra: &'static [&'static str],
    /// The keys of the number of experts and of those used per token.
    pub(super) experts: Option<(&'static str, &'static str)>,
    /// Whether `head_dim` is written.
    pub(super) head_dim: bool,
}

impl Common {
    /// A family with root mean square norms, linear and yarn scaling, and no experts.
    pub(super) const PLAIN: Self = Self {
        eps: Eps::Rms("rms_norm_eps"),
        rope: &["default", "linear", "yarn"],
        rope_extra: &[],
        experts: None,
        head_dim: false,
    };
}

/// The keys that llama.cpp's converter writes for every decoder, in its order.
pub(super) fn common(keys: &mut Keys<'_>, family: &Common) -> Result<()> {
    keys.length("block_count", "num_hidden_layers")?;
    keys.length("context_length", "max_position_embeddings")?;
    keys.length("embedding_length", "hidden_size")?;
    keys.length("feed_forward_length", "intermediate_size")?;
    heads(keys)?;
    keys.rope(family.rope, family.rope_extra)?;
    match family.eps {
        Eps::Rms(from) => keys.number("attention.layer_norm_rms_epsilon", from)?,
        Eps::Layer(from) => keys.number("attention.layer_norm_epsilon", from)?,
    }
    if let Some((count, used)) = family.experts {
        keys.length("expert_count", count)?;
        keys.length("expert_used_count", used)?;
    }
    if family.head_dim {
        head_dim(keys)?;
    }
    Ok(())
}

/// The numbers of heads.
pub(super) fn heads(keys: &mut Keys<'_>) -> Result<()> {
    keys.length("attention.head_count", "num_attention_heads")?;
    if !keys.packing()
        && let Some(heads) = keys.config().get(&["num_attention_heads"]).map(|(_, v)| v.clone())
    {
        keys.set("num_key_value_heads", heads);
    }
    keys.length_if("attention.head_count_kv", "num_key_value_heads")
}

/// `head_dim` as the length of keys and values.
pub(super) fn head_dim(keys: &mut Keys<'_>) -> Result<()> {
    keys.length_if("attention.key_length", "head_dim")?;
    if keys.config().get(&["head_dim"]).is_some() {
        keys.length_of("attention.value_length", |config| config.length(&["head_dim"]))?;
    }
    Ok(())
}

/// The number of rotated elements of a head, a part of them: `dimensions` computes it from the part
/// as the converter does.
pub(super) fn rotated(
    keys: &mut Keys<'_>,
    dimensions: impl Fn(&Config<'_>, f64) -> Result<u64>,
) -> Result<()> {
    const KEY: &str = "rope.dimension_count";
    if keys.packing() {
        let part = Rope::of(&keys.config())?.number("partial_rotary_factor")?.unwrap_or(1.0);
        return keys.length_of(KEY, |config| dimensions(config, part));
    }
    let Some(count) = keys.take_length(KEY)? else { return Ok(()) };
    #[allow(clippy::cast_precision_loss)] // a head's elements
    let part = count as f64 / head_size(&keys.config())? as f64;
    let fits = |part: &f64| dimensions(&keys.config(), *part).is_ok_and(|n| n == count);
    let found = [part, part.next_up()].into_iter().find(fits);
    match found {
        Some(part) => keys.set_rope("partial_rotary_factor", part),
        None => return Err(bad_key(KEY, format!("is {count}, which is no part of a head"))),
    }
    Ok(())
}

/// The sizes of a decoder.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    /// Layers.
    pub(super) layers: u64,
    /// Rows of the embedding.
    pub(super) vocabulary: u64,
    /// Elements of a hidden state.
    pub(super) hidden: u64,
    /// Elements inside the feed-forward network.
    pub(super) inner: u64,
    /// Heads of queries.
    pub(super) heads: u64,
    /// Heads of keys and values.
    pub(super) kv_heads: u64,
    /// Elements of a head.
    pub(super) head: u64,
    /// Elements of all queries.
    pub(super) q: u64,
    /// Elements of all keys.
    pub(super) kv: u64,
    /// Whether the output layer is the embedding.
    pub(super) tied: bool,
}

impl Sizes {
    /// The sizes by the usual keys.
    pub(super) fn of(config: &Config<'_>) -> Result<Self> {
        let hidden = config.length(&["hidden_size"])?;
        let heads = config.length(&["num_attention_heads"])?;
        let kv_heads = config.length_or("num_key_value_heads", heads)?;
        let head = config.length_or("head_dim", (hidden / heads).max(1))?;
        if head % 2 != 0 {
            return Err(wrong("head_dim", format!("is {head}, which is odd: halves are rotated")));
        }
        if heads % kv_heads != 0 {
            let what = format!("is {kv_heads}, which does not divide {heads} heads");
            return Err(wrong("num_key_value_heads", what));
        }
        Ok(Self {
            layers: config.length(&["num_hidden_layers"])?,
            vocabulary: config.length(&["vocab_size"])?,
            hidden,
            inner: config.length(&["intermediate_size"])?,
            heads,
            kv_heads,
            head,
            q: heads.saturating_mul(head),
            kv: kv_heads.saturating_mul(head),
            tied: config.flag_or("tie_word_embeddings", false)?,
        })
    }
}

/// `hidden_size / num_attention_heads`, or `head_dim` where that is set.
pub(super) fn head_size(config: &Config<'_>) -> Result<u64> {
    let heads = config.length(&["num_attention_heads"])?;
    config.length_or("head_dim", (config.length(&["hidden_size"])? / heads).max(1))
}

/// The names of a layer's tensors: without and with the layer's prefix in a checkpoint and in GGUF.
#[derive(Clone, Debug)]
pub(super) struct Layer {
    hf: String,
    gguf: String,
}

impl Layer {
    /// Layer `i`.
    pub(super) fn new(i: u64) -> Self {
        Self { hf: format!("model.layers.{i}"), gguf: format!("blk.{i}") }
    }
    /// A checkpoint's name.
    pub(super) fn hf(&self, name: &str) -> String {
        format!("{}.{name}", self.hf)
    }
    /// GGUF's name.
    pub(super) fn gguf(&self, name: &str) -> String {
        format!("{}.{name}", self.gguf)
    }
    /// A `weight` under two names.
    pub(super) fn weight(&self, table: &mut Table, hf: &str, gguf: &str, shape: &[u64]) {
        table.same(self.hf(hf) + ".weight", self.gguf(gguf) + ".weight", shape);
    }
    /// A `weight` and perhaps a `bias` under two names.
    pub(super) fn linear(&self, table: &mut Table, hf: &str, gguf: &str, shape: &[u64]) {
        table.linear(&self.hf(hf), &self.gguf(gguf), shape);
    }
    /// The projections of attention. `permuted` says that GGUF has the rows of queries and keys in
    /// the order of rotated pairs.
    pub(super) fn attention(&self, table: &mut Table, sizes: &Sizes, permuted: bool) {
        let (q, k) = ([sizes.q, sizes.hidden], [sizes.kv, sizes.hidden]);
        if permuted {
            let mut rows = |hf: &str, gguf: &str, heads, shape: &[u64]| {
                table.linear_heads(&self.hf(hf), &self.gguf(gguf), heads, shape);
            };
            rows("self_attn.q_proj", "attn_q", sizes.heads, &q);
            rows("self_attn.k_proj", "attn_k", sizes.kv_heads, &k);
        } else {
            self.linear(table, "self_attn.q_proj", "attn_q", &q);
            self.linear(table, "self_attn.k_proj", "attn_k", &k);
        }
        self.linear(table, "self_attn.v_proj", "attn_v", &k);
        self.linear(table, "self_attn.o_proj", "attn_output", &[sizes.hidden, sizes.q]);
    }
    /// A gated feed-forward network.
    pub(super) fn gated(&self, table: &mut Table, sizes: &Sizes) {
        self.linear(table, "mlp.gate_proj", "ffn_gate", &[sizes.inner, sizes.hidden]);
        self.linear(table, "mlp.up_proj", "ffn_up", &[sizes.inner, sizes.hidden]);
        self.linear(table, "mlp.down_proj", "ffn_down", &[sizes.hidden, sizes.inner]);
    }
    /// The norms before attention and before the feed-forward network.
    pub(super) fn norms(&self, table: &mut Table, sizes: &Sizes) {
        self.weight(table, "input_layernorm", "attn_norm", &[sizes.hidden]);
        self.weight(table, "post_attention_layernorm", "ffn_norm", &[sizes.hidden]);
    }
    /// Experts of their own tensors, `prefix.{expert}.{name}.weight`; `names` are those of the gate,
    /// up and down projections.
    pub(super) fn experts(
        &self,
        table: &mut Table,
        prefix: &str,
        names: [&str; 3],
        [count, inner, hidden]: [u64; 3],
    ) {
        let each = [
            (names[0], "ffn_gate_exps.weight", [inner, hidden]),
            (names[1], "ffn_up_exps.weight", [inner, hidden]),
            (names[2], "ffn_down_exps.weight", [hidden, inner]),
        ];
        for (name, gguf, shape) in each {
            let hf = |i: u64| self.hf(&format!("{prefix}.{i}.{name}.weight"));
            table.stacked(hf, count, self.gguf(gguf), &shape);
        }
    }
}

/// The tensors outside of the layers: embedding, last norm, output layer.
pub(super) fn ends(table: &mut Table, sizes: &Sizes) {
    let matrix = [sizes.vocabulary, sizes.hidden];
    table.same("model.embed_tokens.weight", "token_embd.weight", &matrix);
    table.same("model.norm.weight", "output_norm.weight", &[sizes.hidden]);
    output(table, sizes);
}

/// The output layer, where it is not the embedding.
pub(super) fn output(table: &mut Table, sizes: &Sizes) {
    if sizes.tied {
        table.ignored("lm_head.weight");
        return;
    }
    let headless = table.headless();
    let line = table.same("lm_head.weight", "output.weight", &[sizes.vocabulary, sizes.hidden]);
    if headless {
        line.optional();
    }
}
