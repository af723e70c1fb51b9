//! `IQ2_S`: 2.5625 bits per weight. Codes of 1024 for eight elements, all signs, four-bit scales per 16.

use super::codebook::{self, Codebook};
use super::lattice::{self, BLOCK, Fit, Lattice, MAGNITUDES_IQ2, Refine, decode_code};
use super::numeric::half_at;
use crate::hub::{BlockDef, Importance};

/// The scale (f16), the low bytes of the codes' numbers, signs, the high two bits of the numbers,
/// four-bit scales.
const BYTES: usize = 82;
const SIGNS: usize = 2 + BLOCK / 8;
const HIGH: usize = SIGNS + BLOCK / 8;
const SCALES: usize = HIGH + BLOCK / 8 / 4;
const _: () = assert!(BYTES == SCALES + BLOCK / 16 / 2);

struct Iq2S;

impl Lattice for Iq2S {
    const SUB: usize = 16;
    const LEVELS: usize = 8;
    const TRIES: i8 = 9;
    const STEP: f32 = 0.1;
    const EVEN: bool = false;
    const SPREAD: f32 = 2.0;
    const SMALLEST: f32 = 1e-8;
    const REFINE: Refine = Refine::Strangers;
    const FUDGE: f32 = 0.9875;
    const ZERO_IS_BLANK: bool = false;

    fn book() -> &'static Codebook {
        codebook::iq2_s()
    }
    fn weight(spread: f32, square: f32) -> f32 {
        0.25 * spread + square
    }
    fn put(index: usize, fit: &Fit, out: &mut [u8]) {
        for k in 0..2 {
            let at = 2 * index + k;
            let [low, high] = fit.numbers[k].to_le_bytes();
            out[2 + at] = low;
            out[HIGH + at / 4] |= high << (2 * (at % 4));
            out[SIGNS + at] = fit.signs[k];
        }
    }
    fn put_scales(scales: &[u8; BLOCK / 16], out: &mut [u8]) {
        for (out, [low, high]) in out[SCALES..].iter_mut().zip(scales.as_chunks().0) {
            *out = low | high << 4;
        }
    }
}

fn decode(blocks: &[u8], out: &mut [f32]) {
    let book = codebook::iq2_s();
    for (block, out) in blocks.as_chunks::<BYTES>().0.iter().zip(out.as_chunks_mut::<BLOCK>().0) {
        let d = half_at(block);
        for (k, out) in out.as_chunks_mut::<8>().0.iter_mut().enumerate() {
            let scale = block[SCALES + k / 4] >> (k / 2 % 2 * 4) & 15;
            let scale = d * (0.5 + f32::from(scale)) * 0.25;
            let high = block[HIGH + k / 4] >> (2 * (k % 4)) & 3;
            let number = u16::from_le_bytes([block[2 + k], high]);
            let code = book.codes[usize::from(number)];
            decode_code(scale, code, &MAGNITUDES_IQ2, block[SIGNS + k], out);
        }
    }
}

/// `IQ2_S`.
pub(super) static DEF: BlockDef = BlockDef {
    name: "iq2_s",
    ggml_id: 22,
    revision: 1,
    block_len: BLOCK,
    block_bytes: BYTES,
    importance: Importance::Optional,
    slow: true,
    encode: lattice::encode::<Iq2S, BYTES>,
    decode,
};
