//! The nodes that keep f32 because patterns say so or because they were seen to overflow.

use super::super::overrides::Overrides;
use super::super::{Exclude, Observed, Params};
use super::weight::Half;
use crate::error::Result;
use crate::hub::{Body, Graph, Node, ValueId};

/// The nodes that are to keep f32.
pub(super) struct Wide {
    half: Half,
    exclude: Exclude,
    overrides: Overrides,
}

impl Wide {
    pub(super) fn of(params: &Params, half: Half) -> Result<Self> {
        Ok(Self { half, exclude: Exclude::of(params)?, overrides: Overrides::of(params)? })
    }

    pub(super) fn check(&self, graph: &Graph) -> Result<()> {
        self.exclude.check(graph)?;
        self.overrides.check(graph)
    }

    pub(super) fn has(&self, body: &Body, node: &Node, observed: &Observed) -> bool {
        match self.overrides.to(body, node) {
            Some("fp32") => return true,
            Some(_) => return false,
            None => {}
        }
        // Half of the range is left for inputs that calibration has not seen.
        let most = self.half.max() / 2.0;
        let passes = |id: &ValueId| {
            let range = observed.ranges.get(&body.value(*id).name);
            range.is_some_and(|r| r.max > most || r.min < -most)
        };
        self.exclude.has(body, node)
            || node.inputs.iter().chain(&node.outputs).flatten().any(passes)
    }
}
