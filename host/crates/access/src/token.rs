//! Tokens: what a caller shows (a text with 256 random bits), and what is kept of it (a hash, and what it allows).

use crate::scope::Scopes;
use lowtide_core::units::WallTime;
use std::fmt;

/// How the text of every token begins, so that scanners for leaked secrets can find it.
const PREFIX: &str = "lowtide_";

/// Digits of the public number by which a token is found, and of its secret: 32 and 256 bits.
const ID_DIGITS: usize = 8;
const SECRET_DIGITS: usize = 64;

/// Bytes of a token's name.
pub const NAME_BYTES_MAX: usize = 32;

/// The public number of a token: eight lowercase hexadecimal digits. It stands in the token's text and in lists, and is no secret.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenId(u32);

impl TokenId {
    /// Reads the eight digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.len() == ID_DIGITS && text.bytes().all(is_digit);
        u32::from_str_radix(text, 16).ok().filter(|_| digits).map(Self)
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

impl fmt::Debug for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// The text of a token: `lowtide_<id>_<secret>`. Never written to a log: its `Debug` shows the public part only.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    id: TokenId,
    text: String,
}

impl Secret {
    /// A new one.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub fn draw() -> std::io::Result<Self> {
        let mut random = [0_u8; 36];
        let mut filled = 0;
        while let Some(rest) = random.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            filled += rustix::rand::getrandom(rest, rustix::rand::GetRandomFlags::empty())?;
        }
        Ok(Self::of(random))
    }

    fn of(random: [u8; 36]) -> Self {
        let hex: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        let (id, secret) = hex.split_at(ID_DIGITS);
        let text = format!("{PREFIX}{id}_{secret}");
        Self { id: TokenId(u32::from_str_radix(id, 16).unwrap_or_default()), text }
    }

    /// Reads what a caller shows; `None` when it has not the form of a token.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (id, secret) = text.strip_prefix(PREFIX)?.split_once('_')?;
        let plain = secret.len() == SECRET_DIGITS && secret.bytes().all(is_digit);
        let id = TokenId::parse(id).filter(|_| plain)?;
        Some(Self { id, text: text.to_owned() })
    }

    /// Its public number.
    #[must_use]
    pub fn id(&self) -> TokenId {
        self.id
    }

    /// All of it: what its holder keeps.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.text
    }

    /// What the daemon keeps. 256 random bits need no slow hash and no salt: they cannot be guessed.
    #[must_use]
    pub fn hash(&self) -> TokenHash {
        TokenHash(blake3::hash(self.text.as_bytes()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}_…", self.id)
    }
}

fn is_digit(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

/// The BLAKE3 hash of a token's text. Comparing two takes the same time wherever they differ (`blake3::Hash`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenHash(blake3::Hash);

impl TokenHash {
    /// Of 64 hexadecimal digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        blake3::Hash::from_hex(text).ok().map(Self)
    }

    /// The hash that no token has: what an unknown id is compared with, so that its answer takes as long.
    pub(crate) fn of_nothing() -> Self {
        Self(blake3::Hash::from_bytes([0; 32]))
    }
}

impl fmt::Display for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.to_hex())
    }
}

/// What is kept of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// Its public number.
    pub id: TokenId,
    /// What it is called. The leases of a token belong to its name, so that they stay with it when it is rotated.
    pub name: String,
    /// The hash of its text.
    pub hash: TokenHash,
    /// What it allows.
    pub scopes: Scopes,
    /// When it was made.
    pub created: WallTime,
    /// From when on it is worth nothing; `None` for one that does not expire.
    pub expires: Option<WallTime>,
    /// The most units that its leases may hold together; `None` for as many as there are.
    pub units_max: Option<u32>,
    /// Requests a second that it may send, on average; `None` for the daemon's default.
    pub requests_per_second: Option<u32>,
}

impl Token {
    /// Whether it is worth something at this time.
    #[must_use]
    pub fn is_valid(&self, now: WallTime) -> bool {
        self.expires.is_none_or(|expires| now < expires)
    }
}

/// Why a name is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no name of a token: 1 to {NAME_BYTES_MAX} lowercase letters, digits, '-', '_' and '.', first a letter or digit"
)]
pub struct NotAName(pub String);

/// Checks a name: 1 to [`NAME_BYTES_MAX`] of `a-z0-9._-`, the first a letter or digit.
///
/// # Errors
/// [`NotAName`].
pub fn check_name(name: &str) -> Result<(), NotAName> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let fits = (1..=NAME_BYTES_MAX).contains(&name.len())
        && name.bytes().all(|byte| plain(byte) || matches!(byte, b'-' | b'_' | b'.'))
        && name.bytes().next().is_some_and(plain);
    if fits { Ok(()) } else { Err(NotAName(name.chars().take(NAME_BYTES_MAX).collect())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_back_and_only_shows_its_public_part() {
        let secret = Secret::draw().unwrap();
        let text = secret.reveal().to_owned();
        assert_eq!(text.len(), PREFIX.len() + ID_DIGITS + 1 + SECRET_DIGITS);
        assert_eq!(Secret::parse(&text), Some(secret.clone()));
        let shown = format!("{secret:?}");
        assert!(!shown.contains(text.rsplit('_').next().unwrap()), "{shown}");
        assert_ne!(Secret::draw().unwrap().hash(), secret.hash());
    }

    #[test]
    fn what_is_not_exactly_a_token_is_none() {
        let good = Secret::of([7; 36]).reveal().to_owned();
        assert!(Secret::parse(&good).is_some());
        let upper = good.replace("lowtide_07", "lowtide_0A");
        let plus = good.replace("lowtide_07", "lowtide_+7");
        let wrong =
            [upper, plus, good.clone() + "0", good[1..].to_owned(), good.replace("_0", " 0"), String::new()];
        for text in wrong {
            assert_eq!(Secret::parse(&text), None, "{text}");
        }
    }

    #[test]
    fn a_hash_is_read_back() {
        let hash = Secret::of([1; 36]).hash();
        assert_eq!(TokenHash::parse(&hash.to_string()), Some(hash));
        assert_eq!(TokenHash::parse("00"), None);
    }

    #[test]
    fn names_are_plain() {
        for name in ["backup", "home-server.2", "0", &"a".repeat(32)] {
            assert_eq!(check_name(name), Ok(()), "{name}");
        }
        for name in ["", "-a", "Backup", "a b", "a/b", "ä", &"a".repeat(33)] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }
}
