//! The pre-tokenizer's id, found from the structure of `tokenizer.json`.

use serde_json::Value as Json;

use super::files::Files;
use super::json::{TokenizerJson, flatten, type_of};
use super::pre_table::{
    ALIASES, DIGIT, DIGITS, GPT2, NAMED_ONLY, PUNCTUATION, PUNCTUATION_ISOLATED, PreDef, TABLE,
    WORD_PIECE,
};
use crate::error::{Error, Result, nearest};

/// The manifest's key for the id.
const MANIFEST_KEY: &str = "pre-tokenizer";

/// The entry of an id or of an alias of it.
pub(super) fn entry(id: &str) -> Option<&'static PreDef> {
    let id = ALIASES.iter().find(|(alias, _)| *alias == id).map_or(id, |(_, target)| target);
    TABLE.iter().find(|def| def.id == id)
}

/// Every id that a manifest may name, sorted.
pub(super) fn known() -> Vec<&'static str> {
    let mut ids: Vec<&str> = TABLE.iter().map(|def| def.id).collect();
    ids.extend(ALIASES.iter().map(|(alias, _)| *alias));
    ids.extend(NAMED_ONLY);
    ids.extend(WORD_PIECE);
    ids.sort_unstable();
    ids.dedup();
    ids
}

/// The id that the manifest names, if it is one.
///
/// # Errors
/// llama.cpp knows no such id; names the nearest one.
pub(super) fn named(id: &str) -> Result<&str> {
    let known = known();
    if known.contains(&id) {
        return Ok(id);
    }
    let error = Error::manifest(format!("`{id}` is no pre-tokenizer that llama.cpp knows"))
        .item(MANIFEST_KEY);
    Err(match nearest(id, known.iter().copied()) {
        Some(near) => error.hint(format!("did you mean `{near}`?")),
        None => error.hint(format!("one of: {}", known.join(", "))),
    })
}

/// The id of a byte-level BPE tokenizer.
///
/// # Errors
/// No id has this structure; quotes what does not fit and names the manifest's key.
pub(super) fn find(files: &Files<'_>, tokenizer: &TokenizerJson) -> Result<&'static PreDef> {
    let nfc = normalizer_is_nfc(&tokenizer.normalizer)?;
    let steps = steps(&tokenizer.pre_tokenizer)?;
    if steps.is_empty() {
        return Err(unknown(
            "tokenizer.json does not split the text before it merges, llama.cpp does",
        ));
    }
    let fitting: Vec<&PreDef> = TABLE.iter().filter(|def| def.steps == steps.as_slice()).collect();
    if fitting.is_empty() {
        return Err(unknown(&format!(
            "no pre-tokenizer of llama.cpp splits by: {}",
            steps.iter().map(|s| format!("`{s}`")).collect::<Vec<_>>().join(", then ")
        )));
    }
    let roberta = flatten(&tokenizer.post_processor, "processors")
        .iter()
        .any(|step| type_of(step) == "RobertaProcessing");
    let ignore_merges = tokenizer.model.ignore_merges == Some(true);
    let score = |def: &PreDef| {
        let named = def.model_types.contains(&files.model_type());
        if !def.model_types.is_empty() && !named {
            return None;
        }
        let same = |a: bool, b: bool| u32::from(a == b);
        Some((
            same(def.ignore_merges, ignore_merges),
            u32::from(named),
            same(def.roberta, roberta),
            same(def.nfc, nfc),
        ))
    };
    // Of equal ones the first of the table.
    let mut best: Option<(_, &'static PreDef)> = None;
    for def in fitting {
        let Some(found) = score(def) else { continue };
        if best.as_ref().is_none_or(|(most, _)| found > *most) {
            best = Some((found, def));
        }
    }
    best.map(|(_, def)| def)
        .ok_or_else(|| unknown("the pre-tokenizer is known for other architectures only"))
}

/// An error that names the way out.
pub(super) fn unknown(what: &str) -> Error {
    Error::unsupported(what).file("tokenizer.json").item("pre_tokenizer").hint(format!(
        "if llama.cpp knows the model, name its pre-tokenizer in the manifest: `{MANIFEST_KEY} = \"…\"`, one of: {}",
        known().join(", ")
    ))
}

/// Whether the normalizer is NFC.
///
/// # Errors
/// It is something that changes the text otherwise, which llama.cpp does not do.
fn normalizer_is_nfc(normalizer: &Json) -> Result<bool> {
    let mut nfc = false;
    for step in flatten(normalizer, "normalizers") {
        match type_of(step) {
            "NFC" => nfc = true,
            _ => {
                return Err(unknown(&format!(
                    "llama.cpp does not normalize the text of byte-level BPE, tokenizer.json does: {step}"
                ))
                .item("normalizer"));
            }
        }
    }
    Ok(nfc)
}

/// The steps in one spelling: each a regular expression whose matches, and what lies between them,
/// are words.
///
/// # Errors
/// A step is none that can be written so.
pub(super) fn steps(pre_tokenizer: &Json) -> Result<Vec<String>> {
    let mut out = Vec::new();
    let mut byte_level = false;
    for step in flatten(pre_tokenizer, "pretokenizers") {
        let flag = |name: &str, default| step.get(name).and_then(Json::as_bool).unwrap_or(default);
        match type_of(step) {
            "ByteLevel" => {
                byte_level = true;
                if flag("add_prefix_space", true) {
                    return Err(unknown(&format!(
                        "tokenizer.json puts a space in front of the text (add_prefix_space), llama.cpp does not: {step}"
                    )));
                }
                if flag("use_regex", true) {
                    out.push(GPT2.to_owned());
                }
            }
            "Digits" if flag("individual_digits", false) => out.push(DIGIT.to_owned()),
            "Digits" => out.push(DIGITS.to_owned()),
            "Punctuation" => match step.get("behavior").and_then(Json::as_str) {
                Some("Contiguous") => out.push(PUNCTUATION.to_owned()),
                None | Some("Isolated") => out.push(PUNCTUATION_ISOLATED.to_owned()),
                _ => return Err(unknown(&format!("no id splits like this step: {step}"))),
            },
            "Split" => out.push(split(step)?),
            _ => return Err(unknown(&format!("no id splits like this step: {step}"))),
        }
    }
    if !byte_level {
        return Err(unknown(&format!(
            "the pre-tokenizer has no ByteLevel step, a byte-level vocabulary needs it: {pre_tokenizer}"
        )));
    }
    Ok(out)
}

fn split(step: &Json) -> Result<String> {
    let refused = || unknown(&format!("no id splits like this step: {step}"));
    let regex = match step.pointer("/pattern/Regex").and_then(Json::as_str) {
        Some(regex) => canonical(regex),
        None => return Err(refused()),
    };
    let invert = step.get("invert").and_then(Json::as_bool).unwrap_or(false);
    match step.get("behavior").and_then(Json::as_str) {
        Some("Isolated") => Ok(regex),
        // What lies between matches is dropped, and nothing does: the expression matches any text.
        Some("Removed") if invert && regex.ends_with(r"|\s+(?!\S)|\s+") => Ok(regex),
        _ => Err(refused()),
    }
}

/// A regular expression in the table's spelling. Each replacement matches the same texts, but for
/// the contractions, whose explicit letters lack the `ſ` that ignoring case adds to `s`.
pub(super) fn canonical(regex: &str) -> String {
    const SAME: [(&str, &str); 9] = [
        ("\r", r"\r"),
        ("\n", r"\n"),
        ("\t", r"\t"),
        (
            "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])",
            "(?i:'s|'t|'re|'ve|'m|'ll|'d)",
        ),
        (r"\p{N}{1}|", r"\p{N}|"),
        (r"[\p{L}]+", r"\p{L}+"),
        (r"[\p{N}]+", r"\p{N}+"),
        (r"[\p{N}]|", r"\p{N}|"),
        (r"\'", "'"),
    ];
    SAME.iter().fold(regex.to_owned(), |regex, (from, to)| regex.replace(from, to))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_alias_leads_to_an_entry() {
        for (alias, target) in ALIASES {
            assert!(TABLE.iter().any(|def| def.id == *target), "{alias} -> {target}");
            assert!(!TABLE.iter().any(|def| def.id == *alias), "{alias}");
        }
    }

    #[test]
    fn the_table_is_in_canonical_spelling() {
        for def in TABLE {
            for step in def.steps {
                assert_eq!(canonical(step), *step, "{}", def.id);
            }
        }
    }
}
