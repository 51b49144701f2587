//! `cargo xtask tidy`, and the same as a test: rules of this repository that no other tool checks. A rule is a plain function
//! from a file to findings; exceptions with their reasons are in `tidy/exceptions.rs` only.

mod crates;
mod documents;
mod exceptions;
mod rust;
mod source;

use crate::project::Project;
use anyhow::{Context as _, Result, bail};
use std::fmt;
use std::path::{Path, PathBuf};

/// Folders that hold nothing written by hand: build output, data of `cargo xtask run`, version control.
const NOT_OURS: [&str; 5] = ["target", ".git", ".lowtide", "node_modules", "__pycache__"];

/// A broken rule at a place, with what to do about it.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    path: String,
    line: usize,
    rule: &'static str,
    advice: String,
}

impl Finding {
    fn new(path: &str, line: usize, rule: &'static str, advice: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, rule, advice: advice.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}: [{}] {}", self.path, self.line, self.rule, self.advice)
    }
}

/// One hand-written text file: its path from the root, with forward slashes, and its text.
struct File {
    path: String,
    text: String,
}

impl File {
    fn extension(&self) -> &str {
        Path::new(&self.path).extension().and_then(|extension| extension.to_str()).unwrap_or_default()
    }
}

/// Checks the whole repository and prints every finding.
pub(crate) fn run(project: &Project) -> Result<()> {
    let findings = check(&project.root)?;
    for finding in &findings {
        println!("{finding}");
    }
    match findings.len() {
        0 => {
            println!("tidy: nothing to say");
            Ok(())
        }
        count => bail!("tidy: {count} broken rules; each line above says what to do"),
    }
}

fn check(root: &Path) -> Result<Vec<Finding>> {
    let files = read_all(root)?;
    let mut found = Vec::new();
    for file in &files {
        found.extend(size(file));
        if file.extension() == "rs" {
            found.extend(rust::check(file));
        } else {
            found.extend(documents::unfinished(file));
        }
        if file.extension() == "md" {
            found.extend(documents::links(file, root));
        }
        if file.path.starts_with("docs/adr/") {
            found.extend(documents::decision_record(file));
        }
    }
    found.extend(crates::check(&files));
    found.extend(documents::addon_readmes(&files));
    found.extend(exceptions::unused(&files));
    found.sort();
    Ok(found)
}

/// A file that grows without end becomes the place for everything. Generated files and texts of others may be any length.
fn size(file: &File) -> Option<Finding> {
    const LINES_MAX: usize = 800;
    let by_hand = ["rs", "md", "toml", "wit", "sql", "html", "css", "js", "py", "sh"]
        .contains(&file.extension())
        && !file.path.starts_with("docs/reference/");
    let lines = file.text.lines().count();
    let listed = exceptions::LONG_FILES.iter().any(|(path, _)| *path == file.path);
    (by_hand && lines > LINES_MAX && !listed).then(|| {
        let advice = format!(
            "{lines} lines: split it by noun, or list it with a reason in xtask/src/tidy/exceptions.rs"
        );
        Finding::new(&file.path, 1, "size", advice)
    })
}

/// Every text file of the checkout, sorted by path. Files that are not UTF-8 (pictures, wasm) are left out.
fn read_all(root: &Path) -> Result<Vec<File>> {
    let mut files = Vec::new();
    let mut open = vec![PathBuf::new()];
    while let Some(folder) = open.pop() {
        let place = root.join(&folder);
        for entry in std::fs::read_dir(&place).with_context(|| format!("read {}", place.display()))? {
            let entry = entry?;
            let path = folder.join(entry.file_name());
            let kind = entry.file_type()?;
            if kind.is_dir() && !NOT_OURS.iter().any(|name| entry.file_name() == *name) {
                open.push(path);
            } else if kind.is_file()
                && let Ok(text) = std::fs::read_to_string(root.join(&path))
            {
                let parts: Vec<_> = path.iter().map(|part| part.to_string_lossy()).collect();
                files.push(File { path: parts.join("/"), text });
            }
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_repository_is_tidy() {
        let findings = check(&Project::find().unwrap().root).unwrap();
        let lines: Vec<_> = findings.iter().map(Finding::to_string).collect();
        assert!(lines.is_empty(), "broken rules; each line says what to do:\n{}", lines.join("\n"));
    }

    #[test]
    fn a_long_file_is_found_unless_it_is_generated() {
        let text = "x\n".repeat(801);
        let file = |path: &str| File { path: path.to_owned(), text: text.clone() };
        assert_eq!(size(&file("host/src/a.rs")).map(|finding| finding.rule), Some("size"));
        assert_eq!(size(&file("docs/reference/metrics.md")), None);
        assert_eq!(size(&file("Cargo.lock")), None);
        assert_eq!(size(&File { path: "a.rs".into(), text: "x\n".repeat(800) }), None);
    }
}
