//! The exposition for scrapers.

use super::current::live;
use crate::document::Document;
use crate::error::Problem;
use crate::export::prometheus::{Format, render};
use crate::params::Params;
use crate::shared::{Live, Shared};
use axum::extract::{Request, State};
use axum::http::header::ACCEPT;
use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
const OPEN_METRICS: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");

/// Every series in the Prometheus text format, or in OpenMetrics if the client asks for it
#[utoipa::path(get, path = "/metrics", tag = "operation", responses(
    (status = 200, description = "The exposition", content(
        (String = "text/plain"),
        (String = "application/openmetrics-text"),
    )),
    (status = 304, description = "The client has it already"),
    (status = "4XX", description = "See `code`", body = Problem, content_type = "application/problem+json"),
    (status = "5XX", description = "See `code`", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn get_metrics(
    State(shared): State<Shared>,
    request: Request,
) -> Result<Response, Box<Problem>> {
    Params::parse(request.uri().query(), &[])?;
    let version = shared.app.about().version;
    let (which, format, content_type) = if wants_open_metrics(request.headers()) {
        (Live::OpenMetrics, Format::OpenMetrics, OPEN_METRICS)
    } else {
        (Live::Prometheus, Format::Text, TEXT)
    };
    live(&shared, request.headers(), which, |state, etag| {
        Document::new(content_type, etag, render(state, version, format)).negotiated()
    })
}

/// Whether OpenMetrics is named with a weight of at least that of plain text (RFC 9110, 12.5.1). Prometheus sends both.
fn wants_open_metrics(headers: &HeaderMap) -> bool {
    let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let weight = |media: &str| {
        let offers = accept.split(',').map(str::trim).filter(|offer| offer.starts_with(media));
        let weights = offers.map(|offer| {
            let q = offer.split(';').find_map(|part| part.trim().strip_prefix("q="));
            q.map_or(1.0, |q| q.parse::<f32>().unwrap_or(0.0))
        });
        weights.fold(0.0, f32::max)
    };
    let open_metrics = weight("application/openmetrics-text");
    open_metrics > 0.0 && open_metrics >= weight("text/plain")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn openmetrics_is_sent_to_those_who_ask() {
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,\
                          text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        for (accept, expected) in [
            (prometheus, true),
            ("text/plain", false),
            ("*/*", false),
            ("application/openmetrics-text;q=0.2,text/plain", false),
            ("application/openmetrics-text;q=0", false),
        ] {
            let headers: HeaderMap = [(ACCEPT, HeaderValue::try_from(accept).unwrap())].into_iter().collect();
            assert_eq!(wants_open_metrics(&headers), expected, "{accept}");
        }
    }
}
