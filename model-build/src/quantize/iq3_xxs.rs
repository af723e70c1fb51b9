//! `IQ3_XXS`: 3.0625 bits per weight. Codes of 256 for four elements, even signs, four-bit scales per 32.

use super::codebook::{self, Codebook, even_signs};
use super::lattice::{self, BLOCK, Fit, Lattice, Refine, decode_code, pack_even_signs};
use super::numeric::half_at;
use crate::hub::{BlockDef, Importance};

/// The scale (f16), the codes' numbers, and a word for each sub-block of 32: four times seven signs
/// below the four bits of its scale.
const BYTES: usize = 98;
const WORDS: usize = 2 + BLOCK / 4;
const _: () = assert!(BYTES == WORDS + BLOCK / 32 * 4);

const MAGNITUDES: [f32; 8] = [4.0, 12.0, 20.0, 28.0, 36.0, 44.0, 52.0, 62.0];

struct Iq3Xxs;

impl Lattice for Iq3Xxs {
    const SUB: usize = 32;
    const LEVELS: usize = 4;
    const TRIES: i8 = 15;
    const STEP: f32 = 0.2;
    const EVEN: bool = true;
    const SPREAD: f32 = 2.0;
    const SMALLEST: f32 = 1e-8;
    const REFINE: Refine = Refine::Strangers;
    const FUDGE: f32 = 1.0125;
    const ZERO_IS_BLANK: bool = true;

    fn book() -> &'static Codebook {
        codebook::iq3_xxs()
    }
    fn weight(_spread: f32, square: f32) -> f32 {
        square
    }
    fn put(index: usize, fit: &Fit, out: &mut [u8]) {
        for (out, number) in out[2 + 8 * index..].iter_mut().zip(fit.numbers) {
            *out = number.to_le_bytes()[0];
        }
        out[WORDS + 4 * index..][..4].copy_from_slice(&pack_even_signs(fit.signs).to_le_bytes());
    }
    fn put_scales(scales: &[u8; BLOCK / 16], out: &mut [u8]) {
        for (word, scale) in out[WORDS..].chunks_exact_mut(4).zip(scales) {
            word[3] |= scale << 4;
        }
    }
}

fn decode(blocks: &[u8], out: &mut [f32]) {
    let book = codebook::iq3_xxs();
    for (block, out) in blocks.as_chunks::<BYTES>().0.iter().zip(out.as_chunks_mut::<BLOCK>().0) {
        let d = half_at(block);
        let words = block[WORDS..].as_chunks::<4>().0;
        for (k, out) in out.as_chunks_mut::<4>().0.iter_mut().enumerate() {
            let word = u32::from_le_bytes(words[k / 8]);
            let scale = d * (0.5 + (word >> 28) as f32) * 0.5;
            let signs = even_signs(word >> (7 * (k / 2 % 4))) >> (4 * (k % 2));
            let code = book.codes[usize::from(block[2 + k])];
            decode_code(scale, code, &MAGNITUDES, signs, out);
        }
    }
}

/// `IQ3_XXS`.
pub(super) static DEF: BlockDef = BlockDef {
    name: "iq3_xxs",
    ggml_id: 18,
    revision: 1,
    block_len: BLOCK,
    block_bytes: BYTES,
    importance: Importance::Optional,
    slow: true,
    encode: lattice::encode::<Iq3Xxs, BYTES>,
    decode,
};
