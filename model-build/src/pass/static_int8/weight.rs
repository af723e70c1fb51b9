//! Quantizes constants: one scale, or one for each index of an axis; values are computed when they
//! are written.

use std::sync::Arc;

use super::super::observed::Range;
use super::super::read;
use super::affine::{Affine, Integer, store};
use crate::error::{Error, Result};
use crate::hub::{Produce, Tensor};

/// How the elements of a tensor share scales: element `i` has scale `i / inner % count`.
#[derive(Clone, Copy)]
pub(super) struct Sharing {
    inner: u64,
    count: u64,
}

impl Sharing {
    /// One scale for all.
    const WHOLE: Self = Self { inner: 1, count: 1 };

    /// One for each index of `axis`; one for all where that is `None`.
    pub(super) fn of(tensor: &Tensor, axis: Option<usize>) -> Result<Self> {
        let Some(axis) = axis else { return Ok(Self::WHOLE) };
        let shape = tensor.shape();
        let bug = || Error::bug("a weight without the axis that has its channels");
        let count = *shape.get(axis).ok_or_else(bug)?;
        let inner = shape.get(axis + 1..).unwrap_or_default().iter().product::<u64>();
        Ok(Self { inner: inner.max(1), count })
    }

    /// Whether there are as many scales as that.
    pub(super) fn fits(self, scales: usize) -> bool {
        self.count == scales as u64
    }

    fn at(self, element: u64) -> usize {
        usize::try_from(element / self.inner % self.count.max(1)).unwrap_or(usize::MAX)
    }
}

fn floats(bytes: &[u8]) -> impl Iterator<Item = f32> {
    bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b))
}

/// The range of each channel of an f32 tensor; an error names the element that is not finite.
pub(super) fn ranges(name: &str, tensor: &Tensor, sharing: Sharing) -> Result<Vec<Range>> {
    let count = usize::try_from(sharing.count)
        .map_err(|_| Error::unsupported("a tensor larger than this machine's memory"))?;
    let none = Range { min: f32::INFINITY, max: f32::NEG_INFINITY };
    let parts = read::map_blocks(tensor, 4, |offset, bytes| {
        let mut found = vec![none; count];
        for (i, value) in (offset / 4..).zip(floats(bytes)) {
            if !value.is_finite() {
                return Err(Error::malformed(format!(
                    "element {i} of the constant is not a finite number"
                ))
                .item(name)
                .hint("a model with such a weight cannot be quantized: check the checkpoint"));
            }
            if let Some(range) = found.get_mut(sharing.at(i)) {
                range.min = range.min.min(value);
                range.max = range.max.max(value);
            }
        }
        Ok(found)
    })?;
    let mut all = vec![none; count];
    for part in parts {
        for (have, more) in all.iter_mut().zip(part) {
            have.min = have.min.min(more.min);
            have.max = have.max.max(more.max);
        }
    }
    Ok(all)
}

/// The integers of an f32 tensor under parameters that are there.
pub(super) fn quantized(
    tensor: &Tensor,
    to: Integer,
    sharing: Sharing,
    parameters: Vec<Affine>,
) -> Result<Tensor> {
    let shape = tensor.shape().to_vec();
    let source = tensor.clone();
    let values = Values { source, to, sharing, parameters: parameters.into() };
    Tensor::lazy(to.dtype, shape, Arc::new(values))
}

struct Values {
    source: Tensor,
    to: Integer,
    sharing: Sharing,
    parameters: Arc<[Affine]>,
}

impl Values {
    fn size(&self) -> u64 {
        self.to.dtype.bits() / 8
    }
}

impl Produce for Values {
    fn granularity(&self) -> u64 {
        read::elements_per_step(&self.source).saturating_mul(self.size())
    }

    fn produce(&self, offset: u64, out: &mut [u8]) -> Result<()> {
        let size = self.size();
        let first = offset / size;
        let count = out.len() / usize::try_from(size).unwrap_or(1);
        read::with_elements(&self.source, first, count, |source| {
            let limits = self.to.limits();
            let mut bytes = Vec::with_capacity(out.len());
            for (i, value) in (first..).zip(floats(source)) {
                let at = self.parameters.get(self.sharing.at(i));
                let affine = at.copied().unwrap_or(Affine { scale: 1.0, zero: 0 });
                store(self.to.dtype, affine.quantized(value, limits), &mut bytes);
            }
            for (to, from) in out.iter_mut().zip(bytes) {
                *to = from;
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::DType;

    struct Quantized {
        values: Tensor,
        parameters: Vec<Affine>,
    }

    fn quantize(tensor: &Tensor, name: &str, symmetric: bool, axis: Option<usize>) -> Quantized {
        let to = Integer::named(name, symmetric).unwrap();
        let sharing = Sharing::of(tensor, axis).unwrap();
        let parameters: Vec<Affine> =
            ranges("w", tensor, sharing).unwrap().into_iter().map(|r| to.fit(r)).collect();
        let values = quantized(tensor, to, sharing, parameters.clone()).unwrap();
        Quantized { values, parameters }
    }

    #[test]
    fn channels_of_any_axis_have_their_own_scale() {
        let values: Vec<f32> = (0..24u8).map(|i| f32::from(i) - 7.0).collect();
        let tensor = Tensor::from_f32(vec![2, 3, 4], &values).unwrap();
        for (axis, count, inner) in
            [(None, 1, 1), (Some(0), 2, 12), (Some(1), 3, 4), (Some(2), 4, 1)]
        {
            let q = quantize(&tensor, "int8", true, axis);
            assert_eq!(q.parameters.len(), count);
            let bytes = q.values.bytes().unwrap();
            for (i, value) in values.iter().enumerate() {
                let scale = q.parameters[i / inner % count].scale;
                let back = f32::from(bytes[i].cast_signed()) * scale;
                assert!((back - value).abs() <= scale * 0.501, "{axis:?} {i}: {back} {value}");
            }
        }
    }

    #[test]
    fn sixteen_bits_are_two_bytes_and_any_part_can_be_computed() {
        let tensor = Tensor::from_f32(vec![5], &[-1.0, -0.5, 0.0, 0.5, 1.0]).unwrap();
        let q = quantize(&tensor, "int16", true, None);
        assert_eq!(q.values.dtype(), DType::I16);
        let bytes = q.values.bytes().unwrap();
        assert_eq!(
            bytes.as_chunks().0.iter().map(|b| i16::from_le_bytes(*b)).collect::<Vec<_>>(),
            [-32767, -16384, 0, 16384, 32767]
        );
        let mut part = [0; 4];
        q.values.read_at(2, &mut part).unwrap();
        assert_eq!(part, bytes[2..6]);
    }

    #[test]
    fn a_constant_that_is_not_finite_is_named() {
        let tensor = Tensor::from_f32(vec![2], &[0.0, f32::NAN]).unwrap();
        let error = ranges("layer.weight", &tensor, Sharing::WHOLE).unwrap_err().to_string();
        assert!(error.contains("layer.weight") && error.contains("element 1"), "{error}");
    }
}
