//! `lowtide token`: who may ask the daemon. Works on the file in the data folder, with the daemon running or not: a daemon that runs
//! sees a change within a second.

use super::output::{complain, out, pretty};
use crate::cli::ConfigArgs;
use crate::config::{self, FlagOverride, Sources};
use crate::exit::Exit;
use clap::{Args, Subcommand};
use lowtide_access::{
    FileError, NotAName, Scope, Scopes, Secret, TOKENS_FILE, TOKENS_MAX, Token, change, check_name,
    read_tokens, rfc3339,
};
use lowtide_clock as clock;
use lowtide_core::spans;
use lowtide_core::units::WallTime;
use serde_json::{Value, json};
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What can be done with tokens.
#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Make a token, and print it: it is shown this once. From the first one on every request over the network needs a token
    Create(CreateArgs),
    /// List the tokens: names, scopes, and until when they count
    List(ListArgs),
    /// Make a token worthless, by its name or id
    Revoke(RevokeArgs),
    /// Make a new token of the same name, scopes and limits, and let the old one count for a while longer
    Rotate(RotateArgs),
}

/// Where the tokens are.
#[derive(Debug, Args)]
struct PlaceArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Data folder of the daemon, where it is not the configured one
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

/// What a new token's text goes to.
#[derive(Debug, Args)]
struct IntoArgs {
    /// Write the token to a new file that only you can read, and print nothing of it
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// `lowtide token create`.
#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    /// What it is called, such as the machine or program that will hold it; its leases carry the name
    name: String,
    /// What it allows: read, lease, ingest, addons, admin
    #[arg(long = "scope", value_name = "SCOPE", value_delimiter = ',', required = true)]
    scopes: Vec<Scope>,
    /// How long it counts, such as 90d; without it, until it is revoked
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    expires: Option<Duration>,
    /// The most units that its leases may hold together
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    units_max: Option<u32>,
    /// Requests a second that it may send; without it `access.requests_per_second` of the configuration
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    requests_per_second: Option<u32>,
    #[command(flatten)]
    into: IntoArgs,
    #[command(flatten)]
    place: PlaceArgs,
}

/// `lowtide token list`.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    place: PlaceArgs,
}

/// `lowtide token revoke`.
#[derive(Debug, Args)]
pub(crate) struct RevokeArgs {
    /// Name of the token, or its id where only one of several of that name is meant
    which: String,
    #[command(flatten)]
    place: PlaceArgs,
}

/// `lowtide token rotate`.
#[derive(Debug, Args)]
pub(crate) struct RotateArgs {
    /// Name of the token
    name: String,
    /// How long the old one still counts
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "1d")]
    overlap: Duration,
    /// How long the new one counts; without it, as long as the old one was made for
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    expires: Option<Duration>,
    #[command(flatten)]
    into: IntoArgs,
    #[command(flatten)]
    place: PlaceArgs,
}

fn duration(text: &str) -> Result<Duration, String> {
    spans::parse(text).map_err(|error| format!("{error}, such as 90d or 12h"))
}

/// Why a command did nothing.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Name(#[from] NotAName),
    #[error("there is a token {0:?} already; `lowtide token rotate {0}` makes a new one in its place")]
    Taken(String),
    #[error("there is no token {0:?}; `lowtide token list` shows those that there are")]
    Unknown(String),
    #[error("there are {TOKENS_MAX} tokens, as many as there may be; revoke some")]
    Full,
    #[error("the system gave no random numbers: {0}")]
    NoRandom(io::Error),
    #[error("cannot write the token to {}: {source}; nothing was changed", path.display())]
    Place { path: PathBuf, source: io::Error },
    #[error(transparent)]
    File(#[from] FileError),
    #[error("the configuration is wrong; `lowtide config check` tells where")]
    Config,
}

impl Failure {
    fn exit(&self) -> Exit {
        match self {
            Self::Name(_) | Self::Taken(_) | Self::Unknown(_) | Self::Full => Exit::Usage,
            Self::Place { .. } | Self::File(_) => Exit::CannotCreate,
            Self::NoRandom(_) => Exit::Failed,
            Self::Config => Exit::Config,
        }
    }
}

pub(crate) fn run(command: &TokenCommand) -> Exit {
    let done = match command {
        TokenCommand::Create(args) => create(args),
        TokenCommand::List(args) => list(args),
        TokenCommand::Revoke(args) => revoke(args),
        TokenCommand::Rotate(args) => rotate(args),
    };
    match done {
        Ok(()) => Exit::Ok,
        Err(failure) => {
            complain(&failure.to_string());
            failure.exit()
        }
    }
}

impl PlaceArgs {
    fn data_dir(&self) -> Result<PathBuf, Failure> {
        let flag = self.data_dir.as_deref().map(|folder| FlagOverride {
            key: "storage.data_dir".to_owned(),
            value: std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned()).display().to_string(),
            flag: "--data-dir".to_owned(),
        });
        let sources = Sources::from_process(self.config.file.clone(), flag.into_iter().collect());
        config::load(&sources).map(|loaded| loaded.data_dir).map_err(|_| Failure::Config)
    }
}

fn create(args: &CreateArgs) -> Result<(), Failure> {
    check_name(&args.name)?;
    let data_dir = args.place.data_dir()?;
    let now = clock::now().wall;
    let secret = Secret::draw().map_err(Failure::NoRandom)?;
    let token = Token {
        id: secret.id(),
        name: args.name.clone(),
        hash: secret.hash(),
        scopes: Scopes::from_iter(args.scopes.iter().copied()),
        created: now,
        expires: args.expires.map(|lasts| later(now, lasts)),
        units_max: args.units_max,
        requests_per_second: args.requests_per_second,
    };
    let is_first = change(&data_dir, |tokens| {
        // One that has expired stands in nobody's way.
        if tokens.iter().any(|known| known.name == token.name && known.is_valid(now)) {
            return Err(Failure::Taken(token.name.clone()));
        }
        admit(tokens, token.clone(), &secret, &args.into)?;
        Ok(tokens.len() == 1)
    })?;
    show(&token, &secret, args.into.out.as_deref(), args.place.json);
    if is_first {
        complain("this is the first token: from now on every request over the network needs one");
    }
    Ok(())
}

/// Adds a token; its text is written first, so that none is known that nobody has.
fn admit(tokens: &mut Vec<Token>, token: Token, secret: &Secret, into: &IntoArgs) -> Result<(), Failure> {
    if tokens.len() >= TOKENS_MAX {
        return Err(Failure::Full);
    }
    if let Some(path) = &into.out {
        write(path, secret).map_err(|source| Failure::Place { path: path.clone(), source })?;
    }
    tokens.push(token);
    Ok(())
}

fn write(path: &Path, secret: &Secret) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    writeln!(file, "{}", secret.reveal())?;
    file.sync_all()
}

fn show(token: &Token, secret: &Secret, written: Option<&Path>, as_json: bool) {
    match written {
        Some(path) if as_json => out(&pretty(&described(token, Some(("token_file", json!(path)))))),
        Some(path) => out(&format!("token {} ({}) written to {}\n", token.name, token.id, path.display())),
        None if as_json => out(&pretty(&described(token, Some(("token", json!(secret.reveal())))))),
        None => out(&format!("{}\n", secret.reveal())),
    }
}

fn described(token: &Token, more: Option<(&str, Value)>) -> Value {
    let mut document = json!({
        "id": token.id.to_string(),
        "name": token.name,
        "scopes": token.scopes.iter().map(Scope::word).collect::<Vec<_>>(),
        "created": rfc3339(token.created),
        "expires": token.expires.map(rfc3339),
        "units_max": token.units_max,
        "requests_per_second": token.requests_per_second,
    });
    if let (Some(fields), Some((name, value))) = (document.as_object_mut(), more) {
        fields.insert(name.to_owned(), value);
    }
    document
}

fn list(args: &ListArgs) -> Result<(), Failure> {
    let path = args.place.data_dir()?.join(TOKENS_FILE);
    let tokens = read_tokens(&path)?.unwrap_or_default();
    let now = clock::now().wall;
    if args.place.json {
        let tokens: Vec<Value> = tokens
            .iter()
            .map(|token| described(token, Some(("valid", json!(token.is_valid(now))))))
            .collect();
        out(&pretty(&json!({ "file": path, "tokens": tokens })));
        return Ok(());
    }
    if tokens.is_empty() {
        let more = "whoever reaches the daemon on this machine may do everything";
        out(&format!("no tokens in {}: {more}\n", path.display()));
        return Ok(());
    }
    let mut rows = vec![["ID", "NAME", "SCOPES", "EXPIRES", "UNITS", "REQUESTS/S"].map(str::to_owned)];
    rows.extend(tokens.iter().map(|token| {
        let expires = match token.expires {
            None => "never".to_owned(),
            Some(at) if token.is_valid(now) => rfc3339(at),
            Some(at) => format!("expired {}", rfc3339(at)),
        };
        let number = |number: Option<u32>| number.map_or("-".to_owned(), |number| number.to_string());
        let (units, rate) = (number(token.units_max), number(token.requests_per_second));
        [token.id.to_string(), token.name.clone(), token.scopes.to_string(), expires, units, rate]
    }));
    let width =
        |column: usize| rows.iter().filter_map(|row| row.get(column)).map(String::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..6).map(width).collect();
    for row in &rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        out(&format!("{}\n", cells.collect::<Vec<_>>().join("  ").trim_end()));
    }
    Ok(())
}

fn revoke(args: &RevokeArgs) -> Result<(), Failure> {
    let data_dir = args.place.data_dir()?;
    let is_meant = |token: &Token| token.name == args.which || token.id.to_string() == args.which;
    let gone = change(&data_dir, |tokens| {
        let before = tokens.clone();
        tokens.retain(|token| !is_meant(token));
        if tokens.len() == before.len() {
            return Err(Failure::Unknown(args.which.clone()));
        }
        Ok(before.into_iter().filter(is_meant).collect::<Vec<Token>>())
    })?;
    if args.place.json {
        let gone: Vec<Value> = gone.iter().map(|token| described(token, None)).collect();
        out(&pretty(&json!({ "revoked": gone })));
    } else {
        for token in gone {
            out(&format!("token {} ({}) counts no more\n", token.name, token.id));
        }
    }
    Ok(())
}

fn rotate(args: &RotateArgs) -> Result<(), Failure> {
    let data_dir = args.place.data_dir()?;
    let now = clock::now().wall;
    let secret = Secret::draw().map_err(Failure::NoRandom)?;
    let token = change(&data_dir, |tokens| {
        let newest = tokens.iter().filter(|token| token.name == args.name).max_by_key(|token| token.created);
        let old = newest.cloned().ok_or_else(|| Failure::Unknown(args.name.clone()))?;
        let lasted =
            old.expires.map(|at| Duration::from_millis(at.unix_ms().abs_diff(old.created.unix_ms())));
        let expires = args.expires.or(lasted).map(|lasts| later(now, lasts));
        let token = Token { id: secret.id(), hash: secret.hash(), created: now, expires, ..old };
        let until = later(now, args.overlap);
        for token in tokens.iter_mut().filter(|token| token.name == args.name) {
            token.expires = Some(token.expires.map_or(until, |at| at.min(until)));
        }
        tokens.retain(|token| token.name != args.name || token.is_valid(now));
        admit(tokens, token.clone(), &secret, &args.into)?;
        Ok::<_, Failure>(token)
    })?;
    show(&token, &secret, args.into.out.as_deref(), args.place.json);
    complain(&format!("the old one counts until {}", rfc3339(later(now, args.overlap))));
    Ok(())
}

fn later(now: WallTime, lasts: Duration) -> WallTime {
    WallTime(now.unix_ms().saturating_add(i64::try_from(lasts.as_millis()).unwrap_or(i64::MAX)))
}
