//! NVFP4: blocks of 64 floats of 4 bits (E2M1), a scale of 8 bits (E4M3) for 16 of them.
//!
//! A block is four scales, then eight bytes of codes for each: element `j` of the sixteen in the
//! lower half of byte `j`, element `j + 8` in the upper one.

use super::fp4::{nearest, number};
use super::reduce::magnitude;
use super::simd::{Job, Lanes, dispatch};
use crate::hub::{BlockDef, Importance, Kernel};

const LEN: usize = 64;
/// Elements of a scale.
const GROUP: usize = 16;
const SCALES: usize = LEN / GROUP;
const BYTES: usize = SCALES + LEN / 2;
const _: () = assert!(BYTES == 36);

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
            let (scales, bytes) = out.split_at_mut(SCALES);
            let groups = x.as_chunks::<GROUP>().0.iter().zip(bytes.as_chunks_mut::<8>().0);
            for ((x, bytes), scale) in groups.zip(scales) {
                // The greatest number of E2M1 is 6.
                *scale = to_e4m3(magnitude(l, x) / 6.0);
                let codes = nearest(l, x, half_of_e4m3(*scale));
                for (j, byte) in bytes.iter_mut().enumerate() {
                    *byte = codes[j] | codes[j + GROUP / 2] << 4;
                }
            }
        }
    }
}

/// The E4M3 number nearest to `v` ≥ 0, halves up; 448 from 248 on, as ggml has it.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // from 0 to 126
fn to_e4m3(v: f32) -> u8 {
    const MOST: u8 = 0x7e;
    let bits = v.to_bits();
    let exponent = (bits >> 23).cast_signed() - 127 + 7;
    if exponent <= 0 {
        // Multiples of 2^-9. ggml's cut keeps 7 of them apart from the first normal number.
        return ((v * 512.0 + 0.5) as u32).min(7) as u8;
    }
    // Three bits of the fraction, and the next one to round by.
    let code = ((bits >> 20) - (120 << 3)) + ((bits >> 19) & 1);
    if code < 15 << 3 { code as u8 } else { MOST }
}

/// Half of the number that a byte stands for; its sign is ignored, and NaN is zero.
fn half_of_e4m3(byte: u8) -> f32 {
    let (exponent, fraction) = (u32::from(byte >> 3) & 15, byte & 7);
    match byte {
        0 | 0x7f => 0.0,
        _ if exponent == 0 => f32::from(fraction) / 1024.0,
        // Eighths times a power of two, halved.
        _ => f32::from(8 + fraction) * f32::from_bits((exponent + 127 - 7 - 3 - 1) << 23),
    }
}

fn decode(blocks: &[u8], out: &mut [f32]) {
    let blocks = blocks.as_chunks::<BYTES>().0;
    for (block, out) in blocks.iter().zip(out.as_chunks_mut::<LEN>().0) {
        let (scales, bytes) = block.split_at(SCALES);
        let groups = out.as_chunks_mut::<GROUP>().0.iter_mut().zip(bytes.as_chunks::<8>().0);
        for ((out, bytes), scale) in groups.zip(scales) {
            let d = half_of_e4m3(*scale);
            for (j, byte) in bytes.iter().enumerate() {
                out[j] = number(byte & 15, d);
                out[j + GROUP / 2] = number(byte >> 4, d);
            }
        }
    }
}

pub(super) static DEF: BlockDef = BlockDef {
    name: "nvfp4",
    ggml_id: 40,
    revision: 1,
    block_len: LEN,
    block_bytes: BYTES,
    importance: Importance::Ignored,
    slow: true,
    encode,
    decode,
};
