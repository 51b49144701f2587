//! The binary: everything is in the library, so that tests and the generator can reach it.

fn main() -> std::process::ExitCode {
    lowtide::cli::main()
}
