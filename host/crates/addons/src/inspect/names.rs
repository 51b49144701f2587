//! Judges the names at the surface of a component: which interfaces, of which version, and whether this host has them.

use super::shape::{Item, Shape};
use super::{Export, Import, InspectError, WIT_VERSION};
use std::collections::BTreeSet;

/// Characters of a name that an error repeats.
const NAME_CHARS_MAX: usize = 120;

/// The parts of WASI 0.2 that are there, with nothing behind them unless granted.
const WASI: [&str; 6] = ["cli", "io", "clocks", "filesystem", "random", "sockets"];

impl Export {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Collector, Self::Presence, Self::CustomStats, Self::Health, Self::Job];

    /// Its name in the WIT package.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Collector => "collector",
            Self::Presence => "presence",
            Self::CustomStats => "custom-stats",
            Self::Health => "health",
            Self::Job => "job",
        }
    }
}

impl Import {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Metrics,
        Self::Leases,
        Self::System,
        Self::Log,
        Self::Config,
        Self::Kv,
        Self::Http,
        Self::HostData,
    ];

    /// Its name in the WIT package.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Metrics => "metrics",
            Self::Leases => "leases",
            Self::System => "system",
            Self::Log => "log",
            Self::Config => "config",
            Self::Kv => "kv",
            Self::Http => "http",
            Self::HostData => "host-data",
        }
    }
}

/// Interface and version of a name of our package.
fn ours(name: &str) -> Option<(&str, &str)> {
    let rest = name.strip_prefix("lowtide:addon/")?;
    Some(rest.split_once('@').unwrap_or((rest, "")))
}

/// Three plain numbers. What has more to it, such as `0.1.0-draft`, is compatible with nothing.
fn numbers(version: &str) -> Option<(u32, u32, u32)> {
    let mut parts =
        version.split('.').map(|part| part.parse::<u32>().ok().filter(|_| !part.starts_with('+')));
    let numbers = (parts.next()??, parts.next()??, parts.next()??);
    parts.next().is_none().then_some(numbers)
}

/// The newest version of our package among all names.
pub(super) fn version(shape: &Shape) -> Result<String, InspectError> {
    let mut newest = None;
    for item in shape.imports.iter().chain(&shape.exports) {
        let Some((_, version)) = ours(&item.name) else { continue };
        match numbers(version) {
            Some(numbers @ (0, 1, _)) => newest = newest.max(Some(numbers)),
            _ => {
                let wanted = if version.is_empty() { "without a version" } else { version };
                return Err(InspectError::FutureVersion { name: shown(&item.name), wanted: shown(wanted) });
            }
        }
    }
    newest.map(|(major, minor, patch)| format!("{major}.{minor}.{patch}")).ok_or(InspectError::NoExports)
}

/// What is imported of ours, and whether WASI is.
pub(super) fn imports(shape: &Shape) -> Result<(BTreeSet<Import>, bool), InspectError> {
    let mut found = BTreeSet::new();
    let mut wasi = false;
    for Item { name, is_instance } in &shape.imports {
        let refused = |advice| Err(InspectError::UnknownImport { name: shown(name), advice });
        if !is_instance {
            return refused("import whole interfaces of lowtide:addon or wasi");
        }
        if let Some((interface, _)) = ours(name) {
            match Import::ALL.into_iter().find(|import| import.name() == interface) {
                Some(import) => {
                    found.insert(import);
                }
                None if interface == "types" => {}
                None if Export::ALL.iter().any(|export| export.name() == interface) => {
                    return refused("it is for addons to export, not to import");
                }
                None => return Err(unknown(name, interface, &Import::ALL.map(Import::name))),
            }
        } else if let Some((package, version)) = name.strip_prefix("wasi:").and_then(|rest| {
            let (path, version) = rest.split_once('@')?;
            Some((path.split_once('/')?.0, version))
        }) {
            if package == "http" {
                return refused("use lowtide:addon/http instead");
            } else if !WASI.contains(&package) {
                return refused("of WASI there are cli, io, clocks, filesystem, random and sockets");
            } else if !matches!(numbers(version), Some((0, 2, _))) {
                return refused("build it against WASI 0.2, for example for wasm32-wasip2");
            }
            wasi = true;
        } else {
            return refused(
                "an addon can import lowtide:addon and WASI 0.2 only; link everything else into it",
            );
        }
    }
    Ok((found, wasi))
}

/// What is exported of ours. Exports of other packages hurt nobody.
pub(super) fn exports(shape: &Shape) -> Result<BTreeSet<Export>, InspectError> {
    let mut found = BTreeSet::new();
    for Item { name, is_instance } in &shape.exports {
        let Some((interface, _)) = ours(name) else { continue };
        let known = Export::ALL.into_iter().find(|export| export.name() == interface);
        match known {
            Some(export) if *is_instance => {
                found.insert(export);
            }
            Some(_) => {}
            None if interface == "types" || Import::ALL.iter().any(|import| import.name() == interface) => {}
            None => return Err(unknown(name, interface, &Export::ALL.map(Export::name))),
        }
    }
    if found.is_empty() { Err(InspectError::NoExports) } else { Ok(found) }
}

fn unknown(name: &str, interface: &str, known: &[&'static str]) -> InspectError {
    let interface: String = interface.chars().take(NAME_CHARS_MAX).collect();
    let nearest = known.iter().map(|name| (distance(&interface, name), name)).min();
    let advice = match nearest {
        Some((distance, nearest)) if distance <= 3 => format!("did you mean {nearest}"),
        _ => format!("the interfaces of {WIT_VERSION} are {}", known.join(", ")),
    };
    InspectError::UnknownInterface { name: shown(name), advice }
}

/// How many letters must be put in, taken out or changed to make one name of the other (Levenshtein).
fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.chars().count()).collect();
    for (above, letter) in one.chars().enumerate() {
        let mut left = above + 1;
        let mut next = vec![left];
        for (pair, with) in row.windows(2).zip(other.chars()) {
            let [diagonal, up] = pair else { continue };
            left = (left + 1).min(up + 1).min(diagonal + usize::from(letter != with));
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

/// A name as an error may show it. The validator has not necessarily seen it.
fn shown(name: &str) -> String {
    crate::manifest::printable(&name.chars().take(NAME_CHARS_MAX).collect::<String>())
}
