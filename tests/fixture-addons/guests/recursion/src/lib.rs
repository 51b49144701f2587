//! Calls itself until the host's stack is used up.

fixture_common::collects!(|call| fixture_common::value(deeper(call) as f64));

// Two calls cannot become a loop, and nothing is kept in memory.
#[inline(never)]
#[expect(unconditional_recursion, reason = "this is what it is for")]
fn deeper(level: u64) -> u64 {
    deeper(level + 1) ^ deeper(level + 2).rotate_left(3)
}
