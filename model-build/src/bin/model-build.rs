//! The tool `model-build`.

fn main() -> std::process::ExitCode {
    model_build::cli::main()
}
