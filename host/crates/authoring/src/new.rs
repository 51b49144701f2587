//! `lowtide addon new`: a small, complete project from templates that the program carries with it.

use crate::AuthorError;
use crate::error::write;
use crate::project::Language;
use lowtide_addons::id::AddonId;
use std::path::{Path, PathBuf};

include!(concat!(env!("OUT_DIR"), "/files.rs"));

/// Writes a project and returns its files, relative to its folder.
///
/// # Errors
/// When the name is no id, the folder is not empty, or something cannot be written.
pub fn create(name: &str, language: Language, folder: &Path) -> Result<Vec<PathBuf>, AuthorError> {
    let id = AddonId::new(name).map_err(|error| AuthorError::Input(error.to_string()))?;
    if !name.starts_with(|c: char| c.is_ascii_lowercase()) {
        return Err(AuthorError::Input(format!("{name:?} must begin with a letter: it names a package too")));
    }
    let taken = std::fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some());
    if taken {
        return Err(AuthorError::Input(format!(
            "{} is not empty: name another folder with --path",
            folder.display()
        )));
    }
    let mut files = Vec::new();
    for (path, text) in files_of(language) {
        write(&folder.join(&path), text.replace("{{id}}", id.as_str()).as_bytes())?;
        files.push(path);
    }
    files.sort();
    Ok(files)
}

/// What a project of a language consists of.
fn files_of(language: Language) -> Vec<(PathBuf, &'static str)> {
    let mut files = Vec::new();
    let own = Path::new(language.word());
    for (path, text) in TEMPLATES {
        let path = Path::new(path);
        if let Ok(path) = path.strip_prefix(own).or_else(|_| path.strip_prefix("common")) {
            files.push((plain_name(path), *text));
        } else if language != Language::Rust && path.starts_with("wit") {
            files.push((path.to_owned(), *text));
        }
    }
    let (folder, copied) = match language {
        Language::Rust => (".lowtide/sdk", SDK),
        _ => ("wit/deps/lowtide-addon", WIT),
    };
    files.extend(copied.iter().map(|(path, text)| (Path::new(folder).join(path), *text)));
    files
}

/// Templates whose names would mean something in this repository end in `.in`.
fn plain_name(path: &Path) -> PathBuf {
    if path.ends_with("gitignore.in") {
        return path.with_file_name(".gitignore");
    }
    if path.extension().is_some_and(|extension| extension == "in") {
        path.with_extension("")
    } else {
        path.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_language_has_what_a_project_needs() {
        for (word, language) in Language::ALL {
            let folder = tempfile::tempdir().unwrap();
            let files = create("my-tasks", language, folder.path()).unwrap();
            for name in ["README.md", "addon.toml", ".gitignore", "tests/counts.toml"] {
                assert!(files.contains(&PathBuf::from(name)), "{word} has no {name}");
            }
            for file in &files {
                let text = std::fs::read_to_string(folder.path().join(file)).unwrap();
                assert!(!text.contains("{{id}}"), "{word}: {} has a placeholder left", file.display());
            }
            let project = crate::project::Project::open(folder.path()).unwrap();
            assert_eq!((project.language, project.id().as_str()), (language, "my-tasks"));
            assert!(create("my-tasks", language, folder.path()).is_err(), "it is not empty");
        }
        assert!(create("9lives", Language::C, Path::new("/nowhere")).is_err());
    }
}
