//! Builds the models that `Cargo.toml` declares.

fn main() {
    model_build::build();
}
