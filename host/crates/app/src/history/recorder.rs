//! What of the ticks is recorded: of each series the newest sample since the last record, and the quiet times. Pure: it is given states and
//! gives records. The writer calls it.

use lowtide_core::history::{SeriesInfo, resolved};
use lowtide_core::metric::{Series, Text};
use lowtide_core::quiet::Level;
use lowtide_core::state::HostState;
use lowtide_core::units::MonoTime;
use lowtide_store::history::QuietRow;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// Series that are remembered before all are forgotten: labels that change all the time must not fill the memory.
const REMEMBERED_MAX: usize = 20_000;

/// A tick as it is recorded, before its series have numbers of the file.
#[derive(Debug, Default)]
pub(super) struct Record {
    /// Milliseconds since 1970.
    pub(super) at_ms: i64,
    /// Places in [`Recorder::series`], sorted, with their samples.
    pub(super) samples: Vec<(u32, f64)>,
}

/// Gathers the samples of ticks.
#[derive(Debug)]
pub(super) struct Recorder {
    interval: Duration,
    recorded_at: Option<MonoTime>,
    series: Vec<SeriesInfo>,
    by_key: HashMap<String, u32>,
    /// For each collector where its series are, as long as they are the same.
    layouts: HashMap<Text, (Arc<[Series]>, Vec<u32>)>,
    /// The newest sample of each series since the last record; NaN without one.
    newest: Vec<f64>,
    quiet: Option<QuietTime>,
}

/// A quiet time that goes on.
#[derive(Clone, Copy, Debug)]
struct QuietTime {
    row: QuietRow,
    score_sum: f64,
    at: MonoTime,
}

/// What one tick gave.
#[derive(Debug, Default)]
pub(super) struct Taken {
    /// The record, when one was due.
    pub(super) record: Option<Record>,
    /// A quiet time that has ended.
    pub(super) quiet_ended: Option<QuietRow>,
}

impl Recorder {
    pub(super) fn new(interval: Duration) -> Self {
        Self {
            interval,
            recorded_at: None,
            series: Vec::new(),
            by_key: HashMap::new(),
            layouts: HashMap::new(),
            newest: Vec::new(),
            quiet: None,
        }
    }

    /// The series that records are about, by their places. They only grow in number until [`Recorder::forget`].
    pub(super) fn series(&self) -> &[SeriesInfo] {
        &self.series
    }

    /// Takes in a tick. With `thinning`, one of so many due records is made.
    pub(super) fn take(&mut self, state: &HostState, thinning: u32) -> Taken {
        for report in state.reports().filter(|report| report.fresh) {
            let Some(samples) = &report.samples else { continue };
            let known = self.layouts.get(&report.info.name);
            if known.is_none_or(|(series, _)| !Arc::ptr_eq(series, &samples.series)) {
                let places =
                    samples.series.iter().map(|series| self.place(&report.info.group, series)).collect();
                self.layouts.insert(report.info.name.clone(), (Arc::clone(&samples.series), places));
            }
            let Some((series, places)) = self.layouts.get(&report.info.name) else { continue };
            for ((series, place), value) in series.iter().zip(places).zip(&samples.values) {
                if value.is_finite()
                    && let Some(newest) = self.newest.get_mut(*place as usize)
                {
                    *newest = resolved(series, *value);
                }
            }
        }
        let now = state.snapshot.at;
        // Whole ticks, and half a tick early is still that tick.
        let tick = state.snapshot.interval.max(Duration::from_millis(1));
        let ticks = (self.interval * thinning.max(1)).as_millis().div_ceil(tick.as_millis());
        let wait = (tick * u32::try_from(ticks).unwrap_or(u32::MAX)).saturating_sub(tick / 2);
        let due = self.recorded_at.is_none_or(|recorded| now.mono.since(recorded) >= wait);
        let record = due.then(|| {
            self.recorded_at = Some(now.mono);
            let newest = (0u32..).zip(&mut self.newest);
            let samples = newest.filter(|(_, value)| value.is_finite());
            let samples = samples.map(|(place, value)| (place, std::mem::replace(value, f64::NAN))).collect();
            Record { at_ms: now.wall.unix_ms(), samples }
        });
        Taken { record, quiet_ended: self.take_quiet(state) }
    }

    fn place(&mut self, group: &str, series: &Series) -> u32 {
        let key = SeriesInfo::key_of(group, series);
        if let Some(place) = self.by_key.get(&key) {
            return *place;
        }
        let place = u32::try_from(self.series.len()).unwrap_or(u32::MAX);
        self.series.push(SeriesInfo::new(group, series));
        self.newest.push(f64::NAN);
        self.by_key.insert(key, place);
        place
    }

    /// Whether so many series are remembered that it is time to begin anew.
    pub(super) fn is_full(&self) -> bool {
        self.series.len() > REMEMBERED_MAX
    }

    /// Forgets all series; records made before are about them no more.
    pub(super) fn forget(&mut self) {
        self.series.clear();
        self.by_key.clear();
        self.layouts.clear();
        self.newest.clear();
    }

    /// The quiet time that goes on.
    pub(super) fn quiet_now(&self) -> Option<QuietRow> {
        self.quiet.map(|quiet| quiet.row)
    }

    /// A quiet time ends with the first tick that is not QUIET, and with a gap of more than three ticks: nobody knows what was in it.
    fn take_quiet(&mut self, state: &HostState) -> Option<QuietRow> {
        let (now, score) = (state.snapshot.at, state.quiet.score);
        let longest = state.snapshot.interval * lowtide_core::limits::STALE_AFTER_INTERVALS;
        let is_quiet = state.quiet.state == Level::Quiet;
        let goes_on = |quiet: &QuietTime| {
            is_quiet && now.mono.since(quiet.at) <= longest && now.wall.unix_ms() >= quiet.row.to_ms
        };
        let ended =
            self.quiet.take_if(|quiet| !goes_on(quiet)).map(|quiet| QuietRow { open: false, ..quiet.row });
        if is_quiet {
            let at_ms = now.wall.unix_ms();
            let quiet = self.quiet.get_or_insert(QuietTime {
                row: QuietRow {
                    from_ms: at_ms,
                    to_ms: at_ms,
                    ticks: 0,
                    score_avg: 0.0,
                    score_min: score,
                    open: true,
                },
                score_sum: 0.0,
                at: now.mono,
            });
            quiet.at = now.mono;
            quiet.score_sum += f64::from(score);
            let row = &mut quiet.row;
            row.ticks += 1;
            row.to_ms = at_ms;
            row.score_min = row.score_min.min(score);
            #[expect(clippy::cast_precision_loss, reason = "far fewer ticks than 2^52")]
            let mean = quiet.score_sum / row.ticks as f64;
            row.score_avg = (mean * 100.0).round() / 100.0;
        }
        ended
    }
}

#[cfg(test)]
mod tests;
