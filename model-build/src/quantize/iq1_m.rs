//! `IQ1_M`: 1.75 bits per weight. Three levels, a three-bit scale per 16, a direction of moving per 8.

use std::marker::PhantomData;

use super::codebook;
use super::lattice::level;
use super::numeric::{half_at, half_bytes, larger};
use super::simd::{Lanes, MOST_LANES, dispatch};
use super::ternary::{
    BLOCK, Best, Encode, Fit, MOVED, Sorted, Ternary, decode_code, running_sums, spread,
};
use crate::hub::{BlockDef, Importance, Kernel};

/// Elements in a sub-block, which has two codes.
const SUB: usize = 16;
/// The low bytes of the codes' numbers; by code, four bits: three high bits of the number, one that
/// says whether levels are moved down; then words of four three-bit scales each, whose highest four
/// bits together are the scale of the block (f16).
const BYTES: usize = 56;
const HIGH: usize = BLOCK / 8;
const SCALES: usize = HIGH + BLOCK / 16;
const _: () = assert!(BYTES == SCALES + BLOCK / SUB / 4 * 2);

struct Iq1M;

impl Ternary<SUB, BYTES> for Iq1M {
    const SMALLEST: f32 = 1e-7;
    const CHOICES: u8 = 4;

    #[inline(always)]
    fn search<L: Lanes>(s: L, sorted: &Sorted<SUB>, best: &mut Best<L>) {
        let halves = [Half::new(s, sorted, 0), Half::new(s, sorted, 1)];
        for i in 0..=SUB {
            for j in i..=SUB {
                let [first, second] = [halves[0].sums(s, i, j), halves[1].sums(s, i, j)];
                for choice in 0..4u8 {
                    let (along_0, squares_0) = first[usize::from(Self::down(choice, 0))];
                    let (along_1, squares_1) = second[usize::from(Self::down(choice, 1))];
                    let squares = s.add(squares_0, squares_1);
                    best.offer(choice, (i, j), s.add(along_0, along_1), squares);
                }
            }
        }
    }

    fn down(choice: u8, k: usize) -> bool {
        choice >> (1 - k) & 1 == 1
    }

    fn put(block: &[f32; BLOCK], importance: Option<&[f32]>, fits: &[Fit], out: &mut [u8; BYTES]) {
        out.fill(0);
        for (at, number) in fits.iter().flat_map(|fit| &fit.numbers[..2]).enumerate() {
            let [low, high] = number.to_le_bytes();
            out[at] = low;
            out[HIGH + at / 2] |= high << (4 * (at % 2));
        }
        let largest = fits.iter().fold(0.0, |max, fit| larger(max, fit.scale));
        if largest == 0.0 {
            return;
        }
        let d = largest / 15.0;
        let inverse = 1.0 / d;
        let mut levels = [0u8; BLOCK / SUB];
        let mut words = [0u16; 4];
        for (index, (fit, to)) in fits.iter().zip(&mut levels).enumerate() {
            *to = level(inverse * fit.scale, 7);
            words[index / 4] |= u16::from(*to) << (3 * (index % 4));
            for k in 0..2 {
                out[HIGH + index] |= u8::from(Self::down(fit.choice, k)) << (4 * k + 3);
            }
        }
        let scale = refit(block, importance, fits, &levels).unwrap_or(d);
        let scale = u16::from_le_bytes(half_bytes(scale * 1.1125));
        for (k, (word, to)) in words.iter().zip(out[SCALES..].as_chunks_mut().0).enumerate() {
            *to = (word | (scale >> (4 * k)) << 12).to_le_bytes();
        }
    }
}

/// The best scale of a block for its codes and three-bit scales; `None` if all weights are 0.
fn refit(
    block: &[f32; BLOCK],
    importance: Option<&[f32]>,
    fits: &[Fit],
    levels: &[u8; BLOCK / SUB],
) -> Option<f32> {
    let book = codebook::iq1();
    let spread = spread(block);
    let (mut along, mut squares) = (0f32, 0f32);
    for (i, x) in block.iter().enumerate() {
        let weight = match importance {
            Some(importance) => importance[i] * (spread + x * x).sqrt(),
            None => x * x,
        };
        let (fit, k) = (&fits[i / SUB], i / 8 % 2);
        let code = book.codes[usize::from(fit.numbers[k])];
        let moved = &MOVED[usize::from(Iq1M::down(fit.choice, k))];
        let value =
            moved[usize::from(code >> (2 * (i % 8)) & 3)] * f32::from(2 * levels[i / SUB] + 1);
        along += weight * value * x;
        squares += weight * value * value;
    }
    (squares > 0.0).then(|| along / squares)
}

/// The eight elements of a code among the sorted sixteen.
struct Half<L: Lanes> {
    products: [L::F; SUB + 1],
    weights: [L::F; SUB + 1],
    /// The whole sums times the highest level, moved up and moved down.
    highest: [L::F; 2],
    /// Those times it once more.
    highest_2: [L::F; 2],
}

impl<L: Lanes> Half<L> {
    #[inline(always)]
    fn new(s: L, sorted: &Sorted<SUB>, half: u8) -> Self {
        let only = |from: &[[f32; MOST_LANES]; SUB]| {
            let mut kept = *from;
            for (kept, order) in kept.iter_mut().zip(&sorted.order) {
                for (value, element) in kept.iter_mut().zip(order) {
                    *value = if element / 8 == half { *value } else { 0.0 };
                }
            }
            kept
        };
        let zero = s.splat(0.0);
        let (mut products, mut weights) = ([zero; SUB + 1], [zero; SUB + 1]);
        running_sums(s, &only(&sorted.sorted_products), &mut products);
        running_sums(s, &only(&sorted.sorted_weights), &mut weights);
        let (mut highest, mut highest_2) = ([zero; 2], [zero; 2]);
        for down in 0..2 {
            let level = s.splat(MOVED[down][2]);
            highest[down] = s.mul(products[SUB], level);
            highest_2[down] = s.mul(s.mul(weights[SUB], level), level);
        }
        Self { products, weights, highest, highest_2 }
    }

    /// For levels moved up and moved down: the products of elements and levels when the sorted
    /// elements are cut before `i` and `j`, and those of levels with themselves.
    ///
    /// Levels are one apart: the sum is that of the highest level less one sum for each cut.
    #[inline(always)]
    fn sums(&self, s: L, i: usize, j: usize) -> [(L::F, L::F); 2] {
        let steps = s.add(self.products[i], self.products[j]);
        let mut sums = [(steps, steps); 2];
        for down in 0..2 {
            let [lowest, middle, highest] = MOVED[down];
            let low = s.splat(lowest * lowest - middle * middle);
            let high = s.splat(middle * middle - highest * highest);
            let squares = s.add(self.highest_2[down], s.mul(self.weights[i], low));
            let squares = s.add(squares, s.mul(self.weights[j], high));
            sums[down] = (s.sub(self.highest[down], steps), squares);
        }
        sums
    }
}

fn encode(
    kernel: Kernel,
    rows: &[f32],
    importance: Option<&[f32]>,
    columns: usize,
    out: &mut [u8],
) {
    let book = codebook::iq1();
    let of = PhantomData::<Iq1M>;
    dispatch(kernel, Encode { rows, importance, columns, out, book, of });
}

fn decode(blocks: &[u8], out: &mut [f32]) {
    let book = codebook::iq1();
    for (block, out) in blocks.as_chunks::<BYTES>().0.iter().zip(out.as_chunks_mut::<BLOCK>().0) {
        let words: [u16; 4] = std::array::from_fn(|k| {
            u16::from_le_bytes([block[SCALES + 2 * k], block[SCALES + 2 * k + 1]])
        });
        let scale = (0..).zip(words).fold(0, |scale, (k, word)| scale | (word >> 12) << (4 * k));
        let d = half_at(&scale.to_le_bytes());
        for (at, out) in out.as_chunks_mut::<8>().0.iter_mut().enumerate() {
            let scale = words[at / 8] >> (3 * (at / 2 % 4)) & 7;
            let high = block[HIGH + at / 2] >> (4 * (at % 2));
            let number = u16::from_le_bytes([block[at], high & 7]);
            let code = book.codes[usize::from(number)];
            decode_code(d * f32::from(2 * scale + 1), code, high & 8 != 0, out);
        }
    }
}

/// `IQ1_M`.
pub(super) static DEF: BlockDef = BlockDef {
    name: "iq1_m",
    ggml_id: 29,
    revision: 1,
    block_len: BLOCK,
    block_bytes: BYTES,
    importance: Importance::Optional,
    slow: true,
    encode,
    decode,
};
