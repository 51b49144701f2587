//! Who holds a port: for the message "address in use" at start. Reads `/proc` within bounds and gives up quietly; a better
//! message is not worth a failure of its own. `main` calls it after a failed bind.
//!
//! It tells the process's short name and never its arguments, which may hold secrets.

use lowtide_core::limits::PROC_FILE_BYTES_MAX;
use std::fs::{self, File};
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

/// Processes and descriptors looked at in all; above it the answer is not worth the time.
const LINKS_MAX: usize = 200_000;

/// State of a listening socket in `/proc/net/tcp`.
const LISTEN: &str = "0A";

/// A process that listens on a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortHolder {
    /// Its process id.
    pub pid: u32,
    /// Its short name (`comm`, at most 15 bytes).
    pub command_name: String,
}

/// The process that listens at an address, or at the wildcard address with the same port. `None` when there is none, or when
/// it belongs to another user, whose descriptors only root may see.
#[must_use]
pub fn holder_of(proc_dir: &Path, address: SocketAddr) -> Option<PortHolder> {
    let tables = ["net/tcp", "net/tcp6"];
    let inodes: Vec<String> = tables
        .iter()
        .filter_map(|table| read_bounded(&proc_dir.join(table)))
        .flat_map(|text| listening_inodes(&text, address))
        .map(|inode| format!("socket:[{inode}]"))
        .collect();
    if inodes.is_empty() {
        return None;
    }
    let mut links_left = LINKS_MAX;
    for entry in fs::read_dir(proc_dir).ok()?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let Ok(descriptors) = fs::read_dir(entry.path().join("fd")) else { continue };
        for descriptor in descriptors.flatten() {
            links_left = links_left.checked_sub(1)?;
            let target = fs::read_link(descriptor.path()).unwrap_or_default();
            if inodes.iter().any(|inode| target.as_os_str() == inode.as_str()) {
                let command_name = read_bounded(&entry.path().join("comm")).unwrap_or_default();
                return Some(PortHolder { pid, command_name: printable(&command_name) });
            }
        }
    }
    None
}

/// A process may choose its name freely, so it is not trusted to be harmless on a terminal.
fn printable(name: &str) -> String {
    name.trim_end().chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

fn read_bounded(path: &Path) -> Option<String> {
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(PROC_FILE_BYTES_MAX as u64).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// Inodes of the sockets in a table of `/proc/net/tcp` or `tcp6` that listen where `address` is.
fn listening_inodes(table: &str, address: SocketAddr) -> Vec<u64> {
    table.lines().skip(1).filter_map(|line| listening_inode(line, address)).collect()
}

fn listening_inode(line: &str, address: SocketAddr) -> Option<u64> {
    let mut fields = line.split_ascii_whitespace();
    let local = parse_address(fields.nth(1)?)?;
    let state = fields.nth(1)?;
    let inode = fields.nth(5)?.parse().ok()?;
    let overlaps = local.ip() == address.ip() || local.ip().is_unspecified() || address.ip().is_unspecified();
    (state == LISTEN && local.port() == address.port() && overlaps).then_some(inode)
}

/// An address as the kernel prints it: 32-bit words in the machine's byte order, in hex, then the port.
fn parse_address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let words: Option<Vec<[u8; 4]>> = (0..ip.len())
        .step_by(8)
        .map(|at| Some(u32::from_str_radix(ip.get(at..at + 8)?, 16).ok()?.to_ne_bytes()))
        .collect();
    let words = words?;
    let ip = match words.as_slice() {
        [word] => IpAddr::V4(Ipv4Addr::from(*word)),
        [_, _, _, _] => {
            let bytes: [u8; 16] = words.concat().try_into().ok()?;
            // A socket of both families shows 127.0.0.1 as ::ffff:127.0.0.1.
            IpAddr::V6(Ipv6Addr::from(bytes)).to_canonical()
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn a_real_listener_is_found_and_it_is_us() {
        let proc_dir = Path::new("/proc");
        let me = std::process::id();
        let name = printable(&fs::read_to_string("/proc/self/comm").unwrap());
        for bind in ["127.0.0.1:0", "0.0.0.0:0"] {
            let listener = TcpListener::bind(bind).unwrap();
            let port = listener.local_addr().unwrap().port();
            let holder = holder_of(proc_dir, SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port)).unwrap();
            assert_eq!((holder.pid, holder.command_name.as_str()), (me, name.as_str()), "{bind}");
            drop(listener);
            assert_eq!(holder_of(proc_dir, SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port)), None);
        }
    }

    #[cfg(target_endian = "little")]
    #[test]
    fn the_kernels_tables_are_understood() {
        let tcp = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
            \x20  0: 0100007F:10AE 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 41 1 0 100 0\n\
            \x20  1: 0100007F:10AE 0100007F:9999 01 00000000:00000000 00:00000000 00000000  1000        0 42 1 0 100 0\n\
            \x20  2: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 43 1 0 100 0\n\
            \x20  3: 0200007F:10AE 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 44 1 0 100 0\n\
            \x20  4: broken\n";
        let tcp6 = "  sl  local_address rem_address st\n\
            \x20  0: 00000000000000000000000001000000:10AE 0:0 0A 0:0 00:0 0 0 0 51 1\n\
            \x20  1: 0000000000000000FFFF00000100007F:10AE 0:0 0A 0:0 00:0 0 0 0 52 1\n\
            \x20  2: 00000000000000000000000000000000:0016 0:0 0A 0:0 00:0 0 0 0 53 1\n";
        let inodes = |table, address: &str| listening_inodes(table, address.parse().unwrap());
        assert_eq!(inodes(tcp, "127.0.0.1:4270"), [41]);
        assert_eq!(inodes(tcp, "0.0.0.0:4270"), [41, 44]);
        assert_eq!(inodes(tcp, "127.0.0.1:22"), [43]);
        assert!(inodes(tcp, "127.0.0.1:23").is_empty());
        assert_eq!(inodes(tcp6, "[::1]:4270"), [51]);
        assert_eq!(inodes(tcp6, "127.0.0.1:4270"), [52]);
        assert_eq!(inodes(tcp6, "127.0.0.1:22"), [53]);
        assert_eq!(parse_address("0100007:10AE"), None);
        assert_eq!(parse_address("é100007F:10AE"), None);
        assert_eq!(parse_address(""), None);
    }

    #[test]
    fn a_name_cannot_disturb_a_terminal() {
        assert_eq!(printable("a\u{1b}[1mb\n"), "a?[1mb");
    }
}
