//! Whether one request may be granted now: the rules in their order, each with its reason and with when to ask again.

use super::Scheduler;
use super::ledger::Entry;
use super::moment::Moment;
use super::types::{Cause, Constraints, Decision, Mode, Phase, Priority, Request, Rule, Window};
use crate::quiet::Level;
use crate::units::{Now, WallTime};
use std::sync::Arc;
use std::time::Duration;

/// Why not, and when to ask again.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct No {
    pub(super) rule: Rule,
    pub(super) reasons: Arc<[Cause]>,
    pub(super) retry_after: Duration,
}

/// Asking again earlier than this only costs.
const RETRY_MIN: Duration = Duration::from_secs(2);

/// A denial that nothing is known to end is worth another question after this time.
const RETRY_USUAL: Duration = Duration::from_secs(60);

const MINUTES_A_DAY: u16 = 24 * 60;

impl No {
    /// A refusal of the scheduler itself, with what is in use and what there is.
    pub(super) fn own(rule: Rule, value: f64, threshold: f64, retry_after: Duration, text: String) -> Self {
        let cause = Cause {
            signal: rule.word().into(),
            value: Some(value),
            threshold: Some(threshold),
            text: text.into(),
        };
        Self { rule, reasons: [cause].into(), retry_after: retry_after.max(RETRY_MIN) }
    }

    fn plain(rule: Rule, retry_after: Duration, text: String) -> Self {
        let cause = Cause { signal: rule.word().into(), value: None, threshold: None, text: text.into() };
        Self { rule, reasons: [cause].into(), retry_after: retry_after.max(RETRY_MIN) }
    }
}

impl Window {
    /// How many minutes are left of it at this minute of the week; `None` outside of it.
    pub(super) fn left(&self, week_minute: u16) -> Option<u16> {
        let (today, minute) = (usize::from(week_minute / MINUTES_A_DAY) % 7, week_minute % MINUTES_A_DAY);
        let begins = |day: usize| self.days.get(day).copied().unwrap_or(false);
        let yesterday = (today + 6) % 7;
        if self.from < self.to {
            return (begins(today) && minute >= self.from && minute < self.to).then(|| self.to - minute);
        }
        if begins(today) && minute >= self.from {
            return Some(MINUTES_A_DAY - minute + self.to);
        }
        (begins(yesterday) && minute < self.to).then(|| self.to - minute)
    }
}

impl Scheduler {
    /// Units that may be held now: all of them while the busiest resource is used less than the headroom, fewer above that, none
    /// while nothing fresh is known.
    #[must_use]
    pub fn capacity(&self, now: Moment) -> u32 {
        let Some(conditions) = self.outlook.fresh(now, self.policy.conditions_last) else { return 0 };
        let headroom = self.policy.headroom_ratio;
        let free = (1.0 + headroom - conditions.load_ratio.max(headroom)).clamp(0.0, 1.0);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between 0 and the capacity"
        )]
        let units = (f64::from(self.policy.capacity_units) * free).floor() as u32;
        units
    }

    /// Units that count for one request: all there are once it must start to meet its deadline, however busy others are.
    pub(super) fn room(&self, now: Moment, start_by: Option<Moment>) -> u32 {
        match start_by {
            Some(at) if at <= now => self.policy.capacity_units,
            _ => self.capacity(now),
        }
    }

    /// What the operator's switch or windows say now, who says it, and for how long. The switch stands above windows, and "never" above
    /// "always".
    pub(super) fn ordered(&self, now: Now) -> Option<(Mode, String, Option<Duration>)> {
        let meta = self.ledger.meta();
        if let Some(switch) = &meta.switch
            && switch.expires.is_none_or(|expires| now.wall < expires)
        {
            let verb = match switch.mode {
                Mode::Block => "blocks",
                Mode::Allow => "allows",
            };
            let text = format!("{} {verb} heavy work: {}", switch.owner, switch.reason);
            return Some((switch.mode, text, switch.expires.map(|expires| until(now.wall, expires))));
        }
        let minute = self.outlook.fresh(now.mono.into(), self.policy.conditions_last)?.week_minute?;
        let open = meta.windows.iter().filter_map(|window| Some((window, window.left(minute)?)));
        let (window, left) = open.max_by_key(|(window, _)| window.mode == Mode::Block)?;
        let verb = match window.mode {
            Mode::Block => "forbids",
            Mode::Allow => "allows",
        };
        let text = format!("the window {:?} {verb} heavy work now", &*window.name);
        Some((window.mode, text, Some(Duration::from_secs(60 * u64::from(left)))))
    }

    /// Whether the host's state permits work of this kind. The first rules of all, and the same for all of a class.
    pub(super) fn permitted(
        &mut self,
        now: Now,
        priority: Priority,
        constraints: Constraints,
    ) -> Result<Rule, No> {
        let mono = now.mono.into();
        let Some(conditions) = self.outlook.fresh(mono, self.policy.conditions_last) else {
            let text = "nothing fresh is known of this host, and unknown is never quiet".to_owned();
            return Err(No::plain(Rule::Unknown, RETRY_MIN * 5, text));
        };
        let (level, quiet_in) = (conditions.level, conditions.quiet_in);
        let affected = self.outlook.affects(conditions, constraints);
        if level == Level::Panic {
            let reasons = self.outlook.disturbance(Rule::Panic, constraints);
            let retry_after = self.policy.cool_down.max(RETRY_USUAL);
            return Err(No { rule: Rule::Panic, reasons, retry_after });
        }
        if let Some(left) = self.outlook.cooling(mono, self.policy.cool_down) {
            let text = format!(
                "the host was in PANIC a moment ago: nothing starts for another {} s",
                left.as_secs().max(1)
            );
            return Err(No::plain(Rule::CoolDown, left, text));
        }
        let ordered = self.ordered(now);
        if let Some((Mode::Block, text, left)) = &ordered {
            let retry_after = left.unwrap_or(RETRY_USUAL * 5).min(RETRY_USUAL * 60);
            return Err(No::plain(Rule::Blocked, retry_after, text.clone()));
        }
        if level == Level::Quiet {
            return Ok(Rule::Quiet);
        }
        if ordered.is_some() {
            return Ok(Rule::Allowed);
        }
        if priority == Priority::High {
            return Ok(Rule::HighPriority);
        }
        if !affected {
            return Ok(Rule::NotAffected);
        }
        let reasons = self.outlook.disturbance(Rule::NotQuiet, constraints);
        let retry_after = quiet_in.unwrap_or(RETRY_USUAL).max(RETRY_MIN);
        Err(No { rule: Rule::NotQuiet, reasons, retry_after })
    }

    /// Whether there is room for a request, and by which rule it is granted, given what the state says of its class.
    pub(super) fn admit(
        &self,
        now: Moment,
        request: &Request,
        start_by: Option<Moment>,
        permitted: &Result<Rule, No>,
    ) -> Result<Rule, No> {
        let by = match permitted {
            Ok(rule) => *rule,
            // "Run anyway by" stands above business, and below danger and the operator.
            Err(no) if no.rule == Rule::NotQuiet && start_by.is_some_and(|at| at <= now) => Rule::Deadline,
            Err(no) => return Err(no.clone()),
        };
        let policy = &self.policy;
        let held = self.ledger.held_count();
        if held >= policy.leases_max {
            let text = format!("{held} leases are held, as many as may be at once");
            let most = policy.leases_max;
            return Err(No::own(Rule::Concurrency, count(held), count(most), self.next_end(now), text));
        }
        let own = self.ledger.share(&request.holder).held;
        if own >= policy.leases_per_holder_max {
            let text = format!("{} holds {own} leases, as many as it may at once", request.holder);
            let most = policy.leases_per_holder_max;
            return Err(No::own(Rule::Concurrency, count(own), count(most), self.next_end(now), text));
        }
        if let Some((used, most)) = self.over_quota(request) {
            let text = format!(
                "{} units are asked for, and {} has {used} of the {most} that it may have",
                request.units,
                request.owner()
            );
            return Err(No::own(Rule::Capacity, f64::from(used), f64::from(most), self.next_end(now), text));
        }
        let (used, capacity) = (self.ledger.used(), self.room(now, start_by));
        if used.saturating_add(request.units) > capacity {
            let text = format!("{} units are asked for, and {used} of {capacity} are in use", request.units);
            let (used, capacity) = (f64::from(used), f64::from(capacity));
            return Err(No::own(Rule::Capacity, used, capacity, self.next_end(now), text));
        }
        Ok(by)
    }

    /// The units that the owner of a request has, and how many it may have, where this one would be too many. Those of a lease that
    /// shrank are still its own: it grows again.
    pub(super) fn over_quota(&self, request: &Request) -> Option<(u32, u32)> {
        let most = request.owner_units_max?;
        let own = self
            .ledger
            .held()
            .map(|entry| &entry.lease.request)
            .filter(|held| held.owner() == request.owner());
        let used = own.map(|held| held.units).fold(0, u32::saturating_add);
        (used.saturating_add(request.units) > most).then_some((used, most))
    }

    /// When the first of the leases that are held is expected to end.
    fn next_end(&self, now: Moment) -> Duration {
        // Enough to know; with thousands of leases one ends all the time.
        const LOOKED_AT_MAX: usize = 64;
        let end = |entry: &Entry| match &entry.lease.phase {
            Phase::Revoking { grace, .. } => entry.changed.plus(*grace).since(now),
            _ => entry.granted.plus(entry.lease.request.expected_duration).since(now),
        };
        self.ledger.held().take(LOOKED_AT_MAX).map(end).min().unwrap_or(RETRY_USUAL).max(RETRY_MIN)
    }

    /// The decision record of an answer.
    pub(super) fn record(&mut self, now: Moment, answer: &Result<Rule, No>) -> Decision {
        let (used, capacity) = (self.ledger.used(), self.capacity(now));
        let (rule, reasons, retry_after) = match answer {
            Ok(rule) => (*rule, self.outlook.permission(*rule), None),
            Err(no) => (no.rule, Arc::clone(&no.reasons), Some(no.retry_after)),
        };
        let conditions = self.outlook.fresh(now, self.policy.conditions_last);
        Decision {
            rule,
            sequence: conditions.map(|conditions| conditions.sequence),
            score: conditions.map(|conditions| conditions.score),
            level: conditions.map(|conditions| conditions.level),
            used,
            capacity,
            reasons,
            retry_after,
        }
    }
}

fn until(now: WallTime, then: WallTime) -> Duration {
    Duration::from_millis(u64::try_from(then.unix_ms().saturating_sub(now.unix_ms())).unwrap_or(0))
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
fn count(number: usize) -> f64 {
    number as f64
}
