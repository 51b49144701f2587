//! How long the machine was in each state, by weekday and hour. Old weeks fade: what was half a year ago says little.

use lowtide_sdk::system::State;

pub(crate) const STATES: [State; 4] = [State::Quiet, State::Normal, State::Busy, State::Panic];
pub(crate) const WEEKDAYS: [&str; 7] =
    ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
const HOURS: usize = 24;

/// An hour that holds more than this is halved: about eight weeks count.
const SECONDS_MAX: f64 = 8.0 * 3_600.0;

/// Less is too little to say something.
const SECONDS_MIN: f64 = 600.0;

/// The name of a state in labels and documents.
pub(crate) fn name(state: State) -> &'static str {
    match state {
        State::Quiet => "quiet",
        State::Normal => "normal",
        State::Busy => "busy",
        State::Panic => "panic",
    }
}

fn place(state: State) -> usize {
    match state {
        State::Quiet => 0,
        State::Normal => 1,
        State::Busy => 2,
        State::Panic => 3,
    }
}

/// An hour of the week.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hour {
    /// 0 is Monday.
    pub(crate) weekday: usize,
    pub(crate) hour: usize,
}

impl Hour {
    /// The hour of a moment, in milliseconds since 1970, where clocks are this much ahead of UTC.
    pub(crate) fn of(unix_ms: u64, utc_offset_minutes: i64) -> Self {
        let minutes = i64::try_from(unix_ms / 60_000).unwrap_or_default() + utc_offset_minutes;
        let hours = minutes.div_euclid(60);
        // 1970 began with a Thursday.
        let weekday = (hours.div_euclid(24) + 3).rem_euclid(7);
        let small = |number: i64| usize::try_from(number).unwrap_or_default();
        Self { weekday: small(weekday), hour: small(hours.rem_euclid(24)) }
    }

    fn all() -> impl Iterator<Item = Self> {
        (0..WEEKDAYS.len()).flat_map(|weekday| (0..HOURS).map(move |hour| Self { weekday, hour }))
    }

    fn place(self) -> usize {
        self.weekday * HOURS + self.hour
    }
}

/// Seconds in each state, for each hour of the week.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Table(Vec<[f64; STATES.len()]>);

impl Default for Table {
    fn default() -> Self {
        Self(vec![[0.0; STATES.len()]; WEEKDAYS.len() * HOURS])
    }
}

impl Table {
    /// Adds time.
    pub(crate) fn add(&mut self, hour: Hour, state: State, seconds: f64) {
        let Some(cell) = self.0.get_mut(hour.place()) else { return };
        if let Some(sum) = cell.get_mut(place(state)) {
            *sum += seconds;
        }
        if cell.iter().sum::<f64>() > SECONDS_MAX {
            cell.iter_mut().for_each(|sum| *sum /= 2.0);
        }
    }

    /// Share of an hour that was quiet; none if too little is known of it.
    pub(crate) fn quiet_ratio(&self, hour: Hour) -> Option<f64> {
        let cell = self.0.get(hour.place())?;
        let all: f64 = cell.iter().sum();
        let quiet = cell.first()?;
        (all >= SECONDS_MIN).then(|| quiet / all)
    }

    /// Hours of the week of which enough is known.
    pub(crate) fn hours_known(&self) -> usize {
        Hour::all().filter(|hour| self.quiet_ratio(*hour).is_some()).count()
    }

    /// The quietest hours, best first.
    pub(crate) fn best(&self, most: usize) -> Vec<(Hour, f64)> {
        let mut known: Vec<_> =
            Hour::all().filter_map(|hour| Some((hour, self.quiet_ratio(hour)?))).collect();
        known.sort_by(|(_, a), (_, b)| b.total_cmp(a));
        known.truncate(most);
        known
    }

    /// For the store: a line for each hour, whole seconds.
    pub(crate) fn write(&self) -> String {
        let line = |cell: &[f64; STATES.len()]| {
            let sums: Vec<String> = cell.iter().map(|sum| format!("{sum:.0}")).collect();
            sums.join(" ")
        };
        self.0.iter().map(line).collect::<Vec<_>>().join("\n")
    }

    /// What [`Table::write`] wrote; none if it is something else.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let line = |line: &str| {
            let sums =
                line.split(' ').map(|sum| sum.parse().ok().filter(|sum: &f64| (0.0..=1e6).contains(sum)));
            <[f64; STATES.len()]>::try_from(sums.collect::<Option<Vec<f64>>>()?).ok()
        };
        let cells: Vec<_> = text.lines().map(line).collect::<Option<_>>()?;
        (cells.len() == WEEKDAYS.len() * HOURS).then_some(Self(cells))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_are_those_of_the_calendar() {
        for (unix_s, offset, weekday, hour) in [
            (0, 0, "thursday", 0),
            (1_767_225_600, 0, "thursday", 0), // 2026-01-01T00:00Z
            (1_767_225_600, -1, "wednesday", 23),
            (1_767_225_600, 90, "thursday", 1),
            (1_767_585_599, 0, "monday", 3), // 2026-01-05T03:59:59Z
            (0, -300, "wednesday", 19),
        ] {
            let found = Hour::of(unix_s * 1_000, offset);
            assert_eq!((WEEKDAYS[found.weekday], found.hour), (weekday, hour), "{unix_s} {offset}");
        }
    }

    #[test]
    fn shares_need_some_time_and_fade() {
        let mut table = Table::default();
        let hour = Hour { weekday: 6, hour: 23 };
        table.add(hour, State::Quiet, 500.0);
        assert_eq!((table.quiet_ratio(hour), table.hours_known()), (None, 0));
        table.add(hour, State::Busy, 500.0);
        assert_eq!((table.quiet_ratio(hour), table.hours_known()), (Some(0.5), 1));
        for _ in 0..1_000 {
            table.add(hour, State::Quiet, 3_600.0);
        }
        assert!(table.quiet_ratio(hour).unwrap() > 0.99);
        let other = Hour { weekday: 0, hour: 3 };
        table.add(other, State::Panic, 700.0);
        assert_eq!(table.best(5).iter().map(|(hour, _)| *hour).collect::<Vec<_>>(), [hour, other]);
        assert_eq!(table.best(1).len(), 1);
    }

    #[test]
    fn a_table_outlives_the_store() {
        let mut table = Table::default();
        table.add(Hour { weekday: 2, hour: 5 }, State::Normal, 42.0);
        assert_eq!(Table::read(&table.write()), Some(table));
        for broken in ["", "1 2 3 4", "x"] {
            assert_eq!(Table::read(broken), None);
        }
        assert_eq!(Table::read(&Table::default().write().replacen('0', "-1", 1)), None);
        assert_eq!(Table::read(&Table::default().write().replacen('0', "NaN", 1)), None);
    }
}
