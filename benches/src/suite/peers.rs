//! Other programs that measure a host, fetched from Debian and run beside the daemon: what `idle --peers` compares with. One that
//! cannot be fetched or started is left out with a word. Also where the peers of other benchmarks are found.

use super::measure::micros;
use super::report::{Report, Row};
use super::server::Server;
use anyhow::{Context as _, Result, bail};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const PACKAGE: &str = "prometheus-node-exporter";
const SCRAPES: u32 = 100;

/// The peers that run now, by name.
pub(crate) fn start(report: &mut Report) -> Vec<(&'static str, Server)> {
    match node_exporter() {
        Ok(server) => vec![("node_exporter", server)],
        Err(error) => {
            report.row(Row::new("node_exporter", f64::NAN, "").note(format!("left out: {error:#}")));
            Vec::new()
        }
    }
}

/// What a scrape costs each of them.
pub(crate) fn scrapes(report: &mut Report, peers: &[(&'static str, Server)]) -> Result<()> {
    for (name, peer) in peers {
        let before = peer.cpu()?;
        let mut bytes = 0;
        for _ in 0..SCRAPES {
            bytes = peer.get("/metrics", "")?.body.len();
        }
        let spent = micros(peer.cpu()?.saturating_sub(before)) / f64::from(SCRAPES);
        report.row(Row::new(format!("{name}: cpu of a scrape"), spent, "us").note(format!("{bytes} bytes")));
    }
    Ok(())
}

fn node_exporter() -> Result<Server> {
    let address = free_address()?;
    let mut command = Command::new(program(PACKAGE)?);
    command.arg(format!("--web.listen-address={address}"));
    let server = Server::told(command, address)?;
    server.wait_until_ready("/")?;
    Ok(server)
}

/// A program of packages that `cargo xtask bench` has unpacked in the folder that a variable names, with their libraries.
pub(crate) fn unpacked(variable: &str, name: &str) -> Result<Command> {
    let place = std::env::var_os(variable).with_context(|| {
        format!("{variable} names no folder: run it by `cargo xtask bench`, with its name and --peers")
    })?;
    let place = PathBuf::from(place);
    let file = place.join("usr/bin").join(name);
    if !file.exists() {
        bail!("{} is not there", file.display());
    }
    let mut command = Command::new(file);
    let libraries = place.join("usr/lib").join(format!("{}-linux-gnu", std::env::consts::ARCH));
    command.env("LD_LIBRARY_PATH", format!("{}:{}", libraries.display(), place.join("lib").display()));
    Ok(command)
}

/// Free a moment ago: another program could take it, and then the one that wanted it says so and is left out.
pub(crate) fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// The program, from Debian's package unpacked below the target folder: nothing is installed, no service starts.
fn program(package: &str) -> Result<PathBuf> {
    let here = std::env::current_exe()?;
    let target = here.ancestors().nth(2).context("this program lies in no target folder")?;
    let place = target.join("tools").join(package);
    let file = place.join("usr/bin").join(package);
    if file.is_file() {
        return Ok(file);
    }
    let part = tempfile::tempdir()?;
    // As root, apt-get would download as another user, who cannot write here.
    let download = ["-qq", "-o", "APT::Sandbox::User=root", "download", package];
    quietly(Command::new("apt-get").args(download).current_dir(part.path()))?;
    let package_file = std::fs::read_dir(part.path())?.find_map(|entry| Some(entry.ok()?.path()));
    std::fs::create_dir_all(&place)?;
    let package_file: &Path = &package_file.context("apt-get left no file")?;
    quietly(Command::new("dpkg-deb").arg("-x").arg(package_file).arg(&place))?;
    Ok(file)
}

fn quietly(command: &mut Command) -> Result<()> {
    let shown = command.get_program().to_string_lossy().into_owned();
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    match status.with_context(|| format!("start {shown}"))? {
        status if status.success() => Ok(()),
        status => bail!("{shown} ended with {status}"),
    }
}
