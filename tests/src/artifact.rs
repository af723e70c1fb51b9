//! Artifacts with known bytes, for tests of the store.

use std::io::Write;
use std::path::Path;

use model_build::Error;
use model_build::cache::{Digest, Key, KeyBuilder, Store};
use model_build::record::{Info, Record, RecordFile};

/// The names of the files of every artifact.
pub const NAMES: [&str; 2] = ["model.onnx", "model.data"];

/// The key of artifact `number` and its ingredients.
pub fn key(number: u64) -> (Key, Vec<(String, String)>) {
    let mut builder = KeyBuilder::new("test");
    builder.ingredient("number", &number.to_string());
    builder.finish()
}

/// The bytes of a file of artifact `number`.
pub fn content(number: u64, name: &str, bytes: usize) -> Vec<u8> {
    let mut out = vec![0; bytes];
    let mut hasher = blake3::Hasher::new();
    hasher.update(&number.to_le_bytes()).update(name.as_bytes());
    hasher.finalize_xof().fill(&mut out);
    out
}

/// Writes artifact `number` piece by piece and records it.
pub fn store(store: &Store, number: u64, bytes: usize) -> Result<Record, Error> {
    let mut files = Vec::new();
    for name in NAMES {
        let content = content(number, name, bytes);
        let digest = Digest::of(&content);
        let mut writer = store.writer()?;
        for piece in content.chunks(64 << 10) {
            writer.write_all(piece).map_err(|e| Error::io("write", Path::new(name), e))?;
        }
        files.push(RecordFile { name: name.to_owned(), digest, len: writer.commit(&digest)? });
    }
    let (key, ingredients) = key(number);
    let record = Record { step: "test".to_owned(), ingredients, files, info: Info::default() };
    store.insert(&key, &record)?;
    Ok(record)
}
