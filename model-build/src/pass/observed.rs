//! What was seen of a graph's values when it ran on calibration data.

use std::collections::BTreeMap;
use std::sync::Arc;

/// What was seen of values, by their names in the graph that the first pass got. Empty where no
/// calibration took place.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// The range to represent of each value.
    pub ranges: BTreeMap<String, Range>,
    /// Second moments of the left factors of products.
    pub moments: BTreeMap<String, Arc<Moments>>,
}

/// A range of numbers: what a calibration method found worth representing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Range {
    /// The least number.
    pub min: f32,
    /// The greatest number.
    pub max: f32,
}

/// Sums over the rows (vectors along the last axis) of a value: what there is to know of a product's
/// inputs for the least squared error of its outputs. Memory is `k · k`, whatever the rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Moments {
    /// Length of a row.
    pub k: usize,
    /// Number of rows.
    pub rows: u64,
    /// The sums of `x_i · x_j`: `[k, k]`, row-major; only `j <= i` is filled.
    pub products: Vec<f64>,
    /// The sums of `|x_i|`: `[k]`.
    pub magnitudes: Vec<f64>,
}

impl Moments {
    /// Of no row yet.
    pub fn new(k: usize) -> Self {
        Self { k, rows: 0, products: vec![0.0; k * k], magnitudes: vec![0.0; k] }
    }

    /// Adds whole rows, one after the other. The sums of each pair of inputs are added in the order
    /// of the rows, so that the result does not depend on the number of threads.
    pub fn add(&mut self, values: &[f32]) {
        use rayon::prelude::*;
        let k = self.k.max(1);
        self.rows += (values.len() / k) as u64;
        for row in values.chunks_exact(k) {
            self.magnitudes.iter_mut().zip(row).for_each(|(sum, v)| *sum += f64::from(v.abs()));
        }
        self.products.par_chunks_mut(k).enumerate().for_each(|(i, sums)| {
            for row in values.chunks_exact(k) {
                let Some(left) = row.get(i).map(|v| f64::from(*v)) else { continue };
                let until = sums.iter_mut().take(i + 1);
                until.zip(row).for_each(|(sum, v)| *sum += left * f64::from(*v));
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_do_not_depend_on_how_the_rows_are_given() {
        let values: Vec<f32> = (0..60u8).map(|i| f32::from(i % 17) - 8.3).collect();
        let mut whole = Moments::new(5);
        whole.add(&values);
        let mut parts = Moments::new(5);
        values.chunks(15).for_each(|rows| parts.add(rows));
        assert_eq!(whole, parts);
        assert_eq!(whole.rows, 12);
        let expected: f64 = values.chunks(5).map(|row| f64::from(row[3]) * f64::from(row[1])).sum();
        assert_eq!(whole.products[3 * 5 + 1], expected);
    }
}
