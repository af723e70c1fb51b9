//! Vectors of AVX2 and AVX-512.

use std::arch::x86_64::*;

use super::{Job, Lanes, transpose_from};

macro_rules! operations {
    ($(fn $name:ident($($arg:ident: $ty:ty),*) $(-> $ret:ty)? = $value:expr;)*) => {$(
        #[inline(always)]
        fn $name(self, $($arg: $ty),*) $(-> $ret)? {
            // SAFETY: the token exists only where the CPU has the instructions; what is read or
            // written through pointers was sliced to the length of a vector.
            unsafe { $value }
        }
    )*};
}

/// AVX-512 F, BW, DQ and VL: 16 lanes.
#[derive(Clone, Copy)]
pub(super) struct Avx512(());

impl Avx512 {
    /// The token, where this CPU has the instructions.
    pub(super) fn new() -> Option<Self> {
        let there = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl");
        there.then_some(Self(()))
    }

    /// Runs a job, compiled for these instructions.
    pub(super) fn run<J: Job>(self, job: J) -> J::Output {
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,bmi1,bmi2")]
        fn enabled<J: Job>(lanes: Avx512, job: J) -> J::Output {
            job.run(lanes)
        }
        // SAFETY: the token exists only where the CPU has the instructions; every CPU with AVX-512
        // has AVX2 and BMI.
        unsafe { enabled(self, job) }
    }
}

impl Lanes for Avx512 {
    const N: usize = 16;
    type F = __m512;
    type I = __m512i;
    type M = __mmask16;

    operations! {
        fn splat(v: f32) -> __m512 = _mm512_set1_ps(v);
        fn load(from: &[f32]) -> __m512 = _mm512_loadu_ps(from[..16].as_ptr());
        fn store(v: __m512, to: &mut [f32]) = _mm512_storeu_ps(to[..16].as_mut_ptr(), v);
        fn add(a: __m512, b: __m512) -> __m512 = _mm512_add_ps(a, b);
        fn sub(a: __m512, b: __m512) -> __m512 = _mm512_sub_ps(a, b);
        fn mul(a: __m512, b: __m512) -> __m512 = _mm512_mul_ps(a, b);
        fn div(a: __m512, b: __m512) -> __m512 = _mm512_div_ps(a, b);
        fn sqrt(a: __m512) -> __m512 = _mm512_sqrt_ps(a);
        fn abs(a: __m512) -> __m512 = _mm512_abs_ps(a);
        fn min(a: __m512, b: __m512) -> __m512 = _mm512_min_ps(a, b);
        fn max(a: __m512, b: __m512) -> __m512 = _mm512_max_ps(a, b);
        fn round(a: __m512) -> __m512 =
            _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a);
        fn lt(a: __m512, b: __m512) -> __mmask16 = _mm512_cmp_ps_mask::<_CMP_LT_OQ>(a, b);
        fn le(a: __m512, b: __m512) -> __mmask16 = _mm512_cmp_ps_mask::<_CMP_LE_OQ>(a, b);
        fn eq(a: __m512, b: __m512) -> __mmask16 = _mm512_cmp_ps_mask::<_CMP_EQ_OQ>(a, b);
        fn select(m: __mmask16, a: __m512, b: __m512) -> __m512 = _mm512_mask_blend_ps(m, b, a);
        fn to_bits(a: __m512) -> __m512i = _mm512_castps_si512(a);
        fn with_bits(a: __m512i) -> __m512 = _mm512_castsi512_ps(a);
        fn to_f32(a: __m512i) -> __m512 = _mm512_cvtepi32_ps(a);
        fn to_i32(a: __m512) -> __m512i = _mm512_cvttps_epi32(a);
        fn lookup(table: &[f32; 16], index: __m512i) -> __m512 =
            _mm512_permutexvar_ps(index, _mm512_loadu_ps(table.as_ptr()));
        fn lookup_4(table: &[f32; 4], index: __m512i) -> __m512 =
            _mm512_permutevar_ps(_mm512_broadcast_f32x4(_mm_loadu_ps(table.as_ptr())), index);
        fn lookup_8(table: &[f32; 8], index: __m512i) -> __m512 = _mm512_permutexvar_ps(
            index,
            _mm512_broadcast_f32x8(_mm256_loadu_ps(table.as_ptr()))
        );
        fn least(a: __m512) -> f32 = _mm512_reduce_min_ps(a);
        fn load_u16(from: &[u16]) -> __m512i =
            _mm512_cvtepu16_epi32(_mm256_loadu_si256(from[..16].as_ptr().cast()));
        fn splat_i(v: i32) -> __m512i = _mm512_set1_epi32(v);
        fn load_bytes(from: &[u8]) -> __m512i =
            _mm512_cvtepu8_epi32(_mm_loadu_si128(from[..16].as_ptr().cast()));
        fn load_i(from: &[i32]) -> __m512i = _mm512_loadu_si512(from[..16].as_ptr().cast());
        fn store_bytes(v: __m512i, to: &mut [u8]) =
            _mm_storeu_si128(to[..16].as_mut_ptr().cast(), _mm512_cvtepi32_epi8(v));
        fn store_i(v: __m512i, to: &mut [i32]) =
            _mm512_storeu_si512(to[..16].as_mut_ptr().cast(), v);
        fn add_i(a: __m512i, b: __m512i) -> __m512i = _mm512_add_epi32(a, b);
        fn sub_i(a: __m512i, b: __m512i) -> __m512i = _mm512_sub_epi32(a, b);
        fn min_i(a: __m512i, b: __m512i) -> __m512i = _mm512_min_epi32(a, b);
        fn max_i(a: __m512i, b: __m512i) -> __m512i = _mm512_max_epi32(a, b);
        fn and_i(a: __m512i, b: __m512i) -> __m512i = _mm512_and_si512(a, b);
        fn or_i(a: __m512i, b: __m512i) -> __m512i = _mm512_or_si512(a, b);
        fn xor_i(a: __m512i, b: __m512i) -> __m512i = _mm512_xor_si512(a, b);
        fn shl(a: __m512i, by: i32) -> __m512i = _mm512_sllv_epi32(a, _mm512_set1_epi32(by));
        fn shr(a: __m512i, by: i32) -> __m512i = _mm512_srlv_epi32(a, _mm512_set1_epi32(by));
        fn lt_i(a: __m512i, b: __m512i) -> __mmask16 = _mm512_cmplt_epi32_mask(a, b);
        fn eq_i(a: __m512i, b: __m512i) -> __mmask16 = _mm512_cmpeq_epi32_mask(a, b);
        fn select_i(m: __mmask16, a: __m512i, b: __m512i) -> __m512i =
            _mm512_mask_blend_epi32(m, b, a);
    }

    #[inline(always)]
    fn and(self, a: __mmask16, b: __mmask16) -> __mmask16 {
        a & b
    }
    #[inline(always)]
    fn or(self, a: __mmask16, b: __mmask16) -> __mmask16 {
        a | b
    }
    #[inline(always)]
    fn not(self, a: __mmask16) -> __mmask16 {
        !a
    }
    #[inline(always)]
    fn bits(self, a: __mmask16) -> u32 {
        u32::from(a)
    }
    #[inline(always)]
    fn any(self, a: __mmask16) -> bool {
        a != 0
    }

    #[inline(always)]
    fn transpose(self, rows: &[&[f32]], to: &mut [__m512]) {
        let mut done = 0;
        if rows.len() == 16 {
            let (tiles, _) = to.as_chunks_mut::<16>();
            for tile in tiles {
                for (to, row) in tile.iter_mut().zip(rows) {
                    *to = self.load(&row[done..]);
                }
                // SAFETY: the token exists only where the CPU has the instructions.
                unsafe { transpose_16(tile) };
                done += 16;
            }
        }
        transpose_from(self, rows, to, done);
    }
}

/// Transposes a square of 16: first the squares of 4 within the quarters of the vectors, then the
/// quarters.
#[inline]
#[target_feature(enable = "avx512f")]
fn transpose_16(t: &mut [__m512; 16]) {
    for four in t.as_chunks_mut::<4>().0 {
        let low_01 = _mm512_castps_pd(_mm512_unpacklo_ps(four[0], four[1]));
        let high_01 = _mm512_castps_pd(_mm512_unpackhi_ps(four[0], four[1]));
        let low_23 = _mm512_castps_pd(_mm512_unpacklo_ps(four[2], four[3]));
        let high_23 = _mm512_castps_pd(_mm512_unpackhi_ps(four[2], four[3]));
        four[0] = _mm512_castpd_ps(_mm512_unpacklo_pd(low_01, low_23));
        four[1] = _mm512_castpd_ps(_mm512_unpackhi_pd(low_01, low_23));
        four[2] = _mm512_castpd_ps(_mm512_unpacklo_pd(high_01, high_23));
        four[3] = _mm512_castpd_ps(_mm512_unpackhi_pd(high_01, high_23));
    }
    let from = *t;
    for i in 0..4 {
        let [a, b, c, d] = [from[i], from[4 + i], from[8 + i], from[12 + i]];
        let even_ab = _mm512_shuffle_f32x4::<0b10_00_10_00>(a, b);
        let odd_ab = _mm512_shuffle_f32x4::<0b11_01_11_01>(a, b);
        let even_cd = _mm512_shuffle_f32x4::<0b10_00_10_00>(c, d);
        let odd_cd = _mm512_shuffle_f32x4::<0b11_01_11_01>(c, d);
        t[i] = _mm512_shuffle_f32x4::<0b10_00_10_00>(even_ab, even_cd);
        t[4 + i] = _mm512_shuffle_f32x4::<0b10_00_10_00>(odd_ab, odd_cd);
        t[8 + i] = _mm512_shuffle_f32x4::<0b11_01_11_01>(even_ab, even_cd);
        t[12 + i] = _mm512_shuffle_f32x4::<0b11_01_11_01>(odd_ab, odd_cd);
    }
}

/// AVX2: 8 lanes.
#[derive(Clone, Copy)]
pub(super) struct Avx2(());

impl Avx2 {
    /// The token, where this CPU has the instructions.
    pub(super) fn new() -> Option<Self> {
        is_x86_feature_detected!("avx2").then_some(Self(()))
    }

    /// Runs a job, compiled for these instructions.
    pub(super) fn run<J: Job>(self, job: J) -> J::Output {
        #[target_feature(enable = "avx2")]
        fn enabled<J: Job>(lanes: Avx2, job: J) -> J::Output {
            job.run(lanes)
        }
        // SAFETY: the token exists only where the CPU has the instructions.
        unsafe { enabled(self, job) }
    }
}

/// The low byte of each of 8 integers, in the low half.
#[target_feature(enable = "avx2")]
#[inline]
fn low_bytes(v: __m256i) -> __m128i {
    let zero = -1;
    let pick = _mm256_setr_epi8(
        0, 4, 8, 12, zero, zero, zero, zero, zero, zero, zero, zero, zero, zero, zero, zero, 0, 4,
        8, 12, zero, zero, zero, zero, zero, zero, zero, zero, zero, zero, zero, zero,
    );
    let picked = _mm256_shuffle_epi8(v, pick);
    _mm_unpacklo_epi32(_mm256_castsi256_si128(picked), _mm256_extracti128_si256::<1>(picked))
}

impl Lanes for Avx2 {
    const N: usize = 8;
    type F = __m256;
    type I = __m256i;
    type M = __m256;

    operations! {
        fn splat(v: f32) -> __m256 = _mm256_set1_ps(v);
        fn load(from: &[f32]) -> __m256 = _mm256_loadu_ps(from[..8].as_ptr());
        fn store(v: __m256, to: &mut [f32]) = _mm256_storeu_ps(to[..8].as_mut_ptr(), v);
        fn add(a: __m256, b: __m256) -> __m256 = _mm256_add_ps(a, b);
        fn sub(a: __m256, b: __m256) -> __m256 = _mm256_sub_ps(a, b);
        fn mul(a: __m256, b: __m256) -> __m256 = _mm256_mul_ps(a, b);
        fn div(a: __m256, b: __m256) -> __m256 = _mm256_div_ps(a, b);
        fn sqrt(a: __m256) -> __m256 = _mm256_sqrt_ps(a);
        fn abs(a: __m256) -> __m256 = _mm256_andnot_ps(_mm256_set1_ps(-0.0), a);
        fn min(a: __m256, b: __m256) -> __m256 = _mm256_min_ps(a, b);
        fn max(a: __m256, b: __m256) -> __m256 = _mm256_max_ps(a, b);
        fn round(a: __m256) -> __m256 =
            _mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a);
        fn lt(a: __m256, b: __m256) -> __m256 = _mm256_cmp_ps::<_CMP_LT_OQ>(a, b);
        fn le(a: __m256, b: __m256) -> __m256 = _mm256_cmp_ps::<_CMP_LE_OQ>(a, b);
        fn eq(a: __m256, b: __m256) -> __m256 = _mm256_cmp_ps::<_CMP_EQ_OQ>(a, b);
        fn select(m: __m256, a: __m256, b: __m256) -> __m256 = _mm256_blendv_ps(b, a, m);
        fn to_bits(a: __m256) -> __m256i = _mm256_castps_si256(a);
        fn with_bits(a: __m256i) -> __m256 = _mm256_castsi256_ps(a);
        fn to_f32(a: __m256i) -> __m256 = _mm256_cvtepi32_ps(a);
        fn to_i32(a: __m256) -> __m256i = _mm256_cvttps_epi32(a);
        fn lookup(table: &[f32; 16], index: __m256i) -> __m256 = {
            let low = _mm256_permutevar8x32_ps(_mm256_loadu_ps(table[..8].as_ptr()), index);
            let high = _mm256_permutevar8x32_ps(_mm256_loadu_ps(table[8..].as_ptr()), index);
            // The sign bit decides: bit 3 of the index moves there.
            _mm256_blendv_ps(low, high, _mm256_castsi256_ps(_mm256_slli_epi32::<28>(index)))
        };
        fn lookup_4(table: &[f32; 4], index: __m256i) -> __m256 =
            _mm256_permutevar_ps(_mm256_broadcast_ps(&_mm_loadu_ps(table.as_ptr())), index);
        fn lookup_8(table: &[f32; 8], index: __m256i) -> __m256 =
            _mm256_permutevar8x32_ps(_mm256_loadu_ps(table.as_ptr()), index);
        fn least(a: __m256) -> f32 = {
            let four = _mm_min_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps::<1>(a));
            let two = _mm_min_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_min_ss(two, _mm_movehdup_ps(two)))
        };
        fn load_u16(from: &[u16]) -> __m256i =
            _mm256_cvtepu16_epi32(_mm_loadu_si128(from[..8].as_ptr().cast()));
        fn splat_i(v: i32) -> __m256i = _mm256_set1_epi32(v);
        fn load_bytes(from: &[u8]) -> __m256i =
            _mm256_cvtepu8_epi32(_mm_loadl_epi64(from[..8].as_ptr().cast()));
        fn load_i(from: &[i32]) -> __m256i = _mm256_loadu_si256(from[..8].as_ptr().cast());
        fn store_bytes(v: __m256i, to: &mut [u8]) =
            _mm_storel_epi64(to[..8].as_mut_ptr().cast(), low_bytes(v));
        fn store_i(v: __m256i, to: &mut [i32]) =
            _mm256_storeu_si256(to[..8].as_mut_ptr().cast(), v);
        fn add_i(a: __m256i, b: __m256i) -> __m256i = _mm256_add_epi32(a, b);
        fn sub_i(a: __m256i, b: __m256i) -> __m256i = _mm256_sub_epi32(a, b);
        fn min_i(a: __m256i, b: __m256i) -> __m256i = _mm256_min_epi32(a, b);
        fn max_i(a: __m256i, b: __m256i) -> __m256i = _mm256_max_epi32(a, b);
        fn and_i(a: __m256i, b: __m256i) -> __m256i = _mm256_and_si256(a, b);
        fn or_i(a: __m256i, b: __m256i) -> __m256i = _mm256_or_si256(a, b);
        fn xor_i(a: __m256i, b: __m256i) -> __m256i = _mm256_xor_si256(a, b);
        fn shl(a: __m256i, by: i32) -> __m256i = _mm256_sllv_epi32(a, _mm256_set1_epi32(by));
        fn shr(a: __m256i, by: i32) -> __m256i = _mm256_srlv_epi32(a, _mm256_set1_epi32(by));
        fn lt_i(a: __m256i, b: __m256i) -> __m256 = _mm256_castsi256_ps(_mm256_cmpgt_epi32(b, a));
        fn eq_i(a: __m256i, b: __m256i) -> __m256 = _mm256_castsi256_ps(_mm256_cmpeq_epi32(a, b));
        fn select_i(m: __m256, a: __m256i, b: __m256i) -> __m256i =
            _mm256_blendv_epi8(b, a, _mm256_castps_si256(m));
        fn and(a: __m256, b: __m256) -> __m256 = _mm256_and_ps(a, b);
        fn or(a: __m256, b: __m256) -> __m256 = _mm256_or_ps(a, b);
        fn not(a: __m256) -> __m256 =
            _mm256_xor_ps(a, _mm256_castsi256_ps(_mm256_set1_epi32(-1)));
        fn any(a: __m256) -> bool = _mm256_movemask_ps(a) != 0;
        fn bits(a: __m256) -> u32 = _mm256_movemask_ps(a).cast_unsigned();
    }

    #[inline(always)]
    fn transpose(self, rows: &[&[f32]], to: &mut [__m256]) {
        let mut done = 0;
        if rows.len() == 8 {
            let (tiles, _) = to.as_chunks_mut::<8>();
            for tile in tiles {
                for (to, row) in tile.iter_mut().zip(rows) {
                    *to = self.load(&row[done..]);
                }
                // SAFETY: the token exists only where the CPU has the instructions.
                unsafe { transpose_8(tile) };
                done += 8;
            }
        }
        transpose_from(self, rows, to, done);
    }
}

/// Transposes a square of 8: first the squares of 4 within the halves of the vectors, then the
/// halves.
#[inline]
#[target_feature(enable = "avx2")]
fn transpose_8(t: &mut [__m256; 8]) {
    for four in t.as_chunks_mut::<4>().0 {
        let low_01 = _mm256_castps_pd(_mm256_unpacklo_ps(four[0], four[1]));
        let high_01 = _mm256_castps_pd(_mm256_unpackhi_ps(four[0], four[1]));
        let low_23 = _mm256_castps_pd(_mm256_unpacklo_ps(four[2], four[3]));
        let high_23 = _mm256_castps_pd(_mm256_unpackhi_ps(four[2], four[3]));
        four[0] = _mm256_castpd_ps(_mm256_unpacklo_pd(low_01, low_23));
        four[1] = _mm256_castpd_ps(_mm256_unpackhi_pd(low_01, low_23));
        four[2] = _mm256_castpd_ps(_mm256_unpacklo_pd(high_01, high_23));
        four[3] = _mm256_castpd_ps(_mm256_unpackhi_pd(high_01, high_23));
    }
    for i in 0..4 {
        let (a, b) = (t[i], t[4 + i]);
        t[i] = _mm256_permute2f128_ps::<0x20>(a, b);
        t[4 + i] = _mm256_permute2f128_ps::<0x31>(a, b);
    }
}
