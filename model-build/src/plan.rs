//! Manifest + what the sources hold → the steps to take. Pure: no file is touched here.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use serde_json::Value as Json;

use crate::arch::{self, ArchDef, LowerOptions, PackOptions};
use crate::calibrate;
use crate::error::{Error, Result};
use crate::format::{FormatDef, HubKind, SourceFiles};
use crate::hub::DType;
use crate::manifest::{
    ActivationType, Embed, IntegerType, Manifest, Optimization, Precision, Quantization,
    RuntimeLevel, Target, Verify,
};
use crate::pass::{self, Exclude, Params, PassDef};
use crate::quantize;
use crate::recipe::{self, BlockWeights, file_type};
use crate::run::{self, Level};

/// What planning needs to know of a source; found by [`crate::format::resolve`].
#[derive(Clone, Debug)]
pub struct SourceFacts {
    /// Its format.
    pub format: &'static FormatDef,
    /// The files that belong to the model.
    pub files: SourceFiles,
    /// `config.json`, for a checkpoint that has one.
    pub config: Option<Json>,
    /// The architecture of a GGUF model that a graph is to be made of; found by
    /// [`look::architecture`](crate::look::architecture).
    pub architecture: Option<&'static ArchDef>,
    /// Which of several state dicts the manifest names.
    pub state_dict: Option<String>,
}

/// The sources of a manifest, by the path the manifest gives.
pub type Sources = BTreeMap<PathBuf, SourceFacts>;

/// Everything a build will do, in order.
#[derive(Debug)]
pub struct Plan {
    /// The manifest the plan was made from.
    pub manifest: PathBuf,
    /// One job per selected target, sorted by model and target.
    pub jobs: Vec<Job>,
}

/// One artifact to make.
#[derive(Debug)]
pub struct Job {
    /// The model's name.
    pub model: String,
    /// The target's name; empty for a job that no manifest declares.
    pub target: String,
    /// How the artifact is made.
    pub recipe: Recipe,
    /// How the accuracy is checked, if it is.
    pub verify: Option<VerifyStep>,
    /// How the artifact gets into a binary.
    pub embed: Embed,
}

impl Job {
    /// `model.target`, as `include_model!` and messages call it; `model` without a target.
    pub fn name(&self) -> String {
        match self.target.as_str() {
            "" => self.model.clone(),
            target => format!("{}.{target}", self.model),
        }
    }
}

/// The accuracy check of a job.
#[derive(Debug)]
pub struct VerifyStep {
    /// How the graph is made that the artifact is compared with: the same source at full precision.
    pub reference: Recipe,
    /// Bounds and conditions.
    pub spec: Verify,
}

/// A walk from a source through the hubs to files.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// The source's files.
    pub source: SourceFiles,
    /// The stages, in order: one read, any changes, one write.
    pub stages: Vec<Stage>,
    /// Other files that decide the bytes, each with what it is called in keys.
    pub others: Vec<(String, PathBuf)>,
    /// Name of the artifact's main file.
    pub file_name: String,
}

/// One stage of a recipe.
#[derive(Clone, Debug)]
pub enum Stage {
    /// Files → hub. Of a file with several state dicts the named one is read.
    Read(&'static FormatDef, Option<String>),
    /// Checkpoint → GGUF model.
    Pack(&'static ArchDef, PackOptions),
    /// GGUF model → checkpoint.
    Unpack,
    /// Tensors of a GGUF model get the types of a recipe.
    Quantize(BlockWeights, recipe::From),
    /// Tensors of a checkpoint get this floating-point type, block types included.
    Cast(DType),
    /// Checkpoint → graph.
    Lower(&'static ArchDef, LowerOptions),
    /// The graph becomes one of this version of the standard operator set.
    Opset(i64),
    /// Graph → graph.
    Pass(&'static PassDef, Params),
    /// The graph runs on data; the pass after it, which is this one, gets what was seen.
    Calibrate(calibrate::Spec, &'static PassDef, Params),
    /// Graph → graph, by ONNX Runtime, whose version decides what comes out.
    Runtime(Level),
    /// Large weights of the graph get a file of their own, each at the start of a page.
    External,
    /// Hub → files, of at most so many bytes of tensors each.
    Write(&'static FormatDef, Option<u64>),
}

impl Stage {
    /// The stage's name, for keys, records and messages.
    pub fn name(&self) -> String {
        match self {
            Self::Read(f, _) => format!("read {}", f.name),
            Self::Pack(a, _) => format!("pack {}", a.name),
            Self::Unpack => "unpack".to_owned(),
            Self::Cast(dtype) => format!("cast {dtype}"),
            Self::Quantize(weights, _) => format!("quantize {}", weights.goal),
            Self::Lower(a, _) => format!("lower {}", a.name),
            Self::Opset(_) => "opset".to_owned(),
            Self::Pass(p, _) => p.name.to_owned(),
            Self::Calibrate(..) => "calibrate".to_owned(),
            Self::Runtime(level) => format!("onnxruntime {}", level.name()),
            Self::External => "external weights".to_owned(),
            Self::Write(f, _) => format!("write {}", f.name),
        }
    }

    /// Everything that decides the stage's result: revision and parameters, in canonical text.
    pub fn canonical(&self) -> String {
        match self {
            Self::Read(f, state_dict) => {
                let mut text = format!("revision {}", f.revision);
                if let Some(name) = state_dict {
                    let _ = write!(text, ", state-dict {name}");
                }
                text
            }
            Self::Write(f, most) => {
                let mut text = format!("revision {}", f.revision);
                if let Some(most) = most {
                    let _ = write!(text, ", split-max-size {most}");
                }
                text
            }
            Self::Pack(a, o) => {
                let revision = a.gguf.map_or(0, |gguf| gguf.revision);
                let mut text = format!("revision {revision}");
                if let Some(pre) = &o.pre_tokenizer {
                    let _ = write!(text, ", pre-tokenizer {pre}");
                }
                text
            }
            Self::Unpack => format!("revision {}", arch::UNPACK_REVISION),
            Self::Cast(_) => format!("revision {}", quantize::CONVERT_REVISION),
            Self::Quantize(weights, from) => canonical_weights(weights, *from),
            Self::Lower(a, o) => {
                let mut text = format!("revision {}", a.revision);
                if let Some(task) = o.task {
                    let _ = write!(text, ", task {}", task.name());
                }
                if let Some(part) = o.part {
                    let _ = write!(text, ", part {}", part.name());
                }
                if let Some(pooling) = o.pooling {
                    let _ = write!(text, ", pooling {}", pooling.name());
                }
                if let Some(normalize) = o.normalize {
                    let _ = write!(text, ", normalize {normalize}");
                }
                text
            }
            Self::Opset(n) => format!("revision {}, version {n}", pass::opset::REVISION),
            Self::Calibrate(spec, ..) => spec.canonical(),
            Self::Runtime(_) => format!("revision {}", run::OPTIMIZED_REVISION),
            Self::External => "page 4096".to_owned(),
            Self::Pass(p, params) => {
                let mut text = format!("revision {}", p.revision);
                for (name, value) in &params.0 {
                    let _ = write!(text, ", {name} {value}");
                }
                text
            }
        }
    }
}

/// Everything that decides which types tensors get and what bytes they are: the recipe's and the
/// encoders' revisions too. Importances count by the digest of their file.
fn canonical_weights(weights: &BlockWeights, from: recipe::From) -> String {
    let BlockWeights { goal, pure, overrides, output, embedding, importance: _, requantize } =
        weights;
    let mut text = format!("revision {}", recipe::REVISION);
    let _ = write!(text, ", encoders {}", quantize::revisions());
    let _ = write!(text, ", goal {goal}");
    let _ = write!(text, ", from {from:?}");
    for (name, flag) in [("pure", pure), ("requantize", requantize)] {
        if *flag {
            let _ = write!(text, ", {name}");
        }
    }
    for (pattern, dtype) in overrides {
        let _ = write!(text, ", override {pattern:?} {}", dtype.name());
    }
    for (name, dtype) in [("output", output), ("embedding", embedding)] {
        if let Some(dtype) = dtype {
            let _ = write!(text, ", {name} {}", dtype.name());
        }
    }
    text
}

impl Recipe {
    /// The name of the format it writes.
    pub fn format(&self) -> &'static str {
        let write = |s: &Stage| if let Stage::Write(f, _) = s { Some(f.name) } else { None };
        self.stages.iter().find_map(write).unwrap_or_default()
    }
    /// The stages in one line: `read safetensors → lower bert → write onnx`.
    pub fn summary(&self) -> String {
        self.stages.iter().map(Stage::name).collect::<Vec<_>>().join(" → ")
    }
}

/// Makes the plan for the targets of a manifest. `sources` holds the facts of each model's source.
/// An error names the model and target whose route does not exist and what would make it exist.
pub fn plan(manifest: &Manifest, sources: &Sources) -> Result<Plan> {
    let mut jobs = Vec::new();
    for model in &manifest.models {
        for target in &model.targets {
            let facts = sources
                .get(&model.source)
                .ok_or_else(|| Error::bug("a source was not looked at").file(&model.source))?;
            let job = job(&model.name, target, facts)
                .map_err(|e| e.target(&model.name, &target.name).file(&model.source))?;
            jobs.push(job);
        }
    }
    Ok(Plan { manifest: manifest.path.clone(), jobs })
}

/// The job of one target.
pub fn job(model: &str, target: &Target, facts: &SourceFacts) -> Result<Job> {
    let recipe = recipe(target, facts)?;
    let verify = match &target.verify {
        None => None,
        Some(spec) => {
            let full = Target {
                precision: None,
                quantization: None,
                calibration: None,
                optimization: None,
                ..target_like(target)
            };
            Some(VerifyStep { reference: self::recipe(&full, facts)?, spec: spec.clone() })
        }
    };
    Ok(Job {
        model: model.to_owned(),
        target: target.name.clone(),
        recipe,
        verify,
        embed: target.embed,
    })
}

fn target_like(target: &Target) -> Target {
    Target { verify: None, when: None, ..target.clone() }
}

fn recipe(target: &Target, facts: &SourceFacts) -> Result<Recipe> {
    if facts.format.read.is_none() {
        return Err(Error::unsupported(format!("{} cannot be read", facts.format.name)));
    }
    if target.format.write.is_none() {
        return Err(Error::unsupported(format!(
            "writing {} is not supported yet",
            target.format.name
        )));
    }
    check_keys(target, facts)?;
    let mut stages = vec![Stage::Read(facts.format, facts.state_dict.clone())];
    let mut others = Vec::new();
    let (from, to) = (facts.format.holds, target.format.holds);
    match (from, to) {
        (HubKind::Checkpoint | HubKind::Gguf, HubKind::Graph) => {
            if from == HubKind::Gguf {
                // Blocks become numbers again.
                stages.extend([Stage::Unpack, Stage::Cast(DType::F32)]);
            }
            stages.push(lower(target, facts)?);
            graph_stages(target, &mut stages);
        }
        (HubKind::Graph, HubKind::Graph) => graph_stages(target, &mut stages),
        (HubKind::Checkpoint | HubKind::Gguf, HubKind::Gguf) => {
            if from == HubKind::Checkpoint {
                stages.push(pack(target, facts)?);
            }
            if let Some(quantize) = quantize(target)? {
                if let Some(path) = &quantize.importance {
                    others.push(("importance".to_owned(), path.clone()));
                }
                let checkpoint = from == HubKind::Checkpoint;
                let from = if checkpoint { recipe::From::Checkpoint } else { recipe::From::Gguf };
                stages.push(Stage::Quantize(quantize, from));
            }
        }
        (HubKind::Checkpoint | HubKind::Gguf, HubKind::Checkpoint) => {
            if from == HubKind::Gguf {
                stages.push(Stage::Unpack);
            }
            if let Some(precision) = target.precision {
                stages.push(Stage::Cast(match precision {
                    Precision::Fp32 => DType::F32,
                    Precision::Fp16 => DType::F16,
                    Precision::Bf16 => DType::BF16,
                }));
            }
        }
        (HubKind::Graph, HubKind::Checkpoint | HubKind::Gguf) => {
            return Err(Error::unsupported(format!(
                "no {} is made of a finished graph: it no longer says which tensor is which",
                target.format.name
            ))
            .hint("name the checkpoint that the graph was exported from as `source`, or set `format = \"onnx\"`"));
        }
    }
    stages.push(Stage::Write(target.format, target.split_max_size));
    let ending = target.format.extensions.first().copied().unwrap_or("bin");
    let file_name = match target.format.name {
        // The name that PyTorch's users look for in a folder.
        "pytorch" => "pytorch_model.bin".to_owned(),
        _ => format!("model.{ending}"),
    };
    Ok(Recipe { source: facts.files.clone(), stages, others, file_name })
}

/// The stages between a graph that is there and its file.
fn graph_stages(target: &Target, stages: &mut Vec<Stage>) {
    if let Some(opset) = target.opset_version {
        stages.push(Stage::Opset(opset));
    }
    if !target.shapes.is_empty() {
        let params = target.shapes.iter().map(|(axis, length)| (axis.clone(), length.to_string()));
        stages.push(Stage::Pass(&pass::FIX_SHAPES, Params(params.collect())));
    }
    if let Some(optimization) = &target.optimization {
        let params = optimizer(optimization, target);
        if ["graph", "fusion", "memory"].iter().any(|set| params.get(set).is_some()) {
            stages.push(Stage::Pass(&pass::OPTIMIZE, params));
        }
    }
    if let Some(quantization) = &target.quantization {
        let (pass, params) = quantize_graph(quantization);
        if let Some(calibration) = &target.calibration {
            stages.push(Stage::Calibrate(
                calibration.spec(is_wide(quantization)),
                pass,
                params.clone(),
            ));
        }
        stages.push(Stage::Pass(pass, params));
    }
    let half = match target.precision {
        None | Some(Precision::Fp32) => None,
        Some(Precision::Fp16) => Some("f16"),
        Some(Precision::Bf16) => Some("bf16"),
    };
    if let Some(dtype) = half {
        stages.push(Stage::Pass(&pass::HALF, Params::new([("dtype", dtype)])));
    }
    if let Some(level) = target.optimization.as_ref().and_then(|o| o.onnxruntime) {
        stages.push(Stage::Runtime(match level {
            RuntimeLevel::Basic => Level::Basic,
            RuntimeLevel::Extended => Level::Extended,
            RuntimeLevel::All => Level::All,
        }));
    }
    if target.optimization.as_ref().is_some_and(|o| o.memory_optimization) {
        stages.push(Stage::External);
    }
}

/// The parameters of the optimizer: the sets that are switched on.
fn optimizer(optimization: &Optimization, target: &Target) -> Params {
    let Optimization { graph_optimization, layer_fusion, memory_optimization, onnxruntime: _ } =
        optimization; // `onnxruntime` is a stage of its own
    let mut params = Params::default();
    let mut set = |name: &str, value: &str| params.0.insert(name.to_owned(), value.to_owned());
    if *graph_optimization {
        set("graph", "true");
    }
    if let Some(fusion) = layer_fusion {
        set("fusion", fusion.name());
    }
    if *memory_optimization {
        set("memory", "true");
    }
    if target.quantization.is_some() {
        set("open", "true");
    }
    params
}

/// Whether activations get 16 bits.
fn is_wide(quantization: &Quantization) -> bool {
    let scaled = quantization.scaled.as_ref();
    scaled.is_some_and(|s| matches!(s.activation, ActivationType::Int16 | ActivationType::Uint16))
}

/// The pass that quantizes a graph.
fn quantize_graph(quantization: &Quantization) -> (&'static PassDef, Params) {
    let (pass, mut params) = match (&quantization.weight_only, &quantization.scaled) {
        (Some(how), _) => (&pass::WEIGHT_ONLY, how.params(quantization.integer)),
        (None, Some(how)) => (&pass::STATIC_INT8, how.params(quantization.integer)),
        (None, None) => {
            let mut params = Params::new([
                ("activations", quantization.activations.unwrap_or_default().name()),
                ("range", quantization.range.unwrap_or_default().name()),
            ]);
            let unsigned = quantization.integer == IntegerType::Uint8;
            params.set("type", unsigned.then(|| "uint8".to_owned()));
            (&pass::DYNAMIC_INT8, params)
        }
    };
    params.set(pass::EXCLUDE, Exclude::param(&quantization.exclude));
    let overrides = quantization.overrides.iter();
    let overrides = overrides.map(|(pattern, to)| (to.map_or("fp32", |to| to.name()), pattern));
    params.set(pass::OVERRIDES, pass::overrides_param(overrides));
    (pass, params)
}

/// Refuses keys that have no effect on the way from the source to the target. What depends on the
/// target's format alone is the manifest's to refuse.
fn check_keys(target: &Target, facts: &SourceFacts) -> Result<()> {
    let (from, to) = (facts.format.holds, target.format.holds);
    let blocks = target.quantization.as_ref().map(|q| q.weights.is_some());
    if blocks.is_some_and(|blocks| to == HubKind::Checkpoint || blocks != (to == HubKind::Gguf)) {
        return Err(Error::bug("a quantization that the manifest should have refused"));
    }
    let lowers = from != HubKind::Graph && to == HubKind::Graph;
    let packs = from == HubKind::Checkpoint && to == HubKind::Gguf;
    let built = "it chooses what is built on top of a checkpoint";
    let packed = "it is for GGUF files that are made of a Hugging Face checkpoint";
    let given: &[(&str, bool, bool, &str)] = &[
        ("task", target.task.is_some(), lowers, built),
        ("part", target.part.is_some(), lowers, built),
        ("pooling", target.pooling.is_some(), lowers, built),
        ("normalize", target.normalize.is_some(), lowers, built),
        ("pre-tokenizer", target.pre_tokenizer.is_some(), packs, packed),
    ];
    match given.iter().find(|(_, given, fits, _)| *given && !*fits) {
        None => Ok(()),
        Some((key, _, _, why)) => Err(Error::manifest(format!(
            "`{key}` has no place between a {} and {}: {why}",
            from.name(),
            target.format.name
        ))
        .hint(format!("remove `{key}`"))),
    }
}

/// How the tensors of a GGUF model get their types; `None` where they keep those they have.
fn quantize(target: &Target) -> Result<Option<BlockWeights>> {
    if let Some(quantization) = &target.quantization {
        return Ok(quantization.weights.clone());
    }
    let name = match target.precision {
        None => return Ok(None),
        Some(Precision::Fp32) => "f32",
        Some(Precision::Fp16) => "f16",
        Some(Precision::Bf16) => "bf16",
    };
    Ok(Some(BlockWeights::plain(file_type::by_name(name)?)))
}

fn model_type(facts: &SourceFacts) -> Result<&str> {
    let config = facts.config.as_ref().ok_or_else(|| {
        Error::source_missing("the checkpoint has no config.json, so what it computes is unknown")
            .hint("put the model's config.json beside its weights, and name their folder as the source")
    })?;
    config.get("model_type").and_then(Json::as_str).ok_or_else(|| {
        Error::malformed("config.json has no `model_type`")
            .file("config.json")
            .hint("add the `model_type` of the Hugging Face model")
    })
}

fn pack(target: &Target, facts: &SourceFacts) -> Result<Stage> {
    let def = arch::by_model_type(model_type(facts)?)?;
    if def.gguf.is_none() {
        return Err(arch::no_gguf(def));
    }
    let options = PackOptions { pre_tokenizer: target.pre_tokenizer.clone() };
    Ok(Stage::Pack(def, options))
}

fn lower(target: &Target, facts: &SourceFacts) -> Result<Stage> {
    let options = LowerOptions {
        task: target.task,
        part: target.part,
        pooling: target.pooling,
        normalize: target.normalize,
    };
    let def = match (facts.format.holds, facts.architecture) {
        (HubKind::Gguf, Some(def)) => def,
        (HubKind::Gguf, None) => return Err(Error::bug("a GGUF model was not looked into")),
        _ => arch::by_model_type(model_type(facts)?)?,
    };
    if def.lower.is_none() {
        return Err(arch::no_graph(def));
    }
    Ok(Stage::Lower(def, options))
}
