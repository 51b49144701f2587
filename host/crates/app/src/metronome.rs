//! The loop around the tick: keeps the beat on the monotonic clock, takes commands between ticks, and says when it is late.
//! It decides nothing. Started once by the handle, on a thread of its own so that no request can delay it.

use crate::derived::TickFacts;
use crate::handle::Hooks;
use crate::history::History;
use crate::leases::Leases;
use crate::local_time::week_minute;
use crate::tick::Ticker;
use lowtide_addons::AddonHost;
use lowtide_clock as clock;
use lowtide_collectors::Runner;
use lowtide_core::quiet::QuietConfig;
use lowtide_core::units::MonoTime;
use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::Duration;

/// What the loop can be asked to do.
#[derive(Debug)]
pub(crate) enum Command {
    /// Judge by these thresholds from now on.
    SetQuiet(Box<QuietConfig>),
    /// End.
    Stop,
}

/// What each tick is handed to besides the collectors; what is absent is not there.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) leases: Option<Leases>,
    pub(crate) addons: Option<AddonHost>,
    pub(crate) history: Option<History>,
}

/// Stack of the loop: it runs shallow code on small values.
const STACK_BYTES: usize = 512 << 10;

pub(crate) fn start(
    ticker: Ticker,
    runner: Runner,
    parts: Parts,
    inbox: Receiver<Command>,
    hooks: Hooks,
) -> io::Result<JoinHandle<()>> {
    let builder = std::thread::Builder::new().name("lt-tick".into()).stack_size(STACK_BYTES);
    builder.spawn(move || run(ticker, runner, &parts, &inbox, hooks))
}

fn run(mut ticker: Ticker, mut runner: Runner, parts: &Parts, inbox: &Receiver<Command>, mut hooks: Hooks) {
    let interval = ticker.interval();
    let mut due = clock::mono();
    let Parts { leases, addons, history } = parts;
    let mut facts = TickFacts {
        leases: leases.as_ref().map(Leases::facts),
        history: history.as_ref().map(History::facts),
        ..TickFacts::default()
    };
    loop {
        let now = clock::now();
        facts.lateness = now.mono.since(due);
        let state = ticker.collect_and_tick(&mut runner, addons.as_ref(), now, facts);
        facts.leases = leases.as_ref().map(|leases| leases.tick(&state, week_minute(now.wall)));
        facts.history = history.as_ref().map(|history| history.tick(&state));
        (hooks.after_tick)(&state);
        facts.previous_duration = clock::mono().since(now.mono);
        let (next, missed) = next_beat(due, clock::mono(), interval);
        if missed > 0 {
            tracing::warn!(missed, "ticks were left out: the daemon did not get to run");
        }
        (due, facts.missed) = (next, facts.missed + missed);
        if wait(&mut ticker, inbox, due) == Flow::Stop {
            return;
        }
    }
}

#[derive(PartialEq)]
enum Flow {
    Tick,
    Stop,
}

/// Takes commands until the next tick is due.
fn wait(ticker: &mut Ticker, inbox: &Receiver<Command>, due: MonoTime) -> Flow {
    loop {
        match inbox.recv_timeout(due.since(clock::mono())) {
            Ok(Command::SetQuiet(quiet)) => ticker.set_quiet(*quiet),
            Ok(Command::Stop) | Err(RecvTimeoutError::Disconnected) => return Flow::Stop,
            Err(RecvTimeoutError::Timeout) if clock::mono() >= due => return Flow::Tick,
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
}

/// The next beat after `now` on the grid that `due` lies on, and how many beats have been passed over.
fn next_beat(due: MonoTime, now: MonoTime, interval: Duration) -> (MonoTime, u64) {
    let next = due.plus(interval);
    if next > now {
        return (next, 0);
    }
    let missed = now.since(next).as_nanos() / interval.as_nanos().max(1) + 1;
    let missed = u32::try_from(missed).unwrap_or(u32::MAX);
    (next.plus(interval.saturating_mul(missed)), u64::from(missed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_beat_stays_on_its_grid() {
        let at = |ms| MonoTime(Duration::from_millis(ms));
        let two = Duration::from_secs(2);
        assert_eq!(next_beat(at(1_000), at(1_010), two), (at(3_000), 0));
        assert_eq!(next_beat(at(1_000), at(2_999), two), (at(3_000), 0));
        assert_eq!(next_beat(at(1_000), at(3_000), two), (at(5_000), 1));
        assert_eq!(next_beat(at(1_000), at(8_500), two), (at(9_000), 3));
    }
}
