//! T5's graphs: an encoder and a decoder, with biases of attention by distance in place of positions.
//!
//! | part | inputs | outputs |
//! |---|---|---|
//! | encoder | `input_ids`, `attention_mask`, i64 `[batch, sequence]` | `last_hidden_state` |
//! | decoder | `input_ids`, i64 `[batch, sequence]`, `encoder_hidden_states`, f32 `[batch, encoder_sequence, hidden]`, `encoder_attention_mask`, i64 `[batch, encoder_sequence]` | `logits`, `present.N.decoder.*`, `present.N.encoder.*` |
//! | decoder with past | `input_ids`, `encoder_attention_mask`, `past_key_values.N.decoder.*`, `past_key_values.N.encoder.*` | `logits`, `present.N.decoder.*` |

use super::builder::{Activation, Builder, Module};
use super::cache::{self, Heads, KeyValue, Positions, rms_norm};
use super::config::{Config, refused, wrong};
use super::encoder::{Text, batch_and_sequence};
use super::{ArchDef, LowerOptions, Part, Task, head, t5};
use crate::error::{Error, Result};
use crate::hub::{AttrValue, Checkpoint, DType, Dim, Graph, ValueId};

/// Distances from here on are not told apart by any model, and each takes a line of a table.
const FARTHEST: u64 = 1 << 16;

/// Distances and their buckets.
#[derive(Clone, Copy)]
struct Buckets {
    count: u64,
    farthest: u64,
}

impl Buckets {
    fn of(config: &Config<'_>) -> Result<Self> {
        let count = config.length_or("relative_attention_num_buckets", 32)?;
        let farthest = config.length_or("relative_attention_max_distance", 128)?;
        if farthest > FARTHEST {
            return Err(refused(
                "relative_attention_max_distance",
                format!("is {farthest}: up to {FARTHEST} are lowered here"),
            ));
        }
        // Half of the buckets are for tokens ahead, half of those for single distances.
        if !(4..=FARTHEST).contains(&count) || count / 2 >= farthest {
            return Err(wrong(
                "relative_attention_num_buckets",
                format!(
                    "is {count}: it takes 4 or more, half of them below `relative_attention_max_distance`, {farthest}"
                ),
            ));
        }
        Ok(Self { count, farthest })
    }

    /// The bucket of a distance among `count`: single distances, then ranges that grow by a factor
    /// (Raffel et al., 2019, 2.1). In single precision, as transformers counts them.
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    // all numbers are below 2^17
    fn bucket(self, distance: u64, count: u64) -> u64 {
        let exact = count / 2;
        if distance < exact {
            return distance;
        }
        let part = f64::from(distance as f32 / exact as f32).ln() as f32;
        let whole = (self.farthest as f64 / exact as f64).ln() as f32;
        let steps = (part / whole * (count - exact) as f32) as u64;
        (exact + steps).min(count - 1)
    }

    /// The buckets of the offsets `-farthest ..= farthest` of a key from its query.
    fn table(self, decoder: bool) -> Vec<u64> {
        let behind = (0..=self.farthest).rev();
        if decoder {
            // a token ahead is masked
            let behind = behind.map(|d| self.bucket(d, self.count));
            return behind.chain((0..self.farthest).map(|_| 0)).collect();
        }
        let half = self.count / 2;
        let ahead = (1..=self.farthest).map(|d| half + self.bucket(d, half));
        behind.map(|d| self.bucket(d, half)).chain(ahead).collect()
    }

    /// What the distances add to attention scores: `[1, heads, sequence, past + sequence]`.
    fn bias(
        self,
        b: &mut Builder<'_>,
        stack: &'static str,
        positions: Positions,
        heads: Heads,
    ) -> Result<ValueId> {
        let at =
            b.module(&format!("{stack}.block.0.layer.0.SelfAttention.relative_attention_bias"));
        let path = &at.path;
        let signed = |n: u64| {
            i64::try_from(n).map_err(|_| wrong("relative_attention_max_distance", "is too large"))
        };
        let [queries, keys] = positions.crossed(b, path)?;
        let offset = b.op(path, "Sub", &[keys, queries], &[])?;
        let farthest = signed(self.farthest)?;
        let (low, high) = (b.integer(-farthest)?, b.integer(farthest)?);
        let offset = b.op(path, "Clip", &[offset, low, high], &[])?;
        let index = b.op(path, "Add", &[offset, high], &[])?;
        let table = self.table(stack == "decoder");
        let table = table.into_iter().map(signed).collect::<Result<Vec<_>>>()?;
        let table = b.table(&format!("{path}/buckets"), &table)?;
        let axis = [("axis", AttrValue::Int(0))];
        let bucket = b.op(path, "Gather", &[table, index], &axis)?;
        let weight = b.weight(&format!("{}.weight", at.file), &[self.count, heads.count])?;
        let bias = b.op(path, "Gather", &[weight, bucket], &axis)?;
        let perm = [("perm", AttrValue::Ints(vec![2, 0, 1]))];
        let bias = b.op(path, "Transpose", &[bias], &perm)?;
        let zero = b.integers(&[0])?;
        b.op(path, "Unsqueeze", &[bias, zero], &[])
    }
}

/// The sizes of both stacks.
struct Net {
    hidden: u64,
    inner: u64,
    heads: Heads,
    epsilon: f32,
    activation: Activation,
    gated: bool,
    buckets: Buckets,
}

/// `feed_forward_proj` taken apart: the activation, and whether it opens a gate. Two keys of newer files
/// say the same and count more.
fn feed_forward(config: &Config<'_>) -> Result<(Activation, bool)> {
    const KEY: &str = "feed_forward_proj";
    let word = config.text_or(KEY, if t5::is_mt5(config)? { "gated-gelu" } else { "relu" })?;
    let (gated, name) = match word.split('-').collect::<Vec<_>>()[..] {
        // the name is older than the approximation that it stands for
        ["gated", "gelu"] => (true, "gelu_new"),
        ["gated", name] => (true, name),
        [name] => (false, name),
        _ => {
            return Err(wrong(KEY, format!("is `{word}`"))
                .hint("it is the name of an activation, with `gated-` before it or without"));
        }
    };
    let gated = config.flag_or("is_gated_act", gated)?;
    let activation = match config.get(&["dense_act_fn"]) {
        Some(_) => Activation::of(config, "dense_act_fn", "relu")?,
        None => Activation::named(KEY, name)?,
    };
    Ok((activation, gated))
}

impl Net {
    fn of(config: &Config<'_>) -> Result<Self> {
        let (activation, gated) = feed_forward(config)?;
        Ok(Self {
            hidden: config.length(&["d_model"])?,
            inner: config.length(&["d_ff"])?,
            heads: Heads {
                count: config.length(&["num_heads"])?,
                width: config.length(&["d_kv"])?,
            },
            epsilon: config.epsilon_or("layer_norm_epsilon", 1e-6)?,
            activation,
            gated,
            buckets: Buckets::of(config)?,
        })
    }

    fn norm(&self, b: &mut Builder<'_>, path: &str, x: ValueId) -> Result<ValueId> {
        let at = b.module(&format!("{path}.layer_norm"));
        rms_norm(b, &at, x, self.hidden, self.epsilon)
    }

    fn project(&self, b: &mut Builder<'_>, path: &str, x: ValueId) -> Result<ValueId> {
        let y = b.linear(&b.module(path), x, [self.heads.all()?, self.hidden], false)?;
        self.heads.split(b, path, y)
    }

    /// Keys and values of `x`.
    fn key_value(&self, b: &mut Builder<'_>, path: &str, x: ValueId) -> Result<KeyValue> {
        Ok([self.project(b, &format!("{path}.k"), x)?, self.project(b, &format!("{path}.v"), x)?])
    }

    /// `x` plus what its tokens attend to; the scores are not scaled. `normed` is `x` after its norm.
    fn attend(
        &self,
        b: &mut Builder<'_>,
        path: &str,
        [x, normed]: [ValueId; 2],
        [key, value]: KeyValue,
        added: &[ValueId],
    ) -> Result<ValueId> {
        let query = self.project(b, &format!("{path}.q"), normed)?;
        let mixed = self.heads.attend(b, path, [query, key, value], None, added, self.heads)?;
        let out = b.module(&format!("{path}.o"));
        let y = b.linear(&out, mixed, [self.hidden, self.heads.all()?], false)?;
        b.op(path, "Add", &[x, y], &[])
    }

    fn feed_forward(&self, b: &mut Builder<'_>, path: &str, x: ValueId) -> Result<ValueId> {
        let normed = self.norm(b, path, x)?;
        let at = |b: &Builder<'_>, name| b.module(&format!("{path}.DenseReluDense.{name}"));
        let wide = [self.inner, self.hidden];
        let first = at(b, if self.gated { "wi_0" } else { "wi" });
        let mut y = b.linear(&first, normed, wide, false)?;
        y = self.activation.apply(b, &first.path, y)?;
        if self.gated {
            let other = at(b, "wi_1");
            let linear = b.linear(&other, normed, wide, false)?;
            y = b.op(&other.path, "Mul", &[y, linear], &[])?;
        }
        let down = at(b, "wo");
        let y = b.linear(&down, y, [self.hidden, self.inner], false)?;
        b.op(path, "Add", &[x, y], &[])
    }

    fn final_norm(&self, b: &mut Builder<'_>, stack: &str, x: ValueId) -> Result<ValueId> {
        let at = b.module(&format!("{stack}.final_layer_norm"));
        rms_norm(b, &at, x, self.hidden, self.epsilon)
    }

    /// `[batch, sequence, hidden]`, and the mask.
    fn encode(&self, b: &mut Builder<'_>, config: &Config<'_>) -> Result<[ValueId; 2]> {
        let text = Text::inputs(b)?;
        let table = table(b, "encoder");
        let mut x = self.embed(b, &table, text.ids, config)?;
        let positions = Positions::of(b, "encoder.positions", text.ids, None)?;
        let bias = self.buckets.bias(b, "encoder", positions, self.heads)?;
        let mask = text.additive_mask(b)?;
        for layer in 0..config.length(&["num_layers"])? {
            let path = format!("encoder.block.{layer}.layer.0");
            let normed = self.norm(b, &path, x)?;
            let path = format!("{path}.SelfAttention");
            let pair = self.key_value(b, &path, normed)?;
            x = self.attend(b, &path, [x, normed], pair, &[bias, mask])?;
            x = self.feed_forward(b, &format!("encoder.block.{layer}.layer.1"), x)?;
        }
        Ok([self.final_norm(b, "encoder", x)?, text.mask])
    }

    fn embed(
        &self,
        b: &mut Builder<'_>,
        table: &str,
        ids: ValueId,
        config: &Config<'_>,
    ) -> Result<ValueId> {
        let table = b.weight(table, &[config.length(&["vocab_size"])?, self.hidden])?;
        b.op("shared", "Gather", &[table, ids], &[("axis", AttrValue::Int(0))])
    }

    /// The decoder, with its inputs and outputs.
    fn decode(&self, b: &mut Builder<'_>, config: &Config<'_>, with_past: bool) -> Result<()> {
        let mut run = Decoder::inputs(b, self, config, with_past)?;
        let table = table(b, "decoder");
        let mut x = self.embed(b, &table, run.ids, config)?;
        let first = run.layers.first().and_then(|l| l.past).map(|p| p[0]);
        let positions = Positions::of(b, "decoder.positions", run.ids, first)?;
        let bias = self.buckets.bias(b, "decoder", positions, self.heads)?;
        let causal = positions.causal(b, "decoder.causal_mask")?;
        let mask = cache::additive(b, "encoder_attention_mask", run.mask)?;
        for (number, layer) in run.layers.iter_mut().enumerate() {
            let block = format!("decoder.block.{number}.layer");
            let normed = self.norm(b, &format!("{block}.0"), x)?;
            let path = format!("{block}.0.SelfAttention");
            let mut pair = self.key_value(b, &path, normed)?;
            if let Some(past) = layer.past {
                pair = cache::grown(b, &path, past, pair)?;
            }
            layer.present = Some(pair);
            x = self.attend(b, &path, [x, normed], pair, &[bias, causal])?;

            let normed = self.norm(b, &format!("{block}.1"), x)?;
            let path = format!("{block}.1.EncDecAttention");
            let pair = match (layer.encoder, run.states) {
                (Some(pair), _) => pair,
                (None, Some(states)) => self.key_value(b, &path, states)?,
                (None, None) => return Err(Error::bug("a decoder that sees no encoder")),
            };
            layer.encoder = Some(pair);
            x = self.attend(b, &path, [x, normed], pair, &[mask])?;
            x = self.feed_forward(b, &format!("{block}.2"), x)?;
        }
        let mut x = self.final_norm(b, "decoder", x)?;
        if scales(config)? {
            #[allow(clippy::cast_precision_loss)] // far below 2^24
            let factor = b.scalar((self.hidden as f32).sqrt().recip())?;
            x = b.op("lm_head", "Mul", &[x, factor], &[])?;
        }
        let vocabulary = config.length(&["vocab_size"])?;
        let shape = [vocabulary, self.hidden];
        let logits = head::project(b, &Module::head("lm_head"), &table, x, shape, true)?;
        let [batch, sequence] = batch_and_sequence();
        b.output("logits", logits, &[batch, sequence, Dim::Fixed(vocabulary)]);
        run.outputs(b, self.heads);
        Ok(())
    }
}

/// Whether the states of the decoder are scaled before the vocabulary: in the first version of T5, which
/// has tied embeddings.
fn scales(config: &Config<'_>) -> Result<bool> {
    if t5::is_mt5(config)? {
        return Ok(false);
    }
    let ties = config.flag_or("tie_word_embeddings", true)?;
    config.flag_or("scale_decoder_outputs", ties)
}

/// The embedding of a stack: its own, or the one for both.
fn table(b: &Builder<'_>, stack: &str) -> String {
    let own = format!("{stack}.embed_tokens.weight");
    let names = [own.as_str()].into_iter().chain(t5::EMBEDDINGS.iter().rev().copied());
    names.into_iter().find(|name| b.has(name)).unwrap_or("shared.weight").to_owned()
}

/// A layer's caches.
#[derive(Default)]
struct Layer {
    past: Option<KeyValue>,
    encoder: Option<KeyValue>,
    present: Option<KeyValue>,
}

/// What a decoder reads.
struct Decoder {
    ids: ValueId,
    mask: ValueId,
    states: Option<ValueId>,
    layers: Vec<Layer>,
    with_past: bool,
}

const ENCODER_LENGTH: &str = "encoder_sequence";

impl Decoder {
    fn inputs(
        b: &mut Builder<'_>,
        net: &Net,
        config: &Config<'_>,
        with_past: bool,
    ) -> Result<Self> {
        let ids = b.input("input_ids", DType::I64, &batch_and_sequence())?;
        let long = [Dim::symbol("batch"), Dim::symbol(ENCODER_LENGTH)];
        let mask = b.input("encoder_attention_mask", DType::I64, &long)?;
        let mut states = None;
        if !with_past {
            let [batch, length] = long;
            let shape = [batch, length, Dim::Fixed(net.hidden)];
            states = Some(b.input("encoder_hidden_states", DType::F32, &shape)?);
        }
        let mut layers = Vec::new();
        for number in 0..t5::decoder_layers(config)? {
            // the first tensor that is missing ends a count that no file has
            if !b.has(&format!("decoder.block.{number}.layer.0.SelfAttention.q.weight")) {
                layers.push(Layer::default());
                break;
            }
            let mut layer = Layer::default();
            if with_past {
                let heads = net.heads;
                layer.past = Some(cache::past(b, number, "decoder.", heads, cache::PAST)?);
                layer.encoder = Some(cache::past(b, number, "encoder.", heads, ENCODER_LENGTH)?);
            }
            layers.push(layer);
        }
        Ok(Self { ids, mask, states, layers, with_past })
    }

    fn outputs(&self, b: &mut Builder<'_>, heads: Heads) {
        for (number, layer) in (0..).zip(&self.layers) {
            if let Some(pair) = layer.present {
                cache::present(b, number, "decoder.", heads, pair, cache::after(self.with_past));
            }
            if let (Some(pair), false) = (layer.encoder, self.with_past) {
                cache::present(b, number, "encoder.", heads, pair, ENCODER_LENGTH);
            }
        }
    }
}

pub(super) fn lower(
    def: &ArchDef,
    checkpoint: &Checkpoint,
    options: &LowerOptions,
) -> Result<Graph> {
    let own = Config::of(checkpoint)?;
    let resolved = super::resolve(def, checkpoint, options)?;
    own.refuse_packed()?;
    if resolved.task == Task::FeatureExtraction
        && options.task.is_none()
        && own.architectures()?.iter().any(|class| matches!(*class, "T5Model" | "MT5Model"))
    {
        return Err(refused(
            "architectures",
            "names the whole model, whose features are the decoder's: no graph is made of them",
        )
        .hint("set `task = \"feature-extraction\"` for what the encoder gives, or `task = \"text2text-generation\"`"));
    }
    let config = own;
    let net = Net::of(&config)?;
    let mut builder = Builder::new(checkpoint, def.name, "");
    let b = &mut builder;
    let mut ignored = vec!["lm_head.", "shared."];
    match resolved.part {
        Some(part @ (Part::Decoder | Part::DecoderWithPast)) => {
            net.decode(b, &config, part == Part::DecoderWithPast)?;
            ignored.extend(["encoder.", OLD_BIAS]);
            if part == Part::DecoderWithPast {
                ignore_cross(b);
            }
        }
        _ => {
            let [x, mask] = net.encode(b, &config)?;
            if resolved.task == Task::FeatureExtraction {
                head::features(b, &resolved, x, mask, net.hidden)?;
            } else {
                let [batch, sequence] = batch_and_sequence();
                b.output("last_hidden_state", x, &[batch, sequence, Dim::Fixed(net.hidden)]);
            }
            ignored.push("decoder.");
        }
    }
    resolved.facts(b, def, &config)?;
    builder.finish(&ignored)
}

/// A bias that the oldest checkpoints have and that nothing reads.
const OLD_BIAS: &str = "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.";

/// Keys and values of the encoder's states are in the cache: what makes them is not read.
fn ignore_cross(b: &mut Builder<'_>) {
    let mut number = 0;
    loop {
        let path = format!("decoder.block.{number}.layer.1.EncDecAttention");
        if !b.has(&format!("{path}.k.weight")) {
            return;
        }
        b.mark_used(&format!("{path}.k.weight"));
        b.mark_used(&format!("{path}.v.weight"));
        number += 1;
    }
}
