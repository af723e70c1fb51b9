//! Between f32 and the other floating-point types, and the largest magnitude of many f32.
//!
//! Rounding is to nearest, ties to even; NaNs become quiet and keep the bits that fit.

use crate::hub::Kernel;

/// Widens little-endian f16; `to` is as long as `from`.
pub(crate) fn f16_to_f32(kernel: Kernel, from: &[[u8; 2]], to: &mut [f32]) {
    #[cfg(target_arch = "x86_64")]
    if wide(kernel) {
        // SAFETY: `wide` has looked for AVX2 and F16C.
        return unsafe { x86::f16_to_f32(from, to) };
    }
    let _ = kernel;
    to.iter_mut().zip(from).for_each(|(t, f)| *t = f16_bits_to_f32(u16::from_le_bytes(*f)));
}

/// Narrows to little-endian f16; `to` is as long as `from`.
pub(crate) fn f32_to_f16(kernel: Kernel, from: &[f32], to: &mut [[u8; 2]]) {
    #[cfg(target_arch = "x86_64")]
    if wide(kernel) {
        // SAFETY: `wide` has looked for AVX2 and F16C.
        return unsafe { x86::f32_to_f16(from, to) };
    }
    let _ = kernel;
    to.iter_mut().zip(from).for_each(|(t, f)| *t = f32_to_f16_bits(*f).to_le_bytes());
}

/// Widens little-endian bf16; `to` is as long as `from`.
pub(crate) fn bf16_to_f32(kernel: Kernel, from: &[[u8; 2]], to: &mut [f32]) {
    #[cfg(target_arch = "x86_64")]
    if wide(kernel) {
        // SAFETY: `wide` has looked for AVX2.
        return unsafe { x86::bf16_to_f32(from, to) };
    }
    let _ = kernel;
    to.iter_mut().zip(from).for_each(|(t, f)| *t = bf16_bits_to_f32(u16::from_le_bytes(*f)));
}

/// Narrows to little-endian bf16; `to` is as long as `from`.
pub(crate) fn f32_to_bf16(kernel: Kernel, from: &[f32], to: &mut [[u8; 2]]) {
    #[cfg(target_arch = "x86_64")]
    if wide(kernel) {
        // SAFETY: `wide` has looked for AVX2.
        return unsafe { x86::f32_to_bf16(from, to) };
    }
    let _ = kernel;
    to.iter_mut().zip(from).for_each(|(t, f)| *t = f32_to_bf16_bits(*f).to_le_bytes());
}

/// The largest bit pattern without its sign: a magnitude, infinity, or NaN where there is one.
pub(crate) fn largest_magnitude(kernel: Kernel, values: &[f32]) -> u32 {
    #[cfg(target_arch = "x86_64")]
    if wide(kernel) {
        // SAFETY: `wide` has looked for AVX2.
        return unsafe { x86::largest_magnitude(values) };
    }
    let _ = kernel;
    values.iter().fold(0, |most, v| most.max(v.to_bits() & 0x7fff_ffff))
}

#[cfg(target_arch = "x86_64")]
fn wide(kernel: Kernel) -> bool {
    matches!(kernel, Kernel::Avx2 | Kernel::Avx512)
        && is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("f16c")
}

/// An f16 as f32: exact.
pub(crate) fn f16_bits_to_f32(bits: u16) -> f32 {
    let wide = u32::from(bits);
    let (sign, magnitude) = ((wide & 0x8000) << 16, wide & 0x7fff);
    let value = match magnitude {
        // 2^-24 is the least f16 above zero; the product is exact.
        0..0x400 => (f32::from(bits & 0x7fff) * f32::from_bits(0x3380_0000)).to_bits(),
        0x400..0x7c00 => (magnitude << 13) + (112 << 23),
        0x7c00 => 0x7f80_0000,
        _ => (magnitude << 13) | 0x7fc0_0000,
    };
    f32::from_bits(sign | value)
}

/// An f32 as f16.
#[allow(clippy::cast_possible_truncation)] // the upper half is zero
pub(crate) fn f32_to_f16_bits(value: f32) -> u16 {
    let bits = value.to_bits();
    let (sign, magnitude) = ((bits >> 16) & 0x8000, bits & 0x7fff_ffff);
    let narrow = if magnitude > 0x7f80_0000 {
        0x7e00 | ((magnitude >> 13) & 0x3ff)
    } else if magnitude >= 0x4780_0000 {
        0x7c00 // 2^16 and above
    } else if magnitude >= 0x3880_0000 {
        // A normal number: half of the last place, less one where it is even, carries as it should.
        (magnitude + 0x0fff + ((magnitude >> 13) & 1) - (112 << 23)) >> 13
    } else {
        // Below 2^-14: the addition rounds to multiples of 2^-24, which are 0.5's last place.
        (f32::from_bits(magnitude) + 0.5).to_bits() - 0x3f00_0000
    };
    (sign | narrow) as u16
}

/// A bf16 as f32: exact, but for signalling NaNs, which become quiet.
pub(crate) fn bf16_bits_to_f32(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}

/// An f32 as bf16.
#[allow(clippy::cast_possible_truncation)] // the upper half is zero
pub(crate) fn f32_to_bf16_bits(value: f32) -> u16 {
    let bits = value.to_bits();
    if bits & 0x7fff_ffff > 0x7f80_0000 {
        return ((bits >> 16) | 0x40) as u16;
    }
    ((bits + (0x7fff + ((bits >> 16) & 1))) >> 16) as u16
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    const LANES: usize = 8;

    #[target_feature(enable = "avx2,f16c")]
    pub(super) fn f16_to_f32(from: &[[u8; 2]], to: &mut [f32]) {
        let (to, to_rest) = to.as_chunks_mut::<LANES>();
        let (from, from_rest) = from.as_chunks::<LANES>();
        for (to, from) in to.iter_mut().zip(from) {
            // SAFETY: 16 bytes are read and 32 are written; neither need be aligned.
            unsafe {
                let halves = _mm_loadu_si128(from.as_ptr().cast());
                _mm256_storeu_ps(to.as_mut_ptr(), _mm256_cvtph_ps(halves));
            }
        }
        let rest = to_rest.iter_mut().zip(from_rest);
        rest.for_each(|(t, f)| *t = super::f16_bits_to_f32(u16::from_le_bytes(*f)));
    }

    #[target_feature(enable = "avx2,f16c")]
    pub(super) fn f32_to_f16(from: &[f32], to: &mut [[u8; 2]]) {
        let (to, to_rest) = to.as_chunks_mut::<LANES>();
        let (from, from_rest) = from.as_chunks::<LANES>();
        for (to, from) in to.iter_mut().zip(from) {
            // SAFETY: 32 bytes are read and 16 are written; neither need be aligned.
            unsafe {
                let values = _mm256_loadu_ps(from.as_ptr());
                let halves = _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(values);
                _mm_storeu_si128(to.as_mut_ptr().cast(), halves);
            }
        }
        let rest = to_rest.iter_mut().zip(from_rest);
        rest.for_each(|(t, f)| *t = super::f32_to_f16_bits(*f).to_le_bytes());
    }

    #[target_feature(enable = "avx2")]
    pub(super) fn bf16_to_f32(from: &[[u8; 2]], to: &mut [f32]) {
        let (to, to_rest) = to.as_chunks_mut::<LANES>();
        let (from, from_rest) = from.as_chunks::<LANES>();
        for (to, from) in to.iter_mut().zip(from) {
            // SAFETY: 16 bytes are read and 32 are written; neither need be aligned.
            unsafe {
                let halves = _mm_loadu_si128(from.as_ptr().cast());
                let wide = _mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(halves));
                _mm256_storeu_si256(to.as_mut_ptr().cast(), wide);
            }
        }
        let rest = to_rest.iter_mut().zip(from_rest);
        rest.for_each(|(t, f)| *t = super::bf16_bits_to_f32(u16::from_le_bytes(*f)));
    }

    #[target_feature(enable = "avx2")]
    pub(super) fn f32_to_bf16(from: &[f32], to: &mut [[u8; 2]]) {
        let (to, to_rest) = to.as_chunks_mut::<LANES>();
        let (from, from_rest) = from.as_chunks::<LANES>();
        for (to, from) in to.iter_mut().zip(from) {
            // SAFETY: 32 bytes are read and 16 are written; neither need be aligned.
            unsafe {
                let bits = _mm256_loadu_si256(from.as_ptr().cast());
                let upper = _mm256_srli_epi32::<16>(bits);
                let odd = _mm256_and_si256(upper, _mm256_set1_epi32(1));
                let half = _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff));
                let rounded = _mm256_srli_epi32::<16>(_mm256_add_epi32(bits, half));
                let magnitude = _mm256_and_si256(bits, _mm256_set1_epi32(0x7fff_ffff));
                let nan = _mm256_cmpgt_epi32(magnitude, _mm256_set1_epi32(0x7f80_0000));
                let quiet = _mm256_or_si256(upper, _mm256_set1_epi32(0x40));
                let all = _mm256_blendv_epi8(rounded, quiet, nan);
                let packed = _mm256_packus_epi32(all, all);
                let packed = _mm256_permute4x64_epi64::<0b1000>(packed);
                _mm_storeu_si128(to.as_mut_ptr().cast(), _mm256_castsi256_si128(packed));
            }
        }
        let rest = to_rest.iter_mut().zip(from_rest);
        rest.for_each(|(t, f)| *t = super::f32_to_bf16_bits(*f).to_le_bytes());
    }

    #[target_feature(enable = "avx2")]
    pub(super) fn largest_magnitude(values: &[f32]) -> u32 {
        let (chunks, rest) = values.as_chunks::<{ 2 * LANES }>();
        let mask = _mm256_set1_epi32(0x7fff_ffff);
        let mut most = [_mm256_setzero_si256(); 2];
        for chunk in chunks {
            // SAFETY: 64 bytes are read; they need not be aligned.
            let bits = unsafe {
                let at = chunk.as_ptr();
                [_mm256_loadu_si256(at.cast()), _mm256_loadu_si256(at.add(LANES).cast())]
            };
            most[0] = _mm256_max_epi32(most[0], _mm256_and_si256(bits[0], mask));
            most[1] = _mm256_max_epi32(most[1], _mm256_and_si256(bits[1], mask));
        }
        let mut lanes = [0u32; LANES];
        // SAFETY: 32 bytes are written; they need not be aligned.
        unsafe {
            _mm256_storeu_si256(lanes.as_mut_ptr().cast(), _mm256_max_epi32(most[0], most[1]));
        }
        let rest = rest.iter().map(|v| v.to_bits() & 0x7fff_ffff);
        lanes.into_iter().chain(rest).fold(0, u32::max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use half::{bf16, f16};

    /// Every kernel on 11 copies and as many zeros, so that whole vectors and rests are met.
    fn narrow(value: f32, to: fn(Kernel, &[f32], &mut [[u8; 2]])) -> u16 {
        let mut all = Vec::new();
        for kernel in Kernel::available() {
            let mut out = [[0; 2]; 11];
            to(kernel, &[value; 11], &mut out);
            all.extend(out.map(u16::from_le_bytes));
        }
        assert!(all.iter().all(|o| *o == all[0]), "{value:e}: {all:x?}");
        all[0]
    }

    fn widen(bits: u16, to: fn(Kernel, &[[u8; 2]], &mut [f32])) -> u32 {
        let mut all = Vec::new();
        for kernel in Kernel::available() {
            let mut out = [0.0; 11];
            to(kernel, &[bits.to_le_bytes(); 11], &mut out);
            all.extend(out.map(f32::to_bits));
        }
        assert!(all.iter().all(|o| *o == all[0]), "{bits:x}: {all:x?}");
        all[0]
    }

    #[test]
    fn every_f16_widens_and_narrows_back_on_every_kernel() {
        for bits in 0..=u16::MAX {
            let wide = f32::from_bits(widen(bits, f16_to_f32));
            let want = f16::from_bits(bits);
            assert_eq!(wide.to_bits(), want.to_f32().to_bits(), "{bits:x}");
            let back = narrow(wide, f32_to_f16);
            let quiet = if want.is_nan() { bits | 0x200 } else { bits };
            assert_eq!(back, quiet, "{bits:x}");
        }
    }

    #[test]
    fn every_bf16_widens_and_narrows_back_on_every_kernel() {
        for bits in 0..=u16::MAX {
            let wide = widen(bits, bf16_to_f32);
            assert_eq!(wide, u32::from(bits) << 16);
            let quiet = if bf16::from_bits(bits).is_nan() { bits | 0x40 } else { bits };
            assert_eq!(narrow(f32::from_bits(wide), f32_to_bf16), quiet, "{bits:x}");
        }
    }

    #[test]
    fn ties_and_their_neighbours_round_to_even_on_every_kernel() {
        for bits in 0..0x7c00 {
            let (low, high) = (f16::from_bits(bits).to_f32(), f16::from_bits(bits + 1).to_f32());
            let high = if high.is_finite() { high } else { 65536.0 };
            let tie = (low + high) / 2.0;
            for sign in [1.0, -1.0] {
                let mark = if sign < 0.0 { 0x8000 } else { 0 };
                assert_eq!(narrow(sign * tie, f32_to_f16), mark | (bits + (bits & 1)));
                assert_eq!(narrow(sign * tie.next_down(), f32_to_f16), mark | bits);
                assert_eq!(narrow(sign * tie.next_up(), f32_to_f16), mark | (bits + 1));
            }
        }
        for bits in 0..0x7f80u16 {
            let tie = (u32::from(bits) << 16) | 0x8000;
            let to = |bits| narrow(f32::from_bits(bits), f32_to_bf16);
            assert_eq!(to(tie), bits + (bits & 1));
            assert_eq!(to(tie - 1), bits);
            assert_eq!(to(tie + 1), bits + 1);
            assert_eq!(to(tie | 0x8000_0000), 0x8000 | (bits + (bits & 1)));
        }
    }

    #[test]
    fn the_largest_magnitude_is_found_at_every_place() {
        for kernel in Kernel::available() {
            for place in 0..37 {
                for value in [-3.5, f32::INFINITY, f32::NAN] {
                    let mut values = [1.0; 37];
                    values[place] = value;
                    let want = value.abs().to_bits();
                    assert_eq!(largest_magnitude(kernel, &values), want);
                }
            }
        }
    }
}
