//! Puts what steers terminals and turns the direction of reading wherever a text may stand.

use fixture_common::Answer;
use fixture_common::sdk::{
    Collector, CustomStats, Description, Failure, Health, Job, JobDescription, Metric, Outcome, Presence,
    Signal, Status, Unit, log, metrics, sample,
};
use std::time::Duration;

/// Red, clear screen, a bell, a null, a title, a right-to-left override, a byte order mark, a C1 sequence and a line break.
const EVIL: &str =
    "\u{1b}[31m\u{1b}[2J\u{7}\0\u{1b}]0;owned\u{7}\u{202e}evil\u{feff}\u{9b}1A\r\nlevel=error forged=1";

/// Says it everywhere.
#[derive(Default)]
struct Fixture {
    calls: u64,
}

impl Collector for Fixture {
    fn describe() -> Description {
        Description::new(format!("help {EVIL}"))
            .every(Duration::from_secs(1))
            .metric(Metric::gauge("texts", Unit::Count, format!("metric help {EVIL}")).labels(["text"]))
            .metric(Metric::gauge(format!("name{EVIL}"), Unit::Count, "A bad name."))
            .metric(Metric::gauge("keys", Unit::Count, "A bad key.").labels([EVIL]))
    }

    fn collect(&mut self) -> Answer {
        self.calls += 1;
        log::warn(EVIL);
        println!("{EVIL}");
        eprintln!("{EVIL}");
        let _ = metrics::event("said", &[("what", EVIL)]);
        let _ = metrics::declare(&Metric::gauge(EVIL, Unit::Count, EVIL).labels([EVIL]));
        let _ = metrics::gauge(EVIL, &[EVIL], 1.0);
        match self.calls % 3 {
            0 => Err(Failure::other(EVIL)),
            1 => Ok(vec![sample("texts", [EVIL], 1.0), sample(EVIL, [EVIL], 1.0)]),
            _ => Err(Failure::config(EVIL)),
        }
    }
}

impl Presence for Fixture {
    fn assess(&mut self) -> Result<Vec<Signal>, Failure> {
        Ok(vec![Signal::new(EVIL, 0.5)])
    }
}

impl CustomStats for Fixture {
    fn stats(&mut self) -> Result<String, Failure> {
        Err(Failure::other(EVIL))
    }
}

impl Health for Fixture {
    fn check(&mut self) -> Status {
        Status::error(EVIL)
    }
}

impl Job for Fixture {
    fn describe() -> Vec<JobDescription> {
        vec![JobDescription::new(EVIL, EVIL, Duration::from_secs(1))]
    }

    fn run(&mut self, _name: &str) -> Result<Outcome, Failure> {
        Err(Failure::other(EVIL))
    }
}

fixture_common::sdk::addon!(Fixture: Collector, Presence, CustomStats, Health, Job);
