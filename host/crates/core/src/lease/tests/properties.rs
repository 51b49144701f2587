//! A million random steps, in many short lives. What each life checks is in `world` and `naive`: invariants 1 to 15, 17 and 18 of
//! docs/adr/011-leases.md. Number 16 is about the store of addons, and is tested there.
//!
//! `LOWTIDE_LEASE_STEPS=10000000` runs more of them, `LOWTIDE_LEASE_SEED=17` one life again.

use super::world::{Tally, World};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

const STEPS_A_LIFE: u64 = 2_000;

fn from_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} must be a number")))
}

/// Each of these must have happened often, or the million steps say little.
const MUST_HAPPEN: [&str; 43] = [
    "allowed",
    "blocked",
    "cancelled",
    "capacity",
    "clock jumps",
    "concurrency",
    "continue",
    "cool_down",
    "crashes",
    "deadline",
    "expired",
    "failed",
    "granted from the queue",
    "high_priority",
    "not_affected",
    "not_quiet",
    "overridden",
    "panic",
    "pause",
    "paused",
    "queue_full",
    "queued",
    "quiet",
    "refused by the disk",
    "refused: key reused",
    "refused: not yours",
    "refused: over",
    "refused: still queued",
    "refused: too large",
    "refused: unknown",
    "released",
    "repeated",
    "reserved",
    "resized",
    "resumed",
    "revoke",
    "revoked",
    "revoking",
    "shrink",
    "spared",
    "timed_out",
    "unknown",
    "windows",
];

#[test]
fn a_million_random_steps_break_no_invariant() {
    if let Some(seed) = from_environment("LOWTIDE_LEASE_SEED") {
        World::live(seed, STEPS_A_LIFE, None).unwrap_or_else(|failure| panic!("{failure}"));
        return;
    }
    let steps = from_environment("LOWTIDE_LEASE_STEPS").unwrap_or(1_000_000);
    let lives = steps.div_ceil(STEPS_A_LIFE);
    let next = AtomicU64::new(1);
    let live = || {
        let mut tally = Tally::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed > lives {
                return Ok(tally);
            }
            match World::live(seed, STEPS_A_LIFE, None) {
                Ok(happened) => tally.add(&happened),
                Err(failure) => {
                    // The others need not go on.
                    next.store(lives + 1, Ordering::Relaxed);
                    return Err(failure);
                }
            }
        }
    };
    let mut all = Tally::default();
    thread::scope(|scope| {
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(live)).collect();
        for thread in threads {
            all.add(&thread.join().unwrap().unwrap_or_else(|failure| panic!("{failure}")));
        }
    });
    assert!(all.0["steps"] >= steps);
    for what in MUST_HAPPEN {
        let times = all.0.get(what).copied().unwrap_or(0);
        assert!(times >= steps / 20_000, "{what} happened {times} times: {:?}", all.0);
    }
}
