//! Vectors of `f32` and `i32` on every kernel: one text of an algorithm, compiled for each.
//!
//! A [`Job`] is generic over [`Lanes`]; [`dispatch`] runs it with the instructions of a [`Kernel`].
//! Every operation is that of IEEE 754 on each lane alone, rounded once, so a lane computes exactly
//! what the scalar kernel does; nothing is fused or reordered.
//!
//! Everything that takes a `Lanes` must be `#[inline(always)]` down from [`Job::run`], closures
//! excepted: only what is inlined into the function that enables the instructions may use them well.

pub(super) mod float;
#[cfg(target_arch = "aarch64")]
mod neon;
mod scalar;
#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
mod x86;

use crate::hub::Kernel;

/// The most lanes that any kernel has.
pub(super) const MOST_LANES: usize = 16;

/// Vectors of [`Lanes::N`] numbers. The value is a token: it exists only where the CPU has the
/// instructions, so that every method is safe to call.
///
/// Comparisons with a NaN are false. Integers wrap.
pub(super) trait Lanes: Copy {
    /// Lanes of a vector.
    const N: usize;
    /// A vector of `f32`.
    type F: Copy;
    /// A vector of `i32`.
    type I: Copy;
    /// One truth value per lane.
    type M: Copy;

    /// `v` in every lane.
    fn splat(self, v: f32) -> Self::F;
    /// The first `N` of `from`, which has as many.
    fn load(self, from: &[f32]) -> Self::F;
    /// Writes the lanes to the first `N` of `to`, which has the room.
    fn store(self, v: Self::F, to: &mut [f32]);
    /// `a + b`.
    fn add(self, a: Self::F, b: Self::F) -> Self::F;
    /// `a - b`.
    fn sub(self, a: Self::F, b: Self::F) -> Self::F;
    /// `a * b`.
    fn mul(self, a: Self::F, b: Self::F) -> Self::F;
    /// `a / b`.
    fn div(self, a: Self::F, b: Self::F) -> Self::F;
    /// The square root.
    fn sqrt(self, a: Self::F) -> Self::F;
    /// `a` without its sign.
    fn abs(self, a: Self::F) -> Self::F;
    /// `if a < b { a } else { b }`: `b` where one is a NaN.
    fn min(self, a: Self::F, b: Self::F) -> Self::F;
    /// `if a > b { a } else { b }`: `b` where one is a NaN.
    fn max(self, a: Self::F, b: Self::F) -> Self::F;
    /// The nearest integer, half to even, of a number of less than 2²¹ in magnitude; the sign of a
    /// zero is any.
    fn round(self, a: Self::F) -> Self::F;
    /// `a < b`.
    fn lt(self, a: Self::F, b: Self::F) -> Self::M;
    /// `a <= b`.
    fn le(self, a: Self::F, b: Self::F) -> Self::M;
    /// `a == b`.
    fn eq(self, a: Self::F, b: Self::F) -> Self::M;
    /// `if m { a } else { b }`.
    fn select(self, m: Self::M, a: Self::F, b: Self::F) -> Self::F;
    /// The bits of each float.
    fn to_bits(self, a: Self::F) -> Self::I;
    /// The floats of these bits.
    fn with_bits(self, a: Self::I) -> Self::F;
    /// The nearest float of each integer.
    fn to_f32(self, a: Self::I) -> Self::F;
    /// The integer part of each float, which is in the range of `i32`; else any number.
    fn to_i32(self, a: Self::F) -> Self::I;
    /// `table[index & 15]`.
    fn lookup(self, table: &[f32; 16], index: Self::I) -> Self::F;

    /// `table[index & 3]`.
    #[inline(always)]
    fn lookup_4(self, table: &[f32; 4], index: Self::I) -> Self::F {
        let [a, b, c, d] = *table;
        let index = self.and_i(index, self.splat_i(3));
        self.lookup(
            &[a, b, c, d, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
            index,
        )
    }
    /// `table[index & 7]`.
    #[inline(always)]
    fn lookup_8(self, table: &[f32; 8], index: Self::I) -> Self::F {
        let [a, b, c, d, e, f, g, h] = *table;
        self.lookup(&[a, b, c, d, e, f, g, h, a, b, c, d, e, f, g, h], index)
    }
    /// The least of the lanes, of which none is a NaN or the negative zero.
    #[inline(always)]
    fn least(self, a: Self::F) -> f32 {
        let mut lanes = [f32::INFINITY; MOST_LANES];
        self.store(a, &mut lanes);
        lanes.into_iter().fold(f32::INFINITY, f32::min)
    }

    /// The first `N` of `from`, which has as many.
    #[inline(always)]
    fn load_u16(self, from: &[u16]) -> Self::I {
        let mut wide = [0; MOST_LANES];
        for (wide, narrow) in wide.iter_mut().zip(&from[..Self::N]) {
            *wide = i32::from(*narrow);
        }
        self.load_i(&wide)
    }
    /// `v` in every lane.
    fn splat_i(self, v: i32) -> Self::I;
    /// The first `N` of `from`, which has as many.
    fn load_i(self, from: &[i32]) -> Self::I;
    /// The first `N` bytes of `from`, which has as many.
    fn load_bytes(self, from: &[u8]) -> Self::I;
    /// Writes the low byte of each lane to the first `N` of `to`, which has the room.
    fn store_bytes(self, v: Self::I, to: &mut [u8]);
    /// Writes the lanes to the first `N` of `to`, which has the room.
    fn store_i(self, v: Self::I, to: &mut [i32]);
    /// `a + b`.
    fn add_i(self, a: Self::I, b: Self::I) -> Self::I;
    /// `a - b`.
    fn sub_i(self, a: Self::I, b: Self::I) -> Self::I;
    /// The lesser.
    fn min_i(self, a: Self::I, b: Self::I) -> Self::I;
    /// The greater.
    fn max_i(self, a: Self::I, b: Self::I) -> Self::I;
    /// `a & b`.
    fn and_i(self, a: Self::I, b: Self::I) -> Self::I;
    /// `a | b`.
    fn or_i(self, a: Self::I, b: Self::I) -> Self::I;
    /// `a ^ b`.
    fn xor_i(self, a: Self::I, b: Self::I) -> Self::I;
    /// `a << by`, `by` less than 32.
    fn shl(self, a: Self::I, by: i32) -> Self::I;
    /// `a >> by` with zeros from above, `by` less than 32.
    fn shr(self, a: Self::I, by: i32) -> Self::I;
    /// `a < b`.
    fn lt_i(self, a: Self::I, b: Self::I) -> Self::M;
    /// `a == b`.
    fn eq_i(self, a: Self::I, b: Self::I) -> Self::M;
    /// `if m { a } else { b }`.
    fn select_i(self, m: Self::M, a: Self::I, b: Self::I) -> Self::I;

    /// Both.
    fn and(self, a: Self::M, b: Self::M) -> Self::M;
    /// Either.
    fn or(self, a: Self::M, b: Self::M) -> Self::M;
    /// Not.
    fn not(self, a: Self::M) -> Self::M;
    /// A bit per lane, the first lane in the lowest.
    fn bits(self, a: Self::M) -> u32;
    /// Whether any lane is true.
    fn any(self, a: Self::M) -> bool;

    /// Lays rows side by side: lane `r` of `to[e]` is `rows[r][e]`, zero for rows that there are
    /// not. There are at most `N` rows; each has `to.len()` elements.
    #[inline(always)]
    fn transpose(self, rows: &[&[f32]], to: &mut [Self::F]) {
        transpose_from(self, rows, to, 0);
    }

    /// `if a > b`.
    #[inline(always)]
    fn gt(self, a: Self::F, b: Self::F) -> Self::M {
        self.lt(b, a)
    }

    /// `a` with the other sign, zeros and NaNs included.
    #[inline(always)]
    fn neg(self, a: Self::F) -> Self::F {
        self.with_bits(self.xor_i(self.to_bits(a), self.splat_i(i32::MIN)))
    }

    /// `v` between 0 and `most`, neither a NaN. Done on the bits: those of numbers ≥ 0 are ordered
    /// as the numbers are, those of all others are less.
    #[inline(always)]
    fn clamp_positive(self, v: Self::F, most: Self::F) -> Self::F {
        let bits = self.max_i(self.to_bits(v), self.splat_i(0));
        self.with_bits(self.min_i(bits, self.to_bits(most)))
    }

    /// `v`, not a NaN, or 0 where that is greater; on the bits as well.
    #[inline(always)]
    fn at_least_zero(self, v: Self::F) -> Self::F {
        self.with_bits(self.max_i(self.to_bits(v), self.splat_i(0)))
    }

    /// The lesser of `v` and `most`, which is ≥ 0, neither a NaN; on the bits as well.
    #[inline(always)]
    fn at_most(self, v: Self::F, most: Self::F) -> Self::F {
        self.with_bits(self.min_i(self.to_bits(v), self.to_bits(most)))
    }

    /// `v` between `least` and `most`.
    #[inline(always)]
    fn clamp_i(self, v: Self::I, least: i32, most: i32) -> Self::I {
        self.max_i(self.min_i(v, self.splat_i(most)), self.splat_i(least))
    }

    /// ggml's `nearest_int`: rounds half to even where |v| ≤ 2²², and gives what ggml gives for
    /// everything else.
    #[inline(always)]
    fn nearest(self, v: Self::F) -> Self::I {
        let biased = self.add(v, self.splat(ROUNDER));
        let mantissa = self.and_i(self.to_bits(biased), self.splat_i(0x007f_ffff));
        self.sub_i(mantissa, self.splat_i(0x0040_0000))
    }
}

/// 1.5 · 2²³: adding it moves a small number's integer part to the low bits of the mantissa.
pub(super) const ROUNDER: f32 = 12_582_912.0;

/// [`Lanes::transpose`] of the elements from `first` on, one by one.
#[inline(always)]
fn transpose_from<L: Lanes>(lanes: L, rows: &[&[f32]], to: &mut [L::F], first: usize) {
    for (e, to) in to.iter_mut().enumerate().skip(first) {
        let mut column = [0.0; MOST_LANES];
        for (slot, row) in column.iter_mut().zip(rows) {
            *slot = row.get(e).copied().unwrap_or(0.0);
        }
        *to = lanes.load(&column);
    }
}

/// An algorithm that is generic over the vectors it uses.
pub(super) trait Job {
    /// What it gives.
    type Output;
    /// Runs it. Implementations are `#[inline(always)]`.
    fn run<L: Lanes>(self, lanes: L) -> Self::Output;
}

/// Runs a job with the instructions of `kernel`, with scalars where this machine lacks them.
pub(super) fn dispatch<J: Job>(kernel: Kernel, job: J) -> J::Output {
    match kernel {
        #[cfg(target_arch = "x86_64")]
        Kernel::Avx512 => match x86::Avx512::new() {
            Some(lanes) => lanes.run(job),
            None => job.run(scalar::Scalar),
        },
        #[cfg(target_arch = "x86_64")]
        Kernel::Avx2 => match x86::Avx2::new() {
            Some(lanes) => lanes.run(job),
            None => job.run(scalar::Scalar),
        },
        #[cfg(target_arch = "aarch64")]
        Kernel::Neon => job.run(neon::Neon::new()),
        _ => job.run(scalar::Scalar),
    }
}
