//! Models in several files, `NAME-00001-of-00003.gguf`, as llama.cpp splits them.
//!
//! The first part holds all key/values; every part says in `split.*` which it is, how many there
//! are, and how many tensors all have together.

use std::collections::HashSet;
use std::path::Path;

use super::{ALIGNMENT_KEY, DEFAULT_ALIGNMENT, read, write};
use crate::error::{Error, Result};
use crate::fsx;
use crate::hub::{Blob, Gguf, Meta};

const NUMBER: &str = "split.no";
const COUNT: &str = "split.count";
const TENSORS: &str = "split.tensors.count";

/// What the name of a part says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part<'a> {
    /// The name up to the numbers.
    pub(super) stem: &'a str,
    /// From 1.
    pub(super) number: u32,
    pub(super) count: u32,
}

impl<'a> Part<'a> {
    /// Takes a name of the shape `STEM-00001-of-00003.gguf` apart.
    pub(super) fn of(name: &'a str) -> Option<Self> {
        let five = |digits: &str| {
            let all = digits.len() == 5 && digits.bytes().all(|b| b.is_ascii_digit());
            all.then(|| digits.parse::<u32>().ok()).flatten()
        };
        let rest = name.strip_suffix(".gguf")?;
        let (rest, count) = rest.rsplit_once("-of-")?;
        let (stem, number) = rest.rsplit_once('-')?;
        let (number, count) = (five(number)?, five(count)?);
        (number >= 1 && number <= count).then_some(Self { stem, number, count })
    }
    fn name(stem: &str, number: u32, count: u32) -> String {
        format!("{stem}-{number:05}-of-{count:05}.gguf")
    }
    /// The names of all parts, in order.
    pub(super) fn all(self) -> impl Iterator<Item = String> {
        (1..=self.count).map(move |n| Self::name(self.stem, n, self.count))
    }
}

/// The names of all parts of the model that a name in a folder is a part of; just the name where it
/// is no part.
///
/// # Errors
/// A part is missing; names it.
pub(super) fn parts(root: &Path, name: &str) -> Result<Vec<String>> {
    let Some(part) = Part::of(name) else { return Ok(vec![name.to_owned()]) };
    let mut out = Vec::new();
    for name in part.all() {
        if !fsx::is_file(&root.join(&name)) {
            return Err(Error::source_missing(format!(
                "part {} of {} is missing: {name}",
                out.len() + 1,
                part.count
            ))
            .file(root.join(name))
            .hint("fetch the missing part, and lay all parts in one folder"));
        }
        out.push(name);
    }
    Ok(out)
}

/// Takes a part's place in the model from its key/values.
fn take(gguf: &mut Gguf, key: &str) -> Result<Option<u64>> {
    let Some(at) = gguf.metadata.iter().position(|(k, _)| k == key) else { return Ok(None) };
    let (_, value) = gguf.metadata.remove(at);
    match value.as_u64() {
        Some(number) => Ok(Some(number)),
        None => {
            Err(Error::malformed(format!("{value:?} is no count")).item(format!("key `{key}`")))
        }
    }
}

/// Makes one model of its parts, in order.
///
/// # Errors
/// The parts do not belong together; names the part.
pub(super) fn join(parts: Vec<(String, Gguf)>) -> Result<Gguf> {
    let count = parts.len() as u64;
    let mut all = Gguf::default();
    let mut seen = HashSet::new();
    let mut expected = None;
    for (index, (file, mut part)) in (0u64..).zip(parts) {
        add(&mut all, &mut seen, &mut part, index, count, &mut expected)
            .map_err(|e| e.file(&file))?;
    }
    match expected {
        Some(expected) if expected != all.tensors.len() as u64 => Err(Error::malformed(format!(
            "`{TENSORS}` says {expected} tensors, and the parts have {}",
            all.tensors.len()
        ))
        .hint(MIXED)),
        _ => Ok(all),
    }
}

const MIXED: &str = "the parts do not belong together, or one is damaged: fetch all of one model";

fn add(
    all: &mut Gguf,
    seen: &mut HashSet<String>,
    part: &mut Gguf,
    index: u64,
    count: u64,
    expected: &mut Option<u64>,
) -> Result<()> {
    let said = (take(part, NUMBER)?, take(part, COUNT)?, take(part, TENSORS)?);
    match said {
        // A model in one file need not say so.
        (None, None, None) if count == 1 => {}
        (Some(number), Some(of), tensors) if number == index && of == count => {
            if index > 0 && tensors != *expected {
                return Err(Error::malformed(format!(
                    "`{TENSORS}` is {tensors:?}, and {expected:?} in the first part"
                ))
                .hint(MIXED));
            }
            *expected = tensors;
        }
        (number, of, _) => {
            let word = |n: Option<u64>| n.map_or("none".to_owned(), |n| n.to_string());
            return Err(Error::malformed(format!(
                "the file is part {index} of {count} by its name, counted from 0, and `{NUMBER}` is {}, `{COUNT}` {}",
                word(number),
                word(of)
            ))
            .hint("parts are named NAME-00001-of-00003.gguf: give each its name back, and lay all in one folder"));
        }
    }
    for (key, value) in part.metadata.drain(..) {
        match all.get(&key) {
            _ if index == 0 => all.metadata.push((key, value)),
            Some(first) if *first == value => {}
            // The alignment of a part is its own affair.
            _ if key == ALIGNMENT_KEY => {}
            first => {
                let said = if first.is_some() { "another value" } else { "no value" };
                return Err(Error::malformed(format!("the first part has {said} for this key"))
                    .item(format!("key `{key}`"))
                    .hint(MIXED));
            }
        }
    }
    for (name, tensor) in part.tensors.drain(..) {
        if !seen.insert(name.clone()) {
            return Err(Error::malformed("the tensor is in two parts")
                .item(format!("tensor `{name}`"))
                .hint(MIXED));
        }
        all.tensors.push((name, tensor));
    }
    Ok(())
}

/// Lays a model out in parts of at most `most` bytes of tensors, each filled up to the alignment;
/// in one file where that is enough.
///
/// # Errors
/// A tensor is longer than a part may be, or there are too many parts.
pub(super) fn write(gguf: &Gguf, file_name: &str, most: u64) -> Result<Vec<Blob>> {
    let alignment = read::alignment(&gguf.metadata)?;
    let mut parts: Vec<Gguf> = Vec::new();
    let mut room = 0;
    for (name, tensor) in &gguf.tensors {
        let len = write::padded(tensor.byte_len(), alignment).unwrap_or(u64::MAX);
        if len > most {
            return Err(Error::manifest(format!(
                "a part may have {most} bytes, and this tensor alone has {len}"
            ))
            .item(format!("tensor `{name}`"))
            .hint(format!("let a part have at least {len} bytes")));
        }
        if len > room || parts.is_empty() {
            parts.push(Gguf::default());
            room = most;
        }
        room -= len;
        if let Some(part) = parts.last_mut() {
            part.tensors.push((name.clone(), tensor.clone()));
        }
    }
    if parts.len() < 2 {
        return Ok(vec![Blob { name: file_name.to_owned(), segments: write::segments(gguf)? }]);
    }
    let too_many = || Error::manifest(format!("the model takes {} parts", parts.len()));
    let count = u16::try_from(parts.len())
        .map_err(|_| too_many().hint("65535 are the most there may be: let a part be longer"))?;
    let tensors = i32::try_from(gguf.tensors.len())
        .map_err(|_| Error::unsupported("a split model of more than 2^31 tensors"))?;
    let stem = file_name.strip_suffix(".gguf").unwrap_or(file_name);
    let mut out = Vec::new();
    for (number, mut part) in (0u16..).zip(parts) {
        if number == 0 {
            part.metadata.clone_from(&gguf.metadata);
        } else if alignment != DEFAULT_ALIGNMENT {
            part.metadata.extend(
                gguf.get(ALIGNMENT_KEY).map(|value| (ALIGNMENT_KEY.to_owned(), value.clone())),
            );
        }
        part.set(NUMBER, Meta::U16(number));
        part.set(COUNT, Meta::U16(count));
        part.set(TENSORS, Meta::I32(tensors));
        let name = Part::name(stem, u32::from(number) + 1, count.into());
        out.push(Blob { name, segments: write::segments(&part)? });
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_parts_are_taken_apart() {
        let part = Part { stem: "a-b", number: 2, count: 3 };
        assert_eq!(Part::of("a-b-00002-of-00003.gguf"), Some(part));
        for none in [
            "a.gguf",
            "a-0002-of-00003.gguf",
            "a-00004-of-00003.gguf",
            "00001-of-00003.gguf",
            "a-00000-of-00003.gguf",
            "a-00001-of-00003.bin",
        ] {
            assert_eq!(Part::of(none), None, "{none}");
        }
    }
}
