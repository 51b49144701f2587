//! Who may ask a Lowtide daemon for what: tokens with scopes, kept as hashes in a file; users on the unix socket; and how fast each may
//! ask. It knows no HTTP: `api` asks it for each request, `lowtide token` changes the file.

mod file;
mod rate;
mod scope;
mod token;

pub use file::{
    FileError, TOKENS_FILE, TOKENS_MAX, change, parse as parse_tokens, read as read_tokens, rfc3339,
};
pub use scope::{NoSuchScope, Scope, Scopes};
pub use token::{NAME_BYTES_MAX, NotAName, Secret, Token, TokenHash, TokenId, check_name};

use file::{Stamp, stamp};
use lowtide_core::units::Now;
use rate::Rates;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

/// How often it is looked whether a file of tokens changed, so that one that is revoked is worth nothing after that time.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Who sends a request.
#[derive(Clone, Debug)]
pub enum Caller {
    /// Anybody on this machine: there are no tokens, and only this machine can ask.
    Anyone,
    /// A user of this machine, known by the unix socket.
    User {
        /// Their number.
        uid: u32,
        /// What they may do.
        scopes: Scopes,
    },
    /// The holder of a token.
    Token(Arc<Token>),
}

impl Caller {
    /// Whether they may do what needs this scope.
    #[must_use]
    pub fn may(&self, scope: Scope) -> bool {
        match self {
            Self::Anyone => true,
            Self::User { scopes, .. } => scopes.allow(scope),
            Self::Token(token) => token.scopes.allow(scope),
        }
    }

    /// The name of their token.
    #[must_use]
    pub fn token(&self) -> Option<&Token> {
        match self {
            Self::Token(token) => Some(token),
            Self::Anyone | Self::User { .. } => None,
        }
    }
}

/// Why a request is not answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// It shows no token.
    #[error(
        "a token is needed: the header `Authorization: Bearer lowtide_…`, or --token-file of the command line"
    )]
    NoToken,
    /// What it shows is none, or not one of ours. Which of them is not told.
    #[error(
        "this token is not known here; `lowtide token list` on the daemon's machine lists those that are"
    )]
    Unknown,
    /// It was one.
    #[error(
        "the token {name:?} has expired; `lowtide token rotate {name}` on the daemon's machine makes a new one"
    )]
    Expired {
        /// Its name.
        name: String,
    },
    /// It asks too fast.
    #[error("the token {name:?} asks more than {per_second} times a second")]
    TooFast {
        /// Its name.
        name: String,
        /// How often it may.
        per_second: u32,
        /// When there is room again.
        retry_after: Duration,
    },
}

/// The tokens that count now.
#[derive(Debug, Default)]
struct Known {
    tokens: HashMap<TokenId, Arc<Token>>,
    stamps: Vec<Option<Stamp>>,
    looked: Option<lowtide_core::units::MonoTime>,
    /// Whether there ever was a token since the start. A file that is lost must not open what was closed.
    closed: bool,
    broken: bool,
}

/// See the head of the file. Shared by all requests.
#[derive(Debug)]
pub struct Access {
    files: Vec<PathBuf>,
    requests_per_second: u32,
    known: RwLock<Known>,
    rates: Mutex<Rates>,
}

impl Access {
    /// Reads the files of tokens; those that are not there have none. `requests_per_second`: for tokens that say nothing else.
    ///
    /// # Errors
    /// [`FileError`] of the first that cannot be used: a daemon must not start open because its tokens cannot be read.
    pub fn open(files: Vec<PathBuf>, requests_per_second: u32) -> Result<Self, FileError> {
        let mut known = Known::default();
        known.read(&files)?;
        Ok(Self { files, requests_per_second, known: RwLock::new(known), rates: Mutex::default() })
    }

    /// Whether there are tokens, so that one is needed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.known.read().unwrap_or_else(PoisonError::into_inner).closed
    }

    /// Who shows this: the value of the header `Authorization`.
    ///
    /// # Errors
    /// [`Denied`]. Without tokens nobody is, whatever they show.
    pub fn identify(&self, shown: Option<&[u8]>, now: Now) -> Result<Caller, Denied> {
        self.look_again(now);
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        if !known.closed {
            return Ok(Caller::Anyone);
        }
        let shown = shown.ok_or(Denied::NoToken)?;
        let secret = std::str::from_utf8(shown)
            .ok()
            .and_then(bearer)
            .and_then(Secret::parse)
            .ok_or(Denied::Unknown)?;
        let hash = secret.hash();
        let token = known.tokens.get(&secret.id());
        let same = token.map_or(TokenHash::of_nothing(), |token| token.hash) == hash;
        let token = Arc::clone(token.filter(|_| same).ok_or(Denied::Unknown)?);
        drop(known);
        let name = || token.name.clone();
        if !token.is_valid(now.wall) {
            return Err(Denied::Expired { name: name() });
        }
        let per_second = token.requests_per_second.unwrap_or(self.requests_per_second);
        let mut rates = self.rates.lock().unwrap_or_else(PoisonError::into_inner);
        rates.take(token.id, per_second, now.mono).map_err(|retry_after| Denied::TooFast {
            name: name(),
            per_second,
            retry_after,
        })?;
        drop(rates);
        Ok(Caller::Token(token))
    }

    /// Whether who was let in still would be: asked again while an answer without end runs.
    #[must_use]
    pub fn still(&self, caller: &Caller, now: Now) -> bool {
        self.look_again(now);
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        match caller {
            Caller::Anyone => !known.closed,
            Caller::User { .. } => true,
            Caller::Token(token) => {
                known.tokens.get(&token.id).is_some_and(|now| now.hash == token.hash)
                    && token.is_valid(now.wall)
            }
        }
    }

    /// Reads the files again when one of them changed. One that cannot be used leaves everything as it was, and is told once.
    fn look_again(&self, now: Now) {
        let due = |known: &Known| known.looked.is_none_or(|looked| now.mono.since(looked) >= LOOK_EVERY);
        if !due(&self.known.read().unwrap_or_else(PoisonError::into_inner)) {
            return;
        }
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if !due(&known) {
            return;
        }
        known.looked = Some(now.mono);
        let same = self.files.iter().map(|path| stamp(path)).eq(known.stamps.iter().copied());
        if same {
            return;
        }
        match known.read(&self.files) {
            Ok(()) => {
                known.broken = false;
                tracing::info!(tokens = known.tokens.len(), "the tokens were read again");
                let tokens = &known.tokens;
                let mut rates = self.rates.lock().unwrap_or_else(PoisonError::into_inner);
                rates.retain(|id| tokens.contains_key(&id));
            }
            Err(error) if !std::mem::replace(&mut known.broken, true) => {
                tracing::error!(%error, "the tokens cannot be read; those known before stay");
            }
            Err(_) => {}
        }
    }
}

impl Known {
    fn read(&mut self, files: &[PathBuf]) -> Result<(), FileError> {
        // Before the content: what changes in between is seen the next time.
        let stamps: Vec<Option<Stamp>> = files.iter().map(|path| stamp(path)).collect();
        let mut tokens = HashMap::new();
        for path in files {
            for token in read_tokens(path)?.unwrap_or_default() {
                tokens.insert(token.id, Arc::new(token));
            }
        }
        self.closed |= !tokens.is_empty();
        (self.tokens, self.stamps) = (tokens, stamps);
        Ok(())
    }
}

/// What stands behind `Bearer` (RFC 6750); the word in any case (RFC 9110, 11.1).
fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim_matches(' '))
}

#[cfg(test)]
mod tests;
