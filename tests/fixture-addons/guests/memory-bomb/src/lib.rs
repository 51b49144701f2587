//! Takes memory until there is none, and aborts.

fixture_common::collects!(|_| {
    let mut kept = Vec::new();
    loop {
        kept.push(std::hint::black_box(vec![1_u8; 1 << 20]));
    }
});
