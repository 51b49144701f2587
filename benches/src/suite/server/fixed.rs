//! The server that the daemon is compared with: the same libraries, no layer around the routes, bodies read from files once. The
//! bench starts itself again with a hidden argument to be it.

use super::super::http::load::Answer;
use super::Server;
use anyhow::{Context as _, Result};
use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderName, HeaderValue};
use axum::routing::get;
use std::fs;
use std::path::Path;
use std::process::Command;

/// Makes the bench be this server.
pub(crate) const ARGUMENT: &str = "serve-fixed-bodies";

/// Starts one that answers these paths as the daemon answered.
pub(crate) fn start(answers: &[(&str, &Answer)]) -> Result<Server> {
    let folder = tempfile::tempdir()?;
    for (number, (path, answer)) in answers.iter().enumerate() {
        fs::write(folder.path().join(format!("{number}.path")), path)?;
        fs::write(folder.path().join(format!("{number}.type")), &answer.content_type)?;
        fs::write(folder.path().join(format!("{number}.body")), &answer.body)?;
    }
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(ARGUMENT).arg(folder.path());
    let server = Server::announced(command)?;
    server.wait_until_ready(answers.first().context("nothing to serve")?.0)?;
    Ok(server)
}

/// Is that server, until killed.
pub(crate) fn serve(folder: &Path) -> Result<()> {
    let mut router = Router::new();
    for number in 0.. {
        let file = |what: &str| folder.join(format!("{number}.{what}"));
        let Ok(path) = fs::read_to_string(file("path")) else { break };
        let kind = HeaderValue::try_from(fs::read_to_string(file("type"))?)?;
        let body = axum::body::Bytes::from(fs::read(file("body"))?);
        let answer = move || async move { ([(CONTENT_TYPE, kind) as (HeaderName, HeaderValue)], body) };
        router = router.route(&path, get(answer));
    }
    // As many workers as the daemon has.
    let workers = std::thread::available_parallelism().map_or(1, usize::from).min(4);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(workers).enable_all().build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        println!("http://{}", listener.local_addr()?);
        axum::serve(listener, router).await?;
        Ok(())
    })
}
