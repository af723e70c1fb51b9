//! Lines of JSON: `{"text": "…"}`, cut into tokens by the model's tokenizer.

use std::collections::BTreeMap;
use std::path::Path;

use bytes::Bytes;
use serde_json::Value as Json;
use tokenizers::{Encoding, Tokenizer, TruncationParams};

use super::super::Spec;
use super::{Port, Samples};
use crate::error::{Error, Result};
use crate::fsx;
use crate::hub::{Dim, Tensor};

/// The most bytes of a tokenizer.
const LONGEST: u64 = 256 << 20;

/// Texts of a file; tokenized when they are asked for.
pub(super) struct Texts {
    data: Bytes,
    /// Where each line is.
    lines: Vec<(usize, usize)>,
    tokenizer: Tokenizer,
    /// What a shorter text is filled up with.
    pad: i64,
    inputs: Vec<String>,
    /// The number of tokens that the graph fixes.
    length: Option<u64>,
}

/// What an encoding gives for an input.
fn column(name: &str, encoding: &Encoding) -> Option<Vec<i64>> {
    let ids = match name {
        "input_ids" => encoding.get_ids(),
        "attention_mask" => encoding.get_attention_mask(),
        "token_type_ids" => encoding.get_type_ids(),
        _ => return None,
    };
    Some(ids.iter().map(|id| i64::from(*id)).collect())
}

impl Texts {
    pub(super) fn open(spec: &Spec, ports: &[Port], tokenizer: &Path) -> Result<Self> {
        let data = fsx::map(&spec.dataset)?;
        let known = Encoding::default();
        if let Some(port) = ports.iter().find(|port| column(&port.name, &known).is_none()) {
            return Err(Error::unsupported(format!("a tokenizer does not make the input `{}`", port.name))
                .hint("text makes `input_ids`, `attention_mask` and `token_type_ids`; give the others in an .npz file"));
        }
        let bytes = fsx::read_small(tokenizer, LONGEST)
            .map_err(|e| e.hint("name the model's tokenizer as `calibration.tokenizer`"))?;
        let refused = |e: tokenizers::Error| {
            Error::unsupported(format!("the tokenizer cannot be used: {e}")).file(tokenizer)
        };
        let mut tokenizer = Tokenizer::from_bytes(bytes).map_err(refused)?;
        let pad = tokenizer.get_padding().map(|padding| i64::from(padding.pad_id));
        let named = ["[PAD]", "<pad>"].iter().find_map(|token| tokenizer.token_to_id(token));
        let pad = pad.or(named.map(i64::from)).unwrap_or(0);
        tokenizer.with_padding(None);
        let length = ports.iter().find_map(|port| port.dims.as_ref()?.get(1).and_then(Dim::fixed));
        if let Some(most) = spec.max_length.or(length) {
            let max_length = usize::try_from(most).unwrap_or(usize::MAX);
            let truncation = TruncationParams { max_length, ..TruncationParams::default() };
            tokenizer.with_truncation(Some(truncation)).map_err(refused)?;
        }
        let lines = lines(&data);
        let inputs = ports.iter().map(|port| port.name.clone()).collect();
        Ok(Self { data, lines, tokenizer, pad, inputs, length })
    }

    fn text(&self, index: u64) -> Result<String> {
        let range = usize::try_from(index).ok().and_then(|at| self.lines.get(at));
        let (from, to) = *range.ok_or_else(|| Error::bug("a sample past the end"))?;
        let json: Json = serde_json::from_slice(self.data.get(from..to).unwrap_or_default())
            .map_err(|e| Error::malformed(format!("the line of sample {index} is no JSON: {e}")))?;
        json.get("text").and_then(Json::as_str).map(str::to_owned).ok_or_else(|| {
            Error::malformed(format!("the line of sample {index} has no `text`"))
                .hint("a line is as {\"text\": \"…\"}; give tensors in an .npz file")
        })
    }
}

/// The lines that hold something.
fn lines(data: &[u8]) -> Vec<(usize, usize)> {
    let mut out = Vec::new();
    let mut from = 0;
    for line in data.split(|b| *b == b'\n') {
        if !line.trim_ascii().is_empty() {
            out.push((from, from + line.len()));
        }
        from += line.len() + 1;
    }
    out
}

impl Samples for Texts {
    fn count(&self) -> u64 {
        self.lines.len() as u64
    }

    fn batch(&self, first: u64, count: u64) -> Result<BTreeMap<String, Tensor>> {
        let mut encodings = Vec::new();
        for index in first..first + count {
            let encoding = self.tokenizer.encode(self.text(index)?, true).map_err(|e| {
                Error::malformed(format!("the text of sample {index} has no tokens: {e}"))
            })?;
            encodings.push(encoding);
        }
        let longest = encodings.iter().map(Encoding::len).max().unwrap_or(0) as u64;
        let length = self.length.unwrap_or(longest.max(1));
        let width = usize::try_from(length).map_err(|_| Error::bug("a text longer than memory"))?;
        let mut out = BTreeMap::new();
        for name in &self.inputs {
            let fill = if name == "input_ids" { self.pad } else { 0 };
            let mut values = Vec::new();
            for encoding in &encodings {
                let mut row = column(name, encoding).unwrap_or_default();
                row.resize(width, fill);
                values.extend(row);
            }
            out.insert(name.clone(), Tensor::from_i64(vec![count, length], &values)?);
        }
        Ok(out)
    }
}
