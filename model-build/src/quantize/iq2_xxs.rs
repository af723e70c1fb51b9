//! `IQ2_XXS`: 2.0625 bits per weight. Codes of 256 for eight elements, even signs, four-bit scales per 32.

use super::codebook::{self, Codebook, even_signs};
use super::lattice::{
    self, BLOCK, Fit, Lattice, MAGNITUDES_IQ2, MOST, Refine, decode_code, pack_even_signs,
};
use super::numeric::{half_at, nearest};
use super::simd::Lanes;
use crate::hub::{BlockDef, Importance};

/// The scale (f16), then for each sub-block of 32: four numbers of codes, and a word of four times
/// seven signs below the four bits of its scale.
const BYTES: usize = 66;
const _: () = assert!(BYTES == 2 + BLOCK / 32 * (4 + 4));

struct Iq2Xxs;

impl Lattice for Iq2Xxs {
    const SUB: usize = 32;
    const LEVELS: usize = 8;
    const TRIES: i8 = 6;
    const STEP: f32 = 0.1;
    const EVEN: bool = true;
    const SPREAD: f32 = 1.0;
    const SMALLEST: f32 = 1e-15;
    const REFINE: Refine = Refine::Always;
    const FUDGE: f32 = 1.0;
    const ZERO_IS_BLANK: bool = true;

    fn book() -> &'static Codebook {
        codebook::iq2_xxs()
    }
    /// ggml refuses to encode without importance; this is that of all columns alike.
    fn weight(spread: f32, square: f32) -> f32 {
        (spread + square).sqrt()
    }
    #[inline(always)]
    fn begin<L: Lanes>(
        s: L,
        values: &[f32; MOST],
        weights: &[f32; MOST],
        largest: f32,
    ) -> (f32, f32) {
        let scale = plain_scale(s, values, weights, largest);
        (scale * 3.0, scale)
    }
    fn put(index: usize, fit: &Fit, out: &mut [u8]) {
        let out = &mut out[2 + 8 * index..][..8];
        for (out, number) in out.iter_mut().zip(&fit.numbers[..4]) {
            *out = number.to_le_bytes()[0];
        }
        out[4..].copy_from_slice(&pack_even_signs(fit.signs).to_le_bytes());
    }
    fn put_scales(scales: &[u8; BLOCK / 16], out: &mut [u8]) {
        for (out, scale) in out[2..].chunks_exact_mut(8).zip(scales) {
            out[7] |= scale << 4;
        }
    }
}

/// The highest level of [`plain_scale`].
const TOP: i32 = 4;

/// The scale that fits levels 0, 1, 2, 3, 4 to values.
#[inline(always)]
fn plain_scale<L: Lanes>(s: L, values: &[f32; MOST], weights: &[f32; MOST], largest: f32) -> f32 {
    let mut inverse = [1f32; 16];
    inverse[0] = TOP as f32 / largest;
    let steps = (-4i8..=4).filter(|step| *step != 0);
    for (slot, step) in inverse[1..].iter_mut().zip(steps) {
        *slot = (0.1 * f32::from(step) + TOP as f32) / largest;
    }
    let mut errors = [0f32; 16];
    for at in (0..9).step_by(L::N) {
        let inverse = s.load(&inverse[at..]);
        let scale = s.div(s.splat(1.0), inverse);
        let mut error = s.splat(0.0);
        for (value, weight) in values.iter().zip(weights) {
            let value = s.splat(*value);
            let level = s.min_i(s.nearest(s.mul(inverse, value)), s.splat_i(TOP));
            let difference = s.sub(value, s.mul(scale, s.to_f32(level)));
            error = s.add(error, s.mul(s.mul(s.splat(*weight), difference), difference));
        }
        s.store(error, &mut errors[at..]);
    }
    errors[0] = plain_error(inverse[0], values, weights);
    let mut best = 0;
    for (t, error) in errors.iter().enumerate().take(9) {
        if *error < errors[best] {
            best = t;
        }
    }
    settle(inverse[best], values, weights)
}

/// The error at the plain scale, whose levels are stored in bytes that wrap.
fn plain_error(inverse: f32, values: &[f32; MOST], weights: &[f32; MOST]) -> f32 {
    let scale = 1.0 / inverse;
    values.iter().zip(weights).fold(0.0, |error, (value, weight)| {
        let difference = value - scale * f32::from(byte(nearest(inverse * value)));
        error + weight * difference * difference
    })
}

/// The low byte.
fn byte(level: i32) -> u8 {
    level.to_le_bytes()[0]
}

/// Rounds to levels, moves single levels while that helps, and returns the scale for them.
fn settle(inverse: f32, values: &[f32; MOST], weights: &[f32; MOST]) -> f32 {
    let mut levels = [0u8; MOST];
    let (mut along, mut squares) = (0f32, 0f32);
    for ((value, weight), stored) in values.iter().zip(weights).zip(&mut levels) {
        let level = nearest(inverse * value).min(TOP);
        *stored = byte(level);
        along += weight * value * level as f32;
        squares += weight * level as f32 * level as f32;
    }
    for _ in 0..5 {
        let mut changed = false;
        for ((value, weight), stored) in values.iter().zip(weights).zip(&mut levels) {
            let level = f32::from(*stored);
            let mut without = along - weight * value * level;
            let mut squares_without = squares - weight * level * level;
            if !(without > 0.0 && squares_without > 0.0) {
                continue;
            }
            let other = nearest(value * squares_without / without).min(TOP);
            if other == i32::from(*stored) {
                continue;
            }
            without += weight * value * other as f32;
            squares_without += weight * other as f32 * other as f32;
            if without * without * squares > along * along * squares_without {
                *stored = byte(other);
                (along, squares) = (without, squares_without);
                changed = true;
            }
        }
        if !changed {
            break;
        }
    }
    if squares > 0.0 { along / squares } else { 0.0 }
}

fn decode(blocks: &[u8], out: &mut [f32]) {
    let book = codebook::iq2_xxs();
    for (block, out) in blocks.as_chunks::<BYTES>().0.iter().zip(out.as_chunks_mut::<BLOCK>().0) {
        let d = half_at(block);
        for (sub, out) in block[2..].as_chunks::<8>().0.iter().zip(out.as_chunks_mut::<32>().0) {
            let [a, b, c, e, word @ ..] = *sub;
            let word = u32::from_le_bytes(word);
            let scale = d * (0.5 + (word >> 28) as f32) * 0.25;
            for ((k, number), out) in (0..).zip([a, b, c, e]).zip(out.as_chunks_mut::<8>().0) {
                let code = book.codes[usize::from(number)];
                decode_code(scale, code, &MAGNITUDES_IQ2, even_signs(word >> (7 * k)), out);
            }
        }
    }
}

/// `IQ2_XXS`.
pub(super) static DEF: BlockDef = BlockDef {
    name: "iq2_xxs",
    ggml_id: 16,
    revision: 1,
    block_len: BLOCK,
    block_bytes: BYTES,
    importance: Importance::Required,
    slow: true,
    encode: lattice::encode::<Iq2Xxs, BYTES>,
    decode,
};
