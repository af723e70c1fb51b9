//! Half-quadratic quantization: the zero point that makes the least error, outliers forgiven.
//!
//! Badri and Shaji, "Half-Quadratic Quantization of Large Machine Learning Models", 2023. The error
//! of a weight counts with the power `p` of its magnitude. An auxiliary error `e` splits the problem:
//! `e` is the error shrunk towards zero (a generalized soft threshold), and the zero point is the
//! mean of what it would have to be for the weights without `e`.

use super::grid::{Code, Grid, Rounding};
use super::rtn;

const ROUNDS: usize = 20;
const FIRST_BETA: f32 = 10.0;
const GROWTH: f32 = 1.01;

/// The code of a block of finite weights, on an asymmetric grid.
///
/// The iteration runs in f32, in units of the scale, with `p = 3/4`, whose power is two square roots,
/// so that every machine computes the same. The formats hold integer zero points: of the integers on both sides of the
/// zero point that is found, each with the scale of the least squared error for its integers, and of
/// the code that rounding to nearest gives, the one with the least error by the power `p` is taken.
pub(super) fn code(grid: Grid, weights: &[f32]) -> Code {
    let first = rtn::code(grid, weights);
    if first.scale == 0.0 {
        return first;
    }
    let zero = best_zero(grid, weights, first.scale);
    let mut best = (error(grid, weights, first), first);
    for candidate in [first.zero.into(), zero.floor(), zero.ceil(), zero.floor() - 1.0] {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // clamped
        let zero = f32::clamp(candidate, 0.0, grid.top()) as u8;
        let mut code = Code { zero, ..first };
        // Each scale moves the integers, and the integers the scale.
        for _ in 0..4 {
            code = refitted(grid, weights, code);
            let error = error(grid, weights, code);
            if error < best.0 {
                best = (error, code);
            }
        }
    }
    best.1
}

/// The zero point, as a real number, that the half-quadratic iteration ends at.
fn best_zero(grid: Grid, weights: &[f32], scale: f32) -> f32 {
    #[allow(clippy::cast_precision_loss)] // a block is short
    let count = weights.len() as f32;
    let least = weights.iter().copied().fold(0.0, f32::min);
    let mut zero = -least / scale;
    let mut beta = FIRST_BETA;
    let mut before = f32::INFINITY;
    for _ in 0..ROUNDS {
        let (mut sum, mut error) = (0.0, 0.0);
        for w in weights {
            let steps = w / scale;
            let q = (steps + zero).round().clamp(0.0, grid.top());
            let rest = steps - (q - zero);
            sum += q - (steps - shrunk(rest, beta));
            error += rest.abs();
        }
        if error >= before {
            break;
        }
        before = error;
        zero = sum / count;
        beta *= GROWTH;
    }
    zero
}

/// The power 3/4.
fn power(x: f32) -> f32 {
    let root = x.sqrt();
    root * root.sqrt()
}

/// What minimizes `|e|^p + β/2 · (e - x)²`, nearly: `x` moved towards zero by `|x|^(p-1) / β`.
fn shrunk(x: f32, beta: f32) -> f32 {
    let magnitude = x.abs();
    if magnitude == 0.0 {
        return 0.0;
    }
    (magnitude - 1.0 / (beta * magnitude.sqrt().sqrt())).max(0.0).copysign(x)
}

fn error(grid: Grid, weights: &[f32], code: Code) -> f32 {
    let one = |w: &f32| power((w - code.decode(code.encode(grid, Rounding::WithZero, *w))).abs());
    weights.iter().map(one).sum()
}

/// The scale of the least squared error for the integers that a code gives.
fn refitted(grid: Grid, weights: &[f32], code: Code) -> Code {
    let (mut product, mut square) = (0.0, 0.0);
    for w in weights {
        let q = f32::from(code.encode(grid, Rounding::WithZero, *w)) - f32::from(code.zero);
        product += w * q;
        square += q * q;
    }
    let scale = product / square;
    if scale.is_normal() && scale > 0.0 { Code { scale, ..code } } else { code }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_told_with_no_more_error_than_by_rounding_to_nearest() {
        let mut state = 7u32;
        let mut draw = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 24) as f32 - 0.5
        };
        let mut better = 0;
        for _ in 0..200 {
            let weights: Vec<f32> = (0..32).map(|_| 0.04 * (draw() + draw() + draw())).collect();
            for bits in [4, 8] {
                let grid = Grid { bits, symmetric: false, block: 32 };
                let nearest = error(grid, &weights, rtn::code(grid, &weights));
                let found = error(grid, &weights, code(grid, &weights));
                assert!(found <= nearest);
                better += usize::from(found < 0.97 * nearest);
            }
        }
        assert!(better > 150, "{better} of 400");
    }
}
