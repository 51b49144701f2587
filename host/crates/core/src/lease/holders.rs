//! Who asked how often, and what was answered: known since the daemon's start, and bounded.

use super::decide::No;
use super::moment::Moment;
use super::policy::Policy;
use super::types::{Decision, Ending, Event, Rule, Text};
use crate::limits;
use crate::rate::TokenBucket;
use crate::units::{Now, WallTime};
use std::collections::HashMap;
use std::time::Duration;

/// How often what was answered, since the daemon's start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Leases granted at once or from the queue.
    pub granted: u64,
    /// Requests that were queued.
    pub queued: u64,
    /// Requests that were denied, by rule in the order of [`Rule::ALL`].
    pub denied: [u64; Rule::ALL.len()],
    /// Leases and waiting requests that ended, by how in the order of [`Ending::WORDS`].
    pub ended: [u64; Ending::WORDS.len()],
    /// Heartbeats and reports that were heard.
    pub heartbeats: u64,
    /// Looks at the host on which work had to give way at once.
    pub gave_way: u64,
}

impl Totals {
    pub(super) fn answered(&mut self, event: &Event) {
        match event {
            Event::Granted { .. } => self.granted += 1,
            Event::Queued { .. } => self.queued += 1,
            _ => {}
        }
    }

    pub(super) fn denied(&mut self, rule: Rule) {
        let place = Rule::ALL.iter().position(|known| *known == rule);
        if let Some(count) = place.and_then(|place| self.denied.get_mut(place)) {
            *count += 1;
        }
    }

    pub(super) fn ended(&mut self, ending: &Ending) {
        let place = Ending::WORDS.iter().position(|word| *word == ending.word());
        if let Some(count) = place.and_then(|place| self.ended.get_mut(place)) {
            *count += 1;
        }
    }
}

/// What is known of one holder since the daemon's start.
#[derive(Clone, Debug)]
pub struct HolderStats {
    /// Leases that it was granted.
    pub granted: u64,
    /// Requests of it that were queued.
    pub queued: u64,
    /// Requests of it that were denied.
    pub denied: u64,
    /// When it asked last.
    pub asked: WallTime,
    /// The newest denial, and when.
    pub last_denial: Option<(WallTime, Decision)>,
    seen: Moment,
    bucket: TokenBucket,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Holders(HashMap<Text, HolderStats>);

impl Holders {
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Text, &HolderStats)> {
        self.0.iter()
    }

    /// The operator's numbers have changed: all begin with a full burst of the new ones.
    pub(super) fn retune(&mut self, policy: &Policy) {
        for stats in self.0.values_mut() {
            stats.bucket = TokenBucket::new(policy.requests_per_second, policy.requests_burst);
        }
    }

    /// Whether this holder may ask once more now.
    pub(super) fn may_ask(&mut self, now: Now, holder: &Text, policy: &Policy) -> Result<(), No> {
        let per_second = policy.requests_per_second;
        let stats = self.stats(now, holder, policy);
        if stats.bucket.take(now.mono) {
            return Ok(());
        }
        let text = format!("{holder} asks more than {per_second} times a second");
        let (least, rate) = (f64::from(per_second) + 1.0, f64::from(per_second));
        Err(No::own(Rule::Rate, least, rate, Duration::from_secs(1), text))
    }

    fn stats(&mut self, now: Now, holder: &Text, policy: &Policy) -> &mut HolderStats {
        if self.0.len() >= limits::LEASE_HOLDERS_MAX && !self.0.contains_key(holder) {
            let oldest =
                self.0.iter().min_by_key(|(_, stats)| stats.seen).map(|(holder, _)| Text::clone(holder));
            oldest.and_then(|oldest| self.0.remove(&oldest));
        }
        let stats = self.0.entry(Text::clone(holder)).or_insert_with(|| HolderStats {
            granted: 0,
            queued: 0,
            denied: 0,
            asked: now.wall,
            last_denial: None,
            seen: now.mono.into(),
            bucket: TokenBucket::new(policy.requests_per_second, policy.requests_burst),
        });
        (stats.asked, stats.seen) = (now.wall, now.mono.into());
        stats
    }

    pub(super) fn answered(&mut self, now: Now, holder: &Text, event: &Event) {
        let Some(stats) = self.0.get_mut(holder) else { return };
        stats.asked = now.wall;
        match event {
            Event::Granted { .. } => stats.granted += 1,
            Event::Queued { .. } => stats.queued += 1,
            _ => {}
        }
    }

    pub(super) fn denied(&mut self, now: Now, holder: &Text, decision: &Decision) {
        let Some(stats) = self.0.get_mut(holder) else { return };
        stats.denied += 1;
        stats.last_denial = Some((now.wall, decision.clone()));
    }
}
