//! `IQ2_XS`: 2.3125 bits per weight. Codes of 512 for eight elements, even signs, four-bit scales per 16.

use super::codebook::{self, Codebook, even_signs};
use super::lattice::{self, BLOCK, Fit, Lattice, MAGNITUDES_IQ2, Refine, decode_code};
use super::numeric::half_at;
use crate::hub::{BlockDef, Importance};

/// The scale (f16), words of nine bits of a code's number and seven signs, four-bit scales.
const BYTES: usize = 74;
const SCALES: usize = 2 + BLOCK / 8 * 2;
const _: () = assert!(BYTES == SCALES + BLOCK / 16 / 2);

struct Iq2Xs;

impl Lattice for Iq2Xs {
    const SUB: usize = 16;
    const LEVELS: usize = 8;
    const TRIES: i8 = 9;
    const STEP: f32 = 0.1;
    const EVEN: bool = true;
    const SPREAD: f32 = 1.0;
    const SMALLEST: f32 = 1e-15;
    const REFINE: Refine = Refine::Strangers;
    const FUDGE: f32 = 1.0;
    const ZERO_IS_BLANK: bool = true;

    fn book() -> &'static Codebook {
        codebook::iq2_xs()
    }
    /// ggml refuses to encode without importance; this is that of all columns alike.
    fn weight(spread: f32, square: f32) -> f32 {
        (spread + square).sqrt()
    }
    fn put(index: usize, fit: &Fit, out: &mut [u8]) {
        let words = out[2 + 4 * index..][..4].as_chunks_mut::<2>().0;
        for ((word, number), signs) in words.iter_mut().zip(fit.numbers).zip(fit.signs) {
            *word = (number | u16::from(signs & 127) << 9).to_le_bytes();
        }
    }
    fn put_scales(scales: &[u8; BLOCK / 16], out: &mut [u8]) {
        for (out, [low, high]) in out[SCALES..].iter_mut().zip(scales.as_chunks().0) {
            *out = low | high << 4;
        }
    }
}

fn decode(blocks: &[u8], out: &mut [f32]) {
    let book = codebook::iq2_xs();
    for (block, out) in blocks.as_chunks::<BYTES>().0.iter().zip(out.as_chunks_mut::<BLOCK>().0) {
        let d = half_at(block);
        let words = block[2..SCALES].as_chunks::<2>().0;
        for ((k, word), out) in words.iter().enumerate().zip(out.as_chunks_mut::<8>().0) {
            let word = u16::from_le_bytes(*word);
            let scale = block[SCALES + k / 4] >> (k / 2 % 2 * 4) & 15;
            let scale = d * (0.5 + f32::from(scale)) * 0.25;
            let code = book.codes[usize::from(word & 511)];
            decode_code(scale, code, &MAGNITUDES_IQ2, even_signs(u32::from(word >> 9)), out);
        }
    }
}

/// `IQ2_XS`.
pub(super) static DEF: BlockDef = BlockDef {
    name: "iq2_xs",
    ggml_id: 17,
    revision: 1,
    block_len: BLOCK,
    block_bytes: BYTES,
    importance: Importance::Required,
    slow: true,
    encode: lattice::encode::<Iq2Xs, BYTES>,
    decode,
};
