//! Calls itself with arrays until the stack in its own memory is used up.

fixture_common::collects!(|call| fixture_common::value(deeper(call) as f64));

#[inline(never)]
#[expect(unconditional_recursion, reason = "this is what it is for")]
fn deeper(level: u64) -> u64 {
    let room = std::hint::black_box([level; 64]);
    // Not the last thing done, so that it cannot become a loop.
    deeper(level + 1) + room[usize::try_from(level).unwrap_or(0) % 64]
}
