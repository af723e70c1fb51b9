//! An architecture's tensors by both their names, and how the one layout becomes the other.
//!
//! A table is filled from a configuration, so it is the same for both directions: packing reads the
//! Hugging Face side of each line and gives the GGUF side, unpacking the other way round.

use std::collections::{BTreeMap, BTreeSet};

use super::rows::RowMap;
use crate::hub::Tensor;

/// One tensor of a line.
#[derive(Clone, Debug)]
pub(in crate::arch) struct Part {
    /// Its name on its side.
    pub(super) name: String,
    /// Its shape on its side.
    pub(super) shape: Vec<u64>,
    /// Which rows of the other side, put end to end, it is made of.
    pub(super) rows: RowMap,
    /// What is done to them then.
    pub(super) post: Post,
}

/// What becomes of gathered rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::arch) enum Post {
    /// Nothing.
    Same,
    /// The last two axes are swapped.
    Turned,
    /// One is added to every element; only on the GGUF side.
    PlusOne,
    /// So many rows of zeros are put before them; only on the checkpoint's side.
    After(u64),
}

/// How the elements of a line are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Alike on both sides.
    Plain,
    /// Blocks of four-bit codes beside their scales in a checkpoint, ggml's `mxfp4` in GGUF.
    Mxfp4,
}

/// Some tensors of a checkpoint that hold the same numbers as some tensors of a GGUF file.
#[derive(Clone, Debug)]
pub(in crate::arch) struct Line {
    pub(super) hf: Vec<Part>,
    pub(super) gguf: Vec<Part>,
    /// Elements of a row.
    pub(super) width: u64,
    pub(super) kind: Kind,
    pub(super) optional: bool,
}

impl Line {
    /// The tensors may be absent.
    pub(in crate::arch) fn optional(&mut self) {
        self.optional = true;
    }
}

/// The lines of an architecture.
#[derive(Debug, Default)]
pub(in crate::arch) struct Table {
    pub(super) lines: Vec<Line>,
    /// Tensors that a GGUF file has and a checkpoint does not: their values follow from the
    /// configuration.
    pub(super) generated: Vec<(String, Tensor)>,
    /// Names of a checkpoint that hold nothing the computation needs.
    pub(super) ignored: Vec<String>,
    /// Tensors of a checkpoint that must be zero, and are not in the GGUF file.
    pub(super) zeros: Vec<String>,
    /// The names of the side that is read, and the bytes of the tensors.
    pub(super) present: BTreeMap<String, u64>,
    /// Whether the checkpoint may lack its output layer: it is of a class without one.
    pub(super) headless: bool,
    /// The names of GGUF's tensors of type `mxfp4`, when unpacking.
    pub(super) blocks: BTreeSet<String>,
    /// Whether the side that is read is the checkpoint.
    pub(super) packing: bool,
}

fn rows_and_width(shape: &[u64]) -> (u64, u64) {
    match shape {
        [outer @ .., width] if !outer.is_empty() => {
            (outer.iter().fold(1, |n, d| n.saturating_mul(*d)), *width)
        }
        _ => (shape.iter().fold(1, |n, d| n.saturating_mul(*d)), 1),
    }
}

fn part(name: impl Into<String>, shape: &[u64], rows: RowMap) -> Part {
    Part { name: name.into(), shape: shape.to_vec(), rows, post: Post::Same }
}

/// `[groups, a, b]` ordered as `[groups, b, a]`, over rows.
fn swapped(groups: u64, a: u64, b: u64) -> RowMap {
    RowMap::new(0, &[(groups, a.saturating_mul(b)), (b, 1), (a, b)])
}

impl Table {
    /// Whether the side that is read has a tensor of that name: the checkpoint's name when packing,
    /// GGUF's when unpacking.
    pub(in crate::arch) fn has(&self, hf: &str, gguf: &str) -> bool {
        self.present.contains_key(if self.packing { hf } else { gguf })
    }

    /// Whether experts are in four-bit blocks: the checkpoint has such a tensor, or GGUF's tensor is of
    /// that type.
    pub(in crate::arch) fn has_blocks(&self, hf: &str, gguf: &str) -> bool {
        if self.packing { self.present.contains_key(hf) } else { self.blocks.contains(gguf) }
    }

    /// Whether the checkpoint may lack its output layer.
    pub(in crate::arch) fn headless(&self) -> bool {
        self.headless
    }

    pub(super) fn push(&mut self, hf: Vec<Part>, gguf: Vec<Part>, width: u64) -> &mut Line {
        self.lines.push(Line { hf, gguf, width, kind: Kind::Plain, optional: false });
        let last = self.lines.len() - 1;
        &mut self.lines[last]
    }

    /// A tensor that only changes its name.
    pub(in crate::arch) fn same(
        &mut self,
        hf: impl Into<String>,
        gguf: impl Into<String>,
        shape: &[u64],
    ) -> &mut Line {
        self.reshaped(hf, shape, gguf, shape)
    }

    /// The same elements under two shapes.
    pub(in crate::arch) fn reshaped(
        &mut self,
        hf: impl Into<String>,
        hf_shape: &[u64],
        gguf: impl Into<String>,
        gguf_shape: &[u64],
    ) -> &mut Line {
        let all = hf_shape.iter().fold(1u64, |n, d| n.saturating_mul(*d));
        let last = |shape: &[u64]| shape.last().copied().unwrap_or(1);
        let (rows, width) = if last(hf_shape) == last(gguf_shape) && hf_shape.len() > 1 {
            rows_and_width(hf_shape)
        } else {
            (all, 1)
        };
        let (one, other) = (RowMap::run(0, rows), RowMap::run(0, rows));
        self.push(vec![part(hf, hf_shape, one)], vec![part(gguf, gguf_shape, other)], width)
    }

    /// A `weight`, and a `bias` of as many elements as the weight has rows, if there is one.
    pub(in crate::arch) fn linear(&mut self, hf: &str, gguf: &str, shape: &[u64]) {
        self.same(format!("{hf}.weight"), format!("{gguf}.weight"), shape);
        let (rows, _) = rows_and_width(shape);
        self.same(format!("{hf}.bias"), format!("{gguf}.bias"), &[rows]).optional();
    }

    /// The rows of a query or key projection, of `heads` heads: the two halves of each head in the
    /// checkpoint, pairs that are rotated together in GGUF.
    pub(in crate::arch) fn heads(
        &mut self,
        hf: impl Into<String>,
        gguf: impl Into<String>,
        heads: u64,
        shape: &[u64],
    ) -> &mut Line {
        let (rows, width) = match shape {
            [rows] => (*rows, 1),
            _ => rows_and_width(shape),
        };
        let half = rows / heads.max(1) / 2;
        let hf = part(hf, shape, swapped(heads, half, 2));
        let gguf = part(gguf, shape, swapped(heads, 2, half));
        self.push(vec![hf], vec![gguf], width)
    }

    /// A [`linear`](Self::linear) layer whose rows are [`heads`](Self::heads).
    pub(in crate::arch) fn linear_heads(
        &mut self,
        hf: &str,
        gguf: &str,
        heads: u64,
        shape: &[u64],
    ) {
        self.heads(format!("{hf}.weight"), format!("{gguf}.weight"), heads, shape);
        let (rows, _) = rows_and_width(shape);
        self.heads(format!("{hf}.bias"), format!("{gguf}.bias"), heads, &[rows]).optional();
    }

    /// A matrix that GGUF has transposed; `shape` is the checkpoint's.
    pub(in crate::arch) fn turned(
        &mut self,
        hf: impl Into<String>,
        gguf: impl Into<String>,
        shape: &[u64],
    ) -> &mut Line {
        let mut other = shape.to_vec();
        let n = other.len();
        if n >= 2 {
            other.swap(n - 1, n - 2);
        }
        let line = self.reshaped(hf, shape, gguf, shape);
        for part in &mut line.gguf {
            part.shape.clone_from(&other);
            part.post = Post::Turned;
        }
        line
    }

    /// A matrix of which GGUF lacks the first `skipped` rows, and has the `[rows, width]` after them.
    /// Unpacking puts rows of zeros in their place.
    pub(in crate::arch) fn without_first(
        &mut self,
        hf: impl Into<String>,
        gguf: impl Into<String>,
        skipped: u64,
        [rows, width]: [u64; 2],
    ) -> &mut Line {
        let all = vec![rows.saturating_add(skipped), width];
        let (to, from) = (RowMap::run(0, rows), RowMap::run(skipped, rows));
        self.mapped(
            vec![(hf.into(), all, to, Post::After(skipped))],
            vec![(gguf.into(), vec![rows, width], from, Post::Same)],
            width,
        )
    }

    /// A norm's weight that the checkpoint has less one.
    pub(in crate::arch) fn plus_one(
        &mut self,
        hf: impl Into<String>,
        gguf: impl Into<String>,
        shape: &[u64],
    ) -> &mut Line {
        let line = self.same(hf, gguf, shape);
        for part in &mut line.gguf {
            part.post = Post::PlusOne;
        }
        line
    }

    /// Tensors of one shape that GGUF has as one `[count, …]`. The names are made only where the
    /// first of them, or the one tensor, is there.
    pub(in crate::arch) fn stacked(
        &mut self,
        hf: impl Fn(u64) -> String,
        count: u64,
        gguf: impl Into<String>,
        shape: &[u64],
    ) -> &mut Line {
        let gguf = gguf.into();
        // No more names than the tensor has bytes, so none that the file does not back.
        let bytes =
            if self.packing { u64::MAX } else { self.present.get(&gguf).copied().unwrap_or(0) };
        let named = if self.has(&hf(0), &gguf) && bytes >= count { count } else { count.min(1) };
        let (rows, width) = match shape {
            [width] => (1, *width),
            _ => rows_and_width(shape),
        };
        let mut whole = vec![count];
        whole.extend(shape);
        let parts = (0..named).map_while(|i| {
            let name = hf(i);
            // One that is missing is named by the error; those after it need no name.
            let there = !self.packing || i == 0 || self.present.contains_key(&hf(i - 1));
            there.then(|| part(name, shape, RowMap::run(i.saturating_mul(rows), rows)))
        });
        let parts = parts.collect();
        let gguf = part(gguf, &whole, RowMap::run(0, count.saturating_mul(rows)));
        self.push(parts, vec![gguf], width)
    }

    /// All experts' gate and up projections `[count, 2 · inner, hidden]`, the gate's rows before the
    /// other's in each; GGUF has them in two.
    pub(in crate::arch) fn gate_up(
        &mut self,
        hf: String,
        gate: &str,
        up: &str,
        [count, inner, hidden]: [u64; 3],
    ) -> &mut Line {
        let both = inner.saturating_mul(2);
        let all = count.saturating_mul(inner);
        let half = |base| RowMap::new(base, &[(count, both), (inner, 1)]);
        let whole = RowMap::new(0, &[(count, inner), (2, all), (inner, 1)]);
        let shape = vec![count, inner, hidden];
        self.mapped(
            vec![(hf, vec![count, both, hidden], whole, Post::Same)],
            vec![
                (gate.to_owned(), shape.clone(), half(0), Post::Same),
                (up.to_owned(), shape, half(inner), Post::Same),
            ],
            hidden,
        )
    }

    /// Tensors with row maps of their own: `(name, shape, rows, post)`. `width` is the elements of a
    /// row.
    pub(in crate::arch) fn mapped(
        &mut self,
        hf: Vec<(String, Vec<u64>, RowMap, Post)>,
        gguf: Vec<(String, Vec<u64>, RowMap, Post)>,
        width: u64,
    ) -> &mut Line {
        let part = |(name, shape, rows, post)| Part { name, shape, rows, post };
        let (hf, gguf) = (hf.into_iter().map(part).collect(), gguf.into_iter().map(part).collect());
        self.push(hf, gguf, width)
    }

    /// A tensor that only GGUF files have.
    pub(in crate::arch) fn generated(&mut self, gguf: impl Into<String>, tensor: Tensor) {
        self.generated.push((gguf.into(), tensor));
    }

    /// A tensor of a checkpoint that the computation does not need.
    pub(in crate::arch) fn ignored(&mut self, hf: impl Into<String>) {
        self.ignored.push(hf.into());
    }

    /// A tensor that a checkpoint may have if all its elements are zero.
    pub(in crate::arch) fn zero(&mut self, hf: impl Into<String>) {
        self.zeros.push(hf.into());
    }
}
