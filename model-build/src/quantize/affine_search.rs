//! Searches for the scales and the minima of sub-blocks: ggml's, each lane a search of its own.

use super::simd::Lanes;
use super::symmetric_search::NOTHING;

/// How [`affine`] searches.
#[derive(Clone, Copy)]
pub(super) struct Affine {
    /// The greatest quant; the least is 0.
    pub(super) most: i32,
    /// Trial `i` of 0 to `steps` takes `most + first + i · step` for the greatest quant.
    pub(super) first: f32,
    /// See `first`.
    pub(super) step: f32,
    /// See `first`.
    pub(super) steps: i32,
    /// Whether errors are weighed by their magnitude and not by their square.
    pub(super) absolute: bool,
}

/// What [`affine`] finds: `x` is about `scale · quant - min`.
#[derive(Clone, Copy)]
pub(super) struct AffineFound<L: Lanes> {
    /// The scale; 0 where all elements are the same.
    pub(super) scale: L::F,
    /// What is subtracted; mostly ≥ 0.
    pub(super) min: L::F,
    /// The quants were `(x - base) · inverse`, rounded.
    inverse: L::F,
    base: L::F,
    flat: L::M,
}

impl<L: Lanes> AffineFound<L> {
    /// Nothing found.
    #[inline(always)]
    pub(super) fn none(s: L) -> Self {
        let zero = s.splat(0.0);
        Self { scale: zero, min: zero, inverse: zero, base: zero, flat: s.eq(zero, zero) }
    }

    /// The quant of `x` in the best trial.
    #[inline(always)]
    pub(super) fn quant(&self, s: L, x: L::F, most: i32) -> L::I {
        let l = s.clamp_i(s.nearest(s.mul(self.inverse, s.sub(x, self.base))), 0, most);
        s.select_i(self.flat, s.splat_i(0), l)
    }
}

/// An element in a search. The three lie side by side so that no two of what one step of a loop
/// touches are a page apart, which processors take for a dependence.
#[derive(Clone, Copy)]
pub(super) struct Weighed<L: Lanes> {
    /// The element.
    x: L::F,
    /// How much its error weighs.
    w: L::F,
    /// Its quant in the trial.
    l: L::F,
}

impl<L: Lanes> Weighed<L> {
    /// An element and its weight.
    #[inline(always)]
    pub(super) fn new(s: L, x: L::F, w: L::F) -> Self {
        Self { x, w, l: s.splat(0.0) }
    }
}

/// `G` sub-blocks of `E` elements.
pub(super) type SubBlocks<L, const E: usize, const G: usize> = [[Weighed<L>; G]; E];

/// ggml's `make_qkx2_quants` and `make_qkx3_quants`: a scale and a minimum for each sub-block.
#[inline(always)]
pub(super) fn affine<L: Lanes, const E: usize, const G: usize>(
    s: L,
    search: Affine,
    elements: &mut SubBlocks<L, E, G>,
) -> [AffineFound<L>; G] {
    let zero = s.splat(0.0);
    let most = search.most as f32;
    let mut high = [zero; G];
    let mut least = [zero; G];
    let mut sum_w = [zero; G];
    let mut sum_x = [zero; G];
    for g in 0..G {
        least[g] = elements[0][g].x;
        high[g] = elements[0][g].x;
        sum_w[g] = elements[0][g].w;
        sum_x[g] = s.mul(elements[0][g].w, elements[0][g].x);
    }
    for elements in &elements[1..] {
        for (g, e) in elements.iter().enumerate() {
            least[g] = s.min(e.x, least[g]);
            high[g] = s.max(e.x, high[g]);
            sum_w[g] = s.add(sum_w[g], e.w);
            sum_x[g] = s.add(sum_x[g], s.mul(e.w, e.x));
        }
    }
    let mut found = [AffineFound::none(s); G];
    let mut low = [zero; G];
    let mut scale = [zero; G];
    for g in 0..G {
        low[g] = s.min(zero, least[g]);
        let f = &mut found[g];
        f.flat = s.le(high[g], low[g]);
        f.min = low[g];
        f.base = low[g];
        f.inverse = s.div(s.splat(most), s.sub(high[g], low[g]));
        f.scale = s.div(s.splat(1.0), f.inverse);
        scale[g] = f.scale;
        for elements in elements.iter_mut() {
            let e = &mut elements[g];
            e.l = round_wild(s, s.mul(f.inverse, s.sub(e.x, low[g])), 0, search.most);
        }
    }
    let mut best = errors(s, search.absolute, elements, scale, low);
    for trial in 0..=search.steps {
        let top = search.first + search.step * trial as f32 + most;
        // Products of the inverse grow with x, so those of the least and the greatest bound all.
        // The greatest is about `top`: where that rounds to no more than `most`, all do.
        let below = top < most + 0.49;
        let bound = s.splat(if below { most + 0.495 } else { 1e6 });
        let (mut inverse, mut min) = ([zero; G], [zero; G]);
        let mut tame = s.eq(zero, zero);
        for g in 0..G {
            min[g] = found[g].min;
            inverse[g] = s.div(s.splat(top), s.sub(high[g], min[g]));
            let of_least = s.abs(s.mul(inverse[g], s.sub(least[g], min[g])));
            let of_high = s.abs(s.mul(inverse[g], s.sub(high[g], min[g])));
            let bounded = s.and(s.lt(of_least, bound), s.lt(of_high, bound));
            tame = s.and(tame, s.or(found[g].flat, bounded));
        }
        let sums = if s.any(s.not(tame)) {
            sums(s, elements, inverse, min, |v| round_wild(s, v, 0, search.most))
        } else if below {
            sums(s, elements, inverse, min, |v| s.at_least_zero(s.round(v)))
        } else {
            sums(s, elements, inverse, min, |v| s.clamp_positive(s.round(v), s.splat(most)))
        };
        let mut new_min = [zero; G];
        let mut solvable = [s.eq(zero, zero); G];
        for g in 0..G {
            let Sums { l, l2, xl } = sums[g];
            let d = s.sub(s.mul(sum_w[g], l2), s.mul(l, l));
            solvable[g] = s.gt(d, zero);
            let fit = s.sub(s.mul(sum_w[g], xl), s.mul(sum_x[g], l));
            let fit_min = s.div(s.sub(s.mul(l2, sum_x[g]), s.mul(l, xl)), d);
            let positive = s.gt(fit_min, zero);
            scale[g] = s.div(s.select(positive, xl, fit), s.select(positive, l2, d));
            new_min[g] = s.select(positive, zero, fit_min);
        }
        let error = errors(s, search.absolute, elements, scale, new_min);
        for g in 0..G {
            let better = s.and(solvable[g], s.lt(error[g], best[g]));
            let f = &mut found[g];
            best[g] = s.select(better, error[g], best[g]);
            f.scale = s.select(better, scale[g], f.scale);
            f.base = s.select(better, f.min, f.base);
            f.inverse = s.select(better, inverse[g], f.inverse);
            f.min = s.select(better, new_min[g], f.min);
        }
    }
    for g in 0..G {
        let f = &mut found[g];
        f.scale = s.select(f.flat, zero, f.scale);
        f.min = s.neg(s.select(f.flat, low[g], f.min));
    }
    found
}

/// Rounds and clamps any quants as ggml does.
#[inline(always)]
fn round_wild<L: Lanes>(s: L, v: L::F, least: i32, most: i32) -> L::F {
    s.to_f32(s.clamp_i(s.nearest(v), least, most))
}

/// Weighed sums over the quants of a sub-block.
#[derive(Clone, Copy)]
struct Sums<L: Lanes> {
    l: L::F,
    l2: L::F,
    xl: L::F,
}

/// Rounds the elements to quants, and sums.
#[inline(always)]
fn sums<L: Lanes, const E: usize, const G: usize>(
    s: L,
    elements: &mut SubBlocks<L, E, G>,
    inverse: [L::F; G],
    min: [L::F; G],
    round: impl Fn(L::F) -> L::F,
) -> [Sums<L>; G] {
    let zero = s.splat(0.0);
    let mut sums = [Sums { l: zero, l2: zero, xl: zero }; G];
    for elements in elements {
        for (g, e) in elements.iter_mut().enumerate() {
            e.l = round(s.mul(inverse[g], s.sub(e.x, min[g])));
            let wl = s.mul(e.w, e.l);
            sums[g].l = s.add(sums[g].l, wl);
            sums[g].l2 = s.add(sums[g].l2, s.mul(wl, e.l));
            sums[g].xl = s.add(sums[g].xl, s.mul(wl, e.x));
        }
    }
    sums
}

/// The weighed errors of `scale · l + min`.
#[inline(always)]
fn errors<L: Lanes, const E: usize, const G: usize>(
    s: L,
    absolute: bool,
    elements: &SubBlocks<L, E, G>,
    scale: [L::F; G],
    min: [L::F; G],
) -> [L::F; G] {
    let mut error = [s.splat(0.0); G];
    for elements in elements {
        for (g, e) in elements.iter().enumerate() {
            let diff = s.sub(s.add(s.mul(scale[g], e.l), min[g]), e.x);
            let diff = if absolute { s.abs(diff) } else { s.mul(diff, diff) };
            error[g] = s.add(error[g], s.mul(e.w, diff));
        }
    }
    error
}

/// ggml's `make_qp_quants`: a scale for `E` numbers, mostly ≥ 0, with quants of 0 to `most`, of
/// which a byte is kept. Returns the scale.
#[inline(always)]
pub(super) fn positive<L: Lanes, const E: usize>(
    s: L,
    most: i32,
    x: &[L::F; E],
    w: &[L::F; E],
    quants: &mut [L::I; E],
) -> L::F {
    let zero = s.splat(0.0);
    let one = s.splat(1.0);
    let byte = s.splat_i(0xff);
    let most_f = most as f32;
    let high = x.iter().fold(zero, |high, &v| s.max(high, v));
    let nothing = s.lt(high, s.splat(NOTHING));
    let mut inverse = s.div(s.splat(most_f), high);
    let scale = s.div(one, inverse);
    let mut best = zero;
    for e in 0..E {
        let l = s.to_f32(s.and_i(s.nearest(s.mul(inverse, x[e])), byte));
        let diff = s.sub(x[e], s.mul(scale, l));
        best = s.add(best, s.mul(s.mul(w[e], diff), diff));
    }
    for trial in [-4, -3, -2, -1, 1, 2, 3, 4] {
        let tried = s.div(s.splat(0.1 * trial as f32 + most_f), high);
        let scale = s.div(one, tried);
        let mut error = zero;
        for e in 0..E {
            let l = s.to_f32(s.min_i(s.nearest(s.mul(tried, x[e])), s.splat_i(most)));
            let diff = s.sub(x[e], s.mul(scale, l));
            error = s.add(error, s.mul(s.mul(w[e], diff), diff));
        }
        let better = s.lt(error, best);
        best = s.select(better, error, best);
        inverse = s.select(better, tried, inverse);
    }
    let mut sum_xl = zero;
    let mut sum_l2 = zero;
    for e in 0..E {
        let l = s.min_i(s.nearest(s.mul(inverse, x[e])), s.splat_i(most));
        quants[e] = s.and_i(l, byte);
        let l = s.to_f32(l);
        sum_xl = s.add(sum_xl, s.mul(s.mul(w[e], x[e]), l));
        sum_l2 = s.add(sum_l2, s.mul(s.mul(w[e], l), l));
    }
    for _ in 0..5 {
        let mut any = s.lt(zero, zero);
        for e in 0..E {
            let (wx, old) = (s.mul(w[e], x[e]), s.to_f32(quants[e]));
            let rest_xl = s.sub(sum_xl, s.mul(wx, old));
            let rest_l2 = s.sub(sum_l2, s.mul(s.mul(w[e], old), old));
            let l = s.nearest(s.div(s.mul(x[e], rest_l2), rest_xl));
            let l = s.min_i(l, s.splat_i(most));
            let l_f = s.to_f32(l);
            let new_xl = s.add(rest_xl, s.mul(wx, l_f));
            let new_l2 = s.add(rest_l2, s.mul(s.mul(w[e], l_f), l_f));
            let possible = s.and(s.gt(rest_xl, zero), s.gt(rest_l2, zero));
            let better =
                s.gt(s.mul(s.mul(new_xl, new_xl), sum_l2), s.mul(s.mul(sum_xl, sum_xl), new_l2));
            let change = s.and(s.and(possible, better), s.not(s.eq_i(l, quants[e])));
            quants[e] = s.select_i(change, s.and_i(l, byte), quants[e]);
            sum_xl = s.select(change, new_xl, sum_xl);
            sum_l2 = s.select(change, new_l2, sum_l2);
            any = s.or(any, change);
        }
        if !s.any(any) {
            break;
        }
    }
    for quant in quants {
        *quant = s.select_i(nothing, s.splat_i(0), *quant);
    }
    let scale = s.select(s.gt(sum_l2, zero), s.div(sum_xl, sum_l2), zero);
    s.select(nothing, zero, scale)
}
