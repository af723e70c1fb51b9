//! The keys `general.*`: what the file is, how large, and how its model is sampled.

use serde_json::{Map, Value as Json};

use super::keys::narrow;
use crate::error::Result;
use crate::hub::{Checkpoint, Meta, Tensor};

/// Keys of `generation_config.json` and where they stand; whether the value is a whole number.
const SAMPLING: &[(&str, &[&str], bool)] = &[
    ("top_k", &["top_k"], true),
    ("top_p", &["top_p"], false),
    ("min_p", &["min_p"], false),
    ("xtc_probability", &["xtc_probability"], false),
    ("xtc_threshold", &["xtc_threshold"], false),
    ("temp", &["temperature"], false),
    ("penalty_last_n", &["penalty_last_n"], true),
    ("penalty_repeat", &["penalty_repeat", "repetition_penalty"], false),
    ("mirostat", &["mirostat"], true),
    ("mirostat_tau", &["mirostat_tau"], false),
    ("mirostat_eta", &["mirostat_eta"], false),
];

/// The keys of a model, in the order of llama.cpp's converter. `tensors` are the file's.
pub(super) fn keys(
    name: &str,
    checkpoint: &Checkpoint,
    tensors: &[(String, Tensor)],
) -> Result<Vec<(String, Meta)>> {
    let mut out = vec![
        ("general.architecture".to_owned(), Meta::text(name)),
        ("general.type".to_owned(), Meta::text("model")),
    ];
    if let Some(Json::Object(generation)) = checkpoint.json_asset("generation_config.json")? {
        sampling(&generation, &mut out);
    }
    out.push(("general.name".to_owned(), Meta::text(title(checkpoint))));
    if let Some(label) = size_label(tensors) {
        out.push(("general.size_label".to_owned(), Meta::text(label)));
    }
    Ok(out)
}

fn sampling(generation: &Map<String, Json>, out: &mut Vec<(String, Meta)>) {
    if let Some(Json::String(sequence)) = generation.get("sequence") {
        out.push(("general.sampling.sequence".to_owned(), Meta::text(sequence.clone())));
    }
    for (key, from, whole) in SAMPLING {
        let value = from.iter().find_map(|k| generation.get(*k));
        let meta = value.and_then(|value| match whole {
            true => value.as_i64().and_then(|v| i32::try_from(v).ok()).map(Meta::I32),
            false => value.as_f64().map(|v| Meta::F32(narrow(v))),
        });
        if let Some(meta) = meta {
            out.push((format!("general.sampling.{key}"), meta));
        }
    }
}

/// A name for people: of the model's id in `config.json` if that is one, else of its type.
fn title(checkpoint: &Checkpoint) -> String {
    let text = |key: &str| checkpoint.config.get(key).and_then(Json::as_str).unwrap_or("");
    let id = text("_name_or_path");
    let id = match id.matches('/').count() {
        0 | 1 if !id.is_empty() && !id.starts_with('.') => id,
        _ => text("model_type"),
    };
    let id = id.rsplit('/').next().unwrap_or(id);
    if id.contains(' ') { id.to_owned() } else { title_of(id) }
}

fn title_of(id: &str) -> String {
    let words = id.split('-').filter(|word| !word.is_empty()).map(|word| {
        let version = word.strip_prefix('v').is_some_and(|rest| {
            !rest.is_empty() && rest.split('.').all(|n| n.parse::<u64>().is_ok())
        });
        let number = word.starts_with(|c: char| c.is_ascii_digit());
        let lower = word == word.to_lowercase();
        if version || number || !lower { word.to_owned() } else { capitalized(word) }
    });
    words.collect::<Vec<_>>().join(" ")
}

/// Every letter that follows no letter in upper case.
fn capitalized(word: &str) -> String {
    let mut inside = false;
    let mut out = String::new();
    for c in word.chars() {
        if c.is_alphabetic() && !inside {
            out.extend(c.to_uppercase());
        } else {
            out.push(c);
        }
        inside = c.is_alphabetic();
    }
    out
}

/// How large the model is: the number of its parameters, or for a mixture of experts the number of
/// experts and of one expert's parameters with all that the experts share.
fn size_label(tensors: &[(String, Tensor)]) -> Option<String> {
    let (mut total, mut shared, mut expert) = (0u64, 0u64, 0u64);
    let (mut counts, mut stacks) = (0u64, 0u64);
    for (name, tensor) in tensors {
        let size = tensor.len();
        total = total.saturating_add(size);
        let experts = match tensor.shape() {
            [.., n, _] if name.contains("_exps.") && name.contains(".bias") => Some(*n),
            [.., n, _, _] if name.contains("_exps.") => Some(*n),
            _ => None,
        };
        match experts.filter(|_| tensor.shape().len() >= 3) {
            Some(n) if n > 0 => {
                expert = expert.saturating_add(size / n);
                counts = counts.saturating_add(n);
                stacks += 1;
            }
            _ => shared = shared.saturating_add(size),
        }
    }
    if total == 0 {
        return None;
    }
    match counts.checked_div(stacks) {
        Some(n) if n > 0 => Some(format!("{n}x{}", rounded(shared.saturating_add(expert)))),
        _ => Some(rounded(total)),
    }
}

/// A number of parameters with two digits and a suffix.
fn rounded(count: u64) -> String {
    #[allow(clippy::cast_precision_loss)] // a rounded number for people
    let count = count as f64;
    let (scaled, suffix) = match count {
        n if n > 1e12 => (n * 1e-12, "T"),
        n if n > 1e9 => (n * 1e-9, "B"),
        n if n > 1e6 => (n * 1e-6, "M"),
        n => (n * 1e-3, "K"),
    };
    let whole = scaled.round_ties_even().to_string();
    let digits = whole.trim_start_matches('0').len();
    format!("{scaled:.*}{suffix}", 2usize.saturating_sub(digits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_rounded_to_two_digits() {
        let want = [
            (139_840, "140K"),
            (1_235_814_400, "1.2B"),
            (8_030_261_248, "8.0B"),
            (70_553_706_496, "71B"),
            (960, "1.0K"),
            (512, "0.5K"),
            (410, "0.41K"),
            (10_500_000, "10M"),
        ];
        for (count, text) in want {
            assert_eq!(rounded(count), text);
        }
    }

    #[test]
    fn names_are_titles_of_ids() {
        assert_eq!(title_of("qwen3_moe"), "Qwen3_Moe");
        assert_eq!(title_of("Llama-2-7b-chat-hf"), "Llama 2 7b Chat Hf");
        assert_eq!(title_of("mistral-v0.3-HF"), "Mistral v0.3 HF");
    }
}
