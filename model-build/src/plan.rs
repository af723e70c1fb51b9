//! Manifest + what the sources hold → the steps to take. Pure: no file is touched here.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use serde_json::Value as Json;

use crate::arch::{self, ArchDef, LowerOptions};
use crate::error::{Error, Result};
use crate::format::{FormatDef, HubKind, SourceFiles};
use crate::manifest::{
    Embed, Manifest, Precision, QuantizationMethod, QuantizationType, Target, Verify,
};
use crate::pass::{self, Params, PassDef};

/// What planning needs to know of a source; found by [`crate::format::resolve`].
#[derive(Clone, Debug)]
pub struct SourceFacts {
    /// Its format.
    pub format: &'static FormatDef,
    /// The files that belong to the model.
    pub files: SourceFiles,
    /// `config.json`, for a checkpoint that has one.
    pub config: Option<Json>,
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
    /// Name of the artifact's main file.
    pub file_name: String,
}

/// One stage of a recipe.
#[derive(Clone, Debug)]
pub enum Stage {
    /// Files → hub.
    Read(&'static FormatDef),
    /// Checkpoint → graph.
    Lower(&'static ArchDef, LowerOptions),
    /// The graph must be of this opset.
    Opset(i64),
    /// Graph → graph.
    Pass(&'static PassDef, Params),
    /// Hub → files.
    Write(&'static FormatDef),
}

impl Stage {
    /// The stage's name, for keys, records and messages.
    pub fn name(&self) -> String {
        match self {
            Self::Read(f) => format!("read {}", f.name),
            Self::Lower(a, _) => format!("lower {}", a.name),
            Self::Opset(_) => "opset".to_owned(),
            Self::Pass(p, _) => p.name.to_owned(),
            Self::Write(f) => format!("write {}", f.name),
        }
    }

    /// Everything that decides the stage's result: revision and parameters, in canonical text.
    pub fn canonical(&self) -> String {
        match self {
            Self::Read(f) | Self::Write(f) => format!("revision {}", f.revision),
            Self::Lower(a, o) => {
                let mut text = format!("revision {}", a.revision);
                if let Some(task) = o.task {
                    let _ = write!(text, ", task {}", task.name());
                }
                if let Some(pooling) = o.pooling {
                    let _ = write!(text, ", pooling {}", pooling.name());
                }
                if let Some(normalize) = o.normalize {
                    let _ = write!(text, ", normalize {normalize}");
                }
                text
            }
            Self::Opset(n) => n.to_string(),
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

impl Recipe {
    /// The name of the format it writes.
    pub fn format(&self) -> &'static str {
        let write = |s: &Stage| if let Stage::Write(f) = s { Some(f.name) } else { None };
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
            let full =
                Target { precision: Precision::Fp32, quantization: None, ..target_like(target) };
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
    let mut stages = vec![Stage::Read(facts.format)];
    if facts.format.read.is_none() {
        return Err(Error::unsupported(format!("{} cannot be read", facts.format.name)));
    }
    match (facts.format.holds, target.format.holds) {
        (HubKind::Checkpoint, HubKind::Graph) => stages.push(lower(target, facts)?),
        (HubKind::Graph, HubKind::Graph) => {
            let given = [
                ("task", target.task.is_some()),
                ("pooling", target.pooling.is_some()),
                ("normalize", target.normalize.is_some()),
            ];
            if let Some((key, _)) = given.iter().find(|(_, given)| *given) {
                return Err(Error::manifest(format!(
                    "`{key}` chooses what is built on top of a checkpoint; this source is a finished {} graph",
                    facts.format.name
                ))
                .hint(format!("remove `{key}`, or name the checkpoint's folder as `source`")));
            }
        }
        (from, HubKind::Checkpoint | HubKind::Gguf) | (from @ HubKind::Gguf, _) => {
            return Err(Error::unsupported(format!(
                "writing {} from a {} is not supported yet",
                target.format.name,
                from.name()
            ))
            .hint("set `format = \"onnx\"`"));
        }
    }
    if let Some(opset) = target.opset_version {
        stages.push(Stage::Opset(opset));
    }
    if !target.shapes.is_empty() {
        let params = target.shapes.iter().map(|(axis, length)| (axis.clone(), length.to_string()));
        stages.push(Stage::Pass(&pass::FIX_SHAPES, Params(params.collect())));
    }
    if let Some(quantization) = &target.quantization {
        let (QuantizationMethod::Dynamic, QuantizationType::Int8) =
            (quantization.method, quantization.dtype);
        let params = Params::new([
            ("activations", quantization.activations.name()),
            ("range", quantization.range.name()),
        ]);
        stages.push(Stage::Pass(&pass::DYNAMIC_INT8, params));
    }
    let half = match target.precision {
        Precision::Fp32 => None,
        Precision::Fp16 => Some("f16"),
        Precision::Bf16 => Some("bf16"),
    };
    if let Some(dtype) = half {
        stages.push(Stage::Pass(&pass::HALF, Params::new([("dtype", dtype)])));
    }
    if target.format.write.is_none() {
        return Err(Error::unsupported(format!(
            "writing {} is not supported yet",
            target.format.name
        )));
    }
    stages.push(Stage::Write(target.format));
    let ending = target.format.extensions.first().copied().unwrap_or("bin");
    Ok(Recipe { source: facts.files.clone(), stages, file_name: format!("model.{ending}") })
}

fn lower(target: &Target, facts: &SourceFacts) -> Result<Stage> {
    let config = facts.config.as_ref().ok_or_else(|| {
        Error::source_missing("the checkpoint has no config.json, so what it computes is unknown")
            .hint("put the model's config.json beside its weights")
    })?;
    let model_type = config.get("model_type").and_then(Json::as_str).ok_or_else(|| {
        Error::malformed("config.json has no `model_type`")
            .file("config.json")
            .hint("add the `model_type` of the Hugging Face model")
    })?;
    let options =
        LowerOptions { task: target.task, pooling: target.pooling, normalize: target.normalize };
    Ok(Stage::Lower(arch::by_model_type(model_type)?, options))
}
