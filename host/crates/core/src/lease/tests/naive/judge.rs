//! One step: whether each event had a cause, whether what had to happen did, and whether the answer was true.

use super::*;

/// The lease that an input names, and what it was doing before.
struct Named {
    id: LeaseId,
    was: Doing,
}

/// A step up or down the ladder short of taking back.
fn eases(event: &Event) -> bool {
    matches!(event, Event::Paused { .. } | Event::Resumed { .. } | Event::Resized { .. })
}

impl Naive {
    /// Judges a step by what went in and what came out.
    pub(in crate::lease::tests) fn step(
        &mut self,
        now: Now,
        input: &Input,
        effects: &Effects,
    ) -> Result<(), Violation> {
        let mono = moment(now);
        if mono.since(self.stepped) > self.policy.stall {
            self.spared_until = Some(mono.plus(secs(10)));
        }
        self.stepped = mono;
        self.spared_until = self.spared_until.filter(|until| mono <= *until);
        let hold_max = self.policy.hold_max;
        match input {
            Input::Tick(Some(conditions)) => self.learn(conditions),
            Input::Policy(policy) => self.policy = (**policy).clone(),
            Input::Storage { works } => self.storage_works = *works,
            _ => {}
        }
        self.look_due |= matches!(input, Input::Tick(_) | Input::Policy(_) | Input::Override(_))
            || matches!(input, Input::Windows(_) | Input::Storage { works: true })
            || matches!(input, Input::Edge(_)) && effects.records.iter().any(|record| eases(&record.event));
        let named = self.named(input);
        let mut own = None;
        self.feel_the_edge(mono, input, effects);
        for record in &effects.records {
            self.in_sequence(record)?;
            if matches!(record.event, Event::Queued { .. } | Event::Granted { asked: Some(_), .. }) {
                self.look_before_asking(now)?;
                own = Some(&record.event);
            }
            let is_named = named.as_ref().is_ok_and(|named| record.event.lease() == Some(named.id));
            self.event(now, input, is_named, hold_max, record)?;
        }
        match input {
            Input::Request { request, .. } => self.answer_to_request(now, request, &effects.reply, own)?,
            _ => self.answer(now, input, effects, named, own)?,
        }
        self.must(now, input)?;
        if self.look_due && self.storage_works { self.look(now) } else { Ok(()) }
    }

    /// What was taken back and lets go is done again.
    pub(in crate::lease::tests) fn shed(&mut self, now: Now, records: &[Record]) -> Result<(), Violation> {
        for record in records {
            self.in_sequence(record)?;
            let known = record.event.lease().and_then(|id| self.lease(id)).cloned();
            let Some(mine) = known else { return Err(broken(4, format!("{record:?} of nothing"))) };
            let lets_go =
                matches!(record.event, Event::Ended { .. } | Event::Revoking { .. } | Event::Paused { .. });
            ensure(lets_go, 4, || format!("{record:?} was taken back and came again"))?;
            self.change(now, mine, &record.event);
        }
        Ok(())
    }

    /// Events follow each other without a gap, and none follows on an end.
    fn in_sequence(&mut self, record: &Record) -> Result<(), Violation> {
        self.sequence += 1;
        let expected = self.sequence;
        ensure(record.sequence == expected, 3, || {
            format!("event {} instead of {expected}", record.sequence)
        })?;
        let about = record.event.lease().and_then(|id| self.lease(id));
        ensure(about.is_none_or(|mine| mine.doing != Doing::Over), 3, || {
            format!("{:?} after its end", record.event)
        })
    }

    /// The lease that an input names, or how the answer must refuse it.
    fn named(&self, input: &Input) -> Result<Named, Refusal> {
        let (name, holder) = match input {
            Input::Heartbeat { name, holder, .. }
            | Input::Report { name, holder, .. }
            | Input::Release { name, holder, .. } => (name, holder.as_ref()),
            Input::Revoke { name, .. } => (name, None),
            _ => return Err(Refusal::Unknown),
        };
        let mine = self.lease(name.id).filter(|mine| mine.secret == name.secret);
        let mine = mine.ok_or(Refusal::Unknown)?;
        if holder.is_some_and(|holder| *holder != mine.request.holder) {
            return Err(Refusal::NotYours);
        }
        Ok(Named { id: name.id, was: mine.doing })
    }

    /// Notes an event, after a look whether there was a cause for it.
    fn event(
        &mut self,
        now: Now,
        input: &Input,
        is_named: bool,
        hold_max: Duration,
        record: &Record,
    ) -> Result<(), Violation> {
        let orders = || Undo::Orders(self.switch.clone(), self.windows.clone());
        match &record.event {
            Event::Queued { .. } => self.queued(now, input, &record.event),
            Event::Granted { id, token, asked, decision } => {
                self.grant(now, input, *id, *token, asked.as_ref(), decision)
            }
            Event::Overridden { switch } => {
                let told = matches!(input, Input::Override(to) if to == switch);
                let ended = matches!(input, Input::Tick(_)) && self.order_is_over(now);
                ensure(told || ended && switch.is_none(), 10, || "an order changed by itself".to_owned())?;
                self.undo.push(orders());
                self.switch.clone_from(switch);
                Ok(())
            }
            Event::Windows { windows } => {
                let told = matches!(input, Input::Windows(to) if to == windows);
                ensure(told, 10, || "windows changed by themselves".to_owned())?;
                self.undo.push(orders());
                self.windows.clone_from(windows);
                Ok(())
            }
            Event::Restarted { .. } => Err(broken(3, "a start in the middle")),
            event => {
                let mine = event.lease().and_then(|id| self.lease(id)).cloned();
                let Some(mine) = mine else { return Err(broken(4, format!("{record:?} of nothing"))) };
                self.cause(now, input, is_named, hold_max, &mine, event)?;
                self.change(now, mine, event);
                Ok(())
            }
        }
    }

    fn order_is_over(&self, now: Now) -> bool {
        self.switch.as_ref().is_some_and(|switch| switch.expires.is_some_and(|at| at <= now.wall))
    }

    /// What an event makes of a lease.
    fn change(&mut self, now: Now, mut mine: Mine, event: &Event) {
        let mono = moment(now);
        self.undo.push(Undo::Lease(mine.id, Some(mine.clone())));
        let stood = matches!(mine.doing, Doing::Stands(_));
        match event {
            Event::Paused { .. } => {
                self.freezes += 1;
                (mine.doing, mine.changed_wall) = (Doing::Stands(mono), now.wall);
            }
            Event::Resumed { .. } => {
                self.resumed = Some(mono);
                mine.doing = Doing::Runs;
                mine.lives_until = mine.lives_until.max(mono.plus(self.policy.ttl));
            }
            Event::Resized { units, .. } => {
                if *units > mine.units {
                    self.resumed = Some(mono);
                }
                mine.units = *units;
            }
            Event::Revoking { grace, .. } => {
                mine.doing = Doing::LetsGo(mono.plus(*grace));
                (mine.grace, mine.changed_wall) = (*grace, now.wall);
            }
            _ => {
                mine.doing = Doing::Over;
                self.look_due = true;
            }
        }
        self.thaws += u64::from(stood && !matches!(mine.doing, Doing::Stands(_)));
        self.leases.insert(mine.id, mine);
    }

    /// Whether there was a cause for what became of a lease.
    fn cause(
        &self,
        now: Now,
        input: &Input,
        is_named: bool,
        hold_max: Duration,
        mine: &Mine,
        event: &Event,
    ) -> Result<(), Violation> {
        let mono = moment(now);
        let (id, doing, request) = (mine.id, mine.doing, &mine.request);
        let known = self.fresh(mono);
        let fresh = known.filter(|_| matches!(input, Input::Tick(_)));
        let level = fresh.map(|conditions| conditions.level);
        let left_alone = self.needed.is_none_or(|needed| mono.since(needed) >= self.calm_enough());
        let may = match input {
            Input::Tick(_) => !mine.reached || left_alone,
            Input::Edge(None) => mine.reached && left_alone,
            _ => false,
        };
        let calm = may && known.is_some_and(|known| known.level < Level::Busy) && !self.cooling(mono);
        let edge = self.gives_way(input, mine);
        let busy_for = self.busy_since.map_or(Duration::ZERO, |since| mono.since(since));
        let lasts = busy_for >= self.policy.busy_after && mono.since(mine.granted) >= self.policy.settle;
        let pressed = level == Some(Level::Busy)
            && (lasts || mine.reached && request.pausable)
            && !matches!(mine.by, Rule::HighPriority | Rule::Deadline | Rule::Allowed)
            && fresh.is_some_and(|conditions| self.affects(conditions, request.constraints));
        let over = |until: Moment| until < mono && !self.is_spared();
        let (invariant, holds) = match event {
            Event::Paused { .. } => {
                let cause =
                    level == Some(Level::Panic) || pressed || edge.is_some_and(|edge| edge >= Level::Busy);
                (10, doing == Doing::Runs && request.pausable && cause)
            }
            Event::Resumed { .. } => (12, matches!(doing, Doing::Stands(_)) && calm),
            Event::Resized { units, .. } if *units < mine.units => {
                let half = mine.units == request.units && *units == mine.units.div_ceil(2);
                let slow = pressed && !request.pausable;
                (10, doing == Doing::Runs && half && (slow || edge == Some(Level::Normal)))
            }
            Event::Resized { units, .. } => {
                let room = self.used() - mine.units + units <= self.capacity(mono);
                ensure(room, 1, || format!("lease {id} grows where there is no room"))?;
                (10, doing == Doing::Runs && calm && *units == request.units)
            }
            Event::Revoking { .. } => {
                let asked = is_named && matches!(input, Input::Revoke { .. });
                let stood = matches!(doing, Doing::Stands(since) if over(since.plus(request.max_freeze)));
                let panic = level == Some(Level::Panic) && doing == Doing::Runs && !request.pausable;
                (10, mine.held() && (asked || stood || panic || over(mine.granted.plus(hold_max))))
            }
            Event::Ended { ending, .. } => match ending {
                Ending::Expired => {
                    let stands = matches!(doing, Doing::Stands(_));
                    ensure(!stands, 13, || format!("lease {id} expired while it stood still"))?;
                    (2, doing == Doing::Runs && over(mine.lives_until))
                }
                Ending::TimedOut => {
                    (2, mine.waits() && request.wait_max.is_some_and(|wait| over(mine.asked.plus(wait))))
                }
                Ending::Revoked { obeyed: false, .. } => {
                    let late = matches!(doing, Doing::LetsGo(until) if over(until));
                    (2, late || is_named && self.is_at_once(input) && mine.held())
                }
                Ending::Revoked { obeyed: true, .. } => {
                    let released = is_named && matches!(input, Input::Release { .. });
                    (10, released && matches!(doing, Doing::LetsGo(_)))
                }
                Ending::Released { .. } | Ending::Failed { .. } => {
                    let says = matches!(ending, Ending::Released { .. });
                    let told = matches!(input, Input::Release { done, .. } if *done == says);
                    (10, is_named && told && matches!(doing, Doing::Runs | Doing::Stands(_)))
                }
                Ending::Cancelled { .. } => {
                    let told = is_named && matches!(input, Input::Release { .. } | Input::Revoke { .. });
                    (10, mine.waits() && (told || request.units > self.policy.capacity_units))
                }
            },
            _ => (3, false),
        };
        ensure(holds, invariant, || format!("no cause for {event:?} of a lease that is {doing:?}"))
    }

    /// A revocation without grace.
    fn is_at_once(&self, input: &Input) -> bool {
        matches!(input, Input::Revoke { grace, .. } if grace.unwrap_or(self.policy.revoke_grace).is_zero())
    }

    /// What had to happen by now.
    fn must(&self, now: Now, input: &Input) -> Result<(), Violation> {
        let mono = moment(now);
        let ticked = matches!(input, Input::Tick(_));
        let panic = ticked && self.fresh(mono).is_some_and(|conditions| conditions.level == Level::Panic);
        ensure(!(ticked && self.order_is_over(now)), 8, || "an order stays after its end".to_owned())?;
        for mine in self.leases.values() {
            let id = mine.id;
            ensure(!(panic && mine.doing == Doing::Runs), 9, || format!("lease {id} runs on in PANIC"))?;
            let stands = self.gives_way(input, mine).is_none_or(|edge| edge < Level::Busy);
            ensure(stands || mine.doing != Doing::Runs, 9, || format!("lease {id} does not give way"))?;
            let too_large = mine.waits() && mine.request.units > self.policy.capacity_units;
            ensure(!too_large, 7, || format!("lease {id} waits for what there never is"))?;
            if self.is_spared() {
                continue;
            }
            // A new longest time is looked at in the next step.
            let held_for = match input {
                Input::Policy(_) => Moment::NEVER,
                _ => mine.granted.plus(self.policy.hold_max),
            };
            let end = match mine.doing {
                Doing::Waits => mine.request.wait_max.map_or(Moment::NEVER, |wait| mine.asked.plus(wait)),
                Doing::Runs => mine.lives_until.min(held_for),
                Doing::Stands(since) => since.plus(mine.request.max_freeze).min(held_for),
                Doing::LetsGo(until) => until,
                Doing::Over => Moment::NEVER,
            };
            ensure(end >= mono, 2, || format!("lease {id} is {:?} past its end", mono.since(end)))?;
        }
        Ok(())
    }

    /// Whether the answer to one who names a lease, or to nobody, is true.
    fn answer(
        &mut self,
        now: Now,
        input: &Input,
        effects: &Effects,
        named: Result<Named, Refusal>,
        own: Option<&Event>,
    ) -> Result<(), Violation> {
        let reply = &effects.reply;
        ensure(own.is_none(), 11, || "a lease that nobody asked for".to_owned())?;
        let named = match (input, named) {
            (Input::Tick(_) | Input::Edge(_) | Input::Override(_) | Input::Windows(_), _)
            | (Input::Policy(_) | Input::Storage { .. }, _) => {
                return ensure(*reply == Reply::Done, 11, || format!("an answer to nobody: {reply:?}"));
            }
            (_, Err(refusal)) => {
                let right = *reply == Reply::Refused(refusal);
                return ensure(right, 11, || format!("a stranger is answered {reply:?}"));
            }
            (_, Ok(named)) => named,
        };
        let ended = effects.records.iter().find_map(|record| match &record.event {
            Event::Ended { id, ending } if *id == named.id => Some(ending),
            _ => None,
        });
        let by_time = ended.is_some_and(|ending| {
            matches!(ending, Ending::Expired | Ending::TimedOut | Ending::Revoked { obeyed: false, .. })
        });
        let was_over = named.was == Doing::Over || by_time;
        let beats = matches!(input, Input::Heartbeat { .. } | Input::Report { .. });
        let right = match reply {
            Reply::Refused(Refusal::Over(lease)) => was_over && lease.id == named.id,
            Reply::Refused(Refusal::StillQueued(lease)) => {
                beats && !was_over && named.was == Doing::Waits && lease.is_queued()
            }
            Reply::Directive(told) => beats && !was_over && told.lease.id == named.id,
            Reply::Ended(lease) => {
                let may = named.was != Doing::Over && (!by_time || self.is_at_once(input));
                !beats && may && lease.id == named.id
            }
            _ => false,
        };
        let number = if beats { 2 } else { 11 };
        ensure(right, number, || format!("{input:?} of one that was {:?} got {reply:?}", named.was))?;
        match reply {
            Reply::Directive(told) => {
                self.heard(now, named.id, told)?;
                if let (Input::Heartbeat { reached, .. }, Some(mine)) =
                    (input, self.leases.get_mut(&named.id.0))
                {
                    mine.reached = *reached;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// How long nobody must have needed the machine before work that gave way goes on.
    fn calm_enough(&self) -> Duration {
        let first = self.policy.resume_after;
        (0..self.relapses).fold(first, |calm, _| (calm * 2).min(secs(60).max(first)))
    }

    /// What a look asks of a lease, if it asks anything.
    fn gives_way(&self, input: &Input, mine: &Mine) -> Option<Level> {
        let Input::Edge(Some(edge)) = input else { return None };
        let may = mine.reached
            && mine.request.pausable
            && !matches!(mine.by, Rule::HighPriority | Rule::Deadline | Rule::Allowed)
            && mine.request.constraints.minds(&edge.cause.signal);
        may.then_some(edge.level)
    }

    /// Remembers a look, and whether what went on after the last one did so too early.
    fn feel_the_edge(&mut self, now: Moment, input: &Input, effects: &Effects) {
        if !matches!(input, Input::Edge(Some(_))) {
            return;
        }
        self.needed = Some(now);
        if effects.records.iter().any(|record| eases(&record.event))
            && let Some(resumed) = self.resumed.take()
        {
            self.relapses = if now.since(resumed) < secs(120) { self.relapses + 1 } else { 0 };
        }
    }

    /// A heartbeat was taken: it must have come in time, and its holder must be told what is so.
    fn heard(&mut self, now: Now, id: LeaseId, told: &Instruction) -> Result<(), Violation> {
        let mono = moment(now);
        let (spared, until) = (self.is_spared(), mono.plus(self.policy.ttl));
        let Some(mine) = self.leases.get_mut(&id.0) else { return Err(broken(4, "heard of nothing")) };
        let late = mine.doing == Doing::Runs && mine.lives_until < mono && !spared;
        ensure(!late, 2, || format!("lease {} is revived", id.0))?;
        mine.lives_until = mine.lives_until.max(until);
        let left = Some(mine.lives_until.since(mono));
        let expected = match mine.doing {
            Doing::LetsGo(until) => {
                let within = until.since(mono);
                (Directive::Revoke { within }, Some(within))
            }
            Doing::Stands(_) => (Directive::Pause, None),
            _ if mine.units < mine.request.units => (Directive::Shrink { units: mine.units }, left),
            _ => (Directive::Continue, left),
        };
        let is = (told.directive, told.expires_in);
        ensure(is == expected, 2, || format!("lease {} is told {is:?}, not {expected:?}", id.0))
    }
}
