//! The brake under guests that really run: what they compute is right however often they are held, and held they use nothing.

use super::*;
use crate::answers::Outcome;
use crate::cache::LoadedComponent;
use crate::caps::blocking::Blocking;
use crate::caps::kv::{Kv, KvDesk, KvError, KvUsage};
use crate::caps::leases::tests::{Desk, way, wish};
use crate::caps::leases::{Seat, Tally};
use crate::caps::log::LogBuffer;
use crate::guest::{Abilities, Shared};
use crate::id::AddonId;
use crate::instance::{Instance, Machine, Template};
use crate::meter::Meter;
use crate::recorder::{Names, Recorder};
use crate::{engine, inspect, limits};
use lowtide_core::rate::TokenBucket;
use std::path::Path;
use std::sync::{Condvar, mpsc};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use wit_component::{ComponentEncoder, StringEncoding};
use wit_parser::Resolve;

/// Longer than any of these can take on the slowest machine.
const DEADLINE: Duration = Duration::from_secs(100);

/// Waits for a condition, and says what it found.
pub(crate) fn eventually<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let begun = clock::mono();
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(clock::mono().since(begun) < DEADLINE, "never: {what}");
        std::thread::park_timeout(Duration::from_micros(200));
    }
}

/// A store by which a test tells its guest to stop, and which can be made to keep it waiting.
#[derive(Debug, Default)]
pub(crate) struct Word {
    said: Mutex<Said>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Said {
    stop: bool,
    closed: bool,
    /// Calls that wait, and calls that were answered.
    waiting: usize,
    answered: u64,
}

impl Word {
    pub(crate) fn stop(&self) {
        self.said.lock().unwrap().stop = true;
    }

    fn close(&self, closed: bool) {
        self.said.lock().unwrap().closed = closed;
        self.changed.notify_all();
    }

    fn waiting(&self) -> usize {
        self.said.lock().unwrap().waiting
    }

    pub(crate) fn answered(&self) -> u64 {
        self.said.lock().unwrap().answered
    }
}

fn no<T>() -> Result<T, KvError> {
    Err(KvError::Unavailable("this store keeps nothing".to_owned()))
}

impl Kv for Word {
    fn get(&self, _: &str, _: &str) -> Result<Option<Vec<u8>>, KvError> {
        let mut said = self.said.lock().unwrap();
        said.waiting += 1;
        let mut said = self.changed.wait_while(said, |said| said.closed).unwrap();
        (said.waiting, said.answered) = (said.waiting - 1, said.answered + 1);
        Ok(said.stop.then(Vec::new))
    }

    fn set(&self, _: &str, _: &str, _: &[u8], _: KvUsage) -> Result<(), KvError> {
        no()
    }

    fn delete(&self, _: &str, _: &str) -> Result<(), KvError> {
        no()
    }

    fn list_keys(&self, _: &str, _: &str, _: usize) -> Result<Vec<String>, KvError> {
        no()
    }

    fn usage(&self, _: &str) -> Result<KvUsage, KvError> {
        no()
    }
}

/// Multiplier and increment of what the first guest computes.
const STEP: (u64, u64) = (6_364_136_223_846_793_005, 1_442_695_040_888_963_407);

/// Values that it keeps in its memory, each written over by a later one.
const KEPT: u64 = 131_072;

/// Computes a sequence of numbers and writes each into its memory, until it is told to stop; then says how many, the last one, and the sum of
/// those that it kept.
pub(crate) const SEQUENCE: &str = r#"
    (memory (export "memory") 20)
    (func $work (param $x i64) (param $n i64) (result i64 i64)
        (local $left i32)
        (local.set $left (i32.const 2097152))
        (loop $step
            (local.set $x (i64.add
                (i64.mul (local.get $x) (i64.const 6364136223846793005))
                (i64.const 1442695040888963407)))
            (i64.store offset=65536
                (i32.shl (i32.and (i32.wrap_i64 (local.get $n)) (i32.const 131071)) (i32.const 3))
                (local.get $x))
            (local.set $n (i64.add (local.get $n) (i64.const 1)))
            (br_if $step (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
        (local.get $x) (local.get $n))
    (func $check (result i64)
        (local $sum i64) (local $at i32)
        (loop $next
            (local.set $sum (i64.add (local.get $sum) (i64.load offset=65536 (local.get $at))))
            (br_if $next (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 8))) (i32.const 1048576))))
        (local.get $sum))"#;

/// Fills 64 MiB with one instruction and looks whether all of it came, again and again; `x` is the number of bytes that did not.
const FILLS: &str = r#"
    (memory (export "memory") 1025)
    (func $work (param $x i64) (param $n i64) (result i64 i64)
        (local $at i32)
        (memory.fill (i32.const 65536) (i32.wrap_i64 (local.get $n)) (i32.const 67108864))
        (loop $next
            (local.set $x (i64.add (local.get $x) (i64.extend_i32_u (i32.ne
                (i32.load8_u offset=65536 (local.get $at))
                (i32.and (i32.wrap_i64 (local.get $n)) (i32.const 255))))))
            (br_if $next (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 65521))) (i32.const 67108864))))
        (local.get $x) (i64.add (local.get $n) (i64.const 1)))
    (func $check (result i64) (i64.const 0))"#;

/// A component with the job: `work` again and again on two numbers, until the store has the key `stop`; then three numbers as text.
pub(crate) fn component(work: &str) -> Vec<u8> {
    let text = format!(
        r#"(module
            (import "lowtide:addon/kv@0.1.0" "get" (func $get (param i32 i32 i32)))
            {work}
            (global $free (mut i32) (i32.const 4096))
            (data (i32.const 1024) "stop")
            (data (i32.const 1040) "0123456789abcdef")
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
                (global.get $free)
                (global.set $free (i32.add (global.get $free)
                    (i32.and (i32.add (local.get 3) (i32.const 15)) (i32.const -8)))))
            ;; No jobs: an empty list.
            (func (export "lowtide:addon/job@0.1.0#describe") (result i32)
                (i64.store (i32.const 16) (i64.const 0))
                (i32.const 16))
            (func $stops (result i32)
                (call $get (i32.const 1024) (i32.const 4) (i32.const 64))
                (i32.and (i32.eqz (i32.load8_u (i32.const 64))) (i32.load8_u (i32.const 68))))
            (func $write (param $at i32) (param $number i64)
                (local $left i32)
                (local.set $left (i32.const 16))
                (loop $next
                    (local.set $left (i32.sub (local.get $left) (i32.const 1)))
                    (i32.store8 (i32.add (local.get $at) (local.get $left))
                        (i32.load8_u offset=1040 (i32.wrap_i64 (i64.and (local.get $number) (i64.const 15)))))
                    (local.set $number (i64.shr_u (local.get $number) (i64.const 4)))
                    (br_if $next (local.get $left))))
            (func (export "lowtide:addon/job@0.1.0#run") (param i32 i32) (result i32)
                (local $x i64) (local $n i64)
                (loop $again
                    (call $work (local.get $x) (local.get $n))
                    (local.set $n)
                    (local.set $x)
                    (br_if $again (i32.eqz (call $stops))))
                (call $write (i32.const 128) (local.get $n))
                (call $write (i32.const 144) (local.get $x))
                (call $write (i32.const 160) (call $check))
                ;; result: ok; outcome: done; the text.
                (i64.store (i32.const 96) (i64.const 0))
                (i32.store (i32.const 104) (i32.const 128))
                (i32.store (i32.const 108) (i32.const 48))
                (i32.const 96)))"#
    );
    let mut resolve = Resolve::default();
    resolve.push_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../wit/v0.1")).unwrap();
    let world = "package lowtide:brake; world some { include lowtide:addon/imports@0.1.0; export lowtide:addon/job@0.1.0; }";
    let package = resolve.push_str("brake.wit", world).unwrap();
    let world = resolve.select_world(&[package], Some("some")).unwrap();
    let mut module = wat::parse_str(text).unwrap();
    let encoding = StringEncoding::UTF8;
    wit_component::embed_component_metadata(&mut module, &resolve, world, encoding, false).unwrap();
    ComponentEncoder::default().module(&module).unwrap().encode().unwrap()
}

/// Where guests run, on threads of their own.
pub(crate) struct Ground {
    pub(crate) runtime: Runtime,
    pub(crate) template: Template,
    pub(crate) id: AddonId,
    pub(crate) shared: Arc<Shared>,
    pub(crate) abilities: Arc<Abilities>,
    pub(crate) word: Arc<Word>,
}

impl Ground {
    pub(crate) fn new(work: &str, desk: Option<&Arc<Desk>>) -> Self {
        let machine = Machine::new().unwrap();
        let wasm = component(work);
        let inspection = Arc::new(inspect::inspect(&wasm).unwrap());
        let compiler = engine::compiling().unwrap();
        let component =
            LoadedComponent::compiled_here(&machine.engine, &compiler, &wasm, &inspection).unwrap();
        let template = Template::new(&machine, component).unwrap();
        let id = AddonId::new("one").unwrap();
        let word = Arc::new(Word::default());
        let store: Arc<dyn Kv> = Arc::<Word>::clone(&word);
        let meter = Arc::new(Meter::default());
        let shared = Shared {
            recorder: Mutex::new(Recorder::new(id.clone(), Arc::new(Names::default()), Arc::clone(&meter))),
            meter,
            id: id.clone(),
            log: Mutex::new(LogBuffer::new()),
            blocking: Blocking::default(),
            leases: Tally::default(),
            events: Mutex::new(TokenBucket::new(limits::EVENTS_PER_SECOND, limits::EVENTS_BURST)),
            publish: Arc::new(|_| {}),
            state: watch::channel(None).1,
        };
        let abilities = Abilities {
            kv: Some(Arc::new(KvDesk::new(id.clone(), store))),
            leases: desk.map(|desk| Arc::new(way(desk, 100))),
            memory_bytes: 128 << 20,
            ..Abilities::default()
        };
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let (shared, abilities) = (Arc::new(shared), Arc::new(abilities));
        Self { runtime: runtime.unwrap(), template, id, shared, abilities, word }
    }

    /// Runs the job on an instance of its own.
    fn run(&self) -> Run {
        let desk = Desk::new();
        // The lease itself does not matter here.
        let seat = self.runtime.block_on(async { way(&desk, 20).request(wish(20)).await.unwrap().seat("x") });
        let brake = Arc::clone(seat.brake());
        self.run_with(seat, brake)
    }

    fn run_with(&self, seat: Arc<Seat>, brake: Arc<Brake>) -> Run {
        let (template, shared) = (self.template.clone(), Arc::clone(&self.shared));
        let abilities = Arc::clone(&self.abilities);
        let (told, hears) = mpsc::sync_channel(1);
        let task = self.runtime.spawn(async move {
            let mut instance = Instance::start(&template, shared, abilities, Some(seat)).await.unwrap();
            told.send(instance.clock()).unwrap();
            match instance.run("x").await.unwrap().unwrap() {
                Outcome::Done(text) => text,
                Outcome::Stopped => panic!("it was not told to stop early"),
            }
        });
        Run { brake, clock: hears.recv_timeout(DEADLINE).unwrap(), task }
    }

    /// Ends a run, and says which three numbers it computed.
    fn end(&self, run: Run) -> [u64; 3] {
        self.word.stop();
        let text = self.runtime.block_on(run.task).unwrap();
        let number = |place: usize| u64::from_str_radix(&text[16 * place..16 * place + 16], 16).unwrap();
        [number(0), number(1), number(2)]
    }
}

struct Run {
    brake: Arc<Brake>,
    clock: Arc<CallClock>,
    task: JoinHandle<String>,
}

impl Run {
    fn stands(&self) -> bool {
        self.brake.ledger().paused.since.is_some()
    }

    /// Pauses it and waits until it stands still.
    fn hold(&self) {
        self.brake.pause(true);
        eventually("it stands still", || self.stands().then_some(()));
    }

    /// Lets it go on, and waits until it does.
    fn let_go(&self) {
        self.brake.pause(false);
        eventually("it goes on", || (!self.stands()).then_some(()));
    }

    fn cpu(&self) -> Duration {
        self.clock.taken().0
    }

    /// Waits until it has computed for so long from now on.
    fn computes_for(&self, time: Duration) {
        let before = self.cpu();
        eventually("it computes", || (self.cpu() >= before + time).then_some(()));
    }

    /// Lets so much time go by.
    fn stands_for(&self, time: Duration) {
        let before = self.brake.ledger().paused.until(clock::mono());
        let stood = || self.brake.ledger().paused.until(clock::mono()).saturating_sub(before);
        eventually("it stands for a while", || (stood() >= time).then_some(()));
    }
}

/// So many steps of the sequence at once.
fn jump(mut steps: u64) -> u64 {
    let (mut multiplier, mut increment) = STEP;
    let (mut all_multiplier, mut all_increment) = (1_u64, 0_u64);
    while steps > 0 {
        if steps & 1 == 1 {
            all_multiplier = all_multiplier.wrapping_mul(multiplier);
            all_increment = all_increment.wrapping_mul(multiplier).wrapping_add(increment);
        }
        increment = multiplier.wrapping_add(1).wrapping_mul(increment);
        multiplier = multiplier.wrapping_mul(multiplier);
        steps >>= 1;
    }
    // From zero.
    all_increment
}

fn assert_right([steps, last, sum]: [u64; 3]) {
    assert!(steps >= KEPT, "{steps} steps");
    let mut at = jump(steps - KEPT);
    let mut all = 0_u64;
    for _ in 0..KEPT {
        at = at.wrapping_mul(STEP.0).wrapping_add(STEP.1);
        all = all.wrapping_add(at);
    }
    assert_eq!((last, sum), (at, all), "after {steps} steps");
}

#[test]
fn a_job_that_is_held_a_thousand_times_computes_what_it_should() {
    let ground = Ground::new(SEQUENCE, None);
    let run = ground.run();
    for _ in 0..1_000 {
        run.hold();
        run.let_go();
    }
    assert_right(ground.end(run));
}

#[test]
fn a_job_is_held_between_two_instructions_also_where_one_fills_64_mib() {
    let ground = Ground::new(FILLS, None);
    let run = ground.run();
    for _ in 0..100 {
        run.hold();
        run.let_go();
    }
    let [fills, bad, _] = ground.end(run);
    assert!(fills > 0 && bad == 0, "{bad} bytes are wrong after {fills} fills");
}

#[test]
fn held_it_uses_nothing_and_the_time_is_told_once() {
    let ground = Ground::new(SEQUENCE, None);
    let run = ground.run();
    run.computes_for(Duration::from_millis(20));
    run.hold();
    let (cpu, polls) = (run.cpu(), ground.word.answered());
    run.stands_for(Duration::from_millis(1_500));
    // The task looks at it from time to time: for microseconds.
    let used = run.cpu().saturating_sub(cpu);
    assert!(used < Duration::from_millis(15), "it used {used:?} while it was held");
    assert_eq!(ground.word.answered(), polls, "and asked for nothing");
    // Counted while it stands, not only afterwards.
    let meter = Arc::clone(&ground.shared.meter);
    eventually("the time is counted", || (meter.read().paused_ns > 1_000_000_000).then_some(()));
    run.let_go();
    run.computes_for(Duration::from_millis(20));
    let brake = Arc::clone(&run.brake);
    assert_right(ground.end(run));
    meter.paused(brake.take_paused());
    let (counted, stood) = (Duration::from_nanos(meter.read().paused_ns), brake.parked());
    assert!(counted <= stood && stood <= counted + Duration::from_millis(100), "{counted:?} {stood:?}");
}

#[test]
fn a_call_to_the_host_is_finished_and_then_it_stands_still() {
    let ground = Ground::new(SEQUENCE, None);
    let run = ground.run();
    ground.word.close(true);
    eventually("it asks the host", || (ground.word.waiting() == 1).then_some(()));
    run.brake.pause(true);
    let answered = ground.word.answered();
    // Nobody waits here while the host works for it.
    assert!(!run.stands());
    ground.word.close(false);
    eventually("it stands still", || run.stands().then_some(()));
    assert_eq!(ground.word.answered(), answered + 1);
    run.let_go();
    run.computes_for(Duration::from_millis(20));
    assert_right(ground.end(run));
}

#[test]
fn a_job_with_a_bound_gets_its_share_and_computes_what_it_should() {
    let ground = Ground::new(SEQUENCE, None);
    let run = ground.run();
    run.brake.limit(20, 100);
    // What it did before the bound is not held against it, nor the moment that it may have kept.
    run.computes_for(Duration::from_millis(50));
    let (begun, before) = (clock::mono(), run.cpu());
    run.computes_for(Duration::from_millis(500));
    let (wall, cpu) = (clock::mono().since(begun), run.cpu().saturating_sub(before));
    let share = cpu.as_secs_f64() / wall.as_secs_f64();
    // On a busy machine it may get less than its share, never more.
    assert!(share < 0.25, "{cpu:?} in {wall:?} are {share}");
    assert!(ground.shared.meter.read().paused_ns == 0, "that is no pause");
    // Held and with a bound at once.
    for _ in 0..10 {
        run.hold();
        run.let_go();
    }
    // All units are no bound.
    run.brake.limit(100, 100);
    let (begun, parked) = (clock::mono(), run.brake.parked());
    run.computes_for(Duration::from_millis(200));
    let waited = run.brake.parked().saturating_sub(parked);
    assert!(waited < clock::mono().since(begun) / 4, "it waited for {waited:?}");
    assert_right(ground.end(run));
}

#[test]
fn time_in_which_it_was_held_is_not_held_against_a_call() {
    let ground = Ground::new(SEQUENCE, None);
    let desk = Desk::new();
    let seat = ground.runtime.block_on(async { way(&desk, 20).request(wish(20)).await.unwrap().seat("x") });
    let brake = Arc::clone(seat.brake());
    // Held before it begins: it stands in its very first function.
    brake.pause(true);
    let (template, shared) = (ground.template.clone(), Arc::clone(&ground.shared));
    let abilities = Arc::clone(&ground.abilities);
    let task = ground.runtime.spawn(async move {
        let mut instance = Instance::start(&template, shared, abilities, Some(seat)).await?;
        instance.call(crate::instance::Call::Jobs).await.map(|_| ())
    });
    eventually("it stands still", || brake.ledger().paused.since);
    let stood = || brake.ledger().paused.until(clock::mono());
    let more_than_a_call = limits::CALL_WALL + limits::START_RUNNING + Duration::from_millis(500);
    eventually("longer than any call may take", || (stood() > more_than_a_call).then_some(()));
    assert!(!task.is_finished());
    brake.pause(false);
    ground.runtime.block_on(task).unwrap().unwrap();
}

#[test]
fn a_job_that_is_cut_off_while_it_is_held_leaves_nothing() {
    let ground = Ground::new(SEQUENCE, None);
    let run = ground.run();
    run.hold();
    run.task.abort();
    let brake = Arc::downgrade(&run.brake);
    assert!(ground.runtime.block_on(run.task).unwrap_err().is_cancelled());
    drop(run.brake);
    assert!(brake.upgrade().is_none(), "the guest is gone, and its wait with it");
    assert_eq!(Arc::strong_count(&ground.abilities), 1);
}
