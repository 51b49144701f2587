//! Which unit a process belongs to, told from the text of /proc/PID/cgroup (cgroups(7)): a service or scope of systemd, a
//! container, a lease of Lowtide. Pure; any bytes are taken. Names are untrusted text and are cleaned here, once. `units.rs`
//! calls it for new processes.

use lowtide_core::metric;
use std::str;

/// Bytes of a unit's name: those of services are shorter; with it, a name fits on a line of a dashboard.
const NAME_BYTES_MAX: usize = 64;

/// Digits shown of a container's id: as `docker ps` and `podman ps` do.
const ID_SHOWN: usize = 12;

/// Digits of a whole container id (a SHA-256 in hex).
const ID_DIGITS: usize = 64;

/// How the scope of a lease's work begins.
const LEASE_PREFIX: &str = "lowtide-run-";

/// What a unit is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// A service of systemd, also one of a user.
    Service,
    /// A scope of systemd: a login session, a desktop application, a virtual machine.
    Scope,
    /// A container of any of the known runtimes.
    Container,
    /// The scope in which the work of one lease runs.
    Lease,
    /// What none of these holds: a process group.
    Group,
}

impl Kind {
    /// The label value.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Scope => "scope",
            Self::Container => "container",
            Self::Lease => "lease",
            Self::Group => "group",
        }
    }
}

/// A unit as people know it. Two cgroups may have the same: then they are counted as one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Unit {
    /// Its name, cleaned.
    pub(crate) name: Box<str>,
    /// What it is.
    pub(crate) kind: Kind,
}

impl Unit {
    /// A unit whose name may be anything.
    pub(crate) fn new(kind: Kind, name: &str) -> Self {
        Self { name: clean(name).into(), kind }
    }
}

/// Where a process belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Home {
    /// The unit.
    pub(crate) unit: Unit,
    /// The path of the unit's own cgroup, from the line that named it.
    pub(crate) path: Box<str>,
    /// Whether that path is below the root of the version 2 hierarchy, where the kernel keeps the unit's counters.
    pub(crate) in_v2: bool,
}

/// At most [`NAME_BYTES_MAX`] bytes without anything that could steer a terminal or change the order of the text around it.
/// Never empty.
pub(crate) fn clean(name: &str) -> String {
    let steers = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
    };
    let name: String =
        name.trim().chars().take(NAME_BYTES_MAX).map(|c| if steers(c) { '?' } else { c }).collect();
    if name.is_empty() { "?".to_owned() } else { metric::clip(&name, NAME_BYTES_MAX).to_owned() }
}

/// Finds the unit in the text of /proc/PID/cgroup. The version 2 line says most; in a hybrid or version 1 system that of systemd
/// comes next, then those of the controllers, in their order. `None` when no line names one.
///
/// # Errors
/// In words, what is not as documented.
pub(crate) fn parse(bytes: &[u8]) -> Result<Option<Home>, &'static str> {
    let mut best: Option<(u8, Home)> = None;
    for line in crate::linux::text::lines(bytes)? {
        let mut parts = line.splitn(3, |byte| *byte == b':');
        let (Some(_), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next()) else {
            return Err("hierarchy, controllers and path");
        };
        let rank = match controllers {
            b"" => 0,
            b"name=systemd" => 1,
            _ => 2,
        };
        if best.as_ref().is_some_and(|(have, _)| *have <= rank) {
            continue;
        }
        let Some((unit, path)) = str::from_utf8(path).ok().and_then(unit_of) else { continue };
        // Outside this daemon's cgroup namespace: there is no such folder below the root that it sees.
        let in_v2 = rank == 0 && !path.split('/').any(|part| part == "..");
        best = Some((rank, Home { unit, path: path.into(), in_v2 }));
    }
    Ok(best.map(|(_, home)| home))
}

/// The unit of a path, and the front part of the path that is the unit's own. The outermost lease or container counts, as the host
/// sees it; else the innermost unit of systemd.
fn unit_of(path: &str) -> Option<(Unit, &str)> {
    // What the kernel puts behind the path of a cgroup that was removed while a zombie still refers to it.
    let path = path.strip_suffix(" (deleted)").unwrap_or(path);
    let mut found = None;
    let (mut end, mut parent, mut in_kubernetes) = (0, "", false);
    for part in path.split('/') {
        end += part.len();
        let own = path.get(..end)?;
        // The slash that follows.
        end += 1;
        if part.starts_with(LEASE_PREFIX) {
            return Some((Unit::new(Kind::Lease, part), own));
        }
        in_kubernetes |= part.starts_with("kubepods");
        // With podman's split cgroups (quadlets) the container is below a service, which is what people know it by.
        let is_payload = found.is_some() && part.starts_with("libpod-payload-");
        if let Some(name) = container(part, parent, in_kubernetes).filter(|_| !is_payload) {
            return Some((Unit::new(Kind::Container, &name), own));
        }
        // A user's own systemd runs in init.scope below its service.
        let is_manager = found.is_some() && part == "init.scope";
        match part.rsplit_once('.') {
            Some((stem, "service" | "socket" | "mount" | "swap")) if !stem.is_empty() => {
                found = Some((Unit::new(Kind::Service, part), own));
                // What is inside is another machine's systemd.
                if part.starts_with("systemd-nspawn@") {
                    break;
                }
            }
            // The folder is that of init.scope, so that the user's other units are not counted with it.
            Some((_, "scope")) if is_manager => found = found.map(|(unit, _)| (unit, own)),
            Some((stem, "scope")) if !stem.is_empty() => {
                found = Some((Unit::new(Kind::Scope, part), own));
            }
            _ => {}
        }
        parent = part;
    }
    found
}

/// The container that one part of a path stands for, as `runtime:id`.
fn container(part: &str, parent: &str, in_kubernetes: bool) -> Option<String> {
    let of_lxc = part.strip_prefix("lxc.payload.").or_else(|| part.strip_prefix("lxc.monitor."));
    let below_lxc = matches!(parent, "lxc" | "lxc.payload" | "lxc.monitor").then_some(part);
    if let Some(name) = of_lxc.or(below_lxc).filter(|name| !name.is_empty()) {
        return Some(format!("lxc:{name}"));
    }
    let stem = part.strip_suffix(".scope").unwrap_or(part);
    // `docker-ID.scope`; containerd without systemd's driver writes `SLICE:cri-containerd:ID`.
    let (prefix, id) = stem.rsplit_once([':', '-']).unwrap_or(("", stem));
    let digits_least = if parent == "docker" && prefix.is_empty() { ID_SHOWN } else { ID_DIGITS };
    let is_id =
        (digits_least..=ID_DIGITS).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    let shown = id.get(..ID_SHOWN).filter(|_| is_id)?;
    let runtime = match prefix.rsplit(':').next().unwrap_or_default() {
        "docker" => "docker",
        "cri-containerd" | "containerd" | "nerdctl" => "containerd",
        "crio" | "crio-conmon" => "crio",
        prefix if prefix.starts_with("libpod") => "podman",
        "" if in_kubernetes => "kubernetes",
        "" if parent == "docker" => "docker",
        "" if parent.starts_with("libpod") => "podman",
        _ => "container",
    };
    Some(format!("{runtime}:{shown}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "4f66ad9a0b2e1c3d5e7f8091a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d5";

    fn told(text: &str) -> Option<(Kind, String, String, bool)> {
        let home = parse(text.replace("ID", ID).as_bytes()).unwrap()?;
        Some((home.unit.kind, home.unit.name.into(), home.path.replace(ID, "ID"), home.in_v2))
    }

    #[test]
    fn paths_of_systemd_container_runtimes_and_leases_are_told_apart() {
        use Kind::{Container, Lease, Scope, Service};
        let user = "/user.slice/user-1000.slice/user@1000.service";
        for (path, kind, name, own) in [
            ("/system.slice/nginx.service", Service, "nginx.service", ""),
            (
                "/system.slice/systemd-udevd.service/udev",
                Service,
                "systemd-udevd.service",
                "/system.slice/systemd-udevd.service",
            ),
            ("/system.slice/system-getty.slice/getty@tty1.service", Service, "getty@tty1.service", ""),
            ("/init.scope", Scope, "init.scope", ""),
            ("/user.slice/user-1000.slice/session-3.scope", Scope, "session-3.scope", ""),
            ("USER/app.slice/app-firefox-99.scope", Scope, "app-firefox-99.scope", ""),
            ("USER/session.slice/pipewire.service", Service, "pipewire.service", ""),
            ("USER/init.scope", Service, "user@1000.service", ""),
            (
                "/machine.slice/machine-qemu\\x2d1\\x2dvm.scope/libvirt/emulator",
                Scope,
                "machine-qemu\\x2d1\\x2dvm.scope",
                "/machine.slice/machine-qemu\\x2d1\\x2dvm.scope",
            ),
            (
                "/machine.slice/systemd-nspawn@web.service/payload/system.slice/nginx.service",
                Service,
                "systemd-nspawn@web.service",
                "/machine.slice/systemd-nspawn@web.service",
            ),
            ("/system.slice/docker-ID.scope", Container, "docker:4f66ad9a0b2e", ""),
            (
                "/system.slice/docker-ID.scope/system.slice/cron.service",
                Container,
                "docker:4f66ad9a0b2e",
                "/system.slice/docker-ID.scope",
            ),
            ("/docker/ID", Container, "docker:4f66ad9a0b2e", ""),
            ("/docker/4f66ad9a0b2e", Container, "docker:4f66ad9a0b2e", ""),
            ("/system.slice/docker.service", Service, "docker.service", ""),
            (
                "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1b2c.slice/cri-containerd-ID.scope",
                Container,
                "containerd:4f66ad9a0b2e",
                "",
            ),
            (
                "/kubepods.slice/kubepods-pod1b2c.slice/crio-ID.scope/container",
                Container,
                "crio:4f66ad9a0b2e",
                "/kubepods.slice/kubepods-pod1b2c.slice/crio-ID.scope",
            ),
            ("/kubepods/besteffort/pod1b2c-3d/ID", Container, "kubernetes:4f66ad9a0b2e", ""),
            (
                "/system.slice/containerd.service/kubepods-besteffort-pod1b2c.slice:cri-containerd:ID",
                Container,
                "containerd:4f66ad9a0b2e",
                "",
            ),
            (
                "USER/user.slice/libpod-ID.scope/container",
                Container,
                "podman:4f66ad9a0b2e",
                "USER/user.slice/libpod-ID.scope",
            ),
            ("/machine.slice/libpod-conmon-ID.scope", Container, "podman:4f66ad9a0b2e", ""),
            ("/libpod_parent/libpod-ID", Container, "podman:4f66ad9a0b2e", ""),
            (
                "/system.slice/immich-ml.service/libpod-payload-ID",
                Service,
                "immich-ml.service",
                "/system.slice/immich-ml.service",
            ),
            ("/lxc/web/ns/system.slice/nginx.service", Container, "lxc:web", "/lxc/web"),
            ("/lxc.payload.web/init.scope", Container, "lxc:web", "/lxc.payload.web"),
            ("/lxc.monitor.web", Container, "lxc:web", ""),
            ("/default/ID", Container, "container:4f66ad9a0b2e", ""),
            ("USER/app.slice/lowtide-run-42.scope", Lease, "lowtide-run-42.scope", ""),
            (
                "/system.slice/lowtide-run-42.scope/docker/ID",
                Lease,
                "lowtide-run-42.scope",
                "/system.slice/lowtide-run-42.scope",
            ),
            ("/system.slice/gone.service (deleted)", Service, "gone.service", "/system.slice/gone.service"),
        ] {
            let (path, own) = (path.replace("USER", user), own.replace("USER", user));
            let own = if own.is_empty() { path.clone() } else { own };
            let expected = Some((kind, name.to_owned(), own, true));
            assert_eq!(told(&format!("0::{path}\n")), expected, "{path}");
        }
    }

    #[test]
    fn what_is_in_no_unit_is_left_to_its_process_group() {
        let (short, long) = (&ID[..12], format!("{ID}0"));
        for path in
            ["/", "/system.slice", "/user.slice/user-1000.slice", "/.service", "/lxc/", "/docker/buildkit"]
        {
            assert_eq!(told(&format!("0::{path}\n")), None, "{path}");
        }
        for path in [format!("/system.slice/x-{short}"), format!("/a/{short}"), format!("/docker/{long}")] {
            assert_eq!(told(&format!("0::{path}\n")), None, "{path}");
        }
    }

    #[test]
    fn the_line_that_says_most_is_taken() {
        let docker_v1 = "12:pids:/docker/ID\n11:memory:/docker/ID\n1:name=systemd:/docker/ID\n0::/system.slice/containerd.service\n";
        let hybrid = "10:cpu,cpuacct:/system.slice/a.service\n1:name=systemd:/system.slice/b.service\n0::/system.slice/c.service\n";
        let no_v2 = "10:cpu,cpuacct:/system.slice/a.service\n1:name=systemd:/system.slice/b.service\n";
        let controllers = "4:memory:/lxc/web\n3:cpuset:/\n1:name=systemd:/\n0::/\n";
        let outside = "0::/../../system.slice/a.service\n";
        for (text, name, in_v2) in [
            (docker_v1, "containerd.service", true),
            (hybrid, "c.service", true),
            (no_v2, "b.service", false),
            (controllers, "lxc:web", false),
            (outside, "a.service", false),
        ] {
            let (_, have, _, have_v2) = told(text).unwrap();
            assert_eq!((have.as_str(), have_v2), (name, in_v2), "{text}");
        }
        assert_eq!(parse(b""), Err(crate::linux::text::CUT_SHORT));
        assert_eq!(parse(b"0::/a.service"), Err(crate::linux::text::CUT_SHORT));
        assert!(parse(b"nonsense\n").is_err());
        assert_eq!(parse(b"0::/\xff.service\n"), Ok(None));
    }

    #[test]
    fn names_are_cleaned_cut_and_never_empty() {
        for (name, expected) in [
            ("ffmpeg", "ffmpeg"),
            (" x\n\x1b[31m\u{202e}y ", "x??[31m?y"),
            ("", "?"),
            (" \t", "?"),
            ("a:b\"c\\", "a:b\"c\\"),
        ] {
            assert_eq!(clean(name), expected, "{name:?}");
        }
        let long = clean(&"é".repeat(500));
        assert_eq!((long.len(), long.chars().count()), (64, 32));
    }
}
