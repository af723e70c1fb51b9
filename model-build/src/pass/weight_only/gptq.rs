//! GPTQ: the error of rounding a weight is made up for by the weights that are not rounded yet.
//!
//! Frantar et al., "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained
//! Transformers", 2022. With `H = XᵀX` of a product's inputs and `U` the upper Cholesky factor of
//! `H⁻¹`, weights are rounded input by input, and the error of input `i`, divided by `U[i][i]`, times
//! row `i` of `U` is taken from the inputs after it.

use rayon::prelude::*;

use super::grid::{Code, Codes, Grid, Order, Rounding};
use super::matrix::{LINES, Matrix};
use super::rtn;
use crate::error::{Error, Result};
use crate::pass::observed::Moments;

/// How the rounding proceeds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Options {
    /// What is added to the diagonal of `H`, as a share of its mean.
    pub(super) damping: f64,
    /// Whether inputs are rounded in the order of their squared sums, the largest first. The codes
    /// of blocks are those of the weights before any rounding then.
    pub(super) by_activity: bool,
}

/// The upper Cholesky factor of the inverse of `H`, and the order of the inputs.
pub(super) struct Factor {
    /// `[k, k]`, in the order; a weight of an input that was never other than zero is not counted.
    upper: Vec<f32>,
    /// The input that comes at each place.
    order: Vec<usize>,
}

/// `c[i][j]` of a row-major square matrix.
fn at(i: usize, j: usize, k: usize) -> usize {
    i * k + j
}

impl Factor {
    /// In f64, each number by the same operations in the same order on any number of threads. An
    /// error where the moments are not those of finite numbers.
    pub(super) fn new(name: &str, moments: &Moments, options: Options) -> Result<Self> {
        let k = moments.k;
        if moments.products.len() != k.saturating_mul(k) {
            return Err(Error::bug("moments of another size").item(name));
        }
        let diagonal: Vec<f64> =
            (0..k).map(|i| moments.products.get(at(i, i, k)).copied().unwrap_or(0.0)).collect();
        let mut order: Vec<usize> = (0..k).collect();
        if options.by_activity {
            order.sort_by(|a, b| diagonal[*b].total_cmp(&diagonal[*a]).then(a.cmp(b)));
        }
        #[allow(clippy::cast_precision_loss)] // a count
        let mean = diagonal.iter().sum::<f64>() / k.max(1) as f64;
        let mut h = vec![0.0; k * k];
        for (i, from) in order.iter().enumerate() {
            for (j, other) in order.iter().take(i + 1).enumerate() {
                h[at(i, j, k)] = moments.products[at(*from.max(other), *from.min(other), k)];
            }
            let dead = h[at(i, i, k)] == 0.0;
            h[at(i, i, k)] += if dead { 1.0 } else { options.damping * mean };
        }
        let singular = || {
            Error::unsupported("gptq: the calibration data do not tell the product's inputs apart")
                .item(name)
                .hint("give more calibration samples, or a greater `damping`")
        };
        cholesky(&mut h, k).ok_or_else(singular)?;
        let mut inverse = inverse(&h, k);
        drop(h);
        reversed_cholesky(&mut inverse, k).ok_or_else(singular)?;
        #[allow(clippy::cast_possible_truncation)] // the rounding is the point
        let upper = inverse.iter().map(|v| *v as f32).collect();
        Ok(Self { upper, order })
    }
}

/// Makes the lower triangle of a matrix its Cholesky factor `L`, `A = L Lᵀ`. Left-looking, a column
/// at a time, its rows in parallel. `None` where the matrix is not positive definite.
fn cholesky(a: &mut [f64], k: usize) -> Option<()> {
    for j in 0..k {
        let (above, below) = a.split_at_mut(at(j + 1, 0, k));
        let pivot_row = above.get_mut(at(j, 0, k)..)?;
        let (left, rest) = pivot_row.split_at_mut(j);
        let sum: f64 = left.iter().map(|v| v * v).sum();
        let pivot = (rest.first()? - sum).sqrt();
        if !(pivot.is_finite() && pivot > 0.0) {
            return None;
        }
        *rest.first_mut()? = pivot;
        let left = &*left;
        below.par_chunks_mut(k).with_min_len(64).for_each(|row| {
            let sum = dot(&row[..j], left);
            row[j] = (row[j] - sum) / pivot;
        });
    }
    Some(())
}

/// The sum of products in eight strands, so that a processor can add them side by side; the strands
/// and their order do not depend on the machine.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut strands = [0.0; 8];
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    for (x, y) in a.iter().zip(b) {
        for (s, (x, y)) in strands.iter_mut().zip(x.iter().zip(y)) {
            *s += x * y;
        }
    }
    let rest: f64 = a_rest.iter().zip(b_rest).map(|(x, y)| x * y).sum();
    strands.iter().sum::<f64>() + rest
}

/// The inverse of `L Lᵀ`, its lower triangle: `L⁻ᵀ L⁻¹`.
fn inverse(l: &[f64], k: usize) -> Vec<f64> {
    // Row c of `turned` is column c of L⁻¹; it is zero before place c.
    let mut turned = vec![0.0; k * k];
    turned.par_chunks_mut(k.max(1)).enumerate().for_each(|(c, column)| {
        for i in c..k {
            let row = &l[at(i, 0, k)..at(i, i, k)];
            let sum = dot(&row[c..], &column[c..i]);
            let unit = if i == c { 1.0 } else { 0.0 };
            column[i] = (unit - sum) / l[at(i, i, k)];
        }
    });
    let mut out = vec![0.0; k * k];
    out.par_chunks_mut(k.max(1)).enumerate().for_each(|(i, row)| {
        for (j, to) in row.iter_mut().enumerate().take(i + 1) {
            *to = dot(&turned[at(i, i, k)..at(i, k, k)], &turned[at(j, i, k)..at(j, k, k)]);
        }
    });
    out
}

/// From the lower triangle of a symmetric matrix its upper factor `U`, `A = Uᵀ U`: the transpose of
/// the Cholesky factor.
fn reversed_cholesky(a: &mut [f64], k: usize) -> Option<()> {
    cholesky(a, k)?;
    for i in 0..k {
        for j in i + 1..k {
            a[at(i, j, k)] = a[at(j, i, k)];
            a[at(j, i, k)] = 0.0;
        }
    }
    Some(())
}

/// A matrix's codes and its integers, counted from 0, line by line.
pub(super) fn quantize(
    matrix: &Matrix,
    factor: &Factor,
    grid: Grid,
    order: Order,
    rounding: Rounding,
    options: Options,
) -> Result<(Codes, Vec<u8>)> {
    let k = matrix.k;
    let blocks = grid.blocks(k);
    let mut integers = vec![0; matrix.n * k];
    let parts: Vec<(Vec<u8>, Vec<u8>)> = integers
        .par_chunks_mut((LINES * k).max(1))
        .enumerate()
        .map(|(group, integers)| {
            let mut weights = vec![0.0; integers.len()];
            matrix.lines(group * LINES, &mut weights)?;
            let codes = round(&mut weights, integers, factor, grid, rounding, options);
            let mut scales = Vec::new();
            let mut zeros = Vec::new();
            for code in codes {
                scales.extend_from_slice(&code.scale.to_le_bytes());
                if !grid.symmetric {
                    zeros.push(code.zero);
                }
            }
            Ok((scales, zeros))
        })
        .collect::<Result<_>>()?;
    Ok((Codes::of_lines(matrix.n, grid, order, blocks, &parts), integers))
}

/// Rounds some lines; the codes come line by line.
fn round(
    weights: &mut [f32],
    integers: &mut [u8],
    factor: &Factor,
    grid: Grid,
    rounding: Rounding,
    options: Options,
) -> Vec<Code> {
    let k = factor.order.len().max(1);
    let blocks = grid.blocks(k);
    let code_of = |line: &[f32], block: usize| {
        let from = block * grid.block;
        rtn::code(grid, &line[from..(from + grid.block).min(k)])
    };
    let mut codes: Vec<Code> = weights
        .chunks(k)
        .flat_map(|line| (0..blocks).map(move |b| (line, b)))
        .map(|(line, b)| code_of(line, b))
        .collect();
    for (place, input) in factor.order.iter().enumerate() {
        let row = &factor.upper[at(place, place, k)..at(place, k, k)];
        let pivot = row[0];
        let block = input / grid.block;
        let lines = weights.chunks_mut(k).zip(integers.chunks_mut(k));
        for ((line, out), codes) in lines.zip(codes.chunks_mut(blocks)) {
            if !options.by_activity && input % grid.block == 0 {
                codes[block] = code_of(line, block);
            }
            let code = codes[block];
            let q = code.encode(grid, rounding, line[*input]);
            out[*input] = q;
            let error = (line[*input] - code.decode(q)) / pivot;
            if options.by_activity {
                for (other, u) in factor.order[place + 1..].iter().zip(&row[1..]) {
                    line[*other] -= error * u;
                }
            } else {
                line[place + 1..].iter_mut().zip(&row[1..]).for_each(|(w, u)| *w -= error * u);
            }
        }
    }
    codes
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::hub::Tensor;

    /// Numbers the same on every machine, from -1 to 1.
    pub(crate) fn noise(n: usize, seed: u32) -> Vec<f32> {
        let mut state = seed;
        let mut draw = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 24) as f32 - 0.5
        };
        (0..n).map(|_| draw() + draw()).collect()
    }

    /// Rows whose inputs go together, as those of real layers do, some far larger than others.
    pub(crate) fn inputs(rows: usize, k: usize) -> Vec<f32> {
        let mut x = noise(rows * k, 3);
        for row in x.chunks_mut(k) {
            for i in 1..k {
                row[i] = 0.8 * row[i - 1] + 0.5 * row[i];
            }
            row.iter_mut().step_by(16).for_each(|v| *v *= 6.0);
        }
        x
    }

    /// The squared error of a product's outputs.
    pub(crate) fn output_error(x: &[f32], w: &[f32], v: &[f32], k: usize) -> f64 {
        let mut sum = 0.0;
        for row in x.chunks(k) {
            for (w, v) in w.chunks(k).zip(v.chunks(k)) {
                let e: f64 = row
                    .iter()
                    .zip(w.iter().zip(v))
                    .map(|(x, (w, v))| f64::from(*x) * f64::from(w - v))
                    .sum();
                sum += e * e;
            }
        }
        sum
    }

    fn decoded(codes: &Codes, integers: &[u8], k: usize) -> Vec<f32> {
        let one = |(i, q): (usize, &u8)| codes.at(i / k, i % k / codes.grid.block).decode(*q);
        integers.iter().enumerate().map(one).collect()
    }

    #[test]
    fn the_outputs_err_far_less_than_by_rounding_to_nearest() {
        let (n, k) = (24, 64);
        let w = noise(n * k, 1);
        let tensor = Tensor::from_f32(vec![n as u64, k as u64], &w).unwrap();
        let matrix = Matrix::new("w", &tensor, true).unwrap();
        let x = inputs(300, k);
        let mut moments = Moments::new(k);
        moments.add(&x);
        for symmetric in [true, false] {
            let grid = Grid { bits: 4, symmetric, block: 32 };
            let rounding = Rounding::WithZero;
            let plain = Codes::fit(&matrix, grid, Order::ByLine, rtn::code).unwrap();
            let nearest: Vec<u8> = w
                .iter()
                .enumerate()
                .map(|(i, w)| plain.at(i / k, i % k / 32).encode(grid, rounding, *w))
                .collect();
            let nearest = output_error(&x, &w, &decoded(&plain, &nearest, k), k);
            for by_activity in [false, true] {
                let options = Options { damping: 0.01, by_activity };
                let factor = Factor::new("w", &moments, options).unwrap();
                let (codes, integers) =
                    quantize(&matrix, &factor, grid, Order::ByLine, rounding, options).unwrap();
                let found = output_error(&x, &w, &decoded(&codes, &integers, k), k);
                assert!(found < 0.6 * nearest, "{found} of {nearest}");
            }
        }
    }

    #[test]
    fn the_factor_times_its_transpose_is_the_inverse() {
        let k = 13;
        let mut moments = Moments::new(k);
        moments.add(&inputs(50, k));
        let options = Options { damping: 0.01, by_activity: false };
        let factor = Factor::new("w", &moments, options).unwrap();
        let mean = (0..k).map(|i| moments.products[at(i, i, k)]).sum::<f64>() / k as f64;
        for i in 0..k {
            for j in 0..k {
                // (UᵀU) H = 1
                let mut sum = 0.0;
                for m in 0..k {
                    let inverse: f64 = (0..k)
                        .map(|r| f64::from(factor.upper[at(r, i, k)] * factor.upper[at(r, m, k)]))
                        .sum();
                    let damped = if m == j { 0.01 * mean } else { 0.0 };
                    sum += inverse * (moments.products[at(m.max(j), m.min(j), k)] + damped);
                }
                let unit = if i == j { 1.0 } else { 0.0 };
                assert!((sum - unit).abs() < 1e-3, "[{i}, {j}] {sum}");
            }
        }
    }

    #[test]
    fn an_input_that_is_always_zero_is_no_error() {
        let k = 32;
        let mut x = inputs(40, k);
        x.chunks_mut(k).for_each(|row| row[5] = 0.0);
        let mut moments = Moments::new(k);
        moments.add(&x);
        let options = Options { damping: 0.01, by_activity: true };
        assert!(Factor::new("w", &moments, options).is_ok());
    }
}
