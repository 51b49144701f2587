//! Addons that nobody wrote: made by wasm-smith and wasm-mutate, and taken through everything that lies behind the folder and the compile
//! child. Whatever they are, each is refused, faults or answers; the host never panics, and serves the next one as before.
//!
//! A failure names the seed. `LOWTIDE_FUZZ_ITERATIONS` is shared out among the tests here; half of it are addons.

use crate::addon::{Addon, Identity};
use crate::cache::LoadedComponent;
use crate::capabilities::Capabilities;
use crate::caps::blocking::Blocking;
use crate::caps::kv::KvDesk;
use crate::caps::kv::tests::InMemory;
use crate::caps::leases::Tally;
use crate::caps::log::LogBuffer;
use crate::engine;
use crate::guest::{Abilities, Shared};
use crate::id::AddonId;
use crate::inspect::{self, Inspection};
use crate::instance::{Machine, Template};
use crate::limits;
use crate::manifest::Manifest;
use crate::meter::Meter;
use crate::recorder::{Names, Recorder};
use crate::status::AddonState;
use crate::task::{INBOX_MAX, Load, Message, Task};
use lowtide_clock as clock;
use lowtide_core::rate::TokenBucket;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use tokio::sync::{mpsc, oneshot, watch};
use wasm_smith::{Component, Config, Module};
use wit_component::{ComponentEncoder, StringEncoding};
use wit_parser::{LiftLowerAbi, ManglingAndAbi, Resolve, WorldId};

/// Bytes of chance for one generated thing: more makes functions longer, not stranger.
const CHANCE_BYTES: usize = 2_048;

/// Loops and calls of a generated guest before it traps. It may run for ever too: those are in the hostile corpus.
const FUEL: u32 = 10_000;

/// Rounds of calls of each export.
const ROUNDS: u32 = 2;

/// `share` hundredths of the addons.
fn seeds(share: u64) -> std::ops::Range<u64> {
    let asked = std::env::var("LOWTIDE_FUZZ_ITERATIONS").ok().and_then(|text| text.parse::<u64>().ok());
    // Fewer would not come to each of the outcomes that are asserted.
    0..asked.unwrap_or(1_000).max(1_000) / 2 * share / 100
}

/// Bytes that depend on a seed only.
fn chance(purpose: &str, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; CHANCE_BYTES];
    let mut hasher = blake3::Hasher::new_derive_key(purpose);
    hasher.update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

/// What became of an addon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    /// Refused from its bytes.
    Inspected,
    /// Refused because it does not fit the contract.
    Linked,
    /// It ran, and crashed.
    Faulted,
    /// It ran, and each call came back.
    Answered,
}

/// Takes addons from bytes to their end.
struct Ground {
    machine: Machine,
    /// Compiles as the child does.
    compiler: wasmtime::Engine,
    runtime: tokio::runtime::Runtime,
    outcomes: BTreeMap<Outcome, u64>,
    /// How often each kind of fault ended an addon.
    faults: RefCell<BTreeMap<&'static str, u64>>,
}

impl Ground {
    fn new() -> Self {
        Self {
            machine: Machine::new().unwrap(),
            compiler: engine::compiling().unwrap(),
            runtime: tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap(),
            outcomes: BTreeMap::new(),
            faults: RefCell::default(),
        }
    }

    fn compiled(&self, wasm: &[u8], inspection: &Arc<Inspection>) -> wasmtime::Result<LoadedComponent> {
        LoadedComponent::compiled_here(&self.machine.engine, &self.compiler, wasm, inspection)
    }

    fn count(&self, outcome: Outcome) -> u64 {
        self.outcomes.get(&outcome).copied().unwrap_or_default()
    }

    fn take(&mut self, wasm: &[u8], what: &str) {
        let outcome = self.outcome(wasm, what);
        *self.outcomes.entry(outcome).or_default() += 1;
    }

    fn outcome(&self, wasm: &[u8], what: &str) -> Outcome {
        let inspection = match inspect::inspect(wasm) {
            Ok(inspection) => Arc::new(inspection),
            Err(error) => {
                fit_to_print(&error.to_string(), what);
                return Outcome::Inspected;
            }
        };
        // The inspection knows what the engine takes: what passes it compiles.
        let component = self
            .compiled(wasm, &inspection)
            .unwrap_or_else(|error| panic!("{what} passes the inspection and is not compiled: {error:#}"));
        let digest = component.digest();
        let Ok(template) = Template::new(&self.machine, component) else {
            return Outcome::Linked;
        };
        let id = AddonId::new("nobody").unwrap();
        let manifest = Manifest {
            id: id.clone(),
            version: None,
            description: None,
            asks: Capabilities::default(),
            memory_bytes: None,
            interval: None,
        };
        let memory_bytes = limits::MEMORY_BYTES_DEFAULT;
        let identity =
            Identity { manifest: Arc::new(manifest), inspection, component_bytes: 0, digest, memory_bytes };
        let kv = Arc::new(KvDesk::new(id.clone(), Arc::new(InMemory::default())));
        let abilities = Arc::new(Abilities { kv: Some(kv), memory_bytes, ..Abilities::default() });
        self.run(&id, Load { template, identity, abilities, interval: None, by_hand: true }, what)
    }

    /// Lets the task of an addon start it and call it.
    fn run(&self, id: &AddonId, load: Load, what: &str) -> Outcome {
        let addon = Arc::new(Addon::new(shared(id), Arc::new(|_| {}), clock::now()));
        let (inbox, messages) = mpsc::channel(INBOX_MAX);
        let answered = self.runtime.block_on(async {
            let task = tokio::spawn(Task::new(Arc::clone(&addon), load, messages).run());
            let (done, answer) = oneshot::channel();
            let _ = inbox.send(Message::CallAll { times: ROUNDS, done }).await;
            let answered = answer.await.is_ok();
            let _ = inbox.send(Message::Stop { comes_back: false }).await;
            assert!(task.await.is_ok(), "{what}: the task of the addon panicked");
            answered
        });
        let now = clock::now();
        let (view, _) = (addon.view(now), addon.presence(now.mono));
        if let Some(samples) = addon.report(now).and_then(|report| report.samples) {
            for (series, _) in samples.iter() {
                fit_to_print(&series.metric.name, what);
                for (name, value) in series.label_pairs() {
                    fit_to_print(name, what);
                    assert!(!value.chars().any(char::is_control), "{what}: {value:?}");
                }
            }
        }
        if answered {
            assert_eq!(view.state, AddonState::Running, "{what}");
            return Outcome::Answered;
        }
        let problem = view.problem.unwrap_or_else(|| panic!("{what}: crashed without a problem"));
        fit_to_print(&problem.text, what);
        *self.faults.borrow_mut().entry(problem.code).or_default() += 1;
        Outcome::Faulted
    }
}

fn shared(id: &AddonId) -> Arc<Shared> {
    let meter = Arc::new(Meter::default());
    let (_, state) = watch::channel(None);
    Arc::new(Shared {
        recorder: Mutex::new(Recorder::new(id.clone(), Arc::new(Names::default()), Arc::clone(&meter))),
        meter,
        id: id.clone(),
        log: Mutex::new(LogBuffer::new()),
        blocking: Blocking::default(),
        leases: Tally::default(),
        events: Mutex::new(TokenBucket::new(limits::EVENTS_PER_SECOND, limits::EVENTS_BURST)),
        publish: Arc::new(|_| {}),
        state,
    })
}

/// A text that may stand in a log or on a terminal.
fn fit_to_print(text: &str, what: &str) {
    assert!(!text.is_empty() && text.len() < 4_096, "{what}: {} bytes", text.len());
    assert!(!text.chars().any(char::is_control), "{what}: {text:?}");
}

/// A world of the contract with some of its exports, and a module that has the shape of one who implements it.
struct Shape {
    resolve: Resolve,
    world: WorldId,
    module: Vec<u8>,
}

/// One for each set of exports that is not empty.
fn shapes() -> Vec<Shape> {
    const EXPORTS: [&str; 5] = ["collector", "presence", "custom-stats", "health", "job"];
    (1..1_u32 << EXPORTS.len())
        .map(|set| {
            let mut resolve = Resolve::default();
            let wit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../wit/v0.1");
            resolve.push_dir(&wit).unwrap();
            let exports: String = (0..)
                .zip(EXPORTS)
                .filter(|(bit, _)| set >> bit & 1 == 1)
                .map(|(_, name)| format!("export lowtide:addon/{name}@0.1.0;"))
                .collect();
            let text = format!(
                "package lowtide:fuzz; world some {{ include lowtide:addon/imports@0.1.0; {exports} }}"
            );
            let package = resolve.push_str("fuzz.wit", &text).unwrap();
            let world = resolve.select_world(&[package], Some("some")).unwrap();
            let abi = ManglingAndAbi::Legacy(LiftLowerAbi::Sync);
            let module = with_memory(wit_component::dummy_module(&resolve, world, abi));
            Shape { resolve, world, module }
        })
        .collect()
}

/// The module with a memory of two pages instead of none: else no result could be read.
fn with_memory(mut module: Vec<u8>) -> Vec<u8> {
    // The memory section: its id, three bytes, one memory without a maximum.
    let section = [5, 3, 1, 0, 0];
    let at = module.windows(section.len()).position(|bytes| bytes == section).unwrap();
    module[at + section.len() - 1] = 2;
    module
}

impl Shape {
    /// Makes a component of a module with this shape.
    fn wrap(&self, mut module: Vec<u8>) -> Vec<u8> {
        wit_component::embed_component_metadata(
            &mut module,
            &self.resolve,
            self.world,
            StringEncoding::UTF8,
            false,
        )
        .unwrap();
        ComponentEncoder::default().module(&module).unwrap().encode().unwrap()
    }

    /// An addon whose functions are made up.
    fn guest(&self, seed: u64) -> Option<Vec<u8>> {
        let config = Config {
            available_imports: Some(self.module.clone()),
            exports: Some(self.module.clone()),
            // What the engine refuses anyway would make every addon end there.
            exceptions_enabled: false,
            gc_enabled: false,
            threads_enabled: false,
            relaxed_simd_enabled: false,
            reference_types_enabled: false,
            wide_arithmetic_enabled: false,
            memory64_enabled: false,
            compact_imports_enabled: false,
            // Its memory is that of the shape; one that cannot be had is in the hostile corpus.
            max_memories: 1,
            max_table_elements: 1_000,
            // A start function that never comes to its end would hide the exports.
            // Else nearly all end in the first function that is called.
            disallow_traps: !seed.is_multiple_of(4),
            allow_start_export: seed.is_multiple_of(8),
            ..Config::default()
        };
        let bytes = chance("lowtide fuzz guest", seed);
        let mut module = Module::new(config, &mut arbitrary::Unstructured::new(&bytes)).ok()?;
        module.ensure_termination(FUEL).unwrap();
        Some(self.wrap(module.to_bytes()))
    }
}

/// The same component with its first core module exchanged.
fn with_module(component: &[u8], change: impl FnOnce(&[u8]) -> Option<Vec<u8>>) -> Option<Vec<u8>> {
    let range =
        wasmparser::Parser::new(0).parse_all(component).find_map(|payload| match payload.ok()? {
            wasmparser::Payload::ModuleSection { unchecked_range, .. } => Some(unchecked_range),
            _ => None,
        })?;
    let range = usize::try_from(range.start).ok()?..usize::try_from(range.end).ok()?;
    let changed = change(&component[range.clone()])?;
    // The id of the section and its length stand before it.
    let before = range.start - 1 - leb(range.len()).len();
    assert_eq!(component[before], 1, "a core module");
    Some([&component[..before], &[1], &leb(changed.len())[..], &changed, &component[range.end..]].concat())
}

/// An unsigned number as WebAssembly writes it (LEB128).
fn leb(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number > 0x7f {
        bytes.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

/// The module of the last of up to `steps` mutations that were possible.
fn mutated(module: &[u8], seed: u64, steps: u64) -> Option<Vec<u8>> {
    let mut newest = None;
    for step in 0..steps {
        let from: &[u8] = newest.as_deref().unwrap_or(module);
        let mut mutate = wasm_mutate::WasmMutate::default();
        mutate.seed(seed.wrapping_mul(31).wrapping_add(step)).fuel(300).preserve_semantics(false);
        let next = mutate.run(from).ok()?.next()?.ok()?;
        newest = Some(next);
    }
    newest
}

#[test]
fn fuzz_components_of_wasm_smith() {
    let mut ground = Ground::new();
    for seed in seeds(70) {
        let bytes = chance("lowtide fuzz component", seed);
        let mut chance = arbitrary::Unstructured::new(&bytes);
        let Ok(component) = Component::new(Config::default(), &mut chance) else { continue };
        let wasm = component.to_bytes();
        ground.take(&wasm, &format!("component {seed}"));
        // What the inspection refuses for its names never comes to the compiler in a daemon; here it does.
        let _ = ground.compiled(&wasm, &Arc::default());
    }
    println!("{:?} {:?}", ground.outcomes, ground.faults);
    assert!(ground.count(Outcome::Inspected) > 0);
}

#[test]
fn fuzz_guests_of_wasm_smith() {
    let shapes = shapes();
    let mut ground = Ground::new();
    for seed in seeds(20) {
        let shape = &shapes[(seed % shapes.len() as u64) as usize];
        let Some(guest) = shape.guest(seed) else { continue };
        ground.take(&guest, &format!("guest {seed}"));
    }
    println!("{:?} {:?}", ground.outcomes, ground.faults);
    assert!(ground.faults.borrow().len() >= 3, "too much alike: {:?}", ground.faults);
    assert_eq!(ground.count(Outcome::Linked), 0, "they fit the contract by construction");
}

#[test]
fn fuzz_guests_of_wasm_mutate() {
    let frozen = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../tests/frozen/v0.1");
    let real: Vec<Vec<u8>> = ["collector", "presence", "stats", "health", "job"]
        .iter()
        .map(|name| std::fs::read(frozen.join(format!("v01-{name}.wasm"))).unwrap())
        .collect();
    let shapes = shapes();
    let mut ground = Ground::new();
    for seed in seeds(10) {
        // Real ones are large: their compilation is most of the time that this takes.
        let from = match usize::try_from(seed).unwrap() {
            seed if seed.is_multiple_of(10) => real[seed / 10 % real.len()].clone(),
            seed => match shapes[seed % shapes.len()].guest(u64::MAX - seed as u64) {
                Some(guest) => guest,
                None => continue,
            },
        };
        let Some(wasm) = with_module(&from, |module| mutated(module, seed, 1 + seed % 4)) else { continue };
        ground.take(&wasm, &format!("mutant {seed}"));
    }
    println!("{:?} {:?}", ground.outcomes, ground.faults);
    assert!(
        ground.count(Outcome::Inspected) > 0 && ground.count(Outcome::Answered) > 0,
        "{:?}",
        ground.outcomes
    );
}
