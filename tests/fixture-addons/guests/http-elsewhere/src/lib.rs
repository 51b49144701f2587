//! Sends requests to where it may not, by another method, and with what is no request.

use fixture_common::outcome;
use fixture_common::sdk::http::{self, HttpErrorKind, RequestBuilder};

fixture_common::collects!(|_| {
    let refused = |request: RequestBuilder| {
        request.send().is_err_and(|error| matches!(error.kind, HttpErrorKind::NotGranted(_)))
    };
    let invalid = |request: RequestBuilder| {
        request.send().is_err_and(|error| matches!(error.kind, HttpErrorKind::Invalid(_)))
    };
    Ok(vec![
        outcome("another host", refused(http::get("http://127.0.0.2:1/"))),
        outcome("another port", refused(http::get("http://127.0.0.1:2/"))),
        outcome("another method", refused(http::post("http://127.0.0.1:1/"))),
        outcome("https", refused(http::get("https://127.0.0.1:1/"))),
        outcome("a user", http::get("http://127.0.0.1:1@169.254.169.254/").send().is_err()),
        outcome("a file", http::get("file:///etc/passwd").send().is_err()),
        outcome("no address", invalid(http::get(""))),
        outcome("a header of the host's", invalid(http::get("http://127.0.0.1:1/").header("host", "evil"))),
        outcome(
            "a header with a line break",
            invalid(http::get("http://127.0.0.1:1/").header("a", "b\r\nc: d")),
        ),
        outcome("9 KiB", invalid(http::get(format!("http://127.0.0.1:1/{}", "x".repeat(9 << 10))))),
        outcome("nobody there", http::get("http://127.0.0.1:1/").send().is_err()),
    ])
});
