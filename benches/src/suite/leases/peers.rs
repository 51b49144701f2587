//! What others use for leases: etcd (a lease and a key that hangs on it, by its JSON interface) and redis (SET NX PX, every write synced
//! before it is answered). Both on the same disk as the daemon.

use super::clients::{Clients, Framing, Tally, http};
use crate::suite::measure::pause;
use crate::suite::peers::{free_address, unpacked};
use crate::suite::report::{Report, Row};
use crate::suite::server::{Server, folder_on_disk};
use anyhow::{Result, bail};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;

/// Names the folder that holds them.
const PLACE: &str = "LOWTIDE_BENCH_PEERS";

/// Those that could be started.
#[derive(Default)]
pub(crate) struct Peers {
    pub(crate) etcd: Option<Etcd>,
    pub(crate) redis: Option<Redis>,
}

pub(crate) struct Etcd {
    server: Server,
    _folder: TempDir,
}

pub(crate) struct Redis {
    server: Server,
    _folder: TempDir,
}

/// Starts what can be started; what cannot is left out with a word.
pub(crate) fn start(report: &mut Report) -> Peers {
    let mut left_out = |name: &str, error: anyhow::Error| {
        report.row(Row::new(name, f64::NAN, "").note(format!("left out: {error:#}")));
    };
    let etcd = Etcd::start().map_err(|error| left_out("etcd", error)).ok();
    let redis = Redis::start().map_err(|error| left_out("redis", error)).ok();
    Peers { etcd, redis }
}

fn wait_until_listening(address: SocketAddr) -> Result<()> {
    for _ in 0..200 {
        if TcpStream::connect(address).is_ok() {
            return Ok(());
        }
        pause(Duration::from_millis(50));
    }
    bail!("{address} is not listened on")
}

impl Etcd {
    fn start() -> Result<Self> {
        let folder = folder_on_disk()?;
        let (client, peer) = (free_address()?, free_address()?);
        let mut command = unpacked(PLACE, "etcd")?;
        let url = |address: SocketAddr| format!("http://{address}");
        command.arg("--data-dir").arg(folder.path()).args(["--name", "bench", "--log-level", "error"]);
        command.args(["--listen-client-urls", &url(client), "--advertise-client-urls", &url(client)]);
        command.args(["--listen-peer-urls", &url(peer), "--initial-advertise-peer-urls", &url(peer)]);
        command.args(["--initial-cluster", &format!("bench={}", url(peer))]);
        let server = Server::told(command, client)?;
        wait_until_listening(client)?;
        let etcd = Self { server, _folder: folder };
        // It listens before it can lead.
        for _ in 0..200 {
            if etcd
                .grants(1, Duration::from_millis(50))
                .is_ok_and(|tally| tally.refused == 0 && tally.count() > 0.0)
            {
                return Ok(etcd);
            }
            pause(Duration::from_millis(100));
        }
        bail!("etcd gives no lease")
    }

    /// A lease and a key that hangs on it: what a holder needs to hold something.
    pub(crate) fn grants(&self, clients: usize, length: Duration) -> Result<Tally> {
        let mut all = Clients::connect(self.server.address(), clients)?;
        // The lease's number is ours to choose, so both requests are known beforehand. Base64 as the interface asks for.
        let base = lowtide_clock::mono().as_millis().unsigned_abs() << 24;
        all.steps(length, |client, number| {
            let id = base + ((client as u64) << 18) + number as u64 + 1;
            let grant = format!("{{\"TTL\":3600,\"ID\":\"{id}\"}}");
            let value = "eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4".repeat(4);
            let put = format!("{{\"key\":\"{}\",\"value\":\"{value}\",\"lease\":\"{id}\"}}", base64_of(id));
            vec![http("POST", "/v3/lease/grant", &grant), http("POST", "/v3/kv/put", &put)]
        })
    }
}

/// A number as a key: sixteen letters, which are base64 of twelve bytes.
fn base64_of(number: u64) -> String {
    format!("{number:016x}")
}

impl Redis {
    fn start() -> Result<Self> {
        let folder = folder_on_disk()?;
        let address = free_address()?;
        let mut command = unpacked(PLACE, "redis-server")?;
        command.args(["--bind", "127.0.0.1", "--port", &address.port().to_string(), "--save", ""]);
        command.args(["--appendonly", "yes", "--appendfsync", "always", "--dir"]).arg::<&Path>(folder.path());
        let server = Server::told(command, address)?;
        wait_until_listening(address)?;
        Ok(Self { server, _folder: folder })
    }

    /// SET of a key that is not there, with a time to live.
    pub(crate) fn sets(&self, clients: usize, length: Duration) -> Result<Tally> {
        let mut all = Clients::connect_with(self.server.address(), clients, Framing::Line)?;
        let base = lowtide_clock::mono().as_millis();
        all.run(length, |client, number| {
            let key = format!("lease:{base}:{client}:{number}");
            let value = "x".repeat(200);
            let words = ["SET", &key, &value, "NX", "PX", "3600000"];
            let mut request = format!("*{}\r\n", words.len());
            for word in words {
                request.push_str(&format!("${}\r\n{word}\r\n", word.len()));
            }
            request.into_bytes()
        })
    }
}
