//! What the types with super-blocks of 256 elements share: many super-blocks side by side.
//!
//! Lane `i` of every vector belongs to super-block `i` of a batch, so each lane goes through the
//! operations of the scalar reference in its order. A block comes out as little-endian words.

use super::simd::{Job, Lanes, MOST_LANES, dispatch};
use crate::hub::Kernel;

/// Elements of a super-block.
pub(super) const LEN: usize = 256;
/// The most words of a block that any type has.
const MOST_WORDS: usize = 53;

/// The words of a batch of blocks, those of a block that is no whole number of words filled up.
pub(super) type Words<L> = [<L as Lanes>::I; MOST_WORDS];
/// The elements of a batch of super-blocks.
pub(super) type Elements<L> = [<L as Lanes>::F; LEN];

/// A type that encodes super-blocks side by side.
pub(super) trait Encoder {
    /// Bytes of a block.
    const BYTES: usize;
    /// Encodes a batch. Implementations are `#[inline(always)]`.
    fn encode<L: Lanes>(
        lanes: L,
        x: &Elements<L>,
        importance: Option<&Elements<L>>,
        words: &mut Words<L>,
    );
}

/// [`crate::hub::BlockDef::encode`] of a type.
pub(super) fn encode<E: Encoder>(
    kernel: Kernel,
    rows: &[f32],
    importance: Option<&[f32]>,
    out: &mut [u8],
) {
    dispatch(kernel, Encode::<'_, E> { rows, importance, out, encoder: std::marker::PhantomData });
}

struct Encode<'a, E> {
    rows: &'a [f32],
    importance: Option<&'a [f32]>,
    out: &'a mut [u8],
    encoder: std::marker::PhantomData<E>,
}

impl<E: Encoder> Job for Encode<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let mut x = [lanes.splat(0.0); LEN];
        let mut weights = [lanes.splat(0.0); LEN];
        let mut words = [lanes.splat_i(0); MOST_WORDS];
        let (blocks, _) = self.rows.as_chunks::<LEN>();
        let mut columns = self.importance.map(|i| i.as_chunks::<LEN>().0.iter().cycle());
        for (blocks, out) in blocks.chunks(L::N).zip(self.out.chunks_mut(E::BYTES * L::N)) {
            side_by_side(lanes, blocks.iter(), &mut x);
            let importance = columns.as_mut().map(|columns| {
                side_by_side(lanes, columns.take(blocks.len()), &mut weights);
                &weights
            });
            E::encode(lanes, &x, importance, &mut words);
            write_words(lanes, &words, E::BYTES, out);
        }
    }
}

#[inline(always)]
fn side_by_side<'a, L: Lanes>(
    lanes: L,
    blocks: impl Iterator<Item = &'a [f32; LEN]>,
    to: &mut Elements<L>,
) {
    let mut rows: [&[f32]; MOST_LANES] = [&[]; MOST_LANES];
    let mut count = 0;
    for (row, block) in rows.iter_mut().zip(blocks) {
        *row = block;
        count += 1;
    }
    lanes.transpose(&rows[..count], to);
}

/// Writes the blocks of a batch, `bytes` each, as many as `out` has.
#[inline(always)]
fn write_words<L: Lanes>(lanes: L, words: &Words<L>, bytes: usize, out: &mut [u8]) {
    let mut stored = [[0; MOST_LANES]; MOST_WORDS];
    for (stored, word) in stored.iter_mut().zip(words) {
        lanes.store_i(*word, stored);
    }
    for (lane, block) in out.chunks_exact_mut(bytes).enumerate() {
        let (whole, rest) = block.as_chunks_mut::<4>();
        let mut words = stored.iter().map(|word| word[lane].to_le_bytes());
        for (out, word) in whole.iter_mut().zip(&mut words) {
            *out = word;
        }
        if let Some(last) = words.next() {
            rest.copy_from_slice(&last[..rest.len()]);
        }
    }
}

/// The bits of the nearest f16 of each number, half to even; ggml's `GGML_FP32_TO_FP16`. A NaN, the
/// outcome of sums that overflow, is the one that x86 makes, on every kernel.
#[inline(always)]
pub(super) fn to_half<L: Lanes>(s: L, v: L::F) -> L::I {
    let w = s.to_bits(v);
    let magnitude = s.and_i(w, s.splat_i(0x7fff_ffff));
    // Scaling by 2^112 and back by 2^-110 makes too large numbers infinite; adding a power of two
    // that depends on the exponent rounds at the last bit of an f16.
    let scaled = s.mul(s.mul(s.abs(v), s.splat(2f32.powi(112))), s.splat(2f32.powi(-110)));
    let exponent = s.and_i(w, s.splat_i(0x7f80_0000));
    let bias = s.add_i(s.max_i(exponent, s.splat_i(0x3880_0000)), s.splat_i(0x0780_0000));
    let bits = s.to_bits(s.add(s.with_bits(bias), scaled));
    let rounded =
        s.add_i(s.and_i(s.shr(bits, 13), s.splat_i(0x7c00)), s.and_i(bits, s.splat_i(0x0fff)));
    let signed = s.or_i(s.and_i(s.shr(w, 16), s.splat_i(0x8000)), rounded);
    let nan = s.lt_i(s.splat_i(0x7f80_0000), magnitude);
    s.select_i(nan, s.splat_i(0xfe00), signed)
}

/// The numbers of f16 bits.
#[inline(always)]
pub(super) fn from_half<L: Lanes>(s: L, half: L::I) -> L::F {
    let sign = s.shl(s.and_i(half, s.splat_i(0x8000)), 16);
    let magnitude = s.and_i(half, s.splat_i(0x7fff));
    // With the exponent's bias 112 too high, then scaled down: right for all but subnormals.
    let wide = s.add_i(s.shl(magnitude, 13), s.splat_i(0x7000_0000));
    let normal = s.mul(s.with_bits(wide), s.splat(2f32.powi(-112)));
    let subnormal = s.mul(s.to_f32(magnitude), s.splat(2f32.powi(-24)));
    let v = s.select(s.lt_i(magnitude, s.splat_i(0x400)), subnormal, normal);
    s.with_bits(s.or_i(s.to_bits(v), sign))
}

/// The sum of the squares of a super-block, in order.
#[inline(always)]
pub(super) fn sum_of_squares<L: Lanes>(s: L, x: &[L::F]) -> L::F {
    x.iter().fold(s.splat(0.0), |sum, &v| s.add(sum, s.mul(v, v)))
}

/// The words whose bytes are `parts[0][i] | parts[1][i] << shift | parts[2][i] << 2·shift …` of the
/// parts' `field`s, four neighbours of `i` a word. A part has four elements for each word.
#[inline(always)]
pub(super) fn pack<L: Lanes, const PARTS: usize>(
    s: L,
    parts: [&[L::I]; PARTS],
    shift: i32,
    field: impl Fn(L::I) -> L::I,
    words: &mut [L::I],
) {
    for (i, word) in words.iter_mut().enumerate() {
        let mut packed = s.splat_i(0);
        for (byte, at) in (0..4).zip(4 * i..) {
            let mut by = 8 * byte;
            for part in parts {
                packed = s.or_i(packed, s.shl(field(part[at]), by));
                by += shift;
            }
        }
        *word = packed;
    }
}

/// A type that decodes blocks.
pub(super) trait Decoder {
    /// Bytes of a block.
    const BYTES: usize;
    /// Decodes a block. Implementations are `#[inline(always)]`.
    fn decode<L: Lanes>(lanes: L, block: &[u8], out: &mut [f32; LEN]);
}

/// [`crate::hub::BlockDef::decode`] of a type.
pub(super) fn decode<D: Decoder>(blocks: &[u8], out: &mut [f32]) {
    dispatch(Kernel::best(), Decode::<'_, D> { blocks, out, decoder: std::marker::PhantomData });
}

struct Decode<'a, D> {
    blocks: &'a [u8],
    out: &'a mut [f32],
    decoder: std::marker::PhantomData<D>,
}

impl<D: Decoder> Job for Decode<'_, D> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let (out, _) = self.out.as_chunks_mut::<LEN>();
        for (block, out) in self.blocks.chunks_exact(D::BYTES).zip(out) {
            D::decode(lanes, block, out);
        }
    }
}

/// A field of each of the first bytes of `bytes`: the bits from `shift` on that `mask` has.
#[inline(always)]
pub(super) fn field<L: Lanes>(s: L, bytes: &[u8], shift: u8, mask: i32) -> L::I {
    s.and_i(s.shr(s.load_bytes(bytes), i32::from(shift)), s.splat_i(mask))
}

/// The number of an f16 in two bytes.
#[inline(always)]
pub(super) fn half(bytes: [u8; 2]) -> f32 {
    half::f16::from_le_bytes(bytes).to_f32()
}
