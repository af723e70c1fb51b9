//! What MXFP4 and NVFP4 share: weights as floats of 4 bits (E2M1) times a scale.

use super::simd::Lanes;

/// Twice the numbers of E2M1 without a sign, by code; code + 8 is the negative. Scales are halved
/// in turn.
pub(super) const DOUBLED: [i8; 8] = [0, 1, 2, 3, 4, 6, 8, 12];

/// The code of the number nearest to each `x / d`, the first of equals; negative zero is not used.
#[inline(always)]
pub(super) fn nearest<L: Lanes, const N: usize>(l: L, x: &[f32; N], d: f32) -> [u8; N] {
    let mut codes = [0; N];
    for (x, codes) in x.chunks_exact(L::N).zip(codes.chunks_exact_mut(L::N)) {
        let x = l.load(x);
        // Numbers of the other sign are never nearer than zero is.
        let size = l.abs(x);
        let (mut error, mut code) = (size, l.splat_i(0));
        for (i, number) in (0i8..).zip(DOUBLED).skip(1) {
            let here = l.abs(l.sub(l.splat(f32::from(number) * d), size));
            let nearer = l.lt(here, error);
            error = l.select(nearer, here, error);
            code = l.select_i(nearer, l.splat_i(i32::from(i)), code);
        }
        let negative = l.lt(x, l.splat(0.0));
        let flip = l.and(negative, l.not(l.eq_i(code, l.splat_i(0))));
        code = l.select_i(flip, l.or_i(code, l.splat_i(8)), code);
        l.store_bytes(code, codes);
    }
    codes
}

/// The number of each code times `d`.
pub(super) fn number(code: u8, d: f32) -> f32 {
    let doubled = DOUBLED[usize::from(code & 7)];
    f32::from(if code & 8 == 0 { doubled } else { -doubled }) * d
}
