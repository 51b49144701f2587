//! One module a command. A command prints, and answers with how it ended.

pub(crate) mod addon;
pub(crate) mod check;
pub(crate) mod config;
pub(crate) mod doctor;
pub(crate) mod history;
pub(crate) mod lease;
pub(crate) mod output;
pub(crate) mod run;
pub(crate) mod serve;
pub(crate) mod status;
pub(crate) mod token;
