//! Asks for more memory than there is, is told no, and goes on.

fixture_common::collects!(|_| {
    let mut wanted: Vec<u8> = Vec::new();
    let refused = wanted.try_reserve_exact(1 << 30).is_err();
    fixture_common::value(f64::from(u8::from(refused)))
});
