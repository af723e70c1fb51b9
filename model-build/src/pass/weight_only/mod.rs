//! Weights as 4 or 8 bits in blocks; activations stay floating-point.

mod awq;
mod gptq;
mod grid;
mod hqq;
mod matrix;
mod options;
mod rtn;
mod sites;
mod values;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use self::grid::{Codes, Order, Rounding};
use self::matrix::Matrix;
use self::options::{Algorithm, Form, Options, Spec};
use self::sites::Site;
use super::dynamic_int8::weight::{Channel, Range, quantize};
use super::observed::Moments;
use super::{Observed, Params, PassDef};
use crate::error::{Error, Result};
use crate::fsx;
use crate::hub::{AttrValue, Edit, Graph, Node, Tensor, ValueId};
use crate::op;

/// Quantizes the constant matrices of products.
///
/// ```text
/// before: a ─▶ MatMul(·, w) ─▶ y
/// after:  a ─▶ com.microsoft::MatMulNBits(·, w_Q4, w_scales, w_zero_points) ─▶ y
/// or:     a ─▶ MatMul(·, DequantizeLinear(w_Q4, w_scales, w_zero_points)) ─▶ y
/// ```
///
/// A weight is `(integer - zero) · scale`. A scale, and where the grid is not symmetric a zero point,
/// belongs to a block of `block-size` weights of one output (consecutive along k), or with
/// `block-size = "channel"` to all weights of an output. The layout is that of ONNX Runtime's kernel:
/// integers counted from 0 in `u8 [n, k / block, bytes]`, the first of two 4-bit integers in the
/// lower half of a byte, zero points packed by output. `DequantizeLinear` reads signed integers
/// where the grid is symmetric, unsigned ones where it is not, in the shape of the weight.
///
/// A Gemm becomes a product and an Add in the form `matmulnbits`, if it scales and transposes nothing
/// on its left; others stay. Tied weights that a Gather reads too stay in f32 for it. Products with
/// weights of more than two axes and those in subgraphs stay.
///
/// Parameters: `type`, one of `int4`, `uint4`, `int8`, `uint8` (`int` types are symmetric unless
/// `symmetric = false`); `block-size`, a power of two from 16 to 256, or `channel` (8 bits and `qdq`
/// only); `exclude` and `overrides`, patterns of nodes that stay or get another type;
/// `form`, `matmulnbits` or `qdq`; `accuracy-level`, ONNX Runtime's word for the type it
/// computes in; `algorithm`:
///
/// * `rtn`: round to nearest; byte for byte what `onnxruntime.quantization.matmul_nbits_quantizer` does by
///   default, in both forms. With `channel` and a symmetric type the bytes are those of
///   `onnxruntime.quantization`'s per-channel int8.
/// * `hqq`: half-quadratic quantization; never symmetric.
/// * `gptq`: errors made up for, with `damping` and `act-order`; needs the moments of the left factors
///   ([`wanted`]) and holds the integers in memory until they are written.
/// * `awq`: finer steps for large inputs; needs the moments. The left factor is divided by the factors of its inputs once
///   for all products that read it.
///
/// # Errors
/// A weight that is not finite, by name and index. A graph without anything to quantize. An operator
/// set that cannot hold the form: blocks in `qdq` need opset 21, channels 13. Moments that are wanted
/// and missing.
pub static WEIGHT_ONLY: PassDef = PassDef {
    name: "weight-only",
    about: "quantizes weights to 4 or 8 bits in blocks",
    revision: 1,
    run,
};

/// The values whose moments the pass needs when it runs with these parameters, by name, each once;
/// none where the algorithm needs no data.
pub fn wanted(graph: &Graph, params: &Params) -> Result<Vec<String>> {
    let options = Options::of(params)?;
    if !options.algorithm.needs_moments() {
        return Ok(Vec::new());
    }
    let sites = chosen(graph, &options)?;
    let mut names: Vec<String> =
        sites.iter().map(|(site, _)| graph.body.value(site.a).name.clone()).collect();
    names.sort_unstable();
    names.dedup();
    Ok(names)
}

fn run(graph: &mut Graph, params: &Params, observed: &Observed) -> Result<()> {
    let options = Options::of(params)?;
    let sites = chosen(graph, &options)?;
    if sites.is_empty() {
        return Err(Error::unsupported(
            "no weight here can be quantized: no MatMul or Gemm has a constant f32 matrix",
        )
        .hint("leave out `quantization` for this target"));
    }
    check_opset(graph, &options, &sites)?;
    let factors = factors(graph, &options, &sites, observed)?;
    let mut edit = graph.edit();
    let mut inputs = BTreeMap::new();
    for (a, factors) in &factors {
        let name = edit.body().value(*a).name.clone();
        let inverse = edit.constant(&format!("{name}_awq_scale"), awq::inverse(factors)?)?;
        inputs.insert(*a, edit.op("Mul", &format!("{name}_awq"), &[*a, inverse], &[])?);
    }
    let mut stored: BTreeMap<Key, Stored> = BTreeMap::new();
    for (mut site, spec) in sites {
        let key = Key {
            weight: site.weight,
            rows: site.rows,
            spec,
            a: options.algorithm.needs_moments().then_some(site.a),
        };
        let weight = match stored.entry(key) {
            Entry::Occupied(there) => there.into_mut(),
            Entry::Vacant(place) => {
                let moments = moments(edit.body(), &options, site.a, observed)?;
                let factors = factors.get(&site.a).cloned();
                let key = place.key();
                let made = Stored::new(&mut edit, &options, key, factors, moments.map(|m| &**m))?;
                fsx::release_maps();
                place.insert(made)
            }
        };
        site.a = inputs.get(&site.a).copied().unwrap_or(site.a);
        match options.form {
            Form::MatMulNBits => weight.product(&mut edit, &site, options.accuracy_level)?,
            Form::Qdq => weight.dequantized(&mut edit, &site)?,
        }
    }
    edit.finish()?;
    if options.form == Form::MatMulNBits {
        graph.opsets.entry("com.microsoft".to_owned()).or_insert(1);
    } else if graph.opset() >= 21 {
        // The first version whose files may hold 4-bit integers.
        graph.ir_version = graph.ir_version.max(10);
    }
    op::infer(graph)
}

/// The products to rewrite, each with its integers.
fn chosen(graph: &Graph, options: &Options) -> Result<Vec<(Site, Spec)>> {
    options.check(graph)?;
    let mut out = Vec::new();
    for site in sites::find(graph)? {
        let Some(node) = graph.body.node(site.node) else { continue };
        if options.form == Form::MatMulNBits && !site.plain {
            continue;
        }
        if let Some(spec) = options.spec_of(&graph.body, node)? {
            out.push((site, spec));
        }
    }
    Ok(out)
}

/// An error where the operator set cannot hold the form.
fn check_opset(graph: &Graph, options: &Options, sites: &[(Site, Spec)]) -> Result<()> {
    if options.form == Form::MatMulNBits {
        return Ok(());
    }
    let blocks = sites.iter().any(|(_, spec)| spec.block.is_some() || spec.bits == 4);
    let (least, what) = if blocks {
        (21, "DequantizeLinear of blocks and of 4-bit integers")
    } else {
        (13, "DequantizeLinear of channels")
    };
    if graph.opset() >= least {
        return Ok(());
    }
    let error = Error::unsupported(format!(
        "{what} needs opset {least} or later, the graph has opset {}",
        graph.opset()
    ));
    let error = error.hint(format!("set `opset-version = {least}`"));
    Err(if blocks { error.hint("or set `form = \"matmulnbits\"`") } else { error })
}

/// The moments of a left factor; `None` where the algorithm needs none.
fn moments<'o>(
    body: &crate::hub::Body,
    options: &Options,
    a: ValueId,
    observed: &'o Observed,
) -> Result<Option<&'o Arc<Moments>>> {
    if !options.algorithm.needs_moments() {
        return Ok(None);
    }
    let name = &body.value(a).name;
    let found = observed.moments.get(name).ok_or_else(|| {
        let algorithm = options.algorithm.name();
        Error::unsupported(format!("`{algorithm}` needs to know what this value holds"))
            .item(name)
            .hint("give sample data: `calibration = { dataset = … }`")
            .hint("or choose an algorithm that needs none: `algorithm = \"hqq\"`")
    })?;
    Ok(Some(found))
}

/// For `awq`, the factors of the inputs of every left factor that gains by them.
fn factors(
    graph: &Graph,
    options: &Options,
    sites: &[(Site, Spec)],
    observed: &Observed,
) -> Result<BTreeMap<ValueId, Arc<[f32]>>> {
    let mut out = BTreeMap::new();
    if options.algorithm != Algorithm::Awq {
        return Ok(out);
    }
    let mut by_input: BTreeMap<ValueId, Vec<(Matrix, grid::Grid)>> = BTreeMap::new();
    for (site, spec) in sites {
        let value = graph.body.value(site.weight);
        let Some(tensor) = &value.init else { continue };
        let matrix = Matrix::new(&value.name, tensor, site.rows)?;
        let grid = spec.grid(matrix.k);
        by_input.entry(site.a).or_default().push((matrix, grid));
    }
    for (a, matrices) in by_input {
        let Some(moments) = moments(&graph.body, options, a, observed)? else { continue };
        if let Some(factors) = awq::factors(&matrices, moments)? {
            out.insert(a, factors.into());
        }
    }
    Ok(out)
}

/// What decides a weight's integers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    weight: ValueId,
    rows: bool,
    spec: Spec,
    /// The left factor, where the integers depend on it.
    a: Option<ValueId>,
}

/// A quantized weight in the graph.
struct Stored {
    name: String,
    spec: Spec,
    rows: bool,
    k: usize,
    n: usize,
    values: ValueId,
    scales: ValueId,
    zeros: Option<ValueId>,
    /// The output of `DequantizeLinear`, added for the first that reads it, and its transpose.
    wide: Option<ValueId>,
    turned: Option<ValueId>,
}

impl Stored {
    fn new(
        edit: &mut Edit<'_>,
        options: &Options,
        key: &Key,
        factors: Option<Arc<[f32]>>,
        moments: Option<&Moments>,
    ) -> Result<Self> {
        let value = edit.body().value(key.weight);
        let name = value.name.clone();
        let Some(tensor) = value.init.clone() else {
            return Err(Error::bug("a weight that is no constant").item(name));
        };
        let mut matrix = Matrix::new(&name, &tensor, key.rows)?;
        let (n, k) = (matrix.n, matrix.k);
        let ending = format!("Q{}", key.spec.bits);
        let (values, scales, zeros) = if key.spec.block.is_none() && key.spec.symmetric {
            let channel = if key.rows { Channel::Row } else { Channel::Column };
            let quantized = quantize(&name, &tensor, channel, Range::Full)?;
            let scales = Tensor::from_f32(vec![n as u64], &quantized.scales)?;
            (quantized.values, scales, None)
        } else {
            if let Some(factors) = factors {
                matrix = matrix.scaled(factors);
            }
            tensors(options, key, &tensor, &matrix, moments)?
        };
        let values = edit.constant(&format!("{name}_{ending}"), values)?;
        let scales = edit.constant(&format!("{name}_scales"), scales)?;
        let zeros =
            zeros.map(|zeros| edit.constant(&format!("{name}_zero_points"), zeros)).transpose()?;
        let (spec, rows) = (key.spec, key.rows);
        Ok(Self { name, spec, rows, k, n, values, scales, zeros, wide: None, turned: None })
    }

    /// Replaces a product by one with integer weights.
    fn product(&mut self, edit: &mut Edit<'_>, site: &Site, accuracy_level: i64) -> Result<()> {
        let label = edit.body().node(site.node).map(|n| n.name.clone()).unwrap_or_default();
        edit.remove(site.node);
        let product = match site.addend {
            None => site.output,
            Some(_) => edit.value(&format!("{}_product", label_or(&label, &self.name)), None)?,
        };
        let int = |n: usize| AttrValue::Int(i64::try_from(n).unwrap_or(i64::MAX));
        let mut inputs = vec![site.a, self.values, self.scales];
        inputs.extend(self.zeros);
        let mut node = Node::new("MatMulNBits", &inputs, &[product])
            .with("K", int(self.k))
            .with("N", int(self.n))
            .with("bits", int(self.spec.bits.into()))
            .with("block_size", int(self.spec.block.unwrap_or(self.k)));
        if accuracy_level != 0 {
            node = node.with("accuracy_level", AttrValue::Int(accuracy_level));
        }
        "com.microsoft".clone_into(&mut node.domain);
        node.name = format!("{}_Q{}", label_or(&label, &self.name), self.spec.bits);
        edit.add(node)?;
        if let Some(addend) = site.addend {
            let mut node = Node::new("Add", &[product, addend], &[site.output]);
            node.name = format!("{}_bias", label_or(&label, &self.name));
            edit.add(node)?;
        }
        Ok(())
    }

    /// Lets a product read the weight from its integers.
    fn dequantized(&mut self, edit: &mut Edit<'_>, site: &Site) -> Result<()> {
        let wide = match self.wide {
            Some(done) => done,
            None => {
                let mut inputs = vec![self.values, self.scales];
                inputs.extend(self.zeros);
                // Blocks run along k, channels across it.
                let along_last = self.rows == self.spec.block.is_some();
                let mut attrs = vec![("axis", AttrValue::Int(i64::from(along_last)))];
                if let Some(block) = self.spec.block {
                    let block = i64::try_from(block).unwrap_or(i64::MAX);
                    attrs.push(("block_size", AttrValue::Int(block)));
                }
                let hint = format!("{}_dequantized", self.name);
                *self.wide.insert(edit.op("DequantizeLinear", &hint, &inputs, &attrs)?)
            }
        };
        let factor = match (site.through, self.turned) {
            (false, _) => wide,
            (true, Some(done)) => done,
            (true, None) => {
                let perm = [("perm", AttrValue::Ints(vec![1, 0]))];
                let hint = format!("{}_transposed", self.name);
                *self.turned.insert(edit.op("Transpose", &hint, &[wide], &perm)?)
            }
        };
        edit.set_input(site.node, 0, Some(site.a));
        edit.set_input(site.node, 1, Some(factor));
        Ok(())
    }
}

fn label_or<'a>(label: &'a str, otherwise: &'a str) -> &'a str {
    if label.is_empty() { otherwise } else { label }
}

/// Integers, scales and zero points of a weight in the form's layout.
fn tensors(
    options: &Options,
    key: &Key,
    tensor: &Tensor,
    matrix: &Matrix,
    moments: Option<&Moments>,
) -> Result<(Tensor, Tensor, Option<Tensor>)> {
    let grid = key.spec.grid(matrix.k);
    grid::check_len(matrix, grid)?;
    let (order, rounding) = match (options.form, key.rows) {
        (Form::MatMulNBits, _) => (Order::ByLine, Rounding::WithZero),
        (Form::Qdq, true) => (Order::ByLine, Rounding::BeforeZero),
        (Form::Qdq, false) => (Order::ByBlock, Rounding::BeforeZero),
    };
    let (codes, integers) = match options.algorithm {
        Algorithm::Rtn => (Codes::fit(matrix, grid, order, rtn::code)?, None),
        Algorithm::Awq => (awq::codes(matrix, grid, order)?, None),
        Algorithm::Hqq => (Codes::fit(matrix, grid, order, hqq::code)?, None),
        Algorithm::Gptq(how) => {
            let moments = moments.ok_or_else(|| Error::bug("gptq without moments"))?;
            if moments.k != matrix.k {
                return Err(Error::bug("moments of another size").item(matrix.name()));
            }
            let factor = gptq::Factor::new(matrix.name(), moments, how)?;
            let (codes, integers) = gptq::quantize(matrix, &factor, grid, order, rounding, how)?;
            (codes, Some(integers))
        }
    };
    match options.form {
        Form::MatMulNBits => {
            let values = match integers {
                None => values::packed(matrix, &codes)?,
                Some(integers) => values::packed_now(matrix, grid, &integers)?,
            };
            let (scales, zeros) = values::packed_codes(&codes, matrix.n)?;
            Ok((values, scales, zeros))
        }
        Form::Qdq => {
            let values = match integers {
                None => values::flat(tensor, key.rows, matrix, &codes)?,
                Some(integers) => values::flat_now(tensor, key.rows, matrix, grid, &integers)?,
            };
            let (n, blocks) = (matrix.n as u64, grid.blocks(matrix.k) as u64);
            let shape = match (key.spec.block, key.rows) {
                (None, _) => vec![n],
                (Some(_), true) => vec![n, blocks],
                (Some(_), false) => vec![blocks, n],
            };
            let (scales, zeros) = values::flat_codes(&codes, shape)?;
            Ok((values, scales, zeros))
        }
    }
}
