//! The mixtures of llama-quantize: which type a tensor gets by its role, its layer and the model.
//!
//! The rules were found by experiment by llama.cpp's authors (`llama-quant.cpp`) and are kept to the
//! letter, oddities included: files must come out the same.

use super::facts::{Facts, Role, layer};
use super::file_type::{FileType, Id};
use super::tensor_type::TensorType as T;
use crate::error::{Error, Result};

/// What tensors visited before leave behind.
#[derive(Debug, Default)]
pub(super) struct Visited {
    values: u64,
    ffn_down: u64,
    ffn_gate: u64,
    ffn_up: u64,
}

/// What a rule sees of a tensor and its surroundings.
pub(super) struct Scene<'a> {
    pub(super) facts: &'a Facts,
    pub(super) file_type: &'a FileType,
    pub(super) has_importance: bool,
    pub(super) name: &'a str,
    /// Outermost first.
    pub(super) shape: &'a [u64],
    pub(super) role: Role,
    /// `output_tensor_type`.
    pub(super) output: Option<T>,
}

/// A layer and the number of layers.
#[derive(Clone, Copy)]
struct Place {
    at: u64,
    of: u64,
}

impl Place {
    /// Whether it is in the first `1 / part` of the layers.
    fn first(self, part: u64) -> bool {
        self.at < self.of / part
    }
    fn last_eighth(self) -> bool {
        self.at >= self.of.saturating_mul(7) / 8
    }
    /// The first and the last eighth, and every third layer between.
    fn gets_more_bits(self) -> bool {
        self.first(8) || self.last_eighth() || (self.at - self.of / 8) % 3 == 2
    }
}

impl Scene<'_> {
    fn columns(&self) -> u64 {
        self.shape.last().copied().unwrap_or(1)
    }
    fn falcon(&self) -> bool {
        self.facts.architecture == "falcon"
    }
    fn eight_experts(&self) -> bool {
        self.facts.experts == 8
    }
    fn grouped(&self) -> bool {
        self.facts.grouped_queries >= 4
    }
    /// Codebook types below 3 bits, which have rules of their own.
    fn tiny(&self) -> bool {
        use Id::{Iq1M, Iq1S, Iq2M, Iq2S, Iq2Xs, Iq2Xxs};
        matches!(self.file_type.id, Iq2Xxs | Iq2Xs | Iq2S | Iq2M | Iq1S | Iq1M)
    }
    /// The larger ones of those.
    fn iq2_s_or_m(&self) -> bool {
        matches!(self.file_type.id, Id::Iq2S | Id::Iq2M)
    }

    /// The layer: counted, and where experts mix up the order, read from the name.
    fn place(&self, counted: u64) -> Result<Place> {
        let of = self.facts.layers;
        if self.facts.experts <= 1 {
            return Ok(Place { at: counted, of });
        }
        let read = layer(self.name).and_then(|l| u64::try_from(l).ok()).filter(|l| *l < of);
        match read {
            Some(at) => Ok(Place { at, of }),
            None => Err(Error::malformed(format!(
                "the name of an expert model's tensor does not start with `blk.N.` where N is below {of}"
            ))
            .item(self.name)
            .hint("the file types' rules need the layer; `pure` does without")),
        }
    }

    /// The type of the tensor before rows are looked at.
    ///
    /// # Errors
    /// The layer is needed and not in the name.
    pub(super) fn mixture(&self, visited: &mut Visited) -> Result<T> {
        let base = self.file_type.base;
        let tied = self.facts.tied && self.role == Role::TokenEmbedding;
        if self.glm_needs_8_bits() {
            return Ok(T::Q8_0);
        }
        if self.role == Role::Output || tied {
            return Ok(self.output.unwrap_or_else(|| self.output_type()));
        }
        if self.file_type.id == Id::Mxfp4Moe {
            return Ok(self.mxfp4_type());
        }
        if self.role == Role::TokenEmbedding {
            return Ok(self.embedding_type());
        }
        if self.tiny() {
            return Ok(self.tiny_type(visited));
        }
        Ok(match self.role {
            Role::AttentionValue => {
                let place = Place { at: visited.values, of: self.facts.value_tensors };
                visited.values += 1;
                self.value_type(place)
            }
            Role::AttentionKey if self.eight_experts() => T::Q8_0,
            Role::AttentionKey | Role::AttentionQuery => match self.file_type.id {
                Id::Iq3Xs => T::Iq3Xxs,
                Id::Iq3Xxs => T::Iq2S,
                _ => base,
            },
            Role::FfnDown => {
                let place = self.place(visited.ffn_down)?;
                visited.ffn_down += 1;
                self.ffn_down_type(place)
            }
            Role::AttentionOutput => self.attention_output_type(),
            Role::FfnGate => {
                let place = self.place(visited.ffn_gate)?;
                visited.ffn_gate += 1;
                self.ffn_gate_or_up_type(place)
            }
            Role::FfnUp => {
                let place = self.place(visited.ffn_up)?;
                visited.ffn_up += 1;
                self.ffn_gate_or_up_type(place)
            }
            Role::TokenEmbedding | Role::Output | Role::Other => base,
        })
    }

    fn glm_needs_8_bits(&self) -> bool {
        let parts = ["attn_q_a", "attn_q_b", "nextn.eh_proj"];
        self.facts.architecture == "glm5-next"
            && self.file_type.base.is_block()
            && parts.iter().any(|part| self.name.contains(part))
    }

    fn output_type(&self) -> T {
        let base = self.file_type.base;
        let whole = base.fits(self.columns());
        if self.file_type.id == Id::Mxfp4Moe || self.falcon() || !whole || base == T::Q8_0 {
            T::Q8_0
        } else if self.tiny() || self.file_type.id == Id::Iq3Xxs {
            T::Q5K
        } else {
            T::Q6K
        }
    }

    /// Stacked experts get 4 bits. In `bailingmoe3` attention is stacked, too, and does not.
    fn mxfp4_type(&self) -> T {
        let stacked = self.shape.len() >= 3 && self.shape[self.shape.len() - 3] > 1;
        let feed_forward = matches!(self.role, Role::FfnUp | Role::FfnGate | Role::FfnDown);
        let expert = stacked && (self.facts.architecture != "bailingmoe3" || feed_forward);
        if expert { T::Mxfp4 } else { T::Q8_0 }
    }

    fn embedding_type(&self) -> T {
        match self.file_type.id {
            Id::Iq2Xxs | Id::Iq2Xs | Id::Iq1S | Id::Iq1M => T::Q2K,
            Id::Iq2S | Id::Iq2M | Id::Iq3Xxs => T::Iq3S,
            Id::Tq1_0 | Id::Tq2_0 | Id::Q2_0 => T::Q4K,
            _ => self.file_type.base,
        }
    }

    fn tiny_type(&self, visited: &mut Visited) -> T {
        let base = self.file_type.base;
        let better = if self.iq2_s_or_m() { T::Iq3S } else { T::Q2K };
        match self.role {
            Role::AttentionValue if self.grouped() || self.facts.experts >= 4 => T::Q4K,
            Role::AttentionValue => better,
            Role::AttentionKey if self.eight_experts() => T::Q4K,
            Role::FfnDown => {
                let place = Place { at: visited.ffn_down, of: self.facts.layers };
                visited.ffn_down += 1;
                if place.first(8) { better } else { base }
            }
            Role::AttentionOutput if self.eight_experts() => T::Q5K,
            Role::AttentionOutput => match self.file_type.id {
                Id::Iq1S | Id::Iq1M => T::Iq2Xxs,
                Id::Iq2S | Id::Iq2M => T::Iq3S,
                _ => base,
            },
            _ => base,
        }
    }

    fn value_type(&self, place: Place) -> T {
        if self.eight_experts() {
            return T::Q8_0;
        }
        let to = match self.file_type.id {
            Id::Q2K if !self.grouped() => T::Q3K,
            Id::Q2K | Id::Q2KS | Id::Iq3Xxs | Id::Iq3Xs | Id::Iq3S if self.grouped() => T::Q4K,
            Id::Iq3Xxs if !self.has_importance => T::Iq3S,
            Id::Q3KM if place.at < 2 => T::Q5K,
            Id::Q3KM | Id::Iq3M => T::Q4K,
            Id::Q3KL => T::Q5K,
            Id::Iq4Nl | Id::Iq4Xs if self.grouped() => T::Q5K,
            Id::Q4KM | Id::Q5KM if place.gets_more_bits() => T::Q6K,
            Id::Q4KS if place.at < 4 => T::Q5K,
            _ => self.file_type.base,
        };
        // Eight heads share these weights there: they are few, and matter more.
        if self.facts.seventy && matches!(to, T::Q3K | T::Q4K) { T::Q5K } else { to }
    }

    fn ffn_down_type(&self, place: Place) -> T {
        let base = self.file_type.base;
        let first = place.first(8);
        match self.file_type.id {
            Id::Q2K => T::Q3K,
            Id::Q2KS if first => T::Q4K,
            Id::Iq3Xxs if !self.has_importance => {
                if first {
                    T::Q4K
                } else {
                    T::Q3K
                }
            }
            Id::Q3KM if place.first(16) => T::Q5K,
            Id::Q3KM if !self.falcon() || place.gets_more_bits() => T::Q4K,
            Id::Iq3M if first || self.eight_experts() && place.gets_more_bits() => T::Q4K,
            Id::Q3KL if self.falcon() => T::Q4K,
            Id::Q3KL => T::Q5K,
            Id::Q4KM if self.falcon() && !place.first(16) => {
                if place.gets_more_bits() {
                    T::Q5K
                } else {
                    T::Q4K
                }
            }
            Id::Q4KM if self.falcon() => T::Q6K,
            Id::Q4KM | Id::Q5KM if place.gets_more_bits() => T::Q6K,
            Id::Iq4Nl | Id::Iq4Xs if first && !self.has_importance => T::Q5K,
            Id::Q4KS if first && !self.falcon() => T::Q5K,
            Id::Q4_0 if first && self.has_importance => T::Q4_1,
            Id::Q5_0 if first && self.has_importance => T::Q5_1,
            _ => base,
        }
    }

    fn attention_output_type(&self) -> T {
        use Id::{Iq3M, Iq3S, Iq3Xs, Iq3Xxs, Iq4Nl, Iq4Xs, Q2K, Q3KL, Q3KM, Q3KS, Q4KM, Q4KS};
        let id = self.file_type.id;
        match id {
            Q3KL if self.falcon() => T::Q4K,
            _ if self.falcon() => self.file_type.base,
            Q2K | Iq3Xs | Iq3Xxs | Q3KS | Q3KM | Iq4Nl | Q4KS | Q4KM | Iq3S | Iq3M | Iq4Xs
                if self.eight_experts() =>
            {
                T::Q5K
            }
            _ if self.eight_experts() => self.file_type.base,
            Q2K => T::Q3K,
            Iq3Xxs => T::Iq3S,
            Q3KM | Iq3M => T::Q4K,
            Q3KL => T::Q5K,
            _ => self.file_type.base,
        }
    }

    fn ffn_gate_or_up_type(&self, place: Place) -> T {
        let middle = !place.first(8) && !place.last_eighth();
        if self.file_type.id == Id::Iq3Xs && middle { T::Iq3Xxs } else { self.file_type.base }
    }
}

/// The type instead of one whose blocks do not fit the rows.
///
/// # Errors
/// There is none.
pub(super) fn fallback(to: T, columns: u64, name: &str) -> Result<T> {
    if to.fits(columns) {
        return Ok(to);
    }
    let smaller = match to {
        T::Iq1S | T::Iq1M | T::Iq2Xxs | T::Iq2Xs | T::Iq2S | T::Iq3Xxs | T::Iq3S | T::Iq4Xs => {
            T::Iq4Nl
        }
        T::Q2_0 | T::Q2K | T::Q3K | T::Tq1_0 | T::Tq2_0 => T::Q4_0,
        T::Q4K => T::Q5_0,
        T::Q5K => T::Q5_1,
        T::Q6K => T::Q8_0,
        T::Q1_0 | T::Nvfp4 => {
            return Err(Error::unsupported(format!(
                "rows of {columns} elements are no whole number of {} blocks of {}, and no other type stands in for it",
                to.name(),
                to.block_len()
            ))
            .item(name)
            .hint("override the type of this tensor, or choose another file type"));
        }
        other => other,
    };
    Ok(if smaller.fits(columns) { smaller } else { T::F16 })
}
