//! Log lines to stderr, at a level that SIGHUP can change.

use crate::config::{LogFormat, LogLevel};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Registry, fmt};

/// Changes the level of a running daemon.
#[derive(Clone, Debug)]
pub(crate) struct LevelSwitch(reload::Handle<LevelFilter, Registry>);

impl LevelSwitch {
    pub(crate) fn set(&self, level: LogLevel) {
        // It fails only when the subscriber is gone, and then nobody logs.
        let _ = self.0.reload(filter(level));
    }
}

/// Starts logging for the whole process.
pub(crate) fn start(level: LogLevel, format: LogFormat) -> LevelSwitch {
    let (filter, switch) = reload::Layer::new(filter(level));
    let registry = tracing_subscriber::registry().with(filter);
    let layer = fmt::layer().with_writer(std::io::stderr).with_target(false);
    // It fails only when something has started logging before, which only a test could.
    let _ = match format {
        LogFormat::Text => {
            registry.with(layer.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))).try_init()
        }
        LogFormat::Json => registry.with(layer.json().flatten_event(true)).try_init(),
    };
    LevelSwitch(switch)
}

fn filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}
