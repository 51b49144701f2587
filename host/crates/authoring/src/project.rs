//! An author's project: a folder with `addon.toml` and sources in one of four languages.

use crate::AuthorError;
use crate::error::read;
use lowtide_addons::id::AddonId;
use lowtide_addons::manifest::Manifest;
use std::path::{Path, PathBuf};

/// What an addon is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// With lowtide-sdk.
    Rust,
    /// With componentize-py.
    Python,
    /// With componentize-qjs.
    JavaScript,
    /// With wit-bindgen's bindings and clang.
    C,
}

impl Language {
    /// Every language with its word on the command line.
    pub const ALL: [(&'static str, Self); 4] =
        [("rust", Self::Rust), ("python", Self::Python), ("js", Self::JavaScript), ("c", Self::C)];

    /// The word on the command line, which is also the folder of its templates.
    #[must_use]
    pub fn word(self) -> &'static str {
        Self::ALL.iter().find(|(_, language)| *language == self).map_or("", |(word, _)| word)
    }

    /// The language of a folder, by the files in it.
    fn of(folder: &Path) -> Option<Self> {
        let has = |name: &str| folder.join(name).is_file();
        if has("Cargo.toml") {
            Some(Self::Rust)
        } else if has("app.py") {
            Some(Self::Python)
        } else if has("app.js") {
            Some(Self::JavaScript)
        } else {
            (!c_files(folder).is_empty()).then_some(Self::C)
        }
    }
}

/// The C files of a project, sorted.
pub(crate) fn c_files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "c"));
    files.sort();
    files
}

/// One addon's sources.
#[derive(Clone, Debug)]
pub struct Project {
    /// Where they are, as an absolute path.
    pub folder: PathBuf,
    /// What they are written in.
    pub language: Language,
    /// The manifest.
    pub manifest: Manifest,
    /// The same as it is written.
    pub manifest_text: String,
}

impl Project {
    /// Reads what a folder says of itself.
    ///
    /// # Errors
    /// When it is no project, or its manifest is wrong.
    pub fn open(folder: &Path) -> Result<Self, AuthorError> {
        let folder = folder.canonicalize().map_err(AuthorError::file("find", folder))?;
        let manifest_text = read_manifest(&folder)?;
        let id = manifest_id(&manifest_text)?;
        let manifest = Manifest::parse(&manifest_text, &id)
            .map_err(|error| AuthorError::Input(format!("{}: {error}", folder.display())))?;
        let language = Language::of(&folder).ok_or_else(|| {
            AuthorError::Input(format!(
                "{} has no Cargo.toml, app.py, app.js or *.c file: make a project with lowtide addon new",
                folder.display()
            ))
        })?;
        Ok(Self { folder, language, manifest, manifest_text })
    }

    /// The id.
    #[must_use]
    pub fn id(&self) -> &AddonId {
        &self.manifest.id
    }
}

fn read_manifest(folder: &Path) -> Result<String, AuthorError> {
    let path = folder.join("addon.toml");
    if !path.is_file() {
        return Err(AuthorError::Input(format!(
            "{} has no addon.toml: name the folder of an addon's project, or make one with lowtide addon new",
            folder.display()
        )));
    }
    read(&path)
}

/// The id that a manifest states.
pub(crate) fn manifest_id(text: &str) -> Result<AddonId, AuthorError> {
    let table: toml::Table =
        text.parse().map_err(|error| AuthorError::Input(format!("addon.toml is not TOML: {error}")))?;
    let id = table.get("id").and_then(toml::Value::as_str);
    let id =
        id.ok_or_else(|| AuthorError::Input("addon.toml has no id: add id = \"my-addon\"".to_owned()))?;
    AddonId::new(id).map_err(|error| AuthorError::Input(format!("addon.toml: {error}")))
}
