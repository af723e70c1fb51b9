//! Reads tensors in blocks that fit their granularity, in parallel and in bounded memory.

use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::hub::Tensor;

/// Target size of a block.
const BLOCK: u64 = 1 << 20;

/// A step that fits lines longer than this is given up for reading the whole tensor.
const MAX_BLOCK: u64 = 64 << 20;

/// Calls `of` with the offset and the bytes of every block of the tensor and gives the results in
/// order. Blocks start at multiples of `line` bytes. The blocks depend on the tensor alone, never
/// on the number of threads.
pub(super) fn map_blocks<T: Send>(
    tensor: &Tensor,
    line: u64,
    of: impl Fn(u64, &[u8]) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    let too_large = || Error::unsupported("a tensor larger than this machine's memory");
    let total = tensor.byte_len();
    let line = line.max(1);
    let ready = tensor.ready_bytes();
    let step = if ready.is_some() { Some(line) } else { lcm(line, tensor.granularity()) };
    let (bytes, step) = match (ready, step.filter(|s| *s <= MAX_BLOCK)) {
        (Some(bytes), _) => (Some(bytes.clone()), line),
        (None, Some(step)) => (None, step),
        (None, None) => (Some(tensor.bytes()?), line),
    };
    let block = step.saturating_mul((BLOCK / step).max(1));
    (0..total.div_ceil(block))
        .into_par_iter()
        .map(|i| {
            let offset = i * block;
            let len = usize::try_from(block.min(total - offset)).map_err(|_| too_large())?;
            if let Some(bytes) = &bytes {
                let from = usize::try_from(offset).map_err(|_| too_large())?;
                let part = bytes
                    .get(from..from.saturating_add(len))
                    .ok_or_else(|| Error::bug("a read past the end of a tensor"))?;
                return of(offset, part);
            }
            let mut part = vec![0; len];
            tensor.read_at(offset, &mut part)?;
            of(offset, &part)
        })
        .collect()
}

fn lcm(a: u64, b: u64) -> Option<u64> {
    let (mut x, mut y) = (a, b);
    while y != 0 {
        (x, y) = (y, x % y);
    }
    (a / x.max(1)).checked_mul(b)
}

/// The granularity, in elements, of a tensor computed element by element from `source`.
pub(super) fn elements_per_step(source: &Tensor) -> u64 {
    let size = (source.dtype().bits() / 8).max(1);
    lcm(source.granularity(), size).map_or(u64::MAX, |bytes| bytes / size)
}

/// Calls `of` with the source's bytes of `len` elements from element `first` on.
pub(super) fn with_elements<T>(
    source: &Tensor,
    first: u64,
    len: usize,
    of: impl FnOnce(&[u8]) -> T,
) -> Result<T> {
    let past = || Error::bug("a read past the end of a tensor");
    let size = source.dtype().bits() / 8;
    let from = first.checked_mul(size).ok_or_else(past)?;
    let bytes = usize::try_from(size).ok().and_then(|s| s.checked_mul(len)).ok_or_else(past)?;
    if let Some(all) = source.ready_bytes() {
        let from = usize::try_from(from).map_err(|_| past())?;
        let part = all.get(from..from.saturating_add(bytes)).ok_or_else(past)?;
        return Ok(of(part));
    }
    let mut part = vec![0; bytes];
    source.read_at(from, &mut part)?;
    Ok(of(&part))
}

/// Calls `of` with `len` bytes of a tensor from the byte `from` on, whatever its granularity.
pub(super) fn with_span<T>(
    tensor: &Tensor,
    from: u64,
    len: usize,
    of: impl FnOnce(&[u8]) -> T,
) -> Result<T> {
    let past = || Error::bug("a read past the end of a tensor");
    let step = tensor.granularity();
    let start = from - from % step;
    let end = from.checked_add(len as u64).ok_or_else(past)?;
    let stop = end.checked_next_multiple_of(step).unwrap_or(u64::MAX).min(tensor.byte_len());
    let size = stop.checked_sub(start).and_then(|n| usize::try_from(n).ok()).ok_or_else(past)?;
    let mut part = vec![0; size];
    tensor.read_at(start, &mut part)?;
    let skip = usize::try_from(from - start).map_err(|_| past())?;
    Ok(of(part.get(skip..skip.saturating_add(len)).ok_or_else(past)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::{DType, Produce};
    use std::sync::Arc;

    struct Ramp;
    impl Produce for Ramp {
        fn granularity(&self) -> u64 {
            12
        }
        fn produce(&self, offset: u64, out: &mut [u8]) -> Result<()> {
            assert_eq!(offset % 12, 0);
            for (i, b) in out.iter_mut().enumerate() {
                *b = u8::try_from((offset + i as u64) % 251).unwrap();
            }
            Ok(())
        }
    }

    #[test]
    fn blocks_cover_the_tensor_in_order_whether_it_is_there_or_computed() {
        let lazy = Tensor::lazy(DType::F32, vec![1 << 19, 5], Arc::new(Ramp)).unwrap();
        let owned = Tensor::new(DType::F32, vec![1 << 19, 5], lazy.bytes().unwrap()).unwrap();
        for tensor in [&lazy, &owned] {
            let blocks = map_blocks(tensor, 20, |offset, part| {
                assert_eq!(offset % 20, 0);
                Ok(part.to_vec())
            })
            .unwrap();
            assert!(blocks.len() > 5);
            assert_eq!(blocks.concat(), lazy.bytes().unwrap());
        }
        assert_eq!(elements_per_step(&lazy), 3);
        assert_eq!(elements_per_step(&owned), 1);
    }
}
