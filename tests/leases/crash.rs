//! kill -9 at any moment, again and again: what a client saw as granted holds, and nothing is given out twice.

use super::{calm, send};
use crate::daemon::{Daemon, Launch, eventually};
use crate::http;
use crate::random::Random;
use lowtide_clock as clock;
use rustix::process::Signal;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// In CI; `LOWTIDE_KILL_CYCLES` says otherwise.
const CYCLES: u64 = 100;

/// Operations a second, over all clients.
const RATE: u32 = 200;

const CLIENTS: u32 = 4;

const CAPACITY: u64 = 200;

/// What the clients were told, and so must hold.
#[derive(Default)]
struct Told {
    /// Leases that were granted and not given back, with their tokens.
    held: BTreeMap<String, u64>,
    /// Requests that wait.
    queued: BTreeMap<String, ()>,
    /// Leases whose release was sent and perhaps not answered.
    leaving: BTreeMap<String, ()>,
    newest_token: u64,
    grants: u64,
}

/// Asks, holds and releases at the client's share of the rate until the daemon is gone.
fn client(address: SocketAddr, number: u32, seed: u64, told: &Mutex<Told>, end: &AtomicBool) {
    let mut random = Random::new(seed);
    let Ok(mut connection) = http::Connection::open(address) else { return };
    let pace = Duration::from_secs(1) * CLIENTS / RATE;
    let mut due = clock::mono();
    while !end.load(Ordering::Relaxed) {
        due = due.plus(pace);
        let holder = format!("client-{number}");
        let release = random.below(100) < 45;
        let mine = |told: &Told| told.held.keys().find(|id| id.starts_with(&format!("{number}:"))).cloned();
        let own = if release { mine(&told.lock().unwrap()) } else { None };
        let json = [("content-type", "application/json")];
        let answer = match &own {
            Some(own) => {
                let id = own.split_once(':').unwrap().1.to_owned();
                let mut told = told.lock().unwrap();
                told.held.remove(own);
                told.leaving.insert(id.clone(), ());
                drop(told);
                connection.request("POST", &format!("/api/scheduler/lease/{id}/release"), &[], b"")
            }
            None => {
                let body = json!({ "addon_id": holder, "job_type": "test", "cost_units": 1 + random.below(10),
                    "wait": random.below(4) == 0 });
                let body = body.to_string();
                connection.request("POST", "/api/scheduler/lease/request", &json, body.as_bytes())
            }
        };
        let Ok(answer) = answer else { return };
        let document = answer.json();
        let mut told = told.lock().unwrap();
        match document["decision"].as_str() {
            Some("granted") => {
                let token = document["fencing_token"].as_u64().unwrap();
                assert!(token > 0);
                told.newest_token = told.newest_token.max(token);
                told.grants += 1;
                told.held.insert(format!("{number}:{}", document["lease_id"].as_str().unwrap()), token);
            }
            Some("queued") => {
                told.queued.insert(document["lease_id"].as_str().unwrap().to_owned(), ());
            }
            _ => assert!(answer.status < 500, "{}", answer.text()),
        }
        drop(told);
        std::thread::park_timeout(due.since(clock::mono()));
    }
}

/// Starts a daemon; with how long it took to be ready.
fn begin(data: &Path) -> (Daemon, Duration) {
    let leases = format!(
        "capacity_units = {CAPACITY}\nleases_max = 1000\nleases_per_holder_max = 1000\nqueue_per_holder_max = 1000\nttl_seconds = 600\n"
    );
    let started = clock::mono();
    let daemon = Launch::with(calm(&leases)).data(data).start();
    let took = clock::mono().since(started);
    (daemon, took)
}

/// All that the daemon says is held.
fn held(daemon: &Daemon) -> BTreeMap<String, (u64, u64)> {
    let status = daemon.json("/api/scheduler/status?limit=1000");
    let leases = status["active"].as_array().unwrap();
    assert_eq!(status["active_count"].as_u64(), Some(leases.len() as u64), "all fit into one answer");
    let one = |lease: &Value| {
        let id = lease["lease_id"].as_str().unwrap().to_owned();
        (id, (lease["held_units"].as_u64().unwrap(), lease["fencing_token"].as_u64().unwrap()))
    };
    leases.iter().map(one).collect()
}

#[test]
fn killed_at_any_moment_no_grant_is_lost_and_none_is_made_twice() {
    let cycles = std::env::var("LOWTIDE_KILL_CYCLES").map_or(CYCLES, |text| text.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let told = Arc::new(Mutex::new(Told::default()));
    let mut random = Random::new(4_711);
    let mut starts = Vec::new();
    let mut last_event = 0;
    for cycle in 0..cycles {
        let (mut daemon, took) = begin(&data);
        starts.push(took);
        if cycle == 0 {
            // From then on nothing has to wait for QUIET; this too must survive.
            let switch = json!({ "mode": "allow", "owner": "test", "reason": "no time to wait" });
            assert_eq!(send(daemon.address, "PUT", "override", &switch).status, 200);
        }
        check(&daemon, &told, cycle, &mut last_event);
        let end = Arc::new(AtomicBool::new(false));
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| {
                let (told, end, address) = (Arc::clone(&told), Arc::clone(&end), daemon.address);
                let seed = cycle * 100 + u64::from(number);
                std::thread::spawn(move || client(address, number, seed, &told, &end))
            })
            .collect();
        std::thread::park_timeout(Duration::from_millis(random.below(500)));
        daemon.signal(Signal::KILL);
        daemon.wait_for_end();
        end.store(true, Ordering::Relaxed);
        clients.into_iter().for_each(|client| client.join().unwrap());
        let file = rusqlite::Connection::open(data.join("leases.db")).unwrap();
        let sound: String = file.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
        assert_eq!(sound, "ok", "cycle {cycle}");
    }
    let told = told.lock().unwrap();
    starts.sort_unstable();
    let (median, slowest) = (starts[starts.len() / 2], starts[starts.len() - 1]);
    println!("{cycles} cycles, {} grants, ready again after {median:?}, at most {slowest:?}", told.grants);
    assert!(told.grants >= cycles * 5, "only {} grants: the clients did not get to work", told.grants);
}

/// What the clients were told before the crash holds after it.
fn check(daemon: &Daemon, told: &Mutex<Told>, cycle: u64, last_event: &mut u64) {
    let now = held(daemon);
    let mut told = told.lock().unwrap();
    for (id, token) in &told.held {
        let id = id.split_once(':').unwrap().1;
        let found =
            now.get(id).unwrap_or_else(|| panic!("cycle {cycle}: lease {id} was acknowledged and is lost"));
        assert_eq!(found.1, *token, "cycle {cycle}: lease {id} has another token");
    }
    for id in told.queued.keys() {
        let answer = daemon.get(&format!("/api/scheduler/lease/{id}"));
        assert_eq!(answer.status, 200, "cycle {cycle}: {id} was queued and is lost: {}", answer.text());
    }
    let units: u64 = now.values().map(|(units, _)| units).sum();
    assert!(units <= CAPACITY, "cycle {cycle}: {units} units of {CAPACITY} are held");
    let tokens: std::collections::BTreeSet<u64> = now.values().map(|(_, token)| *token).collect();
    assert_eq!(tokens.len(), now.len(), "cycle {cycle}: a token was given out twice");
    let status = daemon.json("/api/scheduler/status");
    let events = status["last_event"].as_u64().unwrap();
    assert!(events > *last_event, "cycle {cycle}: the log went back");
    *last_event = events;
    // Room for the next cycle: what nobody knows any more, and what waits, goes. Its tokens must lie below those to come.
    let newest = told.newest_token;
    for id in now.keys().chain(told.queued.keys()) {
        let _ = send(daemon.address, "POST", &format!("lease/{id}/release"), &json!({}));
    }
    let fresh = eventually("the first tick is known", || {
        let answer = send(daemon.address, "POST", "lease/request", &super::request("probe", 1)).json();
        (answer["approved"] == true).then_some(answer)
    });
    assert!(fresh["fencing_token"].as_u64().unwrap() > newest, "cycle {cycle}: {fresh} after token {newest}");
    let id = fresh["lease_id"].as_str().unwrap();
    let _ = send(daemon.address, "POST", &format!("lease/{id}/release"), &json!({}));
    told.newest_token = fresh["fencing_token"].as_u64().unwrap();
    (told.held, told.queued, told.leaving) = Default::default();
}
