//! Age and size of files that should be written again and again, such as backups, and how long certificates are valid. What is
//! too old, too small or over soon is told by health and in the document.

mod certificate;
mod rules;

use certificate::Certificate;
use lowtide_sdk::host_data::{self, DataError, EntryKind};
use lowtide_sdk::json::{Object, Value};
use lowtide_sdk::{Collector, CustomStats, Description, Failure, Health, Metric, Sample, Status, Unit};
use lowtide_sdk::{config, sample, time};
use rules::{CertificateRule, FileRule};
use std::time::Duration;

/// Files of a folder that are looked at to find the newest: each is a call of the host.
const FOLDER_FILES_MAX: usize = 300;

/// Lines of each setting.
const RULES_MAX: usize = 50;

/// The addon.
#[derive(Debug, Default)]
struct FileAge {
    rules: Option<Rules>,
}

#[derive(Clone, Debug)]
struct Rules {
    files: Vec<FileRule>,
    certificates: Vec<CertificateRule>,
}

/// How a file or a certificate is, worst last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum State {
    Ok,
    Warn,
    Error,
}

impl State {
    fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

/// What was found of a rule.
struct Found<T> {
    path: String,
    state: State,
    /// What is wrong, if anything.
    problem: Option<String>,
    known: Option<T>,
}

struct FileFacts {
    age_seconds: f64,
    size_bytes: f64,
}

struct CertificateFacts {
    certificate: Certificate,
    remaining_seconds: f64,
}

impl Rules {
    fn read() -> Result<Self, Failure> {
        let files = lines("files", FileRule::parse)?;
        let certificates = lines("certificates", CertificateRule::parse)?;
        if files.is_empty() && certificates.is_empty() {
            return Err(Failure::config("files, certificates: one of them must be set"));
        }
        Ok(Self { files, certificates })
    }
}

fn lines<T>(key: &str, parse: fn(&str) -> Result<T, String>) -> Result<Vec<T>, Failure> {
    let lines: Vec<String> = config::optional(key)?.unwrap_or_default();
    if lines.len() > RULES_MAX {
        return Err(Failure::config(format!("{key}: at most {RULES_MAX} lines are possible")));
    }
    let read = lines.iter().map(|line| parse(line));
    read.map(|rule| rule.map_err(|problem| Failure::config(format!("{key}: {problem}")))).collect()
}

fn now_seconds() -> f64 {
    Duration::from_millis(time::now()).as_secs_f64()
}

/// Looks at a file, or at the newest one of a folder (a path that ends in `/`).
fn look_at_file(rule: &FileRule) -> Result<FileFacts, String> {
    let path = rule.path.as_str();
    let told = |error: DataError| error.kind.to_string();
    let found = match path.strip_suffix('/') {
        Some(folder) => {
            let entries = host_data::list_directory(folder).map_err(told)?;
            let files: Vec<_> = entries.into_iter().filter(|entry| entry.kind == EntryKind::File).collect();
            if files.len() > FOLDER_FILES_MAX {
                return Err(format!("more than {FOLDER_FILES_MAX} files lie in it"));
            }
            // One that goes while we look is not there.
            let facts = files.iter().filter_map(|file| host_data::stat(&format!("{path}{}", file.name)).ok());
            facts.max_by_key(|facts| facts.modified).ok_or("there is no file in it")?
        }
        None => host_data::stat(path).map_err(told)?,
    };
    let modified = Duration::from_millis(found.modified).as_secs_f64();
    // A clock that was set back makes files of the future: they are new.
    Ok(FileFacts { age_seconds: (now_seconds() - modified).max(0.0), size_bytes: found.size as f64 })
}

fn judge_file(rule: &FileRule) -> Found<FileFacts> {
    let found = |state, problem, known| Found { path: rule.path.clone(), state, problem, known };
    let facts = match look_at_file(rule) {
        Ok(facts) => facts,
        Err(problem) => return found(State::Error, Some(problem), None),
    };
    let older = |limit: Option<f64>| limit.is_some_and(|limit| facts.age_seconds > limit);
    let old = || Some(format!("{} old", span(facts.age_seconds)));
    if facts.size_bytes < rule.min_bytes {
        let problem = format!("only {} bytes large", facts.size_bytes);
        return found(State::Error, Some(problem), Some(facts));
    }
    let (state, problem) = if older(rule.error_seconds) {
        (State::Error, old())
    } else if older(rule.warn_seconds) {
        (State::Warn, old())
    } else {
        (State::Ok, None)
    };
    found(state, problem, Some(facts))
}

fn judge_certificate(rule: &CertificateRule) -> Found<CertificateFacts> {
    let found = |state, problem, known| Found { path: rule.path.clone(), state, problem, known };
    let read = host_data::read(&rule.path).map_err(|error| error.kind.to_string());
    let certificate = match read.and_then(|pem| certificate::ends_first(&pem)) {
        Ok(certificate) => certificate,
        Err(problem) => return found(State::Error, Some(problem), None),
    };
    let remaining_seconds = certificate.not_after as f64 - now_seconds();
    let state = if remaining_seconds <= rule.error_seconds {
        State::Error
    } else if remaining_seconds <= rule.warn_seconds {
        State::Warn
    } else {
        State::Ok
    };
    let problem = if remaining_seconds <= 0.0 {
        Some(format!("{} expired {} ago", certificate.subject, span(-remaining_seconds)))
    } else {
        (state != State::Ok)
            .then(|| format!("{} is valid for {} only", certificate.subject, span(remaining_seconds)))
    };
    found(state, problem, Some(CertificateFacts { certificate, remaining_seconds }))
}

/// A span of time for people.
fn span(seconds: f64) -> String {
    match seconds {
        s if s < 120.0 => format!("{s:.0} s"),
        s if s < 7_200.0 => format!("{:.0} min", s / 60.0),
        s if s < 172_800.0 => format!("{:.0} h", s / 3_600.0),
        s => format!("{:.0} days", s / 86_400.0),
    }
}

impl FileAge {
    fn rules(&mut self) -> Result<&Rules, Failure> {
        match &mut self.rules {
            Some(rules) => Ok(rules),
            empty => Ok(empty.insert(Rules::read()?)),
        }
    }
}

impl Collector for FileAge {
    fn describe() -> Description {
        let gauge = |name: &str, unit, help: &str| Metric::gauge(name, unit, help).labels(["path"]);
        Description::new("Age and size of files, and how long certificates are valid.")
            .every(Duration::from_secs(60))
            .metric(gauge("age_seconds", Unit::Seconds, "Time since the file was last changed."))
            .metric(gauge("size_bytes", Unit::Bytes, "Size of the file."))
            .metric(gauge("good", Unit::Count, "1 if the file or certificate is as it should be, 0 if not."))
            .metric(
                gauge(
                    "certificate_remaining_seconds",
                    Unit::Seconds,
                    "Time until the certificate ends, the first of a chain; negative after it.",
                )
                .labels(["path", "subject"]),
            )
    }

    fn collect(&mut self) -> Result<Vec<Sample>, Failure> {
        let rules = self.rules()?;
        let good = |state| f64::from(u8::from(state == State::Ok));
        let mut samples = Vec::new();
        for found in rules.files.iter().map(judge_file) {
            if let Some(facts) = found.known {
                samples.push(sample("age_seconds", [found.path.as_str()], facts.age_seconds));
                samples.push(sample("size_bytes", [found.path.as_str()], facts.size_bytes));
            }
            samples.push(sample("good", [found.path], good(found.state)));
        }
        for found in rules.certificates.iter().map(judge_certificate) {
            if let Some(facts) = found.known {
                let labels = [found.path.clone(), facts.certificate.subject];
                samples.push(sample("certificate_remaining_seconds", labels, facts.remaining_seconds));
            }
            samples.push(sample("good", [found.path], good(found.state)));
        }
        Ok(samples)
    }
}

impl Health for FileAge {
    fn check(&mut self) -> Status {
        let rules = match self.rules() {
            Ok(rules) => rules,
            Err(failure) => return Status::error(failure.text()),
        };
        let problem =
            |path: String, state, problem: Option<String>| Some((state, format!("{path}: {}", problem?)));
        let files = rules.files.iter().map(judge_file);
        let mut problems: Vec<(State, String)> =
            files.filter_map(|found| problem(found.path, found.state, found.problem)).collect();
        let certificates = rules.certificates.iter().map(judge_certificate);
        problems.extend(certificates.filter_map(|found| problem(found.path, found.state, found.problem)));
        problems.sort_by_key(|(state, _)| std::cmp::Reverse(*state));
        let Some((worst, _)) = problems.first() else { return Status::Ok };
        let worst = *worst;
        let more = problems.len().saturating_sub(3);
        let first: Vec<String> = problems.into_iter().take(3).map(|(_, text)| text).collect();
        let more = if more == 0 { String::new() } else { format!("; and {more} more") };
        let text = format!("{}{more}", first.join("; "));
        if worst == State::Error { Status::error(text) } else { Status::warn(text) }
    }
}

impl CustomStats for FileAge {
    fn stats(&mut self) -> Result<String, Failure> {
        let rules = self.rules()?;
        let files = rules.files.iter().map(judge_file).map(|found| {
            Object::new()
                .put("path", found.path)
                .put("state", found.state.name())
                .put("problem", found.problem)
                .put("age_seconds", found.known.as_ref().map(|facts| facts.age_seconds.round()))
                .put("size_bytes", found.known.map(|facts| facts.size_bytes))
        });
        let files = Value::from_iter(files);
        let certificates = rules.certificates.iter().map(judge_certificate).map(|found| {
            let known = found.known;
            Object::new()
                .put("path", found.path)
                .put("state", found.state.name())
                .put("problem", found.problem)
                .put("subject", known.as_ref().map(|facts| facts.certificate.subject.as_str()))
                .put("not_after_unix_seconds", known.as_ref().map(|facts| facts.certificate.not_after))
        });
        Ok(Object::new().put("files", files).put("certificates", Value::from_iter(certificates)).finish())
    }
}

lowtide_sdk::addon!(FileAge: Collector, Health, CustomStats);

#[cfg(test)]
mod tests {
    use super::*;
    use lowtide_sdk::testing::FakeHost;

    /// 2026-01-01T00:00:00Z.
    const NOW_MS: u64 = 1_767_225_600_000;
    const HOUR_MS: u64 = 3_600_000;
    const VALID: &str = include_str!("../fixtures/valid.pem");
    const EXPIRED: &str = include_str!("../fixtures/expired.pem");

    fn backup(hours_old: u64) -> FakeHost {
        FakeHost::new()
            .config("files", ["/srv/db.gz warn=26h error=50h min=5"])
            .file("/srv/db.gz", "backup")
            .modified("/srv/db.gz", NOW_MS - hours_old * HOUR_MS)
    }

    #[test]
    fn files_grow_old() {
        for (hours, good, health) in [
            (1, 1.0, Status::Ok),
            (27, 0.0, Status::warn("/srv/db.gz: 27 h old")),
            (51, 0.0, Status::error("/srv/db.gz: 2 days old")),
        ] {
            let mut host = backup(hours);
            let report = host.collect::<FileAge>();
            report.assert_ok();
            assert_eq!(report.value("age_seconds", &["/srv/db.gz"]), Some(hours as f64 * 3_600.0));
            assert_eq!(report.value("size_bytes", &["/srv/db.gz"]), Some(6.0));
            assert_eq!(report.value("good", &["/srv/db.gz"]), Some(good));
            assert_eq!(*host.check::<FileAge>().assert_ok(), health.clone());
        }
    }

    #[test]
    fn small_and_missing_files_are_errors() {
        let mut host = backup(1).file("/srv/db.gz", "tiny");
        assert_eq!(*host.check::<FileAge>().assert_ok(), Status::error("/srv/db.gz: only 4 bytes large"));
        let mut host = backup(1).without("/srv/db.gz");
        let report = host.collect::<FileAge>();
        assert_eq!(report.assert_ok()[..], [sample("good", ["/srv/db.gz"], 0.0)]);
        assert_eq!(
            *host.check::<FileAge>().assert_ok(),
            Status::error("/srv/db.gz: no such file or directory")
        );
        // A clock that was set back.
        let mut host = backup(1).modified("/srv/db.gz", NOW_MS + HOUR_MS);
        assert_eq!(host.collect::<FileAge>().value("age_seconds", &["/srv/db.gz"]), Some(0.0));
    }

    #[test]
    fn of_a_folder_the_newest_file_counts() {
        let mut host = FakeHost::new()
            .config("files", ["/srv/backups/ warn=2h"])
            .file("/srv/backups/old", "1")
            .modified("/srv/backups/old", NOW_MS - 30 * HOUR_MS)
            .file("/srv/backups/new", "123")
            .modified("/srv/backups/new", NOW_MS - HOUR_MS)
            .file("/srv/backups/folder/newer", "1");
        let report = host.collect::<FileAge>();
        assert_eq!(report.value("age_seconds", &["/srv/backups/"]), Some(3_600.0));
        assert_eq!(report.value("size_bytes", &["/srv/backups/"]), Some(3.0));
        let mut host = host.without("/srv/backups").directory("/srv/backups");
        assert_eq!(
            *host.check::<FileAge>().assert_ok(),
            Status::error("/srv/backups/: there is no file in it")
        );
    }

    #[test]
    fn certificates_end() {
        let mut host = FakeHost::new()
            .config("certificates", ["/etc/a.pem", "/etc/b.pem"])
            .file("/etc/a.pem", VALID)
            .file("/etc/b.pem", EXPIRED);
        let report = host.collect::<FileAge>();
        report.assert_ok();
        let remaining = report.value("certificate_remaining_seconds", &["/etc/a.pem", "nas.example"]);
        assert_eq!(remaining, Some(4_070_908_800.0 - 1_767_225_600.0));
        assert_eq!(report.value("good", &["/etc/a.pem"]), Some(1.0));
        assert_eq!(report.value("good", &["/etc/b.pem"]), Some(0.0));
        let wanted = Status::error("/etc/b.pem: old.example expired 1826 days ago");
        assert_eq!(*host.check::<FileAge>().assert_ok(), wanted);

        let mut host = host
            .clock((4_070_908_800 - 10 * 86_400) * 1_000)
            .config("certificates", ["/etc/a.pem"])
            .restart();
        let wanted = Status::warn("/etc/a.pem: nas.example is valid for 10 days only");
        assert_eq!(*host.check::<FileAge>().assert_ok(), wanted);
    }

    #[test]
    fn the_document_has_it_all() {
        let mut host = backup(27).config("certificates", ["/etc/a.pem"]);
        let report = host.stats::<FileAge>();
        let text = report.assert_ok();
        let file =
            r#"{"path":"/srv/db.gz","state":"warn","problem":"27 h old","age_seconds":97200,"size_bytes":6}"#;
        assert!(text.contains(file), "{text}");
        let missing = r#""state":"error","problem":"no such file or directory","subject":null"#;
        assert!(text.contains(missing), "{text}");
    }

    #[test]
    fn a_long_list_of_problems_is_cut_and_the_worst_come_first() {
        let lines = ["/a warn=1s", "/b", "/c", "/d"];
        let mut host = FakeHost::new().config("files", lines).file("/a", "").modified("/a", 0);
        let Status::Error(text) = host.check::<FileAge>().assert_ok().clone() else { panic!("not an error") };
        let missing = |path: &str| format!("{path}: no such file or directory");
        assert_eq!(text, format!("{}; {}; {}; and 1 more", missing("/b"), missing("/c"), missing("/d")));
    }

    #[test]
    fn settings_are_checked() {
        let failure = |mut host: FakeHost| host.collect::<FileAge>().answer.unwrap_err();
        assert!(matches!(failure(FakeHost::new()), Failure::Config(_)));
        assert!(matches!(failure(FakeHost::new().config("files", ["a"])), Failure::Config(_)));
        assert!(matches!(FakeHost::new().check::<FileAge>().assert_ok(), Status::Error(_)));
        // What was not granted is a problem of that file: the operator sees which.
        let mut host = backup(1).deny("/srv");
        assert!(
            matches!(host.check::<FileAge>().assert_ok(), Status::Error(text) if text.contains("not granted"))
        );
    }
}
