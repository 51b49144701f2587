//! Keys and values of addons.
//!
//! The quota is held here and nowhere else: it is counted within the transaction that writes. What a key or value may be is the
//! caller's to check.

use crate::open::Schema;
use crate::{Failure, Store, StoreError};
use rusqlite::{OptionalExtension, Transaction, TransactionBehavior, params};

/// The schema of the addons' store.
pub(crate) const SCHEMA: Schema = &[include_str!("../schema/001_addon_kv.sql")];

/// How much one addon has, or may have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KvQuota {
    /// Bytes of keys and values together.
    pub bytes: usize,
    /// Keys.
    pub keys: usize,
}

const USAGE: &str = "SELECT count(*), coalesce(sum(bytes), 0) FROM addon_kv WHERE addon = ?1";

impl Store {
    /// The value of a key.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn kv_get(&self, addon: &str, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.file.with(|connection| {
            let mut query =
                connection.prepare_cached("SELECT value FROM addon_kv WHERE addon = ?1 AND key = ?2")?;
            Ok(query.query_row([addon, key], |row| row.get(0)).optional()?)
        })
    }

    /// Sets a key. When it returns, the value survives a crash.
    ///
    /// # Errors
    /// [`StoreError::Quota`] when the addon would have more than `quota`; nothing is written then. Or when the file cannot be written.
    pub fn kv_set(&self, addon: &str, key: &str, value: &[u8], quota: KvQuota) -> Result<(), StoreError> {
        self.file.with(|connection| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            check_quota(&transaction, addon, key, value, quota)?;
            transaction
                .prepare_cached(
                    "INSERT INTO addon_kv (addon, key, value, bytes) VALUES (?1, ?2, ?3, ?4)
                     ON CONFLICT (addon, key) DO UPDATE SET value = excluded.value, bytes = excluded.bytes",
                )?
                .execute(params![addon, key, value, key.len() + value.len()])?;
            Ok(transaction.commit()?)
        })
    }

    /// Removes a key, if it is there.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn kv_delete(&self, addon: &str, key: &str) -> Result<(), StoreError> {
        self.file.with(|connection| {
            let mut delete =
                connection.prepare_cached("DELETE FROM addon_kv WHERE addon = ?1 AND key = ?2")?;
            delete.execute([addon, key])?;
            Ok(())
        })
    }

    /// The keys that begin with a prefix, sorted by their bytes, at most `limit`.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn kv_list(&self, addon: &str, prefix: &str, limit: usize) -> Result<Vec<String>, StoreError> {
        self.file.with(|connection| {
            // No LIKE: its signs may be part of a key. What begins with the prefix stands together, and first.
            let mut query = connection
                .prepare_cached("SELECT key FROM addon_kv WHERE addon = ?1 AND key >= ?2 ORDER BY key")?;
            let mut rows = query.query([addon, prefix])?;
            let mut keys = Vec::new();
            while keys.len() < limit
                && let Some(row) = rows.next()?
            {
                let key: String = row.get(0)?;
                if !key.starts_with(prefix) {
                    break;
                }
                keys.push(key);
            }
            Ok(keys)
        })
    }

    /// What an addon has.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn kv_usage(&self, addon: &str) -> Result<KvQuota, StoreError> {
        self.file.with(|connection| {
            let (keys, bytes) =
                connection.prepare_cached(USAGE)?.query_row([addon], |row| Ok((row.get(0)?, row.get(1)?)))?;
            Ok(KvQuota { bytes, keys })
        })
    }

    /// Removes all that an addon has: for one that was removed with its data. Returns how many keys it had.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn kv_clear(&self, addon: &str) -> Result<usize, StoreError> {
        self.file.with(|connection| Ok(connection.execute("DELETE FROM addon_kv WHERE addon = ?1", [addon])?))
    }
}

fn check_quota(
    transaction: &Transaction<'_>,
    addon: &str,
    key: &str,
    value: &[u8],
    quota: KvQuota,
) -> Result<(), Failure> {
    let (keys, bytes): (usize, usize) =
        transaction.prepare_cached(USAGE)?.query_row([addon], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let replaced: Option<usize> = transaction
        .prepare_cached("SELECT bytes FROM addon_kv WHERE addon = ?1 AND key = ?2")?
        .query_row([addon, key], |row| row.get(0))
        .optional()?;
    let after = KvQuota {
        keys: keys + usize::from(replaced.is_none()),
        bytes: bytes
            .saturating_sub(replaced.unwrap_or(0))
            .saturating_add(key.len())
            .saturating_add(value.len()),
    };
    // What does not grow is let through: an addon whose quota was lowered must be able to shrink.
    if after.keys > quota.keys && after.keys > keys {
        return Err(Failure::Quota(format!("all {} keys are used: delete some", quota.keys)));
    }
    if after.bytes > quota.bytes && after.bytes > bytes {
        let most = quota.bytes;
        return Err(Failure::Quota(format!(
            "{} bytes would be stored, at most {most} may be: delete some keys",
            after.bytes
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
