//! Vectors of one number: the scalar kernel.

use super::{Lanes, ROUNDER};

/// The scalar kernel.
#[derive(Clone, Copy)]
pub(super) struct Scalar;

macro_rules! operations {
    ($(fn $name:ident($($arg:ident: $ty:ty),*) -> $ret:ty = $value:expr;)*) => {$(
        #[inline(always)]
        fn $name(self, $($arg: $ty),*) -> $ret { $value }
    )*};
}

impl Lanes for Scalar {
    const N: usize = 1;
    type F = f32;
    type I = i32;
    type M = bool;

    operations! {
        fn splat(v: f32) -> f32 = v;
        fn load(from: &[f32]) -> f32 = from[0];
        fn add(a: f32, b: f32) -> f32 = a + b;
        fn sub(a: f32, b: f32) -> f32 = a - b;
        fn mul(a: f32, b: f32) -> f32 = a * b;
        fn div(a: f32, b: f32) -> f32 = a / b;
        fn sqrt(a: f32) -> f32 = a.sqrt();
        fn abs(a: f32) -> f32 = a.abs();
        fn min(a: f32, b: f32) -> f32 = if a < b { a } else { b };
        fn max(a: f32, b: f32) -> f32 = if a > b { a } else { b };
        fn round(a: f32) -> f32 = (a + ROUNDER) - ROUNDER;
        fn clamp_positive(v: f32, most: f32) -> f32 = (if v > 0.0 { v } else { 0.0 }).min(most);
        fn at_least_zero(v: f32) -> f32 = if v > 0.0 { v } else { 0.0 };
        fn at_most(v: f32, most: f32) -> f32 = v.min(most);
        fn lt(a: f32, b: f32) -> bool = a < b;
        fn le(a: f32, b: f32) -> bool = a <= b;
        fn eq(a: f32, b: f32) -> bool = a == b;
        fn select(m: bool, a: f32, b: f32) -> f32 = if m { a } else { b };
        fn to_bits(a: f32) -> i32 = a.to_bits().cast_signed();
        fn with_bits(a: i32) -> f32 = f32::from_bits(a.cast_unsigned());
        fn to_f32(a: i32) -> f32 = a as f32;
        fn lookup(table: &[f32; 16], index: i32) -> f32 = table[index.cast_unsigned() as usize & 15];
        fn lookup_4(table: &[f32; 4], index: i32) -> f32 = table[index.cast_unsigned() as usize & 3];
        fn lookup_8(table: &[f32; 8], index: i32) -> f32 = table[index.cast_unsigned() as usize & 7];
        fn least(a: f32) -> f32 = a;
        fn load_u16(from: &[u16]) -> i32 = i32::from(from[0]);
        fn splat_i(v: i32) -> i32 = v;
        fn load_bytes(from: &[u8]) -> i32 = i32::from(from[0]);
        fn load_i(from: &[i32]) -> i32 = from[0];
        fn add_i(a: i32, b: i32) -> i32 = a.wrapping_add(b);
        fn sub_i(a: i32, b: i32) -> i32 = a.wrapping_sub(b);
        fn min_i(a: i32, b: i32) -> i32 = a.min(b);
        fn max_i(a: i32, b: i32) -> i32 = a.max(b);
        fn and_i(a: i32, b: i32) -> i32 = a & b;
        fn or_i(a: i32, b: i32) -> i32 = a | b;
        fn xor_i(a: i32, b: i32) -> i32 = a ^ b;
        fn shl(a: i32, by: i32) -> i32 = a.wrapping_shl(by.cast_unsigned());
        fn shr(a: i32, by: i32) -> i32 =
            a.cast_unsigned().wrapping_shr(by.cast_unsigned()).cast_signed();
        fn lt_i(a: i32, b: i32) -> bool = a < b;
        fn eq_i(a: i32, b: i32) -> bool = a == b;
        fn select_i(m: bool, a: i32, b: i32) -> i32 = if m { a } else { b };
        fn and(a: bool, b: bool) -> bool = a && b;
        fn or(a: bool, b: bool) -> bool = a || b;
        fn not(a: bool) -> bool = !a;
        fn any(a: bool) -> bool = a;
        fn bits(a: bool) -> u32 = u32::from(a);
    }

    #[inline(always)]
    fn store(self, v: f32, to: &mut [f32]) {
        to[0] = v;
    }
    #[inline(always)]
    fn store_bytes(self, v: i32, to: &mut [u8]) {
        to[0] = v.to_le_bytes()[0];
    }
    #[inline(always)]
    fn store_i(self, v: i32, to: &mut [i32]) {
        to[0] = v;
    }
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation)] // saturates: any number will do
    fn to_i32(self, a: f32) -> i32 {
        a as i32
    }
}
