//! Ends its process.

fixture_common::collects!(|_| std::process::exit(3));
