//! Classifies the held-out handwritten digits with the two models that are part of this binary.

use std::error::Error;
use std::time::{Duration, Instant};

use model_build_runtime::{Tensor, include_model};
use safetensors::SafeTensors;

include_model!("digits.fp32");
include_model!("digits.int8");

const HELDOUT: &[u8] = include_bytes!("../data/heldout.safetensors");
const BATCH: usize = 50;
/// Height and width of an image.
const SIDE: usize = 8;
/// The value of a black pixel.
const BLACK: f32 = 16.0;

fn main() -> Result<(), Box<dyn Error>> {
    let file = SafeTensors::deserialize(HELDOUT)?;
    let (images, labels) = (file.tensor("images")?.data(), file.tensor("labels")?.data());

    let fp32 = DigitsFp32::load()?;
    let fp32_run =
        classify(images, |pixel_values| Ok(fp32.run(&DigitsFp32Inputs { pixel_values })?.logits))?;
    let int8 = DigitsInt8::load()?;
    let int8_run =
        classify(images, |pixel_values| Ok(int8.run(&DigitsInt8Inputs { pixel_values })?.logits))?;

    println!("{} handwritten digits that the model has never seen", labels.len());
    println!();
    println!("model   accuracy   in the binary   time per image");
    for (name, bytes, run) in [
        ("fp32", DigitsFp32::bytes()?.len(), &fp32_run),
        ("int8", DigitsInt8::bytes()?.len(), &int8_run),
    ] {
        println!(
            "{name}    {:6.2} %   {:8.1} kB   {:8.0} µs",
            percent(&run.classes, labels),
            bytes as f64 / 1e3,
            run.time.as_secs_f64() * 1e6 / labels.len() as f64,
        );
    }
    println!();
    println!("int8 agrees with fp32 on {:.2} %", percent(&int8_run.classes, &fp32_run.classes));
    Ok(())
}

struct Run {
    /// The likeliest digit of each image.
    classes: Vec<u8>,
    time: Duration,
}

/// Runs a model over all images, [`BATCH`] at a time.
fn classify(
    images: &[u8],
    model: impl Fn(Tensor<f32>) -> Result<Tensor<f32>, Box<dyn Error>>,
) -> Result<Run, Box<dyn Error>> {
    let start = Instant::now();
    let mut classes = Vec::new();
    for batch in images.chunks(BATCH * SIDE * SIDE) {
        let pixels = batch.iter().map(|&p| f32::from(p) / BLACK).collect();
        let count = batch.len() / (SIDE * SIDE);
        let logits = model(Tensor::new([count, 1, SIDE, SIDE], pixels)?)?;
        classes.extend(logits.data().chunks(10).map(likeliest));
    }
    Ok(Run { classes, time: start.elapsed() })
}

fn likeliest(logits: &[f32]) -> u8 {
    let best = (0u8..).zip(logits).max_by(|a, b| a.1.total_cmp(b.1));
    best.map_or(0, |(class, _)| class)
}

/// The share of places where two lists have the same element, in percent.
fn percent(a: &[u8], b: &[u8]) -> f64 {
    let same = a.iter().zip(b).filter(|(a, b)| a == b).count();
    100.0 * same as f64 / a.len() as f64
}
