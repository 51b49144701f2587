//! Every guest of `fixture-addons` with what must become of it, in groups that share a host. What is asserted of all: it is contained
//! for the reason that is expected, the reason says what to do and steers no terminal, and the companion beside it notices nothing.

mod expect;
mod floods;
mod rights;
mod traps;
mod values;

use super::stage::{
    self, COMPANION, PATIENCE, Stage, built_fixture, id, is_strict, quantile, written_fixture,
};
use crate::daemon::{eventually, eventually_within, pause};
use expect::{Case, Expect};
use lowtide_addons::AddonConfig;
use lowtide_addons::id::AddonId;
use lowtide_clock as clock;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::{PoisonError, RwLock};

/// The groups: each has a host of its own.
const GROUPS: [fn() -> Vec<Case>; 5] =
    [traps::cases, traps::by_hand, floods::cases, values::cases, rights::cases];

/// Taken for reading by tests that use memory and for writing by the one that measures it, where they share a process.
static MEMORY: RwLock<()> = RwLock::new(());

/// Rounds of reports without a hostile guest, to compare with.
const ROUNDS_BEFORE: usize = 60;

#[test]
fn guests_that_trap_are_stopped_and_named() {
    perform("traps", traps::cases());
}

#[test]
fn guests_written_by_hand_are_stopped_and_named() {
    perform("written", traps::by_hand());
}

#[test]
fn guests_that_flood_are_stopped_or_cut() {
    perform("floods", floods::cases());
}

#[test]
fn guests_with_odd_values_and_texts_hurt_only_themselves() {
    perform("values", values::cases());
}

#[test]
fn guests_get_what_they_were_granted_and_no_more() {
    perform("rights", rights::cases());
}

/// Puts all guests of a group beside the companion and holds what becomes of them against what should.
fn perform(group: &str, cases: Vec<Case>) {
    let _others = MEMORY.read().unwrap_or_else(PoisonError::into_inner);
    let stage = Stage::new(configured(&cases));
    stage.bring_companion();
    let since = clock::mono();
    eventually("rounds to compare with", || (stage.watched().late_us.len() >= ROUNDS_BEFORE).then_some(()));
    let before = std::mem::take(&mut stage.watched().late_us);
    for case in &cases {
        put(&stage, case);
    }
    let mut open: Vec<&Case> = cases.iter().collect();
    let mut wrong = Vec::new();
    let end = since.plus(PATIENCE);
    while !open.is_empty() {
        open.retain(|case| match case.outcome(&stage) {
            None => true,
            Some(Ok(())) => false,
            Some(Err(text)) => {
                wrong.push(text);
                false
            }
        });
        if clock::mono() >= end {
            wrong.extend(open.drain(..).map(|case| case.missed(&stage)));
        }
        pause();
    }
    for case in &cases {
        wrong.extend(case.unfit_texts(&stage));
    }
    assert!(
        wrong.is_empty(),
        "{} of {} guests are not as they should be:\n{}",
        wrong.len(),
        cases.len(),
        wrong.join("\n")
    );
    stage.assert_companion_is_well(since);
    judge_lateness(group, &before, &stage.watched().late_us);
}

fn put(stage: &Stage, case: &Case) {
    if case.written {
        stage.put_bytes(case.id, &written_fixture(case.id));
    } else {
        stage.put(case.id);
    }
}

fn configured(cases: &[Case]) -> BTreeMap<AddonId, AddonConfig> {
    cases.iter().map(|case| (id(case.id), case.config.clone())).collect()
}

/// Compares how late the rounds of reports were without and with the guests.
fn judge_lateness(group: &str, before: &[u64], with: &[u64]) {
    let ms = |values: &[u64], share| quantile(values, share) as f64 / 1_000.0;
    let (median, tail, usual) = (ms(with, 0.5), ms(with, 0.99), ms(before, 0.99));
    println!(
        "lateness of reports beside {group}: median {median:.1} ms, p99 {tail:.1} ms of {} rounds; alone: median {:.1} ms, p99 {usual:.1} ms",
        with.len(),
        ms(before, 0.5)
    );
    if is_strict() {
        assert!(tail <= usual + 10.0, "reports are {tail:.1} ms late, without the guests {usual:.1} ms");
    } else {
        // Guests take two threads of the machine's; what else runs there, nobody knows.
        assert!(
            median <= 50.0 + 5.0 * usual,
            "reports are {median:.1} ms late, without the guests {usual:.1} ms"
        );
    }
}

#[test]
fn every_guest_is_expected_somewhere_and_there() {
    let mut named: Vec<(String, bool)> =
        GROUPS.iter().flat_map(|cases| cases()).map(|case| (case.id.to_owned(), case.written)).collect();
    named.push((COMPANION.to_owned(), false));
    named.extend(super::leases::GUESTS.map(|name| (name.to_owned(), false)));
    let all: BTreeSet<(String, bool)> = named.iter().cloned().collect();
    assert_eq!(all.len(), named.len(), "a guest is named twice");
    let names = |folder: &str, written: bool| {
        let entries = fs::read_dir(stage::sources().join(folder)).unwrap();
        let name = |entry: fs::DirEntry| entry.path().file_stem().unwrap().to_str().unwrap().to_owned();
        entries.map(move |entry| (name(entry.unwrap()), written)).collect::<BTreeSet<_>>()
    };
    let there: BTreeSet<(String, bool)> =
        names("guests", false).into_iter().chain(names("wat", true)).collect();
    assert_eq!(all, there, "guests without an expectation, and expectations without a guest");
    assert!(there.len() >= 45, "only {} guests are left", there.len());
    for (name, written) in &there {
        if !written {
            let manifest = fs::read_to_string(built_fixture(name).join("addon.toml")).unwrap();
            assert!(manifest.starts_with(&format!("id = \"{name}\"\n")), "{name}");
        }
    }
}

#[test]
fn a_wasteful_guest_is_replaced_at_its_own_pace() {
    let stage = Stage::new(BTreeMap::new());
    stage.put("memory-hog");
    let at = |recycles: u64| {
        stage.until("memory-hog", "replaced", |view| view.metered.recycles >= recycles);
        clock::mono()
    };
    let first = at(1);
    let later = at(5);
    let view = stage.host.view("memory-hog").unwrap();
    let seconds = later.since(first).as_secs_f64();
    assert!(
        seconds >= 2.0,
        "it was replaced {} times in {seconds:.3} s: it is called each second",
        view.metered.recycles
    );
    assert_eq!((view.metered.crashes, view.state.name()), (0, "running"), "{:?}", view.problem);
}

#[test]
fn a_guest_in_quarantine_costs_nothing_and_a_reload_tries_it_again() {
    let stage = Stage::new(BTreeMap::new());
    stage.put("panics");
    let view = stage.until("panics", "in quarantine", |view| view.state.name() == "quarantined");
    assert_eq!(view.metered.crashes, 5);
    let wait = view.retry_at.unwrap().unix_ms() - clock::now().wall.unix_ms();
    assert!((500_000..=600_000).contains(&wait), "tried again in {wait} ms");
    let calls = view.metered.calls;
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(stage.host.reload("panics")).unwrap();
    let view = stage.until("panics", "tried again", |view| view.metered.crashes == 6);
    assert!(view.metered.calls > calls);
    // A reload forgets what was before.
    assert_eq!(view.state.name(), "backing_off");
}

/// Bytes of memory that this process has (`statm` of proc(5)).
fn resident_bytes() -> u64 {
    let text = fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = text.split_whitespace().nth(1).unwrap().parse().unwrap();
    pages * rustix::param::page_size() as u64
}

fn count(folder: &str) -> usize {
    fs::read_dir(folder).unwrap().count()
}

#[test]
fn what_guests_took_comes_back_when_they_go() {
    let _alone = MEMORY.write().unwrap_or_else(PoisonError::into_inner);
    let cases: Vec<Case> = GROUPS.iter().flat_map(|cases| cases()).collect();
    let stage = Stage::new(configured(&cases));
    stage.bring_companion();
    let since = clock::mono();
    let round = || {
        for case in &cases {
            put(&stage, case);
        }
        eventually_within(PATIENCE, "every guest has been tried", || {
            cases.iter().all(|case| has_been_tried(&stage, case)).then_some(())
        });
        for case in &cases {
            stage.take_away(case.id);
        }
        eventually_within(PATIENCE, "only the companion is left", || {
            (stage.host.list().len() == 1).then_some(())
        });
        // Threads for blocking work end by themselves after a while; they are not what this looks for.
        (resident_bytes(), count("/proc/self/fd"))
    };
    // The first time, pools and tables take what they keep.
    let (first, files) = round();
    let (second, files_again) = round();
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    println!(
        "resident memory after all guests: {:.1} MiB, and after all again: {:.1} MiB",
        mib(first),
        mib(second)
    );
    assert!(
        mib(second) <= mib(first) * 1.05 + 6.0,
        "{:.1} MiB, and after all guests again {:.1} MiB",
        mib(first),
        mib(second)
    );
    assert!(files_again <= files, "{files} open files, and then {files_again}");
    stage.assert_companion_is_well(since);
}

#[test]
fn what_each_guest_took_comes_back_when_it_goes() {
    if !is_strict() {
        println!("SKIPPED: cargo xtask soak runs it");
        return;
    }
    let _alone = MEMORY.write().unwrap_or_else(PoisonError::into_inner);
    let cases: Vec<Case> = GROUPS.iter().flat_map(|cases| cases()).collect();
    let stage = Stage::new(configured(&cases));
    stage.bring_companion();
    let perform = |case: &Case| {
        put(&stage, case);
        eventually_within(PATIENCE, case.id, || has_been_tried(&stage, case).then_some(()));
        stage.take_away(case.id);
        eventually_within(PATIENCE, "only the companion is left", || {
            (stage.host.list().len() == 1).then_some(())
        });
        resident_bytes() as f64 / f64::from(1 << 20)
    };
    let mut wrong = Vec::new();
    for case in &cases {
        // The first time, pools and tables take what they keep.
        let (first, second) = (perform(case), perform(case));
        println!("{}: {first:.1} MiB, and again {second:.1} MiB", case.id);
        if second > first * 1.05 + 1.0 {
            wrong.push(case.id);
        }
    }
    assert!(wrong.is_empty(), "these do not give back what they took: {wrong:?}");
}

fn has_been_tried(stage: &Stage, case: &Case) -> bool {
    let Ok(view) = stage.host.view(case.id) else { return false };
    match case.expect {
        Expect::Refused { .. } => view.state.name() == "refused",
        _ => view.metered.calls > 0,
    }
}
