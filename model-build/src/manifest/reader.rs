//! Typed access to a TOML table that a list of [`Field`]s describes; every error underlines its
//! line.

use std::ops::{Range, RangeInclusive};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::schema::{Field, Word};
use super::text::{Spot, Text, printable, quoted, suggest};
use crate::error::{Error, Result};

/// A table whose keys are all known.
pub(super) struct Reader<'d> {
    pub(super) text: &'d Text<'d>,
    pub(super) spot: Spot,
    fields: &'static [Field],
    entries: Vec<Value<'d>>,
}

/// A value in a table, with its key.
#[derive(Clone)]
pub(super) struct Value<'d> {
    pub(super) text: &'d Text<'d>,
    /// The key, unquoted.
    pub(super) key: &'d str,
    /// The key's place.
    pub(super) key_spot: Spot,
    /// The value's place.
    pub(super) spot: Spot,
    value: &'d DeValue<'d>,
}

/// The entries of a table in the order of the text. `spot` is the table's own, `name` what to call
/// it beside its header.
pub(super) fn entries<'d>(
    text: &'d Text<'d>,
    table: &'d DeTable<'d>,
    spot: &Spot,
    name: &'static str,
) -> Vec<Value<'d>> {
    let place = |key: &str, at: Range<usize>| Spot {
        at,
        inside: (!spot.at.is_empty()).then(|| (spot.at.clone(), name)),
        item: if spot.item.is_empty() { key.to_owned() } else { format!("{}.{key}", spot.item) },
    };
    let mut found: Vec<Value<'d>> = table
        .iter()
        .map(|(key, value): (&Spanned<_>, &Spanned<_>)| Value {
            text,
            key: key.get_ref(),
            key_spot: place(key.get_ref(), key.span()),
            spot: place(key.get_ref(), value.span()),
            value: value.get_ref(),
        })
        .collect();
    found.sort_by_key(|entry| entry.key_spot.at.start);
    found
}

impl<'d> Reader<'d> {
    /// Opens a table. The first key in the text that is unknown, or known and not working yet, is an
    /// error; `explain` may say more of an unknown key than the nearest spelling does.
    pub(super) fn open(
        value: &Value<'d>,
        fields: &'static [Field],
        name: &'static str,
        explain: impl Fn(&Value<'d>) -> Option<String>,
    ) -> Result<Self> {
        let text = value.text;
        let entries = entries(text, value.table()?, &value.spot, name);
        for entry in &entries {
            let Some(field) = fields.iter().find(|field| field.name == entry.key) else {
                let message = format!("unknown key {}", quoted(entry.key));
                let error = text.wrong(&entry.key_spot, &message, "unknown key");
                return Err(match explain(entry) {
                    Some(hint) => error.hint(hint),
                    None => {
                        let known: Vec<&str> = fields.iter().map(|field| field.name).collect();
                        let works: Vec<&str> = fields
                            .iter()
                            .filter(|field| field.later.is_none())
                            .map(|field| field.name)
                            .collect();
                        match suggest(entry.key, &known) {
                            Some(near) => error.hint(format!("did you mean `{near}`?")),
                            None => error.hint(format!("the keys here are: {}", works.join(", "))),
                        }
                    }
                });
            };
            if let Some(instead) = field.later {
                let error = text.later(&entry.key_spot, &format!("`{}`", field.name));
                return Err(error.hint(instead));
            }
        }
        Ok(Self { text, spot: value.spot.clone(), fields, entries })
    }

    /// The value of a key.
    pub(super) fn get(&self, key: &'static str) -> Result<Option<&Value<'d>>> {
        if self.fields.iter().all(|field| field.name != key) {
            return Err(Error::bug(format!("the schema has no key `{key}`")));
        }
        Ok(self.entries.iter().find(|entry| entry.key == key))
    }

    /// The value of a key, or an error that points at the table and shows `example`.
    pub(super) fn require(&self, key: &'static str, example: &str) -> Result<&Value<'d>> {
        match self.get(key)? {
            Some(value) => Ok(value),
            None => {
                let message = format!("the key `{key}` is missing");
                let error = self.text.wrong(&self.spot, &message, &format!("has no `{key}`"));
                Err(error.hint(format!("add a line such as `{example}`")))
            }
        }
    }

    /// Reads a key where it is there.
    pub(super) fn read<T>(
        &self,
        key: &'static str,
        read: impl FnOnce(&Value<'d>) -> Result<T>,
    ) -> Result<Option<T>> {
        self.get(key)?.map(read).transpose()
    }
}

impl<'d> Value<'d> {
    /// A whole table that is no value of a key: the root of a file.
    pub(super) fn root(text: &'d Text<'d>, value: &'d DeValue<'d>) -> Self {
        let spot = Spot { at: 0..0, inside: None, item: String::new() };
        Self { text, key: "", key_spot: spot.clone(), spot, value }
    }

    fn is_not(&self, wanted: &str) -> Error {
        let found = match self.value {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "an integer",
            DeValue::Float(_) => "a float",
            DeValue::Boolean(_) => "a boolean",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "an array",
            DeValue::Table(_) => "a table",
        };
        let message = format!("{} must be {wanted}, not {found}", quoted(self.key));
        self.text.wrong(&self.spot, &message, &format!("expected {wanted}, found {found}"))
    }

    /// An error about this value.
    pub(super) fn wrong(&self, message: &str, label: &str) -> Error {
        self.text.wrong(&self.spot, message, label)
    }

    /// Whether it is a table.
    pub(super) fn is_table(&self) -> bool {
        self.value.is_table()
    }

    /// Whether it is a table or an array.
    pub(super) fn is_compound(&self) -> bool {
        self.value.is_table() || self.value.is_array()
    }

    /// Whether it is a string.
    pub(super) fn is_text(&self) -> bool {
        self.value.is_str()
    }

    /// A table.
    pub(super) fn table(&self) -> Result<&'d DeTable<'d>> {
        self.value.as_table().ok_or_else(|| {
            let error = self.is_not("a table");
            if self.key.is_empty() {
                return error;
            }
            error.hint(format!("write `{} = {{ … }}` with its keys inside", printable(self.key)))
        })
    }

    /// The entries of a table with free keys, in the order of the text.
    pub(super) fn entries(&self, name: &'static str) -> Result<Vec<Value<'d>>> {
        Ok(entries(self.text, self.table()?, &self.spot, name))
    }

    /// The strings of an array.
    pub(super) fn texts(&self) -> impl Iterator<Item = &'d str> {
        let items = self.value.as_array().into_iter().flatten();
        items.filter_map(|item| item.get_ref().as_str())
    }

    /// An array of strings that are not empty and hold no control characters, each with its own spot.
    pub(super) fn lines(&self) -> Result<Vec<Value<'d>>> {
        let Some(array) = self.value.as_array() else {
            let error = self.is_not("an array of strings");
            return Err(match self.value.as_str() {
                Some(_) => error.hint(format!("put it in brackets: `{} = [\"…\"]`", self.key)),
                None => error,
            });
        };
        let item = |item: &'d Spanned<DeValue<'d>>| {
            let spot = Spot { at: item.span(), ..self.spot.clone() };
            let value = Value { key: self.key, value: item.get_ref(), spot, ..self.clone() };
            value.line().map(|_| value)
        };
        array.iter().map(item).collect()
    }

    /// A string.
    pub(super) fn text(&self) -> Result<&'d str> {
        self.value.as_str().ok_or_else(|| {
            let error = self.is_not("a string");
            match self.text.text.get(self.spot.at.clone()) {
                Some(raw) if !self.is_compound() && raw.len() <= 40 => {
                    error.hint(format!("put it in quotes: `{} = \"{raw}\"`", self.key))
                }
                _ => error,
            }
        })
    }

    /// A string that is not empty and holds no control characters.
    pub(super) fn line(&self) -> Result<&'d str> {
        let text = self.text()?;
        if text.trim().is_empty() {
            let error = self.wrong(&format!("{} is empty", quoted(self.key)), "empty");
            return Err(error.hint(format!("write what it is: `{} = \"…\"`", printable(self.key))));
        }
        if text.chars().any(char::is_control) {
            let message = format!("{} holds a control character", quoted(self.key));
            return Err(self.wrong(&message, "control character").hint("leave it out"));
        }
        Ok(text)
    }

    /// `true` or `false`.
    pub(super) fn boolean(&self) -> Result<bool> {
        self.value.as_bool().ok_or_else(|| {
            let error = self.is_not("`true` or `false`");
            match self.value.as_str() {
                Some(word @ ("true" | "false")) => {
                    error.hint(format!("leave out the quotes: `{} = {word}`", self.key))
                }
                _ => error,
            }
        })
    }

    /// An integer within bounds.
    pub(super) fn integer(&self, range: RangeInclusive<i64>) -> Result<i64> {
        let Some(integer) = self.value.as_integer() else {
            let error = self.is_not("an integer");
            return Err(match self.value.as_str() {
                Some(word) if word.parse::<i64>().is_ok() => {
                    error.hint(format!("leave out the quotes: `{} = {word}`", self.key))
                }
                _ => error,
            });
        };
        let value = i64::from_str_radix(integer.as_str(), integer.radix()).ok();
        value.filter(|value| range.contains(value)).ok_or_else(|| {
            let (least, most) = (range.start(), range.end());
            let bounds = match (*least, *most) {
                (_, i64::MAX) => format!("must be from {least} to 2^63 - 1"),
                _ => format!("must be from {least} to {most}"),
            };
            self.wrong(&format!("{} {bounds}", quoted(self.key)), "out of range")
        })
    }

    /// A finite number within bounds.
    pub(super) fn number(&self, range: RangeInclusive<f64>) -> Result<f64> {
        let value = match self.value {
            DeValue::Integer(integer) if integer.radix() == 10 => integer.as_str().parse(),
            DeValue::Float(float) => float.as_str().parse::<f64>(),
            _ => return Err(self.is_not("a number")),
        };
        if let Ok(value) = value
            && value.is_finite()
            && range.contains(&value)
        {
            return Ok(value);
        }
        let (least, most) = (range.start(), range.end());
        let bounds = if most.is_finite() {
            format!("must be from {least} to {most}")
        } else {
            format!("must be a finite number and at least {least}")
        };
        Err(self.wrong(&format!("{} {bounds}", quoted(self.key)), "out of range"))
    }

    /// One of a few words.
    pub(super) fn word<T: Copy>(&self, words: &[Word<T>]) -> Result<T> {
        let known = |word: &&Word<T>| word.value.is_some();
        let works: Vec<&str> = words.iter().filter(known).map(|word| word.name).collect();
        let Some(text) = self.value.as_str() else {
            return Err(self.is_not("a string").hint(format!("it may be: {}", works.join(", "))));
        };
        match words.iter().find(|word| word.name == text) {
            Some(Word { value: Some(value), .. }) => Ok(*value),
            Some(Word { name, .. }) => {
                let error = self.text.later(&self.spot, &format!("`{} = \"{name}\"`", self.key));
                Err(error.hint(format!("what works: {}", works.join(", "))))
            }
            None => {
                let message = format!("{} has no value {}", quoted(self.key), quoted(text));
                let error = self.wrong(&message, "unknown word");
                let all: Vec<&str> = words.iter().map(|word| word.name).collect();
                match suggest(text, &works).or_else(|| suggest(text, &all)) {
                    Some(near) => Err(error.hint(format!("did you mean \"{near}\"?"))),
                    None => Err(error.hint(format!("it may be: {}", works.join(", ")))),
                }
            }
        }
    }
}
