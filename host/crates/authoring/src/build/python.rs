//! Python: componentize-py. It is installed into the project's own folder when it is nowhere.

use super::{made, scratch};
use crate::project::Project;
use crate::{AuthorError, Say, tools};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The version that the templates are written for.
const PACKAGE: &str = "componentize-py==0.25.1";

pub(super) fn build(project: &Project, say: Say<'_>) -> Result<Vec<u8>, AuthorError> {
    let scratch = scratch(project)?;
    let program = tool(&scratch.join("venv"), say)?;
    let wasm = scratch.join("addon.wasm");
    say("building with componentize-py; this takes half a minute");
    tools::run(
        Command::new(program)
            .current_dir(&project.folder)
            .args(["--quiet", "--wit-path", "wit", "--world", "addon", "componentize", "app", "--output"])
            .arg(&wasm),
    )?;
    made(&wasm)
}

fn tool(venv: &Path, say: Say<'_>) -> Result<PathBuf, AuthorError> {
    let own = venv.join("bin/componentize-py");
    if own.is_file() {
        return Ok(own);
    }
    if let Some(program) = tools::find("componentize-py") {
        return Ok(program);
    }
    let python = tools::on_path("python3").ok_or_else(|| {
        AuthorError::Missing(
            "python3 is not there: install Python 3.10 or newer (Debian: apt install python3-venv)"
                .to_owned(),
        )
    })?;
    say(&format!("installing {PACKAGE} into {} (once)", venv.display()));
    tools::run(Command::new(python).args(["-m", "venv"]).arg(venv))?;
    tools::run(Command::new(venv.join("bin/pip")).args(["install", "--quiet", PACKAGE]))?;
    Ok(own)
}
