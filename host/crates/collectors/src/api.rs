//! The HTTP interface's own numbers: requests, errors, latency. [`ApiMeter`] is written to by the HTTP middleware on every
//! request, without locks; the collector reads it every 5 s. Neither knows anything of HTTP beyond a status number.

use crate::collector::{CollectError, Collector};
use crate::define::{self, NONE, metrics};
use crate::rate::Elapsed;
use lowtide_core::metric::{Part, SampleBuffer, Text};
use lowtide_core::report::CollectorInfo;
use lowtide_core::units::MonoTime;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const ROUTE_CLASS: &[Text] = &[Text::Borrowed("route"), Text::Borrowed("status_class")];

metrics! {
    REQUESTS = counter("api_requests_total", Count, ROUTE_CLASS, "Requests answered, by route and class of the status; only those that occurred.");
    ERRORS = counter("api_errors_total", Count, NONE, "Requests answered with a status of 500 or above.");
    DURATION = histogram("api_request_duration_seconds", Seconds, NONE, "Time from a request's head to its answer.");
    IN_FLIGHT = gauge("api_requests_in_flight", Count, NONE, "Requests that are being answered now.");
    RATE = gauge("api_requests_per_second", PerSecond, NONE, "Requests answered a second in the last interval.");
    P50 = gauge("api_latency_p50_seconds", Seconds, NONE, "Half of the requests of about the last minute were answered within this time.");
    P95 = gauge("api_latency_p95_seconds", Seconds, NONE, "95 of 100 requests of about the last minute were answered within this time.");
    P99 = gauge("api_latency_p99_seconds", Seconds, NONE, "99 of 100 requests of about the last minute were answered within this time.");
}

/// Who the collector is.
pub(crate) fn info() -> CollectorInfo {
    let help = "Requests to the HTTP interface: number, errors, latency.";
    define::info(("api", "api"), "api_", help, Duration::from_secs(5), &METRICS)
}

/// Classes of status, by the first digit.
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// Upper bounds of the exposed histogram's buckets, in microseconds and as `le` texts in seconds. From a cached answer to one
/// that hangs.
const BOUNDS: [(u64, &str); 14] = [
    (100, "0.0001"),
    (250, "0.00025"),
    (500, "0.0005"),
    (1_000, "0.001"),
    (2_500, "0.0025"),
    (5_000, "0.005"),
    (10_000, "0.01"),
    (25_000, "0.025"),
    (50_000, "0.05"),
    (100_000, "0.1"),
    (250_000, "0.25"),
    (1_000_000, "1"),
    (2_500_000, "2.5"),
    (10_000_000, "10"),
];

/// How far back the percentiles look.
const ROLLING: Duration = Duration::from_secs(60);

/// Steps of each doubling in the fine histogram: a value is known to 1/32, about 3 %.
const STEPS_LOG2: u32 = 4;

/// Cells of the fine histogram: microseconds up to 2^28 (four minutes), 16 steps for each doubling.
const CELLS: usize = (28 - STEPS_LOG2 as usize + 1) << STEPS_LOG2;

/// The cell of a duration: exact below 16 µs, then 16 cells for each doubling.
fn cell_of(micros: u64) -> usize {
    let above = micros.max(1).ilog2().saturating_sub(STEPS_LOG2);
    let cell = ((above as usize) << STEPS_LOG2) + (micros >> above) as usize;
    cell.min(CELLS - 1)
}

/// The middle of a cell, in microseconds.
fn middle_of(cell: usize) -> f64 {
    let steps = 1 << STEPS_LOG2;
    let above = (cell >> STEPS_LOG2).saturating_sub(1);
    let start = if cell < steps { cell } else { (cell - (above << STEPS_LOG2)) << above };
    start as f64 + (1_u64 << above) as f64 / 2.0
}

/// Counts requests. Every method is lock-free and allocates nothing.
#[derive(Debug)]
pub struct ApiMeter {
    routes: &'static [&'static str],
    /// One cell for each route and class.
    requests: Box<[[AtomicU64; 5]]>,
    /// Not cumulative; the last is for what is above all bounds.
    buckets: [AtomicU64; BOUNDS.len() + 1],
    sum_micros: AtomicU64,
    fine: Box<[AtomicU64]>,
    in_flight: AtomicU64,
}

impl ApiMeter {
    /// A meter for these routes, as they shall stand in the label `route`. The first one is for requests that fit no
    /// route.
    #[must_use]
    pub fn new(routes: &'static [&'static str]) -> Self {
        Self {
            routes,
            requests: routes.iter().map(|_| Default::default()).collect(),
            buckets: Default::default(),
            sum_micros: AtomicU64::new(0),
            fine: (0..CELLS).map(|_| AtomicU64::new(0)).collect(),
            in_flight: AtomicU64::new(0),
        }
    }

    /// Counts an answered request. An index beyond the routes counts for the first route, a status that is none as a 5xx.
    pub fn record(&self, route_index: usize, status: u16, duration: Duration) {
        // Relaxed everywhere: the numbers are independent, and a reader may see a request in one of them a moment before
        // the other.
        let route = self.requests.get(route_index).or(self.requests.first());
        let class =
            usize::from(status / 100).checked_sub(1).filter(|class| *class < CLASSES.len()).unwrap_or(4);
        if let Some(cell) = route.and_then(|classes| classes.get(class)) {
            cell.fetch_add(1, Ordering::Relaxed);
        }
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS.partition_point(|(bound, _)| *bound < micros);
        if let Some(bucket) = self.buckets.get(bucket) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(cell) = self.fine.get(cell_of(micros)) {
            cell.fetch_add(1, Ordering::Relaxed);
        }
        self.sum_micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// Counts a request as being answered until the guard is dropped, also when its future is cancelled.
    #[must_use]
    pub fn begin(self: &Arc<Self>) -> InFlight {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight(Arc::clone(self))
    }
}

/// One request that is being answered; see [`ApiMeter::begin`].
#[derive(Debug)]
pub struct InFlight(Arc<ApiMeter>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The fine histogram as it was at one moment.
#[derive(Debug)]
struct Snapshot {
    at: MonoTime,
    counts: Box<[u64]>,
}

/// The collector.
#[derive(Debug)]
pub(crate) struct Api {
    meter: Arc<ApiMeter>,
    parts: [Part; BOUNDS.len()],
    /// From the newest one that is at least [`ROLLING`] old (or the oldest there is) to the last run.
    past: VecDeque<Snapshot>,
    elapsed: Elapsed,
    requests_before: u64,
}

impl Api {
    /// Reads nothing yet.
    pub(crate) fn new(meter: Arc<ApiMeter>) -> Self {
        Self {
            meter,
            parts: BOUNDS.map(|(_, le)| Part::Bucket(Text::Borrowed(le))),
            past: VecDeque::new(),
            elapsed: Elapsed::default(),
            requests_before: 0,
        }
    }

    /// Pushes the requests by route and class, and gives all and the failed ones.
    fn push_requests(&self, out: &mut SampleBuffer) -> (u64, u64) {
        let (mut all, mut failed) = (0, 0);
        for (route, classes) in self.meter.routes.iter().zip(&self.meter.requests) {
            for (number, (class, cell)) in CLASSES.iter().zip(classes).enumerate() {
                let count = cell.load(Ordering::Relaxed);
                all += count;
                failed += if number == 4 { count } else { 0 };
                if count > 0 {
                    out.push(REQUESTS, &[route, class], count as f64);
                }
            }
        }
        (all, failed)
    }

    fn push_histogram(&self, out: &mut SampleBuffer) {
        let mut count = 0;
        for (number, bucket) in self.meter.buckets.iter().enumerate() {
            count += bucket.load(Ordering::Relaxed);
            let part = self.parts.get(number).unwrap_or(&INFINITE);
            out.push_part(DURATION, part, &[], count as f64);
        }
        out.push_part(DURATION, &Part::Sum, &[], self.meter.sum_micros.load(Ordering::Relaxed) as f64 / 1e6);
        // From the buckets, so that it always equals the last of them.
        out.push_part(DURATION, &Part::Count, &[], count as f64);
    }

    fn push_latencies(&mut self, at: MonoTime, out: &mut SampleBuffer) {
        if self.past.is_empty() {
            // All that was counted before the first run belongs to the first minute.
            self.past.push_back(Snapshot { at, counts: vec![0; CELLS].into() });
        }
        // When the second one is old enough, the first is not needed any more.
        let mut spare = None;
        while self.past.get(1).is_some_and(|snapshot| at.since(snapshot.at) >= ROLLING) {
            spare = self.past.pop_front();
        }
        let mut counts = spare.map_or_else(|| vec![0; CELLS].into_boxed_slice(), |snapshot| snapshot.counts);
        for (count, cell) in counts.iter_mut().zip(&self.meter.fine) {
            *count = cell.load(Ordering::Relaxed);
        }
        let base = self.past.front().map(|snapshot| &snapshot.counts);
        let since = |cell: usize, count: u64| {
            count.saturating_sub(base.and_then(|base| base.get(cell)).copied().unwrap_or(0))
        };
        let all: u64 = counts.iter().enumerate().map(|(cell, count)| since(cell, *count)).sum();
        for (metric, share) in [(P50, 0.50), (P95, 0.95), (P99, 0.99)] {
            if all == 0 {
                break;
            }
            // The first cell by which this share of the requests had been answered.
            let mut wanted = (share * all as f64).ceil() as u64;
            let place = counts.iter().enumerate().position(|(cell, count)| {
                wanted = wanted.saturating_sub(since(cell, *count));
                wanted == 0
            });
            out.push(metric, &[], middle_of(place.unwrap_or_default()) / 1e6);
        }
        self.past.push_back(Snapshot { at, counts });
    }
}

static INFINITE: Part = Part::Bucket(Text::Borrowed("+Inf"));

impl Collector for Api {
    fn collect(&mut self, at: MonoTime, out: &mut SampleBuffer) -> Result<(), CollectError> {
        let (all, failed) = self.push_requests(out);
        out.push(ERRORS, &[], failed as f64);
        self.push_histogram(out);
        out.push(IN_FLIGHT, &[], self.meter.in_flight.load(Ordering::Relaxed) as f64);
        let grown = all - std::mem::replace(&mut self.requests_before, all);
        if let Some(elapsed) = self.elapsed.step(at) {
            out.push(RATE, &[], grown as f64 / elapsed);
        }
        self.push_latencies(at, out);
        Ok(())
    }

    fn forget(&mut self) {
        self.elapsed.forget();
    }
}

#[cfg(test)]
mod tests;
