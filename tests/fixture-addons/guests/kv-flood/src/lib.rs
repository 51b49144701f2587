//! Fills its store: bytes, keys, sizes of both, writes a second.

use fixture_common::outcome;
use fixture_common::sdk::kv::{self, KvError};

fixture_common::collects!(|call| {
    let limited = |result: Result<(), KvError>| matches!(result, Err(KvError::LimitExceeded(_)));
    let invalid = |result: Result<(), KvError>| matches!(result, Err(KvError::Invalid(_)));
    let mut samples = vec![
        outcome("empty key", invalid(kv::set("", "x"))),
        outcome("long key", invalid(kv::set(&"k".repeat(257), "x"))),
        outcome("long value", invalid(kv::set("big", vec![0; (64 << 10) + 1]))),
    ];
    if call == 1 {
        // 12 x 64 KiB is all that may cross in one call.
        let bytes =
            (0..12).filter(|number| kv::set(&format!("b{number}"), vec![0; 64 << 10]).is_ok()).count();
        samples.push(outcome("most bytes fit", bytes == 12));
    } else {
        let bytes = (0..12)
            .filter(|number| limited(kv::set(&format!("c{call}-{number}"), vec![0; 64 << 10])))
            .count();
        samples.push(outcome("bytes", bytes >= 8));
        let writes = (0..300).filter(|number| limited(kv::set(&format!("k{number}"), ""))).count();
        samples.push(outcome("writes", writes >= 100));
    }
    Ok(samples)
});
