//! The live experiment: how much heavy work hurts a service on the same machine, without control, with the tools that every
//! machine has, and under `lowtide run`. Run by `cargo xtask bench tide`; it depends on no crate of the daemon, which it only
//! starts. The parts are processes of their own, all of them this program: the first argument says which.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "the figures are for people")]

#[cfg(target_os = "linux")]
mod arm;
#[cfg(target_os = "linux")]
mod burn;
#[cfg(target_os = "linux")]
mod child;
#[cfg(target_os = "linux")]
mod daemon;
#[cfg(target_os = "linux")]
mod experiment;
#[cfg(target_os = "linux")]
mod heavy;
#[cfg(target_os = "linux")]
mod load;
#[cfg(target_os = "linux")]
mod machine;
#[cfg(target_os = "linux")]
mod options;
#[cfg(target_os = "linux")]
mod plan;
#[cfg(target_os = "linux")]
mod record;
#[cfg(target_os = "linux")]
mod report;
#[cfg(target_os = "linux")]
mod serve;
#[cfg(target_os = "linux")]
mod step;
#[cfg(target_os = "linux")]
mod watch;
#[cfg(target_os = "linux")]
mod yields;

#[cfg(target_os = "linux")]
fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (part, rest) = match arguments.split_first() {
        Some((first, rest)) => (first.as_str(), rest),
        None => ("", arguments.as_slice()),
    };
    match part {
        serve::PART => serve::main(rest),
        load::PART => load::main(rest),
        heavy::PART => heavy::main(rest),
        heavy::FORK_PART => heavy::fork_main(rest),
        step::PART => step::main(rest),
        _ => experiment::main(&arguments),
    }
}

#[cfg(not(target_os = "linux"))]
fn main() {
    eprintln!("the experiment needs Linux: it reads /proc and uses its scheduling classes");
}
