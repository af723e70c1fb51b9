//! Searches for the scales of sub-blocks without minima: ggml's, each lane a search of its own.

use super::simd::Lanes;

/// Below this magnitude ggml takes a sub-block for zero.
pub(super) const NOTHING: f32 = 1e-15;

/// What [`symmetric`] finds: `x` is about `scale · (quant - most)`.
#[derive(Clone, Copy)]
pub(super) struct SymmetricFound<L: Lanes> {
    /// The scale; 0 for a sub-block of zeros.
    pub(super) scale: L::F,
    /// The quants were `x · inverse`, rounded.
    inverse: L::F,
    nothing: L::M,
}

impl<L: Lanes> SymmetricFound<L> {
    /// Nothing found.
    #[inline(always)]
    pub(super) fn none(s: L) -> Self {
        let zero = s.splat(0.0);
        Self { scale: zero, inverse: zero, nothing: s.eq(zero, zero) }
    }

    /// The quant of `x` in the best trial, 0 to `2 · most - 1`; 0 in a sub-block of zeros.
    #[inline(always)]
    pub(super) fn quant(&self, s: L, most: i32, x: L::F) -> L::I {
        let l = s.clamp_i(s.nearest(s.mul(self.inverse, x)), -most, most - 1);
        s.select_i(self.nothing, s.splat_i(0), s.add_i(l, s.splat_i(most)))
    }
}

/// Quants of `x` for a scale, 0 to `2 · most - 1`. Where the scale was rounded to nothing,
/// those that the search found stay.
#[inline(always)]
pub(super) fn requantize<L: Lanes>(
    s: L,
    most: i32,
    scale: L::F,
    x: &[L::F; 16],
    quants: &mut [L::I; 16],
    found: impl Fn(usize) -> L::I,
) {
    for (quant, &x) in quants.iter_mut().zip(x) {
        let l = s.clamp_i(s.nearest(s.div(x, scale)), -most, most - 1);
        *quant = s.add_i(l, s.splat_i(most));
    }
    let stays = s.eq(scale, s.splat(0.0));
    if s.any(stays) {
        for (e, quant) in quants.iter_mut().enumerate() {
            *quant = s.select_i(stays, found(e), *quant);
        }
    }
}

/// The element of the greatest magnitude, the first of such, and its magnitude.
#[inline(always)]
pub(super) fn extreme<L: Lanes>(s: L, x: impl IntoIterator<Item = L::F>) -> (L::F, L::F) {
    let zero = s.splat(0.0);
    let (mut extreme, mut most) = (zero, zero);
    for v in x {
        let magnitude = s.abs(v);
        let greater = s.gt(magnitude, most);
        most = s.select(greater, magnitude, most);
        extreme = s.select(greater, v, extreme);
    }
    (extreme, most)
}

/// A search under way.
struct Search<'a, L: Lanes, const E: usize> {
    s: L,
    most: i32,
    x: &'a [L::F; E],
    weights: Option<&'a [L::F; E]>,
    extreme: L::F,
    best: L::F,
    found: SymmetricFound<L>,
}

/// ggml's `make_qx_quants` with squares of the elements for weights where none are given: a scale
/// for `E` finite elements with quants of `-most` to `most - 1`.
#[inline(always)]
pub(super) fn symmetric<L: Lanes, const E: usize>(
    s: L,
    most: i32,
    x: &[L::F; E],
    weights: Option<&[L::F; E]>,
) -> SymmetricFound<L> {
    let mut search = start(s, most, x, weights);
    if L::N == 16 {
        search.tame([0, -9, -8, -7, -6]);
        search.tame([-5, -4, -3, -2, -1]);
        search.tame([1, 2, 3, 4, 5]);
        search.tame([6, 7, 8, 9]);
    } else {
        search.tame([0, -9, -8]);
        search.tame([-7, -6, -5]);
        search.tame([-4, -3, -2]);
        search.tame([-1, 1, 2]);
        search.tame([3, 4, 5]);
        search.tame([6, 7]);
        search.tame([8, 9]);
    }
    search.finish()
}

/// [`symmetric`] for elements that need not be finite.
#[inline(always)]
pub(super) fn symmetric_of_any<L: Lanes, const E: usize>(
    s: L,
    most: i32,
    x: &[L::F; E],
    weights: &[L::F; E],
) -> SymmetricFound<L> {
    let mut search = start(s, most, x, Some(weights));
    for trial in [0, -9, -8, -7, -6, -5, -4, -3, -2, -1, 1, 2, 3, 4, 5, 6, 7, 8, 9] {
        search.wild(trial);
    }
    search.finish()
}

#[inline(always)]
fn start<'a, L: Lanes, const E: usize>(
    s: L,
    most: i32,
    x: &'a [L::F; E],
    weights: Option<&'a [L::F; E]>,
) -> Search<'a, L, E> {
    let (extreme, magnitude) = extreme(s, x.iter().copied());
    let mut found = SymmetricFound::none(s);
    found.nothing = s.lt(magnitude, s.splat(NOTHING));
    Search { s, most, x, weights, extreme, best: s.splat(0.0), found }
}

impl<L: Lanes, const E: usize> Search<'_, L, E> {
    #[inline(always)]
    fn inverse(&self, trial: i32) -> L::F {
        let top = self.s.splat(-(self.most as f32 + 0.1 * trial as f32));
        self.s.div(top, self.extreme)
    }

    /// Some trials at once. The elements are finite and the extreme is not tiny, so no product is
    /// greater in magnitude than `most + 0.1 · trial`, but for rounding: rounding by adding is
    /// right, and some trials cannot leave the range of quants.
    #[inline(always)]
    fn tame<const C: usize>(&mut self, trials: [i32; C]) {
        let s = self.s;
        let zero = s.splat(0.0);
        let mut inverse = [zero; C];
        for c in 0..C {
            inverse[c] = self.inverse(trials[c]);
        }
        let (mut sum_xl, mut sum_l2) = ([zero; C], [zero; C]);
        for e in 0..E {
            let x = self.x[e];
            let w = self.weights.map_or(s.mul(x, x), |weights| weights[e]);
            let wx = s.mul(w, x);
            for c in 0..C {
                let mut l = s.round(s.mul(inverse[c], x));
                if trials[c] > -6 {
                    l = s.at_most(l, s.splat((self.most - 1) as f32));
                }
                if trials[c] > 4 {
                    l = s.max(l, s.splat(-self.most as f32));
                }
                sum_xl[c] = s.add(sum_xl[c], s.mul(wx, l));
                sum_l2[c] = s.add(sum_l2[c], s.mul(s.mul(w, l), l));
            }
        }
        for c in 0..C {
            self.judge(trials[c] == 0, inverse[c], sum_xl[c], sum_l2[c]);
        }
    }

    /// One trial on elements of which nothing is known.
    #[inline(always)]
    fn wild(&mut self, trial: i32) {
        let s = self.s;
        let inverse = self.inverse(trial);
        let (mut sum_xl, mut sum_l2) = (s.splat(0.0), s.splat(0.0));
        for e in 0..E {
            let x = self.x[e];
            let w = self.weights.map_or(s.mul(x, x), |weights| weights[e]);
            let l = s.clamp_i(s.nearest(s.mul(inverse, x)), -self.most, self.most - 1);
            let l = s.to_f32(l);
            sum_xl = s.add(sum_xl, s.mul(s.mul(w, x), l));
            sum_l2 = s.add(sum_l2, s.mul(s.mul(w, l), l));
        }
        self.judge(trial == 0, inverse, sum_xl, sum_l2);
    }

    /// Takes a trial where it is the first or better than the best one.
    #[inline(always)]
    fn judge(&mut self, first: bool, inverse: L::F, sum_xl: L::F, sum_l2: L::F) {
        let s = self.s;
        let zero = s.splat(0.0);
        let scale = s.div(sum_xl, sum_l2);
        if first {
            self.found.scale = s.select(s.eq(sum_l2, zero), zero, scale);
            self.found.inverse = inverse;
            self.best = s.mul(self.found.scale, sum_xl);
            return;
        }
        let better = s.gt(s.mul(sum_xl, sum_xl), s.mul(self.best, sum_l2));
        let better = s.and(better, s.gt(sum_l2, zero));
        self.found.scale = s.select(better, scale, self.found.scale);
        self.found.inverse = s.select(better, inverse, self.found.inverse);
        self.best = s.select(better, s.mul(scale, sum_xl), self.best);
    }

    #[inline(always)]
    fn finish(mut self) -> SymmetricFound<L> {
        let zero = self.s.splat(0.0);
        self.found.scale = self.s.select(self.found.nothing, zero, self.found.scale);
        self.found
    }
}

/// ggml's `make_q3_quants`: scales for `G` sub-blocks of finite elements with quants of `-most` to
/// `most - 1`, moved one by one while that lessens the error. Returns the scales; the quants come
/// out plus `most`, 0 in a sub-block of zeros.
#[inline(always)]
pub(super) fn descent<L: Lanes, const G: usize>(
    s: L,
    most: i32,
    x: &[[L::F; 16]; G],
    quants: &mut [[L::I; 16]; G],
) -> [L::F; G] {
    let zero = s.splat(0.0);
    let (least_f, most_f) = (s.splat(-most as f32), s.splat((most - 1) as f32));
    let mut nothing = [s.eq(zero, zero); G];
    let mut sum_xl = [zero; G];
    let mut sum_l2 = [zero; G];
    let mut l = [[zero; 16]; G];
    for g in 0..G {
        let (extreme, magnitude) = extreme(s, x[g]);
        nothing[g] = s.lt(magnitude, s.splat(NOTHING));
        let inverse = s.div(least_f, extreme);
        for e in 0..16 {
            let q = s.round(s.mul(inverse, x[g][e]));
            let q = s.max(s.min(q, most_f), least_f);
            let w = s.mul(x[g][e], x[g][e]);
            l[g][e] = q;
            sum_xl[g] = s.add(sum_xl[g], s.mul(s.mul(w, x[g][e]), q));
            sum_l2[g] = s.add(sum_l2[g], s.mul(s.mul(w, q), q));
        }
    }
    for _ in 0..5 {
        let mut any = s.lt(zero, zero);
        for e in 0..16 {
            for g in 0..G {
                let (v, old) = (x[g][e], l[g][e]);
                let w = s.mul(v, v);
                let wx = s.mul(w, v);
                let rest_xl = s.sub(sum_xl[g], s.mul(wx, old));
                let rest_l2 = s.sub(sum_l2[g], s.mul(s.mul(w, old), old));
                let q = s.nearest(s.div(s.mul(v, rest_l2), rest_xl));
                let q = s.to_f32(s.clamp_i(q, -most, most - 1));
                let new_xl = s.add(rest_xl, s.mul(wx, q));
                let new_l2 = s.add(rest_l2, s.mul(s.mul(w, q), q));
                let new = s.mul(s.mul(new_xl, new_xl), sum_l2[g]);
                let better = s.gt(new, s.mul(s.mul(sum_xl[g], sum_xl[g]), new_l2));
                let possible = s.and(s.gt(rest_xl, zero), s.gt(new_l2, zero));
                let moved = s.not(s.eq(q, old));
                let change = s.and(s.and(better, possible), moved);
                l[g][e] = s.select(change, q, old);
                sum_xl[g] = s.select(change, new_xl, sum_xl[g]);
                sum_l2[g] = s.select(change, new_l2, sum_l2[g]);
                any = s.or(any, change);
            }
        }
        if !s.any(any) {
            break;
        }
    }
    let mut scales = [zero; G];
    for g in 0..G {
        for e in 0..16 {
            let quant = s.add_i(s.to_i32(l[g][e]), s.splat_i(most));
            quants[g][e] = s.select_i(nothing[g], s.splat_i(0), quant);
        }
        let scale = s.select(s.gt(sum_l2[g], zero), s.div(sum_xl[g], sum_l2[g]), zero);
        scales[g] = s.select(nothing[g], zero, scale);
    }
    scales
}
