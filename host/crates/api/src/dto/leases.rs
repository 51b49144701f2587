//! Leases as clients see them: decisions, leases, the queue, holders and the audit log. Durations are in seconds, as `*_sec`.

pub(crate) mod events;
pub(crate) mod input;

use super::{rfc3339, seconds};
use input::{DAYS, UsageDto};
use lowtide_core::lease::{
    Cause, Decision, Directive, Ending, Entry, Forecast, HolderStats, Instruction, Lease, Mode, Moment,
    Override, Phase, Policy, Scheduler, Share, Usage, Window,
};
use lowtide_core::quiet::Level;
use lowtide_core::units::{Now, WallTime};
use serde::Serialize;
use std::time::Duration;
use utoipa::ToSchema;

/// What a request for a lease came to.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LeaseDecision {
    /// `granted`, `queued` or `denied`.
    #[schema(example = "denied")]
    decision: &'static str,
    /// True when it was granted: the work may run.
    approved: bool,
    /// True when an earlier request with the same idempotency key got this lease.
    repeated: bool,
    /// The lease's id, granted or queued.
    #[schema(example = "17-9f86d081884c7d65")]
    lease_id: Option<String>,
    /// A number that grows with every grant, for ever: give it to what the work writes to, which refuses lower ones.
    fencing_token: Option<u64>,
    /// The rule that decided: `quiet`, `high_priority`, `not_affected`, `deadline`, `allowed`; or `blocked`, `panic`, `cool_down`,
    /// `not_quiet`, `unknown`, `capacity`, `concurrency`, `reserved`, `rate`, `queue_full`.
    #[schema(example = "not_quiet")]
    rule: &'static str,
    /// Why, most important first; never empty.
    reasons: Vec<LeaseReason>,
    /// When it is worth asking again, in whole seconds; null when it was granted.
    #[schema(example = 120)]
    retry_after_sec: Option<u64>,
    /// What its holder must keep to.
    limits: LeaseLimits,
    /// Its place in the queue, while it waits.
    queue: Option<QueuePlace>,
    /// What the decision was made on.
    basis: LeaseBasis,
}

/// One reason of a decision.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LeaseReason {
    /// The signal's name as in /api/system-stats/quiet; or the rule, where the scheduler itself is the reason.
    #[schema(example = "cpu")]
    signal: String,
    /// The signal's value, in its unit; or what is in use.
    #[schema(example = 0.62)]
    value: Option<f64>,
    /// The threshold that it met; or how much there is in all.
    #[schema(example = 0.35)]
    threshold: Option<f64>,
    /// The same in plain words.
    #[schema(example = "CPU use 62 % ≥ 35 %")]
    text: String,
}

/// What a holder must keep to.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LeaseLimits {
    /// A lease that is not heard for so long expires.
    heartbeat_ttl_sec: f64,
    /// How often to heartbeat.
    heartbeat_interval_sec: f64,
    /// A lease that is held for longer is revoked.
    hold_max_sec: f64,
}

impl LeaseLimits {
    fn new(policy: &Policy) -> Self {
        Self {
            heartbeat_ttl_sec: seconds(policy.ttl),
            heartbeat_interval_sec: seconds(policy.heartbeat_interval()),
            hold_max_sec: seconds(policy.hold_max),
        }
    }
}

/// A place in the queue.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct QueuePlace {
    /// 1 is the next; null far behind.
    position: Option<usize>,
    /// The first of those before it.
    ahead: Vec<QueueNeighbour>,
    /// When it is expected to start, in seconds from now, if all goes as holders said; null where that cannot be told.
    estimated_start_sec: Option<f64>,
}

/// Someone before it in the queue.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct QueueNeighbour {
    /// Its holder.
    addon_id: String,
    /// Its work.
    job_type: String,
    /// Its units.
    cost_units: u32,
    /// Its priority.
    priority: &'static str,
}

/// What a decision was made on.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LeaseBasis {
    /// Number of the snapshot; null when nothing was known.
    snapshot_sequence: Option<u64>,
    /// The host's score.
    score: Option<u8>,
    /// The host's state.
    #[schema(value_type = Option<String>, example = "NORMAL")]
    state: Option<Level>,
    /// Units that were held.
    used_units: u32,
    /// Units that could be held.
    capacity_units: u32,
}

fn reasons(causes: &[Cause]) -> Vec<LeaseReason> {
    let one = |cause: &Cause| LeaseReason {
        signal: cause.signal.to_string(),
        value: cause.value,
        threshold: cause.threshold,
        text: cause.text.to_string(),
    };
    causes.iter().map(one).collect()
}

/// Rounded up: who asks a moment too early has asked in vain.
fn whole_seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

impl LeaseDecision {
    /// A denial.
    pub(crate) fn denied(decision: &Decision, policy: &Policy) -> Self {
        Self {
            decision: "denied",
            approved: false,
            repeated: false,
            lease_id: None,
            fencing_token: None,
            rule: decision.rule.word(),
            reasons: reasons(&decision.reasons),
            retry_after_sec: decision.retry_after.map(whole_seconds),
            limits: LeaseLimits::new(policy),
            queue: None,
            basis: basis(decision),
        }
    }

    /// A lease that is held or waits.
    pub(crate) fn of(lease: &Lease, repeated: bool, queue: Option<QueuePlace>, policy: &Policy) -> Self {
        let approved = lease.is_held();
        Self {
            decision: if approved { "granted" } else { "queued" },
            approved,
            repeated,
            lease_id: Some(lease.name().to_string()),
            fencing_token: lease.token().map(|token| token.0),
            queue: queue.filter(|_| !approved),
            ..Self::denied(&lease.decision, policy)
        }
    }

    /// When to ask again.
    pub(crate) fn retry_after_sec(&self) -> Option<u64> {
        self.retry_after_sec
    }
}

fn basis(decision: &Decision) -> LeaseBasis {
    LeaseBasis {
        snapshot_sequence: decision.sequence,
        score: decision.score,
        state: decision.level,
        used_units: decision.used,
        capacity_units: decision.capacity,
    }
}

/// The place of a waiting lease. Positions far behind are not counted, and what starts there is not foretold.
pub(crate) fn place(scheduler: &mut Scheduler, now: Now, lease: &Lease) -> Option<QueuePlace> {
    const COUNTED_MAX: usize = 1_000;
    const FORETOLD_MAX: usize = 100;
    const NAMED_MAX: usize = 5;
    let entry = scheduler.ledger().get(lease.id).filter(|entry| entry.lease.is_queued())?;
    let ahead = scheduler.ledger().ahead_of(entry.place(), COUNTED_MAX);
    let named = scheduler.ledger().waiting().take(ahead.min(NAMED_MAX)).map(|entry| neighbour(&entry.lease));
    let named = named.collect();
    let foretold = if ahead < FORETOLD_MAX { ahead + 1 } else { 0 };
    let forecast = scheduler.forecast(now, foretold);
    let starts_in = forecast.last().filter(|forecast| forecast.id == lease.id);
    Some(QueuePlace {
        position: (ahead < COUNTED_MAX).then_some(ahead + 1),
        ahead: named,
        estimated_start_sec: starts_in.and_then(|forecast| forecast.starts_in).map(seconds),
    })
}

fn neighbour(lease: &Lease) -> QueueNeighbour {
    let request = &lease.request;
    QueueNeighbour {
        addon_id: request.holder.to_string(),
        job_type: request.job_type.to_string(),
        cost_units: request.units,
        priority: request.priority.name(),
    }
}

/// What the holder of a lease is to do.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LeaseDirective {
    /// The lease's id.
    lease_id: String,
    /// `continue`; `shrink`: use only `units`; `pause`: stand still until told otherwise; `revoke`: give it back within `deadline_sec`.
    #[schema(example = "continue")]
    directive: &'static str,
    /// Units that it may use.
    units: u32,
    /// For `revoke`: seconds that are left.
    deadline_sec: Option<f64>,
    /// Seconds that it lives unless its holder is heard before; null while it stands still.
    expires_in_sec: Option<f64>,
    /// Why, if it is not to go on as it was.
    reason: Option<String>,
    /// How often to heartbeat.
    heartbeat_interval_sec: f64,
    /// Number of the newest event of the lease: with it as `after`, the next heartbeat is answered when this is no longer so.
    #[schema(example = 4711)]
    event: u64,
}

impl LeaseDirective {
    pub(crate) fn new(instruction: &Instruction, policy: &Policy) -> Self {
        let lease = &instruction.lease;
        Self {
            lease_id: lease.name().to_string(),
            directive: instruction.directive.word(),
            units: lease.held_units(),
            deadline_sec: match instruction.directive {
                Directive::Revoke { within } => Some(seconds(within)),
                _ => None,
            },
            expires_in_sec: instruction.expires_in.map(seconds),
            reason: instruction.why.as_deref().map(str::to_owned),
            heartbeat_interval_sec: seconds(policy.heartbeat_interval()),
            event: lease.last_event,
        }
    }
}

/// A lease, a request that waits, or one that is over.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Lease)]
pub(crate) struct LeaseDto {
    /// Its id.
    #[schema(example = "17-9f86d081884c7d65")]
    lease_id: String,
    /// `queued`, `active`, `paused`, `revoking`; or how it ended: `released`, `failed`, `expired`, `revoked`, `cancelled`, `timed_out`.
    #[schema(example = "active")]
    state: &'static str,
    /// Its holder.
    addon_id: String,
    /// Its work.
    job_type: String,
    /// Units asked for.
    cost_units: u32,
    /// Units that count now.
    held_units: u32,
    /// LOW, NORMAL or HIGH.
    priority: &'static str,
    /// How long it is expected to take.
    expected_duration_sec: f64,
    /// Whether it can stand still.
    pausable: bool,
    /// When it was asked for, RFC 3339 UTC.
    #[schema(format = "date-time")]
    requested_at: String,
    /// When it was granted.
    #[schema(format = "date-time")]
    granted_at: Option<String>,
    /// When it ended.
    #[schema(format = "date-time")]
    ended_at: Option<String>,
    /// By when it is to have ended, quiet or not.
    #[schema(format = "date-time")]
    deadline_at: Option<String>,
    /// Its token, once it was granted.
    fencing_token: Option<u64>,
    /// What its holder is told at the next heartbeat, while it is held.
    directive: Option<&'static str>,
    /// Seconds that it lives unless its holder is heard before.
    expires_in_sec: Option<f64>,
    /// Seconds since its holder was last heard.
    heard_ago_sec: Option<f64>,
    /// How far the work is, as its holder told.
    progress: Option<LeaseProgress>,
    /// Why it is to be given back, or was taken, or failed; its holder's last words.
    note: Option<String>,
    /// What it used, as its holder told at the end.
    usage: Option<UsageDto>,
    /// The rule by which it was granted or queued.
    rule: &'static str,
    /// Why it was granted or queued.
    reasons: Vec<LeaseReason>,
    /// What that was decided on.
    basis: LeaseBasis,
    /// Its place in the queue, while it waits and where it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    queue: Option<QueuePlace>,
    /// Number of its newest event: what changes it changes this.
    last_event: u64,
}

/// How far work is.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LeaseProgress {
    /// Share that is done, 0 to 1.
    done_ratio: Option<f64>,
    /// What is being done.
    note: String,
    /// What was used so far.
    usage: UsageDto,
}

fn usage(usage: &Usage) -> UsageDto {
    let Usage { cpu_seconds, read_bytes, written_bytes } = *usage;
    UsageDto { cpu_seconds, read_bytes, written_bytes }
}

impl LeaseDto {
    pub(crate) fn new(scheduler: &Scheduler, now: Moment, entry: &Entry) -> Self {
        let lease = &entry.lease;
        let request = &lease.request;
        let instruction = scheduler.instruction(now, lease.id);
        let (note, used, ended) = match &lease.phase {
            Phase::Revoking { why, .. } => (Some(why), None, None),
            Phase::Ended { at, ending, .. } => match ending {
                Ending::Released { note, usage } | Ending::Failed { note, usage } => {
                    (Some(note), Some(usage), Some(at))
                }
                Ending::Revoked { why, .. } | Ending::Cancelled { why } => (Some(why), None, Some(at)),
                Ending::Expired | Ending::TimedOut => (None, None, Some(at)),
            },
            Phase::Queued | Phase::Active { .. } => (None, None, None),
        };
        Self {
            lease_id: lease.name().to_string(),
            state: lease.state(),
            addon_id: request.holder.to_string(),
            job_type: request.job_type.to_string(),
            cost_units: request.units,
            held_units: lease.held_units(),
            priority: request.priority.name(),
            expected_duration_sec: seconds(request.expected_duration),
            pausable: request.pausable,
            requested_at: rfc3339(lease.requested),
            granted_at: lease.granted().map(rfc3339),
            ended_at: ended.map(|at| rfc3339(*at)),
            deadline_at: request.deadline.map(|deadline| rfc3339(after(lease.requested, deadline))),
            fencing_token: lease.token().map(|token| token.0),
            directive: instruction.as_ref().map(|instruction| instruction.directive.word()),
            expires_in_sec: instruction.and_then(|instruction| instruction.expires_in).map(seconds),
            heard_ago_sec: lease.is_held().then(|| seconds(now.since(entry.heard))),
            progress: entry.progress.as_ref().map(|progress| LeaseProgress {
                done_ratio: progress.done_ratio,
                note: progress.note.to_string(),
                usage: usage(&progress.usage),
            }),
            note: note.map(ToString::to_string).filter(|note| !note.is_empty()),
            usage: used.map(usage),
            rule: lease.decision.rule.word(),
            reasons: reasons(&lease.decision.reasons),
            basis: basis(&lease.decision),
            queue: None,
            last_event: lease.last_event,
        }
    }

    /// With its place in the queue.
    pub(crate) fn placed(mut self, queue: Option<QueuePlace>) -> Self {
        self.queue = queue;
        self
    }
}

fn after(wall: WallTime, later: Duration) -> WallTime {
    WallTime(wall.unix_ms().saturating_add(i64::try_from(later.as_millis()).unwrap_or(i64::MAX)))
}

/// Everything about leases at a glance.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LeaseStatus {
    /// The host's state, on which decisions are made; null while nothing fresh is known.
    quiet: Option<LeaseQuiet>,
    /// Units that may be held now; fewer than configured while others use the machine.
    capacity_units: u32,
    /// Units that may be held on an idle machine.
    configured_capacity_units: u32,
    /// Units that are held.
    used_units: u32,
    /// How many leases are held.
    active_count: usize,
    /// How many requests wait.
    queued_count: usize,
    /// The leases that are held, at most `limit`.
    active: Vec<LeaseDto>,
    /// The first requests that wait, at most `limit`.
    queue: Vec<LeaseDto>,
    /// What ended last, newest first.
    recent: Vec<LeaseDto>,
    /// Seconds for which nothing starts because the host was in PANIC.
    cool_down_sec: Option<f64>,
    /// The operator's switch.
    r#override: Option<LeaseOverride>,
    /// What holders must keep to.
    limits: LeaseLimits,
    /// Why nothing can be written down, and so nothing is granted; null when all is well.
    storage_problem: Option<String>,
    /// Number of the newest event.
    last_event: u64,
    /// Number of the life of the file of leases: one more each time it was put back from a backup or lost.
    epoch: u32,
}

/// The host's state.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LeaseQuiet {
    /// Number of the snapshot.
    sequence: u64,
    /// The score.
    score: u8,
    /// The state.
    #[schema(value_type = String, example = "QUIET")]
    state: Level,
    /// Why, in words.
    reasons: Vec<String>,
    /// Seconds until QUIET, if nothing stirs.
    quiet_in_sec: Option<f64>,
}

impl LeaseQuiet {
    pub(crate) fn new(sequence: u64, quiet: &lowtide_core::quiet::QuietAssessment) -> Self {
        Self {
            sequence,
            score: quiet.score,
            state: quiet.state,
            reasons: quiet.reasons.iter().map(|reason| reason.text.clone()).collect(),
            quiet_in_sec: quiet.quiet_in.map(seconds),
        }
    }
}

impl LeaseStatus {
    pub(crate) fn new(
        scheduler: &mut Scheduler,
        now: Now,
        quiet: Option<LeaseQuiet>,
        storage_problem: Option<String>,
        limit: usize,
    ) -> Self {
        const RECENT: usize = 20;
        let mono = Moment::from(now.mono);
        let queue = queue(scheduler, now, limit, None);
        let ledger = scheduler.ledger();
        let meta = ledger.meta();
        let lease = |entry: &Entry| LeaseDto::new(scheduler, mono, entry);
        Self {
            quiet,
            capacity_units: scheduler.capacity(mono),
            configured_capacity_units: scheduler.policy().capacity_units,
            used_units: ledger.used(),
            active_count: ledger.held_count(),
            queued_count: ledger.queued_count(),
            active: ledger.held().take(limit).map(lease).collect(),
            queue,
            recent: ledger.ended().take(RECENT.min(limit)).map(lease).collect(),
            cool_down_sec: scheduler.cooling(mono).map(seconds),
            r#override: meta.switch.as_ref().map(LeaseOverride::new),
            limits: LeaseLimits::new(scheduler.policy()),
            storage_problem,
            last_event: meta.sequence,
            epoch: meta.epoch,
        }
    }
}

/// Who waits, in order.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LeaseQueue {
    /// How many wait in all.
    queued_count: usize,
    /// The next, at most `limit`.
    queue: Vec<LeaseDto>,
    /// For the next page: `after` of the request; null at the end.
    next: Option<String>,
}

impl LeaseQueue {
    pub(crate) fn new(
        scheduler: &mut Scheduler,
        now: Now,
        limit: usize,
        after: Option<lowtide_core::lease::Place>,
    ) -> Self {
        let queue = queue(scheduler, now, limit + 1, after);
        let more = queue.len() > limit;
        let queue: Vec<LeaseDto> = queue.into_iter().take(limit).collect();
        let next = queue.last().filter(|_| more).map(|last| last.lease_id.clone());
        Self { queued_count: scheduler.ledger().queued_count(), queue, next }
    }
}

/// Requests that wait, each with its place.
fn queue(
    scheduler: &mut Scheduler,
    now: Now,
    limit: usize,
    after: Option<lowtide_core::lease::Place>,
) -> Vec<LeaseDto> {
    const FORETOLD_MAX: usize = 100;
    const NAMED_MAX: usize = 3;
    let forecasts: Vec<Forecast> = scheduler.forecast(now, FORETOLD_MAX);
    let ledger = scheduler.ledger();
    let before = after.map_or(0, |after| ledger.ahead_of(after, usize::MAX) + 1);
    let first: Vec<QueueNeighbour> =
        ledger.waiting().take(NAMED_MAX).map(|entry| neighbour(&entry.lease)).collect();
    let waiting = ledger.waiting_after(after).take(limit).enumerate();
    let one = |(number, entry): (usize, &Entry)| {
        let position = before + number;
        let forecast = forecasts.get(position).filter(|forecast| forecast.id == entry.lease.id);
        let place = QueuePlace {
            position: Some(position + 1),
            ahead: first.iter().take(position).cloned().collect(),
            estimated_start_sec: forecast.and_then(|forecast| forecast.starts_in).map(seconds),
        };
        LeaseDto::new(scheduler, now.mono.into(), entry).placed(Some(place))
    };
    waiting.map(one).collect()
}

/// The operator's switch.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LeaseOverride {
    /// `block` or `allow`.
    #[schema(example = "block")]
    mode: &'static str,
    /// Who set it.
    owner: String,
    /// Why.
    reason: String,
    /// When it was set.
    #[schema(format = "date-time")]
    set_at: String,
    /// When it ends by itself; null: when it is taken away by hand.
    #[schema(format = "date-time")]
    expires_at: Option<String>,
}

fn mode(mode: Mode) -> &'static str {
    match mode {
        Mode::Block => "block",
        Mode::Allow => "allow",
    }
}

impl LeaseOverride {
    pub(crate) fn new(switch: &Override) -> Self {
        Self {
            mode: mode(switch.mode),
            owner: switch.owner.to_string(),
            reason: switch.reason.to_string(),
            set_at: rfc3339(switch.set),
            expires_at: switch.expires.map(rfc3339),
        }
    }
}

/// The operator's switch, or that there is none.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LeaseOverrideState {
    /// It; null when there is none.
    pub(crate) r#override: Option<LeaseOverride>,
}

/// The operator's windows.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LeaseWindows {
    /// All of them.
    windows: Vec<LeaseWindow>,
}

/// One window.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LeaseWindow {
    /// What people call it.
    name: String,
    /// `allow` or `block`.
    mode: &'static str,
    /// Days on which it begins.
    days: Vec<&'static str>,
    /// Local time at which it begins.
    #[schema(example = "22:00")]
    from: String,
    /// Local time at which it ends.
    #[schema(example = "06:00")]
    to: String,
}

impl LeaseWindows {
    pub(crate) fn new(windows: &[Window]) -> Self {
        let time = |minute: u16| format!("{:02}:{:02}", minute / 60, minute % 60);
        let one = |window: &Window| LeaseWindow {
            name: window.name.to_string(),
            mode: mode(window.mode),
            days: DAYS.iter().zip(window.days).filter(|(_, on)| *on).map(|(day, _)| *day).collect(),
            from: time(window.from),
            to: time(window.to),
        };
        Self { windows: windows.iter().map(one).collect() }
    }
}

/// Who asked and holds.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LeaseHolders {
    /// All who asked since the daemon's start, or hold or wait, by name.
    holders: Vec<LeaseHolder>,
}

/// One holder. Counts are since the daemon's start.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(crate) struct LeaseHolder {
    /// Its name.
    addon_id: String,
    /// Leases that it holds.
    active: usize,
    /// Units that it holds.
    held_units: u32,
    /// Requests of it that wait.
    queued: usize,
    /// Leases that it was granted.
    grants: u64,
    /// Requests of it that were denied.
    denials: u64,
    /// When it asked last.
    #[schema(format = "date-time")]
    last_asked_at: Option<String>,
    /// When it was last denied.
    #[schema(format = "date-time")]
    last_denied_at: Option<String>,
    /// The rule of the last denial.
    last_rule: Option<&'static str>,
    /// Why it was last denied.
    last_reasons: Vec<LeaseReason>,
    /// Seconds for which nothing starts for it.
    cool_down_sec: Option<f64>,
}

impl LeaseHolders {
    pub(crate) fn new(scheduler: &Scheduler, now: Now) -> Self {
        let cooling = scheduler.cooling(now.mono.into()).map(seconds);
        let mut holders: std::collections::BTreeMap<String, LeaseHolder> = std::collections::BTreeMap::new();
        let mut of = |name: &str, fill: &dyn Fn(&mut LeaseHolder)| {
            let holder = holders.entry(name.to_owned()).or_insert_with(|| LeaseHolder {
                addon_id: name.to_owned(),
                cool_down_sec: cooling,
                ..LeaseHolder::default()
            });
            fill(holder);
        };
        for (name, share) in scheduler.ledger().shares() {
            of(name, &|holder| holder.has(*share));
        }
        for (name, stats) in scheduler.holders() {
            of(name, &|holder| holder.asked(stats));
        }
        Self { holders: holders.into_values().collect() }
    }
}

impl LeaseHolder {
    fn has(&mut self, share: Share) {
        (self.active, self.held_units, self.queued) = (share.held, share.units, share.queued);
    }

    fn asked(&mut self, stats: &HolderStats) {
        (self.grants, self.denials) = (stats.granted, stats.denied);
        self.last_asked_at = Some(rfc3339(stats.asked));
        if let Some((at, decision)) = &stats.last_denial {
            self.last_denied_at = Some(rfc3339(*at));
            self.last_rule = Some(decision.rule.word());
            self.last_reasons = reasons(&decision.reasons);
        }
    }
}
