//! Which rows answer a question: samples where a chart is fine or there are no roll-ups, roll-ups where it is coarse or there is nothing else.

use super::segments::{self, Span};
use super::{DAY_MS, ROLLUP_STEP_MS};
use lowtide_core::window::TimeRange;

/// What is asked of the file.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// The range of time, both ends included.
    pub range: TimeRange,
    /// Where someone else takes over: only what is before it is read, milliseconds since 1970.
    pub until_ms: i64,
    /// Length of a cell in milliseconds; `None` shows every tick.
    pub step_ms: Option<i64>,
    /// Whether percentiles are asked for.
    pub percentiles: bool,
}

/// A part of the range is kept only in roll-ups, which are coarser than what is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooFine {
    /// Where raw samples begin, milliseconds since 1970; `None` when there are none.
    pub raw_since_ms: Option<i64>,
    /// Steps must be multiples of this, in milliseconds.
    pub step_ms: i64,
}

/// A part of the answer, in the order of time.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// Roll-ups of these days.
    Rollups(Vec<i64>),
    /// Samples of these segments. Those of `primes` come before and are only there for a counter's first increase.
    Raw { primes: Vec<Span>, segments: Vec<Span> },
}

/// The pieces of an answer. A day that has ticks in the tail again is not rolled up as far as its samples are still there.
pub(super) fn pieces(
    plan: &Plan,
    spans: &[Span],
    rolled: &[i64],
    tail_day: Option<i64>,
) -> Result<Vec<Piece>, TooFine> {
    let (from_ms, to_ms) = (plan.range.from.unix_ms(), plan.range.to.unix_ms().min(plan.until_ms - 1));
    if to_ms < from_ms {
        return Ok(Vec::new());
    }
    let coarse = plan.step_ms.is_some_and(|step| step % ROLLUP_STEP_MS == 0);
    let (first, last) = (from_ms.div_euclid(DAY_MS), to_ms.div_euclid(DAY_MS));
    let raw: Vec<Span> = segments::within(spans, from_ms, to_ms);
    let mut days: Vec<i64> = raw.iter().map(Span::day).chain(rolled.iter().copied()).collect();
    days.retain(|day| (first..=last).contains(day));
    days.sort_unstable();
    days.dedup();

    let mut pieces: Vec<Piece> = Vec::new();
    for day in days {
        let of_day = || raw.iter().filter(|span| span.day() == day);
        let has_raw = spans.iter().any(|span| span.day() == day);
        let is_rolled = rolled.binary_search(&day).is_ok() && !(has_raw && tail_day == Some(day));
        let whole = cuts_no_bucket(from_ms, day) && cuts_no_bucket(plan.range.to.unix_ms() + 1, day);
        let whole = whole && (day + 1) * DAY_MS <= plan.until_ms;
        if is_rolled && (coarse && whole || !has_raw) {
            if !coarse {
                let raw_since_ms = spans.iter().map(|span| span.from_ms).min();
                return Err(TooFine { raw_since_ms, step_ms: ROLLUP_STEP_MS });
            }
            match pieces.last_mut() {
                Some(Piece::Rollups(days)) => days.push(day),
                _ => pieces.push(Piece::Rollups(vec![day])),
            }
            continue;
        }
        if of_day().next().is_none() {
            continue;
        }
        let inside = |span: &&Span| span.to_ms >= from_ms;
        match pieces.last_mut() {
            Some(Piece::Raw { segments, .. }) => segments.extend(of_day().filter(inside).copied()),
            _ => {
                let begin = of_day().filter(inside).map(|span| span.from_ms).min();
                let begin = begin.unwrap_or(from_ms);
                let earlier = segments::within(spans, begin, begin).into_iter();
                let primes = earlier.filter(|span| span.to_ms < begin).collect();
                pieces.push(Piece::Raw { primes, segments: of_day().filter(inside).copied().collect() });
            }
        }
    }
    Ok(pieces)
}

/// Whether a moment cuts no bucket of a day: it lies outside of the day or between two of its buckets.
fn cuts_no_bucket(at_ms: i64, day: i64) -> bool {
    at_ms.div_euclid(DAY_MS) != day || at_ms.rem_euclid(ROLLUP_STEP_MS) == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use lowtide_core::units::WallTime;

    const HOUR: i64 = 3_600_000;

    fn plan(from_ms: i64, to_ms: i64, step_ms: Option<i64>) -> Plan {
        let range = TimeRange { from: WallTime(from_ms), to: WallTime(to_ms) };
        Plan { range, until_ms: i64::MAX, step_ms, percentiles: true }
    }

    /// Twelve segments a day for four days, of which three are rolled up; the first day has no samples any more.
    fn week() -> (Vec<Span>, Vec<i64>) {
        let span = |number: i64| Span {
            id: number + 1,
            from_ms: number * 2 * HOUR,
            to_ms: (number + 1) * 2 * HOUR - 5_000,
            ticks: 1_440,
        };
        ((12..48).map(span).collect(), vec![0, 1, 2])
    }

    fn shape(pieces: &[Piece]) -> Vec<String> {
        let one = |piece: &Piece| match piece {
            Piece::Rollups(days) => format!("days {days:?}"),
            Piece::Raw { primes, segments } => format!("{}+{}", primes.len(), segments.len()),
        };
        pieces.iter().map(one).collect()
    }

    #[test]
    fn coarse_charts_take_roll_ups_and_samples_where_the_range_cuts_a_bucket() {
        let (spans, rolled) = week();
        let ask = |from, to, step| pieces(&plan(from, to, step), &spans, &rolled, None);
        let hours = |hours: i64| hours * HOUR;
        assert_eq!(shape(&ask(0, hours(96), Some(HOUR)).unwrap()), ["days [0, 1, 2]", "1+12"]);
        let cut = ask(hours(30) + 1, hours(96), Some(HOUR)).unwrap();
        assert_eq!(shape(&cut), ["1+9", "days [2]", "1+12"]);
        assert_eq!(shape(&ask(hours(72), hours(73), Some(10_000)).unwrap()), ["1+1"]);
        assert_eq!(shape(&ask(hours(30), hours(31), None).unwrap()), ["1+1"]);
        let refused = TooFine { raw_since_ms: Some(hours(24)), step_ms: ROLLUP_STEP_MS };
        assert_eq!(ask(0, hours(96), None), Err(refused));
        assert_eq!(ask(hours(1), hours(96), Some(60_000)), Err(refused));
        assert_eq!(shape(&ask(hours(200), hours(300), None).unwrap()), [""; 0]);
    }

    #[test]
    fn what_the_window_holds_is_not_read() {
        let (spans, rolled) = week();
        let mut asked = plan(0, 96 * HOUR, Some(HOUR));
        asked.until_ms = 71 * HOUR;
        assert_eq!(shape(&pieces(&asked, &spans, &rolled, None).unwrap()), ["days [0, 1]", "1+12"]);
        asked.until_ms = 0;
        assert_eq!(pieces(&asked, &spans, &rolled, None).unwrap(), []);
    }
}
