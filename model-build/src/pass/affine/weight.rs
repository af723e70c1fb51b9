//! Weights scaled by output channel while they are written.

use std::sync::Arc;

use super::super::read;
use crate::error::Result;
use crate::hub::{AttrValue, DType, Node, Produce, Tensor};

/// Which output channel an element of a weight belongs to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Channels {
    /// Elements that follow each other in one channel.
    inner: u64,
    /// Channels of a group.
    per_group: u64,
    /// Elements of a group.
    group: u64,
    /// Number of groups.
    groups: u64,
}

impl Channels {
    /// For the weight of a layer: of `Conv` `[m, c / g, …]`, of `ConvTranspose` `[c, m / g, …]`, of
    /// `Gemm` `[k, m]` or, transposed, `[m, k]`.
    pub(super) fn of(node: &Node, shape: &[u64]) -> Option<Self> {
        let int = |name: &str, default| {
            u64::try_from(node.attr(name).map_or(Some(default), AttrValue::as_int)?).ok()
        };
        let total = shape.iter().try_fold(1u64, |n, d| n.checked_mul(*d)).filter(|n| *n > 0)?;
        let found = match (node.op.as_str(), shape) {
            ("Conv", [m, rest @ ..]) if rest.len() >= 2 => {
                Self { inner: rest.iter().product(), per_group: *m, group: total, groups: 1 }
            }
            ("ConvTranspose", [_, m, rest @ ..]) if !rest.is_empty() => {
                let groups = int("group", 1).filter(|g| *g > 0 && total.is_multiple_of(*g))?;
                let inner = rest.iter().product();
                Self { inner, per_group: *m, group: total / groups, groups }
            }
            ("Gemm", [_, m]) if int("transB", 0)? == 0 => {
                Self { inner: 1, per_group: *m, group: total, groups: 1 }
            }
            ("Gemm", [m, k]) => Self { inner: *k, per_group: *m, group: total, groups: 1 },
            _ => return None,
        };
        (node.is(&node.op) && usize::try_from(found.per_group * found.groups).is_ok())
            .then_some(found)
    }

    /// The number of output channels.
    pub(super) fn count(self) -> usize {
        usize::try_from(self.per_group * self.groups).unwrap_or(usize::MAX)
    }

    fn channel(self, element: u64) -> usize {
        let group = element / self.group;
        let within = (element / self.inner) % self.per_group;
        usize::try_from(group * self.per_group + within).unwrap_or(usize::MAX)
    }
}

/// Weights up to so many bytes are scaled at once, so that equal ones are found.
const SMALL: u64 = 64 << 10;

/// The weight with each channel times its factor: in f64, rounded to f32. `None` when a factor is not
/// finite.
pub(super) fn scaled(weight: &Tensor, channels: Channels, scale: &[f64]) -> Result<Option<Tensor>> {
    if scale.len() != channels.count() || scale.iter().any(|s| !s.is_finite()) {
        return Ok(None);
    }
    let data = Scaled { source: weight.clone(), channels, scale: scale.into() };
    let lazy = Tensor::lazy(DType::F32, weight.shape().to_vec(), Arc::new(data))?;
    if lazy.byte_len() <= SMALL {
        return Tensor::new(DType::F32, weight.shape().to_vec(), lazy.bytes()?).map(Some);
    }
    Ok(Some(lazy))
}

struct Scaled {
    source: Tensor,
    channels: Channels,
    scale: Arc<[f64]>,
}

impl Produce for Scaled {
    fn granularity(&self) -> u64 {
        read::elements_per_step(&self.source).saturating_mul(4)
    }

    #[allow(clippy::cast_possible_truncation)] // the rounding is the point
    fn produce(&self, offset: u64, out: &mut [u8]) -> Result<()> {
        let Channels { inner, per_group, .. } = self.channels;
        read::with_elements(&self.source, offset / 4, out.len() / 4, |bytes| {
            let mut at = offset / 4;
            let mut to = out.as_chunks_mut::<4>().0;
            let mut from = bytes.as_chunks::<4>().0;
            while !to.is_empty() {
                let channel = self.channels.channel(at);
                // What lies in one channel, or one element of each channel up to the last.
                let run = if inner == 1 { per_group - at % per_group } else { inner - at % inner };
                let run = usize::try_from(run).unwrap_or(usize::MAX).min(to.len());
                let (now, rest) = to.split_at_mut(run);
                let factors = self.scale.get(channel..).unwrap_or_default();
                let step = usize::from(inner == 1);
                for (i, (to, from)) in now.iter_mut().zip(from).enumerate() {
                    let scale = factors.get(i * step).copied().unwrap_or(1.0);
                    let value = f64::from(f32::from_le_bytes(*from)) * scale;
                    *to = (value as f32).to_le_bytes();
                }
                at += run as u64;
                to = rest;
                from = from.get(run..).unwrap_or_default();
            }
        })
    }

    fn recipe(&self) -> Option<(String, Vec<Tensor>)> {
        let factors: Vec<u8> = self.scale.iter().flat_map(|s| s.to_le_bytes()).collect();
        let text = format!("scale {:?} {}", self.channels, blake3::hash(&factors));
        Some((text, vec![self.source.clone()]))
    }
}
