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
//! * An axis that is a sum, as `past_sequence + sequence`, is as long as its parts together.
//!
//! Random inputs show that an artifact computes what its reference computes. How a model does on
//! real data only a file of real inputs shows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::inputs::Port;
use super::random::Random;
use crate::error::{Error, Result};
use crate::hub::{AttrValue, Body, DType, Dim, Graph, Node, Tensor, ValueId};
use crate::op::len::Len;
use crate::pass;
use crate::run::converted;

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
    /// The least and the greatest length of an axis, by its name.
    bounds: BTreeMap<String, (u64, u64)>,
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
        // A cache and what is added to it share a table of positions.
        let cached = |id| {
            let dims = body.tensor_type(id).and_then(|(_, dims)| dims).unwrap_or_default();
            dims.iter().any(|dim| parts(dim).len() > 1)
        };
        let cached = body.outputs().iter().any(|id| cached(*id));
        let longest = longest(body, &from_input) / if cached { 2 } else { 1 };
        let mut recipe = Self {
            samples,
            seed,
            fills,
            batches: BTreeSet::new(),
            sides: BTreeSet::new(),
            longest,
            bounds: pass::bounds(graph),
        };
        for port in ports {
            for (axis, dim) in port.dims.iter().enumerate() {
                let Dim::Symbol(symbol) = dim else { continue };
                if parts(dim).len() > 1 {
                    continue;
                }
                let sequence = symbol.contains("seq") || symbol.contains("len");
                if axis == 0 && !sequence {
                    recipe.batches.insert(symbol.to_string());
                } else if !sequence && axis >= 2 && port.dims.len() == 4 && port.dtype.is_float() {
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
        let within = |symbol: &str, length: u64| match self.bounds.get(symbol) {
            Some((least, most)) => length.min(*most).max(*least),
            None => length,
        };
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
                    Dim::Symbol(symbol) => sum_of_parts(symbol, &|name| within(name, length(name))),
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

/// The names in an axis.
fn parts(dim: &Dim) -> Vec<Arc<str>> {
    Len::from_dim(dim).names()
}

/// The length of an axis from those of the names in it; a name of its own where they give none.
fn sum_of_parts(symbol: &str, length: &dyn Fn(&str) -> u64) -> u64 {
    let sum = Len::symbol(symbol).substitute(&|name| Some(length(name)));
    sum.as_fixed().and_then(|n| u64::try_from(n).ok()).unwrap_or_else(|| length(symbol))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::Type;
    use crate::verify::inputs::{InputSpec, Inputs};

    /// An encoder's inputs: ids into 50 words, types into 3, positions up to 18 looked up by what
    /// is not an input.
    fn encoder() -> Graph {
        let mut g = Graph::new("g", 8, 17);
        for name in ["input_ids", "attention_mask", "token_type_ids"] {
            let id = g.body.intern(name).unwrap();
            let dims = [Dim::symbol("batch_size"), Dim::symbol("sequence_length")];
            g.body.value_mut(id).ty = Some(Type::tensor(DType::I64, dims));
            g.body.add_input(id);
        }
        let find = |g: &Graph, name: &str| g.body.find(name).unwrap();
        let (ids, types) = (find(&g, "input_ids"), find(&g, "token_type_ids"));
        let table = |rows: u64| {
            let values = vec![0.0; usize::try_from(rows * 2).unwrap()];
            Tensor::from_f32(vec![rows, 2], &values).unwrap()
        };
        let mut e = g.edit();
        let words = e.constant("words", table(50)).unwrap();
        let kinds = e.constant("kinds", table(3)).unwrap();
        let places = e.constant("places", table(18)).unwrap();
        let number = [("to", AttrValue::Int(6))];
        let narrow = e.op("Cast", "narrow", &[ids], &number).unwrap();
        let a = e.op("Gather", "a", &[words, narrow], &[]).unwrap();
        let b = e.op("Gather", "b", &[kinds, types], &[]).unwrap();
        let counted = e.op("Shape", "counted", &[ids], &[]).unwrap();
        let c = e.op("Gather", "c", &[places, counted], &[]).unwrap();
        e.op("Sum", "sum", &[a, b, c], &[]).unwrap();
        e.finish().unwrap();
        g
    }

    fn samples(g: &Graph, samples: u32, seed: u64) -> Vec<BTreeMap<String, Tensor>> {
        let inputs = Inputs::prepare(&InputSpec::Synthetic { samples, seed }, None, g, g).unwrap();
        (0..samples).map(|i| inputs.sample(i).unwrap().reference).collect()
    }

    #[test]
    fn ids_stay_below_their_tables_and_sequences_within_the_positions() {
        let mut lengths = BTreeSet::new();
        let mut words = BTreeSet::new();
        let mut padded = 0;
        for sample in samples(&encoder(), 40, 3) {
            let shape = sample["input_ids"].shape().to_vec();
            assert_eq!(shape[0], 2);
            assert!((8..=16).contains(&shape[1]), "{shape:?}");
            lengths.insert(shape[1]);
            for name in ["attention_mask", "token_type_ids"] {
                assert_eq!(sample[name].shape(), shape);
            }
            let all = |name: &str| sample[name].to_i64().unwrap().into_owned();
            assert!(all("input_ids").iter().all(|id| (0..50).contains(id)));
            assert!(all("token_type_ids").iter().all(|id| (0..3).contains(id)));
            words.extend(all("input_ids"));
            let mask = all("attention_mask");
            let (first, second) = mask.split_at(mask.len() / 2);
            assert!(first.iter().all(|m| *m == 1));
            assert_eq!(second[0], 1, "no row is masked away");
            assert!(second.is_sorted_by(|a, b| a >= b), "padding is at the end");
            padded += usize::from(second.contains(&0));
        }
        assert!(lengths.len() > 5 && words.len() > 45 && padded > 20);
    }

    #[test]
    fn a_seed_means_the_numbers_of_the_second_implementation() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/verify/random.json");
        let text = crate::fsx::read_text(std::path::Path::new(path), 1 << 20).unwrap();
        let want: BTreeMap<String, Vec<f64>> = serde_json::from_str(&text).unwrap();
        let ids = samples(&encoder(), 1, 7)[0]["input_ids"].to_i64().unwrap().into_owned();
        let ids: Vec<f64> =
            ids[..16].iter().map(|id| f64::from(i32::try_from(*id).unwrap())).collect();
        assert_eq!(ids, want["ids_below_50"]);
        let pixels = samples(&images(), 1, 7)[0]["pixel_values"].to_f32().unwrap();
        let pixels: Vec<f64> = pixels[..16].iter().map(|v| f64::from(*v)).collect();
        assert_eq!(pixels, want["normal"]);
    }

    fn images() -> Graph {
        let mut g = Graph::new("g", 8, 17);
        let id = g.body.intern("pixel_values").unwrap();
        let dims = [Dim::symbol("batch"), Dim::Fixed(3), Dim::Fixed(8), Dim::symbol("width")];
        g.body.value_mut(id).ty = Some(Type::tensor(DType::F32, dims));
        g.body.add_input(id);
        g
    }

    #[test]
    fn images_are_normal_and_of_the_fixed_size() {
        let sample = &samples(&images(), 1, 0)[0]["pixel_values"];
        assert_eq!(sample.shape(), [2, 3, 8, 64]);
        let values = sample.to_f32().unwrap();
        let mean = values.iter().sum::<f32>() / 3072.0;
        assert!(mean.abs() < 0.1 && values.iter().any(|v| v.abs() > 2.0));
    }

    #[test]
    fn no_samples_is_a_manifest_error() {
        let g = encoder();
        let spec = InputSpec::Synthetic { samples: 0, seed: 0 };
        let e = Inputs::prepare(&spec, None, &g, &g).map(|_| ()).unwrap_err();
        assert_eq!(e.kind(), crate::ErrorKind::Manifest);
    }
}
