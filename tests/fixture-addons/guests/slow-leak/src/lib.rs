//! Leaks a mebibyte in each call: it is replaced before it runs out of memory.

fixture_common::collects!(|call| {
    std::hint::black_box(vec![1_u8; 1 << 20]).leak();
    fixture_common::value(call as f64)
});
