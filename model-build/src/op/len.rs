//! Symbolic lengths: polynomials with integer coefficients over named lengths.
//!
//! They stand for axes and for the elements of small integer tensors that carry shapes, so that an
//! exporter's shape arithmetic (`Shape`, `Gather`, `Mul`, `Concat`, `Reshape`) resolves to names.

use std::fmt::{self, Write as _};
use std::sync::Arc;

use crate::hub::Dim;

/// Names of a product, sorted; empty for the constant term.
type Product = Vec<Arc<str>>;

/// More terms than this are treated as unknown: no shape in use comes near.
const MAX_TERMS: usize = 16;

/// An integer that is known, known as a polynomial over named lengths, or unknown.
///
/// A symbol whose text is a polynomial in the form that [`Display`](fmt::Display) writes
/// (`2*batch`, `sequence + 1`) is read as that polynomial; any other text is one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Len(Option<Vec<(Product, i64)>>);

impl Len {
    /// Nothing is known.
    pub const UNKNOWN: Len = Len(None);

    /// A known number.
    pub fn fixed(n: i64) -> Self {
        Self(Some(if n == 0 { Vec::new() } else { vec![(Vec::new(), n)] }))
    }
    /// A known number, unless it is past `i64`.
    pub fn from_u64(n: u64) -> Self {
        i64::try_from(n).map_or(Self::UNKNOWN, Self::fixed)
    }
    /// One name, whatever its text.
    pub fn name(text: &str) -> Self {
        Self(Some(vec![(vec![text.into()], 1)]))
    }
    /// A symbol: the polynomial that its text spells, or one name.
    pub fn symbol(text: &str) -> Self {
        parse(text).unwrap_or_else(|| Self::name(text))
    }
    /// An axis.
    pub fn from_dim(dim: &Dim) -> Self {
        match dim {
            Dim::Fixed(n) => Self::from_u64(*n),
            // What some exporters write for a length that they do not know.
            Dim::Symbol(text) if &**text == "?" => Self::UNKNOWN,
            Dim::Symbol(text) => Self::symbol(text),
            Dim::Unknown => Self::UNKNOWN,
        }
    }
    /// As an axis; a number below zero is unknown.
    pub fn to_dim(&self) -> Dim {
        match (&self.0, self.as_fixed()) {
            (_, Some(n)) => u64::try_from(n).map_or(Dim::Unknown, Dim::Fixed),
            (Some(_), None) => Dim::symbol(&self.to_string()),
            (None, None) => Dim::Unknown,
        }
    }
    /// The number, if it is known.
    pub fn as_fixed(&self) -> Option<i64> {
        match self.0.as_deref()? {
            [] => Some(0),
            [(names, n)] if names.is_empty() => Some(*n),
            _ => None,
        }
    }
    /// Whether it is a number or a polynomial.
    pub fn is_known(&self) -> bool {
        self.0.is_some()
    }
    /// Whether this is the number `n`.
    pub fn is(&self, n: i64) -> bool {
        self.as_fixed() == Some(n)
    }
    /// Whether it is known not to be below zero, where every name is a length.
    pub fn is_non_negative(&self) -> bool {
        self.0.as_ref().is_some_and(|terms| terms.iter().all(|(_, n)| *n >= 0))
    }
    /// Whether both are known and the same.
    pub fn same(&self, other: &Self) -> bool {
        self.is_known() && self == other
    }
    /// Whether both are numbers and differ.
    pub fn contradicts(&self, other: &Self) -> bool {
        matches!((self.as_fixed(), other.as_fixed()), (Some(a), Some(b)) if a != b)
    }
    /// Whichever of two statements about one length says more.
    pub fn or(&self, other: &Self) -> Self {
        match (self.as_fixed(), other.as_fixed()) {
            (None, Some(_)) => other.clone(),
            _ if self.is_known() => self.clone(),
            _ => other.clone(),
        }
    }

    fn from_terms(mut terms: Vec<(Product, i64)>) -> Self {
        // Highest degree first, then by name: the order of the text.
        terms.sort_by(|(a, _), (b, _)| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        let mut out: Vec<(Product, i64)> = Vec::new();
        for (names, n) in terms {
            match out.last_mut() {
                Some((last, sum)) if *last == names => match sum.checked_add(n) {
                    Some(s) => *sum = s,
                    None => return Self::UNKNOWN,
                },
                _ => out.push((names, n)),
            }
        }
        out.retain(|(_, n)| *n != 0);
        if out.len() > MAX_TERMS { Self::UNKNOWN } else { Self(Some(out)) }
    }

    /// The sum.
    #[must_use]
    pub fn add(&self, other: &Self) -> Self {
        let (Some(a), Some(b)) = (&self.0, &other.0) else { return Self::UNKNOWN };
        Self::from_terms(a.iter().chain(b).cloned().collect())
    }
    /// The sum with a number.
    #[must_use]
    pub fn plus(&self, n: i64) -> Self {
        self.add(&Self::fixed(n))
    }
    /// The difference.
    #[must_use]
    pub fn sub(&self, other: &Self) -> Self {
        self.add(&other.mul(&Self::fixed(-1)))
    }
    /// The product; zero times anything is zero.
    #[must_use]
    pub fn mul(&self, other: &Self) -> Self {
        if self.is(0) || other.is(0) {
            return Self::fixed(0);
        }
        let (Some(a), Some(b)) = (&self.0, &other.0) else { return Self::UNKNOWN };
        let mut terms = Vec::with_capacity(a.len() * b.len());
        for (x, n) in a {
            for (y, m) in b {
                let Some(nm) = n.checked_mul(*m) else { return Self::UNKNOWN };
                let mut names: Product = x.iter().chain(y).cloned().collect();
                names.sort();
                terms.push((names, nm));
            }
        }
        Self::from_terms(terms)
    }
    /// The product of all.
    pub fn product<'a>(all: impl IntoIterator<Item = &'a Self>) -> Self {
        all.into_iter().fold(Self::fixed(1), |p, d| p.mul(d))
    }
    /// The quotient where every term divides by the one term of `by` without a remainder, else
    /// unknown. Named lengths are taken not to be zero.
    #[must_use]
    pub fn div_exact(&self, by: &Self) -> Self {
        let (Some(terms), Some([(names, n)])) = (&self.0, by.0.as_deref()) else {
            return Self::UNKNOWN;
        };
        let quotient: Option<Vec<_>> = terms
            .iter()
            .map(|(product, m)| {
                let mut rest = product.clone();
                for name in names {
                    let at = rest.iter().position(|x| x == name)?;
                    rest.remove(at);
                }
                (m.checked_rem(*n)? == 0).then_some((rest, m.checked_div(*n)?))
            })
            .collect();
        quotient.map_or(Self::UNKNOWN, Self::from_terms)
    }
    /// The quotient rounded towards minus infinity. Where it cannot be simplified it is a name of
    /// its own that spells the division.
    #[must_use]
    pub fn div_floor(&self, by: i64) -> Self {
        if by <= 0 || !self.is_known() {
            return Self::UNKNOWN;
        }
        if let Some(n) = self.as_fixed() {
            return Self::fixed(n.div_euclid(by));
        }
        let exact = self.div_exact(&Self::fixed(by));
        if exact.is_known() { exact } else { Self::name(&format!("floor(({self})/{by})")) }
    }
    /// The quotient rounded towards plus infinity.
    #[must_use]
    pub fn div_ceil(&self, by: i64) -> Self {
        by.checked_sub(1).map_or(Self::UNKNOWN, |n| self.plus(n).div_floor(by))
    }
    /// The lesser of two lengths. Where it is not known which that is, a name of its own that spells
    /// the choice.
    #[must_use]
    pub fn min(&self, other: &Self) -> Self {
        if !self.is_known() || !other.is_known() {
            Self::UNKNOWN
        } else if self.sub(other).is_non_negative() {
            other.clone()
        } else if other.sub(self).is_non_negative() {
            self.clone()
        } else {
            Self::name(&format!("min({self}, {other})"))
        }
    }
    /// Whether this is the lesser of `other` and something else, as [`min`](Self::min) spells it.
    pub fn is_min_with(&self, other: &Self) -> bool {
        let Some([(names, 1)]) = self.0.as_deref() else { return false };
        let [name] = names.as_slice() else { return false };
        name.strip_prefix("min(")
            .and_then(|rest| rest.strip_suffix(')'))
            .is_some_and(|inside| inside.ends_with(&format!(", {other}")))
    }
    /// The polynomial with numbers in place of the names that `value` knows.
    #[must_use]
    pub fn substitute(&self, value: &dyn Fn(&str) -> Option<u64>) -> Self {
        let Some(terms) = &self.0 else { return Self::UNKNOWN };
        terms.iter().fold(Self::fixed(0), |sum, (names, n)| {
            let term = names.iter().fold(Self::fixed(*n), |product, name| {
                let factor = value(name).map_or_else(|| Self::name(name), Self::from_u64);
                product.mul(&factor)
            });
            sum.add(&term)
        })
    }
    /// The polynomial with other names in place of those that `name` knows.
    #[must_use]
    pub fn renamed<'n>(&self, name: &dyn Fn(&str) -> Option<&'n str>) -> Self {
        let Some(terms) = &self.0 else { return Self::UNKNOWN };
        let changed = terms.iter().map(|(names, n)| {
            let mut names: Product =
                names.iter().map(|old| name(old).map_or_else(|| old.clone(), Into::into)).collect();
            names.sort();
            (names, *n)
        });
        Self::from_terms(changed.collect())
    }
    /// Whether a name is in it, be it inside of a name that spells a division or a choice.
    pub fn has(&self, name: &str) -> bool {
        let inside = |part: &str| {
            part.match_indices(name).any(|(at, _)| {
                let word = |c: char| c.is_alphanumeric() || "_.:$#-".contains(c);
                let before = part.get(..at).and_then(|text| text.chars().next_back());
                let after = part.get(at + name.len()..).and_then(|text| text.chars().next());
                !before.is_some_and(word) && !after.is_some_and(word)
            })
        };
        self.0.iter().flatten().flat_map(|(names, _)| names).any(|part| inside(part))
    }
    /// The names in it, each once, sorted.
    pub fn names(&self) -> Vec<Arc<str>> {
        let mut names: Vec<_> =
            self.0.iter().flatten().flat_map(|(names, _)| names.iter().cloned()).collect();
        names.sort();
        names.dedup();
        names
    }
}

impl fmt::Display for Len {
    /// `2*batch*sequence + 3*batch - 1`; `?` when unknown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(terms) = &self.0 else { return f.write_char('?') };
        if terms.is_empty() {
            return f.write_char('0');
        }
        for (i, (names, n)) in terms.iter().enumerate() {
            match (i, *n < 0) {
                (0, false) => {}
                (0, true) => f.write_str("-")?,
                (_, false) => f.write_str(" + ")?,
                (_, true) => f.write_str(" - ")?,
            }
            let size = n.unsigned_abs();
            let names = names.join("*");
            match (names.is_empty(), size) {
                (true, _) => write!(f, "{size}")?,
                (false, 1) => f.write_str(&names)?,
                (false, _) => write!(f, "{size}*{names}")?,
            }
        }
        Ok(())
    }
}

/// Reads what `Display` writes; `None` for any other text.
fn parse(text: &str) -> Option<Len> {
    let mut terms = Vec::new();
    let (mut negative, mut rest) = match text.strip_prefix('-') {
        Some(tail) => (true, tail),
        None => (false, text),
    };
    loop {
        let end = outside(rest, |tail| tail.starts_with(" + ") || tail.starts_with(" - "));
        let (mut names, mut factor) = (Product::new(), 1i64);
        let mut parts = rest.get(..end)?;
        let mut first = true;
        loop {
            let cut = outside(parts, |tail| tail.starts_with('*'));
            let part = parts.get(..cut)?;
            if first && part.starts_with(|c: char| c.is_ascii_digit()) {
                factor = part.parse().ok()?;
            } else if is_name(part) {
                names.push(part.into());
            } else {
                return None;
            }
            first = false;
            match parts.get(cut..)?.strip_prefix('*') {
                Some(tail) => parts = tail,
                None => break,
            }
        }
        names.sort();
        terms.push((names, if negative { factor.checked_neg()? } else { factor }));
        let tail = rest.get(end..)?;
        if tail.is_empty() {
            return Some(Len::from_terms(terms));
        }
        (negative, rest) = (tail.starts_with(" - "), tail.get(3..)?);
    }
}

/// Where `hit` first holds of the rest of the text outside of parentheses, else the end.
fn outside(text: &str, hit: impl Fn(&str) -> bool) -> usize {
    let mut depth = 0u32;
    for (i, c) in text.char_indices() {
        match c {
            '(' => depth = depth.saturating_add(1),
            ')' => depth = depth.saturating_sub(1),
            _ if depth == 0 && text.get(i..).is_some_and(&hit) => return i,
            _ => {}
        }
    }
    text.len()
}

/// A plain name, or one that [`Len::div_floor`] or [`Len::min`] spells.
fn is_name(part: &str) -> bool {
    let spelt = |start| {
        part.strip_prefix(start).is_some_and(|rest: &str| {
            rest.strip_suffix(')').is_some_and(|inside| outside(inside, |_| false) == inside.len())
        })
    };
    spelt("floor(")
        || spelt("min(")
        || (part.starts_with(|c: char| c.is_alphabetic() || c == '_')
            && part.chars().all(|c| c.is_alphanumeric() || "_.:$#-".contains(c)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_is_that_of_polynomials() {
        let (b, s) = (Len::symbol("batch"), Len::symbol("sequence"));
        let heads = b.mul(&s).mul(&Len::fixed(384));
        assert_eq!(heads.to_string(), "384*batch*sequence");
        assert_eq!(heads.div_exact(&b.mul(&Len::fixed(12))).to_string(), "32*sequence");
        assert!(!s.div_exact(&b).is_known());
        assert_eq!(s.plus(1).mul(&s.plus(-1)).to_string(), "sequence*sequence - 1");
        assert_eq!(s.sub(&s), Len::fixed(0));
        assert_eq!(s.plus(-1).div_floor(2).to_string(), "floor((sequence - 1)/2)");
        assert_eq!(s.mul(&Len::fixed(4)).div_floor(2).to_string(), "2*sequence");
        assert_eq!(Len::fixed(24).min(&s).to_string(), "min(24, sequence)");
        assert!(Len::fixed(24).min(&s).is_min_with(&s));
        assert!(!Len::fixed(24).min(&s.plus(1)).is_min_with(&s));
        assert_eq!(s.min(&s.plus(2)), s);
        assert_eq!(Len::fixed(-3).div_floor(2), Len::fixed(-2));
        assert_eq!(Len::fixed(5).div_ceil(2), Len::fixed(3));
        assert_eq!(Len::UNKNOWN.mul(&Len::fixed(0)), Len::fixed(0));
        assert!(!Len::fixed(i64::MAX).plus(1).is_known());
    }

    #[test]
    fn a_symbol_is_read_as_the_polynomial_it_spells() {
        for text in [
            "2*batch*sequence + 3*batch - 1",
            "-batch + 1",
            "past-length + 1",
            "3*floor((h - 1)/2)*floor((w - 1)/2) + min(4, 2*h) - 1",
        ] {
            assert_eq!(Len::symbol(text).to_string(), text);
            assert!(Len::symbol(text).names().iter().all(|n| &**n != text), "{text}");
        }
        assert_eq!(Len::symbol("batch + batch").to_string(), "2*batch");
        for text in
            ["f((h + 1)/2)", "a b", "", "2*", "(a)*b", "99999999999999999999*a", "é(", "a + "]
        {
            assert_eq!(Len::symbol(text), Len::name(text), "{text}");
        }
    }

    #[test]
    fn substitution_reaches_into_products() {
        let n = Len::symbol("2*batch*sequence + 3*batch - 1");
        let one = n.substitute(&|name| (name == "batch").then_some(2));
        assert_eq!(one.to_string(), "4*sequence + 5");
        assert_eq!(one.substitute(&|_| Some(10)), Len::fixed(45));
    }
}
