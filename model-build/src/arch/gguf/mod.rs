//! Checkpoints as GGUF files and back: one driver for every architecture's keys and tensor table.

mod general;
mod keys;
mod line;
mod mxfp4;
mod policy;
mod pooling;
mod rope;
mod rows;
mod table;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value as Json};

pub(super) use keys::{Keys, bad_key, json_of_f32, length_meta, narrow};
pub use policy::wants_f32;
pub(super) use rope::{Rope, list_of, llama3};
pub(super) use rows::RowMap;
pub(super) use table::{Post, Table};

use super::config::{Config, refused, wrong};
use super::{ALL, ArchDef, PackOptions, bert_gguf};
use crate::error::{Error, Result};
use crate::hub::{Checkpoint, DType, Gguf, Meta, Tensor};
use crate::tokenizer;

/// Bumped when what [`unpack`] gives changes.
pub const UNPACK_REVISION: u32 = 1;

/// An architecture's names, key/values and layout in GGUF files.
///
/// One description serves both directions: `keys` and `tensors` are functions of the configuration,
/// which packing reads from `config.json` and unpacking makes from the file's key/values.
pub struct GgufDef {
    /// `general.architecture`.
    pub name: &'static str,
    /// Bumped when what [`pack`] gives changes.
    pub revision: u32,
    /// The class in `architectures` of the unpacked `config.json`.
    pub(super) class: &'static str,
    /// What the names of tensors start with in the class with a head; empty where that is nothing.
    pub(super) prefix: &'static str,
    /// Whether a file of that name is of this family, where several share the name.
    pub(super) serves: fn(&Gguf) -> bool,
    /// What transformers takes for keys that `config.json` does not have.
    pub(super) defaults: fn(&Map<String, Json>) -> Json,
    /// Keys of older files and those in whose place they stand.
    pub(super) aliases: &'static [(&'static str, &'static str)],
    /// The vocabularies the family is known with, the preferred one first.
    pub(super) vocabulary: &'static [tokenizer::Kind],
    /// The hyperparameters, in the converter's order.
    pub(super) keys: fn(&mut Keys<'_>) -> Result<()>,
    /// The tensors.
    pub(super) tensors: fn(&Config<'_>, &mut Table) -> Result<()>,
}

/// Ignored endings of a checkpoint's names: buffers that are computed from the configuration.
const BUFFERS: &[&str] = &[
    ".rotary_emb.inv_freq",
    ".attention.masked_bias",
    ".attention.bias",
    ".attn.masked_bias",
    ".attn.bias",
    ".embeddings.position_ids",
];

/// The error for an architecture that GGUF does not have.
pub fn no_gguf(def: &ArchDef) -> Error {
    Error::unsupported(format!("the architecture `{}` has no place in GGUF files", def.name))
        .hint("it can be written as `format = \"safetensors\"` or `\"pytorch\"`")
}

/// How a checkpoint's architecture stands in GGUF files.
pub fn gguf_of(checkpoint: &Checkpoint) -> Result<&'static GgufDef> {
    let def = super::of(checkpoint)?;
    def.gguf.ok_or_else(|| no_gguf(def))
}

/// The architecture of a GGUF file, by `general.architecture` and the keys that tell apart those
/// that share the name.
pub fn of_gguf(gguf: &Gguf) -> Result<&'static ArchDef> {
    let name = gguf
        .architecture()
        .ok_or_else(|| Error::malformed("the file lacks the key `general.architecture`"))?;
    let mut known = Vec::new();
    for def in ALL {
        if let Some(gguf_def) = def.gguf {
            if gguf_def.name == name && (gguf_def.serves)(gguf) {
                return Ok(def);
            }
            if !known.contains(&gguf_def.name) {
                known.push(gguf_def.name);
            }
        }
    }
    let error = Error::unsupported(format!("no architecture here reads the GGUF family `{name}`"));
    Err(match crate::error::nearest(name, known.iter().copied()) {
        Some(near) => error.hint(format!("the nearest is `{near}`")),
        None => error,
    }
    .hint(format!("the known ones are: {}", known.join(", "))))
}

/// Checkpoint → GGUF: names, key/values, tokenizer and layout as llama.cpp's converter has them.
///
/// Tensors keep the element type they have; those that [`wants_f32`] names are widened to f32.
/// `general.file_type` and `general.quantization_version` are left to who chooses the types.
///
/// # Errors
/// No known `model_type`, a key of `config.json` that GGUF's graph does not compute with, a tensor
/// that is missing, of another shape than `config.json` implies, or left over, and a tokenizer that
/// GGUF cannot hold.
pub fn pack(checkpoint: &Checkpoint, options: &PackOptions) -> Result<Gguf> {
    let def = gguf_of(checkpoint)?;
    let mut gguf = pack_model(def, checkpoint)?;
    let config = normalized(def, checkpoint)?;
    let options = tokenizer::Options {
        vocab_size: Config::over(&config).length(&["vocab_size"])?,
        kinds: def.vocabulary,
        pre: options.pre_tokenizer.clone(),
    };
    let mut keys = tokenizer::pack(checkpoint, &options)?;
    if is_encoder(def) {
        bert_gguf::count_token_types(&gguf, &mut keys)?;
    }
    gguf.metadata.extend(keys);
    Ok(gguf)
}

/// [`pack`] without the tokenizer's keys.
pub fn pack_without_tokenizer(checkpoint: &Checkpoint) -> Result<Gguf> {
    pack_model(gguf_of(checkpoint)?, checkpoint)
}

fn pack_model(def: &GgufDef, checkpoint: &Checkpoint) -> Result<Gguf> {
    let config = normalized(def, checkpoint)?;
    check_depth(&config, checkpoint.tensors.len())?;
    let mut keys = Keys::pack(def.name, checkpoint, config);
    (def.keys)(&mut keys)?;
    let early = keys.take_early();
    let (config, hyper, _) = keys.finish();

    // The headless class of a family saves its tensors without the prefix.
    let prefix = def.prefix;
    let bare = !checkpoint.tensors.keys().any(|name| name.starts_with(prefix));
    let mut present = BTreeMap::new();
    for (name, tensor) in &checkpoint.tensors {
        if bare {
            present.insert(format!("{prefix}{name}"), tensor.byte_len());
        }
        present.insert(name.clone(), tensor.byte_len());
    }
    let mut table = Table { present, packing: true, headless: bare, ..Table::default() };
    (def.tensors)(&Config::over(&config), &mut table)?;
    let tensors = line::pack(&table, checkpoint, if bare { prefix } else { "" })?;

    let mut metadata = general::keys(def.name, checkpoint, &tensors)?;
    metadata.splice(1..1, early);
    metadata.extend(hyper);
    Ok(Gguf { metadata, tensors })
}

/// Whether a family is of BERT's kind: no head, token types.
fn is_encoder(def: &GgufDef) -> bool {
    ["bert", "nomic-bert"].contains(&def.name)
}

/// `config.json` in one spelling: the text model's keys at the root, newer names, defaults filled in.
pub(super) fn normalized(def: &GgufDef, checkpoint: &Checkpoint) -> Result<Map<String, Json>> {
    let mut config = match &checkpoint.config {
        Json::Object(map) => map.clone(),
        _ => return Err(wrong("model_type", "is missing")),
    };
    if let Some(Json::Object(text)) = config.remove("text_config") {
        config.extend(text);
    }
    for (old, new) in def.aliases {
        if let Some(value) = config.remove(*old)
            && config.get(*new).is_none_or(Json::is_null)
        {
            config.insert((*new).to_owned(), value);
        }
    }
    let defaults = (def.defaults)(&config);
    let mut theta = 10_000.0;
    for (key, value) in defaults.as_object().into_iter().flatten() {
        match key.as_str() {
            "rope_theta" => theta = value.as_f64().unwrap_or(theta),
            // These are computed from others where they are null.
            "num_key_value_heads" | "head_dim" => {
                if config.get(key).is_none_or(Json::is_null) {
                    config.insert(key.clone(), value.clone());
                }
            }
            _ => {
                config.entry(key.clone()).or_insert_with(|| value.clone());
            }
        }
    }
    if defaults.get("rope_theta").is_some() {
        rope::normalize(&mut config, theta)?;
    }
    if let Some(packed) = config.get("quantization_config").filter(|v| !v.is_null()) {
        let method = packed.get("quant_method").and_then(Json::as_str).unwrap_or("unnamed");
        if (def.name, method) != ("gpt-oss", "mxfp4") {
            return Err(refused(
                "quantization_config",
                format!("has the method `{method}`: its packed weights are not read here"),
            )
            .hint("take the unquantized checkpoint and quantize it in the manifest"));
        }
    }
    Ok(config)
}

/// Every layer has a tensor: a number of layers above the number of tensors is none to make a table
/// for.
fn check_depth(config: &Map<String, Json>, tensors: usize) -> Result<()> {
    for key in ["num_hidden_layers", "n_layer", "num_layers", "n_layers", "num_decoder_layers"] {
        if let Some(layers) = config.get(key).and_then(Json::as_u64)
            && usize::try_from(layers).is_ok_and(|n| n > tensors)
        {
            return Err(Error::malformed(format!(
                "there are {layers} layers by its configuration, and {tensors} tensors in the model"
            ))
            .item(key));
        }
    }
    Ok(())
}

/// GGUF → checkpoint: a `config.json` that transformers reads, tensors under Hugging Face's names
/// and layout, tokenizer files. Quantized tensors are decoded to f32 when they are read.
///
/// # Errors
/// No known `general.architecture`, keys that are missing, that contradict each other, or that this
/// family's file does not know, and tensors that are missing, left over, or of another shape than
/// the keys imply.
pub fn unpack(gguf: &Gguf) -> Result<Checkpoint> {
    let mut checkpoint = unpack_without_tokenizer(gguf)?;
    checkpoint.assets.extend(tokenizer::unpack(gguf)?);
    Ok(checkpoint)
}

/// [`unpack`] without the tokenizer's files.
pub fn unpack_without_tokenizer(gguf: &Gguf) -> Result<Checkpoint> {
    let arch = of_gguf(gguf)?;
    let def = arch.gguf.ok_or_else(|| no_gguf(arch))?;
    if let Some(layers) = gguf.of_architecture("block_count").and_then(Meta::as_u64) {
        let mut depth = Map::new();
        depth.insert("num_hidden_layers".to_owned(), layers.into());
        check_depth(&depth, gguf.tensors.len())?;
    }
    let mut keys = Keys::unpack(def.name, gguf, known(gguf));
    (def.keys)(&mut keys)?;
    let assets = keys.take_assets();
    let (config, _, used) = keys.finish();
    check_unused(def, gguf, &used)?;
    check_depth(&config, gguf.tensors.len())?;

    let present = gguf.tensors.iter().map(|(name, t)| (name.clone(), t.byte_len())).collect();
    let packed =
        |tensor: &Tensor| matches!(tensor.dtype(), DType::Block(def) if def.name == "mxfp4");
    let blocks = gguf.tensors.iter().filter(|(_, tensor)| packed(tensor));
    let blocks = blocks.map(|(name, _)| name.clone()).collect();
    let mut table = Table { present, blocks, ..Table::default() };
    (def.tensors)(&Config::over(&config), &mut table)?;
    let mut tensors = line::unpack(&table, gguf)?;

    let mut config = config;
    if config.contains_key("rope_parameters") {
        rope::spell(&mut config);
    }
    let model_type = arch.model_types.first().copied().unwrap_or(arch.name);
    config.entry("model_type").or_insert_with(|| model_type.into());
    let class = config.entry("architectures").or_insert_with(|| vec![def.class].into());
    let class = class.get(0).and_then(Json::as_str).unwrap_or(def.class);
    if is_encoder(def) && class.ends_with("Model") {
        tensors = without_prefix(tensors, def.prefix);
    }
    config.insert("torch_dtype".to_owned(), type_name(&tensors).into());
    Ok(Checkpoint { config: Json::Object(config), tensors, assets, ..Checkpoint::default() })
}

/// The tensors under the names that a class without a head gives them.
fn without_prefix(tensors: BTreeMap<String, Tensor>, prefix: &str) -> BTreeMap<String, Tensor> {
    let local = |name: &str| name.strip_prefix(prefix).unwrap_or(name).to_owned();
    tensors.into_iter().map(|(name, tensor)| (local(&name), tensor)).collect()
}

/// What the file says of the configuration whatever its family.
fn known(gguf: &Gguf) -> Map<String, Json> {
    let mut config = Map::new();
    if let Some([rows, _]) = gguf.tensor("token_embd.weight").map(Tensor::shape) {
        config.insert("vocab_size".to_owned(), (*rows).into());
    }
    let tied = gguf.tensor("output.weight").is_none();
    config.insert("tie_word_embeddings".to_owned(), tied.into());
    for (key, to) in [("bos", "bos_token_id"), ("eos", "eos_token_id"), ("padding", "pad_token_id")]
    {
        let id = gguf.get(&format!("tokenizer.ggml.{key}_token_id")).and_then(Meta::as_u64);
        config.insert(to.to_owned(), id.into());
    }
    config
}

/// Keys of an architecture that say nothing a checkpoint needs.
const HARMLESS: &[&str] = &["vocab_size", "rope.scaling.finetuned", "tensor_data_layout"];

fn check_unused(def: &GgufDef, gguf: &Gguf, used: &BTreeSet<String>) -> Result<()> {
    let prefix = format!("{}.", def.name);
    let left = gguf.metadata.iter().map(|(key, _)| key).find(|key| {
        let rest = key.strip_prefix(&prefix);
        rest.is_some_and(|rest| !HARMLESS.contains(&rest)) && !used.contains(*key)
    });
    match left {
        Some(key) => Err(keys::foreign_key(
            key,
            format!("is not known of the family `{}`, so what it changes is not either", def.name),
        )),
        None => Ok(()),
    }
}

/// `torch_dtype` of a configuration: the type of most of the weights' bytes.
fn type_name(tensors: &BTreeMap<String, Tensor>) -> &'static str {
    let bytes = |dtype: DType| {
        let of = tensors.values().filter(|t| t.dtype() == dtype && t.shape().len() > 1);
        of.map(Tensor::byte_len).fold(0u64, u64::saturating_add)
    };
    let all = [(DType::F32, "float32"), (DType::F16, "float16"), (DType::BF16, "bfloat16")];
    all.into_iter().max_by_key(|(dtype, _)| bytes(*dtype)).map_or("float32", |(_, name)| name)
}
