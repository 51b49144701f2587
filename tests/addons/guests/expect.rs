//! What is expected of a guest, and how that is held against what became of it.

use crate::addons::stage::{Stage, granting};
use lowtide_addons::caps::log::LogLine;
use lowtide_addons::{AddonConfig, AddonView, Happening, Problem, StatsView};
use lowtide_core::quiet::Presence;
use lowtide_core::report::CollectorReport;
use std::sync::Arc;

/// Bytes that the text of a problem may have; those with lines to paste have some more.
const PROBLEM_BYTES_MAX: usize = 700;

/// One guest.
pub(super) struct Case {
    /// Name of its folder or file, and its id.
    pub(super) id: &'static str,
    /// True for a `.wat` file.
    pub(super) written: bool,
    pub(super) config: AddonConfig,
    pub(super) expect: Expect,
}

/// What must become of a guest.
#[derive(Clone, Copy)]
pub(super) enum Expect {
    /// It crashes, with one of these codes and all of these words in the reason.
    Crash { codes: &'static [&'static str], words: &'static [&'static str] },
    /// It is not loaded.
    Refused { code: &'static str, words: &'static [&'static str] },
    /// It runs, and this is so in the end: `Ok` when it is, and what is wrong when it is not or not yet.
    Runs(fn(&Seen) -> Result<(), String>),
    /// The same for one that may crash before.
    Settles(fn(&Seen) -> Result<(), String>),
}

/// What can be seen of a guest.
pub(super) struct Seen {
    pub(super) view: AddonView,
    pub(super) report: Option<CollectorReport>,
    pub(super) presence: Vec<Presence>,
    pub(super) log: Vec<Arc<LogLine>>,
    pub(super) stats: Result<Option<StatsView>, Problem>,
    pub(super) told: Vec<Happening>,
}

/// A guest with sources in Rust.
pub(super) fn guest(id: &'static str, expect: Expect) -> Case {
    Case { id, written: false, config: AddonConfig::default(), expect }
}

/// A guest written by hand.
pub(super) fn written(id: &'static str, expect: Expect) -> Case {
    Case { written: true, ..guest(id, expect) }
}

pub(super) fn crash(codes: &'static [&'static str], words: &'static [&'static str]) -> Expect {
    Expect::Crash { codes, words }
}

pub(super) fn refused(code: &'static str, words: &'static [&'static str]) -> Expect {
    Expect::Refused { code, words }
}

/// Stopped for its time: which of the two clocks is first depends on what else the machine does.
pub(super) fn out_of_time(words: &'static [&'static str]) -> Expect {
    crash(&["cpu_time", "running_time"], words)
}

impl Case {
    pub(super) fn granted(mut self, grants: &str) -> Self {
        self.config = granting(grants);
        self
    }

    /// What came of it; none while that is open.
    pub(super) fn outcome(&self, stage: &Stage) -> Option<Result<(), String>> {
        match self.expect {
            Expect::Crash { codes, words } => {
                let crash = problems(&stage.told(self.id)).into_iter().next()?;
                let fits = codes.contains(&crash.code) && words.iter().all(|word| crash.text.contains(word));
                Some(
                    fits.then_some(()).ok_or_else(|| format!("{}: {} {:?}", self.id, crash.code, crash.text)),
                )
            }
            Expect::Refused { code, words } => {
                let view = stage.host.view(self.id).ok()?;
                if ["loading", "disabled"].contains(&view.state.name()) {
                    return None;
                }
                let problem = view.problem.as_ref();
                let fits = problem.is_some_and(|problem| {
                    problem.code == code && words.iter().all(|word| problem.text.contains(word))
                });
                let fits = fits && view.state.name() == "refused";
                Some(
                    fits.then_some(())
                        .ok_or_else(|| format!("{}: {} {problem:?}", self.id, view.state.name())),
                )
            }
            Expect::Settles(is_so) => is_so(&self.seen(stage)?).is_ok().then_some(Ok(())),
            Expect::Runs(is_so) => {
                if let Some(crash) = problems(&stage.told(self.id)).into_iter().next() {
                    return Some(Err(format!(
                        "{}: should run, but: {} {:?}",
                        self.id, crash.code, crash.text
                    )));
                }
                let seen = self.seen(stage)?;
                is_so(&seen).is_ok().then_some(Ok(()))
            }
        }
    }

    /// What to say when it never came to anything.
    pub(super) fn missed(&self, stage: &Stage) -> String {
        let Some(seen) = self.seen(stage) else { return format!("{}: is not there", self.id) };
        let why = match self.expect {
            Expect::Runs(is_so) | Expect::Settles(is_so) => is_so(&seen).err().unwrap_or_default(),
            Expect::Crash { .. } | Expect::Refused { .. } => String::new(),
        };
        let log: Vec<&str> = seen.log.iter().rev().take(3).map(|line| line.text.as_str()).collect();
        format!("{}: {} {:?} {why}; its log: {log:?}", self.id, seen.view.state.name(), seen.view.problem)
    }

    fn seen(&self, stage: &Stage) -> Option<Seen> {
        Some(Seen {
            view: stage.host.view(self.id).ok()?,
            report: stage.report(self.id),
            presence: stage.presence(self.id),
            log: stage.log(self.id),
            stats: stage.host.stats(self.id).unwrap_or(Ok(None)),
            told: stage.told(self.id),
        })
    }

    /// Texts about it that are too long, or that a terminal would act on, wherever a person may read them.
    pub(super) fn unfit_texts(&self, stage: &Stage) -> Vec<String> {
        let Some(seen) = self.seen(stage) else { return Vec::new() };
        let mut texts: Vec<(&str, String)> = Vec::new();
        for problem in problems(&seen.told) {
            texts.push(("problem", problem.text.replace('\n', " ")));
        }
        let view = &seen.view;
        texts.extend(view.problem.iter().map(|problem| ("problem", problem.text.replace('\n', " "))));
        texts.extend(view.description.iter().map(|text| ("description", text.clone())));
        texts.extend(view.health.iter().map(|health| ("health", health.text.clone())));
        texts.extend(seen.presence.iter().map(|presence| ("presence", presence.kind.clone())));
        texts.extend(seen.stats.as_ref().err().map(|problem| ("stats", problem.text.clone())));
        texts.extend(view.jobs.iter().filter_map(|job| Some(("job", job.problem.as_ref()?.text.clone()))));
        texts.extend(
            view.jobs
                .iter()
                .map(|job| &job.description)
                .flat_map(|job| [("job", job.name.clone()), ("job", job.help.clone())]),
        );
        for metric in &view.metrics {
            texts.extend([("metric", metric.name.to_string()), ("metric", metric.help.to_string())]);
            texts.extend(metric.labels.iter().map(|label| ("label key", label.to_string())));
        }
        if let Some(report) = &seen.report {
            texts.push(("help", report.info.help.to_string()));
            texts.extend(report.error.iter().map(|text| ("report", text.to_string())));
            let labels = report
                .samples
                .iter()
                .flat_map(|samples| samples.series.iter())
                .flat_map(|series| series.labels.iter());
            texts.extend(labels.map(|label| ("label", label.to_string())));
        }
        for happening in &seen.told {
            if let Happening::Reported(event) = happening {
                texts.push(("event", event.name.clone()));
                texts.extend(
                    event
                        .attributes
                        .iter()
                        .flat_map(|(key, value)| [("event", key.clone()), ("event", value.clone())]),
                );
            }
        }
        let mut unfit: Vec<String> = texts
            .iter()
            .filter(|(_, text)| text.len() > PROBLEM_BYTES_MAX || steers(text))
            .map(|(what, text)| {
                format!(
                    "{}: {what} of {} bytes is unfit: {:?}",
                    self.id,
                    text.len(),
                    text.chars().take(120).collect::<String>()
                )
            })
            .collect();
        unfit.extend(seen.log.iter().filter(|line| line.text.len() > 4_096 || steers(&line.text)).map(
            |line| {
                format!(
                    "{}: a line of its log is unfit: {:?}",
                    self.id,
                    line.text.chars().take(120).collect::<String>()
                )
            },
        ));
        unfit
    }
}

/// Whether a text has something in it that a terminal would act on, or that turns the direction of reading.
fn steers(text: &str) -> bool {
    text.chars().any(|c| c.is_control() || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}'))
}

/// The crashes among what happened to an addon, oldest first.
pub(super) fn problems(told: &[Happening]) -> Vec<Problem> {
    let crashed = |happening: &Happening| match happening {
        Happening::State { to: Some(to), problem, .. }
            if ["backing_off", "quarantined"].contains(&to.name()) =>
        {
            problem.clone()
        }
        _ => None,
    };
    told.iter().filter_map(crashed).collect()
}

impl Seen {
    /// Values of one of its metrics by their only label, or by an empty one.
    pub(super) fn values(&self, metric: &str) -> Vec<(String, f64)> {
        let name = format!("addon_{}_{metric}", self.view.name.replace('-', "_"));
        let samples = self.report.as_ref().and_then(|report| report.samples.clone());
        let value = |(series, value): (&lowtide_core::metric::Series, f64)| {
            (series.labels.first().map(ToString::to_string).unwrap_or_default(), value)
        };
        samples.iter().flat_map(|samples| samples.of(&name)).map(value).collect()
    }

    /// The only value of a metric without labels.
    pub(super) fn value(&self, metric: &str) -> Option<f64> {
        self.values(metric).first().map(|(_, value)| *value)
    }

    /// Every `outcome` is 1, and there are this many.
    pub(super) fn outcomes(&self, number: usize) -> Result<(), String> {
        let outcomes = self.values("outcome");
        let bad: Vec<&str> =
            outcomes.iter().filter(|(_, value)| *value != 1.0).map(|(case, _)| case.as_str()).collect();
        if outcomes.len() == number && bad.is_empty() {
            return Ok(());
        }
        Err(format!(
            "{} of {number} outcomes, not as they should be: {bad:?}; {:?}",
            outcomes.len(),
            self.report.as_ref().map(|r| &r.error)
        ))
    }

    /// The problem is that samples were left out, and its text has these words.
    pub(super) fn left_out(&self, words: &[&str]) -> Result<(), String> {
        let problem = self.view.problem.as_ref();
        let fits = problem.is_some_and(|problem| {
            problem.code == "samples_refused" && words.iter().all(|word| problem.text.contains(word))
        });
        so(fits && self.view.state.name() == "running", || format!("{problem:?}"))
    }
}

/// `Ok` when it is so.
pub(super) fn so(is_so: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    if is_so { Ok(()) } else { Err(what()) }
}
