//! Integration tests: one binary, one module a noun. Everything here talks to the real program over its socket, its signals
//! and its exit codes, or steps the tick by hand; what a module checks by itself stands beside that module.
//!
//! `cargo xtask test` builds the program and names it in `LOWTIDE_TEST_BIN`, with the peers that some tests compare with.

#[cfg(test)]
mod access;
#[cfg(test)]
mod addons;
#[cfg(test)]
mod api;
#[cfg(test)]
mod cli;
#[cfg(test)]
mod daemon;
#[cfg(test)]
mod drift;
#[cfg(test)]
mod events;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod golden;
#[cfg(test)]
mod history;
#[cfg(test)]
mod http;
#[cfg(test)]
mod leases;
#[cfg(test)]
mod lifecycle;
#[cfg(test)]
mod load;
#[cfg(test)]
mod peers;
#[cfg(test)]
mod random;
#[cfg(test)]
mod raw;
#[cfg(test)]
mod run;
#[cfg(test)]
mod schema;
#[cfg(test)]
mod sim;
#[cfg(test)]
mod soak;
#[cfg(test)]
mod verdict;
