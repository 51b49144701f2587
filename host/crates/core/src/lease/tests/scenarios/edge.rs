//! Work that can be reached gives way on the first look, and goes on when nobody needed the machine for a while.

use super::*;

impl Host {
    /// A heartbeat of one who waits for what it is to do.
    fn reached(&mut self, lease: &Lease) -> Instruction {
        match self.step(Input::Heartbeat { name: lease.name(), holder: None, reached: true }) {
            Reply::Directive(instruction) => *instruction,
            other => panic!("not told what to do: {other:?}"),
        }
    }

    fn look(&mut self, needed: Option<(Level, &str)>) {
        let edge = needed.map(|(level, signal)| Edge { level, cause: cause(signal, 0.8, 0.5) });
        self.step(Input::Edge(edge.map(Box::new)));
    }

    /// Lets time pass with a calm look each half second and a tick each two; returns how long the lease stood still.
    fn until_it_goes_on(&mut self, lease: &Lease) -> Duration {
        for halves in 0..400_u32 {
            if self.reached(lease).directive == Directive::Continue {
                return Duration::from_millis(500) * halves;
            }
            self.later(Duration::from_millis(500));
            self.look(None);
            if halves % 4 == 3 {
                self.tick();
            }
        }
        panic!("it never goes on");
    }
}

#[test]
fn only_what_can_be_reached_and_can_pause_and_minds_gives_way_at_once() {
    let mut host = Host::with(Policy { leases_max: 10, ..Policy::default() });
    let gives_way = host.hold(pausable(asks("a", 10)));
    let far_away = host.hold(pausable(asks("b", 10)));
    let cannot = host.hold(asks("c", 10));
    let writes = Constraints { disk_write_heavy: true, ..Constraints::default() };
    let other = host.hold(pausable(Request { constraints: writes, ..asks("d", 10) }));
    host.becomes(Level::Normal, &[(Level::Normal, cause("cpu", 0.4, 0.35))]);
    host.tick();
    let urgent = host.hold(pausable(high(asks("e", 10))));
    for lease in [&gives_way, &cannot, &other, &urgent] {
        host.reached(lease);
    }
    host.look(Some((Level::Busy, "cpu")));
    let told = host.reached(&gives_way);
    assert_eq!(told.directive, Directive::Pause);
    assert_eq!(told.why.as_deref(), Some("the machine is needed: cpu is 0.8, above 0.5"));
    for lease in [&far_away, &cannot, &other, &urgent] {
        assert_eq!(host.told(lease), Directive::Continue, "{:?}", lease.request.holder);
    }
    // Who no longer says that it waits for orders is no longer reached.
    host.look(Some((Level::Busy, "disk_busy")));
    assert_eq!(host.told(&other), Directive::Continue);
}

#[test]
fn a_little_disturbance_shrinks_and_more_of_it_pauses() {
    let mut host = Host::quiet();
    let lease = host.hold(pausable(asks("a", 21)));
    host.reached(&lease);
    host.look(Some((Level::Normal, "cpu")));
    assert_eq!(host.reached(&lease).directive, Directive::Shrink { units: 11 });
    host.look(Some((Level::Normal, "cpu")));
    assert_eq!(host.reached(&lease).directive, Directive::Shrink { units: 11 });
    host.look(Some((Level::Busy, "cpu")));
    assert_eq!(host.reached(&lease).directive, Directive::Pause);
    assert_eq!(host.until_it_goes_on(&lease), Duration::from_millis(5_500), "first it moves, then it grows");
    assert_eq!(host.see(&lease).held_units(), 21);
}

#[test]
fn it_goes_on_after_a_calm_that_grows_with_each_relapse() {
    let mut host = Host::quiet();
    let lease = host.hold(pausable(asks("a", 10)));
    host.reached(&lease);
    let mut stood = Vec::new();
    for _ in 0..6 {
        host.look(Some((Level::Busy, "cpu")));
        stood.push(host.until_it_goes_on(&lease).as_secs());
        host.later(secs(1));
        host.tick();
    }
    assert_eq!(stood, [5, 10, 20, 40, 60, 60]);
    // Left alone for long, it is trusted again.
    host.pass_while(secs(200), |host| _ = host.reached(&lease));
    host.look(Some((Level::Busy, "cpu")));
    assert_eq!(host.until_it_goes_on(&lease), secs(5));
}

#[test]
fn each_look_that_shows_need_begins_the_calm_anew() {
    let mut host = Host::quiet();
    let lease = host.hold(pausable(asks("a", 10)));
    host.reached(&lease);
    for _ in 0..20 {
        host.look(Some((Level::Busy, "io_pressure")));
        host.later(Duration::from_millis(500));
        host.tick();
    }
    assert_eq!(host.told(&lease), Directive::Pause);
    host.reached(&lease);
    assert_eq!(host.until_it_goes_on(&lease), Duration::from_millis(4_500));
}

#[test]
fn a_host_that_is_busy_or_unknown_lets_nothing_go_on_however_calm_the_looks_are() {
    let mut host = Host::quiet();
    let lease = host.hold(pausable(asks("a", 10)));
    host.reached(&lease);
    host.look(Some((Level::Busy, "cpu")));
    host.is(Level::Busy);
    for _ in 0..20 {
        host.later(secs(1));
        host.look(None);
        host.tick();
        assert_eq!(host.reached(&lease).directive, Directive::Pause);
    }
    host.later(secs(60));
    host.look(None);
    assert_eq!(host.reached(&lease).directive, Directive::Pause, "nothing fresh is known");
    host.is(Level::Quiet);
    assert_eq!(host.reached(&lease).directive, Directive::Continue);
}

/// Someone at the keyboard is no load, so that no fast look sees them: the verdict does.
#[test]
fn a_verdict_of_busy_stops_at_once_what_can_be_reached() {
    let mut host = Host::with(Policy { leases_max: 10, ..Policy::default() });
    let gives_way = host.hold(pausable(asks("a", 10)));
    let far_away = host.hold(pausable(asks("b", 10)));
    let cannot = host.hold(asks("c", 10));
    let writes = Constraints { disk_write_heavy: true, ..Constraints::default() };
    let other = host.hold(pausable(Request { constraints: writes, ..asks("d", 10) }));
    for lease in [&gives_way, &cannot, &other] {
        host.reached(lease);
    }
    host.is(Level::Busy);
    let told = host.reached(&gives_way);
    assert_eq!(told.directive, Directive::Pause);
    assert_eq!(told.why.as_deref(), Some("the host is BUSY: cpu is 0.9, above 0.5"));
    for lease in [&far_away, &cannot, &other] {
        assert_eq!(host.told(lease), Directive::Continue, "{:?}", lease.request.holder);
    }
    host.later(secs(2));
    host.is(Level::Normal);
    assert_eq!(host.reached(&gives_way).directive, Directive::Continue);
}

#[test]
fn a_restart_forgets_who_was_reached_until_they_are_heard() {
    let mut host = Host::quiet();
    let lease = host.hold(pausable(asks("a", 10)));
    host.reached(&lease);
    let settled = host.scheduler.ledger().sequence();
    // Taken back with the disk's refusal, it is still reached.
    host.look(Some((Level::Busy, "cpu")));
    host.scheduler.roll_back(settled);
    assert!(host.scheduler.ledger().get(lease.id).unwrap().reached);
}
