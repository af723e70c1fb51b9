//! A manifest's wishes for the tensors of a GGUF model, carried out.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::budget::{self, BudgetOptions, Budgeted, within_budget};
use super::choose::{Choice, ChooseOptions, Origin, Override, choose};
use super::file_type::{self, FileType};
use super::imatrix::Importance;
use super::report::{Report, report};
use super::tensor_type::TensorType;
use crate::error::{Error, ErrorKind, Result};
use crate::format::gguf;
use crate::fsx;
use crate::hub::{DType, Gguf, Meta};
use crate::quantize;

/// Bumped when the same wishes give other types or key/values.
pub const REVISION: u32 = 1;

/// The version of the block types' layouts: `general.quantization_version`.
const QUANTIZATION_VERSION: u32 = 2;

/// More than the key/values take that are added when a model is written.
const PROVENANCE: u64 = 2048;

/// The block types of a GGUF model's tensors, as a manifest wishes them.
#[derive(Clone, Debug, PartialEq)]
pub struct BlockWeights {
    /// What is aimed at.
    pub goal: Goal,
    /// Whether every tensor gets the one type.
    pub pure: bool,
    /// Types by pattern, in the order of the manifest; the first that matches decides.
    pub overrides: Vec<(String, TensorType)>,
    /// The type of the output matrix.
    pub output: Option<TensorType>,
    /// The type of the token embeddings.
    pub embedding: Option<TensorType>,
    /// The file of the importance matrix.
    pub importance: Option<PathBuf>,
    /// Whether tensors in blocks may be decoded and encoded again.
    pub requantize: bool,
}

impl BlockWeights {
    /// A file type and nothing else.
    pub fn plain(file_type: &'static FileType) -> Self {
        Self {
            goal: Goal::FileType(file_type),
            pure: false,
            overrides: Vec::new(),
            output: None,
            embedding: None,
            importance: None,
            requantize: false,
        }
    }
}

/// What decides the types of tensors.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Goal {
    /// The rules of a file type.
    FileType(&'static FileType),
    /// The bytes that the file may have.
    Size(u64),
    /// The mean number of bits per weight.
    Bpw(f64),
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FileType(file_type) => f.write_str(file_type.name),
            Self::Size(bytes) => write!(f, "size {bytes}"),
            Self::Bpw(bits) => write!(f, "bpw {bits}"),
        }
    }
}

/// Whether the model comes from a checkpoint or was a GGUF file before: llama.cpp's tools treat the
/// tensors that are not quantized differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// A checkpoint that was packed.
    Checkpoint,
    /// A GGUF file.
    Gguf,
}

/// Gives every tensor its type, and says so in the key/values. Nothing is encoded before it is read.
/// What comes back are the rows of what was decided, and a warning for who made the wish.
///
/// # Errors
/// As [`choose`], [`within_budget`] and [`Importance`]; names the tensor.
pub fn apply(
    gguf: &mut Gguf,
    weights: &BlockWeights,
    from: From,
) -> Result<(Report, Option<String>)> {
    let importance = weights.importance.as_deref().map(read_importance).transpose()?;
    let (choices, warning) = choices(gguf, weights, from, importance.as_ref())?;
    let rows = report(gguf, &choices)?;
    let file_type = match weights.goal {
        Goal::FileType(file_type) => Some(file_type),
        Goal::Size(_) | Goal::Bpw(_) => None,
    };
    for choice in &choices {
        let Some((name, tensor)) = gguf.tensors.get_mut(choice.tensor) else {
            return Err(Error::bug("a choice of another model").item(&choice.name));
        };
        let made = match choice.to {
            to if to == tensor.dtype() => continue,
            DType::Block(def) => {
                let columns = Importance::of_tensor(
                    importance.as_ref(),
                    name,
                    tensor.shape(),
                    choice.to,
                    file_type,
                )?;
                quantize::encode(tensor, def, columns)
            }
            to => quantize::convert(tensor, to),
        };
        *tensor = made.map_err(|e| e.item(name.clone()))?.named(name);
    }
    let number = file_type.or_else(|| most_common(&choices, gguf)).map(|t| t.number);
    if let Some(number) = number {
        gguf.set("general.file_type", Meta::U32(number));
    }
    gguf.set("general.quantization_version", Meta::U32(QUANTIZATION_VERSION));
    if let (Some(importance), Some(path)) = (&importance, &weights.importance) {
        let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        for (key, value) in importance.provenance(&name) {
            gguf.set(&key, value);
        }
    }
    Ok((rows, warning))
}

/// The rows of a model whose tensors stay as they are.
///
/// # Errors
/// Sizes overflow.
pub fn unchanged(gguf: &Gguf) -> Result<Report> {
    let choice = |(tensor, (name, t)): (usize, &(String, crate::hub::Tensor))| Choice {
        tensor,
        name: name.clone(),
        to: t.dtype(),
        why: Cow::Borrowed("kept: no type is asked for"),
    };
    report(gguf, &gguf.tensors.iter().enumerate().map(choice).collect::<Vec<_>>())
}

fn choices(
    gguf: &Gguf,
    weights: &BlockWeights,
    from: From,
    importance: Option<&Importance>,
) -> Result<(Vec<Choice>, Option<String>)> {
    let overrides = weights
        .overrides
        .iter()
        .map(|(pattern, to)| Override::new(pattern, to.name()))
        .collect::<Result<Vec<_>>>()?;
    let target = match weights.goal {
        Goal::FileType(file_type) => {
            let origin = match from {
                From::Checkpoint => Origin::of_checkpoint(file_type),
                From::Gguf => Origin::Quantizer,
            };
            let options = ChooseOptions {
                has_importance: importance.is_some(),
                pure: weights.pure,
                output: weights.output,
                embedding: weights.embedding,
                overrides,
                requantize: weights.requantize,
                ..ChooseOptions::new(origin)
            };
            return Ok((choose(gguf, file_type, &options)?, None));
        }
        Goal::Size(bytes) => budget::Target::Size(bytes),
        Goal::Bpw(bits) => budget::Target::BitsPerWeight(bits),
    };
    if weights.pure || weights.output.is_some() || weights.embedding.is_some() {
        return Err(Error::manifest(
            "`pure`, `output-type` and `embedding-type` do not go with a target size",
        )
        .hint("use `overrides` for single tensors: they count towards the size"));
    }
    let ladder = if importance.is_some() { budget::FULL_LADDER } else { budget::FAST_LADDER };
    let (header, alignment) = gguf::overhead(gguf)?;
    let options = BudgetOptions {
        target,
        overhead: header.saturating_add(PROVENANCE),
        alignment,
        origin: if from == From::Checkpoint { Origin::Checkpoint } else { Origin::Quantizer },
        importance,
        ladder: budget::ladder(ladder),
        overrides: &overrides,
    };
    let found = within_budget(gguf, &options)?;
    let warning = found.largest.then(|| unspent(target, &found, gguf));
    Ok((found.choices, warning))
}

/// What is said of a size that no choice of types can fill.
#[allow(clippy::cast_precision_loss)] // rounded for people
fn unspent(target: budget::Target, found: &Budgeted, gguf: &Gguf) -> String {
    let least = match target {
        budget::Target::Size(_) => format!("target-size of {} bytes", found.budget),
        budget::Target::BitsPerWeight(bits) => format!("target-bpw of {bits}"),
    };
    let most = match target {
        budget::Target::Size(_) => format!("{} bytes", found.bytes),
        budget::Target::BitsPerWeight(_) => {
            let elements: u64 = gguf.tensors.iter().map(|(_, t)| t.len()).sum();
            format!("{:.2}", found.bytes as f64 * 8.0 / elements.max(1) as f64)
        }
    };
    format!("a {least} is more than there is to spend on: no tensor gets better above {most}")
}

/// The file type whose base type most bytes of a choice have.
fn most_common(choices: &[Choice], gguf: &Gguf) -> Option<&'static FileType> {
    let mut bytes: BTreeMap<&str, u64> = BTreeMap::new();
    for choice in choices {
        let len = gguf.tensors.get(choice.tensor).map_or(0, |(_, t)| t.byte_len());
        *bytes.entry(choice.to.name()).or_default() += len;
    }
    let (name, _) = bytes.into_iter().max_by_key(|(_, n)| *n)?;
    file_type::ALL.iter().find(|t| t.base.name() == name)
}

/// No importance matrix is longer.
const LONGEST: u64 = 1 << 30;

/// Reads an importance matrix of either form.
///
/// # Errors
/// The file is missing, or no such file.
pub fn read_importance(path: &Path) -> Result<Importance> {
    if fsx::stat(path)?.len > LONGEST {
        return Err(Error::malformed("too long for an importance matrix").file(path));
    }
    let bytes: Bytes = fsx::map(path)?;
    let read = if bytes.starts_with(b"GGUF") {
        gguf::from_bytes(&bytes).and_then(|model| Importance::from_gguf(&model))
    } else {
        Importance::from_legacy(&bytes)
    };
    read.map_err(|e| {
        let advised = !e.hints().is_empty() && e.kind() != ErrorKind::Malformed;
        let error = e.file(path);
        if advised {
            return error;
        }
        error.hint("an importance matrix is a file that `llama-imatrix` wrote, `.gguf` or `.dat`")
    })
}
