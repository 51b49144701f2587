//! Jobs under leases of the real scheduler: what it decides reaches a guest that asks for nothing.

use super::*;
use crate::addon::Identity;
use crate::brake::tests::{Ground, SEQUENCE, eventually};
use crate::capabilities::{Capabilities, LeasePriority};
use crate::caps::leases::tests::Desk;
use crate::inspect::Inspection;
use crate::manifest::Manifest;
use lowtide_core::lease::{Constraints, Input, Phase};
use lowtide_core::quiet::Level;

/// An addon with one job, which is due at once and runs until it is told to stop.
struct Stage {
    desk: Arc<Desk>,
    ground: Ground,
    addon: Arc<Addon>,
    load: Load,
    runner: Option<Runner>,
}

impl Stage {
    fn new(pausable: bool) -> Self {
        let desk = Desk::new();
        let ground = Ground::new(SEQUENCE, Some(&desk));
        let now = clock::now();
        let addon = Arc::new(Addon::new(Arc::clone(&ground.shared), Arc::new(|_| {}), now));
        let manifest = Manifest {
            id: ground.id.clone(),
            version: None,
            description: None,
            asks: Capabilities::default(),
            memory_bytes: None,
            interval: None,
        };
        let identity = || Identity {
            manifest: Arc::new(manifest.clone()),
            inspection: Arc::new(Inspection::default()),
            component_bytes: 0,
            digest: blake3::hash(b""),
            memory_bytes: ground.abilities.memory_bytes,
        };
        addon.started(now, identity(), None);
        let job = JobDescription {
            name: "compute".to_owned(),
            help: String::new(),
            cost_units: 20,
            priority: LeasePriority::Low,
            expected_duration: Some(Duration::from_secs(3_600)),
            constraints: Constraints::default(),
            every: Some(Duration::from_secs(3_600)),
            pausable,
        };
        addon.jobs.describe(vec![job], now.wall, |_| None);
        let load = Load {
            template: ground.template.clone(),
            identity: identity(),
            abilities: Arc::clone(&ground.abilities),
            interval: None,
            by_hand: false,
        };
        let mut stage = Self { desk, ground, addon, load, runner: None };
        let runner = {
            let _entered = stage.ground.runtime.enter();
            Runner::start(&stage.addon, &stage.load)
        };
        stage.runner = Some(runner.unwrap());
        stage
    }

    fn state(&self) -> JobState {
        self.addon.jobs.view()[0].state
    }

    fn reaches(&self, state: JobState) {
        eventually(state.name(), || (self.state() == state).then_some(()));
    }

    /// What the guest has asked the host so far: it does so all the time while it runs.
    fn asked(&self) -> u64 {
        self.ground.word.answered()
    }

    fn computes(&self) {
        let before = self.asked();
        eventually("it computes", || (self.asked() > before + 2).then_some(()));
    }

    fn stands(&self) {
        self.reaches(JobState::Paused);
        let meter = &self.ground.shared.meter;
        // The time is counted once a second, and only while it stands.
        let counted = || {
            let before = meter.read().paused_ns;
            eventually("it stands", || (meter.read().paused_ns > before).then_some(()));
            self.asked()
        };
        let asked = counted();
        assert_eq!(counted(), asked, "it asks for nothing while it stands");
    }

    fn revoke(&self, grace: Duration) {
        let name = self.desk.held().unwrap().name();
        self.desk.step(Input::Revoke { name, why: "the test wants it".into(), grace: Some(grace) });
    }

    fn outcome(&self) -> &'static str {
        eventually("it is over", || self.addon.jobs.view()[0].last.clone()).outcome
    }
}

#[test]
fn panic_holds_a_job_that_hears_nothing_and_calm_lets_it_go_on() {
    let stage = Stage::new(true);
    stage.reaches(JobState::Running);
    stage.computes();
    for _ in 0..2 {
        stage.desk.tick(Level::Panic);
        stage.stands();
        // Who watches heartbeats for it.
        let before = stage.desk.heartbeats();
        for beats in 1..5 {
            stage.desk.skip(Duration::from_secs(10));
            stage.desk.tick(Level::Panic);
            eventually("a heartbeat", || (stage.desk.heartbeats() >= before + beats).then_some(()));
        }
        assert!(matches!(stage.desk.held().unwrap().phase, Phase::Active { paused: Some(_), .. }));
        eventually("it is let go", || {
            stage.desk.quiet();
            (stage.state() == JobState::Running).then_some(())
        });
        stage.computes();
    }
    stage.ground.word.stop();
    assert_eq!(stage.outcome(), "done");
}

#[test]
fn a_job_that_is_held_goes_on_when_it_is_revoked_and_is_cut_off_if_it_does_not_stop() {
    for stops in [true, false] {
        let stage = Stage::new(true);
        stage.reaches(JobState::Running);
        stage.computes();
        stage.desk.tick(Level::Panic);
        stage.stands();
        let before = stage.asked();
        if stops {
            stage.ground.word.stop();
            stage.revoke(Duration::from_secs(60));
            assert_eq!(stage.outcome(), "done");
        } else {
            stage.revoke(Duration::from_millis(500));
            assert_eq!(stage.outcome(), "cut_off");
        }
        assert!(stage.asked() > before, "it could hear it");
        eventually("its lease is over", || (stage.desk.holds() == (0, 0)).then_some(()));
    }
}

#[test]
fn an_addon_whose_job_is_held_ends_and_leaves_nothing() {
    for comes_back in [true, false] {
        let mut stage = Stage::new(true);
        stage.reaches(JobState::Running);
        stage.computes();
        stage.desk.tick(Level::Panic);
        stage.stands();
        let runner = stage.runner.take().unwrap();
        stage.ground.runtime.block_on(runner.end(comes_back));
        assert_eq!((stage.state(), stage.desk.holds()), (JobState::Idle, (0, 0)));
        assert_eq!(stage.ground.shared.meter.read().job_memory_bytes, 0);
        drop(stage.load);
        assert_eq!(Arc::strong_count(&stage.ground.abilities), 1, "its instance is gone");
    }
}

#[test]
fn a_job_that_is_shrunk_gets_the_share_that_it_keeps() {
    let stage = Stage::new(false);
    stage.reaches(JobState::Running);
    stage.computes();
    let meter = Arc::clone(&stage.ground.shared.meter);
    // Busy for minutes: what cannot stand still is halved.
    let shrunk = || stage.desk.held().is_some_and(|lease| lease.held_units() == 10);
    eventually("it is shrunk", || {
        let before = stage.desk.heartbeats();
        stage.desk.skip(Duration::from_secs(10));
        stage.desk.tick(Level::Busy);
        eventually("a heartbeat", || (stage.desk.heartbeats() > before).then_some(()));
        shrunk().then_some(())
    });
    let cpu = || Duration::from_nanos(meter.read().cpu_ns);
    // The figures come once a second. The time is taken before and after them: it may be too long, never too short.
    let next = || {
        let before = cpu();
        eventually("new figures", || (cpu() > before).then(cpu))
    };
    next();
    let begun = clock::mono();
    let before = next();
    for _ in 0..5 {
        next();
    }
    let (used, took) = (cpu().saturating_sub(before), clock::mono().since(begun));
    let share = used.as_secs_f64() / took.as_secs_f64();
    assert!(share < 0.56, "{used:?} in {took:?} are {share}");
    assert_eq!(stage.state(), JobState::Running);
    stage.ground.word.stop();
    assert_eq!(stage.outcome(), "done");
}
