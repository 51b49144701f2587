//! Prints a million lines.

fixture_common::collects!(|_| {
    for line in 0..1_000_000 {
        println!("line {line}");
    }
    fixture_common::value(1.0)
});
