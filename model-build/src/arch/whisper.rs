//! Whisper (Radford et al., 2022): an encoder of half a minute of sound, and a decoder that writes what
//! is said.
//!
//! | part | inputs | outputs |
//! |---|---|---|
//! | encoder | `input_features`, f32 `[batch, mel bins, 2 · positions]`: the spectrogram | `last_hidden_state` `[batch, positions, hidden]` |
//! | decoder | `input_ids`, i64 `[batch, sequence]`, `encoder_hidden_states`, f32 `[batch, encoder_sequence, hidden]` | `logits`, `present.N.decoder.*`, `present.N.encoder.*` |
//! | decoder with past | `input_ids`, `past_key_values.N.decoder.*`, `past_key_values.N.encoder.*` | `logits`, `present.N.decoder.*` |

use super::builder::{Activation, Builder, Module};
use super::cache::{self, Heads, KeyValue, Positions};
use super::config::{Config, wrong};
use super::convolution::{Padding, Window, convolve};
use super::encoder::{Names, Norm, Sizes, Stack, batch_and_sequence, embedding};
use super::{ArchDef, LowerOptions, Part, Task, head};
use crate::error::{Error, Result};
use crate::hub::{AttrValue, Checkpoint, DType, Dim, Graph, ValueId};

const NAMES: Names = Names {
    layers: "encoder.layers",
    query: "self_attn.q_proj",
    key: "self_attn.k_proj",
    value: "self_attn.v_proj",
    out: "self_attn.out_proj",
    attention_norm: "self_attn_layer_norm",
    up: "fc1",
    down: "fc2",
    output_norm: "final_layer_norm",
};

/// What LayerNorm adds to the variance.
const EPSILON: f32 = 1e-5;

fn encode(b: &mut Builder<'_>, config: &Config<'_>) -> Result<()> {
    let sizes = Sizes {
        hidden: config.length(&["d_model"])?,
        heads: config.length(&["encoder_attention_heads"])?,
        layers: config.length(&["encoder_layers"])?,
        intermediate: config.length(&["encoder_ffn_dim"])?,
        epsilon: EPSILON,
        activation: Activation::of(config, "activation_function", "gelu")?,
    }
    .check("encoder_attention_heads", "d_model")?;
    let hidden = sizes.hidden;
    let bins = config.length_or("num_mel_bins", 80)?;
    let positions = config.length_or("max_source_positions", 1500)?;
    let batch = Dim::symbol("batch");
    let shape = [batch.clone(), Dim::Fixed(bins), Dim::Fixed(positions.saturating_mul(2))];
    let mut x = b.input("input_features", DType::F32, &shape)?;
    for (name, inputs, stride) in [("conv1", bins, 1), ("conv2", hidden, 2)] {
        let window = Window {
            kernel: &[3],
            strides: &[stride],
            padding: Padding::Even(1),
            dilation: 1,
            groups: 1,
        };
        let at = b.module(&format!("encoder.{name}"));
        x = convolve(b, &at, x, [hidden, inputs], &window, true)?;
        x = Activation::Gelu.apply(b, &at.path, x)?;
    }
    let perm = [("perm", AttrValue::Ints(vec![0, 2, 1]))];
    let x = b.op("encoder", "Transpose", &[x], &perm)?;
    let table = b.weight(&b.in_encoder("encoder.embed_positions.weight"), &[positions, hidden])?;
    let x = b.op("encoder", "Add", &[x, table], &[])?;
    let stack = Stack { sizes, names: &NAMES, norm: Norm::Before, qkv_bias: [true, false, true] };
    let x = stack.run(b, x, &[])?;
    let norm = b.module("encoder.layer_norm");
    let x = b.layer_norm(&norm, x, hidden, EPSILON)?;
    b.output("last_hidden_state", x, &[batch, Dim::Fixed(positions), Dim::Fixed(hidden)]);
    Ok(())
}

/// The sizes of the decoder.
struct Net {
    hidden: u64,
    inner: u64,
    heads: Heads,
    activation: Activation,
}

/// The length of the axis of what the encoder gives.
const ENCODER_LENGTH: &str = "encoder_sequence";

impl Net {
    fn of(config: &Config<'_>) -> Result<Self> {
        let hidden = config.length(&["d_model"])?;
        let count = config.length(&["decoder_attention_heads"])?;
        if !hidden.is_multiple_of(count) {
            return Err(wrong(
                "decoder_attention_heads",
                format!("is {count}, which does not divide `d_model`, {hidden}"),
            ));
        }
        Ok(Self {
            hidden,
            inner: config.length(&["decoder_ffn_dim"])?,
            heads: Heads { count, width: hidden / count },
            activation: Activation::of(config, "activation_function", "gelu")?,
        })
    }

    fn norm(&self, b: &mut Builder<'_>, path: &str, x: ValueId) -> Result<ValueId> {
        let at = b.module(path);
        b.layer_norm(&at, x, self.hidden, EPSILON)
    }

    fn project(&self, b: &mut Builder<'_>, path: &str, x: ValueId, bias: bool) -> Result<ValueId> {
        let y = b.linear(&b.module(path), x, [self.hidden; 2], bias)?;
        self.heads.split(b, path, y)
    }

    fn key_value(&self, b: &mut Builder<'_>, path: &str, x: ValueId) -> Result<KeyValue> {
        let key = self.project(b, &format!("{path}.k_proj"), x, false)?;
        Ok([key, self.project(b, &format!("{path}.v_proj"), x, true)?])
    }

    /// `x` plus what its tokens attend to. `normed` is `x` after its norm.
    fn attend(
        &self,
        b: &mut Builder<'_>,
        path: &str,
        [x, normed]: [ValueId; 2],
        [key, value]: KeyValue,
        added: &[ValueId],
    ) -> Result<ValueId> {
        let query = self.project(b, &format!("{path}.q_proj"), normed, true)?;
        let scale = Some(self.heads.scale());
        let mixed = self.heads.attend(b, path, [query, key, value], scale, added, self.heads)?;
        let out = b.module(&format!("{path}.out_proj"));
        let y = b.linear(&out, mixed, [self.hidden; 2], true)?;
        b.op(path, "Add", &[x, y], &[])
    }

    fn feed_forward(&self, b: &mut Builder<'_>, path: &str, x: ValueId) -> Result<ValueId> {
        let y = self.norm(b, &format!("{path}.final_layer_norm"), x)?;
        let up = b.module(&format!("{path}.fc1"));
        let y = b.linear(&up, y, [self.inner, self.hidden], true)?;
        let y = self.activation.apply(b, &up.path, y)?;
        let down = b.module(&format!("{path}.fc2"));
        let y = b.linear(&down, y, [self.hidden, self.inner], true)?;
        b.op(path, "Add", &[x, y], &[])
    }

    fn decode(&self, b: &mut Builder<'_>, config: &Config<'_>, with_past: bool) -> Result<()> {
        let layers = config.length(&["decoder_layers"])?;
        let ids = b.input("input_ids", DType::I64, &batch_and_sequence())?;
        let (mut states, mut pasts) = (None, Vec::new());
        if with_past {
            for layer in 0..layers {
                if !b.has(&b.in_encoder(&format!("decoder.layers.{layer}.fc1.weight"))) {
                    break; // the first tensor that is missing ends a count that no file has
                }
                let own = cache::past(b, layer, "decoder.", self.heads, cache::PAST)?;
                let other = cache::past(b, layer, "encoder.", self.heads, ENCODER_LENGTH)?;
                pasts.push([own, other]);
            }
        } else {
            let shape =
                [Dim::symbol("batch"), Dim::symbol(ENCODER_LENGTH), Dim::Fixed(self.hidden)];
            states = Some(b.input("encoder_hidden_states", DType::F32, &shape)?);
        }
        let vocabulary = config.length_or("vocab_size", 51865)?;
        let longest = config.length_or("max_target_positions", 448)?;
        let first = pasts.first().map(|[own, _]| own[0]);
        let positions = Positions::of(b, "decoder.positions", ids, first)?;
        let words = embedding(b, "decoder.embed_tokens", ids, [vocabulary, self.hidden])?;
        let places = "decoder.embed_positions";
        let places = embedding(b, places, positions.queries, [longest, self.hidden])?;
        let mut x = b.op("decoder", "Add", &[words, places], &[])?;
        let causal = positions.causal(b, "decoder.causal_mask")?;
        let mut present = Vec::new();
        let mut pasts = pasts.into_iter();
        for layer in 0..layers {
            let path = format!("decoder.layers.{layer}");
            let past = pasts.next();
            let normed = self.norm(b, &format!("{path}.self_attn_layer_norm"), x)?;
            let at = format!("{path}.self_attn");
            let mut own = self.key_value(b, &at, normed)?;
            if let Some([past, _]) = past {
                own = cache::grown(b, &at, past, own)?;
            }
            x = self.attend(b, &at, [x, normed], own, &[causal])?;

            let normed = self.norm(b, &format!("{path}.encoder_attn_layer_norm"), x)?;
            let at = format!("{path}.encoder_attn");
            let other = match (past, states) {
                (Some([_, other]), _) => other,
                (None, Some(states)) => self.key_value(b, &at, states)?,
                (None, None) => return Err(Error::bug("a decoder that sees no encoder")),
            };
            x = self.attend(b, &at, [x, normed], other, &[])?;
            x = self.feed_forward(b, &path, x)?;
            present.push([own, other]);
        }
        let x = self.norm(b, "decoder.layer_norm", x)?;
        let table = b.in_encoder("decoder.embed_tokens.weight");
        let ties = config.flag_or("tie_word_embeddings", true)?;
        let shape = [vocabulary, self.hidden];
        let logits = head::project(b, &Module::head("proj_out"), &table, x, shape, ties)?;
        let [batch, sequence] = batch_and_sequence();
        b.output("logits", logits, &[batch, sequence, Dim::Fixed(vocabulary)]);
        for (layer, [own, other]) in (0..).zip(present) {
            cache::present(b, layer, "decoder.", self.heads, own, cache::after(with_past));
            if !with_past {
                cache::present(b, layer, "encoder.", self.heads, other, ENCODER_LENGTH);
            }
        }
        Ok(())
    }
}

/// Keys and values of the encoder's states are in the cache: what makes them is not read.
fn ignore_cross(b: &mut Builder<'_>) {
    let mut layer = 0;
    loop {
        let path = b.in_encoder(&format!("decoder.layers.{layer}.encoder_attn"));
        if !b.has(&format!("{path}.k_proj.weight")) {
            return;
        }
        for name in ["k_proj.weight", "v_proj.weight", "v_proj.bias"] {
            b.mark_used(&format!("{path}.{name}"));
        }
        layer += 1;
    }
}

fn lower(checkpoint: &Checkpoint, options: &LowerOptions) -> Result<Graph> {
    let config = Config::of(checkpoint)?;
    let resolved = super::resolve(&DEF, checkpoint, options)?;
    config.refuse_packed()?;
    let mut builder = Builder::new(checkpoint, DEF.name, "model.");
    let b = &mut builder;
    let (encoder, decoder) = (b.in_encoder("encoder."), b.in_encoder("decoder."));
    let mut ignored = vec!["proj_out."];
    match resolved.part {
        Some(part @ (Part::Decoder | Part::DecoderWithPast)) => {
            Net::of(&config)?.decode(b, &config, part == Part::DecoderWithPast)?;
            if part == Part::DecoderWithPast {
                ignore_cross(b);
            }
            ignored.push(&encoder);
        }
        _ => {
            encode(b, &config)?;
            ignored.push(&decoder);
        }
    }
    resolved.facts(b, &DEF, &config)?;
    builder.finish(&ignored)
}

/// Whisper.
pub(super) static DEF: ArchDef = ArchDef {
    name: "whisper",
    model_types: &["whisper"],
    classes: &["Whisper"],
    revision: 1,
    tasks: &[Task::AutomaticSpeechRecognition],
    lower: Some(lower),
    gguf: None,
};
