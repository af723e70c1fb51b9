//! `Relu` and `Clip`: with a zero point the range of the output cuts off what they cut off.

use super::marking::{Marking, Rule};
use crate::error::Result;
use crate::hub::{Node, NodeId};

pub(super) const RULES: &[(&str, Rule)] = &[("Clip", cut), ("Relu", cut)];

fn cut(marking: &mut Marking<'_, '_>, id: NodeId, node: &Node) -> Result<()> {
    let (Some(x), Some(y)) = (node.input(0), node.output(0)) else { return Ok(()) };
    if !marking.has_scale(x) {
        return Ok(());
    }
    let free = marking.marks.has(x) && marking.has_one_reader(x) && !marking.is_constant(x);
    if free && !marking.options.activation.symmetric && !marking.is_done(y) {
        marking.drop(id, x);
    }
    marking.activation(Some(y));
    Ok(())
}
