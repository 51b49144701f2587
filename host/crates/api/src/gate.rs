//! Who may pass: by which name the daemon is asked (DNS rebinding), who asks, and whether they may. Everything before it is bytes,
//! everything behind it is routes.

use crate::edge::Edge;
use crate::error::{Code, Problem};
use crate::routes::Need;
use axum::extract::Request;
use axum::http::header::{AUTHORIZATION, HOST};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Uri, Version};
use lowtide_access::{Access, Caller, Denied, Scope, Scopes};
use lowtide_clock as clock;
use lowtide_core::units::MonoTime;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Where a connection comes from: an extension of every request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    /// An address of the network.
    Address(IpAddr),
    /// A user of this machine, on the unix socket.
    User(u32),
}

/// See the file's head.
#[derive(Debug)]
pub(crate) struct Gate {
    access: Arc<Access>,
    local_users: Scopes,
    own_user: u32,
    /// Lowercase.
    names: Vec<String>,
    proxies: Vec<ipnet::IpNet>,
    refused: Mutex<Refused>,
}

/// Requests that were refused and are not told yet.
#[derive(Debug, Default)]
struct Refused {
    count: u64,
    told: Option<MonoTime>,
}

/// How often it is told that requests are refused: whoever tries must not fill the log.
const TOLD_EVERY: Duration = Duration::from_secs(10);

impl Gate {
    /// The gate of an edge.
    pub(crate) fn new(edge: &Edge) -> Self {
        Self {
            access: Arc::clone(&edge.access),
            local_users: edge.local_users,
            own_user: rustix::process::geteuid().as_raw(),
            names: edge.hosts.iter().map(|name| name.to_lowercase()).collect(),
            proxies: edge.trusted_proxies.clone(),
            refused: Mutex::default(),
        }
    }

    /// One without tokens.
    #[cfg(test)]
    pub(crate) fn open() -> Self {
        let access = Access::open(Vec::new(), 50).expect("no file");
        Self::new(&Edge::plain(Vec::new(), Arc::new(access)))
    }

    /// Lets a request pass, with its [`Caller`] among its extensions.
    ///
    /// # Errors
    /// What stands in its way.
    pub(crate) fn pass(&self, request: &mut Request, need: Need) -> Result<(), Box<Problem>> {
        // Only tests hand requests to the router without a connection.
        let here = Peer::Address(IpAddr::from([127, 0, 0, 1]));
        let peer = request.extensions().get::<Peer>().copied().unwrap_or(here);
        let passed = self.check(request, peer, need);
        if let Err(problem) = &passed {
            self.tell(request.headers(), peer, problem);
        }
        passed
    }

    fn check(&self, request: &mut Request, peer: Peer, need: Need) -> Result<(), Box<Problem>> {
        if matches!(peer, Peer::Address(_)) {
            self.knows_host(request)?;
        }
        if need == Need::Nothing {
            return Ok(());
        }
        let caller = match peer {
            Peer::User(uid) => {
                let all = uid == 0 || uid == self.own_user;
                let scopes = if all { Scopes::from_iter([Scope::Admin]) } else { self.local_users };
                Caller::User { uid, scopes }
            }
            Peer::Address(address) => {
                let shown = request.headers().get(AUTHORIZATION).map(|value| value.as_bytes());
                let caller = self.access.identify(shown, clock::now()).map_err(denied)?;
                // Nothing but this machine is let in without a token, whatever happened to the files.
                if matches!(caller, Caller::Anyone) && !address.is_loopback() {
                    return Err(denied(Denied::NoToken));
                }
                caller
            }
        };
        let lacks = match need {
            Need::Scope(scope) if !caller.may(scope) => Some(scope),
            _ => None,
        };
        if let Some(scope) = lacks {
            return Err(forbidden(&caller, scope));
        }
        request.extensions_mut().insert(caller);
        Ok(())
    }

    /// Whether who was let in still would be: for answers without end.
    pub(crate) fn still(&self, caller: &Caller) -> bool {
        self.access.still(caller, clock::now())
    }

    /// Says in the log that requests are refused, the last one by name.
    fn tell(&self, headers: &HeaderMap, peer: Peer, problem: &Problem) {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused.count += 1;
        let now = clock::mono();
        if refused.told.is_some_and(|told| now.since(told) < TOLD_EVERY) {
            return;
        }
        refused.told = Some(now);
        let count = std::mem::take(&mut refused.count);
        drop(refused);
        let from = match peer {
            Peer::Address(address) => self.origin(address, headers).to_string(),
            Peer::User(uid) => format!("user {uid}"),
        };
        tracing::warn!(count, last_from = from, last_code = problem.code(), "requests were refused");
    }

    /// Whether a peer is a proxy whose word about its own peer is believed.
    fn trusts(&self, peer: IpAddr) -> bool {
        self.proxies.iter().any(|network| network.contains(&peer))
    }

    /// Who sent a request, by the word of trusted proxies: the last address in `X-Forwarded-For` that is not one of them.
    fn origin(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        if !self.trusts(peer) {
            return peer;
        }
        let lines = headers.get_all("x-forwarded-for").iter().filter_map(|line| line.to_str().ok());
        let hops: Vec<IpAddr> =
            lines.flat_map(|line| line.split(',')).map_while(|hop| hop.trim().parse().ok()).collect();
        hops.iter().rev().copied().find(|hop| !self.trusts(*hop)).or(hops.first().copied()).unwrap_or(peer)
    }

    /// A page of another site can have its own name mean this machine, and then read what a browser gets from here: so only names that
    /// are ours are answered. A bare address is no name, and `localhost` no one can take.
    fn knows_host(&self, request: &Request) -> Result<(), Box<Problem>> {
        if is_plainly_local(request) {
            return Ok(());
        }
        let host = host_of(request.headers(), request.uri(), request.version())?;
        let Some(host) = host else { return Ok(()) };
        let name = host.host().to_lowercase();
        let is_address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().is_ok();
        let is_local = name == "localhost" || name.ends_with(".localhost");
        if is_address || is_local || self.names.contains(&name) {
            return Ok(());
        }
        let detail = format!(
            "this daemon is not known as {name:?}; `server.hosts` in its configuration lists the names that it answers to"
        );
        Err(Problem::new(Code::UnknownHost, detail))
    }
}

/// What nearly every request is: one Host header, `localhost` or 127.0.0.1 with or without a port, and a target that is only a path.
fn is_plainly_local(request: &Request) -> bool {
    let mut lines = request.headers().get_all(HOST).iter();
    let (Some(line), None, None) = (lines.next(), lines.next(), request.uri().authority()) else {
        return false;
    };
    let line = line.as_bytes();
    let rest = line.strip_prefix(b"127.0.0.1").or_else(|| line.strip_prefix(b"localhost"));
    rest.is_some_and(|rest| match rest.split_first() {
        None => true,
        Some((b':', port)) => port.len() <= 5 && port.iter().all(u8::is_ascii_digit),
        Some(_) => false,
    })
}

/// The one host that a request names; `None` for one of HTTP/1.0 that names none.
fn host_of(headers: &HeaderMap, uri: &Uri, version: Version) -> Result<Option<Authority>, Box<Problem>> {
    let wrong = |detail: &str| Err(Problem::new(Code::InvalidHost, detail));
    let mut lines = headers.get_all(HOST).iter();
    let line = lines.next();
    if lines.next().is_some() {
        return wrong("there is more than one Host header");
    }
    let named = match line {
        None => None,
        Some(line) => match line.to_str().ok().and_then(|line| line.parse::<Authority>().ok()) {
            Some(host) if !host.as_str().contains('@') => Some(host),
            _ => return wrong("the Host header is no host"),
        },
    };
    match (uri.authority(), named) {
        // RFC 9112, 3.2.2: in the absolute form the header does not count. Two that differ are meant for two readers.
        (Some(target), Some(named)) if !target.as_str().eq_ignore_ascii_case(named.as_str()) => {
            wrong("the Host header and the target of the request name two hosts")
        }
        (Some(target), _) => Ok(Some(target.clone())),
        (None, Some(named)) => Ok(Some(named)),
        (None, None) if version <= Version::HTTP_10 => Ok(None),
        (None, None) => wrong("there is no Host header"),
    }
}

fn denied(denied: Denied) -> Box<Problem> {
    let detail = denied.to_string();
    match denied {
        Denied::NoToken => Problem::new(Code::TokenNeeded, detail),
        Denied::Unknown => Problem::new(Code::TokenUnknown, detail),
        Denied::Expired { .. } => Problem::new(Code::TokenExpired, detail),
        Denied::TooFast { retry_after, .. } => {
            Problem::new(Code::RateLimited, detail).retry_after(retry_after.as_secs().max(1))
        }
    }
}

fn forbidden(caller: &Caller, scope: Scope) -> Box<Problem> {
    let who = match caller {
        Caller::Anyone => "this caller has none".to_owned(),
        Caller::User { uid, scopes } => format!("user {uid} has {}", some(*scopes)),
        Caller::Token(token) => format!("the token {:?} has {}", token.name, some(token.scopes)),
    };
    Problem::new(Code::Forbidden, format!("this needs the scope {scope}; {who}"))
}

fn some(scopes: Scopes) -> String {
    if scopes.is_empty() { "none".to_owned() } else { scopes.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;

    fn gate() -> Gate {
        let dir = tempfile::tempdir().unwrap();
        let access = Access::open(vec![dir.path().join("tokens.json")], 50).unwrap();
        let mut edge = Edge::plain(Vec::new(), Arc::new(access));
        edge.hosts = vec!["Tide.example".to_owned()];
        edge.trusted_proxies = vec!["10.0.0.0/8".parse().unwrap()];
        edge.local_users = Scopes::from_iter([Scope::Read]);
        Gate::new(&edge)
    }

    fn code(outcome: Result<(), Box<Problem>>) -> Option<&'static str> {
        outcome.err().map(|problem| problem.code())
    }

    fn ask(uri: &str, hosts: &[&str]) -> Option<&'static str> {
        let mut request = Request::get(uri);
        for host in hosts {
            request = request.header(HOST, *host);
        }
        let mut request = request.body(Body::empty()).unwrap();
        code(gate().pass(&mut request, Need::Nothing))
    }

    /// DNS rebinding, as in CVE-2018-5702 (Transmission) and CVE-2024-28224 (Ollama): a name of the attacker's that means 127.0.0.1.
    #[test]
    fn only_names_that_are_ours_are_answered() {
        for host in
            ["localhost:4270", "127.0.0.1", "[::1]:4270", "192.0.2.1:80", "tide.EXAMPLE", "a.localhost"]
        {
            assert_eq!(ask("/livez", &[host]), None, "{host}");
        }
        for host in [
            "evil.example",
            "127.0.0.1.evil.example",
            "localhost.evil.example:4270",
            "tide.example.evil",
            "example",
        ] {
            assert_eq!(ask("/livez", &[host]), Some("unknown_host"), "{host}");
        }
        assert_eq!(ask("http://evil.example/livez", &[]), Some("unknown_host"));
    }

    /// What one reader takes from the one and the next from the other of two hosts: CVE-2020-11078 and the like.
    #[test]
    fn two_hosts_or_none_or_half_a_one_are_refused() {
        for (uri, hosts) in [
            ("/livez", &[][..]),
            ("/livez", &["localhost", "localhost"]),
            ("/livez", &["local host"]),
            ("/livez", &["a@localhost"]),
            ("http://localhost/livez", &["evil.example"]),
        ] {
            assert_eq!(ask(uri, hosts), Some("invalid_host"), "{uri} {hosts:?}");
        }
        assert_eq!(ask("http://localhost/livez", &["localhost"]), None);
        let mut old = Request::get("/livez").version(Version::HTTP_10).body(Body::empty()).unwrap();
        assert_eq!(code(gate().pass(&mut old, Need::Nothing)), None);
    }

    #[test]
    fn users_of_the_socket_are_known_by_their_number_and_need_no_host() {
        let gate = gate();
        let pass = |peer, scope| {
            let mut request = Request::get("/livez").body(Body::empty()).unwrap();
            request.extensions_mut().insert(peer);
            code(gate.pass(&mut request, Need::Scope(scope)))
        };
        assert_eq!(pass(Peer::User(0), Scope::Admin), None);
        assert_eq!(pass(Peer::User(gate.own_user), Scope::Admin), None);
        assert_eq!(pass(Peer::User(54_321), Scope::Read), None);
        assert_eq!(pass(Peer::User(54_321), Scope::Lease), Some("forbidden"));
    }

    #[test]
    fn no_other_machine_is_let_in_without_a_token() {
        let gate = gate();
        let mut request = Request::get("/x").header(HOST, "192.0.2.1").body(Body::empty()).unwrap();
        request.extensions_mut().insert(Peer::Address([192, 0, 2, 9].into()));
        assert_eq!(code(gate.pass(&mut request, Need::Scope(Scope::Read))), Some("token_needed"));
    }

    #[test]
    fn only_trusted_proxies_are_believed_about_others() {
        let gate = gate();
        let origin = |peer: &str, line: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("x-forwarded-for", line.parse().unwrap());
            gate.origin(peer.parse().unwrap(), &headers).to_string()
        };
        assert_eq!(origin("192.0.2.1", "198.51.100.7"), "192.0.2.1");
        assert_eq!(origin("10.0.0.1", "198.51.100.7"), "198.51.100.7");
        // What stands before the first that is not ours may be made up.
        assert_eq!(origin("10.0.0.1", "1.1.1.1, 198.51.100.7, 10.0.0.2"), "198.51.100.7");
        assert_eq!(origin("10.0.0.1", "nonsense"), "10.0.0.1");
    }
}
