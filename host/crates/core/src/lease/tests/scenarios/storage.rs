//! What a restart keeps, and what is taken back when the disk refuses it.

use super::*;

impl Host {
    /// A daemon that begins with what this one has stored, after this time.
    fn restarted(&mut self, after: Duration, token: u64, epoch: u32) -> Self {
        self.later(after);
        let now = self.now();
        let policy = self.scheduler.policy().clone();
        let (leases, meta, runs) = self.scheduler.ledger().stored();
        let leases = leases.iter().map(|lease| Lease::clone(lease));
        let ledger = Ledger::restored(leases, meta, runs, now, policy.ttl, policy.hold_max);
        let (scheduler, record) = Scheduler::start(now, ledger, policy, Token(token), epoch);
        Self {
            watch: Watch::new(&scheduler),
            scheduler,
            causes: self.causes.clone(),
            log: vec![record],
            ..*self
        }
    }
}

#[test]
fn a_restart_gives_all_who_hold_a_full_life_to_be_heard() {
    let mut host = Host::quiet();
    let heard = host.hold(asks("a", 10));
    let silent = host.hold(asks("b", 10));
    host.pass(secs(28));
    let mut host = host.restarted(hours(1), 0, 1);
    host.tick();
    assert_eq!(host.used(), 20);
    host.pass_heard(secs(30), &[&heard]);
    assert_eq!(host.state(&silent), "active");
    host.pass(secs(2));
    assert_eq!((host.state(&heard), host.state(&silent)), ("active", "expired"));
}

#[test]
fn a_restart_keeps_what_stands_still_what_is_given_back_and_who_waits() {
    let mut host = Host::quiet();
    let stands = host.hold(pausable(asks("a", 50)));
    let goes = host.hold(asks("b", 50));
    host.is(Level::Panic);
    let first = host.wait(asks("c", 50));
    let second = host.wait(asks("d", 50));
    host.pass(secs(30));
    let mut host = host.restarted(secs(20), 0, 1);
    assert_eq!(host.told(&stands), Directive::Pause);
    assert_eq!(host.told(&goes), Directive::Revoke { within: secs(10) });
    host.release(&goes);
    host.is(Level::Quiet);
    assert_eq!([&stands, &first, &second].map(|lease| host.state(lease)), ["active", "active", "queued"]);
}

#[test]
fn a_clock_that_was_set_does_not_change_who_is_first_after_a_restart() {
    let mut host = Host::quiet();
    host.is(Level::Busy);
    let first = host.wait(asks("a", 100));
    host.wall -= 3_600_000;
    host.pass(secs(10));
    let second = host.wait(asks("b", 100));
    host.pass(secs(10));
    let mut host = host.restarted(secs(1), 0, 1);
    host.is(Level::Quiet);
    assert_eq!((host.state(&first), host.state(&second)), ("active", "queued"));
}

#[test]
fn who_waits_for_more_than_there_is_after_a_restart_is_turned_away() {
    let mut host = Host::quiet();
    host.is(Level::Busy);
    let big = host.wait(asks("a", 100));
    let now = host.now();
    let policy = Policy { capacity_units: 50, ..Policy::default() };
    let (leases, meta, runs) = host.scheduler.ledger().stored();
    let leases = leases.iter().map(|lease| Lease::clone(lease));
    let ledger = Ledger::restored(leases, meta, runs, now, policy.ttl, policy.hold_max);
    host.scheduler = Scheduler::start(now, ledger, policy, Token(0), 1).0;
    host.watch = Watch::new(&host.scheduler);
    host.tick();
    assert!(matches!(host.ending(&big), Ending::Cancelled { .. }));
}

#[test]
fn tokens_go_on_after_the_one_that_is_given() {
    let mut host = Host::quiet();
    let first = host.hold(asks("a", 1));
    let mut host = host.restarted(secs(1), 0, 1);
    host.tick();
    let second = host.hold(asks("a", 1));
    assert!(second.token() > first.token());
    // A backup of an hour ago was put back, and the mark beside it says how far tokens had come.
    let mut host = host.restarted(secs(1), 1 << 32, 2);
    host.tick();
    assert_eq!(host.hold(asks("a", 1)).token(), Some(Token((1 << 32) + 1)));
    assert_eq!(host.scheduler.ledger().meta().epoch, 2);
}

#[test]
fn a_grant_that_the_disk_refused_is_taken_back_and_its_token_is_not_used_again() {
    let mut host = Host::quiet();
    let all = host.hold(asks("a", 90));
    let waits = host.wait(asks("b", 20));
    let durable = host.scheduler.ledger().sequence();
    let before = host.scheduler.ledger().stored();
    host.scheduler.settle(durable);

    let lost = host.hold(asks("c", 10));
    host.release(&all);
    assert_eq!(host.state(&waits), "active");
    let unwritten = host.log.split_off(usize::try_from(durable).unwrap());
    host.step(Input::Storage { works: false });
    host.scheduler.roll_back(durable);
    host.watch = Watch::new(&host.scheduler);
    let after = host.scheduler.ledger().stored();
    assert_eq!((&after.0, &after.2), (&before.0, &before.2));
    assert_eq!(host.used(), 90);
    assert_eq!(host.beat(&lost), Reply::Refused(Refusal::Unknown));

    // What was given back stays given back; what was granted is gone.
    let now = host.now();
    let again = host.scheduler.shed(now, unwritten.into_iter().map(|record| record.event));
    host.watch = Watch::new(&host.scheduler);
    assert_eq!(again.len(), 1);
    assert_eq!((host.state(&all), host.state(&waits)), ("released", "queued"));

    // While the disk does not work nothing is granted to who waits.
    host.pass(secs(2));
    assert_eq!(host.state(&waits), "queued");
    host.step(Input::Storage { works: true });
    assert_eq!(host.see(&waits).token(), Some(Token(4)));
}

#[test]
fn what_was_kept_for_one_is_kept_when_something_is_taken_back() {
    let mut host = Host::quiet();
    let held = host.hold(asks("a", 50));
    let big = host.wait(asks("b", 80));
    host.pass_heard(secs(700), &[&held]);
    assert_eq!(host.denied(asks("c", 10)).rule, Rule::Reserved);
    let durable = host.scheduler.ledger().sequence();
    host.scheduler.settle(durable);
    host.scheduler.roll_back(durable);
    assert_eq!(host.denied(asks("c", 10)).rule, Rule::Reserved);
    assert_eq!(host.state(&big), "queued");
}

#[test]
fn what_is_on_disk_is_not_taken_back() {
    let mut host = Host::quiet();
    let first = host.hold(asks("a", 10));
    let durable = host.scheduler.ledger().sequence();
    let second = host.hold(asks("a", 10));
    host.scheduler.settle(durable);
    host.scheduler.roll_back(durable);
    host.watch = Watch::new(&host.scheduler);
    assert_eq!(host.state(&first), "active");
    assert!(host.scheduler.ledger().get(second.id).is_none());
    assert_eq!(host.scheduler.ledger().sequence(), durable);
}

#[test]
fn what_ended_long_ago_is_forgotten_once_it_is_on_disk() {
    let mut host = Host::quiet();
    let old = host.hold(asks("a", 10));
    host.release(&old);
    let durable = host.scheduler.ledger().sequence();
    let new = host.hold(asks("a", 10));
    host.release(&new);
    assert_eq!(host.scheduler.ledger.forget(0, durable), [old.id]);
    assert_eq!(host.beat(&old), Reply::Refused(Refusal::Unknown));
    assert_eq!(host.state(&new), "released");
}
