//! Equal initializers become one.

use std::collections::HashMap;

use super::super::pipeline::{Cx, Rewrite, Set};
use crate::error::Result;
use crate::fsx;
use crate::hub::{DType, Edit, Tensor, ValueId};

/// ```text
/// before: Add(x, a) ─▶ Add(·, b) ─▶ y      a = [1, 2], b = [1, 2]
/// after:  Add(x, a) ─▶ Add(·, a) ─▶ y
/// ```
///
/// By the digest of the contents. Those of more than 64 KiB are compared with `memory-optimization`
/// only; those that are computed when they are written, up to 16 MiB.
pub(in super::super) static SHARED_CONSTANTS: Rewrite =
    Rewrite { name: "shared-constants", set: Set::Graph, run };

/// The same for the set `memory`, whatever their size.
pub(in super::super) static SHARED_WEIGHTS: Rewrite =
    Rewrite { name: "shared-weights", set: Set::Memory, run: run_all };

const SMALL: u64 = 64 << 10;
const COMPUTED: u64 = 16 << 20;

fn run(edit: &mut Edit<'_>, cx: &Cx<'_>) -> Result<bool> {
    share(edit, cx, SMALL)
}

fn run_all(edit: &mut Edit<'_>, cx: &Cx<'_>) -> Result<bool> {
    share(edit, cx, u64::MAX)
}

fn share(edit: &mut Edit<'_>, cx: &Cx<'_>, most: u64) -> Result<bool> {
    type Kind = (DType, Vec<u64>);
    let mut kinds: HashMap<Kind, Vec<ValueId>> = HashMap::new();
    let mut order: Vec<Kind> = Vec::new();
    let ids: Vec<ValueId> = edit.body().initializers().map(|(id, ..)| id).collect();
    for id in ids {
        let Some(tensor) = cx.constant(edit, id) else { continue };
        let unused = edit.uses(id).is_empty();
        if unused || tensor.byte_len() > most || edit.body().value(id).sparse.is_some() {
            continue;
        }
        let kind = (tensor.dtype(), tensor.shape().to_vec());
        let list = kinds.entry(kind.clone()).or_default();
        if list.is_empty() {
            order.push(kind);
        }
        list.push(id);
    }
    let mut changed = false;
    for kind in order {
        let Some(ids) = kinds.get(&kind).filter(|ids| ids.len() > 1) else { continue };
        let mut seen: HashMap<blake3::Hash, ValueId> = HashMap::new();
        for id in ids {
            let Some(digest) = edit.body().constant(*id).and_then(digest) else { continue };
            match seen.get(&digest) {
                Some(first) if edit.can_replace(*id, *first) => {
                    edit.replace_uses(*id, *first)?;
                    changed = true;
                }
                Some(_) => {}
                None => _ = seen.insert(digest, *id),
            }
        }
        fsx::release_maps();
    }
    Ok(changed)
}

fn digest(tensor: &Tensor) -> Option<blake3::Hash> {
    match tensor.ready_bytes() {
        Some(bytes) => {
            let mut hasher = blake3::Hasher::new();
            for part in bytes.chunks(RELEASE) {
                hasher.update(part);
                if bytes.len() > RELEASE {
                    fsx::release_maps();
                }
            }
            Some(hasher.finalize())
        }
        None if tensor.byte_len() <= COMPUTED => Some(blake3::hash(&tensor.bytes().ok()?)),
        None => None,
    }
}

/// After how many bytes of a mapped file its pages are given back.
const RELEASE: usize = 16 << 20;
