//! Sentences → unit vectors: the embedded tokenizer and the embedded model.

use std::error::Error;

use model_build_runtime::{Session, Tensor, include_model};
use tokenizers::pipeline::{EncodeOptions, Encoding, Override, PipelineToken, PipelineTokenizer};
use tokenizers::{TruncationParams, canonicalize_str, from_json};

include_model!("embedder.int8");

const TOKENIZER: &str = include_str!("../models/all-MiniLM-L6-v2/tokenizer.json");
/// `max_seq_length` of the model's sentence_bert_config.json; longer texts are cut.
const MAX_TOKENS: usize = 256;
const BATCH: usize = 32;

/// Turns sentences into vectors.
pub struct Embedder {
    tokenizer: PipelineTokenizer,
    model: Session<EmbedderInt8>,
}

impl Embedder {
    /// Readies the tokenizer and the model of this binary.
    pub fn load() -> Result<Self, Box<dyn Error>> {
        let tokenizer = from_json(&canonicalize_str(TOKENIZER)?).map_err(|e| e.to_string())?;
        Ok(Self { tokenizer, model: EmbedderInt8::load()? })
    }

    /// One vector of length 1 per sentence, in their order.
    pub fn embed(&self, sentences: &[&str]) -> Result<Vec<Vec<f32>>, Box<dyn Error>> {
        let options = EncodeOptions {
            padding: Override::Off,
            truncation: Override::With(TruncationParams {
                max_length: MAX_TOKENS,
                ..TruncationParams::default()
            }),
            ..EncodeOptions::default()
        };
        let encodings =
            self.tokenizer.encode(sentences, &options).wait().map_err(|e| e.to_string())?;

        // Sentences of like length share a batch, so that little of it is padding.
        let mut order: Vec<usize> = (0..encodings.len()).collect();
        order.sort_by_key(|&i| encodings[i].len());
        let mut vectors = vec![Vec::new(); sentences.len()];
        for batch in order.chunks(BATCH) {
            let members: Vec<&Encoding> = batch.iter().map(|&i| &encodings[i]).collect();
            let embeddings = self.model.run(&inputs(&members)?)?.sentence_embedding;
            let width = embeddings.data().len() / batch.len();
            for (&i, vector) in batch.iter().zip(embeddings.data().chunks_exact(width)) {
                vectors[i] = vector.to_vec();
            }
        }
        Ok(vectors)
    }
}

/// The model's inputs: the sentences' tokens, padded to the longest.
fn inputs(batch: &[&Encoding]) -> Result<EmbedderInt8Inputs, Box<dyn Error>> {
    let longest = batch.iter().map(|e| e.len()).max().unwrap_or(0);
    let shape = [batch.len(), longest];
    let mut input_ids = vec![0; batch.len() * longest];
    let mut attention_mask = vec![0; batch.len() * longest];
    for (row, encoding) in batch.iter().enumerate() {
        let at = row * longest..row * longest + encoding.len();
        attention_mask[at.clone()].fill(1);
        for (to, &from) in input_ids[at].iter_mut().zip(PipelineToken::cast_slice(encoding.ids())) {
            *to = i64::from(from);
        }
    }
    Ok(EmbedderInt8Inputs {
        input_ids: Tensor::new(shape, input_ids)?,
        attention_mask: Tensor::new(shape, attention_mask)?,
        token_type_ids: Tensor::new(shape, vec![0; batch.len() * longest])?,
    })
}

/// The cosine of the angle between two vectors of length 1.
pub fn cosine(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}
