//! Cache keys: BLAKE3 over named ingredients in one canonical, versioned encoding.
//!
//! The encoding, hashed in BLAKE3's derive-key mode under [`CONTEXT`]:
//!
//! ```text
//! key        := text(step) ingredient* 0x00 u64(number of ingredients)
//! ingredient := 0x01 text(name) text(value)
//! text(s)    := u64(length in bytes) the bytes of s in UTF-8
//! u64(n)     := 8 bytes, little-endian
//! ```
//!
//! Every part is preceded by its length, so no two lists of ingredients share an encoding. What may
//! be an ingredient: revisions, parameters, digests, versions of tools. Never a path, a time, the
//! environment, the host or a number of threads.

use std::fmt;

use crate::digest::to_hex;

/// Separates these hashes from all others, and from those of another version of the encoding.
pub const CONTEXT: &str = "model-build 2026-11-23 cache key v1";

/// The name of a step's result in the store.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key([u8; 32]);

impl Key {
    /// The key that 64 hexadecimal digits name.
    pub fn from_hex(text: &str) -> Option<Self> {
        crate::digest::from_hex(text).map(Self)
    }
    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
    /// 64 lower-case hexadecimal digits.
    pub fn to_hex(&self) -> String {
        to_hex(&self.0)
    }
    pub(super) const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_hex())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Collects the ingredients of a key. Their order is part of the key.
#[derive(Clone)]
pub struct KeyBuilder {
    hasher: blake3::Hasher,
    ingredients: Vec<(String, String)>,
}

impl KeyBuilder {
    /// Starts the key of a step, as `convert`.
    pub fn new(step: &str) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key(CONTEXT);
        text(&mut hasher, step);
        Self { hasher, ingredients: Vec::new() }
    }

    /// Adds an ingredient: a name for people and its canonical value. A name may come again.
    pub fn ingredient(&mut self, name: &str, value: &str) -> &mut Self {
        self.hasher.update(&[1]);
        text(&mut self.hasher, name);
        text(&mut self.hasher, value);
        self.ingredients.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The key, and its ingredients for the record.
    pub fn finish(mut self) -> (Key, Vec<(String, String)>) {
        self.hasher.update(&[0]).update(&(self.ingredients.len() as u64).to_le_bytes());
        (Key(*self.hasher.finalize().as_bytes()), self.ingredients)
    }
}

fn text(hasher: &mut blake3::Hasher, text: &str) {
    hasher.update(&(text.len() as u64).to_le_bytes()).update(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(step: &str, ingredients: &[(&str, &str)]) -> Key {
        let mut builder = KeyBuilder::new(step);
        for (name, value) in ingredients {
            builder.ingredient(name, value);
        }
        builder.finish().0
    }

    /// The digests come from `tests/fixtures/cache/key.py`, which encodes by the grammar above.
    #[test]
    fn the_encoding_stays_what_it_is() {
        assert_eq!(
            key("convert", &[("revision", "3"), ("source", "ünï"), ("opset-version", "")]).to_hex(),
            "cb8a894420142b3c24f8a682b90d571f31c6b8e532b9483636b5a1e75141454f"
        );
        assert_eq!(
            key("", &[]).to_hex(),
            "e12c94375f43ce80b46fc6ff6677c830a3998417492f95503add3245cfb0302d"
        );
    }

    #[test]
    fn lists_that_read_alike_when_joined_have_different_keys() {
        let lists: &[(&str, &[(&str, &str)])] = &[
            ("s", &[("a", "b"), ("c", "d")]),
            ("s", &[("c", "d"), ("a", "b")]),
            ("s", &[("ab", ""), ("c", "d")]),
            ("s", &[("a", "bc"), ("", "d")]),
            ("s", &[("a", "b")]),
            ("sa", &[("", "b"), ("c", "d")]),
            ("s", &[("a", "b"), ("c", "d"), ("", "")]),
            ("s", &[("a", "b\0\u{1}c"), ("", "d")]),
        ];
        let mut keys: Vec<Key> = lists.iter().map(|(step, list)| key(step, list)).collect();
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), lists.len());
    }

    #[test]
    fn the_ingredients_come_back_in_order() {
        let mut builder = KeyBuilder::new("convert");
        builder.ingredient("b", "1").ingredient("a", "2").ingredient("b", "3");
        let list: Vec<_> = builder.finish().1;
        let want = [("b", "1"), ("a", "2"), ("b", "3")];
        assert_eq!(list, want.map(|(n, v)| (n.to_owned(), v.to_owned())));
    }
}
