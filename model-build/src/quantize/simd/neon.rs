//! Vectors of NEON, which every aarch64 CPU has.

use std::arch::aarch64::*;

use super::Lanes;

/// NEON: 4 lanes.
#[derive(Clone, Copy)]
pub(super) struct Neon(());

impl Neon {
    /// The token.
    pub(super) const fn new() -> Self {
        Self(())
    }
}

macro_rules! operations {
    ($(fn $name:ident($($arg:ident: $ty:ty),*) $(-> $ret:ty)? = $value:expr;)*) => {$(
        #[inline(always)]
        #[allow(unused_unsafe)] // some intrinsics are safe where the instructions are enabled
        fn $name(self, $($arg: $ty),*) $(-> $ret)? {
            // SAFETY: every aarch64 CPU has the instructions; what is read or written through
            // pointers was sliced to the length of a vector.
            unsafe { $value }
        }
    )*};
}

impl Lanes for Neon {
    const N: usize = 4;
    type F = float32x4_t;
    type I = int32x4_t;
    type M = uint32x4_t;

    operations! {
        fn splat(v: f32) -> float32x4_t = vdupq_n_f32(v);
        fn load(from: &[f32]) -> float32x4_t = vld1q_f32(from[..4].as_ptr());
        fn store(v: float32x4_t, to: &mut [f32]) = vst1q_f32(to[..4].as_mut_ptr(), v);
        fn add(a: float32x4_t, b: float32x4_t) -> float32x4_t = vaddq_f32(a, b);
        fn sub(a: float32x4_t, b: float32x4_t) -> float32x4_t = vsubq_f32(a, b);
        fn mul(a: float32x4_t, b: float32x4_t) -> float32x4_t = vmulq_f32(a, b);
        fn div(a: float32x4_t, b: float32x4_t) -> float32x4_t = vdivq_f32(a, b);
        fn sqrt(a: float32x4_t) -> float32x4_t = vsqrtq_f32(a);
        fn abs(a: float32x4_t) -> float32x4_t = vabsq_f32(a);
        // Not `vminq` and `vmaxq`: those give a NaN where one is.
        fn min(a: float32x4_t, b: float32x4_t) -> float32x4_t = vbslq_f32(vcltq_f32(a, b), a, b);
        fn max(a: float32x4_t, b: float32x4_t) -> float32x4_t = vbslq_f32(vcgtq_f32(a, b), a, b);
        fn round(a: float32x4_t) -> float32x4_t = vrndnq_f32(a);
        fn lt(a: float32x4_t, b: float32x4_t) -> uint32x4_t = vcltq_f32(a, b);
        fn le(a: float32x4_t, b: float32x4_t) -> uint32x4_t = vcleq_f32(a, b);
        fn eq(a: float32x4_t, b: float32x4_t) -> uint32x4_t = vceqq_f32(a, b);
        fn select(m: uint32x4_t, a: float32x4_t, b: float32x4_t) -> float32x4_t =
            vbslq_f32(m, a, b);
        fn to_bits(a: float32x4_t) -> int32x4_t = vreinterpretq_s32_f32(a);
        fn with_bits(a: int32x4_t) -> float32x4_t = vreinterpretq_f32_s32(a);
        fn to_f32(a: int32x4_t) -> float32x4_t = vcvtq_f32_s32(a);
        fn to_i32(a: float32x4_t) -> int32x4_t = vcvtq_s32_f32(a);
        fn splat_i(v: i32) -> int32x4_t = vdupq_n_s32(v);
        fn load_i(from: &[i32]) -> int32x4_t = vld1q_s32(from[..4].as_ptr());
        fn store_i(v: int32x4_t, to: &mut [i32]) = vst1q_s32(to[..4].as_mut_ptr(), v);
        fn add_i(a: int32x4_t, b: int32x4_t) -> int32x4_t = vaddq_s32(a, b);
        fn sub_i(a: int32x4_t, b: int32x4_t) -> int32x4_t = vsubq_s32(a, b);
        fn min_i(a: int32x4_t, b: int32x4_t) -> int32x4_t = vminq_s32(a, b);
        fn max_i(a: int32x4_t, b: int32x4_t) -> int32x4_t = vmaxq_s32(a, b);
        fn and_i(a: int32x4_t, b: int32x4_t) -> int32x4_t = vandq_s32(a, b);
        fn or_i(a: int32x4_t, b: int32x4_t) -> int32x4_t = vorrq_s32(a, b);
        fn xor_i(a: int32x4_t, b: int32x4_t) -> int32x4_t = veorq_s32(a, b);
        fn shl(a: int32x4_t, by: i32) -> int32x4_t = vshlq_s32(a, vdupq_n_s32(by));
        // A shift to the left by less than nothing.
        fn shr(a: int32x4_t, by: i32) -> int32x4_t = vreinterpretq_s32_u32(vshlq_u32(
            vreinterpretq_u32_s32(a),
            vdupq_n_s32(-by)
        ));
        fn lt_i(a: int32x4_t, b: int32x4_t) -> uint32x4_t = vcltq_s32(a, b);
        fn eq_i(a: int32x4_t, b: int32x4_t) -> uint32x4_t = vceqq_s32(a, b);
        fn select_i(m: uint32x4_t, a: int32x4_t, b: int32x4_t) -> int32x4_t = vbslq_s32(m, a, b);
        fn and(a: uint32x4_t, b: uint32x4_t) -> uint32x4_t = vandq_u32(a, b);
        fn or(a: uint32x4_t, b: uint32x4_t) -> uint32x4_t = vorrq_u32(a, b);
        fn not(a: uint32x4_t) -> uint32x4_t = vmvnq_u32(a);
        fn any(a: uint32x4_t) -> bool = vmaxvq_u32(a) != 0;
        fn bits(a: uint32x4_t) -> u32 =
            vaddvq_u32(vandq_u32(a, vld1q_u32([1, 2, 4, 8].as_ptr())));
    }

    #[inline(always)]
    fn load_bytes(self, from: &[u8]) -> int32x4_t {
        self.load_i(&[from[0], from[1], from[2], from[3]].map(i32::from))
    }
    #[inline(always)]
    fn store_bytes(self, v: int32x4_t, to: &mut [u8]) {
        let mut wide = [0; 4];
        self.store_i(v, &mut wide);
        for (to, v) in to.iter_mut().zip(wide) {
            *to = v.to_le_bytes()[0];
        }
    }
    #[inline(always)]
    fn lookup(self, table: &[f32; 16], index: int32x4_t) -> float32x4_t {
        let mut at = [0; 4];
        self.store_i(index, &mut at);
        self.load(&at.map(|i| table[i.cast_unsigned() as usize & 15]))
    }
}
