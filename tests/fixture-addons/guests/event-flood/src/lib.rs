//! Reports 200 events in each call, and events with bad names.

use fixture_common::outcome;
use fixture_common::sdk::metrics::{self, MetricError};

fixture_common::collects!(|_| {
    let refused = |name: &str, attributes: &[(&str, &str)]| metrics::event(name, attributes);
    let invalid = |result: Result<(), MetricError>| matches!(result, Err(MetricError::Invalid(_)));
    let limited = |result: Result<(), MetricError>| matches!(result, Err(MetricError::LimitExceeded(_)));
    let many = vec![("key", "value"); 17];
    let all = (0..200)
        .map(|_| metrics::event("rain", &[("place", "\u{1b}[31mhere")]))
        .filter_map(Result::err)
        .count();
    Ok(vec![
        outcome("upper", invalid(refused("Rain", &[]))),
        outcome("empty", invalid(refused("", &[]))),
        outcome("escape", invalid(refused("rain\u{1b}[2J", &[]))),
        outcome("key", invalid(refused("rain", &[("KEY", "x")]))),
        outcome("attributes", limited(refused("rain", &many))),
        outcome("most are refused", (170..=200).contains(&all)),
    ])
});
