//! The benchmarks of Lowtide, run by `cargo xtask bench [NAMES]`: each prints its figures beside a peer or a floor measured in
//! the same run, and says whether its goal is met. Nothing depends on it, and it changes nothing in the daemon.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "the figures are for people")]

#[cfg(target_os = "linux")]
mod suite;

#[cfg(target_os = "linux")]
fn main() -> anyhow::Result<std::process::ExitCode> {
    // This program starts itself as the compiler of addons, as the daemon does.
    match suite::compile_child() {
        Some(code) => Ok(code),
        None => suite::main().map(|()| std::process::ExitCode::SUCCESS),
    }
}

#[cfg(not(target_os = "linux"))]
fn main() {
    eprintln!("the benchmarks read /proc, so they run on Linux only");
}
