//! A checkpoint: configuration, named tensors, and the small files that travel with them.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::Value as Json;

use super::Tensor;
use crate::error::{Error, Result};

/// A Hugging Face style checkpoint. Tensor names are Hugging Face's.
#[derive(Clone, Debug, Default)]
pub struct Checkpoint {
    /// `config.json`; an empty object where there is none.
    pub config: Json,
    /// Tensors by name, mapped lazily.
    pub tensors: BTreeMap<String, Tensor>,
    /// Free key/value metadata of the weight files.
    pub metadata: BTreeMap<String, String>,
    /// Tokenizer, pooling and preprocessor files by path relative to the checkpoint's folder.
    pub assets: BTreeMap<String, Bytes>,
}

impl Checkpoint {
    /// The tensor of that name with that shape, else an error that names the tensor, the expected
    /// shape and the one found.
    pub fn tensor(&self, name: &str, shape: &[u64]) -> Result<&Tensor> {
        let tensor = self.tensors.get(name).ok_or_else(|| {
            let error = Error::malformed("the checkpoint lacks a tensor that config.json implies")
                .item(name);
            match crate::error::nearest(name, self.tensors.keys().map(String::as_str)) {
                Some(near) => error.hint(format!("the nearest name in the file is `{near}`")),
                None => error,
            }
        })?;
        if tensor.shape() != shape {
            return Err(Error::malformed(format!(
                "config.json implies shape {shape:?}, the file has {:?}",
                tensor.shape()
            ))
            .item(name)
            .hint(
                "config.json and the weights do not belong together: take both from one checkpoint",
            ));
        }
        Ok(tensor)
    }

    /// An asset parsed as JSON, if the checkpoint has it.
    pub fn json_asset(&self, name: &str) -> Result<Option<Json>> {
        self.assets
            .get(name)
            .map(|bytes| {
                serde_json::from_slice(bytes)
                    .map_err(|e| Error::malformed(format!("not valid JSON: {e}")).file(name))
            })
            .transpose()
    }
}
