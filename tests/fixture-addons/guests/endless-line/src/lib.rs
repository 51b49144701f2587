//! Prints two megabytes without a line break.

fixture_common::collects!(|call| {
    for _ in 0..2_000 {
        print!("{}", "x".repeat(1_000));
    }
    fixture_common::value(call as f64)
});
