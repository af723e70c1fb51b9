//! What the pass's parameters say.

use super::gptq;
use super::grid::Grid;
use crate::error::{Error, Result};
use crate::hub::{Body, Graph, Node};
use crate::pass::overrides::Overrides;
use crate::pass::{Exclude, Params};

/// How the integers of a weight are found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Algorithm {
    /// Round to nearest.
    Rtn,
    /// Half-quadratic quantization.
    Hqq,
    /// Errors made up for by later weights.
    Gptq(gptq::Options),
    /// Scaling by the inputs' magnitudes.
    Awq,
}

impl Algorithm {
    /// Whether it needs to know a product's inputs.
    pub(super) fn needs_moments(self) -> bool {
        matches!(self, Self::Gptq(_) | Self::Awq)
    }
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Rtn => "rtn",
            Self::Hqq => "hqq",
            Self::Gptq(_) => "gptq",
            Self::Awq => "awq",
        }
    }
}

/// Which operators the quantized graph has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// `com.microsoft::MatMulNBits`.
    MatMulNBits,
    /// `DequantizeLinear` before the product.
    Qdq,
}

/// The integers of a weight and what shares a scale.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Spec {
    pub(super) bits: u8,
    pub(super) symmetric: bool,
    /// `None`: all weights of an output.
    pub(super) block: Option<usize>,
}

impl Spec {
    /// The grid for lines of `k` weights.
    pub(super) fn grid(self, k: usize) -> Grid {
        Grid { bits: self.bits, symmetric: self.symmetric, block: self.block.unwrap_or(k).max(1) }
    }
}

/// The parameters of the pass.
#[derive(Clone, Debug)]
pub(super) struct Options {
    pub(super) spec: Spec,
    pub(super) algorithm: Algorithm,
    pub(super) form: Form,
    pub(super) accuracy_level: i64,
    exclude: Exclude,
    overrides: Overrides,
}

impl Options {
    /// What the manifest's canonical text says; it is checked there, so that anything else is a bug.
    pub(super) fn of(params: &Params) -> Result<Self> {
        let number = |name: &str| {
            let parsed = |text: &str| text.parse::<f64>().map_err(|_| wrong(name, text));
            params.get(name).map(parsed).transpose()
        };
        let flag = |name: &str| match params.get(name) {
            None => Ok(None),
            Some("true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(text) => Err(wrong(name, text)),
        };
        let algorithm = match params.get("algorithm").unwrap_or("rtn") {
            "rtn" => Algorithm::Rtn,
            "hqq" => Algorithm::Hqq,
            "gptq" => Algorithm::Gptq(gptq::Options {
                damping: number("damping")?.unwrap_or(0.01),
                by_activity: flag("act-order")?.unwrap_or(false),
            }),
            "awq" => Algorithm::Awq,
            other => return Err(wrong("algorithm", other)),
        };
        let block = match params.get("block-size") {
            None | Some("channel") => None,
            Some(text) => Some(text.parse().map_err(|_| wrong("block-size", text))?),
        };
        let mut spec = spec(params.get("type").unwrap_or("int4"), algorithm, block)?;
        if let Some(symmetric) = flag("symmetric")? {
            spec.symmetric = symmetric;
        }
        let form = match params.get("form") {
            None if block.is_none() => Form::Qdq,
            None | Some("matmulnbits") => Form::MatMulNBits,
            Some("qdq") => Form::Qdq,
            Some(other) => return Err(wrong("form", other)),
        };
        let level = params.get("accuracy-level");
        let accuracy_level =
            level.map_or(Ok(0), |text| text.parse().map_err(|_| wrong("accuracy-level", text)))?;
        if block.is_none() && (form == Form::MatMulNBits || algorithm != Algorithm::Rtn) {
            return Err(Error::bug("weight-only without a block size"));
        }
        if algorithm == Algorithm::Hqq && spec.symmetric {
            return Err(Error::bug("hqq with a fixed zero point"));
        }
        let (exclude, overrides) = (Exclude::of(params)?, Overrides::of(params)?);
        Ok(Self { spec, algorithm, form, accuracy_level, exclude, overrides })
    }

    /// Refuses patterns that mean no node of the graph.
    pub(super) fn check(&self, graph: &Graph) -> Result<()> {
        self.exclude.check(graph)?;
        self.overrides.check(graph)
    }

    /// The integers of a node's weight; `None` for a node that stays as it is.
    pub(super) fn spec_of(&self, body: &Body, node: &Node) -> Result<Option<Spec>> {
        if self.exclude.has(body, node) {
            return Ok(None);
        }
        match self.overrides.to(body, node) {
            None => Ok(Some(self.spec)),
            Some("fp32") => Ok(None),
            Some(name) => {
                let other = spec(name, self.algorithm, self.spec.block)?;
                if self.spec.block.is_none() && other.bits == 4 {
                    return Err(Error::manifest(format!(
                        "`overrides` gives a node `{name}`, and 4 bits need blocks"
                    ))
                    .item(node.label())
                    .hint("set `block-size = 32`"));
                }
                Ok(Some(other))
            }
        }
    }
}

fn wrong(name: &str, text: &str) -> Error {
    Error::bug(format!("weight-only with {name} `{text}`"))
}

/// The integers that a type's name stands for. An algorithm that looks for zero points has them
/// whatever the type.
pub(super) fn spec(name: &str, algorithm: Algorithm, block: Option<usize>) -> Result<Spec> {
    let (bits, symmetric) = match name {
        "int4" => (4, true),
        "uint4" => (4, false),
        "int8" => (8, true),
        "uint8" => (8, false),
        other => return Err(wrong("type", other)),
    };
    Ok(Spec { bits, symmetric: symmetric && algorithm != Algorithm::Hqq, block })
}
