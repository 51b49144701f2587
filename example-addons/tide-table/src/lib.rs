//! When this machine is quiet: watches the host's verdict, keeps in its store how long each state lasted by weekday and hour, and
//! tells it as a document. A change of state is an event.

mod table;

use lowtide_sdk::json::{Object, Value};
use lowtide_sdk::system::State;
use lowtide_sdk::{Collector, CustomStats, Description, Failure, Metric, Sample, Unit};
use lowtide_sdk::{config, kv, metrics, sample, system, time, warn};
use std::time::Duration;
use table::{Hour, Table, WEEKDAYS, name};

/// Between two looks, unless the operator sets another time.
const INTERVAL: Duration = Duration::from_secs(30);

/// A longer time between two looks was a sleep or a stop, and nobody knows what was then.
const GAP: Duration = Duration::from_secs(600);

/// The store is written this often: every write wears the disk, and little is lost.
const WRITE_EVERY: Duration = Duration::from_secs(600);

const KEY: &str = "table";

/// The addon.
#[derive(Debug, Default)]
struct TideTable {
    /// None until it was read from the store.
    table: Option<Table>,
    /// The last look.
    last: Option<(Duration, State)>,
    written: Duration,
}

impl TideTable {
    fn table(&mut self) -> Result<&mut Table, Failure> {
        if self.table.is_none() {
            let stored = kv::get_text(KEY)?;
            let table = stored.as_deref().and_then(Table::read);
            if stored.is_some() && table.is_none() {
                warn!("the stored table cannot be read: it begins anew");
            }
            self.table = Some(table.unwrap_or_default());
            self.written = time::monotonic();
        }
        Ok(self.table.get_or_insert_default())
    }

    /// Writes the table down when it is time.
    fn save(&mut self, now: Duration) -> Result<(), Failure> {
        if now.saturating_sub(self.written) >= WRITE_EVERY {
            let text = self.table()?.write();
            kv::set(KEY, text)?;
            self.written = now;
        }
        Ok(())
    }
}

fn hour() -> Result<Hour, Failure> {
    let offset: i64 = config::optional("utc_offset_minutes")?.unwrap_or(0);
    if !(-720..=840).contains(&offset) {
        return Err(Failure::config("utc_offset_minutes: it must be between -720 and 840"));
    }
    Ok(Hour::of(time::now(), offset))
}

impl Collector for TideTable {
    fn describe() -> Description {
        Description::new(
            "How long the machine is in each state, and how quiet this hour of the week usually is.",
        )
        .every(INTERVAL)
        .metric(
            Metric::counter("state_seconds_total", Unit::Seconds, "Time that the machine was in the state.")
                .labels(["state"]),
        )
        .metric(
            Metric::counter(
                "state_changes_total",
                Unit::Count,
                "Times that the machine came into the state.",
            )
            .labels(["state"]),
        )
        .metric(Metric::gauge(
            "expected_quiet_ratio",
            Unit::Ratio,
            "Share of this hour of the week that was quiet in the last weeks; left out until it is known.",
        ))
        .metric(Metric::gauge(
            "hours_known",
            Unit::Count,
            "Hours of the week, of 168, of which enough is known to say how quiet they are.",
        ))
    }

    fn collect(&mut self) -> Result<Vec<Sample>, Failure> {
        let hour = hour()?;
        let state = system::quiet()?.state;
        let now = time::monotonic();
        if let Some((at, before)) = self.last {
            let passed = now.saturating_sub(at);
            if passed <= GAP {
                let seconds = passed.as_secs_f64();
                self.table()?.add(hour, state, seconds);
                metrics::counter("state_seconds_total", &[name(state)], seconds)?;
            }
            if before != state {
                metrics::counter("state_changes_total", &[name(state)], 1.0)?;
                metrics::event("state_changed", &[("from", name(before)), ("to", name(state))])?;
            }
        }
        self.last = Some((now, state));
        let table = self.table()?;
        let mut samples = vec![sample("hours_known", (), table.hours_known() as f64)];
        samples.extend(table.quiet_ratio(hour).map(|ratio| sample("expected_quiet_ratio", (), ratio)));
        self.save(now)?;
        Ok(samples)
    }
}

impl CustomStats for TideTable {
    fn stats(&mut self) -> Result<String, Failure> {
        let state = self.last.map(|(_, state)| name(state));
        let table = self.table()?;
        // Shares with two digits: the document is for people.
        let rounded = |ratio: f64| (ratio * 100.0).round() / 100.0;
        let mut days = Object::new();
        for (weekday, day) in WEEKDAYS.iter().enumerate() {
            let ratio = |hour| table.quiet_ratio(Hour { weekday, hour }).map(rounded);
            days = days.put(*day, Value::from_iter((0..24).map(ratio)));
        }
        let best = table.best(10).into_iter().map(|(hour, ratio)| {
            Object::new()
                .put("weekday", WEEKDAYS.get(hour.weekday).copied().unwrap_or_default())
                .put("hour", u32::try_from(hour.hour).unwrap_or_default())
                .put("quiet_ratio", rounded(ratio))
        });
        Ok(Object::new()
            .put("state", state)
            .put("hours_known", u32::try_from(table.hours_known()).unwrap_or_default())
            .put("quietest", Value::from_iter(best))
            .put("quiet_ratio_by_hour", days)
            .finish())
    }
}

lowtide_sdk::addon!(TideTable: Collector, CustomStats);

#[cfg(test)]
mod tests {
    use super::*;
    use lowtide_sdk::testing::FakeHost;

    /// Looks every 30 s for so long.
    fn watch(mut host: FakeHost, looks: usize) -> FakeHost {
        for _ in 0..looks {
            host.collect::<TideTable>().assert_ok();
            host = host.advance(INTERVAL);
        }
        host
    }

    #[test]
    fn time_is_counted_by_state_and_hour() {
        let host = FakeHost::new().quiet(90, State::Quiet);
        let mut host = watch(host, 31);
        let report = host.collect::<TideTable>();
        assert_eq!(report.value("hours_known", &[]), Some(1.0));
        assert_eq!(report.value("expected_quiet_ratio", &[]), Some(1.0));
        assert_eq!(report.recorded("state_seconds_total", &["quiet"]), Some(30.0));
        let report = host.stats::<TideTable>();
        // 2026-01-01 is a Thursday.
        let wanted = r#"{"state":"quiet","hours_known":1,"quietest":[{"weekday":"thursday","hour":0,"quiet_ratio":1}]"#;
        assert!(report.assert_ok().starts_with(wanted), "{:?}", report.answer);
        assert!(report.assert_ok().contains(r#""thursday":[1,null,"#));
    }

    #[test]
    fn a_change_is_an_event_and_a_gap_is_not_counted() {
        let mut host = watch(FakeHost::new().quiet(90, State::Quiet), 2).quiet(20, State::Busy);
        let report = host.collect::<TideTable>();
        assert_eq!(report.recorded("state_changes_total", &["busy"]), Some(1.0));
        let attributes =
            [("from", "quiet"), ("to", "busy")].map(|(key, value)| (key.to_owned(), value.to_owned()));
        assert_eq!(
            (report.events[0].name.as_str(), &report.events[0].attributes[..]),
            ("state_changed", &attributes[..])
        );
        let mut host = host.advance(Duration::from_secs(7_200));
        let report = host.collect::<TideTable>();
        assert_eq!((report.recorded.len(), report.events.len()), (0, 0));
    }

    #[test]
    fn the_table_outlives_the_instance() {
        let host = watch(FakeHost::new().quiet(90, State::Quiet), 60);
        assert!(host.stored(KEY).is_some());
        let mut host = host.restart();
        assert_eq!(host.collect::<TideTable>().value("hours_known", &[]), Some(1.0));
        let mut host = host.restart().kv(KEY, "nonsense");
        let report = host.collect::<TideTable>();
        assert_eq!(report.value("hours_known", &[]), Some(0.0));
        assert!(report.logged("it begins anew"));
    }

    #[test]
    fn faults_are_failures() {
        let failure = |mut host: FakeHost| host.collect::<TideTable>().answer.unwrap_err();
        assert!(matches!(failure(FakeHost::new()), Failure::Unavailable(_)));
        let quiet = || FakeHost::new().quiet(90, State::Quiet);
        assert!(matches!(failure(quiet().kv_unavailable()), Failure::Unavailable(_)));
        assert!(matches!(failure(quiet().config("utc_offset_minutes", 9_000)), Failure::Config(_)));
    }
}
