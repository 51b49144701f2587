//! Panics with a message that steers a terminal.

fixture_common::collects!(|_| panic!("\u{1b}[31mred \u{202e}evil\nlevel=error forged=1"));
