//! Runs a tensor table, in either direction.

use std::collections::{BTreeMap, BTreeSet};

use super::rows::{after_zeros, gather, shifted, turned};
use super::table::{Kind, Line, Part, Post, Table};
use super::{BUFFERS, wants_f32};
use crate::error::{Error, Result};
use crate::hub::{Checkpoint, DType, Gguf, Tensor};
use crate::quantize;

/// The shape that a part has before its last step.
fn inner_shape(part: &Part) -> Vec<u64> {
    let mut shape = part.shape.clone();
    let n = shape.len();
    match part.post {
        Post::Turned if n >= 2 => shape.swap(n - 1, n - 2),
        Post::After(zeros) => {
            if let Some(rows) = shape.first_mut() {
                *rows = rows.saturating_sub(zeros);
            }
        }
        _ => {}
    }
    shape
}

/// The tensors brought to one element type, so that rows of them fit each other.
fn alike(names: &[Part], mut tensors: Vec<Tensor>) -> Result<Vec<Tensor>> {
    let Some(first) = tensors.first().map(Tensor::dtype) else { return Ok(tensors) };
    if tensors.iter().any(|t| t.dtype() != first) {
        for (part, tensor) in names.iter().zip(&mut tensors) {
            *tensor = quantize::decode(tensor).map_err(|e| e.item(part.name.clone()))?;
        }
    }
    Ok(tensors)
}

fn pack_line(line: &Line, sources: Vec<Tensor>) -> Result<Vec<(String, Tensor)>> {
    if line.kind == Kind::Mxfp4 {
        return super::mxfp4::pack(line, &sources);
    }
    let mut sources = alike(&line.hf, sources)?;
    for (part, source) in line.hf.iter().zip(&mut sources) {
        if part.post == Post::Turned {
            *source = turned(source)?;
        }
    }
    let mut out = Vec::with_capacity(line.gguf.len());
    for part in &line.gguf {
        let rows = gather(&sources, line.width, &part.rows, inner_shape(part))?;
        let mut tensor = match part.post {
            Post::Same | Post::After(_) => rows,
            Post::Turned => turned(&rows)?,
            Post::PlusOne => shifted(&part.name, &rows, 1.0)?,
        };
        if wants_f32(&part.name, tensor.shape()) {
            tensor = quantize::decode(&tensor).map_err(|e| e.item(part.name.clone()))?;
        }
        out.push((part.name.clone(), tensor));
    }
    Ok(out)
}

fn check_float(name: &str, tensor: &Tensor) -> Result<()> {
    if tensor.dtype().is_float() {
        return Ok(());
    }
    Err(Error::unsupported(format!(
        "a weight of type {}: the weights of a checkpoint must be f32, f16, bf16 or f64",
        tensor.dtype()
    ))
    .item(name)
    .hint("take the unquantized checkpoint and quantize it in the manifest"))
}

/// The GGUF tensors of a checkpoint whose names lack `prefix`: what is generated, what is repacked,
/// then each line's when the last of its sources comes up, names in order.
pub(super) fn pack(
    table: &Table,
    checkpoint: &Checkpoint,
    prefix: &str,
) -> Result<Vec<(String, Tensor)>> {
    let local = |name: &str| name.strip_prefix(prefix).unwrap_or(name).to_owned();
    let mut used = BTreeSet::new();
    let mut out: Vec<((bool, String), Vec<(String, Tensor)>)> = Vec::new();
    for line in &table.lines {
        let there = |part: &Part| checkpoint.tensors.contains_key(&local(&part.name));
        if line.optional && !line.hf.iter().any(there) {
            continue;
        }
        let mut sources = Vec::with_capacity(line.hf.len());
        let mut last = String::new();
        for part in &line.hf {
            let name = local(&part.name);
            let tensor = checkpoint.tensor(&name, &part.shape)?;
            if line.kind == Kind::Plain {
                check_float(&name, tensor)?;
            }
            sources.push(tensor.clone());
            last = last.max(name.clone());
            used.insert(name);
        }
        out.push(((line.kind == Kind::Plain, last), pack_line(line, sources)?));
    }
    for name in &table.zeros {
        let name = local(name);
        if let Some(tensor) = checkpoint.tensors.get(&name) {
            check_zero(&name, tensor)?;
            used.insert(name);
        }
    }
    used.extend(table.ignored.iter().map(|name| local(name)));
    let left: Vec<&str> = checkpoint
        .tensors
        .keys()
        .map(String::as_str)
        .filter(|name| !used.contains(*name) && !BUFFERS.iter().any(|end| ends(name, end)))
        .collect();
    leftover(&left, "GGUF's graph of this family has no place for")?;
    out.sort_by(|a, b| a.0.cmp(&b.0));
    let mut all = table.generated.clone();
    all.extend(out.into_iter().flat_map(|(_, tensors)| tensors));
    Ok(all)
}

/// Whether a name ends so, as a whole or after a dot.
fn ends(name: &str, end: &str) -> bool {
    name.ends_with(end) || end.strip_prefix('.') == Some(name)
}

fn check_zero(name: &str, tensor: &Tensor) -> Result<()> {
    if tensor.len() > 1 << 24 || tensor.to_f32()?.iter().any(|v| *v != 0.0) {
        return Err(Error::unsupported(
            "this tensor is not zero, and GGUF's graph of this family has no place for it",
        )
        .item(name));
    }
    Ok(())
}

fn leftover(left: &[&str], what: &str) -> Result<()> {
    let Some(first) = left.first() else { return Ok(()) };
    let mut list = left.iter().take(8).copied().collect::<Vec<_>>().join(", ");
    if left.len() > 8 {
        list.push_str(", …");
    }
    let plural = if left.len() == 1 { "tensor" } else { "tensors" };
    Err(Error::unsupported(format!("{what} {} {plural} of the model: {list}", left.len()))
        .item(*first))
}

fn unpack_line(line: &Line, sources: &[Tensor]) -> Result<Vec<(String, Tensor)>> {
    if line.kind == Kind::Mxfp4 {
        return super::mxfp4::unpack(line, sources);
    }
    let mut inner = Vec::with_capacity(sources.len());
    for (part, tensor) in line.gguf.iter().zip(sources) {
        let tensor = match tensor.dtype() {
            DType::Block(_) => quantize::decode(tensor).map_err(|e| e.item(part.name.clone()))?,
            _ => tensor.clone(),
        };
        check_float(&part.name, &tensor)?;
        inner.push(match part.post {
            Post::Same | Post::After(_) => tensor,
            Post::Turned => turned(&tensor)?,
            Post::PlusOne => shifted(&part.name, &tensor, -1.0)?,
        });
    }
    let inner = alike(&line.gguf, inner)?;
    let parts = line.hf.iter().map(|part| {
        let rows = gather(&inner, line.width, &part.rows, inner_shape(part))?;
        let tensor = match part.post {
            Post::Turned => turned(&rows)?,
            Post::After(zeros) => after_zeros(&rows, zeros)?,
            Post::Same | Post::PlusOne => rows,
        };
        Ok((part.name.clone(), tensor))
    });
    parts.collect()
}

/// The checkpoint's tensors of a GGUF file.
pub(super) fn unpack(table: &Table, gguf: &Gguf) -> Result<BTreeMap<String, Tensor>> {
    let by_name: BTreeMap<&str, &Tensor> =
        gguf.tensors.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    let mut used: BTreeSet<&str> = BTreeSet::new();
    let mut out = BTreeMap::new();
    for line in &table.lines {
        let there = |part: &Part| by_name.contains_key(part.name.as_str());
        if line.optional && !line.gguf.iter().any(there) {
            continue;
        }
        let mut sources = Vec::with_capacity(line.gguf.len());
        for part in &line.gguf {
            let tensor = by_name.get(part.name.as_str()).copied().ok_or_else(|| {
                Error::malformed("the file lacks a tensor that its keys imply")
                    .item(part.name.clone())
            })?;
            // llama.cpp's tools drop outer axes of one.
            let plain = |shape: &[u64]| -> Vec<u64> {
                shape.iter().copied().skip_while(|n| *n == 1).collect()
            };
            if plain(tensor.shape()) != plain(&part.shape) {
                return Err(Error::malformed(format!(
                    "the file's keys imply shape {:?}, the tensor has {:?}",
                    part.shape,
                    tensor.shape()
                ))
                .item(part.name.clone()));
            }
            sources.push(tensor.reshaped(part.shape.clone())?);
            used.insert(&part.name);
        }
        out.extend(unpack_line(line, &sources)?);
    }
    for (name, want) in &table.generated {
        if let Some(found) = by_name.get(name.as_str()) {
            if found.dtype() != want.dtype() || found.shape() != want.shape() {
                return Err(Error::malformed("this tensor is not as its keys imply").item(name));
            }
            used.insert(name);
        }
    }
    let left: Vec<&str> = by_name.keys().copied().filter(|name| !used.contains(name)).collect();
    leftover(&left, "checkpoints of this family have no place for")?;
    Ok(out)
}
