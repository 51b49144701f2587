//! Which addresses a name may mean. A grant by a public name is for the public server that the operator thinks of: were it allowed to mean
//! an address of this machine or its network, whoever owns the name could have an addon ask what stands there (server-side request
//! forgery: routers, the metadata services of clouds). An address is asked only as it was checked: the connection is made to the very addresses that are returned here.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Endings of names that no one on the internet can own (RFC 6761, RFC 6762, RFC 8375; `internal` is reserved by ICANN; the others are what home
/// routers give out).
const LOCAL_ENDINGS: [&str; 8] =
    ["localhost", "local", "home.arpa", "internal", "lan", "home", "localdomain", "intranet"];

/// Keeps of the addresses of a name those that it may mean.
///
/// # Errors
/// `PermissionDenied` when none is left.
pub(super) fn allowed(name: &str, found: Vec<SocketAddr>) -> io::Result<Vec<SocketAddr>> {
    if is_local_name(name) {
        return Ok(found);
    }
    let first = found.first().copied();
    let public: Vec<SocketAddr> = found.into_iter().filter(|address| is_public(address.ip())).collect();
    match first {
        Some(address) if public.is_empty() => {
            let text = format!(
                "{name} means {}, which is no public address; grant the address itself if that is meant",
                address.ip()
            );
            Err(io::Error::new(io::ErrorKind::PermissionDenied, text))
        }
        _ => Ok(public),
    }
}

fn is_local_name(name: &str) -> bool {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    let ends =
        |ending: &str| name.strip_suffix(ending).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    !name.contains('.') || LOCAL_ENDINGS.into_iter().any(ends)
}

/// Whether an address is one of the internet (IANA's registries of special-purpose addresses, RFC 6890).
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => match embedded(address) {
            Some(inner) => is_public_v4(inner),
            // Of IPv6 only this part is given out: 2000::/3, without documentation and Teredo.
            None => {
                let [a, b, ..] = address.segments();
                a & 0xe000 == 0x2000 && !(a == 0x2001 && (b == 0x0db8 || b < 0x0200)) && a != 0x3fff
            }
        },
    }
}

/// The IPv4 address within one of IPv6 that stands for it: mapped (RFC 4291), translated (RFC 6052) and 6to4 (RFC 3056).
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let [a, b, c, d, e, f, g, h] = address.segments();
    let of = |high: u16, low: u16| Some(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low)));
    match (a, b, c, d, e, f) {
        (0, 0, 0, 0, 0, 0xffff | 0) if (g, h) != (0, 1) => of(g, h),
        (0x0064, 0xff9b, 0, 0, 0, 0) => of(g, h),
        (0x2002, ..) => of(b, c),
        _ => None,
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    !(address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_documentation()
        || a == 0
        // Shared by carriers (RFC 6598), protocols (RFC 6890), benchmarks (RFC 2544), multicast and what is reserved.
        || (a == 100 && b & 0xc0 == 64)
        || (a == 192 && b == 0 && c == 0)
        || (a == 198 && b & 0xfe == 18)
        || a >= 224)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(name: &str, address: &str) -> io::Result<Vec<SocketAddr>> {
        allowed(name, vec![SocketAddr::new(address.parse().unwrap(), 0)])
    }

    #[test]
    fn a_public_name_means_no_address_of_ours() {
        for address in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "198.18.0.1",
            "192.0.2.1",
            "224.0.0.1",
            "255.255.255.255",
            "::1",
            "::",
            "fe80::1",
            "fc00::1",
            "fd00:ec2::254",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "2001:db8::1",
            "2001:0:1::1",
        ] {
            let refused = one("api.example.com", address).unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::PermissionDenied, "{address}");
        }
        for address in [
            "1.1.1.1",
            "93.184.216.34",
            "172.32.0.1",
            "100.128.0.1",
            "2606:4700::1111",
            "2a00:1450::1",
            "64:ff9b::101:101",
        ] {
            assert!(one("api.example.com", address).is_ok(), "{address}");
        }
    }

    #[test]
    fn names_of_the_own_network_mean_what_they_mean() {
        for name in ["nas", "localhost", "media.local", "NAS.lan.", "tv.home.arpa", "x.internal"] {
            assert!(one(name, "192.168.1.7").is_ok(), "{name}");
        }
        for name in ["lan.example.com", "evil-lan", "notlocal.com", "local.evil.org"] {
            let is_single = !name.contains('.');
            assert_eq!(one(name, "192.168.1.7").is_ok(), is_single, "{name}");
        }
    }

    #[test]
    fn of_several_addresses_the_public_ones_are_left() {
        let both = ["192.168.1.1", "1.1.1.1"].map(|text| SocketAddr::new(text.parse().unwrap(), 0));
        assert_eq!(allowed("api.example.com", both.to_vec()).unwrap(), [both[1]]);
        assert!(allowed("api.example.com", Vec::new()).unwrap().is_empty());
    }
}
