//! CLIP (Radford et al., 2021): a text encoder and an image encoder whose vectors of a text and of an
//! image that belong together point the same way.
//!
//! Inputs: `input_ids` and `attention_mask`, i64 `[batch, sequence]`; `pixel_values`, f32 `[batch,
//! channels, height, width]` with the size of config.json. A graph of both sides has the axes
//! `text_batch` and `image_batch`.
//!
//! A checkpoint of one side alone (`clip_text_model`, `clip_vision_model`) is an architecture of its
//! own.

use super::builder::{Activation, Builder, Module};
use super::cache::Positions;
use super::config::Config;
use super::encoder::{Names, Norm, Sizes, Stack, Text, embedding};
use super::vit::Patches;
use super::{ArchDef, LowerOptions, Part, Resolved, Task, head};
use crate::error::{Error, Result};
use crate::hub::{AttrValue, Checkpoint, Dim, Graph, ValueId};

const NAMES: Names = Names {
    layers: "encoder.layers",
    query: "self_attn.q_proj",
    key: "self_attn.k_proj",
    value: "self_attn.v_proj",
    out: "self_attn.out_proj",
    attention_norm: "layer_norm1",
    up: "mlp.fc1",
    down: "mlp.fc2",
    output_norm: "layer_norm2",
};

const TEXT: &str = "text_model.";
const VISION: &str = "vision_model.";
const TEXT_PROJECTION: &str = "text_projection";
const VISION_PROJECTION: &str = "visual_projection";

/// `eos_token_id` of the first published configurations, which is no token of theirs.
const WRONG_END: i64 = 2;

fn sizes(config: &Config<'_>, hidden: u64, heads: u64) -> Result<Sizes> {
    config.refuse_variants()?;
    let hidden = config.length_or("hidden_size", hidden)?;
    let sizes = Sizes {
        hidden,
        heads: config.length_or("num_attention_heads", heads)?,
        layers: config.length_or("num_hidden_layers", 12)?,
        intermediate: config
            .length_or("intermediate_size", if heads == 8 { 2048 } else { 3072 })?,
        epsilon: config.epsilon_or("layer_norm_eps", 1e-5)?,
        activation: Activation::of(config, "hidden_act", "quick_gelu")?,
    };
    sizes.check("num_attention_heads", "hidden_size")
}

/// What an encoder gives.
struct Encoded {
    /// `[batch, tokens, hidden]`.
    tokens: ValueId,
    /// Their number.
    count: Dim,
    /// `[batch, hidden]`.
    pooled: ValueId,
    hidden: u64,
}

/// The vector of the first token that ends a text: `[batch, sequence, hidden]` to `[batch, hidden]`.
/// In a text without one it is the first token of all.
///
/// That token is `end`; with the wrong number of old configurations it is the greatest of the text,
/// which the vocabulary's last token is.
fn at_end(
    b: &mut Builder<'_>,
    text: &Text,
    x: ValueId,
    positions: ValueId,
    end: i64,
) -> Result<ValueId> {
    let path = "pooler";
    let along = |keep| [("axes", AttrValue::Ints(vec![1])), ("keepdims", AttrValue::Int(keep))];
    let end = if end == WRONG_END {
        b.op(path, "ReduceMax", &[text.ids], &along(1))?
    } else {
        b.integer(end)?
    };
    let ends = b.op(path, "Equal", &[text.ids, end], &[])?;
    let length = super::cache::length(b, path, text.ids, 1)?;
    let where_it_ends = b.op(path, "Where", &[ends, positions, length], &[])?;
    let first = b.op(path, "ReduceMin", &[where_it_ends], &along(1))?;
    let first = b.op(path, "Mod", &[first, length], &[])?;
    b.op(path, "GatherND", &[x, first], &[("batch_dims", AttrValue::Int(1))])
}

fn encode_text(b: &mut Builder<'_>, config: &Config<'_>, batch: &str) -> Result<Encoded> {
    b.enter(TEXT, TEXT);
    let sizes = sizes(config, 512, 8)?;
    let hidden = sizes.hidden;
    let text = Text::inputs_of(b, batch)?;
    let vocabulary = config.length_or("vocab_size", 49408)?;
    let longest = config.length_or("max_position_embeddings", 77)?;
    let positions = Positions::of(b, "embeddings.position_ids", text.ids, None)?;
    let words = embedding(b, "embeddings.token_embedding", text.ids, [vocabulary, hidden])?;
    let places = "embeddings.position_embedding";
    let places = embedding(b, places, positions.queries, [longest, hidden])?;
    let x = b.op("embeddings", "Add", &[words, places], &[])?;
    let causal = positions.causal(b, "causal_mask")?;
    let mask = text.additive_mask(b)?;
    let stack = Stack { sizes, names: &NAMES, norm: Norm::Before, qkv_bias: [true; 3] };
    let x = stack.run(b, x, &[causal, mask])?;
    let norm = b.module("final_layer_norm");
    let tokens = b.layer_norm(&norm, x, hidden, sizes.epsilon)?;
    let end = config.index_or("eos_token_id", 49407)?;
    let pooled = at_end(b, &text, tokens, positions.queries, end)?;
    Ok(Encoded { tokens, count: Dim::symbol("sequence"), pooled, hidden })
}

fn encode_image(b: &mut Builder<'_>, config: &Config<'_>, batch: &str) -> Result<Encoded> {
    b.enter(VISION, VISION);
    let sizes = sizes(config, 768, 12)?;
    let hidden = sizes.hidden;
    let patches = Patches {
        projection: ("embeddings.patch_embedding", false),
        class: ("embeddings.class_embedding", &[]),
        positions: ("embeddings.position_embedding.weight", &[]),
        channels: config.length_or("num_channels", 3)?,
        image: config.square_or("image_size", 224)?,
        patch: config.square_or("patch_size", 32)?,
    };
    let (x, count) = patches.embed(b, hidden, batch)?;
    let norm = b.module("pre_layrnorm");
    let x = b.layer_norm(&norm, x, hidden, sizes.epsilon)?;
    let stack = Stack { sizes, names: &NAMES, norm: Norm::Before, qkv_bias: [true; 3] };
    let tokens = stack.run(b, x, &[])?;
    let norm = b.module("post_layernorm");
    let pooled = head::first_token(b, &norm.path, tokens)?;
    let pooled = b.layer_norm(&norm, pooled, hidden, sizes.epsilon)?;
    Ok(Encoded { tokens, count: Dim::Fixed(count), pooled, hidden })
}

/// A vector of the space that both sides share.
fn project(b: &mut Builder<'_>, name: &str, x: &Encoded, length: u64) -> Result<ValueId> {
    b.enter("", "");
    b.linear(&Module::head(name), x.pooled, [length, x.hidden], false)
}

/// The outputs of one side: its tokens, and its vector in the space of both where the checkpoint has
/// the way there, else in its own.
fn one_side(
    b: &mut Builder<'_>,
    x: &Encoded,
    [projection, name]: [&str; 2],
    length: u64,
) -> Result<()> {
    let batch = Dim::symbol("batch");
    let tokens = [batch.clone(), x.count.clone(), Dim::Fixed(x.hidden)];
    if b.has(&format!("{projection}.weight")) {
        let vector = project(b, projection, x, length)?;
        b.output(name, vector, &[batch, Dim::Fixed(length)]);
        b.output("last_hidden_state", x.tokens, &tokens);
    } else {
        b.output("last_hidden_state", x.tokens, &tokens);
        b.output("pooler_output", x.pooled, &[batch, Dim::Fixed(x.hidden)]);
    }
    Ok(())
}

/// The vector at length 1.
fn normalized(b: &mut Builder<'_>, path: &str, x: ValueId) -> Result<ValueId> {
    let length = b.op(path, "ReduceL2", &[x], &[("axes", AttrValue::Ints(vec![-1]))])?;
    b.op(path, "Div", &[x, length], &[])
}

/// The outputs of both sides: `text_embeds` and `image_embeds` at length 1 and, for the zero-shot
/// task, before them the logits: their cosines, scaled.
fn both(b: &mut Builder<'_>, task: Task, [text, image]: [&Encoded; 2], length: u64) -> Result<()> {
    let text = project(b, TEXT_PROJECTION, text, length)?;
    let text = normalized(b, "text_embeds", text)?;
    let image = project(b, VISION_PROJECTION, image, length)?;
    let image = normalized(b, "image_embeds", image)?;
    let [texts, images] = ["text_batch", "image_batch"].map(Dim::symbol);
    if task == Task::ZeroShotImageClassification {
        let perm = [("perm", AttrValue::Ints(vec![1, 0]))];
        let scale = b.weight("logit_scale", &[])?;
        let scale = b.op("logit_scale", "Exp", &[scale], &[])?;
        let turned = b.op("logits", "Transpose", &[image], &perm)?;
        let cosine = b.op("logits", "MatMul", &[text, turned], &[])?;
        let per_text = b.op("logits", "Mul", &[cosine, scale], &[])?;
        let per_image = b.op("logits", "Transpose", &[per_text], &perm)?;
        b.output("logits_per_image", per_image, &[images.clone(), texts.clone()]);
        b.output("logits_per_text", per_text, &[texts.clone(), images.clone()]);
    } else {
        b.mark_used("logit_scale");
    }
    b.output("text_embeds", text, &[texts, Dim::Fixed(length)]);
    b.output("image_embeds", image, &[images, Dim::Fixed(length)]);
    Ok(())
}

/// The classifier on the mean of an image's patches.
fn classify(b: &mut Builder<'_>, x: &Encoded, config: &Config<'_>) -> Result<()> {
    b.enter("", "");
    head::require(b, Task::ImageClassification, "classifier.weight")?;
    let path = "classifier";
    let (one, end) = (b.integers(&[1])?, b.integers(&[i64::MAX])?);
    let patches = b.op(path, "Slice", &[x.tokens, one, end, one], &[])?;
    let mean = [("axes", AttrValue::Ints(vec![1])), ("keepdims", AttrValue::Int(0))];
    let mean = b.op(path, "ReduceMean", &[patches], &mean)?;
    head::classifier(b, path, mean, x.hidden, config)
}

/// The keys of one side: in old files `…_config_dict` stands beside `…_config`, and it is what counts.
fn side<'c>(config: &Config<'c>, old: &'static str, key: &'static str) -> Result<Config<'c>> {
    config.table(&[if config.get(&[old]).is_some() { old } else { key }])
}

fn text_keys<'c>(config: &Config<'c>) -> Result<Config<'c>> {
    side(config, "text_config_dict", "text_config")
}

fn vision_keys<'c>(config: &Config<'c>) -> Result<Config<'c>> {
    side(config, "vision_config_dict", "vision_config")
}

/// What is asked for, with the part taken apart: the sides are parts of feature extraction only here.
fn resolve(
    def: &ArchDef,
    checkpoint: &Checkpoint,
    options: &LowerOptions,
    sides: &[Part],
) -> Result<Resolved> {
    let whole = LowerOptions { part: None, ..*options };
    let mut resolved = super::resolve(def, checkpoint, &whole)?;
    resolved.refuse_pooling("vectors already")?;
    if let Some(part) = options.part {
        if resolved.task != Task::FeatureExtraction || !sides.contains(&part) {
            let names: Vec<&str> = sides.iter().map(|p| p.name()).collect();
            return Err(Error::manifest(format!(
                "the architecture `{}` has no part `{}` for the task `{}`",
                def.name,
                part.name(),
                resolved.task.name()
            ))
            .hint(format!(
                "the parts of the task `feature-extraction` are: {}",
                names.join(", ")
            )));
        }
        resolved.part = Some(part);
    }
    Ok(resolved)
}

/// Starts of the names of each side's tensors, and of what stands above both.
const OF_TEXT: [&str; 2] = [TEXT, "text_projection."];
const OF_VISION: [&str; 2] = [VISION, "visual_projection."];

fn lower(checkpoint: &Checkpoint, options: &LowerOptions) -> Result<Graph> {
    let config = Config::of(checkpoint)?;
    let sides = [Part::Text, Part::Vision];
    // The part says the task where `architectures` says another one.
    let options = match options.part {
        Some(part) if options.task.is_none() && sides.contains(&part) => {
            LowerOptions { task: Some(Task::FeatureExtraction), ..*options }
        }
        _ => *options,
    };
    let resolved = resolve(&DEF, checkpoint, &options, &sides)?;
    config.refuse_variants()?;
    let length = config.length_or("projection_dim", 512)?;
    let mut builder = Builder::new(checkpoint, DEF.name, "");
    let b = &mut builder;
    let mut ignored = vec!["classifier."];
    match (resolved.task, resolved.part) {
        (Task::ImageClassification, _) => {
            let x = encode_image(b, &vision_keys(&config)?, "batch")?;
            classify(b, &x, &config)?;
            ignored.extend(OF_TEXT);
            ignored.extend(["visual_projection.", "logit_scale"]);
        }
        (_, Some(Part::Text)) => {
            let x = encode_text(b, &text_keys(&config)?, "batch")?;
            one_side(b, &x, [TEXT_PROJECTION, "text_embeds"], length)?;
            ignored.extend(OF_VISION);
            ignored.push("logit_scale");
        }
        (_, Some(_)) => {
            let x = encode_image(b, &vision_keys(&config)?, "batch")?;
            one_side(b, &x, [VISION_PROJECTION, "image_embeds"], length)?;
            ignored.extend(OF_TEXT);
            ignored.push("logit_scale");
        }
        (task, None) => {
            let text = encode_text(b, &text_keys(&config)?, "text_batch")?;
            let image = encode_image(b, &vision_keys(&config)?, "image_batch")?;
            both(b, task, [&text, &image], length)?;
        }
    }
    resolved.facts(b, &DEF, &config)?;
    builder.finish(&ignored)
}

fn lower_text(checkpoint: &Checkpoint, options: &LowerOptions) -> Result<Graph> {
    let config = Config::of(checkpoint)?;
    let resolved = resolve(&TEXT_DEF, checkpoint, options, &[Part::Text])?;
    let length = config.length_or("projection_dim", 512)?;
    let mut builder = Builder::new(checkpoint, TEXT_DEF.name, "");
    let b = &mut builder;
    let x = encode_text(b, &config, "batch")?;
    one_side(b, &x, [TEXT_PROJECTION, "text_embeds"], length)?;
    resolved.facts(b, &TEXT_DEF, &config)?;
    builder.finish(&[])
}

fn lower_vision(checkpoint: &Checkpoint, options: &LowerOptions) -> Result<Graph> {
    let config = Config::of(checkpoint)?;
    let resolved = resolve(&VISION_DEF, checkpoint, options, &[Part::Vision])?;
    let length = config.length_or("projection_dim", 512)?;
    let mut builder = Builder::new(checkpoint, VISION_DEF.name, "");
    let b = &mut builder;
    let x = encode_image(b, &config, "batch")?;
    one_side(b, &x, [VISION_PROJECTION, "image_embeds"], length)?;
    resolved.facts(b, &VISION_DEF, &config)?;
    builder.finish(&[])
}

/// CLIP, both sides.
pub(super) static DEF: ArchDef = ArchDef {
    name: "clip",
    model_types: &["clip"],
    classes: &["CLIP"],
    revision: 1,
    tasks: &[Task::ZeroShotImageClassification, Task::FeatureExtraction, Task::ImageClassification],
    lower: Some(lower),
    gguf: None,
};

/// CLIP's text encoder.
pub(super) static TEXT_DEF: ArchDef = ArchDef {
    name: "clip_text_model",
    model_types: &["clip_text_model"],
    classes: &["CLIPText"],
    revision: 1,
    tasks: &[Task::FeatureExtraction],
    lower: Some(lower_text),
    gguf: None,
};

/// CLIP's image encoder.
pub(super) static VISION_DEF: ArchDef = ArchDef {
    name: "clip_vision_model",
    model_types: &["clip_vision_model"],
    classes: &["CLIPVision"],
    revision: 1,
    tasks: &[Task::FeatureExtraction],
    lower: Some(lower_vision),
    gguf: None,
};
