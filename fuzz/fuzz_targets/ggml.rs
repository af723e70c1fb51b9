//! Feeds arbitrary bytes to `ggml` of the bodies that the test suite runs too.
#![no_main]

#[path = "../../tests/src/fuzzing.rs"]
#[allow(dead_code)] // each target uses one of the bodies
mod fuzzing;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    fuzzing::ggml(data);
});
