//! Rows of tensors in another order: permuted heads, stacked experts, joined and cut projections.

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::hub::{DType, Produce, Tensor};
use crate::quantize;

/// Which rows of a list of tensors, put end to end, make up a tensor: a list of runs, one after the
/// other, each so many times its sections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::arch) struct RowMap(Vec<Run>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Run {
    groups: u64,
    sections: Vec<Section>,
}

/// Row `i` of this section in group `g` is row `base + g · stride + Σ digit · stride`, where the
/// digits are those of `i` in the mixed radix of the axes' extents, the first the most significant.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Section {
    base: u64,
    stride: u64,
    /// `(extent, stride)`.
    axes: Vec<(u64, u64)>,
}

impl Section {
    fn len(&self) -> Option<u64> {
        self.axes.iter().try_fold(1u64, |n, (extent, _)| n.checked_mul(*extent))
    }
    fn at(&self, group: u64, mut i: u64) -> (u64, u64) {
        let mut row = self.base + group * self.stride;
        let mut run = 1;
        for (k, (extent, stride)) in self.axes.iter().rev().enumerate() {
            let digit = i % extent;
            i /= extent;
            row += digit * stride;
            if k == 0 && *stride == 1 {
                run = extent - digit;
            }
        }
        (row, run)
    }
}

impl Run {
    /// Rows of a group; `None` on overflow.
    fn group_len(&self) -> Option<u64> {
        self.sections.iter().try_fold(0u64, |n, section| n.checked_add(section.len()?))
    }
    fn len(&self) -> Option<u64> {
        self.group_len()?.checked_mul(self.groups)
    }
    /// The row after the last one that is read; `None` on overflow.
    fn end(&self) -> Option<u64> {
        self.sections.iter().try_fold(0u64, |end, section| {
            let last = self.groups.saturating_sub(1).checked_mul(section.stride)?;
            let mut here = section.base.checked_add(1)?.checked_add(last)?;
            for (extent, stride) in &section.axes {
                here = here.checked_add(extent.saturating_sub(1).checked_mul(*stride)?)?;
            }
            Some(end.max(here))
        })
    }
    fn at(&self, i: u64) -> (u64, u64) {
        let period = self.group_len().unwrap_or(0).max(1);
        let (group, mut rest) = (i / period, i % period);
        for section in &self.sections {
            let len = section.len().unwrap_or(0);
            if rest < len {
                return section.at(group, rest);
            }
            rest -= len;
        }
        (u64::MAX, 1)
    }
}

impl RowMap {
    /// Rows by a base and axes.
    pub(in crate::arch) fn new(base: u64, axes: &[(u64, u64)]) -> Self {
        let sections = vec![Section { base, stride: 0, axes: axes.to_vec() }];
        Self(vec![Run { groups: 1, sections }])
    }
    /// `count` rows from `base` on.
    pub(in crate::arch) fn run(base: u64, count: u64) -> Self {
        Self::new(base, &[(count, 1)])
    }
    /// In each of `groups` groups, the next `rows` rows from each base on: `(base, rows)`.
    pub(in crate::arch) fn dealt(groups: u64, parts: &[(u64, u64)]) -> Self {
        let sections = parts.iter().map(|(base, rows)| Section {
            base: *base,
            stride: *rows,
            axes: vec![(*rows, 1)],
        });
        Self(vec![Run { groups, sections: sections.collect() }])
    }
    /// The rows of this map, then those of another.
    pub(in crate::arch) fn then(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }
    /// How many rows there are; `None` on overflow.
    pub(super) fn len(&self) -> Option<u64> {
        self.0.iter().try_fold(0u64, |n, run| n.checked_add(run.len()?))
    }
    /// Whether these are the first `rows` rows in their order.
    pub(super) fn is_identity(&self, rows: u64) -> bool {
        *self == Self::run(0, rows)
    }
    /// The row after the last one that is read; `None` on overflow.
    fn end(&self) -> Option<u64> {
        self.0.iter().try_fold(0, |end, run| Some(run.end()?.max(end)))
    }
    /// Where row `i` comes from, and how many rows from there on follow it in order. `len` and `end`
    /// are not `None`.
    pub(super) fn at(&self, mut i: u64) -> (u64, u64) {
        for run in &self.0 {
            let len = run.len().unwrap_or(u64::MAX);
            if i < len {
                return run.at(i);
            }
            i -= len;
        }
        (u64::MAX, 1)
    }
    /// A canonical text.
    pub(super) fn text(&self) -> String {
        let runs = self.0.iter().map(|run| {
            let sections = run.sections.iter().map(|section| {
                let axes: Vec<_> = section.axes.iter().map(|(n, s)| format!("{n}*{s}")).collect();
                format!("{}+{}g+{}", section.base, section.stride, axes.join(","))
            });
            format!("{}({})", run.groups, sections.collect::<Vec<_>>().join(";"))
        });
        runs.collect::<Vec<_>>().join("|")
    }
}

/// The tensor of `shape` whose rows are those rows of `sources`, put end to end. All rows have
/// `width` elements, and the sources are of one type.
pub(super) fn gather(
    sources: &[Tensor],
    width: u64,
    map: &RowMap,
    shape: Vec<u64>,
) -> Result<Tensor> {
    let short = || Error::bug("rows of a tensor that are not there");
    let Some(first) = sources.first() else { return Err(short()) };
    let dtype = first.dtype();
    let row = dtype.bytes_for(width).filter(|n| *n > 0).ok_or_else(short)?;
    let mut ends = Vec::with_capacity(sources.len());
    let mut total = 0u64;
    for source in sources {
        let bytes = source.byte_len();
        if source.dtype() != dtype || !bytes.is_multiple_of(row) {
            return Err(Error::bug("rows of tensors that do not fit each other"));
        }
        total = total.checked_add(bytes / row).ok_or_else(short)?;
        ends.push(total);
    }
    if map.end().is_none_or(|end| end > total) {
        return Err(short());
    }
    if let [source] = sources
        && map.is_identity(total)
    {
        return source.reshaped(shape);
    }
    let elements = shape.iter().try_fold(1u64, |n, d| n.checked_mul(*d));
    if elements.is_none() || elements != map.len().and_then(|n| n.checked_mul(width)) {
        return Err(Error::bug(format!("rows that do not make up a tensor of shape {shape:?}")));
    }
    let rows = Rows { sources: sources.to_vec(), ends, row, map: map.clone() };
    Tensor::lazy(dtype, shape, Arc::new(rows))
}

/// The matrix with `count` rows of zeros before its own.
pub(super) fn after_zeros(tensor: &Tensor, count: u64) -> Result<Tensor> {
    let [rows, width] = tensor.shape() else {
        return Err(Error::bug("rows of zeros before what is no matrix"));
    };
    if count == 0 {
        return Ok(tensor.clone());
    }
    let row = tensor.dtype().bytes_for(*width).and_then(|n| usize::try_from(n).ok());
    let row = row.ok_or_else(|| Error::unsupported("a row larger than this machine's memory"))?;
    let zeros = Tensor::new(tensor.dtype(), vec![1, *width], vec![0; row].into())?;
    let map = RowMap::new(0, &[(count, 0)]).then(RowMap::run(1, *rows));
    let shape = vec![rows.saturating_add(count), *width];
    gather(&[zeros, tensor.clone()], *width, &map, shape)
}

struct Rows {
    sources: Vec<Tensor>,
    /// The number of rows up to and with each source.
    ends: Vec<u64>,
    /// Bytes of a row.
    row: u64,
    map: RowMap,
}

impl Produce for Rows {
    fn granularity(&self) -> u64 {
        self.row
    }

    fn produce(&self, offset: u64, mut out: &mut [u8]) -> Result<()> {
        let mut i = offset / self.row;
        while !out.is_empty() {
            let (from, run) = self.map.at(i);
            let source = self.ends.partition_point(|end| *end <= from);
            let start = source.checked_sub(1).and_then(|s| self.ends.get(s)).copied().unwrap_or(0);
            let (Some(tensor), Some(end)) = (self.sources.get(source), self.ends.get(source))
            else {
                return Err(Error::bug("a row past the end of the tensors"));
            };
            let run = run.min(end - from).min(out.len() as u64 / self.row);
            let len = usize::try_from(run * self.row)
                .ok()
                .filter(|len| *len > 0)
                .ok_or_else(|| Error::bug("a read that does not end with a row"))?;
            let (head, rest) = out.split_at_mut(len);
            read_span(tensor, (from - start) * self.row, head)?;
            out = rest;
            i += run;
        }
        Ok(())
    }

    fn recipe(&self) -> Option<(String, Vec<Tensor>)> {
        Some((format!("rows of {} bytes: {}", self.row, self.map.text()), self.sources.clone()))
    }
}

/// Fills `out` with the tensor's bytes from `offset` on, wherever that lies in the tensor's
/// granularity.
pub(super) fn read_span(tensor: &Tensor, offset: u64, out: &mut [u8]) -> Result<()> {
    let step = tensor.granularity();
    let end = offset.saturating_add(out.len() as u64);
    let total = tensor.byte_len();
    if offset.is_multiple_of(step) && (end.is_multiple_of(step) || end == total) {
        return tensor.read_at(offset, out);
    }
    let first = offset / step * step;
    let last = end.div_ceil(step).saturating_mul(step).min(total);
    let wrong = || Error::bug("a read past the end of a tensor");
    let len = usize::try_from(last.checked_sub(first).ok_or_else(wrong)?).map_err(|_| wrong())?;
    let skip = usize::try_from(offset - first).map_err(|_| wrong())?;
    let mut scratch = vec![0; len];
    tensor.read_at(first, &mut scratch)?;
    let wanted = scratch.get(skip..skip.saturating_add(out.len())).ok_or_else(wrong)?;
    out.copy_from_slice(wanted);
    Ok(())
}

/// The tensor with its last two axes swapped. Elements are of 1, 2, 4 or 8 bytes.
pub(super) fn turned(tensor: &Tensor) -> Result<Tensor> {
    let dtype = tensor.dtype();
    let [outer @ .., rows, columns] = tensor.shape() else {
        return Err(Error::bug("a tensor of fewer than two axes cannot be turned"));
    };
    if matches!(dtype, DType::Block(_)) || ![8, 16, 32, 64].contains(&dtype.bits()) {
        return Err(Error::unsupported(format!("a matrix of {dtype} cannot be turned")));
    }
    let mut shape = outer.to_vec();
    shape.extend([*columns, *rows]);
    let fits = |n: u64| usize::try_from(n).ok();
    let (Some(r), Some(c), Some(size)) = (fits(*rows), fits(*columns), fits(dtype.bits() / 8))
    else {
        return Err(Error::unsupported("a tensor larger than this machine's memory"));
    };
    let data = Turned { source: tensor.clone(), rows: r, columns: c, size };
    Tensor::lazy(dtype, shape, Arc::new(data))
}

/// Matrices `[rows, columns]` of the source as `[columns, rows]`.
struct Turned {
    source: Tensor,
    rows: usize,
    columns: usize,
    /// Bytes of an element.
    size: usize,
}

/// Bytes of the source that are read at a time.
const PANEL: usize = 1 << 18;

/// Side of the square that is turned in one go: 16 f32 are a cache line.
const TILE: usize = 16;

impl Turned {
    /// Fills `out` with the columns of a matrix from number `first` on, each as a row.
    fn turn(&self, matrix: u64, first: usize, out: &mut [u8]) -> Result<()> {
        let line = self.columns * self.size;
        let panel = (PANEL / line.max(1)).max(1).next_multiple_of(TILE).min(self.rows);
        let base = matrix * (self.rows as u64) * (line as u64);
        let mut scratch = Vec::new();
        let mut row = 0;
        while row < self.rows {
            let height = panel.min(self.rows - row);
            let start = base + (row as u64) * (line as u64);
            let ready = self.source.ready_bytes().and_then(|bytes| {
                let start = usize::try_from(start).ok()?;
                bytes.get(start..start.checked_add(height.checked_mul(line)?)?)
            });
            let source = match ready {
                Some(bytes) => bytes,
                None => {
                    scratch.resize(height * line, 0);
                    read_span(&self.source, start, &mut scratch)?;
                    &scratch
                }
            };
            match self.size {
                1 => self.tiles::<1>(source, row, first, out),
                2 => self.tiles::<2>(source, row, first, out),
                4 => self.tiles::<4>(source, row, first, out),
                _ => self.tiles::<8>(source, row, first, out),
            }
            row += height;
        }
        Ok(())
    }

    /// Turns some whole rows of the source, the first of them number `row`.
    fn tiles<const N: usize>(&self, source: &[u8], row: usize, first: usize, out: &mut [u8]) {
        let (source, _) = source.as_chunks::<N>();
        let (out, _) = out.as_chunks_mut::<N>();
        let mut tile = [[[0u8; N]; TILE]; TILE];
        for (block, group) in source.chunks(self.columns * TILE).enumerate() {
            let at = row + block * TILE;
            for (strip, lines) in out.chunks_mut(self.rows * TILE).enumerate() {
                let column = first + strip * TILE;
                let width = lines.len() / self.rows;
                let mut height = 0;
                for (i, from) in group.chunks_exact(self.columns).enumerate() {
                    let span = from.iter().skip(column).take(width);
                    for (to, value) in tile.iter_mut().zip(span) {
                        to[i] = *value;
                    }
                    height = i + 1;
                }
                for (to, from) in lines.chunks_exact_mut(self.rows).zip(&tile) {
                    to[at..at + height].copy_from_slice(&from[..height]);
                }
            }
        }
    }
}

impl Produce for Turned {
    fn granularity(&self) -> u64 {
        (self.rows as u64).saturating_mul(self.size as u64).max(1)
    }

    fn produce(&self, offset: u64, mut out: &mut [u8]) -> Result<()> {
        let line = self.granularity();
        let columns = self.columns as u64;
        let mut at = offset / line;
        while !out.is_empty() {
            let (matrix, first) = (at / columns.max(1), at % columns.max(1));
            let lines = (columns - first).min(out.len() as u64 / line);
            let (Ok(len), Ok(column)) = (usize::try_from(lines * line), usize::try_from(first))
            else {
                return Err(Error::bug("a read past the end of a tensor"));
            };
            if len == 0 {
                return Err(Error::bug("a read that does not end with a row"));
            }
            let (head, rest) = out.split_at_mut(len);
            self.turn(matrix, column, head)?;
            out = rest;
            at += lines;
        }
        Ok(())
    }

    fn recipe(&self) -> Option<(String, Vec<Tensor>)> {
        let text = format!("turned {}x{}x{}", self.rows, self.columns, self.size);
        Some((text, vec![self.source.clone()]))
    }
}

/// The tensor in f32 with `step` added to every element; the sum is rounded to the tensor's own
/// type where that is f16, and to f32 else.
pub(super) fn shifted(name: &str, tensor: &Tensor, step: f32) -> Result<Tensor> {
    let half = tensor.dtype() == DType::F16;
    let source = quantize::decode(tensor).map_err(|e| e.item(name))?;
    let shape = source.shape().to_vec();
    Tensor::lazy(DType::F32, shape, Arc::new(Shifted { source, step, half }))
}

struct Shifted {
    source: Tensor,
    step: f32,
    half: bool,
}

impl Produce for Shifted {
    fn granularity(&self) -> u64 {
        let step = self.source.granularity();
        if step.is_multiple_of(4) { step } else { step.saturating_mul(4) }
    }

    fn produce(&self, offset: u64, out: &mut [u8]) -> Result<()> {
        self.source.read_at(offset, out)?;
        for value in out.as_chunks_mut::<4>().0 {
            let sum = f32::from_le_bytes(*value) + self.step;
            let sum = if self.half { half::f16::from_f32(sum).to_f32() } else { sum };
            *value = sum.to_le_bytes();
        }
        Ok(())
    }

    fn recipe(&self) -> Option<(String, Vec<Tensor>)> {
        let text = format!("shifted by {} {}", self.step, if self.half { "in f16" } else { "" });
        Some((text, vec![self.source.clone()]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(shape: &[u64]) -> Tensor {
        let values: Vec<f32> = (0..shape.iter().product::<u64>()).map(|i| i as f32).collect();
        Tensor::from_f32(shape.to_vec(), &values).unwrap()
    }

    /// In chunks of any multiple of the granularity, from a mapped and from a computed source.
    fn same_in_chunks(tensor: &Tensor) -> Vec<f32> {
        let want = tensor.bytes().unwrap();
        let step = usize::try_from(tensor.granularity()).unwrap();
        for chunk in [step, 3 * step] {
            let mut pieces = Vec::new();
            while pieces.len() < want.len() {
                let mut piece = vec![0; chunk.min(want.len() - pieces.len())];
                tensor.read_at(pieces.len() as u64, &mut piece).unwrap();
                pieces.extend(piece);
            }
            assert_eq!(pieces, want);
        }
        tensor.to_f32().unwrap()
    }

    #[test]
    fn rows_are_gathered_from_several_tensors() {
        let sources = [numbers(&[2, 3]), numbers(&[4, 3])];
        let map = RowMap::new(1, &[(2, 1), (2, 2)]);
        let tensor = gather(&sources, 3, &map, vec![4, 3]).unwrap();
        let want = [3., 4., 5., 3., 4., 5., 0., 1., 2., 6., 7., 8.];
        assert_eq!(same_in_chunks(&tensor), want);
        assert!(gather(&sources, 3, &RowMap::run(3, 4), vec![4, 3]).is_err());
        assert!(gather(&sources, 3, &RowMap::run(0, 4), vec![5, 3]).is_err());
    }

    #[test]
    fn rows_of_zeros_stand_before_the_rows_of_a_matrix() {
        let tensor = after_zeros(&numbers(&[2, 3]), 2).unwrap();
        assert_eq!(tensor.shape(), [4, 3]);
        assert_eq!(same_in_chunks(&tensor), [0., 0., 0., 0., 0., 0., 0., 1., 2., 3., 4., 5.]);
    }

    #[test]
    fn a_batch_of_matrices_is_turned() {
        for (rows, columns) in [(1, 1), (3, 50), (50, 3), (17, 33), (300, 400)] {
            let source = numbers(&[2, rows, columns]);
            let once = turned(&source).unwrap();
            assert_eq!(once.shape(), [2, columns, rows]);
            let values = same_in_chunks(&once);
            for (b, i, j) in [(0, 0, 0), (1, rows - 1, columns - 1), (1, rows / 2, columns / 3)] {
                let want = (b * rows + i) * columns + j;
                let got = values[usize::try_from((b * columns + j) * rows + i).unwrap()];
                assert_eq!(got, want as f32);
            }
            assert_eq!(same_in_chunks(&turned(&once).unwrap()), source.to_f32().unwrap());
        }
    }

    #[test]
    fn a_shift_of_f16_rounds_to_f16() {
        let value = half::f16::from_f32(0.000_488_5);
        let bytes = value.to_le_bytes().to_vec();
        let tensor = Tensor::new(DType::F16, vec![1], bytes.into()).unwrap();
        let got = shifted("n", &tensor, 1.0).unwrap().to_f32().unwrap();
        assert_eq!(got, [half::f16::from_f32(1.0 + value.to_f32()).to_f32()]);
    }
}
