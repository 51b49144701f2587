//! What an addon may be allowed to do besides recording metrics and lines: the manifest asks for it, the operator grants it, and both
//! say it in the same words.

use serde::Deserialize;
use std::fmt;
use std::path::{Component, Path, PathBuf};

/// Capabilities, asked for or granted. The default is none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Capabilities {
    /// A small store of its own.
    pub kv: bool,
    /// Leases up to these bounds.
    pub leases: Option<LeaseBounds>,
    /// Requests by method and origin, for example `GET http://127.0.0.1:8096`.
    pub http: Vec<HttpRule>,
    /// Paths (`/sys/class/hwmon`: that and all below) and addresses (`tcp://127.0.0.1:445`).
    pub host_data: Vec<DataRule>,
}

/// The most that an addon's leases may take.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeaseBounds {
    /// Units, 1 to 100.
    pub max_units: u8,
    /// Priority.
    #[serde(default)]
    pub max_priority: LeasePriority,
}

/// Priority of a lease, lowest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LeasePriority {
    /// Only when it is quiet.
    #[default]
    Low,
    /// The usual.
    Normal,
    /// May run although it is not quiet.
    High,
}

impl LeasePriority {
    /// The word in files.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Normal => "normal",
            Self::High => "high",
        }
    }
}

/// A method and an origin (RFC 6454: scheme, host, port).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct HttpRule {
    /// `GET` or `POST`.
    pub method: HttpMethod,
    /// Scheme, host in lower case, port.
    pub origin: Origin,
}

/// The methods that an addon can use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpMethod {
    /// Reading.
    Get,
    /// Sending.
    Post,
}

/// Where a server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// True for `https`.
    pub secure: bool,
    /// Name or address in lower case, an IPv6 address in brackets.
    pub host: String,
    /// Port, also where it is the scheme's usual one.
    pub port: u16,
}

/// A path or an address.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum DataRule {
    /// A file, or a directory with all below it.
    Path(PathBuf),
    /// `host:port` that may be tried.
    Tcp(String),
}

impl fmt::Display for HttpMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Get => "GET",
            Self::Post => "POST",
        })
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}:{}", if self.secure { "https" } else { "http" }, self.host, self.port)
    }
}

impl fmt::Display for HttpRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.origin)
    }
}

impl fmt::Display for DataRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => write!(f, "{}", path.display()),
            Self::Tcp(address) => write!(f, "tcp://{address}"),
        }
    }
}

impl Origin {
    /// Takes `http://host`, `https://host:port` and the like: no path but `/`, no user, no query.
    ///
    /// # Errors
    /// In words, when it is anything else.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not an origin such as http://127.0.0.1:8096");
        let (secure, rest) = match text.split_once("://") {
            Some(("http", rest)) => (false, rest),
            Some(("https", rest)) => (true, rest),
            _ => return Err(wrong()),
        };
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        if authority.is_empty() || authority.contains(['/', '?', '#', '@', ' ', '\\']) {
            return Err(wrong());
        }
        let usual = if secure { 443 } else { 80 };
        // A colon within brackets belongs to an IPv6 address.
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().map_err(|_| wrong())?),
            _ => (authority, usual),
        };
        if host.is_empty() || (host.contains(':') && !(host.starts_with('[') && host.ends_with(']'))) {
            return Err(wrong());
        }
        Ok(Self { secure, host: host.to_ascii_lowercase(), port })
    }
}

impl TryFrom<String> for HttpRule {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let (method, origin) = text.split_once(' ').unwrap_or((&text, ""));
        let method = match method {
            "GET" => HttpMethod::Get,
            "POST" => HttpMethod::Post,
            _ => {
                return Err(format!(
                    "{text:?} is not a method and an origin such as \"GET http://127.0.0.1:8096\""
                ));
            }
        };
        Ok(Self { method, origin: Origin::parse(origin.trim())? })
    }
}

impl TryFrom<String> for DataRule {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if let Some(address) = text.strip_prefix("tcp://") {
            // The same rules as for an origin's host and port, but the port must be there.
            let origin = Origin::parse(&format!("http://{address}"))?;
            if !address.ends_with(&format!(":{}", origin.port)) {
                return Err(format!("{text:?} names no port, as tcp://127.0.0.1:445 does"));
            }
            return Ok(Self::Tcp(format!("{}:{}", origin.host, origin.port)));
        }
        let path = Path::new(&text);
        let plain = path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
        if !path.is_absolute() || !plain || path.components().count() < 2 {
            return Err(format!(
                "{text:?} is not an absolute path below / without .. nor an address such as tcp://127.0.0.1:445"
            ));
        }
        Ok(Self::Path(path.components().collect()))
    }
}

impl Capabilities {
    /// What of `self` (asked for) `granted` does not cover, each as a line of the operator's configuration; empty when all is
    /// granted.
    #[must_use]
    pub fn beyond(&self, granted: &Self) -> Vec<String> {
        let mut missing = Vec::new();
        if self.kv && !granted.kv {
            missing.push("kv = true".to_owned());
        }
        if let Some(asked) = &self.leases {
            let covered = granted.leases.as_ref().is_some_and(|granted| {
                granted.max_units >= asked.max_units && granted.max_priority >= asked.max_priority
            });
            if !covered {
                let priority = asked.max_priority.name();
                missing.push(format!(
                    "leases = {{ max_units = {}, max_priority = \"{priority}\" }}",
                    asked.max_units
                ));
            }
        }
        let http: Vec<_> = self.http.iter().filter(|rule| !granted.http.contains(rule)).collect();
        if !http.is_empty() {
            missing.push(format!("http = {}", list(&http)));
        }
        let data: Vec<_> = self.host_data.iter().filter(|rule| !granted.covers(rule)).collect();
        if !data.is_empty() {
            missing.push(format!("host_data = {}", list(&data)));
        }
        missing
    }

    fn covers(&self, asked: &DataRule) -> bool {
        self.host_data.iter().any(|granted| match (granted, asked) {
            (DataRule::Path(granted), DataRule::Path(asked)) => asked.starts_with(granted),
            (granted, asked) => granted == asked,
        })
    }
}

fn list<T: fmt::Display>(rules: &[T]) -> String {
    let quoted: Vec<String> = rules.iter().map(|rule| format!("\"{rule}\"")).collect();
    format!("[{}]", quoted.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Capabilities, toml::de::Error> {
        toml::from_str(text)
    }

    #[test]
    fn rules_are_read_in_one_form() {
        let rule = |text: &str| HttpRule::try_from(text.to_owned()).map(|rule| rule.to_string());
        assert_eq!(rule("GET http://Host").unwrap(), "GET http://host:80");
        assert_eq!(rule("POST https://[::1]/").unwrap(), "POST https://[::1]:443");
        for bad in [
            "http://host",
            "PUT http://host",
            "GET ftp://host",
            "GET http://",
            "GET http://a/b",
            "GET http://u@h",
            "GET http://a:x",
            "GET http://::1",
        ] {
            assert!(rule(bad).is_err(), "{bad}");
        }
        let data = |text: &str| DataRule::try_from(text.to_owned()).map(|rule| rule.to_string());
        assert_eq!(data("/sys//class/hwmon/").unwrap(), "/sys/class/hwmon");
        assert_eq!(data("tcp://Nas:445").unwrap(), "tcp://nas:445");
        for bad in ["sys", "/", "/sys/../etc", "tcp://nas", "tcp://nas:", ""] {
            assert!(data(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_not_granted_is_said_as_configuration() {
        let asked = parse(
            "kv = true\nhttp = [\"GET http://a:1\", \"GET http://b:2\"]\nhost_data = [\"/sys/class/hwmon/hwmon0\", \"/proc/net\"]\nleases = { max_units = 40 }",
        )
        .unwrap();
        let granted =
            parse("http = [\"GET http://b:2\"]\nhost_data = [\"/sys/class\"]\nleases = { max_units = 30, max_priority = \"high\" }")
                .unwrap();
        let missing = asked.beyond(&granted);
        assert_eq!(
            missing,
            [
                "kv = true",
                "leases = { max_units = 40, max_priority = \"low\" }",
                "http = [\"GET http://a:1\"]",
                "host_data = [\"/proc/net\"]",
            ]
        );
        // What was printed can be pasted, and then nothing is missing.
        let pasted = parse(&missing.join("\n")).unwrap();
        let both = Capabilities {
            http: [granted.http, pasted.http].concat(),
            host_data: [granted.host_data, pasted.host_data].concat(),
            ..pasted
        };
        assert_eq!(asked.beyond(&both), Vec::<String>::new());
    }

    #[test]
    fn a_path_is_covered_by_its_folder_and_not_by_its_name() {
        let granted = parse("host_data = [\"/sys/class\"]").unwrap();
        assert!(!parse("host_data = [\"/sys/classes\"]").unwrap().beyond(&granted).is_empty());
    }

    #[test]
    fn unknown_capabilities_are_errors() {
        assert!(parse("sockets = true").is_err());
    }
}
