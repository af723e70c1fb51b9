//! Tensor reuse: what a target's last build encoded, found again by what it was made from.
//!
//! A tensor's *recipe digest* is a hash of everything that decides its bytes: the canonical text of
//! what is done ([`Produce::recipe`](crate::hub::Produce::recipe)) and the contents of the tensors it
//! is done to. Beside an artifact the store keeps, for each tensor that took long to make, its recipe
//! digest and where in the artifact's files it stands. The next build of the same target takes such
//! ranges over instead of computing them, so a fine-tune that changes one layer encodes one layer.

use std::collections::BTreeMap;

use bytes::Bytes;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::cache::{Digest, Key, KeyBuilder, Store, Subject};
use crate::error::{Error, Result};
use crate::fsx;
use crate::hub::{Blob, DType, Segment, Tensor};
use crate::record::{Info, Record, RecordFile};

/// Separates recipe digests from all other hashes.
const CONTEXT: &str = "model-build 2026-11-25 tensor recipe v1";
/// The name of the file that lists the parts of an artifact.
const PARTS: &str = "parts.json";
/// No list of parts is longer.
const LONGEST_PARTS: u64 = 64 << 20;
/// How much of a tensor is hashed before its pages are given back.
const WINDOW: usize = 16 << 20;

/// A tensor within the files of an artifact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// What it was made from.
    pub recipe: Digest,
    /// The object it stands in.
    pub object: Digest,
    /// Where it starts there.
    pub offset: u64,
    /// Its length in bytes.
    pub len: u64,
}

/// What became of the tensors of an artifact.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Bytes of tensors that are computed.
    pub encoded: u64,
    /// Bytes of tensors that are taken from an earlier artifact.
    pub reused: u64,
}

/// The tensors of a target's last artifact, by recipe digest.
#[derive(Default)]
pub struct Earlier {
    parts: BTreeMap<Digest, Part>,
    objects: BTreeMap<Digest, Bytes>,
}

impl Earlier {
    /// What the store has of a target's last artifact; nothing where that is gone or damaged.
    pub fn open(store: &Store, subject: &Subject<'_>) -> Self {
        Self::find(store, subject).unwrap_or_default()
    }

    fn find(store: &Store, subject: &Subject<'_>) -> Option<Self> {
        let key = store.last(subject)?;
        let record = store.lookup(&key).ok()??;
        let (list, files) = record.files.split_first()?;
        let text = fsx::read_small(&store.object_path(&list.digest), LONGEST_PARTS).ok()?;
        let parts: Vec<Part> = serde_json::from_slice(&text).ok()?;
        let objects = files
            .iter()
            .map(|file| Some((file.digest, fsx::map(&store.object_path(&file.digest)).ok()?)))
            .collect::<Option<_>>()?;
        Some(Self { parts: parts.into_iter().map(|p| (p.recipe, p)).collect(), objects })
    }

    /// The bytes of the tensor with that recipe, if they are known and as long as they should be.
    fn get(&self, recipe: &Digest, len: u64) -> Option<Bytes> {
        let part = self.parts.get(recipe).filter(|part| part.len == len)?;
        let from = usize::try_from(part.offset).ok()?;
        let to = from.checked_add(usize::try_from(len).ok()?)?;
        let object = self.objects.get(&part.object)?;
        object.get(from..to)?;
        Some(object.slice(from..to))
    }
}

/// The laid-out files of an artifact with the recipe digests of their tensors.
pub struct Prepared {
    /// The files; tensors that an earlier artifact holds are replaced by its bytes.
    pub blobs: Vec<Blob>,
    /// Recipe digest, index of the file, offset and length of each tensor that is worth keeping.
    recipes: Vec<(Digest, usize, u64, u64)>,
    /// How much is computed and how much is not.
    pub tally: Tally,
}

/// Finds out which tensors of laid-out files are there already.
pub fn prepare(mut blobs: Vec<Blob>, earlier: &Earlier) -> Result<Prepared> {
    let mut found = Vec::new();
    for (file, blob) in blobs.iter().enumerate() {
        let mut offset = 0;
        for (index, segment) in blob.segments.iter().enumerate() {
            let len = segment.len();
            if let Segment::Tensor(tensor) = segment
                && is_worth_keeping(tensor)
            {
                found.push((file, index, offset, tensor.clone()));
            }
            offset += len;
        }
    }
    let digests: Vec<Option<Digest>> =
        found.par_iter().map(|(.., tensor)| identity(tensor)).collect::<Result<_>>()?;
    let mut recipes = Vec::new();
    let mut tally = Tally::default();
    for ((file, index, offset, tensor), digest) in found.into_iter().zip(digests) {
        let Some(digest) = digest else { continue };
        let len = tensor.byte_len();
        recipes.push((digest, file, offset, len));
        if let Some(bytes) = earlier.get(&digest, len)
            && let Some(segment) = blobs.get_mut(file).and_then(|b| b.segments.get_mut(index))
        {
            *segment = Segment::Bytes(bytes);
            tally.reused += len;
        } else {
            tally.encoded += len;
        }
    }
    Ok(Prepared { blobs, recipes, tally })
}

/// Remembers the tensors of a finished artifact for the next build of its target. Failing to is no
/// error: that build computes them.
pub fn remember(
    store: &Store,
    subject: &Subject<'_>,
    prepared: &Prepared,
    artifact: &Key,
    files: &[RecordFile],
) {
    if prepared.recipes.is_empty() {
        return;
    }
    let _ = keep(store, subject, prepared, artifact, files);
}

fn keep(
    store: &Store,
    subject: &Subject<'_>,
    prepared: &Prepared,
    artifact: &Key,
    files: &[RecordFile],
) -> Result<()> {
    let mut parts = Vec::new();
    for (recipe, file, offset, len) in &prepared.recipes {
        let file = files.get(*file).ok_or_else(|| Error::bug("a part of a file that is not"))?;
        parts.push(Part { recipe: *recipe, object: file.digest, offset: *offset, len: *len });
    }
    let text = serde_json::to_vec(&parts)
        .map_err(|e| Error::bug("a list of parts cannot be written as JSON").caused_by(e))?;
    let list = RecordFile {
        name: PARTS.to_owned(),
        digest: store.put_bytes(&text)?,
        len: text.len() as u64,
    };
    let mut key = KeyBuilder::new("parts");
    key.ingredient("artifact", &artifact.to_string());
    key.ingredient("list", &list.digest.to_string());
    let (key, ingredients) = key.finish();
    let files = [list].into_iter().chain(files.iter().cloned()).collect();
    let step = "parts".to_owned();
    let record = Record { step, ingredients: ingredients.clone(), files, info: Info::default() };
    store.insert(&key, &record)?;
    store.remember(subject, &key, &ingredients);
    Ok(())
}

fn is_worth_keeping(tensor: &Tensor) -> bool {
    matches!(tensor.dtype(), DType::Block(def) if def.slow) && tensor.ready_bytes().is_none()
}

/// The recipe digest of a tensor that is computed and says how.
fn identity(tensor: &Tensor) -> Result<Option<Digest>> {
    let Some((text, sources)) = tensor.recipe() else { return Ok(None) };
    let mut hasher = blake3::Hasher::new_derive_key(CONTEXT);
    let about = format!("{} {:?} {text}\n", tensor.dtype(), tensor.shape());
    hasher.update(&(about.len() as u64).to_le_bytes()).update(about.as_bytes());
    for source in &sources {
        let digest = match identity(source)? {
            Some(digest) => digest,
            None => match source.ready_bytes() {
                Some(bytes) => contents(source, bytes),
                None => return Ok(None),
            },
        };
        hasher.update(digest.as_bytes());
    }
    Ok(Some(hasher.finalize().into()))
}

fn contents(tensor: &Tensor, bytes: &Bytes) -> Digest {
    let mut hasher = blake3::Hasher::new_derive_key(CONTEXT);
    hasher.update(format!("{} {:?}\n", tensor.dtype(), tensor.shape()).as_bytes());
    for window in bytes.chunks(WINDOW) {
        hasher.update(window);
        fsx::release(window);
    }
    hasher.finalize().into()
}
