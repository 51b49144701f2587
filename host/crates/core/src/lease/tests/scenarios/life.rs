//! How long a lease lives, and how it ends.

use super::*;

fn over(reply: Reply) -> Ending {
    match reply {
        Reply::Refused(Refusal::Over(lease)) => match &lease.phase {
            Phase::Ended { ending, .. } => ending.clone(),
            other => panic!("{other:?}"),
        },
        other => panic!("not over: {other:?}"),
    }
}

#[test]
fn who_is_silent_expires_and_is_told_so() {
    let mut host = Host::quiet();
    let lease = host.hold(asks("a", 10));
    host.pass(secs(32));
    assert_eq!(host.ending(&lease), Ending::Expired);
    assert_eq!(over(host.beat(&lease)), Ending::Expired);
    assert_eq!(over(host.release(&lease)), Ending::Expired);
    assert_eq!((host.used(), host.state(&lease)), (0, "expired"));
}

#[test]
fn a_heartbeat_in_the_very_last_moment_keeps_a_lease_and_one_after_it_does_not() {
    let mut host = Host::quiet();
    let kept = host.hold(asks("a", 10));
    let lost = host.hold(asks("b", 10));
    host.pass(secs(30));
    assert_eq!(host.told(&kept), Directive::Continue);
    host.later(Duration::from_millis(1));
    assert_eq!(over(host.beat(&lost)), Ending::Expired);
    host.pass(secs(28));
    assert_eq!((host.state(&kept), host.state(&lost)), ("active", "expired"));
}

#[test]
fn a_report_counts_as_a_heartbeat_and_is_remembered() {
    let mut host = Host::quiet();
    let lease = host.hold(asks("a", 10));
    host.pass(secs(30));
    let progress = Progress { done_ratio: Some(0.5), note: text("half"), usage: Usage::default() };
    let report = Input::Report { name: lease.name(), holder: None, progress: progress.clone() };
    assert!(matches!(host.step(report), Reply::Directive(_)));
    host.pass(secs(30));
    let entry = host.scheduler.ledger().get(lease.id).unwrap();
    assert_eq!((entry.lease.state(), entry.progress.as_deref()), ("active", Some(&progress)));
}

#[test]
fn only_its_holder_and_only_by_its_full_name_speaks_for_a_lease() {
    let mut host = Host::quiet();
    let lease = host.hold(asks("a", 10));
    let stranger = Input::Heartbeat { name: lease.name(), holder: Some(text("b")), reached: false };
    assert_eq!(host.step(stranger), Reply::Refused(Refusal::NotYours));
    let guessed = LeaseName { secret: lease.secret + 1, ..lease.name() };
    assert_eq!(
        host.step(Input::Heartbeat { name: guessed, holder: None, reached: false }),
        Reply::Refused(Refusal::Unknown)
    );
}

#[test]
fn a_second_release_changes_nothing() {
    let mut host = Host::quiet();
    let lease = host.hold(asks("a", 10));
    assert!(matches!(host.release(&lease), Reply::Ended(lease) if lease.state() == "released"));
    let events = host.log.len();
    assert!(matches!(over(host.release(&lease)), Ending::Released { .. }));
    assert_eq!(host.log.len(), events);
}

#[test]
fn work_that_failed_is_not_counted_as_done() {
    let mut host = Host::quiet();
    let job: Job = (text("a"), text("work"));
    let lease = host.hold(asks("a", 10));
    let failed = Input::Release {
        name: lease.name(),
        holder: None,
        done: false,
        note: text("no"),
        usage: Usage::default(),
    };
    assert!(matches!(host.step(failed), Reply::Ended(lease) if lease.state() == "failed"));
    assert_eq!(host.scheduler.ledger().last_run(&job), None);
    let lease = host.hold(asks("a", 10));
    host.release(&lease);
    assert_eq!(host.scheduler.ledger().last_run(&job), Some(WallTime(host.wall)));
}

#[test]
fn what_is_taken_back_counts_until_it_is_given_back_or_its_time_is_over() {
    let mut host = Host::quiet();
    let obeys = host.hold(asks("a", 60));
    let stays = host.hold(asks("b", 40));
    host.revoke(&obeys, None);
    host.revoke(&stays, Some(secs(20)));
    assert_eq!(host.told(&obeys), Directive::Revoke { within: secs(60) });
    assert_eq!(host.denied(asks("c", 1)).rule, Rule::Capacity);
    host.pass(secs(20));
    assert_eq!((host.state(&obeys), host.state(&stays)), ("revoking", "revoking"));
    host.pass(secs(2));
    let why = || text("the operator needs it");
    assert_eq!(host.ending(&stays), Ending::Revoked { why: why(), obeyed: false });
    assert_eq!(host.used(), 60);
    host.release(&obeys);
    assert_eq!(host.ending(&obeys), Ending::Revoked { why: why(), obeyed: true });
    host.hold(asks("c", 100));
}

#[test]
fn without_grace_a_lease_is_over_at_once() {
    let mut host = Host::quiet();
    let lease = host.hold(asks("a", 60));
    host.revoke(&lease, Some(Duration::ZERO));
    assert!(matches!(host.ending(&lease), Ending::Revoked { obeyed: false, .. }));

    // Nor does one have to wait that is being given back already.
    let lease = host.hold(asks("a", 60));
    host.revoke(&lease, None);
    host.revoke(&lease, Some(Duration::ZERO));
    assert!(matches!(host.ending(&lease), Ending::Revoked { obeyed: false, .. }));
}

#[test]
fn no_grace_is_longer_than_an_hour() {
    let mut host = Host::quiet();
    let lease = host.hold(asks("a", 60));
    host.revoke(&lease, Some(hours(1_000)));
    assert_eq!(host.told(&lease), Directive::Revoke { within: hours(1) });
}

#[test]
fn nothing_is_held_for_longer_than_a_day() {
    let mut host = Host::quiet();
    let lease = host.hold(asks("a", 60));
    host.pass_heard(hours(24), &[&lease]);
    assert_eq!(host.state(&lease), "active");
    host.pass(secs(2));
    assert_eq!(host.told(&lease), Directive::Revoke { within: secs(60) });
    host.pass_heard(secs(60), &[&lease]);
    host.pass(secs(2));
    assert!(matches!(host.ending(&lease), Ending::Revoked { obeyed: false, .. }));
}

#[test]
fn a_new_longest_time_holds_for_what_is_held_already() {
    let mut host = Host::quiet();
    let lease = host.hold(asks("a", 60));
    host.pass_heard(secs(100), &[&lease]);
    host.policy(Policy { hold_max: secs(60), ..Policy::default() });
    host.pass(secs(2));
    assert_eq!(host.state(&lease), "revoking");
}

#[test]
fn after_the_daemon_stood_still_nothing_expires_before_all_could_be_heard() {
    let mut host = Host::quiet();
    let heard = host.hold(asks("a", 10));
    let silent = host.hold(asks("b", 10));
    host.later(secs(600));
    host.tick();
    assert_eq!((host.state(&heard), host.state(&silent)), ("active", "active"));
    host.pass(secs(4));
    assert_eq!(host.told(&heard), Directive::Continue);
    host.pass(secs(6));
    assert_eq!(host.state(&silent), "active");
    host.pass(secs(2));
    assert_eq!((host.state(&heard), host.state(&silent)), ("active", "expired"));
}

#[test]
fn a_clock_that_is_set_changes_no_expiry() {
    for jump in [-3_600_000, 3_600_000, -1_800_000_000_000, 350_000_000_000] {
        let mut host = Host::quiet();
        let lease = host.hold(asks("a", 10));
        host.pass(secs(10));
        host.wall += jump;
        host.pass(secs(20));
        assert_eq!(host.state(&lease), "active");
        host.pass(secs(2));
        assert_eq!(host.ending(&lease), Ending::Expired);
    }
}
