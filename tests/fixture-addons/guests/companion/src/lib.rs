//! Behaves well: counts its calls. It runs beside every other fixture and must not notice them.

fixture_common::collects!(|call| fixture_common::value(call as f64));
