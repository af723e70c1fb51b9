//! Tells the library how it was optimized, so that it can warn when a large job runs unoptimized.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    #[allow(clippy::disallowed_methods)] // a build script has no `env` module to go through
    let level = std::env::var("OPT_LEVEL").unwrap_or_default();
    println!("cargo::rustc-env=MODEL_BUILD_OPT_LEVEL={level}");
}
