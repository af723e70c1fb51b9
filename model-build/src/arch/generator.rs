//! What the text generators share: inputs, masks, the cache, the vocabulary.
//!
//! Inputs: `input_ids` and `position_ids`, i64 `[batch, sequence]`; `attention_mask`, i64 `[batch,
//! past_sequence + sequence]`; with past, `past_key_values.N.key` and `.value`, f32 `[batch, heads,
//! past_sequence, width]`, which may be of length 0. Outputs: `logits`, f32 `[batch, sequence,
//! vocabulary]`, and `present.N.key` and `.value`.

use super::builder::{Builder, Module};
use super::cache::{self, Heads, KeyValue, Positions};
use super::encoder::batch_and_sequence;
use super::head;
use crate::error::Result;
use crate::hub::{DType, Dim, ValueId};

/// A run of a generator.
pub(super) struct Run {
    /// `input_ids`.
    pub(super) ids: ValueId,
    /// `position_ids`.
    pub(super) positions: ValueId,
    /// What is added to attention scores.
    mask: ValueId,
    /// The same for a sliding window of that length.
    near: Option<(i64, ValueId)>,
    places: Positions,
    with_past: bool,
    past: Vec<KeyValue>,
    present: Vec<KeyValue>,
    heads: Heads,
}

impl Run {
    /// Adds the inputs. `heads` are those of keys and values, `layer` names a tensor that each layer
    /// has.
    pub(super) fn inputs(
        b: &mut Builder<'_>,
        heads: Heads,
        layers: u64,
        layer: impl Fn(u64) -> String,
        with_past: bool,
    ) -> Result<Self> {
        let [batch, sequence] = batch_and_sequence();
        let ids = b.input("input_ids", DType::I64, &[batch.clone(), sequence.clone()])?;
        let all = [batch.clone(), Dim::symbol(cache::after(with_past))];
        let mask = b.input("attention_mask", DType::I64, &all)?;
        let positions = b.input("position_ids", DType::I64, &[batch, sequence])?;
        let mut past = Vec::new();
        if with_past {
            // the first tensor that is missing ends a count that no file has
            for number in
                (0..layers).take_while(|n| *n == 0 || b.has(&layer(*n))).collect::<Vec<_>>()
            {
                past.push(cache::past(b, number, "", heads, cache::PAST)?);
            }
        }
        let places = Positions::of(b, "positions", ids, past.first().map(|pair| pair[0]))?;
        let causal = places.causal(b, "causal_mask")?;
        let mask = cache::additive(b, "attention_mask", mask)?;
        let mask = b.op("attention_mask", "Add", &[mask, causal], &[])?;
        Ok(Self {
            ids,
            positions,
            mask,
            near: None,
            places,
            with_past,
            past,
            present: Vec::new(),
            heads,
        })
    }

    /// The mask of a layer that attends to the last `window` tokens alone, or to all.
    pub(super) fn mask(&mut self, b: &mut Builder<'_>, window: Option<i64>) -> Result<ValueId> {
        let Some(window) = window else { return Ok(self.mask) };
        if let Some((known, mask)) = self.near
            && known == window
        {
            return Ok(mask);
        }
        let near = self.places.near(b, "sliding_window", window)?;
        let mask = b.op("sliding_window", "Add", &[self.mask, near], &[])?;
        self.near = Some((window, mask));
        Ok(mask)
    }

    /// The next layer's keys and values with those of the cache.
    pub(super) fn remember(
        &mut self,
        b: &mut Builder<'_>,
        path: &str,
        new: KeyValue,
    ) -> Result<KeyValue> {
        let all = match self.past.get(self.present.len()) {
            Some(past) => cache::grown(b, path, *past, new)?,
            None => new,
        };
        self.present.push(all);
        Ok(all)
    }

    /// The outputs, from the last hidden states `x`. `table` is the word embeddings' name.
    pub(super) fn outputs(
        self,
        b: &mut Builder<'_>,
        table: &str,
        x: ValueId,
        shape: [u64; 2],
        ties: bool,
    ) -> Result<()> {
        let logits = head::project(b, &Module::head("lm_head"), table, x, shape, ties)?;
        let [batch, sequence] = batch_and_sequence();
        b.output("logits", logits, &[batch, sequence, Dim::Fixed(shape[0])]);
        for (number, pair) in (0..).zip(self.present) {
            cache::present(b, number, "", self.heads, pair, cache::after(self.with_past));
        }
        Ok(())
    }
}
