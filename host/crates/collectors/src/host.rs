//! The definitions of those host collectors that exist both in a Linux and in a portable form: the same metrics under the same
//! names, whoever measures them. No measuring here. Both forms and the table in `lib.rs` use it.

pub(crate) mod cpu;
pub(crate) mod filesystem;
pub(crate) mod memory;
pub(crate) mod network;
pub(crate) mod system;
