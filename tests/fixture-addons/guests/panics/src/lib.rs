//! Panics with a message.

fixture_common::collects!(|call| panic!("no tide table for harbour {}", 41 + call));
