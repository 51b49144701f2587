//! `leases`: what a durable grant over HTTP costs, beside the stores that others use for leases; heartbeats; and the same with a hundred
//! thousand leases held and as many requests waiting. All clients run on one thread of this program, on the cores that the servers use.

mod clients;
mod peers;

use super::Options;
use super::measure::pause;
use super::report::{Goal, Report, Row};
use super::server::Server;
use anyhow::{Context as _, Result, ensure};
use clients::{Clients, Tally, http};
use lowtide_clock as clock;
use std::time::Duration;

const ROUND: Duration = Duration::from_secs(5);

/// Clients that ask at once.
const CLIENTS: [usize; 3] = [1, 16, 64];

const GRANT_P99_GOAL_MS: f64 = 25.0;
const GRANTS_BESIDE_ETCD_GOAL: f64 = 10.0;
const HEARTBEATS_GOAL: f64 = 5_000.0;

/// Held, and waiting, in the large case.
const MANY: usize = 100_000;
const TICK_GOAL_MS: f64 = 50.0;
const MEMORY_GOAL_MB: f64 = 300.0;
const RESTART_GOAL_S: f64 = 5.0;

/// A host that is QUIET whatever the load generator does, with room for all that is asked.
fn config() -> String {
    let mut text = "[quiet]\ndwell_seconds = 0\nbusy_hold_seconds = 0\nmean_window_seconds = 1\n".to_owned();
    for def in &lowtide_core::quiet::SIGNALS {
        let name = def.name;
        text.push_str(&format!(
            "[quiet.signals.{name}]\nquiet = \"none\"\nleave = \"none\"\nbusy = \"none\"\npanic = \"none\"\n"
        ));
    }
    text.push_str(
        "[leases]\nheadroom_ratio = 1.0\ncapacity_units = 10000000\nleases_max = 1000000\nleases_per_holder_max = 1000000\n\
         queue_max = 1000000\nqueue_per_holder_max = 1000000\nttl_seconds = 3600\nrequests_per_second = 1000000\nrequests_burst = 1000000\n",
    );
    text
}

fn quiet_daemon(config: &str) -> Result<Server> {
    let daemon = Server::daemon_on_disk(config)?;
    wait_for_quiet(&daemon)?;
    Ok(daemon)
}

fn wait_for_quiet(daemon: &Server) -> Result<()> {
    for _ in 0..200 {
        let answer = daemon.get("/api/system-stats/quiet", "")?;
        if String::from_utf8_lossy(&answer.body).contains("\"state\":\"QUIET\"") {
            return Ok(());
        }
        pause(Duration::from_millis(100));
    }
    anyhow::bail!("the daemon does not become QUIET")
}

/// A request for one unit.
pub(crate) fn request(holder: usize, units: u32, more: &str) -> Vec<u8> {
    let body = format!(
        "{{\"addon_id\":\"client-{holder}\",\"job_type\":\"bench\",\"cost_units\":{units},\"expected_duration_sec\":3600{more}}}"
    );
    http("POST", "/api/scheduler/lease/request", &body)
}

pub(crate) fn run(report: &mut Report, options: Options) -> Result<()> {
    grants(report, options)?;
    heartbeats(report)?;
    many(report)
}

/// Grants alone: nothing is given back, every one is on disk before it is answered.
fn grants(report: &mut Report, options: Options) -> Result<()> {
    let daemon = quiet_daemon(&config())?;
    let peers = if options.peers { peers::start(report) } else { peers::Peers::default() };
    for clients in CLIENTS {
        let mut ours = Clients::connect(daemon.address(), clients)?;
        let before = daemon.cpu()?;
        let done = ours.run(ROUND, |client, _| request(client, 1, ""))?;
        let cpu = daemon.cpu()?.saturating_sub(before);
        ensure!(done.refused == 0, "{} grants were refused", done.refused);
        let mut row = Row::new(format!("grants, {clients} clients"), done.rate(), "/s");
        if let Some(etcd) = &peers.etcd {
            let theirs = etcd.grants(clients, ROUND)?;
            row = row.beside("etcd grant + put", theirs.rate(), done.rate() / theirs.rate());
            if clients == 64 {
                row = row.goal(Goal::RatioAtLeast(GRANTS_BESIDE_ETCD_GOAL));
            }
            row = row.note(format!("etcd p99 {:.1} ms", theirs.percentile_ms(0.99)));
        }
        if let Some(redis) = &peers.redis {
            let theirs = redis.sets(clients, ROUND)?;
            row = row.note(format!("redis {:.0}/s, p99 {:.1} ms", theirs.rate(), theirs.percentile_ms(0.99)));
        }
        let per_grant = super::measure::micros(cpu) / done.count();
        report.row(row.note(format!("{per_grant:.0} us of the daemon a grant")));
        let latency = Row::new(format!("grants, {clients} clients: p99"), done.percentile_ms(0.99), "ms")
            .note(format!("median {:.2} ms", done.percentile_ms(0.5)));
        let goal = Goal::FigureAtMost(GRANT_P99_GOAL_MS);
        report.row(if clients == 64 { latency.goal(goal) } else { latency });
    }
    Ok(())
}

fn heartbeats(report: &mut Report) -> Result<()> {
    const HOLDERS: usize = 64;
    let daemon = quiet_daemon(&config())?;
    let mut clients = Clients::connect(daemon.address(), HOLDERS)?;
    let ids = clients.once(|client| request(client, 1, ""))?;
    let ids: Vec<String> = ids.iter().map(|body| lease_id(body)).collect::<Result<_>>()?;
    let paths: Vec<Vec<u8>> =
        ids.iter().map(|id| http("POST", &format!("/api/scheduler/lease/{id}/heartbeat"), "")).collect();
    let before = daemon.cpu()?;
    let done = clients.run(ROUND, |client, _| paths.get(client).cloned().unwrap_or_default())?;
    let cpu = daemon.cpu()?.saturating_sub(before);
    let per_core = done.count() / cpu.as_secs_f64();
    let sent = format!("{:.0}/s were sent, p99 {:.1} ms", done.rate(), done.percentile_ms(0.99));
    let goal = Goal::FigureAtLeast(HEARTBEATS_GOAL);
    report.row(Row::new("heartbeats a second of one core", per_core, "/s").note(sent).goal(goal));
    Ok(())
}

fn lease_id(body: &[u8]) -> Result<String> {
    let document: serde_json::Value = serde_json::from_slice(body)?;
    let id = document.get("lease_id").and_then(|id| id.as_str());
    Ok(id.with_context(|| format!("no lease in {document}"))?.to_owned())
}

/// A hundred thousand held, as many waiting for more room than there is, each of a thousand holders in turn.
fn many(report: &mut Report) -> Result<()> {
    const HOLDERS: usize = 1_000;
    // What is free is too little for who waits, so that each look at the queue finds only requests for which there is no room.
    let capacity = format!("capacity_units = {}\n", MANY + 90);
    let config = config().replace("capacity_units = 10000000\n", &capacity);
    let daemon = quiet_daemon(&config)?;
    let mut clients = Clients::connect(daemon.address(), 64)?;
    clients.exactly(MANY, |_, number| request(number % HOLDERS, 1, ""))?;
    clients.exactly(MANY, |_, number| request(number % HOLDERS, 100, ",\"wait\":true"))?;
    let status = daemon.get("/api/scheduler/status?limit=1", "")?;
    let status: serde_json::Value = serde_json::from_slice(&status.body)?;
    ensure!(count(&status, "active_count") == Some(MANY), "not filled: {status}");
    ensure!(count(&status, "queued_count") == Some(MANY), "not filled: {status}");
    let done = churn(&daemon)?;
    let memory = daemon.memory()?.resident / 1e6;
    report.row(
        Row::new("200 000: grant and release, 16 clients: p99 of a grant", done.percentile_ms(0.99), "ms")
            .note(format!("{:.0} grants/s", done.rate()))
            .goal(Goal::FigureAtMost(GRANT_P99_GOAL_MS)),
    );
    report.row(
        Row::new("200 000: worst tick", worst_tick_ms(&daemon)?, "ms").goal(Goal::FigureAtMost(TICK_GOAL_MS)),
    );
    report.row(Row::new("200 000: memory", memory, "MB").goal(Goal::FigureAtMost(MEMORY_GOAL_MB)));
    drop(clients);
    let begun = clock::mono();
    let daemon = daemon.crashed(&config)?;
    let took = clock::mono().since(begun).as_secs_f64();
    let status = daemon.get("/api/scheduler/status?limit=1", "")?;
    let status: serde_json::Value = serde_json::from_slice(&status.body)?;
    ensure!(count(&status, "queued_count") == Some(MANY), "not restored: {status}");
    report.row(
        Row::new("200 000: ready again after a crash", took, "s").goal(Goal::FigureAtMost(RESTART_GOAL_S)),
    );
    Ok(())
}

fn count(document: &serde_json::Value, name: &str) -> Option<usize> {
    document.get(name)?.as_u64().and_then(|count| usize::try_from(count).ok())
}

/// Asks and gives back; only asking is timed.
fn churn(daemon: &Server) -> Result<Tally> {
    let mut clients = Clients::connect(daemon.address(), 16)?;
    let end = clock::mono().plus(ROUND * 2);
    let mut all = Tally::default();
    while clock::mono() < end {
        let (bodies, tally) = clients.once_timed(|client| request(5_000 + client, 1, ""))?;
        all.add(tally);
        let ids: Vec<String> = bodies.iter().map(|body| lease_id(body)).collect::<Result<_>>()?;
        clients.once(|client| {
            let id = ids.get(client).map_or("", String::as_str);
            http("POST", &format!("/api/scheduler/lease/{id}/release"), "")
        })?;
    }
    Ok(all)
}

fn worst_tick_ms(daemon: &Server) -> Result<f64> {
    let answer = daemon.get("/api/system-stats/aggregates?metric=tick_duration_seconds&range=1m", "")?;
    let document: serde_json::Value = serde_json::from_slice(&answer.body)?;
    let worst = document.pointer("/series/0/max").and_then(serde_json::Value::as_f64);
    Ok(worst.with_context(|| format!("no ticks in {document}"))? * 1_000.0)
}
