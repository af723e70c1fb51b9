//! Made-up inputs, from the types and names of a graph's inputs and from what the graph does with
//! them.
//!
//! * Integers that look up rows of a table are uniform below the number of its rows (token ids
//!   below the vocabulary's size, token types below the number of types).
//! * An input whose name has `mask` in it is ones; from the second row on, the end is zeros.
//! * An input whose name has `position` in it counts from 0.
//! * Other integers are 0 or 1, other `u8` any byte, floats are normal with mean 0 and variance 1.
//! * The first axis is 2 long if it is not fixed; the third and fourth of four are 64 (images);
//!   others are 8 to 64 long, different in each sample, never longer than a table of positions.
//!
//! Random inputs show that an artifact computes what its reference computes. How a model does on
//! real data only a file of real inputs shows.

use std::collections::{BTreeMap, BTreeSet};

use super::inputs::{Port, converted};
use super::random::Random;
use crate::error::{Error, Result};
use crate::hub::{AttrValue, Body, DType, Dim, Graph, Node, Tensor, ValueId};

/// Most elements of one input: 1 GiB of `f32`.
const MOST: u64 = 1 << 28;

/// What to draw.
pub(super) struct Recipe {
    samples: u32,
    seed: u64,
    fills: BTreeMap<String, Fill>,
    /// Symbols that are a batch.
    batches: BTreeSet<String>,
    /// Symbols that are a side of an image.
    sides: BTreeSet<String>,
    longest: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fill {
    Normal,
    Below(u64),
    Mask,
    Count,
}

impl Recipe {
    /// Looks at what the graph does with its inputs.
    pub(super) fn new(ports: &[Port], graph: &Graph, samples: u32, seed: u64) -> Result<Self> {
        if samples == 0 {
            return Err(
                Error::manifest("`verify` is to use 0 samples").hint("write samples = 1 or more")
            );
        }
        let body = &graph.body;
        let mut fills = BTreeMap::new();
        let mut from_input: BTreeSet<ValueId> = BTreeSet::new();
        for port in ports {
            let Some(id) = body.find(&port.name) else {
                return Err(Error::bug(format!("a graph without its input `{}`", port.name)));
            };
            let rows = rows_looked_up(body, id, &mut from_input);
            fills.insert(port.name.clone(), fill(port, rows)?);
        }
        let mut recipe = Self {
            samples,
            seed,
            fills,
            batches: BTreeSet::new(),
            sides: BTreeSet::new(),
            longest: longest(body, &from_input),
        };
        for port in ports {
            for (axis, dim) in port.dims.iter().enumerate() {
                let Dim::Symbol(symbol) = dim else { continue };
                let sequence = symbol.contains("seq") || symbol.contains("len");
                if axis == 0 && !sequence {
                    recipe.batches.insert(symbol.to_string());
                } else if axis >= 2 && port.dims.len() == 4 && port.dtype.is_float() {
                    recipe.sides.insert(symbol.to_string());
                }
            }
        }
        Ok(recipe)
    }

    /// How many samples.
    pub(super) fn samples(&self) -> u32 {
        self.samples
    }

    /// For a report.
    pub(super) fn describe(&self) -> String {
        let s = if self.samples == 1 { "" } else { "s" };
        format!("{} synthetic sample{s}, seed {}", self.samples, self.seed)
    }

    /// Sample number `index`, in the reference's element types.
    pub(super) fn draw(&self, ports: &[Port], index: u32) -> Result<BTreeMap<String, Tensor>> {
        let number = index.to_le_bytes();
        let length = |symbol: &str| -> u64 {
            if self.batches.contains(symbol) {
                return 2;
            }
            if self.sides.contains(symbol) {
                return 64;
            }
            let least = self.longest.min(8);
            least
                + Random::new(self.seed, &[&number, symbol.as_bytes()])
                    .below(self.longest - least + 1)
        };
        let mut out = BTreeMap::new();
        for port in ports {
            let shape: Vec<u64> = port
                .dims
                .iter()
                .enumerate()
                .map(|(axis, dim)| match dim {
                    Dim::Fixed(n) => *n,
                    Dim::Symbol(symbol) => length(symbol),
                    Dim::Unknown if axis == 0 => 2,
                    Dim::Unknown if axis >= 2 && port.dims.len() == 4 => 64,
                    Dim::Unknown => length("?"),
                })
                .collect();
            let count =
                shape.iter().try_fold(1u64, |n, d| n.checked_mul(*d)).filter(|n| *n <= MOST);
            let Some(count) = count else {
                return Err(Error::unsupported(format!(
                    "input `{}` of shape {shape:?} is too large to make up",
                    port.name
                ))
                .hint("give `verify` a file of inputs: inputs = \"FILE.safetensors\""));
            };
            let mut random = Random::new(self.seed, &[&number, port.name.as_bytes()]);
            let fill = self.fills.get(&port.name).copied().unwrap_or(Fill::Normal);
            out.insert(port.name.clone(), tensor(port.dtype, shape, count, fill, &mut random)?);
        }
        Ok(out)
    }
}

fn fill(port: &Port, rows: Option<u64>) -> Result<Fill> {
    let name = port.name.to_lowercase();
    Ok(match port.dtype {
        _ if name.contains("mask") => Fill::Mask,
        d if d.is_float() => Fill::Normal,
        DType::I64 | DType::I32 if name.contains("position") => Fill::Count,
        DType::I64 | DType::I32 => Fill::Below(rows.unwrap_or(2)),
        DType::Bool => Fill::Below(2),
        DType::U8 => Fill::Below(256),
        other => {
            return Err(Error::unsupported(format!(
                "input `{}` holds {other} elements, which `verify` cannot make up",
                port.name
            ))
            .hint("give `verify` a file of inputs: inputs = \"FILE.safetensors\""));
        }
    })
}

fn tensor(
    dtype: DType,
    shape: Vec<u64>,
    count: u64,
    fill: Fill,
    random: &mut Random,
) -> Result<Tensor> {
    if dtype.is_float() && fill == Fill::Normal {
        let values: Vec<f32> = (0..count).map(|_| random.normal()).collect();
        return converted(&Tensor::from_f32(shape, &values)?, dtype);
    }
    let row = shape.last().copied().unwrap_or(1).max(1);
    let mut kept = row;
    let values = (0..count).map(|i| match fill {
        Fill::Normal | Fill::Below(0) => 0,
        Fill::Below(bound) => random.below(bound),
        Fill::Count => i % row,
        Fill::Mask => {
            if i % row == 0 {
                kept = if i == 0 { row } else { row - random.below(row / 2 + 1) };
            }
            u64::from(i % row < kept)
        }
    });
    #[allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap)] // rows of tables in memory
    #[allow(clippy::cast_precision_loss)] // masks are 0 and 1
    let bytes: Vec<u8> = match dtype {
        DType::I64 => values.flat_map(u64::to_le_bytes).collect(),
        DType::I32 => values.flat_map(|v| (v as i32).to_le_bytes()).collect(),
        DType::U8 | DType::Bool => values.map(|v| v as u8).collect(),
        _ => {
            let values: Vec<f32> = values.map(|v| v as f32).collect();
            return converted(&Tensor::from_f32(shape, &values)?, dtype);
        }
    };
    Tensor::new(dtype, shape, bytes.into())
}

/// Whether an operator passes its first input's elements on, in some arrangement.
fn passes_on(node: &Node) -> bool {
    const OPS: &[&str] = &[
        "Cast",
        "Identity",
        "Reshape",
        "Flatten",
        "Squeeze",
        "Unsqueeze",
        "Expand",
        "Transpose",
        "Slice",
    ];
    OPS.iter().any(|op| node.is(op))
}

/// The fewest rows of the tables that a value's elements look up; `seen` collects the values that
/// hold its elements.
fn rows_looked_up(body: &Body, input: ValueId, seen: &mut BTreeSet<ValueId>) -> Option<u64> {
    let mut holders = BTreeSet::from([input]);
    let mut fewest: Option<u64> = None;
    for (_, node) in body.nodes() {
        let holds = |i: usize| node.input(i).is_some_and(|id| holders.contains(&id));
        if node.is("Gather") && holds(1) {
            let rows = table(body, node);
            fewest = [fewest, rows].into_iter().flatten().min();
        } else if passes_on(node) && holds(0) {
            holders.extend(node.output(0));
        }
    }
    seen.extend(holders);
    fewest
}

/// The length of the gathered axis of a constant table, plain, cast or quantized.
fn table(body: &Body, gather: &Node) -> Option<u64> {
    let mut data = gather.input(0)?;
    let maker = body.nodes().find(|(_, n)| n.output(0) == Some(data)).map(|(_, n)| n);
    if let Some(maker) = maker.filter(|n| n.is("DequantizeLinear") || n.is("Cast")) {
        data = maker.input(0)?;
    }
    let shape = body.constant(data)?.shape();
    let axis = gather.attr("axis").and_then(AttrValue::as_int).unwrap_or(0);
    let axis = if axis < 0 { axis.checked_add(i64::try_from(shape.len()).ok()?)? } else { axis };
    shape.get(usize::try_from(axis).ok()?).copied()
}

/// The longest sequence that tables of positions allow, 64 at most: a table of positions is one
/// that is looked up by something else than an input, with at least 10 rows of which two may be
/// reserved.
fn longest(body: &Body, from_input: &BTreeSet<ValueId>) -> u64 {
    body.nodes()
        .filter(|(_, n)| n.is("Gather") && n.input(1).is_some_and(|id| !from_input.contains(&id)))
        .filter_map(|(_, n)| {
            let float = body.constant(n.input(0)?)?.dtype().is_float();
            table(body, n).filter(|rows| float && *rows >= 10)
        })
        .map(|rows| rows - 2)
        .fold(64, u64::min)
}
