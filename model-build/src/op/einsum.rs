//! `Einsum`: sums of products named by letters; equations with an ellipsis give no shape.

use super::cx::{Cx, Fact};
use super::len::Len;
use crate::error::Result;

fn einsum(cx: &Cx<'_>) -> Result<Vec<Fact>> {
    let dtype = (0..cx.input_count()).find_map(|i| cx.dtype(i));
    let equation: String = match cx.str("equation")? {
        Some(text) => text.chars().filter(|c| !c.is_whitespace()).collect(),
        None => return Err(cx.fail("attribute `equation` is missing")),
    };
    if equation.contains('.') {
        return Ok(vec![Fact::new(dtype, None)]);
    }
    let (left, right) = match equation.split_once("->") {
        Some((left, right)) => (left, Some(right.to_owned())),
        None => (equation.as_str(), None),
    };
    let terms: Vec<&str> = left.split(',').collect();
    if terms.len() != cx.input_count() {
        return Err(cx.fail(format!("`{equation}` is for {} inputs", terms.len())));
    }
    let mut lengths: Vec<(char, Len)> = Vec::new();
    for (i, term) in terms.iter().enumerate() {
        cx.want_rank(i, term.chars().count())?;
        let blank = vec![Len::UNKNOWN; term.chars().count()];
        for (letter, dim) in term.chars().zip(cx.shape(i).unwrap_or(&blank)) {
            match lengths.iter_mut().find(|(l, _)| *l == letter) {
                // A length of 1 broadcasts.
                Some((_, have)) if have.is(1) => *have = dim.clone(),
                Some(_) if dim.is(1) => {}
                Some((_, have)) => {
                    *have = cx.unify(have, dim, &format!("letter `{letter}` of `{equation}`"))?;
                }
                None => lengths.push((letter, dim.clone())),
            }
        }
    }
    // Without a right side: the letters that occur once, in alphabetical order.
    let right = right.unwrap_or_else(|| {
        let mut once: Vec<char> =
            left.chars().filter(|c| *c != ',' && left.matches(*c).count() == 1).collect();
        once.sort_unstable();
        once.into_iter().collect()
    });
    let shape = right
        .chars()
        .map(|letter| match lengths.iter().find(|(l, _)| *l == letter) {
            Some((_, n)) => Ok(n.clone()),
            None => Err(cx.fail(format!("`{letter}` of `{equation}` is in no input"))),
        })
        .collect::<Result<Vec<_>>>()?;
    Ok(vec![Fact::new(dtype, Some(shape))])
}

defs! {
    EINSUM = "Einsum", 12, einsum;
}
