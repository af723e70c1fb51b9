//! What `IQ1_S` and `IQ1_M` share: levels -1, 0 and 1, eight at a time from a codebook of 2048, moved
//! up or down by an eighth.
//!
//! The best levels of a sub-block are its sorted elements cut in three. A lane of the search for the
//! two cuts is a sub-block; then lanes are neighbours of a code.

use super::codebook::{Codebook, Spot, nearest_code};
use super::simd::{Job, Lanes, MOST_LANES};

/// Elements in a block.
pub(super) const BLOCK: usize = 256;

/// How far levels are moved.
pub(super) const SHIFT: f32 = 0.125;

/// What levels 0, 1 and 2 stand for when moved up, and when moved down.
pub(super) const MOVED: [[f32; 3]; 2] =
    [[-1.0 + SHIFT, SHIFT, 1.0 + SHIFT], [-1.0 - SHIFT, -SHIFT, 1.0 - SHIFT]];

/// A type of this family, with sub-blocks of `SUB` elements and blocks of `BYTES`.
pub(super) trait Ternary<const SUB: usize, const BYTES: usize> {
    /// A sub-block whose largest magnitude is below this has the scale 0.
    const SMALLEST: f32;
    /// The choices of moving levels: choice `c` is the opposite of `CHOICES - 1 - c`.
    const CHOICES: u8;

    /// Finds the best cuts.
    fn search<L: Lanes>(s: L, sorted: &Sorted<SUB>, best: &mut Best<L>);
    /// Whether a choice moves the levels of code `k` of a sub-block down.
    fn down(choice: u8, k: usize) -> bool;
    /// Stores a block. There is a fit for each sub-block.
    fn put(block: &[f32; BLOCK], importance: Option<&[f32]>, fits: &[Fit], out: &mut [u8; BYTES]);
}

/// What is stored of a sub-block.
#[derive(Clone, Copy, Default)]
pub(super) struct Fit {
    /// The numbers of codes.
    pub(super) numbers: [u16; 4],
    /// How levels are moved.
    pub(super) choice: u8,
    /// The scale.
    pub(super) scale: f32,
}

/// Encodes rows.
pub(super) struct Encode<'a, T, const SUB: usize, const BYTES: usize> {
    pub(super) rows: &'a [f32],
    pub(super) importance: Option<&'a [f32]>,
    pub(super) columns: usize,
    pub(super) out: &'a mut [u8],
    pub(super) book: &'static Codebook,
    pub(super) of: std::marker::PhantomData<T>,
}

impl<T: Ternary<SUB, BYTES>, const SUB: usize, const BYTES: usize> Job
    for Encode<'_, T, SUB, BYTES>
{
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, s: L) {
        // Together they fill all lanes.
        let together = SUB * MOST_LANES / BLOCK;
        let mut starts = (0..self.columns).step_by(BLOCK).cycle();
        let outs = self.out.as_chunks_mut::<BYTES>().0.chunks_mut(together);
        for (blocks, outs) in self.rows.as_chunks::<BLOCK>().0.chunks(together).zip(outs) {
            let mut importance = [None; 2];
            for (slot, start) in importance.iter_mut().zip(starts.by_ref().take(blocks.len())) {
                *slot = self.importance.and_then(|all| all[start..].first_chunk());
            }
            let fits = fit::<T, L, SUB, BYTES>(s, self.book, blocks, &importance);
            let fits = fits.chunks_exact(BLOCK / SUB);
            for (((block, importance), fits), out) in
                blocks.iter().zip(importance).zip(fits).zip(outs)
            {
                T::put(block, importance.map(<[f32; BLOCK]>::as_slice), fits, out);
            }
        }
    }
}

/// What is added to squares before their roots weigh the importance.
pub(super) fn spread(block: &[f32; BLOCK]) -> f32 {
    2.0 * block.iter().fold(0f32, |sum, x| sum + x * x) / 256.0
}

/// Fits the sub-blocks of one or two blocks.
#[inline(always)]
fn fit<T: Ternary<SUB, BYTES>, L: Lanes, const SUB: usize, const BYTES: usize>(
    s: L,
    book: &'static Codebook,
    blocks: &[[f32; BLOCK]],
    importance: &[Option<&[f32; BLOCK]>; 2],
) -> [Fit; MOST_LANES] {
    let mut fits = [Fit::default(); MOST_LANES];
    let spreads = [0, 1].map(|b| match (blocks.get(b), importance[b]) {
        (Some(block), Some(_)) => spread(block),
        _ => 0.0,
    });
    let rows = blocks.as_flattened().as_chunks::<SUB>().0;
    for (at, fits) in (0..rows.len()).step_by(L::N).zip(fits.chunks_mut(L::N)) {
        let rows = &rows[at..(at + L::N).min(rows.len())];
        let mut lanes = Side::<SUB> {
            values: [&[]; MOST_LANES],
            importance: [&[]; MOST_LANES],
            spread: [0.0; MOST_LANES],
        };
        let mut given = 0;
        for (lane, row) in rows.iter().enumerate() {
            lanes.values[lane] = row;
            let (block, sub) = ((at + lane) / (BLOCK / SUB), (at + lane) % (BLOCK / SUB));
            lanes.spread[lane] = spreads[block];
            if let Some(importance) = importance[block] {
                lanes.importance[lane] = &importance[SUB * sub..][..SUB];
                given = lane + 1;
            }
        }
        let (sorted, largest) = sort(s, &lanes, rows.len(), given);
        let mut best = Best::new(s, largest);
        T::search(s, &sorted, &mut best);
        let cuts = best.cuts();
        let mut magnitudes = [0f32; MOST_LANES];
        s.store(largest, &mut magnitudes);
        for (lane, (row, fit)) in rows.iter().zip(fits).enumerate() {
            if let (Some((first, second)), false) = (cuts.at[lane], magnitudes[lane] < T::SMALLEST)
            {
                let rounded = Rounded {
                    values: row,
                    weights: sorted.weights.map(|lanes| lanes[lane]),
                    levels: sorted.levels(lane, first, second),
                    scale: cuts.scale[lane],
                };
                *fit = rounded.encode::<T, L, BYTES>(s, book, cuts.choice[lane]);
            }
        }
    }
    fits
}

/// Sub-blocks side by side.
struct Side<'a, const SUB: usize> {
    values: [&'a [f32]; MOST_LANES],
    importance: [&'a [f32]; MOST_LANES],
    spread: [f32; MOST_LANES],
}

/// The elements of sub-blocks side by side.
pub(super) struct Sorted<const SUB: usize> {
    /// By element: its weight.
    weights: [[f32; MOST_LANES]; SUB],
    /// By rank in ascending order, of which equal ones keep theirs: the element.
    pub(super) order: [[u8; MOST_LANES]; SUB],
    /// By rank: weight.
    pub(super) sorted_weights: [[f32; MOST_LANES]; SUB],
    /// By rank: weight times element.
    pub(super) sorted_products: [[f32; MOST_LANES]; SUB],
}

impl<const SUB: usize> Sorted<SUB> {
    /// The levels of the elements of a lane, given the ranks of the first element of the middle third
    /// and of the first of the last.
    #[inline(always)]
    fn levels(&self, lane: usize, first: usize, second: usize) -> [u8; SUB] {
        let mut levels = [0; SUB];
        for (rank, lanes) in self.order.iter().enumerate() {
            levels[usize::from(lanes[lane])] = u8::from(rank >= first) + u8::from(rank >= second);
        }
        levels
    }
}

/// Weighs and sorts the first `rows` sub-blocks and gives their largest magnitudes. The first `given`
/// have an importance.
#[inline(always)]
fn sort<L: Lanes, const SUB: usize>(
    s: L,
    lanes: &Side<'_, SUB>,
    rows: usize,
    given: usize,
) -> (Sorted<SUB>, L::F) {
    let mut values = [s.splat(0.0); SUB];
    s.transpose(&lanes.values[..rows], &mut values);
    let mut factors = [s.splat(0.0); SUB];
    s.transpose(&lanes.importance[..given], &mut factors);
    let spread = s.load(&lanes.spread);
    let mut sorted = Sorted {
        weights: [[0.0; MOST_LANES]; SUB],
        order: [[0; MOST_LANES]; SUB],
        sorted_weights: [[0.0; MOST_LANES]; SUB],
        sorted_products: [[0.0; MOST_LANES]; SUB],
    };
    let mut products = [[0f32; MOST_LANES]; SUB];
    let mut largest = s.splat(0.0);
    for (element, (value, factor)) in values.iter().zip(factors).enumerate() {
        let square = s.mul(*value, *value);
        let weight = if given == 0 { square } else { s.mul(factor, s.sqrt(s.add(spread, square))) };
        s.store(weight, &mut sorted.weights[element]);
        s.store(s.mul(weight, *value), &mut products[element]);
        largest = s.max(largest, s.abs(*value));
    }
    for (element, ranks) in (0u8..).zip(ranks(s, &values)) {
        let e = usize::from(element);
        for (lane, rank) in ranks.into_iter().enumerate().take(L::N) {
            let rank = usize::try_from(rank).unwrap_or(0) % SUB;
            sorted.order[rank][lane] = element;
            sorted.sorted_weights[rank][lane] = sorted.weights[e][lane];
            sorted.sorted_products[rank][lane] = products[e][lane];
        }
    }
    (sorted, largest)
}

/// How many elements come before each in ascending order, where equal ones keep their order.
#[inline(always)]
fn ranks<L: Lanes, const SUB: usize>(s: L, values: &[L::F; SUB]) -> [[i32; MOST_LANES]; SUB] {
    let one = s.splat_i(1);
    let mut ranks = [s.splat_i(0); SUB];
    for later in 1..SUB {
        let mut rank = ranks[later];
        for earlier in 0..later {
            let in_order = s.le(values[earlier], values[later]);
            let moved = s.add_i(ranks[earlier], one);
            ranks[earlier] = s.select_i(in_order, ranks[earlier], moved);
            rank = s.select_i(in_order, s.add_i(rank, one), rank);
        }
        ranks[later] = rank;
    }
    let mut lanes = [[0i32; MOST_LANES]; SUB];
    for (to, rank) in lanes.iter_mut().zip(ranks) {
        s.store_i(rank, to);
    }
    lanes
}

/// The sums of the first 0, 1, … of sorted numbers. There are one more of those than numbers.
#[inline(always)]
pub(super) fn running_sums<L: Lanes>(s: L, sorted: &[[f32; MOST_LANES]], to: &mut [L::F]) {
    let mut sum = s.splat(0.0);
    to[0] = sum;
    for (to, lanes) in to[1..].iter_mut().zip(sorted) {
        sum = s.add(sum, s.load(lanes));
        *to = sum;
    }
}

/// The best cuts so far, lane by lane.
pub(super) struct Best<L: Lanes> {
    s: L,
    score: L::F,
    scale: L::F,
    /// The choice and both cuts, a byte each; -1 for none.
    what: L::I,
}

/// What [`Best`] tells of lanes.
struct Cuts {
    at: [Option<(usize, usize)>; MOST_LANES],
    choice: [u8; MOST_LANES],
    scale: [f32; MOST_LANES],
}

impl<L: Lanes> Best<L> {
    #[inline(always)]
    fn new(s: L, scale: L::F) -> Self {
        Self { s, score: s.splat(f32::MIN), scale, what: s.splat_i(-1) }
    }

    /// Takes cuts where they are better, given the weighted products of elements and levels and those
    /// of levels with themselves.
    #[inline(always)]
    pub(super) fn offer(
        &mut self,
        choice: u8,
        (first, second): (usize, usize),
        along: L::F,
        squares: L::F,
    ) {
        let s = self.s;
        let better = s.gt(s.mul(along, along), s.mul(self.score, squares));
        let better = s.and(s.gt(squares, s.splat(0.0)), better);
        if s.any(better) {
            let scale = s.div(along, squares);
            self.scale = s.select(better, scale, self.scale);
            self.score = s.select(better, s.mul(scale, along), self.score);
            let what =
                i32::from_le_bytes([choice, first.to_le_bytes()[0], second.to_le_bytes()[0], 0]);
            self.what = s.select_i(better, s.splat_i(what), self.what);
        }
    }

    #[inline(always)]
    fn cuts(self) -> Cuts {
        let mut what = [-1i32; MOST_LANES];
        self.s.store_i(self.what, &mut what);
        let mut scale = [0f32; MOST_LANES];
        self.s.store(self.scale, &mut scale);
        let at = what.map(|what| {
            let [_, first, second, _] = what.to_le_bytes();
            (what >= 0).then_some((usize::from(first), usize::from(second)))
        });
        Cuts { at, choice: what.map(|what| what.to_le_bytes()[0]), scale }
    }
}

/// A sub-block whose codes are to be found.
struct Rounded<'a, const SUB: usize> {
    values: &'a [f32; SUB],
    weights: [f32; SUB],
    /// 0, 1 or 2 for each element.
    levels: [u8; SUB],
    scale: f32,
}

impl<const SUB: usize> Rounded<'_, SUB> {
    /// Finds the codes for the levels, or the nearest in the codebook; then the scale for those.
    #[inline(always)]
    fn encode<T: Ternary<SUB, BYTES>, L: Lanes, const BYTES: usize>(
        mut self,
        s: L,
        book: &'static Codebook,
        mut choice: u8,
    ) -> Fit {
        if self.scale < 0.0 {
            self.levels = self.levels.map(|level| 2 - level);
            self.scale = -self.scale;
            choice = T::CHOICES - 1 - choice;
        }
        let moved = |k: usize| &MOVED[usize::from(T::down(choice, k))];
        let mut all_in_book = true;
        let mut codes = [0u16; 4];
        for (k, levels) in self.levels.as_chunks::<8>().0.iter().enumerate() {
            let wanted = (0..)
                .zip(levels)
                .fold(0, |code, (place, level)| code | u16::from(*level) << (2 * place));
            codes[k] = match book.spot(wanted) {
                Spot::On => wanted,
                Spot::Off(list) => {
                    all_in_book = false;
                    nearest_code::<L, 8>(s, list, &self.terms(s, k, moved(k)))
                }
            };
        }
        if !all_in_book {
            let (mut along, mut squares) = (0f32, 0f32);
            for i in 0..SUB {
                let level = moved(i / 8)[usize::from(codes[i / 8] >> (2 * (i % 8)) & 3)];
                along += self.weights[i] * level * self.values[i];
                squares += self.weights[i] * level * level;
            }
            if along > 0.0 && squares > 0.0 {
                self.scale = along / squares;
            }
        }
        let mut numbers = [0; 4];
        for (number, code) in numbers.iter_mut().zip(&codes[..SUB / 8]) {
            *number = book.number(*code);
        }
        Fit { numbers, choice, scale: self.scale }
    }

    /// What each level of the elements of code `k` adds to the distance.
    #[inline(always)]
    fn terms<L: Lanes>(&self, s: L, k: usize, moved: &[f32; 3]) -> [f32; 32] {
        let [mut values, mut weights, mut levels] = [[0f32; 32]; 3];
        for place in 0..8 {
            values[4 * place..][..4].fill(self.values[8 * k + place]);
            weights[4 * place..][..4].fill(self.weights[8 * k + place]);
            levels[4 * place..][..3].copy_from_slice(moved);
        }
        let mut terms = [0f32; 32];
        let scale = s.splat(self.scale);
        for at in (0..32).step_by(L::N) {
            let level = s.mul(scale, s.load(&levels[at..]));
            let difference = s.sub(level, s.load(&values[at..]));
            let term = s.mul(s.mul(s.load(&weights[at..]), difference), difference);
            s.store(term, &mut terms[at..]);
        }
        terms
    }
}

/// Decodes the elements of a code.
#[inline]
pub(super) fn decode_code(scale: f32, code: u16, down: bool, out: &mut [f32; 8]) {
    let [low, middle, high] = MOVED[usize::from(down)];
    // No code has the fourth level.
    let values = [scale * low, scale * middle, scale * high, 0.0];
    for (place, out) in (0..).zip(out) {
        *out = values[usize::from(code >> (2 * place) & 3)];
    }
}
