//! Exit codes, after sysexits.h and what systemd makes of them. Every command ends through one of these.

use std::process::ExitCode;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// All is well.
    Ok = 0,
    /// Found something wrong (doctor).
    Findings = 1,
    /// The command line is wrong (`EX_USAGE`).
    Usage = 64,
    /// The daemon cannot be reached, or the address or folder is taken (`EX_UNAVAILABLE`).
    Unavailable = 69,
    /// A defect, or the system refused something that it should not (`EX_SOFTWARE`).
    Failed = 70,
    /// A folder or file cannot be made (`EX_CANTCREAT`).
    CannotCreate = 73,
    /// Not now, try later (`EX_TEMPFAIL`).
    NotNow = 75,
    /// The daemon answered with something else than expected (`EX_PROTOCOL`).
    Protocol = 76,
    /// The daemon wants a token, or another one (`EX_NOPERM`).
    NoPermission = 77,
    /// The configuration is wrong (`EX_CONFIG`).
    Config = 78,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
