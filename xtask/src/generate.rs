//! `cargo xtask gen`: the pages of `docs/reference` come from the code, through the example `generate` of the package
//! `lowtide`. `--check` compares without writing, so that a forgotten run fails in CI. No generated file is edited by hand.

use crate::project::{self, Project};
use anyhow::{Context as _, Result, bail};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const REFERENCE: &str = "docs/reference";

/// Writes `docs/reference` anew. Files that the code no longer makes are removed.
pub(crate) fn write(project: &Project) -> Result<()> {
    let made = generate(project)?;
    let reference = project.root.join(REFERENCE);
    let new = files(&made)?;
    for name in files(&reference)?.keys().filter(|name| !new.contains_key(*name)) {
        std::fs::remove_file(reference.join(name))?;
        println!("removed {REFERENCE}/{}", name.display());
    }
    for (name, content) in &new {
        let file = reference.join(name);
        if std::fs::read(&file).ok().as_ref() != Some(content) {
            std::fs::create_dir_all(file.parent().context("file without a folder")?)?;
            std::fs::write(&file, content).with_context(|| format!("write {}", file.display()))?;
            println!("wrote {REFERENCE}/{}", name.display());
        }
    }
    Ok(())
}

/// Fails if `docs/reference` is not what the code makes, byte for byte.
pub(crate) fn check(project: &Project) -> Result<()> {
    let made = generate(project)?;
    let differences = differences(&files(&project.root.join(REFERENCE))?, &files(&made)?);
    for difference in &differences {
        println!("{REFERENCE}/{difference}");
    }
    if !differences.is_empty() {
        bail!("{REFERENCE} is not what the code makes: run cargo xtask gen and commit the result");
    }
    println!("{REFERENCE} is what the code makes");
    Ok(())
}

/// Lets the code write its pages into an empty folder, and returns that folder.
fn generate(project: &Project) -> Result<PathBuf> {
    // The whole workspace is selected so that the dependencies are built with the same features as for the tests, once.
    project::run(&mut project.cargo(["build", "--workspace", "--locked", "--example", "generate"]))?;
    let folder = project.target.join("reference");
    if folder.exists() {
        std::fs::remove_dir_all(&folder).with_context(|| format!("clear {}", folder.display()))?;
    }
    std::fs::create_dir_all(&folder)?;
    let program = project.built("debug", "examples/generate");
    project::run(project.command(program).arg(&folder))?;
    if files(&folder)?.is_empty() {
        bail!("the example `generate` wrote nothing");
    }
    Ok(folder)
}

type Files = BTreeMap<PathBuf, Vec<u8>>;

/// Every file below a folder by its relative path; empty if there is no such folder.
fn files(folder: &Path) -> Result<Files> {
    let mut found = Files::new();
    let mut open = vec![folder.to_path_buf()];
    while let Some(next) = open.pop() {
        if !next.is_dir() {
            continue;
        }
        for entry in std::fs::read_dir(&next).with_context(|| format!("read {}", next.display()))? {
            let path = entry?.path();
            if path.is_dir() {
                open.push(path);
            } else {
                let name = path.strip_prefix(folder)?.to_path_buf();
                found.insert(name, std::fs::read(&path)?);
            }
        }
    }
    Ok(found)
}

/// One line for each file that is missing, surplus, or different, with the first line that differs.
fn differences(have: &Files, want: &Files) -> Vec<String> {
    let mut found = Vec::new();
    for (name, wanted) in want {
        match have.get(name) {
            None => found.push(format!("{}: missing", name.display())),
            Some(content) if content != wanted => {
                found.push(format!("{}:{}", name.display(), first_difference(content, wanted)));
            }
            Some(_) => {}
        }
    }
    let surplus = have.keys().filter(|name| !want.contains_key(*name));
    found.extend(surplus.map(|name| format!("{}: the code no longer makes this file", name.display())));
    found
}

fn first_difference(have: &[u8], want: &[u8]) -> String {
    let have = String::from_utf8_lossy(have);
    let want = String::from_utf8_lossy(want);
    let (mut old, mut new) = (have.split('\n'), want.split('\n'));
    let mut line = 1;
    loop {
        match (old.next(), new.next()) {
            (None, None) => return format!("{line}: differs in bytes that are not text"),
            (a, b) if a == b => line += 1,
            (a, b) => {
                let end = "(end of file)";
                return format!("{line}: is {:?}, should be {:?}", a.unwrap_or(end), b.unwrap_or(end));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(files: &[(&str, &str)]) -> Files {
        files.iter().map(|(name, text)| (PathBuf::from(name), text.as_bytes().to_vec())).collect()
    }

    #[test]
    fn missing_surplus_and_changed_files_are_named() {
        let have = set(&[("same.md", "x"), ("old.md", "x"), ("changed.md", "one\ntwo\n")]);
        let want = set(&[("same.md", "x"), ("new.md", "x"), ("changed.md", "one\n2\n")]);
        assert_eq!(
            differences(&have, &want),
            [
                "changed.md:2: is \"two\", should be \"2\"",
                "new.md: missing",
                "old.md: the code no longer makes this file",
            ]
        );
    }

    #[test]
    fn a_missing_last_line_end_is_a_difference() {
        let found = differences(&set(&[("a", "one\n")]), &set(&[("a", "one")]));
        assert_eq!(found, ["a:2: is \"\", should be \"(end of file)\""]);
    }
}
