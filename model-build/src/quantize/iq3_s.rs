//! `IQ3_S`: 3.4375 bits per weight. Codes of 512 for four elements, all signs, four-bit scales per 32.

use super::codebook::{self, Codebook};
use super::lattice::{self, BLOCK, Fit, Lattice, Refine, decode_code};
use super::numeric::half_at;
use crate::hub::{BlockDef, Importance};

/// The scale (f16), the low bytes of the codes' numbers, their ninth bits, signs, four-bit scales.
const BYTES: usize = 110;
const HIGH: usize = 2 + BLOCK / 4;
const SIGNS: usize = HIGH + BLOCK / 4 / 8;
const SCALES: usize = SIGNS + BLOCK / 8;
const _: () = assert!(BYTES == SCALES + BLOCK / 32 / 2);

const MAGNITUDES: [f32; 8] = [1.0, 3.0, 5.0, 7.0, 9.0, 11.0, 13.0, 15.0];

struct Iq3S;

impl Lattice for Iq3S {
    const SUB: usize = 32;
    const LEVELS: usize = 4;
    const TRIES: i8 = 9;
    const STEP: f32 = 0.2;
    const EVEN: bool = false;
    const SPREAD: f32 = 2.0;
    /// The least positive number: only zeros are below.
    const SMALLEST: f32 = f32::from_bits(1);
    const REFINE: Refine = Refine::AllOrNone;
    const FUDGE: f32 = 1.033;
    const ZERO_IS_BLANK: bool = false;

    fn book() -> &'static Codebook {
        codebook::iq3_s()
    }
    fn weight(_spread: f32, square: f32) -> f32 {
        square
    }
    /// The reference does not step over a sub-block of zeros: the low bytes and the signs of those
    /// that follow stand where the ones before them belong, their ninth bits do not.
    fn put(index: usize, fit: &Fit, out: &mut [u8]) {
        let place = index - fit.skipped;
        for (k, number) in fit.numbers.into_iter().enumerate() {
            let [low, high] = number.to_le_bytes();
            out[2 + 8 * place + k] = low;
            out[HIGH + index] |= high << k;
        }
        out[SIGNS + 4 * place..][..4].copy_from_slice(&fit.signs);
    }
    fn put_scales(scales: &[u8; BLOCK / 16], out: &mut [u8]) {
        for (out, [low, high]) in out[SCALES..].iter_mut().zip(scales.as_chunks().0) {
            *out = low | high << 4;
        }
    }
}

fn decode(blocks: &[u8], out: &mut [f32]) {
    let book = codebook::iq3_s();
    for (block, out) in blocks.as_chunks::<BYTES>().0.iter().zip(out.as_chunks_mut::<BLOCK>().0) {
        let d = half_at(block);
        for (k, out) in out.as_chunks_mut::<4>().0.iter_mut().enumerate() {
            let scale = block[SCALES + k / 16] >> (k / 8 % 2 * 4) & 15;
            let scale = d * f32::from(1 + 2 * scale);
            let high = block[HIGH + k / 8] >> (k % 8) & 1;
            let code = book.codes[usize::from(u16::from_le_bytes([block[2 + k], high]))];
            let signs = block[SIGNS + k / 2] >> (4 * (k % 2));
            decode_code(scale, code, &MAGNITUDES, signs, out);
        }
    }
}

/// `IQ3_S`.
pub(super) static DEF: BlockDef = BlockDef {
    name: "iq3_s",
    ggml_id: 21,
    revision: 1,
    block_len: BLOCK,
    block_bytes: BYTES,
    importance: Importance::Optional,
    slow: true,
    encode: lattice::encode::<Iq3S, BYTES>,
    decode,
};
