//! The program `lowtide`: command line, configuration, and the wiring of the inner crates. It decides nothing by itself.

pub mod cli;
mod client;
mod commands;
pub mod config;
pub mod doctor;
mod exit;
mod logging;
pub mod port_holder;
