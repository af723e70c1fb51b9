//! The graph of LLaMA and of what is built as it is: Mistral, Qwen2, Qwen3. Rotary positions, norms by
//! root mean square before each block, a gated feed-forward network, fewer heads of keys than of
//! queries. Inputs and outputs: see [`generator`](super::generator).

use serde_json::{Map, Value as Json};

use super::builder::{Activation, Builder};
use super::cache::{Heads, rms_norm};
use super::config::{Config, wrong};
use super::encoder::embedding;
use super::generator::Run;
use super::rotary::Rotary;
use super::{ArchDef, LowerOptions, Part, gguf};
use crate::error::{Error, Result};
use crate::hub::{Checkpoint, Graph, ValueId};

/// Where a family's attention differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bias {
    /// No projection has a bias.
    Never,
    /// Queries, keys and values have one.
    Inputs,
    /// All four projections have one where `attention_bias` says so.
    Key,
}

/// Which layers attend to the last `sliding_window` tokens alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Window {
    /// None.
    Never,
    /// All, where the key is there.
    All,
    /// Those that `layer_types` lists, else those from `max_window_layers` on, where
    /// `use_sliding_window` says so.
    Listed,
}

/// A family of this kind.
#[derive(Clone, Copy, Debug)]
pub(super) struct Family {
    pub(super) bias: Bias,
    pub(super) window: Window,
    /// Whether each head's queries and keys are normalized.
    pub(super) head_norms: bool,
    /// Whether the feed-forward network has biases where `mlp_bias` says so.
    pub(super) mlp_bias: bool,
}

struct Net {
    hidden: u64,
    inner: u64,
    queries: Heads,
    keys: Heads,
    epsilon: f32,
    activation: Activation,
    input_bias: bool,
    output_bias: bool,
    mlp_bias: bool,
    head_norms: bool,
}

impl Net {
    fn of(config: &Config<'_>, family: Family) -> Result<Self> {
        let hidden = config.length(&["hidden_size"])?;
        let heads = config.length(&["num_attention_heads"])?;
        let keys = config.length_or("num_key_value_heads", heads)?;
        if !heads.is_multiple_of(keys) {
            return Err(wrong(
                "num_key_value_heads",
                format!("is {keys}, which does not divide `num_attention_heads`, {heads}"),
            ));
        }
        let width = config.length_or("head_dim", (hidden / heads).max(1))?;
        let by_key = family.bias == Bias::Key && config.flag_or("attention_bias", false)?;
        Ok(Self {
            hidden,
            inner: config.length(&["intermediate_size"])?,
            queries: Heads { count: heads, width },
            keys: Heads { count: keys, width },
            epsilon: config.epsilon_or("rms_norm_eps", 1e-6)?,
            activation: Activation::of(config, "hidden_act", "silu")?,
            input_bias: by_key || family.bias == Bias::Inputs,
            output_bias: by_key,
            mlp_bias: family.mlp_bias && config.flag_or("mlp_bias", false)?,
            head_norms: family.head_norms,
        })
    }

    fn norm(&self, b: &mut Builder<'_>, path: &str, x: ValueId) -> Result<ValueId> {
        let at = b.module(path);
        rms_norm(b, &at, x, self.hidden, self.epsilon)
    }

    /// `[batch, sequence, hidden]` to `[batch, heads, sequence, width]`.
    fn project(
        &self,
        b: &mut Builder<'_>,
        path: &str,
        x: ValueId,
        heads: Heads,
    ) -> Result<ValueId> {
        let at = b.module(path);
        let y = b.linear(&at, x, [heads.all()?, self.hidden], self.input_bias)?;
        heads.split(b, path, y)
    }

    /// Queries or keys: projected, normalized, turned by their positions.
    fn turned(
        &self,
        b: &mut Builder<'_>,
        path: &str,
        x: ValueId,
        letter: &str,
        rotary: Rotary,
    ) -> Result<ValueId> {
        let heads = if letter == "q" { self.queries } else { self.keys };
        let mut y = self.project(b, &format!("{path}.{letter}_proj"), x, heads)?;
        if self.head_norms {
            let at = b.module(&format!("{path}.{letter}_norm"));
            y = rms_norm(b, &at, y, heads.width, self.epsilon)?;
        }
        rotary.apply(b, &format!("{path}.{letter}_rotary"), y, heads)
    }

    fn attention(
        &self,
        b: &mut Builder<'_>,
        path: &str,
        x: ValueId,
        run: &mut Run,
        (rotary, window): (Rotary, Option<i64>),
    ) -> Result<ValueId> {
        let query = self.turned(b, path, x, "q", rotary)?;
        let key = self.turned(b, path, x, "k", rotary)?;
        let value = self.project(b, &format!("{path}.v_proj"), x, self.keys)?;
        let [key, value] = run.remember(b, path, [key, value])?;
        let mask = run.mask(b, window)?;
        let scale = Some(self.queries.scale());
        let mixed = self.queries.attend(b, path, [query, key, value], scale, &[mask], self.keys)?;
        let out = b.module(&format!("{path}.o_proj"));
        b.linear(&out, mixed, [self.hidden, self.queries.all()?], self.output_bias)
    }

    fn feed_forward(&self, b: &mut Builder<'_>, path: &str, x: ValueId) -> Result<ValueId> {
        let wide = [self.inner, self.hidden];
        let [gate, up, down] =
            ["gate_proj", "up_proj", "down_proj"].map(|n| b.module(&format!("{path}.{n}")));
        let y = b.linear(&gate, x, wide, self.mlp_bias)?;
        let y = self.activation.apply(b, &gate.path, y)?;
        let z = b.linear(&up, x, wide, self.mlp_bias)?;
        let y = b.op(path, "Mul", &[y, z], &[])?;
        b.linear(&down, y, [self.hidden, self.inner], self.mlp_bias)
    }
}

/// The window of each layer: a function of its number.
fn windows(config: &Config<'_>, window: Window) -> Result<impl Fn(u64) -> Option<i64> + use<>> {
    let size = match config.get(&["sliding_window"]) {
        Some(_) if window != Window::Never => Some(config.index_or("sliding_window", 0)?),
        _ => None,
    };
    let size = match window {
        Window::Listed if !config.flag_or("use_sliding_window", false)? => None,
        _ => size,
    };
    let first = match window {
        Window::Listed => config.index_or("max_window_layers", 28)?,
        _ => 0,
    };
    let listed = match config.get(&["layer_types"]) {
        Some((key, value)) if window == Window::Listed => Some(kinds(key, value)?),
        _ => None,
    };
    Ok(move |layer: u64| {
        let slides = match &listed {
            Some(list) => {
                usize::try_from(layer).ok().and_then(|n| list.get(n).copied()).unwrap_or(false)
            }
            None => i64::try_from(layer).is_ok_and(|n| n >= first),
        };
        size.filter(|_| slides)
    })
}

/// Which of `layer_types` slide.
fn kinds(key: &str, value: &Json) -> Result<Vec<bool>> {
    let list = value.as_array().into_iter().flatten();
    list.map(|kind| match kind.as_str() {
        Some("sliding_attention") => Ok(true),
        Some("full_attention") => Ok(false),
        _ => Err(wrong(key, format!("has {kind}"))
            .hint("the known ones are: full_attention, sliding_attention")),
    })
    .collect()
}

pub(super) fn lower(
    def: &ArchDef,
    family: Family,
    checkpoint: &Checkpoint,
    options: &LowerOptions,
) -> Result<Graph> {
    let resolved = super::resolve(def, checkpoint, options)?;
    let gguf = def.gguf.ok_or_else(|| Error::bug("a generator without defaults"))?;
    let keys: Map<String, Json> = gguf::normalized(gguf, checkpoint)?;
    let config = Config::over(&keys);
    let net = Net::of(&config, family)?;
    let layers = config.length(&["num_hidden_layers"])?;
    let window = windows(&config, family.window)?;
    let mut builder = Builder::new(checkpoint, def.name, "model.");
    let b = &mut builder;

    let norm = |b: &Builder<'_>| {
        let prefix = b.in_encoder("layers");
        move |layer: u64| format!("{prefix}.{layer}.input_layernorm.weight")
    };
    let with_past = resolved.part == Some(Part::DecoderWithPast);
    let norm = norm(b);
    let mut run = Run::inputs(b, net.keys, layers, norm, with_past)?;
    let vocabulary = config.length(&["vocab_size"])?;
    let shape = [vocabulary, net.hidden];
    let mut x = embedding(b, "embed_tokens", run.ids, shape)?;
    let rotary = Rotary::of(b, &config, net.keys.width, run.positions)?;
    for layer in 0..layers {
        let path = format!("layers.{layer}");
        let y = net.norm(b, &format!("{path}.input_layernorm"), x)?;
        let at = format!("{path}.self_attn");
        let y = net.attention(b, &at, y, &mut run, (rotary, window(layer)))?;
        x = b.op(&at, "Add", &[x, y], &[])?;
        let y = net.norm(b, &format!("{path}.post_attention_layernorm"), x)?;
        let at = format!("{path}.mlp");
        let y = net.feed_forward(b, &at, y)?;
        x = b.op(&at, "Add", &[x, y], &[])?;
        // a table of frequencies that old files have
        let old = b.in_encoder(&format!("{path}.self_attn.rotary_emb.inv_freq"));
        b.mark_used(&old);
    }
    let x = net.norm(b, "norm", x)?;
    let table = b.in_encoder("embed_tokens.weight");
    let ties = config.flag_or("tie_word_embeddings", false)?;
    run.outputs(b, &table, x, shape, ties)?;
    resolved.facts(b, def, &config)?;
    builder.finish(&[])
}
