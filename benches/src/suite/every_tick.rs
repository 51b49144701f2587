//! The six collectors that run at every tick, called one after the other on the caller's thread: read, parse, layout.

use lowtide_clock as clock;
use lowtide_collectors::{ApiMeter, CollectConfig, Entry, Sources, TICK_DEFAULT, table};
use lowtide_core::metric::SampleBuffer;
use std::hint::black_box;
use std::sync::Arc;

/// The collectors with their buffers.
#[derive(Debug)]
pub(crate) struct EveryTick(Vec<(Entry, SampleBuffer)>);

impl EveryTick {
    pub(crate) fn new() -> Self {
        let entries = all().into_iter().filter(|entry| entry.interval == TICK_DEFAULT);
        Self(entries.map(|entry| (entry, SampleBuffer::new())).collect())
    }

    pub(crate) fn collect(&mut self) {
        for (entry, out) in &mut self.0 {
            out.begin();
            // One that this host cannot run costs what saying so costs, as it does in the daemon.
            black_box(entry.collector.collect(clock::mono(), out).is_ok());
            black_box(out.layout());
        }
    }

    /// Each collector alone, by name.
    pub(crate) fn each(self) -> impl Iterator<Item = (String, Self)> {
        self.0.into_iter().map(|slot| (slot.0.info.name.to_string(), Self(vec![slot])))
    }
}

/// Every collector as the daemon has it at defaults.
pub(crate) fn all() -> Vec<Entry> {
    table(&CollectConfig::default(), &Sources::new(meter()))
}

pub(crate) fn meter() -> Arc<ApiMeter> {
    Arc::new(ApiMeter::new(lowtide_api::ROUTES))
}
