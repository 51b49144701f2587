//! Returns samples with too many and too few labels.

use fixture_common::sdk::sample;

fixture_common::collects!(|_| {
    Ok(vec![
        sample("value", ["one"], 1.0),
        sample("outcome", (), 1.0),
        sample("outcome", ["a", "b"], 1.0),
        sample("outcome", vec!["x"; 5_000], 1.0),
        sample("outcome", ["right"], 1.0),
    ])
});
