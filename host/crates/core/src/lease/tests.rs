//! What the scheduler does: as scenes that can be read, as a million random steps against a naive model, as sabotage that the model must
//! notice, and as a complete search of a small world.

mod model;
mod mutations;
mod naive;
mod properties;
mod random;
mod scenarios;
mod world;

use super::{Cause, Constraints, Moment, Priority, Request, Text};
use crate::units::{MonoTime, Now, WallTime};
use std::time::Duration;

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

const fn hours(hours: u64) -> Duration {
    Duration::from_secs(3_600 * hours)
}

fn text(words: &str) -> Text {
    words.into()
}

/// Both clocks at these milliseconds.
fn clocks(mono_ms: i64, wall_ms: i64) -> Now {
    Now { mono: MonoTime(Duration::from_millis(u64::try_from(mono_ms).unwrap())), wall: WallTime(wall_ms) }
}

fn moment(now: Now) -> Moment {
    now.mono.into()
}

/// A request as most are: NORMAL, not waiting, that minds everything.
fn asks(holder: &str, units: u32) -> Request {
    Request {
        holder: text(holder),
        job_type: text("work"),
        units,
        priority: Priority::Normal,
        expected_duration: secs(600),
        constraints: Constraints::default(),
        pausable: false,
        max_freeze: secs(600),
        deadline: None,
        wait: false,
        wait_max: None,
        key: None,
        owner_units_max: None,
    }
}

fn cause(signal: &str, value: f64, threshold: f64) -> Cause {
    let words = format!("{signal} is {value}, above {threshold}");
    Cause { signal: text(signal), value: Some(value), threshold: Some(threshold), text: words.into() }
}
