//! A machine that is made up, for `lowtide addon test`: files, listeners and answers of servers are what a test case says. Grants and
//! bounds hold as ever: only what lies behind them is another.

use crate::capabilities::HttpMethod;
use crate::caps::http::{HttpError, HttpResponse};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// What there is on the machine.
#[derive(Clone, Debug, Default)]
pub struct Fakes {
    /// The folder that is `/`.
    pub root: PathBuf,
    /// What accepts connections, as `host:port`.
    pub listening: BTreeSet<String>,
    /// Answers by request, written as `GET http://127.0.0.1:8096/Sessions`. No connection is ever made.
    pub http: BTreeMap<String, Result<HttpResponse, HttpError>>,
}

impl Fakes {
    /// The answer to a request.
    pub(crate) fn answer(&self, method: HttpMethod, url: &str) -> Result<HttpResponse, HttpError> {
        let request = format!("{method} {url}");
        let nobody = || {
            Err(HttpError::Unreachable(format!("nobody answers {request}: the test case has no such answer")))
        };
        self.http.get(&request).cloned().unwrap_or_else(nobody)
    }
}
