//! `lowtide addon check`: everything that can be said of a built addon without calling it, and what its `describe` says. The same code
//! reads, inspects, compiles and starts it as in the daemon.

use crate::bench::{Bench, Setup, Stage};
use crate::{AuthorError, lint};
use lowtide_addons::AddonState;
use lowtide_addons::capabilities::Capabilities;
use lowtide_addons::caps::log::Level;
use lowtide_addons::discover::{self, AddonFiles};
use lowtide_addons::inspect::{Import, Inspection, inspect};
use lowtide_addons::{grants, limits};
use serde::Serialize;
use std::path::Path;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The addon, or one of its metrics, would not be taken.
    Error,
    /// It could be better.
    Warning,
}

/// Something that is wrong, or could be better.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// Stable word, as in the API.
    pub code: &'static str,
    /// What it is and what to do.
    pub text: String,
}

impl Finding {
    pub(crate) fn error(code: &'static str, text: impl ToString) -> Self {
        Self { severity: Severity::Error, code, text: text.to_string() }
    }

    pub(crate) fn warning(code: &'static str, text: impl ToString) -> Self {
        Self { severity: Severity::Warning, code, text: text.to_string() }
    }
}

/// A metric that the addon declares.
#[derive(Clone, Debug, Serialize)]
pub struct Metric {
    /// Full name without the exposition's prefix.
    pub name: String,
    /// `gauge`, `counter` or `histogram`.
    pub kind: lowtide_core::metric::Kind,
    /// Its unit.
    pub unit: &'static str,
    /// Its label keys.
    pub labels: Vec<String>,
    /// What it measures.
    pub help: String,
}

/// What is known of an addon.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// Its id, or the name of its file.
    pub name: String,
    /// Its own version.
    pub version: Option<String>,
    /// Bytes of the component.
    pub bytes: u64,
    /// The version of the contract that it was built for.
    pub wit_version: Option<String>,
    /// What it was made with, if it says so.
    pub made_with: Option<String>,
    /// What it exports.
    pub exports: Vec<&'static str>,
    /// What it imports of the contract.
    pub imports: Vec<&'static str>,
    /// What it asks for, as lines of the operator's configuration.
    pub asks: Vec<String>,
    /// The metrics that it declares.
    pub metrics: Vec<Metric>,
    /// Linear memory once it has started, in bytes.
    pub memory_bytes: u64,
    /// What is wrong or could be better.
    pub findings: Vec<Finding>,
}

impl Report {
    /// True when nothing would keep it, or a part of it, from working; with `strict` also when nothing could be better.
    #[must_use]
    pub fn passes(&self, strict: bool) -> bool {
        !self.findings.iter().any(|finding| strict || finding.severity == Severity::Error)
    }
}

/// Checks a `.wasm` file, an addon's folder, or a project that was built.
///
/// # Errors
/// When there is nothing to check, or no addon host can be made.
pub fn check(place: &Path) -> Result<Report, AuthorError> {
    let stage = Stage::new(place)?;
    let mut report = Report { name: stage.name.clone(), ..Report::default() };
    let read = stage.candidate().and_then(|candidate| discover::read(&candidate));
    let AddonFiles { manifest, wasm } = match read {
        Ok(files) => files,
        Err(error) => {
            report.findings.push(Finding::error(error.code(), error));
            return Ok(report);
        }
    };
    report.version.clone_from(&manifest.version);
    report.bytes = u64::try_from(wasm.len()).unwrap_or(u64::MAX);
    report.asks = manifest.asks.beyond(&Capabilities::default());
    let inspection = match inspect(&wasm) {
        Ok(inspection) => inspection,
        Err(error) => {
            report.findings.push(Finding::error(error.code(), error));
            return Ok(report);
        }
    };
    report.wit_version = Some(inspection.version.clone());
    report.made_with = (!inspection.languages.is_empty()).then(|| inspection.languages.join(", "));
    report.exports = inspection.exports.iter().map(|export| export.name()).collect();
    report.imports = inspection.imports.iter().map(|import| import.name()).collect();
    report.findings.extend(lint::size(report.bytes, &inspection));
    report.findings.extend(unused(&manifest.asks, &inspection));
    if manifest.description.is_none() {
        let text = "addon.toml has no description: one sentence tells the operator what they have there";
        report.findings.push(Finding::warning("no_description", text));
    }
    if let Err(error) = grants::ungranted(&manifest.id, &inspection, &manifest.asks, &manifest.asks) {
        report.findings.push(Finding::error(error.code(), error));
        return Ok(report);
    }
    describe(stage, &manifest.id, Setup::granting(manifest.asks), &mut report)?;
    Ok(report)
}

/// Starts it once and reads what it declares.
fn describe(
    stage: Stage,
    id: &lowtide_addons::id::AddonId,
    setup: Setup,
    report: &mut Report,
) -> Result<(), AuthorError> {
    let (bench, view) = Bench::start(stage, id, setup)?;
    if view.state != AddonState::Running {
        let finding = view.problem.map_or_else(
            || Finding::error("not_running", format!("it is {} instead of running", view.state.name())),
            |problem| Finding::error(problem.code, problem.text),
        );
        report.findings.push(finding);
    }
    report.memory_bytes = view.metered.memory_bytes;
    for def in &view.metrics {
        report.findings.extend(lint::metric(def, id));
        report.metrics.push(Metric {
            name: def.name.to_string(),
            kind: def.kind,
            unit: def.unit.name(),
            labels: def.labels.iter().map(ToString::to_string).collect(),
            help: def.help.to_string(),
        });
    }
    let lines = bench.host.newest_log(&bench.name, limits::LOG_LINES_KEPT).unwrap_or_default();
    if view.state == AddonState::Running {
        // What the host has to say of a definition it says in the addon's log.
        let refused = lines.iter().filter(|line| line.level == Level::Error);
        report.findings.extend(refused.map(|line| Finding::error("described_wrongly", &line.text)));
    }
    Ok(())
}

/// What the manifest asks for and the component cannot use.
fn unused(asks: &Capabilities, inspection: &Inspection) -> Vec<Finding> {
    let asked = [
        (asks.kv, Import::Kv, "kv"),
        (asks.leases.is_some(), Import::Leases, "leases"),
        (!asks.http.is_empty(), Import::Http, "http"),
        (!asks.host_data.is_empty(), Import::HostData, "host_data"),
    ];
    let unused =
        asked.into_iter().filter(|(asked, import, _)| *asked && !inspection.imports.contains(import));
    let advice = "no operator should grant what is not needed: remove it from [asks]";
    unused
        .map(|(_, _, key)| {
            Finding::warning("unused_ask", format!("asks for {key} and does not import it; {advice}"))
        })
        .collect()
}
