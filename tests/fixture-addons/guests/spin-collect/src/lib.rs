//! Never comes back from `collect`.

fixture_common::collects!(|_| loop {
    std::hint::black_box(());
});
