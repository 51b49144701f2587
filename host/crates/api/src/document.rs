//! A response body that is made once and sent many times: plain, and compressed on first demand.
//!
//! Live documents are built once a tick, not once a request; a client that already has this tick's gets 304.

use axum::body::Body;
use axum::http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, ETAG, IF_NONE_MATCH, VARY,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use bytes::Bytes;
use std::io::Write as _;
use std::sync::OnceLock;

/// Below this a compressed body saves less than its headers and time cost.
const COMPRESS_FROM_BYTES: usize = 1_024;

/// Compression levels: both take well under a millisecond for a live document, and higher ones gain a few percent.
const GZIP_LEVEL: u32 = 4;
const ZSTD_LEVEL: i32 = 1;

/// JSON documents.
pub(crate) const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// A body with its entity tag.
#[derive(Debug)]
pub(crate) struct Document {
    content_type: HeaderValue,
    etag: HeaderValue,
    vary: HeaderValue,
    plain: Bytes,
    gzip: OnceLock<Option<Bytes>>,
    zstd: OnceLock<Option<Bytes>>,
}

/// An encoding that both sides speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Encoding {
    Identity,
    Gzip,
    Zstd,
}

impl Document {
    /// A document; `etag` must differ whenever the content does. The tag is sent as a weak one, because it is the same for
    /// all encodings (RFC 9110, 8.8.1).
    pub(crate) fn new(content_type: HeaderValue, etag: &str, plain: impl Into<Bytes>) -> Self {
        let etag =
            HeaderValue::try_from(format!("W/\"{etag}\"")).unwrap_or(HeaderValue::from_static("W/\"0\""));
        Self {
            content_type,
            etag,
            vary: HeaderValue::from_static("accept-encoding"),
            plain: plain.into(),
            gzip: OnceLock::new(),
            zstd: OnceLock::new(),
        }
    }

    /// The same document, chosen among several by its media type.
    pub(crate) fn negotiated(mut self) -> Self {
        self.vary = HeaderValue::from_static("accept, accept-encoding");
        self
    }

    /// The answer to a request with these headers: 304 if the client has it, else the body in the best common encoding.
    pub(crate) fn respond(&self, request: &HeaderMap) -> Response {
        let mut response = Response::new(Body::empty());
        let known = request.get(IF_NONE_MATCH).is_some_and(|tags| self.is_among(tags));
        if known {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
        } else {
            let (encoding, body) = self.body(accepted(request));
            let headers = response.headers_mut();
            headers.insert(CONTENT_TYPE, self.content_type.clone());
            match encoding {
                Encoding::Identity => {}
                Encoding::Gzip => drop(headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"))),
                Encoding::Zstd => drop(headers.insert(CONTENT_ENCODING, HeaderValue::from_static("zstd"))),
            }
            *response.body_mut() = Body::from(body);
        }
        let headers = response.headers_mut();
        headers.insert(ETAG, self.etag.clone());
        headers.insert(VARY, self.vary.clone());
        // It may be kept, but must be asked for again: the next tick makes another.
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        response
    }

    fn body(&self, encoding: Encoding) -> (Encoding, Bytes) {
        let compressed = match encoding {
            _ if self.plain.len() < COMPRESS_FROM_BYTES => None,
            Encoding::Identity => None,
            Encoding::Gzip => self.gzip.get_or_init(|| gzip(&self.plain)).clone(),
            Encoding::Zstd => self
                .zstd
                .get_or_init(|| zstd::bulk::compress(&self.plain, ZSTD_LEVEL).ok().map(Into::into))
                .clone(),
        };
        // A compressor that fails is no reason to withhold the answer.
        compressed.map_or_else(|| (Encoding::Identity, self.plain.clone()), |body| (encoding, body))
    }

    /// Weak comparison with a list of tags (RFC 9110, 13.1.2).
    fn is_among(&self, tags: &HeaderValue) -> bool {
        let weak = |tag: &[u8]| tag.strip_prefix(b"W/").unwrap_or(tag).to_vec();
        let own = weak(self.etag.as_bytes());
        tags.as_bytes()
            .split(|byte| *byte == b',')
            .map(<[u8]>::trim_ascii)
            .any(|tag| tag == b"*" || weak(tag) == own)
    }
}

fn gzip(plain: &[u8]) -> Option<Bytes> {
    let mut encoder = flate2::write::GzEncoder::new(
        Vec::with_capacity(plain.len() / 4),
        flate2::Compression::new(GZIP_LEVEL),
    );
    encoder.write_all(plain).ok()?;
    encoder.finish().ok().map(Into::into)
}

/// The best encoding that the client accepts: zstd before gzip unless its weights say otherwise (RFC 9110, 12.5.3).
fn accepted(request: &HeaderMap) -> Encoding {
    let Some(header) = request.get(ACCEPT_ENCODING).and_then(|value| value.to_str().ok()) else {
        return Encoding::Identity;
    };
    let (mut zstd, mut gzip, mut any) = (None, None, None);
    for offer in header.split(',') {
        let mut parts = offer.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let weight =
            parts.find_map(|part| part.strip_prefix("q=")).map_or(1.0, |q| q.parse::<f32>().unwrap_or(0.0));
        match name.to_ascii_lowercase().as_str() {
            "zstd" => zstd = Some(weight),
            "gzip" | "x-gzip" => gzip = Some(weight),
            "*" => any = Some(weight),
            _ => {}
        }
    }
    let zstd = zstd.or(any).unwrap_or(0.0);
    let gzip = gzip.or(any).unwrap_or(0.0);
    if zstd > 0.0 && zstd >= gzip {
        Encoding::Zstd
    } else if gzip > 0.0 {
        Encoding::Gzip
    } else {
        Encoding::Identity
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(axum::http::HeaderName, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn the_best_common_encoding_is_chosen() {
        let table = [
            ("", Encoding::Identity),
            ("gzip", Encoding::Gzip),
            ("gzip, zstd", Encoding::Zstd),
            ("gzip;q=1.0, zstd;q=0.5", Encoding::Gzip),
            ("zstd;q=0, gzip;q=0", Encoding::Identity),
            ("*", Encoding::Zstd),
            ("br, identity", Encoding::Identity),
            ("gzip;q=nonsense", Encoding::Identity),
        ];
        for (header, encoding) in table {
            assert_eq!(accepted(&headers(&[(ACCEPT_ENCODING, header)])), encoding, "{header}");
        }
    }

    #[test]
    fn every_encoding_gives_the_same_bytes_back() {
        let text = "lowtide ".repeat(1_000);
        let document = Document::new(JSON, "run-1", text.clone());
        let (encoding, gzipped) = document.body(Encoding::Gzip);
        assert_eq!(encoding, Encoding::Gzip);
        let mut plain = String::new();
        std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(&gzipped[..]), &mut plain).unwrap();
        assert_eq!(plain, text);
        let (_, packed) = document.body(Encoding::Zstd);
        assert_eq!(zstd::bulk::decompress(&packed, 1 << 20).unwrap(), text.as_bytes());
    }

    #[test]
    fn a_client_that_has_it_gets_304() {
        let document = Document::new(JSON, "run-7", "{}");
        for (tags, status) in
            [("W/\"run-7\"", 304), ("\"x\", \"run-7\"", 304), ("*", 304), ("W/\"run-6\"", 200)]
        {
            let response = document.respond(&headers(&[(IF_NONE_MATCH, tags)]));
            assert_eq!(response.status().as_u16(), status, "{tags}");
            assert_eq!(response.headers()[ETAG], "W/\"run-7\"");
        }
    }
}
