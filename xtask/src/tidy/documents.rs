//! Rules for texts: links lead somewhere, decision records have their parts, addon examples have a README, nothing is left
//! marked as unfinished.

use super::{File, Finding, exceptions};
use std::collections::BTreeSet;
use std::path::Path;

/// Notes about unfinished work in anything but Rust and Markdown: scripts, manifests, SQL, WIT.
pub(super) fn unfinished(file: &File) -> Vec<Finding> {
    let listed = exceptions::UNFINISHED.iter().any(|(path, _)| *path == file.path);
    if listed || file.extension() == "md" || file.path.starts_with("LICENSE-") || file.path == "Cargo.lock" {
        return Vec::new();
    }
    let lines = file.text.lines().enumerate().filter(|(_, line)| is_unfinished(line));
    let advice = "finish it, or file it as an issue and say what holds now";
    lines.map(|(at, _)| Finding::new(&file.path, at + 1, "unfinished", advice)).collect()
}

/// True for a line with one of the usual marks.
pub(super) fn is_unfinished(line: &str) -> bool {
    line.split(|character: char| !character.is_alphanumeric())
        .any(|word| ["TODO", "FIXME", "XXX"].contains(&word))
}

/// Links of a Markdown file to files that do not exist. Links to other places are not followed.
pub(super) fn links(file: &File, root: &Path) -> Vec<Finding> {
    let folder = root.join(&file.path).parent().map(Path::to_path_buf).unwrap_or_default();
    let mut found = Vec::new();
    let mut in_code = false;
    for (at, line) in file.text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        } else if !in_code {
            for target in targets(line) {
                let path = target.split('#').next().unwrap_or_default();
                let elsewhere = target.contains("://") || target.starts_with("mailto:") || path.is_empty();
                if !elsewhere && (path.starts_with('/') || !folder.join(path).exists()) {
                    let advice =
                        format!("{target} is not there: links to files are relative to {}", file.path);
                    found.push(Finding::new(&file.path, at + 1, "link", advice));
                }
            }
        }
    }
    found
}

/// The targets of `[text](target)` in a line, outside of `code`.
fn targets(line: &str) -> Vec<&str> {
    let prose = line.split('`').step_by(2);
    // A link's text may itself be code, so `](` may stand at the beginning of a piece.
    prose
        .flat_map(|piece| piece.split("](").skip(1))
        .filter_map(|rest| rest.split(')').next())
        .map(|target| target.split_whitespace().next().unwrap_or_default())
        .collect()
}

/// A decision record is named `NNN-words.md` and has a title with its number, Context, Decision and Consequences.
pub(super) fn decision_record(file: &File) -> Vec<Finding> {
    let name = file.path.rsplit('/').next().unwrap_or_default();
    let number = name.split('-').next().unwrap_or_default();
    let mut missing = Vec::new();
    if number.len() != 3 || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        missing.push("a file name NNN-words.md".to_owned());
    }
    if !file.text.starts_with(&format!("# {number}: ")) {
        missing.push(format!("a first line \"# {number}: Title\""));
    }
    for section in ["## Context", "## Decision", "## Consequences"] {
        if !file.text.lines().any(|line| line == section) {
            missing.push(format!("the section {section}"));
        }
    }
    missing.into_iter().map(|what| Finding::new(&file.path, 1, "adr", format!("missing {what}"))).collect()
}

/// Every folder of an example addon says what it shows.
pub(super) fn addon_readmes(files: &[File]) -> Vec<Finding> {
    let folders: BTreeSet<&str> = files
        .iter()
        .filter_map(|file| {
            file.path.strip_prefix("example-addons/")?.split_once('/').map(|(folder, _)| folder)
        })
        .filter(|folder| !folder.starts_with('.'))
        .collect();
    folders
        .into_iter()
        .map(|folder| format!("example-addons/{folder}/README.md"))
        .filter(|readme| !files.iter().any(|file| file.path == *readme))
        .map(|readme| {
            Finding::new(&readme, 1, "readme", "every example says what it shows and how to build it")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> File {
        File { path: path.to_owned(), text: text.to_owned() }
    }

    #[test]
    fn dead_links_are_found_and_others_left_alone() {
        let text = "[a](gone.md) [b](Cargo.toml#x) [`c`](also/gone.md \"title\")\n[d](#here) [e](mailto:x@y) `[f](no.md)`\n```\n[g](no.md)\n```\n[h](/Cargo.toml)\n";
        let root = crate::project::Project::find().unwrap().root;
        let lines: Vec<_> =
            links(&file("README.md", text), &root).iter().map(|finding| finding.line).collect();
        assert_eq!(lines, [1, 1, 6]);
    }

    #[test]
    fn a_decision_record_without_its_parts_is_found() {
        assert_eq!(decision_record(&file("docs/adr/1-x.md", "# 1: X\n")).len(), 4);
        let whole = "# 001: X\n\n## Context\n\n## Decision\n\n## Consequences\n";
        assert!(decision_record(&file("docs/adr/001-x.md", whole)).is_empty());
        assert_eq!(decision_record(&file("docs/adr/002-x.md", whole)).len(), 1);
    }

    #[test]
    fn an_example_addon_needs_a_readme() {
        let files = [file("example-addons/README.md", ""), file("example-addons/hello/src/lib.rs", "")];
        let found = addon_readmes(&files);
        assert_eq!(
            found.iter().map(|finding| finding.path.as_str()).collect::<Vec<_>>(),
            ["example-addons/hello/README.md"]
        );
    }

    #[test]
    fn notes_in_scripts_are_found_by_word() {
        assert_eq!(unfinished(&file(".ci/run", "x\n# TODO: y\n")).len(), 1);
        assert!(unfinished(&file("a.toml", "mastodon = 1 # TODOS\n")).is_empty());
    }
}
