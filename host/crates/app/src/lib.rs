//! What the daemon does: the tick, the state that it publishes, the events that follow from it, and the handle by which
//! everything outside asks and acts.
//!
//! It knows nothing of HTTP, files of configuration or the terminal. `host` starts it, `api` reads it.

mod addons;
mod derived;
mod events;
mod handle;
mod history;
mod leases;
mod local_time;
#[cfg(target_os = "linux")]
mod looks;
mod metronome;
mod tick;

pub use derived::{TickFacts, infos as derived_infos};
pub use events::{Event, EventKind, EventLog, Since};
pub use handle::{About, AddonSettings, App, Hooks, Settings, StartError};
pub use history::{
    Asked, History, HistoryError, HistoryFacts, HistoryHealth, HistorySettings, Laying, LowWear, QuietNow,
};
pub use leases::{LeaseError, LeaseFacts, LeaseSettings, Leases};
/// Where the work of a lease runs.
pub use lowtide_collectors::Work;
/// Rows of history, as the store keeps them.
pub use lowtide_store::history::{EventRow, EventsAsked, Keep, QuietRow, TooFine};
pub use tick::Ticker;
