//! How fast each token may ask: two seconds' worth of requests at once, and its rate in the long run.

use crate::token::TokenId;
use lowtide_core::rate::TokenBucket;
use lowtide_core::units::MonoTime;
use std::collections::HashMap;
use std::time::Duration;

/// Seconds' worth of requests that may come at once.
const BURST_SECONDS: u32 = 2;

/// The buckets of all tokens that ever asked; as many as there are tokens.
#[derive(Debug, Default)]
pub(crate) struct Rates(HashMap<TokenId, (u32, TokenBucket)>);

impl Rates {
    /// Takes one request from the bucket of a token.
    ///
    /// # Errors
    /// The time until there is room for one more.
    pub(crate) fn take(&mut self, id: TokenId, per_second: u32, now: MonoTime) -> Result<(), Duration> {
        let per_second = per_second.max(1);
        let fresh = || (per_second, TokenBucket::new(per_second, per_second.saturating_mul(BURST_SECONDS)));
        let place = self.0.entry(id).or_insert_with(fresh);
        // A token that was given another rate begins anew.
        if place.0 != per_second {
            *place = fresh();
        }
        if place.1.take(now) { Ok(()) } else { Err(Duration::from_secs(1) / per_second) }
    }

    /// Forgets tokens that are gone.
    pub(crate) fn retain(&mut self, mut is_there: impl FnMut(TokenId) -> bool) {
        self.0.retain(|id, _| is_there(*id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> MonoTime {
        MonoTime(Duration::from_millis(millis))
    }

    #[test]
    fn a_burst_then_the_rate_and_each_token_for_itself() {
        let (one, other) = (TokenId::parse("00000001").unwrap(), TokenId::parse("00000002").unwrap());
        let mut rates = Rates::default();
        assert_eq!((0..50).filter(|_| rates.take(one, 10, at(0)).is_ok()).count(), 20);
        assert_eq!(rates.take(one, 10, at(0)), Err(Duration::from_millis(100)));
        assert!(rates.take(other, 10, at(0)).is_ok());
        assert!(rates.take(one, 10, at(100)).is_ok() && rates.take(one, 10, at(100)).is_err());
        assert_eq!((0..50).filter(|_| rates.take(one, 10, at(3_600_000)).is_ok()).count(), 20);
        assert_eq!((0..50).filter(|_| rates.take(one, 2, at(3_600_000)).is_ok()).count(), 4);
    }

    #[test]
    fn who_is_gone_is_forgotten() {
        let id = TokenId::parse("00000001").unwrap();
        let mut rates = Rates::default();
        rates.take(id, 1, at(0)).unwrap();
        rates.retain(|_| false);
        assert!(rates.0.is_empty());
    }
}
