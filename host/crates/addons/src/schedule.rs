//! When an instance is called next, and for what. Pure: the time is given.

use crate::id::AddonId;
use crate::instance::Call;
use crate::limits;
use lowtide_core::units::MonoTime;
use std::time::Duration;

#[derive(Clone, Debug)]
struct Line {
    call: Call,
    interval: Duration,
    due: MonoTime,
    /// Before the second call: moves addons that were loaded together apart.
    phase: Option<Duration>,
}

/// The calls of one instance that come again and again.
#[derive(Clone, Debug, Default)]
pub(crate) struct Schedule {
    lines: Vec<Line>,
    by_hand: bool,
}

impl Schedule {
    /// One by which nothing is ever due: all calls are made when somebody says so.
    pub(crate) fn by_hand(by_hand: bool) -> Self {
        Self { lines: Vec::new(), by_hand }
    }

    /// Every call that comes again and again, collections first.
    pub(crate) fn calls(&self) -> Vec<Call> {
        self.lines.iter().map(|line| line.call).collect()
    }

    /// Adds a call that is due at once and then each `interval`.
    pub(crate) fn every(&mut self, call: Call, interval: Duration, id: &AddonId, now: MonoTime) {
        self.lines.push(Line { call, interval, due: now, phase: Some(phase(id, interval)) });
    }

    /// When to make the next call; `None` when there is none. All addons make theirs at the same few moments: see [`limits::CALL_SLOT`].
    pub(crate) fn next(&self) -> Option<MonoTime> {
        let moment = |line: &Line| if line.phase.is_some() { line.due } else { slot_from(line.due) };
        self.lines.iter().map(moment).min().filter(|_| !self.by_hand)
    }

    /// The call that is due at `now`, if any; it counts as made.
    pub(crate) fn take(&mut self, now: MonoTime) -> Option<Call> {
        let line = self.lines.iter_mut().filter(|line| line.due <= now).min_by_key(|line| line.due)?;
        let next = match line.phase.take() {
            Some(phase) => now.plus(phase),
            None => line.due.plus(line.interval),
        };
        // After a pause (suspend, a long call) the grid begins anew instead of being caught up with.
        line.due = if next > now { next } else { now.plus(line.interval) };
        Some(line.call)
    }

    /// Puts off a call.
    pub(crate) fn put_off(&mut self, call: Call, until: MonoTime) {
        for line in self.lines.iter_mut().filter(|line| line.call == call) {
            line.due = until;
        }
    }
}

/// The beginning of the first slot from this moment on.
fn slot_from(moment: MonoTime) -> MonoTime {
    let slot = limits::CALL_SLOT.as_nanos();
    let slots = u64::try_from(moment.0.as_nanos().div_ceil(slot) * slot).unwrap_or(u64::MAX);
    MonoTime(Duration::from_nanos(slots))
}

/// A part of the interval that depends on the id only, and is never zero.
fn phase(id: &AddonId, interval: Duration) -> Duration {
    let hash = blake3::hash(id.as_str().as_bytes());
    let [first, second, ..] = *hash.as_bytes();
    interval.mul_f64((f64::from(u16::from_be_bytes([first, second])) + 1.0) / 65_536.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> MonoTime {
        MonoTime(Duration::from_millis(ms))
    }

    #[test]
    fn the_first_call_is_due_at_once_and_the_others_stay_on_a_grid() {
        let id = AddonId::new("a").unwrap();
        let mut schedule = Schedule::default();
        schedule.every(Call::Collect, Duration::from_secs(5), &id, at(1_000));
        schedule.every(Call::Health, Duration::from_secs(3_600), &id, at(1_000));
        assert_eq!(schedule.take(at(1_000)), Some(Call::Collect));
        assert_eq!(schedule.take(at(1_000)), Some(Call::Health));
        assert_eq!(schedule.take(at(1_000)), None);
        let second = schedule.next().unwrap();
        assert!(second > at(1_000) && second <= at(6_000).plus(limits::CALL_SLOT));
        // A late call does not move the next one.
        assert_eq!(schedule.take(second.plus(Duration::from_millis(300))), Some(Call::Collect));
        assert_eq!(schedule.next(), Some(second.plus(Duration::from_secs(5))));
        // After a suspend of an hour it is called once, and then in its interval.
        let late = at(4_000_000);
        assert_eq!(schedule.take(late), Some(Call::Collect));
        assert_eq!(schedule.take(late), Some(Call::Health));
        assert_eq!(schedule.take(late), None);
        assert_eq!(schedule.next(), Some(late.plus(Duration::from_secs(5))));
    }

    #[test]
    fn calls_of_all_addons_come_at_the_same_few_moments_and_do_not_drift() {
        let interval = Duration::from_millis(1_100);
        let mut moments = std::collections::HashSet::new();
        for number in 0..50 {
            let id = AddonId::new(&format!("a{number}")).unwrap();
            let mut schedule = Schedule::default();
            schedule.every(Call::Collect, interval, &id, at(0));
            let mut now = schedule.next().unwrap();
            assert_eq!(now, at(0), "the first one waits for no slot");
            for _ in 0..100 {
                assert_eq!(schedule.take(now), Some(Call::Collect));
                now = schedule.next().unwrap();
                moments.insert(now);
            }
            let exact = phase(&id, interval) + interval * 99;
            assert!(now.0 >= exact && now.0 < exact + limits::CALL_SLOT, "{now:?} {exact:?}");
        }
        let slots = (interval * 100).div_duration_f64(limits::CALL_SLOT) as usize;
        assert!(moments.len() <= slots + 1, "{} moments in {slots} slots", moments.len());
    }

    #[test]
    fn by_hand_nothing_is_ever_due() {
        let id = AddonId::new("a").unwrap();
        let mut schedule = Schedule::by_hand(true);
        schedule.every(Call::Collect, Duration::from_secs(5), &id, at(0));
        schedule.every(Call::Health, Duration::from_secs(30), &id, at(0));
        assert_eq!(schedule.next(), None);
        assert_eq!(schedule.calls(), [Call::Collect, Call::Health]);
    }

    #[test]
    fn addons_loaded_together_are_moved_apart() {
        let phases: std::collections::HashSet<Duration> = (0..100)
            .map(|n| phase(&AddonId::new(&format!("a{n}")).unwrap(), Duration::from_secs(5)))
            .collect();
        assert!(phases.len() > 95);
        assert!(phases.iter().all(|phase| !phase.is_zero() && *phase <= Duration::from_secs(5)));
    }
}
