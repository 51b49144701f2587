//! The author's tools: where they are, and running them. From the folder `LOWTIDE_GUEST_TOOLS` if it is set, else from the search path.

use crate::AuthorError;
use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The variable with the folder that has everything in `bin`; `cargo xtask guest-tools` makes one.
const GUEST_TOOLS: &str = "LOWTIDE_GUEST_TOOLS";

/// A program of the folder of guest tools.
pub(crate) fn guest_tool(name: &str) -> Option<PathBuf> {
    let program = Path::new(&env::var_os(GUEST_TOOLS)?).join("bin").join(name);
    program.is_file().then_some(program)
}

/// A program of the search path.
pub(crate) fn on_path(name: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?).map(|folder| folder.join(name)).find(|program| program.is_file())
}

/// Either of them.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    guest_tool(name).or_else(|| on_path(name))
}

/// Runs a tool that talks to the author itself. What it prints to standard output goes to standard error: the former is ours.
pub(crate) fn run(command: &mut Command) -> Result<(), AuthorError> {
    let program = name(command);
    let status = command
        .stdin(Stdio::null())
        .stdout(std::io::stderr())
        .status()
        .map_err(|error| AuthorError::Missing(format!("{program} cannot be started: {error}")))?;
    if status.success() { Ok(()) } else { Err(AuthorError::Tool { program, status: status.to_string() }) }
}

/// What a tool prints; an error with its words if it fails.
pub(crate) fn output(command: &mut Command) -> Result<String, AuthorError> {
    let program = name(command);
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| AuthorError::Missing(format!("{program} cannot be started: {error}")))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        let words = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Err(AuthorError::Input(format!("{program} failed ({}): {words}", output.status)))
    }
}

fn name(command: &Command) -> String {
    Path::new(command.get_program()).file_name().unwrap_or_default().to_string_lossy().into_owned()
}
