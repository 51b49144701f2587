//! Returns values that are not numbers, beside one that is.

use fixture_common::sdk::sample;

fixture_common::collects!(|_| {
    let odd = [("nan", f64::NAN), ("infinity", f64::INFINITY), ("minus infinity", f64::NEG_INFINITY)];
    let mut samples: Vec<_> = odd.into_iter().map(|(case, value)| sample("outcome", [case], value)).collect();
    samples.push(sample("value", (), 7.0));
    Ok(samples)
});
