//! What history is made of, without the disk: who a series is, how samples and roll-ups are laid on a time axis, and the sketch that keeps
//! percentiles after the samples are gone.
//!
//! The store keeps these in a file, `app` reads window and file as one series. Everything here is pure.

mod cells;
mod rollup;
mod series;
mod sketch;

pub use cells::{Axis, Cells};
pub use rollup::{Bucket, Rollup};
pub use series::{SeriesInfo, resolved};
pub use sketch::{Bin, RELATIVE_ERROR};

use crate::limits;

/// The newest sample of a counter, from which the next increase is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Before(Option<(i64, f64)>);

impl Before {
    /// After a sample at this time in milliseconds.
    #[must_use]
    pub fn sample(time_ms: i64, value: f64) -> Self {
        Self(Some((time_ms, value)))
    }

    /// The increase per second from the sample before to this one, which then is the one before. A counter that fell was reset and has
    /// counted up from zero since. `None` for the first sample, when no time has passed, and when more than
    /// [`limits::RATE_GAP_MAX_MS`] has.
    #[inline]
    pub fn rate(&mut self, time_ms: i64, value: f64) -> Option<f64> {
        let (before_ms, before) = self.0.replace((time_ms, value))?;
        let increase = if value >= before { value - before } else { value };
        let passed_ms = time_ms - before_ms;
        #[expect(clippy::cast_precision_loss, reason = "an hour at most")]
        let rate = (passed_ms > 0 && passed_ms <= limits::RATE_GAP_MAX_MS)
            .then(|| increase * 1_000.0 / passed_ms as f64);
        rate.filter(|rate| rate.is_finite())
    }
}
