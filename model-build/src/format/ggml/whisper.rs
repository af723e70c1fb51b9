//! whisper.cpp's models, and the silero model that it finds speech with.
//!
//! Both are `ggml` files: whisper's has eleven numbers, a mel filter bank, the vocabulary and
//! tensors; silero's a model's name, its version, layer sizes and tensors. Tensors keep their names;
//! nothing is aligned.

use super::blocks::Era;
use super::source::{Source, TRUNCATED};
use crate::error::{Error, Result};
use crate::hub::{Gguf, Meta, MetaArray};

/// The numbers after the magic of a whisper file.
const SIZES: [&str; 11] = [
    "n_vocab",
    "n_audio_ctx",
    "n_audio_state",
    "n_audio_head",
    "n_audio_layer",
    "n_text_ctx",
    "n_text_state",
    "n_text_head",
    "n_text_layer",
    "n_mels",
    "ftype",
];

/// `ftype` has the version of the quantized blocks in its thousands.
const VERSIONS: u32 = 1000;

/// The name that silero files start with, after its length.
const SILERO: &[u8] = b"silero-";

fn sizes(source: &mut Source<'_>) -> Result<[u32; 11]> {
    let mut out = [0; 11];
    for size in &mut out {
        *size = source.u32()?;
    }
    Ok(out)
}

/// Whether the numbers after the magic are those of a whisper model.
pub(super) fn is_one(source: &Source<'_>) -> bool {
    let mut source = Source { bytes: source.bytes, cursor: source.cursor.clone() };
    let Ok(all @ [vocab, .., ftype]) = sizes(&mut source) else { return false };
    let [_, _, state, heads, _, _, text_state, text_heads, _, mels, _] = all;
    let of_heads = |state: u32, heads: u32| heads > 0 && state > 0 && state.is_multiple_of(heads);
    // A LLaMA file has its file type where whisper has the width of its text decoder.
    vocab > 0
        && state == text_state
        && of_heads(state, heads)
        && of_heads(text_state, text_heads)
        && (1..=1024).contains(&mels)
        && ftype / VERSIONS < 10
}

/// Reads what follows the magic. `name` becomes `general.name`.
pub(super) fn read(source: &mut Source<'_>, name: &str) -> Result<Gguf> {
    let all = sizes(source).map_err(|e| e.item("the header"))?;
    let [.., mels, ftype] = all;
    let era = match ftype / VERSIONS {
        0 => Era::First,
        1 => Era::Second,
        2 => Era::Third,
        other => {
            return Err(Error::unsupported(format!("blocks of version {other}; 0 to 2 are read"))
                .item("key `ftype` of the header"));
        }
    };
    let mut metadata = vec![
        ("general.architecture".to_owned(), Meta::text("whisper")),
        ("general.name".to_owned(), Meta::text(name)),
    ];
    for (key, value) in SIZES.iter().zip(all) {
        metadata.push((format!("whisper.{key}"), Meta::U32(value)));
    }
    filters(source, mels, &mut metadata).map_err(|e| e.item("the mel filters").hint(TRUNCATED))?;
    let count = source.u32().map_err(|e| e.item("the vocabulary").hint(TRUNCATED))?;
    let tokens = source.tokens(count, |_| Ok(()))?;
    let tokens = tokens.into_iter().map(|(text, ())| text).collect();
    metadata.push(("whisper.tokens".to_owned(), Meta::Array(MetaArray::Text(tokens))));
    Ok(Gguf { metadata, tensors: source.tensors(false, era)? })
}

/// Reads the filter bank: `n_mel` rows of `n_fft` numbers.
fn filters(source: &mut Source<'_>, mels: u32, out: &mut Vec<(String, Meta)>) -> Result<()> {
    let (rows, columns) = (source.u32()?, source.u32()?);
    if rows != mels {
        return Err(Error::malformed(format!("{rows} filters, and the header says {mels}")));
    }
    let len = u64::from(rows) * u64::from(columns);
    let bytes = source.cursor.take(len.saturating_mul(4))?;
    let data = bytes.as_chunks().0.iter().map(|c| f32::from_le_bytes(*c)).collect();
    out.push(("whisper.mel_filters.n_mel".to_owned(), Meta::U32(rows)));
    out.push(("whisper.mel_filters.n_fft".to_owned(), Meta::U32(columns)));
    out.push(("whisper.mel_filters.data".to_owned(), Meta::Array(MetaArray::F32(data))));
    Ok(())
}

/// Whether a silero model's name follows.
pub(super) fn is_silero(source: &Source<'_>) -> bool {
    source.cursor.rest().get(4..).is_some_and(|rest| rest.starts_with(SILERO))
}

/// Reads a silero file from behind the magic. `name` becomes `general.name`.
pub(super) fn read_silero(source: &mut Source<'_>, name: &str) -> Result<Gguf> {
    let metadata =
        silero_metadata(source, name).map_err(|e| e.item("the header").hint(TRUNCATED))?;
    // All of its tensors are f32 or f16, which every era has.
    Ok(Gguf { metadata, tensors: source.tensors(false, Era::Unknown)? })
}

fn silero_metadata(source: &mut Source<'_>, name: &str) -> Result<Vec<(String, Meta)>> {
    let mut out = vec![
        ("general.architecture".to_owned(), Meta::text("silero")),
        ("general.name".to_owned(), Meta::text(name)),
    ];
    let mut put = |key: &str, value: Meta| out.push((format!("silero.{key}"), value));
    put("model_type", Meta::Text(source.string()?));
    let version = [source.u32()?, source.u32()?, source.u32()?];
    put("version", Meta::Array(MetaArray::U32(version.to_vec())));
    put("n_window", Meta::U32(source.u32()?));
    put("n_context", Meta::U32(source.u32()?));
    let layers = source.u32()?;
    let numbers = source.cursor.take(u64::from(layers) * 12)?;
    let column = |at: usize| {
        let of = |row: &[u8; 12]| {
            row.as_chunks().0.get(at).map_or(0, |bytes| u32::from_le_bytes(*bytes))
        };
        Meta::Array(MetaArray::U32(numbers.as_chunks().0.iter().map(of).collect()))
    };
    put("n_encoder_layers", Meta::U32(layers));
    put("encoder_in_channels", column(0));
    put("encoder_out_channels", column(1));
    put("kernel_sizes", column(2));
    for key in ["lstm_input_size", "lstm_hidden_size", "final_conv_in", "final_conv_out"] {
        put(key, Meta::U32(source.u32()?));
    }
    Ok(out)
}
