//! What was seen of a graph's values when it ran on calibration data.

use std::collections::BTreeMap;

/// What was seen of values, by their names in the graph that the first pass got. Empty where no
/// calibration took place.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// The range to represent of each value.
    pub ranges: BTreeMap<String, Range>,
}

/// A range of numbers: what a calibration method found worth representing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Range {
    /// The least number.
    pub min: f32,
    /// The greatest number.
    pub max: f32,
}
