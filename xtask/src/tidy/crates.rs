//! Rules for the workspace's manifests: the dependency direction of ARCHITECTURE.md, versions in one place, lints inherited.
//! Reads the manifests line by line; a form that it does not know is a finding, so nothing passes unread.

use super::{File, Finding};

/// A crate of the workspace and the crates of the workspace that it may depend on.
struct Rule {
    manifest: &'static str,
    name: &'static str,
    inner: &'static [&'static str],
}

/// From the inside out. Collectors, addons and store do not know each other; nothing may depend on the last four.
const RULES: [Rule; 15] = [
    Rule { manifest: "host/crates/core/Cargo.toml", name: "lowtide-core", inner: &[] },
    Rule { manifest: "host/crates/clock/Cargo.toml", name: "lowtide-clock", inner: &["lowtide-core"] },
    Rule {
        manifest: "host/crates/collectors/Cargo.toml",
        name: "lowtide-collectors",
        inner: &["lowtide-core", "lowtide-clock"],
    },
    Rule {
        manifest: "host/crates/addons/Cargo.toml",
        name: "lowtide-addons",
        inner: &["lowtide-core", "lowtide-clock"],
    },
    Rule { manifest: "host/crates/access/Cargo.toml", name: "lowtide-access", inner: &["lowtide-core"] },
    Rule { manifest: "host/crates/store/Cargo.toml", name: "lowtide-store", inner: &["lowtide-core"] },
    Rule {
        manifest: "host/crates/app/Cargo.toml",
        name: "lowtide-app",
        inner: &["lowtide-core", "lowtide-clock", "lowtide-collectors", "lowtide-addons", "lowtide-store"],
    },
    Rule {
        manifest: "host/crates/api/Cargo.toml",
        name: "lowtide-api",
        inner: &[
            "lowtide-core",
            "lowtide-access",
            "lowtide-clock",
            "lowtide-collectors",
            "lowtide-addons",
            "lowtide-app",
        ],
    },
    Rule {
        manifest: "host/crates/authoring/Cargo.toml",
        name: "lowtide-authoring",
        inner: &["lowtide-core", "lowtide-clock", "lowtide-addons"],
    },
    Rule {
        manifest: "host/crates/run/Cargo.toml",
        name: "lowtide-run",
        inner: &["lowtide-core", "lowtide-clock"],
    },
    Rule { manifest: "host/Cargo.toml", name: "lowtide", inner: LIBRARIES },
    Rule { manifest: "tests/Cargo.toml", name: "lowtide-tests", inner: DAEMON },
    Rule { manifest: "benches/Cargo.toml", name: "lowtide-benches", inner: DAEMON },
    Rule { manifest: "benches/tide/Cargo.toml", name: "lowtide-tide", inner: &[] },
    Rule { manifest: "xtask/Cargo.toml", name: "xtask", inner: &[] },
];

const LIBRARIES: &[&str] = &[
    "lowtide-core",
    "lowtide-access",
    "lowtide-clock",
    "lowtide-collectors",
    "lowtide-addons",
    "lowtide-store",
    "lowtide-app",
    "lowtide-api",
    "lowtide-authoring",
    "lowtide-run",
];

const DAEMON: &[&str] = &[
    "lowtide-core",
    "lowtide-access",
    "lowtide-clock",
    "lowtide-collectors",
    "lowtide-addons",
    "lowtide-store",
    "lowtide-app",
    "lowtide-api",
    "lowtide-authoring",
    "lowtide-run",
    "lowtide",
];

/// All that the pure crate may use from outside; its tests may use more.
const CORE_OUTSIDE: [&str; 2] = ["serde", "thiserror"];

/// Folders with workspaces of their own: guests that are built for WebAssembly, and fuzz targets.
const OWN_WORKSPACES: [&str; 5] =
    ["benches/guests/", "example-addons/", "tests/fixture-addons/", "guest-sdk/", "fuzz/"];

pub(super) fn check(files: &[File]) -> Vec<Finding> {
    let manifests = files.iter().filter(|file| {
        file.path.ends_with("/Cargo.toml")
            && !OWN_WORKSPACES.iter().any(|folder| file.path.starts_with(folder))
    });
    manifests.flat_map(manifest).collect()
}

fn manifest(file: &File) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut add =
        |line: usize, rule, advice: String| found.push(Finding::new(&file.path, line, rule, advice));
    let Some(rule) = RULES.iter().find(|rule| rule.manifest == file.path) else {
        add(1, "crates", "a new crate needs its place in the table of xtask/src/tidy/crates.rs".to_owned());
        return found;
    };
    let mut section = "";
    let mut inherits = false;
    for (at, line) in file.text.lines().enumerate() {
        let (line, at) = (line.split('#').next().unwrap_or_default().trim(), at + 1);
        if let Some(header) = line.strip_prefix('[') {
            section = header.trim_end_matches(']').trim_matches('[');
            if names_dependencies(section.rsplit_once('.').map_or("", |(table, _)| table)) {
                add(at, "versions", "write a dependency as one line: name.workspace = true".to_owned());
            }
            continue;
        }
        let Some((key, value)) = line.split_once('=').map(|(key, value)| (key.trim(), value.trim())) else {
            continue;
        };
        inherits |= section == "lints" && key == "workspace" && value == "true";
        if !names_dependencies(section) {
            continue;
        }
        let name = key.trim_end_matches(".workspace").trim_matches('"');
        let from_workspace = (key.ends_with(".workspace") && value == "true")
            || value.replace(' ', "").contains("workspace=true");
        if !from_workspace {
            add(
                at,
                "versions",
                format!("put {name} into [workspace.dependencies] and write {name}.workspace = true"),
            );
        }
        if RULES.iter().any(|other| other.name == name) {
            if !rule.inner.contains(&name) {
                let advice = format!(
                    "{} must not depend on {name}: see the dependency direction in ARCHITECTURE.md",
                    rule.name
                );
                add(at, "direction", advice);
            }
        } else if rule.name == "lowtide-core" && section == "dependencies" && !CORE_OUTSIDE.contains(&name) {
            let advice = format!(
                "the pure crate uses {} only: move what needs {name} outward",
                CORE_OUTSIDE.join(" and ")
            );
            add(at, "direction", advice);
        }
    }
    if !inherits {
        add(1, "lints", "add [lints] workspace = true".to_owned());
    }
    found
}

/// True for `dependencies`, `dev-dependencies`, `target.'cfg(unix)'.dependencies` and so on.
fn names_dependencies(section: &str) -> bool {
    ["dependencies", "dev-dependencies", "build-dependencies"].iter().any(|table| {
        section.strip_suffix(table).is_some_and(|before| before.is_empty() || before.ends_with('.'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINTS: &str = "[lints]\nworkspace = true\n";

    fn rules(path: &str, text: &str) -> Vec<(usize, &'static str)> {
        let files = [File { path: path.to_owned(), text: text.to_owned() }];
        check(&files).into_iter().map(|finding| (finding.line, finding.rule)).collect()
    }

    #[test]
    fn an_arrow_outward_is_found_in_every_kind_of_table() {
        let text = format!(
            "[dependencies]\nlowtide-core.workspace = true\nlowtide-api.workspace = true\n[dev-dependencies]\nlowtide.workspace = true\n[target.'cfg(unix)'.dependencies]\nxtask = {{ workspace = true }}\n{LINTS}"
        );
        assert_eq!(
            rules("host/crates/app/Cargo.toml", &text),
            [(3, "direction"), (5, "direction"), (7, "direction")]
        );
    }

    #[test]
    fn the_pure_crate_takes_only_its_two_from_outside() {
        let text = format!(
            "[dependencies]\nserde.workspace = true\ntokio.workspace = true # no\n[dev-dependencies]\nproptest.workspace = true\n{LINTS}"
        );
        assert_eq!(rules("host/crates/core/Cargo.toml", &text), [(3, "direction")]);
    }

    #[test]
    fn versions_stand_in_the_workspace_only() {
        let text = format!("[dependencies]\nanyhow = \"1\"\n[dependencies.toml]\nversion = \"1\"\n{LINTS}");
        assert_eq!(rules("xtask/Cargo.toml", &text), [(2, "versions"), (3, "versions")]);
        let plain =
            format!("[package]\nversion.workspace = true\n[dependencies]\nanyhow.workspace = true\n{LINTS}");
        assert!(rules("xtask/Cargo.toml", &plain).is_empty());
    }

    #[test]
    fn lints_are_inherited_and_new_crates_get_a_place() {
        assert_eq!(rules("xtask/Cargo.toml", "[dependencies]\n"), [(1, "lints")]);
        assert_eq!(rules("host/crates/new/Cargo.toml", LINTS), [(1, "crates")]);
        assert!(rules("example-addons/hello/Cargo.toml", "").is_empty());
    }
}
