//! What becomes of work that runs when the host is needed.

use super::*;

#[test]
fn panic_pauses_what_can_pause_and_takes_back_the_rest_at_once() {
    let mut host = Host::quiet();
    let stands = host.hold(pausable(asks("a", 20)));
    let goes = host.hold(asks("b", 20));
    let urgent = host.hold(high(asks("c", 20)));
    host.is(Level::Panic);
    assert_eq!(host.told(&stands), Directive::Pause);
    assert_eq!(host.told(&goes), Directive::Revoke { within: secs(60) });
    assert_eq!(host.told(&urgent), Directive::Revoke { within: secs(60) });
    assert!(matches!(&host.see(&goes).phase, Phase::Revoking { why, .. } if why.contains("cpu is 0.9")));
}

#[test]
fn business_that_lasts_pauses_or_shrinks_and_leaves_alone_what_it_must() {
    let mut host = Host::with(Policy { leases_max: 10, ..Policy::default() });
    let stands = host.hold(pausable(asks("a", 11)));
    let shrinks = host.hold(asks("b", 11));
    let single = host.hold(asks("c", 1));
    let writes = Constraints { disk_write_heavy: true, ..Constraints::default() };
    let other = host.hold(pausable(Request { constraints: writes, ..asks("d", 11) }));
    host.is(Level::Busy);
    let urgent = host.hold(pausable(high(asks("e", 11))));
    let due = host.hold(pausable(Request { deadline: Some(secs(600)), ..asks("f", 11) }));
    let all = [&stands, &shrinks, &single, &other, &urgent, &due];
    host.pass_heard(secs(118), &all);
    for lease in all {
        assert_eq!(host.told(lease), Directive::Continue);
    }
    host.pass_heard(secs(2), &all);
    assert_eq!(host.told(&stands), Directive::Pause);
    assert_eq!(host.told(&shrinks), Directive::Shrink { units: 6 });
    for lease in [&single, &other, &urgent, &due] {
        assert_eq!(host.told(lease), Directive::Continue, "{:?}", lease.request.holder);
    }
    // Once is enough, and what stands still keeps its units.
    host.pass_heard(secs(60), &all);
    assert_eq!(host.told(&shrinks), Directive::Shrink { units: 6 });
    assert_eq!(host.used(), 11 + 6 + 1 + 11 + 11 + 11);
}

#[test]
fn what_has_just_begun_has_the_time_to_settle() {
    let mut host = Host::quiet();
    host.becomes(Level::Busy, &[(Level::Busy, cause("disk_busy", 0.9, 0.5))]);
    host.pass(secs(300));
    let computes = Constraints { cpu_heavy: true, ..Constraints::default() };
    let fresh = host.hold(pausable(Request { constraints: computes, ..asks("a", 10) }));
    host.is(Level::Busy);
    host.pass_heard(secs(88), &[&fresh]);
    assert_eq!(host.told(&fresh), Directive::Continue);
    host.pass_heard(secs(2), &[&fresh]);
    assert_eq!(host.told(&fresh), Directive::Pause);
}

#[test]
fn when_it_is_calm_again_work_goes_on_and_grows() {
    let mut host = Host::quiet();
    let stands = host.hold(pausable(asks("a", 20)));
    let shrinks = host.hold(asks("b", 20));
    host.is(Level::Busy);
    host.pass_heard(secs(120), &[&stands, &shrinks]);
    assert_eq!((host.state(&stands), host.see(&shrinks).held_units()), ("paused", 10));
    host.later(secs(2));
    host.is(Level::Normal);
    assert_eq!(host.told(&stands), Directive::Continue);
    assert_eq!(host.told(&shrinks), Directive::Continue);
    assert_eq!((host.state(&stands), host.see(&shrinks).held_units()), ("active", 20));
}

#[test]
fn work_grows_again_only_into_what_is_free() {
    let mut host = Host::quiet();
    let shrinks = host.hold(asks("a", 60));
    host.is(Level::Busy);
    host.pass_heard(secs(120), &[&shrinks]);
    let urgent = host.hold(high(asks("b", 60)));
    host.is(Level::Quiet);
    assert_eq!((host.told(&shrinks), host.used()), (Directive::Shrink { units: 30 }, 90));
    host.release(&urgent);
    host.later(secs(2));
    host.tick();
    assert_eq!(host.told(&shrinks), Directive::Continue);
}

#[test]
fn what_was_paused_in_panic_goes_on_only_after_the_cool_down() {
    let mut host = Host::quiet();
    let stands = host.hold(pausable(asks("a", 20)));
    host.is(Level::Panic);
    host.later(secs(2));
    host.is(Level::Quiet);
    host.pass(secs(56));
    assert_eq!(host.told(&stands), Directive::Pause);
    host.pass(secs(2));
    assert_eq!(host.told(&stands), Directive::Continue);
}

#[test]
fn what_stands_still_does_not_expire() {
    let mut host = Host::quiet();
    let stands = host.hold(pausable(asks("a", 20)));
    host.is(Level::Panic);
    host.pass(secs(590));
    match host.beat(&stands) {
        Reply::Directive(told) => assert_eq!((told.directive, told.expires_in), (Directive::Pause, None)),
        other => panic!("{other:?}"),
    }
    // When it goes on it has a full life before it.
    host.is(Level::Quiet);
    host.pass(secs(8));
    assert_eq!(host.state(&stands), "paused");
    host.policy(Policy { cool_down: secs(1), ..Policy::default() });
    host.tick();
    assert_eq!(host.state(&stands), "active");
    host.pass(secs(30));
    assert_eq!(host.state(&stands), "active");
    host.pass(secs(2));
    assert_eq!(host.ending(&stands), Ending::Expired);
}

#[test]
fn what_stands_still_for_too_long_is_taken_back() {
    let mut host = Host::quiet();
    let stands = host.hold(pausable(Request { max_freeze: secs(300), ..asks("a", 20) }));
    host.is(Level::Panic);
    host.pass(secs(300));
    assert_eq!(host.state(&stands), "paused");
    host.pass(secs(2));
    assert_eq!(host.told(&stands), Directive::Revoke { within: secs(60) });
    assert!(matches!(&host.see(&stands).phase, Phase::Revoking { why, .. } if why.contains("stood still")));
}

#[test]
fn nothing_happens_to_work_while_nothing_is_known_of_the_host() {
    let mut host = Host::quiet();
    let runs = host.hold(pausable(asks("a", 20)));
    host.becomes(Level::Panic, &[(Level::Panic, cause("cpu", 1.0, 0.9))]);
    let mut old = host.conditions();
    old.at = Moment(host.mono - 6_001);
    host.step(Input::Tick(Some(Box::new(old))));
    assert_eq!(host.told(&runs), Directive::Continue);
}
