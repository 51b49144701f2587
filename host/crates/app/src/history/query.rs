//! Window and file as one series: the file up to where the window begins, the window from there on.

use super::History;
use lowtide_core::history::{Axis, Cells, SeriesInfo};
use lowtide_core::limits;
use lowtide_core::units::WallTime;
use lowtide_core::window::{Agg, Selector, TimeRange, Window};
use lowtide_store::history::{Plan, Reading, SeriesId, TooFine};
use std::collections::{HashMap, HashSet};
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

/// What of a full window is read from the file: more than an answer takes to make.
const SEAM_MARGIN_MS: i64 = 10_000;

const WINDOW_MS: i64 = 3_600_000;

/// Why there is no history to show.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HistoryError {
    /// The file cannot be read now.
    #[error("the file of history cannot be read: {0}")]
    Unavailable(String),
    /// A part of the range is only kept in roll-ups, which are coarser than the step.
    #[error("before that only roll-ups are kept")]
    TooFine(TooFine),
}

/// What is asked.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Which series.
    pub selector: Selector,
    /// From when to when.
    pub range: TimeRange,
    /// Which aggregates.
    pub aggs: Vec<Agg>,
}

/// The series that answer a question, ready to be laid.
pub struct Laying<'a> {
    window: &'a RwLock<Window>,
    history: Option<&'a History>,
    asked: &'a Asked,
    /// Where the window takes over.
    seam: WallTime,
    /// The series, those of the window first.
    series: Vec<SeriesInfo>,
    /// How many of them are the window's.
    in_window: usize,
    /// Which of them the file has. What changed its kind or unit is another series of the same name.
    in_file: HashMap<SeriesInfo, SeriesId>,
}

impl<'a> Laying<'a> {
    /// Finds the series. Blocks, if the range begins before the window.
    ///
    /// # Errors
    /// When the file is needed and cannot be read.
    pub(crate) fn new(
        window: &'a RwLock<Window>,
        history: Option<&'a History>,
        asked: &'a Asked,
    ) -> Result<Self, HistoryError> {
        let (mut series, span): (Vec<SeriesInfo>, _) = {
            let window = window.read().unwrap_or_else(PoisonError::into_inner);
            let views = window.select(&asked.selector);
            (views.iter().map(|view| SeriesInfo::new(view.group(), view.series())).collect(), window.span())
        };
        let in_window = series.len();
        let begins = span.map_or(WallTime(i64::MAX), |span| span.from);
        let history = history.filter(|_| asked.range.from < begins);
        let mut in_file = HashMap::new();
        if let Some(history) = history {
            let found = history.read(|reader| reader.matching(&asked.selector))?;
            in_file.extend(found.into_iter().map(|(id, info)| (info, id)));
            let known: HashSet<&SeriesInfo> = series.iter().collect();
            let mut past: Vec<(SeriesId, SeriesInfo)> = in_file
                .iter()
                .filter(|(info, _)| !known.contains(info))
                .map(|(info, id)| (*id, info.clone()))
                .collect();
            past.sort_unstable_by_key(|(id, _)| *id);
            series.extend(past.into_iter().map(|(_, info)| info));
        }
        // While an answer is made a full window loses its oldest ticks: the file has those.
        let full = span.is_some_and(|span| span.to.0 - span.from.0 + 2 * SEAM_MARGIN_MS > WINDOW_MS);
        let margin = if history.is_some() && full { SEAM_MARGIN_MS } else { 0 };
        let seam = WallTime(begins.0.saturating_add(margin));
        Ok(Self { window, history, asked, seam, series, in_window, in_file })
    }

    /// How many series match. Those of the file alone may turn out to have nothing in the range.
    #[must_use]
    pub fn series_count(&self) -> usize {
        self.series.len()
    }

    /// Lays the series one after the other. `begin` is given the axis first; it and `each` may end it all by returning false. Of a series
    /// `each` is given who it is and for each aggregate a number a cell, NaN where there is none. Blocks.
    ///
    /// # Errors
    /// When the file cannot be read, or not as finely as asked. Before `begin` was called, unless the file broke meanwhile.
    pub fn lay(
        self,
        step: Option<Duration>,
        begin: impl FnOnce(&Axis) -> bool,
        each: impl FnMut(&SeriesInfo, &[Vec<f64>]) -> bool,
    ) -> Result<(), HistoryError> {
        let Some(history) = self.history else { return self.lay_with(None, step, begin, each) };
        let plan = Plan {
            range: self.asked.range,
            until_ms: self.seam.unix_ms(),
            step_ms: step.map(|step| i64::try_from(step.as_millis()).unwrap_or(i64::MAX)),
            percentiles: self.asked.aggs.contains(&Agg::P95),
        };
        history.read(|reader| {
            reader.read(plan, |reading| match reading {
                Err(too_fine) => Ok(Err(HistoryError::TooFine(too_fine))),
                Ok(reading) => Ok(self.lay_with(Some(reading), step, begin, each)),
            })
        })?
    }

    fn lay_with(
        self,
        mut reading: Option<Reading<'_>>,
        step: Option<Duration>,
        begin: impl FnOnce(&Axis) -> bool,
        mut each: impl FnMut(&SeriesInfo, &[Vec<f64>]) -> bool,
    ) -> Result<(), HistoryError> {
        let failed = |error: lowtide_store::StoreError| HistoryError::Unavailable(error.to_string());
        let range = self.asked.range;
        let from_window = TimeRange { from: range.from.max(self.seam), to: range.to };
        let axis = match step {
            Some(step) => Axis::steps(range, step),
            None => {
                let of_file = reading.as_ref().map(Reading::times).transpose().map_err(failed)?;
                let mut times = of_file.unwrap_or_default();
                let window = self.window.read().unwrap_or_else(PoisonError::into_inner);
                times.extend(window.times_in(from_window));
                drop(window);
                Axis::ticks(times, range)
            }
        };
        if !begin(&axis) {
            return Ok(());
        }
        if let Some(reading) = &mut reading {
            let ids: Vec<SeriesId> = self.in_file.values().copied().collect();
            reading.prepare(&ids).map_err(failed)?;
        }
        // A counter's first increase is from the sample before the range.
        let before = range.from.minus(limits::WINDOW);
        let with_before = match reading {
            Some(_) => TimeRange { from: before.max(self.seam), to: range.to },
            None => TimeRange { from: before, to: range.to },
        };
        let mut cells = Cells::new(&axis, range, &self.asked.aggs);
        let (mut times, mut values) = (Vec::new(), Vec::new());
        for (number, info) in self.series.iter().enumerate() {
            if let Some(reading) = &mut reading
                && let Some(id) = self.in_file.get(info)
            {
                reading.lay(*id, &mut cells).map_err(failed)?;
            }
            times.clear();
            values.clear();
            if number < self.in_window {
                let window = self.window.read().unwrap_or_else(PoisonError::into_inner);
                window.samples_of(info, with_before, &mut times, &mut values);
            }
            cells.samples(&times, &values, info.is_cumulative());
            let mut goes_on = true;
            cells.take(|laid| {
                // Who is in the window is part of the answer also where it has nothing in the range.
                let has_some = number < self.in_window || laid.iter().flatten().any(|value| !value.is_nan());
                goes_on = !has_some || each(info, laid);
            });
            if !goes_on {
                return Ok(());
            }
        }
        Ok(())
    }
}
