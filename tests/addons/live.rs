//! A daemon with real addons in its folder: what they measure is in every answer a moment later, and what happens to them is told.

use super::stage::{built, built_fixture};
use crate::daemon::{Daemon, Launch, eventually};
use crate::peers;
use serde_json::Value;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;

/// Puts a built addon into a daemon's folder by the way that an operator would: a copy beside it, then a rename.
fn install(daemon: &Daemon, from: &Path, id: &str) {
    install_into(&daemon.folder().join("data/addons"), from, id);
}

/// The same into any folder.
pub(super) fn install_into(folder: &Path, from: &Path, id: &str) {
    fs::create_dir_all(folder).unwrap();
    let part = folder.join(format!(".{id}.part"));
    fs::create_dir_all(&part).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let file = entry.unwrap().path();
        fs::copy(&file, part.join(file.file_name().unwrap())).unwrap();
    }
    fs::rename(&part, folder.join(id)).unwrap();
}

fn running(daemon: &Daemon, id: &str) -> Value {
    eventually("the addon runs", || {
        let list = daemon.json("/api/addons");
        let addon =
            list["addons"].as_array()?.iter().find(|addon| addon["name"] == id || addon["id"] == id)?.clone();
        (addon["state"] == "running").then_some(addon)
    })
}

#[test]
fn an_addon_dropped_into_the_folder_is_in_every_answer() {
    let daemon = Daemon::start();
    fs::create_dir_all(daemon.folder().join("data/addons")).unwrap();
    install(&daemon, &built_fixture("companion"), "companion");
    running(&daemon, "companion");
    let own = eventually("its metrics are in the snapshot", || {
        let values = daemon.current()["addons"]["companion"].clone();
        values.is_object().then_some(values)
    });
    assert!(own.as_object().unwrap().len() > 1, "{own}");
    let exposition = String::from_utf8(daemon.get("/metrics").body).unwrap();
    assert!(exposition.contains("\nlowtide_addon_companion_"), "{exposition}");
    assert!(
        exposition.contains("lowtide_addons_state{addon=\"companion\",state=\"running\"} 1"),
        "{exposition}"
    );
    // A share of time needs two ticks.
    eventually("its figures are there", || {
        let metrics = daemon.json("/api/addons/companion/metrics").to_string();
        let names = ["addons_cpu_usage_ratio", "addons_memory_bytes", "addons_uptime_seconds"];
        names.iter().all(|name| metrics.contains(name)).then_some(())
    });
    let history = daemon.json("/api/system-stats/history?group=addon.companion&range=5m");
    assert!(!history["series"].as_array().unwrap().is_empty(), "{history}");
    fs::remove_dir_all(daemon.folder().join("data/addons/companion")).unwrap();
    eventually("it is gone", || (daemon.get("/api/addons/companion").status == 404).then_some(()));
}

#[test]
fn the_exposition_with_addons_is_clean_to_promtool() {
    let Some(promtool) = peers::peer("promtool") else { return };
    let daemon = Daemon::start();
    fs::create_dir_all(daemon.folder().join("data/addons")).unwrap();
    for id in ["companion", "control-characters", "thousand-series", "bad-histograms"] {
        install(&daemon, &built_fixture(id), id);
    }
    running(&daemon, "companion");
    eventually("its metrics are there", || {
        let text = String::from_utf8(daemon.get("/metrics").body).unwrap();
        text.contains("\nlowtide_addon_companion_").then_some(())
    });
    let text = daemon.get("/metrics").body;
    let mut child = Command::new(promtool)
        .args(["check", "metrics"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(&text).unwrap();
    let output = child.wait_with_output().unwrap();
    // 3 means that it finds names unfortunate, which are the fixtures' own; 1 that it cannot read the text.
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(matches!(output.status.code(), Some(0 | 3)), "{}: {said}", output.status);
}

/// A media server that answers every question for its sessions with two that play.
fn media_server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let session = r#"{"Client":"Web","DeviceName":"tv","NowPlayingItem":{"Name":"x"},"PlayState":{"IsPaused":false}}"#;
        let body = format!("[{session},{session}]");
        for stream in listener.incoming().flatten() {
            let mut reader = BufReader::new(&stream);
            let mut line = String::new();
            while reader.read_line(&mut line).is_ok_and(|read| read > 2) {
                line.clear();
            }
            let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n";
            let _ = write!(&stream, "{head}content-length: {}\r\n\r\n{body}", body.len());
        }
    });
    address
}

#[test]
fn streams_of_a_media_server_keep_the_host_from_being_quiet() {
    let server = media_server();
    let from = built().join("examples/media-sessions");
    let manifest = fs::read_to_string(from.join("addon.toml")).unwrap();
    let grants = format!(
        "[addon.media-sessions.settings]\nkind = \"jellyfin\"\nurl = \"http://{server}\"\ntoken = \"secret\"\n\n[addon.media-sessions.grants]\nkv = true\nhttp = [\"GET http://{server}\"]\n"
    );
    let daemon = Launch::with(grants).start();
    let folder = daemon.folder().join("data/addons/media-sessions");
    fs::create_dir_all(&folder).unwrap();
    // The manifest names the server's usual place; an operator whose server is elsewhere edits that line.
    let asks: String = manifest
        .lines()
        .map(|line| {
            if line.starts_with("http") {
                format!("http = [\"GET http://{server}\"]\n")
            } else {
                format!("{line}\n")
            }
        })
        .collect();
    fs::write(folder.join("addon.toml"), asks).unwrap();
    fs::copy(from.join("media-sessions.wasm"), folder.join("media-sessions.wasm")).unwrap();
    running(&daemon, "media-sessions");
    let reason = eventually("the verdict names the streams", || {
        let verdict = daemon.quiet();
        let reasons = verdict["reasons"].as_array()?.clone();
        reasons.into_iter().find(|reason| reason.to_string().contains("2 streams"))
    });
    assert!(reason.to_string().contains("media-sessions"), "{reason}");
}

#[test]
fn an_addon_sees_the_verdict_that_everybody_sees() {
    let own = "[addon.tide-table]\ninterval_seconds = 1\n\n[addon.tide-table.grants]\nkv = true\n";
    let daemon = Launch::with(own).start();
    fs::create_dir_all(daemon.folder().join("data/addons")).unwrap();
    install(&daemon, &built().join("examples/tide-table"), "tide-table");
    running(&daemon, "tide-table");
    eventually("it has counted time in the state that the daemon says", || {
        let state = daemon.quiet()["state"].as_str()?.to_lowercase();
        let text = String::from_utf8(daemon.get("/metrics").body).ok()?;
        let series = format!("lowtide_addon_tide_table_state_seconds_total{{state=\"{state}\"}} ");
        let seconds: f64 = text.lines().find_map(|line| line.strip_prefix(&series))?.parse().ok()?;
        (seconds > 0.0).then_some(())
    });
}
