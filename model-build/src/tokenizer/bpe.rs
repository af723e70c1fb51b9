//! Byte-level BPE, from `tokenizer.json` or from `vocab.json` and `merges.txt`.

use std::collections::HashMap;

use super::files::{Files, ids_by_token, lines};
use super::json::check_merge;
use super::merge::Merges;
use super::pre::{self, find};
use super::pre_table::PreDef;
use super::special::Special;
use super::vocabulary::{key, with_added};
use super::{Kind, Options, adjust, head, prefix_setting};
use crate::error::{Error, Result};
use crate::hub::{Meta, MetaArray};

/// Packs it if the checkpoint has one.
pub(super) fn pack(files: &Files<'_>, options: &Options) -> Result<Option<Vec<(String, Meta)>>> {
    let Some(found) = read(files)? else { return Ok(None) };
    let (pre, def) = choose(files, options, &found)?;
    let vocabulary = with_added(files, &found.ids, options.vocab_size)?;
    let mut special = Special::find(files, &vocabulary)?;
    adjust(files, &vocabulary, &mut special);
    if def.is_some_and(|def| def.adds_bos) && special.adds("bos").is_none() {
        special.set_add("bos", false);
    }
    let mut out: Vec<(String, Meta)> = prefix_setting(files).into_iter().collect();
    out.extend(head(Kind::Bpe, &pre));
    out.extend(vocabulary.into_metadata(false));
    if !found.merges.is_empty() {
        let merges = found.merges.into_iter().map(Into::into).collect();
        out.push(key("merges", Meta::Array(MetaArray::Text(merges))));
    }
    out.extend(special.into_metadata());
    Ok(Some(out))
}

/// A vocabulary and its merges.
struct Found {
    ids: Vec<(String, u64)>,
    merges: Vec<String>,
}

fn read(files: &Files<'_>) -> Result<Option<Found>> {
    if let Some(tokenizer) = &files.tokenizer {
        if tokenizer.kind() != "BPE" || tokenizer.byte_fallback() {
            return Ok(None);
        }
        for (name, affix) in [
            ("continuing_subword_prefix", &tokenizer.model.continuing_subword_prefix),
            ("end_of_word_suffix", &tokenizer.model.end_of_word_suffix),
        ] {
            if let Some(affix) = affix.as_ref().filter(|affix| !affix.is_empty()) {
                return Err(Error::unsupported(format!(
                    "the BPE model marks parts of words with `{affix}`, llama.cpp does not"
                ))
                .file("tokenizer.json")
                .item(format!("model.{name}")));
            }
        }
        return Ok(Some(Found { ids: tokenizer.ids()?.to_vec(), merges: tokenizer.merges()? }));
    }
    let Some(ids) = ids_by_token(files.assets, "vocab.json")? else { return Ok(None) };
    let Some(bytes) = files.assets.get("merges.txt") else { return Ok(None) };
    let merges = merges_file(bytes, &ids)?;
    Ok(Some(Found { ids, merges }))
}

/// `merges.txt`: two parts a line; a first line that starts with `#` is a header.
fn merges_file(bytes: &[u8], ids: &[(String, u64)]) -> Result<Vec<String>> {
    let known: HashMap<&str, u64> = ids.iter().map(|(text, id)| (text.as_str(), *id)).collect();
    let mut merges = Vec::new();
    for (at, line) in lines(bytes, "merges.txt")?.enumerate() {
        if (at == 0 && line.starts_with('#')) || line.trim().is_empty() {
            continue;
        }
        let place = |e: Error| e.file("merges.txt").item(format!("line {}", at.saturating_add(1)));
        let parts: Vec<&str> = line.split_ascii_whitespace().collect();
        let [left, right] = parts.as_slice() else {
            return Err(place(Error::malformed("a merge is two parts with a space between")));
        };
        merges.push(check_merge(&known, left, right).map_err(place)?);
    }
    Ok(merges)
}

/// The pre-tokenizer's id, and its entry where the table has one.
fn choose(
    files: &Files<'_>,
    options: &Options,
    found: &Found,
) -> Result<(String, Option<&'static PreDef>)> {
    if let Some(id) = &options.pre {
        return Ok((id.clone(), pre::entry(id)));
    }
    let Some(tokenizer) = &files.tokenizer else {
        // The form without tokenizer.json is GPT-2's; RoBERTa's tokenizer class has it too.
        let id = if files.model_type() == "roberta" { "roberta-bpe" } else { "gpt-2" };
        return Ok((id.to_owned(), pre::entry(id)));
    };
    let def = find(files, tokenizer)?;
    if def.ignore_merges != (tokenizer.model.ignore_merges == Some(true)) {
        check_reachable(files, found, def)?;
    }
    Ok((def.id.to_owned(), Some(def)))
}

/// Looking up whole words before merging, or not, is the same where merging reaches every token.
fn check_reachable(files: &Files<'_>, found: &Found, def: &PreDef) -> Result<()> {
    let by_text: HashMap<&str, u64> =
        found.ids.iter().map(|(text, id)| (text.as_str(), *id)).collect();
    let added = files.added(&by_text)?;
    let merges = Merges::new(found.merges.iter().map(String::as_str));
    let lost = found
        .ids
        .iter()
        .filter(|(_, id)| !added.contains_key(id))
        .find(|(text, _)| merges.apply(text).len() != 1);
    let Some((token, _)) = lost else { return Ok(()) };
    Err(pre::unknown(&format!(
        "tokenizer.json has ignore_merges = {}, llama.cpp's `{}` the opposite, and the merges do not make the token `{token}`",
        !def.ignore_merges, def.id
    )))
}
