//! A target from command-line flags: `--precision fp16` is `precision = "fp16"` of a manifest.

use std::collections::BTreeSet;
use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::decode;
use super::reader::Value;
use super::schema::{Field, Kind};
use super::text::{Text, printable, quoted, suggest};
use super::types::Target;
use crate::error::{Error, Result};

/// The target that flags describe: pairs of a target's key, without dashes, and what was given.
///
/// Values are the manifest's, without the quotes around a string. A table is written as in TOML,
/// `{ cosine = 0.99 }`, or as `cosine=0.99,max-abs=0.01`, an array as `['a', 'b']` or as `a,b`; one of its keys can be given alone, as
/// `verify.cosine`. A word that is short for a table may stand beside other keys of that table:
/// `quantization` and `quantization.pure`. Paths are relative to the current folder. [`Target::KEYS`]
/// lists the keys.
///
/// # Errors
/// As for a manifest; the excerpt shows the flag as the line of a manifest that it stands for.
pub fn target_from_flags(name: &str, flags: &[(&str, &str)]) -> Result<Target> {
    let mut lines = String::new();
    let mut seen = BTreeSet::new();
    for (flag, value) in flags {
        let (key, inner) = match flag.split_once('.') {
            Some((key, inner)) => (key, Some(inner)),
            None => (*flag, None),
        };
        let field = known(Target::KEYS, key, "")?;
        let twice = inner.is_some() && seen.contains(key) && !is_short(field.kind, flags, key);
        if !seen.insert(*flag) || twice {
            return Err(Error::manifest(format!("the flag `--{flag}` is given twice"))
                .hint("give each flag once"));
        }
        let kind = match (inner, field.kind) {
            (None, kind) => kind,
            (
                Some(inner),
                Kind::Table(fields) | Kind::TextOrTable(fields) | Kind::BooleanOrTable(fields),
            ) => known(fields, inner, &format!("{key}."))?.kind,
            (Some(_), Kind::Map) => Kind::Free,
            (Some(_), _) => {
                return Err(Error::manifest(format!("there is no flag {}", shown(flag)))
                    .hint(format!("`{key}` takes one value: `--{key} VALUE`")));
            }
        };
        let text = toml_value(kind, value);
        // One value and nothing after it: it cannot bring other keys with it.
        if let Err(e) = DeValue::parse(&text) {
            let error = match kind {
                Kind::Integer | Kind::Number | Kind::Boolean | Kind::BooleanOrTable(_) => {
                    Error::manifest(format!(
                        "the flag `--{flag}` takes {}, not {}",
                        kind.name(),
                        quoted(value)
                    ))
                }
                _ => Error::manifest(format!(
                    "the flag `--{flag}` has no valid value: {}",
                    e.message()
                )),
            };
            return Err(error.item(printable(value)));
        }
        let key = match inner {
            Some(inner) => format!("{key}.{}", quoted_string(inner)),
            None if is_short(field.kind, flags, key) && has_inner(flags, key) => {
                format!("{key}.{SHORT_FOR}")
            }
            None => key.to_owned(),
        };
        lines.push_str(&format!("{key} = {text}\n"));
    }
    let path = Path::new("<command line>");
    let text = Text { text: &lines, path, prefix: "", color: false };
    let table = DeTable::parse(&lines).map_err(|e| {
        Error::manifest(format!("flags contradict each other: {}", e.message()))
            .hint("give a table either as a whole or key by key")
    })?;
    let tree = DeValue::Table(table.into_inner());
    let root = Value::root(&text, &tree);
    if !seen.contains("format") {
        return Err(
            Error::manifest("the flag `--format` is missing").hint("give it, as `--format onnx`")
        );
    }
    let mut target = decode::target(&root, Path::new(""))?;
    name.clone_into(&mut target.name);
    Ok(target)
}

/// The key of a table that a string in its place is short for.
const SHORT_FOR: &str = "type";

/// Whether what was given for a key is a string that is short for a table.
fn is_short(kind: Kind, flags: &[(&str, &str)], key: &str) -> bool {
    let given = flags.iter().find(|(flag, _)| *flag == key);
    matches!(kind, Kind::TextOrTable(_)) && given.is_some_and(|(_, value)| is_word(value))
}

/// Whether keys of a key's table are given one by one.
fn has_inner(flags: &[(&str, &str)], key: &str) -> bool {
    flags.iter().any(|(flag, _)| flag.split_once('.').is_some_and(|(outer, _)| outer == key))
}

/// Whether a value is neither `{ a = 1 }` nor `a=1`.
fn is_word(given: &str) -> bool {
    !given.trim().starts_with('{') && !given.contains('=')
}

fn shown(flag: &str) -> String {
    quoted(&format!("--{flag}"))
}

/// The field of a key; `table` is what stands before the key in its flag.
fn known(fields: &'static [Field], key: &str, table: &str) -> Result<&'static Field> {
    fields.iter().find(|field| field.name == key).ok_or_else(|| {
        let names: Vec<&str> = fields.iter().map(|field| field.name).collect();
        let error =
            Error::manifest(format!("there is no flag {}", shown(&format!("{table}{key}"))));
        match suggest(key, &names) {
            Some(near) => error.hint(format!("did you mean `--{table}{near}`?")),
            None => {
                let flags: Vec<_> = fields
                    .iter()
                    .filter(|field| field.later.is_none())
                    .map(|field| format!("--{table}{}", field.name))
                    .collect();
                error.hint(format!("the flags are: {}", flags.join(", ")))
            }
        }
    })
}

/// What was given, as the TOML value that a key of this kind expects.
fn toml_value(kind: Kind, given: &str) -> String {
    let given = given.trim();
    let is_table = given.starts_with('{');
    match kind {
        Kind::Integer | Kind::Number | Kind::Boolean => given.to_owned(),
        Kind::TextOrTable(_) if is_word(given) => quoted_string(given),
        Kind::BooleanOrTable(_) if is_word(given) => given.to_owned(),
        Kind::BooleanOrText if matches!(given, "true" | "false") => given.to_owned(),
        Kind::Text | Kind::BooleanOrText => quoted_string(given),
        _ if is_table => given.to_owned(),
        Kind::Table(fields) | Kind::TextOrTable(fields) | Kind::BooleanOrTable(fields) => {
            pairs(given, |key, value| match fields.iter().find(|field| field.name == key) {
                Some(field) => toml_value(field.kind, value),
                None => toml_scalar(value),
            })
        }
        Kind::Free => toml_scalar(given),
        Kind::Texts if given.starts_with('[') => given.to_owned(),
        Kind::Texts => {
            let items: Vec<String> = given.split(',').map(|s| quoted_string(s.trim())).collect();
            format!("[{}]", items.join(", "))
        }
        Kind::Map => pairs(given, |_, value| toml_scalar(value)),
    }
}

/// `a=1,b=c` as an inline table.
fn pairs(given: &str, value: impl Fn(&str, &str) -> String) -> String {
    let mut inside = Vec::new();
    for pair in given.split(',') {
        let Some((key, given)) = pair.split_once('=') else {
            return given.to_owned(); // no table: the parser says so
        };
        let key = key.trim();
        inside.push(format!("{} = {}", quoted_string(key), value(key, given)));
    }
    format!("{{ {} }}", inside.join(", "))
}

/// A number or a boolean as it is, anything else as a string.
fn toml_scalar(given: &str) -> String {
    let given = given.trim();
    let plain = matches!(
        DeValue::parse(given).as_ref().map(toml::Spanned::get_ref),
        Ok(DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_))
    );
    if plain { given.to_owned() } else { quoted_string(given) }
}

/// A TOML basic string.
fn quoted_string(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if c.is_control() => out.push_str(&format!("\\U{:08X}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
