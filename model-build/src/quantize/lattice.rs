//! What the `IQ2` and `IQ3` types share: signs apart, levels of 4 or 8 elements at a time taken from a
//! codebook, a scale per sub-block found by trying many.
//!
//! A level `l` stands for the magnitude 2 l + 1. The lanes of the search are the scales it tries, and
//! then the neighbours of a code: each lane does the reference's operations in the reference's order.

use std::marker::PhantomData;

use super::codebook::{Codebook, Spot, nearest_code};
use super::numeric::{half_bytes, larger, nearest};
use super::simd::{Job, Lanes, dispatch};
use crate::hub::Kernel;

/// Elements in a block.
pub(super) const BLOCK: usize = 256;
/// The most elements in a sub-block.
pub(super) const MOST: usize = 32;
/// Room for all scales that are tried.
const TRIED: usize = 32;

/// Which codes are chosen anew for the best scale of those that were tried.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Refine {
    /// All of them.
    Always,
    /// Those that were not in the codebook.
    Strangers,
    /// All of them, unless all were in the codebook.
    AllOrNone,
}

/// A type of this family.
pub(super) trait Lattice {
    /// Elements in a sub-block: 16 or 32.
    const SUB: usize;
    /// Levels in a code: 8 of two bits or 4 of three bits.
    const LEVELS: usize;
    /// Scales are tried from `-TRIES` to `TRIES` steps around the plain one.
    const TRIES: i8;
    /// How much of a level a step is at the largest element.
    const STEP: f32;
    /// Whether eight elements have an even number of minus signs, so that seven tell them.
    const EVEN: bool;
    /// What the mean square is multiplied by where it enters weights.
    const SPREAD: f32;
    /// A sub-block whose largest element is below this is stored as zeros.
    const SMALLEST: f32;
    /// See [`Refine`].
    const REFINE: Refine;
    /// The factor on the stored scale.
    const FUDGE: f32;
    /// Whether a block of scale zero has only zero bytes.
    const ZERO_IS_BLANK: bool;

    /// The codebook.
    fn book() -> &'static Codebook;
    /// The weight of an element where no importance is given.
    fn weight(spread: f32, square: f32) -> f32;
    /// The value that takes the highest level, given the largest element, and the scale to begin
    /// with. A reach of 0 stores zeros.
    #[inline(always)]
    fn begin<L: Lanes>(
        _s: L,
        _values: &[f32; MOST],
        _weights: &[f32; MOST],
        largest: f32,
    ) -> (f32, f32) {
        (largest, largest / if Self::LEVELS == 8 { 5.0 } else { 15.0 })
    }
    /// Stores sub-block `index` in `out`, the bytes of a block that were zero.
    fn put(index: usize, fit: &Fit, out: &mut [u8]);
    /// Stores the four-bit scales of the sub-blocks.
    fn put_scales(scales: &[u8; BLOCK / 16], out: &mut [u8]);
}

/// What is stored of a sub-block.
pub(super) struct Fit {
    /// Numbers of codes.
    pub(super) numbers: [u16; 8],
    /// Signs of eight elements each, bit by bit.
    pub(super) signs: [u8; 4],
    /// How many sub-blocks of the block were not stored before this one: they are zeros.
    pub(super) skipped: usize,
    scale: f32,
}

/// Encodes rows in blocks of `BYTES`.
pub(super) fn encode<T: Lattice, const BYTES: usize>(
    kernel: Kernel,
    rows: &[f32],
    importance: Option<&[f32]>,
    columns: usize,
    out: &mut [u8],
) {
    dispatch(kernel, Encode::<T, BYTES> { rows, importance, columns, out, of: PhantomData });
}

struct Encode<'a, T, const BYTES: usize> {
    rows: &'a [f32],
    importance: Option<&'a [f32]>,
    columns: usize,
    out: &'a mut [u8],
    of: PhantomData<T>,
}

impl<T: Lattice, const BYTES: usize> Job for Encode<'_, T, BYTES> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, s: L) {
        let blocks = self.rows.as_chunks().0.iter();
        let starts = (0..self.columns).step_by(BLOCK).cycle();
        let outs = self.out.as_chunks_mut::<BYTES>().0.iter_mut();
        for ((block, start), out) in blocks.zip(starts).zip(outs) {
            let importance = self.importance.map(|all| &all[start..start + BLOCK]);
            encode_block::<T, L>(s, block, importance, out);
        }
    }
}

#[inline(always)]
fn encode_block<T: Lattice, L: Lanes>(
    s: L,
    block: &[f32; BLOCK],
    importance: Option<&[f32]>,
    out: &mut [u8],
) {
    out.fill(0);
    let mut scales = [0f32; BLOCK / 16];
    let (mut largest, mut skipped) = (0f32, 0);
    let spread = T::SPREAD * block.iter().fold(0f32, |sum, x| sum + x * x) / 256.0;
    for (index, x) in block.chunks_exact(T::SUB).enumerate() {
        let importance = importance.map(|all| &all[T::SUB * index..T::SUB * (index + 1)]);
        let Some(mut fit) = fit_sub_block::<T, L>(s, x, importance, spread) else {
            skipped += 1;
            continue;
        };
        fit.skipped = skipped;
        T::put(index, &fit, out);
        scales[index] = fit.scale;
        largest = larger(largest, fit.scale);
    }
    if largest == 0.0 {
        if T::ZERO_IS_BLANK {
            out.fill(0);
        }
        return;
    }
    let d = largest / 31.0;
    out[..2].copy_from_slice(&half_bytes(d * T::FUDGE));
    let inverse = 1.0 / d;
    T::put_scales(&scales.map(|scale| level(inverse * scale, 15)), out);
}

/// The level whose magnitude 2 l + 1 is nearest to `x`.
#[inline(always)]
pub(super) fn level(x: f32, highest: i32) -> u8 {
    nearest(0.5 * (x - 1.0)).clamp(0, highest).to_le_bytes()[0]
}

#[inline(always)]
fn fit_sub_block<T: Lattice, L: Lanes>(
    s: L,
    x: &[f32],
    importance: Option<&[f32]>,
    spread: f32,
) -> Option<Fit> {
    let mut weights = [0f32; MOST];
    match importance {
        Some(importance) => {
            for ((w, x), q) in weights.iter_mut().zip(x).zip(importance) {
                *w = q * (spread + x * x).sqrt();
            }
        }
        None => {
            for (w, x) in weights.iter_mut().zip(x) {
                *w = T::weight(spread, x * x);
            }
        }
    }
    let mut values = [0f32; MOST];
    let mut signs = [0u8; 4];
    let eights = x.as_chunks().0.iter().zip(weights.as_chunks().0).zip(values.as_chunks_mut().0);
    for (((x, weights), values), signs) in eights.zip(&mut signs) {
        *signs = split_signs(x, weights, values, T::EVEN);
    }
    let largest = values[1..T::SUB].iter().fold(values[0], |max, v| larger(max, *v));
    if largest < T::SMALLEST {
        return None;
    }
    let (reach, scale) = T::begin(s, &values, &weights, largest);
    if reach <= 0.0 {
        return None;
    }
    let mut search = Search::<T, L>::new(s, &values, &weights, scale);
    search.try_scales(reach);
    if search.scale > 0.0 && search.wants_refinement() {
        search.refine();
    }
    let mut fit = search.into_fit(signs);
    if fit.scale < 0.0 {
        fit.scale = -fit.scale;
        fit.signs = fit.signs.map(|sign| !sign);
    }
    Some(fit)
}

/// Writes the magnitudes of eight elements and returns their signs. When the number of minus signs
/// has to be even and is not, the element that matters least gets the wrong one.
#[inline(always)]
fn split_signs(x: &[f32; 8], weights: &[f32; 8], magnitudes: &mut [f32; 8], even: bool) -> u8 {
    let mut signs = 0u8;
    for (i, (x, magnitude)) in x.iter().zip(magnitudes.iter_mut()).enumerate() {
        let plus = *x >= 0.0;
        *magnitude = if plus { *x } else { -*x };
        signs |= u8::from(!plus) << i;
    }
    if even && signs.count_ones() % 2 == 1 {
        let mut least = 0;
        let mut loss = weights[0] * x[0] * x[0];
        for i in 1..8 {
            let other = weights[i] * x[i] * x[i];
            if other < loss {
                (least, loss) = (i, other);
            }
        }
        magnitudes[least] = -magnitudes[least];
        signs ^= 1 << least;
    }
    signs
}

/// The search for the scale and the codes of a sub-block.
struct Search<'a, T: Lattice, L: Lanes> {
    s: L,
    book: &'static Codebook,
    values: &'a [f32; MOST],
    weights: &'a [f32; MOST],
    /// By code: the values and the roots of the weights, each as often as a level has values.
    spread_values: [[f32; 32]; 8],
    spread_roots: [[f32; 32]; 8],
    scale: f32,
    codes: [u16; 8],
    /// Whether the codes were in the codebook.
    at_home: [bool; 8],
    of: PhantomData<T>,
}

/// Magnitudes of levels, over and over.
const MAGNITUDES_OF_4: [f32; 4] = [1.0, 3.0, 5.0, 7.0];
const MAGNITUDES_OF_8: [f32; 8] = [1.0, 3.0, 5.0, 7.0, 9.0, 11.0, 13.0, 15.0];

impl<'a, T: Lattice, L: Lanes> Search<'a, T, L> {
    const BITS: i32 = if T::LEVELS == 8 { 2 } else { 3 };
    /// Values that a level could have by its bits.
    const VALUES: usize = 1 << Self::BITS;
    const HIGHEST: i32 = if T::LEVELS == 8 { 2 } else { 7 };
    const CODES: usize = T::SUB / T::LEVELS;

    #[inline(always)]
    fn new(s: L, values: &'a [f32; MOST], weights: &'a [f32; MOST], scale: f32) -> Self {
        let mut spread_values = [[0f32; 32]; 8];
        let mut spread_roots = [[0f32; 32]; 8];
        for i in 0..T::SUB {
            let (code, place) = (i / T::LEVELS, i % T::LEVELS);
            let room = Self::VALUES * place..Self::VALUES * (place + 1);
            spread_values[code][room.clone()].fill(values[i]);
            spread_roots[code][room].fill(weights[i].sqrt());
        }
        Self {
            s,
            book: T::book(),
            values,
            weights,
            spread_values,
            spread_roots,
            scale,
            codes: [0; 8],
            at_home: [T::REFINE == Refine::Strangers; 8],
            of: PhantomData,
        }
    }

    /// The code of the codebook that fits elements best at a scale, and whether it was the wanted one.
    #[inline(always)]
    fn choose(&self, index: usize, wanted: u16, scale: f32) -> (u16, bool) {
        let list = match self.book.spot(wanted) {
            Spot::On => return (wanted, true),
            Spot::Off(list) => list,
        };
        let s = self.s;
        let mut terms = [0f32; 32];
        let scale = s.splat(scale);
        for at in (0..32).step_by(L::N) {
            let magnitude = if T::LEVELS == 8 {
                s.load(&MAGNITUDES_32_OF_4[at..])
            } else {
                s.load(&MAGNITUDES_32_OF_8[at..])
            };
            let value = s.load(&self.spread_values[index][at..]);
            let root = s.load(&self.spread_roots[index][at..]);
            let difference = s.sub(s.mul(scale, magnitude), value);
            let term = s.mul(s.mul(root, difference), difference);
            s.store(term, &mut terms[at..]);
        }
        let code = if T::LEVELS == 8 {
            nearest_code::<L, 8>(s, list, &terms)
        } else {
            nearest_code::<L, 4>(s, list, &terms)
        };
        (code, false)
    }

    /// Tries scales and keeps the best with its codes.
    #[inline(always)]
    fn try_scales(&mut self, reach: f32) {
        let s = self.s;
        let mut inverse = [1f32; TRIED];
        let highest = (2 * Self::HIGHEST + 1) as f32;
        for (slot, step) in inverse.iter_mut().zip(-T::TRIES..=T::TRIES) {
            *slot = (highest + f32::from(step) * T::STEP) / reach;
        }
        let tried = usize::from(2 * T::TRIES.unsigned_abs() + 1);
        let mut codes = [[0i32; TRIED]; 8];
        for at in (0..tried).step_by(L::N) {
            let inverse = s.load(&inverse[at..]);
            for (codes, values) in
                codes.iter_mut().zip(self.values[..T::SUB].chunks_exact(T::LEVELS))
            {
                s.store_i(self.wanted(inverse, values), &mut codes[at..]);
            }
        }
        let mut at_home = [[true; 8]; TRIED];
        for (t, at_home) in at_home.iter_mut().enumerate().take(tried) {
            let scale = 1.0 / inverse[t];
            for (index, home) in at_home.iter_mut().enumerate().take(Self::CODES) {
                let (code, known) = self.choose(index, low(codes[index][t]), scale);
                codes[index][t] = i32::from(code);
                *home = known;
            }
        }
        let (along, squares) = self.sums(&codes, tried);
        let mut best = 0f32;
        let mut winner = None;
        for t in 0..tried {
            if squares[t] > 0.0 && along[t] * along[t] > best * squares[t] {
                self.scale = along[t] / squares[t];
                best = self.scale * along[t];
                winner = Some(t);
            }
        }
        if let Some(t) = winner {
            self.codes = codes.map(|codes| low(codes[t]));
            self.at_home = at_home[t];
        }
    }

    /// The codes of rounded levels at the inverses of scales.
    #[inline(always)]
    fn wanted(&self, inverse: L::F, values: &[f32]) -> L::I {
        let s = self.s;
        let mut code = s.splat_i(0);
        for (place, value) in (0..).zip(values) {
            let scaled = s.sub(s.mul(inverse, s.splat(*value)), s.splat(1.0));
            let level = s.clamp_i(s.nearest(s.mul(s.splat(0.5), scaled)), 0, Self::HIGHEST);
            code = s.or_i(code, s.shl(level, Self::BITS * place));
        }
        code
    }

    /// For each scale that was tried: the weighted products of values and magnitudes, and those of
    /// magnitudes with themselves.
    #[inline(always)]
    fn sums(&self, codes: &[[i32; TRIED]; 8], tried: usize) -> ([f32; TRIED], [f32; TRIED]) {
        let s = self.s;
        let (mut along, mut squares) = ([0f32; TRIED], [0f32; TRIED]);
        for at in (0..tried).step_by(L::N) {
            let (mut product, mut square) = (s.splat(0.0), s.splat(0.0));
            let mut level = s.splat_i(0);
            for i in 0..T::SUB {
                level = if i % T::LEVELS == 0 {
                    s.load_i(&codes[i / T::LEVELS][at..])
                } else {
                    s.shr(level, Self::BITS)
                };
                let magnitude = if T::LEVELS == 8 {
                    s.lookup_4(&MAGNITUDES_OF_4, level)
                } else {
                    s.lookup_8(&MAGNITUDES_OF_8, level)
                };
                let weighted = s.splat(self.weights[i] * self.values[i]);
                product = s.add(product, s.mul(weighted, magnitude));
                let weighted = s.mul(s.splat(self.weights[i]), magnitude);
                square = s.add(square, s.mul(weighted, magnitude));
            }
            s.store(product, &mut along[at..]);
            s.store(square, &mut squares[at..]);
        }
        (along, squares)
    }

    #[inline(always)]
    fn wants_refinement(&self) -> bool {
        T::REFINE == Refine::Always || self.at_home[..Self::CODES].contains(&false)
    }

    /// Chooses codes anew for the scale, then the scale for the codes.
    #[inline(always)]
    fn refine(&mut self) {
        let inverse = 1.0 / self.scale;
        for index in 0..Self::CODES {
            if T::REFINE == Refine::Strangers && self.at_home[index] {
                continue;
            }
            let values = &self.values[T::LEVELS * index..T::LEVELS * (index + 1)];
            let wanted = (0..).zip(values).fold(0, |code, (place, value)| {
                code | u16::from(level(inverse * value, Self::HIGHEST)) << (Self::BITS * place)
            });
            self.codes[index] = self.choose(index, wanted, self.scale).0;
        }
        let (mut along, mut squares) = (0f32, 0f32);
        let mut levels = 0;
        for i in 0..T::SUB {
            levels = if i % T::LEVELS == 0 {
                usize::from(self.codes[i / T::LEVELS])
            } else {
                levels >> Self::BITS
            };
            let magnitude = MAGNITUDES_OF_8[levels % Self::VALUES];
            along += self.weights[i] * self.values[i] * magnitude;
            squares += self.weights[i] * magnitude * magnitude;
        }
        if squares > 0.0 {
            self.scale = along / squares;
        }
    }

    #[inline(always)]
    fn into_fit(self, signs: [u8; 4]) -> Fit {
        let numbers = self.codes.map(|code| self.book.number(code));
        Fit { numbers, signs, skipped: 0, scale: self.scale }
    }
}

/// The low half.
#[inline(always)]
fn low(code: i32) -> u16 {
    let [a, b, ..] = code.to_le_bytes();
    u16::from_le_bytes([a, b])
}

/// Magnitudes of the values of levels of two bits, over and over.
static MAGNITUDES_32_OF_4: [f32; 32] = repeat(MAGNITUDES_OF_4);
/// Magnitudes of the values of levels of three bits, over and over.
static MAGNITUDES_32_OF_8: [f32; 32] = repeat(MAGNITUDES_OF_8);

const fn repeat<const N: usize>(values: [f32; N]) -> [f32; 32] {
    let mut all = [0f32; 32];
    let mut i = 0;
    while i < 32 {
        all[i] = values[i % N];
        i += 1;
    }
    all
}

/// Decodes the elements of a code: a scale times the magnitudes of levels, with signs bit by bit.
pub(super) fn decode_code<const LEVELS: usize, const VALUES: usize>(
    scale: f32,
    code: u16,
    magnitudes: &[f32; VALUES],
    signs: u8,
    out: &mut [f32; LEVELS],
) {
    let bits = VALUES.ilog2();
    for (place, out) in (0u32..).zip(out) {
        let level = usize::from(code >> (bits * place)) % VALUES;
        let sign = if signs >> place & 1 == 1 { -1.0 } else { 1.0 };
        *out = scale * magnitudes[level] * sign;
    }
}

/// Magnitudes of the levels of the `IQ2` types. No code has the fourth.
pub(super) const MAGNITUDES_IQ2: [f32; 4] = [8.0, 25.0, 43.0, 0.0];

/// Signs of four times eight elements as the types with even signs store them: seven bits each.
pub(super) fn pack_even_signs(signs: [u8; 4]) -> u32 {
    (0..).zip(signs).fold(0, |word, (k, signs)| word | u32::from(signs & 127) << (7 * k))
}

#[cfg(test)]
mod tests {
    use crate::hub::{BlockDef, Kernel};
    use crate::quantize::by_ggml_id;

    /// The types with codebooks or uneven levels.
    fn types() -> impl Iterator<Item = &'static BlockDef> {
        [16, 17, 18, 19, 20, 21, 22, 23, 29].into_iter().filter_map(by_ggml_id)
    }

    #[test]
    fn numbers_that_overflow_neither_panic_nor_tell_kernels_apart() {
        let extremes = [f32::MAX, -1e30, 1e19, 0.0, -0.0, 1e-45, -1e-38, 2.5];
        let values: Vec<f32> =
            (0..4096usize).map(|i| extremes[(i * i / 7 + i / 256) % 8]).collect();
        let importance: Vec<f32> = (0..512u16).map(|i| f32::from(i % 5)).collect();
        assert_eq!(types().count(), 9);
        for def in types() {
            for importance in [None, Some(&importance[..])] {
                let encode = |kernel| {
                    let mut out = vec![7; 4096 / def.block_len * def.block_bytes];
                    (def.encode)(kernel, &values, importance, 512, &mut out);
                    out
                };
                let expected = encode(Kernel::Scalar);
                for kernel in Kernel::available() {
                    assert!(encode(kernel) == expected, "{} on {kernel:?}", def.name);
                }
            }
        }
    }
}
