//! `lowtide addon run --once`: what an addon gives on this machine.

use super::check::findings;
use crate::commands::output::{complain, out, pretty};
use crate::exit::Exit;
use clap::Args;
use lowtide_addons::Setting;
use lowtide_addons::capabilities::Capabilities;
use lowtide_authoring::run::{Options, Outcome, once, setting};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// `lowtide addon run`.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// A `.wasm` file, an addon's folder, or a project that was built
    #[arg(default_value = ".")]
    path: PathBuf,
    /// Call each export once and end; there is no other way yet
    #[arg(long, required = true)]
    once: bool,
    /// Settings of the operator, such as `limit=5` or `urls=["http://nas"]`
    #[arg(long, value_name = "KEY=VALUE", num_args = 1.., value_parser = setting)]
    settings: Vec<(String, Setting)>,
    /// Grant all that addon.toml asks for
    #[arg(long)]
    grant_all: bool,
    /// Grant what stands in this file, written as under `[addon.<id>.grants]`
    #[arg(long, value_name = "FILE", conflicts_with = "grant_all")]
    grants: Option<PathBuf>,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &RunArgs) -> Exit {
    let grants = match &args.grants {
        _ if args.grant_all => None,
        None => Some(Capabilities::default()),
        Some(file) => match read_grants(file) {
            Ok(grants) => Some(grants),
            Err(text) => {
                complain(&text);
                return Exit::Usage;
            }
        },
    };
    let granted = grants.is_none();
    match once(&args.path, Options { settings: args.settings.iter().cloned().collect(), grants }) {
        Ok(outcome) => {
            out(&if args.json { pretty(&outcome) } else { describe(&outcome) });
            if !granted && outcome.state == "refused" {
                complain("here --grant-all grants all that addon.toml asks for");
            }
            if outcome.is_good() { Exit::Ok } else { Exit::Findings }
        }
        Err(error) => {
            complain(&error.to_string());
            super::author::exit_of(&error)
        }
    }
}

fn read_grants(file: &Path) -> Result<Capabilities, String> {
    let text =
        std::fs::read_to_string(file).map_err(|error| format!("cannot read {}: {error}", file.display()))?;
    toml::from_str(&text).map_err(|error| format!("{} is no list of grants: {error}", file.display()))
}

fn describe(outcome: &Outcome) -> String {
    let mut text = outcome.exposition();
    if let Some(why) = &outcome.absent {
        let _ = writeln!(text, "nothing to measure here: {why}");
    }
    for signal in &outcome.presence {
        let _ = writeln!(text, "present: {} (weight {})", signal.what, signal.weight);
    }
    if let Some(stats) = &outcome.stats {
        let _ = write!(text, "stats: {}", pretty(stats));
    }
    if let Some(health) = &outcome.health {
        let _ = writeln!(text, "health: {} {}", health.status, health.text);
    }
    for name in &outcome.events {
        let _ = writeln!(text, "event: {name}");
    }
    for line in &outcome.log {
        let _ = writeln!(text, "log: {} {}", line.level, line.text);
    }
    let cost = &outcome.cost;
    if cost.calls > 0 {
        let _ = writeln!(
            text,
            "cost: {:.1} ms of CPU time in {} calls with the start, {} host calls, {:.1} of {:.0} MB of memory",
            cost.cpu_seconds * 1e3,
            cost.calls,
            cost.host_calls,
            cost.memory_bytes as f64 / 1e6,
            cost.memory_limit_bytes as f64 / 1e6
        );
    }
    text.push_str(&findings(&outcome.findings));
    for failure in &outcome.failures {
        let _ = writeln!(text, "failed: {failure}");
    }
    if outcome.state != "running" {
        let _ = writeln!(text, "it is {}", outcome.state);
    }
    text
}
