//! What is asked of a store of history, the same of each: the kinds of questions, and how their answers are timed. A store only says which
//! requests a question is, and how many values an answer has.

use super::client::Client;
use super::data::{Data, TICK_MS};
use crate::suite::measure::median;
use crate::suite::server::Server;
use anyhow::{Result, ensure};
use lowtide_clock as clock;

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;
const DAY_MS: i64 = 24 * HOUR_MS;

/// Untimed turns before the timed ones: files are opened, memory is taken.
const WARM_TURNS: usize = 5;

/// A kind of question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    /// One series, one hour, every value.
    RawHour,
    /// One series, 24 h in 300 steps: average, minimum, maximum and 95th percentile of each.
    Day,
    /// The same of seven days.
    Week,
    /// Seven days in half hours.
    WeekHalfHours,
    /// All series, one hour, every value.
    AllHour,
}

/// One question. Values and steps belong to it that are after `from_ms` and not after `to_ms`; no tick is so near to an end of a step
/// that it could be counted with the next one, whatever end is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Question {
    /// Place of the series, or all of them.
    pub(super) series: Option<usize>,
    pub(super) from_ms: i64,
    pub(super) to_ms: i64,
    /// Length of a step; none where every value is asked for.
    pub(super) step_ms: Option<i64>,
}

/// What the answers to one kind took.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Timed {
    /// From the first byte sent to the last one received.
    pub(super) median_s: f64,
    pub(super) p95_s: f64,
    /// Processor time of the server, an average.
    pub(super) cpu_s: f64,
    /// Of the bodies of a median turn.
    pub(super) bytes: f64,
    /// Times are not counted.
    pub(super) values: usize,
}

impl Ask {
    pub(super) const ALL: [Self; 5] =
        [Self::RawHour, Self::Day, Self::Week, Self::WeekHalfHours, Self::AllHour];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::RawHour => "1 series 1 h raw",
            Self::Day => "1 series 24 h, 300 steps",
            Self::Week => "1 series 7 d, 300 steps",
            Self::WeekHalfHours => "1 series 7 d, half hours",
            Self::AllHour => "100 series 1 h raw",
        }
    }

    /// How much time it is about, and the length of its steps.
    fn span_ms(self) -> (i64, Option<i64>) {
        match self {
            Self::RawHour | Self::AllHour => (HOUR_MS, None),
            Self::Day => (DAY_MS, Some(DAY_MS / 300)),
            Self::Week => (7 * DAY_MS, Some(7 * DAY_MS / 300)),
            Self::WeekHalfHours => (7 * DAY_MS, Some(30 * MINUTE_MS)),
        }
    }

    fn turns(self) -> usize {
        match self {
            Self::RawHour => 400,
            Self::Day => 200,
            Self::Week | Self::WeekHalfHours | Self::AllHour => 100,
        }
    }

    /// How many values the answer to it has: four a step, or every one.
    pub(super) fn values(self, data: &Data) -> usize {
        let (span, step) = self.span_ms();
        let each = step.map_or(span / TICK_MS, |step| 4 * span / step);
        let series = if self == Self::AllHour { data.series.len() } else { 1 };
        usize::try_from(each).unwrap_or(0) * series
    }

    /// The questions of all turns; none where the data are too short. Each is about another series than the one before: a gauge, since
    /// an average or a percentile of what only grows says nothing. Raw hours are taken from all over the data.
    pub(super) fn questions(self, data: &Data) -> Vec<Question> {
        let (span, step_ms) = self.span_ms();
        let (Some(first), Some(last)) = (data.times_ms.first(), data.times_ms.last()) else {
            return Vec::new();
        };
        let begin = first.div_euclid(TICK_MS) * TICK_MS;
        let end = last.div_euclid(TICK_MS) * TICK_MS + TICK_MS;
        let spans = (end - begin) / span;
        if spans == 0 {
            return Vec::new();
        }
        let gauges: Vec<usize> =
            data.series.iter().enumerate().filter(|(_, spec)| !spec.counter).map(|(at, _)| at).collect();
        let question = |turn: usize| {
            let series =
                gauges.get(turn * 7 % gauges.len().max(1)).copied().filter(|_| self != Self::AllHour);
            let back = i64::try_from(turn).unwrap_or(0) * 31 % spans;
            let to_ms = if step_ms.is_none() { end - back * span } else { end };
            Question { series, from_ms: to_ms - span, to_ms, step_ms }
        };
        (0..self.turns()).map(question).collect()
    }

    /// Asks in turns on one connection that stays open. `paths` says which requests a question is, one after the other; `values` counts
    /// what came back, after the clock has stopped. `None` where the data are too short.
    pub(super) fn time(
        self,
        data: &Data,
        server: &Server,
        paths: impl Fn(&Question) -> Vec<String>,
        values: impl Fn(&[u8]) -> Result<usize>,
    ) -> Result<Option<Timed>> {
        let questions = self.questions(data);
        if questions.is_empty() {
            return Ok(None);
        }
        let expected = self.values(data);
        let mut client = Client::connect(server.address())?;
        let (mut taken, mut bytes, mut bodies) = (Vec::new(), Vec::new(), Vec::new());
        for question in questions.iter().take(WARM_TURNS) {
            for path in paths(question) {
                client.get(&path, &mut bodies)?;
                bodies.clear();
            }
        }
        let before = server.cpu()?;
        for question in &questions {
            let paths = paths(question);
            let (mut turn, mut found, mut size) = (0.0, 0, 0.0);
            for path in &paths {
                bodies.clear();
                let begun = clock::mono();
                client.get(path, &mut bodies)?;
                turn += clock::mono().since(begun).as_secs_f64();
                #[expect(clippy::cast_precision_loss, reason = "a few megabytes")]
                {
                    size += bodies.len() as f64;
                }
                found += values(&bodies)?;
            }
            ensure!(found == expected, "{}: {found} values instead of {expected}", self.name());
            taken.push(turn);
            bytes.push(size);
        }
        let cpu = server.cpu()?.saturating_sub(before).as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "some hundred turns")]
        let turns = questions.len() as f64;
        taken.sort_by(f64::total_cmp);
        let p95_s = taken.get(taken.len() * 95 / 100).copied().unwrap_or(f64::NAN);
        let median_s = median(taken);
        Ok(Some(Timed { median_s, p95_s, cpu_s: cpu / turns, bytes: median(bytes), values: expected }))
    }
}

#[cfg(test)]
mod tests {
    use super::super::data::generate;
    use super::*;

    /// 2026-01-05, half a tick after midnight.
    const START_MS: i64 = 1_767_571_202_500;

    #[test]
    fn questions_lie_within_the_data_and_cut_between_ticks() {
        let data = generate(1, START_MS, 20_000);
        for (ask, some) in [(Ask::RawHour, true), (Ask::Day, true), (Ask::AllHour, true), (Ask::Week, false)]
        {
            let questions = ask.questions(&data);
            assert_eq!(!questions.is_empty(), some, "{ask:?}");
            for question in questions {
                let inside = |at: &&i64| question.from_ms < **at && **at <= question.to_ms;
                let ticks = data.times_ms.iter().filter(inside).count();
                assert_eq!(ticks as i64 * TICK_MS, question.to_ms - question.from_ms, "{question:?}");
                assert!(data.times_ms.iter().all(|at| (question.to_ms - at).rem_euclid(TICK_MS) > 2_000));
                assert!(question.series.is_none_or(|at| !data.series[at].counter));
            }
        }
        assert_eq!(Ask::Day.values(&data), 1_200);
        assert_eq!(Ask::WeekHalfHours.values(&data), 1_344);
        assert_eq!(Ask::AllHour.values(&data), 72_000);
    }
}
