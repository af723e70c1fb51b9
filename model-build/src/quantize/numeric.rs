//! Number conversions that ggml's reference defines bit by bit.

/// `x` rounded to the nearest integer, ties to even, for |x| ≤ 2^22; what the reference's addition of
/// a magic number gives for all others.
#[inline(always)]
pub(super) fn nearest(x: f32) -> i32 {
    ((x + 12_582_912.0).to_bits() & 0x7f_ffff).cast_signed() - 0x40_0000
}

/// The larger one; `b` where they do not compare.
#[inline(always)]
pub(super) fn larger(a: f32, b: f32) -> f32 {
    if a > b { a } else { b }
}

/// The bytes of the half-precision number nearest to `x`. What is not a number becomes the one that
/// x86's invalid operations give, on every machine.
pub(super) fn half_bytes(x: f32) -> [u8; 2] {
    let bits = if x.is_nan() { 0xfe00 } else { half::f16::from_f32(x).to_bits() };
    bits.to_le_bytes()
}

/// The half-precision number at the start of `bytes`.
pub(super) fn half_at(bytes: &[u8]) -> f32 {
    half::f16::from_le_bytes([bytes[0], bytes[1]]).to_f32()
}
