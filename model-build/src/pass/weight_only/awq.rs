//! Activation-aware scaling: weights of inputs that are large on average get finer steps.
//!
//! Lin et al., "AWQ: Activation-aware Weight Quantization for On-Device LLM Compression and
//! Acceleration", 2023. The weights of input `i` are multiplied by `s_i` before they are rounded and
//! the input by `1 / s_i`; `s` is a power of the inputs' mean magnitudes, the power found by trying.

use rayon::prelude::*;

use super::grid::{Codes, Grid, Order, Rounding};
use super::matrix::Matrix;
use super::rtn;
use crate::error::{Error, Result};
use crate::hub::Tensor;
use crate::pass::observed::Moments;

/// Powers that are tried, as parts of 16: roots are all that is needed, so that every machine
/// computes the same.
const PARTS: usize = 16;

/// Lines of a matrix that a power is judged by, evenly chosen.
const JUDGES: usize = 64;

/// The factors of the inputs that all these matrices share, with the least squared error of their
/// outputs over the calibration data; `None` where no scaling has the least error. The error is
/// measured on at most 64 outputs of each matrix.
pub(super) fn factors(matrices: &[(Matrix, Grid)], moments: &Moments) -> Result<Option<Vec<f32>>> {
    let k = moments.k;
    let judged: Vec<(Vec<f32>, Grid)> = matrices
        .iter()
        .map(|(matrix, grid)| {
            if matrix.k != k || moments.products.len() != k.saturating_mul(k) {
                return Err(Error::bug("moments of another size").item(matrix.name()));
            }
            let count = matrix.n.min(JUDGES);
            let mut lines = vec![0.0; count * k];
            for (i, line) in lines.chunks_mut(k.max(1)).enumerate() {
                matrix.lines(i * matrix.n / count.max(1), line)?;
            }
            Ok((lines, *grid))
        })
        .collect::<Result<_>>()?;
    let mut best: Option<(f64, usize, Vec<f32>)> = None;
    let candidates = powers(moments);
    let errors: Vec<f64> = candidates
        .par_iter()
        .map(|s| judged.iter().map(|(lines, grid)| error(lines, *grid, s, moments)).sum())
        .collect();
    for (i, (error, s)) in errors.into_iter().zip(candidates).enumerate() {
        if best.as_ref().is_none_or(|(least, ..)| error < *least) {
            best = Some((error, i, s));
        }
    }
    Ok(best.filter(|(_, power, _)| *power > 0).map(|(_, _, s)| s))
}

/// The factors for every power from 0 to 1, each scaled so that the least and the greatest are
/// as far from 1.
#[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss)] // the rounding is the point
fn powers(moments: &Moments) -> Vec<Vec<f32>> {
    let rows = (moments.rows.max(1)) as f64;
    let roots: Vec<f64> = moments
        .magnitudes
        .iter()
        .map(|sum| (sum / rows).max(1e-4).sqrt().sqrt().sqrt().sqrt())
        .collect();
    let mut power = vec![1.0f64; moments.k];
    let mut out = Vec::new();
    for _ in 0..=PARTS {
        let least = power.iter().copied().fold(f64::INFINITY, f64::min);
        let most = power.iter().copied().fold(0.0, f64::max);
        let middle = (least * most).sqrt();
        out.push(power.iter().map(|p| (p / middle) as f32).collect());
        power.iter_mut().zip(&roots).for_each(|(p, root)| *p *= root);
    }
    out
}

/// The squared error of the outputs of some lines: `δᵀ H δ` summed.
fn error(lines: &[f32], grid: Grid, factors: &[f32], moments: &Moments) -> f64 {
    let k = moments.k.max(1);
    let mut sum = 0.0;
    let mut delta = vec![0.0f64; k];
    for line in lines.chunks(k) {
        let scaled: Vec<f32> = line.iter().zip(factors).map(|(w, s)| w * s).collect();
        for (b, block) in scaled.chunks(grid.block).enumerate() {
            let code = rtn::code(grid, block);
            for (i, w) in block.iter().enumerate() {
                let at = b * grid.block + i;
                let back = code.decode(code.encode(grid, Rounding::WithZero, *w));
                delta[at] = f64::from(w - back) / f64::from(factors[at]);
            }
        }
        for (i, row) in moments.products.chunks(k).enumerate() {
            let left: f64 = row[..i].iter().zip(&delta).map(|(h, d)| h * d).sum();
            sum += delta[i] * (2.0 * left + row[i] * delta[i]);
        }
    }
    sum
}

/// What the inputs are multiplied with.
pub(super) fn inverse(factors: &[f32]) -> Result<Tensor> {
    let inverse: Vec<f32> = factors.iter().map(|s| 1.0 / s).collect();
    Tensor::from_f32(vec![inverse.len() as u64], &inverse)
}

/// The codes of a matrix whose weights are multiplied with the factors.
pub(super) fn codes(matrix: &Matrix, grid: Grid, order: Order) -> Result<Codes> {
    Codes::fit(matrix, grid, order, rtn::code)
}

#[cfg(test)]
mod tests {
    use super::super::gptq::tests::{inputs, noise, output_error};
    use super::*;

    #[test]
    fn the_outputs_err_less_than_by_rounding_to_nearest() {
        let (n, k) = (24, 64);
        let w = noise(n * k, 1);
        let tensor = Tensor::from_f32(vec![n as u64, k as u64], &w).unwrap();
        let matrix = Matrix::new("w", &tensor, true).unwrap();
        let mut x = inputs(300, k);
        // A few inputs far larger than the others, as in real layers.
        x.chunks_mut(k).for_each(|row| row.iter_mut().skip(3).step_by(20).for_each(|v| *v *= 30.0));
        let mut moments = Moments::new(k);
        moments.add(&x);
        let grid = Grid { bits: 4, symmetric: true, block: 32 };
        let s = factors(&[(matrix.clone(), grid)], &moments).unwrap().unwrap();
        let back = |s: &[f32]| {
            let scaled = matrix.clone().scaled(s.into());
            let codes = codes(&scaled, grid, Order::ByLine).unwrap();
            w.iter()
                .enumerate()
                .map(|(i, w)| {
                    let code = codes.at(i / k, i % k / 32);
                    code.decode(code.encode(grid, Rounding::WithZero, w * s[i % k])) / s[i % k]
                })
                .collect::<Vec<f32>>()
        };
        let nearest = output_error(&x, &w, &back(&vec![1.0; k]), k);
        let found = output_error(&x, &w, &back(&s), k);
        assert!(found < 0.7 * nearest, "{found} of {nearest}");
    }
}
