//! Constants in 16 bits: which can be, and their bytes, made when they are written.

use std::sync::Arc;

use half::slice::HalfFloatSliceExt;

use super::super::read;
use crate::error::Result;
use crate::hub::{DType, Produce, Tensor};

/// A half type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Half {
    /// IEEE binary16.
    F16,
    /// bfloat16.
    BF16,
}

impl Half {
    pub(super) fn dtype(self) -> DType {
        match self {
            Self::F16 => DType::F16,
            Self::BF16 => DType::BF16,
        }
    }
    /// The greatest finite number.
    pub(super) fn max(self) -> f32 {
        match self {
            Self::F16 => half::f16::MAX.to_f32(),
            Self::BF16 => half::bf16::MAX.to_f32(),
        }
    }
    /// The least normal number above zero.
    pub(super) fn least_normal(self) -> f32 {
        match self {
            Self::F16 => half::f16::MIN_POSITIVE.to_f32(),
            Self::BF16 => half::bf16::MIN_POSITIVE.to_f32(),
        }
    }
    /// The least number above zero.
    pub(super) fn least(self) -> f32 {
        match self {
            Self::F16 => half::f16::MIN_POSITIVE_SUBNORMAL.to_f32(),
            Self::BF16 => half::bf16::MIN_POSITIVE_SUBNORMAL.to_f32(),
        }
    }
    /// What a number becomes: rounded to nearest, ties to even.
    pub(super) fn round(self, value: f32) -> f32 {
        match self {
            Self::F16 => half::f16::from_f32(value).to_f32(),
            Self::BF16 => half::bf16::from_f32(value).to_f32(),
        }
    }
}

/// How the finite numbers of a constant lie to a half type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Reach {
    /// A number above the type's range.
    pub(super) above: bool,
    /// A number below the type's range.
    pub(super) below: bool,
}

/// Looks at every element of an f32 tensor, in parallel.
pub(super) fn reach(tensor: &Tensor, half: Half) -> Result<Reach> {
    // The least finite f32 that rounds to infinity, found by halving the interval once: half way
    // between the greatest number and the power of two after it, ties go up to the even infinity.
    let limit = match half {
        Half::F16 => 65520.0,
        Half::BF16 => f32::from_bits(0x7f7f_8000),
    };
    let parts = read::map_blocks(tensor, 4, |_, bytes| {
        let mut found = Reach::default();
        for v in bytes.as_chunks().0.iter().map(|c| f32::from_le_bytes(*c)) {
            found.above |= v >= limit && v.is_finite();
            found.below |= v <= -limit && v.is_finite();
        }
        Ok(found)
    })?;
    Ok(parts.into_iter().fold(Reach::default(), |a, b| Reach {
        above: a.above || b.above,
        below: a.below || b.below,
    }))
}

/// The tensor in a half type, rounded to nearest, ties to even, as the crate `half` does. With
/// `least`, finite numbers below it become it.
pub(super) fn narrowed(tensor: &Tensor, half: Half, least: Option<f32>) -> Result<Tensor> {
    let data = Narrowed { source: tensor.clone(), half, least };
    Tensor::lazy(half.dtype(), tensor.shape().to_vec(), Arc::new(data))
}

struct Narrowed {
    source: Tensor,
    half: Half,
    least: Option<f32>,
}

impl Produce for Narrowed {
    fn granularity(&self) -> u64 {
        read::elements_per_step(&self.source).saturating_mul(2)
    }

    fn produce(&self, offset: u64, out: &mut [u8]) -> Result<()> {
        read::with_elements(&self.source, offset / 2, out.len() / 2, |source| {
            let mut wide = [0f32; 1024];
            for (out, source) in out.chunks_mut(2048).zip(source.chunks(4096)) {
                for (to, from) in wide.iter_mut().zip(source.as_chunks().0) {
                    let v = f32::from_le_bytes(*from);
                    *to = match self.least {
                        Some(least) if v < least && v.is_finite() => least,
                        _ => v,
                    };
                }
                let wide = wide.get(..out.len() / 2).unwrap_or_default();
                match self.half {
                    Half::F16 => {
                        let mut narrow = [half::f16::ZERO; 1024];
                        if let Some(narrow) = narrow.get_mut(..wide.len()) {
                            narrow.convert_from_f32_slice(wide);
                        }
                        let (out, _) = out.as_chunks_mut();
                        out.iter_mut().zip(narrow).for_each(|(o, v)| *o = v.to_le_bytes());
                    }
                    Half::BF16 => {
                        let (out, _) = out.as_chunks_mut();
                        for (o, v) in out.iter_mut().zip(wide) {
                            *o = half::bf16::from_f32(*v).to_le_bytes();
                        }
                    }
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::{Segment, write_blob};

    /// Every pattern of the upper 16 bits with some of the lower: ties, subnormals, infinities, NaN.
    fn patterns() -> Vec<f32> {
        (0..=u16::MAX)
            .flat_map(|high| {
                [0u32, 1, 0x0fff, 0x1000, 0x1001, 0x7fff, 0x8000, 0x8001]
                    .map(|low| f32::from_bits(u32::from(high) << 16 | low))
            })
            .collect()
    }

    #[test]
    fn every_pattern_is_rounded_as_the_half_crate_rounds_one_number() {
        let values = patterns();
        let tensor = Tensor::from_f32(vec![values.len() as u64], &values).unwrap();
        let f16 = narrowed(&tensor, Half::F16, None).unwrap().bytes().unwrap();
        let want: Vec<u8> =
            values.iter().flat_map(|v| half::f16::from_f32(*v).to_le_bytes()).collect();
        assert!(f16 == want);
        let bf16 = narrowed(&tensor, Half::BF16, None).unwrap().bytes().unwrap();
        let want: Vec<u8> =
            values.iter().flat_map(|v| half::bf16::from_f32(*v).to_le_bytes()).collect();
        assert!(bf16 == want);
    }

    #[test]
    fn reach_finds_exactly_the_numbers_that_would_become_infinite() {
        for half in [Half::F16, Half::BF16] {
            for v in patterns() {
                let tensor = Tensor::from_f32(vec![1], &[v]).unwrap();
                let lost = v.is_finite() && half.round(v).is_infinite();
                let want = Reach { above: lost && v > 0.0, below: lost && v < 0.0 };
                assert_eq!(reach(&tensor, half).unwrap(), want, "{v:e} {half:?}");
            }
        }
    }

    #[test]
    fn the_same_bytes_on_any_number_of_threads_and_in_any_chunks() {
        let values: Vec<f32> = (0..700_001).map(|i| i as f32 * 0.37 - 1e5).collect();
        let tensor = Tensor::from_f32(vec![values.len() as u64], &values).unwrap();
        for half in [Half::F16, Half::BF16] {
            let lazy = narrowed(&tensor, half, Some(-6e4)).unwrap();
            let mut whole = vec![0; values.len() * 2];
            let mut offset = 0;
            for piece in whole.chunks_mut(1998) {
                lazy.read_at(offset, piece).unwrap();
                offset += piece.len() as u64;
            }
            for threads in [1, 2, 5] {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                let mut file = Vec::new();
                pool.install(|| {
                    write_blob(&[Segment::Tensor(lazy.clone())], &mut file, &mut |_| {}).unwrap()
                });
                assert!(file == whole);
            }
            assert_eq!(reach(&lazy_source(&lazy), half).unwrap(), Reach::default());
        }
    }

    fn lazy_source(narrow: &Tensor) -> Tensor {
        let wide = narrow.to_f32().unwrap();
        Tensor::from_f32(vec![wide.len() as u64], &wide).unwrap()
    }
}
