//! What a build would do to each tensor, as rows: for `--dry-run`.

use std::borrow::Cow;

use super::choose::Choice;
use crate::error::{Error, Result};
use crate::hub::{DType, Gguf};

/// A tensor's row.
#[derive(Clone, Debug)]
pub struct Row {
    /// Its name.
    pub name: String,
    /// Its shape, outermost first.
    pub shape: Vec<u64>,
    /// The type it has.
    pub from: DType,
    /// The type it gets.
    pub to: DType,
    /// Bytes it has.
    pub before: u64,
    /// Bytes it gets, without padding.
    pub after: u64,
    /// Why, in a few words.
    pub why: Cow<'static, str>,
}

/// All rows and their sums.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// In the model's order.
    pub rows: Vec<Row>,
    /// Elements of all tensors.
    pub elements: u64,
    /// Bytes of all tensors as they are.
    pub before: u64,
    /// Bytes of all tensors as they get, without padding.
    pub after: u64,
}

impl Report {
    /// Bits per element before and after, as llama-quantize counts them: over all tensors, without
    /// metadata and padding. 0 without elements.
    #[allow(clippy::cast_precision_loss)] // shown with a few digits
    pub fn bits_per_weight(&self) -> (f64, f64) {
        let bits = |bytes: u64| bytes as f64 * 8.0 / self.elements.max(1) as f64;
        (bits(self.before), bits(self.after))
    }
}

/// The rows of a choice for a model.
///
/// # Errors
/// The choice is not of this model, or sizes overflow.
pub fn report(gguf: &Gguf, choices: &[Choice]) -> Result<Report> {
    let mut report = Report::default();
    let overflow = || Error::malformed("the tensors are larger than 2^64 bytes");
    for choice in choices {
        let (name, tensor) = gguf
            .tensors
            .get(choice.tensor)
            .filter(|(name, _)| *name == choice.name)
            .ok_or_else(|| Error::bug("a choice of another model").item(&choice.name))?;
        let after = choice.to.bytes_for(tensor.len()).ok_or_else(|| overflow().item(name))?;
        let before = tensor.byte_len();
        report.elements = report.elements.checked_add(tensor.len()).ok_or_else(overflow)?;
        report.before = report.before.checked_add(before).ok_or_else(overflow)?;
        report.after = report.after.checked_add(after).ok_or_else(overflow)?;
        report.rows.push(Row {
            name: name.clone(),
            shape: tensor.shape().to_vec(),
            from: tensor.dtype(),
            to: choice.to,
            before,
            after,
            why: choice.why.clone(),
        });
    }
    Ok(report)
}

#[cfg(test)]
mod tests {
    use super::super::choose::{ChooseOptions, Origin, choose};
    use super::super::file_type::by_name;
    use super::*;
    use crate::hub::{Meta, Tensor};

    #[test]
    fn rows_add_up() {
        let mut gguf = Gguf::default();
        gguf.set("general.architecture", Meta::text("llama"));
        gguf.set("llama.block_count", Meta::U32(1));
        for (name, shape) in [("output_norm.weight", vec![4]), ("output.weight", vec![3, 4])] {
            let len = if shape.len() == 1 { 4 } else { 12 };
            gguf.tensors.push((name.into(), Tensor::from_f32(shape, &vec![1.0; len]).unwrap()));
        }
        let options = ChooseOptions::new(Origin::Converter);
        let choices = choose(&gguf, by_name("f16").unwrap(), &options).unwrap();
        let report = report(&gguf, &choices).unwrap();
        assert_eq!((report.elements, report.before, report.after), (16, 64, 40));
        assert_eq!(report.bits_per_weight(), (32.0, 20.0));
        assert_eq!(report.rows[1].to, DType::F16);
        assert_eq!(report.rows[0].why, "kept: a vector");
        assert_eq!(
            super::report(&Gguf::default(), &choices).unwrap_err().kind(),
            crate::ErrorKind::Bug
        );
    }
}
