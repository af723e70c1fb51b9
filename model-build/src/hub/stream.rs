//! Streams laid-out files: parts are computed in parallel, written and hashed in order, in one pass.
//!
//! Peak memory is a fixed number of chunks, never the file. The bytes do not depend on the number
//! of threads: each chunk is a pure function of its range.

use std::io::Write;

use bytes::Bytes;
use rayon::prelude::*;

use super::Tensor;
use crate::error::{Error, Result};

/// A part of a file.
#[derive(Clone, Debug)]
pub enum Segment {
    /// Bytes that are there.
    Bytes(Bytes),
    /// A tensor's bytes.
    Tensor(Tensor),
}

impl Segment {
    fn len(&self) -> u64 {
        match self {
            Self::Bytes(b) => b.len() as u64,
            Self::Tensor(t) => t.byte_len(),
        }
    }
}

/// One file of an artifact, laid out and not yet computed.
#[derive(Clone, Debug)]
pub struct Blob {
    /// File name within the artifact; the artifact's main file comes first and is named by the caller.
    pub name: String,
    /// The parts, in order.
    pub segments: Vec<Segment>,
}

/// The length of a file in bytes.
pub fn blob_len(segments: &[Segment]) -> u64 {
    segments.iter().map(Segment::len).sum()
}

/// Target size of the chunk one worker computes at a time.
const CHUNK: u64 = 1 << 20;

struct Chunk<'a> {
    segment: &'a Segment,
    offset: u64,
    len: usize,
}

/// Cuts a segment into chunks of about [`CHUNK`] bytes at multiples of its granularity.
fn chunks(segment: &Segment) -> Result<Vec<Chunk<'_>>> {
    let total = segment.len();
    let step = match segment {
        Segment::Bytes(_) => CHUNK,
        Segment::Tensor(t) => t.granularity().saturating_mul((CHUNK / t.granularity()).max(1)),
    };
    let mut out = Vec::new();
    let mut offset = 0;
    while offset < total {
        let len = usize::try_from(step.min(total - offset))
            .map_err(|_| Error::unsupported("a chunk larger than this machine's memory"))?;
        out.push(Chunk { segment, offset, len });
        offset += len as u64;
    }
    Ok(out)
}

fn compute(chunk: &Chunk<'_>) -> Result<Bytes> {
    let start = usize::try_from(chunk.offset).map_err(|_| Error::bug("an offset past memory"))?;
    match chunk.segment {
        Segment::Bytes(b) => Ok(b.slice(start..start + chunk.len)),
        Segment::Tensor(t) => {
            if let Some(b) = t.ready_bytes() {
                return Ok(b.slice(start..start + chunk.len));
            }
            let mut out = vec![0; chunk.len];
            t.read_at(chunk.offset, &mut out)?;
            Ok(out.into())
        }
    }
}

/// Writes the parts in order and returns the BLAKE3 digest of the file. `on_bytes` is told of
/// progress. Works in windows of a few chunks per thread: a window is computed while the one
/// before it is hashed and written.
pub fn write_blob(
    segments: &[Segment],
    out: &mut (impl Write + Send),
    on_bytes: &mut (dyn FnMut(u64) + Send),
) -> Result<blake3::Hash> {
    let window = rayon::current_num_threads() * 2;
    let mut hasher = blake3::Hasher::new();
    let mut all = Vec::new();
    for segment in segments {
        all.extend(chunks(segment)?);
    }
    let mut ready: Vec<Bytes> = Vec::new();
    for batch in all.chunks(window.max(1)) {
        let (next, written) = rayon::join(
            || batch.par_iter().map(compute).collect::<Result<Vec<_>>>(),
            || flush(&mut ready, &mut hasher, out, on_bytes),
        );
        written?;
        ready = next?;
    }
    flush(&mut ready, &mut hasher, out, on_bytes)?;
    Ok(hasher.finalize())
}

fn flush(
    ready: &mut Vec<Bytes>,
    hasher: &mut blake3::Hasher,
    out: &mut impl Write,
    on_bytes: &mut (dyn FnMut(u64) + Send),
) -> Result<()> {
    for chunk in ready.drain(..) {
        hasher.update(&chunk);
        out.write_all(&chunk)
            .map_err(|e| Error::io("write", std::path::Path::new("the artifact"), e))?;
        on_bytes(chunk.len() as u64);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::{DType, Produce};
    use std::sync::Arc;

    struct Ramp;
    impl Produce for Ramp {
        fn granularity(&self) -> u64 {
            3
        }
        #[allow(clippy::cast_possible_truncation)]
        fn produce(&self, offset: u64, out: &mut [u8]) -> Result<()> {
            assert_eq!(offset % 3, 0);
            for (i, b) in out.iter_mut().enumerate() {
                *b = ((offset + i as u64) % 251) as u8;
            }
            Ok(())
        }
    }

    #[test]
    fn the_same_bytes_on_any_number_of_threads() {
        let lazy = Tensor::lazy(DType::U8, vec![9_000_001], Arc::new(Ramp)).unwrap();
        let segments = [
            Segment::Bytes(Bytes::from_static(b"head")),
            Segment::Tensor(lazy.clone()),
            Segment::Bytes(Bytes::from_static(b"tail")),
        ];
        let mut want = b"head".to_vec();
        want.extend_from_slice(&lazy.bytes().unwrap());
        want.extend_from_slice(b"tail");
        for threads in [1, 2, 7] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let mut got = Vec::new();
            let mut seen = 0;
            let digest =
                pool.install(|| write_blob(&segments, &mut got, &mut |n| seen += n)).unwrap();
            assert_eq!(got, want);
            assert_eq!(digest, blake3::hash(&want));
            assert_eq!(seen, want.len() as u64);
            assert_eq!(seen, blob_len(&segments));
        }
    }
}
