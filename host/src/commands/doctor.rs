//! `lowtide doctor`: what makes the answers worse on this machine, each with a fix, and whether the daemon answers.

use super::addon::text as clean_text;
use super::output::{out, pretty};
use crate::cli::DoctorArgs;
use crate::client;
use crate::config::{self, Config, Sources};
use crate::doctor::{ConfigTrouble, DoctorInput, Finding, FindingLevel, examine};
use crate::exit::Exit;
use lowtide_clock as clock;
use serde_json::{Value, json};
use std::fmt::Write as _;

/// Addons that are named; the list has all.
const ADDONS_SHOWN_MAX: usize = 10;

pub(crate) fn run(args: &DoctorArgs) -> Exit {
    let loaded = config::load(&Sources::from_process(args.config.file.clone(), Vec::new()));
    // With a wrong configuration the rest is looked at by the defaults: it is still worth knowing.
    let config = loaded.as_ref().map_or_else(|_| Config::default(), |loaded| loaded.config.clone());
    let mut findings = examine(&DoctorInput {
        proc_dir: config.collectors.proc_dir.clone(),
        sys_dir: config.collectors.sys_dir.clone(),
        root_dir: config.collectors.root_dir.clone(),
        data_dir: loaded.as_ref().ok().map(|loaded| loaded.data_dir.clone()),
        addons_dir: loaded.as_ref().ok().map(|loaded| loaded.addons_dir.clone()),
        config: loaded.as_ref().map(drop).map_err(|errors| ConfigTrouble {
            mistakes: errors.len(),
            first: errors.first().map(ToString::to_string).unwrap_or_default(),
        }),
        effective_uid: rustix::process::geteuid().as_raw(),
        wall: clock::now().wall,
    });
    findings.push(daemon(args.client.daemon()));
    findings.extend(addons(args.client.daemon()));
    let worst = findings.iter().map(|finding| finding.level).max().unwrap_or(FindingLevel::Ok);
    if args.client.json {
        out(&pretty(&json!({ "status": worst, "findings": findings })));
    } else {
        out(&describe(&findings));
    }
    if worst == FindingLevel::Error { Exit::Findings } else { Exit::Ok }
}

fn daemon(daemon: &client::Daemon) -> Finding {
    let (level, message, fix) = match client::get(daemon, "/api/system-stats/health") {
        Ok(health) => {
            let status = health.get("status").and_then(Value::as_str).unwrap_or("?").to_owned();
            let level = if status == "ok" { FindingLevel::Ok } else { FindingLevel::Warn };
            let fix = (status != "ok").then(|| "lowtide status".to_owned());
            (level, format!("the daemon at {} answers and says {status}", daemon.url()), fix)
        }
        Err(error @ client::ClientError::Refused { status: 401, .. }) => {
            (FindingLevel::Warn, error.to_string(), Some("lowtide doctor --token-file FILE".to_owned()))
        }
        Err(error) => (FindingLevel::Warn, error.to_string(), Some("lowtide serve".to_owned())),
    };
    Finding { check: "daemon", level, message, fix }
}

/// The addons that do not run; nothing when no daemon tells.
fn addons(daemon: &client::Daemon) -> Option<Finding> {
    let list = client::get(daemon, "/api/addons").ok()?;
    let addons = list.get("addons")?.as_array()?;
    let word = |addon: &Value, pointer: &str| clean_text(addon, pointer).unwrap_or_else(|| "?".to_owned());
    let unwell: Vec<String> = addons
        .iter()
        .filter(|addon| {
            let state = addon.get("state").and_then(Value::as_str).unwrap_or_default();
            ["refused", "quarantined", "backing_off"].contains(&state)
        })
        .map(|addon| {
            format!("{} ({}: {})", word(addon, "/id"), word(addon, "/state"), word(addon, "/problem/text"))
        })
        .collect();
    let (level, message, fix) = if unwell.is_empty() {
        (FindingLevel::Ok, format!("{} addons, all well or switched off", addons.len()), None)
    } else {
        let shown = unwell.iter().take(ADDONS_SHOWN_MAX).cloned().collect::<Vec<_>>().join("; ");
        let message = format!("{} of {} addons do not run: {shown}", unwell.len(), addons.len());
        (FindingLevel::Warn, message, Some("lowtide addon list".to_owned()))
    };
    Some(Finding { check: "addons", level, message, fix })
}

fn describe(findings: &[Finding]) -> String {
    let mut text = String::new();
    for finding in findings {
        let sign = match finding.level {
            FindingLevel::Ok => "ok   ",
            FindingLevel::Warn => "warn ",
            FindingLevel::Error => "ERROR",
        };
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{sign} {:<20} {}", finding.check, finding.message);
        if let Some(fix) = &finding.fix {
            let _ = writeln!(text, "      {:<20} fix: {fix}", "");
        }
    }
    text
}
