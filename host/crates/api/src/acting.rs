//! What every request that acts must be: of this site, with parameters and a body that are understood whole.

use crate::error::{Code, Problem};
use crate::observe::has_body;
use crate::params::Params;
use axum::body::to_bytes;
use axum::extract::Request;
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE, HOST, ORIGIN};
use axum::http::{HeaderMap, HeaderValue, Uri};
use lowtide_core::limits;
use serde::de::DeserializeOwned;
use std::net::IpAddr;

/// For what says all in its path: no parameters, no body.
pub(crate) fn may_act(request: &Request) -> Result<(), Box<Problem>> {
    same_site(request.headers(), request.uri())?;
    Params::parse(request.uri().query(), &[])?;
    if has_body(request) {
        return Err(Problem::new(Code::UnexpectedBody, "what to do is in the path"));
    }
    Ok(())
}

/// The JSON body of a request that acts; without a body, that of an empty object.
pub(crate) async fn body<T: DeserializeOwned>(request: Request) -> Result<T, Box<Problem>> {
    same_site(request.headers(), request.uri())?;
    let json = is_json(request.headers());
    // A small packed body may unpack to gigabytes; nothing here is large enough to be packed.
    let packed = request.headers().get(CONTENT_ENCODING).is_some_and(|coding| coding != "identity");
    if packed {
        return Err(Problem::new(
            Code::UnsupportedMediaType,
            "a body is taken as it is, without Content-Encoding",
        ));
    }
    let whole = to_bytes(request.into_body(), limits::LEASE_BODY_BYTES_MAX);
    let bytes = tokio::time::timeout(limits::REQUEST_BODY_MAX, whole).await;
    let bytes = bytes.map_err(|_| {
        let most = limits::REQUEST_BODY_MAX.as_secs();
        Problem::new(Code::BodyTooSlow, format!("the body was not there {most} s after its head"))
    })?;
    let bytes = bytes.map_err(|_| {
        let most = limits::LEASE_BODY_BYTES_MAX;
        Problem::new(Code::PayloadTooLarge, format!("the body is larger than {most} bytes, or broke off"))
    })?;
    let text: &[u8] = match &*bytes {
        [] => b"{}",
        _ if !json => {
            let detail = "the body must be JSON and say so by Content-Type: application/json";
            return Err(Problem::new(Code::UnsupportedMediaType, detail));
        }
        bytes => bytes,
    };
    serde_json::from_slice(text).map_err(|error| Problem::new(Code::InvalidBody, error.to_string()))
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    kind.eq_ignore_ascii_case("application/json")
}

/// Refuses what a page of another site had a browser send: there is no token yet that such a page would lack. A page of this
/// daemon is only believed on a loopback name, because any other name may be made to mean this machine (DNS rebinding).
fn same_site(headers: &HeaderMap, uri: &Uri) -> Result<(), Box<Problem>> {
    let refuse = |detail| Err(Problem::new(Code::CrossSiteRequest, detail));
    let site = headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
    if !matches!(site, None | Some(b"same-origin" | b"none")) {
        return refuse("the header Sec-Fetch-Site says that it comes from elsewhere");
    }
    let Some(origin) = headers.get(ORIGIN) else { return Ok(()) };
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let host = uri.authority().map(axum::http::uri::Authority::as_str).or(host);
    let page = origin
        .to_str()
        .ok()
        .and_then(|origin| origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://")));
    match (page, host) {
        (Some(page), Some(host)) if page.eq_ignore_ascii_case(host) && is_loopback(host) => Ok(()),
        _ => refuse("the header Origin names another site"),
    }
}

/// Whether a host with or without a port can only be this machine.
fn is_loopback(authority: &str) -> bool {
    let Ok(authority) = authority.parse::<axum::http::uri::Authority>() else { return false };
    let host = authority.host();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}
