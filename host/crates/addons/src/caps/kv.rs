//! The behaviour behind the import `kv`: what an addon may put into the store, and how often.
//!
//! It does not keep anything itself: whatever implements [`Kv`] does, and holds the quota within its own write transaction, because only
//! there it is exact. All functions block; the host calls them off its async threads. It reads no clock.

use crate::caps::blocking::Hanging;
use crate::id::AddonId;
use crate::limits;
use lowtide_core::rate::TokenBucket;
use lowtide_core::units::MonoTime;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// Where keys and values are kept. Every function blocks, and one addon's keys are never seen by another.
pub trait Kv: Send + Sync {
    /// The value of a key.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn get(&self, addon: &str, key: &str) -> Result<Option<Vec<u8>>, KvError>;

    /// Sets a key. When it returns, the value survives a crash.
    ///
    /// # Errors
    /// [`KvError::LimitExceeded`] when the addon would have more than `quota` afterwards, which is then left as it was; or when the
    /// store cannot be written.
    fn set(&self, addon: &str, key: &str, value: &[u8], quota: KvUsage) -> Result<(), KvError>;

    /// Removes a key, if it is there.
    ///
    /// # Errors
    /// When the store cannot be written.
    fn delete(&self, addon: &str, key: &str) -> Result<(), KvError>;

    /// The keys that begin with a prefix, sorted by their bytes, at most `limit`.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn list_keys(&self, addon: &str, prefix: &str, limit: usize) -> Result<Vec<String>, KvError>;

    /// What an addon has in the store.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn usage(&self, addon: &str) -> Result<KvUsage, KvError>;
}

/// How much of the store is used, or may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KvUsage {
    /// Bytes of keys and values together.
    pub bytes: usize,
    /// Keys.
    pub keys: usize,
}

/// What every addon may have.
pub const QUOTA: KvUsage = KvUsage { bytes: limits::KV_BYTES_MAX, keys: limits::KV_KEYS_MAX };

/// Why a call did not do what was asked. The texts are for the addon and for its operator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KvError {
    /// The key or value breaks a rule.
    #[error("{0}")]
    Invalid(String),
    /// A quota is used up.
    #[error("{0}")]
    LimitExceeded(String),
    /// The store cannot be read or written now.
    #[error("{0}")]
    Unavailable(String),
}

impl From<Hanging> for KvError {
    fn from(hanging: Hanging) -> Self {
        Self::Unavailable(hanging.to_string())
    }
}

/// One addon's way to the store.
pub struct KvDesk {
    addon: AddonId,
    store: Arc<dyn Kv>,
    writes: Mutex<TokenBucket>,
}

impl fmt::Debug for KvDesk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KvDesk").field("addon", &self.addon).finish_non_exhaustive()
    }
}

impl KvDesk {
    /// A way to the store for one addon.
    #[must_use]
    pub fn new(addon: AddonId, store: Arc<dyn Kv>) -> Self {
        let writes = TokenBucket::new(limits::KV_WRITES_PER_SECOND, limits::KV_WRITES_PER_SECOND);
        Self { addon, store, writes: Mutex::new(writes) }
    }

    /// The value of a key.
    ///
    /// # Errors
    /// When the key breaks a rule or the store cannot be read.
    pub fn get(&self, key: &str) -> Result<Option<Vec<u8>>, KvError> {
        check_key(key)?;
        self.store.get(self.addon.as_str(), key)
    }

    /// Sets a key. When it returns, the value survives a crash.
    ///
    /// # Errors
    /// When the key or value breaks a rule, a quota is used up, or the store cannot be written.
    pub fn set(&self, now: MonoTime, key: &str, value: &[u8]) -> Result<(), KvError> {
        check_key(key)?;
        if value.len() > limits::KV_VALUE_BYTES_MAX {
            return Err(KvError::Invalid(format!(
                "the value has {} bytes, at most {} fit: split it over several keys",
                value.len(),
                limits::KV_VALUE_BYTES_MAX
            )));
        }
        self.count_write(now)?;
        self.store.set(self.addon.as_str(), key, value, QUOTA)
    }

    /// Removes a key. Removing what is not there is not an error, but it counts as a write.
    ///
    /// # Errors
    /// When the key breaks a rule, there were too many writes, or the store cannot be written.
    pub fn delete(&self, now: MonoTime, key: &str) -> Result<(), KvError> {
        check_key(key)?;
        self.count_write(now)?;
        self.store.delete(self.addon.as_str(), key)
    }

    /// The keys that begin with a prefix, sorted; all of them for an empty one.
    ///
    /// # Errors
    /// When the prefix is longer than a key, or the store cannot be read.
    pub fn list_keys(&self, prefix: &str) -> Result<Vec<String>, KvError> {
        if !prefix.is_empty() {
            check_key(prefix)?;
        }
        self.store.list_keys(self.addon.as_str(), prefix, limits::KV_KEYS_MAX)
    }

    /// What this addon has in the store.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn usage(&self) -> Result<KvUsage, KvError> {
        self.store.usage(self.addon.as_str())
    }

    fn count_write(&self, now: MonoTime) -> Result<(), KvError> {
        let mut writes = self.writes.lock().unwrap_or_else(PoisonError::into_inner);
        if writes.take(now) {
            return Ok(());
        }
        let most = limits::KV_WRITES_PER_SECOND;
        Err(KvError::LimitExceeded(format!(
            "more than {most} writes a second: write less often, or several values as one"
        )))
    }
}

fn check_key(key: &str) -> Result<(), KvError> {
    if key.is_empty() {
        return Err(KvError::Invalid("the key is empty: give it a name".to_owned()));
    }
    if key.len() > limits::KV_KEY_BYTES_MAX {
        return Err(KvError::Invalid(format!(
            "the key has {} bytes, at most {} fit: use a shorter one",
            key.len(),
            limits::KV_KEY_BYTES_MAX
        )));
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::time::Duration;

    /// The simplest store that keeps the promises of the trait, save surviving.
    #[derive(Default)]
    pub(crate) struct InMemory(Mutex<BTreeMap<(String, String), Vec<u8>>>);

    impl InMemory {
        fn of(&self, addon: &str) -> BTreeMap<String, Vec<u8>> {
            let all = self.0.lock().unwrap();
            all.iter()
                .filter(|((owner, _), _)| owner == addon)
                .map(|((_, key), value)| (key.clone(), value.clone()))
                .collect()
        }
    }

    impl Kv for InMemory {
        fn get(&self, addon: &str, key: &str) -> Result<Option<Vec<u8>>, KvError> {
            Ok(self.of(addon).remove(key))
        }

        fn set(&self, addon: &str, key: &str, value: &[u8], quota: KvUsage) -> Result<(), KvError> {
            let mut after = self.of(addon);
            after.insert(key.to_owned(), value.to_owned());
            if after.len() > quota.keys {
                return Err(KvError::LimitExceeded("keys".to_owned()));
            }
            self.0.lock().unwrap().insert((addon.to_owned(), key.to_owned()), value.to_owned());
            Ok(())
        }

        fn delete(&self, addon: &str, key: &str) -> Result<(), KvError> {
            self.0.lock().unwrap().remove(&(addon.to_owned(), key.to_owned()));
            Ok(())
        }

        fn list_keys(&self, addon: &str, prefix: &str, limit: usize) -> Result<Vec<String>, KvError> {
            Ok(self.of(addon).into_keys().filter(|key| key.starts_with(prefix)).take(limit).collect())
        }

        fn usage(&self, addon: &str) -> Result<KvUsage, KvError> {
            let all = self.of(addon);
            Ok(KvUsage {
                bytes: all.iter().map(|(key, value)| key.len() + value.len()).sum(),
                keys: all.len(),
            })
        }
    }

    fn at(ms: u64) -> MonoTime {
        MonoTime(Duration::from_millis(ms))
    }

    fn desk(store: &Arc<InMemory>, id: &str) -> KvDesk {
        KvDesk::new(AddonId::new(id).unwrap(), Arc::clone(store) as Arc<dyn Kv>)
    }

    #[test]
    fn each_desk_serves_its_own_addon() {
        let store = Arc::new(InMemory::default());
        let (one, other) = (desk(&store, "one"), desk(&store, "other"));
        one.set(at(0), "cursor", b"7").unwrap();
        assert_eq!(one.get("cursor").unwrap().unwrap(), b"7");
        assert_eq!(other.get("cursor").unwrap(), None);
        assert_eq!(one.list_keys("").unwrap(), ["cursor"]);
        assert_eq!(one.usage().unwrap(), KvUsage { bytes: 7, keys: 1 });
        assert_eq!(other.usage().unwrap(), KvUsage::default());
        one.delete(at(0), "cursor").unwrap();
        assert_eq!(one.get("cursor").unwrap(), None);
    }

    #[test]
    fn keys_and_values_have_their_sizes() {
        let desk = desk(&Arc::default(), "one");
        let (longest, biggest) =
            ("ä".repeat(limits::KV_KEY_BYTES_MAX / 2), vec![0; limits::KV_VALUE_BYTES_MAX]);
        desk.set(at(0), &longest, &biggest).unwrap();
        assert_eq!(desk.list_keys(&longest).unwrap().len(), 1);
        let invalid = |result: Result<(), KvError>| matches!(result, Err(KvError::Invalid(_)));
        assert!(invalid(desk.set(at(0), "", b"")));
        assert!(invalid(desk.set(at(0), &format!("{longest}x"), b"")));
        assert!(invalid(desk.set(at(0), "key", &[biggest, vec![0]].concat())));
        assert!(invalid(desk.get("").map(drop)));
        assert!(invalid(desk.delete(at(0), "")));
        assert!(invalid(desk.list_keys(&format!("{longest}x")).map(drop)));
    }

    #[test]
    fn writes_are_counted_and_reads_are_not() {
        let desk = desk(&Arc::default(), "one");
        let most = limits::KV_WRITES_PER_SECOND;
        for _ in 0..most / 2 {
            desk.set(at(0), "key", b"").unwrap();
            desk.delete(at(0), "key").unwrap();
        }
        assert!(
            matches!(desk.set(at(0), "key", b""), Err(KvError::LimitExceeded(text)) if text.contains("writes"))
        );
        assert!(matches!(desk.delete(at(0), "key"), Err(KvError::LimitExceeded(_))));
        assert_eq!(desk.get("key").unwrap(), None);
        desk.set(at(1_000 / u64::from(most)), "key", b"").unwrap();
    }
}
