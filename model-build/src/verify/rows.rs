//! What rows along the last axis have in common, read as scores of classes: the greatest ones,
//! the distribution they stand for, the right class where it is known.

/// What a comparison looks at beyond the numbers themselves.
#[derive(Clone, Copy, Debug)]
pub struct Looks<'a> {
    /// How many of the greatest elements of a row [`topk`](super::OutputMetrics::topk) is about.
    pub k: usize,
    /// The right class of each row; a negative one leaves its row out.
    pub labels: Option<&'a [i64]>,
}

impl Default for Looks<'_> {
    /// The five greatest, no labels.
    fn default() -> Self {
        Self { k: 5, labels: None }
    }
}

/// Counts and sums over rows; all in the order of the rows.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Rows {
    rows: u64,
    top1: u64,
    /// Rows longer than `k`.
    topk_rows: u64,
    /// How many of their `k` greatest are the same, as a sum of shares.
    topk: f64,
    /// Rows that are finite on both sides.
    kl_rows: u64,
    kl: f64,
    kl_worst: Option<(f64, String)>,
    labelled: u64,
    reference_right: u64,
    artifact_right: u64,
}

/// How often the greatest element of a row is the labelled one.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Accuracy {
    /// Number of labelled rows.
    pub rows: u64,
    /// The share of them that the reference gets right.
    pub reference: f64,
    /// The share of them that the artifact gets right.
    pub artifact: f64,
}

impl Rows {
    /// Compares the rows of one sample. `last` is the length of a row, two at least.
    pub(super) fn add(
        &mut self,
        sample: u32,
        last: usize,
        a: &[f64],
        b: &[f64],
        looks: &Looks<'_>,
    ) {
        let labels = looks.labels.filter(|labels| labels.len() == a.len() / last);
        for (i, (x, y)) in a.chunks(last).zip(b.chunks(last)).enumerate() {
            let (first, second) = (argmax(x), argmax(y));
            self.rows += 1;
            self.top1 += u64::from(first == second);
            if (1..last).contains(&looks.k) {
                self.topk_rows += 1;
                self.topk += overlap(&greatest(x, looks.k), &greatest(y, looks.k));
            }
            if let Some(kl) = divergence(x, y) {
                self.kl_rows += 1;
                self.kl += kl;
                if self.kl_worst.as_ref().is_none_or(|(most, _)| kl > *most) {
                    self.kl_worst = Some((kl, format!("sample {sample}, row {i}")));
                }
            }
            let label = labels.and_then(|labels| labels.get(i)).copied();
            if let Some(label) = label.and_then(|label| usize::try_from(label).ok()) {
                self.labelled += 1;
                self.reference_right += u64::from(first == label);
                self.artifact_right += u64::from(second == label);
            }
        }
    }

    /// Adds what comes after this.
    pub(super) fn merge(&mut self, later: &Self) {
        self.rows += later.rows;
        self.top1 += later.top1;
        self.topk_rows += later.topk_rows;
        self.topk += later.topk;
        self.kl_rows += later.kl_rows;
        self.kl += later.kl;
        if let Some((kl, _)) = &later.kl_worst
            && self.kl_worst.as_ref().is_none_or(|(most, _)| kl > most)
        {
            self.kl_worst.clone_from(&later.kl_worst);
        }
        self.labelled += later.labelled;
        self.reference_right += later.reference_right;
        self.artifact_right += later.artifact_right;
    }

    pub(super) fn top1(&self) -> Option<f64> {
        share(self.top1, self.rows)
    }
    #[allow(clippy::cast_precision_loss)] // counts far below 2^53
    pub(super) fn topk(&self) -> Option<f64> {
        (self.topk_rows > 0).then(|| self.topk / self.topk_rows as f64)
    }
    /// The mean.
    #[allow(clippy::cast_precision_loss)] // counts far below 2^53
    pub(super) fn kl(&self) -> Option<f64> {
        (self.kl_rows > 0).then(|| self.kl / self.kl_rows as f64)
    }
    /// The greatest, and where.
    pub(super) fn kl_worst(&self) -> Option<(f64, String)> {
        self.kl_worst.clone()
    }
    pub(super) fn accuracy(&self) -> Option<Accuracy> {
        Some(Accuracy {
            rows: self.labelled,
            reference: share(self.reference_right, self.labelled)?,
            artifact: share(self.artifact_right, self.labelled)?,
        })
    }
}

#[allow(clippy::cast_precision_loss)] // counts far below 2^53
fn share(part: u64, of: u64) -> Option<f64> {
    (of > 0).then(|| part as f64 / of as f64)
}

/// The index of the greatest element, the first one among equals; NaN is greater than nothing.
fn argmax(row: &[f64]) -> usize {
    let mut best: Option<(usize, f64)> = None;
    for (i, &v) in row.iter().enumerate() {
        if !v.is_nan() && best.is_none_or(|(_, most)| v > most) {
            best = Some((i, v));
        }
    }
    best.map_or(0, |(i, _)| i)
}

/// The indices of the `k` greatest elements, sorted; of equal ones the first. NaN is none of them.
fn greatest(row: &[f64], k: usize) -> Vec<usize> {
    let mut best: Vec<(f64, usize)> = Vec::with_capacity(k + 1);
    for (i, &v) in row.iter().enumerate().filter(|(_, v)| !v.is_nan()) {
        if best.len() == k && best.last().is_some_and(|(least, _)| v <= *least) {
            continue;
        }
        let at = best.partition_point(|(other, _)| *other >= v);
        best.insert(at, (v, i));
        best.truncate(k);
    }
    let mut indices: Vec<usize> = best.into_iter().map(|(_, i)| i).collect();
    indices.sort_unstable();
    indices
}

/// The share of the elements of `a` that `b` has.
#[allow(clippy::cast_precision_loss)] // counts of a few
fn overlap(a: &[usize], b: &[usize]) -> f64 {
    if a.is_empty() {
        return if b.is_empty() { 1.0 } else { 0.0 };
    }
    a.iter().filter(|i| b.binary_search(i).is_ok()).count() as f64 / a.len() as f64
}

/// The Kullback–Leibler divergence of two rows of scores in nats, `Σ p · ln(p / q)` with `p` of the
/// reference; `None` when an element is not finite. A row that is a distribution on both sides (no
/// element below 0, a sum within 0.001 of 1) is taken as it is, with `q` at least 1e-12; other rows
/// go through softmax.
fn divergence(reference: &[f64], artifact: &[f64]) -> Option<f64> {
    if !reference.iter().chain(artifact).all(|v| v.is_finite()) {
        return None;
    }
    if is_distribution(reference) && is_distribution(artifact) {
        let term = |(&p, &q): (&f64, &f64)| if p > 0.0 { p * (p / q.max(1e-12)).ln() } else { 0.0 };
        return Some(at_least_zero(reference.iter().zip(artifact).map(term).sum()));
    }
    let (x, y) = (log_sum_exp(reference), log_sum_exp(artifact));
    let term = |(a, b): (&f64, &f64)| {
        let p = (a - x).exp();
        if p > 0.0 { p * ((a - x) - (b - y)) } else { 0.0 }
    };
    Some(at_least_zero(reference.iter().zip(artifact).map(term).sum()))
}

/// A sum that rounding may have taken below 0, or scores beyond 1e300 past every number.
fn at_least_zero(sum: f64) -> f64 {
    if sum > 0.0 { sum.min(f64::MAX / 1e9) } else { 0.0 }
}

fn is_distribution(row: &[f64]) -> bool {
    row.iter().all(|v| *v >= 0.0) && (row.iter().sum::<f64>() - 1.0).abs() <= 1e-3
}

fn log_sum_exp(row: &[f64]) -> f64 {
    let most = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    most + row.iter().map(|v| (v - most).exp()).sum::<f64>().ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(last: usize, a: &[f64], b: &[f64], looks: &Looks<'_>) -> Rows {
        let mut rows = Rows::default();
        rows.add(0, last, a, b, looks);
        rows
    }

    #[test]
    fn the_divergence_of_scores_is_that_of_their_softmax() {
        // scipy.special.rel_entr(softmax([1, 2, 3]), softmax([1, 2, 2.5])).sum()
        let kl = divergence(&[1.0, 2.0, 3.0], &[1.0, 2.0, 2.5]).unwrap();
        assert!((kl - 0.029_145_118_8).abs() < 1e-8, "{kl}");
        assert_eq!(divergence(&[1.0, f64::NEG_INFINITY], &[1.0, 2.0]), None);
        let shifted = divergence(&[1.0, 2.0, 3.0], &[101.0, 102.0, 103.0]).unwrap();
        assert!(shifted < 1e-12, "{shifted}");
    }

    #[test]
    fn distributions_are_not_put_through_softmax_again() {
        let kl = divergence(&[0.9, 0.1, 0.0], &[0.5, 0.25, 0.25]).unwrap();
        let want = 0.9 * (0.9f64 / 0.5).ln() + 0.1 * (0.1f64 / 0.25).ln();
        assert!((kl - want).abs() < 1e-12, "{kl}");
        assert!(divergence(&[0.5, 0.5], &[1.0, 0.0]).unwrap().is_finite());
    }

    #[test]
    fn top_k_is_the_share_of_the_greatest_that_stay_among_the_greatest() {
        assert_eq!(greatest(&[1.0, 5.0, f64::NAN, 5.0, 4.0, 5.0], 2), [1, 3]);
        let looks = Looks { k: 2, labels: None };
        let m = rows(4, &[4.0, 3.0, 2.0, 1.0], &[4.0, 1.0, 3.0, 2.0], &looks);
        assert_eq!((m.top1(), m.topk()), (Some(1.0), Some(0.5)));
        assert_eq!(rows(2, &[4.0, 3.0], &[3.0, 4.0], &looks).topk(), None, "nothing can differ");
    }

    #[test]
    fn labels_count_rows_that_each_side_gets_right_and_leave_negative_ones_out() {
        let looks = Looks { k: 5, labels: Some(&[0, 1, -100]) };
        let m = rows(2, &[1.0, 0.0, 0.0, 1.0, 1.0, 0.0], &[1.0, 0.0, 1.0, 0.0, 0.0, 1.0], &looks);
        assert_eq!(m.accuracy(), Some(Accuracy { rows: 2, reference: 1.0, artifact: 0.5 }));
        let fewer = Looks { k: 5, labels: Some(&[0]) };
        assert_eq!(rows(2, &[1.0, 0.0, 0.0, 1.0], &[1.0, 0.0, 0.0, 1.0], &fewer).accuracy(), None);
    }
}
