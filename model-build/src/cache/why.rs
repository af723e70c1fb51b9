//! Why a step was, or will be, done again: which ingredient of its key is not what it was.
//!
//! A ref remembers the last few keys of one step of one target of one manifest, with their
//! ingredients. It carries a checksum, and a damaged one counts as none.

use std::fmt;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::key::Key;
use super::store::{Store, sharded};
use crate::digest::{Digest, from_hex};
use crate::error::Result;
use crate::fsx::{self, AtomicFile};

/// How many keys a ref remembers.
const HISTORY: usize = 8;
/// No ref is longer.
const REF_CAP: u64 = 16 << 20;
/// Separates the names of refs from all other hashes.
const CONTEXT: &str = "model-build 2026-11-23 cache ref v1";

/// What a ref is about. This names a place on this machine and is no part of any key.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The manifest, as an absolute path.
    pub manifest: &'a Path,
    /// The model's name.
    pub model: &'a str,
    /// The target's name.
    pub target: &'a str,
    /// The step, as `convert`.
    pub step: &'a str,
}

/// The answer of [`Store::why`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// Nothing is remembered about this target: it was not built before, or too long ago.
    First,
    /// No other key than this one is remembered.
    Same,
    /// The ingredients that differ from the most recent other key's; empty when only their order
    /// differs, or the way in which versions of model-build make keys.
    Changed(Vec<Change>),
}

/// One difference between the ingredients of two keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The ingredient.
    pub name: String,
    /// Its value in the earlier key; `None` when it was not there.
    pub old: Option<String>,
    /// Its value in the present key; `None` when it is not there.
    pub new: Option<String>,
}

impl fmt::Display for Why {
    /// One line per difference.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::First => f.write_str("no earlier build of it is remembered"),
            Self::Same => f.write_str("nothing changed since the first build that is remembered"),
            Self::Changed(changes) if changes.is_empty() => {
                f.write_str("every ingredient is the same; this version of model-build puts them together otherwise")
            }
            Self::Changed(changes) => {
                for (i, change) in changes.iter().enumerate() {
                    write!(f, "{}{change}", if i == 0 { "" } else { "\n" })?;
                }
                Ok(())
            }
        }
    }
}

impl fmt::Display for Change {
    /// `precision changed: fp32 → fp16`; digests are cut short.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.name;
        match (self.old.as_deref().map(brief), self.new.as_deref().map(brief)) {
            (Some(old), Some(new)) => write!(f, "{name} changed: {old} → {new}"),
            (None, Some(new)) => write!(f, "{name} was added: {new}"),
            (Some(old), None) => write!(f, "{name} was removed: it was {old}"),
            (None, None) => write!(f, "{name}"),
        }
    }
}

/// A value as it is shown: digests as their first 12 digits, nothing as `(none)`.
fn brief(value: &str) -> String {
    match value {
        "" => "(none)".to_owned(),
        digest if from_hex(digest).is_some() => digest.chars().take(12).chain(['…']).collect(),
        other => other.to_owned(),
    }
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    key: String,
    ingredients: Vec<(String, String)>,
}

impl Store {
    fn ref_path(&self, subject: &Subject<'_>) -> PathBuf {
        let mut hasher = blake3::Hasher::new_derive_key(CONTEXT);
        let Subject { manifest, model, target, step } = subject;
        let names = [model, target, step].map(|name| name.as_bytes());
        for part in [manifest.as_os_str().as_encoded_bytes()].into_iter().chain(names) {
            hasher.update(&(part.len() as u64).to_le_bytes()).update(part);
        }
        sharded(&self.top.root.join("refs"), hasher.finalize().as_bytes())
    }

    fn history(&self, path: &Path) -> Vec<Entry> {
        let parse = || {
            let text = fsx::read_text(path, REF_CAP).ok()?;
            let (checksum, json) = text.split_once('\n')?;
            let good = checksum.parse() == Ok(Digest::of(json.as_bytes()));
            good.then(|| serde_json::from_str(json).ok()).flatten()
        };
        parse().unwrap_or_default()
    }

    /// Remembers the key of a step for [`why`](Self::why). A store that cannot be written
    /// remembers nothing; a key that is the last one already costs one reading of a small file.
    pub fn remember(&self, subject: &Subject<'_>, key: &Key, ingredients: &[(String, String)]) {
        let path = self.ref_path(subject);
        let mut history = self.history(&path);
        let key = key.to_hex();
        if history.last().is_some_and(|last| last.key == key) || !self.is_writable() {
            return;
        }
        history.retain(|entry| entry.key != key);
        history.push(Entry { key, ingredients: ingredients.to_vec() });
        history.drain(..history.len().saturating_sub(HISTORY));
        let write = || -> Result<()> {
            let Ok(json) = serde_json::to_string(&history) else { return Ok(()) };
            if let Some(dir) = path.parent() {
                fsx::create_dir_all(dir)?;
            }
            let mut file = AtomicFile::create_in(&self.top.temp(), &path)?;
            let text = format!("{}\n{json}", Digest::of(json.as_bytes()));
            if file.write_all(text.as_bytes()).is_ok() { file.commit_unsynced() } else { Ok(()) }
        };
        let _ = write(); // `why` knows less then, and no build is the worse for it
    }

    /// The key that was remembered last for a subject.
    pub fn last(&self, subject: &Subject<'_>) -> Option<Key> {
        Key::from_hex(&self.history(&self.ref_path(subject)).last()?.key)
    }

    /// Compares the ingredients of a step's present key with those of the most recent other key that
    /// was remembered for it.
    pub fn why(&self, subject: &Subject<'_>, key: &Key, ingredients: &[(String, String)]) -> Why {
        let history = self.history(&self.ref_path(subject));
        let key = key.to_hex();
        match history.iter().rev().find(|entry| entry.key != key) {
            Some(earlier) => Why::Changed(differences(&earlier.ingredients, ingredients)),
            None if history.is_empty() => Why::First,
            None => Why::Same,
        }
    }
}

/// What differs, in the order of the new list, then what is only in the old one. Of several
/// ingredients with one name those with equal values belong together, the others in order.
fn differences(old: &[(String, String)], new: &[(String, String)]) -> Vec<Change> {
    let mut left: Vec<_> = old.iter().collect();
    let mut take = |wanted: &dyn Fn(&(String, String)) -> bool| {
        left.iter().position(|e| wanted(e)).map(|at| left.remove(at))
    };
    let unmatched: Vec<_> = new.iter().filter(|e| take(&|old| old == *e).is_none()).collect();
    let mut out = Vec::new();
    for (name, value) in unmatched {
        let old = take(&|(old, _)| old == name).map(|(_, value)| value.clone());
        out.push(Change { name: name.clone(), old, new: Some(value.clone()) });
    }
    for (name, value) in left {
        out.push(Change { name: name.clone(), old: Some(value.clone()), new: None });
    }
    out
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)] // the tests damage files on purpose
mod tests {
    use super::*;
    use crate::cache::KeyBuilder;

    fn subject(target: &str) -> Subject<'_> {
        let manifest = Path::new("/project/Cargo.toml");
        Subject { manifest, model: "embedder", target, step: "convert" }
    }

    fn key(list: &[(&str, &str)]) -> (Key, Vec<(String, String)>) {
        let mut builder = KeyBuilder::new("convert");
        for (name, value) in list {
            builder.ingredient(name, value);
        }
        builder.finish()
    }

    fn store() -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        (dir, store)
    }

    #[test]
    fn the_ingredient_that_changed_is_named_in_plain_words() {
        let (_dir, store) = store();
        let weights = [Digest::of(b"old").to_hex(), Digest::of(b"new").to_hex()];
        let old =
            [("source", weights[0].as_str()), ("precision", "fp32"), ("pooling", ""), ("a", "1")];
        let new = [
            ("source", weights[1].as_str()),
            ("precision", "fp32"),
            ("pooling", "mean"),
            ("quantization", "int8"),
        ];
        let ((old, old_list), (new, new_list)) = (key(&old), key(&new));
        assert_eq!(store.why(&subject("server"), &old, &old_list), Why::First);
        store.remember(&subject("server"), &old, &old_list);
        assert_eq!(store.why(&subject("server"), &old, &old_list), Why::Same);
        let want = format!(
            "source changed: {}… → {}…\npooling changed: (none) → mean\n\
             quantization was added: int8\na was removed: it was 1",
            &weights[0][..12],
            &weights[1][..12]
        );
        assert_eq!(store.why(&subject("server"), &new, &new_list).to_string(), want);
        // After the build the answer is the same, and going back compares the other way round.
        store.remember(&subject("server"), &new, &new_list);
        assert_eq!(store.why(&subject("server"), &new, &new_list).to_string(), want);
        store.remember(&subject("server"), &old, &old_list);
        let Why::Changed(back) = store.why(&subject("server"), &old, &old_list) else { panic!() };
        assert_eq!(back.len(), 4);
        let other = subject("phone");
        assert_eq!(store.why(&other, &new, &new_list), Why::First);
    }

    #[test]
    fn of_several_ingredients_with_one_name_only_the_changed_one_is_named() {
        let list = |values: &[&str]| -> Vec<(String, String)> {
            values.iter().map(|value| ("file".to_owned(), (*value).to_owned())).collect()
        };
        let change = |old: Option<&str>, new: Option<&str>| Change {
            name: "file".to_owned(),
            old: old.map(str::to_owned),
            new: new.map(str::to_owned),
        };
        let changes = differences(&list(&["a", "b", "c"]), &list(&["a", "x", "c"]));
        assert_eq!(changes, [change(Some("b"), Some("x"))]);
        let changes = differences(&list(&["a", "b"]), &list(&["x", "a", "b"]));
        assert_eq!(changes, [change(None, Some("x"))]);
        let changes = differences(&list(&["a", "a"]), &list(&["a"]));
        assert_eq!(changes, [change(Some("a"), None)]);
    }

    #[test]
    fn a_damaged_ref_counts_as_none_and_is_written_anew() {
        let (_dir, store) = store();
        let (key, list) = key(&[("a", "1")]);
        store.remember(&subject("server"), &key, &list);
        let path = store.ref_path(&subject("server"));
        let good = std::fs::read(&path).unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            std::fs::write(&path, bad).unwrap();
            assert_eq!(store.why(&subject("server"), &key, &list), Why::First, "byte {at}");
        }
        for cut in [0, 1, 64, 65, good.len() - 1] {
            std::fs::write(&path, &good[..cut]).unwrap();
            assert_eq!(store.why(&subject("server"), &key, &list), Why::First, "cut at {cut}");
        }
        store.remember(&subject("server"), &key, &list);
        assert_eq!(std::fs::read(&path).unwrap(), good);
    }

    #[test]
    fn only_the_last_few_keys_are_remembered() {
        let (_dir, store) = store();
        for n in 0..20 {
            let (key, list) = key(&[("n", &n.to_string())]);
            store.remember(&subject("server"), &key, &list);
        }
        assert_eq!(store.history(&store.ref_path(&subject("server"))).len(), HISTORY);
    }
}
