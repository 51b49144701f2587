//! `lowtide addon check`: what is wrong with an addon, before it is installed.

use crate::commands::output::{complain, out, pretty};
use crate::exit::Exit;
use clap::Args;
use lowtide_authoring::check::{Finding, Report, Severity, check};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// `lowtide addon check`.
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// A `.wasm` file, an addon's folder, or a project that was built
    #[arg(default_value = ".")]
    path: PathBuf,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
    /// Warnings fail too
    #[arg(long)]
    strict: bool,
}

pub(crate) fn run(args: &CheckArgs) -> Exit {
    one(&args.path, args.json, args.strict)
}

/// Checks one addon and prints what was found.
pub(super) fn one(place: &Path, json: bool, strict: bool) -> Exit {
    match check(place) {
        Ok(report) => {
            out(&if json { pretty(&report) } else { describe(&report) });
            if report.passes(strict) { Exit::Ok } else { Exit::Findings }
        }
        Err(error) => {
            complain(&error.to_string());
            super::author::exit_of(&error)
        }
    }
}

fn describe(report: &Report) -> String {
    let words = |words: &[&str]| if words.is_empty() { "nothing".to_owned() } else { words.join(", ") };
    let version = report.version.as_deref().unwrap_or("without a version");
    let mut text = format!("{} {version}, {:.0} KB", report.name, report.bytes as f64 / 1e3);
    if let Some(made_with) = &report.made_with {
        let _ = write!(text, ", made with {made_with}");
    }
    text.push('\n');
    if let Some(wit) = &report.wit_version {
        let _ = writeln!(text, "  contract  lowtide:addon {wit}");
        let _ = writeln!(text, "  exports   {}", words(&report.exports));
        let _ = writeln!(text, "  imports   {}", words(&report.imports));
    }
    for line in &report.asks {
        let _ = writeln!(text, "  asks for  {line}");
    }
    for metric in &report.metrics {
        let labels = if metric.labels.is_empty() {
            String::new()
        } else {
            format!("{{{}}}", metric.labels.join(", "))
        };
        let _ = writeln!(text, "  metric    {}{labels}: {}", metric.name, metric.help);
    }
    text.push_str(&findings(&report.findings));
    if report.findings.is_empty() {
        text.push_str("  nothing to say against it\n");
    }
    text
}

/// One line for each finding.
pub(super) fn findings(findings: &[Finding]) -> String {
    findings.iter().fold(String::new(), |mut text, finding| {
        let severity = match finding.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        let _ = writeln!(text, "  {severity}: {} [{}]", finding.text.replace('\n', "\n    "), finding.code);
        text
    })
}
