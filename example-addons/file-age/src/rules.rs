//! The lines of the settings: a path, and what is allowed of it.

/// A file that should not grow old: `/var/backups/db.sql.gz warn=26h error=50h min=1MB`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct FileRule {
    pub(crate) path: String,
    pub(crate) warn_seconds: Option<f64>,
    pub(crate) error_seconds: Option<f64>,
    pub(crate) min_bytes: f64,
}

/// A certificate that should be renewed in time: `/etc/ssl/certs/nas.pem warn=21d error=3d`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct CertificateRule {
    pub(crate) path: String,
    pub(crate) warn_seconds: f64,
    pub(crate) error_seconds: f64,
}

const DAY: f64 = 86_400.0;
const CERTIFICATE_WARN: f64 = 21.0 * DAY;
const CERTIFICATE_ERROR: f64 = 3.0 * DAY;

impl FileRule {
    pub(crate) fn parse(line: &str) -> Result<Self, String> {
        let (path, words) = split(line)?;
        let mut rule = Self { path, warn_seconds: None, error_seconds: None, min_bytes: 0.0 };
        for (key, value) in words {
            match key {
                "warn" => rule.warn_seconds = Some(seconds(value)?),
                "error" => rule.error_seconds = Some(seconds(value)?),
                "min" => rule.min_bytes = bytes(value)?,
                other => return Err(format!("{other:?} is none of warn, error and min")),
            }
        }
        Ok(rule)
    }
}

impl CertificateRule {
    pub(crate) fn parse(line: &str) -> Result<Self, String> {
        let (path, words) = split(line)?;
        let mut rule = Self { path, warn_seconds: CERTIFICATE_WARN, error_seconds: CERTIFICATE_ERROR };
        for (key, value) in words {
            match key {
                "warn" => rule.warn_seconds = seconds(value)?,
                "error" => rule.error_seconds = seconds(value)?,
                other => return Err(format!("{other:?} is neither warn nor error")),
            }
        }
        Ok(rule)
    }
}

/// Keys and values behind a path.
type Words<'a> = Vec<(&'a str, &'a str)>;

/// The path, which may have spaces, and the words with `=` behind it.
fn split(line: &str) -> Result<(String, Words<'_>), String> {
    let mut path = line.trim();
    let mut words = Vec::new();
    while let Some((before, last)) = path.rsplit_once(char::is_whitespace) {
        // A slash makes it a part of the path.
        let Some(word) = last.split_once('=').filter(|_| !last.contains('/')) else { break };
        words.push(word);
        path = before.trim_end();
    }
    if !path.starts_with('/') || path == "/" {
        return Err(format!("{line:?} does not begin with an absolute path"));
    }
    Ok((path.to_owned(), words))
}

/// `90s`, `30m`, `26h`, `7d`.
fn seconds(text: &str) -> Result<f64, String> {
    number(text, &[("s", 1.0), ("m", 60.0), ("h", 3_600.0), ("d", DAY)])
        .ok_or_else(|| format!("{text:?} is no time such as 90s, 30m, 26h or 7d"))
}

/// `500`, `10kB`, `1MB`, `2GB`.
fn bytes(text: &str) -> Result<f64, String> {
    number(text, &[("GB", 1e9), ("MB", 1e6), ("kB", 1e3), ("B", 1.0), ("", 1.0)])
        .ok_or_else(|| format!("{text:?} is no size such as 500, 10kB, 1MB or 2GB"))
}

fn number(text: &str, units: &[(&str, f64)]) -> Option<f64> {
    let (number, unit) = units.iter().find_map(|(suffix, unit)| Some((text.strip_suffix(suffix)?, unit)))?;
    let digits = !number.is_empty() && number.chars().all(|c| c.is_ascii_digit() || c == '.');
    number.parse().ok().filter(|_| digits).map(|number: f64| number * unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read() {
        let file = |path: &str, warn_seconds, error_seconds, min_bytes| FileRule {
            path: path.to_owned(),
            warn_seconds,
            error_seconds,
            min_bytes,
        };
        for (line, wanted) in [
            ("/a", file("/a", None, None, 0.0)),
            (" /a b/c=d/e  warn=90s ", file("/a b/c=d/e", Some(90.0), None, 0.0)),
            ("/a error=1.5d warn=26h min=1MB", file("/a", Some(93_600.0), Some(129_600.0), 1e6)),
            ("/a/ min=500 warn=2m", file("/a/", Some(120.0), None, 500.0)),
        ] {
            assert_eq!(FileRule::parse(line).unwrap(), wanted, "{line}");
        }
        for line in [
            "",
            "a",
            "/",
            "/a warn=1",
            "/a warn=h",
            "/a warn=-1h",
            "/a min=x",
            "/a max=1h",
            "/a warn=",
            "warn=1h",
        ] {
            assert!(FileRule::parse(line).is_err(), "{line}");
        }
    }

    #[test]
    fn certificates_have_usual_times() {
        let rule = CertificateRule::parse("/a.pem error=1d").unwrap();
        assert_eq!((rule.warn_seconds, rule.error_seconds), (CERTIFICATE_WARN, DAY));
        assert!(CertificateRule::parse("/a.pem min=1MB").is_err());
    }
}
