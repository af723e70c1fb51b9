//! BPE's merging: of neighbours, the pair with the lowest rank is joined first, the leftmost of
//! equal ones.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

/// Merges by their parts.
pub(super) struct Merges<'a> {
    ranks: HashMap<(&'a str, &'a str), usize>,
}

impl<'a> Merges<'a> {
    /// From merges in GGUF's spelling: two parts with a space between, the first merge first.
    pub(super) fn new(merges: impl Iterator<Item = &'a str>) -> Self {
        let mut ranks = HashMap::new();
        for (rank, merge) in merges.enumerate() {
            if let Some(parts) = merge.split_once(' ') {
                ranks.entry(parts).or_insert(rank);
            }
        }
        Self { ranks }
    }

    /// The parts of a word after all merges.
    pub(super) fn apply<'w>(&self, word: &'w str) -> Vec<&'w str> {
        join(word, |left, right| self.ranks.get(&(left, right)).copied())
    }
}

/// Joins neighbouring parts of a word, characters at first, the pair of the lowest rank first, until
/// no pair has a rank.
pub(super) fn join<'w, R: Ord + Copy>(
    word: &'w str,
    rank: impl Fn(&'w str, &'w str) -> Option<R>,
) -> Vec<&'w str> {
    let mut parts: Vec<Part> = Vec::new();
    for (start, c) in word.char_indices() {
        let at = parts.len();
        let end = start.saturating_add(c.len_utf8());
        parts.push(Part {
            start,
            end,
            previous: at.checked_sub(1),
            next: Some(at.saturating_add(1)),
        });
    }
    if let Some(last) = parts.last_mut() {
        last.next = None;
    }
    let mut queue = BinaryHeap::new();
    let pair =
        |parts: &[Part], left: usize| -> Option<(Reverse<(R, usize)>, usize, usize, usize)> {
            let l = parts.get(left)?;
            let right = l.next?;
            let r = parts.get(right)?;
            let rank = rank(word.get(l.start..l.end)?, word.get(r.start..r.end)?)?;
            Some((Reverse((rank, left)), right, l.end, r.end))
        };
    for left in 0..parts.len() {
        queue.extend(pair(&parts, left));
    }
    while let Some((Reverse((_, left)), right, middle, end)) = queue.pop() {
        let current = matches!(
            (parts.get(left), parts.get(right)),
            (Some(l), Some(r)) if l.next == Some(right) && l.end == middle && r.end == end
                && l.start < l.end && r.start < r.end
        );
        if !current {
            continue;
        }
        let next = parts.get(right).and_then(|r| r.next);
        if let Some(r) = parts.get_mut(right) {
            r.end = r.start;
        }
        if let Some(n) = next.and_then(|n| parts.get_mut(n)) {
            n.previous = Some(left);
        }
        let mut previous = None;
        if let Some(l) = parts.get_mut(left) {
            (l.end, l.next) = (end, next);
            previous = l.previous;
        }
        queue.extend(previous.and_then(|p| pair(&parts, p)));
        queue.extend(pair(&parts, left));
    }
    parts
        .iter()
        .filter(|part| part.start < part.end)
        .filter_map(|part| word.get(part.start..part.end))
        .collect()
}

/// A part of the word and its neighbours. Empty once it was joined to the one on its left.
struct Part {
    start: usize,
    end: usize,
    previous: Option<usize>,
    next: Option<usize>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_rank_is_joined_first_and_the_leftmost_of_equals() {
        let merges = Merges::new(["b c", "a b", "a a"].into_iter());
        assert_eq!(merges.apply("abc"), ["a", "bc"]);
        assert_eq!(merges.apply("abab"), ["ab", "ab"]);
        assert_eq!(merges.apply("aaa"), ["aa", "a"]);
        assert_eq!(merges.apply(""), Vec::<&str>::new());
    }
}
