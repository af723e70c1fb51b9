//! Which type each tensor of a model gets under a file type: llama-quantize's decision, and that of
//! llama.cpp's converter.

use std::borrow::Cow;

use regex_lite::{Regex, RegexBuilder};

use super::facts::{Facts, PER_LAYER_EMBEDDING, Role, visit_order};
use super::file_type::{FileType, Id};
use super::keep;
use super::rules::{Scene, Visited, fallback};
use super::tensor_type::TensorType;
use crate::error::{Error, Result};
use crate::hub::{DType, Gguf, Tensor};

/// Whose decision is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// `convert_hf_to_gguf.py --outtype`: every weight of two dimensions or more gets the type, or
    /// f16 where rows are no whole number of blocks. It knows f32, f16, bf16, q8_0, tq1_0, tq2_0.
    Converter,
    /// `llama-quantize` on the file as it is: what is not quantized keeps the type it has.
    Quantizer,
    /// The converter to f32, and then the quantizer: what is not quantized is f32.
    Checkpoint,
}

impl Origin {
    /// What people run to get a file type from a checkpoint: the converter alone for the types
    /// without a mixture that it can write, else the converter and then the quantizer.
    pub const fn of_checkpoint(file_type: &FileType) -> Self {
        match file_type.id {
            Id::F32 | Id::F16 | Id::Bf16 | Id::Q8_0 => Self::Converter,
            _ => Self::Checkpoint,
        }
    }
}

/// A type for the tensors whose name a pattern finds.
#[derive(Clone, Debug)]
pub struct Override {
    pattern: Regex,
    to: TensorType,
}

impl Override {
    /// From a pattern (anywhere in the name, in any case) and a type's name.
    ///
    /// # Errors
    /// The pattern is no regular expression of ours, or there is no such type.
    pub fn new(pattern: &str, to: &str) -> Result<Self> {
        let to = TensorType::by_name(to)?;
        let regex = RegexBuilder::new(pattern).case_insensitive(true).build().map_err(|e| {
            Error::manifest(format!("`{pattern}` is no regular expression: {e}"))
                .hint("look-around and back-references are not supported; name the tensors by several patterns, the first that matches decides")
        })?;
        Ok(Self { pattern: regex, to })
    }

    /// From llama-quantize's `pattern=type`.
    ///
    /// # Errors
    /// As [`Override::new`], and where there is no `=`.
    pub fn parse(text: &str) -> Result<Self> {
        match text.rsplit_once('=') {
            Some((pattern, to)) if !pattern.is_empty() => Self::new(pattern, to),
            _ => Err(Error::manifest(format!("`{text}` is no override"))
                .hint("write a pattern, `=` and a tensor type: `attn_v=q8_0`")),
        }
    }

    /// The type, where the pattern finds the name.
    pub fn of(&self, name: &str) -> Option<TensorType> {
        self.pattern.is_match(name).then_some(self.to)
    }
}

/// What changes a decision besides the file type.
#[derive(Clone, Debug)]
pub struct ChooseOptions {
    /// Whose decision is followed.
    pub origin: Origin,
    /// Whether there is an importance matrix: some rules give sensitive tensors fewer bits then.
    pub has_importance: bool,
    /// The file type's base type throughout, without a mixture.
    pub pure: bool,
    /// The type of the output layer, and of token embeddings that stand in for one.
    pub output: Option<TensorType>,
    /// The type of the token embeddings.
    pub embedding: Option<TensorType>,
    /// Whether the output layer is not quantized.
    pub keep_output: bool,
    /// Types by name; the first that matches decides.
    pub overrides: Vec<Override>,
    /// Whether tensors that are in blocks already may be decoded and quantized again.
    pub requantize: bool,
}

impl ChooseOptions {
    /// None of the options.
    pub const fn new(origin: Origin) -> Self {
        Self {
            origin,
            has_importance: false,
            pure: false,
            output: None,
            embedding: None,
            keep_output: false,
            overrides: Vec::new(),
            requantize: false,
        }
    }
}

/// What a tensor becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    /// It is copied as it is.
    Kept(DType),
    /// It is written as that type.
    Made(TensorType),
}

impl To {
    /// The lower-case name of the type.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kept(dtype) => dtype.name(),
            Self::Made(to) => to.name(),
        }
    }
    /// The element type.
    ///
    /// # Errors
    /// There is no encoder of that type.
    pub fn dtype(self) -> Result<DType> {
        match self {
            Self::Kept(dtype) => Ok(dtype),
            Self::Made(to) => to.dtype(),
        }
    }
}

/// A decision, whether or not its type can be encoded here.
#[derive(Clone, Debug)]
pub struct Decision {
    /// What the tensor becomes.
    pub to: To,
    /// Why, in a few words.
    pub why: Cow<'static, str>,
}

/// A decision that can be carried out.
#[derive(Clone, Debug)]
pub struct Choice {
    /// The index of the tensor in the model.
    pub tensor: usize,
    /// Its name.
    pub name: String,
    /// The type it gets.
    pub to: DType,
    /// Why, in a few words.
    pub why: Cow<'static, str>,
}

/// What each tensor of the model becomes, in the model's order.
///
/// # Errors
/// An option contradicts the file type or names no tensor, rows fit no type, the model lacks
/// metadata that the rules need, or no encoder of a type is there.
pub fn choose(gguf: &Gguf, file_type: &FileType, options: &ChooseOptions) -> Result<Vec<Choice>> {
    let decisions = decide(gguf, file_type, options)?;
    let named = gguf.tensors.iter().zip(decisions).enumerate();
    named
        .map(|(index, ((name, _), decision))| {
            let to = decision.to.dtype().map_err(|e| e.item(name))?;
            Ok(Choice { tensor: index, name: name.clone(), to, why: decision.why })
        })
        .collect()
}

/// As [`choose`], also with types that no encoder is there for.
///
/// # Errors
/// As [`choose`].
pub fn decide(gguf: &Gguf, file_type: &FileType, options: &ChooseOptions) -> Result<Vec<Decision>> {
    check(gguf, file_type, options)?;
    let decisions = match options.origin {
        Origin::Converter => {
            gguf.tensors.iter().map(|(n, t)| converted(n, t, file_type.base)).collect()
        }
        Origin::Quantizer | Origin::Checkpoint => quantized(gguf, file_type, options)?,
    };
    for ((name, tensor), decision) in gguf.tensors.iter().zip(&decisions) {
        check_source(tensor, decision.to, options).map_err(|e| e.item(name))?;
    }
    Ok(decisions)
}

/// Refuses options that would have no effect.
fn check(gguf: &Gguf, file_type: &FileType, options: &ChooseOptions) -> Result<()> {
    let name = file_type.name;
    let special = options.output.is_some() || options.embedding.is_some();
    if options.origin == Origin::Converter {
        let known =
            matches!(file_type.id, Id::F32 | Id::F16 | Id::Bf16 | Id::Q8_0 | Id::Tq1_0 | Id::Tq2_0);
        if !known {
            return Err(Error::manifest(format!("llama.cpp's converter does not write {name}"))
                .hint("make it as the quantizer does"));
        }
        if special || options.keep_output || !options.overrides.is_empty() {
            return Err(Error::manifest(format!(
                "types of single tensors have no effect where {name} is made as the converter does"
            ))
            .hint("make it as the quantizer does"));
        }
    }
    if !options.overrides.is_empty() && !file_type.base.is_block() {
        return Err(Error::manifest(format!("overrides have no effect on file type {name}"))
            .hint("choose a quantized file type, with `pure` to have the rest in one type"));
    }
    for rule in &options.overrides {
        if !gguf.tensors.iter().any(|(tensor, _)| rule.pattern.is_match(tensor)) {
            return Err(Error::manifest(format!(
                "override `{}` matches no tensor",
                rule.pattern.as_str()
            ))
            .hint("`--dry-run` lists the tensors' names"));
        }
    }
    Ok(())
}

/// Refuses what the source's type does not allow.
fn check_source(tensor: &Tensor, to: To, options: &ChooseOptions) -> Result<()> {
    let To::Made(made) = to else { return Ok(()) };
    match tensor.dtype() {
        DType::Block(from) if from.name == made.name() => Ok(()),
        DType::Block(from) if !options.requantize => Err(Error::unsupported(format!(
            "the tensor is {} already, and would lose twice as {}",
            from.name,
            made.name()
        ))
        .hint("start from the original weights, or set `requantize = true` in `quantization`")),
        DType::Block(_) => Ok(()),
        from if from.is_float() => Ok(()),
        from => Err(Error::unsupported(format!("{from} elements cannot become {}", made.name()))),
    }
}

/// What the converter makes of a tensor.
fn converted(name: &str, tensor: &Tensor, base: TensorType) -> Decision {
    let from = tensor.dtype();
    if !from.is_float() {
        return Decision { to: To::Kept(from), why: "kept: no floats".into() };
    }
    let (to, why) = keep::converted(name, tensor.shape(), base);
    Decision { to: To::Made(to), why: why.into() }
}

/// What the quantizer leaves of a tensor that it does not quantize.
pub(super) fn kept(name: &str, tensor: &Tensor, origin: Origin) -> To {
    match origin {
        Origin::Converter | Origin::Checkpoint => converted(name, tensor, TensorType::F32).to,
        Origin::Quantizer => To::Kept(tensor.dtype()),
    }
}

fn quantized(gguf: &Gguf, file_type: &FileType, options: &ChooseOptions) -> Result<Vec<Decision>> {
    let facts = Facts::of(gguf)?;
    let mut visited = Visited::default();
    let mut decisions: Vec<Option<Decision>> = vec![None; gguf.tensors.len()];
    for index in visit_order(gguf.tensors.iter().map(|(name, _)| name.as_str())) {
        let (name, tensor) = &gguf.tensors[index];
        let quantizes = match keep::quantizes(name, tensor.shape(), &facts.architecture) {
            Ok(()) if options.keep_output && name == "output.weight" => Err("kept: as asked for"),
            other => other,
        };
        decisions[index] = Some(match quantizes {
            Err(why) => Decision { to: kept(name, tensor, options.origin), why: why.into() },
            Ok(()) => {
                let scene = Scene {
                    facts: &facts,
                    file_type,
                    has_importance: options.has_importance,
                    name,
                    shape: tensor.shape(),
                    role: Role::of(name),
                    output: options.output,
                };
                let (to, why) = one(&scene, options, &mut visited)?;
                Decision { to: To::Made(to), why }
            }
        });
    }
    decisions
        .into_iter()
        .map(|d| d.ok_or_else(|| Error::bug("the order of visits leaves out a tensor")))
        .collect()
}

/// The type of a tensor that is quantized, and why.
fn one(
    scene: &Scene<'_>,
    options: &ChooseOptions,
    visited: &mut Visited,
) -> Result<(TensorType, Cow<'static, str>)> {
    let columns = scene.shape.last().copied().unwrap_or(1);
    let by_name = options.overrides.iter().find(|o| o.pattern.is_match(scene.name));
    let asked = match scene.role {
        Role::TokenEmbedding if scene.name == PER_LAYER_EMBEDDING && by_name.is_some() => None,
        Role::TokenEmbedding => options.embedding,
        Role::Output => options.output,
        _ => None,
    };
    if let Some(to) = asked {
        if !to.fits(columns) {
            return Err(Error::manifest(format!(
                "{} does not fit rows of {columns} elements: it has blocks of {}",
                to.name(),
                to.block_len()
            ))
            .item(scene.name));
        }
        return Ok((to, "as asked for".into()));
    }
    let base = scene.file_type.base;
    if !base.is_block() {
        return Ok((base, "the file type".into()));
    }
    let (to, why) = match by_name {
        Some(rule) => (rule.to, Cow::from(format!("override `{}`", rule.pattern.as_str()))),
        None if options.pure => (base, "the file type".into()),
        None => {
            let to = scene.mixture(visited)?;
            (to, if to == base { "the file type".into() } else { scene.role.text().into() })
        }
    };
    let fits = fallback(to, columns, scene.name)?;
    if fits == to {
        return Ok((to, why));
    }
    let blocks = to.block_len();
    Ok((
        fits,
        format!("{why}; rows of {columns} do not fit {}'s blocks of {blocks}", to.name()).into(),
    ))
}

#[cfg(test)]
mod tests {
    use super::super::file_type::by_name;
    use super::*;
    use crate::hub::Meta;

    fn model(tensors: &[(&str, Vec<u64>)]) -> Gguf {
        let mut gguf = Gguf::default();
        gguf.set("general.architecture", Meta::text("llama"));
        gguf.set("llama.block_count", Meta::U32(2));
        for (name, shape) in tensors {
            let len = usize::try_from(shape.iter().product::<u64>()).unwrap();
            let tensor = Tensor::from_f32(shape.clone(), &vec![0.0; len]).unwrap();
            gguf.tensors.push(((*name).to_owned(), tensor));
        }
        gguf
    }

    fn names(gguf: &Gguf, file_type: &str, options: &ChooseOptions) -> Vec<&'static str> {
        let decisions = decide(gguf, by_name(file_type).unwrap(), options).unwrap();
        decisions.iter().map(|d| d.to.name()).collect()
    }

    #[test]
    fn the_converter_and_the_quantizer_differ_on_what_they_keep() {
        let gguf = model(&[
            ("enc.blk.0.attn_rel_b.weight", vec![2, 32]),
            ("blk.0.odd.weight", vec![1, 32]),
            ("blk.0.attn_q.weight", vec![4, 33]),
        ]);
        let converter = ChooseOptions::new(Origin::Converter);
        assert_eq!(names(&gguf, "q8_0", &converter), ["q8_0", "q8_0", "f16"]);
        let checkpoint = ChooseOptions::new(Origin::Checkpoint);
        assert_eq!(names(&gguf, "q8_0", &checkpoint), ["f32", "f32", "f16"]);
    }

    #[test]
    fn a_model_without_layers_in_its_metadata_is_refused() {
        let mut gguf = model(&[]);
        gguf.metadata.pop();
        let options = ChooseOptions::new(Origin::Quantizer);
        let error = decide(&gguf, by_name("q4_k_m").unwrap(), &options).unwrap_err();
        assert!(error.message().contains("llama.block_count"), "{error:?}");
        gguf.set("llama.block_count", Meta::I32(-1));
        assert!(decide(&gguf, by_name("q4_k_m").unwrap(), &options).is_err());
    }

    #[test]
    fn an_expert_tensor_without_a_layer_is_refused() {
        let mut gguf = model(&[("blk.2.ffn_down_exps.weight", vec![8, 4, 256])]);
        gguf.set("llama.expert_count", Meta::U32(8));
        let options = ChooseOptions::new(Origin::Quantizer);
        let error = decide(&gguf, by_name("q4_k_m").unwrap(), &options).unwrap_err();
        assert_eq!(error.place().item.as_deref(), Some("blk.2.ffn_down_exps.weight"));
        assert_eq!(names(&gguf, "q4_k_m", &ChooseOptions { pure: true, ..options }), ["q4_k"]);
    }

    #[test]
    fn options_without_an_effect_are_refused() {
        let gguf = model(&[("blk.0.attn_q.weight", vec![4, 256])]);
        let with = |pattern: &str| ChooseOptions {
            overrides: vec![Override::parse(pattern).unwrap()],
            ..ChooseOptions::new(Origin::Quantizer)
        };
        let q4 = by_name("q4_k_m").unwrap();
        assert_eq!(names(&gguf, "q4_k_m", &with("ATTN_Q=q8_0")), ["q8_0"]);
        let error = decide(&gguf, q4, &with("attn_w=q8_0")).unwrap_err();
        assert!(error.message().contains("attn_w"), "{error:?}");
        assert!(decide(&gguf, by_name("f16").unwrap(), &with("attn_q=q8_0")).is_err());
        let options = ChooseOptions {
            output: Some(TensorType::Q8_0),
            ..ChooseOptions::new(Origin::Converter)
        };
        assert!(decide(&gguf, by_name("q8_0").unwrap(), &options).is_err());
        assert!(Override::parse("attn_q").is_err());
        assert!(Override::parse("=q8_0").is_err());
        assert!(Override::parse("(?=a)=q8_0").is_err());
        assert!(Override::parse("a=q9").is_err());
    }

    #[test]
    fn a_type_that_was_asked_for_must_fit_the_rows() {
        let gguf = model(&[("output.weight", vec![4, 48]), ("blk.0.x.weight", vec![4, 48])]);
        let options = ChooseOptions {
            output: Some(TensorType::Q8_0),
            ..ChooseOptions::new(Origin::Quantizer)
        };
        let error = decide(&gguf, by_name("q4_0").unwrap(), &options).unwrap_err();
        assert_eq!(error.place().item.as_deref(), Some("output.weight"));
        let error = decide(&gguf, by_name("q1_0").unwrap(), &ChooseOptions::new(Origin::Quantizer));
        assert!(error.unwrap_err().message().contains("no other type"));
    }
}
