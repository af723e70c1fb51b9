//! The products of a graph whose weights can be quantized.

use std::collections::BTreeMap;

use crate::error::Result;
use crate::hub::{DType, Graph, Node, NodeId, ValueId};
use crate::op::{self, Gemm, MatMul, View};

/// A product with a constant matrix.
#[derive(Clone, Copy, Debug)]
pub(super) struct Site {
    pub(super) node: NodeId,
    /// The left factor.
    pub(super) a: ValueId,
    /// What a Gemm adds.
    pub(super) addend: Option<ValueId>,
    pub(super) output: ValueId,
    /// The matrix: `[k, n]`, or `[n, k]` where `rows`.
    pub(super) weight: ValueId,
    /// Whether an output's weights are a row of the matrix.
    pub(super) rows: bool,
    /// Whether the node reads the matrix through a Transpose.
    pub(super) through: bool,
    /// Whether the node computes nothing but the product and the sum with the addend.
    pub(super) plain: bool,
}

/// The products with a constant f32 matrix, in the order of the graph.
pub(super) fn find(graph: &Graph) -> Result<Vec<Site>> {
    let body = &graph.body;
    let matrix = |id: ValueId| {
        op::is_constant(graph, id)
            && body
                .constant(id)
                .is_some_and(|t| t.dtype() == DType::F32 && t.shape().len() == 2 && !t.is_empty())
    };
    // Constants behind a transposition of their two axes, as tied weights are.
    let turned: BTreeMap<ValueId, ValueId> = body
        .nodes()
        .filter(|(_, n)| n.is("Transpose"))
        .filter_map(|(_, n)| {
            let (from, to) = (n.input(0)?, n.output(0)?);
            let swaps = n.attr("perm").is_none_or(|p| p.as_ints() == Some(&[1, 0]));
            (swaps && matrix(from)).then_some((to, from))
        })
        .collect();
    let mut sites = Vec::new();
    for (id, node) in body.nodes() {
        let Some(mut site) = site(id, node)? else { continue };
        if matrix(site.weight) {
            sites.push(site);
        } else if let Some(weight) = turned.get(&site.weight) {
            site.weight = *weight;
            site.through = true;
            site.rows = !site.rows;
            sites.push(site);
        }
    }
    Ok(sites)
}

/// A product, whatever its right factor is.
fn site(id: NodeId, node: &Node) -> Result<Option<Site>> {
    if let Some(MatMul { a, b, output }) = MatMul::of(node)? {
        let (rows, through, plain) = (false, false, true);
        let addend = None;
        return Ok(Some(Site { node: id, a, addend, output, weight: b, rows, through, plain }));
    }
    let Some(view) = Gemm::of(node)? else { return Ok(None) };
    #[allow(clippy::float_cmp)] // exactly 1
    let plain = view.alpha == 1.0 && view.beta == 1.0 && !view.trans_a;
    let Gemm { a, b, c, output, trans_b, .. } = view;
    let site =
        Site { node: id, a, addend: c, output, weight: b, rows: trans_b, through: false, plain };
    Ok(Some(site))
}
