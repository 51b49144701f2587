//! Who may ask the daemon for what, over the wire: tokens and their scopes on every route, leases of one's own, the unix socket, TLS.
//! How the edge bears up under slow and many clients is in `access/edge.rs`.

mod edge;
mod schemathesis;
mod unit;

use crate::cli::run_in;
use crate::daemon::{Daemon, Guard, Launch, PATIENCE, command, eventually, lines};
use crate::http::{self, Answer};
use crate::schema;
use serde_json::{Value, json};
use std::fs;
use std::io::BufReader;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Stdio;
use tempfile::TempDir;

/// What each path takes, told once more and by hand: who changes the daemon's own table has to change this one. `-`: no token.
const NEEDS: [(&str, &str, &str); 42] = [
    ("GET", "/livez", "-"),
    ("GET", "/readyz", "-"),
    ("GET", "/api/system-stats/current", "read"),
    ("GET", "/api/system-stats/history", "read"),
    ("GET", "/api/system-stats/aggregates", "read"),
    ("GET", "/api/system-stats/health", "read"),
    ("GET", "/api/system-stats/quiet", "read"),
    ("GET", "/api/system-stats/quiet/streaks", "read"),
    ("GET", "/api/system-stats/quiet/intervals", "read"),
    ("GET", "/api/system-stats/history/events", "read"),
    ("GET", "/api/system-stats/debug/collectors", "read"),
    ("GET", "/api/system-stats/addons", "read"),
    ("GET", "/api/addons", "read"),
    ("GET", "/api/addons/{id}", "read"),
    ("GET", "/api/addons/{id}/stats", "read"),
    ("GET", "/api/addons/{id}/metrics", "read"),
    ("GET", "/api/addons/{id}/logs", "addons"),
    ("POST", "/api/addons/{id}/enable", "addons"),
    ("POST", "/api/addons/{id}/disable", "addons"),
    ("POST", "/api/addons/{id}/reload", "addons"),
    ("POST", "/api/addons/{id}/jobs/{name}/run", "addons"),
    ("POST", "/api/scheduler/lease/request", "lease"),
    ("GET", "/api/scheduler/lease/{id}", "lease"),
    ("POST", "/api/scheduler/lease/{id}/heartbeat", "lease"),
    ("POST", "/api/scheduler/lease/{id}/report", "lease"),
    ("POST", "/api/scheduler/lease/{id}/release", "lease"),
    ("POST", "/api/scheduler/lease/{id}/revoke", "admin"),
    ("GET", "/api/scheduler/status", "read"),
    ("GET", "/api/scheduler/queue", "read"),
    ("GET", "/api/scheduler/holders", "read"),
    ("GET", "/api/scheduler/events", "read"),
    ("GET", "/api/scheduler/override", "read"),
    ("PUT", "/api/scheduler/override", "admin"),
    ("DELETE", "/api/scheduler/override", "admin"),
    ("GET", "/api/scheduler/windows", "read"),
    ("PUT", "/api/scheduler/windows", "admin"),
    ("GET", "/api/events", "read"),
    ("GET", "/metrics", "read"),
    ("GET", "/openapi.json", "read"),
    ("GET", "/docs", "read"),
    // What does not exist is told to those only who may ask for anything.
    ("GET", "/no/such/path", "any"),
    ("POST", "/api/system-stats/current", "admin"),
];

const SCOPES: [&str; 5] = ["read", "lease", "ingest", "addons", "admin"];

/// A data folder with tokens in it, made by the program itself.
struct Tokens {
    home: TempDir,
}

impl Tokens {
    fn new() -> Self {
        Self { home: tempfile::tempdir().unwrap() }
    }

    fn data(&self) -> std::path::PathBuf {
        self.home.path().join("data")
    }

    fn token(&self, arguments: &[&str]) -> crate::cli::Ended {
        let data = self.data().display().to_string();
        let all = [&["token"], arguments, &["--data-dir", &data]].concat();
        run_in(self.home.path(), &[], &all)
    }

    /// Makes a token and gives its text.
    fn create(&self, name: &str, scopes: &str, more: &[&str]) -> String {
        let made = self.token(&[&["create", name, "--scope", scopes], more].concat());
        assert_eq!(made.code, 0, "{}", made.err);
        made.out.trim().to_owned()
    }

    fn start(&self) -> Daemon {
        Launch::new().data(&self.data()).start()
    }
}

fn ask(daemon: &Daemon, method: &str, path: &str, token: &str, body: &Value) -> Answer {
    let authorization = format!("Bearer {token}");
    let mut headers = vec![("content-type", "application/json")];
    if !token.is_empty() {
        headers.push(("authorization", &authorization));
    }
    let body = if body.is_null() { String::new() } else { body.to_string() };
    http::request(daemon.address, method, path, &headers, body.as_bytes())
}

fn code(answer: &Answer) -> String {
    if answer.status < 400 { String::new() } else { answer.problem()["code"].as_str().unwrap().to_owned() }
}

#[test]
fn every_route_takes_its_scope_and_no_other() {
    let tokens = Tokens::new();
    let mut callers: Vec<(&str, String)> = SCOPES
        .iter()
        .map(|scope| (*scope, tokens.create(scope, scope, &["--requests-per-second", "1000"])))
        .collect();
    let expired = tokens.create("expired", "admin", &["--expires", "1s"]);
    callers.push(("none", String::new()));
    callers.push(("unknown", format!("lowtide_01234567_{}", "ab".repeat(32))));
    callers.push(("garbled", "lowtide".to_owned()));
    callers.push(("expired", expired));
    let daemon = tokens.start();
    eventually("the token has expired", || {
        let answer = ask(&daemon, "GET", "/metrics", &callers.last().unwrap().1, &Value::Null);
        (code(&answer) == "token_expired").then_some(())
    });
    let openapi = schema::openapi();
    let described: Vec<(String, String)> = openapi["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, methods)| {
            let methods = methods.as_object().unwrap().keys();
            methods.map(move |method| (method.to_uppercase(), path.clone()))
        })
        .collect();
    for (method, path) in &described {
        assert!(
            NEEDS.iter().any(|(known, at, _)| known == method && at == path),
            "{method} {path} is not in the table"
        );
    }
    let mut cells = 0;
    for (method, path, need) in NEEDS {
        // What is let in is refused for another reason, so that nothing happens: no such addon, no such lease, no such parameter.
        let target = path.replace("{id}", "nobody").replace("{name}", "nothing");
        let target = if need == "-" { target } else { format!("{target}?no_such_parameter=1") };
        for (caller, token) in &callers {
            let answer = ask(&daemon, method, &target, token, &Value::Null);
            let (status, code) = (answer.status, code(&answer));
            let what = format!("{method} {path} by {caller}: {status} {code}");
            match *caller {
                _ if need == "-" => assert_eq!(status, 200, "{what}"),
                "none" => assert_eq!((status, code.as_str()), (401, "token_needed"), "{what}"),
                "unknown" | "garbled" => {
                    assert_eq!((status, code.as_str()), (401, "token_unknown"), "{what}")
                }
                "expired" => assert_eq!((status, code.as_str()), (401, "token_expired"), "{what}"),
                scope if scope == need || scope == "admin" || need == "any" => {
                    assert!(!matches!(status, 401 | 403 | 429) && status < 500, "{what}");
                }
                scope => {
                    assert_eq!((status, code.as_str()), (403, "forbidden"), "{what}");
                    let detail = answer.problem()["detail"].as_str().unwrap().to_owned();
                    assert!(detail.contains(&format!("scope {need}")) && detail.contains(scope), "{detail}");
                }
            }
            if status == 401 {
                assert_eq!(answer.header("www-authenticate"), Some("Bearer realm=\"lowtide\""), "{what}");
            }
            cells += 1;
        }
    }
    assert_eq!(cells, NEEDS.len() * 9);
}

#[test]
fn a_token_is_made_listed_rotated_and_revoked() {
    let tokens = Tokens::new();
    let empty = tokens.token(&["list"]);
    assert!(empty.code == 0 && empty.out.contains("no tokens"), "{}", empty.out);
    let daemon = tokens.start();
    assert_eq!(
        ask(&daemon, "GET", "/metrics", "", &Value::Null).status,
        200,
        "without tokens anyone of this machine may"
    );

    let first = tokens.token(&["create", "grafana", "--scope", "read"]);
    assert_eq!(first.code, 0, "{}", first.err);
    assert!(first.err.contains("first token"), "{}", first.err);
    let first = first.out.trim().to_owned();
    eventually("the running daemon has closed", || {
        (ask(&daemon, "GET", "/metrics", "", &Value::Null).status == 401).then_some(())
    });
    assert_eq!(ask(&daemon, "GET", "/metrics", &first, &Value::Null).status, 200);
    let file = tokens.data().join("tokens.json");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let kept = fs::read_to_string(&file).unwrap();
    assert!(!kept.contains(first.rsplit('_').next().unwrap()), "the secret itself is nowhere");

    let again = tokens.token(&["create", "grafana", "--scope", "read"]);
    assert!(again.code == 64 && again.err.contains("rotate"), "{}", again.err);
    for wrong in [&["create", "Grafana", "--scope", "read"][..], &["revoke", "nobody"], &["rotate", "nobody"]]
    {
        assert_eq!(tokens.token(wrong).code, 64, "{wrong:?}");
    }
    let listed = tokens.token(&["list", "--json"]).json();
    assert_eq!(listed["tokens"][0]["name"], "grafana");
    assert_eq!(listed["tokens"][0]["scopes"], json!(["read"]));

    let out = tokens.home.path().join("new-token");
    let rotated = tokens.token(&["rotate", "grafana", "--overlap", "1h", "--out", out.to_str().unwrap()]);
    assert!(rotated.code == 0 && !rotated.out.contains("lowtide_"), "{}", rotated.out);
    assert_eq!(fs::metadata(&out).unwrap().permissions().mode() & 0o777, 0o600);
    let second = fs::read_to_string(&out).unwrap().trim().to_owned();
    eventually("both count", || {
        let both = [&first, &second].map(|token| ask(&daemon, "GET", "/metrics", token, &Value::Null).status);
        (both == [200, 200]).then_some(())
    });
    let id = first.split('_').nth(1).unwrap();
    assert_eq!(tokens.token(&["revoke", id]).code, 0);
    eventually("the old one counts no more", || {
        let both = [&first, &second].map(|token| ask(&daemon, "GET", "/metrics", token, &Value::Null).status);
        (both == [401, 200]).then_some(())
    });
    assert_eq!(tokens.token(&["revoke", "grafana"]).code, 0);
    eventually("none counts, and nothing is open again", || {
        let both = ["", &second].map(|token| ask(&daemon, "GET", "/metrics", token, &Value::Null).status);
        (both == [401, 401]).then_some(())
    });
    assert!(!daemon.log().contains(first.rsplit('_').next().unwrap()), "no secret in the log");
}

#[test]
fn the_command_line_shows_its_token_from_wherever_it_is_kept() {
    let tokens = Tokens::new();
    let token = tokens.create("me", "read,lease", &[]);
    let daemon = tokens.start();
    let url = daemon.url();
    let folder = tokens.home.path();
    let file = folder.join("lowtide-token");
    fs::write(&file, format!("{token}\n")).unwrap();
    let run = |env: &[(&str, &str)], more: &[&str]| {
        run_in(folder, env, &[&["status", "--url", &url], more].concat())
    };
    let none = run(&[], &[]);
    assert!(none.code == 77 && none.err.contains("token"), "{} {}", none.code, none.err);
    let name = file.to_str().unwrap();
    assert_eq!(run(&[], &["--token-file", name]).code, 0);
    assert_eq!(run(&[("LOWTIDE_TOKEN_FILE", name)], &[]).code, 0);
    assert_eq!(run(&[("LOWTIDE_TOKEN", &token)], &[]).code, 0);
    assert_eq!(run(&[("CREDENTIALS_DIRECTORY", folder.to_str().unwrap())], &[]).code, 0);
    fs::write(&file, "secret words").unwrap();
    let wrong = run(&[], &["--token-file", name]);
    assert!(wrong.code == 77 && !wrong.err.contains("secret words"), "{}", wrong.err);
    let lacks = run_in(
        folder,
        &[("LOWTIDE_TOKEN", &token)],
        &["lease", "override", "block", "--reason", "x", "--url", &url],
    );
    assert!(lacks.code == 77 && lacks.err.contains("scope admin"), "{} {}", lacks.code, lacks.err);
}

#[test]
fn a_lease_belongs_to_the_token_that_asked_for_it() {
    let tokens = Tokens::new();
    let [mine, other] = ["mine", "other"].map(|name| tokens.create(name, "lease", &["--units-max", "30"]));
    let admin = tokens.create("root", "admin", &[]);
    let daemon = tokens.start();
    let asked = json!({ "addon_id": "backup", "job_type": "full", "cost_units": 20, "wait": true, "idempotency_key": "k" });
    let request =
        |token: &str, asked: &Value| ask(&daemon, "POST", "/api/scheduler/lease/request", token, asked);
    let answer = request(&mine, &asked);
    assert!(matches!(answer.status, 200 | 202), "{}", answer.text());
    let id = answer.json()["lease_id"].as_str().unwrap().to_owned();
    // The same key of another token is another request, and tells nothing of this one.
    let foreign = request(&other, &asked).json();
    assert_ne!(foreign["lease_id"], id.as_str());
    assert_eq!(request(&mine, &asked).json()["lease_id"], id.as_str());

    let path = |what: &str| format!("/api/scheduler/lease/{id}{what}");
    let paths = [("GET", ""), ("POST", "/heartbeat"), ("POST", "/report"), ("POST", "/release")];
    for (method, what) in paths {
        let answer = ask(&daemon, method, &path(what), &other, &Value::Null);
        assert_eq!((answer.status, code(&answer).as_str()), (403, "not_your_lease"), "{method} {what}");
    }
    let wrong = ask(&daemon, "POST", &path("/release"), &mine, &json!({ "addon_id": "another" }));
    assert_eq!((wrong.status, code(&wrong).as_str()), (403, "not_your_lease"));
    assert_eq!(ask(&daemon, "GET", &path(""), &mine, &Value::Null).json()["addon_id"], "mine/backup");
    assert_eq!(ask(&daemon, "GET", &path(""), &admin, &Value::Null).status, 200);
    let released = ask(&daemon, "POST", &path("/release"), &mine, &json!({ "addon_id": "backup" }));
    assert_eq!(released.status, 200, "{}", released.text());
    // Sent once more it does nothing.
    let replayed = ask(&daemon, "POST", &path("/release"), &mine, &json!({ "addon_id": "backup" }));
    assert_eq!(replayed.status, 409, "{}", replayed.text());

    let large = json!({ "addon_id": "backup", "job_type": "full", "cost_units": 31 });
    let refused = request(&mine, &large);
    assert_eq!((refused.status, code(&refused).as_str()), (422, "too_many_units"));
    let [one, two] = ["one", "two"].map(|name| {
        let asked = json!({ "addon_id": name, "job_type": "full", "cost_units": 20, "priority": "HIGH" });
        eventually("the host is known", || {
            let answer = request(&mine, &asked).json();
            let unknown = answer["rule"] == "unknown";
            (!unknown).then_some(answer)
        })
    });
    assert!(one["approved"] == true && two["approved"] == false, "{one} {two}");
    assert!(two["reasons"][0]["text"].as_str().unwrap().contains("mine has 20 of the 30"), "{two}");
}

#[test]
fn a_token_that_asks_too_fast_is_told_to_wait_and_others_are_not() {
    let tokens = Tokens::new();
    let fast = tokens.create("fast", "read", &["--requests-per-second", "2"]);
    let other = tokens.create("other", "read", &[]);
    let daemon = tokens.start();
    let answers: Vec<Answer> =
        (0..20).map(|_| ask(&daemon, "GET", "/metrics", &fast, &Value::Null)).collect();
    let slowed = answers.iter().find(|answer| answer.status == 429).unwrap();
    assert_eq!(code(slowed), "rate_limited");
    assert!(slowed.header("retry-after").is_some());
    assert_eq!(ask(&daemon, "GET", "/metrics", &other, &Value::Null).status, 200);
}

#[test]
fn users_of_the_socket_need_no_token() {
    let tokens = Tokens::new();
    tokens.create("someone", "read", &[]);
    let folder = tokens.home.path();
    let socket = folder.join("lowtide.sock");
    let config = format!("[collectors]\ntick_seconds = 1\n[server]\nsocket = \"{}\"\n", socket.display());
    let daemon = Launch::with(config).data(&tokens.data()).start();
    let url = format!("unix:{}", socket.display());
    assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o660);
    let over_socket = run_in(folder, &[], &["status", "--json", "--url", &url]);
    assert_eq!(over_socket.code, 0, "{}", over_socket.err);
    assert_eq!(run_in(folder, &[], &["status", "--url", &daemon.url()]).code, 77);
    let block = ["lease", "override", "block", "--reason", "test", "--url", &url];
    assert_eq!(run_in(folder, &[], &block).code, 0, "its own user may do everything");
    let nobody = run_in(folder, &[], &["status", "--url", "unix:/no/such.sock"]);
    assert!(nobody.code == 69 && nobody.err.contains("/no/such.sock"), "{}", nobody.err);
}

/// A certificate for `localhost` that signs itself.
fn certificate(folder: &Path) -> [String; 2] {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let files = [("cert.pem", made.cert.pem()), ("key.pem", made.signing_key.serialize_pem())];
    files.map(|(name, text)| {
        let path = folder.join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    })
}

#[test]
fn other_machines_are_served_with_tls_and_tokens_only() {
    let tokens = Tokens::new();
    let folder = tokens.home.path();
    let [certificate, key] = certificate(folder);
    let data = tokens.data().display().to_string();
    let serve = |config: &str| {
        let file = folder.join("config.toml");
        fs::write(&file, config).unwrap();
        let mut command = command(folder);
        command.args(["serve", "--listen", "0.0.0.0:0", "--data-dir", &data, "--config"]).arg(file);
        command
    };
    let refused = |config: &str| {
        let output = serve(config).output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let (ended, why) = refused("");
    assert!(ended == 78 && why.contains("TLS and tokens"), "{ended} {why}");
    let tls = format!("[server]\ntls_certificate_file = \"{certificate}\"\ntls_key_file = \"{key}\"\n");
    let (ended, why) = refused(&tls);
    assert!(ended == 78 && why.contains("lowtide token create"), "{ended} {why}");
    let (ended, why) = refused(&format!("[server]\ntls_certificate_file = \"{certificate}\"\n"));
    assert!(ended == 78 && why.contains("tls_key_file"), "{ended} {why}");
    let (ended, why) = refused(&tls.replace("key.pem", "cert.pem"));
    assert!(ended == 78 && why.contains("TLS cannot be spoken") && why.contains("cert.pem"), "{ended} {why}");

    let token = tokens.create("far", "read", &[]);
    let mut child = serve(&tls).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let said = lines(BufReader::new(child.stdout.take().unwrap()));
    let _child = Guard(child);
    let first = said.recv_timeout(PATIENCE).unwrap();
    let port = first.strip_prefix("listening on https://0.0.0.0:").unwrap_or_else(|| panic!("{first}"));
    let url = format!("https://localhost:{port}");
    let status = |more: &[&str]| {
        run_in(folder, &[("LOWTIDE_TOKEN", &token)], &[&["status", "--url", &url], more].concat())
    };
    eventually("an answer over TLS", || (status(&["--ca-file", &certificate]).code == 0).then_some(()));
    let unknown = status(&[]);
    assert!(unknown.code == 69 && unknown.err.contains("certificate"), "{}", unknown.err);
    let without = run_in(folder, &[], &["status", "--url", &url, "--ca-file", &certificate]);
    assert_eq!(without.code, 77, "{}", without.err);
    // Who speaks no TLS is not answered.
    let address = format!("127.0.0.1:{port}").parse().unwrap();
    assert!(http::try_get(address, "/livez").is_none());
}

/// DNS rebinding: CVE-2018-5702 (Transmission), CVE-2024-28224 (Ollama). A page whose name was made to mean this machine gets nothing.
#[test]
fn a_name_that_is_not_ours_is_not_answered() {
    let daemon = Launch::with("[collectors]\ntick_seconds = 1\n[server]\nhosts = [\"tide.lan\"]\n").start();
    let status = |host: &str| {
        let head = format!("GET /livez HTTP/1.1\r\nhost: {host}\r\n\r\n");
        let mut connection = http::Connection::open(daemon.address).unwrap();
        connection.send(head.as_bytes()).unwrap();
        connection.answer(false).unwrap()
    };
    let refused = status("evil.example");
    assert_eq!((refused.status, code(&refused).as_str()), (421, "unknown_host"));
    assert!(refused.problem()["detail"].as_str().unwrap().contains("server.hosts"));
    assert_eq!(status("TIDE.lan:80").status, 200);
    let own = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    assert_eq!(status(own.trim()).status, 200);
}

#[test]
fn behind_a_proxy_the_base_path_is_taken_away() {
    let daemon = Launch::with("[collectors]\ntick_seconds = 1\n[server]\nbase_path = \"/tide\"\n").start();
    for path in ["/tide/livez", "/livez"] {
        assert_eq!(daemon.get(path).status, 200, "{path}");
    }
    assert_eq!(daemon.get("/tides/livez").status, 404);
}

#[test]
fn answers_tell_browsers_what_not_to_do() {
    let daemon = Daemon::start();
    for path in ["/docs", "/metrics", "/nothing"] {
        let answer = daemon.get(path);
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
        assert_eq!(answer.header("x-frame-options"), Some("DENY"), "{path}");
        assert!(answer.header("access-control-allow-origin").is_none(), "{path}");
    }
}

#[test]
fn tokens_that_cannot_be_read_keep_the_daemon_from_starting() {
    let tokens = Tokens::new();
    tokens.create("a", "read", &[]);
    let file = tokens.data().join("tokens.json");
    let data = tokens.data().display().to_string();
    let start =
        || run_in(tokens.home.path(), &[], &["serve", "--listen", "127.0.0.1:0", "--data-dir", &data]);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
    let exposed = start();
    assert!(exposed.code == 78 && exposed.err.contains("0600"), "{} {}", exposed.code, exposed.err);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(&file, "{}").unwrap();
    let garbled = start();
    assert!(garbled.code == 78 && garbled.err.contains("tokens.json"), "{} {}", garbled.code, garbled.err);
}
