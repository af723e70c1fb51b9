//! TQ1_0: blocks of 256 weights as -1, 0 or 1 times the greatest magnitude, five in a byte.
//!
//! A block is 32 bytes for 160 weights, 16 bytes for 80 and 4 bytes for 16, then the magnitude
//! (f16). In a run of `w` bytes the byte `m` holds the weights `m`, `w + m`, `2w + m` …, plus one
//! each, as digits of base 3, the first the highest; a run of four weights per byte has a zero for
//! the last digit. The number of five digits is stored as a fraction of 243 in 256ths, rounded up,
//! so that each digit falls out of the top of a multiplication by 3.

use super::simd::float::{f16_bits_to_f32, f32_to_f16_bits};
use super::simd::{Job, Lanes, dispatch};
use super::trit::trits;
use crate::hub::{BlockDef, Importance, Kernel};

const LEN: usize = 256;
/// Bytes of each run, and weights in each of its bytes.
const RUNS: [(usize, usize); 3] = [(32, 5), (16, 5), (4, 4)];
const CODES: usize = 32 + 16 + 4;
const BYTES: usize = CODES + 2;
const _: () = assert!(BYTES == 54);

fn encode(kernel: Kernel, values: &[f32], _: Option<&[f32]>, _: usize, out: &mut [u8]) {
    dispatch(kernel, Encode { values, out });
}

struct Encode<'a> {
    values: &'a [f32],
    out: &'a mut [u8],
}

impl Job for Encode<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, l: L) {
        let blocks = self.values.as_chunks::<LEN>().0;
        for (x, out) in blocks.iter().zip(self.out.as_chunks_mut::<BYTES>().0) {
            let (d, codes) = trits(l, x, 1);
            let (mut codes, mut out) = (&codes[..], &mut out[..]);
            for (width, digits) in RUNS {
                let (now, later) = codes.split_at(width * digits);
                let (bytes, rest) = out.split_at_mut(width);
                pack(now, bytes, digits);
                (codes, out) = (later, rest);
            }
            out.copy_from_slice(&f32_to_f16_bits(d).to_le_bytes());
        }
    }
}

#[inline(always)]
#[allow(clippy::cast_possible_truncation)] // the quotient of less than 243 · 256 is below 256
fn pack(codes: &[u8], bytes: &mut [u8], digits: usize) {
    let width = bytes.len();
    for (m, byte) in bytes.iter_mut().enumerate() {
        let number = (0..digits).fold(0, |q, n| 3 * q + u16::from(codes[m + n * width]));
        let number = if digits == 4 { 3 * number } else { number };
        *byte = (number * 256).div_ceil(243) as u8;
    }
}

fn decode(blocks: &[u8], out: &mut [f32]) {
    let blocks = blocks.as_chunks::<BYTES>().0;
    for (block, out) in blocks.iter().zip(out.as_chunks_mut::<LEN>().0) {
        let d = f16_bits_to_f32(u16::from_le_bytes([block[CODES], block[CODES + 1]]));
        let (mut bytes, mut out) = (&block[..], &mut out[..]);
        for (width, digits) in RUNS {
            let (now, later) = bytes.split_at(width);
            let (values, rest) = out.split_at_mut(width * digits);
            for (n, values) in values.chunks_exact_mut(width).enumerate() {
                let power = [1u8, 3, 9, 27, 81][n];
                for (value, byte) in values.iter_mut().zip(now) {
                    let digit = (u16::from(byte.wrapping_mul(power)) * 3) >> 8;
                    *value = (f32::from(digit) - 1.0) * d;
                }
            }
            (bytes, out) = (later, rest);
        }
    }
}

pub(super) static DEF: BlockDef = BlockDef {
    name: "tq1_0",
    ggml_id: 34,
    revision: 1,
    block_len: LEN,
    block_bytes: BYTES,
    importance: Importance::Ignored,
    slow: false,
    encode,
    decode,
};
