//! Who waits, who is next, and by when.

use super::*;

#[test]
fn what_is_given_back_goes_to_the_head_of_the_queue() {
    let mut host = Host::quiet();
    let all = host.hold(asks("a", 100));
    let first = host.wait(asks("b", 60));
    let second = host.wait(asks("c", 60));
    assert_eq!(first.decision.rule, Rule::Capacity);
    host.release(&all);
    assert_eq!((host.state(&first), host.state(&second)), ("active", "queued"));
    assert_eq!(host.see(&first).token(), Some(Token(2)));
}

#[test]
fn what_has_expired_unnoticed_goes_to_the_queue_and_not_to_the_next_who_asks() {
    let mut host = Host::quiet();
    host.hold(asks("a", 100));
    host.pass(secs(20));
    let waits = host.wait(asks("b", 60));
    host.pass(secs(10));
    host.later(Duration::from_millis(1));
    // Nobody has looked since the lease of a ended.
    assert_eq!(host.denied(asks("c", 60)).rule, Rule::Capacity);
    assert_eq!(host.state(&waits), "active");
}

#[test]
fn higher_priorities_are_served_first_and_equal_ones_in_order() {
    let mut host = Host::quiet();
    let all = host.hold(asks("a", 100));
    let late = host.wait(low(asks("b", 100)));
    let normal = host.wait(asks("c", 100));
    let next = host.wait(asks("d", 100));
    let urgent = host.wait(high(asks("e", 100)));
    let mut last = all;
    for expected in [urgent, normal, next, late] {
        host.release(&last);
        assert_eq!(host.state(&expected), "active");
        last = expected;
    }
}

#[test]
fn who_has_waited_four_hours_at_low_is_served_before_a_new_one_at_high() {
    for (waited, low_is_first) in [(hours(4) - secs(1), false), (hours(4) + secs(1), true)] {
        let mut host = Host::quiet();
        let all = host.hold(asks("a", 100));
        let patient = host.wait(low(asks("b", 100)));
        host.pass_heard(waited, &[&all]);
        let urgent = host.wait(high(asks("c", 100)));
        host.release(&all);
        let (first, second) = if low_is_first { (&patient, &urgent) } else { (&urgent, &patient) };
        assert_eq!((host.state(first), host.state(second)), ("active", "queued"));
    }
}

#[test]
fn small_ones_overtake_a_big_one_for_a_while_and_then_no_more() {
    let mut host = Host::quiet();
    let held = host.hold(asks("a", 50));
    let big = host.wait(asks("b", 80));
    let small = host.hold(asks("c", 10));
    host.pass_heard(secs(10 * 60 - 2), &[&held, &small]);
    let another = host.hold(asks("d", 10));
    host.pass_heard(secs(2), &[&held, &small, &another]);
    let decision = host.denied(asks("e", 10));
    assert_eq!(decision.rule, Rule::Reserved);
    assert!(decision.reasons[0].text.contains("b has waited long for 80 units"), "{decision:?}");
    let waits = host.wait(asks("e", 10));
    host.release(&small);
    assert_eq!((host.state(&big), host.state(&waits)), ("queued", "queued"));
    host.release(&held);
    assert_eq!((host.state(&big), host.state(&waits)), ("active", "active"));
}

#[test]
fn a_higher_priority_still_comes_before_what_is_reserved() {
    let mut host = Host::quiet();
    let held = host.hold(asks("a", 50));
    let big = host.wait(asks("b", 80));
    host.pass_heard(secs(700), &[&held]);
    assert_eq!(host.denied(asks("c", 10)).rule, Rule::Reserved);
    host.hold(high(asks("c", 10)));
    assert_eq!(host.state(&big), "queued");
}

#[test]
fn what_stands_behind_a_big_one_of_the_same_holder_keeps_its_turn() {
    let mut host = Host::with(Policy { leases_per_holder_max: 10, ..Policy::default() });
    let held = host.hold(asks("a", 60));
    let rest = host.hold(asks("a", 40));
    let big = host.wait(asks("b", 80));
    let first = host.wait(asks("b", 20));
    let second = host.wait(asks("b", 20));
    let later = host.wait(asks("c", 20));
    host.release(&rest);
    let states = [&big, &first, &second, &later].map(|lease| host.state(lease));
    assert_eq!(states, ["queued", "active", "active", "queued"]);
    assert_eq!(host.state(&held), "active");
}

#[test]
fn a_request_for_more_than_the_host_leaves_now_does_not_hold_up_the_others() {
    let mut host = Host::quiet();
    host.load_ratio = 0.5;
    host.tick();
    let big = host.wait(asks("a", 90));
    host.pass(secs(3_600));
    let small = host.hold(asks("b", 60));
    host.load_ratio = 0.1;
    host.pass_heard(secs(2), &[&small]);
    // Now it could run if the others let go, and is waited for.
    assert_eq!(host.denied(asks("c", 10)).rule, Rule::Reserved);
    host.release(&small);
    assert_eq!(host.state(&big), "active");
}

#[test]
fn who_waits_for_more_than_there_is_after_a_change_of_the_numbers_is_turned_away() {
    let mut host = Host::quiet();
    let all = host.hold(asks("a", 100));
    let big = host.wait(asks("b", 60));
    let small = host.wait(asks("c", 50));
    host.policy(Policy { capacity_units: 50, ..Policy::default() });
    assert!(matches!(host.ending(&big), Ending::Cancelled { why } if why.contains("than the 50")));
    // What is held stays, and nothing more is granted until it fits.
    assert_eq!((host.used(), host.state(&small)), (100, "queued"));
    host.release(&all);
    assert_eq!(host.state(&small), "active");
}

#[test]
fn who_waits_may_have_a_limit_of_patience() {
    let mut host = Host::quiet();
    host.is(Level::Busy);
    let waits = host.wait(Request { wait_max: Some(secs(60)), ..asks("a", 1) });
    host.pass(secs(60));
    assert_eq!(host.state(&waits), "queued");
    host.pass(secs(2));
    assert_eq!(host.ending(&waits), Ending::TimedOut);
}

#[test]
fn who_waits_may_change_its_mind() {
    let mut host = Host::quiet();
    host.is(Level::Busy);
    let waits = host.wait(asks("a", 1));
    assert_eq!(host.beat(&waits), Reply::Refused(Refusal::StillQueued(Arc::clone(&waits))));
    assert!(matches!(host.release(&waits), Reply::Ended(lease) if lease.state() == "cancelled"));
    assert_eq!(host.scheduler.ledger().queued_count(), 0);
}

#[test]
fn work_with_a_deadline_starts_in_time_even_in_a_week_of_business_and_is_left_alone() {
    let mut host = Host::quiet();
    host.is(Level::Busy);
    let asked = host.mono;
    let job = Request {
        deadline: Some(hours(72)),
        expected_duration: hours(1),
        pausable: true,
        ..low(asks("backup", 40))
    };
    let job = host.wait(job);
    let mut started = None;
    let mut done = None;
    host.pass_while(hours(7 * 24), |host| {
        let lease = host.see(&job);
        if lease.is_held() {
            let begun = *started.get_or_insert(host.mono - asked);
            assert_eq!(host.told(&lease), Directive::Continue);
            if host.mono - asked - begun >= 3_600_000 {
                host.release(&lease);
                done = Some(host.mono - asked);
            }
        }
    });
    assert_eq!(started, Some(71 * 3_600_000));
    assert_eq!(done, Some(72 * 3_600_000));
    assert!(matches!(host.ending(&job), Ending::Released { .. }));
    let decision = &host.see(&job).decision;
    assert_eq!((decision.rule, decision.level), (Rule::Deadline, Some(Level::Busy)));
}

#[test]
fn a_deadline_is_met_although_the_load_of_others_leaves_no_room() {
    let mut host = Host::quiet();
    host.load_ratio = 0.95;
    host.is(Level::Busy);
    let job = Request { deadline: Some(hours(2)), expected_duration: hours(1), ..low(asks("backup", 40)) };
    let job = host.wait(job);
    assert!(host.capacity() < 40);
    host.pass(hours(1) + secs(2));
    assert_eq!(host.state(&job), "active");
    assert_eq!(host.see(&job).decision.rule, Rule::Deadline);
}

#[test]
fn who_waits_without_a_deadline_has_one_of_seven_days() {
    let mut host = Host::quiet();
    host.is(Level::Busy);
    let job = host.wait(Request { expected_duration: hours(10), ..low(asks("a", 1)) });
    assert_eq!(job.request.deadline, Some(hours(7 * 24)));
    host.later(hours(158) - secs(2));
    host.tick();
    assert_eq!(host.state(&job), "queued");
    host.pass(secs(2));
    assert_eq!(host.state(&job), "active");
}

#[test]
fn a_deadline_does_not_stand_above_the_operator() {
    let mut host = Host::quiet();
    host.switch(Mode::Block, None);
    let job = host.wait(Request { deadline: Some(secs(700)), ..asks("a", 1) });
    host.pass(secs(3_600));
    assert_eq!(host.state(&job), "queued");
    host.step(Input::Override(None));
    assert_eq!(host.state(&job), "active");
}

#[test]
fn what_is_kept_for_a_deadline_is_kept_from_all() {
    let mut host = Host::quiet();
    let held = host.hold(asks("a", 50));
    let due = host.wait(Request { deadline: Some(secs(700)), ..low(asks("b", 80)) });
    host.pass_heard(secs(100), &[&held]);
    assert_eq!(host.denied(high(asks("c", 10))).rule, Rule::Reserved);
    host.release(&held);
    assert_eq!(host.state(&due), "active");
}

#[test]
fn a_forecast_lets_each_start_when_those_before_it_have_room() {
    let mut host = Host::quiet();
    let minutes = |minutes: u64| Request { expected_duration: secs(60 * minutes), ..asks("a", 60) };
    host.hold(Request { holder: text("x"), ..minutes(10) });
    let first = host.wait(minutes(20));
    let second = host.wait(minutes(5));
    let third = host.wait(minutes(5));
    let now = host.now();
    let forecast = host.scheduler.forecast(now, 10);
    let starts: Vec<_> = forecast.iter().map(|forecast| (forecast.id, forecast.starts_in)).collect();
    let minutes = |minutes: u64| Some(secs(60 * minutes));
    assert_eq!(starts, [(first.id, minutes(10)), (second.id, minutes(30)), (third.id, minutes(35))]);

    host.quiet_in = Some(secs(90));
    host.is(Level::Busy);
    let small = host.wait(asks("b", 10));
    let now = host.now();
    let forecast = host.scheduler.forecast(now, 10);
    assert_eq!(forecast[0], Forecast { id: first.id, starts_in: minutes(10) });
    assert_eq!(forecast[3], Forecast { id: small.id, starts_in: minutes(35) });

    host.becomes(Level::Panic, &[(Level::Panic, cause("memory_available", 0.01, 0.05))]);
    host.tick();
    let now = host.now();
    assert!(host.scheduler.forecast(now, 10).iter().all(|forecast| forecast.starts_in.is_none()));
}
