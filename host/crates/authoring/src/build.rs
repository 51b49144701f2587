//! `lowtide addon build`: makes `dist/<id>/` of a project, with whatever the author's language needs. It installs nothing outside of
//! the project's own folder, and never runs rustup.

mod c;
mod javascript;
mod python;
mod rust;

use crate::error::write;
use crate::project::{Language, Project};
use crate::{AuthorError, Say};
use lowtide_addons::capabilities::Capabilities;
use lowtide_addons::id::AddonId;
use std::path::{Path, PathBuf};

/// An addon that was built.
#[derive(Clone, Debug)]
pub struct Built {
    /// Its id.
    pub id: AddonId,
    /// The folder to copy: `<out>/<id>`.
    pub folder: PathBuf,
    /// Bytes of the component.
    pub bytes: u64,
    /// What the operator must add to the configuration; empty when it asks for nothing.
    pub grants: Vec<String>,
}

impl Built {
    /// The grants with the heading that they stand under.
    #[must_use]
    pub fn configuration(&self) -> Option<String> {
        let lines = self.grants.join("\n");
        (!lines.is_empty()).then(|| format!("[addon.{}.grants]\n{lines}\n", self.id))
    }
}

/// Builds the project in a folder, or all addons of a Cargo workspace, into `out`; without one into `dist` there.
///
/// # Errors
/// At the first thing that is missing or fails.
pub fn build(folder: &Path, out: Option<&Path>, say: Say<'_>) -> Result<Vec<Built>, AuthorError> {
    let folder = folder.canonicalize().map_err(AuthorError::file("find", folder))?;
    let out = out.map_or_else(|| folder.join("dist"), Path::to_owned);
    if folder.join("Cargo.toml").is_file() {
        return rust::build(&folder, &out, say);
    }
    let project = Project::open(&folder)?;
    let (wasm, language) = match project.language {
        Language::Python => (python::build(&project, say)?, "Python"),
        Language::JavaScript => (javascript::build(&project, say)?, "JavaScript"),
        // Rust was told by its Cargo.toml.
        Language::C | Language::Rust => (c::build(&project, say)?, "C"),
    };
    Ok(vec![place(&project, &signed(&wasm, language)?, &out)?])
}

/// The component with a note of its language: the tools of these languages name that of their interpreter or nothing.
fn signed(wasm: &[u8], language: &str) -> Result<Vec<u8>, AuthorError> {
    let mut producers = wasm_metadata::Producers::empty();
    producers.add("language", language, "");
    producers
        .add_to_wasm(wasm)
        .map_err(|error| AuthorError::Input(format!("what was built is no component: {error:#}")))
}

/// Puts component and manifest into `<out>/<id>`.
fn place(project: &Project, wasm: &[u8], out: &Path) -> Result<Built, AuthorError> {
    let id = project.id();
    let folder = out.join(id.as_str());
    write(&folder.join("addon.toml"), project.manifest_text.as_bytes())?;
    write(&folder.join(format!("{id}.wasm")), wasm)?;
    Ok(Built {
        id: id.clone(),
        folder,
        bytes: u64::try_from(wasm.len()).unwrap_or(u64::MAX),
        grants: project.manifest.asks.beyond(&Capabilities::default()),
    })
}

/// A file that a tool made.
fn made(path: &Path) -> Result<Vec<u8>, AuthorError> {
    std::fs::read(path).map_err(AuthorError::file("read what was built", path))
}

/// The folder for what a build leaves behind.
fn scratch(project: &Project) -> Result<PathBuf, AuthorError> {
    let folder = project.folder.join(".lowtide");
    std::fs::create_dir_all(&folder).map_err(AuthorError::file("make the folder", &folder))?;
    Ok(folder)
}
