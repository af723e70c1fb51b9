//! Streams laid-out files: parts are computed in parallel, written and hashed in order, in one pass.
//!
//! Peak memory is a fixed number of chunks, never the file. The bytes do not depend on the number
//! of threads: each chunk is a pure function of its range.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use rayon::prelude::*;

use super::Tensor;
use crate::digest::StreamHasher;
use crate::error::{Error, Result};
use crate::fsx;

/// A part of a file.
#[derive(Clone, Debug)]
pub enum Segment {
    /// Bytes that are there.
    Bytes(Bytes),
    /// A tensor's bytes.
    Tensor(Tensor),
    /// The CRC-32 (IEEE 802.3) of the earlier segment of that index, 4 bytes little-endian.
    Crc32(usize),
}

impl Segment {
    /// Its length in bytes.
    #[allow(clippy::len_without_is_empty)] // nobody asks
    pub fn len(&self) -> u64 {
        match self {
            Self::Bytes(b) => b.len() as u64,
            Self::Tensor(t) => t.byte_len(),
            Self::Crc32(_) => 4,
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
const CHUNK: u64 = 1 << 19;
/// Chunks of a window for each thread.
const PER_THREAD: usize = 8;
/// After how many written bytes the pages of the sources are given back.
const RELEASE: u64 = 16 << 20;

struct Chunk<'a> {
    segment: &'a Segment,
    /// The index of the segment.
    index: usize,
    /// Where it starts in the segment.
    offset: u64,
    len: usize,
    summed: bool,
}

/// Cuts a segment into chunks of about [`CHUNK`] bytes at multiples of its
/// granularity.
fn chunks(index: usize, segment: &Segment, summed: bool) -> Result<Vec<Chunk<'_>>> {
    let total = segment.len();
    let step = match segment {
        Segment::Bytes(_) | Segment::Crc32(_) => CHUNK,
        Segment::Tensor(t) => t.granularity().saturating_mul((CHUNK / t.granularity()).max(1)),
    };
    let mut out = Vec::new();
    let mut offset = 0;
    while offset < total {
        let len = usize::try_from(step.min(total - offset))
            .map_err(|_| Error::unsupported("a chunk larger than this machine's memory"))?;
        out.push(Chunk { segment, index, offset, len, summed });
        offset += len as u64;
    }
    Ok(out)
}

/// The bytes of a chunk.
enum Piece {
    /// A slice of a map.
    Shared(Bytes),
    /// A buffer that is used again.
    Made(Vec<u8>),
}

impl Piece {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Shared(bytes) => bytes,
            Self::Made(bytes) => bytes,
        }
    }
}

/// A computed chunk.
enum Ready {
    /// Its segment, its bytes and, where one is wanted, their checksum.
    Bytes(usize, Piece, Option<crc32fast::Hasher>),
    /// The checksum of that segment, known once that segment's chunks have passed.
    Crc32(usize),
}

/// The segments whose checksum another one holds, with that checksum as far as it is known.
type Sums = BTreeMap<usize, crc32fast::Hasher>;

/// The segments that checksums are wanted of; an error when one is not before its checksum.
fn summed(segments: &[Segment]) -> Result<Sums> {
    let mut sums = Sums::new();
    for (index, segment) in segments.iter().enumerate() {
        if let Segment::Crc32(of) = segment {
            if *of >= index {
                return Err(Error::bug("a checksum that stands before its segment"));
            }
            sums.insert(*of, crc32fast::Hasher::new());
        }
    }
    Ok(sums)
}

/// Buffers that wait to be used again.
type Spare = Mutex<Vec<Vec<u8>>>;

fn compute(chunk: &Chunk<'_>, spare: &Spare) -> Result<Ready> {
    if let Segment::Crc32(of) = chunk.segment {
        return Ok(Ready::Crc32(*of));
    }
    let piece = piece(chunk, spare)?;
    let sum = chunk.summed.then(|| {
        let mut sum = crc32fast::Hasher::new();
        sum.update(piece.bytes());
        sum
    });
    Ok(Ready::Bytes(chunk.index, piece, sum))
}

fn piece(chunk: &Chunk<'_>, spare: &Spare) -> Result<Piece> {
    let start = usize::try_from(chunk.offset).map_err(|_| Error::bug("an offset past memory"))?;
    match chunk.segment {
        Segment::Crc32(_) => Err(Error::bug("a checksum computed ahead of its segment")),
        Segment::Bytes(b) => Ok(Piece::Shared(b.slice(start..start + chunk.len))),
        Segment::Tensor(t) => {
            if let Some(b) = t.ready_bytes() {
                return Ok(Piece::Shared(b.slice(start..start + chunk.len)));
            }
            let spare = spare.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let mut out = spare.unwrap_or_default();
            out.resize(chunk.len, 0);
            t.read_at(chunk.offset, &mut out)?;
            Ok(Piece::Made(out))
        }
    }
}

/// Writes the parts in order and returns the BLAKE3 digest of the file. `on_bytes` is told of
/// progress. Works in windows of a few chunks per thread: while one is computed, the one before it
/// is hashed on all threads and written by one.
pub fn write_blob(
    segments: &[Segment],
    out: &mut (impl Write + Send),
    on_bytes: &mut (dyn FnMut(u64) + Send),
) -> Result<blake3::Hash> {
    let mut all = Vec::new();
    let mut sums = summed(segments)?;
    for (index, segment) in segments.iter().enumerate() {
        all.extend(chunks(index, segment, sums.contains_key(&index))?);
    }
    // From inside the pool a join costs no change of thread.
    rayon::scope(|_| write_chunks(&all, &mut sums, out, on_bytes))
}

fn write_chunks(
    all: &[Chunk<'_>],
    sums: &mut Sums,
    out: &mut (impl Write + Send),
    on_bytes: &mut (dyn FnMut(u64) + Send),
) -> Result<blake3::Hash> {
    let window = rayon::current_num_threads() * PER_THREAD;
    let mut hasher = StreamHasher::default();
    let spare = Spare::default();
    let mut ready: Vec<Piece> = Vec::new();
    let mut since_release = 0;
    for batch in all.chunks(window.max(1)) {
        let (next, written) = rayon::join(
            || batch.par_iter().map(|c| compute(c, &spare)).collect::<Result<Vec<_>>>(),
            || flush(&mut ready, &mut hasher, out, &spare, on_bytes),
        );
        written?;
        ready = next?.into_iter().map(|chunk| settle(chunk, sums)).collect();
        since_release += ready.iter().map(|piece| piece.bytes().len() as u64).sum::<u64>();
        if since_release >= RELEASE {
            fsx::release_maps();
            since_release = 0;
        }
    }
    flush(&mut ready, &mut hasher, out, &spare, on_bytes)?;
    fsx::release_maps();
    Ok(hasher.finalize())
}

/// The bytes of a chunk, when all chunks before it have passed here.
fn settle(chunk: Ready, sums: &mut Sums) -> Piece {
    match chunk {
        Ready::Bytes(index, piece, sum) => {
            if let Some((sum, whole)) = sum.zip(sums.get_mut(&index)) {
                whole.combine(&sum);
            }
            piece
        }
        Ready::Crc32(of) => {
            let sum = sums.get(&of).map_or(0, |sum| sum.clone().finalize());
            Piece::Shared(Bytes::copy_from_slice(&sum.to_le_bytes()))
        }
    }
}

/// Hashes and writes a window, side by side.
fn flush(
    ready: &mut Vec<Piece>,
    hasher: &mut StreamHasher,
    out: &mut (impl Write + Send),
    spare: &Spare,
    on_bytes: &mut (dyn FnMut(u64) + Send),
) -> Result<()> {
    let pieces: &[Piece] = ready;
    let write = || -> Result<()> {
        for piece in pieces {
            out.write_all(piece.bytes())
                .map_err(|e| Error::io("write", std::path::Path::new("the artifact"), e))?;
            on_bytes(piece.bytes().len() as u64);
        }
        Ok(())
    };
    let bytes: Vec<&[u8]> = pieces.iter().map(Piece::bytes).collect();
    let (written, ()) = rayon::join(write, || hasher.update(&bytes));
    let mut spare = spare.lock().unwrap_or_else(PoisonError::into_inner);
    for piece in ready.drain(..) {
        if let Piece::Made(buffer) = piece {
            spare.push(buffer);
        }
    }
    written
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

    #[test]
    fn a_checksum_is_that_of_the_segment_it_names_on_any_number_of_threads() {
        let lazy = Tensor::lazy(DType::U8, vec![9_000_001], Arc::new(Ramp)).unwrap();
        let segments = [
            Segment::Bytes(Bytes::from_static(b"123456789")),
            Segment::Crc32(0),
            Segment::Tensor(lazy.clone()),
            Segment::Bytes(Bytes::new()),
            Segment::Crc32(2),
            Segment::Crc32(3),
            Segment::Crc32(2),
        ];
        let sum = crc32fast::hash(&lazy.bytes().unwrap()).to_le_bytes();
        for threads in [1, 2, 7] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let mut got = Vec::new();
            pool.install(|| write_blob(&segments, &mut got, &mut |_| {})).unwrap();
            assert_eq!(got[9..13], 0xcbf4_3926u32.to_le_bytes());
            assert_eq!(got[9_000_014..], [sum, [0; 4], sum].concat());
        }
        assert!(write_blob(&[Segment::Crc32(0)], &mut Vec::new(), &mut |_| {}).is_err());
    }
}
