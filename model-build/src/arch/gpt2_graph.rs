//! GPT-2's graph. Inputs and outputs: see [`generator`](super::generator).

use super::builder::{Activation, Builder, Module};
use super::cache::{Heads, signed};
use super::config::{Config, refused, wrong};
use super::encoder::embedding;
use super::generator::Run;
use super::{ArchDef, LowerOptions, Part, gguf};
use crate::error::{Error, Result};
use crate::hub::{AttrValue, Checkpoint, Graph, ValueId};

struct Net {
    hidden: u64,
    inner: u64,
    heads: Heads,
    epsilon: f32,
    activation: Activation,
    /// Whether scores are divided by the root of a head's width.
    by_width: bool,
    /// Whether scores are divided by the layer's number, from 1 on.
    by_layer: bool,
}

impl Net {
    fn of(config: &Config<'_>) -> Result<Self> {
        let hidden = config.length(&["n_embd"])?;
        let count = config.length(&["n_head"])?;
        if !hidden.is_multiple_of(count) {
            return Err(wrong(
                "n_head",
                format!("is {count}, which does not divide `n_embd`, {hidden}"),
            ));
        }
        Ok(Self {
            hidden,
            inner: config.length_or("n_inner", hidden.saturating_mul(4))?,
            heads: Heads { count, width: hidden / count },
            epsilon: config.epsilon_or("layer_norm_epsilon", 1e-5)?,
            activation: Activation::of(config, "activation_function", "gelu_new")?,
            by_width: config.flag_or("scale_attn_weights", true)?,
            by_layer: config.flag_or("scale_attn_by_inverse_layer_idx", false)?,
        })
    }

    /// `x · weight + bias`, with the weight as `[inputs, outputs]` in the file.
    fn product(
        b: &mut Builder<'_>,
        at: &Module,
        x: ValueId,
        [inputs, outputs]: [u64; 2],
    ) -> Result<ValueId> {
        let weight = b.weight(&format!("{}.weight", at.file), &[inputs, outputs])?;
        let bias = b.weight(&format!("{}.bias", at.file), &[outputs])?;
        let y = b.op(&at.path, "MatMul", &[x, weight], &[])?;
        b.op(&at.path, "Add", &[y, bias], &[])
    }

    fn norm(&self, b: &mut Builder<'_>, path: &str, x: ValueId) -> Result<ValueId> {
        let at = b.module(path);
        b.layer_norm(&at, x, self.hidden, self.epsilon)
    }

    fn scale(&self, layer: u64) -> Option<f32> {
        #[allow(clippy::cast_precision_loss)] // layers are few
        let number = if self.by_layer { (layer + 1) as f32 } else { 1.0 };
        let width = if self.by_width { self.heads.scale() } else { 1.0 };
        Some(width / number).filter(|scale| *scale != 1.0)
    }

    fn attention(
        &self,
        b: &mut Builder<'_>,
        path: &str,
        x: ValueId,
        run: &mut Run,
        layer: u64,
    ) -> Result<ValueId> {
        // [batch, sequence, 3 · hidden] → three of [batch, heads, sequence, width]
        let at = b.module(&format!("{path}.c_attn"));
        let all = Self::product(b, &at, x, [self.hidden, self.hidden.saturating_mul(3)])?;
        let (count, width) = (signed(self.heads.count)?, signed(self.heads.width)?);
        let shape = b.integers(&[0, 0, 3, count, width])?;
        let all = b.op(&at.path, "Reshape", &[all, shape], &[])?;
        let mut parts = [all; 3];
        for (part, number) in parts.iter_mut().zip(0..) {
            let number = b.integer(number)?;
            let one = b.op(&at.path, "Gather", &[all, number], &[("axis", AttrValue::Int(2))])?;
            let perm = [("perm", AttrValue::Ints(vec![0, 2, 1, 3]))];
            *part = b.op(&at.path, "Transpose", &[one], &perm)?;
        }
        let [query, key, value] = parts;
        let [key, value] = run.remember(b, path, [key, value])?;
        let mask = run.mask(b, None)?;
        let scale = self.scale(layer);
        let mixed = self.heads.attend(b, path, [query, key, value], scale, &[mask], self.heads)?;
        let out = b.module(&format!("{path}.c_proj"));
        Self::product(b, &out, mixed, [self.hidden, self.hidden])
    }

    fn feed_forward(&self, b: &mut Builder<'_>, path: &str, x: ValueId) -> Result<ValueId> {
        let [up, down] = ["c_fc", "c_proj"].map(|name| b.module(&format!("{path}.{name}")));
        let y = Self::product(b, &up, x, [self.hidden, self.inner])?;
        let y = self.activation.apply(b, &up.path, y)?;
        Self::product(b, &down, y, [self.inner, self.hidden])
    }
}

pub(super) fn lower(
    def: &ArchDef,
    checkpoint: &Checkpoint,
    options: &LowerOptions,
) -> Result<Graph> {
    let resolved = super::resolve(def, checkpoint, options)?;
    let gguf = def.gguf.ok_or_else(|| Error::bug("a generator without defaults"))?;
    let keys = gguf::normalized(gguf, checkpoint)?;
    let config = Config::over(&keys);
    if config.flag_or("add_cross_attention", false)? {
        return Err(refused(
            "add_cross_attention",
            "is true: a decoder that reads an encoder is not lowered here",
        ));
    }
    let net = Net::of(&config)?;
    let layers = config.length(&["n_layer"])?;
    let mut builder = Builder::new(checkpoint, def.name, "transformer.");
    let b = &mut builder;

    let prefix = b.in_encoder("h");
    let with_past = resolved.part == Some(Part::DecoderWithPast);
    let norm = |layer| format!("{prefix}.{layer}.ln_1.weight");
    let mut run = Run::inputs(b, net.heads, layers, norm, with_past)?;
    let shape = [config.length(&["vocab_size"])?, net.hidden];
    let words = embedding(b, "wte", run.ids, shape)?;
    let longest = config.length(&["n_positions"])?;
    let places = embedding(b, "wpe", run.positions, [longest, net.hidden])?;
    let mut x = b.op("embeddings", "Add", &[words, places], &[])?;
    for layer in 0..layers {
        let path = format!("h.{layer}");
        let y = net.norm(b, &format!("{path}.ln_1"), x)?;
        let at = format!("{path}.attn");
        let y = net.attention(b, &at, y, &mut run, layer)?;
        x = b.op(&at, "Add", &[x, y], &[])?;
        let y = net.norm(b, &format!("{path}.ln_2"), x)?;
        let at = format!("{path}.mlp");
        let y = net.feed_forward(b, &at, y)?;
        x = b.op(&at, "Add", &[x, y], &[])?;
        // masks that old files have
        for name in ["bias", "masked_bias"] {
            let old = b.in_encoder(&format!("{path}.attn.{name}"));
            b.mark_used(&old);
        }
    }
    let x = net.norm(b, "ln_f", x)?;
    let table = b.in_encoder("wte.weight");
    let ties = config.flag_or("tie_word_embeddings", true)?;
    run.outputs(b, &table, x, shape, ties)?;
    resolved.facts(b, def, &config)?;
    builder.finish(&[])
}
