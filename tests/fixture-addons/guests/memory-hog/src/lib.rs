//! Holds nearly all of its memory after each call: it must be replaced, and not at once again and again.

fixture_common::collects!(|call| {
    drop(std::hint::black_box(vec![1_u8; 12 << 20]));
    fixture_common::value(call as f64)
});
