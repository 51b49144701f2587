//! Who may be granted what, and in which order, by the model's own view of the host.

use super::*;

/// What stands in the way of a request.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Obstacle {
    /// The host or the operator.
    State(Rule),
    /// Its holder has as many as it may.
    Holder,
    /// Its owner would have more units than it may.
    Quota,
    /// Nothing at all is free.
    Full(Rule),
    /// Too little is free.
    Room,
    /// More than the host leaves now.
    TooLarge,
}

impl Obstacle {
    fn rule(self) -> Rule {
        match self {
            Self::State(rule) | Self::Full(rule) => rule,
            Self::Holder => Rule::Concurrency,
            Self::Quota | Self::Room | Self::TooLarge => Rule::Capacity,
        }
    }

    /// The invariant that a grant in spite of it breaks.
    fn invariant(self) -> u8 {
        match self {
            Self::State(Rule::Unknown) => 17,
            Self::State(Rule::Panic | Rule::CoolDown) => 9,
            Self::State(_) => 8,
            Self::Holder | Self::Quota | Self::Full(Rule::Concurrency) => 18,
            Self::Full(_) | Self::Room | Self::TooLarge => 1,
        }
    }
}

/// Which signals matter to which work: those of the processor, the disk and the network only to work that weighs on them.
fn minds(constraints: Constraints, signal: &str) -> bool {
    let Constraints { cpu_heavy, disk_write_heavy, network_heavy } = constraints;
    match signal {
        _ if !(cpu_heavy || disk_write_heavy || network_heavy) => true,
        "cpu" | "cpu_pressure" => cpu_heavy,
        "disk_busy" | "io_pressure" => disk_write_heavy,
        "api_rate" => network_heavy || cpu_heavy,
        _ => true,
    }
}

fn is_echo(signal: &str) -> bool {
    matches!(signal, "dwell" | "hold" | "calm")
}

/// Whether a window is open: some day on which it begins is so recent that it still lasts.
fn is_open(window: &Window, minute: u16) -> bool {
    let (day, week) = (24 * 60, 7 * 24 * 60);
    let lasts = if window.to > window.from { window.to - window.from } else { day - window.from + window.to };
    let mut days = (0..7_u16).filter(|number| window.days[usize::from(*number)]);
    days.any(|number| (minute + week - (number * day + window.from)) % week < lasts)
}

fn start_by(request: &Request, asked: Moment) -> Option<Moment> {
    request.deadline.map(|by| asked.plus(by.saturating_sub(request.expected_duration)))
}

impl Naive {
    /// Takes in what is true of the host.
    pub(super) fn learn(&mut self, conditions: &Conditions) {
        let level = conditions.level;
        if level == Level::Quiet {
            self.disturbed.clear();
        } else {
            let signals = conditions.causes.iter().filter(|(level, _)| *level > Level::Quiet);
            let signals = signals.map(|(_, cause)| Text::clone(&cause.signal));
            self.disturbed.extend(signals.filter(|signal| !is_echo(signal)));
        }
        self.busy_since = match self.busy_since {
            _ if level < Level::Busy => None,
            None => Some(conditions.at),
            since => since,
        };
        if level == Level::Panic {
            self.panicked = Some(conditions.at);
        }
        self.conditions = Some(conditions.clone());
    }

    pub(super) fn fresh(&self, mono: Moment) -> Option<&Conditions> {
        let last = self.policy.conditions_last;
        self.conditions.as_ref().filter(|conditions| conditions.at.plus(last) >= mono)
    }

    pub(super) fn cooling(&self, mono: Moment) -> bool {
        self.panicked.is_some_and(|at| at.plus(self.policy.cool_down) > mono)
    }

    pub(super) fn capacity(&self, mono: Moment) -> u32 {
        let Some(conditions) = self.fresh(mono) else { return 0 };
        let headroom = self.policy.headroom_ratio;
        let free = 1.0 + headroom - conditions.load_ratio.max(headroom);
        (f64::from(self.policy.capacity_units) * free.clamp(0.0, 1.0)) as u32
    }

    /// Whether work of this kind minds what is in the way of QUIET.
    pub(super) fn affects(&self, conditions: &Conditions, constraints: Constraints) -> bool {
        let causes = conditions.causes.iter().filter(|(level, _)| *level > Level::Quiet);
        let signals: Vec<&str> = causes.map(|(_, cause)| &*cause.signal).collect();
        let remembered =
            || self.disturbed.is_empty() || self.disturbed.iter().any(|signal| minds(constraints, signal));
        let in_the_way = |signal: &&str| {
            if is_echo(signal) { remembered() } else { minds(constraints, signal) }
        };
        signals.is_empty() || signals.iter().any(in_the_way)
    }

    /// What the operator says now.
    fn order(&self, now: Now, conditions: &Conditions) -> Option<Mode> {
        let lasts = |switch: &&Override| switch.expires.is_none_or(|at| now.wall < at);
        if let Some(switch) = self.switch.as_ref().filter(lasts) {
            return Some(switch.mode);
        }
        let minute = conditions.week_minute?;
        let open = || self.windows.iter().filter(|window| is_open(window, minute)).map(|window| window.mode);
        open().find(|mode| *mode == Mode::Block).or_else(|| open().next())
    }

    /// By which rule the state permits work of this kind, or by which it does not.
    fn permits(&self, now: Now, request: &Request) -> Result<Rule, Rule> {
        let mono = moment(now);
        let conditions = self.fresh(mono).ok_or(Rule::Unknown)?;
        let order = self.order(now, conditions);
        match conditions.level {
            Level::Panic => Err(Rule::Panic),
            _ if self.cooling(mono) => Err(Rule::CoolDown),
            _ if order == Some(Mode::Block) => Err(Rule::Blocked),
            Level::Quiet => Ok(Rule::Quiet),
            _ if order == Some(Mode::Allow) => Ok(Rule::Allowed),
            _ if request.priority == Priority::High => Ok(Rule::HighPriority),
            _ if !self.affects(conditions, request.constraints) => Ok(Rule::NotAffected),
            _ => Err(Rule::NotQuiet),
        }
    }

    /// Whether a request may be granted at this moment, its place in the queue aside.
    fn admits(&self, now: Now, request: &Request, asked: Moment) -> Result<Rule, Obstacle> {
        let mono = moment(now);
        let due = start_by(request, asked).is_some_and(|at| at <= mono);
        let rule = match self.permits(now, request) {
            Err(Rule::NotQuiet) if due => Rule::Deadline,
            Err(rule) => return Err(Obstacle::State(rule)),
            Ok(rule) => rule,
        };
        let (mut held, mut own, mut used, mut of_owner) = (0, 0, 0, 0);
        let owner =
            |holder: &Text| holder.split_once('/').map_or(holder.to_string(), |(owner, _)| owner.to_owned());
        for mine in self.held() {
            held += 1;
            own += usize::from(mine.request.holder == request.holder);
            used += mine.units;
            if owner(&mine.request.holder) == owner(&request.holder) {
                of_owner += mine.request.units;
            }
        }
        let capacity = if due { self.policy.capacity_units } else { self.capacity(mono) };
        if held >= self.policy.leases_max {
            Err(Obstacle::Full(Rule::Concurrency))
        } else if own >= self.policy.leases_per_holder_max {
            Err(Obstacle::Holder)
        } else if request.owner_units_max.is_some_and(|most| of_owner + request.units > most) {
            Err(Obstacle::Quota)
        } else if used + request.units <= capacity {
            Ok(rule)
        } else if used >= capacity {
            Err(Obstacle::Full(Rule::Capacity))
        } else if request.units > capacity {
            Err(Obstacle::TooLarge)
        } else {
            Err(Obstacle::Room)
        }
    }

    fn admits_waiting(&self, now: Now, mine: &Mine) -> Result<Rule, Obstacle> {
        self.admits(now, &mine.request, mine.asked)
    }

    /// Those that would miss their deadline, most urgent first.
    fn due(&self, mono: Moment) -> Vec<&Mine> {
        let is_due = |mine: &&Mine| mine.start_by().is_some_and(|at| at <= mono);
        let mut due: Vec<&Mine> = self.waiting().filter(is_due).collect();
        due.sort_unstable_by_key(|mine| (mine.start_by(), mine.id));
        due
    }

    fn in_order(&self) -> Vec<&Mine> {
        let mut waiting: Vec<&Mine> = self.waiting().collect();
        waiting.sort_unstable_by_key(|mine| mine.place());
        waiting
    }

    /// Whether smaller ones have overtaken it for long enough.
    fn has_waited(&self, mine: &Mine, mono: Moment) -> bool {
        mono.since(mine.asked) >= self.policy.reserve_after
    }

    /// After the scheduler has looked at its queue nobody waits who could run, but for those behind one that must not be overtaken.
    pub(super) fn look(&mut self, now: Now) -> Result<(), Violation> {
        (self.look_due, self.kept) = (false, None);
        self.kept = self.kept_now(now)?;
        Ok(())
    }

    /// Who must not be overtaken from now on.
    fn kept_now(&self, now: Now) -> Result<Option<u64>, Violation> {
        let mono = moment(now);
        let idle = |mine: &Mine| Err(broken(15, format!("lease {} waits and could run", mine.id)));
        for mine in self.due(mono) {
            match self.admits_waiting(now, mine) {
                Ok(_) => return idle(mine),
                Err(Obstacle::Room | Obstacle::Full(_)) => return Ok(Some(mine.id)),
                Err(_) => {}
            }
        }
        for mine in self.in_order() {
            match self.admits_waiting(now, mine) {
                Ok(_) => return idle(mine),
                Err(Obstacle::Full(_)) => return Ok(None),
                Err(Obstacle::Room) if self.has_waited(mine, mono) => return Ok(Some(mine.id)),
                Err(_) => {}
            }
        }
        Ok(None)
    }

    /// What became free before someone asks is for those who wait.
    pub(super) fn look_before_asking(&mut self, now: Now) -> Result<(), Violation> {
        if self.look_due && self.storage_works { self.look(now) } else { Ok(()) }
    }

    /// Nobody who waits is overtaken by this grant of one that has waited.
    fn overtakes(&self, now: Now, own: &Mine) -> Result<(), Violation> {
        let mono = moment(now);
        let jumps = |other: &Mine| Err(broken(6, format!("lease {} overtakes {}", own.id, other.id)));
        let starves =
            |other: &Mine| Err(broken(7, format!("lease {} takes what is kept for {}", own.id, other.id)));
        for other in self.due(mono) {
            if other.id == own.id {
                return Ok(());
            }
            match self.admits_waiting(now, other) {
                Ok(_) => return jumps(other),
                Err(Obstacle::Room) => return starves(other),
                Err(_) => {}
            }
        }
        for other in self.in_order() {
            if other.id == own.id {
                break;
            }
            match self.admits_waiting(now, other) {
                Ok(_) => return jumps(other),
                Err(Obstacle::Room) if self.has_waited(other, mono) => return starves(other),
                Err(_) => {}
            }
        }
        // Whatever the clocks did: of two of one kind the one that asked first is first.
        let kind = |mine: &Mine| (mine.request.priority, mine.request.constraints);
        for other in self.waiting().filter(|other| other.id < own.id && kind(other) == kind(own)) {
            if self.admits_waiting(now, other).is_ok() {
                return jumps(other);
            }
        }
        Ok(())
    }

    /// Whether a new request is granted, and by which rule it is or is not.
    fn decides(&self, now: Now, request: &Request) -> Result<Rule, Rule> {
        let mono = moment(now);
        let rule = self.admits(now, request, mono).map_err(Obstacle::rule)?;
        let kept = self.kept.and_then(|id| self.leases.get(&id)).filter(|kept| kept.waits());
        let stands_before = |kept: &Mine| {
            kept.start_by().is_some_and(|at| at <= mono) || kept.place().0 <= place(mono, request.priority)
        };
        if kept.is_some_and(stands_before) { Err(Rule::Reserved) } else { Ok(rule) }
    }

    /// Whether this holder may ask once more: so many at once, and so many a second.
    fn may_ask(&mut self, mono: Moment, holder: &Text) -> bool {
        let full = u64::from(self.policy.requests_burst) * 1_000;
        let (left, at) = self.patience.get(holder).copied().unwrap_or((full, mono));
        let earned = (mono.0 - at.0) as u64 * u64::from(self.policy.requests_per_second);
        let left = (left + earned).min(full);
        let may = left >= 1_000;
        self.patience.insert(Text::clone(holder), (if may { left - 1_000 } else { left }, mono));
        may
    }

    fn queue_is_full(&self, holder: &Text) -> bool {
        let own = self.waiting().filter(|mine| mine.request.holder == *holder).count();
        self.waiting().count() >= self.policy.queue_max || own >= self.policy.queue_per_holder_max
    }

    /// The request as it is kept: who waits has a deadline.
    fn kept_as(&self, request: &Request) -> Request {
        let default = request.wait.then_some(self.policy.deadline_default);
        Request { deadline: request.deadline.or(default), ..request.clone() }
    }

    /// A new lease: it must be what was asked for, once, and by one who may ask.
    fn comes(&mut self, now: Now, input: &Input, request: &Request) -> Result<(), Violation> {
        let told = matches!(input, Input::Request { request: asked, .. } if self.kept_as(asked) == *request);
        ensure(told, 11, || "a lease that nobody asked for".to_owned())?;
        ensure(self.keyed(request).is_none(), 11, || "a second lease for one key".to_owned())?;
        let most = request.owner_units_max.unwrap_or(u32::MAX).min(self.policy.capacity_units);
        ensure(request.units <= most, 7, || "more than there ever is".to_owned())?;
        let may = self.may_ask(moment(now), &request.holder);
        ensure(may, 18, || "it asks too often".to_owned())
    }

    pub(super) fn queued(&mut self, now: Now, input: &Input, event: &Event) -> Result<(), Violation> {
        let Event::Queued { id, secret, request, decision } = event else { return Ok(()) };
        self.comes(now, input, request)?;
        ensure(!self.queue_is_full(&request.holder), 18, || "the queue has no end".to_owned())?;
        match self.decides(now, request) {
            Err(rule) => {
                let same = rule == decision.rule;
                let number = Obstacle::State(rule).invariant();
                ensure(same, number, || format!("it waits because of {:?}, not {rule:?}", decision.rule))?;
            }
            Ok(rule) => return Err(broken(15, format!("it waits and could run by {rule:?}"))),
        }
        self.come(now, *id, *secret, request, None);
        Ok(())
    }

    pub(super) fn grant(
        &mut self,
        now: Now,
        input: &Input,
        id: LeaseId,
        token: Token,
        asked: Option<&(u64, Request)>,
        decision: &Decision,
    ) -> Result<(), Violation> {
        let mono = moment(now);
        let highest = self.highest_token;
        ensure(token.0 > highest, 5, || format!("token {} after {highest}", token.0))?;
        self.highest_token = token.0;
        ensure(self.storage_works, 4, || "a grant that cannot be made durable".to_owned())?;
        let before = self.lease(id).cloned();
        let (request, since) = match (asked, &before) {
            (Some((_, request)), None) => {
                self.comes(now, input, request)?;
                (request.clone(), mono)
            }
            (None, Some(mine)) if mine.waits() => (mine.request.clone(), mine.asked),
            _ => return Err(broken(3, format!("lease {} is granted twice", id.0))),
        };
        let rule = self.admits(now, &request, since).map_err(|obstacle| {
            broken(obstacle.invariant(), format!("lease {} granted in spite of {obstacle:?}", id.0))
        })?;
        let view = self.fresh(mono).map(|view| (view.sequence, view.score, view.level));
        let told = decision.sequence.zip(decision.score).zip(decision.level);
        let same = told.map(|((sequence, score), level)| (sequence, score, level)) == view
            && decision.rule == rule
            && (decision.used, decision.capacity) == (self.used(), self.capacity(mono));
        ensure(same, 8, || format!("granted on {decision:?}, and not by {rule:?} on {view:?}"))?;
        let Some(mine) = before else {
            let decided = self.decides(now, &request);
            ensure(decided.is_ok(), 7, || format!("lease {} takes what is kept", id.0))?;
            let secret = asked.map_or(0, |(secret, _)| *secret);
            self.come(now, id, secret, &request, Some((token, rule)));
            return Ok(());
        };
        self.overtakes(now, &mine)?;
        self.undo.push(Undo::Lease(id.0, Some(mine.clone())));
        let granted = Mine {
            doing: Doing::Runs,
            units: request.units,
            token: token.0,
            granted: mono,
            granted_wall: now.wall,
            lives_until: mono.plus(self.policy.ttl),
            by: rule,
            ..mine
        };
        self.leases.insert(id.0, granted);
        Ok(())
    }

    fn come(
        &mut self,
        now: Now,
        id: LeaseId,
        secret: u64,
        request: &Request,
        granted: Option<(Token, Rule)>,
    ) {
        let mono = moment(now);
        let (token, by) = granted.unwrap_or((Token(0), Rule::Quiet));
        let mine = Mine {
            id: id.0,
            secret,
            request: request.clone(),
            doing: if granted.is_some() { Doing::Runs } else { Doing::Waits },
            units: if granted.is_some() { request.units } else { 0 },
            token: token.0,
            asked: mono,
            granted: mono,
            reached: false,
            lives_until: mono.plus(self.policy.ttl),
            by,
            grace: Duration::ZERO,
            asked_wall: now.wall,
            granted_wall: now.wall,
            changed_wall: now.wall,
        };
        let before = self.leases.insert(id.0, mine);
        self.undo.push(Undo::Lease(id.0, before));
    }

    pub(super) fn answer_to_request(
        &mut self,
        now: Now,
        asked: &Request,
        reply: &Reply,
        own: Option<&Event>,
    ) -> Result<(), Violation> {
        let wrong = |number, why: &str| Err(broken(number, format!("{why}: {asked:?} got {reply:?}")));
        if let Some(event) = own {
            return match reply {
                Reply::Lease { lease, repeated: false } if Some(lease.id) == event.lease() => Ok(()),
                _ => wrong(11, "what happened is not what was told"),
            };
        }
        let request = self.kept_as(asked);
        if let Some(mine) = self.keyed(&request) {
            let right = match reply {
                Reply::Lease { lease, repeated: true } => lease.id.0 == mine.id && mine.request == request,
                Reply::Refused(Refusal::KeyReused(name)) => *name == mine.name() && mine.request != request,
                _ => false,
            };
            return if right { Ok(()) } else { wrong(11, "a key is not known again") };
        }
        let most = request.owner_units_max.unwrap_or(u32::MAX).min(self.policy.capacity_units);
        if request.units > most {
            let right = Reply::Refused(Refusal::TooLarge { capacity: most });
            return if *reply == right { Ok(()) } else { wrong(7, "too much is not refused") };
        }
        let Reply::Denied(decision) = reply else { return wrong(11, "no lease, and no denial") };
        self.look_before_asking(now)?;
        let may = self.may_ask(moment(now), &request.holder);
        let rule = if may { self.decides(now, &request) } else { Err(Rule::Rate) };
        let full = self.queue_is_full(&request.holder);
        match rule {
            Ok(_) => wrong(15, "it could run"),
            Err(Rule::Rate) if decision.rule == Rule::Rate => Ok(()),
            Err(_) if request.wait && !full => wrong(15, "it could wait"),
            Err(_) if request.wait && decision.rule == Rule::QueueFull => Ok(()),
            Err(rule) if !request.wait && decision.rule == rule => Ok(()),
            Err(rule) => wrong(Obstacle::State(rule).invariant(), &format!("the reason is {rule:?}")),
        }
    }
}
