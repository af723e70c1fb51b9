//! MXFP4: blocks of 32 floats of 4 bits (E2M1) and a power of two (E8M0).
//!
//! A block is the exponent, plus 127, then the codes: element `j` in the lower half of byte `j`,
//! element `j + 16` in the upper one.

use super::fp4::{nearest, number};
use super::reduce::magnitude;
use super::simd::{Job, Lanes, dispatch};
use crate::hub::{BlockDef, Importance, Kernel};

const LEN: usize = 32;
const BYTES: usize = 1 + LEN / 2;
const _: () = assert!(BYTES == 17);

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
            out[0] = exponent(magnitude(l, x));
            let codes = nearest(l, x, half_power(out[0]));
            for j in 0..LEN / 2 {
                out[1 + j] = codes[j] | codes[j + LEN / 2] << 4;
            }
        }
    }
}

/// The stored exponent for a greatest magnitude: that of its power of two, less 2, as a byte.
///
/// The power of two is the floor of a logarithm in f32, which is rounded up to a whole number just
/// below powers of two.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // ggml keeps the low byte, too
fn exponent(magnitude: f32) -> u8 {
    if magnitude == 0.0 {
        return 0;
    }
    // A power of two times a number from 1 up to 2, whose fraction is `bits`.
    let shift = magnitude.to_bits().leading_zeros().saturating_sub(8);
    let bits = (magnitude.to_bits() << shift) & 0x007f_ffff;
    let power = (magnitude.to_bits() >> 23).max(1).cast_signed() - 127 - shift.cast_signed();
    // The logarithm of 2^n · (1 - r · 2^-24) lies about r · 2^-24 / ln 2 below n. It becomes n where
    // that is less than half a unit in the last place of floats just below n.
    let next = power + 1;
    let octave = match next {
        0 => 0,
        1.. => (next - 1).checked_ilog2().unwrap_or(0),
        _ => next.unsigned_abs().ilog2(),
    };
    let reach = if next == 0 { 0.0 } else { std::f32::consts::LN_2 * (1u32 << octave) as f32 };
    let missing = (0x0080_0000 - bits) as f32;
    let power = if missing <= reach { next } else { power };
    (power - 2 + 127) as u8
}

/// Half of the power of two that a byte stands for.
fn half_power(exponent: u8) -> f32 {
    f32::from_bits(match exponent {
        0 => 0x0020_0000,
        1 => 0x0040_0000,
        e => (u32::from(e) - 1) << 23,
    })
}

fn decode(blocks: &[u8], out: &mut [f32]) {
    let blocks = blocks.as_chunks::<BYTES>().0;
    for (block, out) in blocks.iter().zip(out.as_chunks_mut::<LEN>().0) {
        let d = half_power(block[0]);
        for (j, byte) in block[1..].iter().enumerate() {
            out[j] = number(byte & 15, d);
            out[j + LEN / 2] = number(byte >> 4, d);
        }
    }
}

pub(super) static DEF: BlockDef = BlockDef {
    name: "mxfp4",
    ggml_id: 39,
    revision: 1,
    block_len: LEN,
    block_bytes: BYTES,
    importance: Importance::Ignored,
    slow: true,
    encode,
    decode,
};
