//! `cargo model-build`: the same tool, called by cargo.

fn main() -> std::process::ExitCode {
    model_build::cli::main()
}
