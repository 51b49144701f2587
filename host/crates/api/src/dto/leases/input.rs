//! What clients send about leases, and what of it is refused, with the field, the reason and a value that would do.

use crate::error::Problem;
use crate::params;
use jiff::Timestamp;
use lowtide_app::Work;
use lowtide_core::lease::{Constraints, Mode, Override, Priority, Progress, Request, Text, Usage, Window};
use lowtide_core::limits::{self, LEASE_ADDON_PREFIX};
use lowtide_core::units::WallTime;
use serde::Deserialize;
use std::time::Duration;
use utoipa::ToSchema;

/// How long work is expected to take, if it does not say.
const DURATION_USUAL: Duration = Duration::from_secs(600);

/// Asks for a lease.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = LeaseRequest)]
pub(crate) struct LeaseRequestDto {
    /// Who asks: the holder. 1 to 64 letters, digits and `. _ : @ / -`.
    #[schema(example = "nas-backup")]
    addon_id: Option<String>,
    /// What the work is, in the same letters.
    #[schema(example = "backup")]
    job_type: Option<String>,
    /// Units of the host's capacity, 1 to 100. This or `cost_class` is needed.
    #[schema(example = 40, minimum = 1, maximum = 100)]
    cost_units: Option<i64>,
    /// The older way to say it: LOW is 10 units, NORMAL 25, HIGH 50.
    #[schema(example = "NORMAL")]
    cost_class: Option<String>,
    /// LOW, NORMAL (default) or HIGH. HIGH need not wait until it is quiet.
    #[schema(example = "LOW")]
    priority: Option<String>,
    /// How long the work is expected to take, in seconds, at most 30 days. Default 600.
    #[schema(example = 1800)]
    expected_duration_sec: Option<f64>,
    /// What it weighs on. Signals that do not matter to it do not deny it. Without any: all signals matter.
    #[serde(default)]
    constraints: ConstraintsDto,
    /// Whether it can stand still in the middle. Default false: it is revoked where others are paused.
    #[serde(default)]
    pausable: bool,
    /// How long it may stand still at most, in seconds, up to 1200. Default 600.
    max_freeze_sec: Option<f64>,
    /// "Run anyway by": a duration from now (`6h`) or a time (RFC 3339). It then starts in time to end by it, quiet or not; not in PANIC.
    #[schema(example = "6h")]
    deadline: Option<String>,
    /// True: wait in the queue if it cannot be granted at once. Default false.
    #[serde(default)]
    wait: bool,
    /// How long to wait in the queue at most, in seconds. Default: as long as it takes.
    wait_max_sec: Option<f64>,
    /// Names this request among the holder's: sent again with the same body, it gets the same lease. Also as header `Idempotency-Key`.
    #[schema(example = "2026-11-22-nightly")]
    idempotency_key: Option<String>,
}

/// What work weighs on.
#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(as = LeaseConstraints)]
pub(crate) struct ConstraintsDto {
    /// It computes.
    cpu_heavy: bool,
    /// It writes to disks.
    disk_write_heavy: bool,
    /// It sends or receives much.
    network_heavy: bool,
}

impl LeaseRequestDto {
    /// The request, if every field can be used. `header` is the idempotency key of the header.
    pub(crate) fn request(self, header: Option<&str>, now: WallTime) -> Result<Request, Box<Problem>> {
        let key = match (self.idempotency_key, header) {
            (Some(own), Some(header)) if own != header => {
                return Err(Problem::field(
                    "idempotency_key",
                    "differs from the header Idempotency-Key",
                    header,
                ));
            }
            (own, header) => own.or_else(|| header.map(str::to_owned)),
        };
        let expected_duration =
            seconds("expected_duration_sec", self.expected_duration_sec, limits::LEASE_DURATION_MAX)?
                .unwrap_or(DURATION_USUAL);
        let holder = name("addon_id", self.addon_id, "nas-backup")?;
        if holder.starts_with(LEASE_ADDON_PREFIX) {
            let reason =
                format!("must not begin with {LEASE_ADDON_PREFIX}, by which addons of this daemon ask");
            return Err(Problem::field("addon_id", reason, "\"addon_id\": \"nas-backup\""));
        }
        Ok(Request {
            holder,
            job_type: name("job_type", self.job_type, "backup")?,
            units: units(self.cost_units, self.cost_class.as_deref())?,
            priority: priority(self.priority.as_deref())?,
            expected_duration,
            constraints: Constraints {
                cpu_heavy: self.constraints.cpu_heavy,
                disk_write_heavy: self.constraints.disk_write_heavy,
                network_heavy: self.constraints.network_heavy,
            },
            pausable: self.pausable,
            max_freeze: seconds("max_freeze_sec", self.max_freeze_sec, limits::FREEZE_MAX)?
                .unwrap_or(limits::FREEZE_DEFAULT),
            deadline: self.deadline.map(|text| deadline(&text, now)).transpose()?,
            wait: self.wait,
            wait_max: wait_max(self.wait, self.wait_max_sec)?,
            key: key.map(|key| idempotency_key(&key)).transpose()?,
            owner_units_max: None,
        })
    }
}

fn wait_max(wait: bool, given: Option<f64>) -> Result<Option<Duration>, Box<Problem>> {
    let longest = seconds("wait_max_sec", given, limits::LEASE_DURATION_MAX)?;
    if longest.is_some() && !wait {
        return Err(Problem::field("wait_max_sec", "is of no use without \"wait\": true", "\"wait\": true"));
    }
    Ok(longest)
}

/// A name: what can stand in a path, a label and a log line without quotes.
pub(crate) fn name(field: &str, text: Option<String>, example: &str) -> Result<Text, Box<Problem>> {
    let Some(text) = text else {
        return Err(Problem::field(field, "is missing", format!("\"{field}\": \"{example}\"")));
    };
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._:@/-".contains(&byte);
    let first = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    if !first || text.len() > limits::LEASE_NAME_BYTES_MAX || !text.bytes().all(allowed) {
        let most = limits::LEASE_NAME_BYTES_MAX;
        let reason =
            format!("must be 1 to {most} letters, digits and . _ : @ / -, and begin with a letter or digit");
        return Err(Problem::field(field, reason, format!("\"{field}\": \"{example}\"")));
    }
    Ok(text.into())
}

fn units(units: Option<i64>, class: Option<&str>) -> Result<u32, Box<Problem>> {
    let of_class = class
        .map(|class| match class {
            "LOW" => Ok(10),
            "NORMAL" => Ok(25),
            "HIGH" => Ok(50),
            _ => {
                Err(Problem::field("cost_class", "must be LOW, NORMAL or HIGH", "\"cost_class\": \"NORMAL\""))
            }
        })
        .transpose()?;
    let most = limits::COST_UNITS_MAX;
    let of_units = units
        .map(|units| {
            u32::try_from(units).ok().filter(|units| (1..=most).contains(units)).ok_or_else(|| {
                Problem::field("cost_units", format!("must be 1 to {most}"), "\"cost_units\": 25")
            })
        })
        .transpose()?;
    match (of_units, of_class) {
        (Some(units), Some(of_class)) if units != of_class => {
            let reason = format!(
                "is {units}, but cost_class {} means {of_class}: send one of them",
                class.unwrap_or_default()
            );
            Err(Problem::field("cost_units", reason, format!("\"cost_units\": {units}")))
        }
        (Some(units), _) | (None, Some(units)) => Ok(units),
        (None, None) => {
            Err(Problem::field("cost_units", "is missing, and so is cost_class", "\"cost_units\": 25"))
        }
    }
}

fn priority(word: Option<&str>) -> Result<Priority, Box<Problem>> {
    let Some(word) = word else { return Ok(Priority::default()) };
    let found = Priority::ALL.into_iter().find(|priority| priority.name() == word);
    found.ok_or_else(|| Problem::field("priority", "must be LOW, NORMAL or HIGH", "\"priority\": \"LOW\""))
}

/// Seconds, above zero.
fn seconds(field: &str, given: Option<f64>, most: Duration) -> Result<Option<Duration>, Box<Problem>> {
    let Some(seconds) = given else { return Ok(None) };
    // Whole milliseconds: that is what is stored.
    if !(seconds >= 0.001 && seconds <= most.as_secs_f64()) {
        let reason = format!("must be above 0 and at most {} seconds", most.as_secs());
        return Err(Problem::field(field, reason, format!("\"{field}\": 600")));
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounded just above")]
    Ok(Some(Duration::from_millis((seconds * 1_000.0).round() as u64)))
}

fn deadline(text: &str, now: WallTime) -> Result<Duration, Box<Problem>> {
    let example = "\"deadline\": \"6h\"";
    let most = limits::LEASE_DURATION_MAX;
    let from_now = match text.parse::<Timestamp>() {
        Ok(time) => {
            let left = time.as_millisecond().saturating_sub(now.unix_ms());
            u64::try_from(left)
                .ok()
                .filter(|left| *left > 0)
                .map(Duration::from_millis)
                .ok_or_else(|| Problem::field("deadline", "lies in the past", example))?
        }
        Err(_) => params::duration("deadline", text, "6h").map_err(|_| {
            Problem::field("deadline", "must be a duration such as 6h, or a time as in RFC 3339", example)
        })?,
    };
    if from_now > most {
        return Err(Problem::field(
            "deadline",
            format!("must be at most {} days away", most.as_secs() / 86_400),
            example,
        ));
    }
    Ok(from_now)
}

fn idempotency_key(text: &str) -> Result<Text, Box<Problem>> {
    let most = limits::LEASE_KEY_BYTES_MAX;
    if text.is_empty() || text.len() > most || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        let reason = format!("must be 1 to {most} printable ASCII characters without blanks");
        return Err(Problem::field("idempotency_key", reason, "\"idempotency_key\": \"2026-11-22-nightly\""));
    }
    Ok(text.into())
}

/// A text for people: cut, and without control characters.
pub(crate) fn note(text: Option<String>) -> Text {
    let text = text.unwrap_or_default();
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    lowtide_core::metric::clip(text.trim(), limits::LEASE_NOTE_BYTES_MAX).into()
}

/// Says who speaks; may be left out.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct LeaseHeartbeat {
    /// The holder, as in the request: a lease of another one is then refused.
    pub(crate) addon_id: Option<String>,
    /// Where the work runs: it is left out of the load of the host. Who says it and waits (`wait`) does within a fraction of a second what it
    /// is told, and has to give way as soon as the machine is needed.
    pub(crate) work: Option<WorkDto>,
}

/// Where the work of a lease runs. It is looked for on this host, so it says nothing of work elsewhere.
#[derive(Clone, Debug, Deserialize, serde::Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = LeaseWork)]
pub(crate) struct WorkDto {
    /// The process whose descendants do the work; its command line has the word `run-guard`.
    #[schema(example = 4242, minimum = 1)]
    pid: u32,
    /// The control group of the work, if it has one of its own: a path in the version 2 tree whose last part begins with `lowtide-run-`.
    #[schema(
        example = "/user.slice/user-1000.slice/user@1000.service/lowtide-run-17-9f86d081884c7d65.scope"
    )]
    cgroup: Option<String>,
}

/// Longest path of a control group: that of a file (PATH_MAX).
const CGROUP_BYTES_MAX: usize = 4096;

impl WorkDto {
    pub(crate) fn work(self) -> Result<Work, Box<Problem>> {
        if self.pid == 0 || i32::try_from(self.pid).is_err() {
            return Err(Problem::field("work.pid", "must be the number of a process", "4242"));
        }
        let fits = |path: &String| path.starts_with('/') && path.len() <= CGROUP_BYTES_MAX;
        if self.cgroup.as_ref().is_some_and(|path| !fits(path)) {
            return Err(Problem::field(
                "work.cgroup",
                "must be a path as in /proc/PID/cgroup, at most 4096 bytes",
                "/lowtide-run-17-9f86d081884c7d65",
            ));
        }
        Ok(Work { pid: self.pid, cgroup: self.cgroup })
    }
}

/// What was used so far.
#[derive(Clone, Copy, Debug, Default, Deserialize, serde::Serialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(as = LeaseUsage)]
pub(crate) struct UsageDto {
    /// Processor time in seconds.
    pub(crate) cpu_seconds: Option<f64>,
    /// Bytes read from disks.
    pub(crate) read_bytes: Option<u64>,
    /// Bytes written to disks.
    pub(crate) written_bytes: Option<u64>,
}

impl UsageDto {
    fn usage(self) -> Result<Usage, Box<Problem>> {
        if self.cpu_seconds.is_some_and(|seconds| !(seconds.is_finite() && seconds >= 0.0)) {
            return Err(Problem::field("usage.cpu_seconds", "must not be negative", "\"cpu_seconds\": 12.5"));
        }
        let Self { cpu_seconds, read_bytes, written_bytes } = self;
        Ok(Usage { cpu_seconds, read_bytes, written_bytes })
    }
}

/// How far the work is.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct LeaseReport {
    /// The holder, as in the request.
    pub(crate) addon_id: Option<String>,
    /// Share that is done, 0 to 1.
    #[schema(example = 0.4)]
    done_ratio: Option<f64>,
    /// What is being done, at most 256 bytes.
    #[schema(example = "pack 12 of 30")]
    note: Option<String>,
    /// What was used so far.
    usage: UsageDto,
}

impl LeaseReport {
    pub(crate) fn progress(self) -> Result<Progress, Box<Problem>> {
        if self.done_ratio.is_some_and(|ratio| !(0.0..=1.0).contains(&ratio)) {
            return Err(Problem::field("done_ratio", "must be 0 to 1", "\"done_ratio\": 0.4"));
        }
        Ok(Progress { done_ratio: self.done_ratio, note: note(self.note), usage: self.usage.usage()? })
    }
}

/// Gives a lease back, or leaves the queue.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct LeaseRelease {
    /// The holder, as in the request.
    pub(crate) addon_id: Option<String>,
    /// `done` (default) or `failed`.
    #[schema(example = "done")]
    outcome: Option<String>,
    /// What was done, or why it failed, at most 256 bytes.
    note: Option<String>,
    /// What was used.
    usage: UsageDto,
}

impl LeaseRelease {
    pub(crate) fn outcome(self) -> Result<(bool, Text, Usage), Box<Problem>> {
        let done = match self.outcome.as_deref() {
            None | Some("done") => true,
            Some("failed") => false,
            Some(_) => {
                return Err(Problem::field("outcome", "must be done or failed", "\"outcome\": \"done\""));
            }
        };
        Ok((done, note(self.note), self.usage.usage()?))
    }
}

/// Takes a lease back.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct LeaseRevoke {
    /// Why, for its holder and the log, at most 256 bytes.
    #[schema(example = "the UPS is on battery")]
    reason: Option<String>,
    /// Seconds that its holder has to let go, 0 (at once) to 3600. Default as configured.
    #[schema(example = 60)]
    grace_sec: Option<f64>,
}

impl LeaseRevoke {
    pub(crate) fn order(self) -> Result<(Text, Option<Duration>), Box<Problem>> {
        let why = note(self.reason);
        let why = if why.is_empty() { "the operator wants it back".into() } else { why };
        let grace = match self.grace_sec {
            Some(0.0) => Some(Duration::ZERO),
            given => seconds("grace_sec", given, limits::REVOKE_GRACE_MAX)?,
        };
        Ok((why, grace))
    }
}

/// The operator's switch.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LeaseOverrideInput {
    /// `block`: nothing starts. `allow`: what would wait for QUIET need not; PANIC still denies.
    #[schema(example = "block")]
    mode: String,
    /// Who sets it.
    #[schema(example = "anna")]
    owner: String,
    /// Why, at most 256 bytes.
    #[schema(example = "moving disks")]
    reason: String,
    /// When it ends by itself: a duration from now (`2h`) or a time (RFC 3339). Without it: when it is taken away by hand.
    #[schema(example = "2h")]
    expires: Option<String>,
}

impl LeaseOverrideInput {
    pub(crate) fn switch(self, now: WallTime) -> Result<Override, Box<Problem>> {
        let expires = self.expires.map(|text| {
            deadline(&text, now).map_err(|_| {
                Problem::field(
                    "expires",
                    "must be a duration such as 2h, or a time to come as in RFC 3339, at most 30 days away",
                    "\"expires\": \"2h\"",
                )
            })
        });
        let after = |left: Duration| {
            WallTime(now.unix_ms().saturating_add(i64::try_from(left.as_millis()).unwrap_or(0)))
        };
        Ok(Override {
            mode: mode("mode", &self.mode)?,
            owner: name("owner", Some(self.owner), "anna")?,
            reason: note(Some(self.reason)),
            set: now,
            expires: expires.transpose()?.map(after),
        })
    }
}

fn mode(field: &str, word: &str) -> Result<Mode, Box<Problem>> {
    match word {
        "block" => Ok(Mode::Block),
        "allow" => Ok(Mode::Allow),
        _ => Err(Problem::field(field, "must be block or allow", format!("\"{field}\": \"block\""))),
    }
}

/// All windows; those that were there before are replaced.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LeaseWindowsInput {
    /// At most 32.
    windows: Vec<LeaseWindowInput>,
}

/// A time of the week in which heavy work always or never starts.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LeaseWindowInput {
    /// What people call it.
    #[schema(example = "nights")]
    name: String,
    /// `allow`: always, PANIC excepted. `block`: never. Where both hold, never.
    #[schema(example = "allow")]
    mode: String,
    /// Days on which it begins: mon, tue, wed, thu, fri, sat, sun. Default all.
    #[schema(example = json!(["sat", "sun"]))]
    days: Option<Vec<String>>,
    /// Local time at which it begins, HH:MM.
    #[schema(example = "22:00")]
    from: String,
    /// Local time at which it ends, HH:MM; at or before `from`: on the next day.
    #[schema(example = "06:00")]
    to: String,
}

/// The days of a week, as written.
pub(crate) const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

impl LeaseWindowsInput {
    pub(crate) fn windows(self) -> Result<Vec<Window>, Box<Problem>> {
        let most = limits::LEASE_WINDOWS_MAX;
        if self.windows.len() > most {
            return Err(Problem::field("windows", format!("must be at most {most}"), "\"windows\": []"));
        }
        self.windows.into_iter().enumerate().map(|(number, window)| window.window(number)).collect()
    }
}

impl LeaseWindowInput {
    fn window(self, number: usize) -> Result<Window, Box<Problem>> {
        let field = |name: &str| format!("windows[{number}].{name}");
        let days = match self.days {
            None => [true; 7],
            Some(words) => days(&field("days"), &words)?,
        };
        Ok(Window {
            name: name(&field("name"), Some(self.name), "nights")?,
            mode: mode(&field("mode"), &self.mode)?,
            days,
            from: minute(&field("from"), &self.from)?,
            to: minute(&field("to"), &self.to)?,
        })
    }
}

fn days(field: &str, words: &[String]) -> Result<[bool; 7], Box<Problem>> {
    let mut days = [false; 7];
    for word in words {
        let place = DAYS.iter().position(|day| day == word).and_then(|day| days.get_mut(day));
        let Some(day) = place else {
            return Err(Problem::field(
                field,
                "must be of mon, tue, wed, thu, fri, sat, sun",
                "[\"sat\", \"sun\"]",
            ));
        };
        *day = true;
    }
    if words.is_empty() {
        return Err(Problem::field(field, "must name a day", "[\"sat\", \"sun\"]"));
    }
    Ok(days)
}

fn minute(field: &str, text: &str) -> Result<u16, Box<Problem>> {
    let two = |text: &str, most: u16| -> Option<u16> {
        let digits = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.parse().ok()).flatten().filter(|number| *number <= most)
    };
    let time = text.split_once(':').and_then(|(hour, minute)| Some(two(hour, 23)? * 60 + two(minute, 59)?));
    time.ok_or_else(|| Problem::field(field, "must be a time from 00:00 to 23:59", "22:00"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: WallTime = WallTime(1_800_000_000_000);

    fn read(body: &str) -> Result<Request, Box<Problem>> {
        let body: LeaseRequestDto = serde_json::from_str(body).unwrap();
        body.request(None, NOW)
    }

    #[test]
    fn both_ways_to_say_the_cost_are_taken() {
        let units = |rest: &str| {
            read(&format!(r#"{{"addon_id":"a","job_type":"b",{rest}}}"#)).map(|request| request.units)
        };
        assert_eq!(units(r#""cost_units":100"#).unwrap(), 100);
        for (class, expected) in [("LOW", 10), ("NORMAL", 25), ("HIGH", 50)] {
            assert_eq!(units(&format!(r#""cost_class":"{class}""#)).unwrap(), expected);
        }
        assert_eq!(units(r#""cost_units":25,"cost_class":"NORMAL""#).unwrap(), 25);
        for wrong in [
            r#""cost_units":0"#,
            r#""cost_units":101"#,
            r#""cost_units":-1"#,
            r#""cost_units":9223372036854775807"#,
            r#""cost_class":"low""#,
            r#""cost_units":10,"cost_class":"HIGH""#,
            r#""pausable":true"#,
        ] {
            assert!(units(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn every_field_is_checked_and_named() {
        let table = [
            (r#"{"job_type":"b","cost_units":1}"#, "addon_id"),
            (r#"{"addon_id":"addon:a","job_type":"b","cost_units":1}"#, "addon_id"),
            (r#"{"addon_id":" a","job_type":"b","cost_units":1}"#, "addon_id"),
            (r#"{"addon_id":"a","job_type":"b\n","cost_units":1}"#, "job_type"),
            (r#"{"addon_id":"a","job_type":"b","cost_units":1,"priority":"URGENT"}"#, "priority"),
            (
                r#"{"addon_id":"a","job_type":"b","cost_units":1,"expected_duration_sec":0}"#,
                "expected_duration_sec",
            ),
            (r#"{"addon_id":"a","job_type":"b","cost_units":1,"max_freeze_sec":1201}"#, "max_freeze_sec"),
            (r#"{"addon_id":"a","job_type":"b","cost_units":1,"deadline":"soon"}"#, "deadline"),
            (
                r#"{"addon_id":"a","job_type":"b","cost_units":1,"deadline":"2020-01-01T00:00:00Z"}"#,
                "deadline",
            ),
            (r#"{"addon_id":"a","job_type":"b","cost_units":1,"wait_max_sec":5}"#, "wait_max_sec"),
            (r#"{"addon_id":"a","job_type":"b","cost_units":1,"idempotency_key":"a b"}"#, "idempotency_key"),
        ];
        for (body, field) in table {
            let problem = serde_json::to_value(read(body).unwrap_err()).unwrap();
            assert_eq!(
                (problem["parameter"].as_str(), problem["status"].as_u64()),
                (Some(field), Some(400)),
                "{body}"
            );
            assert!(problem["example"].is_string() && problem["reason"].is_string());
        }
    }

    #[test]
    fn deadlines_are_durations_or_times() {
        assert_eq!(deadline("6h", NOW).unwrap(), Duration::from_secs(6 * 3_600));
        let at = jiff::Timestamp::from_millisecond(NOW.0 + 60_000).unwrap().to_string();
        assert_eq!(deadline(&at, NOW).unwrap(), Duration::from_secs(60));
        assert!(deadline("31d", NOW).is_err());
    }

    #[test]
    fn windows_are_read_or_refused_with_their_place() {
        let read = |window: &str| {
            let body: LeaseWindowsInput =
                serde_json::from_str(&format!(r#"{{"windows":[{window}]}}"#)).unwrap();
            body.windows()
        };
        let windows =
            read(r#"{"name":"n","mode":"allow","days":["sat","mon"],"from":"22:00","to":"06:30"}"#).unwrap();
        let window = windows.first().unwrap();
        assert_eq!(
            (window.days, window.from, window.to),
            ([true, false, false, false, false, true, false], 1_320, 390)
        );
        for (wrong, field) in [
            (r#"{"name":"n","mode":"allow","from":"24:00","to":"06:00"}"#, "windows[0].from"),
            (r#"{"name":"n","mode":"allow","from":"2:00","to":"06:00"}"#, "windows[0].from"),
            (r#"{"name":"n","mode":"maybe","from":"02:00","to":"06:00"}"#, "windows[0].mode"),
            (r#"{"name":"n","mode":"block","days":[],"from":"02:00","to":"06:00"}"#, "windows[0].days"),
        ] {
            assert_eq!(serde_json::to_value(read(wrong).unwrap_err()).unwrap()["parameter"], field);
        }
    }
}
