//! Dynamic int8: weights quantized per channel when the model is built, activations per row when it
//! runs.

mod activation;
pub(super) mod weight;

use std::collections::BTreeMap;

use self::activation::{Activation, Activations, Granularity};
use self::weight::{Channel, Quantized, Range, quantize, quantize_unsigned, sums};
use super::overrides::Overrides;
use super::{Exclude, Observed, Params, PassDef};
use crate::error::{Error, Result};
use crate::hub::{AttrValue, DType, Edit, Graph, Node, NodeId, Tensor, ValueId};
use crate::op::{self, Gemm, MatMul, View};

/// Quantizes matrix products with constant weights, and tables that are looked up, to int8.
///
/// ```text
/// MatMul      before: a ─▶ MatMul(·, w) ─▶ y
/// and Gemm    after:  a ─▶ u8 ─▶ MatMulInteger(·, w_quantized) ─▶ Cast ─▶ Mul(·, w_scale) ─▶ Mul(·, scale) ─▶ Add ─▶ y
///                          └─ scale, least per row ─▶ Mul(least, w_sum) ─────────────────────────────────────┘
/// Gather      before: ids ─▶ Gather(table, ·) ─▶ y
///             after:  ids ─▶ Gather(table_quantized, ·) ─▶ Cast ─▶ Mul(·, Gather(table_scale, ids)) ─▶ y
/// ```
///
/// With `activations = "tensor"` the graph of a product and, with `range = "full"`, every byte of its
/// weight and scales are those of
/// `onnxruntime.quantization.quantize_dynamic(per_channel=True, weight_type=QInt8)`: int8 values
/// without zero point, one scale per column, u8 activations shared by all consumers of a value, a
/// Gemm's addend added in f32 (for alpha = beta = 1 and a left factor that is not transposed). It
/// differs where that costs accuracy or correctness:
///
/// * **Activations** have a scale and an offset per row (`activations = "row"`, the default), so that
///   an outlier in one token costs the others nothing, and the result for a sample does not depend
///   on what else is in the batch. On all-MiniLM-L6-v2 the mean error of the embeddings' cosine
///   falls from 0.75 % to 0.16 %; products take about 1.5 times as long in ONNX Runtime as with
///   `tensor`, for which it has a fused kernel.
/// * **Range.** x86 without VNNI multiplies u8 by i8 with an instruction that adds the products of
///   two neighbours along k in 16 bits and clips the sum, in ONNX Runtime and in rten alike, so
///   full-range weights give other numbers there than elsewhere. By default (`range =
///   "portable"`) a column's scale is large enough that no two neighbours of one sign can pass 16
///   bits (their quantized sum is at most 128, and 255 · 128 < 2¹⁵), so that every CPU computes the
///   same. It costs a fraction of a bit, less than the whole bit of `reduce_range`.
/// * With `type = "uint8"` weights are u8 with a zero point per column, byte for byte those of
///   `weight_type=QUInt8`; no range is portable or not then, as their products are summed in more
///   than 16 bits everywhere.
/// * **Tables** have one scale per row, not one scale and zero point for the whole table. Tables
///   of fewer than 65536 elements stay as they are.
/// * **Tied weights**, looked up and multiplied with, are quantized once and stored once; the
///   product reads them through `Transpose`.
/// * Products with a weight of more than two axes, `Conv` and subgraphs stay in f32.
///
/// Parameters: `range`, `portable` (the default) or `full`; `activations`, `row` (the default) or
/// `tensor`; `type`, `int8` (the default) or `uint8`; `exclude`, patterns of nodes that stay as they are
/// (see [`Exclude`]), and `overrides`, patterns of nodes that stay (`fp32`) or get the other type.
///
/// # Errors
/// A weight that is not finite, by name and index. A graph without anything to quantize. An
/// operator set before 11, which has no DynamicQuantizeLinear.
pub static DYNAMIC_INT8: PassDef = PassDef {
    name: "dynamic-int8",
    about: "quantizes weights to int8 per channel, activations per row when the model runs",
    revision: 2,
    run,
};

/// Tables with fewer elements than this stay f32: they save less than the added nodes cost.
const LEAST_TABLE: u64 = 1 << 16;

/// A node that is to be rewritten.
enum Site {
    /// A product with `weight`, and its addend.
    Product { a: ValueId, addend: Option<ValueId>, output: ValueId },
    /// A look-up of rows.
    LookUp { ids: ValueId, output: ValueId },
}

fn run(graph: &mut Graph, params: &Params, _: &Observed) -> Result<()> {
    let kind = match params.get("type") {
        None | Some("int8") => Kind::Signed,
        Some("uint8") => Kind::Unsigned,
        Some(other) => return Err(Error::bug(format!("dynamic-int8 with type `{other}`"))),
    };
    let range = match params.get("range") {
        None | Some("portable") => Range::Portable,
        Some("full") => Range::Full,
        Some(other) => return Err(Error::bug(format!("dynamic-int8 with range `{other}`"))),
    };
    let granularity = match params.get("activations") {
        None | Some("row") => Granularity::Row,
        Some("tensor") => Granularity::Tensor,
        Some(other) => return Err(Error::bug(format!("dynamic-int8 with activations `{other}`"))),
    };
    if graph.opset() < 11 {
        return Err(Error::unsupported(format!(
            "int8 needs opset 11 or later, the graph has opset {}",
            graph.opset()
        ))
        .hint("export the model again with a later opset"));
    }
    let exclude = Exclude::of(params)?;
    exclude.check(graph)?;
    let overrides = Overrides::of(params)?;
    overrides.check(graph)?;
    let sites = find(graph, kind, &exclude, &overrides)?;
    if sites.is_empty() {
        return Err(Error::unsupported(
            "nothing here can be quantized to int8: no MatMul or Gemm has a constant f32 matrix",
        )
        .hint("leave out `quantization` for this target"));
    }
    let mut activations = Activations::new(granularity, graph.opset());
    let mut edit = graph.edit();
    for ((weight, channel, kind), nodes) in sites {
        let name = edit.body().value(weight).name.clone();
        let Some(tensor) = edit.body().constant(weight).cloned() else { continue };
        let mut stored = Stored::new(&mut edit, &name, &tensor, channel, kind, range)?;
        crate::fsx::release_maps();
        let mut turned = None;
        for (id, site) in nodes {
            let label = label(edit.body().node(id));
            edit.remove(id);
            match site {
                Site::LookUp { ids, output } => stored.look_up(&mut edit, &label, ids, output)?,
                Site::Product { a, addend, output } => {
                    let a = activations.of(&mut edit, a)?;
                    let b = match (channel, turned) {
                        (Channel::Column, _) => stored.values,
                        (Channel::Row, Some(b)) => b,
                        (Channel::Row, None) => {
                            let perm = [("perm", AttrValue::Ints(vec![1, 0]))];
                            let hint = format!("{name}_transposed");
                            *turned.insert(edit.op("Transpose", &hint, &[stored.values], &perm)?)
                        }
                    };
                    stored.product(&mut edit, &label, a, b, addend, output)?;
                }
            }
        }
    }
    edit.finish()?;
    op::infer(graph)
}

fn label(node: Option<&Node>) -> String {
    match node {
        Some(n) if !n.name.is_empty() => n.name.clone(),
        Some(n) => n.op.clone(),
        None => String::new(),
    }
}

/// The integers of a weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// i8.
    Signed,
    /// u8 with zero points.
    Unsigned,
}

type Sites = BTreeMap<(ValueId, Channel, Kind), Vec<(NodeId, Site)>>;

/// The nodes to rewrite, by weight and by what shares a scale in it.
fn find(graph: &Graph, usual: Kind, exclude: &Exclude, overrides: &Overrides) -> Result<Sites> {
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
    let mut sites = Sites::new();
    for (id, node) in body.nodes().filter(|(_, n)| !exclude.has(body, n)) {
        let kind = match overrides.to(body, node) {
            None => usual,
            Some("fp32") => continue,
            Some("int8") => Kind::Signed,
            Some("uint8") => Kind::Unsigned,
            Some(other) => {
                return Err(Error::bug(format!("dynamic-int8 with a node of `{other}`")));
            }
        };
        if let Some(view) = MatMul::of(node)? {
            let site = Site::Product { a: view.a, addend: None, output: view.output };
            if matrix(view.b) {
                sites.entry((view.b, Channel::Column, kind)).or_default().push((id, site));
            } else if let Some(weight) = turned.get(&view.b) {
                sites.entry((*weight, Channel::Row, kind)).or_default().push((id, site));
            }
        } else if let Some(view) = Gemm::of(node)? {
            #[allow(clippy::float_cmp)] // exactly 1
            let plain = view.alpha == 1.0 && view.beta == 1.0 && !view.trans_a;
            if plain && matrix(view.b) {
                let site = Site::Product { a: view.a, addend: view.c, output: view.output };
                let channel = if view.trans_b { Channel::Row } else { Channel::Column };
                sites.entry((view.b, channel, kind)).or_default().push((id, site));
            }
        } else if node.is("Gather")
            && node.attr("axis").is_none_or(|a| a.as_int() == Some(0))
            && let (Some(table), Some(ids), Some(output)) =
                (node.input(0), node.input(1), node.output(0))
            && matrix(table)
            && body.constant(table).is_some_and(|t| t.len() >= LEAST_TABLE)
        {
            let site = Site::LookUp { ids, output };
            sites.entry((table, Channel::Row, kind)).or_default().push((id, site));
        }
    }
    Ok(sites)
}

/// A quantized weight in the graph.
struct Stored {
    name: String,
    values: ValueId,
    quantized: Quantized,
    channel: Channel,
    /// Scales `[n]` of products, added for the first.
    columns: Option<ValueId>,
    /// Zero points `[n]` of products with activations quantized per tensor.
    zeros: Option<ValueId>,
    /// Sums `[n]` of the columns' dequantized values, for activations quantized per row.
    sums: Option<ValueId>,
    /// Scales `[n, 1]` of look-ups, added for the first.
    rows: Option<ValueId>,
}

impl Stored {
    fn new(
        edit: &mut Edit<'_>,
        name: &str,
        tensor: &Tensor,
        channel: Channel,
        kind: Kind,
        range: Range,
    ) -> Result<Self> {
        let quantized = match kind {
            Kind::Signed => quantize(name, tensor, channel, range)?,
            Kind::Unsigned => quantize_unsigned(name, tensor, channel)?,
        };
        let values = edit.constant(&format!("{name}_quantized"), quantized.values.clone())?;
        Ok(Self {
            name: name.to_owned(),
            values,
            quantized,
            channel,
            columns: None,
            zeros: None,
            sums: None,
            rows: None,
        })
    }

    fn columns(&mut self, edit: &mut Edit<'_>) -> Result<ValueId> {
        if let Some(done) = self.columns {
            return Ok(done);
        }
        let scales = &self.quantized.scales;
        let scales = Tensor::from_f32(vec![scales.len() as u64], scales)?;
        let id = edit.constant(&format!("{}_scale", self.name), scales)?;
        Ok(*self.columns.insert(id))
    }

    fn zeros(&mut self, edit: &mut Edit<'_>) -> Result<ValueId> {
        if let Some(done) = self.zeros {
            return Ok(done);
        }
        let n = self.quantized.scales.len();
        let (dtype, bytes) = match &self.quantized.zeros {
            None => (DType::I8, vec![0; n]),
            Some(zeros) => (DType::U8, zeros.to_vec()),
        };
        let zeros = Tensor::new(dtype, vec![n as u64], bytes.into())?;
        let id = edit.constant(&format!("{}_zero_point", self.name), zeros)?;
        Ok(*self.zeros.insert(id))
    }

    fn sums(&mut self, edit: &mut Edit<'_>) -> Result<ValueId> {
        if let Some(done) = self.sums {
            return Ok(done);
        }
        let sums = sums(&self.quantized, self.channel)?;
        let sums = Tensor::from_f32(vec![sums.len() as u64], &sums)?;
        let id = edit.constant(&format!("{}_sum", self.name), sums)?;
        Ok(*self.sums.insert(id))
    }

    fn rows(&mut self, edit: &mut Edit<'_>) -> Result<ValueId> {
        if let Some(done) = self.rows {
            return Ok(done);
        }
        let scales = &self.quantized.scales;
        let scales = Tensor::from_f32(vec![scales.len() as u64, 1], scales)?;
        let id = edit.constant(&format!("{}_row_scale", self.name), scales)?;
        Ok(*self.rows.insert(id))
    }

    fn product(
        &mut self,
        edit: &mut Edit<'_>,
        label: &str,
        a: Activation,
        b: ValueId,
        addend: Option<ValueId>,
        output: ValueId,
    ) -> Result<()> {
        let scales = self.columns(edit)?;
        let named = |end: &str| format!("{label}_{end}");
        let to = [("to", AttrValue::Int(DType::F32.number()))];
        // The last operation, as operator and operands.
        let (op, name, left, right) = match a {
            Activation::Tensor { values, scale, zero } => {
                let zeros = self.zeros(edit)?;
                let product =
                    edit.op("MatMulInteger", &named("quant"), &[values, b, zero, zeros], &[])?;
                let product = edit.op("Cast", &named("cast"), &[product], &to)?;
                let scale = edit.op("Mul", &named("scales"), &[scale, scales], &[])?;
                ("Mul", named("output_scale"), product, scale)
            }
            Activation::Row { values, scale, least } => {
                let sums = self.sums(edit)?;
                let product = match self.quantized.zeros {
                    None => edit.op("MatMulInteger", &named("quant"), &[values, b], &[])?,
                    Some(_) => {
                        let zeros = self.zeros(edit)?;
                        let product = edit.value(&named("quant"), None)?;
                        let mut node = Node::new("MatMulInteger", &[values, b], &[product]);
                        node.inputs.extend([None, Some(zeros)]);
                        node.name = named("quant");
                        edit.add(node)?;
                        product
                    }
                };
                let product = edit.op("Cast", &named("cast"), &[product], &to)?;
                let product = edit.op("Mul", &named("weight_scale"), &[product, scales], &[])?;
                let product = edit.op("Mul", &named("output_scale"), &[product, scale], &[])?;
                let rest = edit.op("Mul", &named("least"), &[least, sums], &[])?;
                ("Add", named("output"), product, rest)
            }
        };
        match addend {
            None => last(edit, op, name, &[left, right], output),
            Some(c) => {
                let product = edit.op(op, &name, &[left, right], &[])?;
                last(edit, "Add", named("bias"), &[product, c], output)
            }
        }
    }

    fn look_up(
        &mut self,
        edit: &mut Edit<'_>,
        label: &str,
        ids: ValueId,
        output: ValueId,
    ) -> Result<()> {
        let table = self.rows(edit)?;
        let axis = [("axis", AttrValue::Int(0))];
        let rows = edit.op("Gather", &format!("{label}_quant"), &[self.values, ids], &axis)?;
        let to = [("to", AttrValue::Int(DType::F32.number()))];
        let rows = edit.op("Cast", &format!("{label}_cast"), &[rows], &to)?;
        let rows = match &self.quantized.zeros {
            None => rows,
            Some(zeros) => {
                let n = zeros.len() as u64;
                let zeros: Vec<f32> = zeros.iter().map(|z| f32::from(*z)).collect();
                let zeros = Tensor::from_f32(vec![n, 1], &zeros)?;
                let zeros = edit.constant(&format!("{label}_row_zero"), zeros)?;
                let zeros = edit.op("Gather", &format!("{label}_zeros"), &[zeros, ids], &axis)?;
                edit.op("Sub", &format!("{label}_centered"), &[rows, zeros], &[])?
            }
        };
        let scale = edit.op("Gather", &format!("{label}_scales"), &[table, ids], &axis)?;
        last(edit, "Mul", format!("{label}_output_scale"), &[rows, scale], output)
    }
}

/// The node that gives the value that the replaced node gave.
fn last(
    edit: &mut Edit<'_>,
    op: &str,
    name: String,
    inputs: &[ValueId],
    output: ValueId,
) -> Result<()> {
    let mut node = Node::new(op, inputs, &[output]);
    node.name = name;
    edit.add(node)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use crate::hub::{Dim, Type};

    /// x [batch, 4] and ids [batch]; `rows` many rows of a table that is looked up and multiplied
    /// with, a product and two Gemms.
    fn graph(rows: u64) -> Graph {
        let mut g = Graph::new("g", 8, 17);
        let x = g.body.intern("x").unwrap();
        g.body.value_mut(x).ty =
            Some(Type::tensor(DType::F32, [Dim::symbol("batch"), Dim::Fixed(4)]));
        let ids = g.body.intern("ids").unwrap();
        g.body.value_mut(ids).ty = Some(Type::tensor(DType::I64, [Dim::symbol("batch")]));
        g.body.add_input(x);
        g.body.add_input(ids);
        let mut e = g.edit();
        let fill = |n: u64| (0..n).map(|i| (i % 7) as f32 - 3.0).collect::<Vec<_>>();
        let w = e.constant("w", Tensor::from_f32(vec![4, 4], &fill(16)).unwrap()).unwrap();
        let c = e.constant("c", Tensor::from_f32(vec![4], &fill(4)).unwrap()).unwrap();
        let table = e.constant("table", Tensor::from_f32(vec![rows, 4], &fill(rows * 4)).unwrap());
        let table = table.unwrap();
        let y = e.op("MatMul", "product", &[x, w], &[]).unwrap();
        let z = e.op("Gemm", "gemm", &[x, w, c], &[]).unwrap();
        let t = [("transB", AttrValue::Int(1))];
        let logits = e.op("Gemm", "decoder", &[y, table], &t).unwrap();
        let found = e.op("Gather", "found", &[table, ids], &[]).unwrap();
        e.finish().unwrap();
        for id in [z, logits, found].map(|id| g.body.value(id).name.clone()) {
            let id = g.body.find(&id).unwrap();
            g.body.add_output(id);
        }
        op::infer(&mut g).unwrap();
        g
    }

    fn count(g: &Graph, op: &str) -> usize {
        g.body.nodes().filter(|(_, n)| n.is(op)).count()
    }

    #[test]
    fn activations_are_quantized_once_and_tied_weights_stored_once() {
        let mut g = graph(20_000);
        let before: Vec<String> = g
            .body
            .outputs()
            .iter()
            .map(|id| g.body.value(*id).ty.as_ref().unwrap().to_string())
            .collect();
        run(&mut g, &Params::new([("activations", "tensor")]), &Observed::default()).unwrap();
        assert_eq!(count(&g, "DynamicQuantizeLinear"), 2, "of x and of the product");
        assert_eq!(count(&g, "MatMulInteger"), 3);
        assert_eq!(count(&g, "Transpose"), 1);
        assert_eq!(count(&g, "Gather"), 2);
        assert_eq!(count(&g, "MatMul") + count(&g, "Gemm"), 0);
        let mut stored: Vec<String> =
            g.body.initializers().map(|(_, v, t)| format!("{} {t:?}", v.name)).collect();
        stored.sort();
        assert_eq!(
            stored,
            [
                "c f32[4]",
                "table_quantized i8[20000, 4] lazy",
                "table_row_scale f32[20000, 1]",
                "table_scale f32[20000]",
                "table_zero_point i8[20000]",
                "w_quantized i8[4, 4] lazy",
                "w_scale f32[4]",
                "w_zero_point i8[4]",
            ]
        );
        let after: Vec<String> = g
            .body
            .outputs()
            .iter()
            .map(|id| g.body.value(*id).ty.as_ref().unwrap().to_string())
            .collect();
        assert_eq!(before, after);
    }

    #[test]
    fn rows_of_activations_are_quantized_once_without_zero_points() {
        for opset in [17, 18] {
            let mut g = graph(20_000);
            g.opsets.insert(String::new(), opset);
            run(&mut g, &Params::default(), &Observed::default()).unwrap();
            assert_eq!(count(&g, "Round"), 2, "of x and of the product");
            assert_eq!(count(&g, "MatMulInteger"), 3);
            assert_eq!(count(&g, "DynamicQuantizeLinear"), 0);
            let stored: Vec<&str> = g.body.initializers().map(|(_, v, _)| &*v.name).collect();
            assert_eq!(stored.iter().filter(|n| n.ends_with("_sum")).count(), 2, "{stored:?}");
            assert!(!stored.iter().any(|n| n.ends_with("_zero_point")), "{stored:?}");
            for id in g.body.outputs() {
                assert!(g.body.value(*id).ty.is_some(), "inferred");
            }
        }
    }

    #[test]
    fn a_small_table_and_a_scaled_gemm_stay_as_they_are() {
        let mut g = graph(10);
        let gemm = g.body.nodes().find(|(_, n)| n.name == "gemm").unwrap();
        let (id, node) = (gemm.0, gemm.1.clone().with("beta", AttrValue::Float(0.5)));
        g.edit().replace(id, node);
        run(&mut g, &Params::default(), &Observed::default()).unwrap();
        assert_eq!((count(&g, "Gather"), count(&g, "Gemm")), (1, 1));
        assert!(g.body.find("table").is_some(), "still looked up");
    }

    #[test]
    fn a_graph_without_a_constant_matrix_is_an_error() {
        let mut g = Graph::new("g", 8, 17);
        let x = g.body.intern("x").unwrap();
        g.body.add_input(x);
        let mut e = g.edit();
        e.op("Relu", "y", &[x], &[]).unwrap();
        e.finish().unwrap();
        let error = run(&mut g, &Params::default(), &Observed::default()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
    }

    #[test]
    fn an_operator_set_without_dynamic_quantization_is_an_error() {
        let mut g = graph(10);
        g.opsets.insert(String::new(), 10);
        let error = run(&mut g, &Params::default(), &Observed::default()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
    }
}
