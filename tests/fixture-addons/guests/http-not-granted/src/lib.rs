//! Asks for requests that nobody grants.

use fixture_common::sdk::http;

fixture_common::collects!(|_| {
    http::get("http://127.0.0.1:1/").send()?;
    fixture_common::value(1.0)
});
