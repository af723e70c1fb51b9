//! `IQ1_S`: 1.5625 bits per weight. Three levels, a three-bit scale and a direction of moving per 32.

use std::marker::PhantomData;

use super::codebook;
use super::lattice::level;
use super::numeric::{half_at, half_bytes, larger};
use super::simd::{Lanes, dispatch};
use super::ternary::{BLOCK, Best, Encode, Fit, MOVED, Sorted, Ternary, decode_code, running_sums};
use crate::hub::{BlockDef, Importance, Kernel};

/// Elements in a sub-block.
const SUB: usize = 32;
/// The scale (f16), the low bytes of the codes' numbers; by sub-block: three high bits of each of
/// the four numbers, three bits of the scale, one that says whether levels are moved down.
const BYTES: usize = 50;
const HIGH: usize = 2 + BLOCK / 8;
const _: () = assert!(BYTES == HIGH + BLOCK / SUB * 2);

struct Iq1S;

impl Ternary<SUB, BYTES> for Iq1S {
    const SMALLEST: f32 = 1e-12;
    const CHOICES: u8 = 2;

    #[inline(always)]
    fn search<L: Lanes>(s: L, sorted: &Sorted<SUB>, best: &mut Best<L>) {
        let [up, down] = MOVED;
        let zero = s.splat(0.0);
        let (mut products, mut weights) = ([zero; SUB + 1], [zero; SUB + 1]);
        running_sums(s, &sorted.sorted_products, &mut products);
        running_sums(s, &sorted.sorted_weights, &mut weights);
        let times = |v: L::F, by: f32| s.mul(v, s.splat(by));
        // What the last third gives, by where it begins.
        let [mut up_last, mut down_last, mut up_last_2, mut down_last_2] = [[zero; SUB + 1]; 4];
        for i in 0..=SUB {
            let product = s.sub(products[SUB], products[i]);
            let weight = s.sub(weights[SUB], weights[i]);
            up_last[i] = times(product, up[2]);
            down_last[i] = times(product, down[2]);
            up_last_2[i] = times(times(weight, up[2]), up[2]);
            down_last_2[i] = times(times(weight, down[2]), down[2]);
        }
        for i in 0..=SUB {
            let up_first = times(products[i], up[0]);
            let down_first = times(products[i], down[0]);
            let up_first_2 = times(times(weights[i], up[0]), up[0]);
            let down_first_2 = times(times(weights[i], down[0]), down[0]);
            for j in i..=SUB {
                // The middle level moved down is the negative of that moved up.
                let middle = times(s.sub(products[j], products[i]), up[1]);
                let middle_2 = times(times(s.sub(weights[j], weights[i]), up[1]), up[1]);
                let along = s.add(s.add(up_first, middle), up_last[j]);
                let squares = s.add(s.add(up_first_2, middle_2), up_last_2[j]);
                best.offer(0, (i, j), along, squares);
                let along = s.add(s.sub(down_first, middle), down_last[j]);
                let squares = s.add(s.add(down_first_2, middle_2), down_last_2[j]);
                best.offer(1, (i, j), along, squares);
            }
        }
    }

    fn down(choice: u8, _k: usize) -> bool {
        choice == 1
    }

    fn put(_: &[f32; BLOCK], _: Option<&[f32]>, fits: &[Fit], out: &mut [u8; BYTES]) {
        out.fill(0);
        let largest = fits.iter().fold(0.0, |max, fit| larger(max, fit.scale));
        let inverse = if largest == 0.0 {
            0.0
        } else {
            let d = largest / 15.0;
            out[..2].copy_from_slice(&half_bytes(d * 1.125));
            1.0 / d
        };
        for (index, fit) in fits.iter().enumerate() {
            let mut word = 0u16;
            for (k, number) in fit.numbers.into_iter().enumerate() {
                let [low, high] = number.to_le_bytes();
                out[2 + 4 * index + k] = low;
                word |= u16::from(high) << (3 * k);
            }
            if largest != 0.0 {
                word |= u16::from(level(inverse * fit.scale, 7)) << 12;
                word |= u16::from(fit.choice) << 15;
            }
            out[HIGH + 2 * index..][..2].copy_from_slice(&word.to_le_bytes());
        }
    }
}

/// ggml refuses to encode without importance; this is that of all columns alike.
static ALIKE: [f32; BLOCK] = [1.0; BLOCK];

fn encode(
    kernel: Kernel,
    rows: &[f32],
    importance: Option<&[f32]>,
    columns: usize,
    out: &mut [u8],
) {
    let (importance, columns) = match importance {
        Some(importance) => (importance, columns),
        None => (&ALIKE[..], BLOCK),
    };
    let book = codebook::iq1();
    let importance = Some(importance);
    let of = PhantomData::<Iq1S>;
    dispatch(kernel, Encode { rows, importance, columns, out, book, of });
}

fn decode(blocks: &[u8], out: &mut [f32]) {
    let book = codebook::iq1();
    for (block, out) in blocks.as_chunks::<BYTES>().0.iter().zip(out.as_chunks_mut::<BLOCK>().0) {
        let d = half_at(block);
        let words = block[HIGH..].as_chunks::<2>().0;
        for (at, out) in out.as_chunks_mut::<8>().0.iter_mut().enumerate() {
            let word = u16::from_le_bytes(words[at / 4]);
            let scale = d * f32::from(2 * (word >> 12 & 7) + 1);
            let number = u16::from(block[2 + at]) | (word >> (3 * (at % 4)) & 7) << 8;
            decode_code(scale, book.codes[usize::from(number)], word >> 15 == 1, out);
        }
    }
}

/// `IQ1_S`.
pub(super) static DEF: BlockDef = BlockDef {
    name: "iq1_s",
    ggml_id: 19,
    revision: 1,
    block_len: BLOCK,
    block_bytes: BYTES,
    importance: Importance::Required,
    slow: true,
    encode,
    decode,
};
