//! What addons may ask for and what becomes of it, with the real scheduler behind it. Tests only.

use super::*;
use lowtide_clock as clock;
use lowtide_core::lease::{Conditions, Directive, Ledger, Mode, Moment, Override, Policy, Token};
use lowtide_core::quiet::Level;
use lowtide_core::units::{Now, WallTime};

/// The real scheduler of the core, on a host that is always quiet, without a disk.
pub(crate) struct Desk(Mutex<Inner>);

struct Inner {
    scheduler: core::Scheduler,
    /// Who waits for news of any lease.
    waiting: Vec<oneshot::Sender<()>>,
    /// How much later it is here than elsewhere.
    ahead: Duration,
    heartbeats: u64,
}

impl Inner {
    fn now(&self) -> Now {
        let now = clock::now();
        let ahead = i64::try_from(self.ahead.as_millis()).unwrap();
        Now { mono: now.mono.plus(self.ahead), wall: WallTime(now.wall.unix_ms() + ahead) }
    }
}

impl Desk {
    pub(crate) fn new() -> Arc<Self> {
        let policy = Policy { cool_down: Duration::ZERO, ..Policy::default() };
        let (scheduler, _) = core::Scheduler::start(clock::now(), Ledger::default(), policy, Token(0), 1);
        let (waiting, ahead) = (Vec::new(), Duration::ZERO);
        let desk = Arc::new(Self(Mutex::new(Inner { scheduler, waiting, ahead, heartbeats: 0 })));
        desk.quiet();
        desk
    }

    pub(crate) fn step(&self, input: Input) -> Reply {
        let mut guarded = self.0.lock().unwrap();
        let now = guarded.now();
        let heartbeat = matches!(input, Input::Heartbeat { .. });
        guarded.heartbeats += u64::from(heartbeat);
        let effects = guarded.scheduler.step(now, input);
        // A heartbeat is no news: who waits for that heartbeats next.
        if !heartbeat {
            guarded.waiting.clear();
        }
        effects.reply
    }

    pub(crate) fn quiet(&self) {
        self.tick(Level::Quiet);
    }

    pub(crate) fn tick(&self, level: Level) {
        let conditions = Conditions {
            sequence: 1,
            at: Moment::from(self.0.lock().unwrap().now().mono),
            score: 100,
            level,
            causes: Vec::new(),
            load_ratio: 0.0,
            quiet_in: None,
            week_minute: None,
        };
        self.step(Input::Tick(Some(Box::new(conditions))));
    }

    /// Lets so much time go by at once.
    pub(crate) fn skip(&self, time: Duration) {
        self.0.lock().unwrap().ahead += time;
    }

    pub(crate) fn heartbeats(&self) -> u64 {
        self.0.lock().unwrap().heartbeats
    }

    /// The only lease that is held.
    pub(crate) fn held(&self) -> Option<Arc<core::Lease>> {
        let guarded = self.0.lock().unwrap();
        guarded.scheduler.ledger().held().next().map(|entry| Arc::clone(&entry.lease))
    }

    pub(crate) fn switch(&self, mode: Option<Mode>) {
        let switch = mode.map(|mode| Override {
            mode,
            owner: "test".into(),
            reason: "test".into(),
            set: WallTime(0),
            expires: None,
        });
        self.step(Input::Override(switch));
        self.quiet();
    }

    pub(crate) fn holds(&self) -> (usize, usize) {
        let guarded = self.0.lock().unwrap();
        (guarded.scheduler.ledger().held_count(), guarded.scheduler.ledger().queued_count())
    }
}

impl Scheduler for Desk {
    fn ask(&self, input: Input) -> Asked<'_, Reply> {
        Box::pin(async {
            let reply = self.step(input);
            // As if the disk took its time.
            tokio::task::yield_now().await;
            Ok(reply)
        })
    }

    fn tell(&self, input: Input) {
        self.step(input);
    }

    fn changed(&self, _: LeaseId) -> Option<oneshot::Receiver<()>> {
        let (told, hears) = oneshot::channel();
        self.0.lock().unwrap().waiting.push(told);
        Some(hears)
    }

    fn look<'a>(&'a self, look: Look<'a>) -> Asked<'a, ()> {
        Box::pin(async {
            look(&self.0.lock().unwrap().scheduler);
            Ok(())
        })
    }
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}

fn bounds(max_units: u8, max_priority: LeasePriority) -> LeaseBounds {
    LeaseBounds { max_units, max_priority }
}

pub(crate) fn way(desk: &Arc<Desk>, max_units: u8) -> LeaseDesk {
    let scheduler: Arc<dyn Scheduler> = Arc::<Desk>::clone(desk);
    let id = AddonId::new("one").unwrap();
    LeaseDesk::new(id, Some(scheduler), bounds(max_units, LeasePriority::Normal), Tally::default())
}

pub(crate) fn wish(units: u32) -> Wish {
    Wish {
        job_type: "reindex".to_owned(),
        units,
        priority: LeasePriority::Low,
        expected_seconds: 60.0,
        constraints: Constraints::default(),
        wait_seconds: None,
    }
}

#[test]
fn a_lease_is_held_under_the_addon_name_and_given_back() {
    run(async {
        let desk = Desk::new();
        let mut held = way(&desk, 20).request(wish(20)).await.unwrap();
        assert_eq!((&*held.lease().request.holder, held.lease().request.units), ("addon:one", 20));
        assert_eq!(held.heartbeat().await.unwrap().directive, Directive::Continue);
        held.release(true, "all of it", Usage::default()).await.unwrap();
        assert_eq!(desk.holds(), (0, 0));
        assert!(matches!(held.heartbeat().await, Err(LeaseError::Gone(_))));
        assert!(matches!(held.release(true, "", Usage::default()).await, Err(LeaseError::Gone(_))));
    });
}

#[test]
fn a_lease_that_is_dropped_is_given_back() {
    run(async {
        let desk = Desk::new();
        let held = way(&desk, 20).request(wish(20)).await.unwrap();
        assert_eq!(desk.holds(), (1, 0));
        drop(held);
        assert_eq!(desk.holds(), (0, 0));
    });
}

#[test]
fn who_is_cut_off_while_it_asks_leaves_nothing_behind() {
    run(async {
        let desk = Desk::new();
        let way = way(&desk, 20);
        {
            let mut asked = std::pin::pin!(way.request(wish(20)));
            // It asks, and the answer waits for the disk.
            let waker = std::task::Waker::noop();
            let mut context = std::task::Context::from_waker(waker);
            assert!(asked.as_mut().poll(&mut context).is_pending());
        }
        for _ in 0..5 {
            tokio::task::yield_now().await;
        }
        assert_eq!(desk.holds(), (0, 0));
        way.request(wish(20)).await.unwrap();
    });
}

#[test]
fn who_is_cut_off_while_it_waits_leaves_the_queue() {
    run(async {
        let desk = Desk::new();
        desk.switch(Some(Mode::Block));
        let waits = Wish { wait_seconds: Some(3_600.0), ..wish(20) };
        let way = way(&desk, 20);
        assert!(tokio::time::timeout(Duration::from_millis(20), way.request(waits.clone())).await.is_err());
        assert_eq!(desk.holds(), (0, 0));
        let short = Wish { wait_seconds: Some(0.02), ..waits };
        let Err(LeaseError::Denied { reasons, .. }) = way.request(short).await else { panic!() };
        assert!(reasons[0].contains("blocks heavy work"), "{reasons:?}");
        assert_eq!(desk.holds(), (0, 0));
    });
}

#[test]
fn who_waits_is_told_when_it_is_granted() {
    run(async {
        let desk = Desk::new();
        desk.switch(Some(Mode::Block));
        let waits = Wish { wait_seconds: Some(3_600.0), ..wish(20) };
        let way = way(&desk, 20);
        let lifted = async {
            while desk.holds() != (0, 1) {
                tokio::task::yield_now().await;
            }
            // What waits counts: it could be granted at any moment.
            assert!(matches!(way.request(wish(1)).await, Err(LeaseError::NotGranted(_))));
            desk.switch(None);
        };
        let (held, ()) = tokio::join!(way.request(waits), lifted);
        assert!(held.unwrap().lease().is_held());
    });
}

#[test]
fn requests_that_break_a_rule_are_told_which() {
    run(async {
        let desk = Desk::new();
        let way = way(&desk, 100);
        let bad = [
            (Wish { job_type: "Not A Name".to_owned(), ..wish(1) }, "job-type"),
            (Wish { job_type: "x".repeat(65), ..wish(1) }, "job-type"),
            (wish(0), "cost-units"),
            (wish(101), "cost-units"),
            (Wish { expected_seconds: f64::NAN, ..wish(1) }, "expected-duration"),
            (Wish { expected_seconds: 0.0, ..wish(1) }, "expected-duration"),
            (Wish { expected_seconds: 1e300, ..wish(1) }, "expected-duration"),
            (Wish { wait_seconds: Some(-1.0), ..wish(1) }, "wait"),
            (Wish { wait_seconds: Some(f64::INFINITY), ..wish(1) }, "wait"),
        ];
        for (wish, word) in bad {
            let Err(LeaseError::Invalid(text)) = way.request(wish.clone()).await else {
                panic!("{wish:?} should be invalid")
            };
            assert!(text.starts_with(word), "{text}");
        }
        assert_eq!(desk.holds(), (0, 0));
    });
}

#[test]
fn the_grant_is_for_all_leases_of_the_addon_together() {
    run(async {
        let desk = Desk::new();
        let way = way(&desk, 30);
        let first = way.request(wish(20)).await.unwrap();
        let Err(LeaseError::NotGranted(text)) = way.request(wish(11)).await else { panic!() };
        assert!(text.contains("11 units are asked for besides the 20"), "{text}");
        assert!(text.contains("max_units = 31, max_priority = \"normal\""), "{text}");
        assert!(text.contains("[addon.one.grants]"), "{text}");
        let second = way.request(wish(10)).await.unwrap();
        drop(first);
        way.request(wish(20)).await.unwrap();
        drop(second);
        let high = Wish { priority: LeasePriority::High, ..wish(1) };
        let Err(LeaseError::NotGranted(text)) = way.request(high).await else { panic!() };
        assert!(text.contains("max_units = 30, max_priority = \"high\""), "{text}");
    });
}

#[test]
fn without_a_scheduler_it_is_unavailable() {
    run(async {
        let id = AddonId::new("one").unwrap();
        let way = LeaseDesk::new(id, None, bounds(10, LeasePriority::Low), Tally::default());
        assert!(matches!(way.request(wish(1)).await, Err(LeaseError::Unavailable(_))));
        way.clear(true).await;
    });
}

#[test]
fn leases_from_before_a_crash_are_given_back_and_those_of_others_are_not() {
    run(async {
        let desk = Desk::new();
        let way = way(&desk, 20);
        way.request(wish(5)).await.unwrap().leave_in_queue();
        let other: Arc<dyn Scheduler> = Arc::<Desk>::clone(&desk);
        let two = AddonId::new("two").unwrap();
        let other = LeaseDesk::new(two, Some(other), bounds(20, LeasePriority::Low), Tally::default());
        let kept = other.request(wish(5)).await.unwrap();
        assert_eq!(desk.holds(), (2, 0));
        way.clear(true).await;
        assert_eq!(desk.holds(), (1, 0));
        drop(kept);
    });
}

#[test]
fn holders_have_names_that_fit() {
    let name = |id: &str| holder(&AddonId::new(id).unwrap()).to_string();
    assert_eq!(name("media-sessions"), "addon:media-sessions");
    let (long, other) = (name(&"x".repeat(64)), name(&format!("{}y", "x".repeat(63))));
    assert_eq!((long.len(), other.len()), (LEASE_NAME_BYTES_MAX, LEASE_NAME_BYTES_MAX));
    assert_ne!(long, other);
}
