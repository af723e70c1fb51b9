//! The tool, built with the suites so that they can run it.

fn main() -> std::process::ExitCode {
    model_build::cli::main()
}
