//! JavaScript: componentize-qjs. npm installs it into the project when it is nowhere.

use super::{made, scratch};
use crate::project::Project;
use crate::{AuthorError, Say, tools};
use std::path::PathBuf;
use std::process::Command;

pub(super) fn build(project: &Project, say: Say<'_>) -> Result<Vec<u8>, AuthorError> {
    let program = tool(project, say)?;
    let wasm = scratch(project)?.join("addon.wasm");
    say("building with componentize-qjs");
    // Its async ABI is one that this host does not take.
    tools::run(
        Command::new(program)
            .current_dir(&project.folder)
            .args([
                "--wit",
                "wit",
                "--world",
                "addon",
                "--js",
                "app.js",
                "--module-root",
                ".",
                "--sync",
                "--output",
            ])
            .arg(&wasm),
    )?;
    made(&wasm)
}

fn tool(project: &Project, say: Say<'_>) -> Result<PathBuf, AuthorError> {
    let own = project.folder.join("node_modules/.bin/componentize-qjs");
    if own.is_file() {
        return Ok(own);
    }
    if let Some(program) = tools::find("componentize-qjs") {
        return Ok(program);
    }
    let npm = tools::on_path("npm").ok_or_else(|| {
        AuthorError::Missing(
            "npm is not there: install Node.js 18 or newer (Debian: apt install nodejs npm)".to_owned(),
        )
    })?;
    say("installing componentize-qjs with npm install (once)");
    tools::run(Command::new(npm).current_dir(&project.folder).args([
        "install",
        "--no-audit",
        "--no-fund",
        "--loglevel=error",
    ]))?;
    Ok(own)
}
