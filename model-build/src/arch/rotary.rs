//! Rotary positions (Su et al., "RoFormer", 2021): pairs of a head's elements turned by an angle that
//! grows with the position.
//!
//! The angles' cosines and sines are tables that are computed while they are written, and a position
//! looks its row up. A position past `max_position_embeddings` is an error when the graph runs. In a
//! graph in half precision the angles are as exact as in f32, which a product of a position with a
//! frequency would not be there.

use std::sync::Arc;

use super::builder::Builder;
use super::cache::Heads;
use super::config::{Config, refused, wrong};
use super::gguf::Rope;
use crate::error::{Error, Result};
use crate::hub::{AttrValue, DType, Produce, Tensor, ValueId};

/// More positions than this are no table.
const MOST: u64 = 1 << 20;
/// More elements than this are no head.
const WIDEST: u64 = 1 << 12;

/// How fast each pair of a head turns, and what its cosines and sines are multiplied with.
#[derive(Clone, Debug)]
struct Speeds {
    frequencies: Vec<f32>,
    scale: f32,
}

/// The speeds as transformers computes them in f32.
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation)]
// a head's elements are few, and f32 is what transformers has
fn speeds(config: &Config<'_>, width: u64) -> Result<Speeds> {
    let rope = Rope::of(config)?;
    if width > WIDEST || !width.is_multiple_of(2) {
        return Err(wrong(
            "head_dim",
            format!("is {width}: it must be even and no more than {WIDEST}"),
        ));
    }
    if rope.number("partial_rotary_factor")?.is_some_and(|n| n != 1.0) {
        return Err(refused("partial_rotary_factor", "is not 1: whole heads are turned here"));
    }
    let theta = rope.required("rope_theta")?;
    let powers = (0..width / 2).map(|pair| {
        let exponent = (2 * pair) as f32 / width as f32;
        theta.powf(f64::from(exponent)) as f32
    });
    let plain = powers.clone().map(|power| 1.0 / power);
    let mut scale = 1.0;
    let frequencies = match rope.kind()? {
        "default" => plain.collect(),
        "linear" => {
            let factor = rope.required("factor")? as f32;
            plain.map(|f| f / factor).collect()
        }
        "llama3" => {
            let factor = rope.required("factor")? as f32;
            let (low, high) =
                (rope.required("low_freq_factor")?, rope.required("high_freq_factor")?);
            let original = rope.required("original_max_position_embeddings")?;
            plain.map(|f| llama3(f, factor, [low, high], original)).collect()
        }
        "yarn" => {
            let longest = config.length(&["max_position_embeddings"])? as f64;
            let yarn = Yarn::of(config, &rope, width, longest)?;
            scale = yarn.scale;
            powers.zip(0u16..).map(|(power, pair)| yarn.frequency(power, f32::from(pair))).collect()
        }
        other => {
            return Err(refused("rope_type", format!("is `{other}`, which is not lowered here"))
                .hint("the known ones are: default, linear, llama3, yarn"));
        }
    };
    Ok(Speeds { frequencies, scale })
}

/// YaRN (Peng et al., 2023): fast pairs keep their frequency, slow ones are divided, those between the
/// bounds get a mean of both, and attention is scaled.
struct Yarn {
    factor: f32,
    /// The bounds, as numbers of pairs.
    low: f64,
    high: f64,
    scale: f32,
}

impl Yarn {
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation)] // as in `speeds`
    fn of(config: &Config<'_>, rope: &Rope<'_>, width: u64, longest: f64) -> Result<Self> {
        let factor = rope.required("factor")?;
        let given = |key| rope.number(key).map(|n: Option<f64>| n.filter(|n| *n != 0.0));
        let original = given("original_max_position_embeddings")?.unwrap_or(longest);
        let theta = rope.required("rope_theta")?;
        // the pair that turns so many times over the original length
        let width = width as f64;
        let pair = |turns: f64| {
            width * (original / (turns * std::f64::consts::TAU)).ln() / (2.0 * theta.ln())
        };
        let mut low = pair(given("beta_fast")?.unwrap_or(32.0));
        let mut high = pair(given("beta_slow")?.unwrap_or(1.0));
        let rope_keys = config.table(&["rope_parameters"])?;
        if rope_keys.flag_or("truncate", true)? {
            (low, high) = (low.floor(), high.ceil());
        }
        (low, high) = (low.max(0.0), high.min(width - 1.0));
        if low == high {
            high += 0.001;
        }
        let growth =
            |weight: f64| if factor <= 1.0 { 1.0 } else { 0.1 * weight * factor.ln() + 1.0 };
        let scale =
            match (rope.number("attention_factor")?, given("mscale")?, given("mscale_all_dim")?) {
                (Some(scale), ..) => scale,
                (None, Some(one), Some(all)) => growth(one) / growth(all),
                _ => growth(1.0),
            };
        if ![low, high, scale, factor].iter().all(|n| n.is_finite()) {
            return Err(wrong("rope_parameters", "gives frequencies that are no numbers"));
        }
        Ok(Self { factor: factor as f32, low, high, scale: scale as f32 })
    }

    /// The frequency of pair number `pair`, whose wavelength is `power` times the shortest.
    #[allow(clippy::cast_possible_truncation)] // as in `speeds`
    fn frequency(&self, power: f32, pair: f32) -> f32 {
        let ramp = (pair - self.low as f32) / (self.high - self.low) as f32;
        let kept = 1.0 - ramp.clamp(0.0, 1.0);
        1.0 / (self.factor * power) * (1.0 - kept) + 1.0 / power * kept
    }
}

/// Llama 3's scaling: low frequencies are divided, those between the bounds in part.
#[allow(clippy::cast_possible_truncation)] // f32 is what transformers has
fn llama3(frequency: f32, factor: f32, [low, high]: [f64; 2], original: f64) -> f32 {
    let wavelength = std::f64::consts::TAU as f32 / frequency;
    if wavelength < (original / high) as f32 {
        frequency
    } else if wavelength > (original / low) as f32 {
        frequency / factor
    } else {
        let smooth = (original as f32 / wavelength - low as f32) / (high - low) as f32;
        (1.0 - smooth) * frequency / factor + smooth * frequency
    }
}

/// The cosines or sines of `position · frequency`: f32 `[positions, pairs]`.
struct Table {
    speeds: Speeds,
    sine: bool,
}

impl Produce for Table {
    fn granularity(&self) -> u64 {
        4
    }

    fn produce(&self, offset: u64, out: &mut [u8]) -> Result<()> {
        let Speeds { frequencies, scale } = &self.speeds;
        let pairs = frequencies.len() as u64;
        let (out, _) = out.as_chunks_mut::<4>();
        for (to, element) in out.iter_mut().zip(offset / 4..) {
            let pair = usize::try_from(element % pairs).ok();
            let frequency = pair
                .and_then(|pair| frequencies.get(pair))
                .ok_or_else(|| Error::bug("a pair past the end of a head"))?;
            #[allow(clippy::cast_precision_loss)] // positions are below 2^24
            let angle = (element / pairs) as f32 * frequency;
            let [cosine, sine] = turn(angle);
            let value = if self.sine { sine } else { cosine };
            *to = (value * scale).to_le_bytes();
        }
        Ok(())
    }
}

/// The 20 low bits of π/2 are left out here, so that a product with a count of quarters below 2^20 is
/// exact.
const QUARTER_HIGH: f64 = f64::from_bits(std::f64::consts::FRAC_PI_2.to_bits() & !((1 << 20) - 1));
/// The rest of π/2, with what an f64 of it lacks.
const QUARTER_LOW: f64 = (std::f64::consts::FRAC_PI_2 - QUARTER_HIGH) + 6.123_233_995_736_766e-17;

/// Cosine and sine of an angle of no more than 2^20, by sums and products alone: the same on any
/// machine. The angle less its quarters of a turn, in two parts (Cody and Waite, 1980), then Taylor's
/// series, whose first term left out is below 1e-16.
#[allow(clippy::cast_possible_truncation)] // the rounding is the point
fn turn(angle: f32) -> [f32; 2] {
    let angle = f64::from(angle);
    let quarters = (angle / std::f64::consts::FRAC_PI_2).round();
    let rest = (angle - quarters * QUARTER_HIGH) - quarters * QUARTER_LOW;
    let square = rest * rest;
    let series = |first: f64, step: f64| {
        // 1 - x²/(first·(first + 1)) · (1 - x²/…), from the far end
        let mut sum = 1.0;
        let mut n = first + 2.0 * step;
        while n >= first {
            sum = 1.0 - square / (n * (n + 1.0)) * sum;
            n -= 2.0;
        }
        sum
    };
    let (cosine, sine) = (series(1.0, 8.0), rest * series(2.0, 8.0));
    let (cosine, sine) = (cosine as f32, sine as f32);
    #[allow(clippy::cast_sign_loss)] // 0 to 3
    match quarters.rem_euclid(4.0) as u8 {
        0 => [cosine, sine],
        1 => [-sine, cosine],
        2 => [-cosine, -sine],
        _ => [sine, -cosine],
    }
}

/// The rows of both tables at the positions of a run: f32 `[batch, 1, sequence, pairs]` each.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rotary {
    cosine: ValueId,
    sine: ValueId,
}

impl Rotary {
    /// `positions` are i64 `[batch, sequence]`.
    pub(super) fn of(
        b: &mut Builder<'_>,
        config: &Config<'_>,
        width: u64,
        positions: ValueId,
    ) -> Result<Self> {
        let count = config.length(&["max_position_embeddings"])?;
        if count > MOST {
            return Err(refused(
                "max_position_embeddings",
                format!("is {count}: tables of up to {MOST} positions are made here"),
            ));
        }
        let speeds = speeds(config, width)?;
        let mut rows = [positions; 2];
        for (rows, (name, sine)) in rows.iter_mut().zip([("cos", false), ("sin", true)]) {
            let path = format!("rotary_emb.{name}");
            let shape = vec![count, speeds.frequencies.len() as u64];
            let data = Arc::new(Table { speeds: speeds.clone(), sine });
            let table = b.tensor(&path, Tensor::lazy(DType::F32, shape, data)?)?;
            let axis = [("axis", AttrValue::Int(0))];
            let found = b.op(&path, "Gather", &[table, positions], &axis)?;
            let one = b.integers(&[1])?;
            *rows = b.op(&path, "Unsqueeze", &[found, one], &[])?;
        }
        let [cosine, sine] = rows;
        Ok(Self { cosine, sine })
    }

    /// Turns `x` `[batch, heads, sequence, width]`: an element of the first half of a head and the one
    /// at the same place of the second half are a pair.
    pub(super) fn apply(
        self,
        b: &mut Builder<'_>,
        path: &str,
        x: ValueId,
        heads: Heads,
    ) -> Result<ValueId> {
        let signed = |n: u64| i64::try_from(n).map_err(|_| Error::bug("a head past 2^63"));
        let (half, all) = (signed(heads.width / 2)?, signed(heads.width)?);
        let mut halves = [x; 2];
        for (half, [start, end]) in halves.iter_mut().zip([[0, half], [half, all]]) {
            let (start, end) = (b.integers(&[start])?, b.integers(&[end])?);
            let last = b.integers(&[-1])?;
            *half = b.op(path, "Slice", &[x, start, end, last], &[])?;
        }
        let [first, second] = halves;
        let mut product = |x, by| b.op(path, "Mul", &[x, by], &[]);
        let (a, d) = (product(first, self.cosine)?, product(second, self.sine)?);
        let (c, e) = (product(second, self.cosine)?, product(first, self.sine)?);
        let left = b.op(path, "Sub", &[a, d], &[])?;
        let right = b.op(path, "Add", &[c, e], &[])?;
        b.op(path, "Concat", &[left, right], &[("axis", AttrValue::Int(-1))])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::cast_possible_truncation)] // the rounding is the point
    fn angles_up_to_a_million_have_the_cosines_and_sines_of_the_standard_library() {
        let mut angle = 0.0f32;
        while angle < 1e6 {
            let exact = f64::from(angle);
            let [cosine, sine] = turn(angle);
            assert_eq!(cosine, exact.cos() as f32, "cos {angle}");
            assert_eq!(sine, exact.sin() as f32, "sin {angle}");
            angle = angle * 1.000_7 + 0.001_3;
        }
    }
}
