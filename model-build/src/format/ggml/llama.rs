//! LLaMA models of `ggml`, `ggmf` and `ggjt` files.
//!
//! Names, key/values and special tokens are those of llama.cpp's `convert_llama_ggml_to_gguf.py`
//! without options. The files lack the context length and the epsilon of the norms; they are set to
//! that script's defaults, 2048 and 5e-6 (LLaMA 2 has 4096 and 1e-5). The number of key/value heads
//! is taken from the shape of `attention.wk`.

use bytes::Bytes;

use super::blocks::Era;
use super::source::Source;
use crate::error::{Error, Result};
use crate::hub::{DType, Gguf, Meta, MetaArray, Tensor};

const CONTEXT_LENGTH: u32 = 2048;
const EPSILON: f32 = 5e-6;

/// Numbers of `general.file_type` that files may have, and their names.
const FILE_TYPES: &[(u32, &str)] = &[
    (0, "ALL_F32"),
    (1, "MOSTLY_F16"),
    (2, "MOSTLY_Q4_0"),
    (3, "MOSTLY_Q4_1"),
    (4, "MOSTLY_Q4_1_SOME_F16"),
    (5, "MOSTLY_Q4_2"),
    (6, "MOSTLY_Q4_3"),
    (7, "MOSTLY_Q8_0"),
    (8, "MOSTLY_Q5_0"),
    (9, "MOSTLY_Q5_1"),
    (10, "MOSTLY_Q2_K"),
    (11, "MOSTLY_Q3_K_S"),
    (12, "MOSTLY_Q3_K_M"),
    (13, "MOSTLY_Q3_K_L"),
    (14, "MOSTLY_Q4_K_S"),
    (15, "MOSTLY_Q4_K_M"),
    (16, "MOSTLY_Q5_K_S"),
    (17, "MOSTLY_Q5_K_M"),
    (18, "MOSTLY_Q6_K"),
];

/// Tensor names without their endings, in files and in GGUF; outside of layers, then inside.
const NAMES: &[(&str, &str)] = &[
    ("tok_embeddings", "token_embd"),
    ("norm", "output_norm"),
    ("output", "output"),
    ("rope.freqs", "rope_freqs"),
];
const LAYER_NAMES: &[(&str, &str)] = &[
    ("attention.wq", "attn_q"),
    ("attention.wk", "attn_k"),
    ("attention.wv", "attn_v"),
    ("attention.wo", "attn_output"),
    ("attention.inner_attention.rope.freqs", "attn_rot_embd"),
    ("attention_norm", "attn_norm"),
    ("ffn_norm", "ffn_norm"),
    ("feed_forward.w1", "ffn_gate"),
    ("feed_forward.w2", "ffn_down"),
    ("feed_forward.w3", "ffn_up"),
];

/// Which of the three kinds of file it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Container {
    /// No version, no scores.
    Ggml,
    /// Version 1, scores.
    Ggmf,
    /// Scores and aligned tensors.
    Ggjt(u32),
}

impl Container {
    fn name(self) -> String {
        match self {
            Self::Ggml => "GGMLv1".to_owned(),
            Self::Ggmf => "GGMFv1".to_owned(),
            Self::Ggjt(version) => format!("GGJTv{version}"),
        }
    }
    fn era(self) -> Era {
        match self {
            Self::Ggml => Era::Unknown,
            Self::Ggmf | Self::Ggjt(1) => Era::First,
            Self::Ggjt(2) => Era::Second,
            Self::Ggjt(_) => Era::Third,
        }
    }
}

/// The seven numbers after the version.
struct Sizes {
    vocabulary: u32,
    embedding: u32,
    heads: u32,
    layers: u32,
    rotary: u32,
    file_type: u32,
}

impl Sizes {
    fn read(source: &mut Source<'_>) -> Result<Self> {
        let mut next = || source.u32();
        let (vocabulary, embedding, _multiple) = (next()?, next()?, next()?);
        let (heads, layers, rotary, file_type) = (next()?, next()?, next()?, next()?);
        Ok(Self { vocabulary, embedding, heads, layers, rotary, file_type })
    }
    /// Whether this can be a LLaMA model at all.
    fn plausible(&self) -> bool {
        self.heads > 0
            && self.embedding > 0
            && self.embedding.is_multiple_of(self.heads)
            && self.rotary == self.embedding / self.heads
            && self.vocabulary >= 3
            && FILE_TYPES.iter().any(|(n, _)| *n == self.file_type)
    }
}

/// Whether the numbers after the magic are those of a LLaMA model.
pub(super) fn is_one(source: &Source<'_>) -> bool {
    let mut source = Source { bytes: source.bytes, cursor: source.cursor.clone() };
    Sizes::read(&mut source).is_ok_and(|sizes| sizes.plausible())
}

/// Reads what follows magic and version. `name` becomes `general.name`.
pub(super) fn read(source: &mut Source<'_>, container: Container, name: &str) -> Result<Gguf> {
    let sizes = Sizes::read(source).map_err(|e| e.item("the header"))?;
    if !sizes.plausible() {
        return Err(Error::unsupported("the file's numbers are not those of a LLaMA model")
            .item("the header")
            .hint(
                "of models other than LLaMA's, only whisper's and silero's legacy files are read",
            ));
    }
    let scored = container != Container::Ggml;
    let vocabulary = source.tokens(sizes.vocabulary, |s| if scored { s.f32() } else { Ok(0.0) })?;
    let aligned = matches!(container, Container::Ggjt(_));
    let tensors = source.tensors(aligned, container.era())?;
    let metadata = metadata(&sizes, container, name, vocabulary, &tensors)?;
    let mut renamed = Vec::new();
    for (name, tensor) in tensors {
        let new = gguf_name(&name, sizes.layers).ok_or_else(|| {
            Error::unsupported("no LLaMA model has a tensor of that name")
                .item(format!("tensor `{name}`"))
        })?;
        renamed.push((new, tensor));
    }
    Ok(Gguf { metadata, tensors: renamed })
}

/// The name in GGUF of a tensor; `None` when LLaMA has none of that name.
fn gguf_name(name: &str, layers: u32) -> Option<String> {
    let (stem, ending) = ["weight", "bias"]
        .into_iter()
        .find_map(|ending| Some((name.strip_suffix(ending)?.strip_suffix('.')?, ending)))
        .map_or((name, None), |(stem, ending)| (stem, Some(ending)));
    let of = |names: &[(&str, &'static str)], stem: &str| {
        names.iter().find(|(old, _)| *old == stem).map(|(_, new)| *new)
    };
    let with = |new: String| ending.map_or(new.clone(), |ending| format!("{new}.{ending}"));
    if let Some(new) = of(NAMES, stem) {
        return Some(with(new.to_owned()));
    }
    let (layer, stem) = stem.strip_prefix("layers.")?.split_once('.')?;
    let layer = layer.parse::<u32>().ok().filter(|n| *n < layers && n.to_string() == layer)?;
    Some(with(format!("blk.{layer}.{}", of(LAYER_NAMES, stem)?)))
}

/// The rows of a matrix whose columns are the embedding.
fn rows(tensors: &[(String, Tensor)], name: &str, columns: u32) -> Result<u32> {
    let item = || format!("tensor `{name}`");
    let (_, tensor) = tensors.iter().find(|(n, _)| n == name).ok_or_else(|| {
        Error::malformed("the file lacks a tensor that every LLaMA model has").item(item())
    })?;
    match tensor.shape() {
        [rows, found] if *found == u64::from(columns) => u32::try_from(*rows).ok(),
        _ => None,
    }
    .ok_or_else(|| {
        Error::malformed(format!(
            "its shape is {:?}, and the header implies {columns} columns",
            tensor.shape()
        ))
        .item(item())
        .hint("large models of early 2023 are in several files that hold a part of each tensor; those are not read: convert from the original weights")
    })
}

fn metadata(
    sizes: &Sizes,
    container: Container,
    name: &str,
    vocabulary: Vec<(Bytes, f32)>,
    tensors: &[(String, Tensor)],
) -> Result<Vec<(String, Meta)>> {
    let embedded = rows(tensors, "tok_embeddings.weight", sizes.embedding)?;
    if embedded != sizes.vocabulary {
        return Err(Error::malformed(format!(
            "{embedded} rows, and {} tokens in the vocabulary",
            sizes.vocabulary
        ))
        .item("tensor `tok_embeddings.weight`"));
    }
    let feed_forward = rows(tensors, "layers.0.feed_forward.w1.weight", sizes.embedding)?;
    let keys = rows(tensors, "layers.0.attention.wk.weight", sizes.embedding)?;
    let head = sizes.embedding / sizes.heads;
    if keys == 0 || !keys.is_multiple_of(head) {
        return Err(Error::malformed(format!("{keys} rows are no whole heads of {head}"))
            .item("tensor `layers.0.attention.wk.weight`"));
    }
    let named = FILE_TYPES.iter().find(|(n, _)| *n == sizes.file_type).map_or("", |(_, n)| n);
    // Blocks of old layouts have become f32.
    let decoded = sizes.file_type > 1
        && matches!(container.era(), Era::First | Era::Second)
        && tensors.iter().all(|(_, t)| !matches!(t.dtype(), DType::Block(_)));
    let file_type = if decoded { 0 } else { sizes.file_type };
    let text = |key: &str, value: &str| (key.to_owned(), Meta::text(value));
    let number = |key: &str, value: u32| (key.to_owned(), Meta::U32(value));
    let mut out = vec![
        text("general.architecture", "llama"),
        text("general.name", name),
        text(
            "general.description",
            &format!("converted from legacy {} {named} format", container.name()),
        ),
        number("general.file_type", file_type),
        number("llama.context_length", CONTEXT_LENGTH),
        number("llama.embedding_length", sizes.embedding),
        number("llama.block_count", sizes.layers),
        number("llama.feed_forward_length", feed_forward),
        number("llama.rope.dimension_count", head),
        number("llama.attention.head_count", sizes.heads),
        number("llama.attention.head_count_kv", keys / head),
        ("llama.attention.layer_norm_rms_epsilon".to_owned(), Meta::F32(EPSILON)),
        text("tokenizer.ggml.model", "llama"),
        text("tokenizer.ggml.pre", "default"),
    ];
    out.extend(tokens(vocabulary));
    out.push(number("tokenizer.ggml.unknown_token_id", 0));
    out.push(number("tokenizer.ggml.bos_token_id", 1));
    out.push(number("tokenizer.ggml.eos_token_id", 2));
    Ok(out)
}

/// Tokens as SentencePiece writes them, scores and types.
fn tokens(vocabulary: Vec<(Bytes, f32)>) -> Vec<(String, Meta)> {
    const NORMAL: i32 = 1;
    const UNKNOWN: i32 = 2;
    const CONTROL: i32 = 3;
    const BYTE: i32 = 6;
    let (mut texts, mut scores, mut types) = (Vec::new(), Vec::new(), Vec::new());
    for (id, (text, score)) in vocabulary.into_iter().enumerate() {
        let (text, kind) = match (id, text.as_ref()) {
            (0, _) => (Bytes::from_static(b"<unk>"), UNKNOWN),
            (1, _) => (Bytes::from_static(b"<s>"), CONTROL),
            (2, _) => (Bytes::from_static(b"</s>"), CONTROL),
            (_, []) => (text, CONTROL),
            (3..=258, [byte]) => (Bytes::from(format!("<0x{byte:02X}>")), BYTE),
            (_, bytes) if bytes.contains(&b' ') => (marked(bytes), NORMAL),
            _ => (text, NORMAL),
        };
        texts.push(text);
        scores.push(score);
        types.push(kind);
    }
    vec![
        ("tokenizer.ggml.tokens".to_owned(), Meta::Array(MetaArray::Text(texts))),
        ("tokenizer.ggml.scores".to_owned(), Meta::Array(MetaArray::F32(scores))),
        ("tokenizer.ggml.token_type".to_owned(), Meta::Array(MetaArray::I32(types))),
    ]
}

/// Spaces replaced by SentencePiece's mark, U+2581.
fn marked(text: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(text.len() + 2);
    for byte in text {
        match byte {
            b' ' => out.extend_from_slice("\u{2581}".as_bytes()),
            other => out.push(*other),
        }
    }
    out.into()
}
