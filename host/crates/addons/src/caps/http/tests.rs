//! Tests of requests, against small servers of a few lines that say exactly what they send.

use super::client::Roots;
use super::*;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, mpsc};
use std::thread;

const START: MonoTime = MonoTime(Duration::from_secs(1));

/// Reads one request: head and, by its declared length, body. None when the other side is gone.
fn read_request(stream: &mut impl Read) -> Option<String> {
    let mut read = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&read).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let lower = head.to_lowercase();
            let length = lower
                .split("content-length: ")
                .nth(1)
                .map_or(0, |rest| rest.lines().next().unwrap().parse().unwrap());
            if body.len() >= length {
                return Some(text);
            }
        }
        let mut piece = [0; 4_096];
        match stream.read(&mut piece) {
            Ok(0) | Err(_) => return None,
            Ok(count) => read.extend_from_slice(&piece[..count]),
        }
    }
}

/// A server that sends `answer` to each request and closes the connection after it: an answer to the first of several requests says
/// so, or the next one might still be sent to the old connection. What it was asked comes over the channel.
fn server(answer: impl Into<Vec<u8>>) -> (SocketAddr, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (asked, requests) = mpsc::sync_channel(100);
    let answer = answer.into();
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let Some(request) = read_request(&mut stream) else { continue };
            // The client may hang up in the middle: that is its right.
            let _ = stream.write_all(&answer);
            if asked.send(request).is_err() {
                return;
            }
        }
    });
    (address, requests)
}

fn desk(rules: &[String]) -> HttpDesk {
    let rules = rules.iter().map(|rule| HttpRule::try_from(rule.clone()).unwrap()).collect();
    HttpDesk::new(AddonId::new("my-app").unwrap(), rules, Blocking::default())
}

fn desk_for(address: SocketAddr) -> HttpDesk {
    desk(&[format!("GET http://{address}"), format!("POST http://{address}")])
}

fn to(url: impl Into<String>) -> HttpRequest {
    HttpRequest { url: url.into(), ..HttpRequest::default() }
}

async fn get(desk: &HttpDesk, url: impl Into<String>) -> Result<HttpResponse, HttpError> {
    desk.send(START, HttpMethod::Get, to(url), None).await
}

/// What comes of one request to a server that gives this answer.
async fn answered(answer: impl Into<Vec<u8>>) -> Result<HttpResponse, HttpError> {
    let (address, _requests) = server(answer);
    get(&desk_for(address), format!("http://{address}/")).await
}

#[tokio::test]
async fn an_answer_comes_whole() {
    let (address, requests) =
        server("HTTP/1.1 200 OK\r\nX-Thing: a\r\nx-thing: b\r\ncontent-length: 5\r\n\r\nhello");
    let headers = vec![("Accept".to_owned(), "text/plain; q=ä".to_owned())];
    let request = HttpRequest { headers, ..to(format!("http://{address}/a%20b?c=d#fragment")) };
    let answer = desk_for(address).send(START, HttpMethod::Get, request, None).await.unwrap();
    assert_eq!((answer.status, answer.body.as_slice()), (200, b"hello".as_slice()));
    let things: Vec<_> = answer
        .headers
        .iter()
        .filter(|(name, _)| name == "x-thing")
        .map(|(_, value)| value.as_str())
        .collect();
    assert_eq!(things, ["a", "b"]);
    let asked = requests.recv().unwrap();
    assert!(asked.starts_with("GET /a%20b?c=d HTTP/1.1\r\n"), "{asked}");
    assert!(
        asked.contains(&format!("host: {address}\r\n")) && asked.contains("accept: text/plain; q=ä\r\n"),
        "{asked}"
    );
}

#[tokio::test]
async fn a_body_arrives() {
    let (address, requests) =
        server("HTTP/1.1 201 Created\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
    let desk = desk_for(address);
    let url = format!("http://{address}/new");
    let answer = desk.send(START, HttpMethod::Post, to(&url), Some(b"{\"a\":1}".to_vec())).await.unwrap();
    assert_eq!((answer.status, answer.body.len()), (201, 0));
    let asked = requests.recv().unwrap();
    assert!(
        asked.starts_with("POST /new ")
            && asked.contains("content-length: 7\r\n")
            && asked.ends_with("\r\n\r\n{\"a\":1}"),
        "{asked}"
    );
    let most = vec![b'x'; limits::HTTP_BODY_BYTES_MAX];
    desk.send(START, HttpMethod::Post, to(&url), Some(most.clone())).await.unwrap();
    assert!(requests.recv().unwrap().len() > most.len());
    let over = [most, vec![0]].concat();
    assert!(matches!(
        desk.send(START, HttpMethod::Post, to(&url), Some(over)).await,
        Err(HttpError::Invalid(_))
    ));
}

#[tokio::test]
async fn any_status_is_an_answer_and_no_redirect_is_followed() {
    let (elsewhere, never) = server("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    let moved =
        answered(format!("HTTP/1.1 302 Found\r\nlocation: http://{elsewhere}/\r\ncontent-length: 0\r\n\r\n"))
            .await
            .unwrap();
    assert_eq!(moved.status, 302);
    assert!(moved.headers.contains(&("location".to_owned(), format!("http://{elsewhere}/"))));
    assert!(never.try_recv().is_err());
    assert_eq!(answered("HTTP/1.1 500 Oh\r\ncontent-length: 3\r\n\r\nbad").await.unwrap().body, b"bad");
    assert_eq!(answered("HTTP/1.0 404 No\r\n\r\nuntil the end").await.unwrap().body, b"until the end");
}

#[tokio::test]
async fn a_body_has_its_bound_declared_or_not() {
    let most = limits::HTTP_BODY_BYTES_MAX;
    let declared =
        |length: usize| format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n").into_bytes();
    assert_eq!(answered([declared(most), vec![1; most]].concat()).await.unwrap().body.len(), most);
    // The body is not even sent.
    assert_eq!(answered(declared(most + 1)).await, Err(HttpError::TooLarge));
    let chunked = |pieces: usize| {
        let mut answer = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
        for _ in 0..pieces {
            answer.extend([b"400\r\n".as_slice(), &[b'x'; 0x400], b"\r\n"].concat());
        }
        answer.extend_from_slice(b"0\r\n\r\n");
        answer
    };
    assert_eq!(answered(chunked(most / 0x400)).await.unwrap().body.len(), most);
    assert_eq!(answered(chunked(most / 0x400 + 1)).await, Err(HttpError::TooLarge));
    let endless = [b"HTTP/1.0 200 OK\r\n\r\n".to_vec(), vec![0; most + 1]].concat();
    assert_eq!(answered(endless).await, Err(HttpError::TooLarge));
}

#[tokio::test]
async fn headers_have_their_bounds() {
    let with = |count: usize, length: usize| {
        let fields: String =
            (0..count).map(|number| format!("x-{number:02}: {}\r\n", "v".repeat(length))).collect();
        format!("HTTP/1.1 200 OK\r\n{fields}content-length: 0\r\n\r\n")
    };
    assert_eq!(
        answered(with(limits::HTTP_HEADERS_MAX - 1, 1)).await.unwrap().headers.len(),
        limits::HTTP_HEADERS_MAX
    );
    assert_eq!(answered(with(limits::HTTP_HEADERS_MAX, 1)).await, Err(HttpError::TooLarge));
    assert!(answered(with(1, limits::HTTP_HEADER_BYTES_MAX - 100)).await.is_ok());
    for length in [limits::HTTP_HEADER_BYTES_MAX, 4 * limits::HTTP_HEADER_BYTES_MAX] {
        assert_eq!(answered(with(1, length)).await, Err(HttpError::TooLarge), "{length}");
    }
}

#[tokio::test]
async fn a_slow_server_is_a_timeout_wherever_it_stops() {
    for start in ["", "HTTP/1.1 200 OK\r\ncontent-", "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf"] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let held = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            read_request(&mut stream).unwrap();
            stream.write_all(start.as_bytes()).unwrap();
            // Until the client gives up.
            let _ = stream.read(&mut [0]);
        });
        let request =
            HttpRequest { timeout: Some(Duration::from_millis(50)), ..to(format!("http://{address}/")) };
        let answer = desk_for(address).send(START, HttpMethod::Get, request, None).await;
        assert_eq!(answer, Err(HttpError::Timeout), "{start:?}");
        // The connection is closed by a task of this thread's.
        tokio::task::spawn_blocking(|| held.join().unwrap()).await.unwrap();
    }
    let long = HttpRequest {
        timeout: Some(limits::HTTP_TIMEOUT_MAX + Duration::from_millis(1)),
        ..to("http://127.0.0.1:1/")
    };
    let answer = desk(&["GET http://127.0.0.1:1".to_owned()]).send(START, HttpMethod::Get, long, None).await;
    assert!(matches!(answer, Err(HttpError::Invalid(_))));
}

#[tokio::test]
async fn no_connection_and_a_broken_one_are_said() {
    let unused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let words = |result: Result<HttpResponse, HttpError>| match result {
        Err(HttpError::Unreachable(text)) => text,
        other => panic!("{other:?}"),
    };
    let text = words(get(&desk_for(unused), format!("http://{unused}/")).await);
    assert!(
        text.starts_with(&format!("cannot connect to http://{unused}: ")) && text.contains("refused"),
        "{text}"
    );
    let nowhere = desk(&["GET http://lowtide.invalid".to_owned()]);
    let text = words(get(&nowhere, "http://lowtide.invalid/").await);
    assert!(
        text.starts_with("cannot connect to http://lowtide.invalid:80: ") && text.contains("dns"),
        "{text}"
    );
    for cut in [
        "",
        "HTTP/1.1 200 OK\r\ncontent-",
        "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf",
        "SSH-2.0-OpenSSH\r\n",
    ] {
        let text = words(answered(cut).await);
        assert!(text.contains(" broke: "), "{cut:?}: {text}");
    }
}

#[tokio::test]
async fn only_what_was_granted_is_asked() {
    let (address, requests) = server("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    let port = address.port();
    let desk = desk(&[
        format!("GET http://127.0.0.1:{port}"),
        "GET https://nas".to_owned(),
        "GET http://[::1]:1".to_owned(),
    ]);
    let words = |result: Result<HttpResponse, HttpError>| match result {
        Err(HttpError::NotGranted(text)) => text,
        other => panic!("{other:?}"),
    };
    let other_port = port ^ 1;
    for url in [
        format!("http://localhost:{port}/"),
        format!("http://127.0.0.1:{other_port}/"),
        "http://127.0.0.1/".to_owned(),
        format!("https://127.0.0.1:{port}/"),
        "http://nas:443/".to_owned(),
        "https://nas.:443/".to_owned(),
        "https://nas.evil/".to_owned(),
        "http://[::1]:2/".to_owned(),
        "http://2130706433/".to_owned(),
    ] {
        words(get(&desk, url).await);
    }
    let refused = desk.send(START, HttpMethod::Post, to(format!("http://127.0.0.1:{port}/")), None).await;
    let expected = format!(
        "POST http://127.0.0.1:{port} was not granted: ask for it in addon.toml, and the operator for \
         http = [\"POST http://127.0.0.1:{port}\"] in [addon.my-app.grants]"
    );
    assert_eq!(words(refused), expected);
    assert!(requests.try_recv().is_err());
    get(&desk, format!("HTTP://127.0.0.1:{port}")).await.unwrap();
    assert!(requests.recv().is_ok());
}

#[tokio::test]
async fn urls_and_headers_that_could_be_read_two_ways_are_refused() {
    let desk = desk(&["GET http://a".to_owned(), "GET http://a:8".to_owned()]);
    let long = format!("http://a/{}", "x".repeat(limits::HTTP_URL_BYTES_MAX));
    for url in [
        "",
        "/path",
        "a:80",
        "a",
        "ftp://a/",
        "http://",
        "http:///path",
        "http://u@a/",
        "http://u:p@a/",
        "http://a@b/",
        "http://a:/",
        "http://a:99999/",
        "http://a:08/",
        "http://a:8:8/",
        "http://a b/",
        "http://a\\@b/",
        "http://a/\r\nx: y",
        "http://ä/",
        &long,
    ] {
        let answer = get(&desk, url).await;
        assert!(matches!(answer, Err(HttpError::Invalid(_))), "{url}: {answer:?}");
    }
    let many = vec![("x".to_owned(), "y".to_owned()); limits::HTTP_HEADERS_MAX + 1];
    let field = |name: &str, value: &str| vec![(name.to_owned(), value.to_owned())];
    for headers in [
        many,
        field("x", &"y".repeat(limits::HTTP_HEADER_BYTES_MAX)),
        field("Host", "b"),
        field("connection", "close"),
        field("Content-Length", "1"),
        field("transfer-encoding", "chunked"),
        field("x\r\ny", "z"),
        field("", "z"),
        field("x", "a\r\nhost: b"),
        field("x", "\0"),
    ] {
        let answer =
            desk.send(START, HttpMethod::Get, HttpRequest { headers, ..to("http://a/") }, None).await;
        assert!(matches!(answer, Err(HttpError::Invalid(_))), "{answer:?}");
    }
}

#[tokio::test]
async fn too_many_requests_are_refused_until_time_has_passed() {
    let (address, _requests) = server("HTTP/1.1 204 None\r\nconnection: close\r\n\r\n");
    let desk = desk_for(address);
    let url = format!("http://{address}/");
    for _ in 0..limits::HTTP_REQUESTS_BURST {
        assert_eq!(get(&desk, &url).await.unwrap().status, 204);
    }
    assert_eq!(get(&desk, &url).await, Err(HttpError::LimitExceeded));
    let later = START.plus(Duration::from_millis(1_000 / u64::from(limits::HTTP_REQUESTS_PER_SECOND)));
    assert!(desk.send(later, HttpMethod::Get, to(&url), None).await.is_ok());
}

#[tokio::test]
async fn a_connection_is_used_again() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        // One connection for all: a second one would wait for ever.
        let (mut stream, _) = listener.accept().unwrap();
        while read_request(&mut stream).is_some() {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").unwrap();
        }
    });
    let desk = desk_for(address);
    for _ in 0..3 {
        assert_eq!(get(&desk, format!("http://{address}/")).await.unwrap().body, b"ok");
    }
}

/// A server with a certificate that it signed itself, and that certificate.
fn secure_server() -> (SocketAddr, CertificateDer<'static>) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let certificate = made.cert.der().clone();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut stream = StreamOwned::new(ServerConnection::new(Arc::clone(&config)).unwrap(), stream);
            if read_request(&mut stream).is_some() {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nsecret");
            }
        }
    });
    (address, certificate)
}

fn trusting(certificate: Option<CertificateDer<'static>>) -> Roots {
    Arc::new(move || {
        let mut roots = RootCertStore::empty();
        if let Some(certificate) = &certificate {
            roots.add(certificate.clone()).unwrap();
        }
        roots
    })
}

async fn ask_securely(url: &str, roots: Roots) -> Result<HttpResponse, HttpError> {
    let rule = HttpRule::try_from(format!("GET {url}")).unwrap();
    let desk = HttpDesk::with_clients(
        AddonId::new("my-app").unwrap(),
        vec![rule],
        Clients::with_roots(roots, Blocking::default()),
    );
    get(&desk, url).await
}

#[tokio::test]
async fn a_certificate_counts_only_if_somebody_vouches_for_it() {
    let (address, certificate) = secure_server();
    let url = format!("https://localhost:{}/", address.port());
    assert_eq!(ask_securely(&url, trusting(Some(certificate.clone()))).await.unwrap().body, b"secret");
    let words = |result: Result<HttpResponse, HttpError>| match result {
        Err(HttpError::Unreachable(text)) => text,
        other => panic!("{other:?}"),
    };
    // The right one for another name, another one for the right name, and none at all.
    let other_name = format!("https://{address}/");
    let text = words(ask_securely(&other_name, trusting(Some(certificate))).await);
    assert!(text.contains("invalid peer certificate"), "{text}");
    let (_, other) = secure_server();
    let text = words(ask_securely(&url, trusting(Some(other))).await);
    assert!(text.contains("invalid peer certificate"), "{text}");
    let text = words(ask_securely(&url, trusting(None)).await);
    assert!(text.contains("no certificates of authorities: install ca-certificates"), "{text}");
}
