//! What the rules need to know of a model: from its metadata and its tensors' names.

use crate::error::{Error, Result};
use crate::hub::{Gguf, Meta, MetaArray};

/// What a tensor is for, as far as the rules tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    TokenEmbedding,
    Output,
    AttentionQuery,
    AttentionKey,
    /// Values, and the fused projections that hold them.
    AttentionValue,
    AttentionOutput,
    FfnUp,
    FfnGate,
    FfnDown,
    Other,
}

/// Parts of names, in the order in which they decide.
const ROLES: &[(&str, Role)] = &[
    ("attn_qkv.weight", Role::AttentionValue),
    ("attn_kv_b.weight", Role::AttentionValue),
    ("attn_v.weight", Role::AttentionValue),
    ("attn_k.weight", Role::AttentionKey),
    ("attn_q.weight", Role::AttentionQuery),
    ("attn_output.weight", Role::AttentionOutput),
    ("ffn_up", Role::FfnUp),
    ("ffn_gate", Role::FfnGate),
    ("ffn_down", Role::FfnDown),
];

impl Role {
    /// The role of a tensor by its GGUF name.
    pub(super) fn of(name: &str) -> Self {
        match name {
            "output.weight" => Self::Output,
            "token_embd.weight" | PER_LAYER_EMBEDDING => Self::TokenEmbedding,
            _ => {
                ROLES.iter().find(|(part, _)| name.contains(part)).map_or(Self::Other, |(_, r)| *r)
            }
        }
    }

    /// The role in words.
    pub(super) const fn text(self) -> &'static str {
        match self {
            Self::TokenEmbedding => "token embeddings",
            Self::Output => "output layer",
            Self::AttentionQuery => "attention queries",
            Self::AttentionKey => "attention keys",
            Self::AttentionValue => "attention values",
            Self::AttentionOutput => "attention output",
            Self::FfnUp => "feed-forward up",
            Self::FfnGate => "feed-forward gate",
            Self::FfnDown => "feed-forward down",
            Self::Other => "other weights",
        }
    }
}

/// The second table of embeddings of some architectures.
pub(super) const PER_LAYER_EMBEDDING: &str = "per_layer_token_embd.weight";

/// What the rules need to know of a model.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    pub(super) architecture: String,
    pub(super) layers: u64,
    /// Query heads per key head in the first layer; 0 without attention.
    pub(super) grouped_queries: u64,
    pub(super) experts: u64,
    /// Whether llama.cpp calls it a 70B model.
    pub(super) seventy: bool,
    /// Tensors that hold attention values.
    pub(super) value_tensors: u64,
    /// Whether there is no output layer besides the token embeddings.
    pub(super) tied: bool,
}

fn number(gguf: &Gguf, key: &str) -> Result<Option<u64>> {
    let Some(value) = gguf.of_architecture(key) else { return Ok(None) };
    let first = match value {
        Meta::Array(MetaArray::U32(v)) => v.first().map(|v| u64::from(*v)),
        Meta::Array(MetaArray::I32(v)) => v.first().and_then(|v| u64::try_from(*v).ok()),
        Meta::Array(MetaArray::U64(v)) => v.first().copied(),
        Meta::Array(MetaArray::I64(v)) => v.first().and_then(|v| u64::try_from(*v).ok()),
        other => other.as_u64(),
    };
    first.map(Some).ok_or_else(|| {
        Error::malformed(format!("metadata key `{key}` is no number that is not negative"))
            .item(key)
            .hint("the rules of file types need it; write the GGUF file again with the right value")
    })
}

impl Facts {
    /// Of a model.
    ///
    /// # Errors
    /// The architecture or the number of layers is missing.
    pub(super) fn of(gguf: &Gguf) -> Result<Self> {
        let missing = |key: &str| {
            Error::malformed(format!("the model's metadata has no `{key}`")).hint(
                "the rules of file types need it; `pure` does without rules but not without it",
            )
        };
        let architecture =
            gguf.architecture().ok_or_else(|| missing("general.architecture"))?.to_owned();
        let mut layers = number(gguf, "block_count")?
            .ok_or_else(|| missing(&format!("{architecture}.block_count")))?;
        let predicting = number(gguf, "nextn_predict_layers")?.unwrap_or(0);
        let heads = number(gguf, "attention.head_count")?.unwrap_or(0);
        let key_heads = number(gguf, "attention.head_count_kv")?.unwrap_or(heads);
        let experts = number(gguf, "expert_count")?.unwrap_or(0);
        let seventy = match (&*architecture, layers.saturating_sub(predicting)) {
            ("llama" | "llama-embed", 80) => heads != key_heads && experts != 8,
            ("qwen2" | "olmo" | "deci", 80) | ("jais2", 68) => true,
            _ => false,
        };
        match &*architecture {
            "graniteswitch" => layers = layers.saturating_add(1),
            "nanbeige" => {
                layers = layers.saturating_mul(number(gguf, "num_loops")?.unwrap_or(1).max(1));
            }
            _ => {}
        }
        let names = || gguf.tensors.iter().map(|(name, _)| name.as_str());
        let values = names().filter(|n| Role::of(n) == Role::AttentionValue).count();
        Ok(Self {
            layers,
            grouped_queries: heads.checked_div(key_heads).unwrap_or(0),
            experts,
            seventy,
            value_tensors: values as u64,
            tied: names().all(|n| Role::of(n) != Role::Output),
            architecture,
        })
    }
}

/// The layer in a name that starts with `blk.N`.
pub(super) fn layer(name: &str) -> Option<i64> {
    let rest = name.strip_prefix("blk.")?;
    let digits = rest.trim_start_matches(['-', '+']);
    let sign = rest.len() - digits.len();
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    rest.get(..sign + end)?.parse().ok()
}

/// The order in which llama-quantize visits and writes tensors: those of no layer first, then by
/// layer, and by the bytes of the name in each. Indices into `names`.
pub fn visit_order<'a>(names: impl IntoIterator<Item = &'a str>) -> Vec<usize> {
    let mut order: Vec<(i64, &str, usize)> =
        names.into_iter().enumerate().map(|(i, n)| (layer(n).unwrap_or(-1), n, i)).collect();
    order.sort_unstable();
    order.into_iter().map(|(_, _, i)| i).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tensors_are_visited_by_layer_and_name() {
        let names =
            ["token_embd.weight", "blk.10.b", "blk.2.b", "blk.2.a", "enc.blk.9.a", "output"];
        let order: Vec<_> = visit_order(names).into_iter().map(|i| names[i]).collect();
        assert_eq!(
            order,
            ["enc.blk.9.a", "output", "token_embd.weight", "blk.2.a", "blk.2.b", "blk.10.b"]
        );
    }

    #[test]
    fn a_layer_is_read_from_a_name() {
        assert_eq!(layer("blk.12.attn_q.weight"), Some(12));
        assert_eq!(layer("blk.-3.x"), Some(-3));
        for none in ["blk.x", "blk.", "enc.blk.1.x", "blk.99999999999999999999.x", "blk.--1.x"] {
            assert_eq!(layer(none), None, "{none}");
        }
    }
}
