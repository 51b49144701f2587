//! Whether a request is granted now, and what a denial says.

use super::*;

fn computes(request: Request) -> Request {
    Request { constraints: Constraints { cpu_heavy: true, ..Constraints::default() }, ..request }
}

#[test]
fn a_quiet_host_grants_and_says_on_what() {
    let mut host = Host::quiet();
    let lease = host.hold(asks("backup", 40));
    assert_eq!((lease.token(), lease.held_units()), (Some(Token(1)), 40));
    let decision = &lease.decision;
    assert_eq!((decision.rule, decision.sequence, decision.score), (Rule::Quiet, Some(1), Some(5)));
    assert_eq!((decision.level, decision.used, decision.capacity), (Some(Level::Quiet), 0, 100));
    assert_eq!(decision.retry_after, None);
    assert_eq!(host.used(), 40);
}

#[test]
fn a_denial_names_signal_value_threshold_and_when_to_ask_again() {
    let mut host = Host::quiet();
    host.quiet_in = Some(secs(75));
    host.becomes(
        Level::Busy,
        &[(Level::Busy, cause("disk_busy", 0.93, 0.6)), (Level::Quiet, cause("calm", 0.0, 0.0))],
    );
    host.tick();
    let decision = host.denied(asks("backup", 40));
    assert_eq!((decision.rule, decision.level), (Rule::NotQuiet, Some(Level::Busy)));
    let first = &decision.reasons[0];
    assert_eq!((&*first.signal, first.value, first.threshold), ("disk_busy", Some(0.93), Some(0.6)));
    assert!(decision.reasons.iter().all(|reason| &*reason.signal != "calm"), "{decision:?}");
    assert_eq!(decision.retry_after, Some(secs(75)));
    assert_eq!(host.scheduler.totals().denied.iter().sum::<u64>(), 1);
}

#[test]
fn panic_denies_all() {
    let mut host = Host::quiet();
    host.switch(Mode::Allow, None);
    host.is(Level::Panic);
    let now_or_never = Request { deadline: Some(secs(1)), ..asks("a", 1) };
    for request in [asks("a", 1), low(asks("a", 1)), high(asks("a", 1)), computes(asks("a", 1)), now_or_never]
    {
        let decision = host.denied(request);
        assert_eq!(decision.rule, Rule::Panic);
        assert_eq!(&*decision.reasons[0].signal, "cpu");
    }
}

#[test]
fn after_panic_there_is_a_time_to_cool_down() {
    let mut host = Host::quiet();
    host.is(Level::Panic);
    host.later(secs(2));
    host.is(Level::Quiet);
    let decision = host.denied(high(asks("a", 1)));
    assert_eq!((decision.rule, decision.retry_after), (Rule::CoolDown, Some(secs(58))));
    assert_eq!(host.scheduler.cooling(Moment(host.mono)), Some(secs(58)));
    host.pass(secs(56));
    assert_eq!(host.denied(high(asks("a", 1))).rule, Rule::CoolDown);
    host.pass(secs(2));
    host.hold(asks("a", 1));
}

#[test]
fn a_high_priority_need_not_wait_for_quiet() {
    let mut host = Host::quiet();
    host.is(Level::Busy);
    assert_eq!(host.denied(asks("a", 1)).rule, Rule::NotQuiet);
    assert_eq!(host.hold(high(asks("a", 1))).decision.rule, Rule::HighPriority);
}

#[test]
fn work_is_not_denied_because_of_what_it_does_not_mind() {
    let mut host = Host::quiet();
    host.becomes(Level::Busy, &[(Level::Busy, cause("io_pressure", 0.4, 0.1))]);
    host.tick();
    assert_eq!(host.hold(computes(asks("train", 10))).decision.rule, Rule::NotAffected);
    assert_eq!(host.denied(asks("backup", 10)).rule, Rule::NotQuiet);

    // The disk is calm again and the host on its way back: that is still because of the disk.
    host.pass(secs(2));
    host.becomes(Level::Normal, &[(Level::Normal, cause("dwell", 60.0, 0.0))]);
    host.tick();
    assert_eq!(host.hold(computes(asks("train", 10))).decision.rule, Rule::NotAffected);
    let writes = Constraints { disk_write_heavy: true, ..Constraints::default() };
    assert_eq!(host.denied(Request { constraints: writes, ..asks("backup", 10) }).rule, Rule::NotQuiet);
    assert_eq!(host.denied(asks("backup", 10)).rule, Rule::NotQuiet);

    // Now the processor as well.
    host.pass(secs(2));
    host.is(Level::Busy);
    assert_eq!(host.denied(computes(asks("train", 10))).rule, Rule::NotQuiet);
}

#[test]
fn heat_memory_and_people_matter_to_any_work() {
    for signal in ["temperature", "memory_available", "presence"] {
        let mut host = Host::quiet();
        host.becomes(Level::Busy, &[(Level::Busy, cause(signal, 1.0, 0.5))]);
        host.tick();
        assert_eq!(host.denied(computes(asks("train", 10))).rule, Rule::NotQuiet, "{signal}");
    }
}

#[test]
fn a_host_that_is_busy_without_saying_why_is_busy_for_all() {
    let mut host = Host::quiet();
    host.becomes(Level::Busy, &[]);
    host.tick();
    assert_eq!(host.denied(computes(asks("train", 10))).rule, Rule::NotQuiet);
    assert_eq!(host.denied(asks("backup", 10)).rule, Rule::NotQuiet);
}

#[test]
fn what_is_not_known_is_not_quiet() {
    let mut host = Host::quiet();
    host.later(secs(6));
    host.hold(asks("a", 1));
    host.later(Duration::from_millis(1));
    let decision = host.denied(high(asks("a", 1)));
    assert_eq!((decision.rule, decision.level, decision.capacity), (Rule::Unknown, None, 0));
    host.tick();
    host.hold(asks("a", 1));
}

#[test]
fn capacity_shrinks_with_the_load_of_others() {
    let mut host = Host::quiet();
    for (load_ratio, capacity) in [(0.0, 100), (0.25, 100), (0.5, 75), (0.75, 50), (1.0, 25)] {
        host.load_ratio = load_ratio;
        host.tick();
        assert_eq!(host.capacity(), capacity, "at {load_ratio}");
    }
    let decision = host.denied(asks("backup", 26));
    assert_eq!((decision.rule, decision.capacity), (Rule::Capacity, 25));
    assert_eq!(decision.reasons[0].threshold, Some(25.0));
    host.hold(asks("backup", 25));
}

#[test]
fn there_is_a_limit_to_leases_at_once_in_all_and_of_one_holder() {
    let mut host = Host::with(Policy { leases_max: 3, leases_per_holder_max: 2, ..Policy::default() });
    host.hold(asks("a", 1));
    host.hold(asks("a", 1));
    let decision = host.denied(asks("a", 1));
    assert_eq!((decision.rule, decision.reasons[0].threshold), (Rule::Concurrency, Some(2.0)));
    host.hold(asks("b", 1));
    let decision = host.denied(asks("c", 1));
    assert_eq!((decision.rule, decision.reasons[0].threshold), (Rule::Concurrency, Some(3.0)));
}

#[test]
fn a_holder_that_asks_too_often_is_told_so_and_does_not_wait() {
    let mut host =
        Host::with(Policy { leases_per_holder_max: 1_000, leases_max: 1_000, ..Policy::default() });
    for _ in 0..20 {
        host.hold(asks("eager", 1));
    }
    let decision = host.denied(Request { wait: true, ..asks("eager", 1) });
    assert_eq!(decision.rule, Rule::Rate);
    host.hold(asks("other", 1));
    host.later(Duration::from_millis(200));
    host.hold(asks("eager", 1));
    assert_eq!(host.denied(asks("eager", 1)).rule, Rule::Rate);
}

#[test]
fn more_than_there_ever_is_is_refused_for_good() {
    let mut host = Host::with(Policy { capacity_units: 50, ..Policy::default() });
    let reply = host.ask(Request { wait: true, ..asks("a", 51) });
    assert_eq!(reply, Reply::Refused(Refusal::TooLarge { capacity: 50 }));
    host.hold(asks("a", 50));
}

#[test]
fn a_full_queue_refuses_and_says_so() {
    let mut host = Host::with(Policy { queue_max: 3, queue_per_holder_max: 2, ..Policy::default() });
    host.is(Level::Busy);
    host.wait(asks("a", 1));
    host.wait(asks("a", 1));
    assert_eq!(host.denied(Request { wait: true, ..asks("a", 1) }).rule, Rule::QueueFull);
    host.wait(asks("b", 1));
    assert_eq!(host.denied(Request { wait: true, ..asks("c", 1) }).rule, Rule::QueueFull);
}

#[test]
fn the_same_key_is_the_same_lease_and_never_another() {
    let mut host = Host::quiet();
    let keyed = Request { key: Some(text("monday")), ..asks("backup", 10) };
    let lease = host.hold(keyed.clone());
    let repeated = |lease: &Arc<Lease>| Reply::Lease { lease: Arc::clone(lease), repeated: true };
    assert_eq!(host.ask(keyed.clone()), repeated(&lease));
    let other = Request { units: 11, ..keyed.clone() };
    assert_eq!(host.ask(other), Reply::Refused(Refusal::KeyReused(lease.name())));
    host.hold(Request { holder: text("mirror"), ..keyed.clone() });

    host.release(&lease);
    assert_eq!(host.ask(keyed), repeated(&host.see(&lease)));
    assert_eq!(host.scheduler.ledger().held_count(), 1);
}

#[test]
fn a_key_knows_its_deadline_as_a_time_of_day_and_as_a_time_from_the_request() {
    let mut host = Host::quiet();
    let keyed =
        |deadline| Request { key: Some(text("monday")), deadline: Some(deadline), ..asks("backup", 10) };
    let lease = host.hold(keyed(hours(5)));
    host.later(secs(60));
    for deadline in [hours(5), hours(5) - secs(60)] {
        assert!(matches!(host.ask(keyed(deadline)), Reply::Lease { lease: same, .. } if same.id == lease.id));
    }
    assert_eq!(host.ask(keyed(hours(4))), Reply::Refused(Refusal::KeyReused(lease.name())));
}

#[test]
fn the_operator_may_forbid_and_only_the_operator_allows_again() {
    let mut host = Host::quiet();
    host.switch(Mode::Block, None);
    let decision = host.denied(high(asks("a", 1)));
    assert_eq!(decision.rule, Rule::Blocked);
    assert!(decision.reasons[0].text.contains("ada blocks heavy work"), "{decision:?}");
    host.pass(hours(24));
    host.later(hours(10_000));
    host.tick();
    assert_eq!(host.denied(asks("a", 1)).rule, Rule::Blocked);
    host.step(Input::Override(None));
    host.hold(asks("a", 1));
}

#[test]
fn an_order_with_an_end_ends() {
    let mut host = Host::quiet();
    host.switch(Mode::Block, Some(secs(60)));
    let decision = host.denied(asks("a", 1));
    assert_eq!((decision.rule, decision.retry_after), (Rule::Blocked, Some(secs(60))));
    let waits = host.wait(asks("b", 1));
    host.pass(secs(58));
    assert_eq!(host.state(&waits), "queued");
    host.pass(secs(2));
    assert_eq!(host.state(&waits), "active");
    let cleared = Event::Overridden { switch: None };
    assert!(host.log.iter().any(|record| record.event == cleared));
    assert_eq!(host.scheduler.ledger().meta().switch, None);
}

#[test]
fn the_operator_may_allow_in_spite_of_a_busy_host() {
    let mut host = Host::quiet();
    host.is(Level::Busy);
    host.switch(Mode::Allow, Some(secs(60)));
    assert_eq!(host.hold(asks("a", 1)).decision.rule, Rule::Allowed);
    host.pass(secs(60));
    assert_eq!(host.denied(asks("a", 1)).rule, Rule::NotQuiet);
}

/// A window, and whether it is open at these minutes of these days (Monday is 0).
fn open(days: &[usize], from: u16, to: u16, looks: &[(u16, u16, bool)]) {
    let mut window = Window { name: text("w"), mode: Mode::Block, days: [false; 7], from, to };
    for day in days {
        window.days[*day] = true;
    }
    let mut host = Host::quiet();
    host.step(Input::Windows(vec![window]));
    for (day, minute, is_open) in looks {
        host.week_minute = Some(day * 1_440 + minute);
        host.pass(secs(2));
        let reply = host.ask(asks("a", 1));
        match &reply {
            Reply::Denied(decision) if decision.rule == Rule::Blocked => assert!(is_open, "{day} {minute}"),
            Reply::Lease { lease, .. } => {
                assert!(!is_open, "{day} {minute}");
                host.release(lease);
            }
            other => panic!("{day} {minute}: {other:?}"),
        }
    }
}

#[test]
fn windows_open_and_close_by_the_minute() {
    open(
        &[2],
        9 * 60,
        17 * 60,
        &[(2, 539, false), (2, 540, true), (2, 1_019, true), (2, 1_020, false), (3, 600, false)],
    );
}

#[test]
fn a_window_may_go_over_midnight() {
    open(
        &[4],
        22 * 60,
        6 * 60,
        &[
            (4, 359, false),
            (4, 1_319, false),
            (4, 1_320, true),
            (5, 0, true),
            (5, 359, true),
            (5, 360, false),
        ],
    );
}

#[test]
fn a_window_may_go_over_sunday_night() {
    open(
        &[6],
        22 * 60,
        6 * 60,
        &[(6, 0, false), (6, 1_439, true), (0, 0, true), (0, 359, true), (0, 360, false)],
    );
}

#[test]
fn a_window_from_a_time_to_the_same_time_is_a_whole_day() {
    open(&[6], 720, 720, &[(6, 719, false), (6, 720, true), (0, 719, true), (0, 720, false)]);
}

#[test]
fn a_window_that_forbids_stands_above_one_that_allows_and_the_switch_above_both() {
    let mut host = Host::quiet();
    let window = |mode| Window { name: text("w"), mode, days: [true; 7], from: 0, to: 0 };
    host.is(Level::Busy);
    host.step(Input::Windows(vec![window(Mode::Allow)]));
    assert_eq!(host.hold(asks("a", 1)).decision.rule, Rule::Allowed);
    host.step(Input::Windows(vec![window(Mode::Block), window(Mode::Allow)]));
    assert_eq!(host.denied(asks("a", 1)).rule, Rule::Blocked);
    host.switch(Mode::Allow, None);
    assert_eq!(host.hold(asks("a", 1)).decision.rule, Rule::Allowed);
}

#[test]
fn an_owner_has_so_many_units_over_all_its_holders_and_no_more() {
    let mut host = Host::quiet();
    let of = |holder: &str, units| Request { owner_units_max: Some(40), ..asks(holder, units) };
    let first = host.hold(of("nas/backup", 30));
    let waits = host.wait(of("nas/index", 20));
    assert_eq!(host.state(&waits), "queued");
    // A smaller one of the same owner fits behind it, and others are not held up by it.
    let small = host.hold(of("nas/mirror", 10));
    let other = host.hold(asks("desktop", 60));
    assert_eq!(host.used(), 100);
    host.release(&other);
    host.release(&small);
    host.tick();
    assert_eq!(host.state(&waits), "queued", "there is room, but not for this owner");
    host.release(&first);
    host.tick();
    assert_eq!(host.state(&waits), "active");
    assert_eq!(host.ask(of("nas/backup", 41)), Reply::Refused(Refusal::TooLarge { capacity: 40 }));
}
