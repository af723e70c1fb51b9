//! The walk over the stages of a recipe: files → hubs → laid-out files.

use std::collections::BTreeMap;

use crate::calibrate::Wanted;
use crate::error::{Error, Result};
use crate::format::{self, WriteOptions};
use crate::hub::{Blob, Checkpoint, DType, Graph, Hub, Meta};
use crate::pass::lifetime::{self, Report};
use crate::pass::{self, Observed, Params, PassDef, opset};
use crate::plan::{Recipe, Stage};
use crate::record::{Info, Port};
use crate::{arch, calibrate, op, quantize, recipe, run};

/// The name of the fact that is a warning.
pub(super) const WARNING: &str = "warning";

/// Walks a recipe from the source to laid-out files; nothing is written.
pub fn lay_out(recipe: &Recipe, metadata: &[(String, String)]) -> Result<(Vec<Blob>, Info)> {
    lay_out_with(recipe, metadata, false)
}

/// [`lay_out`], where `conforms` asks how the tokenizer compares with its files.
pub(super) fn lay_out_with(
    recipe: &Recipe,
    metadata: &[(String, String)],
    conforms: bool,
) -> Result<(Vec<Blob>, Info)> {
    let mut walk = Walk::default();
    for stage in &recipe.stages {
        apply(stage, &mut walk, recipe, metadata).map_err(|e| e.step(stage.name()))?;
    }
    let (blobs, mut info) = walk.laid_out.ok_or_else(|| Error::bug("a recipe without a write"))?;
    info.facts.extend(walk.facts);
    info.facts.extend(walk.warnings.into_iter().map(|text| (WARNING.to_owned(), text)));
    if let (true, Some(packed)) = (conforms, &walk.packed) {
        info.facts.extend(conformance(packed)?);
    }
    Ok((blobs, info))
}

/// Where a walk over the stages of a recipe is.
#[derive(Default)]
pub(super) struct Walk {
    pub(super) hub: Option<Hub>,
    pub(super) laid_out: Option<(Vec<Blob>, Info)>,
    /// A checkpoint that was packed, and the key/values it got.
    packed: Option<(Checkpoint, Vec<(String, Meta)>)>,
    /// What was seen of the graph on calibration data.
    observed: Observed,
    /// The types that a recipe chose.
    pub(super) chosen: Option<recipe::Report>,
    /// What who declared the artifact should know.
    pub(super) warnings: Vec<String>,
    /// What passes found out.
    facts: Vec<(String, String)>,
    /// Whether large weights get a file of their own.
    external: bool,
}

/// How the tokenizer of a packed checkpoint compares with the one that its files describe, where
/// there is something to compare and the crate `tokenizers` is built in. It is a fact about an
/// artifact and no part of its bytes.
#[cfg(feature = "tokenizers")]
fn conformance(
    (checkpoint, metadata): &(Checkpoint, Vec<(String, Meta)>),
) -> Result<Option<(String, String)>> {
    let found = crate::tokenizer::conformance::check(checkpoint, metadata)?;
    Ok(found.map(|found| ("tokenizer_conformance".to_owned(), found.to_string())))
}

#[cfg(not(feature = "tokenizers"))]
#[allow(clippy::unnecessary_wraps)] // as with the feature
fn conformance(_: &(Checkpoint, Vec<(String, Meta)>)) -> Result<Option<(String, String)>> {
    Ok(None)
}

pub(super) fn apply(
    stage: &Stage,
    walk: &mut Walk,
    recipe: &Recipe,
    metadata: &[(String, String)],
) -> Result<()> {
    let Walk { hub, laid_out, packed, observed, chosen, warnings, facts, external } = walk;
    match stage {
        Stage::Read(format, state_dict) => {
            *hub = Some(format::read(format, &recipe.source, state_dict.as_deref())?);
        }
        Stage::Pack(arch, options) => {
            let Some(Hub::Checkpoint(checkpoint)) = hub.take() else {
                return Err(Error::bug("only a checkpoint is packed"));
            };
            let gguf = arch::pack(&checkpoint, options).map_err(|e| e.item(arch.name))?;
            let tokenizer = gguf.metadata.iter().filter(|(key, _)| key.starts_with("tokenizer."));
            *packed = Some((checkpoint, tokenizer.cloned().collect()));
            *hub = Some(Hub::Gguf(gguf));
        }
        Stage::Unpack => match hub {
            Some(Hub::Gguf(gguf)) => {
                let main = recipe.source.names.first().map(|name| recipe.source.path(name));
                let unpacked = arch::unpack(gguf).map_err(|e| e.file(main.unwrap_or_default()))?;
                *hub = Some(Hub::Checkpoint(unpacked));
            }
            _ => return Err(Error::bug("only a GGUF model is unpacked")),
        },
        Stage::Quantize(weights, from) => match hub {
            Some(Hub::Gguf(gguf)) => {
                let (rows, warning) = recipe::apply(gguf, weights, *from)?;
                *chosen = Some(rows);
                warnings.extend(warning);
            }
            _ => return Err(Error::bug("only a GGUF model gets block types")),
        },
        Stage::Cast(dtype) => {
            let Some(Hub::Checkpoint(checkpoint)) = hub else {
                return Err(Error::bug("only a checkpoint is cast"));
            };
            for (name, tensor) in &mut checkpoint.tensors {
                if tensor.dtype().is_float() || matches!(tensor.dtype(), DType::Block(_)) {
                    let cast = quantize::convert(tensor, *dtype).map_err(|e| e.item(name))?;
                    *tensor = cast.named(name);
                }
            }
        }
        Stage::Lower(arch, options) => {
            let lower = arch.lower.ok_or_else(|| arch::no_graph(arch))?;
            *hub = Some(Hub::Graph(lower(checkpoint(hub)?, options)?));
        }
        Stage::Opset(want) => opset::convert(graph(hub)?, *want)?,
        Stage::Pass(pass, params) => {
            let before = memory(pass, params, graph(hub)?);
            (pass.run)(graph(hub)?, params, observed)?;
            let after = memory(pass, params, graph(hub)?);
            facts.extend(before.zip(after).map(|(before, after)| activations(&before, &after)));
        }
        Stage::Calibrate(spec, pass, params) => {
            let graph = graph(hub)?;
            op::infer(graph)?;
            let wanted = wanted(graph, pass, params)?;
            *observed = calibrate::observe(graph, &wanted, spec, &recipe.source.root)?;
        }
        Stage::Runtime(level) => {
            let graph = graph(hub)?;
            *graph = run::optimized(graph, *level)?;
        }
        Stage::External => *external = true,
        Stage::Write(format, most) => {
            let write = format.write.ok_or_else(|| Error::bug("a format without a writer"))?;
            let Some(hub) = hub else { return Err(Error::bug("a write before the read")) };
            let options = WriteOptions {
                file_name: recipe.file_name.clone(),
                metadata: metadata.to_vec(),
                split_max_size: *most,
                external: *external,
            };
            *laid_out = Some((write(hub, &options)?, info(hub, format.name)));
        }
    }
    Ok(())
}

/// What a pass needs to see of the graph that it gets.
fn wanted(graph: &Graph, pass: &PassDef, params: &Params) -> Result<Wanted> {
    if pass.name == pass::STATIC_INT8.name {
        Ok(Wanted { ranges: pass::wanted_for_static(graph, params)?, moments: Vec::new() })
    } else {
        Ok(Wanted { ranges: Vec::new(), moments: pass::wanted(graph, params)? })
    }
}

/// The memory that a graph's activations take, where a pass is to lower it; `None` inside where the graph
/// does not take the usual lengths.
#[allow(clippy::option_option)] // not asked for and not known differ
fn memory(pass: &PassDef, params: &Params, graph: &Graph) -> Option<Option<Report>> {
    let lowers = pass.name == pass::OPTIMIZE.name && params.get("memory") == Some("true");
    lowers.then(|| lifetime::peak(graph, &BTreeMap::new()).ok())
}

/// The fact that says what an optimization did to the memory of activations.
fn activations(before: &Option<Report>, after: &Option<Report>) -> (String, String) {
    let one = |report: &Option<Report>| match report {
        None => "unknown".to_owned(),
        Some(Report { peak, unknown: 0, .. }) => format!("{peak} bytes"),
        Some(Report { peak, unknown, .. }) => {
            format!("{peak} bytes and {unknown} values of unknown size")
        }
    };
    let text = format!(
        "peak {} before, {} after, for a batch of 1 and {} elements along other free axes",
        one(before),
        one(after),
        lifetime::DEFAULT_LENGTH
    );
    ("activations".to_owned(), text)
}

fn checkpoint(hub: &Option<Hub>) -> Result<&Checkpoint> {
    match hub {
        Some(Hub::Checkpoint(checkpoint)) => Ok(checkpoint),
        _ => Err(Error::bug("a stage that needs a checkpoint")),
    }
}

fn graph(hub: &mut Option<Hub>) -> Result<&mut Graph> {
    match hub {
        Some(Hub::Graph(graph)) => Ok(graph),
        _ => Err(Error::bug("a pass needs a graph")),
    }
}

fn info(hub: &Hub, format: &str) -> Info {
    let mut facts = vec![("format".to_owned(), format.to_owned())];
    match hub {
        Hub::Checkpoint(c) => {
            let parameters = c.tensors.values().map(crate::hub::Tensor::len).sum();
            Info { parameters, facts, ..Info::default() }
        }
        Hub::Gguf(g) => {
            let parameters = g.tensors.iter().map(|(_, t)| t.len()).sum();
            Info { parameters, facts, ..Info::default() }
        }
        Hub::Graph(g) => {
            facts.push(("opset".to_owned(), g.opset().to_string()));
            facts.extend(g.metadata.iter().cloned());
            let (inputs, outputs) = Port::of(&g.body);
            let parameters = g.body.initializers().map(|(_, _, t)| t.len()).sum();
            Info { inputs, outputs, parameters, facts }
        }
    }
}
